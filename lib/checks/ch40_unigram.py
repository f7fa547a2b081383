"""Checks of 40_tokenizers on probabilities: the best way to cut a word, and bits per character."""

from __future__ import annotations

from math import exp, inf, log

import numpy as np
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 40_tokenizers"

# 40.6 -----------------------------------------------------------------------------------------------------------------


def viterbi(word: str, scores: dict[str, float]) -> tuple[list[str], float]:
    best, into = [0.0] + [-inf] * len(word), [0] * (len(word) + 1)
    for j in range(1, len(word) + 1):
        for i in range(j):
            score = best[i] + scores.get(word[i:j], -inf)
            if score > best[j]:
                best[j], into[j] = score, i
    pieces, j = [], len(word)
    while j > 0:
        pieces.append(word[into[j] : j])
        j = into[j]
    return pieces[::-1], best[-1]


def _viterbi_with_paths(word, scores):
    best = [([], 0.0)]
    for j in range(1, len(word) + 1):
        ways = [(pieces, total, word[i:j]) for i, (pieces, total) in enumerate(best) if word[i:j] in scores]
        best.append(max((([*p, x], t + scores[x]) for p, t, x in ways), key=lambda way: way[1]))
    return best[-1]


def _valued(pieces, scores):
    return pieces, sum(scores[piece] for piece in pieces)


def _longest_piece(word, scores):
    pieces, start = [], 0
    while start < len(word):
        end = next(e for e in range(len(word), start, -1) if word[start:e] in scores)
        pieces.append(word[start:end])
        start = end
    return _valued(pieces, scores)


def _best_next_piece(word, scores):
    pieces, start = [], 0
    while start < len(word):
        ends = [e for e in range(start + 1, len(word) + 1) if word[start:e] in scores]
        end = max(ends, key=lambda e: scores[word[start:e]])
        pieces.append(word[start:end])
        start = end
    return _valued(pieces, scores)


def _path(word, scores, value, better=max):
    """The path whose list of pieces has the best value, built node by node."""
    best = [[]]
    for j in range(1, len(word) + 1):
        best.append(better(([*best[i], word[i:j]] for i in range(j) if word[i:j] in scores), key=value))
    return best[-1]


def _fewest_pieces(word, scores):
    return _valued(_path(word, scores, len, min), scores)


def _product(word, scores):
    """Multiplies probabilities, which round to 0 for a long word."""
    best, into = [1.0] + [0.0] * len(word), [0] * (len(word) + 1)
    for j in range(1, len(word) + 1):
        for i in range(j):
            chance = best[i] * exp(scores.get(word[i:j], -inf))
            if chance > best[j] or into[j] == 0 == best[j]:
                best[j], into[j] = chance, max(i, 0)
    pieces, j = [], len(word)
    while j > 0:
        pieces.append(word[into[j] : j])
        j = into[j]
    return pieces[::-1], log(best[-1]) if best[-1] else -inf


def _mean_score(word, scores):
    pieces = _path(word, scores, lambda way: sum(scores[p] for p in way) / len(way))
    return _valued(pieces, scores)


def _worst(word, scores):
    return _valued(_path(word, scores, lambda way: sum(scores[p] for p in way), min), scores)


def _probability_returned(word, scores):
    pieces, score = viterbi(word, scores)
    return pieces, exp(score)


def _backwards(word, scores):
    pieces, score = viterbi(word, scores)
    return pieces[::-1], score


def _sum_over_ways(word, scores):
    alpha = [1.0]
    for j in range(1, len(word) + 1):
        alpha.append(sum(alpha[i] * exp(scores[word[i:j]]) for i in range(j) if word[i:j] in scores))
    return viterbi(word, scores)[0], log(alpha[-1]) if alpha[-1] else -inf


def _lattice_case(rng: Generator) -> tuple:
    """A word whose best way is not the longest-first one, nor the one with the fewest pieces."""
    letters = list("abc")
    while True:
        pieces = {*letters, *("".join(rng.choice(letters, rng.integers(2, 5))) for _ in range(9))}
        p = rng.dirichlet(np.ones(len(pieces)))
        scores = dict(zip(sorted(pieces), np.log(p + 1e-4).tolist(), strict=True))
        word = "".join(rng.choice(letters, 8))
        right = viterbi(word, scores)[0]
        if all(right != other(word, scores)[0] for other in (_longest_piece, _fewest_pieces, _best_next_piece)):
            return word, scores


