"""Checks of 02_calculus on measured derivatives: the slope in a direction, the Jacobian."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

CHAPTER = "02_calculus"

# 2.1 ------------------------------------------------------------------------------------------------------------------


def _slope(f, p, v, h):
    u = v / np.linalg.norm(v)
    return (f(p + h * u) - f(p - h * u)) / (2 * h)


def _slope_along_a_line(f, p, v, h):
    length = np.sqrt(v @ v)
    up, down = (f(p + sign * h * v / length) for sign in (1, -1))
    return 0.5 * (up - down) / h


def _one_sided(f, p, v, h):
    return (f(p + h * v / np.linalg.norm(v)) - f(p)) / h


def _one_sided_over_two(f, p, v, h):
    return _one_sided(f, p, v, h) / 2


def _lower_side(f, p, v, h):
    return _one_sided(f, p, v, -h)


def _over_h(f, p, v, h):
    return 2 * _slope(f, p, v, h)


def _times_h(f, p, v, h):
    return _slope(f, p, v, h) * h * h


def _upside_down(f, p, v, h):
    return -_slope(f, p, v, h)


def _any_length(f, p, v, h):
    return (f(p + h * v) - f(p - h * v)) / (2 * h)


def _length_squared(f, p, v, h):
    return _any_length(f, p, v / (v @ v), h)


def _own_step(f, p, v, h):
    return _slope(f, p, v, 1e-5)


def _hill(c):
    """A smooth landscape over as many inputs as c has."""
    return lambda p: float(np.sin(c @ p) + (c * p**2).sum() + np.exp(0.3 * p.sum()))


def _place_and_direction(rng: Generator) -> tuple:
    n = int(rng.integers(2, 6))
    v = rng.normal(size=n)
    v *= rng.uniform(1.5, 4) / np.linalg.norm(v)  # never of length 1
    return _hill(rng.uniform(0.5, 1.5, n)), rng.normal(size=n), v, float(rng.choice([0.5, 0.2, 0.1]))


# 2.2 ------------------------------------------------------------------------------------------------------------------


def _jacobian(f, x, h=1e-5):
    columns = [np.atleast_1d(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))]
    return np.stack(columns, axis=1)


def _jacobian_filled(f, x, h=1e-5):
    J = np.zeros((np.size(f(x)), len(x)))
    for j in range(len(x)):
        up, down = x.copy(), x.copy()
        up[j] += h
        down[j] -= h
        J[:, j] = (f(up) - f(down)) / (2 * h)
    return J


def _transposed(f, x, h=1e-5):
    return _jacobian(f, x, h).T


def _a_row_for_each_nudge(f, x, h=1e-5):
    """As np.array(list of nudges) has it, without np.atleast_1d."""
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))])


def _forward_columns(f, x, h=1e-5):
    return np.stack([np.atleast_1d(f(x + h * e) - f(x)) / h for e in np.eye(len(x))], axis=1)


def _columns_over_h(f, x, h=1e-5):
    return 2 * _jacobian(f, x, h)


def _nudges_stay(f, x, h=1e-5):
    x, columns = x.copy(), []
    for j in range(len(x)):
        x[j] += h
        up = f(x)
        x[j] -= 2 * h
        columns.append(np.atleast_1d(up - f(x)) / (2 * h))
    return np.stack(columns, axis=1)


def _all_inputs_at_once(f, x, h=1e-5):
    together = np.atleast_1d(f(x + h) - f(x - h)) / (2 * h)
    return np.repeat(together[:, None], len(x), axis=1)


def _two_names(f, x, h=1e-5):
    """What `up = x; down = x` comes to: one array, nudged up and down again."""
    return np.zeros((np.size(f(x)), len(x)))


def _flat_row(f, x, h=1e-5):
    J = _jacobian(f, x, h)
    return J[0] if np.ndim(f(x)) == 0 else J


def _fixed_step(f, x, h=1e-5):
    return _jacobian(f, x, 1e-5)


def _map(M):
    """A smooth map with one output for each row of M and one input for each column."""
    return lambda x: np.sin(M @ x) + 0.5 * (M @ x) ** 2 + (x**2).sum() * M[:, 0]


def _map_and_place(rng: Generator) -> tuple:
    n_in = int(rng.integers(2, 5))
    n_out = int(rng.choice([n for n in range(2, 6) if n != n_in]))
    return _map(rng.normal(size=(n_out, n_in))), rng.normal(size=n_in), float(rng.choice([0.5, 0.2, 0.1]))


def _square_map(rng: Generator) -> tuple:
    return _map(rng.normal(size=(3, 3))), rng.normal(size=3), 0.1


EXERCISES = [
    Exercise(
        "02.1",
        "The slope in a direction",
        minutes=10,
        difficulty=1,
        reference=_slope,
        cases=[
            _place_and_direction,
            Case("a direction of length 1", _hill(np.array([1.0, 0.5])), np.array([0.3, -1.0]), np.eye(2)[1], 0.1),
            Case("one input, backwards", _hill(np.array([0.7])), np.array([0.4]), np.array([-2.0]), 0.1),
        ],
        misconceptions=[
            Misconception(
                "nudges to one side only",
                _one_sided,
                why="The bending of the curve stays in the answer, so the error shrinks only like h. With a nudge to "
                "both sides it cancels, and the error shrinks like h squared.",
                look=f"Section 2 of {CHAPTER}, 'From one side, from both sides'",
            ),
            Misconception(
                "nudges to one side and divides by 2h",
                _one_sided_over_two,
                why="From p to p + h u it is h, so this is half of the slope. The divisor 2h belongs to two points "
                "that are 2h apart: p + h u and p - h u.",
                look=f"Section 2 of {CHAPTER}, 'From one side, from both sides'",
            ),
            Misconception(
                "nudges to the lower side only",
                _lower_side,
                why="(f(p) - f(p - h u)) / h is one-sided too: its error shrinks only like h. Nudge to both sides.",
                look=f"Section 2 of {CHAPTER}, 'From one side, from both sides'",
            ),
            Misconception(
                "divides by h, although the two points are 2h apart",
                _over_h,
                why="From p - h u to p + h u it is 2h. Dividing by h makes every slope twice too steep.",
                look=f"Section 2 of {CHAPTER}, 'From one side, from both sides'",
            ),
            Misconception(
                "multiplies by h where it should divide: / 2 * h is not / (2 * h)",
                _times_h,
                why="Python works from left to right, so / 2 * h divides by 2 and multiplies by h. Put 2 * h in "
                "brackets.",
                look=f"The function `central` in section 2 of {CHAPTER}",
            ),
            Misconception(
                "subtracts the wrong way round",
                _upside_down,
                why="Rise over run: the height *after* the step less the height before it. Uphill must be positive.",
                look=f"Section 1 of {CHAPTER}, 'A slope between two points'",
            ),
            Misconception(
                "does not bring the direction to length 1",
                _any_length,
                why="A direction twice as long would then give a slope twice as steep, on the same hill. Divide v by "
                "its length first.",
                look=f"Section 3 of {CHAPTER}, 'The slope in any direction'",
            ),
            Misconception(
                "divides the direction by the square of its length",
                _length_squared,
                why="v @ v is the length squared. np.linalg.norm(v), its square root, is the length.",
                look=f"Section 3 of {CHAPTER}, 'The slope in any direction'",
            ),
            Misconception(
                "ignores h and always nudges by 0.00001",
                _own_step,
                why="The caller chooses the step. With a large one the answer must show the error of a large step.",
                look="the text of the exercise",
            ),
        ],
        hints=(
            "You need two heights: one a little further in the direction, one a little back.",
            "u = v divided by its length. The two places are p + h * u and p - h * u, and they are 2h apart.",
            "(f(p + h * u) - f(p - h * u)) / (2 * h)",
        ),
        alternatives=[_slope_along_a_line],
        names=("f", "p", "v", "h"),
    ),
    Exercise(
        "02.2",
        "Measure a Jacobian",
        minutes=12,
        difficulty=2,
        reference=_jacobian,
        cases=[
            _map_and_place,
            _square_map,
            Case("a function that returns a number", _hill(np.array([1.0, 0.5, 0.8])), np.array([0.5, -1.0, 0.2]), 0.1),
            Case("h left at its default", _map(np.array([[1.0, -0.5, 0.3]])), np.array([0.5, 1.0, -1.0])),
        ],
        misconceptions=[
            Misconception(
                "has rows and columns the wrong way round",
                _transposed,
                why="J is multiplied by a step of the inputs, J @ d, so it needs one *column* for each input and one "
                "*row* for each output.",
                look=f"Section 4 of {CHAPTER}, 'A bent grid, and a straight one near by'",
            ),
            Misconception(
                "makes a row of what each nudge does, where a column is needed",
                _a_row_for_each_nudge,
                why="np.array puts the vectors of a list into rows. What input j does is *column* j of J: stack the "
                "list along axis 1. (And a function that returns a number needs one row.)",
                look=f"The function `jacobian` in section 4 of {CHAPTER}",
            ),
            Misconception(
                "nudges to one side only",
                _forward_columns,
                why="The bending stays in the answer, and its error shrinks only like h. Nudge each input up and down.",
                look=f"Section 2 of {CHAPTER}, 'From one side, from both sides'",
            ),
            Misconception(
                "divides by h, although the two points are 2h apart",
                _columns_over_h,
                why="From x - h to x + h it is 2h. Dividing by h makes every entry twice too large.",
                look=f"Section 2 of {CHAPTER}, 'From one side, from both sides'",
            ),
            Misconception(
                "does not put a nudged input back before it goes on to the next",
                _nudges_stay,
                why="Each later column is then measured at a place that the earlier nudges have shifted. Nudge a fresh "
                "copy for each input.",
                look=f"The function `jacobian` in section 4 of {CHAPTER}",
            ),
            Misconception(
                "nudges all inputs at the same time",
                _all_inputs_at_once,
                why="That measures what happens when everything moves together: the sum of all columns. Nudge one "
                "input, while the others stay.",
                look=f"Section 4 of {CHAPTER}, 'A bent grid, and a straight one near by'",
            ),
            Misconception(
                "nudges one and the same array up and down, so that f sees no difference",
                _two_names,
                why="`up = x` makes no copy: up, down and x are names of one array. Write x + h * e, which is a new "
                "array, or x.copy().",
                look=f"The function `jacobian` in section 4 of {CHAPTER}",
            ),
            Misconception(
                "returns a flat vector where f returns a number",
                _flat_row,
                why="A function with one output has a Jacobian with one row, of shape (1, n_in). np.atleast_1d turns a "
                "number into a vector with one entry.",
                look=f"Section 4 of {CHAPTER}, 'Three Jacobians that every network is made of'",
            ),
            Misconception(
                "ignores h and always nudges by 0.00001",
                _fixed_step,
                why="The default is only used when the caller gives no h.",
                look="the text of the exercise",
            ),
        ],
        hints=(
            "Nudge one input. All outputs answer. Is their answer a row or a column of J?",
            "The rows of np.eye(len(x)) are nudges of one input each. Make a list of columns, then stack it.",
            "np.stack([np.atleast_1d(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=1)",
        ),
        alternatives=[_jacobian_filled],
        names=("f", "x", "h"),
    ),
]
