"""What is trained: a model, its examples, its loss and its score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Batch = Any
"""What `Examples.batch` returns and `Task.loss` takes: a tensor, or a tuple, list or dict of tensors."""


class Examples(Protocol):
    """Training examples that are found by number."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int], rng: torch.Generator) -> Batch:
        """The examples with these numbers, as one batch. Whatever is random in it is drawn from `rng`."""
        ...


@dataclass(frozen=True)
class Task:
    """A model and what to do with it.

    loss(model, batch) -> (total, count): the loss summed over what is counted (examples, or tokens that are not
    padding), and how many were counted. The loop divides by the count of the *whole* global batch, so accumulating over
    small batches, or sharing one among processes, gives the gradient of the large batch also where the counts differ.
    The batch comes on the model's device; the model is to be called, as model(x), never by one of its other methods.

    evaluate(model) -> {"accuracy": 0.91, ...}: called in eval mode without gradients. It brings its own data to the
    model's device: next(model.parameters()).device.
    """

    model: nn.Module
    train: Examples
    loss: Callable[[nn.Module, Batch], tuple[Tensor, Tensor | int]]
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None
    watch: str = ""
    """The metric of `evaluate` that early stopping and the best checkpoint look at; "" watches nothing."""
    better: Callable[[float, float], float] = max
    """`max` where more of the watched metric is better, `min` where less is."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """What parameters get of the rate of a step, by how their names begin; all of it where nothing is said."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else the run is made of, as plain values: kept in each checkpoint, and compared when the run goes on."""


class TensorExamples:
    """Examples that lie in tensors of equal length; a batch is the tuple of their rows.

    transform(rows, rng), where given, gets the tuple of rows and returns the batch: augmentation, for example.
    """

    def __init__(
        self, *tensors: Tensor, transform: Callable[[tuple[Tensor, ...], torch.Generator], Batch] | None = None
    ) -> None:
        lengths = [len(tensor) for tensor in tensors]
        if not lengths or len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(f"The tensors must have one common length, at least 1; their lengths are {lengths}.")
        self.tensors = tensors
        self.transform = transform

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, indices: Sequence[int], rng: torch.Generator) -> Batch:
        chosen = torch.as_tensor(indices)
        rows = tuple(tensor[chosen] for tensor in self.tensors)
        return self.transform(rows, rng) if self.transform else rows
