"""Checks of chapter 12, automatic differentiation: exercises 12.4 to 12.6, arrays and training."""

from __future__ import annotations

import math

import numpy as np

from lib.checks import Case, Exercise, Misconception
from lib.grad.scalar import Value

# 12.4 -------------------------------------------------------------------------------------------


def _unbroadcast(grad, shape):
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1)
    return grad.sum(axis=stretched, keepdims=True)


def _unbroadcast_loop(grad, shape):
    """The long way: hand each element of grad to the element that it was a copy of."""
    out = np.zeros(shape)
    view = np.broadcast_to(np.arange(out.size).reshape(shape), grad.shape)
    np.add.at(out.reshape(-1), view.reshape(-1), grad.reshape(-1))
    return out


def _leading(grad, shape):
    return tuple(range(grad.ndim - len(shape)))


def _axes(grad, shape):
    """All axes of grad along which an operand of this shape was copied."""
    extra = grad.ndim - len(shape)
    return tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1)


def _shape_case(rng):
    full = tuple(int(n) for n in rng.integers(2, 5, size=rng.integers(1, 4)))
    shape = full[int(rng.integers(0, len(full) + 1)) :]
    shape = tuple(1 if rng.random() < 0.4 else n for n in shape)
    return rng.normal(size=full), shape


def _ones_and_ramp(*full):
    return np.arange(1.0, math.prod(full) + 1).reshape(full)


UNBROADCAST = Exercise(
    "12.4",
    "Broadcasting, undone",
    minutes=15,
    difficulty=2,
    reference=_unbroadcast,
    cases=[
        _shape_case,
        Case("a bias of a batch", _ones_and_ramp(4, 3), (3,)),
        Case("a column", _ones_and_ramp(4, 3), (4, 1)),
        Case("a row", _ones_and_ramp(4, 3), (1, 3)),
        Case("a single number", _ones_and_ramp(4, 3), ()),
        Case("a table of one element", _ones_and_ramp(4, 3), (1, 1)),
        Case("nothing was copied", _ones_and_ramp(4, 3), (4, 3)),
        Case("a column with a batch in front", _ones_and_ramp(2, 4, 3), (4, 1)),
        Case("the axis in the middle", _ones_and_ramp(2, 4, 3), (2, 1, 3)),
        Case("an axis that had size 1 from the start", _ones_and_ramp(1, 3), (1, 3)),
    ],
    misconceptions=[
        Misconception(
            "returns the gradient without summing it",
            lambda grad, shape: grad,
            why="A gradient has the shape of what it belongs to. Each copy that broadcasting made sends a "
            "message back, and they add up.",
            look="section 11 of 12_autograd, the picture of the bias",
        ),
        Misconception(
            "sums over the new axes in front only, and forgets the axes of size 1",
            lambda grad, shape: grad.sum(axis=_leading(grad, shape)),
            why="An axis of size 1 is stretched as well: (4, 1) becomes (4, 3) by copying. Those copies must be "
            "added too.",
            look="section 11 of 12_autograd, 'Two ways of copying'",
        ),
        Misconception(
            "sums over the axes of size 1 only, and forgets the new axes in front",
            lambda grad, shape: grad.sum(
                axis=tuple(i + grad.ndim - len(shape) for i, n in enumerate(shape) if n == 1), keepdims=True
            ),
            why="A (3,) added to a (4, 3) is copied along an axis that it did not have. Sum over that axis and "
            "drop it.",
            look="section 11 of 12_autograd, 'Two ways of copying'",
        ),
        Misconception(
            "sums over the first axis, whatever the shape",
            lambda grad, shape: grad.sum(axis=0),
            why="That is right for a bias of a batch. Compare grad.shape with shape: which axes are new, and "
            "which have size 1?",
            look="section 11 of 12_autograd, 'Two ways of copying'",
        ),
        Misconception(
            "loses the axes of size 1 when it sums",
            lambda grad, shape: grad.sum(axis=_axes(grad, shape)),
            why="The gradient of a (4, 1) is a (4, 1), not a (4,). keepdims=True keeps a summed axis with size 1.",
            look="section 11 of 12_autograd, 'Two ways of copying'",
        ),
        Misconception(
            "takes the mean over the copies instead of the sum",
            lambda grad, shape: grad.mean(axis=_axes(grad, shape)).reshape(shape),
            why="Every copy moves when the original moves, so the effects add up. A mean would divide by the "
            "number of copies.",
            look="section 11 of 12_autograd, the picture of the bias",
        ),
        Misconception(
            "keeps the gradient of one copy and drops the others",
            lambda grad, shape: grad[
                tuple(0 if i in _axes(grad, shape) else slice(None) for i in range(grad.ndim))
            ].reshape(shape),
            why="Every copy was used, so every copy has a message. They must all be added.",
            look="section 11 of 12_autograd, the picture of the bias",
        ),
    ],
    hints=(
        "A bias of shape (3,) is added to 4 rows. How many messages come back for each of its 3 numbers, and "
        "what happens to them?",
        "Two steps. First sum away the axes that grad has and shape has not: they are the first ones. Then sum "
        "over the axes where shape has a 1, and keep them.",
        "extra = grad.ndim - len(shape) axes go with grad.sum(axis=tuple(range(extra))). Then sum over the axes "
        "i with shape[i] == 1, keepdims=True.",
    ),
    alternatives=[
        _unbroadcast_loop,
        lambda grad, shape: grad.sum(axis=_axes(grad, shape)).reshape(shape),
    ],
    names=("grad", "shape"),
)


