"""The sentiment of film-review sentences, SST-2: a small BERT goes on from what it was pre-trained on, or from nothing.

`options.held` says what is scored: "validation" to choose settings, "test" once the choice is made.

J. Devlin et al. (2018), "BERT", sections 3.2 and 4.1: a new layer, and every parameter is trained. Theirs reads the
state at [CLS]; ours the mean of all states, as in lib/sentences.py, since a small model's [CLS] has little to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lib.attention.backends import attention
from lib.data import load
from lib.heads import States
from lib.load import from_pretrained, tokenizer_of
from lib.sentences import Classifier, Encoder
from lib.shapes import BT
from lib.stack import Model
from lib.tokens.base import Tokenizer
from lib.train import ConfigError, Task
from lib.train.config import number

NAME = "stanfordnlp/sst2"
N_VALID = 256
"""Sentences that are scored at once."""


@dataclass(frozen=True)
class Options:
    model: str = "runs/bert-mini/model"
    """A folder with a BERT and its tokenizer, as `course train bert-mini` and `transformers` write it."""
    init: Literal["pretrained", "scratch"] = "pretrained"
    """Whether its weights are taken too, or its sizes and its tokenizer alone."""
    n_context: int = number(64, least=3)
    """Tokens that are read of a sentence."""
    p_dropout: float = number(0.1, least=0, below=1)
    held: Literal["validation", "test"] = "validation"


class Sentences:
    """Sentences as ids, and their labels; a batch is ids (B, T) padded, lengths (B,), labels (B,)."""

    def __init__(self, split: str, tokenizer: Tokenizer, n_context: int):
        data = load(NAME)[split]
        cls, sep, self.pad = (tokenizer.id_of(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
        cut = [tokenizer.encode(each, special=False).ids[: n_context - 2] for each in data["sentence"]]
        self.ids = [torch.tensor([cls, *ids, sep]) for ids in cut]
        self.labels = torch.tensor(data["label"])

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int], rng: torch.Generator | None = None) -> tuple[BT, Tensor, Tensor]:
        chosen = [self.ids[i] for i in indices]
        lengths = torch.tensor([len(ids) for ids in chosen])
        return pad_sequence(chosen, batch_first=True, padding_value=self.pad), lengths, self.labels[list(indices)]


def loss(model: nn.Module, batch: tuple[BT, Tensor, Tensor]) -> tuple[Tensor, int]:
    """Cross-entropy, summed over the sentences, and how many there are."""
    ids, lengths, y = batch
    return F.cross_entropy(model(ids, lengths), y, reduction="sum"), len(y)


def classifier(folder: str, init: str, p_dropout: float) -> Classifier:
    """The BERT in a folder, or with init "scratch" one of its form with new weights, and one linear layer on top."""
    old = from_pretrained(folder)
    model = Model(old.spec.but(head=States, attend=attention, p_dropout=p_dropout, p_attend=0.0))
    if init == "pretrained":
        model.body.load_state_dict(old.body.state_dict())
    return Classifier(Encoder(model), n_classes=2)


def build(options: Options, seed: int) -> Task:
    """The classifier, the training sentences, and its accuracy on the split that is held."""
    if not Path(options.model).is_dir():
        raise ConfigError(f"There is no model in {options.model}. `course train bert-mini` writes one.")
    torch.set_flush_denormal(True)  # as in bert_pretrain
    tokenizer = tokenizer_of(options.model)
    model = classifier(options.model, options.init, options.p_dropout)
    n_context = min(options.n_context, model.encoder.model.spec.n_positions)
    train, held = (Sentences(split, tokenizer, n_context) for split in ("train", options.held))

    def evaluate(model: nn.Module) -> dict[str, float]:
        device, parts = next(model.parameters()).device, torch.arange(len(held)).split(N_VALID)
        batches = (held.batch(numbers.tolist()) for numbers in parts)
        z = torch.cat([model(ids.to(device), n.to(device)).cpu() for ids, n, _ in batches])
        return {
            "accuracy": (z.argmax(1) == held.labels).float().mean().item(),
            "loss": F.cross_entropy(z, held.labels).item(),
        }

    watch = "accuracy" if options.held == "validation" else ""  # the best of many test scores would be a choice
    return Task(model, train, loss, evaluate, watch)
