"""Random small specifications; the stacks beside torch.nn's; decoding with a cache beside whole sequences.

Every parameter is drawn from N(0, 0.2). Each `..._error` is the largest difference found.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.attention.masks import causal, full, padding
from lib.layers.embed import Scaled, learned, nothing, rotary, sinusoidal
from lib.layers.ff import FeedForward, Gated
from lib.spec import Spec
from lib.stack import Block, CrossBlock, EncoderDecoder, Model, PostNorm, PreNorm, Stack
from tests.attention.twins import biggest, normal, shaken, table, with_gradients

ACTS = {"relu": F.relu, "gelu": F.gelu}


def pick(rng: np.random.Generator, *values):
    return values[rng.integers(len(values))]


def random_spec(rng: np.random.Generator, **slots) -> Spec:
    """Sizes that no transposition survives; the slots that no argument fixes are drawn."""
    n_layers, share, n_groups, half = rng.integers(1, 4, 4).tolist()
    n_heads = share * n_groups
    drawn = {
        "pos": pick(rng, learned, sinusoidal, nothing),
        "turn": pick(rng, rotary, nothing),
        "ff": pick(rng, FeedForward, Gated),
        "norm": pick(rng, nn.LayerNorm, nn.RMSNorm),
        "residual": pick(rng, PreNorm, PostNorm),
        "final": pick(rng, nn.LayerNorm, nn.Identity),
        "n_groups": n_groups,
    }
    sizes = {"n_layers": n_layers, "n_heads": n_heads, "d_model": 2 * half * n_heads, "d_ff": int(rng.integers(1, 9))}
    return Spec(name="random", n_vocab=int(rng.integers(3, 12)), n_positions=16, **sizes, **(drawn | slots))


def random_ids(rng: np.random.Generator, spec: Spec, *shape: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, spec.n_vocab, shape))


# --- torch.nn's ------------------------------------------------------------------------------------------------------


def twin_layers(spec: Spec, act: str) -> dict:
    """Arguments of torch's layers for the same specification."""
    return {
        "d_model": spec.d_model, "nhead": spec.n_heads, "dim_feedforward": spec.d_ff, "dropout": 0.0, "activation": act,
        "layer_norm_eps": spec.eps, "batch_first": True, "norm_first": spec.residual is PreNorm, "bias": spec.bias,
    }  # fmt: skip


def matched(ours: Stack, theirs: nn.Module) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Each parameter of torch's stack, and ours that hold the same numbers, one below the other."""
    for mine, other in zip(ours.blocks, theirs.layers, strict=True):
        cross = isinstance(mine, CrossBlock)
        norms = [mine.add_mix, *([mine.add_cross] if cross else []), mine.add_ff]
        modules = {"linear1": mine.ff.up, "linear2": mine.ff.down}
        modules |= {f"norm{i + 1}": residual.norm for i, residual in enumerate(norms)}
        mixers = {"self_attn": mine.mix, "multihead_attn": mine.cross} if cross else {"self_attn": mine.mix}
        for name, p in other.named_parameters():
            first, *rest = name.split(".")
            if first not in mixers:
                yield p, [getattr(modules[first], rest[0])]
            elif rest[0] == "out_proj":
                yield p, [getattr(mixers[first].out, rest[1])]
            else:
                kind = rest[0].removeprefix("in_proj_")
                yield p, [getattr(layer, kind) for layer in (mixers[first].q, mixers[first].k, mixers[first].v)]
    if theirs.norm is not None:
        yield from ((p, [getattr(ours.final, name)]) for name, p in theirs.norm.named_parameters())


@torch.no_grad()
def copy(pairs: list[tuple[Tensor, list[Tensor]]]) -> None:
    """Shake theirs, and give ours the same numbers."""
    for p, ours in pairs:
        for mine, part in zip(ours, p.chunk(len(ours)), strict=True):
            mine.copy_(part)


def gradients(run, pairs: list, leaves: list[Tensor], mine: bool) -> list[Tensor]:
    """What `run` returns and the gradients of leaves and parameters, the parameters' packed as torch packs them."""
    packs = [ours if mine else [p] for p, ours in pairs]
    found = with_gradients(run, [*leaves, *(p for pack in packs for p in pack)], 0)
    n = len(found) - sum(map(len, packs))
    rest = iter(found[n:])
    return [*found[:n], *(torch.cat([next(rest) for _ in pack]) for pack in packs)]


def allowed(rng: np.random.Generator, *shape: int) -> Tensor:
    """A random table of bools in which each query has a key."""
    some = torch.from_numpy(rng.random(shape) < 0.6)
    some[..., rng.integers(shape[-1])] = True
    return some


