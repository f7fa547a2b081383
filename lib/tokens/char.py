"""Characters: the plainest tokenizer. Every character is a piece, and a text is as long as it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lib.tokens.base import Tokenizer
from lib.tokens.files import ANY, by_id, need, settle
from lib.tokens.layout import Run


class Char(Tokenizer):
    """One piece for each character."""

    def __init__(self, pieces: Sequence[str], *, unknown: str | None = None, **shared: Any):
        """`unknown` stands for any character that is no piece; without it such a character is an error."""
        super().__init__(pieces, **shared)
        if unknown is not None and unknown not in self.ids:
            raise ValueError(f"The piece for unknown characters, {unknown!r}, is not in the vocabulary.")
        self.unknown = unknown

    @classmethod
    def train(
        cls, texts: Iterable[str], *, specials: Sequence[str] = (), unknown: str | None = None, **shared: Any
    ) -> Char:
        """The special tokens, then every character of `texts` in the order of Unicode."""
        characters = sorted({character for text in texts for character in text} - {*specials})
        return cls([*specials, *characters], specials=specials, unknown=unknown, **shared)

    def _run(self, text: str, first: bool) -> Run:
        default = None if self.unknown is None else self.ids[self.unknown]
        ids = [self.own.get(character, default) for character in text]
        known = [id for id in ids if id is not None]
        if len(known) < len(ids):
            raise ValueError(
                f"The character {text[ids.index(None)]!r} is not in the vocabulary. Train on texts that have it, or "
                "name a piece for `unknown` characters."
            )
        return known, [(i, i + 1) for i in range(len(text))]

    def _text(self, pieces: list[str]) -> str:
        return "".join(pieces)

    def _file(self) -> dict[str, Any]:
        """The format has no model of characters: this is byte-pair encoding without a merge, and without words."""
        model = {"type": "BPE", "unk_token": self.unknown, "fuse_unk": False, "vocab": self.own, "merges": []}
        return {"normalizer": None, "pre_tokenizer": None, "decoder": {"type": "Fuse"}, "model": model}

    @classmethod
    def _load(cls, saved: dict[str, Any], added: dict[str, int], shared: dict[str, Any]) -> Char:
        model = saved["model"]
        settle(saved.get("normalizer"), "normalizer")
        settle(need(saved, "decoder", "The file"), "decoder", type="Fuse")
        if need(model, "merges", "model"):
            raise ValueError("pre_tokenizer is empty, so that this is a tokenizer of characters; yet model has merges.")
        off = dict.fromkeys(("dropout", "continuing_subword_prefix", "end_of_word_suffix"))
        off |= dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False)
        settle(model, "model", type=ANY, vocab=ANY, merges=ANY, unk_token=ANY, **off)
        return cls(by_id(need(model, "vocab", "model"), added), unknown=model.get("unk_token"), **shared)
