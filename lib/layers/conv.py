"""Convolution of images by three routes, its backward by hand, and transposed convolution.

What the field calls convolution is cross-correlation: the kernel slides over the image without being flipped,

    y[n, o, i, j] = bias[o] + sum over c, a, b of weight[o, c, a, b] * x[n, c, i s + a d - p, j s + b d - p]

with stride s, dilation d, padding p, and x taken as 0 outside the image. Layout, names and arguments are torch's:
x is N C H W (batch, channels, height, width), weight is O C/groups kh kw, bias is O. A size, stride, padding or
dilation is one number for both directions or a pair (vertical, horizontal). With groups, the channels of input and
output fall into that many equal parts, and each output part sees its input part alone. Arguments that do not fit each
other raise ValueError, which says what was found and what would fit.

Source: V. Dumoulin, F. Visin (2016), "A guide to convolution arithmetic for deep learning".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.layers.windows import Pair, check_image, out_size, pad, pair, windows


def check_groups(name: str, groups: int, n_in: int, n_out: int) -> None:
    """Raise ValueError unless `groups` divides the channels of both input and output."""
    if groups < 1 or n_in % groups or n_out % groups:
        raise ValueError(f"{name}: groups={groups} must divide both the {n_in} input and the {n_out} output channels")


def check_bias(name: str, bias: Tensor | None, n_out: int) -> None:
    """Raise ValueError unless the bias, if there is one, has one number for each output channel."""
    if bias is not None and bias.shape != (n_out,):
        raise ValueError(f"{name}: bias must have the shape ({n_out},), one number a channel, got {tuple(bias.shape)}")


class Layout(NamedTuple):
    """The arguments of a convolution, checked, each as a pair, and the size of its output."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    size: tuple[int, int]


def layout(x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding, dilation, groups) -> Layout:
    """Check the arguments of a convolution. Raises ValueError that says which one does not fit, and what would."""
    check_image("conv2d", x)
    if weight.ndim != 4:
        raise ValueError(f"conv2d: weight must have the axes O C kh kw, got the shape {tuple(weight.shape)}")
    c, o = x.shape[1], weight.shape[0]
    check_groups("conv2d", groups, c, o)
    if weight.shape[1] != c // groups:
        raise ValueError(
            f"conv2d: x has {c} channels, so with groups={groups} the second axis of weight must be {c // groups}, "
            f"got {weight.shape[1]}"
        )
    check_bias("conv2d", bias, o)
    s, p, d = pair("stride", stride), pair("padding", padding, 0), pair("dilation", dilation)
    kernel = pair("the size of the kernel", weight.shape[2:])
    h, w = (out_size(*sizes) for sizes in zip(x.shape[2:], kernel, s, p, d, strict=True))
    return Layout(kernel, s, p, d, (h, w))


def add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """y (N, O, H, W) plus one number for each channel."""
    return y if bias is None else y + bias[:, None, None]


