"""Two proofs of an operation: outputs and gradients are torch's, and finite differences confirm the gradients."""

from __future__ import annotations

import math

import numpy as np
import torch

from lib.grad import Tensor, no_grad
from tests.claims import difference
from tests.grad.table import Case, Row

STEP = 5e-3
STENCIL = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
"""f'(x) h = the sum of c (f(x + k h) - f(x - k h)) over k: c. The error is h^7 f^(7) / 140, which at this step is below
1e-9 for the cases of the table; rounding adds about 1e-13. Source: B. Fornberg (1988), "Generation of Finite Difference
Formulas", table 1.
"""


def weights_for(shape) -> np.ndarray:
    """Fixed numbers, no two alike, with which an output is summed to one number, so that no gradient is symmetric."""
    return np.cos(1.0 + np.arange(math.prod(shape))).reshape(shape)


def our_gradients(row: Row, case: Case) -> tuple[np.ndarray, list[np.ndarray]]:
    """The output, and the gradient of its weighted sum with respect to every input."""
    inputs = [Tensor(x, requires_grad=True) for x in case.inputs]
    y = row.ours(*inputs, **case.options)
    y.backward(weights_for(y.shape))
    return y.data, [x.grad if x.grad is not None else np.zeros(x.shape, x.dtype) for x in inputs]


def error_to_torch(row: Row, case: Case) -> float:
    """The largest difference of outputs and gradients from torch's."""
    ours, our_grads = our_gradients(row, case)
    inputs = [torch.tensor(x, requires_grad=True) for x in case.inputs]
    theirs = row.theirs(*inputs, **case.options)
    theirs.backward(torch.from_numpy(weights_for(tuple(theirs.shape))).to(theirs.dtype))
    pairs = [(ours, theirs.detach().numpy())]
    pairs += [(g, x.grad.numpy()) for g, x in zip(our_grads, inputs, strict=True)]
    return max(difference(a, b) for a, b in pairs)


def error_to_differences(row: Row, case: Case) -> float:
    """The largest difference of the gradients from central differences of sixth order, entry by entry."""
    _, grads = our_gradients(row, case)

    def f(i: int, at: tuple[int, ...], step: float) -> float:
        inputs = [np.array(x) for x in case.inputs]
        inputs[i][at] += step
        with no_grad():
            y = row.ours(*map(Tensor, inputs), **case.options).data
        return float((y * weights_for(y.shape)).sum())

    worst = 0.0
    for i, x in enumerate(case.inputs):
        slopes = np.zeros(np.shape(x))
        for at in np.ndindex(slopes.shape):
            slopes[at] = sum(c * (f(i, at, k * STEP) - f(i, at, -k * STEP)) for k, c in STENCIL.items()) / STEP
        worst = max(worst, difference(grads[i], slopes))
    return worst
