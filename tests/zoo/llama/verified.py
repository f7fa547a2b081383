"""What is claimed of `lib.zoo.llama`. Random sizes and numbers, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.zoo.family import claims

ROPE = {
    "default": {},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "llama3": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64
    },
}  # fmt: skip
"""The kinds of scaling; with 64 positions llama3 leaves some frequencies alone, changes some and blends some."""


def config(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    n_groups, share, half, n_layers, d_ff, n_vocab = rng.integers([1, 1, 2, 1, 1, 3], [4, 4, 5, 4, 9, 12]).tolist()
    n_heads, biased = n_groups * share, bool(rng.integers(2))
    return {
        "vocab_size": n_vocab, "pad_token_id": 0, "hidden_size": 2 * half * n_heads, "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads, "num_key_value_heads": n_groups, "intermediate_size": d_ff,
        "rms_norm_eps": float(rng.choice([1e-6, 0.1])), "tie_word_embeddings": bool(rng.integers(2)),
        "attention_bias": biased, "mlp_bias": biased,
        "max_position_embeddings": 4 if kind == "dynamic" else 32,  # a batch is then longer than what was trained on
        "rope_parameters": {"rope_type": kind, "rope_theta": float(rng.choice([100.0, 10000.0])), **ROPE[kind]},
    }  # fmt: skip


def claims_of(kind: str) -> list:
    name = "llama" if kind == "default" else f"llama, {kind} scaling"
    heads = ("LlamaForCausalLM",)
    if kind == "default":
        heads = ("LlamaModel", "LlamaForSequenceClassification", *heads)
    return claims(name, lambda rng: config(rng, kind), heads, cached=kind != "dynamic")


CLAIMS = [claim for kind in ROPE for claim in claims_of(kind)]
