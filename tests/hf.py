"""Reference twins: tiny random models of `transformers`, beside ours that is loaded from the folder they save.

Every parameter of theirs is drawn from N(0, 0.2), in float64. Their code casts norms, rotary angles and weights of
attention to float32; under `exact` it runs as it is, but casts to float64.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lib.attention.masks import padding
from lib.heads import OfPrefixes
from lib.layout import layouts
from lib.load import from_pretrained
from lib.stack import Model
from tests.attention.twins import biggest, shaken, with_gradients

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

HIDDEN = -100
"""The label that a loss leaves out."""


class Double(TorchFunctionMode):
    """Whatever asks for float32 gets float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        swap = {torch.float32: torch.float64}
        args = [swap.get(a, a) if isinstance(a, torch.dtype) else a for a in args]
        kwargs = {k: swap.get(a, a) if isinstance(a, torch.dtype) else a for k, a in (kwargs or {}).items()}
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*args, **kwargs)


@contextmanager
def exact() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Double():
            yield
    finally:
        torch.set_default_dtype(before)


def build(architecture: str, config: Mapping[str, Any], rng: np.random.Generator) -> nn.Module:
    """Theirs, shaken, in evaluation mode."""
    kind = getattr(transformers, architecture)
    with exact():
        made = kind(kind.config_class(**config, attn_implementation="eager"))
    return shaken(made, rng).eval()


def through_a_folder(theirs: nn.Module) -> Model:
    """Ours, with the weights of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return from_pretrained(folder, dtype=torch.float64)


# --- what a model answers, and its loss ------------------------------------------------------------------------------

Answers = list[Tensor]


def answers(out: Any) -> Answers:
    """The head's answer of theirs, laid out as ours."""
    if "start_logits" in out:
        return [torch.stack((out.start_logits, out.end_logits), dim=-1)]
    if "prediction_logits" in out:
        return [out.prediction_logits, out.seq_relationship_logits]
    return [next(out[name] for name in ("logits", "pooler_output", "last_hidden_state") if name in out)]


def each(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=HIDDEN)


LOSSES: dict[str, tuple[tuple[str, ...], Callable[[Answers, dict[str, Tensor]], Tensor]]] = {
    "LMHeadModel": (("tokens",), lambda y, of: each(y[0][:, :-1], of["labels"][:, 1:])),
    "CausalLM": (("tokens",), lambda y, of: each(y[0][:, :-1], of["labels"][:, 1:])),
    "MaskedLM": (("tokens",), lambda y, of: each(y[0], of["labels"])),
    "PreTraining": (("tokens", "next"), lambda y, of: each(y[0], of["labels"]) + each(y[1], of["next_sentence_label"])),
    "NextSentencePrediction": (("pair",), lambda y, of: each(y[0], of["labels"])),
    "SequenceClassification": (("one",), lambda y, of: each(y[0], of["labels"])),
    "TokenClassification": (("classes",), lambda y, of: each(y[0], of["labels"])),
    "QuestionAnswering": (
        ("span",),
        lambda y, of: (each(y[0][..., 0], of["start_positions"]) + each(y[0][..., 1], of["end_positions"])) / 2,
    ),
}
"""The end of an architecture's name -> the kinds of labels, and the loss."""


def labels(kind: str, ids: Tensor, real: Tensor, n_classes: int, rng: np.random.Generator) -> dict[str, Tensor]:
    B, T = ids.shape
    draw = lambda n, *shape: torch.from_numpy(rng.integers(0, n, shape))  # noqa: E731
    if kind == "span":
        return {"start_positions": draw(T, B), "end_positions": draw(T, B)}
    if kind in ("one", "pair", "next"):
        return {"next_sentence_label" if kind == "next" else "labels": draw(n_classes if kind == "one" else 2, B)}
    return {"labels": (ids if kind == "tokens" else draw(n_classes, B, T)).masked_fill(~real, HIDDEN)}


# --- the comparison --------------------------------------------------------------------------------------------------


def error(architecture: str, config: Mapping[str, Any], rng: np.random.Generator) -> float:
    """A padded batch: all hidden states, the head's answer, the loss, the gradient of every parameter."""
    theirs = build(architecture, config, rng)
    ours = through_a_folder(theirs)
    B, T = rng.integers([1, 2], [4, 8]).tolist()
    lengths = torch.from_numpy(rng.integers(2, T + 1, B))
    if architecture.endswith("QuestionAnswering"):
        lengths[:] = T  # their loss counts what stands at padding
    real = torch.arange(T) < lengths[:, None]
    ids = torch.from_numpy(rng.integers(2, theirs.config.vocab_size, (B, T)))  # 0 and 1 are for padding
    ids[~real] = theirs.config.pad_token_id or 0
    kinds = torch.from_numpy(rng.integers(0, n, (B, T))) if (n := ours.spec.n_types) else None
    more = {} if kinds is None else {"token_type_ids": kinds}
    names, loss = next((LOSSES[end] for end in LOSSES if architecture.endswith(end)), ((), None))
    told = {}
    for name in names:
        told |= labels(name, ids, real, ours.spec.n_classes, rng)

    def counted(states: list[Tensor]) -> list[Tensor]:
        """What stands at padding is no one's business."""
        return [y[real] if y.dim() == 3 else y for y in states]

    def mine() -> list[Tensor]:
        keep: list[Tensor] = []
        y = ours(ids, kinds, padding(lengths), keep=keep)
        y = [*y] if isinstance(y, tuple) else [y]
        if isinstance(ours.head, OfPrefixes):
            y = [y[0][torch.arange(B), lengths - 1]]
        return [*counted(keep), *counted(y), *([loss(y, told)] if loss else [])]

    def reference() -> list[Tensor]:
        with exact():
            out = theirs(ids, attention_mask=real.long(), output_hidden_states=True, **more, **told)
        return [*counted([*out.hidden_states]), *counted(answers(out)), *([out.loss] if loss else [])]

    layout = layouts()[theirs.config.model_type]
    head = layout.write(ours.spec)[1]
    places = {layout.name(name, head): parts for name, parts in layout.match([*ours.state_dict()], head).items()}
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert {*other} == {*places}, "a parameter without its twin"
    assert {*own} == {name for parts in places.values() for name, _ in parts}
    found = with_gradients(mine, [*own.values()], 0)
    n = len(found) - len(own)
    slopes = dict(zip(own, found[n:], strict=True))
    packed = [places[name][0][1].write([slopes[one] for one, _ in places[name]]) for name in other]
    return biggest([*found[:n], *packed], with_gradients(reference, [*other.values()], 0))


@torch.no_grad()
def cached_error(architecture: str, config: Mapping[str, Any], rng: np.random.Generator) -> float:
    """Ours, which reads a sequence in pieces with its cache, beside theirs, which reads it at once: the logits."""
    theirs = build(architecture, config, rng)
    ours = through_a_folder(theirs)
    B, T = rng.integers([1, 2], [4, 8]).tolist()
    ids = torch.from_numpy(rng.integers(0, theirs.config.vocab_size, (B, T)))
    cut = int(rng.integers(1, T))
    state = ours.start(B, T)
    steps = [ours.step(part, state) for part in (ids[:, :cut], *ids[:, cut:].split(1, dim=1))]
    with exact():
        return biggest([torch.cat(steps, dim=1)], answers(theirs(ids)))
