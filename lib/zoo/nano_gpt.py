"""nanoGPT: GPT-2 without biases. And the same in the light of later finds, for a small machine and little time."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from lib.attention.backends import attention
from lib.heads import CappedLM
from lib.layers.embed import normed_rotary, nothing
from lib.layers.ff import squared_relu
from lib.spec import add
from lib.stack import Model, fill
from lib.zoo.gpt2 import gpt2

norm = partial(nn.LayerNorm, bias=False)
nano_gpt = add(
    gpt2.but(
        name="nano-gpt", parent="gpt2", paper="https://github.com/karpathy/nanoGPT", p_dropout=0.0, p_attend=0.0,
        bias=False, act=F.gelu, norm=norm, final=norm, attend=attention,
    )
)  # fmt: skip


@torch.no_grad()
def still(model: Model) -> None:
    """What is added to the stream begins as 0, and so do the logits: every block starts as the identity.

    Other matrices from N(0, std), and the table from N(0, 1), as no norm stands between it and the stream.
    H. Zhang et al. (2019), "Fixup Initialization", section 3: the last layer of each residual branch at 0.
    """
    fill(model, lambda w: nn.init.normal_(w, std=model.spec.std), nn.init.normal_)
    for name, p in model.named_parameters():
        if name.endswith(("mix.out.weight", "ff.down.weight", "head.out.weight")):
            p.zero_()


norm = partial(nn.LayerNorm, elementwise_affine=False)
mini_gpt = add(
    nano_gpt.but(
        name="mini-gpt", parent="nano-gpt", paper="https://github.com/KellerJordan/modded-nanogpt", pos=nothing,
        turn=normed_rotary, act=squared_relu, norm=norm, final=norm, head=CappedLM, init=still,
    )
)  # fmt: skip
