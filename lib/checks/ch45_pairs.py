"""Checks of 45_mini_bert on pairs: where the second part comes from, and the rows that are made of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch45_documents import stories

LESSON = "of 45_mini_bert"
PAD, CLS, SEP = 0, 2, 3

# 45.3 -----------------------------------------------------------------------------------------------------------------


def second(documents: list, i: int, start: int, end: int, kind: str, rng: Generator) -> tuple[int, int]:
    return _second(documents, i, start, end, kind, rng)


def _second(documents, i, start, end, kind, rng, *, true=False, own=False, same=False, other=False, head=False, gap=0):
    """The place, with a switch for each of the usual mistakes."""
    if kind == "follows":
        return i, end + gap
    if kind == "hard" and not other:
        places = range(len(documents[i]))
        return i, int(rng.choice([j for j in places if (own or not start <= j < end) and (true or j != end)]))
    number = int(rng.choice([k for k in range(len(documents)) if same or k != i]))
    return number, 0 if head else int(rng.integers(len(documents[number])))


def _second_with_loop(documents, i, start, end, kind, rng):
    number, place = i, end
    if kind == "hard":
        while start <= place <= end:
            place = int(rng.integers(len(documents[i])))
    if kind == "easy":
        number = (i + int(rng.integers(1, len(documents)))) % len(documents)
        place = int(rng.integers(len(documents[number])))
    return number, place


def _hard_may_follow(*args):
    return _second(*args, true=True)


def _hard_overlaps(*args):
    return _second(*args, own=True)


def _hard_is_anything(*args):
    return _second(*args, own=True, true=True)


def _never_hard(*args):
    return _second(*args, other=True)


def _easy_from_the_same(*args):
    return _second(*args, same=True)


def _easy_from_the_top(*args):
    return _second(*args, head=True)


def _leaves_one_out(documents, i, start, end, kind, rng):
    return _second(documents, i, start, end, kind, rng, gap=1)


def _judge_second(answer: Callable, documents: list, i: int, start: int, end: int, kind: str) -> list[tuple[int, int]]:
    """All places that come up in 250 draws, sorted. One of 15 equally likely ones is missed in 1 of 30 million."""
    rng, places = np.random.default_rng(0), set()
    for _ in range(250):
        place = answer(documents, i, start, end, kind, rng)
        if not (isinstance(place, tuple) and len(place) == 2):
            raise TypeError(f"return the numbers of a document and of a sentence, not {type(place).__name__}")
        places.add((int(place[0]), int(place[1])))
    return sorted(places)


def _second_case(rng: Generator, kind: str) -> tuple:
    documents = [document[: int(rng.integers(3, 6))] for document in stories(rng, 4, least=5)]
    i = int(rng.integers(4))
    documents[i] = [f"sentence {j} of the long story" for j in range(8)]
    start = int(rng.integers(1, 3))
    return documents, i, start, start + int(rng.integers(2, 4)), kind


def _follows_case(rng: Generator) -> tuple:
    return _second_case(rng, "follows")


def _hard_case(rng: Generator) -> tuple:
    return _second_case(rng, "hard")


def _easy_case(rng: Generator) -> tuple:
    return _second_case(rng, "easy")


# 45.4 -----------------------------------------------------------------------------------------------------------------


def rows(pairs: list[tuple], n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _rows(pairs, n)


def _rows(pairs, n, *, kinds=(0, 1), last=True, cls=True, first_sep=0, pad_kind=0, follows=0):
    """The rows, with a switch for each of the usual mistakes."""
    ids = torch.full((len(pairs), n), PAD)
    segments, real = torch.full((len(pairs), n), pad_kind), torch.zeros(len(pairs), n, dtype=torch.bool)
    for row, (a, b, _) in enumerate(pairs):
        first, rest = [CLS] * cls + a + [SEP] * (1 - first_sep), [SEP] * first_sep + b + [SEP] * last
        size = len(first + rest)
        ids[row, :size] = torch.tensor(first + rest)
        segments[row, :size] = torch.tensor([kinds[0]] * len(first) + [kinds[1]] * len(rest))
        real[row, :size] = True
    return ids, segments, real, torch.tensor([follows if pair[2] else 1 - follows for pair in pairs])


def _rows_by_lists(pairs, n):
    texts = [[CLS, *a, SEP, *b, SEP] for a, b, _ in pairs]
    kinds = [[0] * (len(a) + 2) + [1] * (len(b) + 1) for a, b, _ in pairs]
    filled = [torch.tensor([row + [PAD] * (n - len(row)) for row in table]) for table in (texts, kinds)]
    real = torch.arange(n) < torch.tensor([len(text) for text in texts])[:, None]
    return *filled, real, torch.tensor([int(not follows) for *_, follows in pairs])


def _no_kinds(pairs, n):
    return _rows(pairs, n, kinds=(0, 0))


def _kinds_one_and_two(pairs, n):
    return _rows(pairs, n, kinds=(1, 2))


def _no_last_sep(pairs, n):
    return _rows(pairs, n, last=False)


def _no_cls(pairs, n):
    return _rows(pairs, n, cls=False)


def _first_sep_in_second(pairs, n):
    return _rows(pairs, n, first_sep=1)


def _padding_of_second(pairs, n):
    return _rows(pairs, n, pad_kind=1)


def _one_follows(pairs, n):
    return _rows(pairs, n, follows=1)


def _padding_is_real(pairs, n):
    ids, kinds, real, labels = _rows(pairs, n)
    return ids, kinds, torch.ones_like(real), labels


def _real_inverted(pairs, n):
    ids, kinds, real, labels = _rows(pairs, n)
    return ids, kinds, ~real, labels


def _specials_not_real(pairs, n):
    ids, kinds, real, labels = _rows(pairs, n)
    return ids, kinds, real & (ids != CLS) & (ids != SEP), labels


def _pairs_case(rng: Generator) -> tuple:
    sizes = rng.integers(1, 7, (4, 2))
    pairs = [(rng.integers(5, 99, a).tolist(), rng.integers(5, 99, b).tolist()) for a, b in sizes]
    return [(*pair, follows) for pair, follows in zip(pairs, (True, False, False, True), strict=True)], 17


_NEGATIVES = f"Section 6 {LESSON}, 'Easy and hard'"
_ROW = f"Section 7 {LESSON}"

EXERCISES = [
    Exercise(
        "45.3",
        "Where the second part begins",
        minutes=15,
        difficulty=2,
        reference=second,
        use=_judge_second,
        cases=[_follows_case, _hard_case, _easy_case],
        misconceptions=[
            Misconception(
                "takes hard negatives from any document, as if they were easy ones",
                _never_hard,
                why="Two stories differ in topic, and a model that sees two topics need not read. Only a place of the "
                "same document asks for more.",
                look=_NEGATIVES,
            ),
            Misconception(
                "lets a hard negative be the true continuation",
                _hard_may_follow,
                why="Then the same pair is labelled once as following and once as not.",
                look=_NEGATIVES,
            ),
            Misconception(
                "lets a hard negative begin inside the first part",
                _hard_overlaps,
                why="Both parts would share sentences, and repetition gives the answer away.",
                look=_NEGATIVES,
            ),
            Misconception(
                "takes a hard negative from anywhere in the document, the first part and its continuation included",
                _hard_is_anything,
                why="Sentence `end` truly follows, and sentences `start` to `end - 1` are in the first part.",
                look=_NEGATIVES,
            ),
            Misconception(
                "lets an easy negative come from the same document",
                _easy_from_the_same,
                why="It could be the true continuation, with the wrong label.",
                look=_NEGATIVES,
            ),
            Misconception(
                "begins every easy negative with a document's first sentence",
                _easy_from_the_top,
                why="The first sentence is a headline. The model would learn what headlines look like.",
                look=_NEGATIVES,
            ),
            Misconception(
                "leaves out the sentence that follows, and takes the one behind it",
                _leaves_one_out,
                why="The first part is sentences start to end - 1, so `end` is the next one.",
                look=_NEGATIVES,
            ),
        ],
        hints=(
            "For each kind: from which document, and which of its sentences are not allowed?",
            "Make a list of the allowed numbers, and let rng.choice take one of it.",
            "hard: [j for j in range(len(documents[i])) if not start <= j <= end]; easy: first a document other than "
            "i, then any of its sentences.",
        ),
        alternatives=[_second_with_loop],
        names=("documents", "i", "start", "end", "kind"),
    ),
    Exercise(
        "45.4",
        "Rows for the model",
        minutes=15,
        difficulty=2,
        reference=rows,
        cases=[_pairs_case, Case("exactly full", [([5, 6], [7], True)], 6)],
        misconceptions=[
            Misconception(
                "forgets the segment ids",
                _no_kinds,
                why="With 0 everywhere, only the [SEP] in the middle says where the second part begins. Kinds are 1 "
                "from the second part on.",
                look=_ROW,
            ),
            Misconception(
                "numbers the segments 1 and 2",
                _kinds_one_and_two,
                why="The table of segments has two rows, 0 and 1.",
                look=_ROW,
            ),
            Misconception(
                "leaves out the last [SEP]",
                _no_last_sep,
                why="[CLS] first [SEP] second [SEP]: three special tokens.",
                look=_ROW,
            ),
            Misconception(
                "leaves out [CLS]",
                _no_cls,
                why="The state at [CLS] is what the head for sentences reads.",
                look=_ROW,
            ),
            Misconception(
                "counts the first [SEP] to the second segment",
                _first_sep_in_second,
                why="A [SEP] closes the part before it, and has its segment.",
                look=_ROW,
            ),
            Misconception(
                "gives padding the kind of the second segment",
                _padding_of_second,
                why="Nobody reads padding, so the model would not suffer; but the convention, and the check, say 0.",
                look=_ROW,
            ),
            Misconception(
                "labels pairs that follow with 1",
                _one_follows,
                why="In BERT's head 0 means that the second part follows, 1 that it is from elsewhere.",
                look=_ROW,
            ),
            Misconception(
                "counts padding as real",
                _padding_is_real,
                why="`real` becomes the mask of attention. What a row gets must not depend on its padding.",
                look=_ROW,
            ),
            Misconception("inverts `real`", _real_inverted, why="True is for what may be attended to.", look=_ROW),
            Misconception(
                "hides [CLS] and [SEP] from attention",
                _specials_not_real,
                why="They are positions like others: [CLS] gathers, and [SEP] marks. Only padding is hidden.",
                look=_ROW,
            ),
        ],
        hints=(
            "Write one row as a list first: which ids, and which kind for each?",
            "[CLS, *a, SEP, *b, SEP] has len(a) + 2 places of kind 0 and len(b) + 1 of kind 1.",
            "ids = torch.full((len(pairs), n), PAD), then ids[row, :size] = torch.tensor([CLS, *a, SEP, *b, SEP]).",
        ),
        alternatives=[_rows_by_lists],
    ),
]
