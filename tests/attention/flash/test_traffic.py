"""Bytes counted in the interpreter against the formulas, and what the formulas say."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

import triton
import triton.language as tl

from lib.attention import traffic
from lib.attention.flash_triton import backward, forward
from lib.attention.flash_triton.decode import decode
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern

TILE = Tile(m=32, n=32, n_warps=4, n_stages=2)
PATTERNS = {
    "full": Pattern(),
    "causal": Pattern(right=0),
    "window": Pattern(left=39, right=0),
    "both sides": Pattern(left=20, right=10),
    "shifted": Pattern(left=64, right=0, shift=40),
}
SIZES = [(1, 2, 1, 150, 150, 16), (2, 2, 2, 70, 130, 24)]  # B, H, G, T, S, D; lengths that no tile divides


@triton.jit
def copy_kernel(x, y, n_rows, n_columns):
    """A descriptor reads, pointers write."""
    table = tl.make_tensor_descriptor(x, (n_rows, n_columns), (n_columns, 1), (8, 16))
    i, j = tl.arange(0, 8)[:, None], tl.arange(0, 16)[None, :]
    tl.store(y + i * n_columns + j, table.load([0, 0]), mask=(i < n_rows) & (j < n_columns))


def heads(B, H, G, T, S, D, dtype=torch.float16):
    return [torch.randn(B, n, length, D).to(dtype) for n, length in ((H, T), (G, S), (G, S))]


def close(counted, formula):
    """Within 2%, each way."""
    assert formula.loaded == pytest.approx(counted.loaded, rel=0.02)
    assert formula.stored == pytest.approx(counted.stored, rel=0.02)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward_and_backward(sizes, pattern):
    q, k, v = heads(*sizes)
    with traffic.count() as there:
        y, lse = forward(q, k, v, pattern, scale=0.25, tile=TILE)
    with traffic.count() as back:
        backward(torch.ones_like(y), q, k, v, y, lse, pattern, scale=0.25, tile=TILE)
    close(there, traffic.forward_bytes(*sizes, TILE, 2, pattern))
    dq, dkdv = (formula(*sizes, TILE, 2, pattern) for formula in (traffic.dq_bytes, traffic.dkdv_bytes))
    close(back, traffic.Bytes(dq.loaded + dkdv.loaded, dq.stored + dkdv.stored))


@pytest.mark.parametrize("left", [None, 49])
@pytest.mark.parametrize("paged", [False, True])
def test_decode(paged, left):
    B, H, G, S, D = 2, 6, 2, 150, 32
    q, k, v = heads(B, H, G, 1, S, D)
    blocks = torch.arange(B * 6).view(B, 6) if paged else None
    if paged:
        k, v = (x.repeat(6, 1, 1, 1)[:, :, :25] for x in (k, v))
    with traffic.count() as counted:
        decode(q, k, v, torch.full((B,), S), blocks=blocks, left=left, n_splits=3, tile=TILE)
    formula = traffic.decode_bytes(B, H, G, S, D, TILE, 3, 2, left)
    tables = 8 * B * G * (S if left is None else left + 1) if paged else 0  # 8 bytes a key say where its block is
    close(counted, traffic.Bytes(formula.loaded + tables, formula.stored))


def test_lanes_that_are_off_do_not_count():
    """A head of 20 numbers in a tile of 32 columns; 33 queries in two tiles of 32 rows."""
    q, k, v = heads(1, 1, 1, 33, 7, 20)
    with traffic.count() as counted:
        forward(q, k, v, Pattern(), scale=1.0, tile=TILE)
    assert (counted.loaded, counted.stored) == ((33 + 2 * 2 * 7) * 20 * 2, 33 * (20 * 2 + 4))


def test_every_way_to_memory_counts():
    """A table of 5 x 12 in a tile of 8 x 16."""
    x, y = torch.randn(5, 12), torch.zeros(5, 12)
    with traffic.count() as counted:
        copy_kernel[(1,)](x, y, 5, 12)
    assert torch.equal(y, x) and counted == traffic.Traffic(5 * 12 * 4, 5 * 12 * 4)


def test_counting_ends_with_its_block():
    q, k, v = heads(1, 1, 1, 8, 8, 16)
    with traffic.count() as counted:
        pass
    forward(q, k, v, Pattern(), scale=1.0, tile=TILE)
    assert counted == traffic.Traffic(0, 0)


def test_counting_needs_the_interpreter(monkeypatch):
    monkeypatch.setattr("triton.knobs.runtime.interpret", False)
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1"), traffic.count():
        pass


@pytest.mark.parametrize("pattern", [Pattern(lengths=torch.tensor([3])), Pattern(documents=torch.zeros(1, 8))])
def test_no_formula_for_tables(pattern):
    with pytest.raises(ValueError, match="use count"):
        traffic.forward_bytes(1, 1, 1, 8, 8, 16, TILE, 2, pattern)


def test_what_the_formulas_say():
    """Causal halves the work, a window makes it linear in length, naive attention pays 4 times for the table of scores.

    Each of its T S entries costs naive attention 4 elements; in tiles it costs 2 D elements in m.
    """
    tile, sizes = Tile(128, 64, 8, 2), (1, 16, 16, 8192, 8192, 64)
    full = traffic.forward_bytes(*sizes, tile, 2, Pattern())
    causal = traffic.forward_bytes(*sizes, tile, 2, Pattern(right=0))
    naive = traffic.naive_bytes(*sizes, 2)
    assert causal.loaded == pytest.approx(full.loaded / 2, rel=0.03)
    assert sum(naive) == pytest.approx(4 / (2 * 64 / 128) * sum(full), rel=0.02)
    window = [traffic.forward_bytes(1, 1, 1, n, n, 64, tile, 2, Pattern(255, 0)).loaded for n in (4096, 8192)]
    assert window[1] == pytest.approx(2 * window[0], rel=0.03)
    flops = traffic.forward_flops(1, 16, 8192, 8192, 64, tile, Pattern())
    assert flops == 4 * 16 * 8192 * 8192 * 64


def test_the_slower_of_two_decides():
    gpu = traffic.Gpu("toy", 100.0, 10.0, "")
    assert traffic.predicted_seconds(200, 1, gpu) == 2 and traffic.predicted_seconds(1, 30, gpu) == 3
    assert [gpu.flops / gpu.bandwidth for gpu in traffic.GPUS.values()] == pytest.approx([203, 153, 295], rel=0.01)
