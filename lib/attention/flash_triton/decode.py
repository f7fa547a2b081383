"""Decoding on the GPU: one new token, or a few, for each row, against all keys that its cache holds.

There is one row of queries where training has thousands, so that tiles of queries cannot keep a GPU busy. The keys are
cut into splits instead: each split is a program of its own, which leaves a partial answer and its log-sum-exp, and a
second kernel combines the parts. All query heads of a group are the rows of one tile, so that each key is read once.

T. Dao, D. Haziza, F. Massa and G. Sizov (2023), "Flash-Decoding for long-context inference"; blocks: W. Kwon et al.
(2023), "Efficient Memory Management for Large Language Model Serving with PagedAttention", section 4.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from lib.attention.flash_triton.tiles import capability, tile
from lib.shapes import BGSD, BHTD, require

LOG2E = tl.constexpr(math.log2(math.e))
LN2 = tl.constexpr(math.log(2))


INTERPRET = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def dot(a, b):
    if INTERPRET:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def narrow(x, dtype: tl.constexpr):
    if INTERPRET and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        x = (bits + 0x7FFF + ((bits >> 16) & 1)).to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def tanh(x):
    return 1 - 2 / (tl.exp(2 * x) + 1)


@triton.jit
def split_kernel(
    q, k, v, lengths, blocks, slopes, y, lse,
    q_b, q_h, q_t, k_b, k_g, k_s, v_b, v_g, v_s, blocks_b, size,
    scale, cap, left, T, R,
    D: tl.constexpr, DV: tl.constexpr, D_TILE: tl.constexpr, DV_TILE: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr,
    WINDOW: tl.constexpr, CAP: tl.constexpr, ALIBI: tl.constexpr,
):  # fmt: skip
    """Program (split, g, b): what the keys of one split say to the R heads x T queries of group g.

    BLOCK: positions in a block of a paged cache, 0 for a cache of one piece. y: (B, H, splits, T, DV) and lse: (B, H,
    splits, T), float32.
    """
    split, n_splits = tl.program_id(0), tl.num_programs(0)
    g, n_groups = tl.program_id(1), tl.num_programs(1)
    b = tl.program_id(2).to(tl.int64)
    row = tl.arange(0, M)
    h, t = g * R + row // T, row % T
    d, dv = tl.arange(0, D_TILE), tl.arange(0, DV_TILE)
    asks = row < R * T
    query = tl.load(
        q + b * q_b + h[:, None] * q_h + t[:, None] * q_t + d[None, :], mask=asks[:, None] & (d < D)[None, :], other=0.0
    )
    n = tl.load(lengths + b).to(tl.int32)
    q_at = n - T + t
    first = tl.maximum(n - T - left, 0) if WINDOW else n * 0  # what the earliest query can still see
    n_each = tl.cdiv(tl.cdiv(n - first, n_splits), N) * N
    begin = first + split * n_each
    end = tl.minimum(tl.minimum(begin + n_each, n), size)
    slope = tl.load(slopes + h, mask=asks, other=0.0) if ALIBI else 0.0

    m = tl.full((M,), float("-inf"), tl.float32)  # the largest score so far, times log2(e)
    total = tl.zeros((M,), tl.float32)
    mean = tl.zeros((M, DV_TILE), tl.float32)
    for start in range(begin, end, N):
        at = start + tl.arange(0, N)
        there = at < end
        if BLOCK == 0:
            k_row, v_row = b * k_b + at.to(tl.int64) * k_s, b * v_b + at.to(tl.int64) * v_s
        else:
            block = tl.load(blocks + b * blocks_b + at // BLOCK, mask=there, other=-1).to(tl.int64)
            there = there & (block >= 0)
            k_row, v_row = block * k_b + (at % BLOCK) * k_s, block * v_b + (at % BLOCK) * v_s
        keys = tl.load(k + k_row[None, :] + g * k_g + d[:, None], mask=there[None, :] & (d < D)[:, None], other=0.0)
        s = dot(query, keys) * scale
        if CAP:
            s = cap * tanh(s / cap)
        ahead = q_at[:, None] - at[None, :]
        if ALIBI:
            s -= slope[:, None] * tl.abs(ahead)
        seen = there[None, :] & (ahead >= 0)
        if WINDOW:
            seen = seen & (ahead <= left)
        s = tl.where(seen, s * LOG2E, float("-inf"))
        m_new = tl.maximum(m, tl.max(s, 1))
        shift = tl.where(m_new == float("-inf"), 0.0, m_new)
        p = tl.exp2(s - shift[:, None])
        fade = tl.exp2(m - shift)
        total = total * fade + tl.sum(p, 1)
        values = tl.load(
            v + v_row[:, None] + g * v_g + dv[None, :], mask=there[:, None] & (dv < DV)[None, :], other=0.0
        )
        mean = mean * fade[:, None] + dot(narrow(p, values.dtype), values)
        m = m_new
    part = ((b * n_groups * R + h) * n_splits + split) * T + t
    mean = mean / tl.where(total == 0, 1.0, total)[:, None]
    tl.store(y + part[:, None] * DV + dv[None, :], mean, mask=asks[:, None] & (dv < DV)[None, :])
    tl.store(
        lse + part,
        tl.where(total == 0, float("-inf"), (m + tl.log2(tl.where(total == 0, 1.0, total))) * LN2),
        mask=asks,
    )


@triton.jit
def combine_kernel(
    y_parts, lse_parts, sinks, y, lse, n_splits, T, H,
    DV: tl.constexpr, DV_TILE: tl.constexpr, SPLITS: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Program (b H T + h T + t): y = sum_i e^(lse_i - lse) y_i over the splits, with lse the log of their sum.

    A sink is one more term of that sum, which brings no value.
    """
    row = tl.program_id(0).to(tl.int64)
    split, dv = tl.arange(0, SPLITS), tl.arange(0, DV_TILE)
    part = (row // T * n_splits + split) * T + row % T
    parts = tl.load(lse_parts + part, mask=split < n_splits, other=float("-inf"))
    top = tl.max(parts, 0)
    if SINKS:
        sink = tl.load(sinks + row // T % H).to(tl.float32)
        top = tl.maximum(top, sink)
    shift = tl.where(top == float("-inf"), 0.0, top)
    w = tl.exp(parts - shift)
    total = tl.sum(w, 0)
    if SINKS:
        total += tl.exp(sink - shift)
    means = tl.load(y_parts + part[:, None] * DV + dv[None, :], mask=(w > 0)[:, None] & (dv < DV)[None, :], other=0.0)
    mean = tl.sum(w[:, None] * means, 0) / tl.where(total == 0, 1.0, total)
    tl.store(y + row * DV + dv, narrow(mean, y.dtype.element_ty), mask=dv < DV)
    tl.store(lse + row, tl.where(total == 0, float("-inf"), shift + tl.log(tl.where(total == 0, 1.0, total))))


def decode(
    q: BHTD,
    k: BGSD,
    v: BGSD,
    lengths: Tensor,
    *,
    blocks: Tensor | None = None,
    scale: float | None = None,
    left: int | None = None,
    cap: float | None = None,
    slopes: Tensor | None = None,
    sinks: Tensor | None = None,
    n_splits: int | None = None,
) -> tuple[BHTD, Tensor]:
    """The T newest tokens of each row, q (B, H, T, D), attend to what stands before them: y (B, H, T, Dv), lse (B, H, T).

    Row b holds lengths[b] positions, those of the queries being the last; query t stands at lengths[b] - T + t and
    attends to keys up to its own. A query at a negative position, and so a row of length 0, attends to nothing: y is 0,
    lse is -inf. What stands in slots that no row uses is never loaded.

    k, v      (B, G, S, D), position p in slot p; or, with `blocks`, pools (n_blocks, G, block, D)
    blocks    (B, n), whole numbers: the block that holds each stretch of a row, -1 for none
    left      a key may stand that far before its query, and no farther
    cap, slopes, sinks      (), (H,), (H,): as in Pattern and in the forward kernel
    n_splits  into how many parts the keys are cut; None: enough to keep every multiprocessor busy

    After `cache.extend`, a `Cache` goes in as decode(q, cache.k, cache.v, cache.n), and a `PagedCache` as
    decode(q, cache.k, cache.v, cache.n, blocks=cache.blocks). ValueError for tensors that do not fit.
    """
    _check(q, k, v, lengths, blocks, slopes, sinks)
    B, H, T, D = q.shape
    G, S, DV = k.shape[1], k.shape[2], v.shape[3]
    q, k, v = (x if x.stride(3) == 1 else x.contiguous() for x in (q, k, v))
    m, n, n_warps, n_stages = tile("decode", max(D, DV), q.dtype, capability(q.device))
    size = S if blocks is None else blocks.shape[1] * S
    n_splits = _n_splits(q.device, B * G, triton.cdiv(size, n)) if n_splits is None else n_splits
    y_parts = torch.empty(B, H, n_splits, T, DV, dtype=torch.float32, device=q.device)
    lse_parts = torch.empty(B, H, n_splits, T, dtype=torch.float32, device=q.device)
    y, lse = q.new_empty(B, H, T, DV), lse_parts.new_empty(B, H, T)
    split_kernel[(n_splits, G, B)](
        q, k, v, lengths, lengths if blocks is None else blocks, q if slopes is None else slopes, y_parts, lse_parts,
        *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], 0 if blocks is None else blocks.stride(0), size,
        1 / math.sqrt(D) if scale is None else scale, 1.0 if cap is None else cap, 0 if left is None else left, T, H // G,
        D=D, DV=DV, D_TILE=_power(D), DV_TILE=_power(DV), M=max(m, triton.next_power_of_2(T * H // G)), N=n,
        BLOCK=0 if blocks is None else S, WINDOW=left is not None, CAP=cap is not None, ALIBI=slopes is not None,
        num_warps=n_warps, num_stages=n_stages,
    )  # fmt: skip
    combine_kernel[(B * H * T,)](
        y_parts, lse_parts, lse if sinks is None else sinks, y, lse, n_splits, T, H,
        DV=DV, DV_TILE=_power(DV), SPLITS=triton.next_power_of_2(n_splits), SINKS=sinks is not None, num_warps=4,
    )  # fmt: skip
    return y, lse


def _power(d: int) -> int:
    """How wide a tile is that holds heads of width d: a power of two, and 16 at least for a matrix product."""
    return max(16, triton.next_power_of_2(d))


def _n_splits(device: torch.device, n_programs: int, n_tiles: int) -> int:
    """Twice as many programs as multiprocessors, so that one waits for memory while another works."""
    n_busy = 2 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
    return max(1, min(triton.cdiv(n_busy, n_programs), n_tiles, 128))


def _check(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor, blocks: Tensor | None, *of_heads: Tensor | None) -> None:
    """ValueError for what the kernels cannot read. What stands in `lengths` and `blocks` is not looked at: it would
    have to come from the device first."""
    shapes = f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    require(q.dim() == k.dim() == v.dim() == 4, f"q, k and v have 4 axes, and {shapes}")
    require(min(q.numel(), k.numel(), v.numel()) > 0, f"no axis may be empty: {shapes}")
    require(q.shape[3] == k.shape[3], f"queries and keys are multiplied, so they must be equally wide: {shapes}")
    require(k.shape[:3] == v.shape[:3], f"each key needs one value: {shapes}")
    B, H, T, _ = q.shape
    require(H % k.shape[1] == 0, f"the heads of q must be a multiple of those of k and v: {shapes}")
    rows = T * H // k.shape[1]
    require(rows <= 128, f"{rows} queries ask a head of the keys; decoding takes up to 128: use the forward kernel")
    require(q.dtype == k.dtype == v.dtype, f"dtypes differ: q {q.dtype}, k {k.dtype}, v {v.dtype}")
    require(q.dtype in (torch.float16, torch.bfloat16, torch.float32), f"{q.dtype} is not fp16, bf16 or fp32")
    tables = {"lengths": (lengths, (B,))}
    if blocks is None:
        require(k.shape[0] == B, f"q, k and v must hold the same number of sequences: {shapes}")
    else:
        require(blocks.dim() == 2 and blocks.stride(1) == 1, f"blocks is B x n, contiguous, not {tuple(blocks.shape)}")
        tables["blocks"] = (blocks, (B, blocks.shape[1]))
    for name, (x, shape) in tables.items():
        whole = x.dtype in (torch.int32, torch.int64)
        require(whole and x.shape == shape, f"{name} is {shape}, int32 or int64, not {tuple(x.shape)} of {x.dtype}")
    for name, x in zip(("slopes", "sinks"), of_heads, strict=True):
        require(x is None or x.shape == (H,), f"{name} holds a number for each of the {H} heads")
    for x in (k, v, lengths, blocks, *of_heads):
        require(x is None or x.device == q.device, f"q is on {q.device}, another tensor is not")
