"""GPT-2: the norm moves to the front of each sublayer, and what the sublayers add begins smaller the more there are."""

from __future__ import annotations

import torch
from torch import nn

from lib.heads import LM, OfPrefixes, States, TiedLM
from lib.layout import ACTS, Head, Layout, Rule, one_of, register
from lib.spec import add
from lib.stack import Model, PreNorm, normal
from lib.zoo import gpt


@torch.no_grad()
def normal_by_depth(model: Model) -> None:
    """`normal`, with the last matrix of each sublayer from N(0, std / sqrt(2 n_layers)): the stream adds up that many.

    A. Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.3.
    """
    normal(model)
    for name, p in model.named_parameters():
        if name.endswith(("mix.out.weight", "ff.down.weight")):
            p /= (2 * model.spec.n_layers) ** 0.5


gpt2 = add(
    gpt.gpt.but(
        name="gpt2",
        parent="gpt",
        paper="https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
        n_vocab=50257,
        n_positions=1024,
        residual=PreNorm,
        final=nn.LayerNorm,
        init=normal_by_depth,
    )
)

width = Rule(
    ("n_inner", "n_embd"), lambda config: config["n_inner"] or 4 * config["n_embd"], lambda d, spec: {"n_inner": d}
)
fields = gpt.fields | {"act": one_of("activation_function", ACTS), "d_ff": width}
names = ("embed.tokens", "transformer.wte"), ("embed.pos", "transformer.wpe"), ("stack.final", "transformer.ln_f")
heads = (
    Head("GPT2LMHeadModel", TiedLM, tied=True),
    Head("GPT2LMHeadModel", LM, (("out", "lm_head"),), tied=False),
    Head("GPT2ForSequenceClassification", OfPrefixes, (("out", "score"),)),
    Head("GPT2Model", States),
)
layout = register(
    Layout(
        "gpt2", gpt2, "GPT2Model", "transformer.", fields, (*names, *gpt.blocks), heads,
        fixed={"add_cross_attention": False, "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False},
        absent={"n_inner": None},
        harmless=("reorder_and_upcast_attn", "summary_*", "n_ctx"),
        dropped=("*.attn.bias", "*.attn.masked_bias", "lm_head.weight"),
    )
)  # fmt: skip
