"""What every tokenizer shares. A kind of tokenizer adds three things: `_run`, `_text` and its part of the file.

    tokenizer = BPE.train(texts, 8_000, specials=["<|end|>"])
    encoding = tokenizer.encode("To be, or not to be")       ids, offsets, types, special, mask
    tokenizer.decode(encoding.ids)
    tokenizer.save("tokenizer.json")                         the Hugging Face format; lib.tokens.load.load reads it

A text is first cut at the special tokens it contains, so that no other rule ever splits one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from lib.tokens.files import save
from lib.tokens.layout import Encoding, Padding, Run, Template, Truncation

N_CACHE, LONGEST_CACHED = 100_000, 100
"""Words a tokenizer remembers, and the longest of them in characters: texts repeat their words, not their long ones."""


class Tokenizer:
    """Pieces with their ids, and the way between them and text."""

    def __init__(
        self,
        pieces: Sequence[str],
        *,
        specials: Sequence[str] = (),
        template: Template | None = None,
        truncation: Truncation | None = None,
        padding: Padding | None = None,
    ):
        """`pieces[i]` has id i; `specials` are those among them that are never split.

        Raises ValueError where a piece comes twice, and where a special token, one of the template or the padding is
        not among the pieces.
        """
        self.pieces = list(pieces)
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        if len(self.ids) < len(self.pieces):
            twice = [piece for piece, n in Counter(self.pieces).items() if n > 1]
            raise ValueError(f"Each piece may stand in a vocabulary once; found more than once: {twice[:5]}.")
        self.specials = list(dict.fromkeys(specials))
        self.template = template or Template()
        self.truncation, self.padding = truncation, padding
        self._cache: dict[str, Run] = {}
        if "" in self.specials:
            raise ValueError("A special token cannot be the empty text.")
        for special in self.specials:
            if special not in self.ids:
                raise ValueError(f"The special token {special!r} is not in the vocabulary. Train with it, or add it.")
        for name in self.template.names():
            if name not in self.specials:
                raise ValueError(f"The template puts in {name!r}, which is not one of the specials {self.specials}.")
        if padding and padding.piece not in self.ids:
            raise ValueError(f"Padding uses {padding.piece!r}, which is not in the vocabulary.")
        longest_first = sorted(self.specials, key=len, reverse=True)
        self._cuts = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    # What a kind of tokenizer is.

    def _run(self, text: str) -> Run:
        """The ids and spans of a text that holds no special token."""
        raise NotImplementedError

    def _word(self, word: str) -> Run:
        """The ids and spans of one word, for a kind whose `_run` goes by words and remembers them."""
        raise NotImplementedError

    def _text(self, pieces: list[str]) -> str:
        """The text of some pieces."""
        raise NotImplementedError

    def _file(self) -> dict[str, Any]:
        """Its part of tokenizer.json: normalizer, pre_tokenizer, decoder and model."""
        raise NotImplementedError

    @classmethod
    def _load(cls, saved: dict[str, Any], added: dict[str, int], shared: dict[str, Any]) -> Tokenizer:
        """The tokenizer in a file whose model is of this kind; `added` are the special tokens with their ids."""
        raise NotImplementedError

    # What all of them do.

    def __len__(self) -> int:
        return len(self.pieces)

    def id_of(self, piece: str) -> int:
        """The id of a piece. Raises KeyError with a hint when there is none."""
        if piece not in self.ids:
            raise KeyError(f"{piece!r} is not in the vocabulary of {len(self)} pieces.")
        return self.ids[piece]

    def encode(self, text: str, pair: str | None = None, *, special: bool = True) -> Encoding:
        """A text or a pair: cut into pieces, truncated, put into the template unless `special` is False, and padded."""
        encoding = self._encode(text, pair, special)
        self._pad([encoding])
        return encoding

    def encode_batch(self, texts: Iterable[str | tuple[str, str]], *, special: bool = True) -> list[Encoding]:
        """Texts, or pairs of texts. Padding without a length of its own fills to the longest of them."""
        rows = [(row, None) if isinstance(row, str) else row for row in texts]
        batch = [self._encode(text, pair, special) for text, pair in rows]
        self._pad(batch)
        return batch

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """The text of some ids; special tokens are left out unless `special`. Raises ValueError for an unknown id."""
        return self._text(self._known(ids, special))

    def decode_batch(self, batch: Iterable[Iterable[int]], *, special: bool = False) -> list[str]:
        """The text of each row."""
        return [self.decode(ids, special=special) for ids in batch]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write tokenizer.json. The file gets its name once it is whole."""
        save(self, path)

    def _known(self, ids: Iterable[int], special: bool) -> list[str]:
        pieces = []
        for i in ids:
            if not 0 <= i < len(self.pieces):
                raise ValueError(f"There is no piece with id {i}: ids go from 0 to {len(self) - 1}.")
            if special or self.pieces[i] not in self.specials:
                pieces.append(self.pieces[i])
        return pieces

    def _encode(self, text: str, pair: str | None, special: bool) -> Encoding:
        runs = [self._cut(text)] + ([self._cut(pair)] if pair is not None else [])
        if self.truncation:
            runs = self.truncation(runs, self.template.n_special(pair is not None) if special else 0)
        return self.template.fill(runs, self.id_of, special)

    def _cut(self, text: str) -> Run:
        """The run of a text in which special tokens may stand."""
        if not isinstance(text, str):
            raise TypeError(f"A tokenizer encodes text, of type str; this is {type(text).__name__}.")
        if not self._cuts:
            return self._run(text)
        ids, offsets, at = [], [], 0
        for match in [*self._cuts.finditer(text), None]:
            end = match.start() if match else len(text)
            if at < end:
                part, spans = self._run(text[at:end])
                ids += part
                offsets += [(a + at, b + at) for a, b in spans] if at else spans
            if match:
                ids.append(self.ids[match.group()])
                offsets.append(match.span())
                at = match.end()
        return ids, offsets

    def _remember(self, word: str) -> Run:
        """A word that is not in the cache: cut, and from now on known."""
        run = self._word(word)
        if len(word) <= LONGEST_CACHED:
            if len(self._cache) >= N_CACHE:
                self._cache.clear()
            self._cache[word] = run
        return run

    def _pad(self, batch: list[Encoding]) -> None:
        if self.padding:
            self.padding(batch, self.id_of(self.padding.piece))
