"""Llama: GPT-2 with what five years had found: rotary positions, RMSNorm, gated feed-forward layers, no bias.

Its children have fewer heads that are asked than heads that ask, slower angles for longer texts, and a tied table.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from lib.heads import LM, OfPrefixes, States, TiedLM
from lib.layers.embed import nothing, rotary, stretched
from lib.layers.ff import Gated
from lib.layers.pos import llama3
from lib.layout import ACTS, BASE, GROUPS, TURN, WIDTH, Head, Layout, equal, one_of, register, within
from lib.spec import add
from lib.stack import normal
from lib.zoo.gpt2 import gpt2

llama = add(
    gpt2.but(
        name="llama", parent="gpt2", paper="arXiv:2302.13971", n_vocab=32000, n_positions=2048, n_layers=32, n_heads=32,
        d_model=4096, d_ff=11008, eps=1e-6, p_dropout=0.0, p_attend=0.0, bias=False, pos=nothing, turn=rotary,
        ff=Gated, act=F.silu, norm=nn.RMSNorm, final=nn.RMSNorm, head=LM, init=normal,
    )
)  # fmt: skip
sizes = {"n_vocab": 128256, "n_positions": 8192, "n_groups": 8, "d_ff": 14336, "base": 500000.0, "eps": 1e-5}
three = add(llama.but(name="llama-3", parent="llama", paper="arXiv:2407.21783", **sizes))
longer = add(three.but(name="llama-3.1", parent="llama-3", n_positions=131072, turn=stretched(llama3())))
sizes = {"n_layers": 16, "d_model": 2048, "d_ff": 8192, "turn": stretched(llama3(factor=32.0))}
small = add(longer.but(name="llama-3.2-1b", parent="llama-3.1", head=TiedLM, **sizes))

fields = {
    "n_vocab": "vocab_size", "n_positions": "max_position_embeddings", "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads", "n_groups": GROUPS, "d_model": WIDTH, "d_ff": "intermediate_size",
    "eps": "rms_norm_eps", "std": "initializer_range", "p_attend": "attention_dropout", "base": BASE, "turn": TURN,
    "bias": equal("attention_bias", "mlp_bias"), "act": one_of("hidden_act", ACTS),
}  # fmt: skip
keys = (
    ("embed.tokens", "model.embed_tokens"), ("stack.final", "model.norm"),
    *within("stack.blocks.{}.", "model.layers.{}.", (
        *((f"mix.{name}", f"self_attn.{name}_proj") for name in "qkv"), ("mix.out", "self_attn.o_proj"),
        *((f"ff.{name}", f"mlp.{name}_proj") for name in ("gate", "up", "down")),
        ("add_mix.norm", "input_layernorm"), ("add_ff.norm", "post_attention_layernorm"),
    )),
)  # fmt: skip
heads = (
    Head("LlamaForCausalLM", LM, (("out", "lm_head"),), tied=False),
    Head("LlamaForCausalLM", TiedLM, tied=True),
    Head("LlamaForSequenceClassification", OfPrefixes, (("out", "score"),)), Head("LlamaModel", States),
)  # fmt: skip
layout = register(
    Layout(
        "llama", llama, "LlamaModel", "model.", fields, keys, heads, fixed={"rope_interleaved": False},
        absent=dict.fromkeys(("head_dim", "rope_parameters", "rope_scaling", "num_key_value_heads"))
        | {"tie_word_embeddings": False, "rope_theta": 10000.0, "attention_bias": False, "mlp_bias": False}
        | {"attention_dropout": 0.0},
        harmless=("pretraining_tp", "is_llama_config"), dropped=("*.rotary_emb.inv_freq", "lm_head.weight"),
    )
)  # fmt: skip
