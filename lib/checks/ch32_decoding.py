"""Checks of 32_seq2seq_attention on an honest score: what the model writes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Exercise, Misconception
from lib.tokens.vocabulary import BOS, EOS, PAD

LESSON = "of 32_seq2seq_attention"

# 32.5 -----------------------------------------------------------------------------------------------------------------


def share_right(next_logits: Callable[[Tensor], Tensor], labels: Tensor) -> float:
    ids = torch.full((len(labels), 1), BOS)
    done = torch.zeros(len(labels), dtype=torch.bool)
    for _ in range(labels.shape[1]):
        piece = next_logits(ids).argmax(dim=-1).masked_fill(done, PAD)
        done = done | (piece == EOS)
        ids = torch.cat([ids, piece[:, None]], dim=1)
    real = labels != PAD
    return (ids[:, 1:] == labels)[real].float().mean().item()


def _share_lists(next_logits, labels):
    rows = [[BOS] for _ in labels]
    for _ in range(labels.shape[1]):
        best = next_logits(torch.tensor(rows)).argmax(-1).tolist()
        rows = [[*row, PAD if EOS in row else k] for row, k in zip(rows, best, strict=True)]
    hits = [
        g == y for row, want in zip(rows, labels.tolist(), strict=True) for g, y in zip(row[1:], want, strict=True) if y
    ]
    return sum(hits) / len(hits)


def _write(next_logits, labels, stop=True):
    ids, done = torch.full((len(labels), 1), BOS), torch.zeros(len(labels), dtype=torch.bool)
    for _ in range(labels.shape[1]):
        piece = next_logits(ids).argmax(-1)
        piece = piece.masked_fill(done, PAD) if stop else piece
        done |= piece == EOS
        ids = torch.cat([ids, piece[:, None]], 1)
    return ids[:, 1:]


def _share_forced(next_logits, labels):
    inputs = torch.cat([torch.full_like(labels[:, :1], BOS), labels], 1)
    guess = torch.stack([next_logits(inputs[:, : t + 1]).argmax(-1) for t in range(labels.shape[1])], 1)
    return (guess == labels)[labels != PAD].float().mean().item()


def _share_with_padding(next_logits, labels):
    return (_write(next_logits, labels) == labels).float().mean().item()


def _share_never_stops(next_logits, labels):
    return (_write(next_logits, labels, stop=False) == labels)[labels != PAD].float().mean().item()


def _share_of_rows(next_logits, labels):
    return (_write(next_logits, labels) == labels).all(1).float().mean().item()


def _share_of_written(next_logits, labels):
    ids = _write(next_logits, labels)
    return (ids == labels)[ids != PAD].float().mean().item()


def _share_mean_of_rows(next_logits, labels):
    right, real = _write(next_logits, labels) == labels, labels != PAD
    return ((right & real).sum(1) / real.sum(1)).mean().item()


def _share_divided_by_all(next_logits, labels):
    return ((_write(next_logits, labels) == labels) & (labels != PAD)).float().mean().item()


def _toy_model(answer: Callable, table: Tensor, labels: Tensor) -> Any:
    """Run the answer on a toy model: table[row, last piece] holds the logits of what comes next in that row."""

    def next_logits(ids: Tensor) -> Tensor:
        if not isinstance(ids, Tensor) or ids.ndim != 2 or len(ids) != len(table):
            shape = tuple(ids.shape) if isinstance(ids, Tensor) else type(ids).__name__
            raise ValueError(
                f"next_logits takes all that was written so far, ids of shape ({len(table)}, t); it got {shape}."
            )
        if (ids[:, 0] != BOS).any():
            raise ValueError(
                f"Each row that next_logits gets must begin with BOS ({BOS}); the first begins with {ids[0, 0]}."
            )
        return table[torch.arange(len(table)), ids[:, -1]]

    return answer(next_logits, labels)


def _toy_case(rng: Generator) -> tuple:
    n, v, n_steps = 4, 7, 6
    table = torch.from_numpy(rng.normal(0, 1, (n, v, v)))
    table[:, :, [PAD, BOS]] = -20.0
    table[:, BOS, EOS] = -10.0  # no row is empty
    labels = torch.full((n, n_steps), PAD)
    for row in range(n):
        length, last = int(rng.integers(2, n_steps + 1)), BOS
        for t in range(length):
            last = int(table[row, last].argmax()) if rng.random() < 0.7 else int(rng.integers(3, v))
            last = EOS if t == length - 1 else max(last, 3)
            labels[row, t] = last
    return table, labels


EXERCISES = [
    Exercise(
        "32.5",
        "A score of what the model writes alone",
        minutes=20,
        difficulty=3,
        reference=share_right,
        use=_toy_model,
        cases=[_toy_case],
        misconceptions=[
            Misconception(
                "scores under teacher forcing: it reads the labels, not what it wrote",
                _share_forced,
                why="Each piece is then guessed after a perfect beginning, which nobody gives the model when it is "
                "used. The next input must be the piece that it has written itself.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "counts padding as right",
                _share_with_padding,
                why="Where the label is PAD there was nothing to write. Counted, the score is high for short answers.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "goes on writing after EOS",
                _share_never_stops,
                why="After its own EOS the row is over: only PAD follows, and what the label still asks for is wrong.",
                look=f"Section 5 {LESSON}, 'Alone: greedy decoding'",
            ),
            Misconception(
                "counts whole rows instead of pieces",
                _share_of_rows,
                why="That is exact match, a good score, but another one: here every real piece of the labels counts.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "divides by the number of pieces that the model wrote",
                _share_of_written,
                why="A model that stops early would hide what it has left out. Count the pieces of the *labels*.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "takes the mean of the rows' shares",
                _share_mean_of_rows,
                why="A piece of a short row then counts more than one of a long row. Every real piece counts the same.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "divides by all positions of the table",
                _share_divided_by_all,
                why="Padding cannot be right, so the score is low where rows are short. Divide by the real pieces.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
        ],
        hints=(
            "Two parts: first write, step by step, from BOS; then compare, where the label is not PAD.",
            "Keep a table of what is written and a Boolean for each row that has ended; an ended row gets PAD.",
            "piece = next_logits(ids).argmax(-1).masked_fill(done, PAD); done = done | (piece == EOS); append piece.",
        ),
        alternatives=[_share_lists],
        names=("table", "labels"),
    ),
]
