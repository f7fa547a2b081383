"""Checks of 40_tokenizers on WordPiece: the score of a pair, and cutting a word at the longest piece."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import log

from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch40_merging import Pair, Pieces, count_pairs, random_words

LESSON = "of 40_tokenizers"

# 40.4 -----------------------------------------------------------------------------------------------------------------


def pair_scores(words: dict[Pieces, int]) -> dict[Pair, float]:
    singles, pairs = Counter(), Counter()
    for word, n in words.items():
        for piece in word:
            singles[piece] += n
        for pair in pairwise(word):
            pairs[pair] += n
    return {(a, b): n / (singles[a] * singles[b]) for (a, b), n in pairs.items()}


def _singles(words):
    singles = Counter()
    for word, n in words.items():
        for piece in word:
            singles[piece] += n
    return singles


def _scores_by_lists(words):
    text = [word for word, n in words.items() for _ in range(n)]
    pairs, pieces = Counter(p for word in text for p in pairwise(word)), Counter(p for word in text for p in word)
    return {pair: count / pieces[pair[0]] / pieces[pair[1]] for pair, count in pairs.items()}


def _scores_frequency(words):
    return {pair: float(n) for pair, n in count_pairs(words).items()}


def _scores_sum_below(words):
    singles = _singles(words)
    return {(a, b): n / (singles[a] + singles[b]) for (a, b), n in count_pairs(words).items()}


def _scores_conditional(words):
    singles = _singles(words)
    return {(a, b): n / singles[a] for (a, b), n in count_pairs(words).items()}


def _scores_unweighted(words):
    return pair_scores(dict.fromkeys(words, 1))


def _scores_logarithm(words):
    return {pair: log(score) for pair, score in pair_scores(words).items()}


def _scores_upside_down(words):
    return {pair: 1 / score for pair, score in pair_scores(words).items()}


def _scores_pieces_unweighted(words):
    singles = Counter(piece for word in words for piece in word)
    return {(a, b): n / (singles[a] * singles[b]) for (a, b), n in count_pairs(words).items()}


def _marked_case(rng: Generator) -> tuple:
    words = random_words(rng, "abcd", n=8)
    return ({(word[0], *("##" + letter for letter in word[1:])): n for word, n in words.items()},)


# 40.5 -----------------------------------------------------------------------------------------------------------------


def longest_first(word: str, vocabulary: set[str]) -> list[str]:
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = "##" * (start > 0) + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


def _longest_first_recursive(word, vocabulary, prefix=""):
    for end in range(len(word), 0, -1):
        if prefix + word[:end] in vocabulary:
            rest = _longest_first_recursive(word[end:], vocabulary, "##") if word[end:] else []
            return ["[UNK]"] if rest == ["[UNK]"] else [prefix + word[:end], *rest]
    return ["[UNK]"]


def _cut(word, vocabulary, order=lambda ends: ends[::-1], prefix="##"):
    """The pieces found, and what could not be cut."""
    pieces, start = [], 0
    while start < len(word):
        ends = order(range(start + 1, len(word) + 1))
        end = next((e for e in ends if prefix * (start > 0) + word[start:e] in vocabulary), None)
        if end is None:
            return pieces, word[start:]
        pieces.append(prefix * (start > 0) + word[start:end])
        start = end
    return pieces, ""


def _keeps_the_known_part(word, vocabulary):
    return _cut(word, vocabulary)[0]


def _known_part_and_unk(word, vocabulary):
    pieces, rest = _cut(word, vocabulary)
    return [*pieces, "[UNK]"] if rest else pieces


def _skips_what_is_unknown(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" * (start > 0)
        end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary), None)
        pieces.append("[UNK]" if end is None else prefix + word[start:end])
        start = end or start + 1
    return pieces


def _shortest_first(word, vocabulary):
    pieces, rest = _cut(word, vocabulary, order=lambda ends: ends)
    return ["[UNK]"] if rest else pieces


def _forgets_the_marks(word, vocabulary):
    pieces, rest = _cut(word, vocabulary, prefix="")
    return ["[UNK]"] if rest else pieces


def _marks_all(word, vocabulary):
    return longest_first("\0" + word, {"\0"} | vocabulary)[1:] or ["[UNK]"]


def _searches_for_another_way(word, vocabulary, start=0):
    """Steps back where the longest piece leads nowhere."""
    if start == len(word):
        return []
    for end in range(len(word), start, -1):
        if (piece := "##" * (start > 0) + word[start:end]) in vocabulary:
            rest = _searches_for_another_way(word, vocabulary, end)
            if rest != ["[UNK]"]:
                return [piece, *rest]
    return ["[UNK]"]


def _unk_for_the_letters(word, vocabulary):
    pieces, rest = _cut(word, vocabulary)
    return [*pieces, *rest]


TINY = {"r", "##a", "##i", "##n", "rain", "##ing", "t", "##r", "##ed", "tr", "ing"}


def _vocabulary_case(rng: Generator) -> tuple:
    letters = list("abc")
    inside = {"##" + "".join(rng.choice(letters, rng.integers(1, 4))) for _ in range(7)}
    first = {"".join(rng.choice(letters, rng.integers(1, 4))) for _ in range(4)}
    return "".join(rng.choice(letters, 7)), {*letters, *inside, *first, "##a", "##b"}


def _cuttable_case(rng: Generator) -> tuple:
    word, vocabulary = _vocabulary_case(rng)
    return word, vocabulary | {"##c"}


EXERCISES = [
    Exercise(
        "40.4",
        "WordPiece's score",
        minutes=12,
        difficulty=2,
        reference=pair_scores,
        cases=[_marked_case, Case("one pair, twice", {("a", "##b"): 2, ("a",): 6})],
        misconceptions=[
            Misconception(
                "scores a pair by how often it occurs, as BPE does",
                _scores_frequency,
                why="Common pieces meet often by chance alone. WordPiece asks how much likelier a merge makes the "
                "text: the count is divided by those of both pieces.",
                look=f"Section 8 {LESSON}, 'The classical mistake'",
            ),
            Misconception(
                "divides by the sum of the two counts",
                _scores_sum_below,
                why="Two pieces that come independently meet with probability p(a) times p(b), so it is the product.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "divides by the count of the first piece only",
                _scores_conditional,
                why="That is the probability of b after a. It is high whenever b is common; divide by its count too.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "counts each word once, whatever its count",
                _scores_unweighted,
                why="A word that occurs nine times brings its pieces and its pairs nine times.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "weights the pairs by the words' counts but not the pieces",
                _scores_pieces_unweighted,
                why="Both counts are of the same text: a piece in a word that occurs nine times counts nine times.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "returns the logarithm of the score",
                _scores_logarithm,
                why="The order of the pairs is the same, but the exercise asks for the score itself.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "turns the fraction upside down",
                _scores_upside_down,
                why="The pair's count stands above: the more often two pieces meet, the higher the score.",
                look=f"Section 8 {LESSON}",
            ),
        ],
        hints=(
            "You need two tables: how often each pair occurs, and how often each piece does.",
            "Both are weighted by the words' counts. A piece counts wherever it stands, also alone in a word.",
            "{(a, b): n / (singles[a] * singles[b]) for (a, b), n in pairs.items()}",
        ),
        alternatives=[_scores_by_lists],
        names=("words",),
    ),
    Exercise(
        "40.5",
        "The longest piece, or nothing",
        minutes=15,
        difficulty=2,
        reference=longest_first,
        cases=[
            _vocabulary_case,
            _cuttable_case,
            Case("three pieces", "trained", TINY),
            Case("unknown at the end", "rainy", TINY),
            Case("unknown at the beginning", "xrain", TINY),
            Case("the longest leads nowhere", "abc", {"ab", "a", "##bc"}),
            Case("a whole word", "rain", TINY),
        ],
        misconceptions=[
            Misconception(
                "returns what it found before the unknown part",
                _keeps_the_known_part,
                why="Then *rainy* would be read as *rain*, and nobody would know that something is missing. A word "
                "that cannot be cut to its end is [UNK] as a whole.",
                look=f"Section 8 {LESSON}, 'Encoding: the longest piece, or nothing'",
            ),
            Misconception(
                "puts [UNK] behind the known part",
                _known_part_and_unk,
                why="WordPiece does not say which part is unknown: the whole word becomes one [UNK].",
                look=f"Section 8 {LESSON}, 'Encoding: the longest piece, or nothing'",
            ),
            Misconception(
                "writes [UNK] for one character and goes on",
                _skips_what_is_unknown,
                why="That is Unigram's way. In WordPiece the whole word becomes one [UNK].",
                look=f"Section 8 {LESSON}, 'Encoding: the longest piece, or nothing'",
            ),
            Misconception(
                "takes the shortest piece first",
                _shortest_first,
                why="Words would fall into letters. Begin with the end of the word and come back to the left.",
                look=f"Section 8 {LESSON}, 'Encoding: the longest piece, or nothing'",
            ),
            Misconception(
                "looks pieces inside a word up without ##",
                _forgets_the_marks,
                why="*ing* and *##ing* are two pieces. Behind the first piece only those with ## count.",
                look=f"Section 8 {LESSON}",
            ),
            Misconception(
                "steps back and tries a shorter piece when it is stuck",
                _searches_for_another_way,
                why="That would cut more words, but WordPiece is greedy: it never takes a piece back.",
                look=f"Section 8 {LESSON}, 'Encoding: the longest piece, or nothing'",
            ),
            Misconception(
                "leaves the letters that it cannot cut as pieces",
                _unk_for_the_letters,
                why="A letter that is not in the vocabulary has no id. The whole word becomes one [UNK].",
                look=f"Section 8 {LESSON}, 'Encoding: the longest piece, or nothing'",
            ),
        ],
        hints=(
            "At a place in the word: which ends do you try, and in which order? What if none fits?",
            "Try ends from len(word) down to start + 1, with ## unless start is 0. None: return ['[UNK]'].",
            "A for loop over the ends with `break` where the piece is known; its `else` branch returns ['[UNK]'].",
        ),
        alternatives=[_longest_first_recursive],
        names=("word", "vocabulary"),
    ),
]
