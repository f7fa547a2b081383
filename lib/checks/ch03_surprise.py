"""Checks of 03_probability on surprise: entropy and KL divergence."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

ENTROPY = "Section 6 of 03_probability, 'Entropy'"
KL = "Section 6 of 03_probability, 'Cross-entropy and KL'"

# 03.4 -----------------------------------------------------------------------------------------------------------------


def entropy(p: np.ndarray) -> np.ndarray:
    safe = np.where(p > 0, p, 1)
    return -(p * np.log2(safe)).sum(axis=1)


def _entropy_loop(p):
    return np.array([sum(v * np.log2(1 / v) for v in row if v > 0) for row in p])


def _entropy_where(p):
    return -(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum(axis=1)


def _entropy_nansum(p):
    with np.errstate(all="ignore"):
        return -np.nansum(p * np.log2(p), axis=1)


def _entropy_nan(p):
    with np.errstate(all="ignore"):
        return -(p * np.log2(p)).sum(axis=1)


def _entropy_nats(p):
    return entropy(p) * np.log(2)


def _entropy_log10(p):
    return entropy(p) * np.log10(2)


def _entropy_columns(p):
    return entropy(p.T)


def _entropy_table(p):
    return entropy(p).sum()


def _entropy_no_minus(p):
    return -entropy(p)


def _entropy_mean(p):
    return entropy(p) / p.shape[1]


def _entropy_unweighted(p):
    safe = np.where(p > 0, p, 1)
    return -np.log2(safe).mean(axis=1)


def _rows(rng: Generator) -> tuple:
    return (rng.dirichlet(np.ones(rng.integers(5, 8)), rng.integers(2, 5)),)


ENTROPY_OF_ROWS = Exercise(
    "03.4",
    "How unsure is each row?",
    minutes=10,
    difficulty=1,
    reference=entropy,
    cases=[
        _rows,
        Case("a fair coin and a sure thing", np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])),
        Case("eight doors", np.full((1, 8), 1 / 8)),
        Case("something impossible", np.array([[0.25, 0.0, 0.75, 0.0], [0.1, 0.2, 0.3, 0.4]])),
    ],
    misconceptions=[
        Misconception(
            "multiplies 0 by log 0",
            _entropy_nan,
            why="log 0 is minus infinity, and 0 times infinity is NaN, not a number. What never happens never "
            "surprises: where p is 0 the term counts as 0.",
            look=ENTROPY,
        ),
        Misconception(
            "answers in nats",
            _entropy_nats,
            why="`np.log` is the natural logarithm. Bits need `np.log2`; or divide by ln 2.",
            look=ENTROPY,
        ),
        Misconception(
            "takes the logarithm to base 10",
            _entropy_log10,
            why="Bits need base 2: `np.log2`.",
            look=ENTROPY,
        ),
        Misconception(
            "adds up the columns",
            _entropy_columns,
            why="Each row is one distribution and adds up to 1; the columns are not distributions. Sum over axis 1.",
            look="Section 7 of 03_probability, 'Only differences count, and why that saves us'",
        ),
        Misconception(
            "adds up the whole table",
            _entropy_table,
            why="One number for each row is asked for. (`p[p > 0]` makes one long list of a table, and the rows are "
            "lost.)",
            look=ENTROPY,
        ),
        Misconception(
            "leaves out the minus sign",
            _entropy_no_minus,
            why="The logarithm of a probability is negative or 0. Surprise is minus that.",
            look=ENTROPY,
        ),
        Misconception(
            "divides by the number of categories",
            _entropy_mean,
            why="The weights of this average are the probabilities, and they add up to 1 already: use `sum`, not "
            "`mean`.",
            look=ENTROPY,
        ),
        Misconception(
            "does not weigh each surprise with its probability",
            _entropy_unweighted,
            why="Entropy is the *expected* surprise: a rare surprise counts rarely. Multiply each by its p and add up.",
            look=ENTROPY,
        ),
    ],
    hints=(
        "Surprise times probability, added up along each row. Which entries make trouble for the logarithm?",
        "Before taking the logarithm, replace every 0 by something harmless whose term is multiplied by 0 anyway.",
        "safe = np.where(p > 0, p, 1); then minus the sum over axis 1 of p * np.log2(safe).",
    ),
    alternatives=[_entropy_loop, _entropy_where, _entropy_nansum],
    names=("p",),
)

# 03.5 -----------------------------------------------------------------------------------------------------------------


def kl(p: np.ndarray, q: np.ndarray) -> float:
    here = p > 0
    with np.errstate(divide="ignore"):
        return float((p[here] * np.log(p[here] / q[here])).sum())


def _kl_loop(p, q):
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            total += a * (np.log(a) - np.log(b)) if b > 0 else np.inf
    return total


def _kl_cross_minus_entropy(p, q):
    return _kl_cross_entropy(p, q) + (p[p > 0] * np.log(p[p > 0])).sum()


def _kl_swapped(p, q):
    return kl(q, p)


def _kl_cross_entropy(p, q):
    with np.errstate(divide="ignore"):
        return -(p[p > 0] * np.log(q[p > 0])).sum()


def _kl_entropies(p, q):
    def h(v):
        return -(v[v > 0] * np.log(v[v > 0])).sum()

    return h(q) - h(p)


def _kl_bits(p, q):
    return kl(p, q) / np.log(2)


def _kl_nan(p, q):
    with np.errstate(all="ignore"):
        return (p * np.log(p / q)).sum()


def _kl_drops_surprise(p, q):
    here = (p > 0) & (q > 0)
    return (p[here] * np.log(p[here] / q[here])).sum()


def _kl_negative(p, q):
    return -kl(p, q)


def _kl_mean(p, q):
    here = p > 0
    with np.errstate(divide="ignore"):
        return (p[here] * np.log(p[here] / q[here])).mean()


def _beliefs(rng: Generator) -> tuple:
    k = int(rng.integers(3, 7))
    return rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))


KL_DIVERGENCE = Exercise(
    "03.5",
    "The price of a wrong belief",
    minutes=10,
    difficulty=2,
    reference=kl,
    cases=[
        _beliefs,
        Case("the belief is right", np.array([0.2, 0.3, 0.5]), np.array([0.2, 0.3, 0.5])),
        Case("something never happens", np.array([0.0, 0.4, 0.6]), np.array([0.5, 0.25, 0.25])),
        Case("neither believed nor happening", np.array([0.0, 0.4, 0.6]), np.array([0.0, 0.5, 0.5])),
        Case("believed impossible, and it happens", np.array([0.1, 0.4, 0.5]), np.array([0.0, 0.5, 0.5])),
        Case("a sure thing against a fair coin", np.array([1.0, 0.0]), np.array([0.5, 0.5])),
    ],
    misconceptions=[
        Misconception(
            "swaps the two arguments",
            _kl_swapped,
            why="KL has a direction. The average is over what really happens, so p, the first argument, stands in "
            "front of the logarithm and above in the fraction.",
            look="Section 6 of 03_probability, 'KL has a direction'",
        ),
        Misconception(
            "returns the cross-entropy",
            _kl_cross_entropy,
            why="The cross-entropy contains the surprise that nobody can avoid, the entropy of p. KL is what comes on "
            "top and is 0 for a right belief.",
            look=KL,
        ),
        Misconception(
            "subtracts two entropies",
            _kl_entropies,
            why="The entropy of q averages over q. KL is the cross-entropy, which averages over p, minus the entropy "
            "of p.",
            look=KL,
        ),
        Misconception(
            "answers in bits",
            _kl_bits,
            why="This exercise asks for nats, the unit of losses: the natural logarithm, `np.log`.",
            look=ENTROPY,
        ),
        Misconception(
            "multiplies 0 by log 0",
            _kl_nan,
            why="Where p is 0 nothing happens and nothing is paid: leave these places out before you take the "
            "logarithm.",
            look=ENTROPY,
        ),
        Misconception(
            "leaves out the places where q is 0",
            _kl_drops_surprise,
            why="There the belief says impossible. If p is above 0, it happens one day, and the surprise is infinite. "
            "Leave out only the places where p is 0.",
            look=KL,
        ),
        Misconception(
            "has the sign turned round",
            _kl_negative,
            why="KL is never negative. The fraction is p / q, with the truth above.",
            look=KL,
        ),
        Misconception(
            "divides by the number of categories",
            _kl_mean,
            why="The probabilities p are the weights of this average. Use `sum`, not `mean`.",
            look=KL,
        ),
    ],
    hints=(
        "Two surprises for each outcome: of one who believes q, and of one who knows p. Which average do you take?",
        "Sum of p * log(p / q), over the places where p is above 0. Where only q is 0, infinity is the right answer.",
        "here = p > 0; return (p[here] * np.log(p[here] / q[here])).sum().",
    ),
    alternatives=[_kl_loop, _kl_cross_minus_entropy],
    names=("p", "q"),
)

EXERCISES = [ENTROPY_OF_ROWS, KL_DIVERGENCE]
