"""Checks of 21_modern_cnn on what the network is given: images moved and mirrored, inputs without a leak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LOOK_AUGMENT = "Section 6 of 21_modern_cnn, 'Augmentation'"
LOOK_LEAK = "Section 11 of 21_modern_cnn, 'Test data in the statistics'"
LOOK_COLOURS = "Section 1 of 21_modern_cnn, 'Ten kinds of photographs'"

# 21.3 -----------------------------------------------------------------------------------------------------------------


def moved(images, down, across, mirrored):
    n, height, width, _ = images.shape
    rows = (torch.arange(height) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width) + across[:, None]).clamp(0, width - 1)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    return images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _moved_loop(images, down, across, mirrored):
    y = torch.empty_like(images)
    _, height, width, _ = images.shape
    for k in range(len(images)):
        for i in range(height):
            for j in range(width):
                from_j = width - 1 - j if mirrored[k] else j
                row = min(max(i + int(down[k]), 0), height - 1)
                y[k, i, j] = images[k, row, min(max(from_j + int(across[k]), 0), width - 1)]
    return y


def _moved_each(images, down, across, mirrored, edge=True, flip_axis=1, sign=1):
    """One image after the other; what the wrong answers vary."""
    out = []
    for image, d, a, m in zip(images, down.tolist(), across.tolist(), mirrored.tolist(), strict=True):
        rows, columns = torch.arange(image.shape[0]) + sign * d, torch.arange(image.shape[1]) + sign * a
        if edge:
            rows, columns = rows.clamp(0, image.shape[0] - 1), columns.clamp(0, image.shape[1] - 1)
        else:
            rows, columns = rows % image.shape[0], columns % image.shape[1]
        one = image[rows][:, columns]
        out.append(one.flip(flip_axis) if m else one)
    return torch.stack(out)


def _moved_round(images, down, across, mirrored):
    return _moved_each(images, down, across, mirrored, edge=False)


def _moved_rolled(images, down, across, mirrored):
    return _moved_each(images, down, across, mirrored, edge=False, sign=-1)


def _moved_upside_down(images, down, across, mirrored):
    return _moved_each(images, down, across, mirrored, flip_axis=0)


def _moved_other_way(images, down, across, mirrored):
    return _moved_each(images, down, across, mirrored, sign=-1)


def _moved_colours(images, down, across, mirrored):
    return _moved_each(images, down, across, mirrored, flip_axis=2)


def _moved_all_alike(images, down, across, mirrored):
    n = len(images)
    return moved(images, down[:1].expand(n), across[:1].expand(n), mirrored)


def _moved_all_mirrored(images, down, across, mirrored):
    return moved(images, down, across, torch.ones_like(mirrored))


def _moved_never_mirrored(images, down, across, mirrored):
    return moved(images, down, across, torch.zeros_like(mirrored))


def _moved_swapped(images, down, across, mirrored):
    return moved(images, across, down, mirrored)


def _moved_mirrored_first(images, down, across, mirrored):
    return moved(images, down, torch.where(mirrored, -across, across), mirrored)


def _images(rng: Generator, n: int, height: int, width: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8))


def _moved_case(rng: Generator) -> tuple:
    n, height, width = (int(k) for k in rng.integers(3, 7, 3))
    down, across = torch.from_numpy(rng.integers(-2, 3, (2, n)))
    return _images(rng, n, height, width + 3), down, across, torch.from_numpy(rng.random(n) < 0.5)


# 21.4 -----------------------------------------------------------------------------------------------------------------


def make_inputs(train, test, augment):
    mean = (train / 255).mean(dim=(0, 1, 2))
    std = (train / 255).std(dim=(0, 1, 2))
    return (augment(train) / 255 - mean) / std, (test / 255 - mean) / std


def _statistics(images):
    pixels = images.reshape(-1, 3) / 255
    return pixels.mean(0), pixels.std(0)


def _standardised(images, of):
    mean, std = _statistics(of)
    return (images / 255 - mean) / std


def _inputs_numpy(train, test, augment):
    pixels = train.numpy().reshape(-1, 3).astype(np.float64) / 255
    mean, std = pixels.mean(0), pixels.std(0, ddof=1)
    return tuple(torch.from_numpy((part.numpy() / 255 - mean) / std) for part in (augment(train), test))


def _inputs_joined(train, test, augment):
    both = torch.cat([train, test])
    return _standardised(augment(train), both), _standardised(test, both)


def _inputs_own(train, test, augment):
    return _standardised(augment(train), train), _standardised(test, test)


def _inputs_test_augmented(train, test, augment):
    return _standardised(augment(train), train), _standardised(augment(test), train)


def _inputs_of_augmented(train, test, augment):
    train = augment(train)
    return _standardised(train, train), _standardised(test, train)


def _inputs_not_augmented(train, test, augment):
    return _standardised(train, train), _standardised(test, train)


def _inputs_one_mean(train, test, augment):
    mean, std = (train / 255).mean(), (train / 255).std()
    return (augment(train) / 255 - mean) / std, (test / 255 - mean) / std


def _inputs_each_pixel(train, test, augment):
    mean, std = (train / 255).mean(0), (train / 255).std(0)
    return (augment(train) / 255 - mean) / std, (test / 255 - mean) / std


def _inputs_each_image(train, test, augment):
    def own(x):
        x = x / 255
        return (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)

    return own(augment(train)), own(test)


def _inputs_half(train, test, augment):
    return (augment(train) / 255 - 0.5) / 0.5, (test / 255 - 0.5) / 0.5


def _inputs_unscaled(train, test, augment):
    mean, std = _statistics(train)
    return (augment(train) - mean) / std, (test - mean) / std


def _darker_and_mirrored(images: Tensor) -> Tensor:
    """Stands in for augmentation: mirrors every image and darkens it, so that it moves the statistics too."""
    return images.flip(2) // 2


def _use_inputs(answer: Callable, train: Tensor, test: Tensor) -> dict[str, Any]:
    made = answer(train, test, _darker_and_mirrored)
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise TypeError(f"make_inputs must return two tensors, (train, test); it returned {type(made).__name__}")
    return {"the training inputs": made[0], "the test inputs": made[1]}


def _inputs_case(rng: Generator) -> tuple:
    n, m, height, width = (int(k) for k in rng.integers(4, 9, 4))
    return _images(rng, n, height, width), _images(rng, m, height, width) // 2 + 100


EXERCISES = [
    Exercise(
        "21.3",
        "Images moved and mirrored",
        minutes=18,
        difficulty=3,
        reference=moved,
        cases=[
            _moved_case,
            Case(
                "no image moves",
                torch.arange(24, dtype=torch.uint8).reshape(1, 2, 4, 3),
                torch.tensor([0]),
                torch.tensor([0]),
                torch.tensor([False]),
            ),
            Case(
                "one image, mirrored and moved",
                torch.arange(45, dtype=torch.uint8).reshape(1, 3, 5, 3),
                torch.tensor([1]),
                torch.tensor([-2]),
                torch.tensor([True]),
            ),
        ],
        misconceptions=[
            Misconception(
                "lets what leaves the image on one side come in on the other",
                _moved_round,
                why="`torch.roll` and `%` treat the image as a ring: sky appears below the grass. `clamp` keeps the "
                "list of rows inside the image, so the edge is repeated.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "rolls the images round, and the other way",
                _moved_rolled,
                why="`torch.roll` treats the image as a ring, so sky appears below the grass; and it sends pixel i to "
                "i + down, where here pixel i of the result *reads* i + down. Lists of rows and columns, clamped, do "
                "both right.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "turns images upside down in place of mirroring them",
                _moved_upside_down,
                why="Axes are N, H, W, C. A mirror swaps left and right, which is the order of the *columns*. A car on "
                "its roof is no car that a camera sees.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "moves the other way",
                _moved_other_way,
                why="Row i of the result reads row i + down of the image, so the sign is plus.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "reverses the colours in place of the columns",
                _moved_colours,
                why="The last axis holds red, green and blue. Here the channels come last, so axis -1 is not the "
                "width: axis 2 is.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "moves every image by the amount of the first",
                _moved_all_alike,
                why="Each image has its own entry in `down` and `across`. A batch that moves as one block has one "
                "random choice in place of n. Make the list of rows (N, H), not (H,).",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "mirrors all images",
                _moved_all_mirrored,
                why="`mirrored` says for each image whether it is. `torch.where(mirrored[:, None], ...)` chooses for "
                "each.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "mirrors no image",
                _moved_never_mirrored,
                why="Where `mirrored` is True, the image reads its columns in reverse order.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "moves across by `down` and down by `across`",
                _moved_swapped,
                why="Axis 1 counts rows, from top to bottom, so `down` belongs to it; axis 2 counts columns.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "mirrors before it moves",
                _moved_mirrored_first,
                why="The order matters: moved first and then mirrored, as here, the content travels the other way "
                "than mirrored first and then moved. Make the moved list of columns, then reverse that.",
                look=LOOK_AUGMENT,
            ),
        ],
        hints=(
            "For each image you need two lists: which row to read for each row of the result, and which column.",
            "rows = (arange(H) + down[:, None]).clamp(0, H - 1) is (N, H). Reverse the columns where mirrored. Then "
            "one indexing with (N, 1, 1), (N, H, 1) and (N, 1, W).",
            "columns = torch.where(mirrored[:, None], columns.flip(1), columns); return "
            "images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].",
        ),
        alternatives=[_moved_loop],
        names=("images", "down", "across", "mirrored"),
    ),
    Exercise(
        "21.4",
        "Inputs without a leak",
        minutes=12,
        difficulty=2,
        reference=make_inputs,
        use=_use_inputs,
        cases=[_inputs_case],
        rtol=1e-4,
        atol=1e-5,
        misconceptions=[
            Misconception(
                "measures mean and deviation on training and test images together",
                _inputs_joined,
                why="This leaks the test set into the statistics: the score then belongs to a system that has seen all "
                "test images before it answers the first.",
                look=LOOK_LEAK,
            ),
            Misconception(
                "prepares the test images with their own mean and deviation",
                _inputs_own,
                why="This leaks the test set into the statistics, and it shows the network other numbers for the same "
                "colour than in training. The six numbers are part of the model: measured once, on training images.",
                look=LOOK_LEAK,
            ),
            Misconception(
                "augments the test images",
                _inputs_test_augmented,
                why="Augmentation makes more of the *training* images. An augmented test set gives a lower score, and "
                "another one in each run.",
                look="Section 11 of 21_modern_cnn, 'The test set augmented'",
            ),
            Misconception(
                "measures the statistics on the augmented images",
                _inputs_of_augmented,
                why="They then depend on the random numbers of one batch or epoch. Measure them once, on the training "
                "images as they are, and keep them.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "does not augment the training images",
                _inputs_not_augmented,
                why="`augment(train)` gives the images to train on; the statistics come from `train` itself.",
                look=LOOK_AUGMENT,
            ),
            Misconception(
                "has one mean for all three colours",
                _inputs_one_mean,
                why="Each colour has its own mean and deviation: take them over images, rows and columns, the axes "
                "0, 1 and 2, which leaves three numbers.",
                look=LOOK_COLOURS,
            ),
            Misconception(
                "has a mean for every pixel",
                _inputs_each_pixel,
                why="The mean over images alone leaves H × W × 3 numbers. A colour means the same in the corner and in "
                "the middle: take the mean over rows and columns too.",
                look=LOOK_COLOURS,
            ),
            Misconception(
                "standardises each image by itself",
                _inputs_each_image,
                why="Then a dark photograph and a bright one look the same to the network, and nothing is measured on "
                "the training images at all.",
                look=LOOK_COLOURS,
            ),
            Misconception(
                "takes 0.5 for every mean and deviation",
                _inputs_half,
                why="That scales the pixels to -1 to 1, and the inputs have neither mean 0 nor deviation 1. Measure "
                "the six numbers on the training images.",
                look=LOOK_COLOURS,
            ),
            Misconception(
                "subtracts a mean of pixels from 0 to 1 from pixels from 0 to 255",
                _inputs_unscaled,
                why="Statistics and images must be on one scale: divide both by 255.",
                look=LOOK_COLOURS,
            ),
        ],
        hints=(
            "Six numbers, measured once. On which images? And which images may be augmented?",
            "Mean and std of train / 255 over the axes 0, 1 and 2. The same six numbers for both piles.",
            "mean, std from (train / 255), dim=(0, 1, 2); return (augment(train) / 255 - mean) / std, "
            "(test / 255 - mean) / std.",
        ),
        alternatives=[_inputs_numpy],
        names=("train", "test"),
    ),
]
