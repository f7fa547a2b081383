"""The table of operations: for each, how to compute it and the derivative with respect to each input.

`RULES` at the end of the file is the table. A row reads like the formula it stands for:

    "mul": Rule(np.multiply, a=lambda g, b: g * b, b=lambda g, a: g * a)

The first entry computes y from the inputs. Each keyword is an input, in order, with the function that turns `g`, the
gradient of the loss with respect to y, into the gradient with respect to that input (a *vector-Jacobian product*). The
function asks by name for what it needs: `g`, `y`, an input, the shape of an input (`x_shape`), an option (`axis`), or,
in the row that takes any number of inputs, `each` with `i` and `shapes`. So the table also says which arrays backward
needs, and `lib.grad.tensor` watches those and no others.

Everything here works on NumPy arrays and keeps their dtype. A derivative returns a new array, or `g` or a view of it,
and never writes to its arguments. It may have the broadcast shape: the engine sums it back to the shape of the input.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Rule:
    """One row of the table: `forward(*inputs, **options)` and the derivative for each input, by name."""

    def __init__(self, forward: Callable, **derivatives: Callable):
        self.forward = forward
        self.inputs = tuple(derivatives)
        self._derivatives = [(f, tuple(inspect.signature(f).parameters)) for f in derivatives.values()]

    def derivative(self, i: int) -> tuple[Callable, tuple[str, ...]]:
        """The derivative with respect to input `i`, and the names of the arguments that it asks for."""
        return self._derivatives[0 if self.inputs == ("each",) else i]


# --- arithmetic ------------------------------------------------------------------------------------------------------


def elementwise(function):
    """`function` of two arrays with broadcasting, and a message that says which axis does not fit."""

    def forward(a, b):
        try:
            return function(a, b)
        except ValueError:
            pairs = zip(range(-1, -min(a.ndim, b.ndim) - 1, -1), a.shape[::-1], b.shape[::-1], strict=False)
            axis, n, m = next((axis, n, m) for axis, n, m in pairs if n != m and 1 not in (n, m))
            raise ValueError(
                f"the shapes do not broadcast: axis {axis} is {n} on the left and {m} on the right; "
                "counted from the last axis, sizes must be equal or 1"
            ) from None

    return forward


def power(a, b):
    """a^b. One exponent for all goes to NumPy as a plain number, which makes squares and roots fast."""
    return a ** (b.item() if b.ndim == 0 else b)


def power_da(g, a, b):
    """b a^(b-1); for b = 0 it is 0, also where a = 0, so there the exponent -1 is replaced by 1."""
    return g * b * power(a, np.where(b == 0, b + 1, b - 1))


def power_db(g, y, a):
    """a^b ln a; where a = 0 the power is constant in b > 0, so ln 0 is replaced by ln 1 = 0."""
    return g * y * np.log(np.where(a == 0, np.ones_like(a), a))


def swap(x):
    """The matrices in the last two axes, transposed."""
    return x.swapaxes(-1, -2)


def matmul(a, b):
    """The product of the matrices in the last two axes; the axes before them broadcast."""
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError("each side must have two axes or more; make a vector a column with .reshape(-1, 1)")
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"the last axis of the left, {a.shape[-1]}, must equal the second-last axis of the right, {b.shape[-2]}"
        )
    return elementwise(np.matmul)(a, b) if a.ndim > 2 and b.ndim > 2 else a @ b


def rows(x):
    """All axes but the last made one: a matrix with one row for each vector."""
    return x.reshape(-1, x.shape[-1])


def linear(x, weight, bias=None):
    """x W^T + b, with W stored as (outputs, inputs)."""
    if weight.ndim != 2:
        raise ValueError("the weight must have two axes: (outputs, inputs)")
    if x.shape[-1:] != weight.shape[1:]:
        raise ValueError(f"the last axis of x, {x.shape[-1:]}, must equal the inputs of the weight, {weight.shape[1:]}")
    y = x @ weight.T
    if bias is not None:
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"the bias must have shape {weight.shape[:1]}, one number for each output")
        y += bias
    return y


# --- functions of one array ------------------------------------------------------------------------------------------


def sigmoid(x):
    """1 / (1 + e^-x), written so that neither end overflows or loses digits."""
    return np.exp(-np.logaddexp(0, -x))


_erf = np.frompyfunc(math.erf, 1, 1)


def normal_cdf(x):
    """P(Z <= x) for a standard normal Z. NumPy has no erf, so this takes Python's, one number at a time."""
    return np.asarray(0.5 * (1 + _erf(x * math.sqrt(0.5))), dtype=x.dtype)


def normal_pdf(x):
    return np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


# --- sums over axes --------------------------------------------------------------------------------------------------


def restore(g, shape, axis):
    """`g` with the axes that were summed away back, of size 1, whether or not keepdims kept them."""
    axes = range(len(shape)) if axis is None else np.atleast_1d(axis) % len(shape)
    return g.reshape([1 if i in axes else n for i, n in enumerate(shape)])


def sum_dx(g, x_shape, axis):
    return np.broadcast_to(restore(g, x_shape, axis), x_shape)


