"""What is claimed of `lib.zoo.resnet`. Random shapes and numbers, the same in every run."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from tests.claims import Claim, largest
from tests.zoo.resnet.reference import error

TOLERANCE = 1e-10
WHAT = "logits, gradients, running statistics"

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claim(name: str, training: bool) -> Claim:
    reference = f"a functional twin of slices and matrix products, float64: {WHAT}"
    return Claim(name, reference, TOLERANCE, partial(largest, rngs, partial(error, training), TOLERANCE))


CLAIMS = [claim("ResNet, in training", True), claim("ResNet, in evaluation", False)]
