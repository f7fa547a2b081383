"""The task of `translate`, for the transformer of lib/zoo/transformer.py: the same pairs, pieces, scores and copying.

A piece of the source is copied where the last block of the decoder looked at it most, in the mean over the heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.attention.masks import padding
from lib.shapes import Mask
from lib.spec import get
from lib.stack import Model, TwoTables
from lib.tasks.translate import NAME as NAME
from lib.tasks.translate import Bilingual
from lib.tokens.vocabulary import BOS, EOS, PAD
from lib.train.config import number
from lib.train.task import Task


def real(ids: Tensor) -> Mask:
    """Who may be attended to: everything but the padding at the end of each row of ids (B, S)."""
    return padding((ids != PAD).sum(dim=1))


def transformer_loss(model: nn.Module, batch: tuple[Tensor, Tensor], smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy under teacher forcing, summed over the pieces that are not padding, and how many there are.

    smoothing: the share of each target that is spread over the whole vocabulary. C. Szegedy et al. (2016), "Rethinking
    the Inception Architecture", section 7.
    """
    source, target = batch
    logits = model(source, target[:, :-1], real(source))
    following = target[:, 1:].flatten()
    total = F.cross_entropy(
        logits.flatten(0, 1), following, ignore_index=PAD, reduction="sum", label_smoothing=smoothing
    )
    return total, (following != PAD).sum()


@torch.no_grad()
def greedy(model: Model, source: Tensor, n_steps: int) -> Tensor:
    """The likeliest piece at each step, never PAD or BOS: ids (B, at most n_steps), PAD after each row's EOS."""
    state = model.start(source, n_steps, real(source))
    last = torch.full((len(source),), BOS, device=source.device)
    done, rows = torch.zeros_like(last, dtype=torch.bool), []
    while len(rows) < n_steps and not done.all():
        logits = model.step(last[:, None], state)[:, 0]  # B V
        logits[:, [PAD, BOS]] = float("-inf")
        last = logits.argmax(dim=-1).masked_fill(done, PAD)
        done = done | (last == EOS)
        rows.append(last)
    return torch.stack(rows, dim=1)


@torch.no_grad()
def cross_weights(model: Model, source: Tensor, target: Tensor) -> Tensor:
    """What the last block of the decoder takes of each source position, mean over heads: (B, T, S)."""
    found: list[Tensor] = []

    def keep(layer: Any, args: Any, kwargs: Any, y: Tensor) -> None:
        found.append(layer.weights(*args, **kwargs))

    last = model.get_submodule(f"body.decoder.blocks.{model.spec.n_layers - 1}.cross")
    hook = last.register_forward_hook(keep, with_kwargs=True)
    model(source, target, real(source))
    hook.remove()
    return found[0].mean(dim=1)


def written(model: Model, x: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """What the model writes greedily, ids (B, T), and the source's position that each piece looked at most (B, T)."""
    ids = greedy(model, x, n_steps)
    weights = cross_weights(model, x, F.pad(ids[:, :-1], (1, 0), value=BOS))
    return ids, weights.argmax(dim=-1)


@dataclass(frozen=True)
class Options:
    """What `course train` may set."""

    model: Literal["transformer", "transformer-pre-norm"] = "transformer-pre-norm"
    most: int = number(8, least=1)
    """Words of the longest English side."""
    least: int = number(4, least=1)
    """How often a piece must occur in training to have an id of its own."""
    n_layers: int = number(2, least=1)
    n_heads: int = number(4, least=1)
    d_model: int = number(128, least=2)
    d_ff: int = number(448, least=1)
    p_drop: float = number(0.1, least=0, below=1)
    smoothing: float = number(0.0, least=0, below=1)
    held: Literal["tuning", "test"] = "tuning"


def build(options: Options, seed: int) -> Task:
    """Short pairs to train on; BLEU on the pairs kept aside for tuning, or on the test split."""
    torch.manual_seed(seed)
    data = Bilingual.of(options.most, options.least, options.held, seed)
    sizes: dict[str, Any] = {name: getattr(options, name) for name in ("n_layers", "n_heads", "d_model", "d_ff")}
    sizes |= {"n_vocab": len(data.target), "n_source": len(data.source), "p_dropout": options.p_drop}
    model = Model(get(options.model).but(body=TwoTables, **sizes))
    watch = "bleu" if options.held == "tuning" else ""  # the best of many test scores would be a choice

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return transformer_loss(model, batch, options.smoothing)

    return Task(model, data.examples, loss, lambda model: data.scores(model, written), watch)
