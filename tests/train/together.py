"""What two processes do, for test_parallel.py: `python -m tests.train.together FOLDER`; each writes rank-N.json."""

from __future__ import annotations

import json
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from lib.train import ConfigError, Interrupted, NonFiniteLoss, Task, TrainConfig, fit
from lib.train.weights import gather
from tests.train import small

CONFIG = TrainConfig(
    steps=12, batch=16, lr=0.02, clip=0.2, weight_decay=0.1, warmup=3, eval_every=4, save_every=4, accelerator="cpu"
)
PARITY = {
    "adamw": CONFIG,
    "parts": replace(CONFIG, accumulate=2),
    "sgd": replace(CONFIG, optimizer="sgd", lr=0.1, accumulate=4),
    "double": replace(CONFIG, precision="64-true"),
}
"""Runs that must end with the same parameters, however many processes share them."""


class Deep(nn.Module):
    """Blocks in a list, as FSDP shards them; widths that two processes cannot share evenly; weights in two places."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 7)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(7, 7), nn.Tanh(), nn.Dropout(dropout)) for _ in range(3))
        self.again = nn.Linear(7, 7)
        self.again.weight = self.blocks[2][0].weight  # type: ignore[index]
        self.leave = nn.Linear(7, 3)

    def forward(self, x):
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return self.leave(torch.tanh(self.again(x)))


def loss(model, batch):
    x, y, real = batch
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="none")[real.flatten()].sum(), real.sum()


class Still(small.Sentences):
    """The same sentences with no noise; number 17 may hold what is not finite."""

    def __init__(self, bad: bool = False) -> None:
        super().__init__()
        if bad:
            self.x[17, 0] = torch.inf

    def batch(self, indices, rng):
        return self.x[indices], self.y[indices], torch.arange(9) < self.lengths[indices, None]


def task(dropout: float = 0.0, bad: bool = False) -> Task:
    """The task; with dropout the batches are noisy too, so that every generator counts."""
    torch.manual_seed(5)
    examples = small.Sentences() if dropout else Still(bad)

    def evaluate(model):
        x, y, real = Still().batch(range(50), None)
        return {"accuracy": (model(x).argmax(-1) == y)[real].float().mean()}

    return Task(Deep(dropout), examples, loss, evaluate, watch="accuracy")


def interrupted_in(first: bool) -> Task:
    """The task with dropout; in step 5, one process alone is told to stop."""
    made, calls = task(dropout=0.2), []
    batch = made.train.batch

    def counted(indices, rng):
        calls.append(indices)
        if len(calls) == 9 and first:
            signal.raise_signal(signal.SIGINT)
        return batch(indices, rng)

    made.train.batch = counted  # type: ignore[method-assign]
    return made


def cases(strategy: str, folder: Path) -> dict[str, Any]:
    """Everything that two processes are to show under one strategy."""
    seen: dict[str, Any] = {}
    two = {"devices": 2, "strategy": strategy}
    for name, config in PARITY.items():
        made = task()
        result = fit(made, replace(config, **two), folder / name, show="bar" if name == "adamw" else "none")
        seen[name] = {"rank": result.rank, "metrics": result.metrics, "loss": result.history[-1]["loss"]}
    weight = next(made.model.parameters())
    seen["shards"] = [list(weight.shape), list(getattr(weight, "to_local", lambda w=weight: w)().shape)]
    gather(made.model)
    kept = load_file(folder / name / "step-00000012" / "model.safetensors")
    whole = made.model.state_dict()
    seen["gathered"] = whole.keys() >= kept.keys() and all(torch.equal(whole[key], kept[key]) for key in kept)

    noisy = replace(CONFIG, **two, accumulate=2)
    fit(task(dropout=0.2), noisy, folder / "whole", show="none")
    try:
        fit(interrupted_in(first=seen["adamw"]["rank"] == 1), noisy, folder / "halves", show="none")
    except Interrupted as stop:
        seen["stopped"] = [stop.step, stop.checkpoint]
    fit(task(dropout=0.2), noisy, folder / "halves", resume=True, show="none")

    for name, run in {
        "bad": lambda: fit(task(bad=True), replace(CONFIG, **two), folder / "bad", show="none"),
        "again": lambda: fit(task(), replace(CONFIG, **two), folder / "adamw", show="none"),
        "one": lambda: fit(task(), replace(CONFIG, strategy=strategy), show="none"),
    }.items():
        try:
            run()
        except (NonFiniteLoss, ConfigError) as error:
            seen[name] = [type(error).__name__, str(error)]
    return seen


if __name__ == "__main__":
    warnings.simplefilter("error", UserWarning)
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    place = Path(sys.argv[1])
    outcome = {strategy: cases(strategy, place / strategy) for strategy in ("ddp", "fsdp")}
    (place / f"rank-{outcome['ddp']['adamw']['rank']}.json").write_text(json.dumps(outcome))
