"""Layers and optimizers, apart from the numbers, which verified.py compares with torch's."""

import math

import numpy as np
import pytest

from lib.grad import MLP, SGD, Adam, AdamW, Dropout, Embedding, LayerNorm, Linear, Module, Tensor, cross_entropy


class Net(Module):
    def __init__(self, rng):
        self.embed = Embedding(5, 3, rng=rng)
        self.body = [Linear(3, 3, rng=rng), (LayerNorm(3), Dropout(0.5, rng=rng))[0]]
        self.drop = Dropout(0.5, rng=rng)
        self.head = Linear(3, 5, rng=rng, bias=False)
        self.head.weight = self.embed.weight  # tied: one tensor in two places
        self.constant = Tensor(np.ones(3))

    def forward(self, ids):
        return self.head(self.drop(self.body[1](self.body[0](self.embed(ids)))))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_parameters_are_found_once_and_in_order(rng):
    assert [p.shape for p in Net(rng).parameters()] == [(5, 3), (3, 3), (3,), (3,), (3,)]


def test_train_and_eval_reach_every_part(rng):
    net = Net(rng)
    assert net.drop.training and net.body[1].training
    assert net.eval() is net and not any(m.training for m in net.modules())
    assert net.train() is net and all(m.training for m in net.modules())


def test_zero_grad(rng):
    net = Net(rng)
    cross_entropy(net([0, 1]), [1, 2]).backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_the_same_seed_gives_the_same_layer():
    a, b = (MLP([4, 3, 2], rng=np.random.default_rng(7)) for _ in range(2))
    assert all(np.array_equal(p.data, q.data) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_weights_start_uniform_within_the_bound(rng):
    for p in Linear(400, 300, rng=rng).parameters():
        assert np.abs(p.data).max() <= 1 / 20
        assert p.data.std() == pytest.approx(1 / 20 / math.sqrt(3), rel=0.1)


def test_dtype_is_kept_through_training(rng):
    model = MLP([4, 3, 2], rng=rng, dtype=np.float32)
    for optimizer in (SGD, Adam, AdamW):
        step = optimizer(model.parameters(), lr=0.1)
        cross_entropy(model(Tensor(np.ones((1, 4)), dtype=np.float32)), [1]).backward()
        step.step()
        step.zero_grad()
    assert all(p.dtype == np.float32 for p in model.parameters())


def test_dropout_keeps_the_mean_and_drops_the_share(rng):
    n, p = 100_000, 0.3
    x = Tensor(np.ones(n), requires_grad=True)
    y = Dropout(p, rng=rng)(x)
    dropped = (y.data == 0).mean()
    deviation = math.sqrt(p * (1 - p) / n)
    assert abs(dropped - p) < 5 * deviation
    assert np.allclose(y.data[y.data != 0], 1 / (1 - p), rtol=1e-15)
    y.sum().backward()
    assert np.array_equal(x.grad, y.data)


def test_dropout_does_nothing_in_evaluation(rng):
    x = Tensor(np.ones(10))
    assert Dropout(0.5, rng=rng).eval()(x) is x


def test_dropout_draws_again_each_time(rng):
    drop, x = Dropout(0.5, rng=rng), Tensor(np.ones(100))
    assert not np.array_equal(drop(x).data, drop(x).data)


def test_a_repeated_id_gets_both_gradients(rng):
    table = Embedding(4, 2, rng=rng)
    table([[1, 1], [3, 1]]).sum().backward()
    assert np.array_equal(table.weight.grad, [[0, 0], [3, 3], [0, 0], [1, 1]])


def test_adam_starts_with_a_step_of_the_size_of_lr():
    w = Tensor([1.0, -2.0], requires_grad=True)
    w.grad = np.array([1e-3, -50.0])
    Adam([w], lr=0.01).step()
    assert np.allclose(w.data, [0.99, -1.99], atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda rng: MLP([3], rng=rng), ValueError, "sizes must name the input and the output"),
        (lambda rng: Dropout(1.0, rng=rng), ValueError, "from 0 up to but not including 1, got 1.0"),
        (lambda rng: Embedding(4, 2, rng=rng)([4]), IndexError, "an id must be from 0 to 3, got 4"),
        (lambda rng: Embedding(4, 2, rng=rng)([-1]), IndexError, "an id must be from 0 to 3, got -1"),
        (lambda rng: Embedding(4, 2, rng=rng)([0.0]), TypeError, "must be integers, got float64"),
        (lambda rng: SGD([], lr=0.1), ValueError, "SGD: there are no parameters"),
        (lambda rng: SGD([Tensor([1.0])], lr=0.1), ValueError, "requires_grad=True"),
        (lambda rng: Adam([Tensor([1.0], requires_grad=True)], lr=-1), ValueError, "must not be negative, got -1"),
        (lambda rng: Adam([Tensor([1.0], requires_grad=True)], betas=(0.9, 1.0)), ValueError, "betas"),
    ],
)
def test_errors_say_what_is_wrong(rng, wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(rng)
