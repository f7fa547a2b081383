"""Pieces of text as whole numbers, and rows of unequal length as one table.

vocabulary = Vocabulary.of(rows, least=2)      every piece that comes at least twice, after the four special ones
ids = pad([vocabulary.encode(row) for row in rows])
vocabulary.decode(ids[0])                      pieces up to the first EOS, without padding
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

PAD, BOS, EOS, UNK = range(4)
"""Ids with a meaning of their own: filling, begin, end, and any piece that is not in the vocabulary."""

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


def pieces(text: str) -> list[str]:
    """Words, single digits and single signs, without the spaces between them: '3rd of May' -> 3, rd, of, May."""
    return re.findall(r"[^\W\d_]+|\d|[^\w\s]|_", text)


@dataclass(frozen=True)
class Vocabulary:
    """A list of pieces and, for each, its place in the list. The first four are special."""

    symbols: tuple[str, ...]
    ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.symbols[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"A vocabulary begins with {SPECIAL}; this one with {self.symbols[: len(SPECIAL)]}.")
        ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        if len(ids) < len(self.symbols):
            twice = [symbol for symbol, n in Counter(self.symbols).items() if n > 1]
            raise ValueError(f"Each piece may stand in a vocabulary once; found more than once: {twice[:5]}.")
        object.__setattr__(self, "ids", ids)

    @classmethod
    def of(cls, rows: Iterable[Sequence[str]], least: int = 1) -> Vocabulary:
        """Every piece that occurs at least `least` times in `rows`, the commonest first, ties in alphabetical order."""
        counts = Counter(piece for row in rows for piece in row)
        return cls(
            SPECIAL + tuple(p for p, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= least)
        )

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, row: Iterable[str]) -> list[int]:
        """The ids of some pieces; UNK for one that is not in the vocabulary."""
        return [self.ids.get(piece, UNK) for piece in row]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The pieces up to the first EOS, without PAD and BOS."""
        row = []
        for i in map(int, ids):
            if i == EOS:
                break
            if i not in (PAD, BOS):
                row.append(self.symbols[i])
        return row


def pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of ids as one table, each filled with PAD to the longest. Returns int64 (n, longest)."""
    longest = max((len(row) for row in rows), default=0)
    table = torch.full((len(rows), longest), PAD)
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
    return table
