"""What the table of operations does not say: backward, no_grad, dtypes, ties, extremes, and errors that help."""

import numpy as np
import pytest
import torch

import lib.grad as G
from lib.grad import Tensor, no_grad
from tests.claims import largest
from tests.grad.compare import error_to_torch
from tests.grad.table import TABLE, Case


def leaf(*shape, dtype=np.float64):
    return Tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True, dtype=dtype)


# --- backward --------------------------------------------------------------------------------------------------------


def test_a_broadcast_input_gets_the_sum():
    x, b = leaf(3, 4), leaf(4)
    (x + b).sum().backward()
    assert np.array_equal(b.grad, np.full(4, 3.0))


def test_a_tensor_used_twice_gets_both_gradients():
    x = leaf(3)
    (x * x + x).sum().backward()
    assert np.allclose(x.grad, 2 * x.data + 1, rtol=1e-15)


def test_gradients_add_up_over_calls():
    x = leaf(3)
    (2 * x).sum().backward()
    (3 * x).sum().backward()
    assert np.array_equal(x.grad, np.full(3, 5.0))


def test_gradients_do_not_share_memory():
    x, y = leaf(3), leaf(3)
    start = np.ones(3)
    (x + y).backward(start)
    x.grad += 1
    assert np.array_equal(y.grad, np.ones(3)) and np.array_equal(start, np.ones(3))


def test_a_gradient_is_not_written_through_a_shared_array():
    """x gets the array g itself twice, by way of `+`; adding up in place would also change y's gradient."""
    x, y = leaf(3), leaf(3)
    ((x + y) + (x + y)).sum().backward()
    assert np.array_equal(x.grad, np.full(3, 2.0)) and np.array_equal(y.grad, np.full(3, 2.0))


def test_only_what_requires_a_gradient_gets_one():
    x, w = Tensor(np.ones(3)), leaf(3)
    (x * w).sum().backward()
    assert x.grad is None and w.grad is not None


def test_a_deep_graph_needs_no_recursion():
    x = y = leaf()
    for _ in range(10_000):
        y = y * 1.0
    y.backward()
    assert x.grad == 1.0


def test_a_deep_graph_can_be_thrown_away():
    y = leaf()
    for _ in range(10_000):
        y = y * 1.0
    del y


def test_no_grad():
    x = leaf(3)
    with no_grad():
        y = x * 2
    assert not y.requires_grad and (x * 2).requires_grad


def test_no_grad_as_a_decorator_and_after_an_error():
    @no_grad()
    def f(x):
        raise KeyError

    with pytest.raises(KeyError):
        f(leaf())
    assert (leaf() * 2).requires_grad


def test_detach_cuts_the_history():
    x = leaf(3)
    (x * x.detach()).sum().backward()
    assert np.array_equal(x.grad, x.data)


def test_backward_frees_the_graph():
    loss = leaf(3).exp().sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"freed by an earlier backward.*retain_graph=True"):
        loss.backward()


def test_a_shared_part_that_was_freed_is_noticed():
    h = leaf(3).exp()
    h.sum().backward()
    with pytest.raises(RuntimeError, match="freed"):
        (h * 2).sum().backward()


def test_retain_graph():
    x = leaf(3)
    loss = x.sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert np.array_equal(x.grad, np.full(3, 2.0))


# --- changes in place ------------------------------------------------------------------------------------------------


def add_to(t):
    t.data += 1


def set_one(t):
    t.data[0] = 5


def rebind(t):
    t.data = t.data + 1


def by_name(t):
    np.multiply(t.data, 2, out=t.data)


def by_optimizer(t):
    t.grad = np.ones(t.shape)
    G.SGD([t], lr=0.1).step()


CHANGES = [add_to, set_one, rebind, by_name, by_optimizer]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_input_is_noticed(change):
    x, w = leaf(3), leaf(3)
    loss = (x * w).sum()
    change(w)
    with pytest.raises(RuntimeError, match=r"the input b of mul, shape \(3,\), was changed in place"):
        loss.backward()


@pytest.mark.parametrize("change", [add_to, set_one, rebind, by_name])
def test_a_changed_result_is_noticed(change):
    y = leaf(3).exp()
    loss = y.sum()
    change(y)
    with pytest.raises(RuntimeError, match="the result of exp"):
        loss.backward()


@pytest.mark.parametrize("view", [lambda x: x.reshape(3, 1), lambda x: x[1:], lambda x: x.detach()])
def test_a_change_through_a_view_is_noticed(view):
    x = leaf(3)
    other = view(x)
    loss = x.exp().log().sum() + (x * x).sum()
    other.data[0] = 5
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_change_through_an_array_taken_before_forward_is_noticed():
    x = leaf(3)
    array = x.data
    loss = (x * x).sum()
    array[0] = 5
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_nan_is_no_change():
    x = Tensor([np.nan, 1.0], requires_grad=True)
    loss = (x * x).sum()
    assert x.data is not None
    loss.backward()
    assert x.grad[1] == 2.0


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_no_derivative_needs_is_allowed(change):
    x, b = leaf(3), leaf(3)
    loss = (x + b).sum()
    change(b)
    b.grad = None
    loss.backward()
    assert np.array_equal(b.grad, np.ones(3))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_backward_is_allowed(change):
    x = leaf(3)
    for _ in range(3):
        loss = (x * x).sum()
        x.grad = None
        loss.backward()
        assert np.allclose(x.grad, 2 * x.data, rtol=1e-15)
        change(x)


