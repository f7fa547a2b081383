"""Scores computed a second time, pair by pair, in plain Python; each `..._error` is the largest difference found."""

from __future__ import annotations

import math

import numpy as np
import torch

from lib.attention import scores
from lib.attention.masks import indices
from tests.attention.twins import shaken
from tests.claims import difference


def compare(score: scores.Score, expected, rng: np.random.Generator, H: int) -> float:
    """score beside expected(s, h, q, k), for queries and keys up to a few hundred positions apart."""
    B, T, S = rng.integers(1, [3, 6, 6]).tolist()
    q0, k0 = rng.integers(0, [400, 400]).tolist() if rng.integers(2) else (0, 0)
    s = rng.normal(0, 3, (B, H, T, S))
    b, h, q, k = indices(B, H, T, S)
    theirs = s.copy()
    for place in np.ndindex(s.shape):
        theirs[place] = expected(s[place], place[1], place[2] + q0, place[3] + k0)
    return difference(score(torch.from_numpy(s), b, h, q + q0, k + k0).detach().numpy(), theirs)


def t5_bucket(distance: int, n: int, far: int, bidirectional: bool) -> int:
    """The bucket by whole numbers alone: bucket e + j begins where (d / e)^(n - e) reaches (far / e)^j."""
    if bidirectional:
        return n // 2 * (distance > 0) + t5_bucket(-abs(distance), n // 2, far, False)
    d, e = max(-distance, 0), n // 2
    if d < e:
        return d
    return e + sum(d ** (n - e) * e**j >= e ** (n - e) * far**j for j in range(1, n - e))


def t5_error(rng: np.random.Generator) -> float:
    H, n, far = int(rng.integers(1, 5)), *((32, 128), (16, 64), (8, 20), (64, 512))[rng.integers(4)]
    both = bool(rng.integers(2))
    score = shaken(scores.T5Bias(H, n, far, both), rng)
    weight = score.weight.detach().numpy()
    return compare(score, lambda s, h, q, k: s + weight[t5_bucket(k - q, n, far, both), h], rng, H)


def relative_error(rng: np.random.Generator) -> float:
    H, m = rng.integers(1, 6, 2).tolist()
    score = shaken(scores.RelativeBias(H, m), rng)
    weight = score.weight.detach().numpy()
    return compare(score, lambda s, h, q, k: s + weight[max(0, min(2 * m, k - q + m)), h], rng, H)


SLOPES = {  # as powers of 2, from the paper's text and, for 3, 6 and 12 heads, from the rule of the authors' code
    1: [-8],
    2: [-4, -8],
    3: [-4, -8, -2],
    6: [-2, -4, -6, -8, -1, -3],
    8: [-1, -2, -3, -4, -5, -6, -7, -8],
    12: [-1, -2, -3, -4, -5, -6, -7, -8, -0.5, -1.5, -2.5, -3.5],
    16: [-0.5 * i for i in range(1, 17)],
}


def alibi_error(rng: np.random.Generator) -> float:
    H = list(SLOPES)[rng.integers(len(SLOPES))]
    return compare(scores.alibi(H), lambda s, h, q, k: s - 2 ** SLOPES[H][h] * abs(q - k), rng, H)


def composed_error(rng: np.random.Generator) -> float:
    """ALiBi, then the cap: the order matters."""
    cap = float(rng.uniform(0.5, 30))
    score = scores.Compose(scores.alibi(2), scores.soft_cap(cap))

    def expected(s, h, q, k):
        return cap * math.tanh((s - (2**-4, 2**-8)[h] * abs(q - k)) / cap)

    return compare(score, expected, rng, 2)
