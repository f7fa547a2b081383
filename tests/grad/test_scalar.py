"""The scalar engine: the well-known expression, the order of backward, and what it refuses."""

import math

import numpy as np
import pytest

from lib.grad import Value
from lib.grad.scalar import topological_order


def test_the_well_known_expression():
    """The expression in the README of micrograd, with the results printed there."""
    a, b = Value(-4.0), Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    assert (round(g.data, 4), round(a.grad, 4), round(b.grad, 4)) == (24.7041, 138.8338, 645.5773)


def test_a_value_used_twice_gets_both_gradients():
    x = Value(3.0)
    (x * x + x).backward()
    assert x.grad == 7.0


def test_leaves_add_up_and_the_rest_start_again():
    x = Value(3.0)
    y = x * x
    z = y * 2
    z.backward()
    z.backward()
    assert (x.grad, y.grad, z.grad) == (24.0, 2.0, 1.0)


def test_parents_come_before_children():
    x = Value(1.0)
    y = x * 2
    z = y + x
    order = topological_order(z + y)
    assert order.index(x) < order.index(y) < order.index(z) < len(order) - 1
    assert len(order) == len(set(order))


def test_a_deep_graph_needs_no_recursion():
    x = y = Value(1.0)
    for _ in range(10_000):
        y = y * 1.0 + 0.0
    y.backward()
    assert x.grad == 1.0


def test_log_of_every_positive_number():
    x = Value(0.25)
    y = x.log()
    y.backward()
    assert (y.data, x.grad) == (math.log(0.25), 4.0)


@pytest.mark.parametrize("x", [-800.0, -40.0, 0.0, 40.0, 800.0])
def test_sigmoid_does_not_overflow(x):
    y = Value(x).sigmoid()
    assert y.data == pytest.approx(1 / (1 + math.exp(min(-x, 700))), rel=1e-12, abs=1e-300)


def test_relu_has_slope_0_at_0():
    x = Value(0.0)
    x.relu().backward()
    assert x.grad == 0.0


def test_power_0_is_flat_everywhere():
    x = Value(0.0)
    (x**0).backward()
    assert x.grad == 0.0


def test_numpy_numbers_may_stand_on_either_side():
    x = Value(2.0)
    results = [np.float64(3) * x, x * np.float32(3), np.float64(3) + x, np.int64(8) / x, np.float64(3) - x]
    assert [y.data for y in results] == [6.0, 6.0, 5.0, 4.0, 1.0]
    assert all(type(y) is Value for y in results)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda x: Value([1.0]), TypeError, r"Value: data must be one real number, got \[1.0\]"),
        (lambda x: x + "1", TypeError, "one real number, got '1'"),
        (lambda x: np.ones(2) * x, TypeError, "one real number, got array"),
        (lambda x: x**x, TypeError, "the exponent must be a plain number"),
        (lambda x: (x - 5).log(), ValueError, "log: the number must be positive, got -3.0"),
        (lambda x: (x - 2).log(), ValueError, "log: the number must be positive, got 0.0"),
        (lambda x: (x - 5) ** 0.5, TypeError, "one real number"),
    ],
)
def test_what_it_refuses(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(Value(2.0))