def test_only_what_is_needed_and_in_hand_is_copied():
    x, y, z = leaf(3), leaf(3), leaf(3)
    y.data[0] = z.data[0]
    ((x * y).sum() + z.sum()).backward()
    assert x._memory.copy is None and z._memory.copy is None and y._memory.copy is not None


def test_assigning_data_keeps_the_dtype_and_copies():
    x, new = leaf(3, dtype=np.float32), np.array([1.0, 2.0, 3.0])
    x.data = [4.0, 5.0, 6.0]
    assert np.array_equal(x.data, [4, 5, 6])
    x.data = new
    new[:] = 7
    assert np.array_equal(x.data, [1, 2, 3]) and x.dtype == np.float32


def test_the_data_given_is_copied():
    array = np.ones(3)
    x = Tensor(array, requires_grad=True)
    loss = (x * x).sum()
    array[:] = 7
    loss.backward()
    assert np.array_equal(x.grad, np.full(3, 2.0))


def test_indices_are_copied():
    x, index, targets = leaf(3, 4), np.array([0, 1]), np.array([0, 1])
    loss = G.cross_entropy(x[index], targets)
    index[:], targets[:] = 2, 3
    loss.backward()
    assert np.all(x.grad[:2] != 0) and np.all(x.grad[2] == 0) and x.grad[0, 0] < 0


# --- dtype -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", TABLE)
def test_float32_stays_float32(op):
    """Results and gradients keep the dtype, and are torch's within the precision of float32, which is about 1e-7."""

    def error(case):
        return error_to_torch(TABLE[op], Case(tuple(x.astype(np.float32) for x in case.inputs), case.options))

    assert largest(TABLE[op].cases, error, tolerance=1e-5, examples=15) <= 1e-5


@pytest.mark.parametrize("constant", [2, 2.0, np.float64(2), np.array(2), np.full(3, 2.0), np.full(3, True)])
def test_constants_take_the_dtype_of_the_tensor(constant):
    x = leaf(3, dtype=np.float32)
    assert (x * constant).dtype == np.float32 and (constant * x).dtype == np.float32


def test_arrays_and_numbers_on_the_left():
    x = Tensor([1.0, 2.0])
    two = np.array([2.0, 2.0])
    for left in (2, two):
        results = [left + x, left - x, left * x, left / x, left**x]
        assert np.array_equal([y.data for y in results], [[3, 4], [1, 0], [2, 4], [2, 1], [2, 4]])
    assert np.array_equal((np.eye(2) @ x.reshape(2, 1)).data, [[1], [2]])


