"""The best evaluation so far, and when to give up waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.train.config import ConfigError, TrainConfig
from lib.train.task import Task

WEIGHTS = "best.safetensors"


@dataclass(frozen=True)
class Best:
    """The best value of the watched metric, the step after which it was measured, and where those weights are kept."""

    step: int
    value: float
    path: str = ""
    """`best.safetensors` in the run's folder; "" where there is no folder or it could not be written."""


class Watch:
    """Looks at one metric of each evaluation."""

    def __init__(self, task: Task, config: TrainConfig) -> None:
        if (task.watch or config.patience) and task.evaluate is None:
            raise ConfigError(f"watch={task.watch!r}, patience={config.patience}: the task has no `evaluate` to watch.")
        if config.patience and not (task.watch and config.eval_every):
            raise ConfigError(
                f"patience={config.patience} needs a task that names a metric to watch, and eval_every > 0."
            )
        self.task, self.patience = task, config.patience
        self.best: Best | None = None
        self.waited = 0
        """Evaluations since the best."""

    def better(self, metrics: dict[str, float], step: int) -> bool:
        """Take note of an evaluation; whether it is the best so far. NaN never is."""
        name = self.task.watch
        if not name:
            return False
        if name not in metrics:
            raise ConfigError(f"watch={name!r} is not among what evaluate returns: {', '.join(metrics)}.")
        value, best = metrics[name], self.best
        ahead = best is None or (value != best.value and self.task.better(value, best.value) == value)
        if math.isnan(value) or not ahead:
            self.waited += 1
            return False
        self.best, self.waited = Best(step, value), 0
        return True

    @property
    def over(self) -> bool:
        """Whether the run has waited long enough."""
        return 0 < self.patience <= self.waited

    def state(self) -> dict[str, Any]:
        """As plain values, which hold wherever the folder is moved to."""
        best = self.best
        return {"best": [best.step, best.value, bool(best.path)] if best else None, "waited": self.waited}

    def load(self, state: dict[str, Any], folder: Path) -> None:
        """Take up what `state` returned."""
        self.waited = state["waited"]
        if state["best"]:
            step, value, kept = state["best"]
            self.best = Best(step, value, str(folder / WEIGHTS) if kept else "")
