"""Ours and torch's attention on the same numbers; each `..._error` is the largest difference found.

Masks and biases here are random tables, so that what is given to torch owes nothing to `lib.attention.masks`.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from lib.attention import masks, scores
from lib.attention.core import Attention, attend, weights
from lib.attention.decode import Cache, PagedCache, SlidingCache
from lib.layers.pos import Rotary
from tests.claims import difference


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(rng.normal(0, scale, shape))


def shaken(module: torch.nn.Module, rng: np.random.Generator) -> torch.nn.Module:
    """The module in float64, every parameter from N(0, 0.2)."""
    module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(normal(rng, *p.shape, scale=0.2))
    return module


def biggest(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    return max(difference(a.detach().numpy(), b.detach().numpy()) for a, b in zip(ours, theirs, strict=True))


def with_gradients(run, leaves: list[torch.Tensor], weigh: int) -> list[torch.Tensor]:
    """run() -> tensors; those, and the gradients of the leaves for a loss that weighs every number at random."""
    outputs = run()
    rng = np.random.default_rng(weigh)
    return [*outputs, *torch.autograd.grad(sum((y * normal(rng, *y.shape)).sum() for y in outputs), leaves)]


def heads(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q (B, H, T, D), k and v (B, G, S, D), of random sizes."""
    B, G, share, T, S, D = rng.integers(1, [4, 4, 4, 8, 8, 6]).tolist()
    q, k, v = normal(rng, B, G * share, T, D), normal(rng, B, G, S, D), normal(rng, B, G, S, D)
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()


def table(allowed: torch.Tensor) -> masks.Mask:
    return lambda b, h, q, k: allowed[b, h, q, k]


def sdpa_error(rng: np.random.Generator) -> float:
    """`attend` beside scaled_dot_product_attention: grouped heads, any mask, a bias; no query is left without a key."""
    q, k, v = heads(rng)
    B, H, T, S = *q.shape[:3], k.shape[2]
    allowed = torch.from_numpy(rng.random((B, H, T, S)) < 0.6)
    allowed[..., rng.integers(S)] = True
    bias = normal(rng, B, H, T, S)
    scale = None if rng.integers(2) else float(rng.normal())

    def add(s, b, h, i, j):
        return s + bias[b, h, i, j]

    table_of_bias = bias.masked_fill(~allowed, -torch.inf)
    ours = with_gradients(lambda: [attend(q, k, v, table(allowed), add, scale)], [q, k, v], 0)

    def sdpa():
        return [F.scaled_dot_product_attention(q, k, v, attn_mask=table_of_bias, scale=scale, enable_gqa=True)]

    return biggest(ours, with_gradients(sdpa, [q, k, v], 0))


def mha_pair(rng: np.random.Generator, memory: bool) -> tuple[Attention, torch.nn.MultiheadAttention]:
    """Ours and nn.MultiheadAttention with the same shaken weights."""
    n_heads, d_head, d_memory = rng.integers(1, 5, 3).tolist()
    d, bias = n_heads * d_head, bool(rng.integers(2))
    theirs = torch.nn.MultiheadAttention(
        d, n_heads, bias=bias, batch_first=True, kdim=d_memory if memory else None, vdim=d_memory if memory else None
    )
    shaken(theirs, rng)
    ours = Attention(d, n_heads, d_memory=d_memory if memory else None, bias=bias).double()
    if theirs.in_proj_weight is None:  # k and v of another width than x
        three = theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight
    else:
        three = theirs.in_proj_weight.chunk(3)
    with torch.no_grad():
        for layer, w in zip((ours.q, ours.k, ours.v, ours.out), (*three, theirs.out_proj.weight), strict=True):
            layer.weight.copy_(w)
        if bias:
            biases = (*theirs.in_proj_bias.chunk(3), theirs.out_proj.bias)
            for layer, b in zip((ours.q, ours.k, ours.v, ours.out), biases, strict=True):
                layer.bias.copy_(b)
    return ours, theirs


def as_theirs(ours: Attention, gradients: list[torch.Tensor], theirs: torch.nn.MultiheadAttention) -> list:
    """Ours, one for each parameter of ours, in the order and the packing of theirs."""
    g = {name: gradient for (name, _), gradient in zip(ours.named_parameters(), gradients, strict=True)}
    g["in_proj_weight"] = torch.cat([g[f"{n}.weight"] for n in "qkv"]) if theirs.in_proj_weight is not None else None
    g["in_proj_bias"] = torch.cat([g[f"{n}.bias"] for n in "qkv"]) if theirs.in_proj_bias is not None else None
    for n in "qkv":
        g[f"{n}_proj_weight"] = g[f"{n}.weight"]
    return [g[name.replace("out_proj", "out")] for name, _ in theirs.named_parameters()]


