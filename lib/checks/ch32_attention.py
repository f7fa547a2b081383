"""Checks of 32_seq2seq_attention on attention: its weights and its scores."""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 32_seq2seq_attention"

# 32.2 -----------------------------------------------------------------------------------------------------------------


def attention_weights(s: Tensor, mask: Tensor) -> Tensor:
    return s.masked_fill(~mask[:, None, :], float("-inf")).softmax(dim=-1)


def _weights_by_hand(s, mask):
    e = (s - s.amax(-1, keepdim=True)).exp() * mask[:, None, :]
    return e / e.sum(-1, keepdim=True)


def _weights_large_negative(s, mask):
    return torch.where(mask.unsqueeze(1), s, torch.full_like(s, -1e9)).softmax(-1)


def _weights_no_mask(s, mask):
    return s.softmax(-1)


def _weights_masked_late(s, mask):
    return s.softmax(-1) * mask[:, None, :]


def _weights_zero_scores(s, mask):
    return (s * mask[:, None, :]).softmax(-1)


def _weights_over_steps(s, mask):
    return s.masked_fill(~mask[:, None, :], -1e9).softmax(dim=1)


def _weights_inverted(s, mask):
    return s.masked_fill(mask[:, None, :], -1e9).softmax(dim=-1)


def _weights_over_both(s, mask):
    s = s.masked_fill(~mask[:, None, :], -1e9)
    return s.flatten(1).softmax(dim=-1).reshape(s.shape)


def _weights_overflow(s, mask):
    e = s.exp() * mask[:, None, :]
    return e / e.sum(-1, keepdim=True)


def _weights_never_softmax(s, mask):
    return s.masked_fill(~mask[:, None, :], 0.0)


def _weights_shares(s, mask):
    s = s * mask[:, None, :]
    return s / s.sum(-1, keepdim=True)


def _mask(rng: Generator, n: int, n_source: int) -> Tensor:
    lengths = torch.tensor([n_source, *rng.integers(1, n_source, n - 1).tolist()])
    return torch.arange(n_source) < lengths[:, None]


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1.5, shape))


def _scores_case(rng: Generator) -> tuple:
    b, t, s = int(rng.integers(2, 4)), int(rng.integers(4, 6)), int(rng.integers(6, 9))
    return _normal(rng, b, t, s), _mask(rng, b, s)


# 32.3 -----------------------------------------------------------------------------------------------------------------


def multiplicative(q: Tensor, m: Tensor, w: Tensor) -> Tensor:
    return q @ (m @ w.T).transpose(1, 2) / q.shape[-1] ** 0.5


def _multiplicative_einsum(q, m, w):
    return torch.einsum("btc,cd,bsd->bts", q, w, m) / q.shape[-1] ** 0.5


def _score_swapped(q, m, w):
    return multiplicative(q, m, w).transpose(1, 2)


def _score_transposed_matrix(q, m, w):
    return q @ (m @ w).transpose(1, 2) / q.shape[-1] ** 0.5


def _score_undivided(q, m, w):
    return multiplicative(q, m, w) * q.shape[-1] ** 0.5


def _score_divided_by_width(q, m, w):
    return multiplicative(q, m, w) / q.shape[-1] ** 0.5


def _score_divided_by_length(q, m, w):
    return _score_undivided(q, m, w) / m.shape[1] ** 0.5


def _score_softmax(q, m, w):
    return multiplicative(q, m, w).softmax(-1)


def _score_same_row(q, m, w):
    return torch.einsum("btc,cd,bsd->ts", q, w, m) / q.shape[-1] ** 0.5


def _score_no_matrix(q, m, w):
    return q @ m.transpose(1, 2) / q.shape[-1] ** 0.5


def _query_case(rng: Generator) -> tuple:
    b, t, s, c, d = (int(rng.integers(low, low + 2)) for low in (2, 3, 5, 7, 9))
    return _normal(rng, b, t, c), _normal(rng, b, s, d), _normal(rng, c, d)


def _square_case(rng: Generator) -> tuple:
    return _normal(rng, 2, 3, 6), _normal(rng, 2, 5, 6), _normal(rng, 6, 6)


