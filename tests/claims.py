"""What "verified" means, in one shape: an implementation, its reference, and a function that measures the difference.

A folder of tests that proves implementations has a `verified.py` with a list `CLAIMS`. Its tests assert each claim, and
`scripts/verify.py` measures the same claims and writes them into `docs/verified.md`: one list, two uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True)
class Claim:
    """`name` agrees with `reference` within `tolerance`; `measure()` returns the largest difference it found.

    Differences are relative to the larger of 1 and the reference's largest entry. `measure` raises AssertionError, with
    the smallest case that shows it, as soon as a difference exceeds the tolerance.
    """

    name: str
    reference: str
    tolerance: float
    measure: Callable[[], float]


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the larger of 1 and the largest entry of `theirs`; shapes must be equal."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"shape {ours.shape}, but the reference has {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"dtype {ours.dtype}, but the reference has {theirs.dtype}"
    if not ours.size:
        return 0.0
    return float(np.max(np.abs(ours - theirs)) / max(1.0, np.max(np.abs(theirs))))


def largest(cases: SearchStrategy, error: Callable[..., float], tolerance: float, examples: int = 40) -> float:
    """The largest `error(case)` over `examples` cases, the same ones in every run. Shrinks a case that fails."""
    found = [0.0]

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def examine(case):
        found.append(error(case))
        assert found[-1] <= tolerance, f"off by {found[-1]:.1e}, more than {tolerance:.0e}"

    examine()
    return max(found)
