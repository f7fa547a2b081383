"""Checks of 40_tokenizers on encoding with merges: by rank."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch40_merging import Pair, count_pairs, merge_first_only, merge_pair, random_words

LESSON = "of 40_tokenizers"

# 40.3 -----------------------------------------------------------------------------------------------------------------


def encode(word: str, merges: list[Pair]) -> list[str]:
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    pieces = list(word)
    while len(pieces) > 1:
        i = min(range(len(pieces) - 1), key=lambda i: ranks.get((pieces[i], pieces[i + 1]), inf))
        if (pieces[i], pieces[i + 1]) not in ranks:
            break
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces


def _encode_merge_by_merge(word, merges):
    pieces = tuple(word)
    for pair in merges:
        pieces = merge_pair(pieces, pair)
    return list(pieces)


def _encode_by_joined_text(word, merges):
    """Looks the joined text up, as the library tiktoken does: with merges as training gives them it is the same."""
    ranks, pieces = {a + b: rank for rank, (a, b) in enumerate(merges)}, list(word)
    while known := [i for i, (a, b) in enumerate(pairwise(pieces)) if a + b in ranks]:
        i = min(known, key=lambda i: ranks[pieces[i] + pieces[i + 1]])
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces


def _vocabulary(word, merges):
    return {*word, *(a + b for a, b in merges)}


def _encode_longest_piece(word, merges):
    vocabulary, pieces, start = _vocabulary(word, merges), [], 0
    while start < len(word):
        end = next(e for e in range(len(word), start, -1) if word[start:e] in vocabulary)
        pieces.append(word[start:end])
        start = end
    return pieces


def _encode_leftmost(word, merges):
    pieces, known = list(word), set(merges)
    while (i := next((i for i, pair in enumerate(pairwise(pieces)) if pair in known), None)) is not None:
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces


def _encode_last_rank_first(word, merges):
    return encode(word, merges[::-1])


def _encode_fewest(word, merges):
    vocabulary, best = _vocabulary(word, merges), [[]]
    for end in range(1, len(word) + 1):
        best.append(min((best[i] + [word[i:end]] for i in range(end) if word[i:end] in vocabulary), key=len))
    return best[-1]


def _encode_one_merge(word, merges):
    pieces = tuple(word)
    for pair in merges:
        if pair in pairwise(pieces):
            return list(merge_pair(pieces, pair))
    return list(pieces)


def _encode_each_merge_once(word, merges):
    pieces = tuple(word)
    for pair in merges:
        pieces = merge_first_only(pieces, pair)
    return list(pieces)


def _encode_case(rng: Generator) -> tuple:
    """Merges as training gives them, each making a new piece, and a word of the same letters."""
    words, merges = random_words(rng, "abcd", n=12, most=9), []
    while len(merges) < 9:
        counts = count_pairs(words)
        made = {a + b for a, b in merges}
        new = [pair for pair in sorted(counts) if pair[0] + pair[1] not in made]
        if not new:
            break
        merges.append(max(new, key=counts.__getitem__))
        words = {merge_pair(word, merges[-1]): n for word, n in words.items()}
    return "".join(rng.choice(list("abcd"), 14)), merges


RANKS = [("b", "c"), ("a", "b"), ("d", "e"), ("c", "d"), ("bc", "de"), ("a", "bcde")]

EXERCISES = [
    Exercise(
        "40.3",
        "Encode by rank",
        minutes=18,
        difficulty=2,
        reference=encode,
        cases=[
            _encode_case,
            Case("the ranks decide", "abcde", RANKS[:4]),
            Case("a merge of merges", "abcde", RANKS),
            Case("one letter", "a", RANKS),
            Case("two places", "bcxbcx", [("b", "c"), ("c", "x"), ("bc", "x")]),
            Case("no merges", "abc", []),
        ],
        misconceptions=[
            Misconception(
                "takes the longest piece of the vocabulary from the left",
                _encode_longest_piece,
                why="That is WordPiece's way. BPE knows no longest piece: it repeats the merges of training in their "
                "order, and for many words that gives other pieces.",
                look=f"Section 6 {LESSON}, 'The classical mistake'",
            ),
            Misconception(
                "merges the leftmost pair that is known, whatever its rank",
                _encode_leftmost,
                why="Of all pairs in the word the one that was learnt *first* is merged, wherever it stands.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "merges the pair that was learnt last",
                _encode_last_rank_first,
                why="The place in the list is the rank, and the lowest goes first: training made that merge before "
                "the others.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "looks for the fewest pieces",
                _encode_fewest,
                why="Fewer tokens look better, but the model was trained on texts that were cut by rank.",
                look=f"Section 6 {LESSON}, 'The classical mistake'",
            ),
            Misconception(
                "stops after one merge",
                _encode_one_merge,
                why="After a merge there are new pairs. Go on until none of the pairs in the word is in the list.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "makes each merge at one place only",
                _encode_each_merge_once,
                why="A pair may stand in a word several times; all of them are merged.",
                look=f"Section 6 {LESSON}",
            ),
        ],
        hints=(
            "What would training have done to this word, merge after merge?",
            "Make a dictionary from pair to rank. Of all neighbours in the word, find the pair with the lowest rank.",
            "min(range(len(pieces) - 1), key=lambda i: ranks.get((pieces[i], pieces[i + 1]), inf)); merge; again.",
        ),
        alternatives=[_encode_merge_by_merge, _encode_by_joined_text],
        names=("word", "merges"),
    ),
]
