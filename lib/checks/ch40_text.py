"""Checks of 40_tokenizers on what stands around the algorithms: special tokens, and places in the text."""

from __future__ import annotations

import re

from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

LESSON = "of 40_tokenizers"

# 40.7 -----------------------------------------------------------------------------------------------------------------


def cut_at_specials(text: str, specials: list[str]) -> list[tuple[str, bool]]:
    pattern = "|".join(map(re.escape, sorted(specials, key=len, reverse=True)))
    return [(part, part in specials) for part in re.split(f"({pattern})", text) if part]


def _cut_by_hand(text, specials):
    parts, plain, i = [], "", 0
    while i < len(text):
        here = [special for special in specials if text.startswith(special, i)]
        if here:
            parts += [(plain, False)] * bool(plain) + [(max(here, key=len), True)]
            plain, i = "", i + len(max(here, key=len))
        else:
            plain, i = plain + text[i], i + 1
    return parts + [(plain, False)] * bool(plain)


def _split(text, specials, order=lambda s: sorted(s, key=len, reverse=True), escape=re.escape):
    return re.split(f"({'|'.join(map(escape, order(specials)))})", text)


def _in_the_given_order(text, specials):
    return [(part, part in specials) for part in _split(text, specials, list) if part]


def _not_escaped(text, specials):
    parts = _split(text, specials, escape=str)
    return [(part, part in specials) for part in parts if part]


def _drops_the_specials(text, specials):
    return [(part, False) for part in _split(text, specials) if part and part not in specials]


def _keeps_empty_parts(text, specials):
    return [(part, part in specials) for part in _split(text, specials)]


def _strips(text, specials):
    return [(part.strip(), part in specials) for part in _split(text, specials) if part.strip()]


def _first_only(text, specials):
    pattern = "|".join(map(re.escape, sorted(specials, key=len, reverse=True)))
    return [(part, part in specials) for part in re.split(f"({pattern})", text, maxsplit=1) if part]


def _by_words(text, specials):
    """Cuts the text into words first, as if special tokens were text."""
    parts = re.findall(r" ?\w+|[^\w\s]+|\s+", text)
    return [(part, part in specials) for part in parts]


SPECIALS = ["<s>", "<|end|>", "<s>>", "[a]", "<|user|>"]


def _specials_case(rng: Generator) -> tuple:
    others = ["one", " a", "end", "|", "<", "s>", " ", "\n", "[", "a]", "x"]
    drawn = [str(rng.choice(SPECIALS if rng.random() < 0.5 else others)) for _ in range(9)]
    return "".join(["x ", *drawn, "<s>>", "y"]), SPECIALS


# 40.9 -----------------------------------------------------------------------------------------------------------------


def offsets(text: str, sizes: list[int]) -> list[tuple[int, int]]:
    character = [i for i, letter in enumerate(text) for _ in letter.encode()]  # of each byte
    spans, at = [], 0
    for size in sizes:
        spans.append((character[at], character[at + size - 1] + 1))
        at += size
    return spans


def _offsets_by_search(text, sizes):
    begins = [len(text[:i].encode()) for i in range(len(text) + 1)]
    spans, at = [], 0
    for size in sizes:
        start = max(i for i, begin in enumerate(begins) if begin <= at)
        end = min(i for i, begin in enumerate(begins) if begin >= at + size)
        spans.append((start, end))
        at += size
    return spans


def _in_bytes(text, sizes):
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _last_included(text, sizes):
    return [(start, end - 1) for start, end in offsets(text, sizes)]


def _half_characters_end_early(text, sizes):
    """The end is the character that the next byte belongs to, so that a first half gets an empty span."""
    character = [*(i for i, letter in enumerate(text) for _ in letter.encode()), len(text)]
    return [(character[start], character[end]) for start, end in _in_bytes(text, sizes)]


def _by_decoded_length(text, sizes):
    """Adds up the lengths of the decoded tokens: each piece of a character counts as one."""
    data, spans, at, place = text.encode(), [], 0, 0
    for size in sizes:
        n = len(data[at : at + size].decode("utf-8", "replace"))
        spans.append((place, place + n))
        at, place = at + size, place + n
    return spans


def _start_and_length(text, sizes):
    return [(start, end - start) for start, end in offsets(text, sizes)]


def _bytes_case(rng: Generator) -> tuple:
    text = "".join(rng.choice(list("ab é€क🙂"), 8)) + "é🙂z"
    left, sizes = len(text.encode()), []
    while left:
        sizes.append(min(left, int(rng.integers(1, 5))))
        left -= sizes[-1]
    return text, sizes


