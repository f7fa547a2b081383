"""What is claimed of `lib.gguf`: models and tokenizers that go through a file. The same cases in every run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer as Rust
from torch import nn
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from lib.gguf import from_gguf, save_gguf, tokenizer_of
from lib.tokens.bpe import BPE
from tests.attention.twins import biggest
from tests.claims import Claim
from tests.gguf import files
from tests.hf import exact, through_a_folder
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


BYTES = BPE.train(["ab"], 258, specials=["<|end|>"])
"""An end, 256 bytes and one merge."""
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {"llama": ("llama", {"rms_norm_eps": 1e-5}), **MODELS}


def wide(which: str) -> nn.Module:
    """Theirs, with room for the tokens of BYTES and two to spare."""
    kind, changes = WRITTEN[which]
    return files.twin(kind, np.random.default_rng(0), **({"vocab_size": 260} | changes))


@torch.no_grad()
def written_error(which: str) -> float:
    """Logits of theirs, read in float32 from a file of ours, beside those of the model whose weights are in it.

    It reads as its from_pretrained(folder, gguf_file=...) does, which asks for the package accelerate too.
    """
    theirs = wide(which)
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.gguf")
        save_gguf(through_a_folder(theirs), BYTES, path, kind="F32")
        told = load_gguf_checkpoint(path)["config"]
        assert told["vocab_size"] == 260 and told["model_type"] == theirs.config.model_type
        if "scaling" in which:  # which it does not read from a file
            told["rope_parameters"] = dict(theirs.config.rope_parameters)
        if "n_ctx" in told:  # another name for n_positions
            told["n_positions"] = told["n_ctx"]
        config = transformers.AutoConfig.for_model(**told)
        again = transformers.AutoModelForCausalLM.from_config(config).eval()
        read = load_gguf_checkpoint(path, return_tensors=True, model_to_load=again)["tensors"]
    lacking = again.load_state_dict(read, strict=False)
    assert lacking.missing_keys == ["lm_head.weight"] * again.config.tie_word_embeddings
    assert not lacking.unexpected_keys
    return biggest([again(IDS).logits], [theirs.float()(IDS).logits])


CLAIMS = [
    *(
        Claim(f"from_gguf: {which}", "transformers, float64: logits", 1e-10, partial(model_error, which))
        for which in MODELS
    ),
    *(
        Claim(f"tokenizer_of: {pre}", f"tokenizers (Rust): {len(ALL)} texts", 0.0, partial(tokenizer_error, pre))
        for pre in TOKENIZERS
    ),
    *(
        Claim(
            f"save_gguf: {which}", "transformers' reader of GGUF, float32: logits", 1e-5, partial(written_error, which)
        )
        for which in WRITTEN
    ),
]
