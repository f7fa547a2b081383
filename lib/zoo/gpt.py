"""GPT: the decoder of 2017 by itself. It reads what it has written, and a task is text to go on with."""

from __future__ import annotations

from lib.heads import States, TiedLM
from lib.layers.embed import Embedding, learned
from lib.layers.ff import gelu_tanh
from lib.layout import Head, Layout, Rule, columns, equal, one_of, register
from lib.spec import add
from lib.stack import Block, Single, normal
from lib.zoo.transformer import transformer

gpt = add(
    transformer.but(
        name="gpt",
        parent="transformer",
        paper="https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
        n_vocab=40478,
        n_positions=512,
        n_layers=12,
        n_heads=12,
        d_model=768,
        d_ff=3072,
        p_attend=0.1,
        embed=Embedding,
        pos=learned,
        act=gelu_tanh,
        block=Block,
        body=Single,
        init=normal,
    )
)

fields = {
    "n_vocab": "vocab_size", "n_positions": "n_positions", "n_layers": "n_layer", "n_heads": "n_head",
    "d_model": "n_embd", "d_ff": Rule(("n_embd",), lambda config: 4 * config["n_embd"], lambda d, spec: {}),
    "eps": "layer_norm_epsilon", "p_dropout": equal("resid_pdrop", "embd_pdrop"), "p_attend": "attn_pdrop",
    "std": "initializer_range", "act": one_of("afn", {"gelu": gelu_tanh}),
}  # fmt: skip
blocks = (
    *((f"stack.blocks.{{}}.mix.{name}", "transformer.h.{}.attn.c_attn", columns(i, 3)) for i, name in enumerate("qkv")),
    ("stack.blocks.{}.mix.out", "transformer.h.{}.attn.c_proj", columns(0, 1)),
    ("stack.blocks.{}.add_mix.norm", "transformer.h.{}.ln_1"),
    ("stack.blocks.{}.ff.up", "transformer.h.{}.mlp.c_fc", columns(0, 1)),
    ("stack.blocks.{}.ff.down", "transformer.h.{}.mlp.c_proj", columns(0, 1)),
    ("stack.blocks.{}.add_ff.norm", "transformer.h.{}.ln_2"),
)
names = ("embed.tokens", "transformer.tokens_embed"), ("embed.pos", "transformer.positions_embed")
heads = Head("OpenAIGPTLMHeadModel", TiedLM, tied=True), Head("OpenAIGPTModel", States)
layout = register(
    Layout(
        "openai-gpt", gpt, "OpenAIGPTModel", "transformer.", fields, (*names, *blocks), heads,
        harmless=("summary_*", "predict_special_tokens", "n_ctx"), dropped=("*.attn.bias", "lm_head.weight"),
    )
)  # fmt: skip
