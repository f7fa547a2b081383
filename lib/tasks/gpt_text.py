"""GPT on documents: the full-size recipe, configs/gpt2-124m.yaml, and the same in small, configs/gpt2-mini.yaml.

A tokenizer is learned, the documents are packed (lib/pretrain/packing.py), and a mask keeps them apart. The score is on
documents that are held, in nats for each id and in bits for each byte of text, which does not depend on the tokenizer.
Trained, it lies with its tokenizer in the folder `model` of the run, for `transformers`, and for llama.cpp.

With more devices, `torchrun --nproc_per_node 8 -m lib.cli train gpt2-124m --set train.devices=8`, or without torchrun:
see lib/train/parallel.py.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.attention.backends import attention
from lib.attention.masks import documents
from lib.gguf import save_gguf
from lib.load import save_pretrained
from lib.pretrain.packing import Packed
from lib.pretrain.prepare import Source, prepare
from lib.spec import Spec, get
from lib.stack import Model
from lib.train import Task
from lib.train.config import number

ROUND = 64
"""Rows of the table of tokens are a multiple of it, which suits matrix instructions; those behind have no token."""


@dataclass(frozen=True)
class Options:
    model: Literal["gpt2", "llama"] = "gpt2"
    n_layers: int = number(4, least=1)
    n_heads: int = number(4, least=1)
    d_model: int = number(128, least=2)
    d_ff: int = number(0, least=0)
    """0: four times d_model."""
    n_context: int = number(128, least=1)
    p_dropout: float = number(0.0, least=0, below=1)
    text: Literal["SetFit/bbc-news", "HuggingFaceFW/fineweb-edu"] = "SetFit/bbc-news"
    n_vocab: int = number(4096, least=257)
    tokenizer: str = ""
    """A tokenizer.json, where none is to be learned."""
    n_sample: int = number(10_000_000, least=1)
    n_train: int = number(10**12, least=1)
    n_held: int = number(50, least=1)
    """See lib/pretrain/prepare.py::Source."""


def specification(options: Options) -> Spec:
    """The model's, with attention by the fastest way and dropout as the options have it."""
    spec = get(options.model)
    return spec.but(
        n_vocab=-(-options.n_vocab // ROUND) * ROUND,
        n_positions=options.n_context,
        n_layers=options.n_layers,
        n_heads=options.n_heads,
        d_model=options.d_model,
        d_ff=options.d_ff or 4 * options.d_model,
        p_dropout=options.p_dropout,
        p_attend=options.p_dropout,
        attend=attention,
    )


def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, int]:
    """Nats, summed over the ids, and how many those are."""
    x, y, numbers = batch
    logits = model(x, mask=documents(numbers))
    return F.cross_entropy(logits.flatten(0, 1).float(), y.flatten(), reduction="sum"), y.numel()


@torch.no_grad()
def scores(model: nn.Module, held: Packed, n_bytes: int, n_rows: int = 8) -> dict[str, float]:
    """Nats for each id of the held documents, and bits for each of their n_bytes bytes."""
    device, total, n = next(model.parameters()).device, 0.0, 0
    for batch in held.batches(n_rows):
        nats, count = loss(model, tuple(part.to(device) for part in batch))  # pyright: ignore[reportArgumentType]
        total, n = total + float(nats), n + count
    return {"nats": total / n, "bits_per_byte": total / n / math.log(2) * len(held.ids) / n_bytes}


def source(options: Options) -> Source:
    shared: dict[str, Any] = {f: v for f, v in asdict(options).items() if f in Source.__dataclass_fields__}
    return Source(**shared)


def build(options: Options, seed: int) -> Task:
    """The model, the packed rows, and the score of the held documents; nothing is chosen by it."""
    made = prepare(source(options))
    n_vocab = max(options.n_vocab, len(made.tokenizer))
    model = Model(specification(replace(options, n_vocab=n_vocab)))
    train, held = (Packed(ids, options.n_context, made.end) for ids in (made.train, made.held))
    return Task(model, train, loss, lambda model: scores(model, held, made.n_bytes))


def export(model: nn.Module, options: Options, folder: Path) -> None:
    """The model with its tokenizer, as a folder of `transformers`, and in it the same as one GGUF file."""
    assert isinstance(model, Model)
    tokenizer = prepare(source(options)).tokenizer
    save_pretrained(model, folder, tokenizer)
    save_gguf(model, tokenizer, folder / "model.gguf")
