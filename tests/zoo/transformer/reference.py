"""The transformer beside torch.nn.Transformer with the same weights, between embeddings and logits written out here."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from lib.attention.masks import padding
from lib.spec import get
from lib.stack import Model
from tests.attention.twins import biggest, shaken
from tests.stack.twins import copy, gradients, matched, random_ids, twin_layers


def sinusoids(n: int, d: int) -> Tensor:
    """Section 3.5 of the paper, number by number."""
    rows = [[(math.cos if i % 2 else math.sin)(p / 10000 ** ((i - i % 2) / d)) for i in range(d)] for p in range(n)]
    return torch.tensor(rows, dtype=torch.float64)


def error(name: str, final: bool, rng: np.random.Generator) -> float:
    """All hidden states, logits and gradients of a padded batch, with torch's final norms or without."""
    n_heads, half, n_layers, d_ff, n_vocab = rng.integers([1, 1, 1, 1, 3], [4, 4, 4, 9, 12]).tolist()
    sizes = {"n_layers": n_layers, "n_heads": n_heads, "d_model": 2 * half * n_heads, "d_ff": d_ff, "n_vocab": n_vocab}
    spec = get(name).but(**sizes, p_dropout=0.0, final=nn.LayerNorm if final else nn.Identity)
    args = twin_layers(spec, "relu")
    warnings.filterwarnings("ignore", "enable_nested_tensor")  # which is for speed in evaluation
    without = {
        "custom_encoder": nn.TransformerEncoder(nn.TransformerEncoderLayer(**args), n_layers),
        "custom_decoder": nn.TransformerDecoder(nn.TransformerDecoderLayer(**args), n_layers),
    }
    depths = {"num_encoder_layers": n_layers, "num_decoder_layers": n_layers}
    theirs = nn.Transformer(**args, **depths, **({} if final else without))
    shaken(theirs, rng)
    ours = Model(spec).double()
    embed = shaken(ours.body.embed, rng).tokens.weight
    pairs = [*matched(ours.body.encoder, theirs.encoder), *matched(ours.body.decoder, theirs.decoder)]
    assert 1 + sum(len(own) for _, own in pairs) == len(list(ours.parameters()))
    copy(pairs)

    B, S, T = rng.integers(1, 6, 3).tolist()
    source, target, n = random_ids(rng, spec, B, S), random_ids(rng, spec, B, T), rng.integers(1, S + 1, B)
    lengths = torch.from_numpy(n)

    def mine():
        keep: list[Tensor] = []
        return [ours(source, target, padding(lengths), keep=keep), *keep]

    def torchs():
        x, y = (embed[ids] * spec.d_model**0.5 + sinusoids(ids.shape[1], spec.d_model) for ids in (source, target))
        keep: list[Tensor] = []
        stacks = theirs.encoder, theirs.decoder
        hooks = [
            block.register_forward_hook(lambda _, args, out: keep.extend(args[:1]))
            for stack in stacks
            for block in stack.layers
        ]
        hooks += [stack.register_forward_hook(lambda _, args, out: keep.append(out)) for stack in stacks]
        outside = torch.arange(S) >= lengths[:, None]
        ahead = torch.ones(T, T, dtype=torch.bool).triu(1)
        out = theirs(x, y, tgt_mask=ahead, src_key_padding_mask=outside, memory_key_padding_mask=outside)
        for hook in hooks:
            hook.remove()
        return [out @ embed.T, *keep]

    return biggest(gradients(mine, pairs, [embed], True), gradients(torchs, pairs, [embed], False))
