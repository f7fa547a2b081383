"""Every way to cut a word, one by one: what the passes over a lattice are compared with."""

import math
from collections import Counter

import numpy as np

from lib.tokens.lattice import best, expected, lattice
from tests.claims import difference


def ways(word: str, scores: dict[str, float]) -> dict[tuple[str, ...], float]:
    """Every way to cut a word into pieces that have a score, with its score."""
    if not word:
        return {(): 0.0}
    return {
        (word[:end], *rest): scores[word[:end]] + score
        for end in range(1, len(word) + 1)
        if word[:end] in scores
        for rest, score in ways(word[end:], scores).items()
    }


def cases() -> list[tuple[str, dict[str, float]]]:
    """Random words of two letters, with random scores for random pieces."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        word = "".join(rng.choice(list("ab"), rng.integers(1, 10)))
        pieces = {word[i:j] for i in range(len(word)) for j in range(i + 1, len(word) + 1)}
        kept = sorted(piece for piece in pieces if len(piece) == 1 or rng.random() < 0.6)
        found.append((word, dict(zip(kept, rng.normal(-3, 2, len(kept)).tolist(), strict=True))))
    return found


def lattice_of(word, scores):
    ids = {piece: (i, score) for i, (piece, score) in enumerate(scores.items())}
    return list(scores), lattice(word, ids, len(word), (-1, -100.0))


def cut(pieces, path) -> tuple[str, ...]:
    return tuple(pieces[id] for id, _ in path)


def counts_in_all_ways(word: str, scores: dict[str, float]) -> tuple[float, Counter[str]]:
    """log of the sum of all ways' probabilities, and how often each piece is expected in one of them."""
    all_ways = ways(word, scores)
    whole = sum(map(math.exp, all_ways.values()))
    counts: Counter[str] = Counter()
    for way, score in all_ways.items():
        for piece in way:
            counts[piece] += math.exp(score) / whole
    return math.log(whole), counts


def sums_error() -> float:
    """The largest difference in a word's log-probability, and in a piece's expected count."""
    errors = []
    for word, scores in cases():
        logarithm, counts = counts_in_all_ways(word, scores)
        pieces, ends = lattice_of(word, scores)
        found, edges = expected(ends)
        sums = dict.fromkeys(pieces, 0.0)
        for id, chance in edges:
            sums[pieces[id]] += chance
        reference = np.array([logarithm, *(counts[piece] for piece in pieces)])
        errors.append(difference(np.array([found, *sums.values()]), reference))
    return max(errors)


def best_error() -> float:
    """The largest difference between the score of the best path and of the best of all ways."""
    errors = []
    for word, scores in cases():
        pieces, ends = lattice_of(word, scores)
        found = sum(scores[piece] for piece in cut(pieces, best(ends)))
        errors.append(difference(np.array(found), np.array(max(ways(word, scores).values()))))
    return max(errors)
