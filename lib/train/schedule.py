"""The learning rate of each step, and the optimizer it drives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lib.train.config import ConfigError, TrainConfig
from lib.train.muon import Muon, hidden


def rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step, counted from 0: a function of the step alone, so nothing of it needs keeping.

    With w steps of warm-up out of n, and t = (step - w) / (n - w):

        step < w    lr (step + 1) / w                                     the climb (Goyal et al. 2017, section 2.2)
        cosine      lr (e + (1 - e) (1 + cos(pi t)) / 2),  e = lr_end     (Loshchilov and Hutter 2017, equation 5)
        linear      lr (e + (1 - e) (1 - t))
        constant    lr

    The first step after the climb has t = 0 and the full rate; t = 1 would be the step after the last.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    t = (step - config.warmup) / max(1, config.steps - config.warmup)
    left = (1 + math.cos(math.pi * t)) / 2 if config.schedule == "cosine" else 1 - t
    return config.lr * (config.lr_end + (1 - config.lr_end) * left)


def make_optimizer(
    model: nn.Module, config: TrainConfig, shares: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), SGD with Nesterov momentum, or Muon; weight decay on matrices alone.

    shares: see Task; a group says its own as "share". Parameters that ask for no gradient are left out. ConfigError
    where there is no matrix for Muon, or no parameter of a name in `shares`.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    if config.optimizer == "muon":
        inside = hidden(model)
        if not inside:
            raise ConfigError("optimizer='muon' is for the matrices of an nn.ModuleList of blocks; the model has none.")
        groups = [{"params": inside, "weight_decay": config.weight_decay, "muon": True}]
        trained = [p for p in trained if all(p is not each for each in inside)]
    own = {id(p): share for start, share in (shares or {}).items() for p in _below(model, start)}
    for share in dict.fromkeys((1.0, *own.values())):
        some = [p for p in trained if own.get(id(p), 1.0) == share]
        groups += [
            {"params": [p for p in some if p.ndim >= 2], "weight_decay": config.weight_decay, "share": share},
            {"params": [p for p in some if p.ndim < 2], "weight_decay": 0.0, "share": share},
        ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    if config.optimizer == "muon":
        return Muon(groups, config.lr, config.momentum, config.betas)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def _below(model: nn.Module, start: str) -> list[nn.Parameter]:
    """The parameters whose names begin so."""
    found = [p for name, p in model.named_parameters() if name.startswith(start)]
    if not found:
        raise ConfigError(f"Task.shares names {start!r}, but no parameter's name begins so.")
    return found
