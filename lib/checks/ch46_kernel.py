"""Checks of 46_gpu_attention on a kernel over tiles and on the gradients from the log-sum-exp."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 46_gpu_attention"

# 46.7 -----------------------------------------------------------------------------------------------------------------
# The answer launches a kernel; the reference and the mistakes say in torch what such a kernel computes.

BN = 8
"""Columns of a tile in the exercise's launch."""


def _table(buffer: Tensor, offset: int, T: int, S: int, stride_t: int, stride_s: int) -> Tensor:
    return buffer.as_strided((T, S), (stride_t, stride_s), offset)


def lse_rows(buffer, offset, T, S, stride_t, stride_s):
    return _table(buffer, offset, T, S, stride_t, stride_s).logsumexp(1)


def _lse_width_as_stride(buffer, offset, T, S, stride_t, stride_s):
    return lse_rows(buffer, offset, T, S, S, stride_s)


def _lse_columns_adjacent(buffer, offset, T, S, stride_t, stride_s):
    return lse_rows(buffer, offset, T, S, stride_t, 1)


def _lse_strides_swapped(buffer, offset, T, S, stride_t, stride_s):
    return lse_rows(buffer, offset, T, S, stride_s, stride_t)


def _lse_tile_stride(buffer, offset, T, S, stride_t, stride_s):
    s = torch.arange(S)
    columns = s // BN * BN + s % BN * stride_s
    return buffer[offset + torch.arange(T)[:, None] * stride_t + columns].logsumexp(1)


def _lse_first_tile(buffer, offset, T, S, stride_t, stride_s):
    s = torch.arange(S) % BN
    return buffer[offset + torch.arange(T)[:, None] * stride_t + s * stride_s].logsumexp(1)


def _lse_one_by_one(buffer, offset, T, S, stride_t, stride_s):
    x = _table(buffer, offset, T, S, stride_t, stride_s)
    times = torch.arange(1, S + 1).clamp(max=BN)  # in how many tiles a column is
    return (x + times.log()).logsumexp(1)


def _lse_zeros_beyond(buffer, offset, T, S, stride_t, stride_s):
    x = _table(buffer, offset, T, S, stride_t, stride_s)
    return torch.cat([x, x.new_zeros(T, -S % BN)], 1).logsumexp(1)


def _lse_base_2(buffer, offset, T, S, stride_t, stride_s):
    x = _table(buffer, offset, T, S, stride_t, stride_s)
    m = x.amax(1)
    return m + (lse_rows(buffer, offset, T, S, stride_t, stride_s) - m) / math.log(2)


def _lse_all_base_2(buffer, offset, T, S, stride_t, stride_s):
    return lse_rows(buffer, offset, T, S, stride_t, stride_s) / math.log(2)


def _lse_unscaled(buffer, offset, T, S, stride_t, stride_s):
    m, z = torch.full((T,), -math.inf), torch.zeros(T)
    for x in _table(buffer, offset, T, S, stride_t, stride_s).split(BN, 1):
        m = m.maximum(x.amax(1))
        z = z + (x - m[:, None]).exp().sum(1)
    return m + z.log()


def _lse_from_0(buffer, offset, T, S, stride_t, stride_s):
    x = _table(buffer, offset, T, S, stride_t, stride_s)
    m = x.amax(1).clamp(min=0)
    return m + (x - m[:, None]).exp().sum(1).log()


def _lse_no_maximum(buffer, offset, T, S, stride_t, stride_s):
    return _table(buffer, offset, T, S, stride_t, stride_s).exp().sum(1).log()


def _lse_store_unmasked(buffer, offset, T, S, stride_t, stride_s):
    if T % 4:
        raise IndexError("the kernel wrote outside of its T rows: mask the store with t < T")
    return lse_rows(buffer, offset, T, S, stride_t, stride_s)


MARGIN = 8192


def _buffer(rng: Generator, n: int) -> Tensor:
    """n numbers and a margin on both sides: a kernel that reads outside of its table finds other people's numbers."""
    return torch.from_numpy(rng.normal(0, 3, n + 2 * MARGIN)).float()


def _gap_case(rng: Generator) -> tuple:
    """Every second column of a table whose rows lie farther apart than they are long."""
    T, S = int(rng.choice([5, 6, 7, 9])), int(rng.integers(17, 23))
    stride_t = 2 * S + int(rng.integers(1, 5))
    return _buffer(rng, T * stride_t), MARGIN, T, S, stride_t, 2


def _transposed_case(rng: Generator) -> tuple:
    T, S = int(rng.integers(5, 8)), int(rng.integers(9, 15))
    return _buffer(rng, T * S), MARGIN, T, S, 1, T


def _far_case(centre: float) -> tuple:
    return centre - torch.arange(30.0 + 2 * MARGIN) % 7, MARGIN, 3, 10, 10, 1


def _one_tile() -> tuple:
    return 20.0 * (torch.arange(32 + 2 * MARGIN) % 15), MARGIN, 4, 8, 8, 1


# 46.8 -----------------------------------------------------------------------------------------------------------------