def stack_error(reads: bool, rng: np.random.Generator) -> float:
    """An encoder, or a decoder that reads a memory, under random masks for each head: states and gradients."""
    act, bias = pick(rng, *ACTS), bool(rng.integers(2))
    norm = partial(nn.LayerNorm, bias=bias)  # torch's `bias` is that of norms too
    spec = random_spec(
        rng, n_groups=None, turn=nothing, ff=FeedForward, act=ACTS[act], norm=norm, bias=bias,
        final=pick(rng, norm, nn.Identity), block=CrossBlock if reads else Block,
    )  # fmt: skip
    B, T, S = rng.integers(1, 6, 3).tolist()
    sizes = twin_layers(spec, act)
    last = norm(spec.d_model, spec.eps) if spec.final is norm else None
    layer = nn.TransformerDecoderLayer(**sizes) if reads else nn.TransformerEncoderLayer(**sizes)
    kind = nn.TransformerDecoder if reads else nn.TransformerEncoder
    warnings.filterwarnings("ignore", "enable_nested_tensor")  # which is for speed in evaluation
    theirs, ours = shaken(kind(layer, spec.n_layers, norm=last), rng), Stack(spec).double()
    pairs = list(matched(ours, theirs))
    assert sum(len(own) for _, own in pairs) == len(list(ours.parameters()))
    copy(pairs)
    x, memory = normal(rng, B, T, spec.d_model).requires_grad_(), normal(rng, B, S, spec.d_model).requires_grad_()
    own, looks = allowed(rng, B, spec.n_heads, T, T), allowed(rng, B, spec.n_heads, T, S)
    their_own, their_looks = (~m.flatten(0, 1) for m in (own, looks))

    def mine():
        keep: list[Tensor] = []
        more = {"memory": [block.cross.read(memory) for block in ours.blocks]} if reads else {}
        ours(x, table(own), memory_mask=table(looks), keep=keep, **more)
        return keep

    def torchs():
        keep = [x]
        for block in theirs.layers:
            args = (memory, their_own, their_looks) if reads else (their_own,)
            keep.append(block(keep[-1], *args))
        return keep if theirs.norm is None else [*keep[:-1], theirs.norm(keep[-1])]

    leaves = [x, memory] if reads else [x]
    return biggest(gradients(mine, pairs, leaves, True), gradients(torchs, pairs, leaves, False))


# --- decoding --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def cache_error(reads: bool, dtype: torch.dtype, rng: np.random.Generator) -> float:
    """Ragged prompts go on greedily, change rows, and go on: each step's logits beside those of each row alone."""
    slots = {"block": CrossBlock, "body": EncoderDecoder, "embed": Scaled} if reads else {}
    spec = random_spec(rng, mask=causal, **slots)
    model = shaken(Model(spec), rng).to(dtype).eval()
    B, T, S = rng.integers(1, 5, 3).tolist()
    source, n = random_ids(rng, spec, B, S), torch.from_numpy(rng.integers(1, S + 1, B))
    lengths = torch.from_numpy(rng.integers(1, T + 1, B))
    prompts = random_ids(rng, spec, B, T)
    state = model.start(source, 16, padding(n)) if reads else model.start(B, 16)
    rows = [prompts[b, : lengths[b]].tolist() for b in range(B)]
    of = list(range(B))
    logits = model.step(prompts, state, lengths)
    last = logits[torch.arange(B), lengths - 1]
    error = 0.0
    for i in range(5):
        for b, row in enumerate(rows):
            alone = torch.tensor([row])
            whole = model(source[of[b], : n[of[b]]][None], alone) if reads else model(alone)
            error = max(error, biggest([last[b]], [whole[0, -1]]))
        if i == 2:
            swap = torch.from_numpy(rng.integers(0, B, int(rng.integers(1, 4))))
            state.reorder(swap)
            rows, of, last = [list(rows[b]) for b in swap], [of[b] for b in swap], last[swap]
            B = len(rows)
        goes_on = torch.from_numpy(rng.random(B) < 0.7)
        ids = last.argmax(-1)
        logits = model.step(ids[:, None], state, goes_on.long())[:, 0]
        last = torch.where(goes_on[:, None], logits, last)
        for b in range(B):
            rows[b] += [int(ids[b])] * bool(goes_on[b])
    return error


@torch.no_grad()
def padding_error(reads: bool, rng: np.random.Generator) -> float:
    """A padded batch beside each row alone, in all states of the real positions."""
    slots = (
        {"block": CrossBlock, "body": EncoderDecoder, "mask": causal} if reads else {"mask": pick(rng, full, causal)}
    )
    spec = random_spec(rng, **slots)
    model = shaken(Model(spec), rng).eval()
    B, S, T = rng.integers(1, 6, 3).tolist()
    ids, n = random_ids(rng, spec, B, S), torch.from_numpy(rng.integers(1, S + 1, B))
    target = random_ids(rng, spec, B, T)
    keep: list[Tensor] = []
    model(*((ids, target, padding(n)) if reads else (ids, None, padding(n))), keep=keep)
    error = 0.0
    for b in range(B):
        alone: list[Tensor] = []
        row = ids[b : b + 1, : n[b]]
        model(*((row, target[b : b + 1]) if reads else (row,)), keep=alone)
        assert len(alone) == len(keep) == (1 + spec.n_layers) * (1 + reads)
        parts = [k[b : b + 1, : one.shape[1]] for k, one in zip(keep, alone, strict=True)]
        error = max(error, biggest(parts, alone))
    return error
