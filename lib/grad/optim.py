"""Optimizers: how a parameter moves, given its gradient. Step by step equal to those of torch.optim.

    optimizer = Adam(model.parameters(), lr=1e-3)
    loss.backward(); optimizer.step(); optimizer.zero_grad()

Notation: w a parameter, g its gradient, t the number of the step, from 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from lib.grad.tensor import Tensor


class Optimizer:
    """What all optimizers share. A subclass says in `change(i, w, g)` what to add to parameter number i.

    `weight_decay` adds weight_decay * w to the gradient: the derivative of weight_decay / 2 * |w|^2 in the loss.
    Raises ValueError when there is nothing to optimise, or a setting is negative.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0):
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: there are no parameters; pass model.parameters()")
        if any(not isinstance(p, Tensor) or not p.requires_grad for p in self.params):
            raise ValueError(f"{type(self).__name__}: every parameter must be a Tensor with requires_grad=True")
        if lr < 0 or weight_decay < 0:
            raise ValueError(
                f"{type(self).__name__}: lr and weight_decay must not be negative, got {lr}, {weight_decay}"
            )
        self.lr = lr
        self.weight_decay = weight_decay

    def change(self, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def gradient(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The gradient of the loss with weight decay."""
        return g + self.weight_decay * w if self.weight_decay else g

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for i, p in enumerate(self.params):
            if p.grad is not None:
                p.add_(self.change(i, p._array, p.grad))

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward() starts from nothing."""
        for p in self.params:
            p.grad = None


class SGD(Optimizer):
    """Stochastic gradient descent: w <- w - lr v, with v <- momentum v + g (v is g where there is no momentum).

    v starts as the first g, as in torch. Source: B. Polyak (1964), "Some methods of speeding up the convergence of
    iteration methods".
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0, weight_decay: float = 0.0):
        super().__init__(params, lr, weight_decay)
        self.momentum = momentum
        self._velocity: dict[int, np.ndarray] = {}

    def change(self, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        g = self.gradient(w, g)
        if self.momentum:
            g = self._velocity[i] = self.momentum * self._velocity[i] + g if i in self._velocity else g.copy()
        return -self.lr * g


class Adam(Optimizer):
    """Adam: w <- w - lr m' / (sqrt(v') + eps), with running means m of g and v of g^2.

    m <- b1 m + (1 - b1) g and v <- b2 v + (1 - b2) g^2 start at 0; m' = m / (1 - b1^t), v' = v / (1 - b2^t) undo that.
    Source: D. Kingma, J. Ba (2015), "Adam", algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr, weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must be from 0 up to but not including 1, got {betas}")
        self.betas = betas
        self.eps = eps
        self._means = [(np.zeros_like(p._array), np.zeros_like(p._array)) for p in self.params]
        self._steps = [0] * len(self.params)

    def change(self, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        g = self.gradient(w, g)
        (b1, b2), (m, v) = self.betas, self._means[i]
        self._steps[i] += 1
        m += (1 - b1) * (g - m)
        v += (1 - b2) * (g * g - v)
        m_scale, v_scale = 1 - b1 ** self._steps[i], 1 - b2 ** self._steps[i]
        return (-self.lr / m_scale) * m / (np.sqrt(v) / math.sqrt(v_scale) + self.eps)


class AdamW(Adam):
    """Adam whose weight decay acts on the weight and not through the gradient: w <- w - lr weight_decay w first.

    Source: I. Loshchilov, F. Hutter (2019), "Decoupled Weight Decay Regularization", algorithm 2; the default of torch.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)

    def gradient(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return g

    def change(self, i: int, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return super().change(i, w, g) - self.lr * self.weight_decay * w
