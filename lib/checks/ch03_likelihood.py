"""Checks of 03_probability on maximum likelihood: the most likely normal curve."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

NORMAL = "Section 5 of 03_probability, 'The normal distribution'"

# 03.3 -----------------------------------------------------------------------------------------------------------------


def _log_likelihood(x: np.ndarray, mean: float, var: float) -> float:
    return float(-len(x) / 2 * np.log(2 * np.pi * var) - ((x - mean) ** 2).sum() / (2 * var))


def fit_normal(x: np.ndarray) -> tuple[float, float, float]:
    mean = float(x.mean())
    var = float(((x - mean) ** 2).mean())
    return mean, var, _log_likelihood(x, mean, var)


def _fit_short(x):
    return np.mean(x), np.var(x), -len(x) / 2 * (np.log(2 * np.pi * np.var(x)) + 1)


def _fit_sum_of_logs(x):
    mean, std = np.mean(x), np.std(x)
    z = (x - mean) / std
    return mean, std**2, (-0.5 * z**2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum()


def _density(x, mean, std):
    return np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))


def _fit_n_1(x):
    var = x.var(ddof=1)
    return x.mean(), var, _log_likelihood(x, x.mean(), var)


def _fit_std(x):
    mean, var, log_l = fit_normal(x)
    return mean, var**0.5, log_l


def _fit_underflows(x):
    with np.errstate(divide="ignore"):
        return x.mean(), x.var(), np.log(np.prod(_density(x, x.mean(), x.std())))


def _fit_likelihood(x):
    return x.mean(), x.var(), np.prod(_density(x, x.mean(), x.std()))


def _fit_mean_of_logs(x):
    mean, var, log_l = fit_normal(x)
    return mean, var, log_l / len(x)


def _fit_minus(x):
    mean, var, log_l = fit_normal(x)
    return mean, var, -log_l


def _fit_log10(x):
    mean, var, log_l = fit_normal(x)
    return mean, var, log_l / np.log(10)


def _fit_no_constant(x):
    mean, var, log_l = fit_normal(x)
    return mean, var, log_l + len(x) / 2 * np.log(2 * np.pi)


def _fit_cancels(x):
    var = (x**2).mean() - x.mean() ** 2
    with np.errstate(all="ignore"):
        return x.mean(), var, _log_likelihood(x, x.mean(), var)


def _fit_var_for_std(x):
    mean, var, _ = fit_normal(x)
    return mean, var, _log_likelihood(x, mean, var**2)


def _measurements(rng: Generator) -> tuple:
    return (rng.normal(rng.uniform(-5, 5), rng.uniform(0.5, 3), rng.integers(4, 12)),)


FIT = Exercise(
    "03.3",
    "The most likely normal curve",
    minutes=12,
    difficulty=2,
    reference=fit_normal,
    cases=[
        _measurements,
        Case("two measurements", np.array([1.0, 4.0])),
        Case("three thousand measurements", np.linspace(-3, 5, 3000) ** 2),
        Case("far from zero", 3e9 + np.array([0.0, 1.0, 2.0, 3.0, 9.0])),
    ],
    misconceptions=[
        Misconception(
            "divides the variance by n - 1",
            _fit_n_1,
            why="n - 1 makes the estimate right on average over many repetitions. Asked for is the variance that makes "
            "*these* data most likely, and that divides by n.",
            look="Section 5 of 03_probability, 'Divided by n, or by n − 1?'",
        ),
        Misconception(
            "returns the standard deviation as the variance",
            _fit_std,
            why="The variance is the mean squared distance; the standard deviation is its root.",
            look="Section 2 of 03_probability, 'Expectation and variance'",
        ),
        Misconception(
            "multiplies densities until nothing is left",
            _fit_underflows,
            why="The product of some hundred densities falls below the smallest number that a float can hold and "
            "becomes 0, and log 0 is minus infinity. Add the logarithms instead.",
            look="Section 5 of 03_probability, 'Why logarithms'",
        ),
        Misconception(
            "returns the likelihood and not its logarithm",
            _fit_likelihood,
            why="The product of many densities is soon too small for a computer. Return the sum of their logarithms.",
            look="Section 5 of 03_probability, 'Why logarithms'",
        ),
        Misconception(
            "averages the logarithms instead of adding them",
            _fit_mean_of_logs,
            why="The mean is what a loss uses. The log-likelihood of all the data is the sum over the measurements.",
            look=NORMAL,
        ),
        Misconception(
            "returns minus the log-likelihood",
            _fit_minus,
            why="With the minus sign it is a loss, to be made small. The log-likelihood has none.",
            look=NORMAL,
        ),
        Misconception(
            "takes the logarithm to base 10",
            _fit_log10,
            why="The logarithm of this course is the natural one, `np.log`.",
            look="Section 5 of 03_probability, 'A coin'",
        ),
        Misconception(
            "leaves out 2π",
            _fit_no_constant,
            why="For finding the top the constant does not matter, but it belongs to the density, and to its "
            "logarithm.",
            look=NORMAL,
        ),
        Misconception(
            "subtracts two huge numbers to get the variance",
            _fit_cancels,
            why="E[x²] - E[x]² is right on paper. Far from zero both numbers are huge, floats keep 16 digits, and the "
            "difference is noise. Subtract the mean first, then square.",
            look=NORMAL,
        ),
        Misconception(
            "puts the variance where the standard deviation belongs",
            _fit_var_for_std,
            why="In the density stands σ² under the exponent, and σ, its root, before it.",
            look=NORMAL,
        ),
    ],
    hints=(
        "The mean and the variance need no search: section 5 gives both. The third number uses the first two.",
        "Subtract the mean, square, take the mean. Then write log of the density and add it up over all x.",
        "The log-likelihood is -n/2 * log(2π var) - sum((x - mean)²) / (2 var).",
    ),
    alternatives=[_fit_short, _fit_sum_of_logs],
    names=("x",),
)

EXERCISES = [FIT]
