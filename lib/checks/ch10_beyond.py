"""Checks of chapter 10, beyond one perceptron: the margin, XOR, and averaging."""

from __future__ import annotations

import numpy as np

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch10_perceptron import XOR_INPUTS, labels

# 10.4 -------------------------------------------------------------------------------------------


def _margin(w, b, X, y):
    return float((y * (X @ w + b)).min() / np.linalg.norm(w))


def _margin_case(rng):
    n, d = int(rng.integers(3, 9)), int(rng.integers(2, 6))
    return rng.normal(size=d) * rng.uniform(0.3, 4), float(rng.normal()), rng.normal(size=(n, d)), labels(rng, n)


MARGIN = Exercise(
    "10.4",
    "The margin",
    minutes=8,
    difficulty=2,
    reference=_margin,
    cases=[
        _margin_case,
        Case(
            "all right",
            np.array([3.0, 4.0]),
            -5.0,
            np.array([[3.0, 4.0], [0.0, 0.0], [2.0, 1.0], [0.0, 0.5]]),
            np.array([1, -1, 1, -1]),
        ),
        Case(
            "one on the wrong side",
            np.array([0.0, 2.0]),
            0.0,
            np.array([[0.0, 1.0], [1.0, -3.0], [2.0, 0.5]]),
            np.array([1, -1, -1]),
        ),
    ],
    misconceptions=[
        Misconception(
            "does not divide by the length of w",
            lambda w, b, X, y: float((y * (X @ w + b)).min()),
            why=(
                "Doubling w and b would double your margin, though the line has not moved. A distance divides "
                "by the length of w."
            ),
            look="section 2 of 10_perceptron, the third fact",
        ),
        Misconception(
            "forgets the labels",
            lambda w, b, X, y: float(np.abs(X @ w + b).min() / np.linalg.norm(w)),
            why=(
                "An example on the wrong side must give a negative margin. The absolute value hides it; "
                "multiplying by y shows it."
            ),
            look="section 5 of 10_perceptron, the definition of the margin",
        ),
        Misconception(
            "takes the mean over the examples",
            lambda w, b, X, y: float((y * (X @ w + b)).mean() / np.linalg.norm(w)),
            why="The margin is set by the one example that comes closest, so it is the smallest value.",
            look="section 5 of 10_perceptron, the definition of the margin",
        ),
        Misconception(
            "divides by the squared length of w",
            lambda w, b, X, y: float((y * (X @ w + b)).min() / (w @ w)),
            why="w @ w is the squared length. The length is its square root, np.linalg.norm(w).",
            look="section 2 of 10_perceptron, the third fact",
        ),
        Misconception(
            "leaves out the bias",
            lambda w, b, X, y: float((y * (X @ w)).min() / np.linalg.norm(w)),
            why="The line is where w.x + b = 0; without b you measure the distance to another line.",
            look="section 2 of 10_perceptron",
        ),
    ],
    hints=(
        "The distance of a point to the line has no sign. The margin has one. Where does it come from?",
        "y times the score is positive for a right answer. Divide by the length of w to get a distance.",
        "Take the smallest of the n values y * (X @ w + b) and divide by np.linalg.norm(w).",
    ),
    alternatives=[
        lambda w, b, X, y: min(yi * (xi @ w + b) for xi, yi in zip(X, y, strict=True)) / np.sqrt((w * w).sum())
    ],
    names=("w", "b", "X", "y"),
)


# 10.5 -------------------------------------------------------------------------------------------


def _two_layers(weights, X):
    """Run the learner's network of three perceptrons on X (n, 2): what exercise 10.5 says it does."""
    W, b, v, c = weights()
    hidden = np.where(X @ np.asarray(W, float).T + np.asarray(b, float) >= 0, 1, -1)
    return np.where(hidden @ np.asarray(v, float) + float(c) >= 0, 1, -1)


