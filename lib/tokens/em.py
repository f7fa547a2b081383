"""Learning a unigram vocabulary: expectation-maximisation, and pruning of what the text can do without.

Source: Kudo 2018, arXiv:1804.10959, section 3.2; the details are those of SentencePiece: digamma in place of log, 0.5
as the least expected count, three quarters kept in a round. Only the end differs: SentencePiece prunes to a tenth more
pieces than asked for and takes the likeliest; here pruning goes on to the end, and stops dropping at the number asked.
"""

from __future__ import annotations

from collections import Counter
from math import log

import torch

from lib.tokens.lattice import best, expected, lattice

LONGEST = 16
"""Characters in a piece, at most."""

SEEDS = 10
"""Pieces to begin with, for each that shall be left."""

KEEP = 0.75
"""The share of the pieces that a round of pruning keeps."""

LEAST = 0.5
"""A piece that is expected less often in all words is dropped."""

NEVER = (-1, -100.0)
"""For an unknown character, of which a text that one learns from has none: its id, and a score."""


def learn(totals: Counter[str], n_pieces: int) -> dict[str, float]:
    """`n_pieces` pieces and their scores, the likeliest first, from words and how often each occurs.

    Fewer, where the words have no more. Raises ValueError when there are more characters than `n_pieces`.
    """
    characters = {character for word in totals for character in word}
    if n_pieces < len(characters):
        raise ValueError(
            f"A vocabulary with room for {n_pieces} pieces beside the special tokens is too small: "
            f"the texts have {len(characters)} characters."
        )
    scores = seeds(totals, characters, SEEDS * n_pieces)
    while True:
        for _ in range(2):
            scores = maximise(expect(totals, scores), characters, n_pieces)
        if len(scores) <= n_pieces:
            return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
        scores = prune(totals, scores, characters, max(n_pieces, int(KEEP * len(scores))))


def seeds(totals: Counter[str], characters: set[str], n: int) -> dict[str, float]:
    """All characters, and the strings inside words that cover most of the text: their count times their length."""
    counts: Counter[str] = Counter()
    for word, count in totals.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + LONGEST, len(word)) + 1):
                counts[word[start:end]] += count
    several = [piece for piece, count in counts.items() if len(piece) > 1 and count > 1]
    several.sort(key=lambda piece: (-counts[piece] * len(piece), piece))
    kept = [*sorted(characters), *several[: max(0, n - len(characters))]]
    whole = log(sum(counts[piece] for piece in kept))
    return {piece: log(counts[piece]) - whole for piece in kept}


def expect(totals: Counter[str], scores: dict[str, float]) -> dict[str, float]:
    """How often each piece is expected in all words, over all ways to cut them (the E-step)."""
    pieces = list(scores)
    scored = {piece: (i, score) for i, (piece, score) in enumerate(scores.items())}
    counts = [0.0] * len(pieces)
    for word, count in totals.items():
        for id, chance in expected(lattice(word, scored, LONGEST, NEVER))[1]:
            counts[id] += count * chance
    return dict(zip(pieces, counts, strict=True))


def maximise(counts: dict[str, float], characters: set[str], n: int) -> dict[str, float]:
    """The scores that these counts make likeliest (the M-step), without the pieces that are hardly expected.

    exp(digamma(n)) is about n - 0.5: rare pieces lose more than log(n) would take from them, and fewer are left. At
    least `n` stay, the least expected going first, and all characters do.
    """
    rare = [piece for piece, count in counts.items() if count < LEAST and piece not in characters]
    rare.sort(key=lambda piece: (counts[piece], piece))
    dropped = {*rare[: max(0, len(counts) - n)]}
    kept = {piece: max(count, LEAST) for piece, count in counts.items() if piece not in dropped}
    values = torch.tensor(list(kept.values()), dtype=torch.float64)
    scores = torch.digamma(values) - torch.digamma(values.sum())
    return dict(zip(kept, scores.tolist(), strict=True))


def prune(totals: Counter[str], scores: dict[str, float], characters: set[str], n: int) -> dict[str, float]:
    """`n` pieces: all characters, and those whose loss would cost the text most likelihood.

    Without a piece, each of its places in the text is cut in the best way that is left. The cost is how much less
    likely the text then is, with the counts of the best cuts: count * (its score - scores of what takes its place).
    """
    scored = {piece: (i, score) for i, (piece, score) in enumerate(scores.items())}
    values, counts = list(scores.values()), Counter()
    for word, count in totals.items():
        for id, _ in best(lattice(word, scored, LONGEST, NEVER)):
            counts[id] += count
    costs = {}
    for piece, (id, score) in scored.items():
        if piece not in characters:
            rest = {other: found for other, found in _inside(piece, scored) if other != piece}
            instead = best(lattice(piece, rest, LONGEST, NEVER))
            costs[piece] = counts[id] * (score - sum(values[other] for other, _ in instead))
    kept = sorted(costs, key=lambda piece: (-costs[piece], piece))[: max(0, n - len(characters))]
    chosen = characters.union(kept)
    return {piece: score for piece, score in scores.items() if piece in chosen}


def _inside(piece: str, scored: dict[str, tuple[int, float]]) -> list[tuple[str, tuple[int, float]]]:
    strings = {piece[i:j] for i in range(len(piece)) for j in range(i + 1, len(piece) + 1)}
    return [(string, scored[string]) for string in strings if string in scored]
