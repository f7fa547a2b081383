"""One table for every operation of `lib.grad.rules`: how to draw a case, our function, and torch's.

A case is `Case(inputs, options)`: float64 arrays of random, broadcasting shapes, and the options of the call. Shapes
come from hypothesis, which shrinks them when a case fails; numbers from NumPy, well inside the domain and away from
kinks, so that finite differences are as good as exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lib.grad as G
from lib.grad import Tensor


@dataclass(frozen=True)
class Case:
    inputs: tuple[np.ndarray, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self):
        return f"Case(shapes {[x.shape for x in self.inputs]}, {self.options})"


@dataclass(frozen=True)
class Row:
    """`cases` draws a `Case`; `ours(*tensors, **options)` and `theirs(*torch_tensors, **options)` compute it."""

    cases: st.SearchStrategy
    ours: Callable[..., Tensor]
    theirs: Callable[..., torch.Tensor]


# --- numbers ---------------------------------------------------------------------------------------------------------

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def normal(rng, shape):
    return rng.normal(size=shape)


def positive(rng, shape):
    return rng.uniform(0.5, 2.0, shape)


def away_from_zero(rng, shape):
    return positive(rng, shape) * rng.choice([-1.0, 1.0], shape)


def distinct(rng, shape):
    """Numbers 0.1 apart, none near 0: no ties for max, no kink for relu within the reach of a finite difference."""
    n = math.prod(shape)
    return (rng.permutation(n).reshape(shape) - n // 2 + 0.5) * 0.1


# --- cases -----------------------------------------------------------------------------------------------------------


@st.composite
def one(draw, numbers=normal, min_dims=0, max_side=4):
    """One array of any shape."""
    return Case((numbers(draw(rngs), draw(hnp.array_shapes(min_dims=min_dims, max_dims=3, max_side=max_side))),))


@st.composite
def two(draw, left=normal, right=normal):
    """Two arrays that broadcast."""
    rng = draw(rngs)
    a, b = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    return Case((left(rng, a), right(rng, b)))


@st.composite
def matrices(draw):
    rng = draw(rngs)
    shapes = hnp.mutually_broadcastable_shapes(signature="(m,n),(n,p)->(m,p)", max_dims=2, max_side=3)
    return Case(tuple(normal(rng, shape) for shape in draw(shapes).input_shapes))


@st.composite
def linears(draw):
    rng, n_in, n_out = draw(rngs), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    x = normal(rng, (*draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)), n_in))
    weights = [normal(rng, (n_out, n_in)), normal(rng, (n_out,))]
    return Case((x, *weights[: draw(st.integers(1, 2))]))


def some_axes(draw, ndim):
    """None, one axis, or several; counted from either end."""
    if ndim == 0 or draw(st.booleans()):
        return None
    axes = draw(st.lists(st.integers(0, ndim - 1), min_size=1, unique=True))
    axes = tuple(axis - ndim * draw(st.integers(0, 1)) for axis in axes)
    return axes[0] if len(axes) == 1 else axes


@st.composite
def reductions(draw, numbers=normal):
    case = draw(one(numbers))
    return Case(case.inputs, {"axis": some_axes(draw, case.inputs[0].ndim), "keepdims": draw(st.booleans())})


@st.composite
def reshapes(draw):
    case = draw(one())
    sides = list(case.inputs[0].shape)
    return Case(case.inputs, {"shape": tuple(draw(st.permutations([*sides, 1])))})


@st.composite
def permutations(draw):
    case = draw(one())
    ndim = case.inputs[0].ndim
    axes = draw(st.permutations(range(ndim)))
    return Case(case.inputs, {"axes": tuple(axis - ndim * draw(st.integers(0, 1)) for axis in axes)})


@st.composite
def indices(draw):
    """Every kind of index: integers, slices, None, Ellipsis; integer arrays, which may repeat a place; masks."""
    case = draw(one(min_dims=1))
    (x,) = case.inputs
    basic = hnp.basic_indices(x.shape, allow_newaxis=True).filter(
        forward_steps
    )  # torch has no slices that go backwards
    arrays = hnp.integer_array_indices(x.shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4))
    masks = hnp.arrays(bool, x.shape)
    return Case(case.inputs, {"index": draw(st.one_of(basic, arrays, masks))})


def forward_steps(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(not isinstance(part, slice) or part.step is None or part.step > 0 for part in parts)


@st.composite
def gathers(draw):
    case = draw(one(min_dims=1))
    (x,) = case.inputs
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    shape = [draw(st.integers(1, n)) for n in x.shape]
    shape[axis] = draw(st.integers(1, 5))
    return Case(case.inputs, {"index": draw(rngs).integers(0, x.shape[axis], shape), "axis": axis})


@st.composite
def joins(draw):
    rng = draw(rngs)
    shape = draw(hnp.array_shapes(max_dims=3, max_side=3))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    inputs = [normal(rng, [n if i == axis % len(shape) else m for i, m in enumerate(shape)]) for n in lengths]
    return Case(tuple(inputs), {"axis": axis})


@st.composite
def choices(draw):
    rng = draw(rngs)
    c, a, b = draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3)).input_shapes
    return Case((normal(rng, a), normal(rng, b)), {"condition": rng.random(c) < 0.5})


@st.composite
def along_axis(draw):
    case = draw(one(min_dims=1))
    ndim = case.inputs[0].ndim
    return Case(case.inputs, {"axis": draw(st.integers(-ndim, ndim - 1))})


@st.composite
def classifications(draw):
    case = draw(one(min_dims=1))
    shape = case.inputs[0].shape
    return Case(case.inputs, {"targets": draw(rngs).integers(0, shape[-1], shape[:-1])})


@st.composite
def norms(draw):
    """Rows of two entries or more: one entry has no variance. The eps is large beside torch's, so that it matters."""
    rng, d = draw(rngs), draw(st.integers(2, 4))
    x = distinct(rng, (*draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)), d))
    return Case((x, normal(rng, (d,)), normal(rng, (d,))), {"eps": draw(st.sampled_from([0.3, 0.1]))})


