"""Checks of 44_sampling on temperature and top-p."""

from __future__ import annotations

import math

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 44_sampling"

# 44.1 -----------------------------------------------------------------------------------------------------------------


def probabilities(logits: Tensor, t: float) -> Tensor:
    return (logits / t).softmax(dim=-1)


def _probabilities_by_hand(logits, t):
    e = torch.exp((logits - logits.amax(dim=-1, keepdim=True)) / t)
    return e / e.sum(dim=-1, keepdim=True)


def _probabilities_by_powers(logits, t):
    return torch.exp(torch.log_softmax(torch.log_softmax(logits, dim=-1) / t, dim=-1))


def _after_softmax(logits, t):
    return logits.softmax(dim=-1) / t


def _after_softmax_scaled(logits, t):
    p = logits.softmax(dim=-1) / t
    return p / p.sum(dim=-1, keepdim=True)


def _multiplied(logits, t):
    return (logits * t).softmax(dim=-1)


def _over_the_batch(logits, t):
    return (logits / t).softmax(dim=0)


def _over_everything(logits, t):
    return (logits / t).flatten().softmax(dim=0).view_as(logits)


def _overflowing(logits, t):
    e = torch.exp(logits / t)
    return e / e.sum(dim=-1, keepdim=True)


def _logs(logits, t):
    return (logits / t).log_softmax(dim=-1)


def _logits_case(rng: Generator) -> tuple:
    logits = torch.from_numpy(rng.normal(0, 2, (int(rng.integers(2, 5)), int(rng.integers(5, 9)))))
    return logits, float(rng.choice([0.3, 0.6, 1.7, 2.5]))


# 44.2 -----------------------------------------------------------------------------------------------------------------


def nucleus(p: Tensor, share: float) -> Tensor:
    falling, order = p.sort(descending=True)
    stays = torch.zeros_like(p, dtype=torch.bool)
    stays[order] = falling.cumsum(0) - falling < share
    return torch.where(stays, p, 0) / p[stays].sum()


def _nucleus_loop(p, share):
    kept, total = [], 0.0
    for i in p.argsort(descending=True).tolist():
        if total >= share:
            break
        kept.append(i)
        total += float(p[i])
    q = torch.zeros_like(p)
    q[kept] = p[kept] / total
    return q


def _nucleus_with(p, share, n_more=0, scale=True, rising=False, reach=False):
    falling, order = p.sort(descending=not rising)
    before = falling.cumsum(0) - falling
    n = int((before <= share if reach else before < share).sum()) + n_more
    q = torch.zeros_like(p)
    q[order[:n]] = falling[:n]
    return q / q.sum() if scale else q


def _nucleus_drops(p, share):
    return _nucleus_with(p, share, n_more=-1)


def _nucleus_at_most(p, share):
    falling, order = p.sort(descending=True)
    q = torch.zeros_like(p)
    q[order] = torch.where(falling.cumsum(0) <= share, falling, 0)
    return q / q.sum()


def _nucleus_one_more(p, share):
    return _nucleus_with(p, share, n_more=1)


def _nucleus_goes_on(p, share):
    return _nucleus_with(p, share, reach=True)


def _nucleus_not_scaled(p, share):
    return _nucleus_with(p, share, scale=False)


def _nucleus_softmax(p, share):
    return torch.where(nucleus(p, share) > 0, p, -math.inf).softmax(0)


def _nucleus_sorted(p, share):
    return nucleus(p.sort(descending=True).values, share)


def _nucleus_unlikeliest(p, share):
    return _nucleus_with(p, share, rising=True)


def _nucleus_each(p, share):
    q = torch.where(p >= 1 - share, p, 0)
    return q / q.sum()


def _shares_case(rng: Generator) -> tuple:
    p = torch.from_numpy(rng.dirichlet([0.6] * int(rng.integers(6, 11))))
    return p, float(rng.uniform(0.4, 0.9))