# 40.8 -----------------------------------------------------------------------------------------------------------------


def bits_per_character(ids: np.ndarray, counts: np.ndarray, text: str) -> float:
    p = (counts[ids] + 1) / (counts.sum() + len(counts))
    return float(-np.log2(p).sum() / len(text))


def _bits_by_loop(ids, counts, text):
    whole = sum(counts) + len(counts)
    return sum(-log((counts[i] + 1) / whole) / log(2) for i in ids) / len(text)


def _per_token(ids, counts, text):
    return bits_per_character(ids, counts, text) * len(text) / len(ids)


def _per_byte(ids, counts, text):
    return bits_per_character(ids, counts, text) * len(text) / len(text.encode())


def _nats(ids, counts, text):
    return bits_per_character(ids, counts, text) * log(2)


def _not_divided(ids, counts, text):
    return bits_per_character(ids, counts, text) * len(text)


def _one_in_the_counts_only(ids, counts, text):
    return float(-np.log2((counts[ids] + 1) / counts.sum()).sum() / len(text))


def _no_one_added(ids, counts, text):
    return float(-np.log2(counts[ids] / counts.sum()).sum() / len(text))


def _log_of_the_mean(ids, counts, text):
    p = (counts[ids] + 1) / (counts.sum() + len(counts))
    return float(-np.log2(p.mean()) * len(ids) / len(text))


def _negative(ids, counts, text):
    return -bits_per_character(ids, counts, text)


def _different_ids_once(ids, counts, text):
    return bits_per_character(np.unique(ids), counts, text)


def _text_case(rng: Generator) -> tuple:
    text = "".join(rng.choice(list("abcdé🙂 "), rng.integers(20, 40)))
    counts = rng.integers(0, 30, 12)
    counts[rng.integers(12)] = 0
    return rng.integers(0, 12, rng.integers(8, 18)), counts, "é" + text


LONG = "ababba" * 14  # its probability is below the smallest number that a computer keeps
FLAT = {"a": -13.8, "b": -14.1, "ab": -20.0, "ba": -22.5}

