"""The rate of each step and the order of the examples: functions of the step and the seed."""

import itertools
import math
from collections import Counter

import pytest
import torch

from lib.train import ConfigError, Task, TensorExamples, TrainConfig, fit, rate
from lib.train.sampler import Sampler, generator


def rates(**settings):
    config = TrainConfig(**{"steps": 100, "lr": 2.0} | settings)
    return [rate(config, step) for step in range(config.steps)]


def test_the_climb_is_a_straight_line_to_the_full_rate():
    assert rates(warmup=4)[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])


@pytest.mark.parametrize("warmup", [0, 10])
def test_cosine_equals_torchs(warmup):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100 - warmup, eta_min=0.2)
    expected = []
    for _ in range(100 - warmup):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates(warmup=warmup, lr_end=0.1)[warmup:] == pytest.approx(expected, abs=1e-12)


def test_linear_falls_evenly_towards_the_last_rate():
    fall = rates(schedule="linear", lr_end=0.5)
    assert fall[0] == 2.0 and {round(a - b, 12) for a, b in itertools.pairwise(fall)} == {0.01}
    assert fall[-1] == pytest.approx(1.01)


def test_constant_stays():
    assert set(rates(schedule="constant", warmup=2)[2:]) == {2.0}


def test_a_run_that_is_all_climb():
    assert rates(steps=3, warmup=3) == pytest.approx([2 / 3, 4 / 3, 2.0])


@pytest.mark.parametrize(("n", "batch"), [(10, 5), (10, 3), (10, 25), (1, 4)])
def test_every_example_once_an_epoch_and_every_batch_full(n, batch):
    sampler = Sampler(n, seed=1)
    batches = [sampler.numbers(step * batch, batch) for step in range(n * 3)]  # 3 batch whole epochs
    assert {len(chosen) for chosen in batches} == {batch}
    order = list(itertools.chain(*batches))
    for epoch in range(3 * batch):
        assert sorted(order[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_epochs_and_seeds_differ_and_positions_do_not_depend_on_what_was_asked_before():
    a, b = Sampler(20, seed=1), Sampler(20, seed=1)
    straight = [a.numbers(i, 1)[0] for i in range(60)]
    assert b.numbers(37, 8) == straight[37:45] and b.numbers(3, 4) == straight[3:7]
    assert straight[:20] != straight[20:40] != straight[40:]
    assert Sampler(20, seed=2).numbers(0, 20) != straight[:20]


def test_the_first_place_is_everyones_alike():
    first = Counter(Sampler(5, seed=n).numbers(0, 1)[0] for n in range(2000))
    assert sum((count - 400) ** 2 / 400 for count in first.values()) < 18.5  # chi squared, 4 degrees: p = 0.001


def test_each_batch_has_random_numbers_of_its_own():
    places = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    drawn = [torch.rand(1, generator=generator(*place)).item() for place in places]
    assert len(set(drawn)) == 5
    assert torch.rand(1, generator=generator(0, 0, 1, 0)).item() == drawn[3]


def test_no_examples_is_an_error():
    with pytest.raises(ValueError, match="no training examples"):
        Sampler(0, seed=1)


def test_tensor_examples():
    x = torch.arange(6.0)[:, None]
    examples = TensorExamples(x, x[:, 0], transform=lambda rows, rng: (rows[0] + torch.rand(1, generator=rng), rows[1]))
    shifted, y = examples.batch([4, 1], torch.Generator().manual_seed(0))
    assert len(examples) == 6 and y.tolist() == [4, 1]
    assert (shifted[:, 0] - y).tolist() == pytest.approx(
        [torch.rand(1, generator=torch.Generator().manual_seed(0)).item()] * 2
    )
    with pytest.raises(ValueError, match=r"lengths are \[2, 3\]"):
        TensorExamples(torch.zeros(2), torch.zeros(3))


def test_the_climb_ends_where_the_fall_begins():
    assert math.isclose(rates(warmup=10)[9], rates(warmup=10)[10])


def test_a_share_of_the_rate():
    """Parameters whose names begin so get that share of each step's rate, and the others all of it."""
    model = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 2)})
    config = TrainConfig(steps=1, lr=0.5, optimizer="sgd", momentum=0.0, schedule="constant", batch=1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss(model, batch):
        return sum(p.sum() for p in model.parameters()), 1

    task = Task(model, TensorExamples(torch.zeros(1)), loss, shares={"head.": 0.1})
    fit(task, config, show="none")
    for name, p in model.named_parameters():
        share = 0.1 if name.startswith("head.") else 1.0
        torch.testing.assert_close(before[name] - p.detach(), torch.full_like(p, 0.5 * share))
    with pytest.raises(ConfigError, match="'tail', but no parameter"):
        fit(Task(model, TensorExamples(torch.zeros(1)), loss, shares={"tail": 0.1}), config, show="none")
