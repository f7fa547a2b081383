"""A small task that uses all the randomness there is, so that anything a checkpoint forgets shows in the last bit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib.train import Task, TrainConfig

CONFIG = TrainConfig(
    steps=24,
    batch=12,
    accumulate=2,
    optimizer="sgd",
    lr=0.1,
    warmup=4,
    weight_decay=1e-3,
    clip=0.5,
    eval_every=5,
    save_every=3,
    patience=5,
    seed=7,
    accelerator="cpu",
)


class Sentences:
    """50 sequences of 1 to 9 vectors with a class each, padded to 9; a batch is shifted and blurred at random."""

    def __init__(self, n: int = 50) -> None:
        g = torch.Generator().manual_seed(3)
        self.lengths = torch.randint(1, 10, (n,), generator=g)
        self.x = torch.randn(n, 9, 4, generator=g)
        self.y = (self.x.sum(-1) > 0).long() + (self.x[..., 0] > 1).long()

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Sequence[int], rng: torch.Generator):
        chosen = torch.as_tensor(indices)
        noise = 0.1 * torch.randn(len(chosen), 9, 4, generator=rng)
        return self.x[chosen] + noise, self.y[chosen], torch.arange(9) < self.lengths[chosen, None]


class Small(nn.Module):
    """Dropout, batch norm (buffers) and a weight that stands in two places."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.middle = nn.Linear(8, 8, bias=False)
        self.again = nn.Linear(8, 8, bias=False)
        self.again.weight = self.middle.weight
        self.dropout = nn.Dropout(dropout)
        self.leave = nn.Linear(8, 3)

    def forward(self, x):  # B T 4
        x = self.norm(self.enter(x).transpose(1, 2)).transpose(1, 2)
        x = self.dropout(torch.tanh(self.middle(x)))
        return self.leave(torch.tanh(self.again(x)))


def loss(model, batch):
    """Summed over what is not padding; Python's and NumPy's global generators have a say in it too."""
    x, y, real = batch
    wobble = 1 + 1e-3 * (random.random() + np.random.random())  # noqa: NPY002
    return wobble * F.cross_entropy(model(x)[real], y[real], reduction="sum"), real.sum()


def task(dropout: float = 0.2) -> Task:
    """The task, its weights always the same."""
    torch.manual_seed(11)
    examples = Sentences()

    def evaluate(model):
        real = torch.arange(9) < examples.lengths[:, None]
        right = (model(examples.x).argmax(-1) == examples.y)[real]
        return {"accuracy": right.float().mean()}

    return Task(Small(dropout), examples, loss, evaluate, watch="accuracy", options={"dropout": dropout})
