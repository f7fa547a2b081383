"""Each back end and the reference on the same numbers; each `..._error` is the largest difference found."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lib.attention import masks, scores
from lib.attention.backends import attention, explain
from lib.attention.core import Attention, attend
from tests.attention.twins import all_masks, all_scores, biggest, heads, mha_pair, normal, with_gradients


def some_mask(rng: np.random.Generator, B: int, H: int, T: int, S: int) -> masks.Mask:
    """One of all kinds, or several of those that have a pattern; some leave queries without a key."""
    N = max(T, S)
    ids = torch.from_numpy(np.sort(rng.integers(0, 3, (B, N)), 1))
    lengths = torch.from_numpy(rng.integers(0, S + 1, B))
    kinds = all_masks(rng, B, H, N) | {
        "packed": masks.and_masks(masks.causal, masks.sliding_window(3), masks.documents(ids), masks.padding(lengths)),
        "padded": masks.and_masks(masks.causal, masks.padding(lengths)),
    }
    return list(kinds.values())[rng.integers(len(kinds))]


def some_score(rng: np.random.Generator, H: int) -> scores.Score:
    kinds = all_scores(rng, H) | {
        "capped, then ALiBi": scores.Compose(scores.soft_cap(1.5), scores.alibi(H)),
        "two that add": scores.Compose(scores.alibi(H), scores.T5Bias(H, 8, 6).double()),
    }
    return list(kinds.values())[rng.integers(len(kinds))]


def supported(backend: str, rng: np.random.Generator) -> tuple[list[torch.Tensor], tuple, torch.Tensor | None]:
    """Random heads, (mask, score, scale) and sinks that the back end can do."""
    while True:
        q, k, v = heads(rng)
        B, H, T, S = *q.shape[:3], k.shape[2]
        options = some_mask(rng, B, H, T, S), some_score(rng, H), None if rng.integers(2) else float(rng.normal())
        sinks = normal(rng, H).requires_grad_() if rng.integers(2) else None
        try:
            explain(q.float(), k.float(), v.float(), *options, sinks=sinks, backend=backend)
        except ValueError:
            continue
        return [q, k, v], options, sinks


def backend_error(backend: str, dtype: torch.dtype, rng: np.random.Generator) -> float:
    """Every mask, score and scale that the back end can do, with and without sinks: output, gradients."""
    three, options, sinks = supported(backend, rng)
    leaves = [x.detach().to(dtype).requires_grad_() for x in three]
    if sinks is not None:
        leaves.append(sinks.detach().to(dtype).requires_grad_())
    wide = [x.detach().double().requires_grad_() for x in leaves]
    ours = with_gradients(
        lambda: [attention(*leaves[:3], *options, sinks=(*leaves, None)[3], backend=backend)], leaves, 4
    )
    theirs = with_gradients(lambda: [attend(*wide[:3], *options, sinks=(*wide, None)[3])], wide, 4)
    return biggest([x.double() for x in ours], theirs)


def sinks_error(rng: np.random.Generator) -> float:
    """The reference's sinks beside torch: one more key and value of zeros, whose bias is the sink."""
    q, k, v = heads(rng)
    B, H, T, S = *q.shape[:3], k.shape[2]
    sinks = normal(rng, H).requires_grad_()
    allowed = torch.from_numpy(rng.random((B, H, T, S)) < 0.5)

    def theirs():
        bias = q.new_zeros(B, H, T, S).masked_fill(~allowed, -torch.inf)
        bias = torch.cat((bias, sinks[None, :, None, None].expand(B, H, T, 1)), -1)
        more = [torch.cat((x, torch.zeros_like(x[:, :, :1])), 2) for x in (k, v)]
        return [F.scaled_dot_product_attention(q, *more, attn_mask=bias, enable_gqa=True)]

    ours = with_gradients(
        lambda: [attend(q, k, v, lambda b, h, i, j: allowed[b, h, i, j], sinks=sinks)], [q, k, v, sinks], 5
    )
    return biggest(ours, with_gradients(theirs, [q, k, v, sinks], 5))


def layer_error(rng: np.random.Generator) -> float:
    """The layer with `attention` in its slot beside nn.MultiheadAttention, causal, in eager torch: outputs."""
    ours, theirs = mha_pair(rng, False)
    layer = Attention(
        ours.d_model, theirs.num_heads, bias=theirs.in_proj_bias is not None, mask=masks.causal, attend=attention
    )
    layer.double().load_state_dict(ours.state_dict())
    x = normal(rng, *rng.integers(1, 7, 2).tolist(), ours.d_model)
    ahead = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
    return biggest([layer(x)], [theirs(x, x, x, attn_mask=ahead, need_weights=False)[0]])


COMPILED = {  # name -> mask for 2 sequences of 131 keys, score for 4 heads
    "a window, packed, some queries blind": lambda: (
        masks.and_masks(
            masks.causal,
            masks.sliding_window(40),
            masks.documents((torch.arange(131) // 50).expand(2, 131).contiguous()),
            masks.padding([131, 60]),
        ),
        scores.Compose(scores.T5Bias(4), scores.alibi(4), scores.soft_cap(2.0)),
    ),
    "global tokens": lambda: (
        masks.or_masks(masks.sliding_window(9), masks.global_tokens((torch.arange(131) == 7).expand(2, 131))),
        scores.same,
    ),
}


@torch.no_grad()
def compiled_error() -> float:
    """attention(backend="flex"), compiled, float32, with a mask that has a pattern and one that has none."""
    rng, found = np.random.default_rng(0), 0.0
    for make in COMPILED.values():
        q, k, v = (normal(rng, 2, n, 131, 16) for n in (4, 2, 2))
        mask, score = make()
        ours = attention(q.float(), k.float(), v.float(), mask, score, backend="flex")
        score = score.double() if isinstance(score, nn.Module) else score
        found = max(found, biggest([ours.double()], [attend(q, k, v, mask, score)]))
    return found
