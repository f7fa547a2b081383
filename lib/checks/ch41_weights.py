"""Checks of 41_attention on weights: averages, and scaled dot products with a mask."""

from __future__ import annotations

import math

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 41_attention"


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1, shape))


def _allowed(rng: Generator, T: int, S: int) -> Tensor:
    """A random mask with at least one True and one False in each row, and a True in each column. T > 2, S > T."""
    allowed = torch.from_numpy(rng.random((T, S)) < 0.6)
    key, query = torch.arange(S), torch.arange(T)
    allowed[key % T, key] = True
    allowed[query, (query + 1) % T] = False
    return allowed


# 41.1 -----------------------------------------------------------------------------------------------------------------


def averages(x: Tensor, allowed: Tensor) -> Tensor:
    w = allowed.to(x.dtype)
    return w / w.sum(-1, keepdim=True).clamp(min=1) @ x


def _averages_loop(x, allowed):
    rows = [x[row].mean(0) if row.any() else torch.zeros_like(x[0]) for row in allowed]
    return torch.stack(rows)


def _averages_nan(x, allowed):
    w = allowed.to(x.dtype)
    return w / w.sum(-1, keepdim=True) @ x


def _averages_of_all(x, allowed):
    return allowed.to(x.dtype) / allowed.shape[1] @ x


def _averages_columns(x, allowed):
    w = allowed.to(x.dtype)
    return w / w.sum(0, keepdim=True).clamp(min=1) @ x


def _averages_sum(x, allowed):
    return allowed.to(x.dtype) @ x


def _averages_inverted(x, allowed):
    return averages(x, ~allowed)


def _averages_one_more(x, allowed):
    w = allowed.to(x.dtype)
    return w / (w.sum(-1, keepdim=True) + 1) @ x


def _average_case(rng: Generator) -> tuple:
    T = int(rng.integers(3, 6))
    S = T + int(rng.integers(1, 4))
    return _normal(rng, S, 3), _allowed(rng, T, S)


# 41.2 -----------------------------------------------------------------------------------------------------------------


def weights(q: Tensor, k: Tensor, allowed: Tensor) -> Tensor:
    s = q @ k.mT / math.sqrt(q.shape[-1])
    w = s.masked_fill(~allowed, -math.inf).softmax(-1)
    return w.masked_fill(~allowed, 0.0)


def _weights_by_hand(q, k, allowed):
    s = torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
    e = (s - s.amax(-1, keepdim=True)).exp() * allowed
    return e / e.sum(-1, keepdim=True).clamp(min=1e-300)


def _weights_no_nan(q, k, allowed):
    s = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~allowed, -math.inf)
    return torch.nan_to_num(s.softmax(-1), nan=0.0)


def _weights_unscaled(q, k, allowed):
    return weights(q * math.sqrt(q.shape[-1]), k, allowed)


def _weights_by_width(q, k, allowed):
    return weights(q / math.sqrt(q.shape[-1]), k, allowed)


def _weights_by_length(q, k, allowed):
    return weights(q * math.sqrt(q.shape[-1] / k.shape[-2]), k, allowed)


def _weights_over_queries(q, k, allowed):
    s = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~allowed, -math.inf)
    return s.softmax(-2).masked_fill(~allowed, 0.0)


def _weights_over_heads(q, k, allowed):
    s = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~allowed, -math.inf)
    return s.softmax(1).masked_fill(~allowed, 0.0)


def _weights_masked_late(q, k, allowed):
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) * allowed


def _weights_inverted(q, k, allowed):
    return weights(q, k, ~allowed)


def _weights_unmasked(q, k, allowed):
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


def _weights_zero_scores(q, k, allowed):
    return (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~allowed, 0.0).softmax(-1)


def _weights_nan(q, k, allowed):
    return (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~allowed, -math.inf).softmax(-1)


def _weights_large_negative(q, k, allowed):
    return (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~allowed, -1e9).softmax(-1)


def _weights_added(q, k, allowed):
    return (q @ k.mT / math.sqrt(q.shape[-1]) + allowed).softmax(-1)


def _weights_case(rng: Generator) -> tuple:
    B, H, T, D = (int(n) for n in rng.integers((2, 3, 3, 7), (3, 5, 6, 12)))
    S = T + int(rng.integers(1, 4))
    return 1.5 * _normal(rng, B, H, T, D), _normal(rng, B, H, S, D), _allowed(rng, T, S)


