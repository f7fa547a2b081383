"""What is claimed of `lib.layers.pos`, each with its reference. Random shapes and numbers, the same every run."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from tests.claims import Claim, largest
from tests.layers.pos import twins

TOLERANCE = 1e-10

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def claim(name, reference, error) -> Claim:
    return Claim(name, reference, TOLERANCE, partial(largest, rngs, error, TOLERANCE))


COMPLEX = "complex numbers in NumPy, from wavelengths, float64: outputs"

CLAIMS = [
    claim("Sinusoidal", "NumPy, from wavelengths, float64: outputs", twins.sinusoidal_error),
    *(claim(name, COMPLEX, partial(twins.rotary_error, *case)) for name, case in twins.SCALINGS.items()),
]
