"""English to French, on the short descriptions of Debian's packages (debian/ddtp-en-fr).

Word by word: a word with the space before it is one piece, so that joining the pieces gives the text back. Words that
are rare in training have no id of their own; where the model writes UNK, the source's piece that it looked at most is
copied, since most of these are names of programs (Luong, Sutskever, Le, Vinyals and Zaremba, 2015, "Addressing the rare
word problem in neural machine translation", section 3, with attention in place of their alignments).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lib.data import load
from lib.tasks.dates import ATTENTIONS
from lib.tokens.vocabulary import BOS, EOS, UNK, Vocabulary, pad
from lib.train.config import number
from lib.train.task import Task
from lib.zoo.seq2seq import Pairs, Seq2Seq, pair_loss

NAME = "debian/ddtp-en-fr"
N_TUNING = 1_000
"""Pairs of the training split, drawn by the seed, on which settings are chosen."""


def tidy(text: str) -> str:
    """One plain space for white space and for the sign of a hard space; one kind of apostrophe."""
    return " ".join(text.replace("⋅", " ").replace("’", "'").split())


def cut(text: str) -> list[str]:
    """Words, numbers and signs, each with the space before it: 'a tool' -> ' a', ' tool'. Joined, they are the text."""
    return re.findall(r" ?[^\W\d_]+| ?\d+| ?_| ?[^\w\s]", " " + tidy(text))


def join(row: Sequence[str]) -> str:
    return "".join(row).strip()


def short_pairs(split: str, most: int) -> list[tuple[str, str]]:
    """The pairs of a split whose English has at most `most` words, and the French at most twice as many."""
    pairs = [(tidy(pair["en"]), tidy(pair["fr"])) for pair in load(NAME)[split]["translation"]]
    return [(en, fr) for en, fr in pairs if len(en.split()) <= most and len(fr.split()) <= 2 * most]


def written(model: Seq2Seq, x: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """What the model writes greedily, ids (B, T), and the source's position that each piece looked at most (B, T)."""
    ids = model.greedy(x, n_steps)
    _, weights = model(x, torch.cat([torch.full_like(ids[:, :1], BOS), ids[:, :-1]], dim=1))
    return ids, weights.argmax(dim=-1)


@torch.no_grad()
def translations(
    model: Any,
    rows: Sequence[Sequence[str]],
    source: Vocabulary,
    target: Vocabulary,
    copy: bool = True,
    write: Callable[[Any, Tensor, int], tuple[Tensor, Tensor]] = written,
) -> list[str]:
    """Translations of rows of pieces. UNK is replaced by the piece that had the largest weight, or left out."""
    texts = [""] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    device = next(model.parameters()).device
    for start in range(0, len(order), 100):
        chosen = order[start : start + 100]
        x = pad([source.encode(rows[i]) for i in chosen]).to(device)
        ids, looked = write(model, x, 2 * x.shape[1] + 5)
        for i, row, at in zip(chosen, ids.tolist(), looked.tolist(), strict=True):
            ended = row[: row.index(EOS)] if EOS in row else row
            looks = [rows[i][int(s)] if copy else "" for s in at[: len(ended)]]
            texts[i] = join([seen if k == UNK else target.symbols[k] for k, seen in zip(ended, looks, strict=True)])
    return texts


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """sacreBLEU's corpus BLEU, 0 to 100, with its default settings."""
    import sacrebleu

    return sacrebleu.corpus_bleu(list(texts), [list(references)]).score


@dataclass(frozen=True)
class Bilingual:
    """Pairs to train on, their two vocabularies, and English rows that are held back, with a person's French."""

    examples: Pairs
    source: Vocabulary
    target: Vocabulary
    rows: list[list[str]]
    references: list[str]

    @classmethod
    def of(cls, most: int, least: int, held: str, seed: int) -> Bilingual:
        """English of at most `most` words, pieces that occur `least` times; held: "tuning" pairs or the "test"."""
        pairs = short_pairs("train", most)
        order = np.random.default_rng(seed).permutation(len(pairs))
        back = [pairs[i] for i in order[:N_TUNING]] if held == "tuning" else short_pairs("test", most)
        pairs = [pairs[i] for i in order[N_TUNING:]]
        en, fr = [cut(pair[0]) for pair in pairs], [cut(pair[1]) for pair in pairs]
        source, target = Vocabulary.of(en, least), Vocabulary.of(fr, least)
        examples = Pairs([source.encode(row) for row in en], [target.encode(row) for row in fr])
        return cls(examples, source, target, [cut(pair[0]) for pair in back], [pair[1] for pair in back])

    def scores(self, model: Any, write: Callable[[Any, Tensor, int], tuple[Tensor, Tensor]]) -> dict[str, float]:
        """BLEU on what is held back, with unknown words copied and without."""
        found = {}
        for name, copy in (("bleu", True), ("bleu_without_copying", False)):
            texts = translations(model, self.rows, self.source, self.target, copy, write)
            found[name] = bleu(texts, self.references)
        return found


@dataclass(frozen=True)
class Options:
    """What `course train` may set."""

    attention: Literal["additive", "multiplicative", "fixed"] = "multiplicative"
    most: int = number(8, least=1)
    """Words of the longest English side."""
    least: int = number(4, least=1)
    """How often a piece must occur in training to have an id of its own."""
    d_embed: int = number(96, least=1)
    d_model: int = number(192, least=2)
    p_drop: float = number(0.2, least=0, most=1)
    held: Literal["tuning", "test"] = "tuning"


def build(options: Options, seed: int) -> Task:
    """Short pairs to train on; BLEU on the pairs kept aside for tuning, or on the test split."""
    torch.manual_seed(seed)
    data = Bilingual.of(options.most, options.least, options.held, seed)
    attention = ATTENTIONS[options.attention]
    model = Seq2Seq(len(data.source), len(data.target), options.d_embed, options.d_model, attention, options.p_drop)
    watch = "bleu" if options.held == "tuning" else ""  # the best of many test scores would be a choice
    return Task(model, data.examples, pair_loss, lambda model: data.scores(model, written), watch)
