"""What stands around the pieces of a text: special tokens in a template, truncation before, padding after."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

Span = tuple[int, int]
"""First character and one past the last, in the text that was given."""

Run = tuple[list[int], list[Span]]
"""A text before anything is put around it: the ids of its pieces, and their spans."""


@dataclass
class Encoding:
    """A text, or a pair, as a model takes it. The lists are of one length; entry i is about piece i."""

    ids: list[int] = field(default_factory=list)
    offsets: list[Span] = field(default_factory=list)  # (0, 0) for a piece that comes from no text
    types: list[int] = field(default_factory=list)  # 0 in the first text, 1 in the second, as the template says
    special: list[int] = field(default_factory=list)  # 1 where the template or padding put the piece
    mask: list[int] = field(default_factory=list)  # 1 for what a model shall look at, 0 for padding
    overflowing: list[Encoding] = field(default_factory=list)  # what truncation took away, cut to the same length

    def __len__(self) -> int:
        return len(self.ids)


def one_of(value: str, name: str, *known: str) -> None:
    """Raise ValueError unless `value` is one of those known."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}; known are {', '.join(known)}.")


class Template:
    """Where special tokens stand around one text and around a pair, as words with spaces between.

    Template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")     BERT's; `:1` gives a piece type 1 in place of 0
    """

    def __init__(self, single: str = "$A", pair: str = "$A $B:1"):
        self.single, self.pair = self._parse(single, "$A"), self._parse(pair, "$A", "$B")

    @staticmethod
    def _parse(text: str, *texts: str) -> list[tuple[str, int]]:
        items = []
        for word in text.split():
            name, number = match.groups() if (match := re.fullmatch(r"(.+):(\d+)", word)) else (word, 0)
            items.append((name, int(number)))
        found = sorted(name for name, _ in items if name in ("$A", "$B"))
        if found != list(texts):
            raise ValueError(f"The template {text!r} should hold each of {', '.join(texts)} once; it holds {found}.")
        return items

    def names(self) -> list[str]:
        """The special tokens it puts in."""
        return list(dict.fromkeys(name for name, _ in self.single + self.pair if name not in ("$A", "$B")))

    def n_special(self, pair: bool) -> int:
        """How many pieces it adds to one text, or to a pair."""
        return len(self.pair) - 2 if pair else len(self.single) - 1

    def __call__(self, runs: list[list[Run]], id_of: Callable[[str], int], special: bool) -> Encoding:
        """One run or two, each in parts as Truncation leaves them: the first parts, with all others as overflowing.

        Of a pair, what overflows of either text comes with every part of the other, in the order of the Rust library.
        """
        first, *rest = runs
        ways = [[part] for part in first]
        if rest:
            swap = next(name for name, _ in self.pair if name in ("$A", "$B")) == "$B"
            outer, inner = (rest[0], first) if swap else (first, rest[0])
            pairs = [*product(outer[:1], inner[:1]), *product(outer[1:], inner), *product(outer[:1], inner[1:])]
            ways = [[b, a] if swap else [a, b] for a, b in pairs]
        whole, *overflowing = [self._fill(way, id_of, special) for way in ways]
        whole.overflowing = overflowing
        return whole

    def _fill(self, runs: list[Run], id_of: Callable[[str], int], special: bool) -> Encoding:
        """One run or two in their places; the special tokens between them only if `special`."""
        texts: dict[str, Run] = dict(zip(("$A", "$B"), runs, strict=False))
        out = Encoding()
        for name, kind in self.pair if len(runs) == 2 else self.single:
            if not special and name not in texts:
                continue
            ids, offsets = texts.get(name) or ([id_of(name)], [(0, 0)])
            out.ids += ids
            out.offsets += offsets
            out.types += [kind] * len(ids)
            out.special += [int(name not in texts)] * len(ids)
            out.mask += [1] * len(ids)
        return out


