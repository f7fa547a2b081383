"""LeNet has the paper's size, and its task splits, moves and scores digits as it says."""

import pytest
import torch

from lib.data import available
from lib.tasks import mnist
from lib.train.config import ConfigError, build
from lib.zoo.lenet import lenet, lenet5


@pytest.mark.parametrize(("net", "n_parameters"), [(lenet5(), 61_706), (lenet(), 80_250)])
def test_shapes_and_parameters(net, n_parameters):
    assert sum(p.numel() for p in net.parameters()) == n_parameters
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_lenet5_layers_have_the_sizes_of_the_paper():
    counts = [sum(p.numel() for p in layer.parameters()) for layer in lenet5()]
    # C1, C5 and F6 as in section II.B; C3 with all 96 pairs of channels; the output as a linear layer
    assert [n for n in counts if n] == [156, 16 * (6 * 25 + 1), 48_120, 10_164, 850]


def test_shifted_moves_each_image_as_a_whole():
    dot = torch.zeros(200, 28, 28, dtype=torch.uint8)
    dot[:, 14, 14] = 255
    moved = mnist.shifted(dot, torch.Generator().manual_seed(0), farthest=2)
    places = moved.nonzero()[:, 1:]
    assert len(places) == 200 and places.min() == 12 and places.max() == 16
    assert len(places.unique(dim=0)) == 25
    assert torch.equal(mnist.shifted(dot, torch.Generator(), farthest=0), dot)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="p_dropout"):
        build(mnist.Options, {"p_dropout": 1.0})
    with pytest.raises(ConfigError, match="widths must have 2 values"):
        build(mnist.Options, {"widths": [1, 2, 3]})


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Both ways to split the digits, and a small task; in one folder, so that the images are decoded once."""
    assert available(mnist.NAME), "MNIST ships with the course: data/ylecun/mnist"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_HOME", str(tmp_path_factory.mktemp("home")))
        task = mnist.build(build(mnist.Options, {"widths": [4, 8], "d_hidden": 32}), seed=0)
        return {held: mnist.split(held) for held in ("tuning", "validation")}, task


def test_the_piles(digits):
    for held, n_train, n_held in [("tuning", 45_000, 5_000), ("validation", 50_000, 10_000)]:
        (x, y), (x_held, y_held) = digits[0][held]
        assert len(x) == len(y) == n_train and len(x_held) == len(y_held) == n_held
    (x, _), (x_held, _) = digits[0]["tuning"]
    assert torch.equal(torch.cat([x, x_held]), digits[0]["validation"][0][0])  # no image in both piles


def test_the_task_learns(digits):
    task = digits[1]
    rng, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(task.model.parameters(), 1e-2)
    torch.manual_seed(0)
    for step in range(60):
        total, count = task.loss(task.model, task.train.batch(range(64 * step, 64 * step + 64), rng))
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    task.model.eval()
    with torch.no_grad():
        scores = task.evaluate(task.model)
    assert scores["accuracy"] > 0.8 and scores["loss"] < 0.8
