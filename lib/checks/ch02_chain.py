"""Checks of 02_calculus on the chain rule: a product of Jacobians, a gradient from the end to the beginning."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

CHAPTER = "02_calculus"

# 2.3 ------------------------------------------------------------------------------------------------------------------


def _chain(jac_f, g, jac_g, x):
    return jac_f(g(x)) @ jac_g(x)


def _chain_einsum(jac_f, g, jac_g, x):
    return np.einsum("ij,jk->ik", jac_f(g(x)), jac_g(x))


def _wrong_place(jac_f, g, jac_g, x):
    return jac_f(x) @ jac_g(x)


def _wrong_order(jac_f, g, jac_g, x):
    return jac_g(x) @ jac_f(g(x))


def _both_after(jac_f, g, jac_g, x):
    return jac_f(g(x)) @ jac_g(g(x))


def _entry_by_entry(jac_f, g, jac_g, x):
    return jac_f(g(x)) * jac_g(x)


def _outer_only(jac_f, g, jac_g, x):
    return jac_f(g(x))


def _chain_transposed(jac_f, g, jac_g, x):
    return _chain(jac_f, g, jac_g, x).T


def _two_maps(rng: Generator, n_out: int, n_mid: int, n_in: int) -> tuple:
    """f(y) = sin(A y) and g(x) = tanh(B x), as the arguments of the exercise."""
    A, B = rng.normal(size=(n_out, n_mid)), rng.normal(size=(n_mid, n_in))

    def jac_f(y):
        return np.cos(A @ y)[:, None] * A

    def g(x):
        return np.tanh(B @ x)

    def jac_g(x):
        return (1 - np.tanh(B @ x) ** 2)[:, None] * B

    return jac_f, g, jac_g, rng.normal(size=n_in)


def _square_maps(rng: Generator) -> tuple:
    return _two_maps(rng, 3, 3, 3)


def _narrowing_maps(rng: Generator) -> tuple:
    return _two_maps(rng, 2, 3, 4)


# 2.4 ------------------------------------------------------------------------------------------------------------------


def _gradient(x, W1, W2, t):
    h = np.tanh(W1 @ x)
    v = W2 @ h - t
    v = v @ W2
    v = v * (1 - h**2)
    return v @ W1


def _gradient_by_matrices(x, W1, W2, t):
    h = np.tanh(W1 @ x)
    return ((W2 @ h - t)[None, :] @ W2 @ np.diag(1 - h**2) @ W1)[0]


def _gradient_transposes(x, W1, W2, t):
    z = W1 @ x
    return W1.T @ ((W2.T @ (W2 @ np.tanh(z) - t)) / np.cosh(z) ** 2)


def _backward_with(slope=lambda z: 1 - np.tanh(z) ** 2, residual=lambda y, t: y - t):
    """The gradient with another slope of tanh, or with another gradient of the loss."""

    def gradient(x, W1, W2, t):
        z = W1 @ x
        return ((residual(W2 @ np.tanh(z), t) @ W2) * slope(z)) @ W1

    return gradient


def _to_the_hidden_layer(x, W1, W2, t):
    h = np.tanh(W1 @ x)
    return ((W2 @ h - t) @ W2) * (1 - h**2)


def _from_the_wrong_side(x, W1, W2, t):
    h = np.tanh(W1 @ x)
    return W1 @ ((W2 @ (W2 @ h - t)) * (1 - h**2))


def _square_layers(rng: Generator) -> tuple:
    return rng.normal(size=3), rng.normal(size=(3, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)


def _two_layers(rng: Generator) -> tuple:
    d_in, d_hidden, d_out = rng.choice([2, 3, 4, 5], 3, replace=False)
    W1, W2 = rng.normal(size=(d_hidden, d_in)), rng.normal(size=(d_out, d_hidden))
    return rng.normal(size=d_in), W1, W2, rng.normal(size=d_out)


EXERCISES = [
    Exercise(
        "02.3",
        "The chain rule",
        minutes=8,
        difficulty=2,
        reference=_chain,
        cases=[_square_maps, _narrowing_maps, lambda rng: _two_maps(rng, 4, 2, 3)],
        misconceptions=[
            Misconception(
                "takes the outer function's Jacobian at x instead of at g(x)",
                _wrong_place,
                why="f never sees x: it is given g(x), so that is where its slopes count. Here the numbers can differ "
                "completely, and where the sizes differ it does not even run.",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "multiplies the Jacobians in the wrong order",
                _wrong_order,
                why="A step d first meets g, so J_g stands next to it: J_f @ (J_g @ d). What happens last stands on "
                "the left.",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "takes both Jacobians at g(x)",
                _both_after,
                why="g is given x itself, so its Jacobian belongs at x. Only f's belongs at g(x).",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "multiplies entry by entry",
                _entry_by_entry,
                why="With vectors every output of g reaches every output of f, and the ways add up: that is the matrix "
                "product @, not *.",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "leaves out the inner function's Jacobian",
                _outer_only,
                why="That says how f answers to a step of g(x). A step of x is first changed by g: multiply by J_g.",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "has rows and columns the wrong way round",
                _chain_transposed,
                why="The result needs one row for each output of f and one column for each input of g.",
                look=f"Section 4 of {CHAPTER}, 'A bent grid, and a straight one near by'",
            ),
        ],
        hints=(
            "Follow a small step of x: which function does it meet first, and at which place is the other one?",
            "The step becomes J_g d, and then J_f times that. f stands at g(x).",
            "jac_f(g(x)) @ jac_g(x)",
        ),
        alternatives=[_chain_einsum],
        names=("jac_f", "g", "jac_g", "x"),
    ),
    Exercise(
        "02.4",
        "A gradient from the end to the beginning",
        minutes=12,
        difficulty=2,
        reference=_gradient,
        cases=[
            _two_layers,
            _square_layers,
            Case("the answer is already right", np.zeros(3), np.ones((2, 3)), np.ones((4, 2)), np.zeros(4)),
            Case("one of everything", np.array([0.5]), np.array([[2.0]]), np.array([[-3.0]]), np.array([1.0])),
        ],
        misconceptions=[
            Misconception(
                "multiplies from the wrong side: W @ v instead of v @ W",
                _from_the_wrong_side,
                why="Going back, the row v stands on the left of each Jacobian: v @ W, the same as W.T @ v. W @ v fits "
                "only where W is square, and is then something else.",
                look=f"Section 5 of {CHAPTER}, 'From which end?'",
            ),
            Misconception(
                "leaves out the slope of tanh",
                _backward_with(slope=np.ones_like),
                why="Between the two matrices stands tanh, and its Jacobian is diagonal with 1 - h² on it: multiply "
                "entry by entry.",
                look=f"Section 5 of {CHAPTER}, 'From which end?'",
            ),
            Misconception(
                "puts z into 1 - h², where h = tanh(z) belongs",
                _backward_with(slope=lambda z: 1 - z**2),
                why="The slope of tanh is 1 - tanh(z)². It is taken from the answer h, not from the input z.",
                look=f"Section 4 of {CHAPTER}, 'Three Jacobians that every network is made of'",
            ),
            Misconception(
                "puts h through tanh once more",
                _backward_with(slope=lambda z: 1 - np.tanh(np.tanh(z)) ** 2),
                why="h is tanh(z) already, so the slope is 1 - h². With 1 - tanh(h)² it is taken at the wrong place.",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "has the wrong sign: t - y instead of y - t",
                _backward_with(residual=lambda y, t: t - y),
                why="The derivative of ½ (y - t)² with respect to y is y - t. The other sign points downhill.",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "forgets the ½ in the loss",
                _backward_with(residual=lambda y, t: 2 * (y - t)),
                why="The 2 that comes down from the square meets the ½ of the loss, and they cancel: y - t.",
                look=f"Section 5 of {CHAPTER}, 'Shapes that fit'",
            ),
            Misconception(
                "averages the loss over the outputs",
                _backward_with(residual=lambda y, t: (y - t) / len(t)),
                why="The loss of this exercise is a sum over the outputs, so nothing is divided by their number.",
                look="the formula of the exercise",
            ),
            Misconception(
                "stops at the hidden layer",
                _to_the_hidden_layer,
                why="That is the gradient with respect to z = W1 @ x. One more vector-Jacobian product, with W1, leads "
                "to x.",
                look=f"Section 5 of {CHAPTER}, 'From which end?'",
            ),
        ],
        hints=(
            "Write the four Jacobians in a row, with their shapes. Which end is the narrow one?",
            "Start with y - t, a vector. Three lines take it backwards: @ W2, then times a vector, then @ W1.",
            "v = y - t; v = v @ W2; v = v * (1 - h**2); return v @ W1",
        ),
        alternatives=[_gradient_by_matrices, _gradient_transposes],
        names=("x", "W1", "W2", "t"),
    ),
]