def backward(dy, q, k, v, y, lse, scaled=True, centre=None, base=math.e):
    scale = q.shape[1] ** -0.5
    p = base ** (q @ k.T * scale - lse[:, None])
    dp = dy @ v.T
    ds = p * (dp - ((dy * y).sum(1, keepdims=True) if centre is None else centre(p, dp)))
    scale = scale if scaled else 1
    return scale * ds @ k, scale * ds.T @ q, p.T @ dy


def _backward_by_row_sum(dy, q, k, v, y, lse):
    return backward(dy, q, k, v, y, lse, centre=lambda p, dp: (p * dp).sum(1, keepdims=True))


def _backward_no_delta(dy, q, k, v, y, lse):
    return backward(dy, q, k, v, y, lse, centre=lambda p, dp: 0)


def _backward_column_sum(dy, q, k, v, y, lse):
    return backward(dy, q, k, v, y, lse, centre=lambda p, dp: (p * dp).sum(0))


def _backward_unweighted(dy, q, k, v, y, lse):
    return backward(dy, q, k, v, y, lse, centre=lambda p, dp: dp.sum(1, keepdims=True))


def _backward_delta_outside(dy, q, k, v, y, lse):
    delta = (dy * y).sum(1, keepdims=True)
    return backward(dy, q, k, v, y, lse, centre=lambda p, dp: delta / p)


def _backward_unscaled(dy, q, k, v, y, lse):
    return backward(dy, q, k, v, y, lse, scaled=False)


def _backward_keys_unscaled(dy, q, k, v, y, lse):
    dq, _, dv = backward(dy, q, k, v, y, lse)
    return dq, _backward_unscaled(dy, q, k, v, y, lse)[1], dv


def _backward_base_2(dy, q, k, v, y, lse):
    return backward(dy, q, k, v, y, lse, base=2.0)


def _backward_no_lse(dy, q, k, v, y, lse):
    return backward(dy, q, k, v, y, np.zeros_like(lse))


def _ds(dy, q, k, v, y, lse):
    p = np.exp(q @ k.T * q.shape[1] ** -0.5 - lse[:, None])
    return p * (dy @ v.T - (dy * y).sum(1, keepdims=True))


def _backward_v_from_scores(dy, q, k, v, y, lse):
    dq, dk, _ = backward(dy, q, k, v, y, lse)
    return dq, dk, _ds(dy, q, k, v, y, lse).T @ dy


def _gradient_case(rng: Generator) -> tuple:
    T, S, D = (int(rng.integers(low, low + 3)) for low in (2, 5, 3))
    q, k, v = rng.normal(size=(T, D)), rng.normal(size=(S, D)), rng.normal(size=(S, D + 1))
    s = q @ k.T * D**-0.5
    lse = np.log(np.exp(s).sum(1))
    return rng.normal(size=(T, D + 1)), q, k, v, np.exp(s - lse[:, None]) @ v, lse


STEP_1 = f"Section 4 {LESSON}, 'Step 1 · A program for each tile of rows'"
STEP_2 = f"Section 4 {LESSON}, 'Step 2 · Scores and a softmax over the whole row'"
ONLINE = f"Section 2 {LESSON}, 'The online softmax'"
GRADIENTS = f"Section 5 {LESSON}, 'The gradients, without the table'"

