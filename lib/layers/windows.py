"""The arithmetic of windows that slide over an image: sizes, the windows themselves, and what a stack of them sees.

Convolution (conv.py) and pooling (pool.py) stand on it. An image is N C H W: batch, channels, height, width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

Pair = int | tuple[int, int]


def pair(name: str, value: int | Sequence[int], least: int = 1) -> tuple[int, int]:
    """One number for both directions, or two: always as two. Raises ValueError unless they are integers >= least."""
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else ()
    if len(both) != 2 or not all(isinstance(v, int) and v >= least for v in both):
        raise ValueError(f"{name} must be an integer of at least {least}, or a pair of them, got {value!r}")
    return both


def out_size(n: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many places a window has along an axis of n: floor((n + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Raises ValueError for a number that is out of range, and when the window does not fit at all.
    """
    if min(n, kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            "n, kernel, stride and dilation must be at least 1 and padding at least 0, got "
            f"n={n}, kernel={kernel}, stride={stride}, padding={padding}, dilation={dilation}"
        )
    room, span = n + 2 * padding, dilation * (kernel - 1) + 1
    if span > room:
        raise ValueError(
            f"a kernel of {kernel} with dilation {dilation} spans {span}, but the input has {n} and with padding "
            f"{padding} on both sides {room}: use a smaller kernel or dilation, or more padding"
        )
    return (room - span) // stride + 1


def windows(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
    """Every window of x (N, C, H, W), as a view that copies nothing: (N, C, Ho, Wo, kh, kw)."""
    (kh, kw), (sh, sw), (dh, dw) = kernel, stride, dilation
    seen = x.unfold(2, dh * (kh - 1) + 1, sh).unfold(3, dw * (kw - 1) + 1, sw)
    return seen[..., ::dh, ::dw]  # N C Ho Wo kh kw


def check_image(name: str, x: Tensor) -> None:
    """Raise ValueError unless x has the four axes N C H W."""
    if x.ndim != 4:
        raise ValueError(f"{name}: x must have the four axes N C H W, got the shape {tuple(x.shape)}")


def pad(x: Tensor, padding: tuple[int, int], value: float = 0.0) -> Tensor:
    """x with `padding` (vertical, horizontal) rows and columns of `value` on each side."""
    ph, pw = padding
    return F.pad(x, (pw, pw, ph, ph), value=value)  # torch names the last axis first


class Window(NamedTuple):
    """One layer of convolution or pooling along one axis."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class Field(NamedTuple):
    """What the outputs of a stack of layers see of its input, along one axis.

    Output i sees the inputs from offset + i jump to offset + i jump + size - 1; those below 0 are padding.
    """

    size: int
    jump: int
    offset: int


def receptive_field(layers: Iterable[Window | tuple[int, ...]]) -> Field:
    """The receptive field of a stack, from the layers' (kernel, stride, padding, dilation), the input's side first.

    A step of 1 in a layer's input is `jump` pixels of the image, the product of the strides before it. So a layer adds
    dilation (kernel - 1) jump to the size. No layers: each output is one pixel. Raises ValueError for a kernel, stride
    or dilation below 1, or a negative padding.
    Source: A. Araujo, W. Norris, J. Sim (2019), "Computing Receptive Fields of Convolutional Neural Networks".
    """
    size, jump, offset = 1, 1, 0
    for layer in layers:
        kernel, stride, padding, dilation = Window(*layer)
        if min(kernel, stride, dilation) < 1 or padding < 0:
            raise ValueError(f"receptive_field: kernel, stride, dilation >= 1 and padding >= 0 expected, got {layer}")
        size += dilation * (kernel - 1) * jump
        offset -= padding * jump
        jump *= stride
    return Field(size, jump, offset)
