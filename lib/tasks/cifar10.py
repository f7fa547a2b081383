"""A residual network that tells ten kinds of small photographs apart: CIFAR-10.

`options.held` says what is kept aside and scored. "tuning": train on the first 45,000 training images and score the
last 5,000, to choose settings. "test": train on all 50,000 and score the test split, once the choice is made.

Source: A. Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images". Flips and shifts as in
K. He et al. (2016), arXiv:1512.03385, section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data import arrays
from lib.train import ConfigError, Task, TensorExamples
from lib.train.config import number
from lib.zoo.resnet import ResNet

NAME = "uoft-cs/cifar10"
CLASSES = ("aeroplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "lorry")
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)
"""Of red, green and blue over the 50,000 original training images, pixels from 0 to 1; chapter 21 compares them."""
N_TUNING = 5_000


@dataclass(frozen=True)
class Options:
    widths: tuple[int, ...] = number((16, 32, 64, 128), least=1)
    """Channels of each stage."""
    depths: tuple[int, ...] = number((0, 1, 1, 1), least=0)
    """Blocks in each stage."""
    stride: int = number(2, least=1)
    """Pixels between the stem's windows."""
    shift: int = number(2, least=0)
    """The farthest an image moves, in pixels, when it is augmented."""
    smoothing: float = number(0.1, least=0, below=1)
    """Share of each label that is spread evenly over all classes."""
    held: Literal["tuning", "test"] = "tuning"


def prepare(images: Tensor) -> Tensor:
    """uint8 images (N, H, W, 3) to floats (N, 3, H, W) of mean 0 and deviation 1 in each colour."""
    x = (images / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return x.permute(0, 3, 1, 2)  # N 3 H W, the channels still last in memory


def augment(images: Tensor, rng: torch.Generator, shift: int = 2) -> Tensor:
    """Each image (N, H, W, 3) moved by up to `shift` pixels down and across, and mirrored in half of the cases.

    What a shift uncovers repeats the pixels of the edge. All that is random comes from `rng`.
    """
    n, height, width, _ = images.shape
    down, across = torch.randint(-shift, shift + 1, (2, n, 1), generator=rng)
    rows = (torch.arange(height) + down).clamp(0, height - 1)  # N H
    columns = (torch.arange(width) + across).clamp(0, width - 1)  # N W
    mirrored = torch.rand(n, 1, generator=rng) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


@torch.no_grad()
def logits(model: nn.Module, images: Tensor, batch: int = 500) -> Tensor:
    """The model's logits (N, classes) for uint8 images, a batch at a time, in the mode that the model is in."""
    device = next(model.parameters()).device
    return torch.cat([model(prepare(part).to(device)).cpu() for part in images.split(batch)])


def split(held: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images, labels) to train on, and those that are kept aside; see the module's head."""
    x, y = (torch.from_numpy(a) for a in arrays(NAME, "train"))
    if held == "test":
        x_held, y_held = (torch.from_numpy(a) for a in arrays(NAME, "test"))
        return (x, y), (x_held, y_held)
    return (x[:-N_TUNING], y[:-N_TUNING]), (x[-N_TUNING:], y[-N_TUNING:])


def build(options: Options, seed: int) -> Task:
    """The residual network, its images and its scores. ConfigError where widths and depths do not go together."""
    (x, y), (x_held, y_held) = split(options.held)
    try:
        model = ResNet(len(CLASSES), 3, options.widths, options.depths, options.stride)
    except ValueError as error:
        raise ConfigError(str(error)) from None

    def transform(rows: tuple[Tensor, ...], rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return prepare(augment(rows[0], rng, options.shift)), rows[1]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        x, y = batch
        return F.cross_entropy(model(x), y, label_smoothing=options.smoothing, reduction="sum"), len(y)

    def evaluate(model: nn.Module) -> dict[str, float]:
        z = logits(model, x_held)
        return {"accuracy": (z.argmax(1) == y_held).float().mean().item(), "loss": F.cross_entropy(z, y_held).item()}

    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # a quarter faster on a CPU
    watch = "accuracy" if options.held == "tuning" else ""  # the best of many test scores would be a choice
    return Task(model, TensorExamples(x, y, transform=transform), loss, evaluate, watch)
