"""Two stretches of text in one row: does the second follow the first? BERT's other task.

    pairs = sentence_pairs(documents, n_most=128, rng=rng)        documents: lists of sentences, each a list of ids
    ids, kinds, special = assemble(pairs[0], cls=2, sep=3, pad=0, n_context=128)

Each stretch is several whole sentences, so that a row is full and a model learns to look far. Half of the second
stretches follow. The others come from another document, which their topic gives away (easy), or from elsewhere in the
same one (hard).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from lib.shapes import require

Sentence = Sequence[int]
Document = Sequence[Sentence]

N_SPECIAL = 3
"""[CLS] first [SEP] second [SEP]."""


@dataclass(frozen=True)
class Pair:
    """Two stretches of text, and whether the second follows the first where they come from."""

    first: list[int]
    second: list[int]
    follows: bool
    hard: bool
    """The second does not follow, though it is from the same document."""

    @property
    def label(self) -> int:
        """0 where it follows, else 1: the order of BERT's own head, lib/heads.py::NextSentence."""
        return int(not self.follows)


def sentence_pairs(
    documents: Sequence[Document],
    n_most: int,
    rng: np.random.Generator,
    p_follows: float = 0.5,
    p_hard: float = 0.5,
    p_short: float = 0.1,
) -> list[Pair]:
    """Pairs from all documents, once through each; another rng gives other pairs. At most n_most ids, specials counted.

    A chunk of a document is as many whole sentences as fill the row (for the share p_short of pairs a random part of
    it, since not all text comes in full rows), and two at least. It is parted at a random sentence. Then the second
    part, with probability
        p_follows                        stays what it is;
        (1 - p_follows) (1 - p_hard)     is a stretch of another document. The part that was not used begins the next
                                         chunk;
        (1 - p_follows) p_hard           is, by a coin, a stretch from further on in the document, where there is any,
                                         or the first part: the two are swapped.
    No second stretch but a swapped one begins with a document's first sentence, often a headline, which would give the
    answer away. What is too long loses the first part's beginning and the second's end: where they meet, nothing goes.

    A document of one sentence gives no pair. ValueError for a row without room, shares that are none, empty sentences,
    and one document alone where others are needed.

    J. Devlin et al. (2018), "BERT", appendix A.2, and create_pretraining_data.py published with it. Swapped parts:
    Z. Lan et al. (2019), "ALBERT", section 3.1.
    """
    room = n_most - N_SPECIAL
    require(room >= 2, f"n_most={n_most} leaves no room for two stretches beside {N_SPECIAL} special tokens")
    for name, share in (("p_follows", p_follows), ("p_hard", p_hard), ("p_short", p_short)):
        require(0 <= share <= 1, f"{name} is a share from 0 to 1, not {share}")
    require(all(map(len, chain.from_iterable(documents))), "a sentence without ids is in the documents: leave it out")
    alone = len(documents) < 2 and p_follows < 1 and p_hard < 1
    require(not alone, f"a stretch of another document needs two documents; there is {len(documents)}")
    pairs = []
    for number, document in enumerate(documents):
        at = 0
        while len(document) - at >= 2:
            target = int(rng.integers(2, room + 1)) if rng.random() < p_short else room
            end = _end(document, at, target, least=2)
            middle = int(rng.integers(at + 1, end))
            follows = bool(rng.random() < p_follows)
            hard = not follows and bool(rng.random() < p_hard)
            first, second = (at, middle), (middle, end)
            source = document
            if hard and (rng.random() < 0.5 or middle + 1 == len(document)):
                first, second = second, first
            elif not follows:
                if not hard:
                    source = documents[(number + int(rng.integers(1, len(documents)))) % len(documents)]
                start = int(rng.integers(middle + 1 if hard else min(1, len(source) - 1), len(source)))
                second = start, _end(source, start, target - _length(document[at:middle]), least=1)
                end = middle
            pairs.append(Pair(*_fitted(document[slice(*first)], source[slice(*second)], room), follows, hard))
            at = end
    return pairs


def _length(sentences: Sequence[Sentence]) -> int:
    return sum(map(len, sentences))


def _end(document: Document, start: int, target: int, least: int) -> int:
    """One past the last of the sentences from `start` on that together have `target` ids, or that there are."""
    end = min(start + least, len(document))
    while end < len(document) and _length(document[start:end]) < target:
        end += 1
    return end


def _fitted(first: Sequence[Sentence], second: Sequence[Sentence], room: int) -> tuple[list[int], list[int]]:
    """Both as ids, `room` at most: the longer one gives way, down to half of the room."""
    a, b = [*chain.from_iterable(first)], [*chain.from_iterable(second)]
    n_a = min(len(a), max(room - len(b), (room + 1) // 2))
    return a[len(a) - n_a :], b[: room - n_a]


def assemble(pair: Pair, *, cls: int, sep: int, pad: int, n_context: int) -> tuple[Tensor, Tensor, Tensor]:
    """[CLS] first [SEP] second [SEP] and padding: ids (T,), kinds (T,), special (T,), with T = n_context.

    kinds: 0 up to the first [SEP], 1 from the second stretch on, 0 in the padding. special: bool, True at [CLS], [SEP]
    and padding: what `mask_tokens` leaves alone. ValueError where the pair does not fit.
    """
    n_first, n = len(pair.first) + 2, len(pair.first) + len(pair.second) + N_SPECIAL
    require(n <= n_context, f"a pair of {n} ids with its special tokens does not fit into n_context={n_context}")
    ids = torch.full((n_context,), pad)
    ids[:n] = torch.tensor([cls, *pair.first, sep, *pair.second, sep])
    kinds = torch.zeros(n_context, dtype=torch.long)
    kinds[n_first:n] = 1
    special = torch.arange(n_context) >= n - 1
    special[[0, n_first - 1]] = True
    return ids, kinds, special