@st.composite
def convolutions(draw):
    rng, side = draw(rngs), st.integers(1, 3)
    n, c, o, height, width, padding = (draw(side) for _ in range(6))
    padding -= 1
    shape = [max(k - 2 * padding, 1) + draw(st.integers(0, 3)) for k in (height, width)]
    inputs = [normal(rng, (n, c, *shape)), normal(rng, (o, c, height, width)), normal(rng, (o,))]
    return Case(tuple(inputs[: draw(st.integers(2, 3))]), {"stride": draw(side), "padding": padding})


@st.composite
def pools(draw):
    size = draw(st.integers(1, 3))
    shape = [draw(st.integers(1, 2)), draw(st.integers(1, 2)), *(size + draw(st.integers(0, 3)) for _ in range(2))]
    return Case((distinct(draw(rngs), shape),), {"size": size, "stride": draw(st.one_of(st.none(), st.integers(1, 3)))})


# --- torch under NumPy's names ---------------------------------------------------------------------------------------


def torch_axes(function):
    """A torch reduction with `axis` and `keepdims`; axis None means all of them."""
    return lambda x, axis, keepdims: function(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)


def torch_getitem(x, index):
    parts = index if isinstance(index, tuple) else (index,)
    return x[tuple(torch.from_numpy(np.array(part)) if isinstance(part, np.ndarray) else part for part in parts)]


def torch_cross_entropy(x, targets):
    return F.cross_entropy(x.reshape(-1, x.shape[-1]), torch.from_numpy(targets.ravel()))


TABLE = {
    "add": Row(two(), lambda a, b: a + b, torch.add),
    "sub": Row(two(), lambda a, b: a - b, torch.sub),
    "mul": Row(two(), lambda a, b: a * b, torch.mul),
    "div": Row(two(right=away_from_zero), lambda a, b: a / b, torch.div),
    "pow": Row(two(left=positive), lambda a, b: a**b, torch.pow),
    "matmul": Row(matrices(), lambda a, b: a @ b, torch.matmul),
    "linear": Row(linears(), G.linear, F.linear),
    "neg": Row(one(), lambda x: -x, torch.neg),
    "exp": Row(one(), Tensor.exp, torch.exp),
    "log": Row(one(positive), Tensor.log, torch.log),
    "tanh": Row(one(), Tensor.tanh, torch.tanh),
    "sigmoid": Row(one(), Tensor.sigmoid, torch.sigmoid),
    "relu": Row(one(distinct), Tensor.relu, torch.relu),
    "gelu": Row(one(), Tensor.gelu, F.gelu),
    "sum": Row(reductions(), Tensor.sum, torch_axes(torch.sum)),
    "mean": Row(reductions(), Tensor.mean, torch_axes(torch.mean)),
    "max": Row(reductions(distinct), Tensor.max, torch_axes(torch.amax)),
    "reshape": Row(reshapes(), lambda x, shape: x.reshape(*shape), torch.reshape),
    "transpose": Row(permutations(), lambda x, axes: x.permute(*axes), lambda x, axes: torch.permute(x, axes)),
    "getitem": Row(indices(), lambda x, index: x[index], torch_getitem),
    "gather": Row(gathers(), G.gather, lambda x, index, axis: torch.gather(x, axis, torch.from_numpy(index))),
    "concatenate": Row(joins(), lambda *xs, axis: G.concatenate(xs, axis), lambda *xs, axis: torch.cat(xs, axis)),
    "where": Row(
        choices(),
        lambda a, b, condition: G.where(condition, a, b),
        lambda a, b, condition: torch.where(torch.from_numpy(np.array(condition)), a, b),
    ),
    "softmax": Row(along_axis(), G.softmax, lambda x, axis: torch.softmax(x, axis)),
    "log_softmax": Row(along_axis(), G.log_softmax, lambda x, axis: torch.log_softmax(x, axis)),
    "cross_entropy": Row(classifications(), G.cross_entropy, torch_cross_entropy),
    "layer_norm": Row(norms(), G.layer_norm, lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], w, b, eps)),
    "conv2d": Row(convolutions(), G.conv2d, F.conv2d),
    "max_pool2d": Row(pools(), G.max_pool2d, lambda x, size, stride: F.max_pool2d(x, size, stride)),
}
