"""Unigram: pieces have probabilities, and a text is cut in the most probable way (Viterbi), or in one drawn by chance.

Spaces are written ▁ and belong to the word behind them; a word is a lattice of pieces (lib.tokens.lattice). Source:
Kudo 2018, "Subword regularization", arXiv:1804.10959. T5 and XLM-R normalise the text first (lib.tokens.charsmap), and
to them any number of spaces is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import regex

from lib.tokens.base import Tokenizer
from lib.tokens.charsmap import Charsmap
from lib.tokens.em import learn
from lib.tokens.files import ANY, need, parts, settle
from lib.tokens.lattice import Lattice, best, draw, lattice
from lib.tokens.layout import Run, Span

SPACE = "▁"
WORDS = regex.compile(f"{SPACE}[^{SPACE}]*")
CHUNKS = regex.compile(r"\P{White_Space}+")
PENALTY = 10.0
"""How much less than the worst piece an unknown character scores, as in SentencePiece."""


def words(text: str) -> list[str]:
    """The words of a text, each with ▁ in front, also the first."""
    marked = text.replace(" ", SPACE)
    return WORDS.findall(marked if marked.startswith(SPACE) else SPACE + marked) if text else []


class Unigram(Tokenizer):
    """The most probable way to cut each word."""

    def __init__(
        self,
        pieces: Sequence[str],
        scores: Sequence[float],
        *,
        unknown: str = "<unk>",
        charsmap: Charsmap | None = None,
        chunks: bool = False,
        **shared: Any,
    ):
        """`scores[i]` is the logarithm of the probability of `pieces[i]`; for `shared` see Tokenizer.

        unknown     stands for what cannot be cut
        charsmap    normalises a text
        chunks      a text is first cut at spaces of any kind, so that it does not matter how many there are
        """
        super().__init__(pieces, **shared)
        if len(scores) != len(self.pieces):
            raise ValueError(f"Each piece has one score; there are {len(self.pieces)} pieces and {len(scores)} scores.")
        if unknown not in self.ids:
            raise ValueError(f"The piece for unknown characters, {unknown!r}, is not in the vocabulary.")
        self.scores, self.unknown = list(map(float, scores)), unknown
        self.charsmap, self.chunks = charsmap, chunks
        self._scored = {piece: (i, self.scores[i]) for piece, i in self.own.items()}
        self._longest = max(map(len, self.own))
        self._lost = self.ids[unknown], min(self.scores) - PENALTY

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        n_vocab: int,
        *,
        specials: Sequence[str] = ("<unk>",),
        unknown: str = "<unk>",
        **shared: Any,
    ) -> Unigram:
        """Begin with many pieces, and drop those that the text needs least until `n_vocab` are left; see lib.tokens.em.

        Raises ValueError when `n_vocab` leaves no room for the specials and the characters of `texts`.
        """
        if unknown not in specials:
            raise ValueError(f"{unknown!r}, for unknown characters, should be one of the specials {list(specials)}.")
        totals = Counter(word for text in texts for word in words(text))
        learnt = learn(totals, n_vocab - len(specials))
        scores = [0.0] * len(specials) + list(learnt.values())
        return cls([*specials, *learnt], scores, unknown=unknown, specials=specials, **shared)

    def sample(self, text: str, alpha: float, rng: np.random.Generator) -> list[int]:
        """The ids of one way to cut a text, drawn with probability proportional to p^alpha.

        With alpha 0 every way is as likely as another; the greater alpha, the likelier is the best.

        Of Kudo 2018, section 3.3, over all ways and not only the n best. No special token of the text is seen.
        """
        normal = self._normal(text)[0]
        found = [word for start, end in self._chunks(normal) for word in words(normal[start:end])]
        return [id for word in found for id, _ in draw(self._lattice(word), alpha, rng)]

    def _lattice(self, word: str) -> Lattice:
        return lattice(word, self._scored, self._longest, self._lost)

    def _normal(self, text: str) -> tuple[str, list[int] | None]:
        return self.charsmap(text) if self.charsmap else (text, None)

    def _chunks(self, text: str) -> list[Span]:
        return [match.span() for match in CHUNKS.finditer(text)] if self.chunks else [(0, len(text))]

    def _run(self, text: str, first: bool) -> Run:
        ids: list[int] = []
        offsets: list[Span] = []
        for begin, stop in self._chunks(text):
            at = begin - (text[begin:stop][:1] not in (" ", SPACE))  # the first ▁ may be none of the text's
            for word in words(text[begin:stop]):
                found = self._cache.get(word) or self._remember(word)
                ids += found[0]
                for start, end in found[1]:
                    offsets.append((max(at + start, begin), max(at + end, begin + 1)))
                at += len(word)
        return ids, offsets

    def _word(self, word: str) -> Run:
        """The ids of one word and their spans; unknown characters in a row are one piece."""
        ids: list[int] = []
        spans: list[Span] = []
        for id, end in best(self._lattice(word)):
            start = spans[-1][1] if spans else 0
            if ids and id == ids[-1] == self._lost[0]:
                start = spans.pop()[0]
            else:
                ids.append(id)
            spans.append((start, end))
        return ids, spans

    def _text(self, pieces: list[str]) -> str:
        """▁ becomes a space again, but for the first."""
        texts = [piece if piece in self.specials else piece.replace(SPACE, " ") for piece in pieces[1:]]
        return "".join([*(piece.replace(SPACE, "") for piece in pieces[:1]), *texts])

    def _file(self) -> dict[str, Any]:
        space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
        vocabulary = [[piece, self.scores[i]] for piece, i in self.own.items()]
        model = {"type": "Unigram", "unk_id": self.ids[self.unknown], "vocab": vocabulary, "byte_fallback": False}
        normalizer = self.charsmap and {"type": "Precompiled", "precompiled_charsmap": self.charsmap.table}
        words = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]} if self.chunks else space
        return {"normalizer": normalizer, "pre_tokenizer": words, "decoder": space, "model": model}

    @classmethod
    def _load(cls, saved: dict[str, Any], added: dict[str, int], shared: dict[str, Any]) -> Unigram:
        model = saved["model"]
        charsmap = None
        for i, step in enumerate(parts(saved, "normalizer")):
            settle(step, "normalizer", **{"type": "Precompiled", "precompiled_charsmap": ANY} if i == 0 else {})
            charsmap = Charsmap(need(step, "precompiled_charsmap", "normalizer"))
        need(saved, "pre_tokenizer", "The file")
        *before, space = parts(saved, "pre_tokenizer") or [{}]
        for section, part in ((space, "pre_tokenizer"), (need(saved, "decoder", "The file"), "decoder")):
            need(section, "type", part)
            older = {"add_prefix_space": True, "str_rep": SPACE}
            settle(section, part, type="Metaspace", replacement=SPACE, prepend_scheme="always", split=True, **older)
        for step in before:
            settle(step, "pre_tokenizer", type="WhitespaceSplit")
        settle(model, "model", type=ANY, vocab=ANY, unk_id=ANY, byte_fallback=False)
        vocabulary = need(model, "vocab", "model")
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in vocabulary):
            raise ValueError("model.vocab should be a list of pairs: a piece and its score.")
        pieces, scores = [piece for piece, _ in vocabulary], [score for _, score in vocabulary]
        for piece, id in sorted(added.items(), key=lambda item: item[1]):
            if id == len(pieces):  # a special token behind the vocabulary; it is in no lattice
                pieces.append(piece)
                scores.append(0.0)
            elif not 0 <= id < len(pieces) or pieces[id] != piece:
                raise ValueError(f"The added token {piece!r} has id {id}, which is not its place in model.vocab.")
        unknown = need(model, "unk_id", "model")
        if not isinstance(unknown, int) or not 0 <= unknown < len(vocabulary):
            raise ValueError(
                f"model.unk_id is {unknown!r}; it should be the id of one of the {len(vocabulary)} pieces."
            )
        return cls(pieces, scores, unknown=pieces[unknown], charsmap=charsmap, chunks=bool(before), **shared)
