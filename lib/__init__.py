"""From Perceptron to GPT: the verified implementations behind the course.

`import lib` needs only torch and numpy. Data flows down this list, and a module imports from the
ones above it, never from below: data -> grad, tokens -> layers, attention -> stack -> heads -> zoo -> train -> tasks ->
sample. `recipe` and `cli` stand at the end: what a user starts.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds `lib`, `data` and `notebooks`; notebooks find their files relative to it."""


def seed(n: int) -> np.random.Generator:
    """Seed Python's, NumPy's and torch's random numbers with `n`; return a NumPy generator seeded the same way."""
    import numpy as np
    import torch

    random.seed(n)
    np.random.seed(n)
    torch.manual_seed(n)
    return np.random.default_rng(n)
