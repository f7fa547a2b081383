"""Checks of 41_attention on heads: cutting them out, and sharing keys and values."""

from __future__ import annotations

import math

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 41_attention"


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1, shape))


# 41.3 -----------------------------------------------------------------------------------------------------------------


def in_heads(x: Tensor, n_heads: int, f) -> Tensor:
    y = f(x.unflatten(-1, (n_heads, -1)).transpose(1, 2))
    return y.transpose(1, 2).flatten(2)


def _in_heads_reshape(x, n_heads, f):
    B, T, C = x.shape
    y = f(x.reshape(B, T, n_heads, C // n_heads).permute(0, 2, 1, 3))
    return y.permute(0, 2, 1, 3).reshape(B, T, -1)


def _in_heads_chunks(x, n_heads, f):
    return torch.cat(list(f(torch.stack(x.chunk(n_heads, dim=-1), dim=1)).unbind(1)), dim=-1)


def _heads_one_reshape(x, n_heads, f):
    B, T, C = x.shape
    y = f(x.reshape(B, n_heads, T, C // n_heads))
    return y.reshape(B, T, -1)


def _heads_reshape_in(x, n_heads, f):
    B, T, C = x.shape
    return f(x.reshape(B, n_heads, T, C // n_heads)).transpose(1, 2).flatten(2)


def _heads_reshape_out(x, n_heads, f):
    B, T, _ = x.shape
    return f(x.unflatten(-1, (n_heads, -1)).transpose(1, 2)).reshape(B, T, -1)


def _heads_interleaved(x, n_heads, f):
    y = f(x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2))
    return y.permute(0, 2, 3, 1).flatten(2)


def _heads_not_moved(x, n_heads, f):
    return f(x.unflatten(-1, (n_heads, -1))).flatten(2)


def _heads_turned(x, n_heads, f):
    return f(x.unflatten(-1, (n_heads, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).flatten(2)


def _heads_count_as_width(x, n_heads, f):
    return in_heads(x, x.shape[-1] // n_heads, f)


def _mixes(y: Tensor) -> Tensor:
    """Something that tells the four axes apart: sums along T, weighs heads, takes the last numbers of D first."""
    weight = torch.arange(1, y.shape[1] + 1, dtype=y.dtype)[None, :, None, None]
    return (y.cumsum(2) * weight).flip(-1)


def _last_number(y: Tensor) -> Tensor:
    """A head of width 1: the last number of each, by T."""
    return y[..., -1:] * torch.arange(y.shape[2], dtype=y.dtype)[:, None]


def _heads_case(rng: Generator) -> tuple:
    H, D = int(rng.choice([2, 3])), int(rng.choice([4, 5]))
    return _normal(rng, 2, H * D + 1, H * D), H, _mixes


# 41.4 -----------------------------------------------------------------------------------------------------------------


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


def grouped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    n = q.shape[1] // k.shape[1]
    return _attend(q, k.repeat_interleave(n, dim=1), v.repeat_interleave(n, dim=1))


def _grouped_five_axes(q, k, v):
    G = k.shape[1]
    q = q.unflatten(1, (G, -1))
    return _attend(q, k.unsqueeze(2), v.unsqueeze(2)).flatten(1, 2)


def _grouped_loop(q, k, v):
    n = q.shape[1] // k.shape[1]
    return torch.stack([_attend(q[:, h], k[:, h // n], v[:, h // n]) for h in range(q.shape[1])], dim=1)


def _grouped_in_turn(q, k, v):
    n = q.shape[1] // k.shape[1]
    return _attend(q, k.repeat(1, n, 1, 1), v.repeat(1, n, 1, 1))


def _grouped_mixed(q, k, v):
    n = q.shape[1] // k.shape[1]
    return _attend(q, k.repeat_interleave(n, dim=1), v.repeat(1, n, 1, 1))


def _grouped_first(q, k, v):
    return _attend(q, k[:, :1], v[:, :1])


def _grouped_mean(q, k, v):
    return _attend(q, k.mean(1, keepdim=True), v.mean(1, keepdim=True))


def _grouped_queries_averaged(q, k, v):
    return _attend(q.unflatten(1, (k.shape[1], -1)).mean(2), k, v)


def _grouped_unscaled(q, k, v):
    return grouped(q * math.sqrt(q.shape[-1]), k, v)


def _grouped_along_keys(q, k, v):
    n = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(n, dim=1), v.repeat_interleave(n, dim=1)
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-2) @ v


def _grouped_case(rng: Generator) -> tuple:
    G, n, S = int(rng.choice([2, 3])), int(rng.choice([2, 3])), int(rng.integers(4, 7))
    return _normal(rng, 2, G * n, 3, 8), _normal(rng, 2, G, S, 8), _normal(rng, 2, G, S, 5)


EXERCISES = [
    Exercise(
        "41.3",
        "Into heads and back",
        minutes=15,
        difficulty=2,
        reference=in_heads,
        cases=[
            _heads_case,
            Case("heads of another width come back", torch.arange(24.0).reshape(1, 4, 6), 2, _last_number),
        ],
        misconceptions=[
            Misconception(
                "cuts the heads with one reshape, and joins them with another",
                _heads_one_reshape,
                why="`reshape` reads the numbers in their order in memory: position 0 first. Given the shape "
                "(B, H, T, D), the first head is filled with the first few *positions*. Cut the last axis in two, and "
                "then move the axis of heads.",
                look=f"Section 6 {LESSON}, 'Heads, and the layer'",
            ),
            Misconception(
                "cuts the heads with one reshape",
                _heads_reshape_in,
                why="`reshape` to (B, H, T, D) fills the first head with the first few *positions*, not with the first "
                "D numbers of each. Cut the last axis in two, and then move the axis of heads.",
                look=f"Section 6 {LESSON}, 'Heads, and the layer'",
            ),
            Misconception(
                "joins the heads with one reshape",
                _heads_reshape_out,
                why="The result of f is (B, H, T, D). Reshaped to (B, T, ...) as it is, the first positions are filled "
                "with head 0 alone. Move the axis of heads back first: transpose(1, 2), then flatten.",
                look=f"Section 6 {LESSON}, 'Heads, and the layer'",
            ),
            Misconception(
                "deals the numbers out to the heads in turn",
                _heads_interleaved,
                why="Head 0 owns the first D numbers of a position, head 1 the next D: the width is cut as "
                "(n_heads, D), in this order. Weights of a published model would land in the wrong heads.",
                look=f"Section 6 {LESSON}, 'Heads, and the layer'",
            ),
            Misconception(
                "gives f the axes B T H D",
                _heads_not_moved,
                why="A product works on the last two axes, which must be positions and width. The axis of heads "
                "belongs before them: transpose(1, 2).",
                look=f"Section 6 {LESSON}, 'Heads, and the layer'",
            ),
            Misconception(
                "gives f the axes B H D T",
                _heads_turned,
                why="Positions come before the width: (B, H, T, D). The keys alone are turned, inside the attention.",
                look=f"Section 6 {LESSON}, 'Heads, and the layer'",
            ),
            Misconception(
                "takes n_heads for the width of a head",
                _heads_count_as_width,
                why="n_heads counts the heads; each is C / n_heads wide.",
                look=f"Section 6 {LESSON}, 'Heads, and the layer'",
            ),
        ],
        hints=(
            "What are the numbers of head 0 at position 0, and where do they stand in x?",
            "`x.unflatten(-1, (n_heads, -1))` has the axes B T H D. One transpose is missing. Then the same undone.",
            "f(x.unflatten(-1, (n_heads, -1)).transpose(1, 2)).transpose(1, 2).flatten(2)",
        ),
        alternatives=[_in_heads_reshape, _in_heads_chunks],
    ),
    Exercise(
        "41.4",
        "Grouped heads",
        minutes=15,
        difficulty=2,
        reference=grouped,
        cases=[
            _grouped_case,
            Case(
                "multi-query: one head of keys",
                *(torch.eye(4).reshape(1, 2, 2, 4), torch.eye(3, 4)[None, None]),
                torch.arange(6.0).reshape(1, 1, 3, 2),
            ),
        ],
        misconceptions=[
            Misconception(
                "hands the key heads out in turn: 0 1 0 1",
                _grouped_in_turn,
                why="*Neighbours* share: with four heads and two groups, heads 0 and 1 ask group 0, heads 2 and 3 ask "
                "group 1. `repeat` gives 0 1 0 1, `repeat_interleave` gives 0 0 1 1.",
                look=f"Section 6 {LESSON}, 'Grouped heads'",
            ),
            Misconception(
                "gives keys and values of different groups to one head",
                _grouped_mixed,
                why="A weight for a key takes the value that belongs to it, so both have to be repeated in the same "
                "way.",
                look=f"Section 6 {LESSON}, 'Grouped heads'",
            ),
            Misconception(
                "lets all heads ask the first group",
                _grouped_first,
                why="That is multi-query attention. Here each of the G groups serves its own H / G heads.",
                look=f"Section 6 {LESSON}, 'Grouped heads'",
            ),
            Misconception(
                "averages the groups",
                _grouped_mean,
                why="Nothing is averaged: each head asks one group, as it is.",
                look=f"Section 6 {LESSON}, 'Grouped heads'",
            ),
            Misconception(
                "averages the queries of a group",
                _grouped_queries_averaged,
                why="Keys and values are shared, queries are not: all H heads ask, and H heads come out.",
                look=f"Section 6 {LESSON}, 'Grouped heads'",
            ),
            Misconception(
                "does not divide the scores by the square root of the width",
                _grouped_unscaled,
                why="The scores are q · k / √D, with groups as without.",
                look=f"Section 3 {LESSON}, 'Why the scores are divided by √d'",
            ),
            Misconception(
                "takes the softmax over the queries instead of the keys",
                _grouped_along_keys,
                why="Each query shares one unit among the keys: the last axis.",
                look=f"Section 2 {LESSON}, 'The softmax runs over S, the last axis'",
            ),
        ],
        hints=(
            "With H = 4 and G = 2: which key head do the four query heads ask?",
            "Make k and v as long as q along the axis of heads, neighbours together; then attend as always.",
            "n = H // G; k = k.repeat_interleave(n, dim=1), v alike; then softmax(q @ k.mT / √D) @ v",
        ),
        alternatives=[_grouped_five_axes, _grouped_loop],
    ),
]
