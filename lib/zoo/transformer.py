"""The transformer of 2017, encoder and decoder, and its pre-norm form, which is easier to train.

Differs from torch.nn.Transformer: embeddings and positions are part of it, one table serves both languages and the
logits, no dropout stands inside the feed-forward layer, and the original has no final norm, which torch adds.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from lib.attention.masks import causal
from lib.layers.embed import Scaled, sinusoidal
from lib.spec import Spec, add
from lib.stack import CrossBlock, EncoderDecoder, PostNorm, PreNorm, xavier

transformer = add(
    Spec(
        name="transformer",
        paper="arXiv:1706.03762",  # table 3, "base"
        n_vocab=37000,
        n_layers=6,
        n_heads=8,
        d_model=512,
        d_ff=2048,
        p_dropout=0.1,
        embed=Scaled,
        pos=sinusoidal,
        mask=causal,
        act=F.relu,
        residual=PostNorm,
        block=CrossBlock,
        body=EncoderDecoder,
        init=xavier,
    )
)

pre_norm = add(
    transformer.but(
        name="transformer-pre-norm",
        parent="transformer",
        paper="arXiv:2002.04745",
        residual=PreNorm,
        final=nn.LayerNorm,
    )
)
