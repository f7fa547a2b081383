"""Check of 11_backpropagation on finite differences."""

from __future__ import annotations

import numpy as np

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch11_backpropagation import CHAPTER, sizes

# 11.4 -----------------------------------------------------------------------------------------------------------------


def _numerical_gradient(f, w, h=1e-5):
    grad = np.zeros(w.shape)
    for i in np.ndindex(w.shape):
        up, down = w.copy(), w.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def _curved(c):
    """A curved function of an array in which every entry acts together with every other."""

    def f(w):
        return float(np.sin(c * w).sum() + (c * w).sum() ** 2 + (w**3).sum())

    return f


def _curve_of_vector(rng):
    c = rng.uniform(0.5, 1.5, size=rng.integers(2, 6))
    return _curved(c), rng.normal(size=c.shape), float(rng.choice([0.1, 0.01, 0.001]))


def _curve_of_matrix(rng):
    c = rng.uniform(0.5, 1.5, size=sizes(rng, 2, 2, 5))
    return _curved(c), rng.normal(size=c.shape), float(rng.choice([0.1, 0.01]))


def _one_sided(f, w, h=1e-5):
    grad = np.zeros(w.shape)
    for i in np.ndindex(w.shape):
        up = w.copy()
        up[i] += h
        grad[i] = (f(up) - f(w)) / h
    return grad


def _backward_only(f, w, h=1e-5):
    return _one_sided(f, w, -h)


def _never_restored(f, w, h=1e-5):
    w, grad = w.copy(), np.zeros(w.shape)
    for i in np.ndindex(w.shape):
        w[i] += h
        up = f(w)
        w[i] -= 2 * h
        grad[i] = (up - f(w)) / (2 * h)
    return grad


def _left_nudged_up(f, w, h=1e-5):
    """Restores by adding h where 2h is needed, or the other way round: the entry stays at old + h."""
    w, grad = w.copy(), np.zeros(w.shape)
    for i in np.ndindex(w.shape):
        old = w[i]
        w[i] = old - h
        down = f(w)
        w[i] = old + h
        grad[i] = (f(w) - down) / (2 * h)
    return grad


def _all_at_once(f, w, h=1e-5):
    return np.full(w.shape, (f(w + h) - f(w - h)) / (2 * h))


def _row_by_row(f, w, h=1e-5):
    grad = np.zeros(w.shape)
    for i in range(len(w)):
        up, down = w.copy(), w.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (f(up) - f(down)) / (2 * h)
    return grad


def _without_a_copy(f, w, h=1e-5):
    """What `up = w; down = w` comes to: two names for one array, nudged up and down again."""
    return np.zeros(w.shape)


def _put_back(f, w, h=1e-5):
    w, grad = w.copy(), np.zeros(w.shape)
    for i in np.ndindex(w.shape):
        old = w[i]
        w[i] = old + h
        up = f(w)
        w[i] = old - h
        grad[i] = (up - f(w)) / (2 * h)
        w[i] = old
    return grad


def _with_unit_vectors(f, w, h=1e-5):
    units = np.eye(w.size).reshape(w.size, *w.shape)
    return np.array([(f(w + h * e) - f(w - h * e)) / (2 * h) for e in units]).reshape(w.shape)


NUMERICAL = Exercise(
    "11.4",
    "Measure a gradient",
    minutes=12,
    difficulty=2,
    reference=_numerical_gradient,
    cases=[
        _curve_of_vector,
        _curve_of_matrix,
        Case("the nudge left at its default", _curved(np.array([1.0, 0.5])), np.array([0.5, -1.0])),
    ],
    misconceptions=[
        Misconception(
            "nudges to one side only",
            _one_sided,
            why="(f(w + h) - f(w)) / h has an error that shrinks only with h. With both sides the bending of the curve "
            "cancels, and the error shrinks with h squared.",
            look=f"section 5 of {CHAPTER}, the figure of the errors",
        ),
        Misconception(
            "nudges to the lower side only",
            _backward_only,
            why="(f(w) - f(w - h)) / h is one-sided too: its error shrinks only with h. Nudge to both sides.",
            look=f"section 5 of {CHAPTER}, the figure of the errors",
        ),
        Misconception(
            "divides by h, although the two points are 2h apart",
            lambda f, w, h=1e-5: 2 * _numerical_gradient(f, w, h),
            why="From w - h to w + h it is 2h. Dividing by h makes every gradient twice too large.",
            look=f"the formula in section 5 of {CHAPTER}",
        ),
        Misconception(
            "does not put a nudged entry back before it goes on to the next",
            _never_restored,
            why="Each later entry is then measured at a place that the earlier ones have shifted. Keep the old value, "
            "and write it back, or nudge a fresh copy each time.",
            look=f"numerical_gradient in section 5 of {CHAPTER}",
        ),
        Misconception(
            "leaves each entry nudged upwards when it goes on to the next",
            _left_nudged_up,
            why="Each later entry is then measured at a place that the earlier ones have shifted. Keep the old value, "
            "and write it back, or nudge a fresh copy each time.",
            look=f"numerical_gradient in section 5 of {CHAPTER}",
        ),
        Misconception(
            "nudges all entries at the same time",
            _all_at_once,
            why="That measures what happens when everything moves together: the sum of all gradients. Nudge one entry, "
            "while the others stay.",
            look=f"section 5 of {CHAPTER}",
        ),
        Misconception(
            "nudges a whole row of a matrix at a time",
            _row_by_row,
            why="`range(len(w))` counts the rows, and w[i] of a matrix is a row. np.ndindex(w.shape) goes through "
            "every single entry, whatever the shape.",
            look=f"numerical_gradient in section 5 of {CHAPTER}",
        ),
        Misconception(
            "nudges one and the same array up and down, so that f sees no difference",
            _without_a_copy,
            why="`up = w` makes no copy: up, down and w are names of one array, and nudging down undoes nudging up. "
            "Write up = w.copy().",
            look=f"numerical_gradient in section 5 of {CHAPTER}",
        ),
        Misconception(
            "multiplies by h where it should divide: / 2 * h is not / (2 * h)",
            lambda f, w, h=1e-5: _numerical_gradient(f, w, h) * h * h,
            why="Python works from left to right, so / 2 * h divides by 2 and multiplies by h. Put 2 * h in brackets.",
            look=f"the formula in section 5 of {CHAPTER}",
        ),
        Misconception(
            "ignores h and always nudges by 0.00001",
            lambda f, w, h=1e-5: _numerical_gradient(f, w, 1e-5),
            why="The default is only used when the caller gives no h.",
            look="the text of the exercise",
        ),
    ],
    hints=(
        "How many times must f be called for a w with 6 entries?",
        "Copy w, nudge one entry of the copy up, call f; nudge it down, call f; divide by the distance.",
        "for i in np.ndindex(w.shape): up = w.copy(); up[i] += h; the same for down; then divide by 2h.",
    ),
    alternatives=[_put_back, _with_unit_vectors],
    names=("f", "w", "h"),
)


EXERCISES = [NUMERICAL]
