"""Checks of 44_sampling on top-k and min-p."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 44_sampling"

# 44.3 -----------------------------------------------------------------------------------------------------------------


def top_k(logits: Tensor, k: int) -> Tensor:
    last = logits.topk(min(k, logits.shape[-1]), dim=-1).values[:, -1:]
    return logits.masked_fill(logits < last, -math.inf)


def _top_k_sorted(logits, k):
    last = logits.sort(dim=-1, descending=True).values[:, :k].amin(dim=-1, keepdim=True)
    return torch.where(logits >= last, logits, -math.inf)


def _top_k_zeros(logits, k):
    return torch.where(top_k(logits, k) == -math.inf, 0, logits)


def _top_k_strict(logits, k):
    last = logits.topk(min(k, logits.shape[-1]), dim=-1).values[:, -1:]
    return logits.masked_fill(logits <= last, -math.inf)


def _top_k_exactly(logits, k):
    best = logits.topk(min(k, logits.shape[-1]), dim=-1)
    return torch.full_like(logits, -math.inf).scatter(-1, best.indices, best.values)


def _top_k_too_large(logits, k):
    last = logits.topk(k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < last, -math.inf)


def _top_k_smallest(logits, k):
    return -top_k(-logits, k).masked_fill(top_k(-logits, k) == -math.inf, math.inf)


def _top_k_of_all(logits, k):
    last = logits.flatten().topk(min(k, logits.numel())).values[-1]
    return logits.masked_fill(logits < last, -math.inf)


def _top_k_alone(logits, k):
    return logits.topk(min(k, logits.shape[-1]), dim=-1).values


def _top_k_one_more(logits, k):
    return top_k(logits, k + 1)


def _marked(answer: Callable, logits: Tensor, k: int) -> Any:
    """Which logits stay, and what they are: apart, so that no infinity is subtracted from another."""
    y = answer(logits, k)
    if not isinstance(y, Tensor):
        raise TypeError(f"top_k returns a tensor of logits (B, V); this was {type(y).__name__}")
    return {"stays": y != -math.inf, "logits": y.masked_fill(y == -math.inf, 0)}


def _many_case(rng: Generator) -> tuple:
    V = int(rng.integers(6, 10))
    return torch.from_numpy(rng.normal(0, 2, (3, V))), int(rng.integers(2, V - 1))


# 44.4 -----------------------------------------------------------------------------------------------------------------


def min_p(logits: Tensor, share: float) -> Tensor:
    p = logits.softmax(dim=-1)
    p = torch.where(p >= share * p.amax(dim=-1, keepdim=True), p, 0)
    return p / p.sum(dim=-1, keepdim=True)


def _min_p_of_logits(logits, share):
    below = logits < logits.amax(dim=-1, keepdim=True) + math.log(share)
    return logits.masked_fill(below, -math.inf).softmax(dim=-1)


def _min_p_absolute(logits, share):
    p = logits.softmax(dim=-1)
    p = torch.where(p >= share, p, 0)
    return p / p.sum(dim=-1, keepdim=True)


def _min_p_of_batch(logits, share):
    p = logits.softmax(dim=-1)
    p = torch.where(p >= share * p.max(), p, 0)
    return p / p.sum(dim=-1, keepdim=True)


def _min_p_share_of_logit(logits, share):
    below = logits < share * logits.amax(dim=-1, keepdim=True)
    return logits.masked_fill(below, -math.inf).softmax(dim=-1)


def _min_p_not_scaled(logits, share):
    p = logits.softmax(dim=-1)
    return torch.where(p >= share * p.amax(dim=-1, keepdim=True), p, 0)


def _min_p_strict(logits, share):
    p = logits.softmax(dim=-1)
    p = torch.where(p > share * p.amax(dim=-1, keepdim=True), p, 0)
    return p / p.sum(dim=-1, keepdim=True)


def _min_p_zero_logits(logits, share):
    return torch.where(_min_p_not_scaled(logits, share) > 0, logits, 0).softmax(dim=-1)


def _min_p_softmax_twice(logits, share):
    p = _min_p_not_scaled(logits, share)
    return torch.where(p > 0, p, -math.inf).softmax(dim=-1)


def _min_p_distance(logits, share):
    p = logits.softmax(dim=-1)
    p = torch.where(p >= p.amax(dim=-1, keepdim=True) - share, p, 0)
    return p / p.sum(dim=-1, keepdim=True)


def _rows_case(rng: Generator) -> tuple:
    """Rows of unequal sharpness."""
    logits = torch.from_numpy(rng.normal(0, 1, (3, 9))) * torch.tensor([[0.4], [1.5], [4.0]])
    return logits, float(rng.choice([0.05, 0.1, 0.2, 0.35]))


EXERCISES = [
    Exercise(
        "44.3",
        "Top-k",
        minutes=10,
        difficulty=1,
        reference=top_k,
        use=_marked,
        cases=[
            _many_case,
            Case("two as likely as each other at the edge", torch.tensor([[1.0, 3.0, 2.0, 2.0, -1.0]]), 2),
            Case("more than there are", torch.tensor([[1.0, 3.0], [-1.0, 0.5]]), 5),
            Case("all logits below 0", torch.tensor([[-4.0, -3.0, -1.0, -2.0]]), 2),
        ],
        misconceptions=[
            Misconception(
                "sets ruled-out logits to 0",
                _top_k_zeros,
                why="A logit of 0 is not a probability of 0: exp(0) is 1. What is ruled out gets -infinity.",
                look=f"Section 4 {LESSON}, 'Cutting off the tail'",
            ),
            Misconception(
                "rules out the last of the k as well",
                _top_k_strict,
                why="The k-th largest logit stays: what is *smaller* than it goes.",
                look=f"Section 4 {LESSON}, the code of TopK",
            ),
            Misconception(
                "keeps one of several that are equally likely",
                _top_k_exactly,
                why="There is no reason to prefer one of two equal tokens: whatever is as likely as the last stays.",
                look=f"Section 4 {LESSON}, the code of TopK",
            ),
            Misconception(
                "fails where k is larger than the vocabulary",
                _top_k_too_large,
                why="Then all tokens stay: take at most as many as there are.",
                look=f"Section 4 {LESSON}, the code of TopK",
            ),
            Misconception(
                "keeps the k unlikeliest",
                _top_k_smallest,
                why="The largest logits belong to the likeliest tokens.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "keeps k tokens of the whole batch",
                _top_k_of_all,
                why="Each row is a distribution of its own, with k tokens of its own.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "returns the k values alone",
                _top_k_alone,
                why="Position i belongs to token i: keep the shape (B, V), with -infinity for what is ruled out.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "keeps one more than k",
                _top_k_one_more,
                why="The bar is the k-th largest logit, which has the index k - 1.",
                look=f"Section 4 {LESSON}",
            ),
        ],
        hints=(
            "What is the smallest logit of a row that may stay?",
            "logits.topk(k).values has the shape (B, k), the largest first.",
            "logits.masked_fill(logits < last, -math.inf), where last has the shape (B, 1)",
        ),
        alternatives=[_top_k_sorted],
        names=("logits", "k"),
    ),
    Exercise(
        "44.4",
        "Min-p",
        minutes=10,
        difficulty=2,
        reference=min_p,
        cases=[
            _rows_case,
            Case("a share of 1, two equal", torch.tensor([[2.0, 2.0, 1.0, -3.0]], dtype=torch.float64), 1.0),
            Case("nothing is likely", torch.zeros(1, 30, dtype=torch.float64), 0.1),
        ],
        misconceptions=[
            Misconception(
                "compares probabilities with the share itself",
                _min_p_absolute,
                why="The bar is a share of the *largest* probability, so that it sinks where the model is unsure. "
                "A fixed bar may rule out everything.",
                look=f"Section 4 {LESSON}, 'Min-p'",
            ),
            Misconception(
                "takes the largest probability of the whole batch",
                _min_p_of_batch,
                why="Each row has a bar of its own: amax over the last axis, with keepdim.",
                look=f"Section 4 {LESSON}, the code of MinP",
            ),
            Misconception(
                "compares logits with a share of the largest logit",
                _min_p_share_of_logit,
                why="The share is one of probabilities. In logits it is a distance: log(share) below the largest.",
                look=f"Section 4 {LESSON}, 'Min-p'",
            ),
            Misconception(
                "does not scale what stays to 1",
                _min_p_not_scaled,
                why="What stays shares the 1 in its old proportions: divide each row by its sum.",
                look=f"Section 4 {LESSON}, 'Cutting off the tail'",
            ),
            Misconception(
                "rules out what lies exactly on the bar",
                _min_p_strict,
                why="*At least* the share stays. With a share of 1 the likeliest token itself would go.",
                look=f"Section 4 {LESSON}, the code of MinP",
            ),
            Misconception(
                "sets ruled-out logits to 0",
                _min_p_zero_logits,
                why="A logit of 0 is not a probability of 0: exp(0) is 1. What is ruled out gets -infinity.",
                look=f"Section 4 {LESSON}, 'Cutting off the tail'",
            ),
            Misconception(
                "takes a softmax of the probabilities that stay",
                _min_p_softmax_twice,
                why="The softmax is for logits. Divide by the sum, which keeps the proportions.",
                look=f"Section 4 {LESSON}, 'Cutting off the tail'",
            ),
            Misconception(
                "subtracts the share from the largest probability",
                _min_p_distance,
                why="The bar is the share *times* the largest probability.",
                look=f"Section 4 {LESSON}, 'Min-p'",
            ),
        ],
        hints=(
            "Where is the bar in a row: which number, made of the share and of the row?",
            "p.amax(dim=-1, keepdim=True) has the shape (B, 1).",
            "torch.where(p >= share * largest, p, 0), and then divide by the sum of each row.",
        ),
        alternatives=[_min_p_of_logits],
    ),
]
