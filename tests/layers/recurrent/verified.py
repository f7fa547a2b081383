"""What is claimed of `lib.layers.recurrent`, each with its reference. Random shapes and numbers, the same every run."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from tests.claims import Claim, largest
from tests.layers.recurrent import twins

TOLERANCE = 1e-10
WHAT = "outputs, states, gradients"

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claim(name, reference, error) -> Claim:
    return Claim(name, reference, TOLERANCE, partial(largest, rngs, error, TOLERANCE))


def claims_of(layer) -> list[Claim]:
    name = layer.__name__
    theirs = f"torch.nn.{name}, float64: {WHAT}"
    return [
        claim(f"{name}Cell", f"torch.nn.{name}Cell, float64: {WHAT}", partial(twins.cell_error, layer.cell)),
        claim(f"{name}, stacked, both directions", theirs, partial(twins.layer_error, layer)),
        claim(f"{name}, ragged", theirs, partial(twins.ragged_error, layer)),
        claim(f"{name}, dropout", theirs, partial(twins.dropout_error, layer)),
    ]


CLAIMS = [
    *(claim for layer in twins.LAYERS for claim in claims_of(layer)),
    claim("bptt, whole and truncated", "torch autograd, float64: gradients", twins.bptt_error),
]
