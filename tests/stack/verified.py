"""What is claimed of `lib.stack`, each with its reference. Random specifications and numbers, the same in every run."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from hypothesis import strategies as st

from tests.claims import Claim, largest
from tests.stack import twins

TOLERANCE = 1e-10

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claim(name, reference, error, tolerance=TOLERANCE, examples=20) -> Claim:
    return Claim(name, reference, tolerance, partial(largest, rngs, error, tolerance, examples))


def claims_of(kind: str, reads: bool) -> list[Claim]:
    alone = "each row alone, uncached: logits"
    return [
        claim(
            f"{kind}, padded batches",
            "each row alone, float64: all hidden states",
            partial(twins.padding_error, reads),
        ),
        claim(f"{kind}, cached, float64", alone, partial(twins.cache_error, reads, torch.float64)),
        claim(f"{kind}, cached, float32", alone, partial(twins.cache_error, reads, torch.float32), 1e-6),  # rounding
    ]


STATES = "all hidden states, gradients, float64"

CLAIMS = [
    claim("Stack of Block, any masks", f"torch.nn.TransformerEncoder: {STATES}", partial(twins.stack_error, False)),
    claim("Stack of CrossBlock, any masks", f"torch.nn.TransformerDecoder: {STATES}", partial(twins.stack_error, True)),
    *claims_of("Single", False),
    *claims_of("EncoderDecoder", True),
]
