"""The errors of everything in `lib.grad` that is not in the table of operations: scalars, layers, optimizers.

Each function takes a random generator, builds ours and torch's from the same numbers, and returns the largest
difference.
"""

from __future__ import annotations

import numpy as np
import torch

from lib.grad import MLP, SGD, Adam, AdamW, Embedding, LayerNorm, Linear, Tensor, Value
from tests.claims import difference

STEPS = 50


def scalar_expression(a, b, c):
    """Every operation of `Value`, each result used more than once; also for torch tensors."""
    d = (a * b + c**3 - 2) / (b.exp() + 1.5)
    e = d.tanh() + (d * a - b).sigmoid() * (c * d).relu() + (3 - d).relu()
    f = (e * e + c**2 + 1).log() - 0.5 / (1 + d**2) + (2 * e - d) * -c
    return f + 1 / (f * f + 1) + (b * b + 1) ** -0.5


def scalar_error(rng: np.random.Generator) -> float:
    """Value: the expression and its gradient, beside torch."""
    numbers = rng.normal(size=3)
    ours = [Value(x) for x in numbers]
    theirs = [torch.tensor(x, requires_grad=True) for x in numbers]
    y, z = scalar_expression(*ours), scalar_expression(*theirs)
    y.backward()
    z.backward()
    grads = [x.grad.item() for x in theirs if x.grad is not None]
    return max(difference(y.data, z.item()), difference([x.grad for x in ours], grads))


def layer_error(layer, twin: torch.nn.Module, x: np.ndarray, rng: np.random.Generator) -> float:
    """Outputs and gradients, once every parameter of both is drawn from N(0, 0.2): a bias of 0 would hide a mistake."""
    for p, q in zip(layer.parameters(), twin.parameters(), strict=True):
        p.data = rng.normal(0, 0.2, p.shape)
        q.data = torch.from_numpy(p.data.copy())
    floats = x.dtype == np.float64
    ours = Tensor(x, requires_grad=True) if floats else x
    theirs = torch.from_numpy(x).requires_grad_(floats)
    y, z = layer(ours), twin(theirs)
    g = rng.normal(size=y.shape)
    y.backward(g)
    z.backward(torch.from_numpy(g))
    pairs = [(y.data, z.detach().numpy())]
    pairs += [(p.grad, q.grad.numpy()) for p, q in zip(layer.parameters(), twin.parameters(), strict=True)]
    if floats:
        pairs.append((ours.grad, theirs.grad.numpy()))
    return max(difference(a, b) for a, b in pairs)


def linear_error(rng: np.random.Generator) -> float:
    bias = bool(rng.integers(2))
    twin = torch.nn.Linear(5, 3, bias=bias, dtype=torch.float64)
    return layer_error(Linear(5, 3, rng=rng, bias=bias), twin, rng.normal(size=(2, 4, 5)), rng)


def mlp_error(rng: np.random.Generator) -> float:
    a, b = (torch.nn.Linear(*sizes, dtype=torch.float64) for sizes in ((5, 7), (7, 3)))
    twin = torch.nn.Sequential(a, torch.nn.Tanh(), b)
    return layer_error(MLP([5, 7, 3], rng=rng, activation=Tensor.tanh), twin, rng.normal(size=(4, 5)), rng)


def embedding_error(rng: np.random.Generator) -> float:
    twin = torch.nn.Embedding(5, 3, dtype=torch.float64)
    return layer_error(Embedding(5, 3, rng=rng), twin, rng.integers(0, 5, (4, 6)), rng)


def layer_norm_error(rng: np.random.Generator) -> float:
    twin = torch.nn.LayerNorm(6, eps=0.1, dtype=torch.float64)
    return layer_error(LayerNorm(6, eps=0.1), twin, rng.normal(size=(3, 4, 6)), rng)


def optimizer_error(ours_class, theirs_class, settings: dict, rng: np.random.Generator) -> float:
    """The largest difference of two parameters over 50 steps with random gradients, some of which are missing."""
    ours = [Tensor(rng.normal(size=shape), requires_grad=True) for shape in ((3, 4), (2,))]
    theirs = [torch.from_numpy(p.data.copy()).requires_grad_() for p in ours]
    a, b = ours_class(ours, **settings), theirs_class(theirs, **settings)
    worst = 0.0
    for _ in range(STEPS):
        a.zero_grad()
        b.zero_grad()
        for p, q in zip(ours, theirs, strict=True):
            if rng.random() < 0.9:
                g = rng.normal(size=p.shape)
                p.grad, q.grad = g, torch.from_numpy(g.copy())
        a.step()
        b.step()
        worst = max([worst, *(difference(p.data, q.detach().numpy()) for p, q in zip(ours, theirs, strict=True))])
    return worst


def sgd_error(rng: np.random.Generator) -> float:
    settings = {"lr": 0.1, "momentum": rng.choice([0.0, 0.9]), "weight_decay": rng.choice([0.0, 0.05])}
    return optimizer_error(SGD, torch.optim.SGD, settings, rng)


def adam_error(rng: np.random.Generator) -> float:
    settings = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": rng.choice([0.0, 0.05])}
    return optimizer_error(Adam, torch.optim.Adam, settings, rng)


def adamw_error(rng: np.random.Generator) -> float:
    settings = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": rng.choice([0.0, 0.05])}
    return optimizer_error(AdamW, torch.optim.AdamW, settings, rng)
