"""What a GGUF file calls the parts of a model of ours: a `Layout` for each architecture, read in both directions.

    layout = LAYOUTS["llama"]                               its fields are keys of the file's metadata
    config, head = layout.write(spec)                       and back: spec, head = layout.read(config, "llama")
    places = placed(layout, spec).match([*parameters], head)    its tensors -> parameters of ours, and how they are laid

Two things that the file keeps elsewhere stand in `config` too: tie_word_embeddings, true where the file has no tensor
output.weight; and the tensor rope_freqs.weight of Llama 3.1, as a tuple.

Sources: docs/gguf.md in ggml-org/ggml is the specification of the format. In ggml-org/llama.cpp the names stand in
gguf-py/gguf/constants.py, and what is turned in convert_hf_to_gguf.py: `permute`, and the models for llama and gpt2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lib.heads import LM, TiedLM
from lib.layers.embed import rotary, stretched
from lib.layers.pos import Position, frequencies, linear, llama3
from lib.layout import Head, How, Keys, Layout, Rule, within
from lib.shapes import require
from lib.spec import Spec
from lib.tokens.bpe import GPT2
from lib.zoo.gpt2 import gpt2
from lib.zoo.llama import llama

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama 3's words, from the authors' published tokenizer.py: digits in threes, line ends with the signs before them."""

WORDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "gpt-2": ((GPT2,), False),
    "smollm": ((r"\p{N}", GPT2), False),
    "llama-bpe": ((LLAMA3,), True),
}
"""tokenizer.ggml.pre -> the patterns that cut words, and whether a word that is a piece stays whole; see class BPE.

As in src/llama-vocab.cpp of ggml-org/llama.cpp. Where words stay whole, a text begins with bos unless the file says no.
"""


# --- how a tensor is laid out ----------------------------------------------------------------------------------------


def neighbouring(n_heads: int) -> How:
    """The rows of q or k. In ours number i of a head turns with number i + d_head / 2, in theirs 2i with 2i + 1.

    So their head holds our rows in the order 0, d/2, 1, d/2 + 1, ...
    """

    def read(t: Tensor) -> Tensor:
        return t.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)

    def write(t: Tensor) -> Tensor:
        return t.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)

    return How(read, lambda parts: write(parts[0]))


def rows(i: int, n: int) -> How:
    """The i-th of n equal parts of a matrix, or of its bias, that lie below each other."""
    return How(lambda t: t.chunk(n)[i], lambda parts: torch.cat([*parts]))


def llama_keys(spec: Spec) -> Keys:
    turned = {"q": neighbouring(spec.n_heads), "k": neighbouring(spec.n_groups or spec.n_heads)}
    return (
        ("embed.tokens", "token_embd"), ("stack.final", "output_norm"),
        *within("stack.blocks.{}.", "blk.{}.", (
            *((f"mix.{name}", f"attn_{name}", how) for name, how in turned.items()),
            ("mix.v", "attn_v"), ("mix.out", "attn_output"), ("add_mix.norm", "attn_norm"),
            *((f"ff.{name}", f"ffn_{name}") for name in ("gate", "up", "down")), ("add_ff.norm", "ffn_norm"),
        )),
    )  # fmt: skip


def gpt2_keys(spec: Spec) -> Keys:
    return (
        ("embed.tokens", "token_embd"), ("embed.pos", "position_embd"), ("stack.final", "output_norm"),
        *within("stack.blocks.{}.", "blk.{}.", (
            *((f"mix.{name}", "attn_qkv", rows(i, 3)) for i, name in enumerate("qkv")),
            ("mix.out", "attn_output"), ("add_mix.norm", "attn_norm"),
            ("ff.up", "ffn_up"), ("ff.down", "ffn_down"), ("add_ff.norm", "ffn_norm"),
        )),
    )  # fmt: skip


# --- how a field is written ------------------------------------------------------------------------------------------

HEADS, GROUPS, WIDTH = "attention.head_count", "attention.head_count_kv", "embedding_length"
BASE, KIND, FACTOR, FACTORS = "rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "rope_freqs.weight"
D_HEAD = ("rope.dimension_count", "attention.key_length", "attention.value_length")