EXERCISES = [
    Exercise(
        "32.2",
        "Attention weights with a mask",
        minutes=15,
        difficulty=2,
        reference=attention_weights,
        cases=[
            _scores_case,
            Case(
                "one real position",
                torch.tensor([[[1.0, 3.0, 2.0], [0.5, -1.0, 4.0]]]),
                torch.tensor([[True, False, False]]),
            ),
            Case(
                "large scores",
                torch.tensor([[[900.0, 901.0, -5.0], [1000.0, 0.0, 2.0]]]),
                torch.tensor([[True, True, False]]),
            ),
        ],
        misconceptions=[
            Misconception(
                "ignores the mask",
                _weights_no_mask,
                why="Padding then takes a share of the attention, and a row gets other weights in another batch.",
                look=f"Section 3 {LESSON}, 'The mask comes before the softmax'",
            ),
            Misconception(
                "applies the mask after the softmax",
                _weights_masked_late,
                why="The padding's share is thrown away, so the weights of a step no longer add up to 1. Set the "
                "*scores* of padding to minus infinity before the softmax.",
                look=f"Section 3 {LESSON}, 'The mask comes before the softmax'",
            ),
            Misconception(
                "sets the scores of padding to 0",
                _weights_zero_scores,
                why="A score of 0 is an ordinary score, and e to the 0 is 1, not 0. It must be minus infinity.",
                look=f"Section 3 {LESSON}, 'The mask comes before the softmax'",
            ),
            Misconception(
                "normalises over the steps instead of the source positions",
                _weights_over_steps,
                why="Each *step* shares one unit of attention among the source positions: the sum runs over S, the "
                "last axis.",
                look=f"Section 3 {LESSON}, 'Attention'",
            ),
            Misconception(
                "keeps the padding and masks the real positions",
                _weights_inverted,
                why="The mask is True where a piece stands. What must go is where it is False: `~mask`.",
                look=f"Section 3 {LESSON}, 'The mask comes before the softmax'",
            ),
            Misconception(
                "normalises over all steps and positions together",
                _weights_over_both,
                why="Every step has its own softmax; here all steps of a row share one unit.",
                look=f"Section 3 {LESSON}, 'Attention'",
            ),
            Misconception(
                "overflows on large scores",
                _weights_overflow,
                why="exp(900) is infinite, and infinity divided by infinity is not a number. torch's softmax takes the "
                "largest score away first.",
                look="Section 4 of 13_mlp_mnist, 'The same number, computed safely'",
            ),
            Misconception(
                "returns scores, not weights: there is no softmax",
                _weights_never_softmax,
                why="Scores may be negative and add up to anything. Softmax makes weights of them.",
                look=f"Section 3 {LESSON}, 'Attention'",
            ),
            Misconception(
                "divides the scores by their sum",
                _weights_shares,
                why="Scores may be negative, and their sum may be 0. Take the exponential first: softmax.",
                look=f"Section 3 {LESSON}, 'Attention'",
            ),
        ],
        hints=(
            "Which score gives a weight of exactly 0? The mask has no axis for the steps: where does one go?",
            "mask[:, None, :] has shape (B, 1, S) and stretches over the steps. `masked_fill` writes where it is True.",
            's.masked_fill(~mask[:, None, :], float("-inf")), then softmax over the last axis.',
        ),
        alternatives=[_weights_by_hand, _weights_large_negative],
        names=("s", "mask"),
    ),
    Exercise(
        "32.3",
        "The multiplicative score",
        minutes=12,
        difficulty=2,
        reference=multiplicative,
        cases=[_query_case, _square_case],
        misconceptions=[
            Misconception(
                "swaps query and key",
                _score_swapped,
                why="Row t, column s must hold the score of step t for position s: (B, T, S). Yours is (B, S, T), and "
                "a softmax over its last axis would run over the steps.",
                look=f"Section 3 {LESSON}, 'Two ways to score'",
            ),
            Misconception(
                "uses the transposed matrix",
                _score_transposed_matrix,
                why="`W m` takes m of width D to width C. For rows of m that is `m @ W.T`.",
                look=f"Section 3 {LESSON}, 'Two ways to score'",
            ),
            Misconception(
                "does not divide by the square root of the width",
                _score_undivided,
                why="A sum of C products grows with C; large scores make a softmax that is sure and cannot learn.",
                look=f"Section 3 {LESSON}, 'Two ways to score'",
            ),
            Misconception(
                "divides by the width instead of its square root",
                _score_divided_by_width,
                why="A sum of C random products has a size of about the square root of C, so that is what brings it "
                "back to about 1.",
                look=f"Section 3 {LESSON}, 'Two ways to score'",
            ),
            Misconception(
                "divides by the square root of the number of positions",
                _score_divided_by_length,
                why="It is the width of the query, C, over which the products are summed; not the source's length.",
                look=f"Section 3 {LESSON}, 'Two ways to score'",
            ),
            Misconception(
                "returns weights instead of scores",
                _score_softmax,
                why="The mask still has to be applied, and that comes before the softmax. Return the scores.",
                look=f"Section 3 {LESSON}, 'The mask comes before the softmax'",
            ),
            Misconception(
                "adds up the scores of the whole batch",
                _score_same_row,
                why="Every row of the batch has its own table (T, S): the axis B stays.",
                look=f"Section 3 {LESSON}, 'Attention'",
            ),
            Misconception(
                "leaves the matrix out",
                _score_no_matrix,
                why="W lets the model learn what in a query fits what in a key; without it, and with other widths, "
                "the product does not even exist.",
                look=f"Section 3 {LESSON}, 'Two ways to score'",
            ),
        ],
        hints=(
            "Write the shapes down: q is (B, T, C), m is (B, S, D), w is (C, D), the result (B, T, S).",
            "First `m @ w.T`, of shape (B, S, C). Then a batched product with its last two axes swapped.",
            "q @ (m @ w.T).transpose(1, 2) / q.shape[-1] ** 0.5",
        ),
        alternatives=[_multiplicative_einsum],
        names=("q", "m", "w"),
    ),
]
