"""Documents: cut into sentences, and kept apart for training and for the test.

What is scored must not have been read. So whole documents go to one side or the other, and since news and web pages are
published in several versions, near copies of a held-out document leave the training side too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import regex

from lib.shapes import require

T = TypeVar("T")

ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof sir st sen rep gov gen col lt sgt capt rev hon jr sr inc ltd co corp plc vs v etc e.g i.e cf "
    "fig al approx dept est jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
"""Words after which a full stop ends no sentence, in small letters and without it."""

END = regex.compile(r"""([.!?]+)["'”’)\]]*(?=\s+["'“‘(\[]*[\p{Lu}\p{N}])""")
"""Signs that may end a sentence, what they close, and behind a space what may begin one."""


def sentences(text: str) -> list[str]:
    """The sentences of an English text, without the space around them. A line break always ends one.

    A full stop ends a sentence where a capital or a number comes next, but not after an abbreviation (`ABBREVIATIONS`),
    one letter (J. Smith) or letters with stops between (U.S.). So "at 5 p.m. He left" stays whole.
    """
    found = []
    for line in text.splitlines():
        start = 0
        for match in END.finditer(line):
            if match.group(1) == "." and _abbreviates(line[start : match.start()]):
                continue
            found.append(line[start : match.end()])
            start = match.end()
        found.append(line[start:])
    return [stripped for sentence in found if (stripped := sentence.strip())]


def _abbreviates(before: str) -> bool:
    """Whether the full stop behind this text belongs to its last word."""
    word = before.rsplit(maxsplit=1)[-1].lstrip("(['\"‘“") if before.strip() else ""
    letters = word.split(".")
    return word.lower() in ABBREVIATIONS or all(len(part) == 1 and part.isalpha() and part != "I" for part in letters)


def split_documents(documents: Sequence[T], share: float, rng: np.random.Generator) -> tuple[list[T], list[T]]:
    """Documents to train on, and `share` of them to score: each goes whole to one side. Both sides keep the order.

    A split by sentences would put half of a story on either side, and the test would ask for what was read.
    ValueError where a side would be empty.
    """
    n = round(len(documents) * share)
    require(0 < n < len(documents), f"share={share} of {len(documents)} documents leaves a side without any")
    held = set(rng.permutation(len(documents))[:n].tolist())
    sides: tuple[list[T], list[T]] = ([], [])
    for i, document in enumerate(documents):
        sides[i in held].append(document)
    return sides


def without_copies(documents: Sequence[str], held: Sequence[str], n: int = 8, most: float = 0.1) -> list[str]:
    """The documents that repeat no held-out one: of a document's runs of n words, at most the share `most` is there.

    A text of fewer than n words counts as one run. In the articles of SetFit/bbc-news 5 to 30% change little: up to 5%
    are phrases that all of them use, and from 30% on it is the same report, published again.
    """
    known = {run for text in held for run in _runs(text, n)}
    return [text for text in documents if len((runs := _runs(text, n)) & known) <= most * len(runs)]


def _runs(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}
