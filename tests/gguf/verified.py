"""What is claimed of `lib.gguf`: models and tokenizers that go through a file. The same cases in every run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer as Rust
from torch import nn

from lib.gguf import from_gguf, tokenizer_of
from tests.attention.twins import biggest
from tests.claims import Claim
from tests.gguf import files
from tests.hf import exact
from tests.tokens.corpus import TEXTS, shuffled
from tests.tokens.families import gpt2, llama3, smollm2, text_of
from tests.tokens.twins import unlike
from tests.tokens.verified import share

ALL = TEXTS + shuffled(200)
IDS = torch.tensor([[5, 3, 9, 2, 7, 16, 31], [4, 11, 6, 0, 0, 8, 30]])

LINEAR = {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, tied": ("llama", {"tie_word_embeddings": True, "rms_norm_eps": 1e-3}),
    "llama, a head for each key": ("llama", {"num_key_value_heads": 4}),
    "llama, linear scaling": ("llama", {"rope_parameters": LINEAR}),
    "llama, llama3 scaling": ("llama", {"rope_parameters": LLAMA3, "hidden_size": 64}),
    "gpt2": ("gpt2", {"layer_norm_epsilon": 1e-3}),
    "gpt2, a table of its own for the logits": ("gpt2", {"tie_word_embeddings": False}),
}


def scaling_of(theirs: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """How the file says that the frequencies are scaled: metadata, and a tensor for llama3."""
    told = getattr(theirs.config, "rope_parameters", {"rope_type": "default"})
    if told["rope_type"] == "linear":
        return {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": told["factor"]}, {}
    if told["rope_type"] == "llama3":
        scaled, d = theirs.model.rotary_emb.inv_freq.double(), theirs.config.head_dim
        return {}, {"rope_freqs.weight": told["rope_theta"] ** (-torch.arange(0, d, 2).double() / d) / scaled}
    return {}, {}


def model_error(which: str) -> float:
    """Logits of ours, read from a file in float32, beside those of theirs whose weights are in it."""
    kind, changes = MODELS[which]
    theirs = files.twin(kind, np.random.default_rng(0), **changes)
    metadata, more = scaling_of(theirs)
    with TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.gguf"
        files.write(path, kind, files.metadata_of(theirs) | metadata, files.tensors_of(theirs) | more)
        ours = from_gguf(path, dtype=torch.float64)(IDS)
        with exact():
            return biggest([ours], [theirs(IDS).logits])


TOKENIZERS = {"smollm": ("smollm2", smollm2), "gpt-2": ("gpt2", gpt2), "llama-bpe": ("llama 3", llama3)}


def tokenizer_error(pre: str) -> float:
    """Ids, spans and decoded text of ours beside the Rust library's with the published settings."""
    family, content = TOKENIZERS[pre]
    more = {"tokenizer.ggml.bos_token_id": 901} if pre == "llama-bpe" else {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        files.write(path, "llama", files.vocabulary(content(), pre) | more, {})
        ours = tokenizer_of(path)
    texts = ALL + [f"a {special} b{special}{special} \n" for special in ours.specials]
    return share(len(unlike(ours, Rust.from_str(text_of(family)), texts)), len(texts))


CLAIMS = [
    *(
        Claim(f"from_gguf: {which}", "transformers, float64: logits", 1e-10, partial(model_error, which))
        for which in MODELS
    ),
    *(
        Claim(f"tokenizer_of: {pre}", f"tokenizers (Rust): {len(ALL)} texts", 0.0, partial(tokenizer_error, pre))
        for pre in TOKENIZERS
    ),
]