def conv2d_loops(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution as it is explained: at each place, multiply the window by the kernel and add up. Slow.

    x: (N, C, H, W), weight: (O, C/groups, kh, kw), bias: (O,). Returns (N, O, Ho, Wo) with sizes from `out_size`.
    """
    (kh, kw), s, p, d, (h, w) = layout(x, weight, bias, stride, padding, dilation, groups)
    o, c = weight.shape[:2]
    x = pad(x, p)
    y = x.new_zeros(len(x), o, h, w)
    for k in range(o):
        first = k // (o // groups) * c  # the first channel of the group that output channel k sees
        for i in range(h):
            for j in range(w):
                top, left = i * s[0], j * s[1]
                rows = slice(top, top + d[0] * (kh - 1) + 1, d[0])
                columns = slice(left, left + d[1] * (kw - 1) + 1, d[1])
                y[:, k, i, j] = (x[:, first : first + c, rows, columns] * weight[k]).sum(dim=(1, 2, 3))
    return add_bias(y, bias)


def conv2d_im2col(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution as one matrix product: each window becomes a column, each kernel a row. Arguments of `conv2d_loops`.

    Fast, since matrix products are, and hungry: a pixel is copied once for each window that sees it.
    Source: K. Chellapilla, S. Puri, P. Simard (2006), "High Performance Convolutional Neural Networks for Document
    Processing".
    """
    kernel, s, p, d, (h, w) = layout(x, weight, bias, stride, padding, dilation, groups)
    n, o = len(x), len(weight)
    seen = windows(pad(x, p), kernel, s, d).permute(0, 1, 4, 5, 2, 3)  # N C kh kw Ho Wo
    columns = seen.reshape(n, groups, weight[0].numel(), h * w)
    rows = weight.reshape(groups, o // groups, weight[0].numel())
    return add_bias((rows @ columns).reshape(n, o, h, w), bias)


def conv2d_fft(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution as a product of spectra, by the convolution theorem. Arguments of `conv2d_loops`.

    A product of spectra is convolution with a flipped kernel; the conjugate of the kernel's spectrum flips it back.
    Pays for large kernels only, and computes every place, also those that a stride then drops.
    Source: M. Mathieu, M. Henaff, Y. LeCun (2014), "Fast Training of Convolutional Networks through FFTs".
    """
    (kh, kw), s, p, d, (h, w) = layout(x, weight, bias, stride, padding, dilation, groups)
    o, c = weight.shape[:2]
    x = pad(x, p)
    size = x.shape[2:]
    spread = weight.new_zeros(o, c, d[0] * (kh - 1) + 1, d[1] * (kw - 1) + 1)
    spread[:, :, :: d[0], :: d[1]] = weight  # the dilated kernel, with its holes
    x_hat = torch.fft.rfft2(x).unflatten(1, (groups, c))  # N g c H W/2+1
    w_hat = torch.fft.rfft2(spread, s=size).unflatten(0, (groups, o // groups))  # g o c H W/2+1
    y = torch.fft.irfft2(torch.einsum("ngcij,gocij->ngoij", x_hat, w_hat.conj()), s=size).flatten(1, 2)
    # The spectrum sees the image as a ring. Up to Ho and Wo no window reaches round it.
    return add_bias(y[:, :, : h * s[0] : s[0], : w * s[1] : s[1]], bias)


def conv2d_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients (dx, dw, db) of a convolution from the gradient dy (N, O, Ho, Wo) of its output, by hand.

    Each product of the forward sum gives one term to dw and one to dx, written for one direction:

        dw[o, c, a] = sum over n, i of     dy[n, o, i] x[n, c, i s + a d - p]       the windows of x, weighted with dy
        dx[n, c, j] = sum over o, a, i of  dy[n, o, i] weight[o, c, a]  where  i s + a d - p = j
        db[o]       = sum over n, i of     dy[n, o, i]
    """
    kernel, s, p, d, size = layout(x, weight, None, stride, padding, dilation, groups)
    expected = (len(x), len(weight), *size)
    if dy.shape != expected:
        raise ValueError(f"conv2d_backward: dy must have the output's shape {expected}, got {tuple(dy.shape)}")
    seen = windows(pad(x, p), kernel, s, d).unflatten(1, (groups, -1))  # N g c Ho Wo kh kw
    dw = torch.einsum("ngoij,ngcijab->gocab", dy.unflatten(1, (groups, -1)), seen).flatten(0, 1)
    # Rows and columns at the end that no window reached: what `out_size` rounded away.
    missed = [(n + 2 * q - g * (k - 1) - 1) % t for n, k, t, q, g in zip(x.shape[2:], kernel, s, p, d, strict=True)]
    dx = conv_transpose2d(dy, weight, None, s, p, (missed[0], missed[1]), groups, d)
    return dx, dw, dy.sum(dim=(0, 2, 3))


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """The backward of a convolution with respect to its input, used as a layer: each pixel paints the kernel.

    x: (N, C, H, W), weight: (C, O/groups, kh, kw), as in the convolution that goes the other way; bias: (O,).
    Returns (N, O, Ho, Wo) with Ho = (H - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding.
    A stride rounds several sizes to the same one; output_padding says which of them is meant.
    """
    check_image("conv_transpose2d", x)
    n, c, h, w = x.shape
    if weight.ndim != 4 or len(weight) != c:
        raise ValueError(f"conv_transpose2d: weight must be (C={c}, O/groups, kh, kw), got {tuple(weight.shape)}")
    o, (kh, kw) = weight.shape[1] * groups, weight.shape[2:]
    check_groups("conv_transpose2d", groups, c, o)
    check_bias("conv_transpose2d", bias, o)
    s, p, d = pair("stride", stride), pair("padding", padding, 0), pair("dilation", dilation)
    extra = pair("output_padding", output_padding, 0)
    if any(e >= max(t, g) for e, t, g in zip(extra, s, d, strict=True)):
        raise ValueError(f"output_padding {extra} must be smaller than the stride {s} or the dilation {d}")
    full = [(m - 1) * t + g * (k - 1) + 1 + e for m, t, g, k, e in zip((h, w), s, d, (kh, kw), extra, strict=True)]
    if any(m <= 2 * q for m, q in zip(full, p, strict=True)):
        raise ValueError(f"conv_transpose2d: padding {p} leaves nothing of an output of {full[0]} by {full[1]}")

    y = x.new_zeros(n, o, *full)
    for a in range(kh):
        for b in range(kw):
            kernel = weight[:, :, a, b].unflatten(0, (groups, -1))  # g c o
            painted = torch.einsum("ngcij,gco->ngoij", x.unflatten(1, (groups, -1)), kernel).flatten(1, 2)
            rows, columns = slice(a * d[0], a * d[0] + h * s[0], s[0]), slice(b * d[1], b * d[1] + w * s[1], s[1])
            y[:, :, rows, columns] += painted
    return add_bias(y[:, :, p[0] : full[0] - p[0], p[1] : full[1] - p[1]], bias)


def parameters(shape: tuple[int, ...], n_bias: int) -> tuple[nn.Parameter, nn.Parameter | None]:
    """A kernel of `shape` and `n_bias` biases (None for 0), uniform in +-1 / sqrt(the numbers in `kernel[0]`)."""
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
    return weight, nn.Parameter(torch.empty(n_bias).uniform_(-bound, bound)) if n_bias else None


class Conv2d(nn.Module):
    """`conv2d_im2col` with its weight and bias, named, shaped and drawn as in torch.nn.Conv2d.

    Both start uniform in +-1 / sqrt(C/groups kh kw), one over the root of how many numbers an output adds up.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        check_groups("Conv2d", groups, in_channels, out_channels)
        shape = (out_channels, in_channels // groups, *pair("kernel_size", kernel_size))
        self.weight, self.bias = parameters(shape, out_channels if bias else 0)
        self.where = (stride, padding, dilation, groups)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d_im2col(x, self.weight, self.bias, *self.where)


class ConvTranspose2d(nn.Module):
    """`conv_transpose2d` with its weight and bias, named, shaped and drawn as in torch.nn.ConvTranspose2d."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
    ):
        super().__init__()
        check_groups("ConvTranspose2d", groups, in_channels, out_channels)
        shape = (in_channels, out_channels // groups, *pair("kernel_size", kernel_size))
        self.weight, self.bias = parameters(shape, out_channels if bias else 0)
        self.where = (stride, padding, output_padding, groups, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return conv_transpose2d(x, self.weight, self.bias, *self.where)
