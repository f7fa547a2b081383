"""Checks of 43_mini_gpt on scoring: nats over a whole text, and a silent head."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 43_mini_gpt"

# 43.5 ----------------------------------------------------------------------------------------------------------------

Scores = Callable[[Tensor], Tensor]


def _pieces(ids: Tensor, n_context: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(ids[:-1].split(n_context), ids[1:].split(n_context), strict=True))


def nats(model: Scores, ids: Tensor, n_context: int) -> float:
    total = sum(F.cross_entropy(model(x), y, reduction="sum").item() for x, y in _pieces(ids, n_context))
    return total / (len(ids) - 1)


def _nats_by_hand(model, ids, n_context):
    total, count = 0.0, 0
    for s in range(0, len(ids) - 1, n_context):
        x = ids[s : s + n_context]
        y = ids[s + 1 : s + 1 + n_context]
        p = model(x[: len(y)]).log_softmax(dim=-1)
        total -= p[torch.arange(len(y)), y].sum().item()
        count += len(y)
    return total / count


def _mean_of_means(model, ids, n_context):
    means = [F.cross_entropy(model(x), y).item() for x, y in _pieces(ids, n_context)]
    return sum(means) / len(means)


def _drops_the_rest(model, ids, n_context):
    full = [(x, y) for x, y in _pieces(ids, n_context) if len(x) == n_context]
    total = sum(F.cross_entropy(model(x), y, reduction="sum").item() for x, y in full)
    return total / (len(full) * n_context)


def _drops_but_counts(model, ids, n_context):
    full = [(x, y) for x, y in _pieces(ids, n_context) if len(x) == n_context]
    return sum(F.cross_entropy(model(x), y, reduction="sum").item() for x, y in full) / (len(ids) - 1)


def _overlapping(model, ids, n_context):
    starts = range(len(ids) - n_context)
    total = sum(F.cross_entropy(model(ids[s : s + n_context]), ids[s + 1 : s + 1 + n_context]).item() for s in starts)
    return total / len(starts)


def _one_too_many(model, ids, n_context):
    return nats(model, ids, n_context) * (len(ids) - 1) / len(ids)


def _nats_not_shifted(model, ids, n_context):
    total = sum(F.cross_entropy(model(x), x, reduction="sum").item() for x, _ in _pieces(ids, n_context))
    return total / (len(ids) - 1)


def _seams_not_scored(model, ids, n_context):
    windows = [w for w in ids.split(n_context) if len(w) > 1]
    total = sum(F.cross_entropy(model(w[:-1]), w[1:], reduction="sum").item() for w in windows)
    return total / sum(len(w) - 1 for w in windows)


def _bits(model, ids, n_context):
    return nats(model, ids, n_context) / math.log(2)


def _one_window(model, ids, n_context):
    return F.cross_entropy(model(ids[:-1]), ids[1:]).item()


def _total(model, ids, n_context):
    return nats(model, ids, n_context) * (len(ids) - 1)


def _model(table: Tensor, decay: float) -> Scores:
    """Logits from what was read so far: the mean of rows of a table, the newer the heavier."""

    def model(x: Tensor) -> Tensor:
        if x.dim() != 1 or len(x) == 0:
            raise ValueError(f"this model reads one row of ids, (T,) with T of at least 1, not {tuple(x.shape)}")
        at = torch.arange(len(x))
        w = (decay ** (at[:, None] - at[None, :]).clamp(min=0)).tril().to(table.dtype)
        return (w / w.sum(1, keepdim=True)) @ table[x]

    return model


def _use_nats(answer: Any, table: Tensor, decay: float, ids: Tensor, n_context: int) -> Any:
    found = answer(_model(table, decay), ids, n_context)
    return found.item() if isinstance(found, Tensor) and found.numel() == 1 else found


def _nats_case(rng: Generator) -> tuple:
    T = int(rng.integers(3, 7))
    n = T * int(rng.integers(2, 5)) + int(rng.integers(2, T + 1))  # the last window is short
    table = torch.from_numpy(rng.normal(0, 2, (6, 6)))
    return table, 0.7, torch.from_numpy(rng.integers(0, 6, n)), T


_TABLE = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.5, -2.0], [-1.0, 0.3, 1.0]], dtype=torch.float64)


# 43.8 ----------------------------------------------------------------------------------------------------------------


def silenced(y: Tensor, n_heads: int, head: int) -> Tensor:
    d_head = y.shape[-1] // n_heads
    y = y.clone()
    y[..., head * d_head : (head + 1) * d_head] = 0
    return y


def _silenced_by_product(y, n_heads, head):
    keep = torch.ones(n_heads, 1, dtype=y.dtype)
    keep[head] = 0
    return (y.unflatten(-1, (n_heads, -1)) * keep).flatten(-2)


def _every_nth(y, n_heads, head):
    y = y.clone()
    y[..., head::n_heads] = 0
    return y


def _one_number(y, n_heads, head):
    y = y.clone()
    y[..., head] = 0
    return y


def _others_silenced(y, n_heads, head):
    return y - silenced(y, n_heads, head)


def _n_heads_wide(y, n_heads, head):
    y = y.clone()
    y[..., head * n_heads : (head + 1) * n_heads] = 0
    return y


def _positions_silenced(y, n_heads, head):
    y = y.clone()
    n = y.shape[1] // n_heads
    y[:, head * n : (head + 1) * n] = 0
    return y


def _from_here_on(y, n_heads, head):
    y = y.clone()
    y[..., head * (y.shape[-1] // n_heads) :] = 0
    return y


def _counted_from_one(y, n_heads, head):
    return silenced(y, n_heads, head - 1) if head else y.clone()


def _cut_out(y, n_heads, head):
    d_head = y.shape[-1] // n_heads
    return torch.cat([y[..., : head * d_head], y[..., (head + 1) * d_head :]], dim=-1)


def _heads_case(rng: Generator) -> tuple:
    n_heads, d_head = int(rng.integers(3, 6)), int(rng.integers(6, 9))
    head = int(rng.integers(1, n_heads - 1))
    return torch.from_numpy(rng.normal(0, 1, (2, 2 * n_heads + 1, n_heads * d_head))), n_heads, head


_Y = torch.arange(1.0, 25.0).view(1, 2, 12)


EXERCISES = [
    Exercise(
        "43.5",
        "A whole text",
        minutes=15,
        difficulty=2,
        reference=nats,
        use=_use_nats,
        cases=[
            _nats_case,
            Case("no short window", _TABLE, 0.5, torch.tensor([0, 1, 2, 2, 1, 0, 1]), 3),
            Case("one window", _TABLE, 0.5, torch.tensor([0, 1, 2, 2]), 8),
            Case("a last window of one", _TABLE, 0.5, torch.tensor([0, 1, 2, 0, 1]), 3),
        ],
        misconceptions=[
            Misconception(
                "takes the mean of the windows' means",
                _mean_of_means,
                why="The last window is short, and its few characters would count as much as a full window's. Add up "
                "nats, and divide by characters.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
            Misconception(
                "leaves out the last, short window",
                _drops_the_rest,
                why="The whole text is to be scored; two models would else be compared on different text as soon as "
                "their contexts differ.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
            Misconception(
                "counts the characters of a window that it does not score",
                _drops_but_counts,
                why="The last window is missing from the sum but not from the count, so the model looks better than "
                "it is.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
            Misconception(
                "lets the windows overlap",
                _overlapping,
                why="Characters in the middle of the text are then scored many times, those at the ends seldom.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
            Misconception(
                "divides by all characters",
                _one_too_many,
                why="The first character is never a target: nothing comes before it. There are len(ids) - 1 questions.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
            Misconception(
                "does not shift the targets",
                _nats_not_shifted,
                why="That scores how well the model repeats what it reads.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "does not score the first character of each window",
                _seams_not_scored,
                why="The last input of a window has a target too: it stands at the start of the next window. Every "
                "character but the very first is to be predicted once.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
            Misconception(
                "reads the whole text as one window",
                _one_window,
                why="A model with n_context positions has no vector for a later one, and with a longer memory it would "
                "be another model.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
            Misconception(
                "answers in bits",
                _bits,
                why="Asked for are nats: natural logarithms, as cross_entropy has them.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "returns the sum",
                _total,
                why="Per character: divide by how many were predicted.",
                look=f"Section 5 {LESSON}, 'A whole text, once'",
            ),
        ],
        hints=(
            "Which characters are targets? Each of them must be counted once.",
            "ids[:-1].split(n_context) and ids[1:].split(n_context) are windows and targets, the short one too.",
            "Sum F.cross_entropy(model(x), y, reduction='sum') over the windows; divide by len(ids) - 1.",
        ),
        alternatives=[_nats_by_hand],
        names=("table of the model", "its decay", "ids", "n_context"),
    ),
    Exercise(
        "43.8",
        "A silent head",
        minutes=12,
        difficulty=2,
        reference=silenced,
        cases=[_heads_case, Case("the first head", _Y, 3, 0), Case("the last head", _Y, 3, 2)],
        misconceptions=[
            Misconception(
                "takes every n_heads-th number",
                _every_nth,
                why="Heads stand side by side, each a stretch of C / n_heads numbers in a row.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
            Misconception(
                "silences one number",
                _one_number,
                why="A head's answer is C / n_heads numbers wide.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
            Misconception(
                "silences all heads but the one",
                _others_silenced,
                why="Change one thing, and leave the rest as it is.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
            Misconception(
                "takes n_heads for the width of a head",
                _n_heads_wide,
                why="n_heads says how many there are; each is C / n_heads numbers wide.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
            Misconception(
                "silences positions",
                _positions_silenced,
                why="Axes are B T C, and heads are stretches of the last one.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
            Misconception(
                "silences the later heads too",
                _from_here_on,
                why="The stretch of head h ends where that of head h + 1 begins.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
            Misconception(
                "counts heads from 1",
                _counted_from_one,
                why="Head 0 is the first, and stands at the very beginning.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
            Misconception(
                "cuts the head out",
                _cut_out,
                why="The next layer needs all C numbers. Set them to 0.",
                look=f"Section 9 {LESSON}, 'Does the model need it?'",
            ),
        ],
        hints=(
            "How wide is one head, and where does head h begin?",
            "d_head = C / n_heads; head h is y[..., h * d_head : (h + 1) * d_head].",
            "y = y.clone(), then set that stretch to 0, then return y.",
        ),
        alternatives=[_silenced_by_product],
    ),
]
