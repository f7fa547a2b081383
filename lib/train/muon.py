"""Muon: momentum whose directions all count alike, for the matrices inside a network.

The gradient of a matrix is mostly a few strong directions. Muon moves along every one of them by the same amount: of
the momentum's singular value decomposition U S V^T it takes about U V^T. What is no matrix between two hidden layers,
such as embeddings, norms and the last layer, is left to AdamW.

K. Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks". torch.optim.Muon is the same for one
matrix after the other, in bfloat16; here equal shapes go together and in their own precision, which a CPU does faster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (
    (8.3837, -24.7662, 18.3573),
    (4.0434, -3.0114, 0.5695),
    (3.5056, -2.6267, 0.5257),
    (2.4901, -1.8343, 0.4368),
)
"""a, b, c of each round: the polynomials that bring all singular values from 0.003 to 1 closest to 1, to 0.8 to 1.2;
smaller ones grow almost 300-fold. N. Amsel et al. (2025), "The Polar Express", section 3, whose own begin at 0.001."""


def hidden(model: nn.Module) -> list[Tensor]:
    """The matrices of the linear layers in a model's lists of blocks (nn.ModuleList) that ask for a gradient."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    layers = [each for blocks in lists for each in blocks.modules() if isinstance(each, nn.Linear)]
    return list(dict.fromkeys(layer.weight for layer in layers if layer.weight.requires_grad))


def orthogonal(x: Tensor) -> Tensor:
    """For each matrix of x (n, M, N): U q(S) V^T, where every singular value q(s) is near 1.

    Each round is s -> a s + b s^3 + c s^5 for all singular values at once, which takes no decomposition: with
    r = x x^T and p = a + b r + c r^2 it is x -> p x. Until the end only the small side of the matrix is worked on:
    r -> p r p, and the product q of all p.
    """
    wide = x if x.shape[-2] <= x.shape[-1] else x.mT
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # the largest singular value is now at most 1
    r, q = wide @ wide.mT, None  # M M
    for i, (a, b, c) in enumerate(COEFFICIENTS):
        p = torch.baddbmm(r, r, r, beta=b, alpha=c)
        p.diagonal(dim1=-2, dim2=-1).add_(a)
        q = p if q is None else p @ q
        if i < len(COEFFICIENTS) - 1:
            r = p @ r @ p
    assert q is not None
    y = q @ wide
    return y if x.shape[-2] <= x.shape[-1] else y.mT


class Muon(torch.optim.Optimizer):
    """Muon for the parameters of the groups that say "muon": True, AdamW for the others.

        m <- momentum m + (1 - momentum) g
        w <- w - lr weight_decay w - lr 0.2 sqrt(max(M, N)) orthogonal(momentum m + (1 - momentum) g)

    The factor makes a step as long as AdamW's usually are, so one rate serves both: J. Liu et al. (2025), "Muon is
    Scalable for LLM Training", section 2.2. ValueError where a parameter for Muon is no matrix.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float, betas: tuple[float, float]):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "muon": False, "weight_decay": 0.0})
        for group in self.param_groups:
            wrong = [tuple(p.shape) for p in group["params"] if group["muon"] and p.ndim != 2]
            if wrong:
                raise ValueError(f"Muon is for matrices; found a parameter of shape {wrong[0]}: give it to AdamW.")
        others = [group for group in self.param_groups if not group["muon"]]
        self._adamw = torch.optim.AdamW(others, lr=lr, betas=betas)  # the same groups, with rates that change here too
        self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. A parameter without a gradient stays as it is."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        self._adamw.step()
        for group in self.param_groups:
            alike: dict[Any, list[Tensor]] = defaultdict(list)
            for p in group["params"] if group["muon"] else ():
                if p.grad is not None:
                    alike[p.shape, p.dtype, p.device].append(p)
            for parameters in alike.values():
                self._move(group, parameters)
        return loss

    def _move(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """Update parameters of one shape together."""
        lr, beta = group["lr"], group["momentum"]
        gradients = torch.stack([p.grad for p in parameters if p.grad is not None])  # n M N
        momenta = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in parameters]
        for momentum, gradient in zip(momenta, gradients, strict=True):
            momentum.lerp_(gradient, 1 - beta)
        ahead = gradients.lerp_(torch.stack(momenta), beta)
        size = 0.2 * max(parameters[0].shape) ** 0.5
        for p, direction in zip(parameters, orthogonal(ahead), strict=True):
            p.mul_(1 - lr * group["weight_decay"]).add_(direction, alpha=-lr * size)
