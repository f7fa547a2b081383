"""Layers on tensors, named and shaped as in torch.nn, so that weights can be copied across.

Each layer takes the random generator that draws its weights: `rng = lib.seed(0); Linear(784, 256, rng=rng)`. The same
seed gives the same layer. Weights are float64 unless `dtype=np.float32`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from lib.grad.functions import integers, layer_norm, linear
from lib.grad.tensor import Tensor


class Module:
    """What all layers share: they find their parameters, and know whether they are in training.

    A parameter is an attribute that is a `Tensor` with `requires_grad`; a part is an attribute that is a `Module`, or a
    list or tuple of them. Write `forward`, and call the layer.
    """

    training = True
    forward: Callable[..., Tensor]

    def __call__(self, *args) -> Tensor:
        return self.forward(*args)

    def modules(self) -> Iterator[Module]:
        """This module and all its parts, parts of parts included."""
        yield self
        for attribute in vars(self).values():
            for part in attribute if isinstance(attribute, (list, tuple)) else [attribute]:
                if isinstance(part, Module):
                    yield from part.modules()

    def parameters(self) -> list[Tensor]:
        """Every tensor to be learned, once, in the order in which the attributes were set."""
        found = [t for m in self.modules() for t in vars(m).values() if isinstance(t, Tensor) and t.requires_grad]
        return list(dict.fromkeys(found))

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def train(self, mode: bool = True) -> Module:
        """Switch this module and its parts to training, or to evaluation with `mode=False`."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch this module and its parts to evaluation."""
        return self.train(False)


class Linear(Module):
    """y = x W^T + b. x: (..., d_in), y: (..., d_out); weight (d_out, d_in), bias (d_out,).

    Weights and bias start uniform in +-1 / sqrt(d_in), as in torch: what K. He et al. (2015), "Delving Deep into
    Rectifiers", equation 10, gives for a leaky ReLU of slope sqrt(5).
    """

    def __init__(
        self, d_in: int, d_out: int, *, rng: np.random.Generator, bias: bool = True, dtype: DTypeLike = np.float64
    ):
        bound = 1 / math.sqrt(d_in)
        self.weight = Tensor(rng.uniform(-bound, bound, (d_out, d_in)), requires_grad=True, dtype=dtype)
        self.bias = Tensor(rng.uniform(-bound, bound, d_out), requires_grad=True, dtype=dtype) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class MLP(Module):
    """Linear layers with an activation between them: MLP([784, 256, 10], rng=rng) maps (..., 784) to (..., 10)."""

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        rng: np.random.Generator,
        activation: Callable[[Tensor], Tensor] = Tensor.relu,
        dtype: DTypeLike = np.float64,
    ):
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must name the input and the output at least, got {list(sizes)}")
        self.layers = [Linear(a, b, rng=rng, dtype=dtype) for a, b in itertools.pairwise(sizes)]
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class Embedding(Module):
    """A table with one learned row for each of `n` symbols: ids (...) -> (..., d). Rows start as N(0, 1), as in torch.

    Raises TypeError for ids that are not integers, IndexError for one that is not from 0 to n - 1.
    """

    def __init__(self, n: int, d: int, *, rng: np.random.Generator, dtype: DTypeLike = np.float64):
        self.weight = Tensor(rng.standard_normal((n, d)), requires_grad=True, dtype=dtype)

    def forward(self, ids) -> Tensor:
        ids = integers("Embedding", ids)
        n = len(self.weight)
        if ids.size and (ids.min() < 0 or ids.max() >= n):
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise IndexError(f"Embedding: an id must be from 0 to {n - 1}, got {wrong}")
        return self.weight[ids]


class LayerNorm(Module):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias over the last axis, of size d. Starts as weight 1, bias 0.

    Source: J. Ba, J. Kiros, G. Hinton (2016), "Layer Normalization", equation 4; eps as in torch.
    """

    def __init__(self, d: int, *, eps: float = 1e-5, dtype: DTypeLike = np.float64):
        self.weight = Tensor(np.ones(d), requires_grad=True, dtype=dtype)
        self.bias = Tensor(np.zeros(d), requires_grad=True, dtype=dtype)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


class Dropout(Module):
    """In training, sets each entry to 0 with probability p and divides the others by 1 - p; else changes nothing.

    Dividing keeps the mean of each entry, so evaluation needs no correction.
    Source: N. Srivastava et al. (2014), "Dropout", section 10 (the form that scales in training).
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is a probability, from 0 up to but not including 1, got {p}")
        self.p = p
        self.rng = rng

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = self.rng.random(x.shape) >= self.p
        return x * (keep / (1 - self.p))
