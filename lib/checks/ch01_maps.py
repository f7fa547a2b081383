"""Checks of 01_linear_algebra on matrices as maps: composition and projection."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

# 01.2 -----------------------------------------------------------------------------------------------------------------

ORDER = "Section 2 of 01_linear_algebra, 'One map after another'"
COLUMNS = "Section 2 of 01_linear_algebra, 'A matrix is a map'"


def _rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def _shear(k: float) -> np.ndarray:
    return np.array([[1.0, k], [0.0, 1.0]])


def shear_then_turn(points: np.ndarray, k: float, degrees: float) -> np.ndarray:
    return points @ (_rotation(degrees) @ _shear(k)).T


def _one_by_one(points, k, degrees):
    return np.array([_rotation(degrees) @ (_shear(k) @ p) for p in points])


def _turn_first(points, k, degrees):
    return points @ (_shear(k) @ _rotation(degrees)).T


def _no_transpose(points, k, degrees):
    return points @ (_rotation(degrees) @ _shear(k))


def _reading_order(points, k, degrees):
    return points @ _shear(k) @ _rotation(degrees)


def _elementwise(points, k, degrees):
    return points @ (_rotation(degrees) * _shear(k)).T


def _radians_taken(points, k, degrees):
    return points @ (_rotation(np.degrees(degrees)) @ _shear(k)).T


def _clockwise(points, k, degrees):
    return points @ (_rotation(-degrees) @ _shear(k)).T


def _wrong_shear(points, k, degrees):
    return points @ (_rotation(degrees) @ _shear(k).T).T


def _only_turned(points, k, degrees):
    return points @ _rotation(degrees).T


def _columns_of_points(points, k, degrees):
    return _rotation(degrees) @ _shear(k) @ points


def _some_points(rng: Generator) -> tuple:
    n = int(rng.integers(3, 7))
    return rng.normal(size=(n, 2)), float(rng.uniform(0.3, 2)), float(rng.uniform(20, 160))


# 01.3 -----------------------------------------------------------------------------------------------------------------

SUBSPACE = "Section 5 of 01_linear_algebra, 'Onto a subspace'"
LINE = "Section 5 of 01_linear_algebra, 'Projection: the best answer within reach'"


def project(b: np.ndarray, A: np.ndarray) -> np.ndarray:
    return A @ np.linalg.solve(A.T @ A, A.T @ b)


def _project_lstsq(b, A):
    return A @ np.linalg.lstsq(A, b, rcond=None)[0]


def _project_svd(b, A):
    U = np.linalg.svd(A, full_matrices=False)[0]
    return U @ (U.T @ b)


def _not_divided(b, A):
    return A @ (A.T @ b)


def _divided_by_length(b, A):
    return A @ (A.T @ b / np.linalg.norm(A, axis=0))


def _each_column_alone(b, A):
    return A @ (A.T @ b / (A**2).sum(axis=0))


def _recipe(b, A):
    return np.linalg.solve(A.T @ A, A.T @ b)


def _residual(b, A):
    return b - project(b, A)


def _first_column_only(b, A):
    a = A[:, 0]
    return (a @ b) / (a @ a) * a


def _tall_matrix(rng: Generator) -> tuple:
    k = int(rng.integers(2, 4))
    m = k + int(rng.integers(1, 4))
    return rng.normal(size=m), rng.normal(size=(m, k)) + 0.5


def _one_column(rng: Generator) -> tuple:
    return rng.normal(size=4), rng.normal(0, 2, (4, 1))


EXERCISES = [
    Exercise(
        "01.2",
        "First shear, then turn",
        minutes=12,
        difficulty=2,
        reference=shear_then_turn,
        cases=[
            _some_points,
            Case("the unit vectors", np.eye(2), 0.8, 90.0),
            Case("one point", np.array([[2.0, -1.0]]), 1.5, 30.0),
            Case("no shear", np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), 0.0, 60.0),
        ],
        misconceptions=[
            Misconception(
                "turns first and shears afterwards",
                _turn_first,
                why="In shear @ turn the turn stands next to the point, so it acts first. Products of maps are read "
                "from the right.",
                look=ORDER,
            ),
            Misconception(
                "forgets to transpose the matrix for points that stand in rows",
                _no_transpose,
                why="`points @ M` dots each point with the columns of M. M times a point dots it with the rows. For "
                "points in rows that is `points @ M.T`.",
                look=COLUMNS,
            ),
            Misconception(
                "multiplies in reading order, points @ shear @ turn, with no transpose",
                _reading_order,
                why="With points in rows the first map does come first, but each one transposed: "
                "points @ shear.T @ turn.T. `points @ M` alone dots each point with the columns of M.",
                look=COLUMNS,
            ),
            Misconception(
                "multiplies the two matrices number by number",
                _elementwise,
                why="`*` multiplies entries in the same place. One map after another is the matrix product, `@`.",
                look=ORDER,
            ),
            Misconception(
                "takes the degrees for radians",
                _radians_taken,
                why="np.cos and np.sin expect radians. np.radians(degrees) converts.",
                look=COLUMNS,
            ),
            Misconception(
                "turns clockwise",
                _clockwise,
                why="Anticlockwise, (1, 0) goes to (cos, sin): that is the first column. The minus stands above, in "
                "the second column.",
                look=COLUMNS,
            ),
            Misconception(
                "shears up instead of sideways",
                _wrong_shear,
                why="(0, 1) must go to (k, 1). Where a unit vector lands is a column, so k stands at the top right.",
                look=COLUMNS,
            ),
            Misconception(
                "turns but does not shear",
                _only_turned,
                why="Both maps must act: rotation @ shear.",
                look=ORDER,
            ),
            Misconception(
                "treats the points as columns",
                _columns_of_points,
                why="The points stand in the rows of an (n, 2) array, so the (2, 2) matrix cannot stand on its left. "
                "`points @ M.T` moves all of them.",
                look=COLUMNS,
            ),
        ],
        hints=(
            "Where does (0, 1) land after the shear? And (1, 0)? Those are the columns of one of your two matrices.",
            "Build the (2, 2) matrices shear and turn, and their product. Which of the two stands next to the point?",
            "points @ (turn @ shear).T, with shear = [[1, k], [0, 1]] and turn = [[cos, -sin], [sin, cos]].",
        ),
        alternatives=[_one_by_one],
    ),
    Exercise(
        "01.3",
        "The nearest point within reach",
        minutes=12,
        difficulty=2,
        reference=project,
        cases=[
            _tall_matrix,
            _one_column,
            Case("perpendicular columns", np.array([1.0, 2.0, 3.0]), np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]])),
            Case("b is within reach", np.array([3.0, 3.0, 6.0]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])),
        ],
        misconceptions=[
            Misconception(
                "does not divide by the squared lengths",
                _not_divided,
                why="A Aᵀ b grows when a column grows, but the subspace stays the same, and so must the nearest point. "
                "Solve AᵀA w = Aᵀb; with one column that divides by a · a.",
                look=LINE,
            ),
            Misconception(
                "divides by the lengths where their squares belong",
                _divided_by_length,
                why="The column comes in twice, in a · b and in w a. So divide twice by its length, that is, by a · a.",
                look=LINE,
            ),
            Misconception(
                "projects onto each column alone and adds",
                _each_column_alone,
                why="What two columns have in common is then counted twice. Only for perpendicular columns does it "
                "work. In general the k equations AᵀA w = Aᵀb belong together.",
                look=SUBSPACE,
            ),
            Misconception(
                "returns the recipe w instead of the point",
                _recipe,
                why="w says how much of each column to take, k numbers. The point is the mix: A @ w.",
                look=SUBSPACE,
            ),
            Misconception(
                "returns the residual",
                _residual,
                why="b - p is what is left over. The projection is p.",
                look=LINE,
            ),
            Misconception(
                "uses only the first column",
                _first_column_only,
                why="A has k columns, and every mix of them can be reached.",
                look=SUBSPACE,
            ),
        ],
        hints=(
            "The residual b - A w is perpendicular to every column of A. How is that written with A.T?",
            "Aᵀ(b - A w) = 0 is a system of k equations for w. np.linalg.solve solves it.",
            "w = np.linalg.solve(A.T @ A, A.T @ b), and the nearest point is A @ w.",
        ),
        alternatives=[_project_lstsq, _project_svd],
    ),
]
