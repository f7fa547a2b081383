"""Checks of 44_sampling on a step of beam search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Exercise, Misconception

LESSON = "of 44_sampling"
Beams = list[tuple[list[int], float]]

# 44.5 -----------------------------------------------------------------------------------------------------------------


def grow(going: Beams, log_p: Tensor, n: int, end: int, alpha: float) -> tuple[Beams, Beams]:
    sums = torch.tensor([s for _, s in going], dtype=log_p.dtype)[:, None] + log_p
    stays, whole = [], []
    for rank, i in enumerate(sums.flatten().argsort(descending=True).tolist()):
        parent, token = divmod(i, log_p.shape[1])
        ids, s = [*going[parent][0], token], float(sums[parent, token])
        if token != end and len(stays) < n:
            stays.append((ids, s))
        elif token == end and rank < n:
            whole.append((ids, s / len(ids) ** alpha))
    return stays, whole


def _grow_lists(going, log_p, n, end, alpha):
    rows = [([*ids, v], s + float(x)) for (ids, s), row in zip(going, log_p, strict=True) for v, x in enumerate(row)]
    rows.sort(key=lambda row: -row[1])
    whole = [(ids, s / len(ids) ** alpha) for ids, s in rows[:n] if ids[-1] == end]
    return [row for row in rows if row[0][-1] != end][:n], whole


def _grow_bare_sums(going, log_p, n, end, alpha):
    return grow(going, log_p, n, end, 0.0)


def _grow_always_mean(going, log_p, n, end, alpha):
    return grow(going, log_p, n, end, 1.0)


def _grow_multiplies(going, log_p, n, end, alpha):
    return grow(going, log_p, n, end, -alpha)


def _grow_divides_all(going, log_p, n, end, alpha):
    stays, whole = grow(going, log_p, n, end, alpha)
    return [(ids, s / len(ids) ** alpha) for ids, s in stays], whole


def _grow_without_end(going, log_p, n, end, alpha):
    stays, whole = grow(going, log_p, n, end, 0.0)
    return stays, [(ids, s / max(1, len(ids) - 1) ** alpha) for ids, s in whole]


def _grow_forgets(going, log_p, n, end, alpha):
    return grow([(ids, 0.0) for ids, _ in going], log_p, n, end, alpha)


def _grow_any_end(going, log_p, n, end, alpha):
    rows = _grow_lists(going, log_p, log_p.numel(), end, alpha)
    return rows[0][:n], rows[1]


def _grow_ends_take_room(going, log_p, n, end, alpha):
    stays, whole = grow(going, log_p, n, end, alpha)
    return stays[: n - len(whole)], whole


def _grow_past_the_end(going, log_p, n, end, alpha):
    stays, _ = grow(going, log_p, n, -1, alpha)
    return stays, grow(going, log_p, n, end, alpha)[1]


def _grow_each_own(going, log_p, n, end, alpha):
    parts = [grow([one], row[None], 1, end, alpha) for one, row in zip(going, log_p, strict=True)]
    order = sorted((row for part in parts for row in part[0]), key=lambda row: -row[1])
    return order[:n], [row for part in parts for row in part[1]]


def _pairs(answer: Callable, going: Beams, log_p: Tensor, n: int, end: int, alpha: float) -> Any:
    """The answer as plain lists; an error that says what came back if it is no pair of lists of pairs."""
    found = answer(going, log_p, n, end, alpha)
    try:
        stays, whole = found
        return tuple([([int(i) for i in ids], float(s)) for ids, s in part] for part in (stays, whole))
    except (TypeError, ValueError):
        raise TypeError(f"grow returns two lists of pairs (ids, number); this was {type(found).__name__}") from None


def _beams_case(rng: Generator) -> tuple:
    n, V = 3, 6
    going = [([int(i) for i in rng.integers(1, V, 2)], float(s)) for s in rng.normal(-4, 1, n)]
    log_p = torch.from_numpy(rng.normal(0, 1.5, (n, V))).log_softmax(-1)
    best = max(range(n), key=lambda i: going[i][1])
    log_p[best, 0] = log_p[best, 1:].max() + 0.1  # the best beam may end here, and another one further down
    return going, log_p, n, 0, float(rng.choice([0.6, 0.8, 1.4]))


def _first_step_case(rng: Generator) -> tuple:
    return [([], 0.0)], torch.from_numpy(rng.normal(0, 1, (1, 7))).log_softmax(-1), 3, 6, 1.0


EXERCISES = [
    Exercise(
        "44.5",
        "A step of beam search",
        minutes=20,
        difficulty=3,
        reference=grow,
        use=_pairs,
        cases=[_beams_case, _first_step_case],
        misconceptions=[
            Misconception(
                "compares whole answers by their bare sums, without the length",
                _grow_bare_sums,
                why="Every token makes an answer less likely, so bare sums favour short answers. Divide the sum of a "
                "whole answer by its length to the power alpha.",
                look=f"Section 7 {LESSON}, 'Why length needs a penalty, or a reward'",
            ),
            Misconception(
                "always takes the mean, whatever alpha is",
                _grow_always_mean,
                why="The sum is divided by the length to the power alpha.",
                look=f"Section 7 {LESSON}, 'Why length needs a penalty, or a reward'",
            ),
            Misconception(
                "multiplies by the length",
                _grow_multiplies,
                why="The sum is negative and grows with the length. Division undoes that; multiplication doubles it.",
                look=f"Section 7 {LESSON}, 'Why length needs a penalty, or a reward'",
            ),
            Misconception(
                "divides the sums of those that go on as well",
                _grow_divides_all,
                why="Those that go on need their bare sums: the next step adds to them. All have one length anyway.",
                look=f"Section 7 {LESSON}",
            ),
            Misconception(
                "does not count the end as a token",
                _grow_without_end,
                why="The end is a token with a log-probability in the sum, so it is one in the length.",
                look=f"Section 7 {LESSON}",
            ),
            Misconception(
                "forgets the sums so far",
                _grow_forgets,
                why="log p of a whole beginning is its sum so far plus that of the new token.",
                look=f"Section 7 {LESSON}",
            ),
            Misconception(
                "takes an end from anywhere, not only among the n best",
                _grow_any_end,
                why="Every beam *could* end at every step. An end that is not among the n best continuations is not "
                "worth stopping for.",
                look=f"Section 7 {LESSON}, 'Two choices in it are easy to miss'",
            ),
            Misconception(
                "lets whole answers take the place of beams that go on",
                _grow_ends_take_room,
                why="Whole answers are put aside. n beams go on, so look further down the list for them.",
                look=f"Section 7 {LESSON}, 'Two choices in it are easy to miss'",
            ),
            Misconception(
                "goes on after the end",
                _grow_past_the_end,
                why="An answer that has said the end token is whole. It goes to the other list, and never grows.",
                look=f"Section 7 {LESSON}",
            ),
            Misconception(
                "keeps the best continuation of each beam, one for each",
                _grow_each_own,
                why="All continuations of all beams compete: a good beam may get several, a bad one none.",
                look=f"Section 7 {LESSON}",
            ),
        ],
        hints=(
            "How many continuations are there in all, and by which number are they put in order?",
            "sums = sums so far (n, 1) + log_p (n, V). In the flattened order, i is beam i // V and token i % V.",
            "for rank, i in enumerate(order): if token != end and len(stays) < n: ... elif token == end and rank < n:",
        ),
        alternatives=[_grow_lists],
        names=("going", "log_p", "n", "end", "alpha"),
    ),
]
