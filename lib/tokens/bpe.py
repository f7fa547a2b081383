"""Byte-level byte-pair encoding, as in GPT-2: no text is unknown, since its bytes are all in the vocabulary.

A text is cut into words by a pattern, a word into bytes, and the bytes are merged in the order learnt. Source: Radford
et al. 2019, "Language models are unsupervised multitask learners", section 2.2. What RoBERTa, SmolLM2 and Llama 3 do
otherwise is a setting of BPE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import regex

from lib.tokens.base import Tokenizer
from lib.tokens.files import ANY, by_id, flag, need, pairs, parts, post_processor, settle
from lib.tokens.layout import Run, Span
from lib.tokens.merges import apply, learn, ranks

GPT2 = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's words: an English ending; letters, digits or signs with the space before them; what is left of the spaces."""


def _letters() -> list[str]:
    """A visible character for each byte: itself where it has one, else one from U+0100 on. (Spaces become Ġ.)"""
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


LETTERS = _letters()
BYTES = {letter: byte for byte, letter in enumerate(LETTERS)}
RARE = {*range(32), *range(0xC0, 256)}
"""Control characters, and what begins a character of UTF-8 or is not in UTF-8 at all."""


@cache
def splitter(pattern: str) -> Callable[[str], list[str]]:
    """A function that cuts a text into all that a pattern matches and all that lies between, in order.

    Raises ValueError for a pattern that cannot be read, has groups, or matches where nothing is.
    """
    try:
        found = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"The pattern {pattern!r} for words cannot be read: {error}.") from None
    if found.groups or found.fullmatch(""):
        raise ValueError(f"The pattern {pattern!r} for words should have no groups, and match no empty text.")
    return regex.compile(f"(?:{pattern})|(?:(?!{pattern})(?s:.))+").findall


def cut(text: str, splits: Iterable[str], prefix_space: bool) -> list[str]:
    """The words of a text; see BPE."""
    words = [f" {text}" if prefix_space and not text.startswith(" ") else text]
    for split in map(splitter, splits):
        words = [part for word in words for part in split(word)]
    return words


