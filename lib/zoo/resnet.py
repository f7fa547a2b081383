"""The residual network of He et al. (2016), for small images.

Every stage but the first halves the image and widens the channels, so that the work stays about even from stage to
stage. What differs from the paper's networks for CIFAR-10 (section 4.2): shortcuts that change the shape are 1 by 1
convolutions (its option B), and the stem may take steps of two pixels, which makes all that follows four times cheaper.

Source: K. He, X. Zhang, S. Ren, J. Sun (2016), "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def conv(d_in: int, d_out: int, size: int, stride: int) -> nn.Conv2d:
    """A convolution that keeps the image's size at stride 1; no bias, since the norm behind it has one.

    Weights start normal with variance 2 / (d_in size^2), which keeps the size of what a ReLU passes on.
    Source: K. He et al. (2015), "Delving Deep into Rectifiers", section 2.2.
    """
    layer = nn.Conv2d(d_in, d_out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


class Block(nn.Module):
    """y = relu(shortcut(x) + norm2(conv2(relu(norm1(conv1(x)))))); x is (N, d_in, H, W).

    The shortcut is x itself where shapes allow, otherwise a 1 by 1 convolution and a norm.
    """

    def __init__(self, d_in: int, d_out: int, stride: int = 1, norm: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.conv1, self.norm1 = conv(d_in, d_out, 3, stride), norm(d_out)
        self.conv2, self.norm2 = conv(d_out, d_out, 3, 1), norm(d_out)
        same = stride == 1 and d_in == d_out
        self.shortcut = nn.Identity() if same else nn.Sequential(conv(d_in, d_out, 1, stride), norm(d_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))  # N d_out H/stride W/stride
        y = self.norm2(self.conv2(y))
        return F.relu(self.shortcut(x) + y)


class ResNet(nn.Module):
    """Images (N, d_in, H, W) to logits (N, n_classes): stem, stages of blocks, mean over the image, a linear layer.

    `widths` are the channels of the stages, `depths` how many blocks each has; a stage of no blocks is left out. The
    stem has widths[0] channels and takes steps of `stride` pixels. The paper's ResNet-20 has widths (16, 32, 64) and
    depths (3, 3, 3). Since the head takes the mean over the image, any H and W will do. `block` and `norm` are what
    the stages are made of.

    Raises ValueError where `widths` and `depths` do not go together.
    """

    def __init__(
        self,
        n_classes: int = 10,
        d_in: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        depths: Sequence[int] = (3, 3, 3),
        stride: int = 1,
        block: Callable[..., nn.Module] = Block,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        if not widths or len(widths) != len(depths):
            raise ValueError(f"ResNet: widths {widths} and depths {depths} must hold one number for each stage")
        self.stem = nn.Sequential(conv(d_in, widths[0], 3, stride), norm(widths[0]), nn.ReLU())
        stages, d = [], widths[0]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for j in range(depth):
                stages.append(block(d, width, 2 if i > 0 and j == 0 else 1, norm))
                d = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(d, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stages(self.stem(x))  # N widths[-1] h w
        return self.head(y.mean(dim=(2, 3)))  # N n_classes
