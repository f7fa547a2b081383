"""Special tokens: what is found in a text before any other rule is asked, and is never split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import regex

SPACE, WORD = regex.compile(r"\p{White_Space}"), regex.compile(r"\w")


@dataclass(frozen=True)
class Added:
    """A token beside what the model learnt, with the settings that tokenizer.json has for one.

    lstrip, rstrip   the spaces before it, or behind it, are part of it
    single_word      it counts only where no letter, digit or _ touches it
    normalized       it is looked for in the normalised text, as what the normaliser makes of it
    special          decoding leaves it out
    behind           it stands behind the model's own vocabulary, so that no other rule can give it
    """

    text: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = True
    behind: bool = False


class Finder:
    """Cuts a text at tokens. Where two begin at one place, the longer is found."""

    def __init__(self, tokens: Iterable[tuple[str, Added]]):
        """`tokens`: what to look for, and the token that it is."""
        self._tokens = dict(tokens)
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = regex.compile("|".join(map(regex.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> Iterator[tuple[int, int, Added | None]]:
        """Stretches that cover the text: begin, end, and the token there, or None for text between tokens."""
        at = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            token, (start, end) = self._tokens[match.group()], match.span()
            if token.single_word and (WORD.match(text[start - 1 : start]) or WORD.match(text[end : end + 1])):
                continue
            while token.lstrip and start > at and SPACE.match(text[start - 1]):
                start -= 1
            while token.rstrip and end < len(text) and SPACE.match(text[end]):
                end += 1
            if at < start:
                yield at, start, None
            yield start, end, token
            at = end
        if at < len(text):
            yield at, len(text), None
