"""Checks of 30_rnn on truncated backpropagation: training on a stream, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from lib.checks import Case, Exercise, Misconception

# 30.7 -----------------------------------------------------------------------------------------------------------------


def train_on_stream(model, optimizer, ids: Tensor, targets: Tensor, k: int, most: float) -> list[float]:
    return _train(model, optimizer, ids, targets, k, most)


def _train(
    model, optimizer, ids, targets, k, most, *, detach=True, every=False, reset=False, clip=None, late=False, zero=True
):
    """The training, with a switch for each of the usual mistakes."""
    clip = nn.utils.clip_grad_norm_ if clip is None else clip
    losses, state = [], None
    for start in range(0, len(ids), k):
        state = None if reset or state is None else state.detach() if detach else state
        if every:
            logits = []
            for row in ids[start : start + k]:
                one, state = model(row.unsqueeze(0), None if state is None else state.detach())
                logits.append(one)
            logits = torch.cat(logits)
        else:
            logits, state = model(ids[start : start + k], state)
        loss = F.cross_entropy(logits.flatten(0, 1), targets[start : start + k].flatten())
        if zero:
            optimizer.zero_grad()
        loss.backward()
        if not late:
            clip(model.parameters(), most)
        optimizer.step()
        if late:
            clip(model.parameters(), most)
        losses.append(loss.item())
    return losses


def _train_with_split(model, optimizer, ids, targets, k, most):
    losses, state = [], None
    for x, y in zip(ids.split(k), targets.split(k), strict=True):
        model.zero_grad()
        logits, state = model(x, state)
        state = state.detach()
        losses.append(F.cross_entropy(logits.transpose(1, 2), y))
        losses[-1].backward()
        nn.utils.clip_grad_norm_(model.parameters(), most)
        optimizer.step()
    return [loss.item() for loss in losses]


def _train_attached(*args):
    return _train(*args, detach=False)


def _train_detached_everywhere(*args):
    return _train(*args, every=True)


def _train_forgetful(*args):
    return _train(*args, reset=True)


def _train_clips_late(*args):
    return _train(*args, late=True)


def _train_clips_numbers(*args):
    return _train(*args, clip=nn.utils.clip_grad_value_)


def _train_unclipped(*args):
    return _train(*args, clip=lambda params, most: None)


def _train_no_zero(*args):
    return _train(*args, zero=False)


class _Letters(nn.Module):
    """A small model of letters in float64: ids (T, B) and a state or None -> logits (T, B, 5) and the last state."""

    def __init__(self, rng: Generator):
        super().__init__()
        self.chars, self.layer, self.out = nn.Embedding(5, 3), nn.RNN(3, 4), nn.Linear(4, 5)
        self.double()
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.from_numpy(rng.normal(0, 0.7, tuple(p.shape))))

    def forward(self, ids: Tensor, state: Tensor | None = None):
        y, state = self.layer(self.chars(ids), state)
        return self.out(y), state


def _trained(answer: Callable, seed: int, steps: int, k: int, most: float) -> dict[str, Any]:
    """Train a small model on a stream of random letters; the losses of the pieces, and where the weights went."""
    rng = np.random.default_rng(seed)
    model, letters = _Letters(rng), torch.from_numpy(rng.integers(0, 5, (steps + 1, 3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = answer(model, optimizer, letters[:-1], letters[1:], k, most)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    left = [p.grad.norm().item() for p in model.parameters() if p.grad is not None]
    return {
        "the losses of the pieces": losses,
        "the weights at the end": weights,
        "the last gradient was clipped": bool(np.linalg.norm(left) <= 1.01 * most),
    }


def _stream_case(rng: Generator) -> tuple:
    k = int(rng.integers(2, 5))
    return int(rng.integers(1000)), 3 * k + int(rng.integers(1, k)), k, float(rng.uniform(0.05, 0.2))


_CLIP = "Section 10 of 30_rnn, 'Clipping'"
_CUT = "Section 11 of 30_rnn, 'Truncated backpropagation'"

EXERCISES = [
    Exercise(
        "30.7",
        "Train on a stream, piece by piece",
        minutes=20,
        difficulty=3,
        reference=train_on_stream,
        use=_trained,
        cases=[_stream_case, Case("one piece holds it all", 3, 4, 6, 0.1)],
        misconceptions=[
            Misconception(
                "forgets to detach the state",
                _train_attached,
                why="The state carries the history of all earlier pieces. The second backward pass walks into the "
                "first piece, whose tensors are gone. Detach the state where it is handed over.",
                look=_CUT,
            ),
            Misconception(
                "detaches the state at every step",
                _train_detached_everywhere,
                why="Inside a piece the gradient must flow through all its steps; only at the border is it cut. "
                "Detached everywhere, no step learns what a later one needs.",
                look=_CUT,
            ),
            Misconception(
                "starts every piece from an empty state",
                _train_forgetful,
                why="Truncation cuts the gradient, not the memory: the state of one piece is the initial state of the "
                "next, detached.",
                look=_CUT,
            ),
            Misconception(
                "clips after the step",
                _train_clips_late,
                why="The optimizer has then already used the long gradient. Clip between `backward` and `step`.",
                look=_CLIP,
            ),
            Misconception(
                "clips each number of the gradient",
                _train_clips_numbers,
                why="That turns the gradient. `clip_grad_norm_` scales all of it by one factor.",
                look=_CLIP,
            ),
            Misconception(
                "does not clip",
                _train_unclipped,
                why="`most` is the largest allowed norm of the gradient: `clip_grad_norm_(model.parameters(), most)`.",
                look=_CLIP,
            ),
            Misconception(
                "adds each piece's gradient to those of the pieces before",
                _train_no_zero,
                why="`backward` adds to what is there. Set the gradients to zero before each backward pass.",
                look="Section 6 of 30_rnn, 'The model'",
            ),
        ],
        hints=(
            "Which two things go from one piece to the next: the numbers of the state, or also its history?",
            "For each start in range(0, T, k): logits, state = model(ids[start : start + k], state), then the training "
            "step that you know, then state = state.detach().",
            "Between loss.backward() and optimizer.step() stands nn.utils.clip_grad_norm_(model.parameters(), most).",
        ),
        alternatives=[_train_with_split],
        names=("seed", "steps", "k", "most"),
    ),
]