XOR = Exercise(
    "10.5",
    "XOR from three perceptrons",
    minutes=12,
    difficulty=3,
    reference=lambda: (np.array([[1, 1], [-1, -1]]), np.array([-0.5, 1.5]), np.array([1, 1]), -1.0),
    use=_two_layers,
    cases=[Case("the four inputs", XOR_INPUTS), Case("in another order", XOR_INPUTS[[3, 1, 0]])],
    misconceptions=[
        Misconception(
            "answers OR, as if the second hidden perceptron had no say",
            lambda: (np.array([[1, 1], [-1, -1]]), np.array([-0.5, 1.5]), np.array([1, 0]), 0.0),
            why="OR and XOR differ at (1, 1) only. The second hidden perceptron must be able to veto there.",
            look="section 6 of 10_perceptron, 'OR, but not AND'",
        ),
        Misconception(
            "answers the opposite of XOR",
            lambda: (np.array([[1, 1], [-1, -1]]), np.array([-0.5, 1.5]), np.array([-1, -1]), 1.0),
            why="Your network says +1 for (0, 0) and (1, 1). Flip the sign of the output's weights and bias.",
            look="the table in section 6 of 10_perceptron",
        ),
        Misconception(
            "always answers +1, as if the output computed OR where AND is needed",
            lambda: (np.array([[1, 1], [-1, -1]]), np.array([-0.5, 1.5]), np.array([1, 1]), 1.0),
            why=(
                "Every input satisfies 'at least one is 1' or 'not both are 1', so the answer is always +1. XOR"
                " needs both to hold."
            ),
            look="section 6 of 10_perceptron, 'OR, but not AND'",
        ),
        Misconception(
            "answers AND",
            lambda: (np.array([[1, 1], [1, 1]]), np.array([-1.5, -1.5]), np.array([1, 1]), -1.0),
            why="Both hidden perceptrons fire at (1, 1) only. One of them should be OR, the other 'not both'.",
            look="section 6 of 10_perceptron, 'OR, but not AND'",
        ),
        Misconception(
            "always answers -1, because the output's bias is too low",
            lambda: (np.array([[1, 1], [-1, -1]]), np.array([-0.5, 1.5]), np.array([1, 1]), -2.5),
            why=(
                "The hidden answers are -1 and +1, so their sum is -2, 0 or 2. An output bias below -2 makes "
                "every answer -1."
            ),
            look="section 1 of 10_perceptron: the answer is -1 or +1",
        ),
    ],
    hints=(
        "Which two lines would you draw among the four points, so that XOR is the strip between them?",
        (
            "First hidden perceptron: OR of the inputs. Second: 'not both'. The output is +1 when both hidden "
            "answers are +1."
        ),
        (
            "OR: weights (1, 1), bias -0.5. Not both: weights (-1, -1), bias 1.5. Output: weights (1, 1) and a "
            "bias between -2 and 0."
        ),
    ),
    alternatives=[
        lambda: ([[1, -1], [-1, 1]], [-0.5, -0.5], [1, 1], 1.0),
        lambda: (np.array([[2, 2], [1, 1]]), np.array([-1.0, -1.5]), np.array([1, -1]), -1.0),
    ],
    names=("X",),
)


# 10.6 -------------------------------------------------------------------------------------------


def _averaged(X, y, epochs):
    w, b = np.zeros(X.shape[1]), 0.0
    w_sum, b_sum = np.zeros(X.shape[1]), 0.0
    for _ in range(epochs):
        for xi, yi in zip(X, y, strict=True):
            if yi * (w @ xi + b) <= 0:
                w, b = w + yi * xi, b + yi
            w_sum, b_sum = w_sum + w, b_sum + b
    return w_sum / (epochs * len(X)), b_sum / (epochs * len(X))


def _averaged_case(rng):
    n, d = int(rng.integers(6, 15)), int(rng.integers(2, 5))
    return rng.normal(size=(n, d)) + 0.5, labels(rng, n), int(rng.integers(2, 6))


