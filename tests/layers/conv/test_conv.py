"""Convolution, pooling, batch norm: every claim holds, also on a full grid of settings; wrong arguments are named."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.layers.conv import (
    Conv2d,
    ConvTranspose2d,
    conv2d_backward,
    conv2d_fft,
    conv2d_im2col,
    conv2d_loops,
    conv_transpose2d,
)
from lib.layers.norm import BatchNorm
from lib.layers.pool import AvgPool2d, MaxPool2d, avg_pool2d, max_pool2d
from lib.layers.windows import Field, out_size, receptive_field
from tests.layers.conv import parts
from tests.layers.conv.verified import CLAIMS, TOLERANCE

ROUTES = [conv2d_loops, conv2d_im2col, conv2d_fft]
GRID = list(itertools.product([1, 2, (3, 1)], [0, 2, (1, 2)], [1, (2, 3)], [1, 2], [(3, 3), (1, 4)]))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.name}, {claim.reference}")
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups", "kernel"), GRID)
def test_every_combination(stride, padding, dilation, groups, kernel):
    generator = torch.Generator().manual_seed(0)
    x = parts.numbers(generator, 2, 2 * groups, 9, 11)
    weight, bias = (parts.numbers(generator, *shape) for shape in ((3 * groups, 2, *kernel), (3 * groups,)))
    case = (x, weight, bias, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})
    for route in ROUTES:
        assert parts.conv_error(route, case) < TOLERANCE
    assert parts.backward_error(case) < TOLERANCE


@pytest.mark.parametrize("shape", [(1, 1, 1, 7), (1, 1, 7, 1), (3, 2, 1, 1)])
def test_one_row_one_column_one_pixel(shape):
    generator = torch.Generator().manual_seed(0)
    x, bias = parts.numbers(generator, *shape), parts.numbers(generator, 2)
    for kernel, padding in (((1, 1), 0), ((3, 3), 1)):
        case = (x, parts.numbers(generator, 2, shape[1], *kernel), bias, {"padding": padding})
        for route in ROUTES:
            assert parts.conv_error(route, case) < TOLERANCE
        assert parts.backward_error(case) < TOLERANCE


@pytest.mark.parametrize("route", ROUTES)
def test_it_does_not_flip_the_kernel(route):
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = 1
    weight = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert torch.allclose(route(x, weight, padding=1), weight.flip(2, 3), atol=1e-5)  # a dot shows the kernel flipped
    assert torch.allclose(route(weight, weight), (weight**2).sum(), atol=1e-4)


@pytest.mark.parametrize("n", range(1, 12))
def test_out_size_is_torchs_or_an_error(n):
    for kernel, stride, padding, dilation in itertools.product([1, 2, 5], [1, 2, 3], [0, 1, 2], [1, 2]):
        x, weight = torch.zeros(1, 1, 1, n), torch.zeros(1, 1, 1, kernel)
        if dilation * (kernel - 1) + 1 > n + 2 * padding:
            with pytest.raises(ValueError, match=r"spans \d+, but the input has .* smaller kernel"):
                out_size(n, kernel, stride, padding, dilation)
        else:
            y = F.conv2d(x, weight, stride=(1, stride), padding=(0, padding), dilation=(1, dilation))
            assert out_size(n, kernel, stride, padding, dilation) == y.shape[3]


@pytest.mark.parametrize("wrong", [(0, 1), (3, 0), (3, 1, 0), (3, 1, 1, -1), (3, 1, 1, 0, 0)])
def test_out_size_refuses_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match="must be at least 1 and padding at least 0"):
        out_size(*wrong)


X, W = torch.zeros(2, 4, 5, 6), torch.zeros(6, 4, 3, 3)
WRONG = {
    "three axes": ((X[0], W), {}, "four axes N C H W"),
    "a flat kernel": ((X, W[0]), {}, "axes O C kh kw"),
    "other channels": ((X, W[:, :3]), {}, "x has 4 channels.*must be 4, got 3"),
    "channels not divisible": ((X, W), {"groups": 3}, "groups=3 must divide both the 4 input and the 6 output"),
    "outputs not divisible": ((X, W[:5, :2]), {"groups": 2}, "groups=2 must divide"),
    "no groups": ((X, W), {"groups": 0}, "groups=0 must divide"),
    "groups, but a full kernel": ((X, W), {"groups": 2}, "with groups=2 the second axis of weight must be 2, got 4"),
    "bias": ((X, W, torch.zeros(4)), {}, r"bias must have the shape \(6,\)"),
    "stride 0": ((X, W), {"stride": 0}, "stride must be an integer of at least 1"),
    "half a stride": ((X, W), {"stride": 1.5}, "stride must be an integer"),
    "three strides": ((X, W), {"stride": (1, 1, 1)}, "or a pair"),
    "padding below 0": ((X, W), {"padding": (0, -1)}, "padding must be an integer of at least 0"),
    "dilation 0": ((X, W), {"dilation": (1, 0)}, "dilation must be an integer of at least 1"),
    "kernel larger than x": ((X[:, :, :2], W), {}, "a kernel of 3 with dilation 1 spans 3, but the input has 2"),
    "dilated beyond the padding": ((X, W), {"dilation": 4, "padding": 1}, "spans 9, but .* on both sides 7"),
    "no rows": ((X[:, :, :0], W), {"padding": 2}, "n, kernel, stride and dilation must be at least 1"),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(route, case):
    arguments, settings, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        route(*arguments, **settings)


def test_backward_wants_the_gradient_of_the_output():
    with pytest.raises(ValueError, match=r"dy must have the output's shape \(2, 6, 3, 4\), got \(2, 6, 5, 6\)"):
        conv2d_backward(torch.zeros(2, 6, 5, 6), X, W)


WRONG_TRANSPOSED = {
    "three axes": ((X[0], W[:4]), {}, "conv_transpose2d: x must have the four axes"),
    "other channels": ((X, W), {}, r"weight must be \(C=4, O/groups, kh, kw\), got \(6, 4, 3, 3\)"),
    "groups": ((X, W[:4]), {"groups": 3}, "groups=3 must divide"),
    "bias": ((X, W[:4], torch.zeros(6)), {}, r"bias must have the shape \(4,\)"),
    "output_padding": ((X, W[:4]), {"stride": 2, "output_padding": 2}, r"output_padding \(2, 2\) must be smaller"),
    "padding": ((X, W[:4]), {"padding": 4}, "leaves nothing of an output of 7 by 8"),
}


@pytest.mark.parametrize("case", WRONG_TRANSPOSED)
def test_wrong_arguments_of_the_transposed_are_named(case):
    arguments, settings, message = WRONG_TRANSPOSED[case]
    with pytest.raises(ValueError, match=message):
        conv_transpose2d(*arguments, **settings)


@pytest.mark.parametrize(("ours", "theirs"), [(Conv2d, nn.Conv2d), (ConvTranspose2d, nn.ConvTranspose2d)])
def test_modules_start_as_torchs_do(ours, theirs):
    states = []
    for module in (ours, theirs):
        torch.manual_seed(0)
        states.append(module(4, 6, (3, 2), groups=2).state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.allclose(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("module", [Conv2d, ConvTranspose2d])
def test_modules_refuse_what_can_never_work(module):
    with pytest.raises(ValueError, match=f"{module.__name__}: groups=3 must divide"):
        module(4, 6, 3, groups=3)
    with pytest.raises(ValueError, match="kernel_size must be an integer of at least 1"):
        module(4, 6, 0)


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
def test_pooling_names_wrong_arguments(pool):
    with pytest.raises(ValueError, match=f"{pool.__name__}: x must have the four axes"):
        pool(X[0], 2)
    with pytest.raises(ValueError, match="more than half the kernel"):
        pool(X, 3, padding=2)
    with pytest.raises(ValueError, match="spans 7, but the input has 5"):
        pool(X, 7)


def test_pooling_modules():
    x = parts.numbers(torch.Generator().manual_seed(0), 2, 3, 7, 8)
    assert torch.equal(MaxPool2d(3, 2, 1)(x), F.max_pool2d(x, 3, 2, 1))
    assert torch.allclose(AvgPool2d((2, 3), padding=(1, 0))(x), F.avg_pool2d(x, (2, 3), padding=(1, 0)))


def test_batch_norm_in_evaluation_does_not_look_at_the_batch():
    norm, generator = BatchNorm(3).double(), torch.Generator().manual_seed(0)
    norm(parts.numbers(generator, 8, 3, 4, 4))
    norm.eval()
    x = parts.numbers(generator, 4, 3, 4, 4)
    before = norm.running_mean.clone()
    assert torch.equal(norm(x)[:1], norm(x[:1]))
    assert torch.equal(norm.running_mean, before)


def test_batch_norm_names_wrong_arguments():
    norm = BatchNorm(3)
    with pytest.raises(ValueError, match=r"more than one value a channel.*larger batch, or `\.eval"):
        norm(torch.zeros(1, 3, 1, 1))
    assert norm.eval()(torch.zeros(1, 3, 1, 1)).shape == (1, 3, 1, 1)
    for wrong in (torch.zeros(2, 4, 5, 5), torch.zeros(3)):
        with pytest.raises(ValueError, match=r"x must be \(N, 3\)"):
            norm(wrong)
    with pytest.raises(ValueError, match="momentum is the share of the new batch"):
        BatchNorm(3, momentum=1.5)


def test_receptive_field_of_known_stacks():
    assert receptive_field([]) == Field(1, 1, 0)
    assert receptive_field([(3, 1, 1), (3, 1, 1)]) == Field(5, 1, -2)  # two 3x3 see what one 5x5 sees
    assert receptive_field([(5,), (2, 2), (5,), (2, 2)]) == Field(16, 4, 0)  # LeNet-5 up to its second pooling
    with pytest.raises(ValueError, match="kernel, stride, dilation >= 1 and padding >= 0"):
        receptive_field([(3, 0)])
