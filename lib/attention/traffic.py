"""What attention moves between the multiprocessors and memory: counted in Triton's interpreter, and by formula.

    with count() as traffic:
        forward(q, k, v, pattern, scale=0.125)              # a call that launches kernels, in the interpreter
    traffic.loaded, traffic.stored                          # bytes

    forward_bytes(B, H, G, T, S, D, tile, element=2, pattern=pattern)       # the same, without running anything

A byte counts each time that a kernel asks for it. On a GPU some of those bytes come from a cache, so the counts are the
most that the memory must deliver, and times made of them are predictions. Letters of the axes: lib/shapes.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from lib.attention.pattern import Pattern
from lib.shapes import require

if TYPE_CHECKING:  # the formulas and the roofline need no Triton
    from lib.attention.flash_triton.tiles import Tile


@dataclass
class Traffic:
    """Bytes that kernels have asked for so far."""

    loaded: int = 0
    stored: int = 0


class Bytes(NamedTuple):
    """Bytes from memory and to memory."""

    loaded: int
    stored: int


@contextmanager
def count() -> Iterator[Traffic]:
    """Count what every kernel launched inside loads and stores. Lanes that are masked off do not count.

    RuntimeError without TRITON_INTERPRET=1: on a GPU nothing passes through Python.
    """
    from triton import knobs
    from triton.runtime import interpreter

    if not knobs.runtime.interpret:
        raise RuntimeError("traffic is counted in Triton's interpreter: set TRITON_INTERPRET=1 before importing triton")
    traffic, builder = Traffic(), cast(Any, interpreter.interpreter_builder)
    load, store = builder.create_masked_load, builder.create_masked_store  # every other way to memory ends in these two

    def counted_load(pointers, mask, *rest, **options):
        traffic.loaded += _n_bytes(pointers, mask)
        return load(pointers, mask, *rest, **options)

    def counted_store(pointers, value, mask, *rest, **options):
        traffic.stored += _n_bytes(pointers, mask)
        return store(pointers, value, mask, *rest, **options)

    builder.create_masked_load, builder.create_masked_store = counted_load, counted_store
    try:
        yield traffic
    finally:
        builder.create_masked_load, builder.create_masked_store = load, store


def _n_bytes(pointers, mask) -> int:
    """Bytes behind those pointers whose lane of the mask is on; handles of the interpreter."""
    return int(np.asarray(mask.data).sum()) * pointers.get_element_ty().primitive_bitwidth // 8


# --- by formula ------------------------------------------------------------------------------------------------------


def forward_bytes(B: int, H: int, G: int, T: int, S: int, D: int, tile: Tile, element: int, pattern: Pattern) -> Bytes:
    """What the forward kernel moves. element: bytes of a number, 2 for fp16 and bf16.

    A tile of m queries reads its queries once, and each key and value that one of them may attend to. With `keys`, the
    sum of those over the tiles of queries, about T S / m without a mask and half of it if causal:
    loaded = B H (T + 2 keys) D element, stored = B H T (D element + 4), the 4 for the log-sum-exp.
    ValueError for a pattern with documents or lengths, whose traffic depends on what they hold.
    """
    keys = sum(seen for _, seen in _by_queries(T, S, tile, pattern))
    return Bytes(B * H * (T + 2 * keys) * D * element, B * H * T * (D * element + 4))


def dq_bytes(B: int, H: int, G: int, T: int, S: int, D: int, tile: Tile, element: int, pattern: Pattern) -> Bytes:
    """What the backward kernel for dq moves: per tile of m queries q, y, dy, 4 bytes a query of log-sum-exp, and keys
    and values as in the forward. It stores dq and, for the next kernel, 4 bytes a query of delta."""
    keys = sum(seen for _, seen in _by_queries(T, S, tile, pattern))
    return Bytes(B * H * ((3 * T + 2 * keys) * D * element + 4 * T), B * H * T * (D * element + 4))


def dkdv_bytes(B: int, H: int, G: int, T: int, S: int, D: int, tile: Tile, element: int, pattern: Pattern) -> Bytes:
    """What the backward kernel for dk and dv moves: per tile of n keys k and v, then, for each head of its group, q, dy
    and two numbers of 4 bytes of each query that may attend to one of them. It stores dk and dv."""
    queries = sum(seen for _, seen in _by_keys(T, S, tile, pattern))
    heads = 2 * B * G * S * D * element
    return Bytes(heads + B * H * queries * (2 * D * element + 8), heads)


def decode_bytes(
    B: int, H: int, G: int, S: int, D: int, tile: Tile, n_splits: int, element: int, left: int | None = None
) -> Bytes:
    """What one token for each of B rows moves, with S keys behind it: each key and value is read once for its group.

    Each split also reads the queries and stores its part, D + 1 numbers of 4 bytes a head; the means of those splits
    that had keys are read again. Splits begin tile.n keys apart, or a multiple of it.
    """
    keys = S if left is None else min(S, left + 1)
    each = -(-keys // (n_splits * tile.n)) * tile.n
    busy = -(-keys // each)
    heads = (B * H * n_splits + 2 * B * G * keys) * D * element
    return Bytes(
        loaded=heads + B * H * (n_splits + busy * D) * 4,
        stored=B * H * n_splits * (D + 1) * 4 + B * H * (D * element + 4),
    )


def naive_bytes(B: int, H: int, G: int, T: int, S: int, D: int, element: int) -> Bytes:
    """What three kernels move that keep the table of scores in memory: s = q k^T, w = softmax(s), y = w v.

    The table is stored twice and loaded twice: the terms in B H T S. Nothing is saved by a mask.
    """
    table = B * H * T * S * element
    heads = (B * H * T + 2 * B * G * S) * D * element
    return Bytes(heads + 2 * table, B * H * T * D * element + 2 * table)


def forward_flops(B: int, H: int, T: int, S: int, D: int, tile: Tile, pattern: Pattern) -> int:
    """Multiplications and additions of the forward kernel's two products: 4 D for each pair in the tiles it visits."""
    pairs = sum(rows * -(-seen // tile.n) * tile.n for rows, seen in _by_queries(T, S, tile, pattern))
    return 4 * B * H * D * pairs


def _by_queries(T: int, S: int, tile: Tile, pattern: Pattern) -> list[tuple[int, int]]:
    """For each tile of queries: how many it holds, and how many keys one of them may attend to."""
    left, right = _band(pattern)
    return _seen(T, tile.m, S, pattern.shift - left, pattern.shift + right)


def _by_keys(T: int, S: int, tile: Tile, pattern: Pattern) -> list[tuple[int, int]]:
    """For each tile of keys: how many it holds, and how many queries may attend to one of them."""
    left, right = _band(pattern)
    return _seen(S, tile.n, T, -pattern.shift - right, left - pattern.shift)


def _band(pattern: Pattern) -> tuple[float, float]:
    plain = pattern.documents is None and pattern.lengths is None
    require(plain, "the traffic of documents and lengths depends on what they hold: use count() for them")
    left, right = (math.inf if side is None else side for side in (pattern.left, pattern.right))
    return left, right


def _seen(n: int, own: int, n_others: int, first: float, last: float) -> list[tuple[int, int]]:
    """n things in tiles of `own`, of which thing i sees the others from i + first to i + last."""
    tiles = [(i, min(own, n - i)) for i in range(0, n, own)]
    ends = [(rows, max(0, i + first), min(n_others, i + rows + last)) for i, rows in tiles]
    return [(rows, int(max(0, end - begin))) for rows, begin, end in ends]


# --- the roofline ----------------------------------------------------------------------------------------------------


class Gpu(NamedTuple):
    """Published peaks: matrix products in fp16 without sparsity (operations a second), memory (bytes a second)."""

    name: str
    flops: float
    bandwidth: float
    source: str


GPUS: dict[str, Gpu] = {
    "T4": Gpu("T4", 65e12, 320e9, "NVIDIA T4 data sheet (2019)"),
    "A100": Gpu("A100 SXM 80 GB", 312e12, 2039e9, "NVIDIA A100 data sheet (2021)"),
    "H100": Gpu("H100 SXM 80 GB", 989.4e12, 3350e9, "NVIDIA H100 architecture white paper, v1.04 (2023), table 2"),
}


def predicted_seconds(flops: float, bytes: float, gpu: Gpu) -> float:
    """The roofline: max(flops / gpu.flops, bytes / gpu.bandwidth). A prediction, and a hopeful one: no launch costs
    time in it, and products and memory overlap in full. S. Williams, A. Waterman and D. Patterson (2009), "Roofline".
    """
    return max(flops / gpu.flops, bytes / gpu.bandwidth)
