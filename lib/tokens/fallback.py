"""Byte-pair encoding over characters, with bytes for those that are no piece: SentencePiece's, of Llama and Llama 2.

Spaces are written ▁, a text is one long word, and a character that the vocabulary lacks becomes the pieces of its
bytes, <0xE2> and so on. Training is not here: lib.tokens.bpe is the byte-pair encoding that the course trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lib.tokens.base import Tokenizer
from lib.tokens.files import ANY, by_id, pairs, parts, settle
from lib.tokens.layout import Run, Span, one_of
from lib.tokens.merges import apply, ranks

SPACE = "▁"
BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}


class FallbackBPE(Tokenizer):
    """BPE over the characters of a whole text."""

    def __init__(
        self, pieces: Sequence[str], merges: Iterable[tuple[str, str]], *, space: str = "first", **shared: Any
    ):
        """`merges` in order of rank; for `shared` see Tokenizer.

        space   where a ▁ is put in front, as if a space stood there: "first", of the text only; "always", also behind
                special tokens; both not before a space; "normal", always and even before a space; "never"

        Raises ValueError where a byte has no piece, and for a merge of, or into, what is no piece.
        """
        one_of(space, "space", "first", "always", "normal", "never")
        super().__init__(pieces, **shared)
        self.merges, self.space = list(merges), space
        missing = [piece for piece in BYTES if piece not in self.ids]
        if missing:
            raise ValueError(f"The vocabulary should have a piece for each byte; it lacks {missing[0]!r}.")
        self._ranks = ranks(self.merges, self.ids)
        self._bytes = [self.ids[piece] for piece in BYTES]

    def _normal(self, text: str) -> tuple[str, list[int] | None]:
        if self.space != "normal" or not text:
            return text, None
        return SPACE + text.replace(" ", SPACE), [0, *range(len(text))]

    def _run(self, text: str, first: bool) -> Run:
        word = text.replace(" ", SPACE)
        added = (self.space == "always" or (self.space == "first" and first)) and not word.startswith(SPACE)
        word = SPACE * added + word
        ids, ends = [], []
        for end, character in enumerate(word, 1):
            id = self.own.get(character)
            new = [self._bytes[byte] for byte in character.encode()] if id is None else [id]
            ids += new
            ends += [end] * len(new)
        return self._merged(ids, ends, added)

    def _merged(self, ids: list[int], ends: list[int], added: bool) -> Run:
        spans: list[Span] = []
        at, found = 0, apply(ids, self._ranks)
        for id in found:
            piece = self.pieces[id]
            start, at = at, at + (1 if piece in BYTES else len(piece))
            spans.append((max(ends[start] - 1 - added, 0), max(ends[at - 1] - added, 1)))
        return found, spans

    def _text(self, pieces: list[str]) -> str:
        """▁ becomes a space, but for one at the beginning; bytes that are no UTF-8 become U+FFFD, each of them."""
        text, data = "", b""
        for piece in [*pieces, ""]:
            if piece in BYTES:
                data += bytes([BYTES[piece]])
                continue
            if data:
                try:
                    text += data.decode()
                except UnicodeDecodeError:
                    text += "\ufffd" * len(data)
                data = b""
            text += piece.replace(SPACE, " ")
        return text if self.space == "never" else text.removeprefix(" ")

    def _file(self) -> dict[str, Any]:
        model = {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": True, "byte_fallback": True}
        model |= {"ignore_merges": False, "vocab": self.own, "merges": [list(pair) for pair in self.merges]}
        mark = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
        normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, mark]}
        space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": self.space, "split": False}
        decoders = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}]
        decoders += [{"type": "ByteFallback"}, {"type": "Fuse"}]
        if self.space != "never":
            decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        return {
            "normalizer": normalizer if self.space == "normal" else None,
            "pre_tokenizer": None if self.space == "normal" else space,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": model,
        }

    @classmethod
    def _load(cls, saved: dict[str, Any], added: dict[str, int], shared: dict[str, Any]) -> FallbackBPE:
        model, normalizer = saved["model"], parts(saved, "normalizer")
        if normalizer:
            settle(saved.get("pre_tokenizer"), "pre_tokenizer")
            space = "normal"
        else:
            space = next((part.get("prepend_scheme", "never") for part in parts(saved, "pre_tokenizer")), "never")
        tokenizer = cls(by_id(model["vocab"], added), pairs(model), space=space, **shared)
        ours = tokenizer._file()
        for part in ("normalizer", "pre_tokenizer", "decoder"):
            if parts(saved, part) != parts(ours, part):
                known = [section["type"] for section in parts(ours, part)]
                raise ValueError(f"{part} is {parts(saved, part)}; beside byte_fallback, lib.tokens does {known}.")
        own = dict.fromkeys(("type", "vocab", "merges", "unk_token", "fuse_unk", "byte_fallback"), ANY)
        none = dict.fromkeys(("dropout", "continuing_subword_prefix", "end_of_word_suffix"))
        settle(model, "model", **own, **none, ignore_merges=False)
        return tokenizer
