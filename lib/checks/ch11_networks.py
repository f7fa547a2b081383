"""Checks of 11_backpropagation on whole networks: the backward pass and the training step."""

from __future__ import annotations

import numpy as np

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch11_backpropagation import CHAPTER, sigmoid, sizes

# 11.5 -----------------------------------------------------------------------------------------------------------------


def _regression_backward(X, Y, W1, b1, W2, b2, *, slope=lambda Z1, H: 1 - H**2, top=lambda P, Y: 2 * (P - Y), rows=len):
    """The right answer by default; the keywords put in one mistake at a time."""
    Z1 = X @ W1 + b1
    H = np.tanh(Z1)
    dP = top(H @ W2 + b2, Y) / rows(Y)
    dZ1 = (dP @ W2.T) * slope(Z1, H)
    return X.T @ dZ1, dZ1.sum(axis=0), H.T @ dP, dP.sum(axis=0)


def _variant(**mistake):
    return lambda X, Y, W1, b1, W2, b2: _regression_backward(X, Y, W1, b1, W2, b2, **mistake)


def _regression(rng):
    n, d, k, m = sizes(rng, 4)
    return (
        rng.normal(size=(n, d)),
        rng.normal(size=(n, m)),
        rng.normal(size=(d, k)) / np.sqrt(d),
        rng.normal(size=k),
        rng.normal(size=(k, m)),
        rng.normal(size=m),
    )


def _all_threes():
    """Three of everything, where a forgotten transpose does not crash."""
    rng = np.random.default_rng(11)
    shapes = [(3, 3), (3, 3), (3, 3), (3,), (3, 3), (3,)]
    return tuple(rng.normal(size=shape) for shape in shapes)


def _one_example():
    rng = np.random.default_rng(5)
    return tuple(rng.normal(size=shape) for shape in [(1, 2), (1, 1), (2, 4), (4,), (4, 1), (1,)])


def _forgotten_transpose(X, Y, W1, b1, W2, b2):
    H = np.tanh(X @ W1 + b1)
    dP = 2 * (H @ W2 + b2 - Y) / len(X)
    dZ1 = (dP @ W2) * (1 - H**2)
    return X.T @ dZ1, dZ1.sum(axis=0), H.T @ dP, dP.sum(axis=0)


def _bias_means(X, Y, W1, b1, W2, b2):
    dW1, db1, dW2, db2 = _regression_backward(X, Y, W1, b1, W2, b2)
    return dW1, db1 / len(X), dW2, db2 / len(X)


def _scores_for_W2(X, Y, W1, b1, W2, b2):
    dW1, db1, _, db2 = _regression_backward(X, Y, W1, b1, W2, b2)
    Z1 = X @ W1 + b1
    return dW1, db1, Z1.T @ (2 * (np.tanh(Z1) @ W2 + b2 - Y) / len(X)), db2


def _example_by_example(X, Y, W1, b1, W2, b2):
    total = [np.zeros_like(a) for a in (W1, b1, W2, b2)]
    for x, y in zip(X, Y, strict=True):
        h = np.tanh(x @ W1 + b1)
        dp = 2 * (h @ W2 + b2 - y)
        dz = (W2 @ dp) * (1 - h**2)
        for sum_, grad in zip(total, (np.outer(x, dz), dz, np.outer(h, dp), dp), strict=True):
            sum_ += grad / len(X)
    return tuple(total)


