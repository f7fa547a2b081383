"""Byte-level byte-pair encoding, as in GPT-2: no text is unknown, since its bytes are all in the vocabulary.

A text is cut into words by a pattern, a word into bytes, and the bytes are merged in the order learnt. Source: Radford
et al. 2019, "Language models are unsupervised multitask learners", section 2.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import regex

from lib.tokens.base import Tokenizer
from lib.tokens.files import ANY, by_id, need, settle
from lib.tokens.layout import Run, Span
from lib.tokens.merges import apply, learn

WORDS = regex.compile(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
"""GPT-2's words: an English ending; letters, digits or signs with the space before them; what is left of the spaces."""


def _letters() -> list[str]:
    """A visible character for each byte: itself where it has one, else one from U+0100 on. (Spaces become Ġ.)"""
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


LETTERS = _letters()
BYTES = {letter: byte for byte, letter in enumerate(LETTERS)}


class BPE(Tokenizer):
    """Byte-level BPE. Pieces are written in LETTERS, one character for each byte."""

    def __init__(self, pieces: Sequence[str], merges: Iterable[tuple[str, str]], **shared: Any):
        """`merges` in order of rank; for `shared` see Tokenizer.

        Raises ValueError where a byte has no piece, and for a merge of, or into, what is not a piece.
        """
        super().__init__(pieces, **shared)
        missing = [f"{BYTES[letter]:#04x}" for letter in LETTERS if letter not in self.ids]
        if missing:
            raise ValueError(
                f"A byte-level vocabulary needs a piece for each of the 256 bytes; it lacks {len(missing)}, the first "
                f"being {missing[0]}. In the `tokenizers` library, train with initial_alphabet=ByteLevel.alphabet()."
            )
        self.merges = list(merges)
        self._ranks: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, (left, right) in enumerate(self.merges):
            for piece in (left, right, left + right):
                if piece not in self.ids:
                    raise ValueError(f"Merge {rank} is {left!r} + {right!r}, but {piece!r} is not in the vocabulary.")
            self._ranks[self.ids[left], self.ids[right]] = rank, self.ids[left + right]
        self._bytes = [self.ids[letter] for letter in LETTERS]

    @classmethod
    def train(
        cls, texts: Iterable[str], n_vocab: int, *, specials: Sequence[str] = (), least: int = 0, **shared: Any
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
        totals = Counter(word for text in texts for word in WORDS.findall(text))
        ids = {piece: i for i, piece in enumerate(pieces)}
        words = [[ids[LETTERS[byte]] for byte in word.encode()] for word in totals]
        merges = [(pieces[a], pieces[b]) for a, b in learn(words, list(totals.values()), pieces, n_vocab, least)]
        return cls(pieces, merges, specials=specials, **shared)

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, also of such as are no UTF-8; `decode_bytes` gives exactly them back."""
        return self._cut(data.decode("utf-8", "surrogateescape"))[0]

    def decode_bytes(self, ids: Iterable[int], *, special: bool = True) -> bytes:
        """The bytes of some ids. Raises ValueError for an unknown id."""
        return b"".join(
            piece.encode() if piece in self.specials else bytes(BYTES[letter] for letter in piece)
            for piece in self._known(ids, special)
        )

    def _run(self, text: str) -> Run:
        ids: list[int] = []
        offsets: list[Span] = []
        at = 0
        for word in WORDS.findall(text):
            found = self._cache.get(word) or self._remember(word)
            ids += found[0]
            for start, end in found[1]:
                offsets.append((at + start, at + end))
            at += len(word)
        return ids, offsets

    def _word(self, word: str) -> Run:
        """The ids of one word and their spans; a character cut into several pieces belongs to each of them."""
        sizes = [len(character.encode("utf-8", "surrogateescape")) for character in word]
        character = [i for i, n in enumerate(sizes) for _ in range(n)]  # of each byte
        ids = apply([self._bytes[byte] for byte in word.encode("utf-8", "surrogateescape")], self._ranks)
        spans, at = [], 0
        for id in ids:
            end = at + len(self.pieces[id])
            spans.append((character[at], character[end - 1] + 1))
            at = end
        return ids, spans

    def _text(self, pieces: list[str]) -> str:
        """Bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(map(self.id_of, pieces)).decode("utf-8", "replace")

    def _file(self) -> dict[str, Any]:
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
        model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
        model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
        model |= {"vocab": self.ids, "merges": [list(pair) for pair in self.merges]}
        return {"normalizer": None, "pre_tokenizer": level, "decoder": level, "model": model}

    @classmethod
    def _load(cls, saved: dict[str, Any], added: dict[str, int], shared: dict[str, Any]) -> BPE:
        model = saved["model"]
        settle(saved.get("normalizer"), "normalizer")
        for part in ("pre_tokenizer", "decoder"):
            section = need(saved, part, "The file")
            if (kind := need(section, "type", part)) != "ByteLevel":
                raise ValueError(f"{part} is {kind!r}; a BPE of lib.tokens works on bytes: ByteLevel.")
            space = False if part == "pre_tokenizer" else ANY
            settle(section, part, type=ANY, trim_offsets=ANY, use_regex=True, add_prefix_space=space)
        rest = {key: value for key, value in model.items() if key not in ("type", "vocab", "merges", "cache_capacity")}
        none = dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
        settle(rest, "model", **none, fuse_unk=ANY, byte_fallback=False, ignore_merges=False)
        merges = []
        for rank, pair in enumerate(need(model, "merges", "model")):
            halves = pair.split(" ") if isinstance(pair, str) else pair  # the older form of the file, and the newer
            if len(halves) != 2:
                raise ValueError(f"Merge {rank} should be two pieces; it is {pair!r}.")
            merges.append((halves[0], halves[1]))
        return cls(by_id(need(model, "vocab", "model"), added), merges, **shared)
