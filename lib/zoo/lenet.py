"""LeNet for 28 by 28 digits: the network of 1998, and the same idea with the parts of today.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), "Gradient-Based Learning Applied to Document Recognition",
section II.B.
"""

from __future__ import annotations

from torch import nn


def lenet5() -> nn.Sequential:
    """The layers of LeNet-5, 61,706 parameters: x (N, 1, 28, 28) to logits (N, 10).

    What differs from the paper: its pooling has a trained scale and offset for each channel, its second convolution
    leaves out 36 of the 96 pairs of channels, and its output measures distances to drawn digits. Padding 2 stands for
    its 32 by 32 images.
    """
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),  # N 6 14 14
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),  # N 16 5 5
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),  # N 120: the kernel covers all that is left
        nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, 10),
    )  # fmt: skip


def lenet(widths: tuple[int, int] = (16, 32), d_hidden: int = 128, p_dropout: float = 0.2) -> nn.Sequential:
    """LeNet as one would build it now, 80,250 parameters: x (N, 1, 28, 28) to logits (N, 10).

    ReLU for tanh, the maximum of a window for its mean, batch norm, dropout, more channels. Pooling comes before the
    norm, which then has a quarter of the work. No bias where a batch norm follows, which has its own.
    """
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(1, first, 5, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(first), nn.ReLU(),  # N 16 12 12
        nn.Conv2d(first, second, 5, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(second), nn.ReLU(),  # N 32 4 4
        nn.Flatten(), nn.Dropout(p_dropout),  # N 512
        nn.Linear(16 * second, d_hidden), nn.ReLU(), nn.Dropout(p_dropout),
        nn.Linear(d_hidden, 10),
    )  # fmt: skip
