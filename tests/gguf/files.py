"""Small GGUF files, written by the package `gguf` with names and order that owe nothing to lib/gguf."""

from __future__ import annotations

import os
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from torch import Tensor, nn

from tests.hf import build

F32 = Kind.F32
ARCHITECTURES = {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel"}
LLAMA = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
GPT2 = {
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
    "lm_head": "output", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down", "ln_1": "attn_norm", "ln_2": "ffn_norm",
}  # fmt: skip


def twin(kind: str, rng: np.random.Generator, **changes: Any) -> nn.Module:
    """Theirs: a tiny llama or gpt2, every parameter from N(0, 0.2) in float64, and a number that float32 has too."""
    sizes = {
        "llama": {
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
            "intermediate_size": 64, "max_position_embeddings": 64,
        },
        "gpt2": {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 16},
    }[kind]  # fmt: skip
    made = build(ARCHITECTURES[kind], {"vocab_size": 32, **sizes, **changes}, rng)
    for p in made.parameters():
        p.data = p.data.float().double()
    return made


def tensors_of(theirs: nn.Module) -> dict[str, Tensor]:
    """Its tensors as llama.cpp has them: other names, matrices outputs x inputs, rows of q and k in turn."""
    config, found = theirs.config, {}
    for name, tensor in theirs.state_dict().items():
        module, leaf = name.rsplit(".", 1)
        names = LLAMA if config.model_type == "llama" else GPT2
        short = module.split(".", 3)[3] if module.split(".")[1:2] in (["layers"], ["h"]) else module
        block = f"blk.{module.split('.')[2]}." if short != module else ""
        if short == "lm_head" and config.tie_word_embeddings:
            continue
        if ".c_" in module and tensor.dim() == 2:
            tensor = tensor.T
        if short.endswith(("q_proj", "k_proj")):
            n = config.num_attention_heads if short[-6] == "q" else config.num_key_value_heads
            tensor = torch.cat([_in_turn(head) for head in tensor.chunk(n)])
        found[f"{block}{names[short]}.{leaf}"] = tensor
    return found


def _in_turn(head: Tensor) -> Tensor:
    """Rows 0, d/2, 1, d/2 + 1, ..."""
    half = len(head) // 2
    return head[[row for i in range(half) for row in (i, i + half)]]


def metadata_of(theirs: nn.Module) -> dict[str, Any]:
    """The keys that say of which sizes it is."""
    c = theirs.config
    if c.model_type == "gpt2":
        return {
            "gpt2.block_count": c.n_layer, "gpt2.context_length": c.n_positions, "gpt2.embedding_length": c.n_embd,
            "gpt2.feed_forward_length": 4 * c.n_embd, "gpt2.attention.head_count": c.n_head,
            "gpt2.attention.layer_norm_epsilon": c.layer_norm_epsilon,
        }  # fmt: skip
    return {
        "llama.block_count": c.num_hidden_layers, "llama.context_length": c.max_position_embeddings,
        "llama.embedding_length": c.hidden_size, "llama.feed_forward_length": c.intermediate_size,
        "llama.attention.head_count": c.num_attention_heads, "llama.attention.head_count_kv": c.num_key_value_heads,
        "llama.rope.freq_base": float(c.rope_parameters["rope_theta"]), "llama.vocab_size": c.vocab_size,
        "llama.attention.layer_norm_rms_epsilon": c.rms_norm_eps, "llama.rope.dimension_count": c.head_dim,
    }  # fmt: skip


def write(
    path: str | os.PathLike[str], kind: str, metadata: dict[str, Any], tensors: dict[str, Tensor], type: Kind = F32
) -> None:
    """A file; matrices are kept as `type`, all else in float32. An entry that is None is left out."""
    writer = gguf.GGUFWriter(os.fspath(path), kind)
    for key, value in metadata.items():
        if value is None:
            continue
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
            kinds[value.__class__](key, value)
    for name, tensor in tensors.items():
        if tensor is not None:
            chosen = type if tensor.dim() == 2 else F32
            writer.add_tensor(name, gguf.quantize(tensor.float().numpy(), chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def file_of(path: str | os.PathLike[str], theirs: nn.Module, **changes: Any) -> None:
    write(path, theirs.config.model_type, metadata_of(theirs) | changes, tensors_of(theirs))


def vocabulary(content: dict[str, Any], pre: str) -> dict[str, Any]:
    """The metadata of a tokenizer, out of the content of a tokenizer.json; its added tokens are control tokens."""
    ids = content["model"]["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
    pieces = sorted(ids, key=ids.__getitem__)
    control = {token["content"] for token in content["added_tokens"]}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in content["model"]["merges"]]
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": [3 if piece in control else 1 for piece in pieces],
        "tokenizer.ggml.merges": merges,
    }  # fmt: skip