REGRESSION = Exercise(
    "11.5",
    "A whole backward pass",
    minutes=20,
    difficulty=3,
    reference=lambda X, Y, W1, b1, W2, b2: _regression_backward(X, Y, W1, b1, W2, b2),
    cases=[_regression, Case("three of everything", *_all_threes()), Case("one example", *_one_example())],
    misconceptions=[
        Misconception(
            "takes the slope of tanh from the score Z1 instead of the answer H",
            _variant(slope=lambda Z1, H: 1 - Z1**2),
            why="The short form 1 - t^2 is made of the answer t = tanh(z). With Z1 in its place the slope can become "
            "hugely negative, although tanh never falls.",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "applies tanh to H, which has been through tanh already",
            _variant(slope=lambda Z1, H: 1 - np.tanh(H) ** 2),
            why="H is the answer of tanh. The slope is 1 - H**2, with H as it is.",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "leaves out the slope of tanh",
            _variant(slope=lambda Z1, H: 1),
            why="On its way from H back to Z1 the gradient goes through tanh, so it is multiplied by 1 - H**2.",
            look=f"section 7 of {CHAPTER}, the formula with the sign for 'entry by entry'",
        ),
        Misconception(
            "uses H where the slope of tanh belongs",
            _variant(slope=lambda Z1, H: H),
            why="Going back through a function multiplies by its slope, not by its value: 1 - H**2.",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "uses the slope of the sigmoid for tanh",
            _variant(slope=lambda Z1, H: H * (1 - H)),
            why="s(1 - s) belongs to the sigmoid. For t = tanh(z) the slope is 1 - t^2.",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "forgets the 1/n of the mean",
            _variant(rows=lambda Y: 1),
            why="The loss is a mean over the rows, so each row's share of the gradient is 1/n, put in once at the top.",
            look=f"section 7 of {CHAPTER}, 'Where the 1/n belongs'",
        ),
        Misconception(
            "divides by the number of entries instead of the number of rows",
            _variant(rows=lambda Y: Y.size),
            why="The loss adds up the outputs of one example and takes the mean over the examples only.",
            look="the loss in the text of the exercise",
        ),
        Misconception(
            "forgets the 2 from the square",
            _variant(top=lambda P, Y: P - Y),
            why="The slope of u^2 is 2u.",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "has the sign the wrong way round",
            _variant(top=lambda P, Y: 2 * (Y - P)),
            why="(p - y)^2 grows when p rises above y, so its slope is 2(p - y), positive there. The minus belongs to "
            "the step against the gradient, not to the gradient.",
            look=f"section 4 of {CHAPTER}",
        ),
        Misconception(
            "forgets to transpose W2 on the way back",
            _forgotten_transpose,
            why="From the outputs (n, m) back to the hidden neurons (n, k) you need an (m, k) matrix. W2 is (k, m).",
            look=f"section 7 of {CHAPTER}, the drawing of the three products",
        ),
        Misconception(
            "takes the mean of the bias gradients, although the 1/n is already inside",
            _bias_means,
            why="The 1/n enters once, at the top. From there on everything is sums.",
            look=f"section 7 of {CHAPTER}, 'Where the 1/n belongs'",
        ),
        Misconception(
            "begins as the lesson does, with a sigmoid at the output and the cross-entropy",
            _variant(top=lambda P, Y: sigmoid(P) - Y),
            why="This network predicts numbers: its output is the score itself, and its loss is the squared error. So "
            "the first line of the backward pass is another one.",
            look="the formulas in the text of the exercise",
        ),
        Misconception(
            "leaves the biases out of the forward pass",
            lambda X, Y, W1, b1, W2, b2: _regression_backward(X, Y, W1, 0 * b1, W2, 0 * b2),
            why="The slopes depend on the values of the forward pass, so it must be the whole one: X @ W1 + b1, "
            "then H @ W2 + b2.",
            look="the formulas in the text of the exercise",
        ),
        Misconception(
            "uses Z1 instead of H for the gradient of W2",
            _scores_for_W2,
            why="W2 is multiplied by H, the answers of the hidden neurons, so H is what its gradient is made of.",
            look=f"section 7 of {CHAPTER}, the formulas of the backward pass",
        ),
        Misconception(
            "gives the right gradients, but those of the second layer first",
            lambda X, Y, W1, b1, W2, b2: (lambda g: (*g[2:], *g[:2]))(_regression_backward(X, Y, W1, b1, W2, b2)),
            why="They are computed in that order, but whoever calls your function expects (dW1, db1, dW2, db2).",
            look="the text of the exercise",
        ),
        Misconception(
            "multiplies by the slope of a sigmoid at the output, where this network has none",
            _variant(top=lambda P, Y: 2 * (P - Y) * P * (1 - P)),
            why="Here the output is the score itself, so that it can be any number. Nothing squashes it, so no slope "
            "p(1 - p) appears.",
            look="the formulas in the text of the exercise",
        ),
    ],
    hints=(
        "Draw the chain from X to the loss. The backward pass walks it from right to left, one line for each arrow.",
        "Start with dP, the gradient of the loss with respect to the output: the slope of a square, and the mean. "
        "After that every line is as in section 7.",
        "dP = 2 * (P - Y) / len(X); H.T @ dP and dP.sum(axis=0); dZ1 = (dP @ W2.T) * (1 - H**2); X.T @ dZ1, its sum.",
    ),
    alternatives=[_example_by_example],
    names=("X", "Y", "W1", "b1", "W2", "b2"),
)