def mha_error(memory: bool, rng: np.random.Generator) -> float:
    """The layer beside nn.MultiheadAttention: self- or cross-attention, padding, output, weights, all gradients."""
    ours, theirs = mha_pair(rng, memory)
    B, T, S = rng.integers(1, 7, 3).tolist()
    x = normal(rng, B, T, ours.d_model).requires_grad_()
    m = normal(rng, B, S, ours.d_memory).requires_grad_() if memory else x
    S = m.shape[1]
    lengths = torch.from_numpy(rng.integers(1, S + 1, B))
    padded = torch.arange(S) >= lengths[:, None]

    def run_ours():
        mask = masks.padding(lengths)
        return [ours(x, m if memory else None, mask), ours.weights(x, m if memory else None, mask)]

    inputs = [x, m] if memory else [x]
    a = with_gradients(run_ours, [*inputs, *ours.parameters()], 1)
    b = with_gradients(
        lambda: theirs(x, m, m, key_padding_mask=padded, average_attn_weights=False),
        [*inputs, *theirs.parameters()],
        1,
    )
    n = 2 + len(inputs)
    return biggest([*a[:n], *as_theirs(ours, a[n:], theirs)], b)


def grouped_error(rng: np.random.Generator) -> float:
    """Grouped heads are nn.MultiheadAttention with the keys and values of each group repeated for its heads."""
    G, share, d_head, B, T = rng.integers(1, 4, 5).tolist()
    d = G * share * d_head
    ours = shaken(Attention(d, G * share, G, mask=masks.causal), rng)
    theirs = torch.nn.MultiheadAttention(d, G * share, batch_first=True).double()

    def repeated(rows: torch.Tensor) -> torch.Tensor:
        """One for each group -> one for each head."""
        return rows.detach().unflatten(0, (G, 1, d_head)).expand(-1, share, -1, *rows.shape[1:]).flatten(0, 2)

    def summed(rows: torch.Tensor) -> torch.Tensor:
        """The gradients of the heads of a group meet in what they share."""
        return rows.unflatten(0, (G, share, d_head)).sum(1).flatten(0, 1)

    with torch.no_grad():
        for kind, packed in (("weight", theirs.in_proj_weight), ("bias", theirs.in_proj_bias)):
            q, k, v = (getattr(layer, kind) for layer in (ours.q, ours.k, ours.v))
            packed.copy_(torch.cat((q, repeated(k), repeated(v))))
            getattr(theirs.out_proj, kind).copy_(getattr(ours.out, kind))

    x = normal(rng, B, T, d).requires_grad_()
    ahead = torch.ones(T, T, dtype=torch.bool).triu(1)
    layers = ours.q, ours.k, ours.v
    mine = [*(layer.weight for layer in layers), *(layer.bias for layer in layers)]
    a = with_gradients(lambda: [ours(x)], [x, *mine], 3)
    b = with_gradients(
        lambda: [theirs(x, x, x, attn_mask=ahead, need_weights=False)[0]],
        [x, theirs.in_proj_weight, theirs.in_proj_bias],
        3,
    )
    split = [part if i == 0 else summed(part) for packed in b[2:] for i, part in enumerate(packed.chunk(3))]
    return biggest(a, [*b[:2], *split])


