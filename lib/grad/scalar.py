"""The scalar engine: numbers that remember how they were made, and so can be differentiated.

A `Node` holds one number, the nodes it was made from, and a closure that passes its gradient on to them. Each operation
is a function that makes a new node. `backward` visits the nodes from the last to the first and runs the closures: the
chain rule, one link at a time. `Value` is a `Node` that also understands Python's `+ - * / **`.

Chapter 12 builds this file. `lib.grad.tensor` is the same idea with an array in place of each number.

Source: S. Linnainmaa (1970), the reverse mode of automatic differentiation; closures as in A. Karpathy's micrograd.
"""

from __future__ import annotations

import math
from numbers import Real


class Node:
    """One number in a computation: `data`, its gradient `grad`, and the nodes `_prev` that the operation `_op` used.

    Raises TypeError when `data` is not a real number.
    """

    def __init__(self, data, _prev=(), _op=""):
        if not isinstance(data, Real):
            raise TypeError(f"{type(self).__name__}: data must be one real number, got {data!r}")
        self.data = float(data)
        self.grad = 0.0
        self._prev = _prev
        self._op = _op
        self._backward = lambda: None

    def __repr__(self):
        return f"{type(self).__name__}(data={self.data:.4f}, grad={self.grad:.4f})"


def add(a, b):
    """The node a + b. d(a + b)/da = 1 and d(a + b)/db = 1."""
    out = type(a)(a.data + b.data, (a, b), "+")

    def _backward():
        a.grad += out.grad
        b.grad += out.grad

    out._backward = _backward
    return out


def mul(a, b):
    """The node a * b. d(ab)/da = b and d(ab)/db = a."""
    out = type(a)(a.data * b.data, (a, b), "*")

    def _backward():
        a.grad += b.data * out.grad
        b.grad += a.data * out.grad

    out._backward = _backward
    return out


def topological_order(root):
    """Every node that `root` depends on, each one after the nodes it was made from; `root` is last.

    A depth-first walk with its own stack: a recursive one would stop at Python's limit of about 1,000 calls.
    """
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node._prev)
    return order


def backward(root):
    """Add d root / d node to the `grad` of every leaf, and set it in every node between.

    A leaf (a node made by hand) adds up its gradients over calls, until you set `grad` to 0. The nodes between start
    again from 0 each time, so that a second call does not count the first one twice.
    """
    order = topological_order(root)
    for node in order:
        if node._prev:
            node.grad = 0.0
    root.grad += 1.0
    for node in reversed(order):
        node._backward()


def unary(x, op, y, slope):
    """The node y = f(x) of a function of one number whose derivative at x is `slope`."""
    out = type(x)(y, (x,), op)

    def _backward():
        x.grad += slope * out.grad

    out._backward = _backward
    return out


def power(x, k):
    """The node x^k for a number k. Its derivative is k x^(k-1). Raises TypeError when k is not a number."""
    if not isinstance(k, Real):
        raise TypeError(f"power: the exponent must be a plain number, got {k!r}; for x**y write (y * x.log()).exp()")
    return unary(x, f"**{k}", x.data**k, k * x.data ** (k - 1) if k else 0.0)


def exp(x):
    """The node e^x. Its derivative is e^x again."""
    y = math.exp(x.data)
    return unary(x, "exp", y, y)


def log(x):
    """The node ln x. Its derivative is 1/x. Raises ValueError when x is not positive."""
    if x.data <= 0:
        raise ValueError(f"log: the number must be positive, got {x.data}")
    return unary(x, "log", math.log(x.data), 1 / x.data)


def tanh(x):
    """The node tanh x. Its derivative is 1 - tanh(x)^2."""
    y = math.tanh(x.data)
    return unary(x, "tanh", y, 1 - y * y)


def sigmoid(x):
    """The node 1 / (1 + e^-x). Its derivative is y (1 - y)."""
    z = math.exp(-abs(x.data))  # never more than 1, so it cannot overflow
    y = (1 if x.data >= 0 else z) / (1 + z)
    return unary(x, "sigmoid", y, y * (1 - y))


def relu(x):
    """The node max(0, x). Its derivative is 1 where x > 0 and 0 elsewhere."""
    return unary(x, "relu", max(0.0, x.data), 1.0 if x.data > 0 else 0.0)


def lift(x):
    """`x` as a `Value`: a plain number in a formula becomes a leaf."""
    return x if isinstance(x, Value) else Value(x)


class Value(Node):
    """A `Node` that can be written in formulas: `(a * b + 1).tanh().backward()`.

    Subtraction and division are made of the operations above: a - b = a + (-1) b and a / b = a b^-1.
    """

    def __add__(self, other):
        return add(self, lift(other))

    def __mul__(self, other):
        return mul(self, lift(other))

    def __pow__(self, k):
        return power(self, k)

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -lift(other)

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * lift(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    __array_ufunc__ = None  # NumPy numbers on the left leave the work to __radd__ and __rmul__
    __radd__, __rmul__ = __add__, __mul__
    exp, log, tanh, sigmoid, relu, backward = exp, log, tanh, sigmoid, relu, backward
