"""Checks of 43_mini_gpt on packed documents, and who may see whom in them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 43_mini_gpt"

# 43.3 ----------------------------------------------------------------------------------------------------------------


def pack(documents: Sequence[Sequence[int]], end: int, n_context: int) -> tuple[Tensor, Tensor]:
    flat = torch.tensor([i for document in documents for i in (end, *document)])
    n = (len(flat) - 1) // n_context
    return flat[: n * n_context].view(n, n_context), flat[1 : n * n_context + 1].view(n, n_context)


def _pack_by_rows(documents, end, n_context):
    flat: list[int] = []
    for document in documents:
        flat += [end, *document]
    rows = [flat[s : s + n_context + 1] for s in range(0, len(flat), n_context)]
    whole = torch.tensor([row for row in rows if len(row) == n_context + 1]).reshape(-1, n_context + 1)
    return whole[:, :-1], whole[:, 1:]


def _of(flat, n_context):
    n = (len(flat) - 1) // n_context
    return flat[: n * n_context].view(n, n_context), flat[1 : n * n_context + 1].view(n, n_context)


def _end_behind(documents, end, n_context):
    return _of(torch.tensor([i for document in documents for i in (*document, end)]), n_context)


def _no_separator(documents, end, n_context):
    return _of(torch.tensor([i for document in documents for i in document]), n_context)


def _separator_between(documents, end, n_context):
    return _of(torch.tensor([i for document in documents for i in (end, *document)][1:]), n_context)


def _both_ends(documents, end, n_context):
    return _of(torch.tensor([i for document in documents for i in (end, *document, end)]), n_context)


def _row_loses_its_last_target(documents, end, n_context):
    flat = torch.tensor([i for document in documents for i in (end, *document)])
    n = len(flat) // (n_context + 1)
    rows = flat[: n * (n_context + 1)].view(n, n_context + 1)
    return rows[:, :-1], rows[:, 1:]


def _target_from_the_row(documents, end, n_context):
    x, _ = pack(documents, end, n_context)
    return x, x.roll(-1, dims=1)


def _padded(documents, end, n_context):
    rows = [([end, *document] + [end] * (n_context + 1))[: n_context + 1] for document in documents]
    flat = torch.tensor(rows)
    return flat[:, :-1], flat[:, 1:]


def _targets_not_shifted(documents, end, n_context):
    x, _ = pack(documents, end, n_context)
    return x, x.clone()


def _pack_case(rng: Generator) -> tuple:
    ids = iter(rng.permutation(90) + 1)
    documents = [[int(next(ids)) for _ in range(rng.integers(1, 8))] for _ in range(rng.integers(4, 7))]
    return documents, 0, int(rng.integers(3, 6))


# 43.4 ----------------------------------------------------------------------------------------------------------------


def see(x: Tensor, end: int) -> tuple[Tensor, Tensor]:
    number = (x == end).cumsum(0)
    at = torch.arange(len(x))
    mask = (at[None, :] <= at[:, None]) & (number[None, :] == number[:, None])
    return mask, at - torch.where(x == end, at, 0).cummax(0).values


def _see_by_loops(x, end):
    T = len(x)
    mask, position, begin = torch.zeros(T, T, dtype=torch.bool), torch.zeros(T, dtype=torch.long), 0
    for q in range(T):
        begin = q if x[q] == end else begin
        mask[q, begin : q + 1] = True
        position[q] = q - begin
    return mask, position


def _leaking(x, end):
    return torch.ones(len(x), len(x), dtype=torch.bool).tril(), see(x, end)[1]


def _looks_ahead(x, end):
    number = (x == end).cumsum(0)
    return number[None, :] == number[:, None], see(x, end)[1]


def _separator_ends(x, end):
    is_end = (x == end).long()
    number, at = is_end.cumsum(0) - is_end, torch.arange(len(x))  # a separator counts from the place behind it on
    mask = (at[None, :] <= at[:, None]) & (number[None, :] == number[:, None])
    begin = torch.tensor([int((number < k).sum()) for k in number.tolist()])
    return mask, at - begin


def _separator_hidden(x, end):
    mask, position = see(x, end)
    return mask & (x != end)[None, :], position


def _transposed(x, end):
    mask, position = see(x, end)
    return mask.T.contiguous(), position


def _blind(x, end):
    mask, position = see(x, end)
    return mask.tril(-1), position


def _not_restarted(x, end):
    return see(x, end)[0], torch.arange(len(x))


def _from_one(x, end):
    mask, position = see(x, end)
    return mask, position + 1


def _numbers_for_positions(x, end):
    return see(x, end)[0], (x == end).cumsum(0)


def _inverted(x, end):
    mask, position = see(x, end)
    return ~mask, position


def _see_case(rng: Generator) -> tuple:
    T = int(rng.integers(8, 13))
    x = torch.from_numpy(rng.integers(1, 9, T))
    x[torch.from_numpy(rng.choice(range(2, T - 1), 2, replace=False))] = 0
    if rng.integers(2):
        x[0] = 0
    return x, 0


EXERCISES = [
    Exercise(
        "43.3",
        "Packing",
        minutes=15,
        difficulty=2,
        reference=pack,
        cases=[
            _pack_case,
            Case("a document longer than a row", [[1, 2, 3, 4, 5, 6, 7, 8], [9]], 0, 4),
            Case("the last target is the last id", [[1, 2], [3, 4, 5]], 0, 3),
        ],
        misconceptions=[
            Misconception(
                "puts the separator behind each document",
                _end_behind,
                why="In front of it, the separator belongs to the document that follows, and the model learns how one "
                "begins.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "leaves out the separators",
                _no_separator,
                why="Without them nobody can tell where a document ends, neither the mask nor the model.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "leaves out the first separator",
                _separator_between,
                why="Each document gets one in front, the first too: else nobody learns how that one begins.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "puts a separator on both sides of each document",
                _both_ends,
                why="One is enough: it ends a document and begins the next.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "cuts rows of n_context + 1 that share nothing",
                _row_loses_its_last_target,
                why="The last id of such a row is never an input, and the first of the next never a target. Rows "
                "overlap by one.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "takes the last target of a row from its beginning",
                _target_from_the_row,
                why="`roll` puts what falls off at one end back at the other. The last target is the first input of "
                "the next row.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "gives each document a row of its own",
                _padded,
                why="That is padding (and cutting). Packed documents stand end to end, and rows are cut afterwards.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "does not shift the targets",
                _targets_not_shifted,
                why="Each place would be asked for the id that it can see.",
                look=f"Section 2 {LESSON}",
            ),
        ],
        hints=(
            "First one long list, separators included. Cut it only then.",
            "Of m ids, the first m - 1 can be inputs. How many full rows are that?",
            "n = (len(flat) - 1) // n_context; x = flat[: n * n_context].view(n, n_context); y: the same, one further.",
        ),
        alternatives=[_pack_by_rows],
        names=("documents", "end", "n_context"),
    ),
    Exercise(
        "43.4",
        "Who may see whom",
        minutes=15,
        difficulty=2,
        reference=see,
        cases=[
            _see_case,
            Case("two separators in a row", torch.tensor([5, 0, 0, 7, 8]), 0),
            Case("one document", torch.tensor([0, 3, 4]), 0),
        ],
        misconceptions=[
            Misconception(
                "lets documents see the ones before them",
                _leaking,
                why="The causal mask alone lets a speech look back into whatever stands before it in the row.",
                look=f"Section 3 {LESSON}, 'The document mask'",
            ),
            Misconception(
                "lets places look ahead",
                _looks_ahead,
                why="The document mask does not replace the causal mask. Both must hold.",
                look=f"Section 3 {LESSON}, 'The document mask'",
            ),
            Misconception(
                "counts the separator as the end of its document",
                _separator_ends,
                why="It stands in front of its document and belongs to it. Else the question 'how does the next one "
                "begin?' is asked inside the document before.",
                look=f"Section 3 {LESSON}, 'The document mask'",
            ),
            Misconception(
                "hides the separators",
                _separator_hidden,
                why="A separator is part of its document. Hidden from itself, it could attend to nothing.",
                look=f"Section 3 {LESSON}, 'The document mask'",
            ),
            Misconception(
                "lets keys ask and queries answer",
                _transposed,
                why="Rows are queries, columns are keys: what is allowed lies below the diagonal.",
                look="Section 4 of 41_attention, 'Masks: who may look where'",
            ),
            Misconception(
                "hides each place from itself",
                _blind,
                why="The targets are shifted already; a place may see its own input.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "inverts the mask",
                _inverted,
                why="True means *may attend* in this course.",
                look="Section 4 of 41_attention, 'Masks: who may look where'",
            ),
            Misconception(
                "does not restart the positions",
                _not_restarted,
                why="With learned positions, a document that begins at place 20 would not be the one that begins at 0.",
                look=f"Section 3 {LESSON}, 'Must positions restart?'",
            ),
            Misconception(
                "counts positions from 1",
                _from_one,
                why="The separator, which begins a document, stands at position 0.",
                look=f"Section 3 {LESSON}, 'Must positions restart?'",
            ),
            Misconception(
                "returns the numbers of the documents as positions",
                _numbers_for_positions,
                why="The number says *which* document; the position how far one is into it.",
                look=f"Section 3 {LESSON}, 'Must positions restart?'",
            ),
        ],
        hints=(
            "How can you tell from x alone to which document a place belongs? Count something.",
            "number = (x == end).cumsum(0). A query and a key with equal numbers share a document.",
            "position: at - torch.where(x == end, at, 0).cummax(0).values, with at = torch.arange(len(x))",
        ),
        alternatives=[_see_by_loops],
        names=("x", "end"),
    ),
]
