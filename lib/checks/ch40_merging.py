"""Checks of 40_tokenizers on learning merges: counting pairs, and merging one."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 40_tokenizers"

Pieces = tuple[str, ...]
Pair = tuple[str, str]


def random_words(rng: Generator, letters: str = "abc", n: int = 6, most: int = 7) -> dict[Pieces, int]:
    """Different words of 1 to `most` letters, each with a count; the first holds one letter four times in a row."""
    drawn = ["".join(rng.choice(list(letters), rng.integers(1, most + 1))) for _ in range(n)]
    words = dict.fromkeys([letters[0] * 4 + letters[1], *drawn])
    return {tuple(word): int(rng.integers(2, 9)) for word in words}


# 40.1 -----------------------------------------------------------------------------------------------------------------


def count_pairs(words: dict[Pieces, int]) -> dict[Pair, int]:
    counts: Counter[Pair] = Counter()
    for word, n in words.items():
        for pair in pairwise(word):
            counts[pair] += n
    return counts


def _counts_by_index(words):
    counts = {}
    for word, n in words.items():
        for i in range(len(word) - 1):
            counts[word[i], word[i + 1]] = counts.get((word[i], word[i + 1]), 0) + n
    return counts


def _counts_unweighted(words):
    return Counter(pair for word in words for pair in pairwise(word))


def _counts_once_a_word(words):
    counts = Counter()
    for word, n in words.items():
        for pair in set(pairwise(word)):
            counts[pair] += n
    return counts


def _counts_across_words(words):
    return Counter(pairwise([piece for word, n in words.items() for _ in range(n) for piece in word]))


def _counts_unordered(words):
    counts = Counter()
    for pair, n in count_pairs(words).items():
        counts[tuple(sorted(pair))] += n
    return counts


def _counts_without_overlap(words):
    counts = Counter()
    for word, n in words.items():
        last, counted = None, False
        for pair in pairwise(word):
            counted = not (pair == last and counted)
            counts[pair] += n * counted
            last = pair
    return counts


def _counts_as_text(words):
    return {a + b: n for (a, b), n in count_pairs(words).items()}


def _words_case(rng: Generator) -> tuple:
    return (random_words(rng),)


# 40.2 -----------------------------------------------------------------------------------------------------------------


def merge_pair(word: Pieces, pair: Pair) -> Pieces:
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def _merge_onto_a_stack(word, pair):
    merged, fresh = [], False
    for piece in word:
        if merged and not fresh and (merged[-1], piece) == pair:
            merged[-1], fresh = merged[-1] + piece, True
        else:
            merged.append(piece)
            fresh = False
    return tuple(merged)


def merge_first_only(word, pair):
    for i in range(len(word) - 1):
        if word[i : i + 2] == pair:
            return (*word[:i], pair[0] + pair[1], *word[i + 2 :])
    return word


def _merge_from_the_right(word, pair):
    back = merge_pair(word[::-1], pair[::-1])
    return tuple(pair[0] + pair[1] if piece == pair[1] + pair[0] else piece for piece in back[::-1])


def _merge_overlapping(word, pair):
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            merged.append(pair[0] + pair[1])
            i += 1 if word[i + 1 : i + 3] == pair else 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def _merge_leaves_the_second(word, pair):
    return tuple(pair[0] + pair[1] if word[i : i + 2] == pair else piece for i, piece in enumerate(word))


def _merge_either_order(word, pair):
    merged, i = [], 0
    while i < len(word):
        if word[i : i + 2] in (pair, pair[::-1]):
            merged.append(word[i] + word[i + 1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def _merge_by_text(word, pair):
    """Joins pieces wherever the letters fit, whatever the pieces are."""
    merged, i = [], 0
    while i < len(word):
        if "".join(word[i : i + 2]) == pair[0] + pair[1]:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def _merge_case(rng: Generator) -> tuple:
    word = tuple(rng.choice(["a", "b", "ab"], rng.integers(3, 9)).tolist())
    return word, (("a", "b"), ("b", "a"), ("ab", "a"), ("a", "a"))[rng.integers(4)]


EXERCISES = [
    Exercise(
        "40.1",
        "Count the pairs",
        minutes=10,
        difficulty=1,
        reference=count_pairs,
        cases=[_words_case, Case("a word of one piece", {("a",): 3})],
        misconceptions=[
            Misconception(
                "counts each word once, whatever its count",
                _counts_unweighted,
                why="A word that occurs nine times brings its pairs nine times. Without that, a rare word weighs as "
                "much as *the*.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "counts a pair at most once in a word",
                _counts_once_a_word,
                why="In *banana* the pair (a, n) stands twice, and a merge would be made in both places.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "counts pairs across the border of two words",
                _counts_across_words,
                why="The last piece of one word and the first of the next are no pair: merges stay inside words.",
                look=f"Section 4 {LESSON}, 'Where a word ends'",
            ),
            Misconception(
                "takes (a, b) and (b, a) for the same pair",
                _counts_unordered,
                why="*ab* and *ba* are different strings; a pair has an order.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "leaves out a pair that overlaps the one before it",
                _counts_without_overlap,
                why="All neighbours are counted, also in *aaa*, which has two pairs (a, a). That only one of them can "
                "be merged is the affair of the merge. (Some programs count as you do; ours and the Rust library "
                "count every pair of neighbours.)",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "uses the joined text as the key",
                _counts_as_text,
                why="The pieces *ab* + *c* and *a* + *bc* have the same text and are different pairs. The key is the "
                "pair itself.",
                look=f"Section 3 {LESSON}",
            ),
        ],
        hints=(
            "Which neighbours are there in one word, and how many of them does the whole text hold?",
            "Go through words.items(); `pairwise(word)` gives the neighbours; add n for each.",
            "for word, n in words.items(): for pair in pairwise(word): counts[pair] += n",
        ),
        alternatives=[_counts_by_index],
        names=("words",),
    ),
    Exercise(
        "40.2",
        "Merge one pair",
        minutes=12,
        difficulty=1,
        reference=merge_pair,
        cases=[
            _merge_case,
            Case("four in a row", ("a", "a", "a", "a"), ("a", "a")),
            Case("three in a row", ("b", "a", "a", "a"), ("a", "a")),
            Case("the same letters in other pieces", ("ab", "c", "a", "bc"), ("a", "bc")),
            Case("at both ends", ("a", "b", "c", "a", "b"), ("a", "b")),
            Case("nothing to merge", ("b", "a"), ("a", "b")),
        ],
        misconceptions=[
            Misconception(
                "merges the first place only",
                merge_first_only,
                why="A merge is made at every place where the pair stands.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "goes from the right",
                _merge_from_the_right,
                why="In *aaa* it matters: from the left it is aa + a. Any rule would do if all followed it, and the "
                "rule is: from the left.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "merges a piece twice where two pairs overlap",
                _merge_overlapping,
                why="In *aaa* the middle *a* can go into one piece only. Otherwise the text grows: after a merge, go "
                "on behind **both** pieces.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "leaves the second piece of a merged pair in its place",
                _merge_leaves_the_second,
                why="The new piece stands for both; after it, go on two places further.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "also merges the pair in the other order",
                _merge_either_order,
                why="(a, b) makes *ab*. Where b comes before a, there is nothing to merge.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "compares the joined letters instead of the two pieces",
                _merge_by_text,
                why="*ab* + *c* has the letters of (a, bc) but is another pair. A merge is of pieces, not of letters.",
                look=f"Section 3 {LESSON}",
            ),
        ],
        hints=(
            "After a merge at place i, at which place do you go on?",
            "A `while` loop with its own i: two further after a merge, otherwise one.",
            "if word[i : i + 2] == pair: append pair[0] + pair[1] and i += 2; else: append word[i] and i += 1.",
        ),
        alternatives=[_merge_onto_a_stack],
        names=("word", "pair"),
    ),
]
