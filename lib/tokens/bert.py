"""BERT's way from a text to words: normalisation that remembers where each character came from, and the cut.

Source: Devlin et al. 2018, arXiv:1810.04805, and the code published with it (tokenization.py).
"""

from __future__ import annotations

import unicodedata
from functools import cache

import regex

WORDS = regex.compile(r"[\p{P}$+<=>^`|~]|[^\s\p{P}$+<=>^`|~]+")
"""A sign by itself, or all up to the next sign or space. ASCII's symbols count as signs."""

HAN = (
    *(range(0x4E00, 0xA000), range(0x3400, 0x4DC0), range(0x20000, 0x2A6E0), range(0x2A700, 0x2B740)),
    *(range(0x2B740, 0x2B820), range(0x2B920, 0x2CEB0), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20)),
)
"""Chinese characters, each a word of its own: the blocks of the `tokenizers` library. (BERT begins one at 0x2B820.)"""


@cache
def normal(character: str, lowercase: bool) -> str:
    """What a character becomes: nothing for a control character, a space for any space, spaces around a Chinese one.

    With `lowercase`, accents go as well: é is e and a combining accent (normal form D), and accents (Mn) are dropped.
    """
    if character in "\t\n\r":
        return " "
    if character in "\x00\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    if character.isspace():
        return " "
    parts = character
    if lowercase:
        decomposed = unicodedata.normalize("NFD", character)
        parts = "".join(part.lower() for part in decomposed if unicodedata.category(part) != "Mn")
    return f" {parts} " if any(ord(character) in block for block in HAN) else parts


def normalise(text: str, lowercase: bool) -> tuple[str, list[int]]:
    """The text that `normal` makes, and for each of its characters the place in `text` that it comes from."""
    parts = [normal(character, lowercase) for character in text]
    return "".join(parts), [i for i, part in enumerate(parts) for _ in part]
