"""Checks of chapter 12, automatic differentiation: exercise 12.3, local derivatives."""

from __future__ import annotations

import math

from lib.checks import Case, Exercise, Misconception

# 12.3 -------------------------------------------------------------------------------------------

FORWARD = {
    "cube": lambda x: x**3,
    "exp": math.exp,
    "log": math.log,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "relu": lambda x: max(0.0, x),
}
SLOPES = {
    "cube": lambda x, y: 3 * x**2,
    "exp": lambda x, y: y,
    "log": lambda x, y: 1 / x,
    "tanh": lambda x, y: 1 - y**2,
    "sigmoid": lambda x, y: y * (1 - y),
    "relu": lambda x, y: float(x > 0),
}


def _slopes(**changed):
    """The right table of local derivatives, with the rules in `changed` put in place of the right ones."""
    table = SLOPES | changed
    return lambda op, x, y: table[op](x, y)


def _slope_case(rng):
    op = str(rng.choice(list(FORWARD)))
    x = float(rng.uniform(0.3, 2.0) * (1 if op == "log" else rng.choice([-1, 1])))
    return op, x, float(FORWARD[op](x))


def _at(op, *points):
    return [Case(f"{op} at {x:g}", op, x, float(FORWARD[op](x))) for x in points]


LOCAL = Exercise(
    "12.3",
    "Six local derivatives",
    minutes=10,
    difficulty=1,
    reference=_slopes(),
    cases=[
        _slope_case,
        *_at("cube", 2.0, -1.5, 0.0),
        *_at("exp", 0.0, 2.0, -1.0),
        *_at("log", 0.5, 2.0, 4.0),
        *_at("tanh", 0.0, 0.5, -2.0),
        *_at("sigmoid", 0.0, 0.5, -2.0),
        *_at("relu", 2.0, 0.5, -2.0, 0.0),
    ],
    misconceptions=[
        Misconception(
            "uses the input x where the formula has the output y",
            _slopes(tanh=lambda x, y: 1 - x**2, sigmoid=lambda x, y: x * (1 - x)),
            why="The slope of tanh is 1 - tanh(x)^2, and that of the sigmoid is y (1 - y) with y = sigmoid(x): "
            "both are made of the output.",
            look="section 6 of 12_autograd, the table of rules",
        ),
        Misconception(
            "does not lower the exponent",
            _slopes(cube=lambda x, y: 3 * x**3),
            why="The derivative of x^k is k x^(k-1): the exponent comes down by one.",
            look="section 6 of 12_autograd, `power`",
        ),
        Misconception(
            "lowers the exponent but forgets the factor in front",
            _slopes(cube=lambda x, y: x**2),
            why="The derivative of x^k is k x^(k-1): the old exponent becomes a factor.",
            look="section 6 of 12_autograd, `power`",
        ),
        Misconception(
            "treats exp as if it were a power of x",
            _slopes(exp=lambda x, y: x * math.exp(x - 1)),
            why="In x^k the base varies; in e^x the exponent does. The derivative of e^x is e^x itself.",
            look="section 6 of 12_autograd, `exp`",
        ),
        Misconception(
            "returns relu itself instead of its slope",
            _slopes(relu=lambda x, y: max(0.0, x)),
            why="For x > 0, relu(x) = x, and the slope of x is 1, however large x is.",
            look="section 6 of 12_autograd, `relu`",
        ),
        Misconception(
            "lets the gradient through relu where x is negative too",
            _slopes(relu=lambda x, y: 1.0),
            why="Left of zero, relu is flat: moving x does not move the output, so the slope is 0. At 0 itself "
            "the course takes 0.",
            look="section 6 of 12_autograd, `relu`",
        ),
    ],
    hints=(
        "Three of the six slopes are easiest to write with the output y. Which?",
        "Slopes: k x^(k-1) for a power; e^x again for exp; 1/x for log; 1 - y^2 for tanh; y (1 - y) for sigmoid; "
        "a step for relu.",
        'A dictionary {"cube": 3 * x**2, "exp": y, ...}[op] would compute 1 / x even where it is not asked for; '
        "use if statements. relu: 1.0 if x > 0 else 0.0.",
    ),
    names=("op", "x", "y"),
)

EXERCISES = [LOCAL]
