"""Checks of 11_backpropagation on its parts: sigmoid, layer, loss. See also ch11_measuring and ch11_networks."""

from __future__ import annotations

import numpy as np

from lib.checks import Case, Exercise, Misconception

CHAPTER = "11_backpropagation"


def sigmoid(z):
    return 0.5 * (1 + np.tanh(z / 2))


def sizes(rng, count, low=2, high=8):
    """`count` different sizes, so that a forgotten transpose cannot hide."""
    return [int(size) for size in rng.choice(np.arange(low, high), size=count, replace=False)]


# 11.1 -----------------------------------------------------------------------------------------------------------------


def _sigmoid_and_slope(z):
    s = sigmoid(z)
    return s, s * (1 - s)


def _scores(rng):
    n, k = sizes(rng, 2)
    return (rng.normal(size=(n, k)) * 3,)


def _slope_squashed_twice(z):
    s = sigmoid(z)
    return s, sigmoid(s) * (1 - sigmoid(s))


def _falling(z):
    return sigmoid(-z)


def _sigmoid_overflows(z):
    s = np.exp(z) / (1 + np.exp(z))
    return s, s * (1 - s)


SIGMOID = Exercise(
    "11.1",
    "The sigmoid and its slope",
    minutes=8,
    difficulty=1,
    reference=_sigmoid_and_slope,
    cases=[
        _scores,
        Case("zero, where the slope is largest", np.array([0.0, 0.1, -0.1])),
        Case("far out", np.array([-1000.0, -40.0, 40.0, 1000.0])),
    ],
    misconceptions=[
        Misconception(
            "puts z into s(1 - s), where the answer s belongs",
            lambda z: (sigmoid(z), z * (1 - z)),
            why="The short form of the slope is made of the answer s = sigmoid(z), not of z. With z = 3 yours is -6, "
            "but the sigmoid never falls.",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "squashes twice: it takes the slope at s instead of at z",
            _slope_squashed_twice,
            why="s is already the answer of the sigmoid. Putting s into the sigmoid again gives the slope at another "
            "place. Use s as it is: s(1 - s).",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "forgets the factor 1 - s in the slope",
            lambda z: (sigmoid(z), sigmoid(z)),
            why="A large z gives s close to 1, where the curve is flat. The slope must go to 0 there; the factor 1 - s "
            "does that.",
            look=f"section 3 of {CHAPTER}, the figure of the two slopes",
        ),
        Misconception(
            "has the sign of z the wrong way round, so that its answer falls when z grows",
            lambda z: (_falling(z), _falling(z) * (1 - _falling(z))),
            why="The sigmoid of a large z is close to 1. In its formula the exponent is -z: exp(-z) then goes to 0.",
            look=f"the formula in section 1 of {CHAPTER}",
        ),
        Misconception(
            "gives the slope of tanh",
            lambda z: (sigmoid(z), 1 - sigmoid(z) ** 2),
            why="1 - t^2 belongs to tanh, whose answers go from -1 to 1. For the sigmoid it is s(1 - s).",
            look=f"section 3 of {CHAPTER}, the table of local slopes",
        ),
        Misconception(
            "computes exp(z) / (1 + exp(z)), which is infinity divided by infinity for a large z",
            _sigmoid_overflows,
            why="exp(1000) is too large for a computer and becomes infinity; inf / inf is NaN. Divide numerator and "
            "denominator by exp(z), or use tanh.",
            look=f"the sigmoid in section 1 of {CHAPTER}",
        ),
        Misconception(
            "computes the slope from exp(-z), which is too large for a computer when z is very negative",
            lambda z: (sigmoid(z), np.exp(-z) / (1 + np.exp(-z)) ** 2),
            why="The formula is right on paper, but exp(1000) becomes infinity, and inf / inf is NaN. The slope made "
            "from the answer, s(1 - s), has no such problem.",
            look=f"section 3 of {CHAPTER}, 'Where s(1 - s) comes from'",
        ),
    ],
    hints=(
        "Compute s first. The slope needs nothing else.",
        "The table in section 3 has the slope of the sigmoid made from its own answer. At z = 0 it must be 0.25.",
        "s = 1 / (1 + np.exp(-z)) or the tanh form of section 1; then return s and s * (1 - s).",
    ),
    alternatives=[
        lambda z: (1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-z)) * (1 - 1 / (1 + np.exp(-z)))),
        lambda z: (sigmoid(z), (1 - np.tanh(z / 2) ** 2) / 4),
        lambda z: (sigmoid(z), sigmoid(z) * sigmoid(-z)),
    ],
    names=("z",),
)


# 11.2 -----------------------------------------------------------------------------------------------------------------


def _linear_backward(X, W, dZ):
    return dZ @ W.T, X.T @ dZ, dZ.sum(axis=0)


def _layer(rng):
    n, d, k = sizes(rng, 3)
    return rng.normal(size=(n, d)), rng.normal(size=(d, k)), rng.normal(size=(n, k))


_A = np.arange(1.0, 10.0).reshape(3, 3)

