"""The errors of convolution, pooling and batch norm, each beside torch's own with the same numbers.

Each function takes a case, computes outputs and gradients both ways in float64, and returns the largest difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

from lib.layers.conv import Conv2d, ConvTranspose2d, conv2d_backward, conv2d_im2col, conv_transpose2d
from lib.layers.norm import BatchNorm
from lib.layers.windows import Window, receptive_field
from tests.claims import difference

DRAWN = 0.2  # every parameter comes from N(0, 0.2): a bias of 0 or a weight of 1 would hide a mistake


def numbers(generator: torch.Generator, *shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def gap(ours: Tensor, theirs: Tensor) -> float:
    return difference(ours.detach().numpy(), theirs.detach().numpy())


def compare(ours: Callable, theirs: Callable, inputs: Sequence[Tensor], generator: torch.Generator) -> float:
    """The largest difference of the two outputs, and of the gradients of all inputs for the same random dy."""
    results = []
    for f in (ours, theirs):
        leaves = [t.clone().requires_grad_() for t in inputs]
        y = f(*leaves)
        dy = numbers(generator.manual_seed(1), *y.shape)
        results.append([y, *torch.autograd.grad(y, leaves, dy)])
    return max(gap(a, b) for a, b in zip(*results, strict=True))


def both(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def convolutions(draw) -> tuple[Tensor, Tensor, Tensor, dict]:
    """x, weight, bias and the settings of a convolution; kernels and strides need not be square, nor sizes divide."""
    kernel, stride, padding, dilation = draw(both(1, 4)), draw(both(1, 3)), draw(both(0, 2)), draw(both(1, 3))
    groups, n, c, o = (draw(st.integers(1, 3)) for _ in range(4))
    least = [max(1, g * (k - 1) + 1 - 2 * p) for g, k, p in zip(dilation, kernel, padding, strict=True)]
    size = [m + draw(st.integers(0, 5)) for m in least]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = numbers(generator, n, groups * c, *size)
    weight, bias = (numbers(generator, *shape, scale=DRAWN) for shape in ((groups * o, c, *kernel), (groups * o,)))
    return x, weight, bias, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def conv_error(conv: Callable, case) -> float:
    x, weight, bias, settings = case
    ours, theirs = (lambda *inputs, f=f: f(*inputs, **settings) for f in (conv, F.conv2d))
    return compare(ours, theirs, (x, weight, bias), torch.Generator())


def backward_error(case) -> float:
    """conv2d_backward, which is told dy, beside what autograd finds for torch's own convolution."""
    x, weight, bias, settings = case
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = F.conv2d(*leaves, **settings)
    dy = numbers(torch.Generator().manual_seed(1), *y.shape)
    expected = torch.autograd.grad(y, leaves, dy)
    return max(gap(a, b) for a, b in zip(conv2d_backward(dy, x, weight, **settings), expected, strict=True))


