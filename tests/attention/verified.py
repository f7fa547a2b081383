"""What is claimed of `lib.attention`, each with its reference. Random shapes and numbers, the same every run."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from hypothesis import strategies as st

from tests.attention import backend_twins, score_twins, twins
from tests.claims import Claim, largest

TOLERANCE = 1e-10

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claim(name, reference, error, tolerance=TOLERANCE) -> Claim:
    return Claim(name, reference, tolerance, partial(largest, rngs, error, tolerance))


def cached(name: str) -> list[Claim]:
    alone = "each whole sequence, uncached: outputs"
    return [
        claim(f"{name}, float64", alone, partial(twins.cache_error, name, torch.float64)),
        claim(f"{name}, float32", alone, partial(twins.cache_error, name, torch.float32), 1e-6),  # rounding of float32
    ]


SDPA = "torch scaled_dot_product_attention, float64: outputs, gradients"
PAIRS = "Python, pair by pair, float64: scores"
MHA = "torch.nn.MultiheadAttention, float64: outputs, weights, gradients"

REFERENCE = "lib.attention.core.attend, float64: outputs, gradients"

COMPILED = Claim(
    "attend, packed documents in a window, composed scores",
    "torch flex_attention, compiled, float32: outputs",
    1e-6,  # rounding of float32
    twins.compiled_error,
)

FLEX = Claim(
    "attention, backend flex: packed windows, global tokens, blind queries",
    REFERENCE.replace(", gradients", ""),
    1e-6,  # rounding of float32
    backend_twins.compiled_error,
)

CLAIMS = [
    claim("attend, grouped heads, masks, biases", SDPA, twins.sdpa_error),
    claim("attend, every mask, every score", "torch flex_attention, eager, float64: outputs", twins.flex_error),
    COMPILED,
    claim("attend, blind queries", "the same queries left out, float64: outputs, gradients", twins.blind_error),
    claim("attend, sinks", SDPA, backend_twins.sinks_error),
    claim(
        "attention, backend sdpa: masks, scores, sinks",
        REFERENCE,
        partial(backend_twins.backend_error, "sdpa", torch.float64),
    ),
    claim(
        "attention, backend flash: patterns, sinks",
        REFERENCE,
        partial(backend_twins.backend_error, "flash", torch.float64),
        1e-6,  # a Pattern's slopes of ALiBi are float32
    ),
    FLEX,
    claim(
        "Attention in its slot attention", "torch.nn.MultiheadAttention, float64: outputs", backend_twins.layer_error
    ),
    claim("Attention, self", MHA, partial(twins.mha_error, False)),
    claim("Attention, grouped heads, causal", MHA.replace("weights, ", ""), twins.grouped_error),
    claim("Attention, cross", MHA, partial(twins.mha_error, True)),
    claim("T5Bias", "whole numbers in Python, pair by pair, float64: scores", score_twins.t5_error),
    claim("RelativeBias", PAIRS, score_twins.relative_error),
    claim("alibi", PAIRS, score_twins.alibi_error),
    claim("Compose: alibi, soft_cap", PAIRS, score_twins.composed_error),
    *(claim for name in twins.CACHES for claim in cached(name)),
]