EXERCISES = [
    Exercise(
        "46.7",
        "A kernel for the log-sum-exp",
        minutes=30,
        difficulty=3,
        reference=lse_rows,
        cases=[
            _gap_case,
            _transposed_case,
            Case("scores far below zero", *_far_case(-500.0)),
            Case("scores far above zero", *_far_case(500.0)),
            Case("one full tile, scores far apart", *_one_tile()),
        ],
        misconceptions=[
            Misconception(
                "takes the width of the table for the stride of its rows",
                _lse_width_as_stride,
                why="Row t begins t * stride_t numbers after the first. That is t * S only where the rows lie side by "
                "side; in a slice or a transposed table it is not.",
                look=STEP_1,
            ),
            Misconception(
                "takes the columns of a row to be neighbours in memory",
                _lse_columns_adjacent,
                why="Column s lies s * stride_s numbers after the row's first. Leave the stride out, and another "
                "table is read.",
                look=STEP_1,
            ),
            Misconception(
                "swaps the two strides",
                _lse_strides_swapped,
                why="stride_t goes from a row to the next, stride_s from a column to the next.",
                look=STEP_1,
            ),
            Misconception(
                "moves to the next tile by BN numbers instead of BN columns",
                _lse_tile_stride,
                why="A tile further is BN columns further, and each column is stride_s numbers: the start of the tile "
                "must be multiplied too. (start + tl.arange(0, BN)) * stride_s does both.",
                look=STEP_1,
            ),
            Misconception(
                "reads the first tile over and over",
                _lse_first_tile,
                why="The columns of a tile are start + tl.arange(0, BN): the loop's variable belongs in the address.",
                look=STEP_1,
            ),
            Misconception(
                "moves on by one column instead of one tile",
                _lse_one_by_one,
                why="Tiles then overlap, and a column counts up to BN times: range(0, S, BN).",
                look=f"Section 4 {LESSON}, 'Step 3 · A loop over tiles of keys'",
            ),
            Misconception(
                "counts columns beyond the end as zeros",
                _lse_zeros_beyond,
                why="exp(0) is 1, so each adds 1 to the sum (or more, after the rescaling). Beyond the end the score "
                "is -inf.",
                look=STEP_2,
            ),
            Misconception(
                "adds a logarithm to base 2 to a maximum in base e",
                _lse_base_2,
                why="tl.log is the natural logarithm, tl.log2 that to base 2. m and the logarithm of z need one base.",
                look=f"Section 4 {LESSON}, 'Step 4 · Heads, skipped tiles, and the log-sum-exp'",
            ),
            Misconception(
                "returns the log-sum-exp in base 2",
                _lse_all_base_2,
                why="Who counts in base 2 multiplies by ln 2 at the end.",
                look=f"Section 4 {LESSON}, 'Step 4 · Heads, skipped tiles, and the log-sum-exp'",
            ),
            Misconception(
                "does not rescale the sum when a larger score comes",
                _lse_unscaled,
                why="z must be multiplied by exp(m - m_new) before the new terms are added.",
                look=ONLINE,
            ),
            Misconception(
                "starts the running maximum at 0",
                _lse_from_0,
                why="In a row far below 0 every exponential is then 0, and the logarithm of 0 is minus infinity.",
                look=ONLINE,
            ),
            Misconception(
                "sums the exponentials without a reference",
                _lse_no_maximum,
                why="exp(-500) is 0 in floating-point numbers. Subtract the largest score so far.",
                look=ONLINE,
            ),
            Misconception(
                "stores rows that do not exist",
                _lse_store_unmasked,
                why="The last program has rows beyond T. What it stores there lands in somebody else's numbers.",
                look=STEP_1,
            ),
        ],
        hints=(
            "Write the online softmax with m (BM,) and z (BM,) and no values. Where do you need strides, where masks?",
            "X + t[:, None] * stride_t + s[None, :] * stride_s with s = start + tl.arange(0, BN); -inf where s >= S; "
            "m from -inf; the store masked with t < T.",
            "tl.load(address, mask=(t[:, None] < T) & (s[None, :] < S), other=-float('inf')); then m_new and "
            "z = z * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new[:, None]), axis=1).",
        ),
        names=("buffer", "offset", "T", "S", "stride_t", "stride_s"),
        seconds=60.0,
    ),
    Exercise(
        "46.8",
        "The gradients from the log-sum-exp",
        minutes=20,
        difficulty=3,
        reference=backward,
        cases=[_gradient_case],
        misconceptions=[
            Misconception(
                "leaves out what the softmax subtracts",
                _backward_no_delta,
                why="The weights of a row add up to 1: one can only grow at the cost of the others. That is the term "
                "delta = dy . y of each row.",
                look=GRADIENTS,
            ),
            Misconception(
                "sums delta over the queries instead of the keys",
                _backward_column_sum,
                why="The softmax runs over the keys of a row, so delta is one number for each query.",
                look=GRADIENTS,
            ),
            Misconception(
                "sums the gradients of the weights without the weights",
                _backward_unweighted,
                why="delta is the sum of p times dp over the row, which is dy . y.",
                look=GRADIENTS,
            ),
            Misconception(
                "subtracts delta after the product with the weights",
                _backward_delta_outside,
                why="ds = p (dp - delta): the brackets matter. A weight near 0 passes nearly nothing on.",
                look=GRADIENTS,
            ),
            Misconception(
                "forgets the scale in the gradients of q and k",
                _backward_unscaled,
                why="The scores are q k^T / sqrt(D), so 1 / sqrt(D) comes out as a factor of both gradients.",
                look=GRADIENTS,
            ),
            Misconception(
                "forgets the scale in the gradient of k",
                _backward_keys_unscaled,
                why="The scores are q k^T / sqrt(D): the factor belongs to the gradient of both.",
                look=GRADIENTS,
            ),
            Misconception(
                "takes the log-sum-exp to be in base 2",
                _backward_base_2,
                why="It is the natural logarithm here: p = exp(s - lse).",
                look=GRADIENTS,
            ),
            Misconception(
                "makes the weights without the log-sum-exp",
                _backward_no_lse,
                why="exp(s) is not normalised. exp(s - lse) is: the log-sum-exp holds the maximum and the sum.",
                look=GRADIENTS,
            ),
            Misconception(
                "uses the gradient of the scores for the values",
                _backward_v_from_scores,
                why="y = p v, so dv = p^T dy: the values see the weights, not the scores.",
                look=GRADIENTS,
            ),
        ],
        hints=(
            "Which two tables (T, S) do you need, and how do you get the weights from one number a row?",
            "p = exp(s - lse), then ds = p (dy v^T - delta) with delta the row sums of dy y.",
            "dq = scale * ds @ k, dk = scale * ds.T @ q, dv = p.T @ dy; lse needs an axis more: lse[:, None].",
        ),
        alternatives=[_backward_by_row_sum],
        names=("dy", "q", "k", "v", "y", "lse"),
    ),
]
