"""From ids to vectors, and what a specification may choose for positions.

`Embedding` and its children are values of a specification's slot `embed`. The functions below are values of its slots
`pos`, what is added to the embeddings, and `turn`, what turns queries and keys. Each is called with the specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lib.layers.pos import Learned, NormedRotary, Position, Rotary, Scaling, Sinusoidal
from lib.shapes import BT, BTC, require

if TYPE_CHECKING:
    from lib.spec import Spec


class Embedding(nn.Module):
    """x = drop(tokens[ids] + types[kinds] + position): (B, T) -> (B, T, C), as in GPT-2.

    tokens: (V, C). types: (n_types, C), of which every id takes the first where no kinds are given; there is no such
    table where spec.n_types is 0. ValueError for ids or kinds that are not in their table.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.tokens = nn.Embedding(spec.n_vocab, spec.d_model)
        self.types = nn.Embedding(spec.n_types, spec.d_model) if spec.n_types else None
        self.pos = spec.pos(spec)
        self.drop = nn.Dropout(spec.p_dropout)

    def forward(self, ids: BT, at: Tensor, kinds: BT | None = None) -> BTC:
        """at: the positions of the ids, (T,) for all sequences alike or (B, T). kinds: (B, T), the segment of each."""
        return self.drop(self.sum(ids, at, kinds))

    def sum(self, ids: BT, at: Tensor, kinds: BT | None) -> BTC:
        x = self.vectors(ids)
        if self.types is not None:
            x = x + look_up(self.types, ids.new_zeros(ids.shape) if kinds is None else kinds, "kinds")
        else:
            require(kinds is None, "this model has no table of types (n_types=0), so it takes no kinds")
        return self.pos.on_embed(x, at)

    def vectors(self, ids: BT) -> BTC:
        return look_up(self.tokens, ids, "ids")


class Scaled(Embedding):
    """tokens[ids] sqrt(C), then as `Embedding`: one table then serves for vectors in and logits out.

    A. Vaswani et al. (2017), "Attention Is All You Need", section 3.4.
    """

    def vectors(self, ids: BT) -> BTC:
        return super().vectors(ids) * math.sqrt(self.tokens.embedding_dim)


class Normed(Embedding):
    """norm(tokens[ids] + types[kinds] + position), then dropout, as in BERT."""

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.norm = spec.norm(spec.d_model, eps=spec.eps)

    def sum(self, ids: BT, at: Tensor, kinds: BT | None) -> BTC:
        return self.norm(super().sum(ids, at, kinds))


def look_up(table: nn.Embedding, ids: BT, name: str) -> BTC:
    """table[ids], or a ValueError that says what is wrong with the ids."""
    whole = not (ids.is_floating_point() or ids.is_complex()) and ids.dim() == 2 and ids.numel() > 0
    require(whole, f"{name} are whole numbers, sequences x positions, not {ids.dtype} of shape {tuple(ids.shape)}")
    try:
        return table(ids)
    except IndexError:
        most, found = table.num_embeddings - 1, f"{int(ids.min())} to {int(ids.max())}"
        raise ValueError(f"{name} are from 0 to {most}, the last row of their table; got {found}") from None


# --- values of `pos` and `turn` --------------------------------------------------------------------------------------


def nothing(spec: Spec) -> Position:
    """No position here."""
    return Position()


def learned(spec: Spec) -> Position:
    return Learned(spec.n_positions, spec.d_model)


def sinusoidal(spec: Spec) -> Position:
    return Sinusoidal(spec.d_model, spec.base)


def rotary(spec: Spec) -> Position:
    return Rotary(spec.d_head, base=spec.base)


def normed_rotary(spec: Spec) -> Position:
    return NormedRotary(spec.d_head, base=spec.base)


@dataclass(frozen=True)
class stretched:
    """Rotary positions for a longer context than the one trained on: turn=stretched(llama3())."""

    scaling: Scaling

    def __call__(self, spec: Spec) -> Position:
        return Rotary(spec.d_head, base=spec.base, scaling=self.scaling)
