"""Checks of 01_linear_algebra on eigenvectors and principal directions."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

# 01.4 -----------------------------------------------------------------------------------------------------------------

POWER = "Section 6 of 01_linear_algebra, 'Power iteration'"


def power_iteration(A: np.ndarray, x: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    v = x / np.linalg.norm(x)
    for _ in range(steps):
        v = A @ v
        v = v / np.linalg.norm(v)
    return float(v @ A @ v), v


def _power_unit_at_use(A, x, steps):
    for _ in range(steps):
        x = A @ (x / np.sqrt((x**2).sum()))
    v = x / np.linalg.norm(x)
    return (A * np.outer(v, v)).sum(), v


def _scaled_at_the_end(A, x, steps):
    for _ in range(steps):
        x = A @ x
    with np.errstate(all="ignore"):
        v = x / np.linalg.norm(x)
        return v @ A @ v, v


def _value_from_norm(A, x, steps):
    v = power_iteration(A, x, steps)[1]
    return np.linalg.norm(A @ v), v


def _value_from_first_numbers(A, x, steps):
    v = power_iteration(A, x, steps)[1]
    return (A @ v)[0] / v[0], v


def _never_normalised(A, x, steps):
    v = x / np.linalg.norm(x)
    for _ in range(steps):
        v = A @ v
    with np.errstate(over="ignore"):
        return v @ A @ v, v


def _by_squared_length(A, x, steps):
    v = x / np.linalg.norm(x)
    for _ in range(steps):
        v = A @ v
        v = v / (v @ v)
    return v @ A @ v, v


def _by_largest(A, x, steps):
    v = x / np.abs(x).max()
    for _ in range(steps):
        v = A @ v
        v = v / np.abs(v).max()
    return v @ A @ v, v


def _by_largest_quotient(A, x, steps):
    v = _by_largest(A, x, steps)[1]
    return v @ A @ v / (v @ v), v


def _elementwise(A, x, steps):
    v = x / np.linalg.norm(x)
    for _ in range(steps):
        v = (A * v).sum(axis=0)
        v = v / np.linalg.norm(v)
    return v @ A @ v, v


def _one_more(A, x, steps):
    return power_iteration(A, x, steps + 1)


def _one_less(A, x, steps):
    return power_iteration(A, x, steps - 1)


def _swapped(A, x, steps):
    value, v = power_iteration(A, x, steps)
    return v, value


def _symmetric_and_start(rng: Generator) -> tuple:
    d = int(rng.integers(2, 5))
    M = rng.normal(size=(d, d))
    return M + M.T, rng.normal(0, 2, d), int(rng.integers(2, 6))


def _not_symmetric(rng: Generator) -> tuple:
    return rng.normal(size=(3, 3)) + 2 * np.eye(3), rng.normal(0, 2, 3), int(rng.integers(2, 6))


# 01.5 -----------------------------------------------------------------------------------------------------------------

SHARED = "Section 7 of 01_linear_algebra, 'What digits have in common'"
COLUMNS = "Section 6 of 01_linear_algebra, 'Directions that stay'"


def compress(X: np.ndarray, k: int) -> np.ndarray:
    mean = X.mean(axis=0)
    directions = np.linalg.svd(X - mean, full_matrices=False)[2][:k]  # k d
    return mean + (X - mean) @ directions.T @ directions


def _centred(X):
    return X - X.mean(axis=0)


def _eigenvectors(X):
    """Columns: eigenvectors of the covariance, the largest eigenvalue last."""
    return np.linalg.eigh(_centred(X).T @ _centred(X))[1]


def _rebuilt(X, directions, mean=None):
    """directions: (k, d), one in each row."""
    mean = X.mean(axis=0) if mean is None else mean
    return mean + (X - mean) @ directions.T @ directions


def _compress_eigh(X, k):
    V = _eigenvectors(X)[:, ::-1][:, :k]
    return X.mean(axis=0) + _centred(X) @ V @ V.T


def _compress_truncated(X, k):
    U, sigma, Vt = np.linalg.svd(_centred(X), full_matrices=False)
    return X.mean(axis=0) + U[:, :k] * sigma[:k] @ Vt[:k]


def _rows_of_eigh(X, k):
    return _rebuilt(X, _eigenvectors(X)[::-1][:k])


def _columns_of_vt(X, k):
    Vt = np.linalg.svd(_centred(X), full_matrices=False)[2]
    return _rebuilt(X, Vt[:, :k].T)


def _smallest(X, k):
    return _rebuilt(X, _eigenvectors(X)[:, :k].T)


def _not_centred(X, k):
    return _rebuilt(X, np.linalg.svd(X, full_matrices=False)[2][:k], mean=0.0)


def _not_centred_for_svd(X, k):
    return _rebuilt(X, np.linalg.svd(X, full_matrices=False)[2][:k])


def _mean_not_back(X, k):
    return compress(X, k) - X.mean(axis=0)


def _one_mean_for_all(X, k):
    mean = X.mean()
    return _rebuilt(X, np.linalg.svd(X - mean, full_matrices=False)[2][:k], mean=mean)


def _mean_of_rows(X, k):
    mean = X.mean(axis=1, keepdims=True)
    return _rebuilt(X, np.linalg.svd(X - mean, full_matrices=False)[2][:k], mean=mean)


def _recipe(X, k):
    directions = np.linalg.svd(_centred(X), full_matrices=False)[2][:k]
    return _centred(X) @ directions.T


def _cloud(rng: Generator) -> tuple:
    """Rows that vary by very different amounts along d turned directions, far from 0."""
    d = int(rng.integers(3, 5))
    turned = np.linalg.qr(rng.normal(size=(d, d)))[0]
    spread = 3.0 / 2.0 ** np.arange(d)
    X = rng.normal(size=(d + 6, d)) * spread @ turned + rng.uniform(1, 4, d)
    return X, int(rng.integers(1, d))


EXERCISES = [
    Exercise(
        "01.4",
        "Power iteration",
        minutes=12,
        difficulty=2,
        reference=power_iteration,
        cases=[
            _symmetric_and_start,
            _not_symmetric,
            Case("a negative eigenvalue", np.diag([1.0, -3.0]), np.array([1.0, 2.0]), 8),
            Case("no step at all", np.diag([2.0, 1.0]), np.array([3.0, 4.0]), 0),
            Case("growth that overflows", np.diag([1e15, 1e14]), np.array([1.0, 1.0]), 20),
        ],
        misconceptions=[
            Misconception(
                "takes the length of A v as the eigenvalue",
                _value_from_norm,
                why="A length is never negative, an eigenvalue can be: then A turns the arrow round in each step. And "
                "before the arrow has settled, the two differ anyhow. v · A v keeps the sign.",
                look=POWER,
            ),
            Misconception(
                "divides one number of A v by one number of v",
                _value_from_first_numbers,
                why="Only once the arrow has settled does every number grow by the eigenvalue, and a number may be 0. "
                "v · A v uses all of them, and is much nearer on the way.",
                look=POWER,
            ),
            Misconception(
                "never brings the arrow back to length 1",
                _never_normalised,
                why="The arrow grows by the eigenvalue in each step, until it overflows or vanishes, and v · A v is "
                "the eigenvalue only for an arrow of length 1.",
                look=POWER,
            ),
            Misconception(
                "brings the arrow to length 1 only at the end",
                _scaled_at_the_end,
                why="On paper that is the same. In the computer the arrow grows by the eigenvalue in each step, and "
                "the square of a number above 1e154 is infinity. Divide in every step.",
                look=POWER,
            ),
            Misconception(
                "divides by the squared length",
                _by_squared_length,
                why="v @ v is the length squared. Dividing by it leaves an arrow of length 1 / |v|, not 1.",
                look="Section 1 of 01_linear_algebra, 'The dot product'",
            ),
            Misconception(
                "divides by the largest number instead of the length",
                _by_largest,
                why="Then the largest entry is 1 and not the length, and v · A v is too large by the factor v · v.",
                look="Section 4 of 01_linear_algebra, 'How large is a vector?'",
            ),
            Misconception(
                "divides by the largest number, so that the vector has not length 1",
                _by_largest_quotient,
                why="The eigenvalue is right, but the vector is asked for with length 1: divide by np.linalg.norm(v).",
                look="Section 4 of 01_linear_algebra, 'How large is a vector?'",
            ),
            Misconception(
                "multiplies with the transposed matrix",
                _elementwise,
                why="Each ROW of A is dotted with v: A @ v, or (A * v).sum(axis=1). For symmetric matrices nobody "
                "notices the difference.",
                look="Section 2 of 01_linear_algebra, 'A matrix is a map'",
            ),
            Misconception(
                "takes one step too many",
                _one_more,
                why="steps = 0 must give back x itself, brought to length 1.",
                look=POWER,
            ),
            Misconception(
                "takes one step too few",
                _one_less,
                why="`range(steps)` already counts `steps` rounds. The scaling at the start is not one of them.",
                look=POWER,
            ),
            Misconception(
                "returns the vector before the eigenvalue",
                _swapped,
                why="The pair is (eigenvalue, vector), in the same order as np.linalg.eigh returns them.",
                look=POWER,
            ),
        ],
        hints=(
            "What must happen to the arrow after each multiplication, so that it neither explodes nor vanishes?",
            "Scale x to length 1. In each step multiply by A and scale again. At the end compute v · A v.",
            "v = A @ v; v = v / np.linalg.norm(v), `steps` times; return v @ A @ v, v.",
        ),
        alternatives=[_power_unit_at_use],
        rtol=1e-5,
    ),
    Exercise(
        "01.5",
        "The mean and k directions",
        minutes=15,
        difficulty=3,
        reference=compress,
        cases=[
            _cloud,
            Case("on a line", np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [5.0, 10.0]]), 1),
        ],
        misconceptions=[
            Misconception(
                "takes the rows of np.linalg.eigh's table as eigenvectors",
                _rows_of_eigh,
                why="Eigenvectors stand in the columns: number i is vectors[:, i].",
                look=COLUMNS,
            ),
            Misconception(
                "takes the columns of what np.linalg.svd returns last",
                _columns_of_vt,
                why="The SVD returns V transposed, so here the directions are the ROWS: Vt[:k].",
                look="Section 7 of 01_linear_algebra, 'The singular value decomposition'",
            ),
            Misconception(
                "keeps the directions of the smallest eigenvalues",
                _smallest,
                why="np.linalg.eigh sorts from small to large. The k strongest are the last k columns.",
                look=COLUMNS,
            ),
            Misconception(
                "does not subtract the mean at all",
                _not_centred,
                why="The first direction is then spent on pointing at the mean. Subtract it first, add it at the end.",
                look=SHARED,
            ),
            Misconception(
                "finds the directions without subtracting the mean",
                _not_centred_for_svd,
                why="The mean must be gone before the SVD, or the first direction points at the mean and not along "
                "the differences.",
                look=SHARED,
            ),
            Misconception(
                "does not add the mean back",
                _mean_not_back,
                why="Each row is the mean PLUS a mix of directions.",
                look=SHARED,
            ),
            Misconception(
                "subtracts one number, the mean of everything",
                _one_mean_for_all,
                why="Each column has its own mean: X.mean(axis=0), d numbers. (The mean digit is an image.)",
                look=SHARED,
            ),
            Misconception(
                "subtracts the mean of each row",
                _mean_of_rows,
                why="Rows are the examples. The mean example is the mean down the rows, axis=0.",
                look=SHARED,
            ),
            Misconception(
                "returns the recipes instead of the rebuilt rows",
                _recipe,
                why="(n, k) numbers are what would be stored. To rebuild, mix the directions with them and add the "
                "mean, which gives (n, d).",
                look=SHARED,
            ),
        ],
        hints=(
            "Three steps: take the mean away, project onto k directions, put the mean back.",
            "The last result of np.linalg.svd(X - mean, full_matrices=False) holds the directions in its rows.",
            "D = Vt[:k]; the recipes are (X - mean) @ D.T; the rebuilt rows are mean + recipes @ D.",
        ),
        alternatives=[_compress_eigh, _compress_truncated],
    ),
]
