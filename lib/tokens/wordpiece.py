"""WordPiece, BERT's tokenizer: a word is cut from the left, each time at the longest piece that the vocabulary has.

A piece that continues a word begins with ##. There is no order of merges; only which pieces there are decides. Source:
Wu et al. 2016, arXiv:1609.08144, section 4.1.

Training: the paper takes the pair that raises the likelihood of the text most, count(ab) / (count(a) count(b)). Its
program was never published. The `tokenizers` library takes the commonest pair, as BPE does, and so does `train`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from lib.tokens import bert
from lib.tokens.base import Tokenizer
from lib.tokens.files import ANY, by_id, need, settle
from lib.tokens.layout import Run, Span
from lib.tokens.merges import learn

PREFIX = "##"
LONGEST = 100
"""A word of more characters is unknown, as in BERT."""

GLUED = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")
"""Decoding puts no space before these."""

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPiece(Tokenizer):
    """Longest match first, over BERT's words."""

    def __init__(self, pieces: Sequence[str], *, unknown: str = "[UNK]", lowercase: bool = True, **shared: Any):
        """`unknown` is for a word that cannot be cut; `lowercase` also drops accents; for `shared` see Tokenizer."""
        super().__init__(pieces, **shared)
        if unknown not in self.ids:
            raise ValueError(f"The piece for unknown words, {unknown!r}, is not in the vocabulary.")
        self.unknown, self.lowercase = unknown, lowercase
        self._longest = max(map(len, self.own))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        n_vocab: int,
        *,
        specials: Sequence[str] = SPECIALS,
        unknown: str = "[UNK]",
        least: int = 0,
        lowercase: bool = True,
        **shared: Any,
    ) -> WordPiece:
        """Learn merges until there are `n_vocab` pieces, and forget the merges. `least`: a pair's least count.

        Raises ValueError when `n_vocab` leaves no room for the specials and the characters of `texts`.
        """
        if unknown not in specials:
            raise ValueError(f"{unknown!r}, for unknown words, should be one of the specials {list(specials)}.")
        normal = (bert.normalise(text, lowercase)[0] for text in texts)
        totals = Counter(word for text in normal for word in bert.WORDS.findall(text))
        inside = {PREFIX + character for word in totals for character in word[1:]}
        alphabet = sorted({character for word in totals for character in word})
        pieces = [*specials, *alphabet, *sorted(inside)]
        if n_vocab < len(pieces):
            raise ValueError(
                f"A vocabulary of {n_vocab} pieces is too small: {len(specials)} special tokens, {len(alphabet)} "
                f"characters, and {len(inside)} inside words come first. Ask for {len(pieces)} or more."
            )
        grown = grow(pieces, totals, n_vocab, least)
        return cls(grown, unknown=unknown, specials=specials, lowercase=lowercase, **shared)

    def _normal(self, text: str) -> tuple[str, list[int]]:
        return bert.normalise(text, self.lowercase)

    def _run(self, text: str, first: bool) -> Run:
        ids: list[int] = []
        offsets: list[Span] = []
        for match in bert.WORDS.finditer(text):
            word, at = match.group(), match.start()
            found = self._cache.get(word) or self._remember(word)
            ids += found[0]
            for start, end in found[1]:
                offsets.append((at + start, at + end))
        return ids, offsets

    def _word(self, word: str) -> Run:
        """The longest piece, again and again; one unknown piece when the word cannot be cut to its end."""
        ids: list[int] = []
        spans: list[Span] = []
        start = 0
        while start < len(word) <= LONGEST:
            prefix = PREFIX if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
                if (id := self.own.get(prefix + word[start:end])) is not None:
                    ids.append(id)
                    spans.append((start, end))
                    start = end
                    break
            else:
                break
        return (ids, spans) if start == len(word) else ([self.ids[self.unknown]], [(0, len(word))])

    def _text(self, pieces: list[str]) -> str:
        """Words with spaces between, but none before a full stop. What the text was exactly, the pieces do not tell."""
        texts = [
            piece.removeprefix(PREFIX)
            if piece.startswith(PREFIX)
            else piece
            if piece.startswith(GLUED)
            else f" {piece}"
            for piece in pieces[1:]
        ]
        return "".join(chain(pieces[:1], texts))

    def _file(self) -> dict[str, Any]:
        normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
        model = {"type": "WordPiece", "unk_token": self.unknown, "continuing_subword_prefix": PREFIX}
        return {
            "normalizer": {**normalizer, "strip_accents": None, "lowercase": self.lowercase},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": True},
            "model": {**model, "max_input_chars_per_word": LONGEST, "vocab": self.own},
        }

    @classmethod
    def _load(cls, saved: dict[str, Any], added: dict[str, int], shared: dict[str, Any]) -> WordPiece:
        model, normalizer = saved["model"], need(saved, "normalizer", "The file")
        lowercase = need(normalizer, "lowercase", "normalizer")
        accents = lowercase if normalizer.get("strip_accents") is not None else None
        known = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": accents, "lowercase": ANY}
        settle(normalizer, "normalizer", type="BertNormalizer", **known)
        settle(need(saved, "pre_tokenizer", "The file"), "pre_tokenizer", type="BertPreTokenizer")
        settle(need(saved, "decoder", "The file"), "decoder", type="WordPiece", prefix=PREFIX, cleanup=True)
        fixed = {"continuing_subword_prefix": PREFIX, "max_input_chars_per_word": LONGEST}
        settle(model, "model", type=ANY, vocab=ANY, unk_token=ANY, **fixed)
        pieces = by_id(need(model, "vocab", "model"), added)
        return cls(pieces, unknown=need(model, "unk_token", "model"), lowercase=lowercase, **shared)


def grow(pieces: list[str], totals: Counter[str], n_vocab: int, least: int) -> list[str]:
    """`pieces` with the merges of words behind them; single characters have to be among them already.

    Ties go to the older pieces, so that the order of the characters matters. The Rust trainer has them inside words in
    the order of a hash table, another in every run; `train` sorts them.
    """
    ids = {piece: i for i, piece in enumerate(pieces)}
    words = [[ids[PREFIX * (i > 0) + character] for i, character in enumerate(word)] for word in totals]
    pieces = list(pieces)
    learn(words, list(totals.values()), pieces, n_vocab, least, PREFIX)
    return pieces