LINEAR = Exercise(
    "11.2",
    "The backward pass of a layer",
    minutes=12,
    difficulty=2,
    reference=_linear_backward,
    cases=[
        _layer,
        Case("one example", np.array([[1.0, 2.0]]), np.array([[1.0, 0.5, 2.0], [3.0, -1.0, 4.0]]), np.ones((1, 3))),
        Case("one neuron", np.array([[1.0], [2.0], [4.0]]), np.array([[3.0]]), np.array([[0.5], [-1.0], [2.0]])),
        Case("everything 3 by 3", _A, _A[::-1] + np.eye(3), _A**2),
    ],
    misconceptions=[
        Misconception(
            "forgets to transpose W in dX",
            lambda X, W, dZ: (dZ @ W, X.T @ dZ, dZ.sum(axis=0)),
            why="dZ is (n, k) and W is (d, k), so dZ @ W does not fit, and where it happens to fit it mixes up neurons "
            "and inputs. dX must be (n, d), and (n, k) @ (k, d) is the only way there.",
            look=f"section 7 of {CHAPTER}, the drawing of the three products",
        ),
        Misconception(
            "forgets to transpose X in dW",
            lambda X, W, dZ: (dZ @ W.T, X @ dZ, dZ.sum(axis=0)),
            why="X is (n, d) and dZ is (n, k). The sum runs over the n examples, so n must be inside: (d, n) @ (n, k).",
            look=f"section 7 of {CHAPTER}, the drawing of the three products",
        ),
        Misconception(
            "gives dW transposed",
            lambda X, W, dZ: (dZ @ W.T, dZ.T @ X, dZ.sum(axis=0)),
            why="A gradient has the shape of the thing itself. W is (d, k), so dW is (d, k) too; yours is (k, d).",
            look=f"section 7 of {CHAPTER}, 'The backward pass of one layer'",
        ),
        Misconception(
            "does not add up the bias gradient over the batch",
            lambda X, W, dZ: (dZ @ W.T, X.T @ dZ, dZ),
            why="All n examples use the same bias, so a nudge of it arrives on n ways, and ways add: db is (k,).",
            look=f"section 7 of {CHAPTER}, the point 'Bias'",
        ),
        Misconception(
            "takes the mean of the bias gradient instead of the sum",
            lambda X, W, dZ: (dZ @ W.T, X.T @ dZ, dZ.mean(axis=0)),
            why="The mean over the batch belongs to the loss, and its 1/n is already inside dZ. Here it is a sum.",
            look=f"section 7 of {CHAPTER}, 'Where the 1/n belongs'",
        ),
        Misconception(
            "divides by the size of the batch, which dZ already contains",
            lambda X, W, dZ: (dZ @ W.T, X.T @ dZ / len(X), dZ.mean(axis=0)),
            why="The 1/n of the mean loss enters once, at the top, and travels down inside dZ. A layer only adds up.",
            look=f"section 7 of {CHAPTER}, 'Where the 1/n belongs'",
        ),
        Misconception(
            "adds up the bias gradient over the neurons instead of over the examples",
            lambda X, W, dZ: (dZ @ W.T, X.T @ dZ, dZ.sum(axis=1)),
            why="There is one bias for each neuron, so db has shape (k,). The axis that disappears is that of the "
            "examples, axis 0.",
            look=f"section 7 of {CHAPTER}, the point 'Bias'",
        ),
        Misconception(
            "gives the right gradients in the order dW, dX, db",
            lambda X, W, dZ: (X.T @ dZ, dZ @ W.T, dZ.sum(axis=0)),
            why="The exercise asks for (dX, dW, db), and whoever calls your function relies on the order.",
            look="the text of the exercise",
        ),
        Misconception(
            "gives the right gradients in the order dW, db, dX",
            lambda X, W, dZ: (X.T @ dZ, dZ.sum(axis=0), dZ @ W.T),
            why="The exercise asks for (dX, dW, db), and whoever calls your function relies on the order.",
            look="the text of the exercise",
        ),
        Misconception(
            "keeps the summed axis, so that db has shape (1, k)",
            lambda X, W, dZ: (dZ @ W.T, X.T @ dZ, dZ.sum(axis=0, keepdims=True)),
            why="A gradient has the shape of the thing itself, and b is (k,).",
            look=f"section 7 of {CHAPTER}, 'The backward pass of one layer'",
        ),
    ],
    hints=(
        "Write down the shapes of X, W, dZ, and of the three results. A gradient has the shape of the thing itself.",
        "Where a value is used several times, its gradients add. Which of W, b and X are used by every example?",
        "dW is X.T @ dZ, and dX is dZ @ W.T. For the bias, add up the axis that b does not have.",
    ),
    alternatives=[
        lambda X, W, dZ: (
            np.einsum("nk,dk->nd", dZ, W),
            np.einsum("nd,nk->dk", X, dZ),
            np.ones(len(X)) @ dZ,
        ),
        lambda X, W, dZ: (
            np.array([[row @ w for w in W] for row in dZ]),
            sum(np.outer(x, dz) for x, dz in zip(X, dZ, strict=True)),
            sum(dZ),
        ),
    ],
    names=("X", "W", "dZ"),
)


