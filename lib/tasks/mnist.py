"""LeNet on handwritten digits: MNIST.

`options.held` says what is kept aside and scored. "tuning": train on the first 45,000 digits and score the next 5,000,
to choose settings. "validation": train on all 50,000 and score the last 10,000, once the choice is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data import arrays
from lib.train import Task, TensorExamples
from lib.train.config import number
from lib.zoo.lenet import lenet

NAME = "ylecun/mnist"
MEAN, STD = 0.131, 0.309
"""Of the training images, pixels from 0 to 1; chapter 13 measures them."""
N_TUNING = 5_000


@dataclass(frozen=True)
class Options:
    widths: tuple[int, int] = number((16, 32), least=1)
    """Channels of the two convolutions."""
    d_hidden: int = number(128, least=1)
    p_dropout: float = number(0.2, least=0, below=1)
    shift: int = number(1, least=0, most=4)
    """The farthest a training image moves, in pixels; digits leave 4 pixels free on each side."""
    held: Literal["tuning", "validation"] = "tuning"


def prepare(images: Tensor) -> Tensor:
    """uint8 images (N, 28, 28) to floats (N, 1, 28, 28) of mean 0 and deviation 1; channels last in memory."""
    x = (images[:, None] / 255 - MEAN) / STD
    return x.contiguous(memory_format=torch.channels_last)


def shifted(images: Tensor, rng: torch.Generator, farthest: int = 1) -> Tensor:
    """Each image (N, 28, 28) moved by up to `farthest` pixels down and across; all that is random comes from `rng`."""
    n, pixel = len(images), torch.arange(28)
    down, across = torch.randint(-farthest, farthest + 1, (2, n, 1), generator=rng)
    rows, columns = (pixel + down).clamp(0, 27), (pixel + across).clamp(0, 27)  # N 28
    return images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def split(held: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images, labels) to train on, and those that are kept aside; see the module's head."""
    x, y = (torch.from_numpy(a) for a in arrays(NAME, "train"))
    if held == "validation":
        x_held, y_held = (torch.from_numpy(a) for a in arrays(NAME, "validation"))
        return (x, y), (x_held, y_held)
    return (x[:-N_TUNING], y[:-N_TUNING]), (x[-N_TUNING:], y[-N_TUNING:])


def build(options: Options, seed: int) -> Task:
    """LeNet, the digits and the scores."""
    (x, y), (x_held, y_held) = split(options.held)
    model = lenet(options.widths, options.d_hidden, options.p_dropout)

    def transform(rows: tuple[Tensor, ...], rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return prepare(shifted(rows[0], rng, options.shift)), rows[1]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        x, y = batch
        return F.cross_entropy(model(x), y, reduction="sum"), len(y)

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        z = torch.cat([model(prepare(part).to(device)).cpu() for part in x_held.split(1000)])
        return {"accuracy": (z.argmax(1) == y_held).float().mean().item(), "loss": F.cross_entropy(z, y_held).item()}

    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # fastest on a CPU
    watch = "accuracy" if options.held == "tuning" else ""  # the best of many test scores would be a choice
    return Task(model, TensorExamples(x, y, transform=transform), loss, evaluate, watch)