def mean_dx(g, x_shape, axis):
    return sum_dx(g * (g.size / math.prod(x_shape)), x_shape, axis)


def max_dx(g, y, x, axis):
    """Entries that share the maximum share the gradient equally."""
    winners = x == restore(y, x.shape, axis)
    return winners * restore(g, x.shape, axis) / winners.sum(axis, keepdims=True, dtype=x.dtype)


# --- moving numbers around -------------------------------------------------------------------------------------------


def scatter(g, shape, index):
    """Zeros of `shape` with `g` added at `index`: the reverse of x[index]. A place read twice gets both gradients."""
    out = np.zeros(shape, g.dtype)
    np.add.at(out, index, g)
    return out


def along(index, axis):
    """The index that reads `index` along `axis` and every other axis in place."""
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    return tuple(grid)


def gather(x, index, axis):
    """y[i, j] = x[index[i, j], j] for axis 0, x[i, index[i, j]] for axis 1, and so on."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis {axis} is out of bounds for {x.ndim} axes")
    others = [i for i in range(x.ndim) if i != axis % x.ndim]
    if index.ndim != x.ndim or any(index.shape[i] > x.shape[i] for i in others):
        raise ValueError(f"the index, {index.shape}, must have as many axes as x and fit in it on each axis but {axis}")
    return x[along(index, axis)]


def transpose_dx(g, axes):
    """The permutation that undoes `axes`."""
    return g.transpose(np.argsort(np.mod(axes, g.ndim)))


def concatenate_dx(g, i, shapes, axis):
    start = sum(shape[axis] for shape in shapes[:i])
    return np.moveaxis(np.moveaxis(g, axis, 0)[start : start + shapes[i][axis]], 0, axis)


# --- softmax and its family ------------------------------------------------------------------------------------------


def softmax(x, axis):
    """e^x / sum e^x; subtracting the maximum changes nothing and prevents overflow."""
    y = np.exp(x - x.max(axis, keepdims=True))
    y /= y.sum(axis, keepdims=True)
    return y


def log_softmax(x, axis):
    y = x - x.max(axis, keepdims=True)
    y -= np.log(np.exp(y).sum(axis, keepdims=True))
    return y


def cross_entropy(logits, targets):
    """The mean of -log softmax(logits)[target]."""
    if targets.shape != logits.shape[:-1]:
        raise ValueError(f"the targets, {targets.shape}, must have the shape of the logits without its last axis")
    n_classes = logits.shape[-1]
    if targets.size == 0:
        raise ValueError("there are no targets, so there is no mean")
    if targets.min() < 0 or targets.max() >= n_classes:
        wrong = targets.min() if targets.min() < 0 else targets.max()
        raise ValueError(f"a target must be a class from 0 to {n_classes - 1}, got {wrong}")
    return -np.take_along_axis(log_softmax(logits, -1), targets[..., None], -1).mean()


def cross_entropy_dlogits(g, logits, targets):
    """(softmax(logits) - onehot(targets)) / n."""
    out = rows(softmax(logits, -1))
    out[np.arange(targets.size), targets.ravel()] -= 1
    out *= g / targets.size
    return out.reshape(logits.shape)


def standardise(x, eps):
    """x with mean 0 and variance 1 on its last axis, and the factor 1 / sqrt(variance + eps)."""
    centred = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + eps)
    return centred * scale, scale


def layer_norm(x, weight, bias, eps):
    if weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ValueError(f"weight and bias must have the shape of the last axis of x, {x.shape[-1:]}")
    return standardise(x, eps)[0] * weight + bias


def layer_norm_dx(g, x, weight, eps):
    """The gradient, less its part along the mean and along x: the two directions that the norm takes away."""
    unit, scale = standardise(x, eps)
    g = g * weight
    return scale * (g - g.mean(-1, keepdims=True) - unit * (g * unit).mean(-1, keepdims=True))


# --- images: N images, C channels in, O channels out, height H, width W ----------------------------------------------


def windows(x, height, width, stride):
    """Every window that a kernel visits, as a view: N C H W -> N C H' W' height width."""
    if x.ndim != 4:
        raise ValueError("x must have four axes: images, channels, height, width")
    if height > x.shape[2] or width > x.shape[3]:
        raise ValueError(f"the kernel, {height} by {width}, is larger than the padded image, {x.shape[2:]}")
    # NumPy's stubs before 2.3 know a single axis only.
    return sliding_window_view(x, (height, width), axis=(2, 3))[:, :, ::stride, ::stride]  # type: ignore


def pad(x, padding):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding))) if padding else x


def conv2d(x, weight, stride, padding):
    """y[n, o] = the sum over c, i, j of the window entry [n, c, i, j] times weight[o, c, i, j]."""
    if weight.ndim != 4 or x.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError("x must be (N, C, H, W) and the weight (O, C, height, width) with the same C")
    patches = windows(pad(x, padding), weight.shape[2], weight.shape[3], stride)
    y = np.tensordot(patches, weight, axes=((1, 4, 5), (1, 2, 3)))  # N H' W' O
    return np.ascontiguousarray(np.moveaxis(y, 3, 1))


def conv2d_dx(g, x_shape, weight, stride, padding):
    """Each place of the kernel sends its share of `g` back to the pixels that it was multiplied with."""
    n, c, height, width = x_shape
    out = np.zeros((n, c, height + 2 * padding, width + 2 * padding), g.dtype)
    bottom, right = stride * g.shape[2], stride * g.shape[3]
    for i, j in np.ndindex(weight.shape[2:]):
        share = np.tensordot(g, weight[:, :, i, j], axes=(1, 0))  # N H' W' C
        out[:, :, i : i + bottom : stride, j : j + right : stride] += np.moveaxis(share, 3, 1)
    return out[:, :, padding : padding + height, padding : padding + width]


def conv2d_dweight(g, x, weight_shape, stride, padding):
    patches = windows(pad(x, padding), weight_shape[2], weight_shape[3], stride)
    return np.tensordot(g, patches, axes=((0, 2, 3), (0, 2, 3)))


def max_pool2d(x, size, stride):
    return windows(x, size, size, stride).max((4, 5))


def max_pool2d_dx(g, x, size, stride):
    """The gradient goes to the first of the largest pixels in each window, as in torch."""
    patches = windows(x, size, size, stride)
    best = patches.reshape(*patches.shape[:4], -1).argmax(-1)
    n, c, i, j = np.indices(g.shape, sparse=True)
    return scatter(g, x.shape, (n, c, i * stride + best // size, j * stride + best % size))


RULES = {
    # arithmetic, with broadcasting
    "add": Rule(elementwise(np.add), a=lambda g: g, b=lambda g: g),
    "sub": Rule(elementwise(np.subtract), a=lambda g: g, b=lambda g: -g),
    "mul": Rule(elementwise(np.multiply), a=lambda g, b: g * b, b=lambda g, a: g * a),
    "div": Rule(elementwise(np.divide), a=lambda g, b: g / b, b=lambda g, y, b: -g * y / b),
    "pow": Rule(elementwise(power), a=power_da, b=power_db),
    "matmul": Rule(matmul, a=lambda g, b: g @ swap(b), b=lambda g, a: swap(a) @ g),
    "linear": Rule(
        linear,
        x=lambda g, weight: g @ weight,
        weight=lambda g, x: rows(g).T @ rows(x),
        bias=lambda g: rows(g).sum(0),
    ),
    # functions of one array
    "neg": Rule(np.negative, x=lambda g: -g),
    "exp": Rule(np.exp, x=lambda g, y: g * y),
    "log": Rule(np.log, x=lambda g, x: g / x),
    "tanh": Rule(np.tanh, x=lambda g, y: g * (1 - y * y)),
    "sigmoid": Rule(sigmoid, x=lambda g, y: g * y * (1 - y)),
    "relu": Rule(lambda x: np.maximum(x, 0), x=lambda g, y: g * (y > 0)),
    "gelu": Rule(lambda x: x * normal_cdf(x), x=lambda g, x: g * (normal_cdf(x) + x * normal_pdf(x))),
    # over axes
    "sum": Rule(lambda x, axis, keepdims: x.sum(axis, keepdims=keepdims), x=sum_dx),
    "mean": Rule(lambda x, axis, keepdims: x.mean(axis, keepdims=keepdims), x=mean_dx),
    "max": Rule(lambda x, axis, keepdims: x.max(axis, keepdims=keepdims), x=max_dx),
    # moving numbers around
    "reshape": Rule(lambda x, shape: x.reshape(shape), x=lambda g, x_shape: g.reshape(x_shape)),
    "transpose": Rule(lambda x, axes: x.transpose(axes), x=transpose_dx),
    "getitem": Rule(lambda x, index: x[index], x=lambda g, x_shape, index: scatter(g, x_shape, index)),
    "gather": Rule(gather, x=lambda g, x_shape, index, axis: scatter(g, x_shape, along(index, axis))),
    "concatenate": Rule(lambda *xs, axis: np.concatenate(xs, axis), each=concatenate_dx),
    "where": Rule(
        lambda a, b, condition: np.where(condition, a, b),
        a=lambda g, condition: np.where(condition, g, 0),
        b=lambda g, condition: np.where(condition, 0, g),
    ),
    # softmax and its family
    "softmax": Rule(softmax, x=lambda g, y, axis: y * (g - (g * y).sum(axis, keepdims=True))),
    "log_softmax": Rule(log_softmax, x=lambda g, y, axis: g - np.exp(y) * g.sum(axis, keepdims=True)),
    "cross_entropy": Rule(cross_entropy, logits=cross_entropy_dlogits),
    "layer_norm": Rule(
        layer_norm,
        x=layer_norm_dx,
        weight=lambda g, x, eps: g * standardise(x, eps)[0],
        bias=lambda g: g,
    ),
    # images
    "conv2d": Rule(conv2d, x=conv2d_dx, weight=conv2d_dweight),
    "max_pool2d": Rule(max_pool2d, x=max_pool2d_dx),
}
