"""Checks of 13_mlp_mnist on what measures a network: softmax, cross-entropy, an accuracy and its error."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

# 13.2 -----------------------------------------------------------------------------------------------------------------


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _softmax_log_sum_exp(z):
    return np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None])


def _softmax_transposed(z):
    e = np.exp(z.T - z.max(1))
    return (e / e.sum(0)).T


def _softmax_columns(z):
    e = np.exp(z - z.max(0))
    return e / e.sum(0)


def _softmax_overflows(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def _softmax_no_keepdims(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1)


def _softmax_one_maximum(z):
    e = np.exp(z - z.max())
    return e / e.sum(1, keepdims=True)


def _softmax_one_sum(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def _softmax_no_exp(z):
    return z / z.sum(1, keepdims=True)


def _logits(rng: Generator) -> tuple:
    return (rng.normal(0, 3, (rng.integers(2, 5), rng.integers(5, 9))),)


def _square_logits(rng: Generator) -> tuple:
    return (rng.normal(0, 3, (4, 4)),)


# 13.3 -----------------------------------------------------------------------------------------------------------------


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean()


def _cross_entropy_one_hot(logits, y):
    one_hot = np.eye(logits.shape[1])[y]
    return float(np.mean(np.logaddexp.reduce(logits, axis=1) - (one_hot * logits).sum(1)))


def _cross_entropy_loop(logits, y):
    return sum(np.logaddexp.reduce(row) - row[k] for row, k in zip(logits, y, strict=True)) / len(y)


def _cross_entropy_after_softmax(logits, y):
    return cross_entropy(softmax(logits), y)


def _cross_entropy_sum(logits, y):
    return cross_entropy(logits, y) * len(y)


def _log_p(logits):
    return logits - np.logaddexp.reduce(logits, axis=1)[:, None]


def _cross_entropy_all_labels(logits, y):
    return -_log_p(logits)[:, y].mean()


def _cross_entropy_bits(logits, y):
    return cross_entropy(logits, y) / np.log(2)


def _cross_entropy_of_guess(logits, y):
    return cross_entropy(logits, logits.argmax(1))


def _cross_entropy_overflows(logits, y):
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def _cross_entropy_no_softmax(logits, y):
    return -np.log(logits[np.arange(len(y)), y]).mean()


def _cross_entropy_of_table(logits, y):
    return cross_entropy(logits, y) / logits.shape[1]


def _cross_entropy_no_minus(logits, y):
    return -cross_entropy(logits, y)


def _labelled_logits(rng: Generator) -> tuple:
    n, k = rng.integers(3, 7), rng.integers(3, 8)
    return rng.normal(0, 2, (n, k)), rng.integers(0, k, n)


# 13.7 -----------------------------------------------------------------------------------------------------------------


def accuracy_with_error(guess: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    p = np.mean(guess == y)
    return float(p), float(np.sqrt(p * (1 - p) / len(y)))


def _error_from_std(guess, y):
    right = (guess == y).astype(float)
    return right.mean(), right.std() / len(right) ** 0.5


def _error_without_n(guess, y):
    p, error = accuracy_with_error(guess, y)
    return p, error * len(y) ** 0.5


def _error_variance(guess, y):
    p, error = accuracy_with_error(guess, y)
    return p, error**2


def _error_n_outside(guess, y):
    p, error = accuracy_with_error(guess, y)
    return p, error / len(y) ** 0.5


def _error_percent(guess, y):
    p, error = accuracy_with_error(guess, y)
    return 100 * p, 100 * error


def _error_two_sided(guess, y):
    p, error = accuracy_with_error(guess, y)
    return p, 1.96 * error


def _error_of_wrong(guess, y):
    p, error = accuracy_with_error(guess, y)
    return 1 - p, error


def _answers(rng: Generator) -> tuple:
    n = int(rng.integers(20, 200))
    y = rng.integers(0, 10, n)
    return np.where(rng.random(n) < 0.8, y, (y + 1) % 10), y


EXERCISES = [
    Exercise(
        "13.2",
        "Softmax that cannot overflow",
        minutes=12,
        difficulty=2,
        reference=softmax,
        cases=[
            _logits,
            _square_logits,
            Case("large logits", np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1001.0, -999.0]])),
            Case("logits far apart in one row", np.array([[-900.0, 0.0, 900.0]])),
            Case("one row far below the other", np.array([[0.0, 2.0], [900.0, 901.0]])),
            Case("one row", np.array([[0.5, -1.0, 2.0, 0.0]])),
            Case("all equal", np.zeros((2, 5))),
        ],
        misconceptions=[
            Misconception(
                "normalises over the wrong axis",
                _softmax_columns,
                why="Rows are examples and columns are classes. Each row must sum to 1; here each column does.",
                look="Section 4 of 13_mlp_mnist, 'From scores to probabilities'",
            ),
            Misconception(
                "overflows on large logits",
                _softmax_overflows,
                why="exp(1000) is infinity in floating point, and infinity divided by infinity is NaN. Subtract the "
                "row's maximum first: it cancels in the fraction, and the largest exponent becomes 0.",
                look="Section 4 of 13_mlp_mnist, 'The same number, computed safely'",
            ),
            Misconception(
                "sums without keepdims, so row i is divided by other rows' sums",
                _softmax_no_keepdims,
                why="The sums have shape (n,), and broadcasting lines them up with the columns. Where n is the number "
                "of classes this even runs. `keepdims=True` leaves the shape (n, 1), one sum beside each row.",
                look="Section 4 of 13_mlp_mnist, 'From scores to probabilities'",
            ),
            Misconception(
                "subtracts one maximum for the whole batch",
                _softmax_one_maximum,
                why="A row far below the batch's maximum becomes all zeros after exp, and 0/0 is NaN. Each row needs "
                "its own maximum.",
                look="Section 4 of 13_mlp_mnist, 'The same number, computed safely'",
            ),
            Misconception(
                "divides by the sum over the whole batch",
                _softmax_one_sum,
                why="All numbers together sum to 1; each row must sum to 1. Sum over axis 1.",
                look="Section 4 of 13_mlp_mnist, 'From scores to probabilities'",
            ),
            Misconception(
                "divides the logits by their sum without exp",
                _softmax_no_exp,
                why="Logits may be negative and may sum to 0; exp makes each of them positive before they are divided.",
                look="Section 4 of 13_mlp_mnist, 'From scores to probabilities'",
            ),
        ],
        hints=(
            "What is exp(1000) in Python? What happens to softmax if the same number is taken away from a whole row?",
            "Subtract each row's maximum, take exp, divide by each row's sum.",
            "Both `max` and `sum` want `axis=1, keepdims=True`.",
        ),
        alternatives=[_softmax_log_sum_exp, _softmax_transposed],
        names=("z",),
    ),
    Exercise(
        "13.3",
        "Cross-entropy from logits",
        minutes=15,
        difficulty=2,
        reference=cross_entropy,
        cases=[
            _labelled_logits,
            Case("all logits zero: log of the number of classes", np.zeros((4, 10)), np.array([3, 0, 9, 9])),
            Case("large logits", np.array([[1000.0, 0.0, -1000.0], [0.0, -800.0, 0.0]]), np.array([1, 1])),
            Case(
                "as many examples as classes",
                np.array([[2.0, 0.0, 1.0], [0.5, 3.0, 1.0], [1.0, 1.5, 0.0]]),
                np.array([0, 1, 1]),
            ),
            Case("one example", np.array([[1.0, 2.0]]), np.array([1])),
        ],
        misconceptions=[
            Misconception(
                "puts the logits through softmax before a loss that does so itself",
                _cross_entropy_after_softmax,
                why="The probabilities are then taken for logits. They lie between 0 and 1, so even a perfect answer "
                "gets a second softmax that is nearly flat: with ten classes the loss cannot fall below 1.46.",
                look="Section 4 of 13_mlp_mnist, 'One softmax too many'",
            ),
            Misconception(
                "sums over the batch instead of averaging",
                _cross_entropy_sum,
                why="The loss, and with it every gradient, then grows with the batch: a learning rate that suits "
                "batches of 32 is far too large for batches of 256.",
                look="Section 4 of 13_mlp_mnist, 'The loss of a guess'",
            ),
            Misconception(
                "picks every label's column for every row",
                _cross_entropy_all_labels,
                why="`log_p[:, y]` is an (n, n) table: each row at all labels. You want row i at label y[i], which is "
                "`log_p[np.arange(n), y]`.",
                look="Section 4 of 13_mlp_mnist, 'The loss of a guess'",
            ),
            Misconception(
                "takes a base-2 logarithm",
                _cross_entropy_bits,
                why="The loss is then in bits. It is the natural logarithm whose derivative makes the gradient p - y, "
                "and an untrained network of ten classes starts at ln 10 = 2.303, not at 3.322.",
                look="Section 4 of 13_mlp_mnist, 'What an untrained network should lose'",
            ),
            Misconception(
                "scores the network's own guess instead of the label",
                _cross_entropy_of_guess,
                why="The largest probability says how sure the network is, not whether it is right. Look up the "
                "label's.",
                look="Section 4 of 13_mlp_mnist, 'The loss of a guess'",
            ),
            Misconception(
                "takes the log of a probability that overflowed or became 0",
                _cross_entropy_overflows,
                why="exp of a large logit is infinity, exp of a very negative one is 0, and the loss becomes NaN or "
                "infinity. Stay in logarithms: log p = z - max - log(sum(exp(z - max))).",
                look="Section 4 of 13_mlp_mnist, 'The same number, computed safely'",
            ),
            Misconception(
                "takes the log of the logits",
                _cross_entropy_no_softmax,
                why="Logits are scores, not probabilities: they may be negative, and their log is then NaN. Softmax "
                "comes in between.",
                look="Section 4 of 13_mlp_mnist, 'From scores to probabilities'",
            ),
            Misconception(
                "averages over the classes as well",
                _cross_entropy_of_table,
                why="A one-hot table times log p has n numbers that count and many zeros. The mean over the whole "
                "table divides by n times the number of classes; divide by n alone.",
                look="Section 4 of 13_mlp_mnist, 'The loss of a guess'",
            ),
            Misconception(
                "leaves out the minus sign",
                _cross_entropy_no_minus,
                why="log p is negative, so the loss must be -log p. Going downhill on log p would make the right "
                "answer ever less likely.",
                look="Section 4 of 13_mlp_mnist, 'The loss of a guess'",
            ),
        ],
        hints=(
            "Write log p of one row on paper: the log of a fraction is a difference. Which exp can overflow?",
            "log p = (z - max) - log(sum(exp(z - max))), row by row. Then look up each row's own label.",
            "`log_p[np.arange(len(y)), y]` is the log-probability of each label; return minus its mean.",
        ),
        alternatives=[_cross_entropy_one_hot, _cross_entropy_loop],
        names=("logits", "y"),
    ),
    Exercise(
        "13.7",
        "How sure is an accuracy?",
        minutes=8,
        difficulty=1,
        reference=accuracy_with_error,
        cases=[
            _answers,
            Case("all right", np.array([1, 2, 3]), np.array([1, 2, 3])),
            Case("three of four right", np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])),
        ],
        misconceptions=[
            Misconception(
                "gives the spread of one answer, not of the accuracy",
                _error_without_n,
                why="A single answer is right or wrong, with spread sqrt(p (1 - p)). The mean of n answers varies "
                "sqrt(n) times less: divide by n inside the root.",
                look="Section 11 of 13_mlp_mnist, 'How sure are we?'",
            ),
            Misconception(
                "forgets the square root",
                _error_variance,
                why="p (1 - p) / n is the variance. Its square root is in the same unit as the accuracy.",
                look="Section 11 of 13_mlp_mnist, 'How sure are we?'",
            ),
            Misconception(
                "divides by n outside the square root",
                _error_n_outside,
                why="The variance falls with n, so the standard error falls with sqrt(n): n belongs inside the root.",
                look="Section 11 of 13_mlp_mnist, 'How sure are we?'",
            ),
            Misconception(
                "answers in per cent",
                _error_percent,
                why="The formula is for a share between 0 and 1. Return shares, and print per cent where you like.",
                look="Section 11 of 13_mlp_mnist, 'How sure are we?'",
            ),
            Misconception(
                "returns 1.96 standard errors",
                _error_two_sided,
                why="That is half the width of a 95% interval, a useful number, but the exercise asks for one "
                "standard error.",
                look="Section 11 of 13_mlp_mnist, 'How sure are we?'",
            ),
            Misconception(
                "returns the share of wrong answers",
                _error_of_wrong,
                why="That is the error rate. The standard error is the same for both, so only the first number gives "
                "it away.",
                look="Section 11 of 13_mlp_mnist, 'How sure are we?'",
            ),
        ],
        hints=(
            "How often is the answer right? And how much would that share change with other images of the same kind?",
            "p is the mean of `guess == y`. The variance of a mean of n yes-or-no answers is p (1 - p) / n.",
            "Return p and np.sqrt(p * (1 - p) / len(y)).",
        ),
        alternatives=[_error_from_std],
        names=("guess", "y"),
    ),
]
