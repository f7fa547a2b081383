"""Bytes counted in the interpreter against the formulas, and what the formulas say."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

from lib.attention import traffic
from lib.attention.flash_triton import backward, forward
from lib.attention.flash_triton.decode import decode
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern

TILE = Tile(m=32, n=16, n_warps=4, n_stages=2)
PATTERNS = {
    "full": Pattern(),
    "causal": Pattern(right=0),
    "window": Pattern(left=39, right=0),
    "both sides": Pattern(left=20, right=10),
    "shifted": Pattern(left=64, right=0, shift=40),
}
SIZES = [(1, 4, 2, 200, 200, 16), (2, 2, 1, 70, 130, 24)]  # B, H, G, T, S, D; lengths that no tile divides


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
    close(back, traffic.backward_bytes(*sizes, TILE, 2, pattern))


@pytest.mark.parametrize("left", [None, 49])
@pytest.mark.parametrize("paged", [False, True])
def test_decode(paged, left):
    B, H, G, S, D = 2, 6, 2, 150, 32
    q, k, v = heads(B, H, G, 1, S, D)
    blocks = torch.arange(B * 6).view(B, 6) if paged else None
    if paged:
        k, v = (x.repeat(6, 1, 1, 1)[:, :, :25] for x in (k, v))
    with traffic.count() as counted:
        decode(q, k, v, torch.full((B,), S), blocks=blocks, left=left, n_splits=3)
    formula = traffic.decode_bytes(B, H, G, S, D, 3, 2, left)
    tables = 8 * B * G * (S if left is None else left + 1) if paged else 0  # 8 bytes a key say where its block is
    close(counted, traffic.Bytes(formula.loaded + tables, formula.stored))