def _width(config: Mapping[str, Any]) -> int:
    d, H = config[f"llama.{WIDTH}"], config[f"llama.{HEADS}"]
    told = {name: config[f"llama.{name}"] for name in D_HEAD}
    require(set(told.values()) <= {None, d // H}, f"a head is {told} wide, but ours are {WIDTH} / {HEADS} = {d // H}")
    return d


def _turn(config: Mapping[str, Any]) -> Callable[[Spec], Position]:
    kind, factors = config[f"llama.{KIND}"], config[FACTORS]
    require(kind in ("none", "linear"), f"llama.{KIND} is {kind!r}, but ours are 'none' and 'linear'")
    if kind == "linear":
        return stretched(linear(config[f"llama.{FACTOR}"]))
    if factors is None:
        return rotary
    scaling = llama3(factor=round(max(factors), 4))
    base, d = config[f"llama.{BASE}"], config[f"llama.{WIDTH}"] // config[f"llama.{HEADS}"]
    fits = len(factors) == d // 2 and torch.allclose(torch.tensor(factors), _factors(scaling, d, base), rtol=1e-4)
    require(fits, f"{FACTORS} holds other numbers than those of {scaling}, which is all that ours has for it")
    return stretched(scaling)


def _factors(scaling: Callable[[Tensor, Tensor], Tensor], d_head: int, base: float) -> Tensor:
    """What each frequency is divided by."""
    f = frequencies(d_head, base, torch.empty(0))
    return f / scaling(f, torch.arange(1))


def _write_turn(turn: Any, spec: Spec) -> dict[str, Any]:
    scaling = getattr(turn, "scaling", None)
    if isinstance(scaling, linear):
        return {f"llama.{KIND}": "linear", f"llama.{FACTOR}": scaling.factor}
    if isinstance(scaling, llama3):
        return {FACTORS: tuple(_factors(scaling, spec.d_head, spec.base).tolist())}
    require(turn is rotary, f"a GGUF file has no name for turn={turn}")
    return {}


def _groups(config: Mapping[str, Any]) -> int | None:
    H, G = config[f"llama.{HEADS}"], config[f"llama.{GROUPS}"]
    return None if G == H else G


def _keys(architecture: str, **fields: str) -> dict[str, str | Rule]:
    """The fields, with the architecture before each of their names."""
    sizes = {"n_vocab": "vocab_size", "n_positions": "context_length", "n_layers": "block_count"}
    sizes |= {"n_heads": HEADS, "d_model": WIDTH, "d_ff": "feed_forward_length"}
    return {ours: f"{architecture}.{theirs}" for ours, theirs in (sizes | fields).items()}


LAYOUTS = {
    "llama": Layout(
        "llama", llama, "", "",
        _keys("llama", eps="attention.layer_norm_rms_epsilon", base=BASE) | {
            "n_groups": Rule(
                (f"llama.{GROUPS}", f"llama.{HEADS}"), _groups, lambda n, spec: {f"llama.{GROUPS}": n or spec.n_heads}
            ),
            "d_model": Rule(
                tuple(f"llama.{name}" for name in (WIDTH, HEADS, *D_HEAD)), _width,
                lambda d, spec: {f"llama.{WIDTH}": d, f"llama.{D_HEAD[0]}": spec.d_head},
            ),
            "turn": Rule((f"llama.{KIND}", f"llama.{FACTOR}", f"llama.{BASE}", FACTORS), _turn, _write_turn),
        },
        (),
        (Head("llama", LM, (("out", "output"),), tied=False), Head("llama", TiedLM, tied=True)),
        absent={f"llama.{name}": None for name in (GROUPS, FACTOR, *D_HEAD)}
        | {f"llama.{BASE}": 10000.0, f"llama.{KIND}": "none", FACTORS: None},
        dropped=(FACTORS,),
    ),
    "gpt2": Layout(
        "gpt2", gpt2, "", "", _keys("gpt2", eps="attention.layer_norm_epsilon"), (),
        (Head("gpt2", LM, (("out", "output"),), tied=False), Head("gpt2", TiedLM, tied=True)),
    ),
}  # fmt: skip
"""general.architecture -> its layout, still without the keys of its tensors, which `placed` adds."""


def placed(layout: Layout, spec: Spec) -> Layout:
    """The layout with the keys of its tensors: how q and k are turned depends on the number of heads."""
    keys = {"llama": llama_keys, "gpt2": gpt2_keys}
    return replace(layout, keys=keys[layout.model_type](spec))
