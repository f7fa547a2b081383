"""Checks of 47_gpt_to_llama on the feed-forward layer: the gate, and how wide it is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 47_gpt_to_llama"


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0.5, 1, shape)).float()


# 47.3 -----------------------------------------------------------------------------------------------------------------


def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T


def _swiglu_linear(x, gate, up, down):
    a = F.linear(x, gate)
    return F.linear(a / (1 + torch.exp(-a)) * F.linear(x, up), down)


def _swiglu_swapped(x, gate, up, down):
    return swiglu(x, up, gate, down)


def _swiglu_sigmoid(x, gate, up, down):
    return (torch.sigmoid(x @ gate.T) * (x @ up.T)) @ down.T


def _swiglu_gelu(x, gate, up, down):
    return (F.gelu(x @ gate.T) * (x @ up.T)) @ down.T


def _swiglu_relu(x, gate, up, down):
    return (F.relu(x @ gate.T) * (x @ up.T)) @ down.T


def _swiglu_sum(x, gate, up, down):
    return (F.silu(x @ gate.T) + x @ up.T) @ down.T


def _swiglu_late(x, gate, up, down):
    return F.silu((x @ gate.T) * (x @ up.T)) @ down.T


def _swiglu_both(x, gate, up, down):
    return (F.silu(x @ gate.T) * F.silu(x @ up.T)) @ down.T


def _swiglu_plain(x, gate, up, down):
    return F.silu(x @ up.T) @ down.T


def _swiglu_residual(x, gate, up, down):
    return x + swiglu(x, gate, up, down)


def _swiglu_case(rng: Generator) -> tuple:
    T, C, n = rng.integers((2, 3, 6), (4, 6, 9)).tolist()
    return _normal(rng, T, C), _normal(rng, n, C), _normal(rng, n, C), _normal(rng, C, n)


# 47.4 -----------------------------------------------------------------------------------------------------------------


def width(d_model: int, multiple: int) -> int:
    return -(-8 * d_model // (3 * multiple)) * multiple


def _width_float(d_model, multiple):
    return multiple * math.ceil(8 * d_model / 3 / multiple)


def _width_down(d_model, multiple):
    return 8 * d_model // (3 * multiple) * multiple


def _width_nearest(d_model, multiple):
    return multiple * round(8 * d_model / (3 * multiple))


def _width_four(d_model, multiple):
    return multiple * math.ceil(4 * d_model / multiple)


def _width_half(d_model, multiple):
    return multiple * math.ceil(2 * d_model / multiple)


def _width_of_model(d_model, multiple):
    return multiple * math.ceil(2 * d_model / 3 / multiple)


def _width_not_rounded(d_model, multiple):
    return math.ceil(8 * d_model / 3)


def _width_one_more(d_model, multiple):
    return _width_down(d_model, multiple) + multiple


def _width_case(rng: Generator) -> tuple:
    return 8 * int(rng.integers(5, 200)), int(rng.choice([8, 32, 256]))


EXERCISES = [
    Exercise(
        "47.3",
        "SwiGLU",
        minutes=10,
        difficulty=1,
        reference=swiglu,
        names=("x", "gate", "up", "down"),
        cases=[
            _swiglu_case,
            Case("a shut gate", torch.ones(1, 2), -50 * torch.ones(3, 2), torch.ones(3, 2), torch.ones(2, 3)),
            Case("an open one", torch.ones(1, 2), 3 * torch.ones(3, 2), -torch.ones(3, 2), torch.ones(2, 3)),
        ],
        misconceptions=[
            Misconception(
                "puts the function on `up` instead of on the gate",
                _swiglu_swapped,
                why="The gate goes through silu, `up` stays as it is. With real weights the two are not the same.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "has a sigmoid in the gate",
                _swiglu_sigmoid,
                why="That is the older GLU. silu(a) is a times sigmoid(a): it is not bounded by 1.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "has GELU in the gate",
                _swiglu_gelu,
                why="That is GEGLU. Near enough to look right, and not what Llama's weights were trained with.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "has ReLU in the gate",
                _swiglu_relu,
                why="That is ReGLU. silu is smooth, and a little below 0 on the left.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "adds the branches",
                _swiglu_sum,
                why="A gate multiplies: where it is 0, nothing passes.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "applies the function after the product",
                _swiglu_late,
                why="silu belongs to the gate alone; then comes the product, and then `down`.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "applies the function to both branches",
                _swiglu_both,
                why="One branch is a gate, the other is what passes, as it is.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "leaves the gate out",
                _swiglu_plain,
                why="That is the feed-forward layer of chapter 42, with another function.",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
            Misconception(
                "adds x",
                _swiglu_residual,
                why="The residual is not the layer's work: the block adds it (`PreNorm` in chapter 42).",
                look=f"Section 4 {LESSON}, 'The feed-forward layer: a gate'",
            ),
        ],
        hints=(
            "Two products of x with a matrix. Which of them goes through silu?",
            "A weight is outputs x inputs, as in nn.Linear: x @ gate.T has the shape (T, F).",
            "(F.silu(x @ gate.T) * (x @ up.T)) @ down.T",
        ),
        alternatives=[_swiglu_linear],
        rtol=1e-4,
        atol=1e-4,
    ),
    Exercise(
        "47.4",
        "How wide is a gated layer?",
        minutes=8,
        difficulty=1,
        reference=width,
        names=("d_model", "multiple"),
        cases=[
            _width_case,
            Case("Llama", 4096, 256),
            Case("it fits already", 96, 32),
            Case("a small model", 64, 256),
        ],
        misconceptions=[
            Misconception(
                "rounds down",
                _width_down,
                why="Llama rounds *up* to the next multiple, so that the layer is not smaller than what it replaces.",
                look=f"Section 4 {LESSON}, 'At what width?'",
            ),
            Misconception(
                "rounds to the nearest multiple",
                _width_nearest,
                why="The rule says up, always; and a small model would otherwise get a width of 0.",
                look=f"Section 4 {LESSON}, 'At what width?'",
            ),
            Misconception(
                "keeps four times the width",
                _width_four,
                why="Three matrices at the width of two are half as many parameters again. 3 C F = 2 C 4 C.",
                look=f"Section 4 {LESSON}, 'At what width?'",
            ),
            Misconception(
                "halves the width",
                _width_half,
                why="There are three matrices where there were two, so the width is two thirds of 4 C, not half of it.",
                look=f"Section 4 {LESSON}, 'At what width?'",
            ),
            Misconception(
                "takes two thirds of the model's width",
                _width_of_model,
                why="Two thirds of what the inner width *was*, and that was 4 C.",
                look=f"Section 4 {LESSON}, 'At what width?'",
            ),
            Misconception(
                "does not round to the multiple",
                _width_not_rounded,
                why="The answer must be divisible by `multiple`: 10,923 is exact for Llama, 11,008 is what it has.",
                look=f"Section 4 {LESSON}, 'At what width?'",
            ),
            Misconception(
                "goes one multiple further where it fits already",
                _width_one_more,
                why="Where 8/3 of the width is a multiple, it is the answer.",
                look=f"Section 4 {LESSON}, 'At what width?'",
            ),
        ],
        hints=(
            "How many parameters do two matrices with 4 C inside have, and how many do three with F inside?",
            "F is 8 C / 3 before it is rounded. How many whole multiples cover that?",
            "multiple * math.ceil(8 * d_model / 3 / multiple)",
        ),
        alternatives=[_width_float],
    ),
]