EXERCISES = [
    Exercise(
        "41.1",
        "The average of those who are allowed",
        minutes=12,
        difficulty=1,
        reference=averages,
        cases=[
            _average_case,
            Case("a row with nothing", torch.tensor([[2.0, 4.0], [6.0, 0.0]]).double(), torch.zeros(3, 2).bool()),
            Case(
                "one row has nothing",
                torch.tensor([[1.0], [3.0], [8.0]]).double(),
                torch.tensor([[True, True, False], [False, False, False]]),
            ),
        ],
        misconceptions=[
            Misconception(
                "divides 0 by 0 where a query may attend to nothing",
                _averages_nan,
                why="A row without any True has the sum 0, and 0 / 0 is NaN, which spoils all that it enters. Such a "
                "row should give zeros: divide by at least 1.",
                look=f"Section 4 {LESSON}, 'Rows that may attend to nothing'",
            ),
            Misconception(
                "divides by the number of all positions",
                _averages_of_all,
                why="A mean divides by how many are *counted*, and that differs from row to row: the row's own sum.",
                look=f"Section 1 {LESSON}, 'Averaging is a matrix product'",
            ),
            Misconception(
                "makes the columns add up to 1, not the rows",
                _averages_columns,
                why="Each row is one weighted mean, for the position that receives. So the sum runs along the row, "
                "over the last axis.",
                look=f"Section 1 {LESSON}, 'Averaging is a matrix product'",
            ),
            Misconception(
                "adds up and does not divide",
                _averages_sum,
                why="A table of zeros and ones times x is a sum. For a mean each row has to add up to 1.",
                look=f"Section 1 {LESSON}, 'Averaging is a matrix product'",
            ),
            Misconception(
                "averages over those who are not allowed",
                _averages_inverted,
                why="True means *may attend*: those are the positions to count.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "divides by one too many",
                _averages_one_more,
                why="One more in the divisor avoids 0 / 0, but it makes every mean too small. Where nothing is "
                "allowed, divide by 1; elsewhere by the count.",
                look=f"Section 1 {LESSON}, 'Averaging is a matrix product'",
            ),
        ],
        hints=(
            "Which table w gives the answer as w @ x? What must each of its rows add up to?",
            "Turn the mask into numbers, and divide each row by its sum. What is the sum of a row with no True?",
            "w = allowed.to(x.dtype); then w / w.sum(dim=-1, keepdim=True).clamp(min=1) @ x",
        ),
        alternatives=[_averages_loop],
    ),
    Exercise(
        "41.2",
        "Scaled dot-product weights with a mask",
        minutes=20,
        difficulty=2,
        reference=weights,
        cases=[
            _weights_case,
            Case(
                "queries with nothing to see",
                torch.ones(1, 1, 2, 3).double(),
                torch.eye(4, 3)[None, None].double(),
                torch.zeros(2, 4).bool(),
            ),
            Case(
                "large scores",
                torch.tensor([[[[900.0, 3.0]]]]).double(),
                torch.tensor([[[[1.0, 0.0], [1.0, 0.5], [0.0, 9.0]]]]).double(),
                torch.tensor([[True, True, False]]),
            ),
        ],
        misconceptions=[
            Misconception(
                "does not divide the scores by the square root of the width",
                _weights_unscaled,
                why="A sum of D products has a size of about √D. Undivided, wide heads start with a softmax that is "
                "sure of itself and has no slope to learn from.",
                look=f"Section 3 {LESSON}, 'Why the scores are divided by √d'",
            ),
            Misconception(
                "divides by the width instead of its square root",
                _weights_by_width,
                why="The spread of the scores is √D, not D. Divided by D, wide heads are nearly plain averages.",
                look=f"Section 3 {LESSON}, 'Why the scores are divided by √d'",
            ),
            Misconception(
                "divides by the square root of the number of keys",
                _weights_by_length,
                why="The products are summed over the width of a query, D, the last axis of q; not over the keys.",
                look=f"Section 3 {LESSON}, 'Why the scores are divided by √d'",
            ),
            Misconception(
                "takes the softmax over the queries instead of the keys",
                _weights_over_queries,
                why="Each *query* shares one unit among the keys, so the rows add up to 1: the softmax runs over the "
                "last axis, S.",
                look=f"Section 2 {LESSON}, 'The softmax runs over S, the last axis'",
            ),
            Misconception(
                "takes the softmax over the heads",
                _weights_over_heads,
                why="Heads do not compete. In each head each query shares one unit among the keys, the last axis.",
                look=f"Section 2 {LESSON}, 'The softmax runs over S, the last axis'",
            ),
            Misconception(
                "applies the mask after the softmax",
                _weights_masked_late,
                why="The forbidden keys have taken their share by then, and the rest adds up to less than 1. Set their "
                "*scores* to minus infinity before the softmax.",
                look=f"Section 4 {LESSON}, 'The mask goes before the softmax'",
            ),
            Misconception(
                "inverts the mask",
                _weights_inverted,
                why="True means *may attend*. What gets minus infinity is where the mask is False: `~allowed`.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "ignores the mask",
                _weights_unmasked,
                why="Every key gets a share, also those that the query may not see.",
                look=f"Section 4 {LESSON}, 'The mask goes before the softmax'",
            ),
            Misconception(
                "sets forbidden scores to 0",
                _weights_zero_scores,
                why="e to the 0 is 1: a score of 0 is an ordinary one. It must be minus infinity.",
                look=f"Section 4 {LESSON}, 'The mask goes before the softmax'",
            ),
            Misconception(
                "gives NaN where a query may attend to nothing",
                _weights_nan,
                why="A softmax of minus infinities alone divides 0 by 0. Such a row should be all zeros.",
                look=f"Section 4 {LESSON}, 'Rows that may attend to nothing'",
            ),
            Misconception(
                "spreads a query that may attend to nothing over everything",
                _weights_large_negative,
                why="With -1e9 in place of minus infinity, a row without any allowed key has equal scores, and equal "
                "scores are an average of all that is forbidden. Such a row should be all zeros.",
                look=f"Section 4 {LESSON}, 'Rows that may attend to nothing'",
            ),
            Misconception(
                "adds the mask to the scores as 0 and 1",
                _weights_added,
                why="One more in the score is a factor e in the weight: forbidden keys keep a good share. Add 0 and "
                "minus infinity, or use masked_fill.",
                look=f"Section 4 {LESSON}, 'The mask goes before the softmax'",
            ),
        ],
        hints=(
            "Four steps: products, scale, mask, softmax. Over which axis? And what of a row with no True?",
            "`s.masked_fill(~allowed, -math.inf)` before the softmax. Afterwards a row of NaN has to become zeros.",
            "w = (q @ k.mT / math.sqrt(D)).masked_fill(~allowed, -math.inf).softmax(-1); then fill ~allowed with 0.",
        ),
        alternatives=[_weights_by_hand, _weights_no_nan],
    ),
]
