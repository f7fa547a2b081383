"""What is claimed of `lib.zoo.seq2seq`, each with its reference. Random shapes and numbers, the same in every run."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from tests.claims import Claim, largest
from tests.zoo.seq2seq import reference

TOLERANCE = 1e-10

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claim(name, what, error) -> Claim:
    return Claim(name, what, TOLERANCE, partial(largest, rngs, error, TOLERANCE))


def claims_of(attention) -> list[Claim]:
    name = attention.__name__
    loops = "explicit loops over the real positions, float64"
    cells = "GRU cells and loops, row by row without padding, float64"
    return [
        claim(
            f"{name} attention, masked", f"{loops}: weights, gradients", partial(reference.attention_error, attention)
        ),
        claim(f"Seq2Seq, {name}", f"{cells}: loss, gradients", partial(reference.model_error, attention)),
    ]


CLAIMS = [
    claim("Seq2Seq's Encoder", "torch.nn.GRU, packed, float64: memory, state, gradients", reference.encoder_error),
    *(claim for attention in reference.ATTENTIONS for claim in claims_of(attention)),
    claim("beam search", "every target there is: hypotheses, order, log-probabilities", reference.beam_error),
    claim("greedy decoding", "a beam of width 1: pieces, log-probabilities", reference.greedy_error),
]
