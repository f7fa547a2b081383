"""Checks of 01_linear_algebra on vectors: the angle between two."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

# 01.1 -----------------------------------------------------------------------------------------------------------------

DOT = "Section 1 of 01_linear_algebra, 'The dot product'"


def angle(u: np.ndarray, v: np.ndarray) -> float:
    cosine = u @ v / np.sqrt((u @ u) * (v @ v))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _angle_units(u, v):
    """Kahan's formula: the half angle from the sum and the difference of the unit vectors."""
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    return 2 * np.degrees(np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v)))


def _angle_radians(u, v):
    return np.radians(angle(u, v))


def _angle_radians_no_clip(u, v):
    return np.radians(_angle_no_clip(u, v))


def _angle_cosine(u, v):
    return u @ v / np.sqrt((u @ u) * (v @ v))


def _angle_no_lengths(u, v):
    with np.errstate(invalid="ignore"):
        return np.degrees(np.arccos(u @ v))


def _angle_no_lengths_clipped(u, v):
    return np.degrees(np.arccos(np.clip(u @ v, -1, 1)))


def _angle_squared_lengths(u, v):
    return np.degrees(np.arccos(np.clip(u @ v / ((u @ u) * (v @ v)), -1, 1)))


def _angle_no_clip(u, v):
    with np.errstate(invalid="ignore"):
        return np.degrees(np.arccos(u @ v / np.sqrt((u @ u) * (v @ v))))


def _angle_acute(u, v):
    return np.degrees(np.arccos(np.clip(abs(u @ v) / np.sqrt((u @ u) * (v @ v)), -1, 1)))


def _angle_elementwise(u, v):
    return np.degrees(np.arccos(np.clip(u * v / np.sqrt((u @ u) * (v @ v)), -1, 1)))


def _two_arrows(rng: Generator) -> tuple:
    d = int(rng.integers(2, 6))
    return rng.normal(0, 2, d), rng.normal(0, 2, d)


def _short_arrows(rng: Generator) -> tuple:
    return rng.normal(0, 0.3, 3), rng.normal(0, 0.3, 3)


def _above_one() -> tuple[np.ndarray, np.ndarray]:
    """An arrow and three times the same, whose cosine is rounded to more than 1 in each of the usual ways to write it.

    It is searched for, since processors round differently.
    """
    for u in np.random.default_rng(0).normal(size=(2000, 3)):
        v = 3 * u
        n, m = np.linalg.norm(u), np.linalg.norm(v)
        if min(u @ v / np.sqrt((u @ u) * (v @ v)), u @ v / (n * m), (u / n) @ (v / m)) > 1:
            return u, v
    return np.ones(3), 3 * np.ones(3)


EXERCISES = [
    Exercise(
        "01.1",
        "The angle between two arrows",
        minutes=8,
        difficulty=1,
        reference=angle,
        cases=[
            _two_arrows,
            _short_arrows,
            Case("an arrow and three times the same", *_above_one()),
            Case("an arrow and three times its opposite", _above_one()[0], -_above_one()[1]),
            Case("opposite arrows", np.array([1.0, 2.0]), np.array([-2.0, -4.0])),
            Case("a right angle", np.array([3.0, 0.0, 4.0]), np.array([0.0, 2.0, 0.0])),
        ],
        misconceptions=[
            Misconception(
                "does not divide by the lengths",
                _angle_no_lengths,
                why="u · v is |u| |v| cos θ. Long arrows give large dot products at any angle, even above 1, where "
                "arccos is not a number. Divide by both lengths.",
                look=DOT,
            ),
            Misconception(
                "cuts the dot product to -1 and 1 instead of dividing by the lengths",
                _angle_no_lengths_clipped,
                why="Clipping is for the last rounding error. It is the division by |u| |v| that makes a cosine.",
                look=DOT,
            ),
            Misconception(
                "divides by the squares of the lengths",
                _angle_squared_lengths,
                why="v @ v is the length squared. Take the root, or use np.linalg.norm.",
                look=DOT,
            ),
            Misconception(
                "gives the angle in radians",
                _angle_radians,
                why="np.arccos answers in radians, where a right angle is 1.571. np.degrees turns them into degrees.",
                look=DOT,
            ),
            Misconception(
                "gives radians, and NaN where rounding makes the cosine a little larger than 1",
                _angle_radians_no_clip,
                why="Two things. np.degrees turns radians into degrees, and np.clip(cosine, -1, 1) before np.arccos "
                "keeps rounding from making a cosine that no angle has.",
                look=DOT,
            ),
            Misconception(
                "returns the cosine",
                _angle_cosine,
                why="The cosine is half of the way: np.arccos gives the angle that has it.",
                look=DOT,
            ),
            Misconception(
                "gives NaN where rounding makes the cosine a little larger than 1",
                _angle_no_clip,
                why="For two arrows of one direction the quotient may come out as 1.0000000000000002, and arccos of "
                "that does not exist. np.clip(cosine, -1, 1) brings it back.",
                look=DOT,
            ),
            Misconception(
                "takes the absolute value of the dot product",
                _angle_acute,
                why="Opposed arrows have a negative dot product and an angle above 90 degrees. The sign says so.",
                look=DOT,
            ),
            Misconception(
                "multiplies number by number with * and never adds up",
                _angle_elementwise,
                why="u * v is a vector of products. The dot product is their sum: u @ v.",
                look=DOT,
            ),
        ],
        hints=(
            "Which formula of the lesson holds both the dot product and the angle?",
            "Divide u @ v by both lengths. Then np.arccos, and then from radians to degrees.",
            "cosine = u @ v / np.sqrt((u @ u) * (v @ v)); clip it to [-1, 1] before np.arccos; np.degrees at the end.",
        ),
        alternatives=[_angle_units],
        rtol=1e-5,
        atol=1e-4,  # near 0 and 180 degrees the arccos doubles the digits that rounding costs
    ),
]
