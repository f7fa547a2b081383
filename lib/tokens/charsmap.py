"""SentencePiece's normalisation: a table of strings and what each becomes, packed as a trie ("precompiled charsmap").

It is how T5 and XLM-R turn ﬁ into fi and ① into 1, much as Unicode's NFKC does. The table is bytes: the length of the
trie (4 bytes), the trie, and all replacements in UTF-8, each ended by a zero byte. The trie is a double array, as in
the library darts-clone (Yata): units of 32 bits, with the base of a node's children, the byte on the edge that leads
to it, and whether a string ends there.
"""

from __future__ import annotations

import base64
import binascii
import struct
from functools import lru_cache

import regex

GRAPHEME = regex.compile(r"\X")
LONGEST = 5
"""Bytes of a grapheme that is looked up whole; of a longer one, each character by itself. As in the Rust library."""


class Charsmap:
    """What a table makes of texts."""

    def __init__(self, table: str):
        """`table` in base64, as tokenizer.json has it. Raises ValueError where it is no such table."""
        self.table = table
        try:
            data = base64.b64decode(table, validate=True)
            (size,) = struct.unpack_from("<I", data)
            self._units = struct.unpack_from(f"<{size // 4}I", data, 4)
            self._texts = data[4 + size :]
        except (binascii.Error, struct.error) as error:
            raise ValueError(f"precompiled_charsmap is no table of SentencePiece's: {error}.") from None
        self._lookup = lru_cache(10_000)(self._find)

    def __call__(self, text: str) -> tuple[str, list[int]]:
        """The normalised text, and for each of its characters the place in `text` that it comes from."""
        steps: list[list] = []  # characters, each with how many more (1) or fewer (-n) there are from it on
        for grapheme in GRAPHEME.findall(text):
            whole = self._lookup(grapheme) if len(grapheme.encode("utf-8", "surrogateescape")) <= LONGEST else None
            for part in [grapheme] if whole is not None else grapheme:
                new = self._lookup(part)
                if new is None:
                    steps.append([part, 0])
                    continue
                more = len(new) - len(part)
                steps += [[character, int(i >= len(part))] for i, character in enumerate(new)]
                if more < 0 and steps:  # the last character stands for those that go; nothing at the very beginning
                    steps[-1][1] += more
        places, at = [], 0
        for _, change in steps:
            places.append(max(at - 1, 0) if change > 0 else at)
            at += 0 if change > 0 else 1 - change
        return "".join(character for character, _ in steps), places

    def _find(self, text: str) -> str | None:
        """What the shortest entry that `text` begins with becomes; None where no entry does."""
        node = _children(self._units[0])
        for byte in text.encode("utf-8", "surrogateescape"):
            node ^= byte
            if node >= len(self._units) or self._units[node] & 0x800000FF != byte:
                return None
            unit = self._units[node]
            node ^= _children(unit)
            if unit >> 8 & 1:
                start = self._units[node] & 0x7FFFFFFF
                return self._texts[start : self._texts.index(b"\0", start)].decode()
        return None


def _children(unit: int) -> int:
    """Where a node's children are, relative to it."""
    return unit >> 10 << ((unit & 1 << 9) >> 6)
