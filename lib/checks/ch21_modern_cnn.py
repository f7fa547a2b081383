"""Checks of 21_modern_cnn on the network's parts: batch norm in its two modes, and the residual block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Exercise, Misconception

LOOK_NORM = "Section 3 of 21_modern_cnn, 'Batch norm'"
LOOK_BLOCK = "Section 4 of 21_modern_cnn, 'Residual connections'"

# 21.1 -----------------------------------------------------------------------------------------------------------------


def batch_norm(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * x.var((0, 2, 3), correction=1)
    y = (x - mean[:, None, None]) / (var[:, None, None] + eps).sqrt()
    return y, running_mean, running_var


def _norm_torch(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mean, var = running_mean.clone(), running_var.clone()
    return F.batch_norm(x, mean, var, None, None, training, momentum, eps), mean, var


def _normalise(x, mean, var, eps):
    return (x - mean[:, None, None]) / (var[:, None, None] + eps).sqrt()


def _norm_no_eval(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    _, mean, var = batch_norm(x, running_mean, running_var, training, momentum, eps)
    return _normalise(x, x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0), eps), mean, var


def _norm_moves_in_eval(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, _, _ = batch_norm(x, running_mean, running_var, training, momentum, eps)
    _, mean, var = batch_norm(x, running_mean, running_var, True, momentum, eps)
    return y, mean, var


def _norm_one_mode(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    return batch_norm(x, running_mean, running_var, True, momentum, eps)


def _norm_running_in_training(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    _, mean, var = batch_norm(x, running_mean, running_var, training, momentum, eps)
    return _normalise(x, running_mean, running_var, eps), mean, var


def _norm_swapped_momentum(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    return batch_norm(x, running_mean, running_var, training, 1 - momentum, eps)


def _norm_running_biased(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, mean, var = batch_norm(x, running_mean, running_var, training, momentum, eps)
    if training:
        var = (1 - momentum) * running_var + momentum * x.var((0, 2, 3), correction=0)
    return y, mean, var


def _norm_unbiased(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, mean, var = batch_norm(x, running_mean, running_var, training, momentum, eps)
    if training:
        y = _normalise(x, x.mean((0, 2, 3)), x.var((0, 2, 3)), eps)
    return y, mean, var


def _norm_each_image(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, mean, var = batch_norm(x, running_mean, running_var, training, momentum, eps)
    if training:
        y = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + eps).sqrt()
    return y, mean, var


def _norm_each_pixel(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    if not training:
        return batch_norm(x, running_mean, running_var, training, momentum, eps)
    mean, var = x.mean(0), x.var(0, correction=0)
    running_mean = (1 - momentum) * running_mean[:, None, None] + momentum * mean
    running_var = (1 - momentum) * running_var[:, None, None] + momentum * x.var(0)
    return (x - mean) / (var + eps).sqrt(), running_mean, running_var


def _norm_no_root(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, new_mean, new_var = batch_norm(x, running_mean, running_var, training, momentum, eps)
    var = x.var((0, 2, 3), correction=0) if training else running_var
    return y / (var[:, None, None] + eps).sqrt(), new_mean, new_var


def _norm_eps_outside(x, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    y, new_mean, new_var = batch_norm(x, running_mean, running_var, training, momentum, eps)
    var = (x.var((0, 2, 3), correction=0) if training else running_var)[:, None, None]
    return y * (var + eps).sqrt() / (var.sqrt() + eps), new_mean, new_var


def _use_norm(answer: Callable, *args: Any) -> dict[str, Any]:
    made = answer(*args)
    if not isinstance(made, (tuple, list)) or len(made) != 3:
        raise TypeError(f"batch_norm must return (y, running_mean, running_var); it returned {type(made).__name__}")
    return dict(zip(("y", "the running mean", "the running variance"), made, strict=True))


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


def _norm_case(rng: Generator, training: bool) -> tuple:
    n, c, height, width = (int(k) for k in rng.integers(2, 5, 4))
    scale = torch.from_numpy(10 ** rng.uniform(-2.5, 1, c))  # some channels hardly vary
    x = _normal(rng, n, c, height, width + 1) * scale[:, None, None] + _normal(rng, c, 1, 1)
    return (
        x,
        _normal(rng, c),
        (scale * torch.from_numpy(rng.uniform(0.5, 2, c))) ** 2,
        training,
        float(rng.uniform(0.05, 0.3)),
    )


def _norm_training_case(rng: Generator) -> tuple:
    return _norm_case(rng, True)


def _norm_eval_case(rng: Generator) -> tuple:
    return _norm_case(rng, False)


# 21.2 -----------------------------------------------------------------------------------------------------------------


def residual_block(x, w1, w2, w_shortcut=None, stride=1):
    y = F.relu(F.conv2d(x, w1, stride=stride, padding=1))
    y = F.conv2d(y, w2, padding=1)
    shortcut = x if w_shortcut is None else F.conv2d(x, w_shortcut, stride=stride)
    return F.relu(shortcut + y)


def _block_sliced(x, w1, w2, w_shortcut=None, stride=1):
    y = F.conv2d(x, w1, None, stride, 1).clamp(min=0)
    y = F.conv2d(y, w2, None, 1, 1)
    if w_shortcut is not None:
        x = torch.einsum("nchw,dc->ndhw", x[:, :, ::stride, ::stride], w_shortcut[:, :, 0, 0])
    return (y + x).clamp(min=0)


def _parts(x, w1, w2, w_shortcut, stride):
    """The shortcut's output, and the residual's without its last ReLU."""
    y = F.conv2d(F.relu(F.conv2d(x, w1, stride=stride, padding=1)), w2, padding=1)
    return (x if w_shortcut is None else F.conv2d(x, w_shortcut, stride=stride)), y


def _block_no_shortcut(x, w1, w2, w_shortcut=None, stride=1):
    return F.relu(_parts(x, w1, w2, w_shortcut, stride)[1])


def _block_relu_before_sum(x, w1, w2, w_shortcut=None, stride=1):
    shortcut, y = _parts(x, w1, w2, w_shortcut, stride)
    return shortcut + F.relu(y)


def _block_no_last_relu(x, w1, w2, w_shortcut=None, stride=1):
    return sum(_parts(x, w1, w2, w_shortcut, stride))


def _block_relu_twice(x, w1, w2, w_shortcut=None, stride=1):
    shortcut, y = _parts(x, w1, w2, w_shortcut, stride)
    return F.relu(shortcut + F.relu(y))


def _block_no_relu_between(x, w1, w2, w_shortcut=None, stride=1):
    y = F.conv2d(F.conv2d(x, w1, stride=stride, padding=1), w2, padding=1)
    return F.relu(y + _parts(x, w1, w2, w_shortcut, stride)[0])


def _block_stride_twice(x, w1, w2, w_shortcut=None, stride=1):
    y = F.conv2d(F.relu(F.conv2d(x, w1, stride=stride, padding=1)), w2, stride=stride, padding=1)
    return F.relu(y + _parts(x, w1, w2, w_shortcut, stride)[0])


def _block_x_itself(x, w1, w2, w_shortcut=None, stride=1):
    return F.relu(x + _parts(x, w1, w2, w_shortcut, stride)[1])


def _block_shortcut_no_stride(x, w1, w2, w_shortcut=None, stride=1):
    shortcut = x if w_shortcut is None else F.conv2d(x, w_shortcut)
    return F.relu(shortcut + _parts(x, w1, w2, w_shortcut, stride)[1])


def _block_concatenated(x, w1, w2, w_shortcut=None, stride=1):
    return F.relu(torch.cat(_parts(x, w1, w2, w_shortcut, stride), dim=1))


def _same_case(rng: Generator) -> tuple:
    n, c = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    x = _normal(rng, n, c, int(rng.integers(3, 6)), int(rng.integers(6, 9)))
    return x, 0.5 * _normal(rng, c, c, 3, 3), 0.5 * _normal(rng, c, c, 3, 3)


def _halving_case(rng: Generator) -> tuple:
    n, c, d = int(rng.integers(1, 4)), int(rng.integers(2, 4)), int(rng.integers(4, 6))
    x = _normal(rng, n, c, int(rng.integers(4, 8)), int(rng.integers(8, 11)))
    return x, 0.5 * _normal(rng, d, c, 3, 3), 0.5 * _normal(rng, d, d, 3, 3), _normal(rng, d, c, 1, 1), 2


def _wider_case(rng: Generator) -> tuple:
    x, w1, w2, w_shortcut, _ = _halving_case(rng)
    return x, w1, w2, w_shortcut


EXERCISES = [
    Exercise(
        "21.1",
        "Batch norm in two modes",
        minutes=18,
        difficulty=2,
        reference=batch_norm,
        use=_use_norm,
        cases=[_norm_training_case, _norm_eval_case],
        misconceptions=[
            Misconception(
                "uses the batch's own statistics in evaluation mode as well",
                _norm_no_eval,
                why="The answer for one image must not depend on the others in the batch. In evaluation the running "
                "statistics stand in the formula.",
                look=LOOK_NORM,
            ),
            Misconception(
                "moves the running statistics in evaluation mode",
                _norm_moves_in_eval,
                why="Scoring must leave the network as it was. And test images that move the statistics have leaked "
                "into the model.",
                look=LOOK_NORM,
            ),
            Misconception(
                "does not look at `training` at all",
                _norm_one_mode,
                why="There are two modes: batch statistics, and running statistics that move, in training; running "
                "statistics that stay in evaluation.",
                look=LOOK_NORM,
            ),
            Misconception(
                "uses the running statistics in training",
                _norm_running_in_training,
                why="In training each batch is normalised by its own mean and variance; the running ones only follow.",
                look=LOOK_NORM,
            ),
            Misconception(
                "keeps `momentum` of the old running statistics in place of 1 - momentum",
                _norm_swapped_momentum,
                why="In torch `momentum` is the share of the *new* batch: 0.9 of the old, 0.1 of the batch.",
                look=LOOK_NORM,
            ),
            Misconception(
                "moves the running variance towards the variance divided by n",
                _norm_running_biased,
                why="The running variance speaks for images not yet seen, so it takes the better estimate: divided by "
                "n - 1 (`correction=1`).",
                look=LOOK_NORM,
            ),
            Misconception(
                "divides by n - 1 where it normalises the batch",
                _norm_unbiased,
                why="The batch is to have variance 1 as it stands, so the variance divides by n (`correction=0`). "
                "torch's `var` divides by n - 1 unless told otherwise.",
                look=LOOK_NORM,
            ),
            Misconception(
                "normalises each image by itself",
                _norm_each_image,
                why="Mean and variance run over batch, height and width, the axes 0, 2 and 3. Over 2 and 3 alone it is "
                "another layer, instance norm.",
                look=LOOK_NORM,
            ),
            Misconception(
                "has a mean for every pixel",
                _norm_each_pixel,
                why="One kernel made all places of a channel, so they share one mean: the axes are 0, 2 and 3.",
                look=LOOK_NORM,
            ),
            Misconception(
                "divides by the variance in place of its root",
                _norm_no_root,
                why="Dividing by the standard deviation gives variance 1; dividing by the variance does not.",
                look=LOOK_NORM,
            ),
            Misconception(
                "adds eps outside the root",
                _norm_eps_outside,
                why="The formula has the root of (variance + eps). For a channel that hardly varies the two differ.",
                look=LOOK_NORM,
            ),
        ],
        hints=(
            "First decide which statistics stand in the formula. Then, in training alone, move the running ones.",
            "In training: x.mean((0, 2, 3)) and x.var((0, 2, 3), correction=0); new = (1 - momentum) * old + momentum "
            "* batch's, for the variance with correction=1.",
            "y = (x - mean[:, None, None]) / (var[:, None, None] + eps).sqrt(); return y, running_mean, running_var.",
        ),
        alternatives=[_norm_torch],
        names=("x", "running_mean", "running_var", "training", "momentum"),
    ),
    Exercise(
        "21.2",
        "A residual block",
        minutes=15,
        difficulty=2,
        reference=residual_block,
        cases=[_same_case, _halving_case, _wider_case],
        misconceptions=[
            Misconception(
                "has no shortcut",
                _block_no_shortcut,
                why="Without `shortcut + ...` this is two plain layers, and the gradient has no direct way back.",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "applies ReLU before the sum, not after",
                _block_relu_before_sum,
                why="A residual that is never negative can only add. The block must be able to take away too: sum "
                "first, then ReLU.",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "applies ReLU both before and after the sum",
                _block_relu_twice,
                why="A residual that is never negative can only add. The ReLU comes once, after the sum.",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "leaves out the ReLU after the sum",
                _block_no_last_relu,
                why="The block is relu(shortcut + residual).",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "leaves out the ReLU between the convolutions",
                _block_no_relu_between,
                why="Two convolutions with nothing in between are one linear map: the second adds no power.",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "uses the stride in both convolutions",
                _block_stride_twice,
                why="The image is halved once, by the first convolution. Halved twice, it no longer fits the shortcut.",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "adds x itself where the shape changes",
                _block_x_itself,
                why="Other channels or another size cannot be added. There the shortcut is the 1 by 1 convolution.",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "forgets the stride in the shortcut's convolution",
                _block_shortcut_no_stride,
                why="The shortcut must halve the image as the residual does, so it takes the same stride.",
                look=LOOK_BLOCK,
            ),
            Misconception(
                "sets shortcut and residual side by side in place of adding them",
                _block_concatenated,
                why="`torch.cat` doubles the channels. (DenseNet is built so.) A residual block adds.",
                look=LOOK_BLOCK,
            ),
        ],
        hints=(
            "Two ways lead from x to the sum. Write the residual's way first, without its last ReLU.",
            "Residual: conv with w1, stride and padding 1; ReLU; conv with w2 and padding 1. Shortcut: x, or a 1 by 1 "
            "convolution with the stride and no padding.",
            "shortcut = x if w_shortcut is None else F.conv2d(x, w_shortcut, stride=stride); return "
            "F.relu(shortcut + y).",
        ),
        alternatives=[_block_sliced],
        names=("x", "w1", "w2", "w_shortcut", "stride"),
    ),
]
