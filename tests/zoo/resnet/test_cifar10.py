"""The CIFAR-10 task: what it keeps aside, what it does to images, and that it can be trained."""

import numpy as np
import pytest
import torch

from lib import recipe
from lib.tasks import cifar10
from lib.tasks.cifar10 import Options, augment, build, logits, prepare
from lib.train import ConfigError, TrainConfig, fit


@pytest.fixture
def few_images(monkeypatch):
    """Sixty images in place of the data set, of which the last ten are for tuning; a class is a brightness."""

    def arrays(name, split):
        y = np.arange(60 if split == "train" else 20) % 10
        noise = np.random.default_rng(len(y)).integers(0, 10, (len(y), 32, 32, 3))
        return (25 * y[:, None, None, None] + noise).astype(np.uint8), y

    monkeypatch.setattr(cifar10, "arrays", arrays)
    monkeypatch.setattr(cifar10, "N_TUNING", 10)


def test_prepared_pixels_are_centred_and_scaled_by_colour():
    grey = torch.tensor(cifar10.MEAN).mul(255).round().to(torch.uint8).expand(2, 4, 5, 3)
    x = prepare(grey)
    assert x.shape == (2, 3, 4, 5) and x.abs().max() < 0.02
    white = prepare(torch.full((1, 4, 5, 3), 255, dtype=torch.uint8))[0, :, 0, 0]
    assert torch.allclose(white, (1 - torch.tensor(cifar10.MEAN)) / torch.tensor(cifar10.STD))


def test_an_augmented_image_is_a_shifted_copy_of_itself_or_of_its_mirror_image():
    images = torch.randint(0, 256, (200, 6, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = set()
    for before, after in zip(images, augment(images, torch.Generator().manual_seed(1), shift=1), strict=True):
        fits = []
        for mirrored in (False, True):
            whole = before.flip(1) if mirrored else before
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    rows = (np.arange(6) + down).clip(0, 5)
                    columns = (np.arange(7) + across).clip(0, 6)
                    if torch.equal(whole[rows][:, columns], after):
                        fits.append((mirrored, down, across))
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) == 18


def test_augmentation_draws_from_the_generator_alone():
    images = torch.randint(0, 256, (50, 8, 8, 3), dtype=torch.uint8)
    before = torch.get_rng_state()
    first, second, other = (augment(images, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize(("held", "n_train", "n_held"), [("tuning", 50, 10), ("test", 60, 20)])
def test_what_is_scored_is_not_trained_on(few_images, held, n_train, n_held):
    (x, y), (x_held, y_held) = cifar10.split(held)
    assert (len(x), len(y), len(x_held), len(y_held)) == (n_train, n_train, n_held, n_held)
    assert not {image.numpy().tobytes() for image in x} & {image.numpy().tobytes() for image in x_held}


def test_training_learns_and_scores(few_images):
    task = build(Options(widths=(4, 8), depths=(0, 1), shift=0), seed=0)
    with torch.no_grad():
        before = task.evaluate(task.model.eval())["loss"]
    result = fit(task, TrainConfig(steps=60, batch=20, optimizer="sgd", lr=0.1))
    assert result.metrics["loss"] < before / 2 and result.metrics["accuracy"] > 0.5


def test_logits_do_not_depend_on_the_size_of_the_batch(few_images):
    model = build(Options(widths=(4,), depths=(1,)), seed=0).model.eval()
    images = cifar10.split("tuning")[0][0]
    assert torch.allclose(logits(model, images, batch=7), logits(model, images), atol=1e-5)


def test_widths_and_depths_that_do_not_go_together_are_refused(few_images):
    with pytest.raises(ConfigError, match="one number for each stage"):
        build(Options(widths=(4, 8), depths=(1,)), seed=0)


def test_the_configuration_builds_a_task_that_is_scored_on_the_test_split(few_images):
    task = recipe.read("resnet-cifar10").make()
    assert len(task.train) == 60 and task.watch == ""  # nothing is chosen by test scores
    assert 0 <= task.evaluate(task.model.eval())["accuracy"] <= 1
