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

from lib.attention import flash
from lib.attention.flash_triton import launch
from lib.attention.flash_triton.parts import INF, LN2, LOG2E, dot, rounded, scores
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern
from lib.shapes import BGSD, BHTD, require


@triton.jit
def split_kernel(
    q, k, v, blocks, y, lse, q_strides, k_strides, v_strides, blocks_stride,
    size, T, n_shared, scale, rules,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
    PAGE: tl.constexpr,
):  # fmt: skip
    """Program (split, g, b): what the keys of one split say to the T queries of the heads that share group g.

    PAGE: positions in a block, if there are blocks. y: (B, H, n_splits, T, DV), lse: (B, H, n_splits, T), in float32.
    """
    split, n_splits = tl.program_id(0), tl.num_programs(0)
    g, n_groups = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    b = tl.program_id(2).to(tl.int64)
    i, j, d, dv = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_DV)
    h, t = g * n_shared + i // T, i % T
    asks = i < n_shared * T
    q_at = q + b * q_strides[0] + h[:, None] * q_strides[1] + t[:, None] * q_strides[2] + d[None, :] * q_strides[3]
    q_tile = tl.load(q_at, mask=asks[:, None] & (d < D)[None, :], other=0.0)  # m D
    length = tl.load(rules.lengths + b)
    t += length - T  # the position of a query
    first = tl.maximum(length - T - rules.left, 0)  # what the earliest query can still see
    n_each = tl.cdiv(tl.cdiv(length - first, n_splits), N) * N
    begin = first + split * n_each
    end = tl.minimum(tl.minimum(begin + n_each, length), size)
    slope = 0.0
    if rules.slopes is not None:
        slope = tl.load(rules.slopes + h, mask=asks, other=0.0)[:, None]

    m = tl.full((M,), -INF, tl.float32)  # the largest score so far
    z = tl.zeros((M,), tl.float32)  # the sum of 2^(score - m) so far
    sums = tl.zeros((M, BLOCK_DV), tl.float32)  # of 2^(score - m) times the value
    for s0 in range(begin, end, N):
        s = s0 + j
        held = s < end
        if blocks is None:
            block, slot = b, s.to(tl.int64)
        else:
            block, slot = tl.load(blocks + b * blocks_stride + s // PAGE, mask=held, other=-1).to(tl.int64), s % PAGE
            held = held & (block >= 0)
        k_row = block * k_strides[0] + g * k_strides[1] + slot * k_strides[2]
        v_row = block * v_strides[0] + g * v_strides[1] + slot * v_strides[2]
        k_at = k + k_row[:, None] + d[None, :] * k_strides[3]
        k_tile = tl.load(k_at, mask=held[:, None] & (d < D)[None, :], other=0.0)  # n D
        away = t[:, None] - s[None, :]
        x, _ = scores(dot(q_tile, tl.trans(k_tile)), rules, slope, away, scale)  # m n
        x = tl.where(held[None, :] & (away >= 0) & (away <= rules.left), x, -INF)
        m_new = tl.maximum(m, tl.max(x, 1))
        base = tl.where(m_new == -INF, 0.0, m_new)  # nothing seen yet; -inf - -inf would be NaN
        p = tl.exp2(x - base[:, None])
        rescale = tl.exp2(m - base)
        m = m_new
        z = z * rescale + tl.sum(p, 1)
        v_at = v + v_row[:, None] + dv[None, :] * v_strides[3]
        v_tile = tl.load(v_at, mask=held[:, None] & (dv < DV)[None, :], other=0.0)  # n Dv
        sums = sums * rescale[:, None] + dot(rounded(p, v_tile.dtype), v_tile)

    z = tl.where(z == 0, 1.0, z)  # no key: 0 / 1
    part = ((b * n_groups * n_shared + h) * n_splits + split) * T + i % T
    tl.store(y + part[:, None] * DV + dv[None, :], sums / z[:, None], mask=asks[:, None] & (dv < DV)[None, :])
    tl.store(lse + part, (m + tl.log2(z)) * LN2, mask=asks)


@triton.jit
def combine_kernel(
    y_parts, lse_parts, sinks, y, lse, n_splits, T, H, DV: tl.constexpr, BLOCK_DV: tl.constexpr, SPLITS: tl.constexpr
):
    """Program (b H + h) T + t: y = sum_i e^(lse_i - lse) y_i over the splits, e^lse = sum_i e^lse_i.

    A sink is one more term of the second sum, and brings no value.
    """
    row = tl.program_id(0).to(tl.int64)
    i, dv = tl.arange(0, SPLITS), tl.arange(0, BLOCK_DV)
    part = (row // T * n_splits + i) * T + row % T
    x = tl.load(lse_parts + part, mask=i < n_splits, other=-INF)
    m = tl.max(x, 0)
    if sinks is not None:
        sink = tl.load(sinks + row // T % H)
        m = tl.maximum(m, sink)
    base = tl.where(m == -INF, 0.0, m)
    p = tl.exp2((x - base) * LOG2E)
    z = tl.sum(p, 0)
    if sinks is not None:
        z += tl.exp2((sink - base) * LOG2E)
    at = y_parts + part[:, None] * DV + dv[None, :]
    means = tl.load(at, mask=(p > 0)[:, None] & (dv < DV)[None, :], other=0.0)  # of a split without keys, nothing
    z = tl.where(z == 0, 1.0, z)
    tl.store(y + row * DV + dv, rounded(tl.sum(p[:, None] * means, 0) / z, y.dtype.element_ty), mask=dv < DV)
    tl.store(lse + row, m + tl.log2(z) * LN2)


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
    tile: Tile | None = None,
) -> tuple[BHTD, Tensor]:
    """The T newest tokens of each row attend to what stands before them: q (B, H, T, D) -> y (B, H, T, Dv).

    With y comes lse (B, H, T), float32: the natural logarithm of the softmax's denominator. Row b holds lengths[b]
    positions, those of the queries being the last; query t stands at lengths[b] - T + t and attends to keys up to its
    own. A query at a negative position, and so a row of length 0, attends to nothing: y is 0, lse is -inf. What stands
    in slots that no row uses is never loaded.

    k, v      (B, G, S, D), position p in slot p; or, with `blocks`, pools (n_blocks, G, block, D)
    blocks    (B, n), whole numbers: the block that holds each stretch of a row, -1 for none
    left      a key may stand that far before its query, and no farther
    cap, slopes, sinks      (), (H,), (H,): as in Pattern and in the forward kernel
    n_splits  into how many parts the keys are cut; None: enough to keep every multiprocessor busy
    tile      that of tiles.py if None

    After `cache.extend`, a `Cache` goes in as decode(q, cache.k, cache.v, cache.n), and a `PagedCache` as
    decode(q, cache.k, cache.v, cache.n, blocks=cache.blocks). ValueError for tensors that do not fit.
    """
    pattern = Pattern(left=left, lengths=lengths, cap=cap, slopes=slopes)
    _check(q, k, v, pattern, sinks, blocks)
    (B, H, T, D), (G, S, DV) = q.shape, v.shape[1:]
    size = launch.tile_for("decode", q, v, tile)
    n_slots = S if blocks is None else blocks.shape[1] * S
    n_splits = n_splits or _n_splits(q.device, B * G, -(-n_slots // size.n))
    y_parts = torch.empty(B, H, n_splits, T, DV, dtype=torch.float32, device=q.device)
    lse_parts = torch.empty(B, H, n_splits, T, dtype=torch.float32, device=q.device)
    y = torch.empty(B, H, T, DV, dtype=q.dtype, device=q.device)
    lse = torch.empty(B, H, T, dtype=torch.float32, device=q.device)
    widths = D, DV, launch.block(D), launch.block(DV)
    with torch.cuda.device_of(q):
        split_kernel[(n_splits, G, B)](  # pyright: ignore[reportArgumentType]
            *(q, k, v, blocks, y_parts, lse_parts),
            *(q.stride(), k.stride(), v.stride(), 0 if blocks is None else blocks.stride(0)),
            *(n_slots, T, H // G, 1 / math.sqrt(D) if scale is None else scale),
            launch.rules(pattern),
            *(*widths, max(size.m, _power(T * H // G)), size.n, S),
            **launch.options(size),
        )
        combine_kernel[(B * H * T,)](  # pyright: ignore[reportArgumentType]
            *(y_parts, lse_parts, launch.floats(sinks), y, lse, n_splits, T, H),
            *(DV, launch.block(DV), _power(n_splits)),
        )
    return y, lse


def _power(n: int) -> int:
    """The power of two from n on: tiles have no other sizes."""
    return 1 << (n - 1).bit_length()


def _n_splits(device: torch.device, n_programs: int, n_tiles: int) -> int:
    """Twice as many programs as multiprocessors, so that one waits for memory while another works."""
    n_busy = 2 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
    return max(1, min(-(-n_busy // n_programs), n_tiles, 128))


def _check(q: BHTD, k: BGSD, v: BGSD, pattern: Pattern, sinks: Tensor | None, blocks: Tensor | None) -> None:
    """ValueError for what the kernels cannot take. What stands in lengths and blocks is not looked at: it would have to
    come from the device first. A key beyond the end of the cache or without a block is left out."""
    if blocks is not None:
        require(len(k) == len(v) > 0, f"the pools of keys and values must have as many blocks: {len(k)}, {len(v)}")
        whole = blocks.dtype in (torch.int32, torch.int64)
        fits = whole and blocks.dim() == 2 and len(blocks) == len(q) and blocks.stride(1) == 1
        found = f"not {blocks.dtype} of shape {tuple(blocks.shape)}, strides {blocks.stride()}"
        require(fits, f"blocks has a row of whole numbers for each of {len(q)} sequences, {found}")
        require(blocks.device == q.device, f"devices differ: q on {q.device}, blocks on {blocks.device}")
        k, v = (x[:1].expand(len(q), *x.shape[1:]) for x in (k, v))  # as if each sequence had one block
    flash.check_inputs(q, k, v, pattern, 0.0, 0, sinks)
    launch.check(q, v, k)
    rows = q.shape[1] // k.shape[1] * q.shape[2]
    require(rows <= 128, f"{rows} queries share a head of the keys, and decoding takes 128: use the forward kernel")
