"""What is claimed of `lib.sample`, each with its reference. Random models and logits, the same in every run."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from lib.spec import Spec, get
from tests.claims import Claim, largest
from tests.sample import twins

FILTERS = {
    "Temperature": "TemperatureLogitsWarper",
    "TopK": "TopKLogitsWarper",
    "TopP": "TopPLogitsWarper",
    "MinP": "MinPLogitsWarper",
    "Typical": "TypicalLogitsWarper",
    "RepetitionPenalty": "RepetitionPenaltyLogitsProcessor",
}
SMALL: Spec = get("gpt2").but(n_vocab=5, n_positions=8, n_layers=2, n_heads=2, d_model=8, d_ff=12)

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def filter_claim(name: str) -> Claim:
    reference = f"transformers.{FILTERS[name]}: distributions, ties and ends of the range"
    return Claim(name, reference, 0.0, partial(largest, rngs, partial(twins.filter_error, name), 0.0, 300))


MODELS = f"{twins.N_MODELS} random GPT-2, unequal prompts, stops"
CHI = "exact, by every answer there is: chi-square over its 0.1% bound"

CLAIMS = [
    *map(filter_claim, FILTERS),
    Claim("generate, greedy", f"transformers.generate: ids, {MODELS}", 0.0, twins.greedy_error),
    Claim("beam_search", f"transformers.generate: all beams, ids and scores, {MODELS}", 0.0, twins.beam_error),
    Claim("contrastive_search", f"the paper's equation without a cache: ids, {MODELS}", 0.0, twins.contrastive_error),
    Claim("generate, drawn", CHI, 1.0, partial(twins.drawn_error, SMALL, False)),
    Claim("speculate, drawn", CHI, 1.0, partial(twins.drawn_error, SMALL, True)),
]
