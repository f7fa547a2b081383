"""Checks of 30_rnn on sampling with a temperature and on clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from lib.checks import Case, Exercise, Misconception

# 30.5 -----------------------------------------------------------------------------------------------------------------


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def draw(logits: np.ndarray, temperature: float, rng: Generator) -> int:
    return int(rng.choice(len(logits), p=_softmax(logits / temperature)))


def _draw_by_noise(logits, temperature, rng):
    return int(np.argmax(logits / temperature + rng.gumbel(size=len(logits))))


def _draw_by_steps(logits, temperature, rng):
    return int(np.searchsorted(_softmax(logits / temperature).cumsum(), rng.random(), side="right"))


def _draw_multiplied(logits, temperature, rng):
    return int(rng.choice(len(logits), p=_softmax(logits * temperature)))


def _draw_plain(logits, temperature, rng):
    p = _softmax(logits) / temperature
    return int(rng.choice(len(logits), p=p / p.sum()))


def _draw_likeliest(logits, temperature, rng):
    return int(np.argmax(logits / temperature))


def _draw_evenly(logits, temperature, rng):
    return int(rng.integers(len(logits)))


def _draw_overflowing(logits, temperature, rng):
    with np.errstate(all="ignore"):
        e = np.exp(logits / temperature)
        return int(rng.choice(len(logits), p=e / e.sum()))


def _nearest_distribution(answer: Callable, logits: np.ndarray, temperature: float) -> dict[str, Any]:
    """Draw 3,000 times, and say from which of the usual distributions the letters came."""
    rng, n = np.random.default_rng(5), len(logits)
    drawn = [answer(logits.copy(), temperature, rng) for _ in range(3000)]
    for one in drawn:
        if not isinstance(one, (int, np.integer)) or isinstance(one, bool) or not 0 <= one < n:
            raise TypeError(f"draw must return a letter's number, from 0 to {n - 1}; it returned {type(one).__name__}")
    share = np.bincount(drawn, minlength=n) / len(drawn)
    usual = {
        "softmax(logits / temperature)": _softmax(logits / temperature),
        "softmax(logits * temperature)": _softmax(logits * temperature),
        "softmax(logits), whatever the temperature": _softmax(logits),
        "argmax(logits), the same letter every time": np.eye(n)[logits.argmax()],
        "an even draw from all letters": np.full(n, 1 / n),
    }
    apart = {name: np.abs(share - p).sum() / 2 for name, p in usual.items()}
    nearest = min(apart, key=lambda name: apart[name])
    return {f"the letters come as from {name}": name == nearest and apart[name] < 0.06 for name in usual}


# 30.6 -----------------------------------------------------------------------------------------------------------------


def clip(grads: list[Tensor], most: float) -> list[Tensor]:
    norm = _length(grads)
    return [g * min(1.0, most / norm) for g in grads] if norm > 0 else grads


def _length(grads: list[Tensor]) -> float:
    return torch.cat([g.flatten() for g in grads]).norm().item()


def _clip_by_torch(grads, most):
    norm = nn.utils.get_total_norm(grads)
    return [g * (most / norm if norm > most else 1.0) for g in grads]


def _clip_each_number(grads, most):
    return [g.clamp(-most, most) for g in grads]


def _clip_each_array(grads, most):
    return [g * min(1.0, most / max(g.norm().item(), 1e-30)) for g in grads]


def _clip_always(grads, most):
    norm = _length(grads)
    return [g * (most / norm) if norm > 0 else g for g in grads]


def _clip_sum_of_norms(grads, most):
    norm = sum(g.norm() for g in grads)
    return [g * (most / norm) if norm > most else g for g in grads]


def _clip_no_root(grads, most):
    norm = sum((g**2).sum() for g in grads)
    return [g * (most / norm) if norm > most else g for g in grads]


def _clip_by_norm_alone(grads, most):
    norm = _length(grads)
    return [g / norm if norm > most else g for g in grads]


def _grads_case(rng: Generator) -> tuple:
    grads = [torch.from_numpy(rng.normal(0, 2, shape)) for shape in ((2, 3), (4,), (1,))]
    return grads, float(rng.uniform(0.5, 2.5))


_SAMPLE = "Section 8 of 30_rnn, 'New names'"
_CLIP = "Section 10 of 30_rnn, 'Clipping'"

EXERCISES = [
    Exercise(
        "30.5",
        "Draw a letter",
        minutes=10,
        difficulty=2,
        reference=draw,
        use=_nearest_distribution,
        cases=[
            Case("temperature 0.4", np.array([1.0, 0.2, -0.4, 0.7]), 0.4),
            Case("temperature 3", np.array([2.0, -1.0, 0.5, 3.0, 0.0]), 3.0),
            Case("logits in the thousands", np.array([1000.0, 1001.0, -998.0]), 0.8),
        ],
        misconceptions=[
            Misconception(
                "multiplies the logits by the temperature",
                _draw_multiplied,
                why="A high temperature should make all letters alike. Multiplied, it makes the differences larger, so "
                "that the knob works the wrong way round. Divide.",
                look=_SAMPLE,
            ),
            Misconception(
                "lets the temperature change nothing",
                _draw_plain,
                why="To divide the *probabilities* by the temperature changes all alike, and once they add up to 1 "
                "again nothing has changed. Divide the logits, before the softmax.",
                look=_SAMPLE,
            ),
            Misconception(
                "always takes the likeliest letter",
                _draw_likeliest,
                why="Then every name of a nation is the same name. To sample is to draw at random, each letter as "
                "often as its probability says.",
                look=_SAMPLE,
            ),
            Misconception(
                "draws all letters equally often",
                _draw_evenly,
                why="The model's probabilities must decide how often each letter comes: `rng.choice(n, p=p)`.",
                look=_SAMPLE,
            ),
            Misconception(
                "overflows on large logits",
                _draw_overflowing,
                why="exp(1000) is infinite, and infinity divided by infinity is no number. Subtract the largest logit "
                "first; the probabilities stay the same.",
                look="Section 4 of 13_mlp_mnist, 'The same number, computed safely'",
            ),
        ],
        hints=(
            "In which order: divide, make probabilities, draw?",
            "z = logits / temperature; subtract the largest; exp; divide by the sum.",
            "return int(rng.choice(len(logits), p=p)).",
        ),
        alternatives=[_draw_by_noise, _draw_by_steps],
        names=("logits", "temperature"),
    ),
    Exercise(
        "30.6",
        "Clip the gradient",
        minutes=10,
        difficulty=2,
        reference=clip,
        cases=[
            _grads_case,
            Case("a short gradient", [torch.tensor([0.3, -0.4]), torch.tensor([[0.0]])], 2.0),
            Case("shorter than 1, and still too long", [torch.tensor([0.3, -0.4]), torch.tensor([[0.5]])], 0.25),
            Case("all zeros", [torch.zeros(2), torch.zeros(1, 2)], 1.0),
        ],
        misconceptions=[
            Misconception(
                "clips each number",
                _clip_each_number,
                why="The large numbers are cut and the small ones stay, so the gradient points somewhere else. One "
                "factor for all keeps the direction.",
                look=_CLIP,
            ),
            Misconception(
                "clips each array by its own norm",
                _clip_each_array,
                why="The arrays are then scaled by different factors, which turns the gradient as a whole. The norm "
                "is that of all numbers of all arrays together.",
                look=_CLIP,
            ),
            Misconception(
                "also lengthens gradients that are short",
                _clip_always,
                why="A short gradient must stay as it is: near a minimum the steps should become small. The factor is "
                "min(1, most / norm).",
                look=_CLIP,
            ),
            Misconception(
                "adds up the norms of the arrays",
                _clip_sum_of_norms,
                why="Lengths of parts do not add up to the length of the whole (3 and 4 make 5). Add the squares of "
                "all numbers, then take one root.",
                look=_CLIP,
            ),
            Misconception(
                "forgets the square root in the norm",
                _clip_no_root,
                why="The sum of squares is the norm squared. The length is its root.",
                look=_CLIP,
            ),
            Misconception(
                "scales to length 1 instead of to `most`",
                _clip_by_norm_alone,
                why="g / norm has length 1. The clipped gradient has length `most`: g * most / norm.",
                look=_CLIP,
            ),
        ],
        hints=(
            "How long is the gradient, if all arrays are thought of as one long row?",
            "The norm is the root of the sum of all squares. One factor for all arrays: min(1, most / norm).",
            "norm = torch.sqrt(sum((g**2).sum() for g in grads)); where it is above `most`, each g becomes "
            "g * most / norm.",
        ),
        alternatives=[_clip_by_torch],
        rtol=1e-5,
        names=("grads", "most"),
    ),
]
