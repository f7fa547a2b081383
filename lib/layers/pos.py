"""Where a token stands. Without this, attention is blind to order: it sees a set, not a sequence.

A position module has two hooks, and each kind uses one: `on_embed` adds to the embeddings, `turn` gives what turns
queries and keys. Positions `at` are whole numbers, (T,) for all sequences alike or (B, T).

    Learned, Sinusoidal                     on_embed
    Rotary(d_head, scaling=llama3())        turn; on_heads(x, at) is turn(at, x)(x)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.shapes import BHTD, BTC, require

Scaling = Callable[[Tensor, Tensor], Tensor]
"""scaling(f, at): the frequencies of a rotary embedding, highest first, (d / 2,), and the positions of the call ->
the frequencies that a longer context is read with."""


Turn = Callable[[BHTD], BHTD]


class Position(nn.Module):
    """No position at all: embeddings, queries and keys stay what they are."""

    def on_embed(self, x: BTC, at: Tensor) -> BTC:
        return x

    def turn(self, at: Tensor, like: Tensor) -> Turn:
        """What turns all that stands at these positions: angles are computed once, for queries and keys."""
        return lambda x: x

    def on_heads(self, x: BHTD, at: Tensor) -> BHTD:
        return self.turn(at, x)(x)


class Learned(Position):
    """x + weight[at]: a learned vector for each position. weight: (n_positions, C), from N(0, 0.02).

    A position of -1 says that nothing is there, as in a cache; it gets some row, and nobody reads the answer.
    ValueError for any other position that the table lacks.
    J. Gehring et al. (2017), "Convolutional Sequence to Sequence Learning", section 3.1; the spread: A. Radford et al.
    (2018), "Improving Language Understanding by Generative Pre-Training", section 4.1.
    """

    def __init__(self, n_positions: int, d_model: int):
        super().__init__()
        require(min(n_positions, d_model) >= 1, f"sizes are at least 1: {n_positions=}, {d_model=}")
        self.weight = nn.Parameter(torch.randn(n_positions, d_model) * 0.02)

    def on_embed(self, x: BTC, at: Tensor) -> BTC:
        n = len(self.weight)
        if not torch.compiler.is_compiling():  # compiled code cannot stop at a number; its lookup checks for itself
            low, high = (int(end) for end in at.aminmax())
            require(low >= -1 and high < n, f"positions are from 0 to {n - 1}, got {low} to {high}: use a longer table")
        return x + self.weight[at.clamp(min=0)]


class Sinusoidal(Position):
    """x + p, with p[2i] = sin(at f_i) and p[2i + 1] = cos(at f_i), f_i = base^(-2i / C).

    A. Vaswani et al. (2017), "Attention Is All You Need", section 3.5, where base is 10000.
    """

    def __init__(self, d_model: int, base: float = 10000.0):
        super().__init__()
        require(d_model >= 2 and d_model % 2 == 0, f"sines and cosines come in pairs: d_model is even, not {d_model}")
        self.d_model, self.base = d_model, base

    def on_embed(self, x: BTC, at: Tensor) -> BTC:
        width = f"x is {x.shape[-1]} wide, but these positions were built with d_model={self.d_model}"
        require(x.shape[-1] == self.d_model, width)
        angle = _angles(at, frequencies(self.d_model, self.base, x))  # B T C/2
        return x + torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).to(x.dtype)


class Rotary(Position):
    """Pairs of numbers, turned by an angle at f_i: q . k then depends on the distance of their positions alone.

        (x1, x2) -> (x1 cos(at f_i) - x2 sin(at f_i),  x1 sin(at f_i) + x2 cos(at f_i)),   f_i = base^(-2i / d_rotary)

    d_rotary: only the first d_rotary numbers of a head turn (GPT-NeoX: a quarter of them), all if None.
    pairs: which numbers belong together, `halves` (GPT-NeoX, Llama) or `neighbours` (the paper, GPT-J).
    scaling: of the frequencies, for contexts longer than those trained on: `linear`, `ntk`, `dynamic`, `llama3`.
    The angles are computed in at least float32. J. Su et al. (2021), "RoFormer", section 3.2.2.
    """

    def __init__(
        self,
        d_head: int,
        d_rotary: int | None = None,
        base: float = 10000.0,
        pairs: type[halves] | type[neighbours] | None = None,
        scaling: Scaling | None = None,
    ):
        super().__init__()
        d = d_head if d_rotary is None else d_rotary
        require(2 <= d <= d_head and d % 2 == 0, f"numbers turn in pairs: an even count from 2 to {d_head=}, not {d}")
        self.d_head, self.d_rotary, self.base = d_head, d, base
        self.pairs, self.scaling = pairs or halves, scaling or (lambda f, at: f)

    def turn(self, at: Tensor, like: Tensor) -> Turn:
        angle = _angles(at, self.scaling(frequencies(self.d_rotary, self.base, like), at)).unsqueeze(-2)  # B T 1 D/2
        cos, sin = angle.cos(), angle.sin()
        cos, sin = self.pairs.join(cos, cos), self.pairs.join(-sin, sin)

        def turned(x: BHTD) -> BHTD:
            width = f"a head is {x.shape[-1]} wide, but these positions were built with d_head={self.d_head}"
            require(x.shape[-1] == self.d_head, width)
            x = x.transpose(1, 2)  # B T H D, as the projection left it in memory: the answer will lie there like that
            turns, stays = x.split((self.d_rotary, self.d_head - self.d_rotary), dim=-1)
            y = torch.addcmul(turns * cos, self.pairs.swap(turns), sin).to(x.dtype)  # turns cos + swapped sin
            return torch.cat((y, stays), dim=-1).transpose(1, 2) if stays.shape[-1] else y.transpose(1, 2)

        return turned


class NormedRotary(Rotary):
    """Rotary positions for queries and keys of one length: each is divided by its root mean square, then turned.

    A score then depends on their directions alone. A. Henry et al. (2020), "Query-Key Normalization for Transformers",
    section 3, there without the rotary positions.
    """

    def turn(self, at: Tensor, like: Tensor) -> Turn:
        turned = super().turn(at, like)
        return lambda x: turned(F.rms_norm(x, x.shape[-1:]))


class halves:
    """Number i turns with number i + d / 2."""

    @staticmethod
    def join(x1: Tensor, x2: Tensor) -> Tensor:
        """What lies in pairs: (..., d / 2) twice -> (..., d)."""
        return torch.cat((x1, x2), dim=-1)

    @staticmethod
    def swap(x: Tensor) -> Tensor:
        """Each number's other one in its place."""
        return x.roll(x.shape[-1] // 2, dims=-1)


class neighbours:
    """Number 2i turns with number 2i + 1."""

    @staticmethod
    def join(x1: Tensor, x2: Tensor) -> Tensor:
        return torch.stack((x1, x2), dim=-1).flatten(-2)

    @staticmethod
    def swap(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


def frequencies(d: int, base: float, like: Tensor) -> Tensor:
    """base^(-2i / d) for i from 0 to d / 2 - 1, on the device of `like`, in its dtype but at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return base ** (-torch.arange(0, d, 2, dtype=dtype, device=like.device) / d)


def _angles(at: Tensor, f: Tensor) -> Tensor:
    """Positions (..., T) and frequencies (d / 2,) -> angles (..., T, d / 2)."""
    require(not at.is_floating_point(), f"positions are whole numbers, not {at.dtype}")
    return at.unsqueeze(-1) * f


# --- frequencies for a longer context --------------------------------------------------------------------------------
# Each is a small class that is used like a function, as masks are: what it was made of can be read off it and saved.


@dataclass(frozen=True)
class linear:
    """f / factor: positions are squeezed into the range trained on. S. Chen et al. (2023), "Extending Context Window of
    Large Language Models via Positional Interpolation", section 2.3."""

    factor: float

    def __post_init__(self):
        _check_factor(self.factor)

    def __call__(self, f: Tensor, at: Tensor) -> Tensor:
        return f / self.factor


@dataclass(frozen=True)
class ntk:
    """base -> base factor^(d / (d - 2)): the highest frequency stays, the lowest is divided by `factor`.

    B. Peng et al. (2023), "YaRN", section 3.1, "NTK-aware" interpolation, which names bloc97's post as its origin.
    """

    factor: float

    def __post_init__(self):
        _check_factor(self.factor)

    def __call__(self, f: Tensor, at: Tensor) -> Tensor:
        return f * self.factor ** -_shares(f)


@dataclass(frozen=True)
class dynamic:
    """`ntk` by max(1, factor n / n_trained - (factor - 1)), where the longest sequence of the call has n positions.

    Up to the trained length nothing changes. Beyond it the frequencies depend on n, so a position is no longer blind to
    the future's length, and a key in a cache keeps the angle of the step that stored it: a cached call then differs
    from a whole one, in `transformers` too. B. Peng et al. (2023), "YaRN", section 3.3, "Dynamic Scaling".
    """

    factor: float
    n_trained: int

    def __post_init__(self):
        _check_factor(self.factor)
        _check_trained(self.n_trained)

    def __call__(self, f: Tensor, at: Tensor) -> Tensor:
        n = (at.max() + 1).to(f.dtype)
        return f * (self.factor * n / self.n_trained - (self.factor - 1)).clamp(min=1) ** -_shares(f)


@dataclass(frozen=True)
class llama3:
    """Waves that fit more than `high` times into the trained context stay, those that fit less than `low` times become
    `factor` times longer, and between the two the frequency is blended in proportion to that count.

    The numbers are those of Llama 3.1. A. Grattafiori et al. (2024), "The Llama 3 Herd of Models", section 3.4, and the
    authors' published code, which holds the blend.
    """

    factor: float = 8.0
    low: float = 1.0
    high: float = 4.0
    n_trained: int = 8192

    def __post_init__(self):
        _check_factor(self.factor)
        low, high = self.low, self.high
        require(0 < low < high, f"low and high count waves: 0 < low < high, not {low=}, {high=}")
        _check_trained(self.n_trained)

    def __call__(self, f: Tensor, at: Tensor) -> Tensor:
        n_waves = self.n_trained * f / (2 * math.pi)
        keep = ((n_waves - self.low) / (self.high - self.low)).clamp(0, 1)
        return f * (keep + (1 - keep) / self.factor)


def _shares(f: Tensor) -> Tensor:
    """0 for the highest frequency, 1 for the lowest, and even steps between."""
    require(len(f) >= 2, "NTK scaling spreads over several frequencies: d_rotary is at least 4")
    return torch.arange(len(f), dtype=f.dtype, device=f.device) / (len(f) - 1)


def _check_factor(factor: float) -> None:
    require(factor >= 1, f"the factor by which the context grows is at least 1, not {factor}")


def _check_trained(n_trained: int) -> None:
    require(n_trained >= 1, f"n_trained is the length trained on, at least 1, not {n_trained}")