EXERCISES = [
    Exercise(
        "44.1",
        "Temperature",
        minutes=8,
        difficulty=1,
        reference=probabilities,
        cases=[
            _logits_case,
            Case("large logits", torch.tensor([[1000.0, 999.0, 0.0]], dtype=torch.float64), 0.5),
            Case("a token that is ruled out", torch.tensor([[1.0, -math.inf, 2.0]], dtype=torch.float64), 0.5),
        ],
        misconceptions=[
            Misconception(
                "divides after the softmax, and scales to 1 again",
                _after_softmax_scaled,
                why="A factor that all probabilities share cancels when they are scaled to 1: the temperature has no "
                "effect at all. Divide the logits, before the softmax.",
                look=f"Section 3 {LESSON}, 'The silent mistake'",
            ),
            Misconception(
                "divides the probabilities by the temperature, after the softmax",
                _after_softmax,
                why="They no longer sum to 1, and what draws from them scales them back: the temperature has no "
                "effect. Divide the logits, before the softmax.",
                look=f"Section 3 {LESSON}, 'The silent mistake'",
            ),
            Misconception(
                "multiplies by the temperature",
                _multiplied,
                why="A high temperature must flatten: it makes the differences between logits smaller. Divide.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "takes the softmax over the rows of the batch",
                _over_the_batch,
                why="Each row is a distribution of its own, over the vocabulary: the last axis.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "takes one softmax over all rows together",
                _over_everything,
                why="Each row is a distribution of its own, and sums to 1.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "overflows for large logits",
                _overflowing,
                why="exp(1000) is infinite. Subtract the largest logit first, or let torch.softmax do it.",
                look="Section 7 of 03_probability, 'Softmax: from scores to probabilities'",
            ),
            Misconception(
                "returns logarithms of probabilities",
                _logs,
                why="The answer is a distribution: numbers from 0 to 1 that sum to 1.",
                look=f"Section 3 {LESSON}",
            ),
        ],
        hints=(
            "Which comes first, the division or the softmax?",
            "logits / t has the shape (B, V). Over which axis must the result sum to 1?",
            "(logits / t).softmax(dim=...)",
        ),
        alternatives=[_probabilities_by_hand, _probabilities_by_powers],
    ),
    Exercise(
        "44.2",
        "Top-p",
        minutes=15,
        difficulty=2,
        reference=nucleus,
        cases=[
            _shares_case,
            Case("a sure model", torch.tensor([0.02, 0.95, 0.03], dtype=torch.float64), 0.9),
            Case("exactly reached", torch.tensor([0.25, 0.5, 0.125, 0.125], dtype=torch.float64), 0.75),
            Case("a share of 1", torch.tensor([0.25, 0.5, 0.125, 0.125], dtype=torch.float64), 1.0),
        ],
        misconceptions=[
            Misconception(
                "drops the token that crosses p",
                _nucleus_at_most,
                why="The nucleus has *at least* the share p, so the token whose running sum first reaches p belongs to "
                "it. Without it nothing is left where one token has more than p alone.",
                look=f"Section 4 {LESSON}, 'The token that crosses p belongs to the nucleus'",
            ),
            Misconception(
                "keeps one token too few",
                _nucleus_drops,
                why="The tokens that stay must have the share p together, with the last one.",
                look=f"Section 4 {LESSON}, 'The token that crosses p belongs to the nucleus'",
            ),
            Misconception(
                "keeps one token too many",
                _nucleus_one_more,
                why="Once those taken have p, nothing more is needed: the nucleus is the smallest such set.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "goes on where p is reached exactly",
                _nucleus_goes_on,
                why="A running sum of exactly p is enough: stop there.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "does not scale what stays to 1",
                _nucleus_not_scaled,
                why="What stays shares the 1 in its old proportions: divide by its sum.",
                look=f"Section 4 {LESSON}, 'Cutting off the tail'",
            ),
            Misconception(
                "takes a softmax of the probabilities that stay",
                _nucleus_softmax,
                why="The softmax is for logits. Of probabilities, all between 0 and 1, it makes nearly equal ones. "
                "Divide by the sum, which keeps the proportions.",
                look=f"Section 4 {LESSON}, 'Cutting off the tail'",
            ),
            Misconception(
                "returns the probabilities in sorted order",
                _nucleus_sorted,
                why="Position i of the answer belongs to token i. Put what you found back to where it came from.",
                look=f"Section 4 {LESSON}, the code of TopP",
            ),
            Misconception(
                "begins with the unlikeliest",
                _nucleus_unlikeliest,
                why="The nucleus is made of the likeliest tokens: sort downwards.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "compares each probability alone with 1 - p",
                _nucleus_each,
                why="It is the *running sum* of the sorted probabilities that is compared, with p.",
                look=f"Section 4 {LESSON}",
            ),
        ],
        hints=(
            "Sort, add up, see where p is reached. Which tokens stay?",
            "A token stays if those *before* it in the sorted order have less than p: cumsum minus itself.",
            "falling, order = p.sort(descending=True); stays[order] = falling.cumsum(0) - falling < share",
        ),
        alternatives=[_nucleus_loop],
    ),
]
