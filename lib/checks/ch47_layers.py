"""Checks of 47_gpt_to_llama on what Llama changed: the norm, and the turns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 47_gpt_to_llama"


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0.5, 1, shape)).float()


# 47.1 -----------------------------------------------------------------------------------------------------------------


def rms_norm(x: Tensor, g: Tensor, eps: float) -> Tensor:
    return g * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def _rms_torch(x, g, eps):
    return F.rms_norm(x, g.shape, g, eps)


def _rms_by_length(x, g, eps):
    return g * x / torch.sqrt(x.norm(dim=-1, keepdim=True) ** 2 / len(g) + eps)


def _rms_layer_norm(x, g, eps):
    return F.layer_norm(x, g.shape, g, eps=eps)


def _rms_spread(x, g, eps):
    return g * x / torch.sqrt(x.var(-1, correction=0, keepdim=True) + eps)


def _rms_sum(x, g, eps):
    return g * x / torch.sqrt((x * x).sum(-1, keepdim=True) + eps)


def _rms_no_root(x, g, eps):
    return g * x / ((x * x).mean(-1, keepdim=True) + eps)


def _rms_eps_outside(x, g, eps):
    return g * x / ((x * x).mean(-1, keepdim=True).sqrt() + eps)


def _rms_positions(x, g, eps):
    return g * x / torch.sqrt((x * x).mean(-2, keepdim=True) + eps)


def _rms_all(x, g, eps):
    return g * x / torch.sqrt((x * x).mean() + eps)


def _rms_no_gain(x, g, eps):
    return rms_norm(x, torch.ones_like(g), eps)


def _rms_mean_abs(x, g, eps):
    return g * x / (x.abs().mean(-1, keepdim=True) + eps)


def _rms_case(rng: Generator) -> tuple:
    B, T, C = rng.integers((2, 3, 4), (4, 6, 9)).tolist()
    return 3 * _normal(rng, B, T, C), _normal(rng, C), float(rng.choice([1e-5, 0.5]))


# 47.2 -----------------------------------------------------------------------------------------------------------------


def turn(x: Tensor, start: int, neighbours: bool) -> Tensor:
    return _turned(x, torch.arange(start, start + x.shape[-2]), neighbours)


def _turned(x: Tensor, at: Tensor, neighbours: bool) -> Tensor:
    D = x.shape[-1]
    angle = at[:, None] * 10000.0 ** (-torch.arange(0, D, 2) / D)
    cos, sin = angle.cos(), angle.sin()
    x1, x2 = (x[..., ::2], x[..., 1::2]) if neighbours else x.chunk(2, dim=-1)
    y = x1 * cos - x2 * sin, x1 * sin + x2 * cos
    return torch.stack(y, dim=-1).flatten(-2) if neighbours else torch.cat(y, dim=-1)


def _turn_complex(x, start, neighbours):
    T, D = x.shape[-2:]
    spin = torch.polar(torch.ones(1), torch.arange(start, start + T)[:, None] * 10000.0 ** (-torch.arange(0, D, 2) / D))
    if neighbours:
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * spin).flatten(-2)
    z = torch.complex(*x.chunk(2, dim=-1)) * spin
    return torch.cat((z.real, z.imag), dim=-1)


def _turn_from_zero(x, start, neighbours):
    return turn(x, 0, neighbours)


def _turn_one_place(x, start, neighbours):
    return _turned(x, torch.full((x.shape[-2],), start), neighbours)


def _turn_from_one(x, start, neighbours):
    return turn(x, start + 1, neighbours)


def _turn_always_halves(x, start, neighbours):
    return turn(x, start, False)


def _turn_always_neighbours(x, start, neighbours):
    return turn(x, start, True)


def _turn_swapped(x, start, neighbours):
    return turn(x, start, not neighbours)


def _turn_not_put_back(x, start, neighbours):
    y = turn(x, start, neighbours)
    return torch.cat((y[..., ::2], y[..., 1::2]), dim=-1) if neighbours else y


def _turn_by_head(x, start, neighbours):
    return turn(x.transpose(0, 1), start, neighbours).transpose(0, 1)


def _turn_backwards(x, start, neighbours):
    at = -torch.arange(start, start + x.shape[-2])
    return _turned(x, at, neighbours)


def _turn_case(rng: Generator) -> tuple:
    H, T, D = int(rng.integers(2, 4)), int(rng.integers(4, 6)), int(rng.choice([6, 8]))
    return _normal(rng, H, T, D), int(rng.integers(1, 30)), bool(rng.integers(2))


EXERCISES = [
    Exercise(
        "47.1",
        "RMSNorm",
        minutes=10,
        difficulty=1,
        reference=rms_norm,
        names=("x", "g", "eps"),
        cases=[
            _rms_case,
            Case("a position of zeros", torch.zeros(1, 2, 4), torch.ones(4), 1e-5),
            Case("small numbers, a large eps", torch.full((2, 3), 0.1), torch.tensor([1.0, 2.0, -1.0]), 1.0),
        ],
        misconceptions=[
            Misconception(
                "takes the mean off, as layer norm does",
                _rms_layer_norm,
                why="RMSNorm leaves the mean where it is: it divides x itself, by the root of the mean of x squared.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "divides by the spread around the mean",
                _rms_spread,
                why="The variance is the mean square of x *less its mean*. Here no mean is taken off anywhere.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "divides by the length of x",
                _rms_sum,
                why="The *mean* of the squares, not their sum: else the numbers would shrink the wider the model is.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "divides by the mean square, without the root",
                _rms_no_root,
                why="Without the root a position that is 10 times as long comes out 10 times shorter, not equal.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "adds eps outside the root",
                _rms_eps_outside,
                why="eps belongs to the mean square, under the root: so the weights were trained.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "takes the mean over positions",
                _rms_positions,
                why="Each position is normed by itself, over its C numbers, the last axis. Otherwise a position would "
                "change with its neighbours, and with those that come later.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "takes one mean over everything",
                _rms_all,
                why="One number for a whole batch lets sequences change each other: the last axis alone.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "forgets the gain g",
                _rms_no_gain,
                why="After the division each number is multiplied by a learned gain of its own.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
            Misconception(
                "divides by the mean of absolute values",
                _rms_mean_abs,
                why="Root mean *square*: square, average, then take the root.",
                look=f"Section 3 {LESSON}, 'The norm: leave out the mean'",
            ),
        ],
        hints=(
            "Three steps are in its name, to be read from right to left: square, mean, root.",
            "The mean is over the last axis, and keepdim=True lets it be divided by. Where does eps stand?",
            "g * x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + eps)",
        ),
        alternatives=[_rms_torch, _rms_by_length],
        rtol=1e-4,
        atol=1e-5,
    ),
    Exercise(
        "47.2",
        "Turns of both conventions, in the middle of a text",
        minutes=20,
        difficulty=3,
        reference=turn,
        names=("x", "start", "neighbours"),
        cases=[
            _turn_case,
            Case("position 0 stays", torch.arange(8.0).reshape(1, 1, 8), 0, True),
            Case("one new token, far in", torch.ones(2, 1, 6), 200, True),
            Case("one new token, in halves", torch.ones(2, 1, 6), 200, False),
        ],
        misconceptions=[
            Misconception(
                "counts the new tokens from 0",
                _turn_from_zero,
                why="With a cache, only the new tokens are given, and `start` tokens stand before them. Their keys "
                "were turned by 0, 1, 2, ...; the new ones go on from `start`, or all distances are wrong.",
                look=f"Section 2 {LESSON}, 'Positions: from a table to a turn'",
            ),
            Misconception(
                "turns all new tokens by `start`",
                _turn_one_place,
                why="The first new token stands at `start`, the next at start + 1: each has its own angle.",
                look=f"Section 2 {LESSON}, 'Positions: from a table to a turn'",
            ),
            Misconception(
                "begins one position too late",
                _turn_from_one,
                why="Positions count from 0: with `start` tokens before it, the first new one stands at `start`.",
                look=f"Section 2 {LESSON}, 'Positions: from a table to a turn'",
            ),
            Misconception(
                "turns halves, whatever is asked",
                _turn_always_halves,
                why="With neighbours=True numbers 2i and 2i + 1 are a pair: weights fit one kind alone.",
                look=f"Section 2 {LESSON}, 'Which numbers make a pair?'",
            ),
            Misconception(
                "turns neighbours, whatever is asked",
                _turn_always_neighbours,
                why="With neighbours=False number i and number i + D/2 are a pair, as in our Llama.",
                look=f"Section 2 {LESSON}, 'Which numbers make a pair?'",
            ),
            Misconception(
                "has the two conventions the wrong way round",
                _turn_swapped,
                why="Neighbours are numbers 2i and 2i + 1; halves are number i and number i + D/2.",
                look=f"Section 2 {LESSON}, 'Which numbers make a pair?'",
            ),
            Misconception(
                "does not put neighbours back in their places",
                _turn_not_put_back,
                why="The pair came from places 2i and 2i + 1, so it goes back there. Stack on a new last axis and "
                "flatten; a cat puts all first numbers before all second ones.",
                look=f"Section 2 {LESSON}, 'Which numbers make a pair?'",
            ),
            Misconception(
                "takes the head's number for the position",
                _turn_by_head,
                why="x is H T D: positions are the second axis from the right. All heads turn alike.",
                look=f"Section 2 {LESSON}, 'Positions: from a table to a turn'",
            ),
            Misconception(
                "turns backwards",
                _turn_backwards,
                why="The minus sign belongs to the first of a pair: x1 cos - x2 sin, and x1 sin + x2 cos.",
                look=f"Section 2 {LESSON}, 'Which numbers make a pair?'",
            ),
        ],
        hints=(
            "Which positions do the T new tokens have? And which numbers of x are x1, which x2, in either convention?",
            "angle = at[:, None] * f, a table (T, D/2). x[..., ::2] and x[..., 1::2] are the neighbours.",
            "torch.stack((y1, y2), dim=-1).flatten(-2) puts neighbours back, torch.cat((y1, y2), dim=-1) halves.",
        ),
        alternatives=[_turn_complex],
        rtol=1e-3,
        atol=1e-3,  # an angle of 200 in float32 is known to 1e-5, and times numbers of size 3
    ),
]
