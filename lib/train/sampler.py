"""Which examples a step sees, and the random numbers of each batch: functions of the seed and the position alone."""

from __future__ import annotations

import numpy as np
import torch

ORDER, BATCH, GLOBAL = range(3)
"""Uses of the seed; each has random numbers of its own."""


def mixed(seed: int, use: int, *at: int) -> int:
    """A seed of 64 bits for one use at one place; seeds that differ in one number have nothing in common.

    (`numpy.random.SeedSequence`, which mixes its entropy for this purpose.)
    """
    return int(np.random.SeedSequence((seed, use, *at)).generate_state(1, np.uint64)[0])


def generator(seed: int, step: int, rank: int, part: int) -> torch.Generator:
    """What is random in one batch: that of a process (`rank`) and of a part, where it accumulates several."""
    return torch.Generator().manual_seed(mixed(seed, BATCH, step, rank, part))


class Sampler:
    """An endless sequence of example numbers: epoch after epoch, each a permutation drawn from (seed, epoch).

    A batch is the next piece of that sequence. Where the number of examples is no multiple of the batch, the batch at
    the end of an epoch takes its last examples and the first of the next epoch: every batch is full, and every example
    is seen exactly once in each epoch.
    """

    def __init__(self, n_examples: int, seed: int) -> None:
        if n_examples < 1:
            raise ValueError("There are no training examples: len(task.train) is 0.")
        self.n_examples = n_examples
        self.seed = seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def numbers(self, first: int, count: int) -> list[int]:
        """`count` example numbers, from position `first` of the sequence on."""
        chosen: list[int] = []
        while len(chosen) < count:
            epoch, at = divmod(first + len(chosen), self.n_examples)
            chosen += self._permutation(epoch)[at : at + count - len(chosen)].tolist()
        return chosen

    def _permutation(self, epoch: int) -> np.ndarray:
        """The order of an epoch; that of the last one asked for is kept."""
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, ORDER, epoch))
            self._epoch, self._order = epoch, rng.permutation(self.n_examples)
        return self._order
