"""Shakespeare's plays, character by character: Tiny Shakespeare, 1,115,394 characters, the last 10% held out.

`options.held` says what is kept aside and scored. "tuning": train on the first 95% of the training text and score the
rest of it, to choose settings. "validation": train on all of it and score the last 10%, once the choice is made.

`nano-gpt` is trained as in A. Karpathy's nanoGPT (README.md, "I only have a macbook", and what that leaves to
config/train_shakespeare_char.py). The README reaches 1.88 nats a character, an estimate over sampled batches.
https://github.com/karpathy/nanoGPT
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data import load
from lib.spec import get
from lib.stack import Model
from lib.tokens.char import Char
from lib.train import Task
from lib.train.config import number

NAME = "karpathy/tiny_shakespeare"
TUNING = 0.05
"""Share of the training text that is kept aside to choose settings on."""


@dataclass(frozen=True)
class Options:
    model: Literal["nano-gpt", "mini-gpt"] = "mini-gpt"
    n_layers: int = number(4, least=1)
    n_heads: int = number(4, least=1)
    d_model: int = number(128, least=2)
    n_context: int = number(64, least=1)
    """Characters in a window; nothing before it is seen."""
    held: Literal["tuning", "validation"] = "tuning"


class Windows:
    """Every stretch of n_context characters of a text; a batch is (ids, following ids), (B, T) each."""

    def __init__(self, ids: Tensor, n_context: int):
        self.ids, self.n_context = ids, n_context

    def __len__(self) -> int:
        return len(self.ids) - self.n_context

    def batch(self, indices: Sequence[int], rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        at = torch.as_tensor(indices)[:, None] + torch.arange(self.n_context)
        return self.ids[at], self.ids[at + 1]


def split(held: str) -> tuple[Tensor, Tensor, Char]:
    """The ids of the text to train on and of the text kept aside, and the tokenizer; see the module's head."""
    data = load(NAME)
    train = "".join(data["train"]["text"])
    rest = "".join(text for part in data if part != "train" for text in data[part]["text"])  # the hub cuts it in two
    tokenizer = Char.train([train])
    ids, ids_held = torch.tensor(tokenizer.encode(train).ids), torch.tensor(tokenizer.encode(rest).ids)
    if held == "validation":
        return ids, ids_held, tokenizer
    n = round(len(ids) * (1 - TUNING))
    return ids[:n], ids[n:], tokenizer


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
    """Nats, summed over the characters, and how many those are."""
    x, y = batch
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum"), y.numel()


@torch.no_grad()
def nats(model: nn.Module, ids: Tensor, n_context: int, n_rows: int = 128) -> float:
    """Nats a character over a whole text, in windows that do not overlap; the last one is as long as what is left.

    The first character is not scored: nothing comes before it.
    """
    device, size = next(model.parameters()).device, n_rows * n_context
    total = 0.0
    for x, y in zip(ids[:-1].split(size), ids[1:].split(size), strict=True):
        n = len(x) // n_context * n_context
        for a, b in ((x[:n].view(-1, n_context), y[:n].view(-1, n_context)), (x[None, n:], y[None, n:])):
            total += float(loss(model, (a.to(device), b.to(device)))[0]) if a.numel() else 0.0
    return total / (len(ids) - 1)


def build(options: Options, seed: int) -> Task:
    """The model, the windows of the training text, and its nats a character on the text that is held."""
    train, held, tokenizer = split(options.held)
    spec = get(options.model)
    model = Model(
        spec.but(
            n_vocab=len(tokenizer),
            n_positions=options.n_context,
            n_layers=options.n_layers,
            n_heads=options.n_heads,
            d_model=options.d_model,
            d_ff=4 * options.d_model,
        )
    )

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"nats": nats(model, held, options.n_context)}

    watch = "nats" if options.held == "tuning" else ""  # the best of many validation scores would be a choice
    return Task(model, Windows(train, options.n_context), loss, evaluate, watch, better=min)
