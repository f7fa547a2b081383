"""What is done to a score before the softmax. A score is a function score(s, b, h, q, k) -> s.

s is the scaled product of query q and key k; b, h, q, k are integer tensors that broadcast with it, as in masks.py.
That is the contract of PyTorch's flex_attention. A score that learns is a module; flex_attention takes its `forward`.

    score = Compose(T5Bias(n_heads=8), soft_cap(50.0))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.shapes import BS, BT, Score, require


def same(s: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """The score as it is."""
    return s


class Compose(nn.Module):
    """One score after the other, from left to right. Those that learn are parts of this module."""

    def __init__(self, *scores: Score):
        super().__init__()
        self.scores = scores
        for i, score in enumerate(scores):
            if isinstance(score, nn.Module):
                self.add_module(str(i), score)

    def forward(self, s: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        for score in self.scores:
            s = score(s, b, h, q, k)
        return s


@dataclass(frozen=True, eq=False)
class moved:
    """The score for queries and keys whose positions are not their indices: the twin of `masks.moved`."""

    score: Score
    q_at: BT
    k_at: BS

    def __call__(self, s: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.score(s, b, h, self.q_at[b, q], self.k_at[b, k])


@dataclass(frozen=True)
class soft_cap:
    """cap tanh(s / cap): nearly s where s is small, never beyond +-cap.

    I. Bello et al. (2016), "Neural Combinatorial Optimization"; in every layer: Gemma team (2024), "Gemma 2".
    """

    cap: float

    def __post_init__(self):
        require(self.cap > 0, f"the cap is a positive number, not {self.cap}")

    def __call__(self, s: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.cap * torch.tanh(s / self.cap)


@dataclass(frozen=True)
class alibi:
    """s - slope_h |q - k|: the farther a key, the less it counts, at a rate of each head's own.

    n heads, a power of two, have the slopes 2^(-8/n), 2^(-16/n), ..., 2^-8. For another number: those of the largest
    power of two below it, then every second one of the next power, from the first; so the authors' code has it, the
    paper has only powers of two. O. Press, N. Smith and M. Lewis (2022), "Train Short, Test Long", section 3, where all
    keys stand before the query.
    """

    n_heads: int

    def __post_init__(self):
        require(self.n_heads >= 1, f"there is at least 1 head, not {self.n_heads}")

    def slope(self, h: Tensor, dtype: torch.dtype) -> Tensor:
        """The slopes of the heads h."""
        n = 1 << (self.n_heads.bit_length() - 1)  # the largest power of two up to n_heads
        exponent = torch.where(h < n, 8 * (h + 1), 4 * (2 * (h - n) + 1)) / n
        return torch.exp2(-exponent.to(dtype))

    def __call__(self, s: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return s - self.slope(h, s.dtype) * (q - k).abs()


def t5_bucket(distance: Tensor, n_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True) -> Tensor:
    """The bucket of a distance k - q: near ones have one each, far ones share, in steps that grow like a logarithm.

    One direction: distances d = q - k from 0 to e - 1, with e = n_buckets / 2, have buckets 0 to e - 1; farther ones
    e + floor(log(d / e) / log(max_distance / e) (n_buckets - e)), at most n_buckets - 1; keys ahead count as d = 0.
    Both directions: half of the buckets for each, those ahead in the upper half.
    C. Raffel et al. (2020), "Exploring the Limits of Transfer Learning", section 2.1; the formula stands in the
    authors' code only, which computes the logarithm in float32, as here.
    """
    if bidirectional:
        n_buckets //= 2
        ahead = (distance > 0).long() * n_buckets
        return ahead + t5_bucket(-distance.abs(), n_buckets, max_distance, bidirectional=False)
    n_exact = n_buckets // 2
    d = (-distance).clamp(min=0)
    log = (d.clamp(min=1).float() / n_exact).log() / math.log(max_distance / n_exact)
    far = (n_exact + (log * (n_buckets - n_exact)).long()).clamp(max=n_buckets - 1)
    return torch.where(d < n_exact, d, far)


class T5Bias(nn.Module):
    """s + weight[bucket(k - q), h]: one learned number for each bucket and head. weight: (n_buckets, H), as in T5.

    T5 does not scale its products: `Attention(..., scale=1.0)`. `bidirectional=False` in a decoder. See `t5_bucket`.
    """

    def __init__(self, n_heads: int, n_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True):
        super().__init__()
        n_exact = n_buckets // 4 if bidirectional else n_buckets // 2
        require(n_heads >= 1, f"there is at least 1 head, not {n_heads}")
        require(n_exact >= 1, f"n_buckets={n_buckets} is too few: at least 2 for each direction")
        require(max_distance > n_exact, f"max_distance must exceed {n_exact}, the exact buckets, not {max_distance}")
        self.n_buckets, self.max_distance, self.bidirectional = n_buckets, max_distance, bidirectional
        self.weight = nn.Parameter(torch.randn(n_buckets, n_heads))

    def forward(self, s: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return s + self.weight[t5_bucket(k - q, self.n_buckets, self.max_distance, self.bidirectional), h]


class RelativeBias(nn.Module):
    """s + weight[clip(k - q) + m, h], clipped to -m .. m: a learned number for each distance and head.

    weight: (2 m + 1, H), zeros at first. P. Shaw, J. Uszkoreit and A. Vaswani (2018), "Self-Attention with Relative
    Position Representations", section 3.2, clips so; there a distance has a vector, which the query is multiplied with.
    """

    def __init__(self, n_heads: int, max_distance: int):
        super().__init__()
        require(n_heads >= 1, f"there is at least 1 head, not {n_heads}")
        require(max_distance >= 1, f"max_distance is at least 1, not {max_distance}")
        self.max_distance = max_distance
        self.weight = nn.Parameter(torch.zeros(2 * max_distance + 1, n_heads))

    def forward(self, s: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        m = self.max_distance
        return s + self.weight[(k - q).clamp(-m, m) + m, h]
