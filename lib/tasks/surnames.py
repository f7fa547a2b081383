"""Surnames of 18 nations, spelled letter by letter: chapter 30.

Each name is counted once, and no spelling stands on two sides: the 1,500 tuning spellings are taken out of training,
and a held-out name is one that the training file does not have under any nation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data import load
from lib.train import Task
from lib.train.config import number
from lib.zoo.char_rnn import NOTHING, CharRNN, encode

NAME = "spro/names"
Row = tuple[str, int]
"""A name, and the number of its nation."""


@dataclass(frozen=True)
class Options:
    layer: Literal["RNN", "LSTM", "GRU"] = "RNN"
    """The recurrent layer of torch.nn."""
    d_embed: int = number(32, least=1)
    d_hidden: int = number(128, least=1)
    held: Literal["tuning", "test"] = "tuning"
    """Whose nats per letter are reported: tuning to choose settings, test once the choice is made."""


def split() -> tuple[list[Row], list[Row], list[Row]]:
    """Names to train on, to tune on and held out; the same in every run, and as in 30_rnn."""
    data = load(NAME)
    rows = {part: list(zip(data[part]["name"], data[part]["label"], strict=True)) for part in ("train", "test")}
    known = {name for name, _ in rows["train"]}
    tuning = set(np.random.default_rng(0).choice(sorted(known), size=1500, replace=False).tolist())
    unique = list(dict.fromkeys(rows["train"]))
    return (
        [row for row in unique if row[0] not in tuning],
        [row for row in unique if row[0] in tuning],
        [row for row in dict.fromkeys(rows["test"]) if row[0] not in known],
    )


def alphabet_of(names: Sequence[str]) -> str:
    """The mark, then every letter of the names in order."""
    return "." + "".join(sorted({letter for name in names for letter in name}))


class Names:
    """Encoded names; a batch is (ids, targets, nation), as wide as its longest name needs."""

    def __init__(self, rows: Sequence[Row], alphabet: str):
        self.ids, self.targets = encode([name for name, _ in rows], alphabet)
        self.nation = torch.tensor([nation for _, nation in rows])

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int], rng: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        chosen = torch.as_tensor(indices)
        targets = self.targets[chosen]
        width = int((targets != NOTHING).sum(dim=1).max())
        return self.ids[chosen, :width], targets[:, :width], self.nation[chosen]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Nats, summed over the letters and closing marks, and how many those are."""
    ids, targets, nation = batch
    logits, _ = model(ids, nation)
    total = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=NOTHING, reduction="sum")
    return total, (targets != NOTHING).sum()


def build(options: Options, seed: int) -> Task:
    """The character model, the training names, and its nats per letter on the names that are held."""
    train, tuning, test = split()
    alphabet = alphabet_of([name for name, _ in train + tuning])
    held = Names(tuning if options.held == "tuning" else test, alphabet)
    n_nations = 1 + max(nation for _, nation in train)
    model = CharRNN(len(alphabet), n_nations, options.d_embed, options.d_hidden, getattr(nn, options.layer))

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        ids, targets, nation = (part.to(device) for part in held.batch(range(len(held))))
        total, count = loss(model, (ids, targets, nation))
        return {"nats": float(total / count)}

    watch = "nats" if options.held == "tuning" else ""  # the best of many test scores would be a choice
    return Task(model, Names(train, alphabet), loss, evaluate, watch, better=min)
