"""The loop, and how it goes on where it stopped."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from lib.train import checkpoint, parallel, randomness, weights
from lib.train.best import Best, Watch
from lib.train.config import ConfigError, TrainConfig
from lib.train.log import Row
from lib.train.progress import Progress, Show
from lib.train.stop import Interrupted, Stop
from lib.train.store import Store, open_folder, settings, versions
from lib.train.task import Task
from lib.train.update import Updater

if TYPE_CHECKING:
    from lightning.fabric import Fabric


@dataclass
class Result:
    """What a run gives back. The model itself stands as it was after the last step, in eval mode."""

    step: int
    """Steps made, those before a resume included."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The last evaluation."""
    history: list[Row] = field(default_factory=list)
    """A row for each step: "step", "loss" (the mean over its batch), "lr", "norm" (of the gradient, before clipping),
    and what `evaluate` returned where it was called after that step ("eval_loss" for a "loss" of its own)."""
    best: Best | None = None
    """The best value of the watched metric, and where those weights are."""
    unsaved: list[str] = field(default_factory=list)
    """What could not be written, and why."""
    rank: int = 0
    """The number of this process. The first, 0, alone writes, and it alone should print."""


def fit(
    task: Task,
    config: TrainConfig,
    folder: str | Path | None = None,
    resume: bool = False,
    *,
    allow_changes: bool = False,
    show: Show = "bar",
) -> Result:
    """Train `task.model`, in place.

    folder          where metrics, checkpoints and the best weights go; None keeps nothing
    resume          go on from the folder's last good checkpoint; from step 0 where there is none yet
    allow_changes   go on although settings differ from the checkpoint's
    show            "bar", "plot" (the bar, and in a notebook the curve of the loss) or "none"

    Exact: on the same machine, with the same versions and number of threads, a run that was killed and resumed ends
    with the same bits as one that was not. (On a GPU as far as its operations are deterministic themselves; see
    torch.use_deterministic_algorithms.) The global random generators are seeded from `config.seed`. Evaluation leaves
    them as it found them, so how often one evaluates changes nothing in training.

    With several processes (see lib/train/parallel.py for how they start) `loss` must reach the model by calling it.
    Each process evaluates the whole, since under FSDP none can run the model alone; the first one's figures count.
    Buffers, such as batch norm's running statistics, are kept as the first process has them. A run may go on with
    another number of processes (allow_changes=True): new ones get random states of their own, so that dropout draws
    other numbers from there on.

    Raises ConfigError at settings that do not fit each other, the machine or the checkpoint; CheckpointError where
    checkpoints are there and none is whole; NonFiniteLoss; Interrupted at Ctrl-C, once the step is made and saved.
    """
    if show not in get_args(Show):
        raise ConfigError(f"show={show!r} is not known. Known: {', '.join(get_args(Show))}.")
    now, watch = settings(task, config), Watch(task, config)
    fabric = parallel.launch(config)
    run = _Run(fabric, task, config, watch, None if folder is None else Path(folder), now)
    run.open(resume, allow_changes)
    return run.train(show)


