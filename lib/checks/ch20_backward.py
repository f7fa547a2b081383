"""Checks of 20_convolution on the way back: the gradients of kernel, bias and input; and on batch norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch20_convolution import LESSON, normal

# --- 20.5 The gradients of kernel and bias -----------------------------------------------------------------------


def _kernel_gradients(dy: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    h, w = dy.shape[2:]
    kh, kw = x.shape[2] - h + 1, x.shape[3] - w + 1
    dw = torch.zeros(dy.shape[1], x.shape[1], kh, kw, dtype=x.dtype)
    for a in range(kh):
        for b in range(kw):
            dw[:, :, a, b] = torch.einsum("noij,ncij->oc", dy, x[:, :, a : a + h, b : b + w])
    return dw, dy.sum(dim=(0, 2, 3))


def _kernel_gradients_as_conv(dy, x):
    return F.conv2d(x.transpose(0, 1), dy.transpose(0, 1)).transpose(0, 1), torch.einsum("noij->o", dy)


def _kernel_gradients_autograd(dy, x):
    kernel = [n - m + 1 for n, m in zip(x.shape[2:], dy.shape[2:], strict=True)]
    weight = torch.zeros(dy.shape[1], x.shape[1], *kernel, dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(dy.shape[1], dtype=x.dtype, requires_grad=True)
    return torch.autograd.grad(F.conv2d(x, weight, bias), [weight, bias], dy)


def _mistaken_db(db: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    return lambda dy, x: (_kernel_gradients(dy, x)[0], db(dy))


def _mistaken_dw(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    return lambda dy, x: (change(dy, x), dy.sum(dim=(0, 2, 3)))


def _dw(dy: Tensor, x: Tensor) -> Tensor:
    return _kernel_gradients(dy, x)[0]


def _batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    n, o, c = int(rng.integers(2, 4)), int(rng.integers(4, 6)), int(rng.integers(2, 4))
    return normal(rng, n, o, 4, 7), normal(rng, n, c, 6, 8)


def _as_many_out_as_in(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return normal(rng, 2, 3, 4, 5), normal(rng, 2, 3, 6, 7)


# --- 20.6 The gradient of the input ------------------------------------------------------------------------------


def _input_gradient(dy: Tensor, weight: Tensor) -> Tensor:
    return _input_gradient_other()(dy, weight)


def _input_gradient_other(
    flip: Sequence[int] = (2, 3), pad: str = "full", swap: bool = True
) -> Callable[[Tensor, Tensor], Tensor]:
    """Slide the flipped kernel over the padded dy, or do so with a mistake in flip, padding or channels."""

    def gradient(dy, weight):
        kh, kw = weight.shape[2:]
        zeros = {
            "full": (kw - 1, kw - 1, kh - 1, kh - 1),
            "rows and columns confused": (kh - 1, kh - 1, kw - 1, kw - 1),
            "none": (0, 0, 0, 0),
            "k": (kw, kw, kh, kh),
        }[pad]
        weight = weight.flip(tuple(flip))
        return F.conv2d(F.pad(dy, zeros), weight.transpose(0, 1) if swap else weight)

    return gradient


def _input_gradient_painted(dy, weight):
    (n, _, h, w), (_, c, kh, kw) = dy.shape, weight.shape
    dx = torch.zeros(n, c, h + kh - 1, w + kw - 1, dtype=dy.dtype)
    for a in range(kh):
        for b in range(kw):
            dx[:, :, a : a + h, b : b + w] += torch.einsum("noij,oc->ncij", dy, weight[:, :, a, b])
    return dx


def _outputs(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return normal(rng, 2, 4, int(rng.integers(4, 7)), 5), normal(rng, 4, int(rng.integers(2, 4)), 2, 3)


def _square(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return normal(rng, 1, 3, 5, 4), normal(rng, 3, 3, 3, 3)


# --- 20.8 Batch norm on images -----------------------------------------------------------------------------------


def _batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _batch_norm_other()(x, gamma, beta, mean, var, momentum, eps)


def _batch_norm_other(
    axes: Sequence[int] = (0, 2, 3), correction: int = 0, kept: Callable[[Tensor], float] | None = None,
    swap: bool = False, eps_outside: bool = False, last: bool = False,
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:  # fmt: skip
    """Batch norm in training, or with one mistake: axes, a variance, momentum, eps, the place of gamma and beta."""

    def normalise(x, gamma, beta, mean, var, momentum, eps):
        new = 1 - momentum if swap else momentum
        sigma2 = x.var(dim=tuple(axes), correction=correction, keepdim=True)
        root = sigma2.sqrt() + eps if eps_outside else (sigma2 + eps).sqrt()
        y = (x - x.mean(dim=tuple(axes), keepdim=True)) / root
        place = (slice(None),) if last else (slice(None), None, None)
        biased, n = x.var(dim=(0, 2, 3), correction=0), x.numel() / x.shape[1]
        var = (1 - new) * var + new * biased * (n / (n - 1) if kept is None else kept(x))
        return gamma[place] * y + beta[place], (1 - new) * mean + new * x.mean(dim=(0, 2, 3)), var

    return normalise


def _batch_norm_torch(x, gamma, beta, mean, var, momentum, eps):
    mean, var = mean.clone(), var.clone()
    return F.batch_norm(x, mean, var, gamma, beta, True, momentum, eps), mean, var


def _image_batch(rng: np.random.Generator, width: int = 5) -> tuple:
    c = int(rng.integers(2, 5)) if width == 5 else width
    x = 2 + 3 * normal(rng, int(rng.integers(3, 6)), c, 4, width)
    gamma, beta, mean = (normal(rng, c) for _ in range(3))
    return x, gamma, beta, mean, torch.from_numpy(rng.uniform(0.5, 2.0, c)), 0.2, 0.05


def _as_many_columns_as_channels(rng: np.random.Generator) -> tuple:
    return _image_batch(rng, width=3)


EXERCISES = [
    Exercise(
        "20.5",
        "The gradients of kernel and bias",
        minutes=18,
        difficulty=3,
        reference=_kernel_gradients,
        cases=[
            _batch,
            _as_many_out_as_in,
            Case(
                "one image, one place",
                torch.tensor([2.0, -1.0]).double().reshape(1, 2, 1, 1),
                torch.arange(6.0).double().reshape(1, 1, 2, 3),
            ),
        ],
        misconceptions=[
            Misconception(
                "sums db over the batch alone",
                _mistaken_db(lambda dy: dy.sum(0)),
                why="The bias is one number a channel, added at *every place* of every image, so its gradient "
                "collects dy from all of them: sum over the axes 0, 2 and 3, and the shape (O,) is left.",
                look=f"Section 9 {LESSON}, 'With channels and a batch'",
            ),
            Misconception(
                "sums db over the places and leaves the images apart",
                _mistaken_db(lambda dy: dy.sum((2, 3))),
                why="All images of the batch used the same bias. Their gradients add up: sum over axis 0 as well.",
                look=f"Section 9 {LESSON}, 'With channels and a batch'",
            ),
            Misconception(
                "sums db over the channels too",
                _mistaken_db(lambda dy: dy.sum()),
                why="Each output channel has its own bias. Sum over every axis but that of the channels, axis 1.",
                look=f"Section 9 {LESSON}, 'With channels and a batch'",
            ),
            Misconception(
                "averages db over images and places",
                _mistaken_db(lambda dy: dy.mean((0, 2, 3))),
                why="The chain rule adds the effects of all uses. If the loss is a mean, the division is in dy "
                "already.",
                look=f"Section 9 {LESSON}, 'Backward, step by step'",
            ),
            Misconception(
                "averages dw over the batch",
                _mistaken_dw(lambda dy, x: _dw(dy, x) / len(x)),
                why="The chain rule adds the effects of all uses. If the loss is a mean, the division is in dy "
                "already.",
                look=f"Section 9 {LESSON}, 'Backward, step by step'",
            ),
            Misconception(
                "takes dw from the first image alone",
                _mistaken_dw(lambda dy, x: _dw(dy[:1], x[:1])),
                why="All images of the batch used the same kernel, and their gradients add up.",
                look=f"Section 9 {LESSON}, 'With channels and a batch'",
            ),
            Misconception(
                "takes dw from the last image alone",
                _mistaken_dw(lambda dy, x: _dw(dy[-1:], x[-1:])),
                why="In a loop over images, `dw = ...` forgets what was there. All images used the same kernel, and "
                "their gradients add up: `dw += ...`.",
                look=f"Section 9 {LESSON}, 'With channels and a batch'",
            ),
            Misconception(
                "flips dw",
                _mistaken_dw(lambda dy, x: _dw(dy, x).flip(2, 3)),
                why="dw[a] = sum of dy[i] x[i + a]: a plus sign, so nothing is turned round. The flip is in dx.",
                look=f"Section 9 {LESSON}, 'The kernel: slide dy over x'",
            ),
            Misconception(
                "slides dy flipped over x",
                _mistaken_dw(lambda dy, x: _dw(dy.flip(2, 3), x)),
                why="dw[a] = sum of dy[i] x[i + a]: a plus sign, a cross-correlation. The flip is in dx.",
                look=f"Section 9 {LESSON}, 'The kernel: slide dy over x'",
            ),
            Misconception(
                "returns dw with input channels first",
                _mistaken_dw(lambda dy, x: _dw(dy, x).transpose(0, 1)),
                why="A gradient has the shape of its tensor, and weight is (O, C, kh, kw).",
                look=f"Section 9 {LESSON}, 'With channels and a batch'",
            ),
        ],
        hints=(
            "The shape of dw is that of weight, (O, C, kh, kw). How large are kh and kw, if x is H x W and dy Ho x Wo?",
            "weight[o, c, a, b] met x[n, c, i + a, j + b] and went into y[n, o, i, j]. Which indices does dw sum over?",
            'dw[:, :, a, b] = torch.einsum("noij,ncij->oc", dy, x[:, :, a : a + Ho, b : b + Wo]); dy.sum((0, 2, 3))',
        ),
        alternatives=[_kernel_gradients_as_conv, _kernel_gradients_autograd],
    ),
    Exercise(
        "20.6",
        "The gradient of the input",
        minutes=18,
        difficulty=3,
        reference=_input_gradient,
        cases=[
            _outputs,
            _square,
            Case("one place", torch.tensor([[[[1.0]]]]).double(), torch.arange(6.0).double().reshape(1, 1, 2, 3)),
        ],
        misconceptions=[
            Misconception(
                "slides the kernel over dy without flipping it",
                _input_gradient_other(flip=()),
                why="x[j] is in y[i] where i + a = j, so dx[j] = sum of w[a] dy[j - a]. The minus sign is a flip: "
                "dx is the true convolution of dy with the kernel.",
                look=f"Section 9 {LESSON}, 'The input: slide the flipped kernel over dy'",
            ),
            Misconception(
                "flips the kernel upside down, but not left to right",
                _input_gradient_other(flip=(2,)),
                why="The minus sign is in both directions: flip the axes 2 and 3.",
                look=f"Section 9 {LESSON}, 'The input: slide the flipped kernel over dy'",
            ),
            Misconception(
                "flips the kernel left to right, but not upside down",
                _input_gradient_other(flip=(3,)),
                why="The minus sign is in both directions: flip the axes 2 and 3.",
                look=f"Section 9 {LESSON}, 'The input: slide the flipped kernel over dy'",
            ),
            Misconception(
                "does not pad dy",
                _input_gradient_other(pad="none"),
                why="dx is as large as x, H = Ho + kh - 1, and pixels at the border have a gradient too. Surround dy "
                "with kh - 1 zeros above and below and kw - 1 left and right.",
                look=f"Section 9 {LESSON}, 'The input: slide the flipped kernel over dy'",
            ),
            Misconception(
                "pads with k zeros in place of k - 1",
                _input_gradient_other(pad="k"),
                why="With k zeros a side the first window sees nothing but zeros, and dx becomes larger than x.",
                look=f"Section 9 {LESSON}, 'The input: slide the flipped kernel over dy'",
            ),
            Misconception(
                "pads the rows as the columns should be, and the columns as the rows",
                _input_gradient_other(pad="rows and columns confused"),
                why="F.pad names the *last* axis first: (left, right, top, bottom). Square kernels hide it.",
                look=f"Section 9 {LESSON}, 'The input: slide the flipped kernel over dy'",
            ),
            Misconception(
                "leaves the kernel's channels in the order of the way forward",
                _input_gradient_other(swap=False),
                why="Backward, O channels come in and C go out: weight[o, c] leads from o to c, so its first two axes "
                "change places. With O = C the wrong order runs.",
                look=f"Section 9 {LESSON}, 'With channels and a batch'",
            ),
        ],
        hints=(
            "In which outputs is x[n, c, i, j]? Multiplied by which number of the kernel? Where does each dy paint?",
            "Surround dy with kh - 1 and kw - 1 zeros, flip the kernel in both directions, swap O and C, slide.",
            "F.conv2d(F.pad(dy, (kw - 1, kw - 1, kh - 1, kh - 1)), weight.flip(2, 3).transpose(0, 1))",
        ),
        alternatives=[_input_gradient_painted, lambda dy, weight: F.conv_transpose2d(dy, weight)],
    ),
    Exercise(
        "20.8",
        "Batch norm on images",
        minutes=15,
        difficulty=2,
        reference=_batch_norm,
        cases=[
            _image_batch,
            _as_many_columns_as_channels,
            Case(
                "two values a channel",
                torch.tensor([1.0, 3.0]).double().reshape(2, 1, 1, 1),
                *(torch.tensor([v]).double() for v in (2.0, 0.5, 0.0, 1.0)),
                0.1,
                1e-5,
            ),
        ],
        misconceptions=[
            Misconception(
                "takes the statistics over the batch alone, for each pixel apart",
                _batch_norm_other(axes=(0,)),
                why="All places of a channel come from the same kernel and share one mean and one variance: axes 0, "
                "2 and 3.",
                look=f"Section 10 {LESSON}, 'Batch norm on images'",
            ),
            Misconception(
                "takes the statistics of each image apart",
                _batch_norm_other(axes=(2, 3)),
                why="That is instance norm. Batch norm takes them over the batch as well: axes 0, 2 and 3.",
                look=f"Section 10 {LESSON}, 'Batch norm on images'",
            ),
            Misconception(
                "normalises each image over its channels, as layer norm does",
                _batch_norm_other(axes=(1, 2, 3)),
                why="Each channel has its own mean and variance; the axis 1 must stay: axes 0, 2 and 3.",
                look=f"Section 10 {LESSON}, 'Batch norm on images'",
            ),
            Misconception(
                "divides the batch's variance by one less than the number of values",
                _batch_norm_other(correction=1),
                why="To normalise this batch, its own variance is wanted, divided by the number of values "
                "(`correction=0`). Only the running variance, which speaks for unseen images, divides by one less.",
                look=f"Section 10 {LESSON}, 'Batch norm on images'",
            ),
            Misconception(
                "keeps the biased variance in the running one",
                _batch_norm_other(kept=lambda x: 1.0),
                why="The running variance speaks for images that are not in the batch: it takes the estimate divided "
                "by one less than the number of values.",
                look=f"Section 10 {LESSON}, 'Batch norm on images'",
            ),
            Misconception(
                "counts images in place of values in the running variance",
                _batch_norm_other(kept=lambda x: len(x) / (len(x) - 1)),
                why="A channel has N * H * W values in the batch. One less than *that* is what to divide by.",
                look=f"Section 10 {LESSON}, 'Batch norm on images'",
            ),
            Misconception(
                "gives the old average the weight `momentum`",
                _batch_norm_other(swap=True),
                why="In batch norm, momentum is the weight of the *new*: (1 - momentum) * old + momentum * new.",
                look="Section 8 of 14_training_craft, 'What evaluation uses'",
            ),
            Misconception(
                "adds eps to the standard deviation",
                _batch_norm_other(eps_outside=True),
                why="eps is added to the variance, under the root.",
                look="Section 8 of 14_training_craft, 'Normalisation'",
            ),
            Misconception(
                "lays gamma and beta along the columns of the image",
                _batch_norm_other(last=True),
                why="Broadcasting lines a vector up with the *last* axis. One number a channel needs the shape "
                "(C, 1, 1). With as many columns as channels the mistake raises no error.",
                look=f"Section 10 {LESSON}, 'Batch norm on images'",
            ),
        ],
        hints=(
            "Which numbers share a mean? All that the same kernel has made. Which axes are those?",
            "x.mean(dim=(0, 2, 3), keepdim=True) has the shape (1, C, 1, 1). gamma[:, None, None] stands beside it.",
            "Normalise with correction=0. The running variance takes momentum * x.var(dim=(0, 2, 3)), correction 1.",
        ),
        alternatives=[_batch_norm_torch],
    ),
]