def _steps(X, y, epochs):
    """The (w, b) after each example, and whether it was a mistake."""
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(epochs):
        for xi, yi in zip(X, y, strict=True):
            mistake = yi * (w @ xi + b) <= 0
            if mistake:
                w, b = w + yi * xi, b + yi
            yield w, b, mistake


def _averaged_mistakes(X, y, epochs):
    kept = [(w, b) for w, b, mistake in _steps(X, y, epochs) if mistake]
    return np.mean([w for w, _ in kept], axis=0), float(np.mean([b for _, b in kept]))


def _averaged_epochs(X, y, epochs):
    kept = [(w, b) for w, b, _ in _steps(X, y, epochs)][len(X) - 1 :: len(X)]
    return np.mean([w for w, _ in kept], axis=0), float(np.mean([b for _, b in kept]))


def _averaged_feedback(X, y, epochs):
    w, b = np.zeros(X.shape[1]), 0.0
    w_avg, b_avg, k = np.zeros(X.shape[1]), 0.0, 0
    for _ in range(epochs):
        for xi, yi in zip(X, y, strict=True):
            if yi * (w_avg @ xi + b_avg) <= 0:
                w, b = w + yi * xi, b + yi
            k += 1
            w_avg, b_avg = w_avg + (w - w_avg) / k, b_avg + (b - b_avg) / k
    return w_avg, b_avg


AVERAGED = Exercise(
    "10.6",
    "The averaged perceptron",
    minutes=12,
    difficulty=2,
    reference=_averaged,
    cases=[
        _averaged_case,
        Case("XOR", XOR_INPUTS, np.array([-1, 1, 1, -1]), 5),
        Case("separable, learned early", np.array([[2.0, 1], [-1, -2], [1, 2], [-2, -1]]), np.array([1, -1, 1, -1]), 4),
    ],
    misconceptions=[
        Misconception(
            "averages only the weights after mistakes",
            _averaged_mistakes,
            why=(
                "Weights that survive many examples are good weights, and deserve to count many times. Add them"
                " up after every example, right or wrong."
            ),
            look="the code of `train_averaged` in section 7 of 10_perceptron",
        ),
        Misconception(
            "averages once an epoch",
            _averaged_epochs,
            why="The weights at the end of an epoch depend on which example came last. Add up after every example.",
            look="the code of `train_averaged` in section 7 of 10_perceptron",
        ),
        Misconception(
            "returns the last weights, not their average",
            lambda X, y, epochs: list(_steps(X, y, epochs))[-1][:2],
            why="The last weights are the noisy ones.",
            look="section 7 of 10_perceptron, the two pictures of weights",
        ),
        Misconception(
            "decides about mistakes with the averaged weights",
            _averaged_feedback,
            why=(
                "The average is only written down. Learning goes on with the current weights, as in the plain "
                "perceptron."
            ),
            look="the code of `train_averaged` in section 7 of 10_perceptron",
        ),
        Misconception(
            "divides by the number of epochs instead of the number of steps",
            lambda X, y, epochs: tuple(s * len(X) for s in _averaged(X, y, epochs)),
            why="One term is added for each example of each epoch: epochs * len(X) terms in all.",
            look="the code of `train_averaged` in section 7 of 10_perceptron",
        ),
    ],
    hints=(
        "Train as before. Which two sums do you have to carry along, and when do you add to them?",
        "After every example, whether it was a mistake or not, add w to w_sum and b to b_sum.",
        "At the end divide both sums by epochs * len(X).",
    ),
    alternatives=[
        lambda X, y, epochs: (
            np.mean([w for w, _, _ in _steps(X, y, epochs)], axis=0),
            float(np.mean([b for _, b, _ in _steps(X, y, epochs)])),
        )
    ],
    names=("X", "y", "epochs"),
)

EXERCISES = [MARGIN, XOR, AVERAGED]
