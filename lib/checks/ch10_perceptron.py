"""Checks of chapter 10, the perceptron: what it answers and how it learns. `ch10_beyond` has the rest."""

from __future__ import annotations

import numpy as np

from lib.checks import Case, Exercise, Misconception

XOR_INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)


def labels(rng, n):
    """n labels, -1 and +1 in random order, both present."""
    y = rng.permutation(np.where(np.arange(n) % 2 == 0, 1, -1))
    return y


# 10.1 -------------------------------------------------------------------------------------------


def _predict(w, b, X):
    return np.where(X @ w + b >= 0, 1, -1)


def _predict_case(rng):
    n, d = int(rng.integers(3, 9)), int(rng.integers(2, 6))
    w = rng.normal(size=d)
    return w, float(rng.choice([-1, 1]) * (1 + np.abs(w).sum())), rng.normal(size=(n, d))


PREDICT = Exercise(
    "10.1",
    "The answer of a perceptron",
    minutes=5,
    difficulty=1,
    reference=_predict,
    cases=[
        _predict_case,
        Case("a score of exactly zero", np.array([1.0, -1.0]), 0.0, np.array([[2.0, 2.0], [3.0, 1.0], [0.0, 1.0]])),
        Case("one example", np.array([1.0, 2.0, 3.0]), -20.0, np.array([[1.0, 2.0, 3.0]])),
    ],
    misconceptions=[
        Misconception(
            "answers with 0 and 1",
            lambda w, b, X: np.where(X @ w + b >= 0, 1, 0),
            why=(
                "This course's perceptron answers -1 or +1. With 0 for no, the rule of the next exercise could "
                "not learn from a negative example."
            ),
            look="section 1 of 10_perceptron, and section 4 for what goes wrong",
        ),
        Misconception(
            "leaves out the bias",
            lambda w, b, X: np.where(X @ w >= 0, 1, -1),
            why="Without b the decision line is nailed to the origin.",
            look="section 4 of 10_perceptron, 'No bias'",
        ),
        Misconception(
            "answers 0 when the score is exactly zero",
            lambda w, b, X: np.sign(X @ w + b).astype(int),
            why="np.sign(0) is 0, and 0 is not an answer. The formula says +1 when the score is zero or more.",
            look="the formula in section 1 of 10_perceptron",
        ),
        Misconception(
            "treats a score of zero as no",
            lambda w, b, X: np.where(X @ w + b > 0, 1, -1),
            why="The formula says +1 for s >= 0, so zero belongs to yes.",
            look="the formula in section 1 of 10_perceptron",
        ),
        Misconception(
            "returns the score instead of the answer",
            lambda w, b, X: X @ w + b,
            why="The score is what the answer is made from; the answer is its sign, +1 or -1.",
            look="the formula in section 1 of 10_perceptron",
        ),
    ],
    hints=(
        "How many numbers must come out for an X with n rows?",
        "Compute all n scores at once with X @ w + b, then decide about each of them.",
        "np.where(condition, 1, -1) picks 1 where the condition holds and -1 elsewhere. Which condition?",
    ),
    alternatives=[lambda w, b, X: np.array([1 if sum(w * x) + b >= 0 else -1 for x in X])],
    names=("w", "b", "X"),
)


# 10.2 -------------------------------------------------------------------------------------------


def _update(w, b, x, y):
    if y * (w @ x + b) <= 0:
        return w + y * x, b + y
    return w, b


def _update_case(rng):
    d = int(rng.integers(2, 6))
    w, x = rng.normal(size=d), rng.normal(size=d)
    return w, float(rng.normal()), x, int(rng.choice([-1, 1]))


def _update_01(w, b, x, y):
    y = (y + 1) // 2
    return _update(w, b, x, y)


