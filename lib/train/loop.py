"""The loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from lib.train.config import TrainConfig
from lib.train.task import Task


@dataclass
class Result:
    """What a run gives back: the steps done, the last evaluation, and one row for each step or evaluation logged."""

    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    t = torch.tensor((step - config.warmup) / max(1, config.steps - config.warmup))
    fall = (1 + torch.cos(torch.pi * t)) / 2 if config.schedule == "cosine" else 1 - t
    return config.lr * float(config.lr_end + (1 - config.lr_end) * fall)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW or SGD; weight decay on matrices alone."""
    weights = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def fit(task: Task, config: TrainConfig, folder: str | Path | None = None, resume: bool = False) -> Result:
    """Train. (A first version: Fabric, checkpoints, progress and guards follow; the interface stays.)"""
    model, optimizer = task.model, make_optimizer(task.model, config)
    result = Result(0)
    order: list[int] = []
    torch.manual_seed(config.seed)
    for step in range(config.steps):
        while len(order) < config.batch:
            order += torch.randperm(len(task.train)).tolist()
        indices, order = order[: config.batch], order[config.batch :]
        for group in optimizer.param_groups:
            group["lr"] = rate(config, step)
        model.train()
        rng = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        total, count = task.loss(model, task.train.batch(indices, rng))
        (total / count).backward()
        if config.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        result.step = step + 1
        result.history.append({"step": step + 1, "loss": float(total.detach() / count)})
    if task.evaluate:
        model.eval()
        with torch.no_grad():
            result.metrics = task.evaluate(model)
    return result