class _Run:
    """A run in progress. All it needs to go on exactly: the updater, the watch and the random generators."""

    def __init__(
        self, fabric: Fabric, task: Task, config: TrainConfig, watch: Watch, folder: Path | None, now: dict[str, Any]
    ) -> None:
        self.fabric = fabric
        self.task = task
        self.config = config
        self.watch = watch
        self.folder = folder
        self.settings = now
        self.store = Store(folder if fabric.global_rank == 0 else None)
        self.metrics: dict[str, float] = {}
        self.history: list[Row] = []
        self.saved = -1
        """The last step whose checkpoint was written, or could not be."""

    def open(self, resume: bool, allow_changes: bool) -> None:
        """Set up the model, and put everything where the run goes on."""
        folder, found, refused = self.folder, None, []
        if folder is not None:
            found, refused = parallel.together(
                self.fabric, lambda: open_folder(folder, resume, allow_changes, self.settings)
            )
        self.updater = Updater(self.fabric, self.task, self.config)
        randomness.start(self.config.seed, self.fabric.global_rank)
        if found is not None:
            self._load(checkpoint.read(found))
        self.history = parallel.together(self.fabric, lambda: self.store.start(self.updater.step, refused))

    def train(self, show: Show) -> Result:
        """Make the steps that are left."""
        config, updater = self.config, self.updater
        bar = Progress(config, updater.step, self.history, show if self.fabric.global_rank == 0 else "none")
        updater.model.train()
        stopped = False
        with Stop() as stop:
            try:
                while updater.step < config.steps and not self.watch.over and not stopped:
                    row, stopped = updater.update(stop)
                    self.history.append(row)
                    if self._due(config.eval_every) and self.task.evaluate:
                        row |= self._evaluate(row)
                    self.store.row(row)
                    bar.update()
                    if self._due(config.save_every):
                        self._save()
                self._save()
            finally:
                bar.close()
                self.store.close()
                updater.model.eval()
        if stopped and updater.step < config.steps:
            raise self._interrupted()
        return Result(
            updater.step, self.metrics, self.history, self.watch.best, self.store.unsaved.what, self.fabric.global_rank
        )

    def _due(self, every: int) -> bool:
        """Whether something that is done every so many steps, and after the last one, is to be done now."""
        step = self.updater.step
        return step == self.config.steps or (every > 0 and step % every == 0)

    def _evaluate(self, row: Mapping[str, float]) -> Row:
        """Evaluate, and keep the weights if they are the best so far; the figures, under names new to the row."""
        assert self.task.evaluate is not None
        model, module = self.updater.model, self.updater.module
        before = randomness.states(self.fabric.device)
        model.eval()
        with torch.no_grad():
            metrics = self.task.evaluate(model)
        model.train()
        randomness.restore(before)
        self.metrics = self.fabric.broadcast({name: float(value) for name, value in metrics.items()})
        if self.watch.better(self.metrics, self.updater.step) and self.folder:
            named, _ = weights.of_model(module)
            tensors, best = weights.collected(named), self.watch.best
            self.watch.best = parallel.together(self.fabric, lambda: best and self.store.best(best, tensors))
        return {f"eval_{name}" if name in row else name: value for name, value in self.metrics.items()}

    def _save(self) -> None:
        """Write a checkpoint, if this step has none. Every process comes here: each has a part of the state."""
        updater, folder = self.updater, self.folder
        if folder is None or updater.step == self.saved:
            return
        self.saved = updater.step
        named, tied = weights.of_model(updater.module)
        model = weights.collected(named)
        optimizer = weights.collected(weights.of_optimizer(updater.module, updater.optimizer))
        state = {
            "settings": self.settings,
            "versions": versions(),
            "used": updater.used,
            "metrics": self.metrics,
            "watch": self.watch.state(),
            "tied": tied,
            "scaler": self.fabric.strategy.precision.state_dict(),
            "random": parallel.gathered(self.fabric, randomness.to_json(randomness.states(self.fabric.device))),
        }
        path = parallel.together(self.fabric, lambda: self.store.checkpoint(updater.step, model, optimizer, state))
        updater.checkpoint = str(path or updater.checkpoint)

    def _load(self, kept: checkpoint.Checkpoint) -> None:
        """Take up what `_save` wrote."""
        updater, state, rank = self.updater, kept.state, self.fabric.global_rank
        weights.to_model(updater.module, kept.model)
        if state["settings"]["train"]["optimizer"] == self.config.optimizer:
            weights.to_optimizer(updater.module, updater.optimizer, kept.optimizer)
        updater.step = self.saved = state["step"]
        updater.used = state["used"]
        updater.checkpoint = str(kept.path)
        self.metrics = state["metrics"]
        self.watch.load(state["watch"], kept.path.parent)
        if state["scaler"]:
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
        if rank < len(state["random"]):
            randomness.restore(randomness.from_json(state["random"][rank]))
        else:
            randomness.start(self.config.seed, rank, updater.step)
        if rank == 0 and state["versions"] != versions():
            warnings.warn(
                f"This run was begun with {state['versions']} and goes on with {versions()}: "
                "it will not end with the same bits.",
                stacklevel=4,
            )

    def _interrupted(self) -> Interrupted:
        step, path = self.updater.step, checkpoint.path_of(self.folder, self.updater.step) if self.folder else None
        if path is None:
            where = "Nothing is kept: the run has no folder."
        elif path.exists():
            where = f"Saved in {path}."
        else:
            where, path = f"It could not be saved. The last checkpoint: {self.updater.checkpoint or 'none'}.", None
        return Interrupted(f"Stopped after step {step} of {self.config.steps}. {where}", step, str(path or ""))
