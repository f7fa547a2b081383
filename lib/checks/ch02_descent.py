"""Checks of 02_calculus on curvature and descent: Taylor's second order, gradient descent, the edge of divergence."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

CHAPTER = "02_calculus"

# 2.5 ------------------------------------------------------------------------------------------------------------------


def _taylor(f0, g, H, d):
    return f0 + g @ d + 0.5 * d @ H @ d


def _taylor_sums(f0, g, H, d):
    return f0 + sum(g * d) + (H * np.outer(d, d)).sum() / 2


def _no_half(f0, g, H, d):
    return f0 + g @ d + d @ H @ d


def _first_order(f0, g, H, d):
    return f0 + g @ d


def _half_of_both(f0, g, H, d):
    return f0 + 0.5 * (g @ d + d @ H @ d)


def _diagonal_only(f0, g, H, d):
    return f0 + g @ d + 0.5 * np.diag(H) @ d**2


def _one_step_missing(f0, g, H, d):
    return f0 + g @ d + 0.5 * (H @ d).sum()


def _change_only(f0, g, H, d):
    return g @ d + 0.5 * d @ H @ d


def _minus(f0, g, H, d):
    return f0 + g @ d - 0.5 * d @ H @ d


def _each_input(f0, g, H, d):
    return f0 + g * d + 0.5 * d * (H @ d)


def _symmetric(rng: Generator, n: int) -> np.ndarray:
    M = rng.normal(size=(n, n))
    return M + M.T


def _local_model(rng: Generator) -> tuple:
    n = int(rng.integers(2, 6))
    return float(rng.normal()), rng.normal(size=n), _symmetric(rng, n), rng.normal(size=n)


# 2.6 ------------------------------------------------------------------------------------------------------------------


def _descend(gradient, start, lr, steps):
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - lr * gradient(path[-1]))
    return np.array(path)


def _descend_table(gradient, start, lr, steps):
    path = np.empty((steps + 1, len(start)))
    path[0] = start
    for k in range(steps):
        path[k + 1] = path[k] - lr * gradient(path[k])
    return path


def _ascend(gradient, start, lr, steps):
    return _descend(gradient, start, -lr, steps)


def _one_by_one(gradient, start, lr, steps):
    p, path = start.copy(), [start]
    for _ in range(steps):
        for i in range(len(p)):
            p[i] -= lr * gradient(p)[i]
        path.append(p.copy())
    return np.array(path)


def _without_start(gradient, start, lr, steps):
    return _descend(gradient, start, lr, steps)[1:]


def _without_end(gradient, start, lr, steps):
    return _descend(gradient, start, lr, steps)[:-1]


def _one_array(gradient, start, lr, steps):
    path = _descend(gradient, start, lr, steps)
    return np.repeat(path[-1:], steps + 1, axis=0)


def _old_gradient(gradient, start, lr, steps):
    g = gradient(start)
    return _descend(lambda p: g, start, lr, steps)


def _unit_steps(gradient, start, lr, steps):
    return _descend(lambda p: gradient(p) / np.linalg.norm(gradient(p)), start, lr, steps)


def _end_only(gradient, start, lr, steps):
    return _descend(gradient, start, lr, steps)[-1]


def _slope_of(H, c):
    """The gradient of a bumpy bowl in which the inputs act on each other."""
    return lambda p: H @ p + 0.3 * np.sin(c * p)


def _bumpy_bowl(rng: Generator) -> tuple:
    n = int(rng.integers(2, 5))
    M = rng.normal(size=(n, n))
    H = M @ M.T / n + 0.5 * np.eye(n)
    c = rng.uniform(0.5, 1.5, n)
    return _slope_of(H, c), rng.normal(size=n), float(rng.uniform(0.05, 0.2)), int(rng.integers(3, 7))


COUPLED = _slope_of(np.array([[1.0, 0.6], [0.6, 2.0]]), np.ones(2))

# 2.7 ------------------------------------------------------------------------------------------------------------------


def _edge(H):
    values = np.linalg.eigvalsh(H)
    return 2 / values[-1], values[-1] / values[0]


def _edge_svd(H):
    return 2 / np.linalg.norm(H, 2), np.linalg.cond(H)


def _edge_with(rate=lambda H: 2 / np.linalg.eigvalsh(H)[-1], condition=lambda H: np.linalg.cond(H)):
    """The answer with one of its two numbers computed in another way."""
    return lambda H: (rate(H), condition(H))


def _eig_as_it_comes(H):
    values = np.real(np.linalg.eig(H)[0])
    return 2 / values[0], values[0] / values[-1]


def _diagonal_as_eigenvalues(H):
    values = np.sort(np.diag(H))
    return 2 / values[-1], values[-1] / values[0]


def _bowl(rng: Generator) -> tuple:
    n = int(rng.integers(2, 6))
    M = rng.normal(size=(n, n))
    return (M @ M.T + 0.2 * np.eye(n),)


EXERCISES = [
    Exercise(
        "02.5",
        "Taylor's second order",
        minutes=8,
        difficulty=1,
        reference=_taylor,
        cases=[
            _local_model,
            Case("no step at all", 2.0, np.array([1.0, -1.0]), np.array([[2.0, 1.0], [1.0, 3.0]]), np.zeros(2)),
            Case("a flat place with one input", 1.0, np.array([0.0]), np.array([[4.0]]), np.array([3.0])),
        ],
        misconceptions=[
            Misconception(
                "leaves out the ½ of the second-order term",
                _no_half,
                why="Differentiate c h² twice and you get 2c. For the model to bend as the function does, c must be "
                "half of the second derivative.",
                look=f"Section 6 of {CHAPTER}, 'One more term'",
            ),
            Misconception(
                "stops after the first order",
                _first_order,
                why="f0 + g @ d is the plane. The bend is in H, and the term ½ dᵀ H d brings it in.",
                look=f"Section 6 of {CHAPTER}, 'One more term'",
            ),
            Misconception(
                "halves the first-order term as well",
                _half_of_both,
                why="The slope enters whole. Only the second-order term has the ½.",
                look=f"Section 6 of {CHAPTER}, 'One more term'",
            ),
            Misconception(
                "uses the diagonal of the Hessian only",
                _diagonal_only,
                why="The entries off the diagonal say how the slope in one input changes with another. They belong to "
                "dᵀ H d, each of them twice.",
                look=f"Section 6 of {CHAPTER}, 'The Hessian'",
            ),
            Misconception(
                "multiplies the Hessian by the step once, not from both sides",
                _one_step_missing,
                why="H @ d is how the *slopes* change. The height needs one more product with d: d @ H @ d.",
                look=f"Section 6 of {CHAPTER}, 'The Hessian'",
            ),
            Misconception(
                "returns the change, without the value at the start",
                _change_only,
                why="The model is the height, f0 plus the change. Without a step it must give f0.",
                look=f"Section 6 of {CHAPTER}, 'One more term'",
            ),
            Misconception(
                "subtracts the second-order term",
                _minus,
                why="Positive curvature opens upwards, so it must lift the model above the plane.",
                look=f"Section 6 of {CHAPTER}, 'Curvature has directions'",
            ),
            Misconception(
                "multiplies entry by entry and never sums",
                _each_input,
                why="A height is one number. g * d has one entry for each input; g @ d adds them up.",
                look=f"Section 3 of {CHAPTER}, 'The slope in any direction'",
            ),
        ],
        hints=(
            "Three terms: a height, a slope times a step, a bend times a step squared.",
            "With vectors the second term is a dot product, and the third is d @ H @ d. One of them has a factor.",
            "f0 + g @ d + 0.5 * d @ H @ d",
        ),
        alternatives=[_taylor_sums],
        names=("f0", "g", "H", "d"),
    ),
    Exercise(
        "02.6",
        "Gradient descent",
        minutes=12,
        difficulty=2,
        reference=_descend,
        cases=[
            _bumpy_bowl,
            Case("no step", COUPLED, np.array([1.0, -2.0]), 0.1, 0),
            Case("two inputs that act on each other", COUPLED, np.array([3.0, -2.0]), 0.1, 4),
            Case("one input", _slope_of(np.array([[2.0]]), np.ones(1)), np.array([1.5]), 0.3, 5),
        ],
        misconceptions=[
            Misconception(
                "walks uphill",
                _ascend,
                why="The gradient points up. Subtract it.",
                look=f"Section 7 of {CHAPTER}, the formula at its beginning",
            ),
            Misconception(
                "moves one coordinate and takes the next one's gradient at the place already moved",
                _one_by_one,
                why="Gradient descent takes the whole gradient at the old place and moves all coordinates together. "
                "Otherwise the later ones answer to a place that is neither old nor new.",
                look=f"Section 7 of {CHAPTER}, the formula at its beginning",
            ),
            Misconception(
                "leaves the start out of the path",
                _without_start,
                why="The path has steps + 1 places: the start, and one after each step.",
                look=f"The function `descend` in section 7 of {CHAPTER}",
            ),
            Misconception(
                "notes the place before each step, so that the last one is missing",
                _without_end,
                why="The path has steps + 1 places. After the loop, the place that was reached must be noted too.",
                look=f"The function `descend` in section 7 of {CHAPTER}",
            ),
            Misconception(
                "puts one and the same array into the path again and again",
                _one_array,
                why="p -= ... changes the array in place, and every entry of the list is that array, so all rows show "
                "the end. Write p = p - ..., which makes a new one, or append p.copy().",
                look=f"The function `descend` in section 7 of {CHAPTER}",
            ),
            Misconception(
                "uses the gradient of the start for every step",
                _old_gradient,
                why="The gradient knows the slope at one place only. After each step it must be asked again.",
                look=f"Section 7 of {CHAPTER}, the formula at its beginning",
            ),
            Misconception(
                "brings the gradient to length 1 before each step",
                _unit_steps,
                why="Then every step is lr long, also near the bottom, and the path never settles. The steps of "
                "gradient descent shorten by themselves as the ground flattens.",
                look=f"Section 7 of {CHAPTER}, the formula at its beginning",
            ),
            Misconception(
                "returns the last place, not the path",
                _end_only,
                why="The whole path is asked for, a table of steps + 1 rows.",
                look="the text of the exercise",
            ),
        ],
        hints=(
            "How many places does a path of 3 steps have?",
            "Keep a list that begins with the start. In each step, append the last place less lr times its gradient.",
            "path.append(path[-1] - lr * gradient(path[-1])); at the end np.array(path).",
        ),
        alternatives=[_descend_table],
        names=("gradient", "start", "lr", "steps"),
    ),
    Exercise(
        "02.7",
        "The edge of divergence",
        minutes=10,
        difficulty=2,
        reference=_edge,
        cases=[
            _bowl,
            Case("eigenvalues in no order", np.diag([3.0, 7.0, 0.5, 2.0])),
            Case("a round bowl", 4.0 * np.eye(3)),
            Case("one input", np.array([[5.0]])),
        ],
        misconceptions=[
            Misconception(
                "answers 1/λ for the edge, which is 2/λ",
                _edge_with(rate=lambda H: 1 / np.linalg.eigvalsh(H)[-1]),
                why="At 1/λ the factor 1 - ηλ is 0: the step lands on the floor of the steepest direction. It may leap "
                "across as far again, until the factor is -1, at 2/λ.",
                look=f"Section 8 of {CHAPTER}, 'One dimension: the factor 1 − ηλ'",
            ),
            Misconception(
                "lets the smallest curvature decide",
                _edge_with(rate=lambda H: 2 / np.linalg.eigvalsh(H)[0]),
                why="All directions share one learning rate, and the *steepest* is the first to explode: divide by the "
                "largest eigenvalue.",
                look=f"Section 8 of {CHAPTER}, 'Many dimensions: the steepest curvature decides'",
            ),
            Misconception(
                "gives the best rate instead of the edge",
                _edge_with(rate=lambda H: 2 / np.linalg.eigvalsh(H)[[0, -1]].sum()),
                why="2/(λmax + λmin) is the rate that converges fastest. The edge, from which on it diverges, is "
                "2/λmax.",
                look=f"Section 8 of {CHAPTER}, 'The zig-zag, and the price of a narrow valley'",
            ),
            Misconception(
                "has the condition number upside down",
                _edge_with(condition=lambda H: 1 / np.linalg.cond(H)),
                why="The condition number is the largest curvature divided by the smallest: 1 for a round bowl, large "
                "for a narrow valley.",
                look=f"Section 8 of {CHAPTER}, 'The zig-zag, and the price of a narrow valley'",
            ),
            Misconception(
                "takes the entries on the diagonal for the eigenvalues",
                _diagonal_as_eigenvalues,
                why="They are the curvatures along the axes. The largest curvature is usually in a slanting direction; "
                "np.linalg.eigvalsh finds it.",
                look=f"Section 6 of {CHAPTER}, 'Curvature has directions'",
            ),
            Misconception(
                "divides by the sum of all eigenvalues",
                _edge_with(rate=lambda H: 2 / np.trace(H)),
                why="The trace is the sum of all curvatures. Each direction has its own factor; only the largest "
                "eigenvalue decides.",
                look=f"Section 8 of {CHAPTER}, 'Many dimensions: the steepest curvature decides'",
            ),
            Misconception(
                "measures H by the root of the sum of its squares",
                _edge_with(rate=lambda H: 2 / np.linalg.norm(H)),
                why="np.linalg.norm of a matrix adds up the squares of all entries. What counts is the largest "
                "eigenvalue alone.",
                look=f"Section 8 of {CHAPTER}, 'Many dimensions: the steepest curvature decides'",
            ),
            Misconception(
                "takes the first and the last eigenvalue in the order in which eig returns them",
                _eig_as_it_comes,
                why="np.linalg.eig sorts nothing. np.linalg.eigvalsh, which is made for symmetric matrices, returns "
                "rising values; or use max and min.",
                look=f"Section 8 of {CHAPTER}, 'Many dimensions: the steepest curvature decides'",
            ),
        ],
        hints=(
            "Along an eigenvector each step multiplies by 1 - ηλ. When does that leave the range from -1 to 1, and for "
            "which eigenvalue first?",
            "np.linalg.eigvalsh(H) gives the eigenvalues of a symmetric matrix, the smallest first.",
            "values = np.linalg.eigvalsh(H); return 2 / values[-1], values[-1] / values[0].",
        ),
        alternatives=[_edge_svd],
        names=("H",),
    ),
]
