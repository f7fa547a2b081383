"""Checks of 45_mini_bert on documents: kept apart for training and scoring, and cut into chunks of sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 45_mini_bert"

# 45.1 -----------------------------------------------------------------------------------------------------------------


def split(documents: list, share: float, rng: Generator) -> tuple[list, list]:
    distinct = _distinct(documents)
    return _parted(distinct, rng.permutation(len(distinct)), round(share * len(distinct)))


def _distinct(documents: list) -> list:
    """Each document once, in the order in which they first come."""
    return [list(document) for document in dict.fromkeys(map(tuple, documents))]


def _parted(documents: list, order: Any, n: int) -> tuple[list, list]:
    """(training, held): the first n of the order are held."""
    return [documents[i] for i in order[n:]], [documents[i] for i in order[:n]]


def _split_keeping_order(documents, share, rng):
    distinct = []
    for document in documents:
        if document not in distinct:
            distinct.append(document)
    held = set(rng.choice(len(distinct), round(share * len(distinct)), replace=False).tolist())
    sides = ([], [])
    for i, document in enumerate(distinct):
        sides[i in held].append(document)
    return sides


def _split_sentences(documents, share, rng):
    loose = [[sentence] for document in _distinct(documents) for sentence in document]
    return _parted(loose, rng.permutation(len(loose)), round(share * len(loose)))


def _split_each_document(documents, share, rng):
    cuts = [(document, round(share * len(document))) for document in _distinct(documents)]
    return [document[n:] for document, n in cuts], [document[:n] for document, n in cuts]


def _split_with_copies(documents, share, rng):
    return _parted(documents, rng.permutation(len(documents)), round(share * len(documents)))


def _split_unshuffled(documents, share, rng):
    distinct = _distinct(documents)
    return _parted(distinct, range(len(distinct)), round(share * len(distinct)))


def _split_by_coins(documents, share, rng):
    sides = ([], [])
    for document in _distinct(documents):
        sides[rng.random() < share].append(document)
    return sides


def _split_held_stays(documents, share, rng):
    _, held = split(documents, share, rng)
    return _distinct(documents), held


def _split_with_replacement(documents, share, rng):
    distinct = _distinct(documents)
    drawn = rng.choice(len(distinct), round(share * len(distinct))).tolist()
    return [each for i, each in enumerate(distinct) if i not in drawn], [distinct[i] for i in drawn]


def _split_swapped(documents, share, rng):
    return split(documents, share, rng)[::-1]


def _judge_split(answer: Callable, documents: list, share: float) -> dict[str, bool]:
    """What holds of ten splits, each with luck of its own."""
    distinct, several = _distinct(documents), []
    for number in range(10):
        sides = answer(documents, share, np.random.default_rng(number))
        if not (isinstance(sides, tuple | list) and len(sides) == 2):
            raise TypeError(f"return two lists, those to train on and those held out, not {type(sides).__name__}")
        several.append(tuple([[one] if isinstance(one, str) else list(one) for one in side] for side in sides))
    read = [({s for one in train for s in one}, {s for one in held for s in one}) for train, held in several]
    return {
        "no sentence on both sides": all(not a & b for a, b in read),
        "every document whole": all(one in distinct for sides in several for side in sides for one in side),
        "no document cut in two": all(not (set(one) & a and set(one) & b) for a, b in read for one in distinct),
        "the share of distinct documents held": all(len(held) == round(share * len(distinct)) for _, held in several),
        "as many held each time": len({len(held) for _, held in several}) == 1,
        "each document once": all(sorted(train + held) == sorted(distinct) for train, held in several),
        "another rng, other documents": any(sorted(b) != sorted(several[0][1]) for _, b in several[1:]),
    }


def stories(rng: Generator, n: int, least: int = 3) -> list[list[str]]:
    """n documents of `least` to 6 sentences, no sentence twice."""
    sizes = rng.integers(least, 7, n)
    return [[f"sentence {j} of story {i}" for j in range(size)] for i, size in enumerate(sizes)]


def _documents_case(rng: Generator) -> tuple:
    documents = stories(rng, int(rng.integers(10, 14)))
    copies = [documents[i] for i in rng.integers(len(documents), size=7)]
    return documents + copies, float(rng.choice([0.2, 0.3, 0.4]))


def _no_copies_case(rng: Generator) -> tuple:
    return stories(rng, int(rng.integers(8, 12))), 0.25


# 45.2 -----------------------------------------------------------------------------------------------------------------


def chunk(sentences: list[list[int]], start: int, room: int) -> tuple[list[int], int]:
    return _chunk(sentences, start, room)


def _chunk(sentences, start, room, *, most=10**9, spare=0, over=False, skip=False, cut=True):
    """The chunk, with a switch for each of the usual mistakes."""
    ids, end = list(sentences[start]), start + 1
    for number in range(start + 1, min(len(sentences), start + most)):
        fits = len(ids) < room if over else len(ids) + len(sentences[number]) <= room - spare
        if fits:
            ids, end = ids + sentences[number], number + 1
        elif not skip:
            break
    return ids[:room] if cut else ids, end


def _chunk_with_while(sentences, start, room):
    end = start + 1
    while end < len(sentences) and sum(map(len, sentences[start : end + 1])) <= room:
        end += 1
    return [id for sentence in sentences[start:end] for id in sentence][:room], end


def _one_sentence(*args):
    return _chunk(*args, most=1)


def _one_too_many(*args):
    return _chunk(*args, over=True)


def _never_full(*args):
    return _chunk(*args, spare=1)


def _skips(*args):
    return _chunk(*args, skip=True)


def _uncut(*args):
    return _chunk(*args, cut=False)


def _last_instead_of_end(*args):
    ids, end = _chunk(*args)
    return ids, end - 1


def _from_the_beginning(sentences, start, room):
    return _chunk(sentences, 0, room)


def _number_instead_of_place(sentences, start, room):
    ids, end = _chunk(sentences, start, room)
    return ids, end - start


def _chunk_case(rng: Generator) -> tuple:
    sentences = [rng.integers(5, 99, int(n)).tolist() for n in rng.integers(2, 9, 8)]
    start = int(rng.integers(1, 4))
    return sentences, start, sum(map(len, sentences[start : start + 3])) + int(rng.integers(0, 4))


_SPLIT = f"Section 2 {LESSON}, 'Documents before anything else'"
_CHUNKS = f"Section 6 {LESSON}, 'Chunks, not sentences'"

EXERCISES = [
    Exercise(
        "45.1",
        "Split by documents",
        minutes=15,
        difficulty=2,
        reference=split,
        use=_judge_split,
        cases=[_documents_case, _no_copies_case],
        misconceptions=[
            Misconception(
                "splits sentences, so that one document lies on both sides",
                _split_sentences,
                why="Half of a story is then read in training, and the test asks about the other half: the same names, "
                "the same numbers, often the same phrases. Whole documents go to one side.",
                look=_SPLIT,
            ),
            Misconception(
                "cuts each document in two, one part for each side",
                _split_each_document,
                why="Every story that is scored has then been read in part. Whole documents go to one side.",
                look=_SPLIT,
            ),
            Misconception(
                "leaves copies of a document in, so that one copy is read and the other scored",
                _split_with_copies,
                why="News is published twice, and the copies fall on both sides. Keep each text once before you split.",
                look=_SPLIT,
            ),
            Misconception(
                "takes the documents in the order in which they lie",
                _split_unshuffled,
                why="Data often lies sorted, by topic or date. Then one topic is scored and the others are read. "
                "Let `rng` choose.",
                look=_SPLIT,
            ),
            Misconception(
                "tosses a coin for each document, and leaves to chance how many are held",
                _split_by_coins,
                why="Exactly round(share * n) of the n distinct documents are held: shuffle them, then cut once.",
                look=_SPLIT,
            ),
            Misconception(
                "trains on the held-out documents too",
                _split_held_stays,
                why="What is scored must not have been read.",
                look=_SPLIT,
            ),
            Misconception(
                "draws with replacement, so that one document may be held twice",
                _split_with_replacement,
                why="rng.choice draws with replacement unless told otherwise. rng.permutation has each number once.",
                look=_SPLIT,
            ),
            Misconception(
                "returns the held-out documents first",
                _split_swapped,
                why="First those to train on, then those held out.",
                look=_SPLIT,
            ),
        ],
        hints=(
            "Three things, in this order: copies go, chance decides, one cut.",
            "dict.fromkeys(map(tuple, documents)) keeps each document once, as tuples. rng.permutation(n) shuffles the "
            "numbers 0 to n - 1.",
            "order = rng.permutation(len(distinct)); the first round(share * len(distinct)) of it are held.",
        ),
        alternatives=[_split_keeping_order],
        names=("documents", "share"),
    ),
    Exercise(
        "45.2",
        "A chunk of sentences",
        minutes=12,
        difficulty=1,
        reference=chunk,
        cases=[
            _chunk_case,
            Case("exactly full", [[5, 6], [7, 8, 9], [10]], 0, 5),
            Case("a first sentence that is too long", [[5, 6, 7, 8], [9]], 0, 3),
            Case("to the end of the document", [[5, 6], [7], [8, 9]], 1, 20),
            Case("a long sentence before a short one", [[5, 6], [7, 8, 9, 10], [11]], 0, 4),
        ],
        misconceptions=[
            Misconception(
                "takes one sentence and stops",
                _one_sentence,
                why="Most of the row is then padding, and nothing can be learned about what is further away than a "
                "sentence. A chunk goes on while whole sentences fit.",
                look=_CHUNKS,
            ),
            Misconception(
                "goes on until the room is full, and cuts the last sentence",
                _one_too_many,
                why="Sentences stay whole, but for a first one that is too long by itself: ask whether the next one "
                "fits before you take it.",
                look=_CHUNKS,
            ),
            Misconception(
                "leaves one place free",
                _never_full,
                why="A sentence that fills the room exactly fits: <=, not <.",
                look=_CHUNKS,
            ),
            Misconception(
                "passes over a sentence that does not fit, and takes a later one",
                _skips,
                why="A chunk is one stretch of the text. Where the next sentence does not fit, it ends.",
                look=_CHUNKS,
            ),
            Misconception(
                "does not cut a first sentence that is too long",
                _uncut,
                why="It is taken in any case, or there would be no chunk; but no more than the room holds.",
                look=_CHUNKS,
            ),
            Misconception(
                "returns the number of the last sentence instead of the next one",
                _last_instead_of_end,
                why="`end` is where the next chunk begins, one past the last sentence, as in a slice.",
                look=_CHUNKS,
            ),
            Misconception(
                "begins with the first sentence of the document, whatever `start` says",
                _from_the_beginning,
                why="The chunk begins with sentence `start`.",
                look=_CHUNKS,
            ),
            Misconception(
                "returns how many sentences it took instead of where the next chunk begins",
                _number_instead_of_place,
                why="`end` is a place in the document: start plus that number.",
                look=_CHUNKS,
            ),
        ],
        hints=(
            "What do you take in any case, and what must hold before you take more?",
            "ids, end = list(sentences[start]), start + 1, then a loop while sentence `end` exists and fits.",
            "while end < len(sentences) and len(ids) + len(sentences[end]) <= room: ...; return ids[:room], end",
        ),
        alternatives=[_chunk_with_while],
    ),
]