# 11.6 -----------------------------------------------------------------------------------------------------------------


def _train_step(X, Y, W1, b1, W2, b2, lr, *, back=lambda W2, new: W2, top=lambda P, Y: (P - Y) / len(Y)):
    """The right answer by default; the keywords put in one mistake at a time."""
    H = np.tanh(X @ W1 + b1)
    dZ2 = top(sigmoid(H @ W2 + b2), Y)
    new_W2 = W2 - lr * H.T @ dZ2
    dZ1 = (dZ2 @ back(W2, new_W2).T) * (1 - H**2)
    return W1 - lr * X.T @ dZ1, b1 - lr * dZ1.sum(axis=0), new_W2, b2 - lr * dZ2.sum(axis=0)


def _wrong_step(**mistake):
    return lambda X, Y, W1, b1, W2, b2, lr: _train_step(X, Y, W1, b1, W2, b2, lr, **mistake)


def _second_layer_first(X, Y, W1, b1, W2, b2, lr):
    """Updates the second layer, then runs forward again for the first."""
    _, _, W2, b2 = _train_step(X, Y, W1, b1, W2, b2, lr)
    W1, b1, _, _ = _train_step(X, Y, W1, b1, W2, b2, lr)
    return W1, b1, W2, b2


def _step(rng):
    X, Y, *params = _regression(rng)
    return X, (Y > 0).astype(float), *params, float(rng.choice([0.3, 1.0, 3.0]))


def _biases_stay(X, Y, W1, b1, W2, b2, lr):
    new = _train_step(X, Y, W1, b1, W2, b2, lr)
    return new[0], b1, new[2], b2


def _no_sigmoid(X, Y, W1, b1, W2, b2, lr):
    H = np.tanh(X @ W1 + b1)
    dZ2 = (H @ W2 + b2 - Y) / len(X)
    dZ1 = (dZ2 @ W2.T) * (1 - H**2)
    return W1 - lr * X.T @ dZ1, b1 - lr * dZ1.sum(axis=0), W2 - lr * H.T @ dZ2, b2 - lr * dZ2.sum(axis=0)


def _with_saved_weights(X, Y, W1, b1, W2, b2, lr):
    """Updates layer by layer from the top, with the old W2 kept for the way back."""
    H = np.tanh(X @ W1 + b1)
    d = (1 / (1 + np.exp(-(H @ W2 + b2))) - Y) / len(X)
    old = W2.copy()
    W2, b2 = W2 - lr * H.T @ d, b2 - lr * d.sum(0)
    d = d @ old.T * (1 - H * H)
    return W1 - lr * X.T @ d, b1 - lr * d.sum(0), W2, b2


_X, _Y, *_PARAMS = _all_threes()

