"""Film-review sentences, kind or unkind: SST-2, read by a bidirectional LSTM that starts from nothing.

`options.held` says what is scored: "validation" to choose settings, "test" once the choice is made.

Source: R. Socher et al. (2013), "Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lib.data import load
from lib.train import Task
from lib.train.config import number
from lib.zoo.text_lstm import PAD, UNKNOWN, TextLSTM

NAME = "stanfordnlp/sst2"


@dataclass(frozen=True)
class Options:
    d_embed: int = number(64, least=1)
    d_hidden: int = number(32, least=1)
    p_dropout: float = number(0.5, least=0, below=1)
    p_unknown: float = number(0.1, least=0, below=1)
    """Share of the words that a training batch hides."""
    n_least: int = number(2, least=1)
    """Times that a word must occur in the training sentences to have a vector of its own."""
    held: Literal["validation", "test"] = "validation"


def vocabulary(sentences: Iterable[str], n_least: int = 2) -> dict[str, int]:
    """Word -> id, from 2 on, for the words that occur `n_least` times or more; in alphabetical order."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    return {word: i for i, word in enumerate(sorted(w for w, n in counts.items() if n >= n_least), start=2)}


def encode(sentences: Iterable[str], vocab: dict[str, int]) -> list[Tensor]:
    """One tensor of ids for each sentence."""
    return [torch.tensor([vocab.get(word, UNKNOWN) for word in s.split()]) for s in sentences]


class Sentences:
    """Encoded sentences and their labels; a batch is (ids (B, T) padded, lengths (B,), labels (B,))."""

    def __init__(self, ids: list[Tensor], labels: Tensor, p_unknown: float = 0.0):
        self.ids, self.labels, self.p_unknown = ids, labels, p_unknown

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int], rng: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        chosen = [self.ids[i] for i in indices]
        ids = pad_sequence(chosen, batch_first=True, padding_value=PAD)  # B T
        if self.p_unknown:
            hidden = (torch.rand(ids.shape, generator=rng) < self.p_unknown) & (ids != PAD)
            ids = ids.masked_fill(hidden, UNKNOWN)
        return ids, torch.tensor([len(s) for s in chosen]), self.labels[list(indices)]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, int]:
    """Cross-entropy, summed over the sentences, and how many there are."""
    ids, lengths, y = batch
    return F.cross_entropy(model(ids, lengths), y, reduction="sum"), len(y)


@torch.no_grad()
def logits(model: nn.Module, data: Sentences, size: int = 256) -> Tensor:
    """The model's logits (N, n_classes), in the mode that it is in."""
    device = next(model.parameters()).device
    parts = [data.batch(range(i, min(i + size, len(data))))[:2] for i in range(0, len(data), size)]
    return torch.cat([model(ids.to(device), lengths).cpu() for ids, lengths in parts])


def build(options: Options, seed: int) -> Task:
    """The LSTM, the training sentences, and its accuracy on the split that is held."""
    data = load(NAME)
    vocab = vocabulary(data["train"]["sentence"], options.n_least)
    train = Sentences(encode(data["train"]["sentence"], vocab), torch.tensor(data["train"]["label"]), options.p_unknown)
    held = Sentences(encode(data[options.held]["sentence"], vocab), torch.tensor(data[options.held]["label"]))
    model = TextLSTM(len(vocab) + 2, options.d_embed, options.d_hidden, p_dropout=options.p_dropout)

    def evaluate(model: nn.Module) -> dict[str, float]:
        z = logits(model, held)
        return {
            "accuracy": (z.argmax(1) == held.labels).float().mean().item(),
            "loss": F.cross_entropy(z, held.labels).item(),
        }

    watch = "accuracy" if options.held == "validation" else ""  # the best of many test scores would be a choice
    return Task(model, train, loss, evaluate, watch)