EXERCISES = [
    Exercise(
        "40.7",
        "Special tokens are never split",
        minutes=12,
        difficulty=2,
        reference=cut_at_specials,
        cases=[
            _specials_case,
            Case("between two texts", "one story<|end|>another", ["<|end|>"]),
            Case("two in a row", "<|end|><|end|>", ["<|end|>"]),
            Case("one is the beginning of another", "a<s>>b<s>c", ["<s>", "<s>>"]),
            Case("none in the text", "no end here", ["<|end|>"]),
            Case("nothing", "", ["<|end|>"]),
        ],
        misconceptions=[
            Misconception(
                "takes the first special token of the list that fits, not the longest",
                _in_the_given_order,
                why="Where <s>> stands, <s> fits too. A regular expression takes its first alternative that fits, so "
                "sort them, the longest first.",
                look=f"Section 7 {LESSON}, 'Special tokens are never split'",
            ),
            Misconception(
                "lets the signs of a special token act as a pattern",
                _not_escaped,
                why="In a regular expression | means *or* and [a] means *the letter a*. re.escape makes them plain.",
                look=f"Section 7 {LESSON}, 'Special tokens are never split'",
            ),
            Misconception(
                "drops the special tokens",
                _drops_the_specials,
                why="They have ids of their own and the model needs them. re.split keeps what stands in a group ( ).",
                look=f"Section 7 {LESSON}, 'Special tokens are never split'",
            ),
            Misconception(
                "keeps empty parts",
                _keeps_empty_parts,
                why="Between two special tokens in a row there is no text; an empty part has no token.",
                look=f"Section 7 {LESSON}, 'Special tokens are never split'",
            ),
            Misconception(
                "strips the spaces around the parts",
                _strips,
                why="Spaces are text. What is dropped here never comes back when the ids are decoded.",
                look=f"Section 7 {LESSON}, 'Everything comes back'",
            ),
            Misconception(
                "cuts at the first special token only",
                _first_only,
                why="A text may hold many, one after each document.",
                look=f"Section 7 {LESSON}, 'Special tokens are never split'",
            ),
            Misconception(
                "cuts the text into words first",
                _by_words,
                why="Then a special token is split like other text, and the model never sees its id. Special tokens "
                "are cut out before any other rule.",
                look=f"Section 7 {LESSON}, 'Special tokens are never split'",
            ),
        ],
        hints=(
            "re.split with a group, as in re.split('(x)', text), keeps what it splits at.",
            "Join the special tokens with |, each through re.escape, the longest first.",
            "[(part, part in specials) for part in re.split(f'({pattern})', text) if part]",
        ),
        alternatives=[_cut_by_hand],
        names=("text", "specials"),
    ),
    Exercise(
        "40.9",
        "Where in the text?",
        minutes=15,
        difficulty=3,
        reference=offsets,
        cases=[
            _bytes_case,
            Case("plain letters", "tokens", [3, 2, 1]),
            Case("a character in four parts", "a🙂b", [1, 1, 1, 1, 1, 1]),
            Case("half of one and half of the next", "éé", [1, 2, 1]),
        ],
        misconceptions=[
            Misconception(
                "gives places in bytes instead of characters",
                _in_bytes,
                why="Python's text[start:end] counts characters. After the first é all places would be wrong.",
                look=f"Section 7 {LESSON}, 'Everything comes back'",
            ),
            Misconception(
                "gives the last character itself as the end",
                _last_included,
                why="The end is one past the last character, as in text[start:end].",
                look=f"Section 7 {LESSON}, 'Everything comes back'",
            ),
            Misconception(
                "ends a token that stops inside a character before that character",
                _half_characters_end_early,
                why="A character that was cut belongs to each of its tokens: the end is one past the character of the "
                "token's *last* byte.",
                look=f"Section 7 {LESSON}, 'Everything comes back'",
            ),
            Misconception(
                "adds up the lengths of the decoded tokens",
                _by_decoded_length,
                why="A token that is a part of a character decodes to a � of length 1, so that one character would "
                "count several times.",
                look=f"Section 7 {LESSON}, 'Everything comes back'",
            ),
            Misconception(
                "returns the start and the length",
                _start_and_length,
                why="A span is its start and its end.",
                look=f"Section 7 {LESSON}, 'Everything comes back'",
            ),
        ],
        hints=(
            "Which character does each *byte* of the text belong to? Write that list for 'aé'.",
            "character = [i for i, letter in enumerate(text) for _ in letter.encode()]; then look at the first and "
            "the last byte of each token.",
            "spans.append((character[at], character[at + size - 1] + 1)); at += size",
        ),
        alternatives=[_offsets_by_search],
        names=("text", "sizes"),
    ),
]