@dataclass(frozen=True)
class Truncation:
    """At most `length` pieces, special tokens counted.

    strategy    longest_first cuts the longer text of a pair first; only_first and only_second cut that one alone
    side        the end at which pieces go: right or left
    stride      how many pieces two neighbouring parts of a text share: the one that is kept, and those that overflow
    """

    length: int
    strategy: str = "longest_first"
    side: str = "right"
    stride: int = 0

    def __post_init__(self) -> None:
        one_of(self.strategy, "strategy", "longest_first", "only_first", "only_second")
        one_of(self.side, "side", "right", "left")
        if self.length < 1:
            raise ValueError(f"Truncation leaves at least one piece; length is {self.length}.")
        if self.stride < 0:
            raise ValueError(f"The stride of truncation is 0 or more; it is {self.stride}.")

    def __call__(self, runs: list[Run], n_special: int) -> list[list[Run]]:
        """Each run in parts: first what is kept, so short that all and the special tokens fit, then what overflows.

        Raises ValueError where that cannot be.
        """
        room, sizes = self.length - n_special, [len(ids) for ids, _ in runs]
        if room < 0:
            raise ValueError(f"Truncation to {self.length} leaves no room for {n_special} special tokens.")
        if sum(sizes) <= room:
            return [[run] for run in runs]
        return [self._parts(run, size) for run, size in zip(runs, self._sizes(sizes, room), strict=True)]

    def _sizes(self, sizes: list[int], room: int) -> list[int]:
        if room == 0:  # the template alone fills the length: nothing of any text is left, whatever the strategy
            return [0] * len(sizes)
        if self.strategy == "longest_first":
            if len(sizes) == 1:
                return [room]
            short = min(sizes)
            if 2 * short > room:  # both are longer than half: halves, and the longer text takes an odd one
                short = room // 2
            return [short, room - short] if sizes[0] <= sizes[1] else [room - short, short]
        which = 0 if self.strategy == "only_first" else 1
        if which >= len(sizes):
            raise ValueError("Truncation 'only_second' needs a pair; one text was given.")
        keep = room - sum(sizes) + sizes[which]
        if keep < 1:
            raise ValueError(
                f"Truncation {self.strategy!r} to {self.length} cannot be done: the other text alone is too long. "
                "Use 'longest_first', or a greater length."
            )
        return [keep if i == which else size for i, size in enumerate(sizes)]

    def _parts(self, run: Run, size: int) -> list[Run]:
        ids, offsets = run
        n = len(ids)
        if size >= n:
            return [run]
        if size == 0:
            return [([], []), run]
        if self.stride >= size:
            raise ValueError(
                f"A stride of {self.stride} needs longer parts; truncation leaves {size} pieces of a text."
            )
        step = size - self.stride
        if self.side == "right":
            parts = [slice(start, start + size) for start in range(0, n - self.stride, step)]
        else:
            parts = [slice(max(stop - size, 0), stop) for stop in range(n, self.stride, -step)]
        return [(ids[part], offsets[part]) for part in parts]


@dataclass(frozen=True)
class Padding:
    """Filling with `piece` up to `length`, or to the longest of a batch; the result rounded up to a `multiple`."""

    piece: str
    length: int | None = None
    side: str = "right"
    multiple: int | None = None
    kind: int = 0  # the type of the filling

    def __post_init__(self) -> None:
        one_of(self.side, "side", "right", "left")
        if self.multiple is not None and self.multiple < 1:
            raise ValueError(f"Padding goes to a multiple of 1 or more; multiple is {self.multiple}.")

    def __call__(self, batch: list[Encoding], id: int) -> None:
        """Fill each encoding and what overflows of it, in place."""
        length = self.length if self.length is not None else max(map(len, batch), default=0)
        if self.multiple:
            length = -(-length // self.multiple) * self.multiple
        for row in [part for whole in batch for part in (whole, *whole.overflowing)]:
            n = length - len(row)
            for name, filling in (("ids", id), ("offsets", (0, 0)), ("types", self.kind), ("special", 1), ("mask", 0)):
                column = getattr(row, name)
                setattr(row, name, column + [filling] * n if self.side == "right" else [filling] * n + column)