UPDATE = Exercise(
    "10.2",
    "One learning step",
    minutes=8,
    difficulty=1,
    reference=_update,
    cases=[
        _update_case,
        Case("a wrong negative example", np.array([1.0, 1.0]), 0.5, np.array([2.0, 3.0]), -1),
        Case("a wrong positive example", np.array([-1.0, 1.0]), -0.5, np.array([2.0, 1.0]), 1),
        Case("a right negative example", np.array([-1.0, -1.0]), 0.5, np.array([2.0, 3.0]), -1),
        Case("the very first step, all zero", np.zeros(3), 0.0, np.array([1.0, 2.0, 3.0]), 1),
        Case("on the line", np.array([1.0, -1.0]), 0.0, np.array([2.0, 2.0]), -1),
        Case("right only because of the bias", np.array([-1.0, 0.0]), 3.0, np.array([2.0, 1.0]), 1),
    ],
    misconceptions=[
        Misconception(
            "uses labels 0 and 1 in the rule",
            _update_01,
            why=(
                "With y = 0 the step y * x is zero, so nothing is learned from negative examples. The rule "
                "needs -1 and +1."
            ),
            look="section 4 of 10_perceptron, 'Labels 0 and 1'",
        ),
        Misconception(
            "forgets to update the bias",
            lambda w, b, x, y: (_update(w, b, x, y)[0], b),
            why="The bias is a weight too, for an input that is always 1. On a mistake it changes by y.",
            look="the rule in section 3 of 10_perceptron",
        ),
        Misconception(
            "changes the weights even when the answer was right",
            lambda w, b, x, y: (w + y * x, b + y),
            why=(
                "The perceptron learns from mistakes only. If it also moved after right answers, it would never"
                " come to rest."
            ),
            look="the rule in section 3 of 10_perceptron",
        ),
        Misconception(
            "does not count a score of zero as a mistake",
            lambda w, b, x, y: (w + y * x, b + y) if y * (w @ x + b) < 0 else (w, b),
            why=(
                "Training starts with w = 0 and b = 0, where every score is zero. If zero is no mistake, it "
                "never starts."
            ),
            look="the rule in section 3 of 10_perceptron: y s <= 0",
        ),
        Misconception(
            "steps in the wrong direction",
            lambda w, b, x, y: (w - y * x, b - y) if y * (w @ x + b) <= 0 else (w, b),
            why="After the step y * score must be larger than before. Yours makes it smaller.",
            look="section 3 of 10_perceptron, 'Why does this help?'",
        ),
        Misconception(
            "adds the example whatever its label",
            lambda w, b, x, y: (w + x, b + 1) if y * (w @ x + b) <= 0 else (w, b),
            why="A wrong negative example has to be subtracted. Multiplying by y does both cases at once.",
            look="the rule in section 3 of 10_perceptron",
        ),
        Misconception(
            "leaves the bias out of the score",
            lambda w, b, x, y: (w + y * x, b + y) if y * (w @ x) <= 0 else (w, b),
            why="Whether the answer is wrong depends on w.x + b, the bias included.",
            look="the formula in section 1 of 10_perceptron",
        ),
    ],
    hints=(
        "First find out whether the perceptron is wrong about x. Which product tells you?",
        "It is wrong when y * (w @ x + b) <= 0. Otherwise return w and b as they came.",
        "On a mistake return w + y * x and b + y. (w += ... would change the caller's array; make a new one.)",
    ),
    alternatives=[lambda w, b, x, y: (w + (m := float(y * (w @ x + b) <= 0)) * y * x, b + m * y)],
    names=("w", "b", "x", "y"),
)


# 10.3 -------------------------------------------------------------------------------------------


def _train(X, y, max_epochs):
    w, b, mistakes = np.zeros(X.shape[1]), 0.0, 0
    for _ in range(max_epochs):
        wrong = 0
        for xi, yi in zip(X, y, strict=True):
            if yi * (w @ xi + b) <= 0:
                w, b, wrong = w + yi * xi, b + yi, wrong + 1
        mistakes += wrong
        if wrong == 0:
            break
    return w, b, mistakes


def _train_case(rng):
    n, d = int(rng.integers(8, 20)), int(rng.integers(2, 5))
    y = labels(rng, n)
    centre = rng.normal(size=d) * 2
    return rng.normal(size=(n, d)) + np.outer(y, np.ones(d)) + centre, y, int(rng.integers(2, 30))


