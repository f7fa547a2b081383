"""Checks of 13_mlp_mnist on the data: pixels to numbers, mini-batches. More in ch13_measures and ch13_network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

# 13.1 -----------------------------------------------------------------------------------------------------------------

MEAN, STD = 0.1307, 0.3081
"""The usual values for MNIST; the notebook measures its own."""


def prepare(images: np.ndarray, mean: float, std: float) -> np.ndarray:
    x = images.reshape(len(images), -1).astype(np.float32)
    return (x / 255 - mean) / std


def _prepare_with_divide(images, mean, std):
    x = np.divide(images, np.float32(255), dtype=np.float32)
    return ((x - np.float32(mean)) / np.float32(std)).reshape(images.shape[0], images.shape[1] * images.shape[2])


def _prepare_row_by_row(images, mean, std):
    return np.stack([(image.ravel() / 255.0 - mean) / std for image in images])


def _prepare_unscaled(images, mean, std):
    return (images.reshape(len(images), -1).astype(np.float32) - mean) / std


def _prepare_wrapping(images, mean, std):
    shifted = images.reshape(len(images), -1) - np.uint8(round(255 * mean))
    return shifted.astype(np.float32) / (255 * std)


def _prepare_whole(images, mean, std):
    return ((images // 255).reshape(len(images), -1).astype(np.float32) - mean) / std


def _prepare_mixed(images, mean, std):
    x = images.transpose(1, 2, 0).reshape(len(images), -1).astype(np.float32)
    return (x / 255 - mean) / std


def _prepare_per_image(images, mean, std):
    x = images.reshape(len(images), -1).astype(np.float32) / 255
    return (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-6)


def _prepare_own_statistics(images, mean, std):
    x = images.reshape(len(images), -1).astype(np.float32) / 255
    return (x - x.mean()) / (x.std() + 1e-6)


def _prepare_no_std(images, mean, std):
    return images.reshape(len(images), -1).astype(np.float32) / 255 - mean


def _images(rng: Generator) -> tuple:
    n, h, w = rng.integers(2, 6), rng.integers(3, 7), rng.integers(3, 7)
    return rng.integers(0, 256, (n, h, w), dtype=np.uint8), rng.uniform(0.05, 0.4), rng.uniform(0.15, 0.4)


# 13.4 -----------------------------------------------------------------------------------------------------------------


def minibatches(x: np.ndarray, y: np.ndarray, size: int, rng: Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]


def _minibatches_list(x, y, size, rng):
    order = np.arange(len(x))
    rng.shuffle(order)
    cuts = range(size, len(x), size)
    return list(zip(np.split(x[order], cuts), np.split(y[order], cuts), strict=True))


def _minibatches_shuffled_apart(x, y, size, rng):
    x, y = rng.permutation(x), rng.permutation(y)
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


def _minibatches_images_only(x, y, size, rng):
    x = x[rng.permutation(len(x))]
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


def _minibatches_last_lost(x, y, size, rng):
    order = rng.permutation(len(x))
    for start in range(0, len(x) - size + 1, size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]


def _minibatches_same_order(x, y, size, rng):
    return minibatches(x, y, size, np.random.default_rng(0))


def _minibatches_in_order(x, y, size, rng):
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


def _minibatches_with_replacement(x, y, size, rng):
    for start in range(0, len(x), size):
        chosen = rng.integers(0, len(x), min(size, len(x) - start))
        yield x[chosen], y[chosen]


def _minibatches_one_batch(x, y, size, rng):
    chosen = rng.permutation(len(x))[:size]
    yield x[chosen], y[chosen]


def _minibatches_returned(x, y, size, rng):
    for start in range(0, len(x), size):
        return x[start : start + size], y[start : start + size]


def _batches(result: Any) -> list:
    """What the answer yields, as a list; an error in plain words where it is not a series of pairs."""
    if isinstance(result, Iterator):
        result = copy.deepcopy(list(result))  # a batch may be a view of what changes later
    if not isinstance(result, list):
        raise TypeError(
            f"minibatches must yield pairs (images, labels), one for each batch; it returned a {_kind(result)}"
        )
    if not result:
        raise TypeError("minibatches yielded nothing")
    for pair in result:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"minibatches must yield pairs (images, labels); it yielded a {_kind(pair)}")
        if np.ndim(pair[0]) != 2 or np.ndim(pair[1]) != 1:
            raise TypeError("each pair must hold a batch of images and a batch of labels, not one image and one label")
    return result


def _kind(result: Any) -> str:
    is_batch = isinstance(result, tuple) and len(result) == 2
    return "single pair" if is_batch else type(result).__name__


def _two_epochs(answer: Callable, n: int, size: int) -> dict[str, Any]:
    """Run the answer for two epochs on n numbered images and say what every right answer has in common."""
    x = np.arange(n)[:, None] * np.ones(3)  # image i is (i, i, i)
    y = 10 * np.arange(n)  # and its label is 10 i
    mine, rng = (x.copy(), y.copy()), np.random.default_rng(n)
    epochs = [_batches(answer(*mine, size, rng)) for _ in range(2)]
    first, second = (np.concatenate([xb[:, 0] for xb, _ in batches]) for batches in epochs)
    labels = np.concatenate([yb for _, yb in epochs[0]])
    paired = np.array_equal(10 * first, labels)
    return {
        "images in each batch": [len(xb) for xb, _ in epochs[0]],
        "labels in each batch": [len(yb) for _, yb in epochs[0]],
        "the images are shuffled": not np.array_equal(first, np.arange(n)),
        "the labels are shuffled": not np.array_equal(labels, y),
        "every label stands beside its image": paired,
        "every image comes exactly once": np.array_equal(np.sort(first), np.arange(n)),
        "the second epoch has another order": not np.array_equal(first, second),
        # Asked only where the pairs are right, so that shuffling in place does not hide a worse mistake.
        "x and y stay as they were": not paired or (np.array_equal(x, mine[0]) and np.array_equal(y, mine[1])),
    }


def _sizes(rng: Generator) -> tuple:
    size = int(rng.integers(4, 9))
    return size * int(rng.integers(3, 6)) + int(rng.integers(1, size)), size


EXERCISES = [
    Exercise(
        "13.1",
        "Pixels to numbers",
        minutes=10,
        difficulty=1,
        reference=prepare,
        cases=[
            _images,
            Case("one image", np.arange(0, 240, 20, dtype=np.uint8).reshape(1, 3, 4), MEAN, STD),
            Case(
                "white paper and full ink",
                np.stack([np.zeros((2, 3)), np.full((2, 3), 255)]).astype(np.uint8),
                MEAN,
                STD,
            ),
        ],
        misconceptions=[
            Misconception(
                "leaves the pixels between 0 and 255",
                _prepare_unscaled,
                why="`mean` and `std` were measured on pixels between 0 and 1. Without the division by 255 the inputs "
                "reach 800, the first logits reach the hundreds, and training starts with huge steps.",
                look="Section 3 of 13_mlp_mnist, 'Scale the pixels'",
            ),
            Misconception(
                "subtracts while the pixels are still uint8",
                _prepare_wrapping,
                why="A uint8 holds 0 to 255 and wraps round: 10 - 33 is 233, so white paper turns into dark ink. "
                "Convert to floats first, then compute.",
                look="Section 3 of 13_mlp_mnist, 'Floats first'",
            ),
            Misconception(
                "divides whole numbers by whole numbers",
                _prepare_whole,
                why="`//` on integers drops the fraction: every pixel below 255 becomes 0 and the image is gone. "
                "Convert to floats and use `/`.",
                look="Section 3 of 13_mlp_mnist, 'Floats first'",
            ),
            Misconception(
                "mixes the pixels of different images when it flattens",
                _prepare_mixed,
                why="The image axis must stay first. A reshape keeps the order of the numbers in memory, so moving "
                "the axes before it deals the pixels of one image out to several rows. The shape is right, the "
                "rows are nonsense.",
                look="Section 3 of 13_mlp_mnist, 'From an image to a vector'",
            ),
            Misconception(
                "measures the mean and the spread of each image by itself",
                _prepare_per_image,
                why="Every image is then shifted and stretched by its own amounts, which hides how much ink it has. "
                "The two numbers are measured once, on the training images, and are the same for all.",
                look="Section 3 of 13_mlp_mnist, 'Scale the pixels'",
            ),
            Misconception(
                "measures the mean and the spread of the images it was given",
                _prepare_own_statistics,
                why="One image would then come out differently in different company, and held-out images would be "
                "treated unlike the training images. Use the two numbers in the arguments.",
                look="Section 3 of 13_mlp_mnist, 'Scale the pixels'",
            ),
            Misconception(
                "subtracts the mean but does not divide by the spread",
                _prepare_no_std,
                why="The numbers are centred, but their spread is about a third of what the initial weights expect.",
                look="Section 3 of 13_mlp_mnist, 'Scale the pixels'",
            ),
        ],
        hints=(
            "Three things happen: the shape changes, the type changes, the numbers move. In which order is it safe?",
            "`reshape(len(images), -1)` keeps one image per row. Convert to float32 before any arithmetic.",
            "With x as float32 in rows: divide by 255, subtract `mean`, divide by `std`.",
        ),
        alternatives=[_prepare_with_divide, _prepare_row_by_row],
        rtol=1e-4,
        atol=1e-5,
        names=("images", "mean", "std"),
    ),
    Exercise(
        "13.4",
        "Mini-batches",
        minutes=12,
        difficulty=2,
        reference=minibatches,
        use=_two_epochs,
        cases=[
            _sizes,
            Case("the size divides the number of images", 24, 6),
            Case("all images in one batch", 12, 20),
            Case("one image a batch", 9, 1),
        ],
        misconceptions=[
            Misconception(
                "shuffles the images but not their labels",
                _minibatches_images_only,
                why="Every image then stands beside another image's label. The loss stays near ln 10 and nothing "
                "crashes. Draw one order and use it for both.",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
            Misconception(
                "shuffles images and labels separately",
                _minibatches_shuffled_apart,
                why="Two shuffles are two different orders, so the pairs are torn apart. Draw one order and use it "
                "for both.",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
            Misconception(
                "loses the last, smaller batch",
                _minibatches_last_lost,
                why="When the size does not divide the number of images, the rest are never seen in this epoch. A "
                "slice may run past the end, so the start can go all the way to len(x).",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
            Misconception(
                "uses the same order in every epoch",
                _minibatches_same_order,
                why="A generator that is made anew inside the function starts from the same seed each time. Draw the "
                "order from the `rng` in the arguments, which moves on with every use.",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
            Misconception(
                "does not shuffle",
                _minibatches_in_order,
                why="Neighbours in the file are alike, so neighbouring batches pull in different directions, the same "
                "way in each epoch.",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
            Misconception(
                "draws with replacement",
                _minibatches_with_replacement,
                why="Some images come twice and about 37 in 100 never come in this epoch. `rng.permutation(n)` holds "
                "each number once.",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
            Misconception(
                "stops after the first batch",
                _minibatches_one_batch,
                why="An epoch is a pass over all images: yield batch after batch in a loop.",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
            Misconception(
                "returns a batch instead of yielding one after the other",
                _minibatches_returned,
                why="`return` ends the function at the first batch. `yield` hands out a batch, waits, and goes on.",
                look="Section 6 of 13_mlp_mnist, 'A batch keeps its pairs'",
            ),
        ],
        hints=(
            "You need one random order of the numbers 0 to n - 1 for both arrays. How do you cut it into pieces?",
            "`order = rng.permutation(len(x))`; walk over `order` in steps of `size`; a slice may run past the end.",
            "For start in range(0, len(x), size): chosen = order[start : start + size]; yield x[chosen], y[chosen].",
        ),
        alternatives=[_minibatches_list],
        names=("n_images", "size"),
    ),
]
