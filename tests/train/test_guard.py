"""A loss or gradient that is not finite: the run stops before the update and says where it came from."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.train import NonFiniteLoss, Task, TensorExamples, TrainConfig, fit

CONFIG = TrainConfig(steps=10, batch=4, save_every=3, accelerator="cpu")


class Root(nn.Module):
    """NaN for what is negative, and noise that a repetition must draw again."""

    def __init__(self):
        super().__init__()
        self.noise = nn.Dropout(0.5)

    def forward(self, x):
        return torch.sqrt(x) + 0 * self.noise(x)


def made(bad=17, value=-9.0, after=None):
    """20 numbers of which one is bad, through a model with a root in it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 3), nn.Identity(), nn.Sequential(nn.Identity(), Root()), nn.Linear(3, 1))
    x = torch.ones(20, 1)
    x[bad] = value
    with torch.no_grad():
        model[0].weight.fill_(1.0)

    def loss(model, batch):
        y = model(batch[0])
        return (after(y) if after else y).sum(), len(y)

    return Task(model, TensorExamples(x), loss)


def stopped(task, config=CONFIG, folder=None):
    with pytest.raises(NonFiniteLoss) as caught:
        fit(task, config, folder, show="none")
    return caught.value


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_step_the_indices_the_module_and_the_checkpoint_are_named(accumulate, tmp_path):
    task = made()
    seen, batch = [], task.train.batch
    task.train.batch = lambda indices, rng: seen.append(indices) or batch(indices, rng)
    error = stopped(task, replace(CONFIG, accumulate=accumulate), tmp_path)
    first = next(i for i, indices in enumerate(seen) if 17 in indices)
    assert error.indices == seen[first] and len(error.indices) == 4 // accumulate
    assert error.step == first // accumulate + 1
    assert error.module == "2.1 (Root)"
    newest = max((path for path in tmp_path.glob("step-*")), default=None)
    assert error.checkpoint == (str(newest) if newest else "")
    for part in (f"at step {error.step}.", str(error.indices), "2.1 (Root)", error.checkpoint or "no checkpoint yet"):
        assert part in str(error)


def test_there_may_be_a_checkpoint_and_there_may_be_none(tmp_path):
    """The bad example comes in step 5 with one seed and in step 1 with another: both sides of the test above."""
    steps = {}
    for seed in range(8):
        error = stopped(made(), replace(CONFIG, seed=seed), tmp_path / str(seed))
        steps[error.step > 3] = error.checkpoint
    assert steps[False] == "" and steps[True].endswith("step-00000003")


def test_the_parameters_are_those_before_the_step():
    seeds = [replace(CONFIG, seed=seed, schedule="constant") for seed in range(9)]
    config = next(each for each in seeds if stopped(made(), each).step > 2)
    task, shorter = made(), made()
    error = stopped(task, config)
    fit(shorter, replace(config, steps=error.step - 1), show="none")
    for a, b in zip(task.model.parameters(), shorter.model.parameters(), strict=True):
        assert torch.isfinite(a).all() and torch.equal(a, b)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_is_not_finite_is_said_to_be(value):
    error = stopped(made(value=value))
    assert "The batch itself holds values that are not finite" in str(error) and error.module == "0 (Linear)"


def test_a_loss_that_makes_it_is_said_to_be():
    error = stopped(made(value=1.0, after=lambda y: torch.log(y - y)))
    assert error.module == "" and "Every module's output was finite" in str(error) and error.step == 1


def test_parameters_that_are_not_finite_are_named():
    task = made(value=1.0)
    with torch.no_grad():
        task.model[3].bias.fill_(math.inf)
    error = stopped(task)
    assert "not finite: 3.bias" in str(error) and error.module == "3 (Linear)"


def test_a_gradient_that_is_not_finite_stops_too():
    """The root of 0 is 0; its slope is infinite."""
    task = made(value=1.0, after=lambda y: torch.sqrt(y - y))
    before = [p.clone() for p in task.model.parameters()]
    error = stopped(task)
    assert "The loss is finite and its gradient is not at step 1" in str(error) and "0.weight" in str(error)
    assert error.module == "" and len(error.indices) == 4
    assert all(torch.equal(a, b) for a, b in zip(before, task.model.parameters(), strict=True))


def test_the_repetition_draws_the_same_random_numbers():
    """NaN where dropout leaves the first of its inputs alive: found again only with the same numbers."""

    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.9)

        def forward(self, x):
            alive = self.dropout(torch.ones(()))
            return x * torch.where(alive > 0, math.nan, 1.0)

    steps = set()
    for seed in range(6):
        model = nn.Sequential(nn.Linear(1, 1), Fragile())
        task = Task(model, TensorExamples(torch.ones(8, 1)), lambda model, batch: (model(batch[0]).sum(), 4))
        error = stopped(task, replace(CONFIG, steps=200, seed=seed))
        assert error.module == "1 (Fragile)"
        steps.add(error.step)
    assert len(steps) > 1


def test_the_rows_until_then_are_on_the_disk(tmp_path):
    for seed in range(4):
        error = stopped(made(), replace(CONFIG, seed=seed), tmp_path / str(seed))
        text = (tmp_path / str(seed) / "metrics.csv").read_text()
        assert [line.partition(",")[0] for line in text.splitlines()[1:]] == [str(i) for i in range(1, error.step)]


def test_hooks_are_gone_afterwards():
    task = made()
    stopped(task)
    assert not any(module._forward_hooks for module in task.model.modules())


def test_compiled_models_are_looked_into_as_well_and_not_compiled_again(traced):
    task, graphs = made(), []
    batch = task.train.batch
    task.train.batch = lambda indices, rng: graphs.append(len(traced)) or batch(indices, rng)
    error = stopped(task, replace(CONFIG, compile=True))
    assert error.module == "2.1 (Root)" and len(graphs) == error.step + 1, "the last batch was asked for twice"
    assert len(traced) == graphs[-1] > 0
