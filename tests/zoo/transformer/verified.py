"""What is claimed of `lib.zoo.transformer`. Random shapes and numbers, the same in every run."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from tests.claims import Claim, largest
from tests.zoo.transformer.reference import error

TOLERANCE = 1e-10
WHAT = "padded batches, all hidden states, logits, gradients, float64"

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claim(name: str, final: bool) -> Claim:
    reference = f"torch.nn.Transformer{'' if final else ' without its final norms'}: {WHAT}"
    return Claim(name, reference, TOLERANCE, partial(largest, rngs, partial(error, name, final), TOLERANCE, 20))


CLAIMS = [claim(name, final) for name in ("transformer", "transformer-pre-norm") for final in (False, True)]
