"""One update of the parameters: the gradient of a global batch, whoever computes which part of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from lib.train import guard, parallel, randomness
from lib.train.config import TrainConfig
from lib.train.sampler import Sampler, generator
from lib.train.schedule import make_optimizer, rate
from lib.train.stop import Stop
from lib.train.task import Batch, Task

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Updater:
    """The model, its optimizer, and where the run stands.

    With B examples in the global batch and R processes, each process turns the totals of its parts, times R / B, into
    gradients; averaging over the processes gives that of sum(totals) / B, and a multiplication by B / sum(counts) makes
    it the gradient of the mean. So counts that differ between parts or processes (tokens that are not padding) weigh
    as they would in one large batch.
    """

    def __init__(self, fabric: Fabric, task: Task, config: TrainConfig) -> None:
        self.fabric, self.task, self.config = fabric, task, config
        self.module = task.model
        self.model: nn.Module = fabric.setup_module(torch.compile(self.module) if config.compile else self.module)  # type: ignore[arg-type]
        # After the model, whose parameters may now be shards.
        self.optimizer = make_optimizer(self.module, config, task.shares)
        self.optimizer.zero_grad()  # of whatever was computed with this model before
        self._stepper: Any = fabric.setup_optimizers(self.optimizer)
        self.sampler = Sampler(len(task.train), config.seed)
        self.step = 0
        """Updates made."""
        self.used = 0
        """Position of the next batch in the sampler's sequence."""
        self.checkpoint = ""
        """The last good checkpoint, for messages."""

    def update(self, stop: Stop) -> tuple[dict[str, float], bool]:
        """Make a step. Returns its figures, and whether any process was told to stop.

        Raises NonFiniteLoss, in every process, before a parameter changes.

        The loss and the norm of the gradient are read back at each step, also from a GPU: the price of stopping before
        a bad update, and of a file that has every step's loss.
        """
        config, fabric = self.config, self.fabric
        before = randomness.states(fabric.device)
        parts = self._parts()
        totals: list[Tensor] = []
        counts: list[Tensor | int] = []
        for part, indices in enumerate(parts):
            early = fabric.world_size > 1 and part < len(parts) - 1  # gradients are exchanged once, with the last part
            with fabric.no_backward_sync(self.model) if early else nullcontext():  # type: ignore[arg-type]
                total, count = self._loss(self._batch(part, indices))
                fabric.backward(total * (fabric.world_size / config.batch))
            totals.append(total.detach())
            counts.append(count)
        total, count, stops = parallel.summed(fabric, [sum(_floats(totals)), sum(_floats(counts)), float(stop.asked)])
        if count <= 0:
            raise ValueError(f"Step {self.step + 1}: the loss counted nothing in the whole batch (count={count:g}).")
        if not math.isfinite(total):
            self._explain(before, parts)
        lr = rate(config, self.step)
        norm = self._scale(config.batch / count, parts)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("share", 1.0)
        self._stepper.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.used += config.batch
        return {"step": self.step, "loss": total / count, "lr": lr, "norm": norm}, stops > 0

    def _parts(self) -> list[list[int]]:
        """The numbers of the examples of each part of this process's share of the next batch."""
        config, rank = self.config, self.fabric.global_rank
        numbers = self.sampler.numbers(self.used, config.batch)
        size = config.batch // (self.fabric.world_size * config.accumulate)
        first = rank * config.accumulate
        return [numbers[i * size : (i + 1) * size] for i in range(first, first + config.accumulate)]

    def _batch(self, part: int, indices: Sequence[int]) -> Batch:
        """A part of the batch, on the device."""
        rng = generator(self.config.seed, self.step, self.fabric.global_rank, part)
        return self.fabric.to_device(self.task.train.batch(indices, rng))

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor | int]:
        """The task's loss; TypeError where it is not (total, count)."""
        loss = self.task.loss(self.model, batch)
        if not (isinstance(loss, tuple) and len(loss) == 2 and isinstance(loss[0], Tensor) and loss[0].ndim == 0):
            raise TypeError(
                "loss(model, batch) must return (total, count): the loss summed over what is counted, as a tensor with "
                f"no dimensions, and how many were counted. It returned {_described(loss)}."
            )
        return loss

    def _scale(self, factor: float, parts: Sequence[Sequence[int]]) -> float:
        """Multiply the gradients by a factor, and clip their norm, which is returned as it was before clipping.

        All gradients together count as one vector (Pascanu et al. 2013, algorithm 1), across shards too.
        """
        precision = self.fabric.strategy.precision
        precision.unscale_gradients(self.optimizer)
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = factor * float(parallel.whole(nn.utils.get_total_norm(gradients)))
        if not math.isfinite(norm):
            scale = getattr(getattr(precision, "scaler", None), "get_scale", lambda: 0.0)()
            if scale >= 1:  # 16-mixed: the scaler skips this step and halves its scale, as it does by design
                return norm
            self._refuse_gradient(parts)
        if self.config.clip is not None:
            factor *= min(1.0, self.config.clip / (norm + 1e-6))
        if factor != 1:
            for gradient in gradients:
                gradient.mul_(factor)
        return norm

    def _explain(self, before: dict[str, Any], parts: Sequence[Sequence[int]]) -> NoReturn:
        """Raise NonFiniteLoss: every process runs its parts again, with the random numbers they had."""
        randomness.restore(before)
        self.optimizer.zero_grad()
        indices: list[int] = []
        module = why = ""
        for part, numbers in enumerate(parts):
            batch = self._batch(part, numbers)
            fine, name, sentence = guard.explain(self.module, batch, lambda batch=batch: self._loss(batch)[0])
            if not fine:
                indices += numbers
                module, why = module or name, why or sentence
        everywhere = parallel.gathered(self.fabric, (indices, module, why))
        self._raise(
            "The loss is not finite",
            [number for numbers, _, _ in everywhere for number in numbers],
            next((name for _, name, _ in everywhere if name), ""),
            next((sentence for *_, sentence in everywhere if sentence), "Run again, its loss was finite."),
        )

    def _refuse_gradient(self, parts: Sequence[Sequence[int]]) -> NoReturn:
        """Raise NonFiniteLoss for a gradient; the parameters it belongs to are named."""
        bad = [
            name
            for name, parameter in self.module.named_parameters()
            if parameter.grad is not None and not guard.finite(parallel.whole(parameter.grad))
        ]
        everywhere = parallel.gathered(self.fabric, [number for numbers in parts for number in numbers])
        self.optimizer.zero_grad()
        self._raise(
            "The loss is finite and its gradient is not",
            [number for numbers in everywhere for number in numbers],
            "",
            f"Parameters whose gradient is not finite: {', '.join(bad[:5]) or 'none; their norm overflows'}.",
        )

    def _raise(self, what: str, indices: list[int], module: str, why: str) -> NoReturn:
        last = f"The last good checkpoint: {self.checkpoint}." if self.checkpoint else "There is no checkpoint yet."
        raise guard.NonFiniteLoss(
            f"{what} at step {self.step + 1}. {why}\nIndices of the batch: {indices}.\n"
            f"The parameters are those from before this step. {last}",
            self.step + 1,
            indices,
            module,
            self.checkpoint,
        )


def _floats(values: Sequence[Tensor | int]) -> list[float]:
    """Numbers out of tensors on a device, read back at once."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    if tensors and len(tensors) == len(values):
        return [float(value) for value in torch.stack(tensors).tolist()]
    return [float(value) for value in values]


def _described(loss: Any) -> str:
    """What a loss returned, in a few words."""
    if isinstance(loss, Tensor):
        return f"a tensor of shape {tuple(loss.shape)}"
    if isinstance(loss, tuple):
        return f"({', '.join(map(_described, loss))})"
    return type(loss).__name__
