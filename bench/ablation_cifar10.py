"""What does each of five ideas add to a residual network on CIFAR-10? Each is left out in turn, over three seeds.

    OMP_NUM_THREADS=1 python bench/ablation_cifar10.py      writes bench/ablation_cifar10.json, which chapter 21 draws

A small network of ten layers trains for five passes over 5,000 images and is scored on the 5,000 images of the tuning
slice; the test split is not looked at. A rate that suits one variant may ruin another, so each gets the best of three
rates, chosen with a seed of its own, and is then trained with three other seeds at that rate. The seed decides all that
is random: first weights, order, augmentation.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from lib import seed
from lib.tasks.cifar10 import NAME, augment, logits, prepare, split
from lib.train import Task, TensorExamples, TrainConfig, fit
from lib.zoo.resnet import Block, ResNet

RESULT = Path(__file__).with_suffix(".json")
N_IMAGES, EPOCHS, BATCH = 5_000, 5, 64
RATES = (0.03, 0.1, 0.3)
RATE_SEED, SEEDS = 10, (0, 1, 2)


class PlainBlock(Block):
    """The two convolutions of a block, with nothing led past them."""

    def __init__(self, d_in: int, d_out: int, stride: int, norm: type[nn.Module]):
        super().__init__(d_in, d_out, stride, norm)
        self.shortcut = nn.Identity()  # the weights of a shortcut go with it

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


class Bias(nn.Module):
    """y = x + bias, one for each channel: what a convolution has where no norm follows it."""

    def __init__(self, d: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(d, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class FlatResNet(ResNet):
    """The head weighs every place of the last stage, in place of their mean; it fits images of 32 by 32 alone."""

    def __init__(self, **options):
        super().__init__(**options)
        self.head = nn.Linear(self.head.in_features * 4 * 4, self.head.out_features)  # 32 pixels, halved three times

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)).flatten(1))


@dataclass(frozen=True)
class Variant:
    """The network and its training; the defaults are all five ideas together."""

    norm: type[nn.Module] = nn.BatchNorm2d
    block: type[Block] = Block
    shift: int | None = 2
    net: type[ResNet] = ResNet
    one_cycle: bool = True

    def model(self) -> ResNet:
        return self.net(widths=(16, 32, 64), depths=(0, 2, 2), stride=2, block=self.block, norm=self.norm)

    def config(self, lr: float, start: int) -> TrainConfig:
        steps = EPOCHS * N_IMAGES // BATCH
        return TrainConfig(
            steps=steps,
            batch=BATCH,
            optimizer="sgd",
            lr=lr,
            schedule="linear" if self.one_cycle else "constant",
            warmup=steps // 5 if self.one_cycle else 0,
            weight_decay=5e-4,
            clip=5.0,
            seed=start,
        )


VARIANTS = {
    "all five": Variant(),
    "without batch norm": Variant(norm=Bias),
    "without residuals": Variant(block=PlainBlock),
    "without augmentation": Variant(shift=None),
    "without global pooling": Variant(net=FlatResNet),
    "without one-cycle": Variant(one_cycle=False),
    "none of them": Variant(norm=Bias, block=PlainBlock, shift=None, net=FlatResNet, one_cycle=False),
}


def accuracy(variant: Variant, lr: float, start: int) -> float:
    """Train one variant; the share of the tuning slice that it gets right."""
    (x, y), (x_tune, y_tune) = split("tuning")
    seed(start)

    def transform(rows: tuple[Tensor, ...], rng: torch.Generator) -> tuple[Tensor, Tensor]:
        images, labels = rows
        return prepare(images if variant.shift is None else augment(images, rng, variant.shift)), labels

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="sum"), len(batch[1])

    model = variant.model()
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # a quarter faster on a CPU
    examples = TensorExamples(x[:N_IMAGES], y[:N_IMAGES], transform=transform)
    fit(Task(model, examples, loss), variant.config(lr, start), show="none")
    return (logits(model.eval(), x_tune).argmax(1) == y_tune).float().mean().item()


def measure(variant: Variant) -> dict[str, object]:
    """The scores at each rate, the best of the rates, and the scores of the three seeds at that rate."""
    tried = {lr: round(accuracy(variant, lr, RATE_SEED), 4) for lr in RATES}
    best = max(RATES, key=lambda lr: tried[lr])
    return {"rates": tried, "lr": best, "accuracy": [round(accuracy(variant, best, start), 4) for start in SEEDS]}


def main() -> None:
    results = {name: measure(variant) for name, variant in tqdm(VARIANTS.items(), unit="variant")}
    about = {
        "command": "OMP_NUM_THREADS=1 python bench/ablation_cifar10.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "data": f"{NAME}, tuning slice: the last 5,000 of the training images",
        "seeds": list(SEEDS),
        "rate seed": RATE_SEED,
    }
    RESULT.write_text(json.dumps({**about, "results": results}, indent=2) + "\n", "utf-8")
    for name, found in results.items():
        print(f"{name:25s} lr {found['lr']:<5} accuracy {found['accuracy']}")


if __name__ == "__main__":
    main()
