"""Checks of 31_lstm_gru on batches of sentences with different lengths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch31_gates import LESSON, normal

_PADDING = f"Section 6 {LESSON}"


def _lengths(rng: np.random.Generator, n: int, T: int) -> Tensor:
    """Lengths from 1 to T, in any order; one is T and one is shorter."""
    lengths = rng.integers(1, T + 1, n)
    lengths[rng.permutation(n)[:2]] = T, rng.integers(1, T)
    return torch.from_numpy(lengths)


def _states_case(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    n, T = int(rng.integers(3, 6)), int(rng.integers(5, 8))
    return normal(rng, n, T, int(rng.integers(2, 4))), _lengths(rng, n, T)


_ALL_FULL = Case("every sentence fills its row", torch.arange(12.0).reshape(2, 3, 2), torch.tensor([3, 3]))
_ONE_WORD = Case("sentences of one word", torch.arange(12.0).reshape(2, 3, 2) + 1, torch.tensor([1, 1]))


# --- 31.3 The state at the last word ---------------------------------------------------------------------------------


def _last(y: Tensor, lengths: Tensor) -> Tensor:
    return y[torch.arange(len(y)), lengths - 1]


def _last_by_gather(y, lengths):
    return y.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, y.shape[2]))[:, 0]


def _last_by_loop(y, lengths):
    return torch.stack([row[n - 1] for row, n in zip(y, lengths.tolist(), strict=True)])


# --- 31.4 A mean that skips the padding ------------------------------------------------------------------------------


def _inside(y: Tensor, lengths: Tensor) -> Tensor:
    """1.0 where a word stands, (B, T, 1)."""
    return (torch.arange(y.shape[1]) < lengths[:, None])[..., None].to(y.dtype)


def _mean(y: Tensor, lengths: Tensor) -> Tensor:
    return (y * _inside(y, lengths)).sum(1) / lengths[:, None]


def _mean_by_loop(y, lengths):
    return torch.stack([row[:n].mean(0) for row, n in zip(y, lengths.tolist(), strict=True)])


# --- 31.5 Read backwards ---------------------------------------------------------------------------------------------


def _reverse(ids: Tensor, lengths: Tensor) -> Tensor:
    t = torch.arange(ids.shape[1])
    return ids.gather(1, torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t))


def _reverse_by_loop(ids, lengths):
    y = ids.clone()
    for row, n in enumerate(lengths.tolist()):
        y[row, :n] = ids[row, :n].flip(0)
    return y


def _ids_case(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    n, T = int(rng.integers(3, 6)), int(rng.integers(5, 8))
    lengths = _lengths(rng, n, T)
    ids = torch.from_numpy(rng.permutation(n * T).reshape(n, T) + 2)  # no word twice: an order cannot hide
    return ids * (torch.arange(T) < lengths[:, None]), lengths


def _reverse_off_by_one(ids, lengths):
    t = torch.arange(ids.shape[1])
    return ids.gather(1, torch.where(t < lengths[:, None], (lengths[:, None] - t).clamp(max=ids.shape[1] - 1), t))


# --- 31.6 Sort a batch -----------------------------------------------------------------------------------------------


def _sort(ids: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    order = lengths.argsort(descending=True, stable=True)
    return ids[order], lengths[order], labels[order]


def _sort_in_python(ids, lengths, labels):
    order = sorted(range(len(lengths)), key=lambda k: -int(lengths[k]))
    return ids[order], lengths[order], labels[order]


def _sort_mistaken(change: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """`change` gets the batch and the right order."""

    def sort(ids, lengths, labels):
        return change(ids, lengths, labels, lengths.argsort(descending=True, stable=True))

    return sort


def _sort_case(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    n = int(rng.integers(4, 7))
    lengths = torch.from_numpy(rng.permutation(np.arange(1, n + 1)))
    lengths[torch.from_numpy(rng.permutation(n)[:2])] = 2  # two equal ones, at random places
    ids = torch.from_numpy(rng.permutation(n * n).reshape(n, n) + 2) * (torch.arange(n) < lengths[:, None])
    return ids, lengths, torch.from_numpy(rng.permutation(n))


EXERCISES = [
    Exercise(
        "31.3",
        "The state at the last word",
        minutes=10,
        difficulty=2,
        reference=_last,
        cases=[_states_case, _ALL_FULL, _ONE_WORD],
        misconceptions=[
            Misconception(
                "reads the last step of the rectangle",
                lambda y, lengths: y[:, -1],
                why="For a short sentence that is a state after padding: it depends on how long the *other* sentences "
                "are. Read each row at its own last word.",
                look=f"{_PADDING}, the figure with circles and crosses",
            ),
            Misconception(
                "reads one step too far",
                lambda y, lengths: y[torch.arange(len(y)), lengths.clamp(max=y.shape[1] - 1)],
                why="Steps count from 0: the last of n words stands at step n - 1.",
                look=f"{_PADDING}, the cell 'alone equals in a batch'",
            ),
            Misconception(
                "reads every row at the shortest sentence's last word",
                lambda y, lengths: y[:, int(lengths.min()) - 1],
                why="Each sentence has a length of its own. One index for all rows is right for some of them alone.",
                look=f"{_PADDING}, the figure with circles and crosses",
            ),
            Misconception(
                "reads the first word",
                lambda y, lengths: y[:, 0],
                why="The first state has read one word. The last one has read the sentence.",
                look=f"{_PADDING}, the figure with circles and crosses",
            ),
        ],
        hints=(
            "Each row needs another step. How do you pick one entry in each row of a matrix?",
            "Two lists of indices side by side: the row numbers 0, 1, 2, ... and the steps.",
            "`y[torch.arange(len(y)), lengths - 1]`",
        ),
        alternatives=[_last_by_gather, _last_by_loop],
        names=("y", "lengths"),
    ),
    Exercise(
        "31.4",
        "A mean that skips the padding",
        minutes=12,
        difficulty=2,
        reference=_mean,
        cases=[_states_case, _ALL_FULL, _ONE_WORD],
        misconceptions=[
            Misconception(
                "averages over the padding too",
                lambda y, lengths: y.mean(1),
                why="The states after a sentence's end are made of padding. Multiply them by 0 before the sum.",
                look=f"{_PADDING}, 'Mask'",
            ),
            Misconception(
                "masks the sum, and divides by the width of the batch",
                lambda y, lengths: (y * _inside(y, lengths)).mean(1),
                why="A short sentence's mean then shrinks with the longest one beside it. Divide by its own length.",
                look=f"{_PADDING}, 'Mask'",
            ),
            Misconception(
                "masks the words and keeps the padding",
                lambda y, lengths: (y * (1 - _inside(y, lengths))).sum(1) / lengths[:, None],
                why="The mask stands the wrong way round: 1 belongs where t < length.",
                look=f"{_PADDING}, 'Mask'",
            ),
            Misconception(
                "lets one step of padding in",
                lambda y, lengths: (y * _inside(y, lengths + 1)).sum(1) / lengths[:, None],
                why="Steps count from 0, so the words of a sentence of length n stand at t < n, not t <= n.",
                look=f"{_PADDING}, 'Mask'",
            ),
            Misconception(
                "adds up and does not divide",
                lambda y, lengths: (y * _inside(y, lengths)).sum(1),
                why="A long sentence would count for more than a short one because it is long.",
                look=f"{_PADDING}, 'Mask'",
            ),
        ],
        hints=(
            "Make a table of B rows and T columns that says for each place whether a word stands there.",
            "`torch.arange(T) < lengths[:, None]` is that table. It needs one more axis to fit y.",
            "Multiply y by the mask (B, T, 1), sum over axis 1, divide by lengths (B, 1).",
        ),
        alternatives=[_mean_by_loop],
        names=("y", "lengths"),
    ),
    Exercise(
        "31.5",
        "Read backwards",
        minutes=15,
        difficulty=3,
        reference=_reverse,
        cases=[_ids_case, Case("one full row, one word", torch.tensor([[2, 3, 4], [5, 0, 0]]), torch.tensor([3, 1]))],
        misconceptions=[
            Misconception(
                "turns the whole row round, padding and all",
                lambda ids, lengths: ids.flip(1),
                why="Now the padding comes first, and the backward reader starts with nothing but padding. Turn round "
                "the words alone; the padding stays at the end.",
                look=f"Section 7 {LESSON}, the first paragraph",
            ),
            Misconception(
                "turns the batch round",
                lambda ids, lengths: ids.flip(0),
                why="That puts the last sentence first. Words run along axis 1.",
                look=f"Section 7 {LESSON}, the first paragraph",
            ),
            Misconception(
                "is off by one",
                _reverse_off_by_one,
                why="The word at step t goes to step n - 1 - t: the first one, t = 0, goes to n - 1.",
                look=f"Section 7 {LESSON}, the first paragraph",
            ),
            Misconception(
                "leaves the words as they are",
                lambda ids, lengths: ids.clone(),
                why="The second direction must meet the last word first.",
                look=f"Section 7 {LESSON}, the first paragraph",
            ),
        ],
        hints=(
            "Take one row of 3 words in 5 columns. Which old column does each new column read?",
            "New column t reads n - 1 - t for t < n, and t itself in the padding. A loop over the rows is fine too.",
            "Loop: `y[row, :n] = ids[row, :n].flip(0)`, on a copy.",
        ),
        alternatives=[_reverse_by_loop],
        names=("ids", "lengths"),
    ),
    Exercise(
        "31.6",
        "Sort a batch by length",
        minutes=8,
        difficulty=1,
        reference=_sort,
        cases=[
            _sort_case,
            Case("sorted already", torch.tensor([[2, 3], [4, 0]]), torch.tensor([2, 1]), torch.tensor([1, 0])),
            Case("many of equal length", torch.arange(2, 102)[:, None], torch.ones(100).long(), torch.arange(100)),
        ],
        misconceptions=[
            Misconception(
                "leaves the labels behind",
                _sort_mistaken(lambda ids, lengths, labels, order: (ids[order], lengths[order], labels)),
                why="Every sentence now has the label of another, so nothing can be learned, and no error says so. The "
                "labels go in the same order as the sentences.",
                look=f"Section 9 {LESSON}, 'Labels left behind by a sort'",
            ),
            Misconception(
                "leaves the lengths behind",
                _sort_mistaken(lambda ids, lengths, labels, order: (ids[order], lengths, labels[order])),
                why="Each sentence would be read up to the length of another. All three go in the same order.",
                look=f"Section 9 {LESSON}, 'Labels left behind by a sort'",
            ),
            Misconception(
                "puts the shortest sentence first",
                lambda ids, lengths, labels: tuple(a[lengths.argsort(stable=True)] for a in (ids, lengths, labels)),
                why="Packing takes the longest first, so that the sentences still running always stand in front.",
                look=f"{_PADDING}, the last paragraph",
            ),
            Misconception(
                "puts the batch in the inverse order",
                _sort_mistaken(
                    lambda ids, lengths, labels, order: tuple(a[order.argsort()] for a in (ids, lengths, labels))
                ),
                why="`order` says which old row each new row takes, so index with it once. Its argsort leads back.",
                look=f"{_PADDING}, the last paragraph",
            ),
        ],
        hints=(
            "One order for three tensors. Which function gives positions and not values?",
            "`argsort`, with the longest first; `stable=True` keeps sentences of equal length as they stood.",
            "order = lengths.argsort(descending=True, stable=True); index all three with it.",
        ),
        alternatives=[_sort_in_python],
        names=("ids", "lengths", "labels"),
    ),
]