# 12.5 -------------------------------------------------------------------------------------------


def _use_train(train, xs, ys, steps, lr):
    """Fit the line y = w x + b with the learner's loop."""
    w, b = Value(0.5), Value(-0.25)

    def loss():
        return sum((w * x + b - y) ** 2 for x, y in zip(xs.tolist(), ys.tolist(), strict=True)) * (1 / len(xs))

    losses = train([w, b], loss, steps, lr)
    if losses is None:
        return None
    return {"losses": losses, "w": w.data, "b": b.data}


def _train(parameters, loss, steps, lr):
    losses = []
    for _ in range(steps):
        for p in parameters:
            p.grad = 0.0
        now = loss()
        now.backward()
        for p in parameters:
            p.data -= lr * p.grad
        losses.append(now.data)
    return losses


def _train_clear_last(parameters, loss, steps, lr):
    losses = []
    for _ in range(steps):
        losses.append(loss())
        losses[-1].backward()
        for p in parameters:
            p.data, p.grad = p.data - lr * p.grad, 0.0
    return [x.data for x in losses]


def _train_no_zero(parameters, loss, steps, lr):
    losses = []
    for _ in range(steps):
        now = loss()
        now.backward()
        for p in parameters:
            p.data -= lr * p.grad
        losses.append(now.data)
    return losses


def _train_still(parameters, loss, steps, lr):
    return [loss().data for _ in range(steps)]


def _train_uphill(parameters, loss, steps, lr):
    return _train(parameters, loss, steps, -lr)


def _train_full_step(parameters, loss, steps, lr):
    return _train(parameters, loss, steps, 1.0)


def _train_stale(parameters, loss, steps, lr):
    now, losses = loss(), []
    for _ in range(steps):
        for p in parameters:
            p.grad = 0.0
        now.backward()
        for p in parameters:
            p.data -= lr * p.grad
        losses.append(now.data)
    return losses


def _train_values(parameters, loss, steps, lr):
    return [Value(x) for x in _train(parameters, loss, steps, lr)]


def _train_one_ahead(parameters, loss, steps, lr):
    return [*_train(parameters, loss, steps, lr), loss().data][1:]


def _line_case(rng):
    xs = rng.normal(size=int(rng.integers(3, 7)))
    ys = rng.uniform(1, 3) * xs + rng.uniform(0.5, 1.5) + 0.1 * rng.normal(size=len(xs))
    return xs, ys, int(rng.integers(3, 7)), float(rng.uniform(0.02, 0.1))


LINE = np.array([-1.0, 0.0, 2.0]), np.array([-1.0, 1.0, 5.0])

TRAIN = Exercise(
    "12.5",
    "The training loop",
    minutes=10,
    difficulty=2,
    reference=_train,
    use=_use_train,
    cases=[
        _line_case,
        Case("one step", *LINE, 1, 0.1),
        Case("two steps", *LINE, 2, 0.1),
        Case("ten steps", *LINE, 10, 0.05),
        Case("no steps", *LINE, 0, 0.1),
    ],
    misconceptions=[
        Misconception(
            "never clears the gradients between steps",
            _train_no_zero,
            why="backward adds to grad. From the second step on, each step follows the sum of all gradients so "
            "far, not the gradient here.",
            look="section 9 of 12_autograd, 'Forgetting to clear'",
        ),
        Misconception(
            "never moves the parameters",
            _train_still,
            why="Either the gradients are cleared after backward and before the step, so that the step is zero; "
            "or p = p - lr * p.grad makes a new "
            "Value, while the loss still uses the old one. Clear before backward, and change p.data.",
            look="section 9 of 12_autograd, the training loop",
        ),
        Misconception(
            "steps uphill",
            _train_uphill,
            why="The gradient points to where the loss grows. To make it smaller, subtract.",
            look="section 9 of 12_autograd, the training loop",
        ),
        Misconception(
            "leaves out the learning rate",
            _train_full_step,
            why="The gradient says which way is up and how steep it is, not how far to go. A step is lr times "
            "the gradient.",
            look="section 9 of 12_autograd, the training loop",
        ),
        Misconception(
            "computes the loss once, before the loop",
            _train_stale,
            why="A graph holds the numbers of one forward pass. After the parameters have moved, call loss() "
            "again to make a new graph.",
            look="section 9 of 12_autograd, the training loop",
        ),
        Misconception(
            "returns the losses as Values",
            _train_values,
            why="A list of Values keeps every graph in memory, from the first step to the last. Keep the number: "
            "loss.data.",
            look="section 9 of 12_autograd, the training loop",
        ),
        Misconception(
            "notes the loss after the step instead of before it",
            _train_one_ahead,
            why="The exercise asks for the loss that each backward started from. The first number is the loss of "
            "the untrained parameters.",
            look="the text of the exercise",
        ),
    ],
    hints=(
        "Four things happen in each step. In which order?",
        "Clear every p.grad; call loss() and backward() on what it returns; move every p.data against its "
        "gradient; note the number.",
        "p.grad = 0.0 for all p, then now = loss(), now.backward(), p.data -= lr * p.grad for all p, "
        "losses.append(now.data).",
    ),
    alternatives=[_train_clear_last],
    names=("xs", "ys", "steps", "lr"),
)


