"""The backward kernels: one owns queries and sums dq, the other owns keys and sums dk and dv.

Each gradient is summed by one program, in one order, so that it is the same bit for bit every time. The price: both
kernels compute the weights again. The twin in plain torch is lib/attention/flash.py::backward.
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
    LOG2E,
    dot,
    kept,
    keys_of,
    load,
    queries_of,
    rounded,
    scores,
    slope_of,
    spans,
    store,
)  # fmt: skip
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern
from lib.shapes import BGSD, BHTD


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
    tile: Tile | None = None,
) -> flash.Gradients:
    """dq, dk, dv and dsinks, None without sinks: what lib.attention.flash.backward gives.

    y and lse are those of the forward, with the same scale, dropout, seed and sinks. tile: those of tiles.py if None.
    ValueError for what does not fit together, and for CPU tensors outside Triton's interpreter.
    """
    flash.check_inputs(q, k, v, pattern, p_dropout, seed, sinks)
    flash.check_outputs(q, v, dy=dy, y=y, lse=lse, dlse=dlse)
    launch.check(q, v, k, y, dy)
    (B, H, T, D), (G, S, Dv) = q.shape, v.shape[1:]
    dq, dk, dv = (torch.empty(x.shape, dtype=q.dtype, device=q.device) for x in (q, k, v))
    delta = torch.empty(B, H, T, dtype=torch.float32, device=q.device)
    lse = lse.contiguous()
    shared = (
        *(H, H // G, T, S, float(scale), launch.rules(pattern), p_dropout or None, seed),
        *(D, Dv, launch.block(D), launch.block(Dv)),
    )
    with torch.cuda.device_of(q):
        size = launch.tile_for("dq", q, v, tile)
        dq_kernel[(triton.cdiv(T, size.m) * B * H,)](  # pyright: ignore[reportArgumentType]
            *(q, k, v, y, dy, lse, launch.floats(dlse), dq, delta),
            *(q.stride(), k.stride(), v.stride(), y.stride(), dy.stride(), dq.stride()),
            *(*shared, size.m, size.n),
            **launch.options(size),
        )
        size = launch.tile_for("dkdv", q, v, tile)
        dkdv_kernel[(triton.cdiv(S, size.n) * B * G,)](  # pyright: ignore[reportArgumentType]
            *(q, k, v, dy, lse, delta, dk, dv),
            *(q.stride(), k.stride(), v.stride(), dy.stride(), dk.stride(), dv.stride()),
            *(*shared, size.m, size.n),
            **launch.options(size),
        )
    return dq, dk, dv, flash.sink_gradient(sinks, lse, delta)


@triton.jit(do_not_specialize=["seed"])
def dq_kernel(
    q, k, v, y, dy, lse, dlse, dq, delta, q_strides, k_strides, v_strides, y_strides, dy_strides, dq_strides,
    H, n_shared, T, S, scale, rules, p_dropout, seed,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """dq, and on the way delta = dy . y - dlse, which the other kernel reads."""
    n_tiles = tl.cdiv(T, M)
    bh = tl.program_id(0) // n_tiles
    t0 = (n_tiles - 1 - tl.program_id(0) % n_tiles) * M
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
    dy_tile = load(dy, dy_strides, b, h, t0, i, T, dv, DV, True)  # m Dv
    y_tile = load(y, y_strides, b, h, t0, i, T, dv, DV, True)
    row = bh.to(tl.int64) * T + t
    lse_row = tl.load(lse + row)
    delta_row = tl.sum(dy_tile.to(tl.float32) * y_tile.to(tl.float32), 1)
    if dlse is not None:
        delta_row -= tl.load(dlse + row)
    delta_row = tl.where(lse_row == -INF, 0.0, delta_row)  # nothing flows through a query that saw nothing
    tl.store(delta + row, delta_row, mask=t0 + i < T)
    base = tl.where(lse_row == -INF, 0.0, lse_row * LOG2E)

    sums = tl.zeros((M, BLOCK_D), tl.float32)
    for span in tl.static_range(3):  # an edge, whole tiles, an edge
        for s0 in range(borders[span], borders[span + 1], N):
            s = s0 + j
            k_tile = load(k, k_strides, b, g, s0, j, last_hi, d, D, span != 1)  # n D
            away = t[:, None] + rules.shift - s[None, :]
            x, flat = scores(dot(q_tile, tl.trans(k_tile)), rules, slope, away, scale)  # m n
            if span != 1:
                x = tl.where((lo[:, None] <= s[None, :]) & (s[None, :] < hi[:, None]), x, -INF)
            p = tl.exp2(x - base[:, None])
            v_tile = load(v, v_strides, b, g, s0, j, last_hi, dv, DV, span != 1)  # n Dv
            dp = dot(dy_tile, tl.trans(v_tile))
            if p_dropout is not None:
                dp = tl.where(kept(seed, p_dropout, bh, t[:, None], s[None, :]), dp / (1 - p_dropout), 0.0)
            ds = p * (dp - delta_row[:, None]) * flat
            sums += dot(rounded(ds, k_tile.dtype), k_tile)
    store(dq, sums * scale, dq_strides, b, h, t0, i, T, d, D)


@triton.jit(do_not_specialize=["seed"])
def dkdv_kernel(
    q, k, v, dy, lse, delta, dk, dv, q_strides, k_strides, v_strides, dy_strides, dk_strides, dv_strides,
    H, n_shared, T, S, scale, rules, p_dropout, seed,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """dk and dv: every table is turned, n keys by m queries, and the heads of a group follow one another."""
    n_tiles = tl.cdiv(S, N)
    bg = tl.program_id(0) // n_tiles
    s0 = tl.program_id(0) % n_tiles * N
    G = H // n_shared
    b, g = bg // G, bg % G
    i, j, d, e = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    stop = S  # keys from here on are seen by nobody
    if rules.lengths is not None:
        stop = tl.minimum(S, tl.load(rules.lengths + b))
    last = tl.maximum(stop - 1, 0)
    s = tl.minimum(s0 + j, last)  # keys from `stop` on do what the last one does, and get 0 in the end
    lo, hi = queries_of(rules, s, b, T)
    first_lo, first_hi = queries_of(rules, tl.minimum(s0, last), b, T)
    last_lo, last_hi = queries_of(rules, tl.minimum(s0 + N - 1, last), b, T)
    borders = spans(first_lo, first_hi, last_lo, tl.where(s0 < stop, last_hi, 0), M)

    k_tile = load(k, k_strides, b, g, s0, j, stop, d, D, True)  # n D
    v_tile = load(v, v_strides, b, g, s0, j, stop, e, DV, True)  # n Dv
    k_sums, v_sums = tl.zeros((N, BLOCK_D), tl.float32), tl.zeros((N, BLOCK_DV), tl.float32)
    for h in range(g * n_shared, (g + 1) * n_shared):
        bh = b * H + h
        slope = slope_of(rules, h)
        for span in tl.static_range(3):  # an edge, whole tiles, an edge
            for t0 in range(borders[span], borders[span + 1], M):
                t = t0 + i
                q_tile = load(q, q_strides, b, h, t0, i, last_hi, d, D, span != 1)  # m D
                dy_tile = load(dy, dy_strides, b, h, t0, i, last_hi, e, DV, span != 1)  # m Dv
                row = bh.to(tl.int64) * T + t
                if span != 1:
                    lse_row = tl.load(lse + row, mask=t < last_hi, other=0.0)
                    delta_row = tl.load(delta + row, mask=t < last_hi, other=0.0)
                else:
                    lse_row, delta_row = tl.load(lse + row), tl.load(delta + row)
                away = t[None, :] + rules.shift - s[:, None]
                x, flat = scores(dot(k_tile, tl.trans(q_tile)), rules, slope, away, scale)  # n m
                if span != 1:
                    x = tl.where((lo[:, None] <= t[None, :]) & (t[None, :] < hi[:, None]), x, -INF)
                base = tl.where(lse_row == -INF, 0.0, lse_row * LOG2E)
                p = tl.exp2(x - base[None, :])
                dp = dot(v_tile, tl.trans(dy_tile))
                kept_p = p
                if p_dropout is not None:
                    keep = kept(seed, p_dropout, bh, t[None, :], s[:, None])
                    dp = tl.where(keep, dp / (1 - p_dropout), 0.0)
                    kept_p = tl.where(keep, p, 0.0)
                v_sums += dot(rounded(kept_p, dy_tile.dtype), dy_tile)
                ds = p * (dp - delta_row[None, :]) * flat
                k_sums += dot(rounded(ds, q_tile.dtype), q_tile)
    if p_dropout is not None:
        v_sums /= 1 - p_dropout
    seen = (s0 + j < stop)[:, None]
    store(dk, tl.where(seen, k_sums * scale, 0.0), dk_strides, b, g, s0, j, S, d, D)
    store(dv, tl.where(seen, v_sums, 0.0), dv_strides, b, g, s0, j, S, e, DV)
