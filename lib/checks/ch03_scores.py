"""Checks of 03_probability on scores: softmax with a temperature, and whether confidence can be trusted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

SOFTMAX = "Section 7 of 03_probability, 'Softmax: from scores to probabilities'"
OVERFLOW = "Section 7 of 03_probability, 'Only differences count, and why that saves us'"
CALIBRATION = "Section 9 of 03_probability, 'Does 90% mean nine in ten?'"

# 03.6 -----------------------------------------------------------------------------------------------------------------


def softmax(z: np.ndarray, temperature: float) -> np.ndarray:
    z = z / temperature
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _softmax_log_sum_exp(z, temperature):
    z = z / temperature
    return np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])


def _softmax_loop(z, temperature):
    rows = [np.exp((row - row.max()) / temperature) for row in z]
    return np.array([row / row.sum() for row in rows])


def _softmax_multiplies(z, temperature):
    return softmax(z, 1 / temperature)


def _softmax_ignores(z, temperature):
    return softmax(z, 1.0)


def _softmax_divides_after(z, temperature):
    return softmax(z, 1.0) / temperature


def _softmax_columns(z, temperature):
    return softmax(z.T, temperature).T


def _softmax_overflows(z, temperature):
    with np.errstate(all="ignore"):
        e = np.exp(z / temperature)
        return e / e.sum(axis=1, keepdims=True)


def _softmax_shift_unscaled(z, temperature):
    with np.errstate(all="ignore"):
        e = np.exp(z / temperature - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


def _softmax_one_maximum(z, temperature):
    with np.errstate(all="ignore"):
        e = np.exp((z - z.max()) / temperature)
        return e / e.sum(axis=1, keepdims=True)


def _softmax_one_sum(z, temperature):
    e = np.exp((z - z.max()) / temperature)
    return e / e.sum()


def _softmax_no_keepdims(z, temperature):
    e = np.exp((z - z.max(axis=1, keepdims=True)) / temperature)
    return e / e.sum(axis=1)


def _scores(rng: Generator) -> tuple:
    return rng.normal(0, 3, (rng.integers(2, 5), rng.integers(5, 9))), float(rng.choice([0.3, 0.7, 2.0, 5.0]))


def _square_scores(rng: Generator) -> tuple:
    return rng.normal(0, 3, (4, 4)), float(rng.choice([0.5, 3.0]))


SOFTMAX_WITH_TEMPERATURE = Exercise(
    "03.6",
    "Softmax with a temperature",
    minutes=12,
    difficulty=2,
    reference=softmax,
    cases=[
        _scores,
        _square_scores,
        Case("large scores", np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1001.0, -999.0]]), 1.0),
        Case("a temperature near 0", np.array([[9.0, 10.0, -8.0, 10.0]]), 0.01),
        Case("a very high temperature", np.array([[5.0, -5.0, 0.0], [2000.0, 1000.0, 0.0]]), 1000.0),
        Case("whole numbers", np.array([[1, 2, 3, 4], [4, 3, 2, 2]]), 2.0),
    ],
    misconceptions=[
        Misconception(
            "multiplies by the temperature",
            _softmax_multiplies,
            why="A high temperature must flatten, a low one sharpen. Multiplying does the opposite: divide the scores.",
            look=SOFTMAX,
        ),
        Misconception(
            "ignores the temperature, or lets it cancel",
            _softmax_ignores,
            why="A factor that stands on every exp(z) cancels in the fraction. The temperature divides the *scores*, "
            "inside the exponent.",
            look=SOFTMAX,
        ),
        Misconception(
            "divides the probabilities by the temperature",
            _softmax_divides_after,
            why="Then they no longer add up to 1. The temperature divides the scores, before exp.",
            look=SOFTMAX,
        ),
        Misconception(
            "normalises over the wrong axis",
            _softmax_columns,
            why="Each row is one example and must add up to 1; here each column does. Maximum and sum run over axis 1.",
            look=OVERFLOW,
        ),
        Misconception(
            "overflows",
            _softmax_overflows,
            why="exp of 1000 is infinite in floating point, and infinity divided by infinity is NaN. Subtract each "
            "row's largest score first. A low temperature makes even small scores large.",
            look=OVERFLOW,
        ),
        Misconception(
            "subtracts the maximum of the scores before they were divided",
            _softmax_shift_unscaled,
            why="The largest exponent is then not 0 but max / T - max, which can still overflow or become 0 "
            "everywhere. Divide by the temperature first, then subtract the maximum of what you have.",
            look=OVERFLOW,
        ),
        Misconception(
            "subtracts one maximum for the whole table",
            _softmax_one_maximum,
            why="A row far below that maximum becomes all zeros after exp, and 0/0 is NaN. Each row needs its own.",
            look=OVERFLOW,
        ),
        Misconception(
            "divides by the sum over the whole table",
            _softmax_one_sum,
            why="All numbers together add up to 1; each row must. Sum over axis 1.",
            look=OVERFLOW,
        ),
        Misconception(
            "sums without keepdims, so rows are divided by other rows' sums",
            _softmax_no_keepdims,
            why="Sums of shape (n,) line up with the columns. `keepdims=True` leaves (n, 1), one sum beside each row.",
            look=OVERFLOW,
        ),
    ],
    hints=(
        "Three steps: the temperature, the shift that protects exp, the fraction. In which order?",
        "Divide by the temperature, subtract each row's maximum, take exp, divide by each row's sum.",
        "z = z / temperature; e = np.exp(z - z.max(axis=1, keepdims=True)); the sum wants the same two arguments.",
    ),
    alternatives=[_softmax_log_sum_exp, _softmax_loop],
    names=("z", "temperature"),
)

# 03.7 -----------------------------------------------------------------------------------------------------------------


def _bins(confidence: np.ndarray, right: np.ndarray, n_bins: int) -> np.ndarray:
    """Confidence, accuracy and share of each bin that is not empty. Returns (3, bins)."""
    group = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    found = [(confidence[group == b].mean(), right[group == b].mean(), np.mean(group == b)) for b in np.unique(group)]
    return np.array(found).T


def _answers(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return p.max(axis=1), p.argmax(axis=1) == y


def calibration_error(p: np.ndarray, y: np.ndarray, n_bins: int) -> float:
    confidence, accuracy, share = _bins(*_answers(p, y), n_bins)
    return float((share * np.abs(accuracy - confidence)).sum())


def _ece_bincount(p, y, n_bins):
    confidence, right = _answers(p, y)
    group = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    return np.abs(np.bincount(group, weights=right - confidence, minlength=n_bins)).sum() / len(y)


def _ece_loop(p, y, n_bins):
    confidence, right = _answers(p, y)
    total, edges = 0.0, np.linspace(0, 1, n_bins + 1)
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def _ece_unweighted(p, y, n_bins):
    confidence, accuracy, _ = _bins(*_answers(p, y), n_bins)
    return np.abs(accuracy - confidence).mean()


def _ece_over_all_bins(p, y, n_bins):
    confidence, accuracy, _ = _bins(*_answers(p, y), n_bins)
    return np.abs(accuracy - confidence).sum() / n_bins


def _ece_signed(p, y, n_bins):
    confidence, right = _answers(p, y)
    return confidence.mean() - right.mean()


def _ece_signed_other_way(p, y, n_bins):
    return -_ece_signed(p, y, n_bins)


def _ece_no_bins(p, y, n_bins):
    return abs(_ece_signed(p, y, n_bins))


def _ece_label_probability(p, y, n_bins):
    confidence, accuracy, share = _bins(p[np.arange(len(y)), y], _answers(p, y)[1], n_bins)
    return (share * np.abs(accuracy - confidence)).sum()


def _ece_empty_bins(p, y, n_bins):
    confidence, right = _answers(p, y)
    group = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    n = np.bincount(group, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(np.bincount(group, right, n_bins) / n - np.bincount(group, confidence, n_bins) / n)
    return (n / len(y) * gaps).sum()


def _ece_drops_the_sure(p, y, n_bins):
    confidence, right = _answers(p, y)
    below = confidence < 1
    if not below.any():
        return 0.0
    found, accuracy, share = _bins(confidence[below], right[below], n_bins)
    return (share * np.abs(accuracy - found)).sum() * below.mean()


def _ece_bin_for_the_sure(p, y, n_bins):
    confidence, right = _answers(p, y)
    group = (confidence * n_bins).astype(int)
    return np.abs(np.bincount(group, weights=right - confidence)).sum() / len(y)


def _ece_bin_centres(p, y, n_bins):
    confidence, right = _answers(p, y)
    centre = (np.minimum((confidence * n_bins).astype(int), n_bins - 1) + 0.5) / n_bins
    found, accuracy, share = _bins(centre, right, n_bins)
    return (share * np.abs(accuracy - found)).sum()


def _ece_largest_gap(p, y, n_bins):
    confidence, accuracy, _ = _bins(*_answers(p, y), n_bins)
    return np.abs(accuracy - confidence).max()


def _ece_squared(p, y, n_bins):
    confidence, accuracy, share = _bins(*_answers(p, y), n_bins)
    return (share * (accuracy - confidence) ** 2).sum()


SURE = np.array([[1.0, 0.0], [0.0, 1.0], [0.83, 0.17], [0.94, 0.06]])


def _forecasts(rng: Generator) -> tuple:
    n, k = int(rng.integers(60, 120)), int(rng.integers(3, 5))
    p = softmax(rng.normal(0, 2, (n, k)), 1.0)
    y = np.where(rng.random(n) < 0.6, p.argmax(axis=1), rng.integers(0, k, n))
    return p, y, int(rng.integers(5, 12))


def _forecasts_in_two_bins(rng: Generator) -> tuple:
    p = softmax(rng.normal(0, 2, (80, 3)), 1.0)
    return p, np.where(rng.random(80) < 0.6, p.argmax(axis=1), rng.integers(0, 3, 80)), 2


ECE = Exercise(
    "03.7",
    "The expected calibration error",
    minutes=15,
    difficulty=3,
    reference=calibration_error,
    cases=[
        _forecasts,
        _forecasts_in_two_bins,
        Case("says 75%, is right in three of four", np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]), 10),
        Case("too modest", np.array([[0.52, 0.48], [0.44, 0.56], [0.58, 0.42]]), np.array([0, 1, 0]), 1),
        Case("completely sure, and wrong", SURE, np.array([1, 1, 0, 0]), 10),
        Case("one bin for all", np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 1, 1]), 1),
    ],
    misconceptions=[
        Misconception(
            "gives every bin the same weight",
            _ece_unweighted,
            why="A bin of 3 answers then counts as much as one of 3,000, and its gap is mostly luck. Weigh each gap "
            "with the bin's share of all answers.",
            look=CALIBRATION,
        ),
        Misconception(
            "divides by the number of bins, empty ones too",
            _ece_over_all_bins,
            why="The result then changes with bins in which nothing lies. Weigh each gap with its share of the "
            "answers.",
            look=CALIBRATION,
        ),
        Misconception(
            "lets gaps of different sign cancel",
            _ece_signed,
            why="Too sure in one bin and too modest in another are two faults, not none. Take each bin's gap as a "
            "distance, with `abs`, before you add up.",
            look=CALIBRATION,
        ),
        Misconception(
            "subtracts confidence from accuracy, and lets gaps of different sign cancel",
            _ece_signed_other_way,
            why="Too sure in one bin and too modest in another are two faults, not none. Take each bin's gap as a "
            "distance, with `abs`, before you add up.",
            look=CALIBRATION,
        ),
        Misconception(
            "compares only the overall averages",
            _ece_no_bins,
            why="Without bins, being too sure here makes up for being too modest there. Take the gap in each bin "
            "first.",
            look=CALIBRATION,
        ),
        Misconception(
            "takes the label's probability for the confidence",
            _ece_label_probability,
            why="Confidence is how sure the model is of its *own* answer: the largest probability of the row.",
            look=CALIBRATION,
        ),
        Misconception(
            "divides 0 by 0 in empty bins",
            _ece_empty_bins,
            why="The mean of nothing is NaN, and NaN times 0 is still NaN. Leave empty bins out.",
            look=CALIBRATION,
        ),
        Misconception(
            "loses the answers with a confidence of exactly 1",
            _ece_drops_the_sure,
            why="`low <= confidence < high` leaves them out of the last bin, and those are the answers to worry about.",
            look=CALIBRATION,
        ),
        Misconception(
            "puts answers with a confidence of exactly 1 into a bin of their own",
            _ece_bin_for_the_sure,
            why="int(1.0 * n_bins) is n_bins, one bin too many. They belong to the last bin, number n_bins - 1.",
            look=CALIBRATION,
        ),
        Misconception(
            "uses the middle of the bin as its confidence",
            _ece_bin_centres,
            why="Answers crowd at one side of a bin, above all of the last one. Use the mean confidence of those in "
            "it.",
            look=CALIBRATION,
        ),
        Misconception(
            "returns the largest gap",
            _ece_largest_gap,
            why="That is the maximum calibration error, and it is often the gap of a bin with two answers. *Expected* "
            "means the average over the answers.",
            look=CALIBRATION,
        ),
        Misconception(
            "squares the gaps",
            _ece_squared,
            why="Squares are another measure, with other units. The ECE averages the plain distances, in percentage "
            "points.",
            look=CALIBRATION,
        ),
    ],
    hints=(
        "Two numbers for each answer: how sure was it, and was it right? Then sort the answers into bins by the first.",
        "The bin of a confidence c is int(c * n_bins), at most n_bins - 1. In each bin: two means, one distance.",
        "Add up inside.mean() * abs(right[inside].mean() - confidence[inside].mean()) over the bins that hold "
        "something.",
    ),
    alternatives=[_ece_bincount, _ece_loop],
    names=("p", "y", "n_bins"),
)

EXERCISES = [SOFTMAX_WITH_TEMPERATURE, ECE]
