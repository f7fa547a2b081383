"""Claims about a member of the family that `transformers` has too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests import hf
from tests.claims import Claim, largest

TOLERANCE = 1e-10
WHAT = "padded batches, all hidden states, answers, losses, gradients, float64"

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claims(
    name: str, config: Callable[[np.random.Generator], dict[str, Any]], heads: tuple[str, ...], cached: bool = False
) -> list[Claim]:
    """One for each class of theirs; where `cached`, one more for the last of them. `config` draws a configuration."""

    def claim(architecture: str, what: str, compare: Callable[..., float], examples: int) -> Claim:
        def error(rng: np.random.Generator) -> float:
            two = {"num_labels": 2} if architecture.endswith("QuestionAnswering") else {}  # where it begins and ends
            return compare(architecture, config(rng) | two, rng)

        reference = f"transformers.{architecture}: {what}"
        return Claim(name, reference, TOLERANCE, partial(largest, rngs, error, TOLERANCE, examples))

    found = [claim(each, WHAT, hf.error, 10) for each in heads]
    cache = "its whole sequences beside our cache, logits, float64"
    return [*found, *([claim(heads[-1], cache, hf.cached_error, 10)] if cached else [])]
