"""The forward kernel: a program owns m queries of one head and walks over the keys that they may attend to.

The numbers that it keeps, m, z and sums, stay in registers; keys and values pass through shared memory, n at a time.
What is written is y and lse. The twin in plain torch is lib/attention/flash.py::forward.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lib.attention import flash
from lib.attention.flash_triton import launch
from lib.attention.flash_triton.parts import (
    INF,
    LN2,
    LOG2E,
    dot,
    kept,
    keys_of,
    load,
    rounded,
    scores,
    slope_of,
    spans,
    store,
)
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern
from lib.shapes import BGSD, BHTD


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
    tile: Tile | None = None,
) -> tuple[BHTD, Tensor]:
    """y (B, H, T, Dv) and lse (B, H, T), float32: what lib.attention.flash.forward gives.

    For float16, bfloat16 and float32, heads of up to 256, any strides. tile: that of tiles.py if None.
    ValueError for what does not fit together, and for CPU tensors outside Triton's interpreter.
    """
    flash.check_inputs(q, k, v, pattern, p_dropout, seed, sinks)
    launch.check(q, v, k)
    (B, H, T, D), (G, S, Dv) = q.shape, v.shape[1:]
    y = torch.empty(B, H, T, Dv, dtype=q.dtype, device=q.device)
    lse = torch.empty(B, H, T, dtype=torch.float32, device=q.device)
    size = launch.tile_for("forward", q, v, tile)
    with torch.cuda.device_of(q):
        forward_kernel[(triton.cdiv(T, size.m) * B * H,)](  # pyright: ignore[reportArgumentType]
            *(q, k, v, y, lse),
            *(q.stride(), k.stride(), v.stride(), y.stride()),
            *(H, H // G, T, S, float(scale), launch.rules(pattern), launch.floats(sinks)),
            *(p_dropout or None, seed),
            *(D, Dv, launch.block(D), launch.block(Dv), size.m, size.n),
            **launch.options(size),
        )
    return y, lse


@triton.jit(do_not_specialize=["seed"])
def forward_kernel(
    q, k, v, y, lse, q_strides, k_strides, v_strides, y_strides,
    H, n_shared, T, S, scale, rules, sinks, p_dropout, seed,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    n_tiles = tl.cdiv(T, M)
    bh = tl.program_id(0) // n_tiles
    t0 = (n_tiles - 1 - tl.program_id(0) % n_tiles) * M  # the last queries first: if causal, they have the most keys
    b, h = bh // H, bh % H
    g = h // n_shared
    i, j, d, dv = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    t = tl.minimum(t0 + i, T - 1)  # rows beyond T do what the last one does, and are not stored
    lo, hi = keys_of(rules, t, b, T, S)
    first_lo, first_hi = keys_of(rules, t0, b, T, S)
    last_lo, last_hi = keys_of(rules, tl.minimum(t0 + M, T) - 1, b, T, S)
    borders = spans(first_lo, first_hi, last_lo, last_hi, N)

    slope = slope_of(rules, h)
    q_tile = load(q, q_strides, b, h, t0, i, T, d, D, True)  # m D
    m = tl.full((M,), -INF, tl.float32)  # the largest score so far
    z = tl.zeros((M,), tl.float32)  # the sum of 2^(score - m) so far
    if sinks is not None:
        m = tl.full((M,), tl.load(sinks + h) * LOG2E, tl.float32)
        z += 1
    sums = tl.zeros((M, BLOCK_DV), tl.float32)  # of 2^(score - m) times the value
    for span in tl.static_range(3):  # an edge, whole tiles, an edge
        for s0 in range(borders[span], borders[span + 1], N):
            s = s0 + j
            k_tile = load(k, k_strides, b, g, s0, j, last_hi, d, D, span != 1)  # n D
            away = t[:, None] + rules.shift - s[None, :]
            x, _ = scores(dot(q_tile, tl.trans(k_tile)), rules, slope, away, scale)  # m n
            if span != 1:
                x = tl.where((lo[:, None] <= s[None, :]) & (s[None, :] < hi[:, None]), x, -INF)
            m_new = tl.maximum(m, tl.max(x, 1))
            base = tl.where(m_new == -INF, 0.0, m_new)  # nothing seen yet; -inf - -inf would be NaN
            p = tl.exp2(x - base[:, None])
            rescale = tl.exp2(m - base)  # from the old maximum to the new one
            m = m_new
            z = z * rescale + tl.sum(p, 1)
            if p_dropout is not None:
                p = tl.where(kept(seed, p_dropout, bh, t[:, None], s[None, :]), p, 0.0)
            v_tile = load(v, v_strides, b, g, s0, j, last_hi, dv, DV, span != 1)  # n Dv
            sums = sums * rescale[:, None] + dot(rounded(p, v_tile.dtype), v_tile)

    z = tl.where(z == 0, 1.0, z)  # neither key nor sink: 0 / 1
    tl.store(lse + bh.to(tl.int64) * T + t0 + i, (m + tl.log2(z)) * LN2, mask=t0 + i < T)
    if p_dropout is not None:
        z *= 1 - p_dropout
    store(y, sums / z[:, None], y_strides, b, h, t0, i, T, dv, DV)
