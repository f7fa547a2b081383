"""Attention in tiles, in plain torch: the table of scores is never whole in memory, in neither direction.

    y, lse = forward(q, k, v, Pattern(right=0), scale=0.125)          # causal
    dq, dk, dv, _ = backward(dy, q, k, v, y, lse, Pattern(right=0), scale=0.125)

The softmax is computed online: a running maximum m and a running sum l of each query are corrected whenever a new tile
of keys brings a larger score. The backward computes every tile of weights again, from lse, the logarithm of the
softmax's denominator. The kernels in flash_triton/ do the same and are tested against this file, which keeps the
order of their steps and not their speed.

M. Milakov and N. Gimelshein (2018), "Online normalizer calculation for softmax"; T. Dao et al. (2022),
"FlashAttention"; T. Dao (2023), "FlashAttention-2", algorithms 1 and 2. Letters of the axes: lib/shapes.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lib.attention import core
from lib.attention.pattern import Pattern
from lib.shapes import BGSD, BHTD, require

Gradients = tuple[Tensor, Tensor, Tensor, Tensor | None]


def forward(
    q: BHTD,
    k: BGSD,
    v: BGSD,
    pattern: Pattern,
    *,
    scale: float,
    p_dropout: float = 0.0,
    seed: int = 0,
    sinks: Tensor | None = None,
    tile: int = 64,
) -> tuple[BHTD, Tensor]:
    """y (B, H, T, Dv) = softmax(scores) v, and lse (B, H, T), the natural logarithm of the softmax's denominator.

    sinks: (H,), a logit of each head that joins the denominator, like a key whose value is 0 (OpenAI (2025), "gpt-oss
    model card", on the architecture). p_dropout: the share of the weights that `kept` sets to 0. A query that may
    attend to nothing gives zeros, and without sinks an lse of -inf. Sums are in float32, in float64 for float64; lse
    has their dtype. ValueError for what does not fit together.
    """
    check_inputs(q, k, v, pattern, p_dropout, seed, sinks)
    wide = torch.promote_types(q.dtype, torch.float32)
    y, lse = v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=wide)
    for t, keys in _tiles(pattern, q, k, tile):
        m = torch.full_like(lse[:, :, t], -math.inf)  # B H m, the largest score so far
        z = torch.zeros_like(m)  # the sum of exp(score - m) so far
        if sinks is not None:
            m, z = sinks.to(wide)[:, None].expand_as(m), z + 1
        sums = torch.zeros_like(y[:, :, t], dtype=wide)  # B H m D, of exp(score - m) times the value
        for s in keys:
            x, _ = _scores(q, k, t, s, pattern, scale)
            m_new = torch.maximum(m, x.amax(-1))
            base = m_new.masked_fill(m_new == -math.inf, 0)  # nothing seen yet; -inf - -inf would be NaN
            p = (x - base[..., None]).exp()  # B H m n
            rescale = (m - base).exp()  # from the old maximum to the new one
            m, z = m_new, z * rescale + p.sum(-1)
            p = p * _kept_tile(seed, p_dropout, p, t, s)
            sums = sums * rescale[..., None] + p @ _keys(v, q, s)
        z = z.masked_fill(z == 0, 1)  # neither key nor sink: 0 / 1
        y[:, :, t] = sums / (z * (1 - p_dropout))[..., None]
        lse[:, :, t] = m + z.log()
    return y, lse


def backward(
    dy: BHTD,
    q: BHTD,
    k: BGSD,
    v: BGSD,
    y: BHTD,
    lse: Tensor,
    pattern: Pattern,
    *,
    scale: float,
    p_dropout: float = 0.0,
    seed: int = 0,
    sinks: Tensor | None = None,
    dlse: Tensor | None = None,
    tile: int = 64,
) -> Gradients:
    """dq, dk, dv and dsinks, None without sinks, from dy (B, H, T, Dv) and, if lse was used too, dlse (B, H, T).

    With weights p = exp(x - lse), dp = dy v^T and delta = dy . y, the scores' gradient is dx = p (dp - delta + dlse).
    """
    check_inputs(q, k, v, pattern, p_dropout, seed, sinks)
    check_outputs(q, v, dy=dy, y=y, lse=lse, dlse=dlse)
    wide = lse.dtype
    delta = (dy.to(wide) * y.to(wide)).sum(-1)  # B H T
    if dlse is not None:
        delta = delta - dlse
    delta = delta.masked_fill(lse == -math.inf, 0)  # nothing flows through a query that saw nothing
    dq, dk, dv = (torch.zeros_like(x, dtype=wide) for x in (q, k, v))
    for t, keys in _tiles(pattern, q, k, tile):
        dy_t, q_t = dy[:, :, t].to(wide), q[:, :, t].to(wide)
        for s in keys:
            x, derivative = _scores(q, k, t, s, pattern, scale)
            p = (x - lse[:, :, t, None]).exp().masked_fill(x == -math.inf, 0)  # B H m n
            kept = _kept_tile(seed, p_dropout, p, t, s) / (1 - p_dropout)
            dp = kept * (dy_t @ _keys(v, q, s).mT)
            ds = p * (dp - delta[:, :, t, None]) * derivative
            dq[:, :, t] += ds @ _keys(k, q, s)
            dk[:, :, s] += _for_each_group(ds.mT @ q_t, k)
            dv[:, :, s] += _for_each_group((p * kept).mT @ dy_t, v)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), sink_gradient(sinks, lse, delta)


def sink_gradient(sinks: Tensor | None, lse: Tensor, delta: Tensor) -> Tensor | None:
    """A sink's weight is exp(sink - lse) and its value 0, so its gradient is that weight times (0 - delta): (H,)."""
    if sinks is None:
        return None
    return -((sinks.to(lse.dtype)[:, None] - lse).exp() * delta).sum((0, 2)).to(sinks.dtype)


# --- what a query may attend to ---------------------------------------------------------------------------------------


def intervals(pattern: Pattern, T: int, S: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """lo, hi, (B, T) or (1, T): query t may attend to the keys from lo[b, t] up to, not including, hi[b, t].

    Band, documents and lengths are each an interval of keys, so what they have in common is one as well. Neither end
    ever decreases along T, so the keys of a tile of queries begin at its first query's lo and end at its last one's hi.
    """
    at = torch.arange(T, device=device)[None] + pattern.shift
    lo = torch.zeros_like(at) if pattern.left is None else at - pattern.left
    hi = torch.full_like(at, S) if pattern.right is None else at + pattern.right + 1
    if pattern.documents is not None:
        first, end = document_ends(pattern.documents)
        lo, hi = lo.maximum(first), hi.minimum(end)
    if pattern.lengths is not None:
        hi = hi.minimum(pattern.lengths[:, None])
    return lo.clamp(min=0), hi.clamp(min=0, max=S)


def document_ends(documents: Tensor) -> tuple[Tensor, Tensor]:
    """Where the document of each position begins, and where the next one does: two int32 (B, T)."""
    ids = documents.contiguous()
    first = torch.searchsorted(ids, ids, out_int32=True)
    return first, torch.searchsorted(ids, ids, right=True, out_int32=True)


def _tiles(pattern: Pattern, q: BHTD, k: BGSD, tile: int) -> Iterator[tuple[slice, list[slice]]]:
    """Each tile of queries, with the tiles of keys that some query in it, in some sequence, may attend to."""
    T, S = q.shape[2], k.shape[2]
    lo, hi = intervals(pattern, T, S, q.device)
    for t0 in range(0, T, tile):
        t = slice(t0, min(t0 + tile, T))
        begin, end = int(lo[:, t].min()), int(hi[:, t].max())
        yield t, [slice(s0, min(s0 + tile, end)) for s0 in range(begin, end, tile)]


def _scores(q: BHTD, k: BGSD, t: slice, s: slice, pattern: Pattern, scale: float) -> tuple[Tensor, Tensor | float]:
    """The scores x of queries t and keys s, -inf where one may not attend, and the derivative of x by q . k."""
    wide = torch.promote_types(q.dtype, torch.float32)
    x, derivative = scale * (q[:, :, t].to(wide) @ _keys(k, q, s).mT), scale  # B H m n
    if pattern.cap is not None:
        bent = torch.tanh(x / pattern.cap)
        x, derivative = pattern.cap * bent, scale * (1 - bent * bent)
    at_q = torch.arange(t.start, t.stop, device=q.device)[:, None] + pattern.shift
    at_k = torch.arange(s.start, s.stop, device=q.device)
    if pattern.slopes is not None:
        x = x - pattern.slopes.to(wide)[:, None, None] * (at_q - at_k).abs()
    lo, hi = (end[:, None, t, None] for end in intervals(pattern, q.shape[2], k.shape[2], q.device))  # B 1 m 1
    return x.masked_fill((at_k < lo) | (at_k >= hi), -math.inf), derivative


def _keys(x: BGSD, q: BHTD, s: slice) -> BHTD:
    """Rows s of keys or values, each as often as heads of q ask for it, in the dtype of the sums."""
    return core.for_each_head(x[:, :, s], q.shape[1]).to(torch.promote_types(q.dtype, torch.float32))


def _for_each_group(x: BHTD, k: BGSD) -> BGSD:
    """The heads that share a key add up what they each have for it."""
    return x.unflatten(1, (k.shape[1], -1)).sum(2)


# --- dropout from counted random numbers ------------------------------------------------------------------------------


def kept(seed: int, p_dropout: float, bh: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """False where dropout sets the weight of query t and key s to 0. bh = b H + h; the three broadcast together.

    The random number is a function of seed and place, so that the backward finds the same ones without keeping them:
    the highest 24 bits of Philox at the counter (s, t, bh, 0), as a number from 0 to 1. A place has the same number
    whatever the tiles, T and S are.
    """
    u = (philox(seed, s, t, bh, torch.zeros_like(s)) >> 8).float() * 2.0**-24
    return u >= torch.tensor(p_dropout, dtype=torch.float32)


def philox(seed: int, c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor) -> Tensor:
    """The first word of Philox-4x32-10 at the counter (c0, c1, c2, c3), with the two halves of `seed` as its key.

    J. Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3", section 3.3. Words of 32 bits, in int64.
    """
    word = 0xFFFFFFFF
    k0, k1 = seed & word, seed >> 32
    for _ in range(10):
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # what overflows 63 bits still has the right 64
        c0, c1, c2, c3 = (b >> 32 & word) ^ c1 ^ k0, b & word, (a >> 32 & word) ^ c3 ^ k1, a & word
        k0, k1 = (k0 + 0x9E3779B9) & word, (k1 + 0xBB67AE85) & word
    return c0


def _kept_tile(seed: int, p_dropout: float, p: Tensor, t: slice, s: slice) -> Tensor | float:
    """`kept` for a tile of weights, (B, H, m, n), as numbers 0 and 1."""
    if p_dropout == 0:
        return 1.0
    at_t, at_s = (torch.arange(x.start, x.stop, device=p.device) for x in (t, s))
    bh = torch.arange(p.shape[0] * p.shape[1], device=p.device).view(*p.shape[:2], 1, 1)
    return kept(seed, p_dropout, bh, at_t[:, None], at_s).to(p.dtype)


# --- bad input --------------------------------------------------------------------------------------------------------


def check_inputs(
    q: BHTD, k: BGSD, v: BGSD, pattern: Pattern, p_dropout: float, seed: int, sinks: Tensor | None
) -> None:
    """ValueError unless these are what `forward` takes. The numbers inside documents and lengths are not looked at."""
    core.check(q, k, v, sinks)
    (B, H, T), S = q.shape[:3], k.shape[2]
    require(0 <= p_dropout < 1, f"p_dropout is a probability below 1, not {p_dropout}")
    require(0 <= seed < 2**63, f"seed is a whole number from 0 to 2^63 - 1, not {seed}")
    require(pattern.cap is None or pattern.cap > 0, f"the cap is a positive number, not {pattern.cap}")
    tables = {
        "documents": (pattern.documents, (B, T), False),
        "lengths": (pattern.lengths, (B,), False),
        "slopes": (pattern.slopes, (H,), True),
    }
    for name, (x, shape, floating) in tables.items():
        if x is not None:
            kind = "floating-point" if floating else "whole"
            fits = x.shape == shape and x.is_floating_point() == floating
            require(fits, f"{name} must be {kind} numbers of shape {shape}, not {x.dtype} of {tuple(x.shape)}")
            require(x.device == q.device, f"devices differ: q on {q.device}, {name} on {x.device}")
    packed = pattern.documents is None or (T == S and pattern.shift == 0)
    require(packed, f"documents are for self-attention: T = S and shift = 0, not {T=}, {S=}, shift={pattern.shift}")


def check_outputs(q: BHTD, v: BGSD, *, dy: Tensor, y: Tensor, lse: Tensor, dlse: Tensor | None) -> None:
    """ValueError unless what the backward is given is like what the forward gave."""
    rows = tuple(q.shape[:3])
    require(dy.dtype == y.dtype == q.dtype, f"dtypes differ: q {q.dtype}, y {y.dtype}, dy {dy.dtype}")
    wide = (*rows, v.shape[3])
    for name, x, shape in (("dy", dy, wide), ("y", y, wide), ("lse", lse, rows), ("dlse", dlse, rows)):
        if x is not None:
            require(x.shape == shape, f"{name} must be of shape {shape}, as in the forward, not {tuple(x.shape)}")
            require(x.device == q.device, f"devices differ: q on {q.device}, {name} on {x.device}")
