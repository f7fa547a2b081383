"""A task for the tests: a straight line through points."""

from dataclasses import dataclass

import torch
from torch import nn

from lib.train import Task, TensorExamples


@dataclass(frozen=True)
class Options:
    slope: float = 2.0
    broken: bool = False


def build(options: Options, seed: int) -> Task:
    x = torch.linspace(-1, 1, 64)[:, None]
    y = x * options.slope / (0.0 if options.broken else 1.0)

    def loss(model, batch):
        x, y = batch
        return ((model(x) - y) ** 2).sum(), len(x)

    def evaluate(model):
        return {"error": float((model(x) - y).abs().mean())}

    return Task(nn.Linear(1, 1), TensorExamples(x, y), loss, evaluate, watch="error", better=min)
