"""English to French, on the short descriptions of Debian's packages (debian/ddtp-en-fr).

Word by word: a word with the space before it is one piece, so that joining the pieces gives the text back. Words that
are rare in training have no id of their own; where the model writes UNK, the source's piece that it looked at most is
copied, since most of these are names of programs (Luong, Sutskever, Le, Vinyals and Zaremba, 2015, "Addressing the rare
word problem in neural machine translation", section 3, with attention in place of their alignments).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

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


@torch.no_grad()
def translations(
    model: Seq2Seq, rows: Sequence[Sequence[str]], source: Vocabulary, target: Vocabulary, copy: bool = True
) -> list[str]:
    """Greedy translations of rows of pieces. UNK is replaced by the piece that had the largest weight, or left out."""
    texts = [""] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    device = next(model.parameters()).device
    for start in range(0, len(order), 100):
        chosen = order[start : start + 100]
        x = pad([source.encode(rows[i]) for i in chosen]).to(device)
        ids = model.greedy(x, n_steps=2 * x.shape[1] + 5)
        _, weights = model(x, torch.cat([torch.full_like(ids[:, :1], BOS), ids[:, :-1]], dim=1))
        for i, row, looked in zip(chosen, ids.tolist(), weights.argmax(dim=-1).tolist(), strict=True):
            written = row[: row.index(EOS)] if EOS in row else row
            unknown = [rows[i][int(s)] if copy else "" for s in looked[: len(written)]]
            texts[i] = join([u if k == UNK else target.symbols[k] for k, u in zip(written, unknown, strict=True)])
    return texts


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """sacreBLEU's corpus BLEU, 0 to 100, with its default settings."""
    import sacrebleu

    return sacrebleu.corpus_bleu(list(texts), [list(references)]).score


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
    pairs = short_pairs("train", options.most)
    order = np.random.default_rng(seed).permutation(len(pairs))
    held = [pairs[i] for i in order[:N_TUNING]] if options.held == "tuning" else short_pairs("test", options.most)
    pairs = [pairs[i] for i in order[N_TUNING:]]
    en, fr = [cut(pair[0]) for pair in pairs], [cut(pair[1]) for pair in pairs]
    source, target = Vocabulary.of(en, options.least), Vocabulary.of(fr, options.least)
    examples = Pairs([source.encode(row) for row in en], [target.encode(row) for row in fr])
    rows, references = [cut(pair[0]) for pair in held], [pair[1] for pair in held]

    def evaluate(model: Any) -> dict[str, float]:
        return {f"bleu{name}": bleu(translations(model, rows, source, target, copy), references)
                for name, copy in (("", True), ("_without_copying", False))}  # fmt: skip

    attention = ATTENTIONS[options.attention]
    model = Seq2Seq(len(source), len(target), options.d_embed, options.d_model, attention, options.p_drop)
    watch = "bleu" if options.held == "tuning" else ""  # the best of many test scores would be a choice
    return Task(model, examples, pair_loss, evaluate, watch)