# --- ties and extremes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: x.max(1), lambda x: x.amax(1)),
        (lambda x: G.max_pool2d(x.reshape(1, 1, 4, 4), 2), lambda x: torch.max_pool2d(x.reshape(1, 1, 4, 4), 2)),
        (Tensor.relu, torch.relu),
        (lambda x: x**2, lambda x: x**2),
        (lambda x: x**0, lambda x: x**0),
    ],
)
def test_ties_and_kinks_follow_torch(ours, theirs):
    array = np.random.default_rng(0).integers(-1, 2, (4, 4)).astype(float)
    x, z = Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    ours(x).sum().backward()
    theirs(z).sum().backward()
    assert np.array_equal(x.grad, z.grad.numpy())


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_large_numbers_do_not_overflow(scale):
    array = np.array([[0.0, scale], [scale, 2 * scale]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for f in (G.softmax, G.log_softmax, Tensor.sigmoid, Tensor.gelu, lambda t: G.cross_entropy(t, [0, 1])):
            x = Tensor(array, requires_grad=True)
            y = f(x)
            y.sum().backward()
            assert np.isfinite(y.data).all() and np.isfinite(x.grad).all()


def test_iteration_and_length():
    x = leaf(3, 2)
    assert len(x) == 3 and [row.shape for row in x] == [(2,)] * 3


def test_transpose_exchanges_two_axes():
    x = leaf(2, 3, 4)
    assert x.transpose(0, -1).shape == (4, 3, 2) and x.T.shape == (2, 4, 3)


def test_reshape_takes_a_tuple_too():
    assert leaf(2, 3).reshape((3, -1)).shape == (3, 2)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            lambda x: x @ np.ones((5, 2)),
            ValueError,
            r"matmul: \(3, 4\) and \(5, 2\): the last axis of the left, 4, .* 5",
        ),
        (lambda x: x @ np.ones(4), ValueError, r"matmul: \(3, 4\) and \(4,\): each side must have two axes"),
        (
            lambda x: x + np.ones(3),
            ValueError,
            r"add: \(3, 4\) and \(3,\): .* axis -1 is 4 on the left and 3 on the right",
        ),
        (lambda x: x.reshape(5, 2), ValueError, r"reshape: \(3, 4\): cannot reshape .* \(5,2\)"),
        (lambda x: x.sum(2), ValueError, r"sum: \(3, 4\): axis 2 is out of bounds"),
        (lambda x: x[3], IndexError, r"getitem: \(3, 4\): index 3 is out of bounds"),
        (lambda x: x.permute(0), ValueError, r"transpose: \(3, 4\): axes don't match"),
        (
            lambda x: G.linear(x, np.ones((2, 3))),
            ValueError,
            r"linear: \(3, 4\) and \(2, 3\): the last axis of x, \(4,\)",
        ),
        (lambda x: G.linear(x, np.ones((2, 4)), np.ones(3)), ValueError, r"the bias must have shape \(2,\)"),
        (lambda x: G.linear(x, np.ones(4)), ValueError, "the weight must have two axes"),
        (lambda x: G.concatenate([x, np.ones((3, 5))]), ValueError, r"concatenate: \(3, 4\) and \(3, 5\)"),
        (lambda x: G.concatenate([]), ValueError, "concatenate: there are no tensors to join"),
        (lambda x: x.transpose(0, 2), ValueError, r"transpose: \(3, 4\): axes 0 and 2 must be from -2 to 1"),
        (lambda x: G.where(np.ones(3) > 0, x, 0.0), ValueError, r"where: \(3, 4\) and \(\)"),
        (lambda x: G.gather(x, [[0], [9]], 1), IndexError, r"gather: \(3, 4\): index 9"),
        (lambda x: G.gather(x, [[0]], 2), ValueError, r"gather: \(3, 4\): axis 2 is out of bounds"),
        (lambda x: G.gather(x, [0], 1), ValueError, r"gather: \(3, 4\): the index, \(1,\), must have as many axes"),
        (lambda x: G.gather(x, [[0.5]], 1), TypeError, "gather: indices and labels must be integers, got float64"),
        (lambda x: G.cross_entropy(x, [0, 1]), ValueError, r"cross_entropy: \(3, 4\): the targets, \(2,\), must have"),
        (lambda x: G.cross_entropy(x, [0, 1, 4]), ValueError, "a class from 0 to 3, got 4"),
        (lambda x: G.cross_entropy(x, [0, -1, 3]), ValueError, "a class from 0 to 3, got -1"),
        (lambda x: G.cross_entropy(x, np.eye(4)[:3]), TypeError, "must be integers, got float64"),
        (lambda x: G.cross_entropy(x[:0], np.zeros(0, int)), ValueError, "there are no targets"),
        (lambda x: G.layer_norm(x, np.ones(3), np.ones(4)), ValueError, r"layer_norm: .* the last axis of x, \(4,\)"),
        (
            lambda x: G.conv2d(x, np.ones((1, 1, 2, 2))),
            ValueError,
            r"conv2d: \(3, 4\) and \(1, 1, 2, 2\): x must be \(N, C",
        ),
        (lambda x: G.max_pool2d(x.reshape(1, 1, 3, 4), 2, 0), ValueError, r"max_pool2d: .* step cannot be zero"),
        (lambda x: G.max_pool2d(x, 2), ValueError, r"max_pool2d: \(3, 4\): x must have four axes"),
        (lambda x: G.max_pool2d(x.reshape(1, 1, 3, 4), 4), ValueError, r"the kernel, 4 by 4, is larger .* \(3, 4\)"),
        (lambda x: x + "1", TypeError, "add: expected a Tensor, an array or a number, got str"),
        (lambda x: x * Tensor([1.0], dtype=np.float32), TypeError, "mul: float32 and float64 tensors do not mix"),
        (lambda x: np.asarray(x), TypeError, "a Tensor is not an array: write t.data"),
        (lambda x: np.exp(x), TypeError, "ufunc"),
        (
            lambda x: Tensor([1, 2]),
            TypeError,
            r"float32 or float64, got int64\. Convert it: Tensor\(data, dtype=np.float64\)",
        ),
        (lambda x: Tensor(np.ones(2, np.float16)), TypeError, "float32 or float64, got float16"),
        (lambda x: Tensor(x), TypeError, "the data is a Tensor already"),
        (lambda x: x.backward(), RuntimeError, r"one number, and this tensor has shape \(3, 4\)\. Take \.sum\(\)"),
        (lambda x: x.backward(np.ones(3)), ValueError, r"the gradient is \(3,\) and the tensor \(3, 4\)"),
        (lambda x: x.detach().sum().backward(), RuntimeError, "nothing here requires a gradient"),
        (lambda x: setattr(x, "data", np.ones(3)), ValueError, r"data: \(3,\) cannot take the place of \(3, 4\)"),
    ],
)
def test_errors_say_what_is_wrong(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(leaf(3, 4))
