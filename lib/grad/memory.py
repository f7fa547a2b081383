"""Has an array changed since it was used? A version counter for NumPy arrays, which have none.

Backward uses arrays that forward computed, so they must not change in between. NumPy does not say when an array is
written to, so a `Memory` watches the arrays that matter: those that a graph needs *and* that somebody outside the
engine has had in hand (`t.data`). Of these it keeps a copy and compares before use. All others cost nothing, as nobody
can reach them: a `Tensor` copies the data that it is made from.

Limits: a change that was undone again before backward is not seen, and does no harm; nor is one made through a private
attribute (a name with a leading underscore).
"""

from __future__ import annotations

import numpy as np


class Memory:
    """A block of memory, shared by a tensor and its views, and how often its contents have changed."""

    __slots__ = ("array", "copy", "exposed", "needed", "version")

    def __init__(self, array: np.ndarray):
        self.array = array
        self.version = 0
        self.exposed = False  # has the array been handed out, so that it may be changed?
        self.needed = False  # does a graph rely on its contents?
        self.copy = None

    def current_version(self) -> int:
        """The number of changes so far; a change through a handed-out array is found by comparing with the copy."""
        if self.exposed and self.needed:
            if self.copy is None:
                self.copy = self.array.copy()
            elif not same_bits(self.array, self.copy):
                self.copy[...] = self.array
                self.version += 1
        return self.version


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of one shape and dtype hold the same numbers, NaN included."""
    integer = f"i{a.itemsize}"  # as floats, NaN would differ from itself
    return np.array_equal(a.view(integer), b.view(integer))