EXERCISES = [
    Exercise(
        "40.6",
        "The best way to cut a word",
        minutes=20,
        difficulty=3,
        reference=viterbi,
        cases=[
            _lattice_case,
            Case("one letter", "a", {"a": -1.0}),
            Case("a rare long piece", "abb", {"a": -1.2, "b": -1.2, "ab": -2.3, "abb": -6.9, "bb": -1.25}),
            Case("a long word", LONG, FLAT),
        ],
        misconceptions=[
            Misconception(
                "takes the longest piece at each step",
                _longest_piece,
                why="That is WordPiece's way. A long piece may be rare, or leave an expensive rest: only the sum over "
                "the whole word decides.",
                look=f"Section 9 {LESSON}, 'Viterbi: the best path in one pass'",
            ),
            Misconception(
                "takes the most probable next piece at each step",
                _best_next_piece,
                why="What is best now may leave an expensive rest. Keep the best way to *every* place in the word.",
                look=f"Section 9 {LESSON}, 'Viterbi: the best path in one pass'",
            ),
            Misconception(
                "looks for the fewest pieces",
                _fewest_pieces,
                why="Two common pieces can be more probable than one rare piece. Compare sums of log-probabilities.",
                look=f"Section 9 {LESSON}, 'Viterbi: the best path in one pass'",
            ),
            Misconception(
                "multiplies probabilities, which round to 0 in a long word",
                _product,
                why="A product of some hundred probabilities is smaller than any number that a computer keeps. It "
                "becomes 0, and then all ways look alike. Add log-probabilities.",
                look=f"Section 9 {LESSON}, 'Viterbi: the best path in one pass'",
            ),
            Misconception(
                "compares the mean over the pieces instead of the sum",
                _mean_score,
                why="Every further piece costs something, and the mean hides that. The probability of a way is the "
                "product over its pieces, and so its logarithm the sum.",
                look=f"Section 9 {LESSON}",
            ),
            Misconception(
                "finds the least probable way",
                _worst,
                why="Log-probabilities are negative: the best is the largest, the one nearest to 0.",
                look=f"Section 9 {LESSON}, 'Viterbi: the best path in one pass'",
            ),
            Misconception(
                "returns the probability instead of its logarithm",
                _probability_returned,
                why="For a long word it rounds to 0. Return the sum of log-probabilities.",
                look=f"Section 9 {LESSON}, 'Viterbi: the best path in one pass'",
            ),
            Misconception(
                "returns the pieces from back to front",
                _backwards,
                why="The edges are followed from the end of the word; turn the list round at last.",
                look=f"Section 9 {LESSON}, 'Viterbi: the best path in one pass'",
            ),
            Misconception(
                "returns the sum over all ways as the score",
                _sum_over_ways,
                why="That is the probability of the word (the forward sum). Asked is the score of the best way.",
                look=f"Section 9 {LESSON}, 'All paths at once'",
            ),
        ],
        hints=(
            "If you knew the best way to each place before j, how would you find the best way to j?",
            "best[j] is the largest best[i] + score of word[i:j]; note from which i it came; at last go back.",
            "For each j, for i in range(j): score = best[i] + scores.get(word[i:j], -inf); keep the largest and its i.",
        ),
        alternatives=[_viterbi_with_paths],
        names=("word", "scores"),
    ),
    Exercise(
        "40.8",
        "Bits per character",
        minutes=12,
        difficulty=2,
        reference=bits_per_character,
        cases=[_text_case],
        misconceptions=[
            Misconception(
                "divides by the number of tokens",
                _per_token,
                why="Bits per token cannot be compared between tokenizers: longer tokens are harder to guess and say "
                "more. Divide by what no tokenizer changes.",
                look=f"Section 11 {LESSON}, 'A fair measure'",
            ),
            Misconception(
                "divides by the number of bytes",
                _per_byte,
                why="Bits per byte is a fair measure as well, but another one: *é* is one character and two bytes.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "uses the natural logarithm",
                _nats,
                why="That gives nats. A bit is a choice of two: the logarithm is to the base 2.",
                look="Section 6 of 03_probability",
            ),
            Misconception(
                "returns the bits of the whole text",
                _not_divided,
                why="A longer text costs more. Divide by its length, to compare texts.",
                look=f"Section 11 {LESSON}, 'A fair measure'",
            ),
            Misconception(
                "adds one to the counts but not to their total",
                _one_in_the_counts_only,
                why="The probabilities would add up to more than 1. Each of the V tokens got one more, so the total "
                "is N + V.",
                look=f"Section 11 {LESSON}, 'A fair measure'",
            ),
            Misconception(
                "adds nothing to the counts",
                _no_one_added,
                why="A token that never came then has probability 0 and costs infinitely many bits.",
                look=f"Section 11 {LESSON}, 'A fair measure'",
            ),
            Misconception(
                "takes the logarithm of the mean probability",
                _log_of_the_mean,
                why="Each token has its own cost, -log2 p. Costs add up; the logarithm of a mean is another number.",
                look=f"Section 11 {LESSON}, 'A fair measure'",
            ),
            Misconception(
                "forgets the minus sign",
                _negative,
                why="The logarithm of a probability is negative; a cost is its opposite.",
                look=f"Section 11 {LESSON}, 'A fair measure'",
            ),
            Misconception(
                "counts a token that comes several times once",
                _different_ids_once,
                why="Each token of the text is paid for, each time it comes.",
                look=f"Section 11 {LESSON}, 'A fair measure'",
            ),
        ],
        hints=(
            "What is the probability of each token, and what does a token of that probability cost in bits?",
            "p = (counts[ids] + 1) / (counts.sum() + len(counts)); a token costs -log2 p.",
            "-np.log2(p).sum() / len(text)",
        ),
        alternatives=[_bits_by_loop],
        names=("ids", "counts", "text"),
    ),
]
