"""What is claimed of the tiled attention, each with its reference. Random features, shapes and numbers."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from hypothesis import strategies as st

from lib.attention import flash
from tests.attention.flash.cases import FEATURES, draw, reference
from tests.claims import Claim, largest

REFERENCE = "core.weights and autograd, float64: outputs, log-sum-exp, gradients"

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def flash_error(rng: np.random.Generator) -> float:
    """Some features at once, in float64, tiles of any size."""
    case = _some_features(rng, torch.float64)
    return _largest(case.call(flash, tile=int(rng.integers(1, 20))), reference(case))


def triton_error(rng: np.random.Generator) -> float:
    """Some features at once, in float32, on a GPU or in Triton's interpreter."""
    from lib.attention import flash_triton
    from lib.attention.flash_triton.tiles import Tile

    case = _some_features(rng, torch.float32)
    return _largest(case.call(flash_triton, tile=Tile(16, 16, 4, 1)), reference(case))


def _some_features(rng: np.random.Generator, dtype: torch.dtype):
    features = {name for name in FEATURES if rng.integers(2)}
    T, S = rng.integers(1, 24, 2).tolist()
    return draw(rng, features - {"shift"} if "documents" in features else features, dtype, T=T, S=S)


def _largest(found, expected) -> float:
    """Relative to the larger of 1 and the largest entry, as in tests/claims.py; -inf is like -inf."""
    assert found.keys() == expected.keys()
    error = 0.0
    for name, y in expected.items():
        nothing = y == -torch.inf
        assert torch.equal(found[name] == -torch.inf, nothing)
        off = (found[name].double() - y).masked_fill(nothing, 0).abs().max()
        error = max(error, float(off / y.masked_fill(nothing, 0).abs().max().clamp(min=1)))
    return error


CLAIMS = [
    Claim("flash.py", REFERENCE, 1e-10, partial(largest, rngs, flash_error, 1e-10)),
    Claim(  # the rounding of float32
        "flash_triton, float32", REFERENCE, 1e-6, partial(largest, rngs, triton_error, 1e-6, examples=12)
    ),
]