STEP = Exercise(
    "11.6",
    "One training step",
    minutes=15,
    difficulty=2,
    reference=lambda X, Y, W1, b1, W2, b2, lr: _train_step(X, Y, W1, b1, W2, b2, lr),
    cases=[
        _step,
        Case("three of everything", _X, (_Y > 0).astype(float), *_PARAMS, 2.0),
        Case("learning rate 0: nothing moves", _X, (_Y > 0).astype(float), *_PARAMS, 0.0),
    ],
    misconceptions=[
        Misconception(
            "changes W2 first and then uses the new W2 for the gradient of the first layer",
            _wrong_step(back=lambda W2, new: new),
            why="All gradients belong to the same network, the one that made the prediction. Half of yours belong to a "
            "network that was never run. Compute every gradient before you change any weight.",
            look=f"section 8 of {CHAPTER}, above the function train",
        ),
        Misconception(
            "updates the second layer, then runs the changed network again to update the first",
            _second_layer_first,
            why="A step of gradient descent moves all weights along gradients taken at one and the same place. Compute "
            "every gradient before you change any weight.",
            look=f"section 8 of {CHAPTER}, above the function train",
        ),
        Misconception(
            "steps uphill: it adds the gradient",
            lambda X, Y, W1, b1, W2, b2, lr: _train_step(X, Y, W1, b1, W2, b2, -lr),
            why="The gradient points to where the loss grows. A step that should lower it goes the other way.",
            look=f"section 2 of {CHAPTER}, the rule of gradient descent",
        ),
        Misconception(
            "leaves out the learning rate",
            lambda X, Y, W1, b1, W2, b2, lr: _train_step(X, Y, W1, b1, W2, b2, 1.0),
            why="The length of the step is the gradient times lr, for every parameter.",
            look=f"section 2 of {CHAPTER}, the rule of gradient descent",
        ),
        Misconception(
            "leaves the biases as they were",
            _biases_stay,
            why="A bias is a parameter like any other; it has a gradient and makes a step.",
            look=f"backward and train in sections 7 and 8 of {CHAPTER}",
        ),
        Misconception(
            "multiplies by the slope of the sigmoid once more",
            _wrong_step(top=lambda P, Y: (P - Y) * P * (1 - P) / len(Y)),
            why="With cross-entropy the slope has cancelled: dZ2 is (P - Y) / n.",
            look=f"section 6 of {CHAPTER}",
        ),
        Misconception(
            "forgets the 1/n of the mean",
            _wrong_step(top=lambda P, Y: P - Y),
            why="Without it the step grows with the batch, and each batch size wants its own learning rate.",
            look=f"section 7 of {CHAPTER}, 'Where the 1/n belongs'",
        ),
        Misconception(
            "steps along the gradient of the squared error",
            _wrong_step(top=lambda P, Y: 2 * (P - Y) * P * (1 - P) / len(Y)),
            why="The loss here is the cross-entropy, with which the slope of the sigmoid cancels: dZ2 is (P - Y) / n.",
            look=f"section 6 of {CHAPTER}",
        ),
        Misconception(
            "returns the steps instead of the parameters after the step",
            lambda X, Y, *rest: tuple(old - new for old, new in zip(rest[:4], _train_step(X, Y, *rest), strict=True)),
            why="The training loop puts what you return in place of the old parameters. Return W1 - lr * dW1 etc.",
            look=f"section 2 of {CHAPTER}, the rule of gradient descent",
        ),
        Misconception(
            "leaves out the sigmoid at the output",
            _no_sigmoid,
            why="The labels are compared with P = sigmoid(Z2), not with the scores Z2.",
            look=f"section 7 of {CHAPTER}, the forward pass",
        ),
    ],
    hints=(
        "Three parts: forward, all four gradients, four updates. Keep them apart.",
        "The backward function of section 7 has every gradient that you need. Nothing may change before the last of "
        "them is computed.",
        "After dW1, db1, dW2 and db2 are there: return W1 - lr * dW1, b1 - lr * db1, W2 - lr * dW2, b2 - lr * db2.",
    ),
    alternatives=[_with_saved_weights],
    names=("X", "Y", "W1", "b1", "W2", "b2", "lr"),
)


EXERCISES = [REGRESSION, STEP]
