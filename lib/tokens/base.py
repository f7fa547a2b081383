"""What every tokenizer shares. A kind of tokenizer adds three things: `_run`, `_text` and its part of the file.

    tokenizer = BPE.train(texts, 8_000, specials=["<|end|>"])
    encoding = tokenizer.encode("To be, or not to be")       ids, offsets, types, special, mask, overflowing
    tokenizer.decode(encoding.ids)
    tokenizer.save("tokenizer.json")                         the Hugging Face format; lib.tokens.load.load reads it

A text is first cut at the special tokens it contains, so that no other rule ever splits one; what is left is
normalised, cut at the special tokens that are looked for only then, and given to the kind's own rules.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from lib.tokens.added import Added, Finder
from lib.tokens.files import save
from lib.tokens.layout import Encoding, Padding, Run, Span, Template, Truncation

N_CACHE, LONGEST_CACHED = 100_000, 100
"""Words a tokenizer remembers, and the longest of them in characters: texts repeat their words, not their long ones."""


class Tokenizer:
    """Pieces with their ids, and the way between them and text."""

    def __init__(
        self,
        pieces: Sequence[str],
        *,
        specials: Sequence[str | Added] = (),
        template: Template | None = None,
        truncation: Truncation | None = None,
        padding: Padding | None = None,
    ):
        """`pieces[i]` has id i; `specials` are those among them that are never split, with settings where an Added.

        Raises ValueError where a piece comes twice, and where a special token, one of the template or the padding is
        not among the pieces.
        """
        self.pieces = list(pieces)
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        if len(self.ids) < len(self.pieces):
            twice = [piece for piece, n in Counter(self.pieces).items() if n > 1]
            raise ValueError(f"Each piece may stand in a vocabulary once; found more than once: {twice[:5]}.")
        added = [special if isinstance(special, Added) else Added(special) for special in specials]
        self.added = {token.text: token for token in added}
        self.specials = list(self.added)
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

    # What a kind of tokenizer is.

    def _normal(self, text: str) -> tuple[str, list[int] | None]:
        """The normalised text, and for each of its characters the place in `text` it comes from. None: the same."""
        return text, None

    def _run(self, text: str, first: bool) -> Run:
        """The ids and spans of a normalised text that holds no special token; `first`: the whole text begins here."""
        raise NotImplementedError

    def _word(self, word: str) -> Run:
        """The ids and spans of one word, for a kind whose `_run` goes by words and remembers them."""
        raise NotImplementedError

    def _trim(self, run: Run, text: str) -> Run:
        """A run of a text, with the spans as they shall be shown."""
        return run

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
            token = self.added.get(self.pieces[i])
            if special or not (token and token.special):
                pieces.append(self.pieces[i])
        return pieces

    @cached_property
    def own(self) -> dict[str, int]:
        """The model's own pieces and their ids: all but the special tokens behind its vocabulary."""
        return {piece: i for piece, i in self.ids.items() if not (piece in self.added and self.added[piece].behind)}

    @cached_property
    def _finders(self) -> tuple[Finder, Finder]:
        """Of the special tokens in a text as it is given, and of those in the normalised text."""
        tokens = self.added.values()
        normalized = [(self._normal(token.text)[0], token) for token in tokens if token.normalized]
        return Finder((token.text, token) for token in tokens if not token.normalized), Finder(normalized)

    def _encode(self, text: str, pair: str | None, special: bool) -> Encoding:
        texts = [text] if pair is None else [text, pair]
        runs = [self._cut(part) for part in texts]
        parts = [[run] for run in runs]
        if self.truncation:
            parts = self.truncation(runs, self.template.n_special(pair is not None) if special else 0)
        shown = [[self._trim(run, part) for run in runs] for part, runs in zip(texts, parts, strict=True)]
        return self.template(shown, self.id_of, special)

    def _cut(self, text: str) -> Run:
        """The run of a text in which special tokens may stand."""
        if not isinstance(text, str):
            raise TypeError(f"A tokenizer encodes text, of type str; this is {type(text).__name__}.")
        ids: list[int] = []
        offsets: list[Span] = []
        given, normalised = self._finders
        for start, end, token in given(text):
            if token:
                ids.append(self.ids[token.text])
                offsets.append((start, end))
                continue
            normal, places = self._normal(text[start:end])
            for a, b, token in normalised(normal):
                found = ([self.ids[token.text]], [(0, b - a)]) if token else self._run(normal[a:b], start + a == 0)
                ids += found[0]
                if places:
                    offsets += [(start + places[a + i], start + places[a + j - 1] + 1) for i, j in found[1]]
                else:
                    offsets += [(start + a + i, start + a + j) for i, j in found[1]] if start + a else found[1]
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