class BPE(Tokenizer):
    """Byte-level BPE. Pieces are written in LETTERS, one character for each byte."""

    def __init__(
        self,
        pieces: Sequence[str],
        merges: Iterable[tuple[str, str]],
        *,
        splits: Sequence[str] = (GPT2,),
        prefix_space: bool = False,
        trim: bool = False,
        ignore_merges: bool = False,
        partial: bool = False,
        **shared: Any,
    ):
        """`merges` in order of rank; for `shared` see Tokenizer.

        splits          patterns, one after the other: what one matches is a word, and so is what lies between
        prefix_space    a text is read as if it began with a space
        trim            spans leave out the spaces at a word's ends
        ignore_merges   a word that is a piece is that piece, whatever the merges make of it
        partial         RARE bytes may lack a piece, as 21 do in SmolLM2's vocabulary; they leave no trace in the ids

        Raises ValueError where any other byte has no piece, and for a merge of, or into, what is no piece.
        """
        super().__init__(pieces, **shared)
        self.splits, self.prefix_space, self.trim = tuple(splits), prefix_space, trim
        if prefix_space and self.splits != (GPT2,):
            raise ValueError("prefix_space goes with GPT-2's words alone; leave `splits` as it is.")
        self.ignore_merges = ignore_merges
        self._bytes = [self.ids.get(letter) for letter in LETTERS]
        allowed = RARE if partial else ()
        missing = [f"{byte:#04x}" for byte, id in enumerate(self._bytes) if id is None and byte not in allowed]
        if missing:
            raise ValueError(
                f"A byte-level vocabulary needs a piece for each of the 256 bytes; it lacks {len(missing)}, the first "
                f"being {missing[0]}. In the `tokenizers` library, train with initial_alphabet=ByteLevel.alphabet()."
            )
        self.merges = list(merges)
        self._ranks = ranks(self.merges, self.ids)
        for pattern in self.splits:
            splitter(pattern)  # so that one that cannot be used is refused now

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        n_vocab: int,
        *,
        specials: Sequence[str] = (),
        least: int = 0,
        splits: Sequence[str] = (GPT2,),
        prefix_space: bool = False,
        **shared: Any,
    ) -> BPE:
        """Learn merges until there are `n_vocab` pieces: specials, 256 bytes, merges. `least`: a pair's least count.

        Raises ValueError when `n_vocab` leaves no room for the specials and the bytes.
        """
        pieces = [*specials, *sorted(LETTERS)]
        if n_vocab < len(pieces):
            raise ValueError(
                f"A vocabulary of {n_vocab} pieces is too small: {len(specials)} special tokens and 256 bytes come "
                f"first. Ask for {len(pieces)} or more."
            )
        totals = Counter(word for text in texts for word in cut(text, splits, prefix_space))
        ids = {piece: i for i, piece in enumerate(pieces)}
        words = [[ids[LETTERS[byte]] for byte in word.encode()] for word in totals]
        merges = [(pieces[a], pieces[b]) for a, b in learn(words, list(totals.values()), pieces, n_vocab, least)]
        return cls(pieces, merges, specials=specials, splits=splits, prefix_space=prefix_space, **shared)

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, also of such as are no UTF-8; `decode_bytes` gives exactly them back.

        Raises ValueError for a byte without a piece.
        """
        if lost := [byte for byte in sorted(set(data)) if self._bytes[byte] is None]:
            raise ValueError(f"This vocabulary has no piece for the byte {lost[0]:#04x}.")
        return self._cut(data.decode("utf-8", "surrogateescape"))[0]

    def decode_bytes(self, ids: Iterable[int], *, special: bool = True) -> bytes:
        """The bytes of some ids. Raises ValueError for an unknown id."""
        return b"".join(
            piece.encode() if piece in self.added else bytes(BYTES[letter] for letter in piece)
            for piece in self._known(ids, special)
        )

    def sample(self, text: str, p_dropout: float, rng: np.random.Generator) -> list[int]:
        """The ids of one way to cut a text: each time a merge is looked for, each candidate drops out with p_dropout.

        With 0 it is how `encode` cuts, with 1 every byte is a piece. No special token of the text is seen. Source:
        Provilkov et al. 2020, "BPE-dropout", arXiv:1910.13267, algorithm 1.
        """
        if not 0 <= p_dropout <= 1:
            raise ValueError(f"p_dropout is a probability, between 0 and 1; it is {p_dropout}.")
        words = [self._places(word)[0] for word in cut(text, self.splits, self.prefix_space)]
        return [id for word in words for id in apply(word, self._ranks, lambda: rng.random() < p_dropout)]

    def _run(self, text: str, first: bool) -> Run:
        ids: list[int] = []
        offsets: list[Span] = []
        at = 0
        for word in cut(text, self.splits, self.prefix_space):
            found = self._cache.get(word) or self._remember(word)
            ids += found[0]
            for start, end in found[1]:
                offsets.append((at + start, at + end))
            at += len(word)
        if at > len(text):  # the first space is none of the text's
            offsets = [(max(start - 1, 0), max(end - 1, 1)) for start, end in offsets]
        return ids, offsets

    def _trim(self, run: Run, text: str) -> Run:
        if not self.trim:
            return run
        offsets = []
        for i, (id, (start, end)) in enumerate(zip(*run, strict=True)):
            piece = self.pieces[id]
            shown = text[start:end] if piece in self.added else piece.replace(LETTERS[ord(" ")], " ")
            before, behind = len(shown) - len(shown.lstrip()), len(shown) - len(shown.rstrip())
            if self.prefix_space and before == 1 and i == 0:
                before = 0  # that space may never have been in the text
            start = min(start + before, end)
            offsets.append((start, max(end - behind, start) if end >= behind else end))
        return run[0], offsets

    def _places(self, word: str) -> tuple[list[int], list[int]]:
        """The ids of a word's bytes, and the character that each is of."""
        places, data = [], word.encode("utf-8", "surrogateescape")
        if len(data) == len(word):
            places = list(range(len(data)))
        else:
            sizes = [len(character.encode("utf-8", "surrogateescape")) for character in word]
            places = [i for i, n in enumerate(sizes) for _ in range(n)]
        known = [(id, place) for byte, place in zip(data, places, strict=True) if (id := self._bytes[byte]) is not None]
        return [id for id, _ in known], [place for _, place in known]

    def _word(self, word: str) -> Run:
        """The ids of one word and their spans; a character cut into several pieces belongs to each of them."""
        if self.ignore_merges:
            letters = "".join(LETTERS[byte] for byte in word.encode("utf-8", "surrogateescape"))
            if (id := self.own.get(letters)) is not None:
                return [id], [(0, len(word))]
        letters, places = self._places(word)
        ids = apply(letters, self._ranks)
        spans, at = [], 0
        for id in ids:
            end = at + len(self.pieces[id])
            spans.append((places[at], places[end - 1] + 1))
            at = end
        return ids, spans

    def _text(self, pieces: list[str]) -> str:
        """Bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(map(self.id_of, pieces)).decode("utf-8", "replace")

    def _file(self) -> dict[str, Any]:
        level = {"type": "ByteLevel", "add_prefix_space": self.prefix_space, "trim_offsets": self.trim}
        words = {**level, "use_regex": True}
        if self.splits != (GPT2,):
            split = {"type": "Split", "behavior": "Isolated", "invert": False}
            steps = [{**split, "pattern": {"Regex": pattern}} for pattern in self.splits]
            words = {"type": "Sequence", "pretokenizers": [*steps, {**level, "use_regex": False}]}
        model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
        model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False}
        model |= {"ignore_merges": self.ignore_merges}
        model |= {"vocab": self.own, "merges": [list(pair) for pair in self.merges]}
        file = {"normalizer": None, "pre_tokenizer": words, "decoder": {**level, "use_regex": True}, "model": model}
        if self.trim:
            file["post_processor"] = {"type": "Sequence", "processors": [level, post_processor(self)]}
        return file

    @classmethod
    def _load(cls, saved: dict[str, Any], added: dict[str, int], shared: dict[str, Any]) -> BPE:
        settle(saved.get("normalizer"), "normalizer")
        *before, level = parts(saved, "pre_tokenizer") or [{}]
        if (kind := need(level, "type", "pre_tokenizer")) != "ByteLevel":
            raise ValueError(f"pre_tokenizer is {kind!r}; a BPE of lib.tokens works on bytes: ByteLevel.")
        settle(level, "pre_tokenizer", type=ANY, trim_offsets=ANY, use_regex=ANY, add_prefix_space=ANY)
        splits = [pattern(part) for part in before] + [GPT2] * flag(level, "use_regex", "pre_tokenizer", True)
        space = flag(level, "add_prefix_space", "pre_tokenizer", True)
        decoder = need(saved, "decoder", "The file")
        settle(decoder, "decoder", type="ByteLevel", trim_offsets=ANY, use_regex=ANY, add_prefix_space=ANY)
        trim = False
        for part in parts(saved, "post_processor"):
            if flag(part, "trim_offsets", "post_processor"):
                settle({"add_prefix_space": part.get("add_prefix_space")}, "post_processor", add_prefix_space=space)
                trim = True
        model = saved["model"]
        none = dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
        rest = {key: value for key, value in model.items() if not (key in none and value == "")}
        own = dict.fromkeys(("type", "vocab", "merges", "cache_capacity", "fuse_unk", "ignore_merges"), ANY)
        settle(rest, "model", **none, **own, byte_fallback=False)
        choices = {"prefix_space": space, "trim": trim, "ignore_merges": flag(model, "ignore_merges", "model")}
        pieces = by_id(need(model, "vocab", "model"), added)
        return cls(pieces, pairs(model), splits=splits, partial=True, **choices, **shared)


def pattern(part: dict[str, Any]) -> str:
    """The pattern of a step of pre_tokenizer that cuts words."""
    kind = need(part, "type", "pre_tokenizer")
    if kind == "Digits":
        settle(part, "pre_tokenizer", type=ANY, individual_digits=ANY)
        return r"\p{N}" if flag(part, "individual_digits", "pre_tokenizer") else r"\p{N}+"
    if kind != "Split":
        raise ValueError(f"pre_tokenizer has {kind!r} before ByteLevel; lib.tokens does Split and Digits there.")
    settle(part, "pre_tokenizer", type=ANY, pattern=ANY, behavior="Isolated", invert=False)
    return need(need(part, "pattern", "pre_tokenizer"), "Regex", "pre_tokenizer.pattern")