def all_masks(rng: np.random.Generator, B: int, H: int, N: int) -> dict[str, masks.Mask]:
    """One of each kind, for up to N positions."""
    lengths = torch.from_numpy(rng.integers(0, N + 1, B))
    ids = torch.from_numpy(rng.integers(0, 3, (B, N)))
    marks = torch.from_numpy(rng.random((B, N)) < 0.3)
    layout = torch.from_numpy(rng.random((H, 4, 4)) < 0.5)
    window = masks.sliding_window(int(rng.integers(1, 4)))
    return {
        "full": masks.full,
        "causal": masks.causal,
        "sliding window": window,
        "causal window": masks.and_masks(masks.causal, window),
        "dilated": masks.dilated(2),
        "padding": masks.padding(lengths),
        "prefix": masks.prefix(lengths),
        "documents": masks.documents(ids),
        "global tokens": masks.or_masks(window, masks.global_tokens(marks)),
        "block sparse": masks.block_sparse(layout, -(-N // 4)),
        "not causal": masks.not_mask(masks.causal),
        "moved": masks.moved(masks.causal, ids - 1, ids - 1),
    }


def all_scores(rng: np.random.Generator, H: int) -> dict[str, scores.Score]:
    """One of each kind; those that learn are shaken."""
    t5 = shaken(scores.T5Bias(H, 8, 6), rng)
    relative = shaken(scores.RelativeBias(H, 2), rng)
    return {
        "same": scores.same,
        "soft cap": scores.soft_cap(1.5),
        "ALiBi": scores.alibi(H),
        "T5": t5.forward,
        "relative": relative.forward,
        "composed": scores.Compose(t5, scores.alibi(H), scores.soft_cap(2.0)).forward,
    }


def flex_error(rng: np.random.Generator) -> float:
    """Every mask and every score, as they are, in flex_attention (eager) and in `attend`: the output.

    That also holds the functions to flex_attention's contract, which calls them with single numbers under vmap.
    """
    q, k, v = (x.detach() for x in heads(rng))
    (B, H, T, _), S = q.shape, k.shape[2]
    some_masks, some_scores = list(all_masks(rng, B, H, max(T, S)).values()), list(all_scores(rng, H).values())
    mask, score = some_masks[rng.integers(len(some_masks))], some_scores[rng.integers(len(some_scores))]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that eager flex_attention is slow
        theirs = flex_attention(q, k, v, score, create_block_mask(mask, B, H, T, S, device="cpu"), enable_gqa=True)
        return biggest([attend(q, k, v, mask, score)], [theirs])


@torch.no_grad()
def compiled_error() -> float:
    """A windowed mask of packed documents and a score of three, compiled by flex_attention, in float32."""
    rng = np.random.default_rng(0)
    q, k, v = (normal(rng, 2, n, 131, 16).float() for n in (4, 2, 2))
    ids = (torch.arange(131) // 50).expand(2, 131).contiguous()
    mask = masks.and_masks(masks.causal, masks.sliding_window(40), masks.documents(ids))
    score = scores.Compose(scores.T5Bias(4), scores.alibi(4), scores.soft_cap(2.0)).forward
    block_mask = create_block_mask(mask, 2, 4, 131, 131, device="cpu")
    theirs = torch.compile(flex_attention, dynamic=False, fullgraph=True)(q, k, v, score, block_mask, enable_gqa=True)
    return biggest([attend(q, k, v, mask, score)], [theirs])


def blind_error(rng: np.random.Generator) -> float:
    """A query that may attend to nothing, beside the rest computed without it: zeros, in the gradients too."""
    q, k, v = heads(rng)
    T = q.shape[2]
    allowed = torch.from_numpy(rng.random((1, 1, T, 1)) < 0.5).expand(len(q), q.shape[1], T, k.shape[2])
    seeing = allowed[0, 0, :, 0]

    def with_blind():
        return [attend(q, k, v, table(allowed)), weights(q, k, table(allowed))]

    def without():
        y, w = torch.zeros_like(q), q.new_zeros(allowed.shape)
        if seeing.any():
            y[:, :, seeing] = attend(q[:, :, seeing], k, v)
            w[:, :, seeing] = weights(q[:, :, seeing], k)
        return [y + 0 * (q.sum() + k.sum() + v.sum()), w]

    return biggest(with_gradients(with_blind, [q, k, v], 2), with_gradients(without, [q, k, v], 2))


CACHES = {
    "Cache": lambda *room, **kind: Cache(*room, 42, 4, **kind),
    "SlidingCache": lambda *room, **kind: SlidingCache(*room, 5, 4, **kind),
    "PagedCache": lambda *room, **kind: PagedCache(*room, 60, 3, 4, **kind),
}


@torch.no_grad()
def cache_error(name: str, dtype: torch.dtype, rng: np.random.Generator) -> float:
    """Random calls on a cache, each output beside the uncached one of the whole sequence on its own.

    A call brings 1 to 7 tokens, of which each row takes its own number, the others NaN; between calls rows are reset,
    reordered, doubled and dropped. Windows of 5 and blocks of 3 end anywhere.
    """
    G = int(rng.choice([1, 2, 4]))
    mask = masks.and_masks(masks.causal, masks.sliding_window(5) if name == "SlidingCache" else masks.dilated(2))
    score = scores.Compose(scores.T5Bias(4, 8, 6), scores.alibi(4))
    layer = shaken(Attention(16, 4, G, mask=mask, score=score, pos=Rotary(4)), rng).to(dtype)
    cache = CACHES[name](int(rng.integers(1, 4)), G, dtype=dtype)
    histories = [torch.zeros(0, 16, dtype=dtype) for _ in cache.n]
    found = 0.0
    for _ in range(int(rng.integers(1, 7))):
        B, T = len(histories), int(rng.choice([1, 1, 2, 7]))
        lengths = rng.integers(0, T + 1, B).tolist() if rng.integers(2) else [T] * B
        x = normal(rng, B, T, 16).to(dtype)
        for b, n in enumerate(lengths):
            histories[b] = torch.cat((histories[b], x[b, :n]))
            x[b, n:] = torch.nan
        y = layer(x, cache=cache, lengths=lengths)
        for b, n in enumerate(lengths):
            if n:
                found = max(found, difference(y[b, :n].numpy(), layer(histories[b][None])[0, -n:].numpy()))
        assert cache.n.tolist() == [len(history) for history in histories]
        if rng.integers(2):
            rows = rng.integers(0, B, int(rng.integers(1, 4))).tolist()
            cache.reorder(torch.tensor(rows))
            histories = [histories[row] for row in rows]
        if rng.integers(2):
            rows = [b for b in range(len(histories)) if rng.integers(2)]
            cache.reset(torch.tensor(rows, dtype=torch.long))
            for b in rows:
                histories[b] = histories[b][:0]
    return found
