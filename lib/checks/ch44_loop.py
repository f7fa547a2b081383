"""Checks of 44_sampling on the loop that writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor, nn

from lib.checks import Exercise, Misconception

LESSON = "of 44_sampling"

# 44.7 -----------------------------------------------------------------------------------------------------------------


def write(model: nn.Module, ids: list[int], n_new: int, pick: Callable[[Tensor], int], stop: set[int]) -> list[int]:
    was_training, new = model.training, []
    model.eval()
    try:
        with torch.no_grad():
            while len(new) < n_new and not (new and new[-1] in stop):
                new.append(pick(model(torch.tensor([ids + new]))[0, -1]))
    finally:
        model.train(was_training)
    return new


@torch.no_grad()
def _write_for(model, ids, n_new, pick, stop):
    mode, text = model.training, list(ids)
    model.train(False)
    try:
        for _ in range(n_new):
            text.append(pick(model(torch.tensor(text)[None])[0][-1]))
            if text[-1] in stop:
                break
    finally:
        model.train(mode)
    return text[len(ids) :]


def _write_with(model, ids, n_new, pick, stop, off=True, back=None, safe=True, row=-1, last=False, grad=False):
    mode, new = model.training, []
    if off:
        model.eval()
    try:
        with torch.set_grad_enabled(grad):
            for _ in range(n_new):
                read = (ids + new)[-1:] if last else ids + new
                new.append(pick(model(torch.tensor([read]))[0, row]))
                if new[-1] in stop:
                    break
    except BaseException:
        if safe:
            model.train(mode)
        raise
    model.train(mode if back is None else back)
    return new


def _write_dropout_on(*args):
    return _write_with(*args, off=False)


def _write_stays_off(*args):
    return _write_with(*args, back=False, safe=False)


def _write_always_on(*args):
    return _write_with(*args, back=True)


def _write_not_after_errors(*args):
    return _write_with(*args, safe=False)


def _write_first_row(*args):
    return _write_with(*args, row=0)


def _write_last_id(*args):
    return _write_with(*args, last=True)


def _write_gradients(*args):
    return _write_with(*args, grad=True)


def _write_with_prompt(model, ids, *rest):
    return ids + _write_with(model, ids, *rest)


def _write_without_stop(model, ids, n_new, pick, stop):
    new = _write_with(model, ids, n_new, pick, stop)
    return new[:-1] if new[-1] in stop else new


def _write_to_the_end(model, ids, n_new, pick, stop):
    return _write_with(model, ids, n_new, pick, set())


def _write_stop_in_prompt(model, ids, n_new, pick, stop):
    return [] if ids[-1] in stop else _write_with(model, ids, n_new, pick, stop)


class _Toy(nn.Module):
    """Reads all ids and is a little random in training mode, as a model with dropout is."""

    def __init__(self, table: Tensor):
        super().__init__()
        self.table, self.drop = nn.Parameter(table), nn.Dropout(0.5)

    def forward(self, ids: Tensor) -> Tensor:
        if not isinstance(ids, Tensor) or ids.ndim != 2:
            shape = tuple(ids.shape) if isinstance(ids, Tensor) else type(ids).__name__
            raise ValueError(f"the model reads ids of the shape (B, T); it got {shape}")
        x = self.drop(self.table[ids])  # B T V
        weight = torch.arange(1, ids.shape[1] + 1, dtype=x.dtype)[:, None]
        return (x * weight).cumsum(1) / weight.cumsum(0)  # a mean over what was read so far


def _toy(
    answer: Callable, table: Tensor, ids: list[int], n_new: int, stop: set[int], training: bool, fails: int
) -> Any:
    """What was written, whether gradients were kept, and the mode afterwards. Call number `fails` of pick raises."""
    model, kept = _Toy(table).train(training), []

    def pick(logits: Tensor) -> int:
        if not isinstance(logits, Tensor) or logits.ndim != 1:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"pick takes the logits of one place, (V,); it got {shape}")
        kept.append(logits.requires_grad)
        if len(kept) == fails:
            raise RuntimeError("pick was interrupted")
        return int(logits.argmax())

    try:
        new = [int(i) for i in answer(model, list(ids), n_new, pick, set(stop))]
    except RuntimeError as error:
        if str(error) != "pick was interrupted":
            raise
        new = "interrupted"
    return {"new": new, "gradients kept": any(kept), "training mode afterwards": model.training}


def _toy_case(rng: Generator) -> tuple:
    """A table whose text does not stop before the end."""
    V = 8
    table = torch.from_numpy(rng.normal(0, 2, (V, V)))
    table[:, 0] = -50.0
    return table, [int(i) for i in rng.integers(1, V, 3)], 6, {0}, bool(rng.integers(2)), 0


def _stops_case(rng: Generator) -> tuple:
    """The third token stops the text; the prompt ends with a stop as well."""
    table, ids, n_new, _, training, _ = _toy_case(rng)
    ids = [*ids, 0]
    new = write(_Toy(table), ids, 3, lambda logits: int(logits.argmax()), set())
    return table, ids, n_new, {new[2], 0}, training, 0


def _interrupted_case(rng: Generator) -> tuple:
    table, ids, n_new, stop, _, _ = _toy_case(rng)
    return table, ids, n_new, stop, True, 2


EXERCISES = [
    Exercise(
        "44.7",
        "The loop",
        minutes=15,
        difficulty=2,
        reference=write,
        use=_toy,
        cases=[_toy_case, _stops_case, _interrupted_case],
        misconceptions=[
            Misconception(
                "samples with dropout on",
                _write_dropout_on,
                why="In training mode the model leaves out numbers at random: each call is another, worse network. "
                "Call model.eval() first.",
                look=f"Section 6 {LESSON}, 'Sampling with dropout on'",
            ),
            Misconception(
                "leaves the model in evaluation mode",
                _write_stays_off,
                why="Who trains and looks at a sample now and then would go on training without dropout. Give the mode "
                "back as it was.",
                look=f"Section 6 {LESSON}, the code of complete",
            ),
            Misconception(
                "switches to training mode afterwards, whatever it was",
                _write_always_on,
                why="A model that came in evaluation mode must leave in it: remember model.training first.",
                look=f"Section 6 {LESSON}, the code of complete",
            ),
            Misconception(
                "does not give the mode back after an error",
                _write_not_after_errors,
                why="An interrupted loop never reaches the line after it. `finally` is reached in any case.",
                look=f"Section 6 {LESSON}, the code of complete",
            ),
            Misconception(
                "takes the first row of the logits",
                _write_first_row,
                why="Row t says what follows token t. The next token follows the last one.",
                look=f"Section 1 {LESSON}, next_logits",
            ),
            Misconception(
                "shows the model the last id alone",
                _write_last_id,
                why="Without a cache the model knows nothing of what it read before: give it the whole text.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "keeps what gradients need",
                _write_gradients,
                why="Nothing is trained here, and the memory grows with every step: torch.no_grad().",
                look=f"Section 1 {LESSON}",
            ),
            Misconception(
                "returns the prompt as well",
                _write_with_prompt,
                why="The answer is what is new.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "leaves out the stop id",
                _write_without_stop,
                why="The answer ends with its stop id: so one can see why it ended.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "does not stop at a stop id",
                _write_to_the_end,
                why="After each new id: is it one of the stops?",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "stops where the prompt ends with a stop id",
                _write_stop_in_prompt,
                why="Only new ids count. A prompt often ends, or begins, with such an id.",
                look=f"Section 6 {LESSON}",
            ),
        ],
        hints=(
            "What must be true of the model before the first call, and again after the last, even if one fails?",
            "was_training = model.training; model.eval(); try: ... finally: model.train(was_training)",
            "new.append(pick(model(torch.tensor([ids + new]))[0, -1])) inside torch.no_grad(), while ...",
        ),
        alternatives=[_write_for],
        names=("table", "ids", "n_new", "stop", "training", "fails"),
    ),
]
