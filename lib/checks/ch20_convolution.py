"""Checks of 20_convolution on what a layer computes: sliding a kernel, channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 20_convolution"


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    """Random numbers for a case."""
    return torch.from_numpy(rng.standard_normal(shape))


# --- 20.2 Slide a kernel -----------------------------------------------------------------------------------------


def _correlate(x: Tensor, kernel: Tensor) -> Tensor:
    h, w = x.shape[0] - kernel.shape[0] + 1, x.shape[1] - kernel.shape[1] + 1
    y = torch.zeros(h, w, dtype=x.dtype)
    for i in range(h):
        for j in range(w):
            y[i, j] = (x[i : i + kernel.shape[0], j : j + kernel.shape[1]] * kernel).sum()
    return y


def _correlate_slices(x, kernel):
    kh, kw = kernel.shape
    h, w = x.shape[0] - kh + 1, x.shape[1] - kw + 1
    return sum(kernel[a, b] * x[a : a + h, b : b + w] for a in range(kh) for b in range(kw))


def _correlate_torch(x, kernel):
    return F.conv2d(x[None, None], kernel[None, None])[0, 0]


def _correlate_same_size(x, kernel):
    """Zeros behind the last row and column, so that the output is as large as the image."""
    return _correlate(F.pad(x, (0, kernel.shape[1] - 1, 0, kernel.shape[0] - 1)), kernel)


def _correlate_centred(x, kernel):
    kh, kw = kernel.shape
    return _correlate(F.pad(x, (kw // 2, (kw - 1) // 2, kh // 2, (kh - 1) // 2)), kernel)


def _picture(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return normal(rng, int(rng.integers(5, 8)), int(rng.integers(8, 11))), normal(rng, 3, 2)


def _square_kernel(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    return normal(rng, 6, 7), normal(rng, 3, 3)


# --- 20.3 Channels, stride, padding ------------------------------------------------------------------------------


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    return _conv(x, weight, bias, stride, padding)


def _conv(
    x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, sides: str = "both", bias_times: str = "once"
) -> Tensor:
    """The convolution, or one with a mistake: padding on some sides only, the bias added more often."""
    (n, c), (o, _, kh, kw) = x.shape[:2], weight.shape
    before, after = {"both": (padding, padding), "after": (0, padding), "half": (padding // 2, padding - padding // 2)}[
        sides
    ]
    x = F.pad(x, (before, after, before, after))
    h, w = (x.shape[2] - kh) // stride + 1, (x.shape[3] - kw) // stride + 1
    y = torch.zeros(n, o, h, w, dtype=x.dtype)
    for i in range(h):
        for j in range(w):
            seen = x[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            y[:, :, i, j] = torch.einsum("ncab,ocab->no", seen, weight)
    return y + {"once": 1, "channels": c, "places": kh * kw, "never": 0}[bias_times] * bias[:, None, None]


def _conv_mistaken(**mistake: str) -> Callable[..., Tensor]:
    return lambda x, weight, bias, stride, padding: _conv(x, weight, bias, stride, padding, **mistake)


def _conv_torch(x, weight, bias, stride, padding):
    return F.conv2d(x, weight, bias, stride, padding)


def _conv_unfolded(x, weight, bias, stride, padding):
    (n, _, h, w), (kh, kw) = F.conv2d(x, weight, None, stride, padding).shape, weight.shape[2:]
    columns = F.unfold(x, (kh, kw), padding=padding, stride=stride)
    return (weight.flatten(1) @ columns).reshape(n, -1, h, w) + bias[None, :, None, None]


def _conv_flipped(x, weight, bias, stride, padding):
    return _conv(x, weight.flip(2, 3), bias, stride, padding)


def _conv_mean(x, weight, bias, stride, padding):
    return _conv(x, weight / x.shape[1], bias, stride, padding)


def _conv_swapped(x, weight, bias, stride, padding):
    return _conv(x, weight.transpose(0, 1), bias, stride, padding)


def _conv_no_stride(x, weight, bias, stride, padding):
    return _conv(x, weight, bias, 1, padding)


def _images(rng: np.random.Generator) -> tuple:
    o, c = int(rng.integers(4, 6)), int(rng.integers(2, 4))
    x, weight, bias = normal(rng, 2, c, 7, 9), normal(rng, o, c, 3, 2), normal(rng, o)
    return x, weight, bias, int(rng.integers(2, 4)), int(rng.integers(1, 3))


def _plain_images(rng: np.random.Generator) -> tuple:
    return normal(rng, 2, 3, 5, 6), normal(rng, 3, 3, 2, 3), normal(rng, 3), 1, 0


EXERCISES = [
    Exercise(
        "20.2",
        "Slide a kernel",
        minutes=12,
        difficulty=1,
        reference=_correlate,
        cases=[
            _picture,
            _square_kernel,
            Case(
                "a dot",
                torch.eye(5, dtype=torch.float64)[2:3].T @ torch.eye(5, dtype=torch.float64)[2:3],
                torch.arange(1.0, 10.0, dtype=torch.float64).reshape(3, 3),
            ),
            Case("one row", torch.arange(6.0, dtype=torch.float64)[None] ** 2, torch.tensor([[1.0, -1.0]]).double()),
            Case("a kernel as large as the image", torch.ones(3, 2).double(), torch.arange(6.0).reshape(3, 2).double()),
        ],
        misconceptions=[
            Misconception(
                "flips the kernel",
                lambda x, kernel: _correlate(x, kernel.flip(0, 1)),
                why="That is convolution as mathematics defines it, x[i - a]. The sum here has x[i + a], "
                "cross-correlation, which is what deep learning means when it says convolution.",
                look=f"Section 3 {LESSON}, 'Convolution and cross-correlation'",
            ),
            Misconception(
                "keeps the image's size, with zeros where the window hangs over the edge",
                _correlate_same_size,
                why="Here the window stays inside, so there are H - kh + 1 rows and W - kw + 1 columns. Zeros beyond "
                "the edge are padding, which has not been asked for.",
                look=f"Section 1 {LESSON}, 'A small window and a photograph'",
            ),
            Misconception(
                "centres the window on each pixel, so that it hangs over the edges",
                _correlate_centred,
                why="y[i, j] is the sum over the window whose upper left corner is at (i, j), and only windows that "
                "fit count.",
                look=f"Section 1 {LESSON}, 'A small window and a photograph'",
            ),
            Misconception(
                "misses the last row and the last column of places",
                lambda x, kernel: _correlate(x, kernel)[:-1, :-1],
                why="A window of kh rows fits at 0, 1, ... up to H - kh, and that one counts too: H - kh + 1 places.",
                look=f"Section 1 {LESSON}, 'A small window and a photograph'",
            ),
            Misconception(
                "takes the mean of the products",
                lambda x, kernel: _correlate(x, kernel) / kernel.numel(),
                why="The products are added up. A kernel that should average has its division in its numbers.",
                look=f"Section 1 {LESSON}, 'A small window and a photograph'",
            ),
            Misconception(
                "turns the kernel on its side",
                lambda x, kernel: _correlate(x, kernel.T),
                why="The kernel's first index goes with the image's rows, the second with its columns. Here they "
                "have changed places.",
                look=f"Section 1 {LESSON}, 'A small window and a photograph'",
            ),
        ],
        hints=(
            "How many places are there from top to bottom, so that the window never leaves the image?",
            "At place (i, j) cut out x[i : i + kh, j : j + kw], multiply it by the kernel, and sum.",
            "y = torch.zeros(H - kh + 1, W - kw + 1, dtype=x.dtype); two loops; y[i, j] = (window * kernel).sum()",
        ),
        alternatives=[_correlate_slices, _correlate_torch],
    ),
    Exercise(
        "20.3",
        "Channels, stride and padding",
        minutes=20,
        difficulty=3,
        reference=_conv2d,
        cases=[
            _images,
            _plain_images,
            Case(
                "one pixel a window",
                torch.arange(8.0).reshape(1, 2, 2, 2).double(),
                torch.tensor([[[[1.0]], [[-1.0]]]]).double(),
                torch.tensor([0.5]).double(),
                2,
                0,
            ),
        ],
        misconceptions=[
            Misconception(
                "flips the kernels",
                _conv_flipped,
                why="Libraries compute the cross-correlation, x[i + a], without a flip.",
                look=f"Section 3 {LESSON}, 'Convolution and cross-correlation'",
            ),
            Misconception(
                "pads behind the image only",
                _conv_mistaken(sides="after"),
                why="Padding of p puts p zeros on every side. F.pad wants all four numbers: left, right, top, bottom.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "spreads the padding over both sides, p zeros in all",
                _conv_mistaken(sides="half"),
                why="Padding of p puts p zeros on *each* side, 2 p along each axis.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "adds the bias once for every input channel",
                _conv_mistaken(bias_times="channels"),
                why="The sum runs over channels, rows and columns of the kernel, and the bias stands outside it. Add "
                "it after the sum.",
                look=f"Section 5 {LESSON}, 'Colours and channels'",
            ),
            Misconception(
                "adds the bias once for every place of the kernel",
                _conv_mistaken(bias_times="places"),
                why="The bias stands outside the sum over the kernel's places. Add it once, after the loop.",
                look=f"Section 5 {LESSON}, 'Colours and channels'",
            ),
            Misconception(
                "leaves out the bias",
                _conv_mistaken(bias_times="never"),
                why="Each output channel has one offset, added at all of its places: bias[:, None, None].",
                look=f"Section 5 {LESSON}, 'Colours and channels'",
            ),
            Misconception(
                "averages over the input channels",
                _conv_mean,
                why="The contributions of the channels are added up, so that the network can weigh them.",
                look=f"Section 5 {LESSON}, 'Colours and channels'",
            ),
            Misconception(
                "takes the first axis of weight for the input channels",
                _conv_swapped,
                why="weight is (O, C, kh, kw): weight[o, c] leads from input channel c to output channel o. With as "
                "many input as output channels the wrong order runs, and computes something else.",
                look=f"Section 5 {LESSON}, 'Colours and channels'",
            ),
            Misconception(
                "moves by one pixel whatever the stride is",
                _conv_no_stride,
                why="With stride s, output (i, j) belongs to the window that starts at (i s, j s).",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
        ],
        hints=(
            "First pad. Then find the output's size. Then ask which window output (i, j) sees.",
            "The window of (i, j) is x[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]: N C kh kw.",
            'y[:, :, i, j] = torch.einsum("ncab,ocab->no", window, weight), and at the end add bias[:, None, None].',
        ),
        alternatives=[_conv_torch, _conv_unfolded],
    ),
]