# 12.6 -------------------------------------------------------------------------------------------


def _matmul_backward(a, b, grad):
    return _unbroadcast(grad @ np.swapaxes(b, -1, -2), a.shape), _unbroadcast(np.swapaxes(a, -1, -2) @ grad, b.shape)


def _matmul_einsum(a, b, grad):
    da = np.einsum("...nm,...km->...nk", grad, b)
    db = np.einsum("...nk,...nm->...km", a, grad)
    return _unbroadcast_loop(da, a.shape), _unbroadcast_loop(db, b.shape)


def _matmul_case(rng):
    n, k, m = rng.permutation([2, 3, 4, 5])[:3]
    front = [((), ()), ((3,), (3,)), ((6,), ()), ((), (6,)), ((2, 1), (3,))][int(rng.integers(5))]
    a, b = rng.normal(size=(*front[0], n, k)), rng.normal(size=(*front[1], k, m))
    return a, b, rng.normal(size=(a @ b).shape)


def _matmul_fixed(label, a_shape, b_shape):
    rng = np.random.default_rng(len(label))
    a, b = rng.normal(size=a_shape), rng.normal(size=b_shape)
    return Case(label, a, b, rng.normal(size=(a @ b).shape))


MATMUL = Exercise(
    "12.6",
    "Backward through a matrix product",
    minutes=20,
    difficulty=3,
    reference=_matmul_backward,
    cases=[
        _matmul_case,
        _matmul_fixed("two tables", (2, 3), (3, 4)),
        _matmul_fixed("square tables", (3, 3), (3, 3)),
        _matmul_fixed("a stack of tables times a stack", (5, 2, 3), (5, 3, 4)),
        _matmul_fixed("a stack times one shared table", (5, 2, 3), (3, 4)),
        _matmul_fixed("one shared table times a stack", (2, 3), (5, 3, 4)),
        _matmul_fixed("a stack of one, stretched", (1, 2, 3), (5, 3, 4)),
        _matmul_fixed("a stack of cubes", (3, 3, 3), (3, 3, 3)),
    ],
    misconceptions=[
        Misconception(
            "forgets to transpose",
            lambda a, b, grad: (_unbroadcast(grad @ b, a.shape), _unbroadcast(a @ grad, b.shape)),
            why="The gradient of a is (n, m) times (m, k), so b must be turned round. With square tables the "
            "shapes fit, and the numbers are wrong.",
            look="section 10 of 12_autograd, 'The rule of the matrix product'",
        ),
        Misconception(
            "multiplies in the wrong order",
            lambda a, b, grad: (
                _unbroadcast(np.swapaxes(b, -1, -2) @ grad, a.shape),
                _unbroadcast(grad @ np.swapaxes(a, -1, -2), b.shape),
            ),
            why="Matrices do not commute. In the product a stands left of b, so its gradient is grad times b "
            "transposed, with b on the right.",
            look="section 10 of 12_autograd, 'The rule of the matrix product'",
        ),
        Misconception(
            "uses .T on a stack, which reverses all the axes",
            lambda a, b, grad: (_unbroadcast(grad @ b.T, a.shape), _unbroadcast(a.T @ grad, b.shape)),
            why="For (5, 2, 3), .T gives (3, 2, 5). Only the last two axes must change places: np.swapaxes(x, -1, -2).",
            look="section 10 of 12_autograd, 'The rule of the matrix product'",
        ),
        Misconception(
            "does not sum the gradient of a shared table over the stack",
            lambda a, b, grad: (grad @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ grad),
            why="One table used by 5 others was broadcast: 5 messages come back for it, and they add up. "
            "unbroadcast does that.",
            look="section 11 of 12_autograd, and exercise 12.4",
        ),
        Misconception(
            "swaps the two gradients",
            lambda a, b, grad: _matmul_backward(a, b, grad)[::-1],
            why="The first result belongs to a and has its shape.",
            look="the text of the exercise",
        ),
    ],
    hints=(
        "Write down the three shapes: a (n, k), b (k, m), grad (n, m). Which product of grad and b has the shape of a?",
        "da = grad times b transposed, db = a transposed times grad. Transpose the last two axes only. Then undo "
        "any broadcasting of the stack.",
        "unbroadcast(grad @ np.swapaxes(b, -1, -2), a.shape) is the first of the two.",
    ),
    alternatives=[_matmul_einsum],
    names=("a", "b", "grad"),
)

EXERCISES = [UNBROADCAST, TRAIN, MATMUL]
