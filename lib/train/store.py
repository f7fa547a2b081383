"""A run's folder: what is read from it at the start, and what is written to it as the run goes on.

    metrics.csv                    a row for each step
    best.safetensors               the weights of the best evaluation, where a metric is watched
    step-00000123/                 a checkpoint (lib/train/checkpoint.py); the last two are kept
    tensorboard/                   curves, where TensorBoard is installed

Only the first process writes. A write that fails is noted, and the run goes on.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib import __version__, files
from lib.train import checkpoint
from lib.train.best import WEIGHTS, Best
from lib.train.config import ConfigError, TrainConfig
from lib.train.log import Board, Metrics, Row
from lib.train.task import Task


def settings(task: Task, config: TrainConfig) -> dict[str, Any]:
    """What a run is made of, as JSON has it. ConfigError where the task's options hold something else."""
    made = {"train": asdict(config), "options": dict(task.options), "examples": len(task.train)}
    try:
        return json.loads(json.dumps(made))
    except TypeError as error:
        raise ConfigError(f"Task.options must hold plain values, which a checkpoint can keep: {error}.") from None


def open_folder(folder: Path, resume: bool, allow_changes: bool, now: dict[str, Any]) -> tuple[Path | None, list[Path]]:
    """Look at a run's folder before anything starts: the checkpoint to go on from, and those that are damaged.

    Raises ConfigError where the folder holds a run that was not to be resumed, or one with other settings;
    CheckpointError where there are checkpoints and none is whole.
    """
    holds = folder.is_dir() and any(
        path.name in ("metrics.csv", WEIGHTS) or path.name.lstrip(".").startswith("step-") for path in folder.iterdir()
    )
    if holds and not resume:
        raise ConfigError(
            f"{folder} already holds a run. Go on with it (resume=True; `--resume` on the command line), "
            "name another folder, or delete this one."
        )
    if not resume:
        return None, []
    found, refused = checkpoint.newest(folder)
    if found is None:
        print(f"No checkpoint in {folder} yet: starting at step 0.")
        return None, refused
    changes = differences(found.state["settings"], now)
    if changes and not allow_changes:
        raise ConfigError(
            f"The run in {folder} has other settings:\n  " + "\n  ".join(changes) + "\n"
            "Set them as they were, or go on with these on purpose (allow_changes=True; `--allow-changes`)."
        )
    print(f"Going on from step {found.state['step']} ({found.path}).")
    return found.path, refused


def differences(kept: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> list[str]:
    """A line for each setting that differs: its name and both values."""
    lines = []
    for name in dict.fromkeys([*kept, *now]):
        before, after = kept.get(name), now.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{where}{name}.")
        elif before != after or (name in kept) != (name in now):
            lines.append(f"{where}{name}: {before!r} in the checkpoint, {after!r} now")
    return lines


def versions() -> dict[str, str]:
    """What computed this run."""
    return {
        "lib": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": metadata.version("lightning"),
        "machine": platform.machine(),
    }


class Store:
    """Writes to a run's folder; without a folder (None) it does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.unsaved = files.Unsaved()
        self.refused: list[Path] = []
        self.metrics: Metrics | None = None
        self.board: Board | None = None

    def start(self, step: int, refused: list[Path]) -> list[Row]:
        """Make the folder ready to go on from a step; returns the rows of metrics.csv until then."""
        rows: list[Row] = []
        if self.folder is None:
            return rows
        self.refused = refused
        with self.unsaved.noted("the folder", str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
            checkpoint.clean(self.folder)
            if step and not refused:  # a run killed between writing and removing leaves one too many
                checkpoint.prune(self.folder, step, ())
        self.metrics = Metrics(self.folder / "metrics.csv")
        with self.unsaved.noted("metrics.csv", final=False):
            rows = self.metrics.cut(step)
        with self.unsaved.noted("TensorBoard's curves"):
            self.board = Board(self.folder, step)
        return rows

    def row(self, row: Row) -> None:
        """Log a row."""
        if self.metrics:
            with self.unsaved.noted("metrics.csv", final=False):
                self.metrics.add(row)
        if self.board:
            board, self.board = self.board, None  # given up, unless it takes the row
            with self.unsaved.noted("TensorBoard's curves"):
                board.add(row)
                self.board = board

    def best(self, best: Best, tensors: dict[str, Tensor]) -> Best:
        """Keep the weights of the best evaluation; returns it with their path, where they could be written."""
        from safetensors.torch import save as packed

        if self.folder is None:
            return best
        path = self.folder / WEIGHTS
        with self.unsaved.noted(WEIGHTS, f"of step {best.step}"):
            files.put(path, packed(tensors, {"step": str(best.step)}))
            return replace(best, path=str(path))
        return best

    def checkpoint(
        self, step: int, model: dict[str, Tensor], optimizer: dict[str, Tensor], state: dict[str, Any]
    ) -> Path | None:
        """Write the checkpoint of a step, then remove older ones; its path, or None where it could not be written."""
        if self.folder is None:
            return None
        if self.metrics:
            with self.unsaved.noted("metrics.csv", final=False):
                self.metrics.flush()
                self.metrics.sync()
        with self.unsaved.noted("the checkpoint", f"of step {step}"):
            path = checkpoint.save(self.folder, step, model, optimizer, state)
            with self.unsaved.noted("old checkpoints", f"at step {step}", verb="remove"):
                checkpoint.prune(self.folder, step, self.refused)
                self.refused = []
            return path
        return None

    def close(self) -> None:
        """Write what waits, and say what never could be written."""
        if self.metrics:
            with self.unsaved.noted("metrics.csv", self._rows()):
                self.metrics.flush()
        if self.board:
            with self.unsaved.noted("TensorBoard's curves"):
                self.board.close()
        self.unsaved.close()

    def _rows(self) -> str:
        waiting = self.metrics.waiting if self.metrics else []
        return f"from step {waiting[0]['step']} on" if waiting else ""
