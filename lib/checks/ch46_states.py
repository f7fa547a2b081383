"""Checks of 46_gpu_attention on the state of the online softmax: a masked tile, and the end in base 2."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 46_gpu_attention"
LN2 = math.log(2)

# 46.4 -----------------------------------------------------------------------------------------------------------------


def take_allowed(m, z, a, s, v, allowed, hidden=-math.inf, empty=0.0):
    s = np.where(allowed, s, hidden)
    m_new = np.maximum(m, s.max(1, keepdims=True))
    reference = np.where(m_new == -math.inf, empty, m_new)
    keep, p = np.exp(m - reference), np.exp(s - reference)
    return m_new, keep * z + p.sum(1, keepdims=True), keep * a + p @ v


def _take_repaired(m, z, a, s, v, allowed):
    s = np.where(allowed, s, -math.inf)
    m_new = np.maximum(m, s.max(1, keepdims=True))
    keep, p = (np.nan_to_num(np.exp(x - m_new)) for x in (m, s))
    return m_new, keep * z + p.sum(1, keepdims=True), keep * a + p @ v


def _take_nan(m, z, a, s, v, allowed):
    return take_allowed(m, z, a, s, v, allowed, empty=-math.inf)


def _take_score_0(m, z, a, s, v, allowed):
    return take_allowed(m, z, a, s, v, allowed, hidden=0.0)


def _take_large_negative(m, z, a, s, v, allowed):
    return take_allowed(m, z, a, s, v, allowed, hidden=-1e9)


def _take_unmasked(m, z, a, s, v, allowed):
    return take_allowed(m, z, a, s, v, np.ones_like(allowed))


def _take_inverted(m, z, a, s, v, allowed):
    return take_allowed(m, z, a, s, v, ~allowed)


def _take_late(m, z, a, s, v, allowed):
    m_new = np.maximum(m, s.max(1, keepdims=True))
    keep, p = np.exp(m - m_new), np.exp(s - m_new) * allowed
    return m_new, keep * z + p.sum(1, keepdims=True), keep * a + p @ v


def _state_case(rng: Generator) -> tuple:
    """Rows 0 and 1 have seen nothing, the others something; of rows 0 and 2 this tile is masked whole."""
    T, n, d = int(rng.integers(4, 6)), int(rng.integers(2, 5)), int(rng.integers(2, 4))
    m, z, a = rng.normal(size=(T, 1)), rng.uniform(1, 3, (T, 1)), rng.normal(size=(T, d))
    m[:2], z[:2], a[:2] = -math.inf, 0.0, 0.0
    allowed = rng.random((T, n)) < 0.6
    allowed[[0, 2]] = False
    allowed[1, 0] = allowed[3, 0] = True
    return m, z, a, 3 * rng.normal(size=(T, n)), rng.normal(size=(n, d)), allowed


# 46.5 -----------------------------------------------------------------------------------------------------------------


def finish(m2, z, a):
    return a / np.where(z == 0, 1, z), m2 * LN2 + np.log(z)


def _finish_all_in_base_2(m2, z, a):
    return np.divide(a, z, out=np.zeros_like(a), where=z > 0), LN2 * (m2 + np.log2(z))


def _finish_base_2(m2, z, a):
    return finish(m2, z, a)[0], m2 + np.log2(z)


def _finish_mixed(m2, z, a):
    return finish(m2, z, a)[0], m2 + np.log(z)


def _finish_wrong_way(m2, z, a):
    return finish(m2, z, a)[0], m2 / LN2 + np.log(z)


def _finish_both(m2, z, a):
    return finish(m2, z, a)[0], LN2 * (m2 + np.log(z))


def _finish_half(m2, z, a):
    return finish(m2, z, a)[0], m2 * LN2 + np.log2(z)


def _finish_nan(m2, z, a):
    return a / z, m2 * LN2 + np.log(z)


def _finish_undivided(m2, z, a):
    return a, finish(m2, z, a)[1]


def _finish_no_maximum(m2, z, a):
    return finish(m2, z, a)[0], np.log(z)


def _final_case(rng: Generator) -> tuple:
    T, d = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    return 4 * rng.normal(size=(T, 1)), rng.uniform(1.2, 9, (T, 1)), rng.normal(size=(T, d))


ONLINE = f"Section 2 {LESSON}, 'The online softmax'"
EMPTY = f"Section 3 {LESSON}, 'A row with nothing in it'"
BASE = f"Section 4 {LESSON}, 'Step 4 · Heads, skipped tiles, and the log-sum-exp'"

EXERCISES = [
    Exercise(
        "46.4",
        "A tile under a mask",
        minutes=15,
        difficulty=2,
        reference=take_allowed,
        cases=[
            _state_case,
            Case(
                "a masked score that is very large",
                *(np.array([[0.0]]), np.array([[1.0]]), np.array([[2.0]])),
                *(np.array([[2000.0, 1.0]]), np.array([[7.0], [3.0]]), np.array([[False, True]])),
            ),
        ],
        misconceptions=[
            Misconception(
                "computes -inf - (-inf) for a row that has seen no key yet",
                _take_nan,
                why="That is not a number, and no later tile repairs it. While the largest score is -inf, subtract "
                "any finite number instead: the exponentials are 0 all the same.",
                look=EMPTY,
            ),
            Misconception(
                "gives masked pairs the score 0",
                _take_score_0,
                why="0 is an ordinary score, and exp(0) is 1. A pair that does not count has the score -inf.",
                look=EMPTY,
            ),
            Misconception(
                "gives masked pairs a large negative score instead of -inf",
                _take_large_negative,
                why="A row in which all pairs are masked then has a maximum, -1e9, and each masked pair counts as "
                "exp(0) = 1: the row gets a sum, though it has seen nothing.",
                look=EMPTY,
            ),
            Misconception(
                "takes the maximum over masked pairs too",
                _take_late,
                why="m is then the score of a pair that does not count. If it is much larger than the others, all "
                "their exponentials become 0. Mask the scores first.",
                look=EMPTY,
            ),
            Misconception(
                "ignores the mask",
                _take_unmasked,
                why="Pairs where `allowed` is False must add nothing to z and a.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
            Misconception(
                "masks the pairs that count",
                _take_inverted,
                why="`allowed` is True where the query may attend. The score becomes -inf where it is False.",
                look=f"Section 3 {LESSON}, 'Tiles'",
            ),
        ],
        hints=(
            "Which score has an exponential of exactly 0? And what is the maximum of a row that has only such scores?",
            "np.where(allowed, s, -np.inf) first. Where the new maximum is -inf, subtract 0 in its place.",
            "reference = np.where(m_new == -np.inf, 0.0, m_new); then np.exp(m - reference) and np.exp(s - reference).",
        ),
        alternatives=[_take_repaired],
        names=("m", "z", "a", "s", "v", "allowed"),
    ),
    Exercise(
        "46.5",
        "The end of the walk, in base 2",
        minutes=10,
        difficulty=1,
        reference=finish,
        cases=[
            _final_case,
            Case(
                "a row that has seen nothing",
                *(np.array([[3.0], [-math.inf]]), np.array([[2.0], [0.0]]), np.array([[4.0, 1.0], [0.0, 0.0]])),
            ),
            Case("a row with one key", np.array([[-6.0]]), np.array([[1.0]]), np.array([[0.5, -2.0]])),
        ],
        misconceptions=[
            Misconception(
                "returns the log-sum-exp in base 2",
                _finish_base_2,
                why="m2 + log2(z) is the logarithm of the same sum to base 2. The natural one is ln 2 times that; with "
                "the wrong base y is still right, and all gradients are wrong.",
                look=BASE,
            ),
            Misconception(
                "adds a natural logarithm to a maximum in base 2",
                _finish_mixed,
                why="m2 counts in powers of 2, ln z in powers of e. Bring m2 to base e first: m = m2 ln 2.",
                look=BASE,
            ),
            Misconception(
                "adds a logarithm to base 2 to a maximum in base e",
                _finish_half,
                why="m2 ln 2 is in base e, and so must be the logarithm of z: np.log, not np.log2.",
                look=BASE,
            ),
            Misconception(
                "multiplies the natural logarithm of z by ln 2 as well",
                _finish_both,
                why="Only m2 is in base 2. z is a sum of ordinary numbers, and np.log(z) is in base e already.",
                look=BASE,
            ),
            Misconception(
                "converts the maximum the wrong way",
                _finish_wrong_way,
                why="The scores were multiplied by log2(e) on the way in, so m2 = m log2(e) and m = m2 ln 2.",
                look=BASE,
            ),
            Misconception(
                "leaves the maximum out of the log-sum-exp",
                _finish_no_maximum,
                why="z is a sum of exp(s - m); the logarithm of the sum of exp(s) is m + ln z.",
                look=ONLINE,
            ),
            Misconception(
                "divides 0 by 0 where a row has seen nothing",
                _finish_nan,
                why="That is not a number. A query that may attend to nothing gives zeros, and its log-sum-exp is "
                "minus infinity. Divide by 1 where z is 0.",
                look=EMPTY,
            ),
            Misconception(
                "does not divide the accumulator by the sum",
                _finish_undivided,
                why="a is the numerator of the softmax, z its denominator.",
                look=ONLINE,
            ),
        ],
        hints=(
            "e^m = 2^m2. What is m, then?",
            "m = m2 ln 2, and the log-sum-exp is m + ln z. Where z is 0, divide by 1.",
            "return a / np.where(z == 0, 1, z), m2 * np.log(2) + np.log(z)",
        ),
        alternatives=[_finish_all_in_base_2],
        names=("m2", "z", "a"),
    ),
]