@st.composite
def transposed(draw) -> tuple[Tensor, Tensor, Tensor, dict]:
    """x, weight, bias and the settings of a transposed convolution that leaves at least one pixel."""
    kernel, stride, dilation = draw(both(1, 4)), draw(both(1, 3)), draw(both(1, 3))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    groups, n, c, o = (draw(st.integers(1, 3)) for _ in range(4))
    size = draw(both(1, 4))
    full = [
        (m - 1) * s + d * (k - 1) + 1 + e for m, s, d, k, e in zip(size, stride, dilation, kernel, extra, strict=True)
    ]
    padding = tuple(draw(st.integers(0, min(3, (m - 1) // 2))) for m in full)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = numbers(generator, n, groups * c, *size)
    weight, bias = (numbers(generator, *shape, scale=DRAWN) for shape in ((groups * c, o, *kernel), (groups * o,)))
    where = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation, "groups": groups}
    return x, weight, bias, where


def transposed_error(case) -> float:
    x, weight, bias, settings = case
    ours, theirs = (lambda *inputs, f=f: f(*inputs, **settings) for f in (conv_transpose2d, F.conv_transpose2d))
    return compare(ours, theirs, (x, weight, bias), torch.Generator())


def adjoint_error(case) -> float:
    """<dy, conv(x)> = <conv_transpose(dy), x>: what "transposed" means, with no reference but arithmetic."""
    x, weight, _, settings = case
    y = conv2d_im2col(x, weight, **settings)
    dy = numbers(torch.Generator().manual_seed(1), *y.shape)
    dx, _, _ = conv2d_backward(dy, x, weight, **settings)
    return gap((dx * x).sum(), (dy * y).sum())


def twins_error(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
    """Two modules with the same parameters, loaded by name from one to the other: outputs and all gradients."""
    generator = torch.Generator().manual_seed(2)
    for p in theirs.parameters():
        p.data = numbers(generator, *p.shape, scale=DRAWN)
    ours.double().load_state_dict(theirs.state_dict())
    found = []
    for module in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        dy = numbers(generator.manual_seed(3), *y.shape)
        found.append([y, *torch.autograd.grad(y, [leaf, *module.parameters()], dy)])
    return max(gap(a, b) for a, b in zip(*found, strict=True))


def conv_module_error(case) -> float:
    x, weight, _, settings = case
    sizes = (x.shape[1], len(weight), tuple(weight.shape[2:]))
    settings = settings | {"bias": len(x) > 1}
    return twins_error(Conv2d(*sizes, **settings), nn.Conv2d(*sizes, **settings).double(), x)


def transposed_module_error(case) -> float:
    x, weight, _, settings = case
    sizes = (x.shape[1], weight.shape[1] * settings["groups"], tuple(weight.shape[2:]))
    settings = settings | {"bias": len(x) > 1}
    return twins_error(ConvTranspose2d(*sizes, **settings), nn.ConvTranspose2d(*sizes, **settings).double(), x)


@st.composite
def pools(draw) -> tuple[Tensor, tuple]:
    """x with many equal numbers, as after a ReLU, and the kernel, stride and padding of a pooling."""
    kernel, stride = draw(both(1, 4)), draw(st.one_of(st.none(), both(1, 3)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = [max(1, k - 2 * p) + draw(st.integers(0, 5)) for k, p in zip(kernel, padding, strict=True)]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = numbers(generator, draw(st.integers(1, 3)), draw(st.integers(1, 3)), *size)
    return x.round() if draw(st.booleans()) else x, (kernel, stride, padding)


def pool_error(ours: Callable, theirs: Callable, case) -> float:
    x, where = case
    return compare(lambda t: ours(t, *where), lambda t: theirs(t, *where), (x,), torch.Generator())


@st.composite
def batches(draw) -> tuple[list[Tensor], float, float, bool]:
    """Three batches of 2, 3 or 4 axes with as many channels; eps, momentum, and whether to train weight and bias."""
    d, axes = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shapes = [(draw(st.integers(2, 5)), d, *(draw(st.integers(1, 4)) for _ in range(axes))) for _ in range(3)]
    eps, momentum = draw(st.sampled_from([1e-5, 0.1])), draw(st.sampled_from([0.0, 0.1, 0.7, 1.0]))
    return [3 + 2 * numbers(generator, *shape) for shape in shapes], eps, momentum, draw(st.booleans())


def batch_norm_error(case) -> float:
    """Two batches in training, one in evaluation: outputs, gradients, and the running statistics after each."""
    xs, eps, momentum, affine = case
    d = xs[0].shape[1]
    ours = BatchNorm(d, eps, momentum, affine).double()
    torch_class = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[xs[0].ndim]
    theirs = torch_class(d, eps, momentum, affine).double()
    generator = torch.Generator().manual_seed(2)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        p.data = q.data = numbers(generator, d, scale=DRAWN)
    worst = 0.0
    for step, x in enumerate(xs):
        ours.train(step < 2), theirs.train(step < 2)
        found = []
        for module in (ours, theirs):
            leaf = x.clone().requires_grad_()
            y = module(leaf)
            dy = numbers(generator.manual_seed(3), *y.shape)
            gradients = torch.autograd.grad(y, [leaf, *module.parameters()], dy)
            found.append([y, *gradients, module.running_mean, module.running_var])
        worst = max(worst, *(gap(a, b) for a, b in zip(*found, strict=True)))
    return worst


def seen_error(layers: list[Window]) -> float:
    """receptive_field beside what gradients reach in a stack of kernels of ones: the first and last input with one.

    The image is long enough for two outputs whose fields do not touch the padding.
    """
    field = receptive_field(layers)
    first = -(field.offset // field.jump) + 1  # an output whose field begins inside
    n = field.offset + (first + 1) * field.jump + field.size + sum(w.padding for w in layers) * field.jump + 1
    x = torch.ones(1, 1, 1, n, dtype=torch.float64, requires_grad=True)
    y = x
    for kernel, stride, padding, dilation in layers:
        ones = torch.ones(1, 1, 1, kernel, dtype=torch.float64)
        y = conv2d_im2col(y, ones, stride=(1, stride), padding=(0, padding), dilation=(1, dilation))
    worst = 0
    for i in (first, first + 1):
        (dx,) = torch.autograd.grad(y[0, 0, 0, i], x, retain_graph=True)
        reached = dx.flatten().nonzero().flatten()
        begin = field.offset + i * field.jump
        worst = max(worst, abs(int(reached[0]) - begin), abs(int(reached[-1]) - (begin + field.size - 1)))
    return float(worst)


windows = st.builds(Window, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3))
stacks = st.lists(windows, min_size=1, max_size=4)
