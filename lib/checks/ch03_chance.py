"""Checks of 03_probability on chance: Bayes' rule and sampling."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

BAYES = "Section 4 of 03_probability, 'What a positive test says'"
SAMPLING = "Section 3 of 03_probability, 'How a computer throws dice'"

# 03.1 -----------------------------------------------------------------------------------------------------------------


def _likelihood(p_positive: float, results: list[bool]) -> float:
    """How probable these results are for someone who tests positive with that probability."""
    return float(np.prod([p_positive if positive else 1 - p_positive for positive in results]))


def posterior(p_ill: float, p_pos_ill: float, p_pos_well: float, results: list[bool]) -> float:
    ill = p_ill * _likelihood(p_pos_ill, results)
    well = (1 - p_ill) * _likelihood(p_pos_well, results)
    return ill / (ill + well)


def _posterior_step_by_step(p_ill, p_pos_ill, p_pos_well, results):
    for positive in results:
        if_ill, if_well = (p_pos_ill, p_pos_well) if positive else (1 - p_pos_ill, 1 - p_pos_well)
        p_ill = p_ill * if_ill / (p_ill * if_ill + (1 - p_ill) * if_well)
    return p_ill


def _posterior_no_base_rate(p_ill, p_pos_ill, p_pos_well, results):
    return posterior(0.5, p_pos_ill, p_pos_well, results)


def _posterior_is_likelihood(p_ill, p_pos_ill, p_pos_well, results):
    return _likelihood(p_pos_ill, results)


def _posterior_joint(p_ill, p_pos_ill, p_pos_well, results):
    return p_ill * _likelihood(p_pos_ill, results)


def _posterior_well_unweighted(p_ill, p_pos_ill, p_pos_well, results):
    ill = p_ill * _likelihood(p_pos_ill, results)
    return ill / (ill + _likelihood(p_pos_well, results))


def _posterior_negatives_as_positives(p_ill, p_pos_ill, p_pos_well, results):
    return posterior(p_ill, p_pos_ill, p_pos_well, [True] * len(results))


def _posterior_negatives_ignored(p_ill, p_pos_ill, p_pos_well, results):
    return posterior(p_ill, p_pos_ill, p_pos_well, [True] * sum(results))


def _posterior_false_alarm_swapped(p_ill, p_pos_ill, p_pos_well, results):
    return posterior(p_ill, p_pos_ill, 1 - p_pos_well, results)


def _posterior_one_positive(p_ill, p_pos_ill, p_pos_well, results):
    return posterior(p_ill, p_pos_ill, p_pos_well, [True])


def _posterior_last_only(p_ill, p_pos_ill, p_pos_well, results):
    return posterior(p_ill, p_pos_ill, p_pos_well, results[-1:])


def _posterior_of_well(p_ill, p_pos_ill, p_pos_well, results):
    return 1 - posterior(p_ill, p_pos_ill, p_pos_well, results)


def _tests(rng: Generator) -> tuple:
    results = [bool(r) for r in rng.permutation([True, False, *(rng.random(rng.integers(1, 4)) < 0.6)])]
    return float(rng.uniform(0.02, 0.3)), float(rng.uniform(0.7, 0.95)), float(rng.uniform(0.05, 0.3)), results


POSTERIOR = Exercise(
    "03.1",
    "What the tests say",
    minutes=12,
    difficulty=2,
    reference=posterior,
    cases=[
        _tests,
        Case("one positive test", 0.01, 0.9, 0.09, [True]),
        Case("one negative test", 0.2, 0.8, 0.1, [False]),
        Case("two positive tests", 0.01, 0.9, 0.09, [True, True]),
        Case("no test at all", 0.3, 0.9, 0.1, []),
        Case("a test without false alarms", 0.001, 0.5, 0.0, [True]),
    ],
    misconceptions=[
        Misconception(
            "neglects the base rate",
            _posterior_no_base_rate,
            why="It treats ill and well as equally common. If only 1 in 100 is ill, even a small share of false alarms "
            "among the many healthy outnumbers the ill. Weigh each likelihood with its prior.",
            look=BAYES,
        ),
        Misconception(
            "returns how often the ill have such results, not how often such people are ill",
            _posterior_is_likelihood,
            why="P(results | ill) is the likelihood. Asked for is P(ill | results), and between the two stands Bayes' "
            "rule.",
            look=BAYES,
        ),
        Misconception(
            "stops before dividing",
            _posterior_joint,
            why="Prior times likelihood is the share of all people who are ill and have these results. Divide by the "
            "share of all who have them, ill or well.",
            look=BAYES,
        ),
        Misconception(
            "does not weigh the well with 1 - p_ill",
            _posterior_well_unweighted,
            why="In the denominator both groups count with their size: p_ill for the ill, 1 - p_ill for the well.",
            look=BAYES,
        ),
        Misconception(
            "treats a negative result like a positive one",
            _posterior_negatives_as_positives,
            why="A negative result has probability 1 - p_pos_ill for the ill and 1 - p_pos_well for the well.",
            look=BAYES,
        ),
        Misconception(
            "ignores negative results",
            _posterior_negatives_ignored,
            why="A negative result is evidence too: it is more common among the well.",
            look=BAYES,
        ),
        Misconception(
            "takes the false alarms for their opposite",
            _posterior_false_alarm_swapped,
            why="p_pos_well is how often the well test *positive*. You used it where 1 - p_pos_well belongs.",
            look=BAYES,
        ),
        Misconception(
            "does not look at the results, as if there had been one positive test",
            _posterior_one_positive,
            why="`results` holds any number of tests, positive and negative, and each is evidence of its own.",
            look=BAYES,
        ),
        Misconception(
            "keeps only the last result",
            _posterior_last_only,
            why="The posterior after one test is the prior of the next. Do not go back to p_ill each time.",
            look=BAYES,
        ),
        Misconception(
            "returns the probability of being well",
            _posterior_of_well,
            why="The numerator belongs to the explanation that is asked for: ill.",
            look=BAYES,
        ),
    ],
    hints=(
        "Imagine 1,000 people. How many are ill and have exactly these results? How many are well and have them?",
        "For each group multiply its share by the probability of every single result: p for a positive, 1 - p for a "
        "negative one.",
        "With `ill` and `well` those two products, return ill / (ill + well).",
    ),
    alternatives=[_posterior_step_by_step],
    names=("p_ill", "p_pos_ill", "p_pos_well", "results"),
)

# 03.2 -----------------------------------------------------------------------------------------------------------------


def sample(p: np.ndarray, u: np.ndarray) -> np.ndarray:
    ends = np.cumsum(p)
    return np.searchsorted(ends / ends[-1], u, side="right")


def _sample_clipped(p, u):
    return np.minimum(np.searchsorted(np.cumsum(p), u, side="right"), len(p) - 1)


def _sample_by_counting(p, u):
    return (u[:, None] >= np.cumsum(p)[:-1]).sum(axis=1)


def _sample_loop(p, u):
    found = []
    for number in u:
        k, end = 0, p[0]
        while number >= end and k < len(p) - 1:
            k += 1
            end += p[k]
        found.append(k)
    return np.array(found)


def _sample_argmax(p, u):
    return np.full(len(u), p.argmax())


def _sample_not_cumulative(p, u):
    return np.searchsorted(p, u, side="right")


def _sample_uniform(p, u):
    return (u * len(p)).astype(int)


def _sample_left(p, u):
    ends = np.cumsum(p)
    return np.searchsorted(ends / ends[-1], u, side="left")


def _sample_past_the_end(p, u):
    return np.searchsorted(np.cumsum(p), u, side="right")


def _sample_off_by_one(p, u):
    return sample(p, u) + 1


def _sample_from_the_top(p, u):
    return sample(p, np.minimum(1 - u, np.nextafter(1, 0)))


def _uniforms(rng: Generator) -> tuple:
    return rng.dirichlet(np.ones(rng.integers(3, 8))), rng.random(30)


SAMPLE = Exercise(
    "03.2",
    "Draw from a list of probabilities",
    minutes=12,
    difficulty=2,
    reference=sample,
    cases=[
        _uniforms,
        Case("something impossible comes first", np.array([0.0, 0.25, 0.75]), np.array([0.0, 0.1, 0.25, 0.9])),
        Case("exactly at the ends of segments", np.array([0.5, 0.25, 0.25]), np.array([0.0, 0.5, 0.75, 0.25])),
        Case("ten times 0.1, whose sum is not exactly 1", np.full(10, 0.1), np.array([1 - 2**-53, 0.55])),
        Case("a sure thing", np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.3, 0.99])),
        Case("one number", np.array([0.2, 0.3, 0.5]), np.array([0.45])),
    ],
    misconceptions=[
        Misconception(
            "always takes the most probable category",
            _sample_argmax,
            why="That is argmax, not sampling: it uses no chance at all, and all the other categories never come.",
            look="Section 7 of 03_probability, 'Sampling with a temperature'",
        ),
        Misconception(
            "compares u with the probabilities themselves",
            _sample_not_cumulative,
            why="The segments lie end to end. Category k ends where the probabilities up to and including k add up to: "
            "you need the cumulative sum.",
            look=SAMPLING,
        ),
        Misconception(
            "makes all categories equally likely",
            _sample_uniform,
            why="u times the number of categories cuts 0 to 1 into equal pieces. The pieces must have the lengths p.",
            look=SAMPLING,
        ),
        Misconception(
            "gives the end of a segment to the wrong side",
            _sample_left,
            why="u may be exactly 0. If category 0 has probability 0, it must not be drawn even then. A segment owns "
            'its left end: `side="right"`.',
            look=SAMPLING,
        ),
        Misconception(
            "can draw a category that does not exist",
            _sample_past_the_end,
            why="Ten times 0.1 adds up to 0.9999999999999999 in floating point, and u may be as large as that. Divide "
            "the cumulative sums by the last of them, or never go past the last category.",
            look=SAMPLING,
        ),
        Misconception(
            "counts the categories from 1",
            _sample_off_by_one,
            why="Categories are positions in p, and positions start at 0.",
            look=SAMPLING,
        ),
        Misconception(
            "lays the segments out from the top",
            _sample_from_the_top,
            why="As chance this is as good, but the exercise fixes the layout: category 0 comes first, from 0 up to "
            "p[0].",
            look=SAMPLING,
        ),
    ],
    hints=(
        "Draw a line from 0 to 1 and cut it into pieces of the lengths p. Into which piece does u fall?",
        "The pieces end at `np.cumsum(p)`. `np.searchsorted(ends, u)` finds the piece; mind what happens exactly at an "
        "end.",
        'ends = np.cumsum(p); return np.searchsorted(ends / ends[-1], u, side="right").',
    ),
    alternatives=[_sample_clipped, _sample_by_counting, _sample_loop],
    names=("p", "u"),
)

EXERCISES = [POSTERIOR, SAMPLE]
