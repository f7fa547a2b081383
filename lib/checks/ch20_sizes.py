"""Checks of 20_convolution on sizes: of an output, of what it sees, and of a transposed convolution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch20_convolution import LESSON

# --- 20.1 The size of an output ----------------------------------------------------------------------------------


def _out_size(n: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _out_size_counted(n, kernel, stride, padding, dilation):
    last = n + 2 * padding - dilation * (kernel - 1)
    return len(range(0, last, stride))


def _size_case(rng: np.random.Generator) -> tuple[int, int, int, int, int]:
    kernel, stride, padding, dilation = (int(rng.integers(low, high)) for low, high in [(2, 6), (2, 5), (1, 4), (2, 4)])
    return int(rng.integers(20, 60)), kernel, stride, padding, dilation


# --- 20.4 The receptive field ------------------------------------------------------------------------------------


def _field(layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    return _field_other()(layers)


def _field_other(
    jump_of: str = "product", own_first: bool = False, dilate: bool = True, less_one: int = 1
) -> Callable[..., tuple[int, int]]:
    """The recursion, or one with a mistake in the jump, the dilation or the kernel."""

    def field(layers):
        size, jump = 1, 1
        for kernel, stride, dilation in layers:
            new = {"product": jump * stride, "last": stride, "sum": jump + stride, "none": 1}[jump_of]
            step = new if own_first else jump
            size += (dilation if dilate else 1) * (kernel - less_one) * step
            jump = new
        return size, jump

    return field


def _field_backwards(layers):
    """From the output down: how many inputs of each layer its outputs need."""
    size = 1
    for kernel, stride, dilation in reversed(layers):
        size = (size - 1) * stride + dilation * (kernel - 1) + 1
    return size, math.prod(stride for _, stride, _ in layers)


def _field_product_of_kernels(layers):
    return math.prod(kernel for kernel, _, _ in layers), math.prod(stride for _, stride, _ in layers)


def _stack(rng: np.random.Generator) -> tuple[list[tuple[int, int, int]]]:
    rows = rng.integers((2, 2, 1), 4, size=(int(rng.integers(3, 5)), 3)).tolist()
    return ([(kernel, stride, dilation) for kernel, stride, dilation in rows],)


# --- 20.7 The size of a transposed convolution -------------------------------------------------------------------


def _transposed_size(n: int, kernel: int, stride: int, padding: int, output_padding: int) -> int:
    return (n - 1) * stride - 2 * padding + kernel + output_padding


def _transposed_size_searched(n, kernel, stride, padding, output_padding):
    return next(m for m in range(1, 10**4) if (m + 2 * padding - kernel) // stride + 1 == n) + output_padding


def _transposed_case(rng: np.random.Generator) -> tuple[int, int, int, int, int]:
    stride = int(rng.integers(2, 5))
    return int(rng.integers(8, 20)), stride + int(rng.integers(1, 4)), stride, 1, int(rng.integers(1, stride))


EXERCISES = [
    Exercise(
        "20.1",
        "The size of an output",
        minutes=10,
        difficulty=1,
        reference=_out_size,
        cases=[
            _size_case,
            Case("nothing special", 28, 5, 1, 0, 1),
            Case("a stride that does not fit", 28, 3, 2, 1, 1),
            Case("a window as large as the image", 5, 5, 3, 0, 1),
            Case("one pixel, one number", 1, 1, 1, 0, 1),
        ],
        misconceptions=[
            Misconception(
                "counts the padding once",
                lambda n, kernel, stride, padding, dilation: _out_size(n + padding, kernel, stride, 0, dilation),
                why="Padding of p puts p zeros on every side: 2 p more along each axis.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "takes dilation times the kernel for what the kernel spans",
                lambda n, kernel, stride, padding, dilation: (n + 2 * padding - dilation * kernel) // stride + 1,
                why="A kernel of k numbers has k - 1 gaps, and dilation widens the gaps: it spans d (k - 1) + 1 "
                "pixels, not d k.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "leaves out the dilation",
                lambda n, kernel, stride, padding, dilation: _out_size(n, kernel, stride, padding, 1),
                why="With dilation d the kernel's numbers lie d pixels apart, so that it spans d (k - 1) + 1 pixels.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "rounds up",
                lambda n, kernel, stride, padding, dilation: (
                    -(-(n + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1
                ),
                why="The last step is taken only where the whole window fits. What is left over is dropped, so the "
                "division is rounded down.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "does not round",
                lambda n, kernel, stride, padding, dilation: (
                    (n + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
                ),
                why="There is no half place. Divide with //, which rounds down to a whole number.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "forgets the place where the window starts",
                lambda n, kernel, stride, padding, dilation: _out_size(n, kernel, stride, padding, dilation) - 1,
                why="The division counts the steps. The window also stands at the start, before the first step: add 1.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
            Misconception(
                "divides by the stride before it takes the kernel away",
                lambda n, kernel, stride, padding, dilation: (n + 2 * padding) // stride - dilation * (kernel - 1),
                why="First find how far the window can travel, n + 2 p - d (k - 1) - 1. Only that way is cut into "
                "steps of s.",
                look=f"Section 4 {LESSON}, 'How large is the output?'",
            ),
        ],
        hints=(
            "How many pixels does the kernel span, holes included? How much room is there, padding included?",
            "Room minus span is how far the window can travel. How many whole steps is that, and from which place on?",
            "(n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1",
        ),
        alternatives=[_out_size_counted],
    ),
    Exercise(
        "20.4",
        "The receptive field",
        minutes=12,
        difficulty=2,
        reference=_field,
        cases=[
            _stack,
            Case("no layers", []),
            Case("two layers of 3", [(3, 1, 1), (3, 1, 1)]),
            Case("a stride below", [(3, 2, 1), (3, 1, 1)]),
            Case("dilations", [(3, 1, 1), (3, 1, 2), (3, 1, 4)]),
        ],
        misconceptions=[
            Misconception(
                "forgets the product of the strides and takes only the last layer's",
                _field_other("last"),
                why="After strides of 2 and 2, neighbouring outputs are 4 pixels apart in the image. The jump is the "
                "product of all strides so far.",
                look=f"Section 7 {LESSON}, 'How far does an output see?'",
            ),
            Misconception(
                "leaves the strides out altogether",
                _field_other("none"),
                why="After a stride of 2 a step in the layer is 2 pixels of the image, so all that lies above sees "
                "twice as far.",
                look=f"Section 7 {LESSON}, 'How far does an output see?'",
            ),
            Misconception(
                "adds the strides up",
                _field_other("sum"),
                why="Each stride multiplies the distance between neighbours: 2 and then 2 makes 4, 2 and then 3 "
                "makes 6.",
                look=f"Section 7 {LESSON}, 'How far does an output see?'",
            ),
            Misconception(
                "lets a layer's own stride widen what that layer sees",
                _field_other(own_first=True),
                why="What one output sees depends on how far apart the layer's *inputs* are, the jump below it. Its "
                "own stride counts from the next layer on: first the size, then the jump.",
                look=f"Section 7 {LESSON}, 'How far does an output see?'",
            ),
            Misconception(
                "leaves out the dilation",
                _field_other(dilate=False),
                why="A dilated kernel spans d (k - 1) + 1 of its inputs.",
                look=f"Section 7 {LESSON}, 'How far does an output see?'",
            ),
            Misconception(
                "adds k in place of k - 1",
                _field_other(less_one=0),
                why="A kernel of k has k - 1 gaps. A kernel of 1 sees what the layer below sees, and no more.",
                look=f"Section 7 {LESSON}, 'How far does an output see?'",
            ),
            Misconception(
                "multiplies the kernels",
                _field_product_of_kernels,
                why="Two layers of 3 see 5 pixels, not 9: the windows of neighbours overlap, and each layer adds only "
                "what sticks out.",
                look=f"Section 7 {LESSON}, 'How far does an output see?'",
            ),
        ],
        hints=(
            "Begin with one pixel and a jump of 1. What does one more layer add on both sides together?",
            "It adds dilation * (kernel - 1) steps, and each step is `jump` pixels of the image.",
            "For each layer: size += dilation * (kernel - 1) * jump, and then jump *= stride.",
        ),
        alternatives=[_field_backwards],
    ),
    Exercise(
        "20.7",
        "The size of a transposed convolution",
        minutes=10,
        difficulty=2,
        reference=_transposed_size,
        cases=[
            _transposed_case,
            Case("one pixel", 1, 3, 2, 0, 0),
            Case("doubling an image", 14, 4, 2, 1, 0),
            Case("back to 8", 3, 3, 2, 0, 1),
        ],
        misconceptions=[
            Misconception(
                "uses the formula of the convolution",
                lambda n, kernel, stride, padding, output_padding: (
                    (n + 2 * padding - kernel) // stride + 1 + output_padding
                ),
                why="A transposed convolution goes the other way: from the small image to the large one. Solve the "
                "formula of section 4 for n.",
                look=f"Section 9 {LESSON}, 'Stride, and a layer that goes backwards'",
            ),
            Misconception(
                "counts n strides in place of n - 1",
                lambda n, kernel, stride, padding, output_padding: n * stride - 2 * padding + kernel + output_padding,
                why="The first pixel paints at 0, so the last of n starts at (n - 1) s.",
                look=f"Section 9 {LESSON}, 'Stride, and a layer that goes backwards'",
            ),
            Misconception(
                "adds the padding",
                lambda n, kernel, stride, padding, output_padding: (
                    (n - 1) * stride + 2 * padding + kernel + output_padding
                ),
                why="Padding p says that the convolution which goes the other way padded its input. What it had added "
                "is cut off here, p on each side.",
                look=f"Section 9 {LESSON}, 'Stride, and a layer that goes backwards'",
            ),
            Misconception(
                "counts the padding once",
                lambda n, kernel, stride, padding, output_padding: (n - 1) * stride - padding + kernel + output_padding,
                why="p pixels are cut off on each of two sides.",
                look=f"Section 9 {LESSON}, 'Stride, and a layer that goes backwards'",
            ),
            Misconception(
                "leaves output_padding out",
                lambda n, kernel, stride, padding, output_padding: (n - 1) * stride - 2 * padding + kernel,
                why="Several sizes lead to the same n under a stride; output_padding is added to the smallest of them.",
                look=f"Section 9 {LESSON}, 'Stride, and a layer that goes backwards'",
            ),
            Misconception(
                "adds output_padding on both sides",
                lambda n, kernel, stride, padding, output_padding: (
                    (n - 1) * stride - 2 * padding + kernel + 2 * output_padding
                ),
                why="output_padding is added at the end only: it stands for pixels that the convolution's last step "
                "did not reach.",
                look=f"Section 9 {LESSON}, 'Stride, and a layer that goes backwards'",
            ),
            Misconception(
                "multiplies the size by the stride",
                lambda n, kernel, stride, padding, output_padding: n * stride,
                why="That is right for kernel = stride, or for settings chosen to double. In general the kernel of "
                "the last pixel sticks out, and the padding is cut off.",
                look=f"Section 9 {LESSON}, 'Stride, and a layer that goes backwards'",
            ),
        ],
        hints=(
            "Where does the first pixel paint its kernel? Where does the last one begin, and where does it end?",
            "The last begins at (n - 1) * stride and covers `kernel` pixels. Then cut off the padding on both sides.",
            "(n - 1) * stride - 2 * padding + kernel + output_padding",
        ),
        alternatives=[_transposed_size_searched],
    ),
]
