"""Max and average pooling: the largest, or the mean, of each window of each channel. Arguments are torch's.

x is N C H W. The stride is the kernel's size unless given, so that windows tile the image. Neither copies a window into
more memory than it must: both read `windows`, which is a view, and autograd runs backward through it.
"""

from __future__ import annotations

from torch import Tensor, nn

from lib.layers.windows import Pair, check_image, out_size, pad, pair, windows


def pooled(name: str, x: Tensor, kernel_size: Pair, stride: Pair | None, padding: Pair, fill: float) -> Tensor:
    """The windows of x, flattened: (N, C, Ho, Wo, kh kw). Raises ValueError for arguments that do not fit."""
    check_image(name, x)
    kernel = pair("kernel_size", kernel_size)
    step, p = kernel if stride is None else pair("stride", stride), pair("padding", padding, 0)
    if any(2 * q > k for q, k in zip(p, kernel, strict=True)):
        raise ValueError(f"{name}: padding {p} is more than half the kernel {kernel}: a window would see padding alone")
    for sizes in zip(x.shape[2:], kernel, step, p, strict=True):
        out_size(*sizes)  # raises where the window does not fit
    return windows(pad(x, p, fill), kernel, step, (1, 1)).flatten(-2)


def max_pool2d(x: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """The largest number of each window: (N, C, H, W) to (N, C, Ho, Wo). Padding counts as minus infinity.

    Backward sends each gradient to the place of the largest number, the first of them where several are equal.
    Source: M. Ranzato et al. (2007), "Unsupervised Learning of Invariant Feature Hierarchies".
    """
    return pooled("max_pool2d", x, kernel_size, stride, padding, float("-inf")).max(dim=-1).values


def avg_pool2d(x: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """The mean of each window: (N, C, H, W) to (N, C, Ho, Wo). Padding counts as zeros, and is counted.

    Backward sends each window's gradient in equal parts to all its places.
    Source: Y. LeCun et al. (1998), "Gradient-Based Learning Applied to Document Recognition", section II.B.
    """
    return pooled("avg_pool2d", x, kernel_size, stride, padding, 0.0).mean(dim=-1)


class MaxPool2d(nn.Module):
    """`max_pool2d` as a module."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
        super().__init__()
        self.where = (kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, *self.where)


class AvgPool2d(nn.Module):
    """`avg_pool2d` as a module."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
        super().__init__()
        self.where = (kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, *self.where)
