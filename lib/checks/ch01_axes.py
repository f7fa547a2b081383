"""Checks of 01_linear_algebra on axes: broadcasting and einsum."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

# 01.6 -----------------------------------------------------------------------------------------------------------------

BROADCAST = "Section 8 of 01_linear_algebra, 'Broadcasting'"
DOT = "Section 1 of 01_linear_algebra, 'The dot product'"


def cosines(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    Y = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    return X @ Y.T


def _cosines_loops(X, Y):
    return np.array([[x @ y / np.sqrt((x @ x) * (y @ y)) for y in Y] for x in X])


def _cosines_afterwards(X, Y):
    return X @ Y.T / np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(Y, axis=1))


def _no_keepdims(X, Y):
    X = X / np.linalg.norm(X, axis=1)
    Y = Y / np.linalg.norm(Y, axis=1)
    return X @ Y.T


def _no_keepdims_afterwards(X, Y):
    return X @ Y.T / (np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1))


def _two_columns(X, Y):
    return X @ Y.T / (np.linalg.norm(X, axis=1, keepdims=True) * np.linalg.norm(Y, axis=1, keepdims=True))


def _columns_scaled(X, Y):
    return X / np.linalg.norm(X, axis=0) @ (Y / np.linalg.norm(Y, axis=0)).T


def _frobenius(X, Y):
    return X @ Y.T / (np.linalg.norm(X) * np.linalg.norm(Y))


def _squared(X, Y):
    return X @ Y.T / np.outer((X**2).sum(axis=1), (Y**2).sum(axis=1))


def _only_X(X, Y):
    return X / np.linalg.norm(X, axis=1, keepdims=True) @ Y.T


def _dot_products(X, Y):
    return X @ Y.T


def _turned(X, Y):
    return cosines(Y, X)


def _rows_paired(X, Y):
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1)
    return (X * Y).sum(axis=1) / lengths


def _sum_of_numbers(X, Y):
    return X / X.sum(axis=1, keepdims=True) @ (Y / Y.sum(axis=1, keepdims=True)).T


def _rows_of_both(rng: Generator) -> tuple:
    n, m, d = rng.choice(np.arange(2, 7), size=3, replace=False)
    return rng.normal(0, 2, (n, d)) + 0.5, rng.normal(0, 3, (m, d)) + 0.5


def _square(rng: Generator) -> tuple:
    d = int(rng.integers(2, 5))
    return rng.normal(0, 2, (d, d)) + 0.5, rng.normal(0, 3, (d, d)) + 0.5


# 01.7 -----------------------------------------------------------------------------------------------------------------

LETTERS = "Section 9 of 01_linear_algebra, 'einsum: give every axis a letter'"


def compare_and_mix(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = np.einsum("btc,bsc->bts", q, k)
    return scores, np.einsum("bts,bsc->btc", scores, v)


def _with_matmul(q, k, v):
    scores = q @ k.swapaxes(1, 2)
    return scores, scores @ v


def _by_example(q, k, v):
    scores = [a @ b.T for a, b in zip(q, k, strict=True)]
    return np.stack(scores), np.stack([s @ c for s, c in zip(scores, v, strict=True)])


def _all_examples(q, k, v):
    scores = np.einsum("btc,asc->bts", q, k)
    return scores, np.einsum("bts,asc->btc", scores, v)


def _mix_all_examples(q, k, v):
    scores = np.einsum("btc,bsc->bts", q, k)
    return scores, np.einsum("bts,asc->btc", scores, v)


def _channels_apart(q, k, v):
    scores = np.einsum("btc,bsd->bts", q, k)
    return scores, np.einsum("bts,bsc->btc", scores, v)


def _positions_turned(q, k, v):
    scores = np.einsum("btc,bsc->bst", q, k)
    return scores, np.einsum("bst,bsc->btc", scores, v)


def _mixes_over_t(q, k, v):
    scores = np.einsum("btc,bsc->bts", q, k)
    return scores, np.einsum("bts,bsc->bsc", scores, v)


def _not_summed(q, k, v):
    scores = np.einsum("btc,bsc->btsc", q, k)
    return scores, np.einsum("btsc,bsc->btc", scores, v)


def _positions_apart(q, k, v):
    scores = np.einsum("btc,bsc->bts", q, k)
    return scores, np.einsum("bts,buc->btc", scores, v)


def _mixes_keys(q, k, v):
    return compare_and_mix(q, k, k)


def _softmax_between(q, k, v):
    scores = np.einsum("btc,bsc->bts", q, k)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return scores, np.einsum("bts,bsc->btc", weights / weights.sum(axis=2, keepdims=True), v)


def _position_paired(q, k, v):
    scores = np.einsum("btc,btc->bt", q, k)
    return scores, np.einsum("bt,btc->btc", scores, v)


def _three(rng: Generator) -> tuple:
    b, t, s, c = 2, *(int(n) for n in rng.choice([3, 4, 5, 6], size=3, replace=False))
    return rng.normal(size=(b, t, c)), rng.normal(size=(b, s, c)), rng.normal(size=(b, s, c))


def _all_sizes_equal(rng: Generator) -> tuple:
    n = int(rng.integers(2, 4))
    return tuple(rng.normal(size=(3, n, n, n)))


EXERCISES = [
    Exercise(
        "01.6",
        "A table of cosines",
        minutes=12,
        difficulty=2,
        reference=cosines,
        cases=[
            _rows_of_both,
            _square,
            Case("one row and three", np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, -4.0]])),
        ],
        misconceptions=[
            Misconception(
                "forgets keepdims, so that broadcasting goes along the wrong axis",
                _no_keepdims,
                why="The lengths have shape (n,), and shapes line up at the right: with the columns. On a square table "
                "that runs and is wrong; on others it is an error. keepdims=True leaves (n, 1), one length beside "
                "each row.",
                look=BROADCAST,
            ),
            Misconception(
                "multiplies the two lists of lengths number by number",
                _no_keepdims_afterwards,
                why="Entry (i, j) needs length i of X times length j of Y. That is a whole table: np.outer, or shapes "
                "(n, 1) and (m,).",
                look=BROADCAST,
            ),
            Misconception(
                "puts the lengths of X and of Y both into columns",
                _two_columns,
                why="(n, 1) with (m, 1) gives a column or an error. The lengths of Y belong to the columns of the "
                "table, so they must lie in a row: shape (m,), or (1, m).",
                look=BROADCAST,
            ),
            Misconception(
                "scales the columns instead of the rows",
                _columns_scaled,
                why="The vectors are rows. axis=1 goes along a row and leaves one length for each.",
                look=BROADCAST,
            ),
            Misconception(
                "divides by the norm of the whole table",
                _frobenius,
                why="np.linalg.norm without an axis gives one number for the whole matrix, the Frobenius norm. Each "
                "row has its own length: axis=1.",
                look="Section 4 of 01_linear_algebra, 'How large is a vector?'",
            ),
            Misconception(
                "divides by the squared lengths",
                _squared,
                why="The sum of squares is the length squared. Take the root.",
                look=DOT,
            ),
            Misconception(
                "scales X but not Y",
                _only_X,
                why="The cosine divides by both lengths.",
                look=DOT,
            ),
            Misconception(
                "returns dot products that are not divided by the lengths",
                _dot_products,
                why="A long row then looks like everybody. Divide by the lengths of both rows.",
                look=DOT,
            ),
            Misconception(
                "has the rows of Y in the rows of the table",
                _turned,
                why="Entry (i, j) belongs to row i of X and row j of Y, so the table has shape (n, m).",
                look="Section 3 of 01_linear_algebra, 'The product, four ways'",
            ),
            Misconception(
                "compares row i only with row i",
                _rows_paired,
                why="Every row of X meets every row of Y. That is what a matrix product with Y.T does.",
                look="Section 3 of 01_linear_algebra, 'The product, four ways'",
            ),
            Misconception(
                "divides each row by its sum",
                _sum_of_numbers,
                why="Then the numbers add up to 1. The length, which must be 1, is the root of the sum of squares.",
                look="Section 4 of 01_linear_algebra, 'How large is a vector?'",
            ),
        ],
        hints=(
            "If all rows had length 1, which matrix product would give all cosines at once?",
            "Divide each row by its length: shape (n, d) by shape (n, 1). Then dot every row of X with every row of Y.",
            "np.linalg.norm(X, axis=1, keepdims=True) is the column of lengths; the table is X @ Y.T of the scaled.",
        ),
        alternatives=[_cosines_loops, _cosines_afterwards],
    ),
    Exercise(
        "01.7",
        "Compare, then mix",
        minutes=12,
        difficulty=2,
        reference=compare_and_mix,
        cases=[
            _three,
            _all_sizes_equal,
            Case("one of each", np.full((1, 1, 2), 2.0), np.full((1, 1, 2), 3.0), np.array([[[1.0, -1.0]]])),
        ],
        misconceptions=[
            Misconception(
                "compares each example with all examples of the batch",
                _all_examples,
                why="A new letter in place of b does not come back on the right, so it is summed over: the examples "
                "leak into each other. The same letter b in both inputs keeps them in step.",
                look=LETTERS,
            ),
            Misconception(
                "mixes the v of all examples",
                _mix_all_examples,
                why="The scores are right. In the second sum v has another letter than b on its batch axis, so all "
                "examples are added up.",
                look=LETTERS,
            ),
            Misconception(
                "gives the channels of q and k two letters, so each is summed by itself",
                _channels_apart,
                why="That multiplies the sum of one by the sum of the other. A dot product walks along both in step: "
                "the same letter c.",
                look=LETTERS,
            ),
            Misconception(
                "has s before t in the scores",
                _positions_turned,
                why="The result is B T S: one row for each position t that asks. The order of the letters after the "
                "arrow is the order of the axes.",
                look=LETTERS,
            ),
            Misconception(
                "sums over t, which should stay, and keeps s",
                _mixes_over_t,
                why="Each asking position t gets a mix over all s. So s is summed and t stays: the result is B T C.",
                look=LETTERS,
            ),
            Misconception(
                "leaves c in the scores, so nothing is summed",
                _not_summed,
                why="A letter after the arrow stays. Without c on the right the products are added up to dot products.",
                look=LETTERS,
            ),
            Misconception(
                "gives v another letter than the s of the scores",
                _positions_apart,
                why="Then the scores of a position are added up first, and so are the v, and nothing belongs to "
                "anything. The same letter s makes score s meet v number s.",
                look=LETTERS,
            ),
            Misconception(
                "turns the scores into weights that add up to 1",
                _softmax_between,
                why="That is attention, and it comes in chapter 32. Here the scores are used as they are.",
                look="The text of the exercise",
            ),
            Misconception(
                "mixes k instead of v",
                _mixes_keys,
                why="k is for comparing, v is what gets mixed.",
                look=LETTERS,
            ),
            Misconception(
                "compares position t only with position t",
                _position_paired,
                why="The positions of q and k need two letters, t and s, so that every one meets every other.",
                look=LETTERS,
            ),
        ],
        hints=(
            "In letters, q is btc, k is bsc, and the scores are bts. Which letter is missing at the end?",
            "For the mix: scores bts and v bsc give btc. Which letter is summed now?",
            'np.einsum("btc,bsc->bts", q, k) for the scores. The second call has the same form.',
        ),
        alternatives=[_with_matmul, _by_example],
    ),
]
