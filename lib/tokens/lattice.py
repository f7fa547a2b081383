"""All ways to cut a word into pieces, as a lattice: its best path, its sums over paths, and paths drawn by chance.

The positions between characters are nodes 0 to n; a piece is an edge from its beginning to its end with a score, the
logarithm of its probability. A path from 0 to n is one way to cut the word; its score is the sum over its edges. There
are up to 2^(n-1) paths, and each function below takes one pass over the edges all the same.
"""

from __future__ import annotations

from math import exp, inf, log

import numpy as np

Edge = tuple[int, int, float]
"""Where a piece begins, its id, and its score."""

Lattice = list[list[Edge]]
"""For each node, the edges that end there; those that begin further left come first. Node 0 has none."""


def lattice(word: str, scored: dict[str, tuple[int, float]], longest: int, unknown: tuple[int, float]) -> Lattice:
    """The lattice of a word. A character that is no piece becomes an edge with the id and score of `unknown`."""
    ends: Lattice = [[] for _ in range(len(word) + 1)]
    for start in range(len(word)):
        for end in range(start + 1, min(start + longest, len(word)) + 1):
            if found := scored.get(word[start:end]):
                ends[end].append((start, *found))
            elif end == start + 1:
                ends[end].append((start, *unknown))
    return ends


def best(ends: Lattice) -> list[tuple[int, int]]:
    """The path with the highest score (Viterbi): its ids, each with its end. Of equals, the longer last piece.

    best(j) = max over edges (i, j) of best(i) + score(i, j)
    """
    scores, into = [0.0], [(0, 0, 0.0)]
    for edges in ends[1:]:
        top = max(edges, key=lambda edge: scores[edge[0]] + edge[2])
        scores.append(scores[top[0]] + top[2])
        into.append(top)
    return back(into)


def back(into: list[Edge]) -> list[tuple[int, int]]:
    """A path from the last node to node 0, along the one edge that is kept for each node; returned in reading order."""
    path, node = [], len(into) - 1
    while node:
        start, id, _ = into[node]
        path.append((id, node))
        node = start
    return path[::-1]


def forward(ends: Lattice) -> list[float]:
    """For each node, log of the sum over all paths from node 0 to it.

    alpha(j) = log sum over edges (i, j) of exp(alpha(i) + score(i, j))
    """
    alpha = [0.0]
    for edges in ends[1:]:
        alpha.append(log_sum([alpha[start] + score for start, _, score in edges]))
    return alpha


def log_sum(terms: list[float]) -> float:
    """log of the sum of exp(terms), without overflow."""
    top = max(terms)
    return top + log(sum(exp(term - top) for term in terms))


def expected(ends: Lattice) -> tuple[float, list[tuple[int, float]]]:
    """log of the word's probability; and for each edge, the id of its piece and the probability that it is in the path.

    p(i, j) = exp(alpha(i) + score(i, j) + beta(j) - alpha(n)), with beta(i) the sum over paths from i to the last node
    """
    alpha = forward(ends)
    beta = [-inf] * (len(ends) - 1) + [0.0]
    found = []
    for end in range(len(ends) - 1, 0, -1):
        for start, id, score in ends[end]:
            rest = score + beta[end]
            high, low = max(beta[start], rest), min(beta[start], rest)
            beta[start] = high + log(1 + exp(low - high))
            found.append((id, exp(alpha[start] + rest - alpha[-1])))
    return alpha[-1], found


def draw(ends: Lattice, alpha: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """A path drawn with probability proportional to exp(alpha * score): from the last node back, edge by edge."""
    scaled = [[(start, id, alpha * score) for start, id, score in edges] for edges in ends]
    sums = forward(scaled)
    path, node = [], len(ends) - 1
    while node:
        edges = scaled[node]
        chances = [exp(sums[start] + score - sums[node]) for start, _, score in edges]
        start, id, _ = edges[rng.choice(len(edges), p=np.array(chances) / sum(chances))]
        path.append((id, node))
        node = start
    return path[::-1]
