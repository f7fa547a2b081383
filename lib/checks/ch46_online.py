"""Checks of 46_gpu_attention on the online softmax: its running sums and its loop."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 46_gpu_attention"

# 46.2 -----------------------------------------------------------------------------------------------------------------


def running(tiles, start=-math.inf):
    m, z = start, 0.0
    for s in tiles:
        m_new = max(m, s.max())
        z = z * np.exp(m - m_new) + np.exp(s - m_new).sum()
        m = m_new
    return m, z


def _running_at_once(tiles):
    s = np.concatenate(tiles)
    return s.max(), np.exp(s - s.max()).sum()


def _running_from_0(tiles):
    return running(tiles, 0.0)


def _running_from_1e9(tiles):
    return running(tiles, -1e9)


def _running_unscaled(tiles):
    m, z = -math.inf, 0.0
    for s in tiles:
        m = max(m, s.max())
        z = z + np.exp(s - m).sum()
    return m, z


def _running_inverse(tiles):
    m, z = tiles[0].max(), np.exp(tiles[0] - tiles[0].max()).sum()
    for s in tiles[1:]:
        m_new = max(m, s.max())
        z, m = z * np.exp(m_new - m) + np.exp(s - m_new).sum(), m_new
    return m, z


def _running_own_maximum(tiles):
    m, z = -math.inf, 0.0
    for s in tiles:
        m, z = max(m, s.max()), z + np.exp(s - s.max()).sum()
    return m, z


def _running_last_maximum(tiles):
    m, z = -math.inf, 0.0
    for s in tiles:
        z, m = z * np.exp(m - s.max()) + np.exp(s - s.max()).sum(), s.max()
    return m, z


def _running_no_maximum(tiles):
    return max(s.max() for s in tiles), sum(np.exp(s).sum() for s in tiles)


def _tiles_case(rng: Generator) -> tuple:
    return ([rng.normal(0, 3, int(rng.integers(1, 5))) for _ in range(int(rng.integers(3, 6)))],)


def _rows(*rows: list[float]) -> list[np.ndarray]:
    return [np.array(row) for row in rows]


# 46.3 -----------------------------------------------------------------------------------------------------------------


def attend_tiles(q, k, v, tile, start=-math.inf, scaled=True, keep=lambda x: x, end=None):
    m, z, a = np.full((len(q), 1), start), np.zeros((len(q), 1)), np.zeros((len(q), v.shape[1]))
    for first in range(0, len(k) if end is None else end, tile):
        s = q @ k[first : first + tile].T / (math.sqrt(q.shape[1]) if scaled else 1)
        m_new = np.maximum(m, s.max(1, keepdims=True))
        factor, p = np.exp(m - m_new), np.exp(s - m_new)
        m, z, a = m_new, factor * z + p.sum(1, keepdims=True), keep(factor) * a + p @ v[first : first + tile]
    return a / z


def _attend_whole(q, k, v, tile=None):
    s = q @ k.T / math.sqrt(q.shape[1])
    p = np.exp(s - s.max(1, keepdims=True))
    return p @ v / p.sum(1, keepdims=True)


def _attend_kept_divided(q, k, v, tile):
    """Another right way: the answer so far, always divided, and its log-sum-exp."""
    y, lse = np.zeros((len(q), v.shape[1])), np.full((len(q), 1), -math.inf)
    for first in range(0, len(k), tile):
        s = q @ k[first : first + tile].T / math.sqrt(q.shape[1])
        part, lse_part = _attend_whole(q, k[first : first + tile], v[first : first + tile]), _lse(s)
        lse_new = np.logaddexp(lse, lse_part)
        y, lse = np.exp(lse - lse_new) * y + np.exp(lse_part - lse_new) * part, lse_new
    return y


def _lse(s):
    m = s.max(1, keepdims=True)
    return m + np.log(np.exp(s - m).sum(1, keepdims=True))


def _attend_accumulator(q, k, v, tile):
    return attend_tiles(q, k, v, tile, keep=np.ones_like)


def _attend_from_0(q, k, v, tile):
    return attend_tiles(q, k, v, tile, start=0.0)


def _attend_unscaled(q, k, v, tile):
    return attend_tiles(q, k, v, tile, scaled=False)


def _attend_whole_tiles(q, k, v, tile):
    return attend_tiles(q, k, v, tile, end=max(len(k) // tile * tile, 1))


def _attend_length(q, k, v, tile):
    return attend_tiles(q * math.sqrt(q.shape[1] / len(k)), k, v, tile)


def _attend_one_maximum(q, k, v, tile):
    m, z, a = -math.inf, 0.0, 0.0
    for first in range(0, len(k), tile):
        s = q @ k[first : first + tile].T / math.sqrt(q.shape[1])
        m_new = max(m, s.max())
        factor, p = np.exp(m - m_new), np.exp(s - m_new)
        m, z, a = m_new, factor * z + p.sum(1, keepdims=True), factor * a + p @ v[first : first + tile]
    return a / z


def _attend_mean(q, k, v, tile):
    starts = range(0, len(k), tile)
    return sum(_attend_whole(q, k[i : i + tile], v[i : i + tile]) for i in starts) / len(starts)


def _attend_undivided(q, k, v, tile):
    s = q @ k.T / math.sqrt(q.shape[1])
    return np.exp(s - s.max(1, keepdims=True)) @ v


def _attend_neither(q, k, v, tile):
    m, z, a = np.full((len(q), 1), -math.inf), 0.0, 0.0
    for first in range(0, len(k), tile):
        s = q @ k[first : first + tile].T / math.sqrt(q.shape[1])
        m = np.maximum(m, s.max(1, keepdims=True))
        p = np.exp(s - m)
        z, a = z + p.sum(1, keepdims=True), a + p @ v[first : first + tile]
    return a / z


def _heads_case(rng: Generator) -> tuple:
    T, S, D, tile = (int(rng.integers(low, low + 4)) for low in (2, 9, 5, 2))
    return 2 * rng.normal(size=(T, D)), rng.normal(size=(S, D)), rng.normal(size=(S, D - 1)), tile


def _below_zero() -> tuple:
    keys = np.array([[1.0, 0.2], [1.1, 0.1], [1.05, 0.3]])
    return np.array([[-3000.0, -10.0], [-9000.0, 20.0]]), keys, np.array([[1.0], [2.0], [4.0]]), 2


ONLINE = f"Section 2 {LESSON}, 'The online softmax'"

EXERCISES = [
    Exercise(
        "46.2",
        "A running maximum and a running sum",
        minutes=12,
        difficulty=1,
        reference=running,
        cases=[
            _tiles_case,
            Case("scores far below zero", _rows([-1000.0, -1001.5], [-1002.0])),
            Case("scores far above zero", _rows([900.0], [901.0, 899.0], [905.0])),
            Case("the largest comes first", _rows([5.0, 1.0], [2.0, 0.0], [3.0])),
            Case("the largest comes last", _rows([-4.0, 1.0], [2.0, 0.0], [3.5])),
            Case("one score", _rows([-2.5])),
        ],
        misconceptions=[
            Misconception(
                "starts the running maximum at 0",
                _running_from_0,
                why="Where all scores lie below 0 the largest is then 0, which is no score; far below 0 every "
                "exponential becomes 0, and the sum with them. Start at minus infinity.",
                look=ONLINE,
            ),
            Misconception(
                "does not rescale the sum when a larger score comes",
                _running_unscaled,
                why="The old terms were counted with the old reference. Under the new one they are worth "
                "exp(m - m_new) times as much, which is less.",
                look=ONLINE,
            ),
            Misconception(
                "rescales by the inverse factor",
                _running_inverse,
                why="The sum was of exp(s - m) and is to be of exp(s - m_new): the factor is exp(m - m_new), which is "
                "never above 1.",
                look=ONLINE,
            ),
            Misconception(
                "subtracts each tile's own maximum",
                _running_own_maximum,
                why="Terms with different references cannot be added. All must have the largest score so far.",
                look=ONLINE,
            ),
            Misconception(
                "forgets the larger maximum of an earlier tile",
                _running_last_maximum,
                why="m is the largest of all scores so far: max(m, s.max()). With a smaller one, exponentials above 1 "
                "add up, and at last overflow.",
                look=ONLINE,
            ),
            Misconception(
                "sums the exponentials without a reference",
                _running_no_maximum,
                why="exp(900) is infinite and exp(-1000) is 0. Subtract the largest score so far from each.",
                look="Section 4 of 13_mlp_mnist, 'The same number, computed safely'",
            ),
        ],
        hints=(
            "What are m and z before the first tile? Of no numbers at all, what is the largest, and what is the sum?",
            "From minus infinity and 0. For each tile: the new maximum, then the old sum times exp(m - m_new), plus "
            "the sum of exp(s - m_new).",
            "m_new = max(m, s.max()); z = z * np.exp(m - m_new) + np.exp(s - m_new).sum(); m = m_new",
        ),
        alternatives=[_running_at_once, _running_from_1e9],
        names=("tiles",),
    ),
    Exercise(
        "46.3",
        "Attention over tiles of keys",
        minutes=20,
        difficulty=2,
        reference=attend_tiles,
        cases=[
            _heads_case,
            Case("scores far below zero", *_below_zero()),
            Case("scores far apart", np.array([[40.0]]), np.array([[0.0], [50.0], [20.0]]), np.eye(3), 2),
            Case("one tile for all", np.ones((2, 3)), np.arange(12.0).reshape(4, 3), np.eye(4)[:, :2], 9),
            Case("tiles of one key", np.ones((1, 2)), np.arange(6.0).reshape(3, 2), np.eye(3), 1),
        ],
        misconceptions=[
            Misconception(
                "does not rescale the accumulator",
                _attend_accumulator,
                why="a is a sum of exp(s - m) v: it carries the same exponentials as z, so a new maximum multiplies it "
                "by the same factor.",
                look=ONLINE,
            ),
            Misconception(
                "rescales neither the sum nor the accumulator",
                _attend_neither,
                why="When the maximum goes from m to m_new, all old terms are worth exp(m - m_new) times as much.",
                look=ONLINE,
            ),
            Misconception(
                "starts the running maximum at 0",
                _attend_from_0,
                why="Where all scores of a row lie far below 0, every exponential becomes 0, and 0 / 0 is not a "
                "number. Start at minus infinity.",
                look=ONLINE,
            ),
            Misconception(
                "averages the answers of the tiles",
                _attend_mean,
                why="Each tile has its own sum, and a tile with large scores must weigh more than one with small "
                "ones. Divide once, at the end.",
                look=f"Section 2 {LESSON}, 'Two ways to spoil it'",
            ),
            Misconception(
                "forgets to divide by the sum",
                _attend_undivided,
                why="a is the numerator. The weights of a row add up to 1 after the division by z.",
                look=ONLINE,
            ),
            Misconception(
                "leaves out the last keys when they do not fill a tile",
                _attend_whole_tiles,
                why="The last tile may be shorter. range(0, len(k), tile) reaches it, and a slice ends at the end.",
                look=ONLINE,
            ),
            Misconception(
                "takes one maximum for all rows",
                _attend_one_maximum,
                why="Each query has its own largest score. Far below that of another row, all exponentials of a row "
                "become 0, and 0 / 0 is not a number: axis=1, keepdims=True.",
                look=ONLINE,
            ),
            Misconception(
                "divides the scores by the square root of the number of keys",
                _attend_length,
                why="A score is a sum of D products, so it is the width D that its size grows with.",
                look="Section 3 of 41_attention, where the scores are divided",
            ),
            Misconception(
                "does not divide the scores by the square root of D",
                _attend_unscaled,
                why="Attention is softmax(q k^T / sqrt(D)) v; the online softmax changes nothing about the scores.",
                look="Section 3 of 41_attention, where the scores are divided",
            ),
        ],
        hints=(
            "The state has three parts. Which of them are sums of exponentials?",
            "z and a. Multiply both by exp(m - m_new) before you add what the tile brings, and divide once, at the "
            "end.",
            "m (T, 1) starts at -np.inf. a = np.exp(m - m_new) * a + np.exp(s - m_new) @ v[i : i + tile], the same for "
            "z with .sum(1, keepdims=True); return a / z.",
        ),
        alternatives=[_attend_whole, _attend_kept_divided],
        names=("q", "k", "v", "tile"),
    ),
]