# 11.3 -----------------------------------------------------------------------------------------------------------------


def _loss_gradient(Z, Y):
    return (sigmoid(Z) - Y) / len(Z)


def _scores_and_labels(rng):
    n, k = sizes(rng, 2)
    return rng.normal(size=(n, k)) * 2, rng.integers(0, 2, size=(n, k)).astype(float)


def _with_extra_slope(Z, Y):
    P = sigmoid(Z)
    return (P - Y) * P * (1 - P) / len(Z)


def _to_probabilities(Z, Y):
    P = sigmoid(Z)
    return (P - Y) / (P * (1 - P)) / len(Z)


def _with_softmax(Z, Y):
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return (E / E.sum(axis=1, keepdims=True) - Y) / len(Z)


def _in_two_factors(Z, Y):
    P = sigmoid(Z)
    return (-Y / P + (1 - Y) / (1 - P)) * P * (1 - P) / len(Z)


LOSS_GRADIENT = Exercise(
    "11.3",
    "Where backward begins",
    minutes=10,
    difficulty=2,
    reference=_loss_gradient,
    cases=[
        _scores_and_labels,
        Case("one example, one output", np.array([[0.3]]), np.array([[1.0]])),
        Case(
            "very sure and very wrong", np.array([[800.0, -800.0], [40.0, -40.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
        ),
    ],
    misconceptions=[
        Misconception(
            "multiplies by the slope of the sigmoid once more",
            _with_extra_slope,
            why="The slope p(1 - p) has cancelled against the slope of the cross-entropy; what is left is p - y. With "
            "the extra factor a very wrong neuron gets hardly any gradient.",
            look=f"section 6 of {CHAPTER}",
        ),
        Misconception(
            "gives the gradient of the squared error",
            lambda Z, Y: 2 * _with_extra_slope(Z, Y),
            why="2(p - y)p(1 - p) belongs to (p - y)^2. The loss here is the cross-entropy, made so that the slope "
            "cancels.",
            look=f"section 6 of {CHAPTER}",
        ),
        Misconception(
            "forgets the 1/n of the mean",
            lambda Z, Y: sigmoid(Z) - Y,
            why="The loss is the mean over the n rows, so each row's share of it, and of the gradient, is 1/n.",
            look=f"section 7 of {CHAPTER}, 'Where the 1/n belongs'",
        ),
        Misconception(
            "divides by the number of entries instead of the number of rows",
            lambda Z, Y: (sigmoid(Z) - Y) / Z.size,
            why="The loss adds up the outputs of one example and takes the mean over the examples only: n rows, not "
            "n times k numbers. Plain .mean() over everything is another loss.",
            look=f"the loss in section 7 of {CHAPTER}",
        ),
        Misconception(
            "has the sign the wrong way round",
            lambda Z, Y: (Y - sigmoid(Z)) / len(Z),
            why="When the answer is too high, p - y is positive: a higher score makes the loss worse. The minus comes "
            "later, in the step *against* the gradient.",
            look=f"section 6 of {CHAPTER}",
        ),
        Misconception(
            "compares the labels with the scores instead of the probabilities",
            lambda Z, Y: (Z - Y) / len(Z),
            why="Z holds scores of any size. The label must be compared with P = sigmoid(Z).",
            look=f"section 6 of {CHAPTER}",
        ),
        Misconception(
            "stops at the gradient with respect to P",
            _to_probabilities,
            why="(p - y) / (p(1 - p)) says what a nudge of the probability does. One more link of the chain leads to "
            "the score: multiply by the slope of the sigmoid, p(1 - p), and it cancels.",
            look=f"section 6 of {CHAPTER}",
        ),
        Misconception(
            "uses softmax across the outputs instead of a sigmoid for each",
            _with_softmax,
            why="Softmax makes the outputs of a row compete for one answer; chapter 13 does that. Here each output "
            "answers a question of its own, with its own sigmoid.",
            look=f"section 9 of {CHAPTER}, 'one question each'",
        ),
        Misconception(
            "multiplies the two slopes without cancelling, and meets infinity times zero",
            _in_two_factors,
            why="For a large score P is rounded to exactly 1: 1/(1 - P) is infinite and P(1 - P) is 0. Cancel on paper "
            "first; the result, P - Y, is always safe.",
            look=f"section 6 of {CHAPTER}, 'One practical point'",
        ),
    ],
    hints=(
        "Which shape must the gradient with respect to Z have? How is each row's loss weighted in the total?",
        "Multiply the slope of the cross-entropy by the slope of the sigmoid on paper. Almost everything cancels.",
        "For one score it is p - y. Now think of the mean over len(Z) rows.",
    ),
    alternatives=[
        lambda Z, Y: (1 / (1 + np.exp(-Z)) - Y) / Z.shape[0],
        lambda Z, Y: np.where(Y == 1, -sigmoid(-Z), sigmoid(Z)) / len(Z),
    ],
    names=("Z", "Y"),
)


EXERCISES = [SIGMOID, LINEAR, LOSS_GRADIENT]
