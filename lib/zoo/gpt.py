"""GPT: the decoder of 2017 by itself. It reads what it has written, and a task is text to go on with."""

from __future__ import annotations

from lib.heads import States, TiedLM
from lib.layers.embed import Embedding, learned
from lib.layers.ff import gelu_tanh
from lib.layout import Head, Layout, Rule, columns, equal, one_of, register, within
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
blocks = within("stack.blocks.{}.", "transformer.h.{}.", (
    *((f"mix.{name}", "attn.c_attn", columns(i, 3)) for i, name in enumerate("qkv")),
    ("mix.out", "attn.c_proj", columns(0, 1)), ("add_mix.norm", "ln_1"),
    ("ff.up", "mlp.c_fc", columns(0, 1)), ("ff.down", "mlp.c_proj", columns(0, 1)), ("add_ff.norm", "ln_2"),
))  # fmt: skip
names = ("embed.tokens", "transformer.tokens_embed"), ("embed.pos", "transformer.positions_embed")
heads = Head("OpenAIGPTLMHeadModel", TiedLM, tied=True), Head("OpenAIGPTModel", States)
layout = register(
    Layout(
        "openai-gpt", gpt, "OpenAIGPTModel", "transformer.", fields, (*names, *blocks), heads,
        harmless=("summary_*", "predict_special_tokens", "n_ctx"), dropped=("*.attn.bias", "lm_head.weight"),
    )
)  # fmt: skip
