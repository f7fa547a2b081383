"""What is claimed of `lib.zoo.gpt2`. Random sizes and numbers, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.zoo.family import claims
from tests.zoo.gpt import verified as gpt


def config(rng: np.random.Generator) -> dict[str, Any]:
    choices = {"pad_token_id": 0, "activation_function": str(rng.choice(["gelu_new", "gelu", "relu", "silu"]))}
    inner = {"n_inner": None if rng.integers(2) else int(rng.integers(1, 9))}
    return gpt.config(rng) | choices | inner | {"tie_word_embeddings": bool(rng.integers(2))}


CLAIMS = claims("gpt2", config, ("GPT2Model", "GPT2ForSequenceClassification", "GPT2LMHeadModel"), cached=True)