def _train_no_bias(X, y, max_epochs):
    w, mistakes = np.zeros(X.shape[1]), 0
    for _ in range(max_epochs):
        before = mistakes
        for xi, yi in zip(X, y, strict=True):
            if yi * (w @ xi) <= 0:
                w, mistakes = w + yi * xi, mistakes + 1
        if mistakes == before:
            break
    return w, 0.0, mistakes


def _train_batch(X, y, max_epochs):
    w, b, mistakes = np.zeros(X.shape[1]), 0.0, 0
    for _ in range(max_epochs):
        wrong = y * (X @ w + b) <= 0
        if not wrong.any():
            break
        w, b, mistakes = w + y[wrong] @ X[wrong], b + float(y[wrong].sum()), mistakes + int(wrong.sum())
    return w, b, mistakes


def _train_stops_early(X, y, max_epochs):
    w, b, mistakes = np.zeros(X.shape[1]), 0.0, 0
    for _ in range(max_epochs):
        for xi, yi in zip(X, y, strict=True):
            if yi * (w @ xi + b) <= 0:
                w, b, mistakes = w + yi * xi, b + yi, mistakes + 1
            elif mistakes:
                return w, b, mistakes
    return w, b, mistakes


def _train_last_epoch(X, y, max_epochs):
    w, b, wrong = np.zeros(X.shape[1]), 0.0, 0
    for _ in range(max_epochs):
        wrong = 0
        for xi, yi in zip(X, y, strict=True):
            if yi * (w @ xi + b) <= 0:
                w, b, wrong = w + yi * xi, b + yi, wrong + 1
        if wrong == 0:
            break
    return w, b, wrong


TRAIN = Exercise(
    "10.3",
    "Training until nothing is wrong",
    minutes=10,
    difficulty=2,
    reference=_train,
    cases=[
        _train_case,
        Case(
            "separable, away from the origin",
            np.array([[5.0, 1], [6, 0], [4, 0], [3, 1], [6, 2]]),
            np.array([1, 1, -1, -1, 1]),
            1000,
        ),
        Case("XOR, which never ends", XOR_INPUTS, np.array([-1, 1, 1, -1]), 7),
        Case("right after one epoch", np.array([[1.0, 0], [-1, 0], [2, 0], [-3, 1]]), np.array([1, -1, 1, -1]), 50),
        Case("no epochs at all", np.array([[1.0, 0], [-1, 0]]), np.array([1, -1]), 0),
    ],
    misconceptions=[
        Misconception(
            "trains without a bias",
            _train_no_bias,
            why=(
                "The line then always passes through the origin. The bias must change by y at every mistake, as"
                " the weights change by y x."
            ),
            look="section 4 of 10_perceptron, 'No bias'",
        ),
        Misconception(
            "collects all mistakes of an epoch before it changes the weights",
            _train_batch,
            why="The perceptron changes its weights at once, so that the next example already meets the new ones.",
            look="the code of `train` in section 3 of 10_perceptron",
        ),
        Misconception(
            "stops at the first right answer",
            _train_stops_early,
            why=(
                "One right answer says nothing about the other examples. Only an epoch with no mistake ends the"
                " training."
            ),
            look="section 3 of 10_perceptron, 'An epoch'",
        ),
        Misconception(
            "counts only the mistakes of the last epoch",
            _train_last_epoch,
            why="The theorem bounds the mistakes of the whole training. Keep one count that is never set back.",
            look="section 5 of 10_perceptron",
        ),
    ],
    hints=(
        "Two loops: epochs outside, examples inside. What has to be remembered from one to the next?",
        "Count the mistakes of this epoch apart from the total. After the inner loop, decide whether to go on.",
        "If this epoch's count is 0, break. The total is the sum of all epochs' counts.",
    ),
    names=("X", "y", "max_epochs"),
)

EXERCISES = [PREDICT, UPDATE, TRAIN]
