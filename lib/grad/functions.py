"""Functions of tensors that are no methods: those of several inputs, and the softmax family.

`x` is a `Tensor`, or an array, which is then a constant. Every function raises ValueError, with the operation and the
shapes, when shapes do not fit, and TypeError when an index is not an integer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.grad.tensor import Tensor, apply


def integers(op: str, x) -> np.ndarray:
    """A copy of `x` as an integer array, which later changes to `x` do not reach."""
    array = np.array(x)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices and labels must be integers, got {array.dtype}; convert with .astype(np.int64)")
    return array.astype(np.int64, copy=False)


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors joined along `axis`; their other axes must be equal."""
    if not len(tensors):
        raise ValueError("concatenate: there are no tensors to join")
    return apply("concatenate", *tensors, axis=axis)


def where(condition, a, b) -> Tensor:
    """`a` where the boolean array `condition` holds, `b` elsewhere; all three broadcast."""
    return apply("where", a, b, condition=np.array(condition, dtype=bool))


def gather(x: Tensor, index, axis: int) -> Tensor:
    """One entry for each entry of `index`, read along `axis`: y[i, j] = x[i, index[i, j]] for axis 1.

    `index`: integers with as many axes as x, no larger than x on the others.
    """
    return apply("gather", x, index=integers("gather", index), axis=axis)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b. x: (..., inputs), weight: (outputs, inputs), bias: (outputs,); y: (..., outputs)."""
    return apply("linear", x, weight) if bias is None else apply("linear", x, weight, bias)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """y = e^x / sum e^x along `axis`: positive, and adds up to 1."""
    return apply("softmax", x, axis=axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """y = x - log sum e^x along `axis`: the logarithm of softmax, with no digits lost."""
    return apply("log_softmax", x, axis=axis)


def cross_entropy(logits: Tensor, targets) -> Tensor:
    """The mean of -log softmax(logits)[target]: one number.

    logits: (..., classes), before any softmax; targets: integers (...), each from 0 to classes - 1.
    """
    return apply("cross_entropy", logits, targets=integers("cross_entropy", targets))


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, over the last axis. weight, bias: the size of that axis.

    Source: J. Ba, J. Kiros, G. Hinton (2016), "Layer Normalization", equation 4; eps as in torch.
    """
    return apply("layer_norm", x, weight, bias, eps=eps)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    """Slide each of O kernels over the images and take the inner product at each stop.

    x: (N, C, H, W), weight: (O, C, height, width), bias: (O,); y: (N, O, H', W') with
    H' = (H + 2 padding - height) // stride + 1. (Strictly this is a correlation: the kernel is not flipped.)
    """
    y = apply("conv2d", x, weight, stride=stride, padding=padding)
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def max_pool2d(x: Tensor, size: int, stride: int | None = None) -> Tensor:
    """The largest entry of each `size` by `size` window. x: (N, C, H, W); the stride is `size` unless given."""
    return apply("max_pool2d", x, size=size, stride=size if stride is None else stride)
