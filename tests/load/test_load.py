"""Folders of transformers: ours are read by it, its are read by ours, and what is wrong with one is said."""

from __future__ import annotations

import json
import os
import re
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

from lib import heads, load
from lib.attention.masks import padding
from lib.layers.embed import nothing, rotary, stretched
from lib.layers.pos import dynamic, linear, llama3, ntk
from lib.layout import layout_of, layouts
from lib.load import from_pretrained, save_pretrained
from lib.spec import Spec, diff, get
from lib.stack import Model
from tests import hf
from tests.attention.twins import shaken

SMALL = {"n_vocab": 17, "n_positions": 12, "n_layers": 2, "n_heads": 4, "d_model": 16, "d_ff": 24}
AUTO = {"TiedLM": "CausalLM", "LM": "CausalLM", "MaskedLM": "MaskedLM", "Pretraining": "PreTraining"}
SCALED = [stretched(scaling) for scaling in (linear(4.0), dynamic(4.0, 12), llama3(n_trained=16))]


def small(kind: str, **changes) -> Spec:
    sizes = SMALL | ({"d_ff": 64} if kind == "gpt" else {})  # which is 4 d_model there
    return get(kind).but(**(sizes | ({"n_groups": 2} if "llama-3" in kind else {}) | changes))


def tiny(kind: str, **changes) -> Model:
    """Shaken, in float32."""
    return shaken(Model(small(kind, **changes)), np.random.default_rng(0)).float().eval()


IDS = torch.tensor([[5, 3, 9, 2, 7, 16], [4, 11, 6, 0, 0, 0]])
REAL = torch.tensor([[1] * 6, [1] * 3 + [0] * 3])

MODELS = {
    **{name: {} for name in ("gpt", "gpt2", "bert", "roberta", "distilbert", "llama", "llama-3", "llama-3.2-1b")},
    "gpt2, untied": {"head": heads.LM, "act": F.relu},
    "gpt2, renamed": {"name": "mine", "parent": "gpt2"},
    **{f"llama, {turn.scaling}": {"turn": turn} for turn in SCALED},
    "llama, biased": {"bias": True},
    "bert, masks alone": {"head": heads.MaskedLM},
}


# --- both ways -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", MODELS)
@torch.no_grad()
def test_transformers_reads_what_we_write(which, tmp_path):
    ours = tiny(which.split(",")[0], **MODELS[which])
    save_pretrained(ours, tmp_path)
    auto = getattr(transformers, "AutoModelFor" + AUTO[ours.spec.head.__name__])
    theirs, told = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    found = ours(IDS, mask=padding(REAL.sum(1)))
    found = found if isinstance(found, tuple) else (found,)
    for mine, other in zip(found, hf.answers(theirs.eval()(IDS, attention_mask=REAL)), strict=True):
        real = REAL.bool() if mine.dim() == 3 else slice(None)
        assert (mine[real] - other[real]).abs().max() < 1e-5


@pytest.mark.parametrize("which", MODELS)
def test_we_read_what_we_write(which, tmp_path):
    ours = tiny(which.split(",")[0], **MODELS[which])
    save_pretrained(ours, tmp_path)
    again = from_pretrained(tmp_path)
    assert str(diff(again.spec.but(init=ours.spec.init), ours.spec)) == "no difference"
    assert [*again.state_dict()] == [*ours.state_dict()]
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), ours.parameters(), strict=True))
    assert not again.training and all(p.requires_grad and p.is_contiguous() for p in again.parameters())


HEADS = [(layout.spec.name, head) for layout in layouts().values() for head in layout.heads]


@pytest.mark.parametrize("name, head", HEADS, ids=lambda each: getattr(each, "architecture", each))
def test_every_head_goes_out_and_comes_back(name, head, tmp_path):
    ours = tiny(name, head=head.value, n_classes=2 if head.value is heads.Span else 3)
    save_pretrained(ours, tmp_path)
    theirs, told = getattr(transformers, head.architecture).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs.save_pretrained(tmp_path / "again")
    again = from_pretrained(tmp_path / "again")
    assert again.spec.head is head.value
    for (mine, p), (other, q) in zip(ours.named_parameters(), again.named_parameters(), strict=True):
        assert mine == other and torch.equal(p, q), mine


def test_shards_are_one_model(tmp_path):
    ours = tiny("gpt2")
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="4KB")
    assert len([*(tmp_path / "shards").glob("*.safetensors")]) > 2
    again = from_pretrained(tmp_path / "shards")
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), ours.parameters(), strict=True))


def test_a_body_without_its_prefix_serves_a_head_that_has_nothing_of_its_own(tmp_path):
    """The hub's gpt2 was saved so, with the tables of its masks."""
    ours = tiny("gpt2")
    save_pretrained(ours, tmp_path)
    bare = {name.removeprefix("transformer."): t for name, t in load_file(tmp_path / load.WEIGHTS).items()}
    save_file(bare | {f"h.{i}.attn.bias": torch.ones(12, 12).tril() for i in range(2)}, tmp_path / load.WEIGHTS)
    again = from_pretrained(tmp_path)
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), ours.parameters(), strict=True))


def test_another_head_may_be_asked_for_where_the_file_has_it(tmp_path):
    ours = tiny("bert")
    save_pretrained(ours, tmp_path)
    pooled = from_pretrained(tmp_path, "BertModel")
    assert pooled.spec.head is heads.Pool and torch.equal(
        pooled.head.dense.weight, ours.head.sentence.pool.dense.weight
    )
    with pytest.raises(ValueError, match=r"2 tensors are missing: classifier\.weight, classifier\.bias"):
        from_pretrained(tmp_path, "BertForSequenceClassification")


def test_the_dtype_is_torch_s_unless_it_is_asked_for(tmp_path):
    save_pretrained(tiny("llama").bfloat16(), tmp_path)
    assert {p.dtype for p in from_pretrained(tmp_path).parameters()} == {torch.float32}
    assert {p.dtype for p in from_pretrained(tmp_path, dtype=torch.float16).parameters()} == {torch.float16}


def test_older_names_of_norms(tmp_path):
    ours = tiny("bert")
    save_pretrained(ours, tmp_path)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    found = load_file(tmp_path / load.WEIGHTS)
    renamed = {re.sub("|".join(old), lambda match: old[match[0]], name): t for name, t in found.items()}
    assert len({*renamed} - {*found}) == 2 * (1 + 2 * 2 + 1)
    save_file(renamed, tmp_path / load.WEIGHTS)
    again = from_pretrained(tmp_path)
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), ours.parameters(), strict=True))


def test_older_names_of_rotary_fields(tmp_path):
    save_pretrained(tiny("llama"), tmp_path)
    change(tmp_path, {"rope_parameters": ..., "rope_theta": 7.0, "rope_scaling": {"type": "linear", "factor": 2.0}})
    spec = from_pretrained(tmp_path).spec
    assert spec.base == 7.0 and spec.turn == stretched(linear(2.0))


def test_the_hub_is_asked_where_there_is_no_folder(tmp_path, monkeypatch):
    import huggingface_hub

    save_pretrained(tiny("gpt2"), tmp_path)
    asked = []

    def give(name, allow_patterns):
        asked.append(name)
        files = [load.CONFIG, load.WEIGHTS, load.INDEX, "model-00001-of-00002.safetensors", "pytorch_model.bin"]
        assert [any(fnmatch(file, each) for each in allow_patterns) for file in files] == [True] * 4 + [False]
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    assert from_pretrained("someone/gpt2").spec.d_model == 16 and asked == ["someone/gpt2"]


# --- what is wrong with a folder -------------------------------------------------------------------------------------


def change(folder: Path, changes: dict, file: str = load.CONFIG) -> None:
    """Other values for some fields; ... for none at all."""
    config = json.loads((folder / file).read_text())
    config |= changes
    (folder / file).write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


def tensors(folder: Path, changes: dict) -> None:
    found = load_file(folder / load.WEIGHTS) | changes
    save_file({k: v for k, v in found.items() if v is not ...}, folder / load.WEIGHTS)


def index(folder: Path, weight_map) -> None:
    os.rename(folder / load.WEIGHTS, folder / "one.safetensors")
    (folder / load.INDEX).write_text(json.dumps({"weight_map": weight_map}))


def cut(folder: Path, n: int) -> None:
    file = folder / load.WEIGHTS
    file.write_bytes(file.read_bytes()[:n])


def pickled(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / load.WEIGHTS).unlink()


def disguised(folder: Path) -> None:
    torch.save({WPE: torch.ones(12, 16)}, folder / load.WEIGHTS)


def twice(folder: Path) -> None:
    index(folder, {"transformer.wte.weight": "one.safetensors", "transformer.wpe.weight": "two.safetensors"})
    (folder / "two.safetensors").write_bytes((folder / "one.safetensors").read_bytes())


WTE, WPE = "transformer.wte.weight", "transformer.wpe.weight"
WRONG = {
    "a field that nobody knows": (lambda f: change(f, {"sliding": 3}), "config.json: unknown fields, .*: sliding"),
    "a field that ours lacks": (lambda f: change(f, {"scale_attn_weights": False}), "is False, but ours has True"),
    "a field too few": (lambda f: change(f, {"n_head": ...}), "it lacks n_head"),
    "a number in quotes": (lambda f: change(f, {"n_head": "4"}), "n_head should be of type int, not '4'"),
    "half a head": (lambda f: change(f, {"n_head": 2.0}), "n_head should be of type int, not 2.0"),
    "heads that do not fit": (lambda f: change(f, {"n_head": 3}), "d_model=16 is not a multiple of n_heads=3"),
    "an unknown activation": (lambda f: change(f, {"activation_function": "mish"}), "is 'mish', but ours are 'gelu'"),
    "dropouts that differ": (lambda f: change(f, {"embd_pdrop": 0.3}), "must be the same number.*embd_pdrop"),
    "another model_type": (lambda f: change(f, {"model_type": "rwkv"}), "model_type is 'rwkv', but there are .*gpt2"),
    "no model_type": (lambda f: change(f, {"model_type": ...}), "model_type is None"),
    "an unknown class": (lambda f: change(f, {"architectures": ["GPT9"]}), "'GPT9' is not known; of gpt2 there"),
    "no class": (lambda f: change(f, {"architectures": ...}), "names no architecture, so say which"),
    "no config.json": (lambda f: (f / load.CONFIG).unlink(), "config.json is not there: this is no folder of a model"),
    "no JSON": (lambda f: (f / load.CONFIG).write_text("{"), "config.json is not JSON"),
    "JSON without a bottom": (lambda f: (f / load.CONFIG).write_text("[" * 10**5), "config.json is not JSON"),
    "no object": (lambda f: (f / load.CONFIG).write_text("[]"), "config.json should hold an object, not a list"),
    "a tensor too few": (lambda f: tensors(f, {WPE: ...}), "1 tensors are missing: transformer.wpe.weight"),
    "a tensor too many": (lambda f: tensors(f, {"x": torch.ones(1)}), "1 tensors have no place in this model: x"),
    "another shape": (lambda f: tensors(f, {WPE: torch.ones(9, 16)}), r"shape \(9, 16\); as .* it is \(12, 16\)"),
    "a shape that would broadcast": (lambda f: tensors(f, {WPE: torch.ones(1, 16)}), r"shape \(1, 16\); as"),
    "a norm under two names": (
        lambda f: tensors(f, {"transformer.ln_f.gamma": torch.ones(16)}),
        r"transformer\.ln_f\.gamma and transformer\.ln_f\.weight are one tensor, under an old name and a new one",
    ),
    "whole numbers": (lambda f: tensors(f, {WPE: torch.ones(12, 16).long()}), "holds torch.int64, not floating-point"),
    "half a file": (lambda f: cut(f, 2000), "model.safetensors is not a whole safetensors file"),
    "a few bytes": (lambda f: cut(f, 5), "model.safetensors is not a whole safetensors file"),
    "an empty file": (lambda f: cut(f, 0), "model.safetensors is not a whole safetensors file"),
    "pickled weights": (pickled, "neither .* pytorch_model.bin may be pickled, .* refused"),
    "pickled weights by another name": (disguised, "model.safetensors is not a whole safetensors file"),
    "no weights": (lambda f: (f / load.WEIGHTS).unlink(), "neither model.safetensors nor .* writes them"),
    "a path upwards": (lambda f: index(f, {WTE: "../one.safetensors"}), "points to '../one.safetensors'; it may only"),
    "a path from the root": (lambda f: index(f, {WTE: "/etc/x.safetensors"}), "points to '/etc/x.safetensors'; it may"),
    "a path for Windows": (lambda f: index(f, {WTE: "..\\x.safetensors"}), "it may only point to safetensors"),
    "a drive": (lambda f: index(f, {WTE: "C:x.safetensors"}), "it may only point to safetensors"),
    "a hidden file": (lambda f: index(f, {WTE: ".x.safetensors"}), "it may only point to safetensors"),
    "a name without end": (lambda f: index(f, {WTE: "x" * 999 + ".safetensors"}), "which is not there: fetch it"),
    "a name with a null": (lambda f: index(f, {WTE: "x\0.safetensors"}), "which is not there: fetch it"),
    "an index to pickles": (lambda f: index(f, {WTE: "x.bin"}), "points to 'x.bin'; it may only point to safetensors"),
    "a shard that is not there": (lambda f: index(f, {WTE: "two.safetensors"}), "two.safetensors, which is not there"),
    "a promise that is not kept": (lambda f: index(f, {"y": "one.safetensors"}), "promises in one.safetensors .*: y"),
    "a tensor in two shards": (twice, "two.safetensors holds tensors that another file holds too: transformer.h.0"),
    "no map": (lambda f: index(f, []), "has no weight_map from tensors to files"),
    "a map to numbers": (lambda f: index(f, {WTE: 3}), "has no weight_map from tensors to files"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_folder_is_said(wrong, tmp_path):
    folder = tmp_path / "model"
    save_pretrained(tiny("gpt2"), folder)
    harm, message = WRONG[wrong]
    harm(folder)
    with pytest.raises(ValueError, match=message) as caught:
        from_pretrained(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["gpt2", "llama-3.1", "bert"])
def test_a_field_may_hold_anything(name, tmp_path):
    """Every field of config.json, with whatever JSON can say: a ValueError that names the file, or a model."""
    save_pretrained(tiny(name, **({"turn": SCALED[2]} if name == "llama-3.1" else {})), tmp_path)
    before = (tmp_path / load.CONFIG).read_text()
    config, n_refused = json.loads(before), 0
    for field in [*config, "id2label", "num_labels", "rope_scaling"]:
        for value in (None, True, "x", -1, 0, 2.5, [1], {"rope_type": "linear", "factor": "x"}):
            change(tmp_path, {field: value})
            try:
                assert isinstance(from_pretrained(tmp_path), Model)
            except ValueError as error:
                assert str(tmp_path) in str(error)
                n_refused += 1
            (tmp_path / load.CONFIG).write_text(before)
    assert n_refused > 4 * len(config)


LLAMA = {
    "a kind of scaling that ours lack": ({"rope_type": "yarn", "factor": 2.0}, "rope_type is 'yarn', but ours are"),
    "a rotary field that nobody knows": ({"partial_rotary_factor": 0.5}, "'default': partial_rotary_factor"),
    "a scaling without its factor": ({"rope_type": "linear"}, "a rope_type of 'linear' needs factor"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", LLAMA)
def test_what_is_wrong_with_rotary_fields_is_said(wrong, tmp_path):
    save_pretrained(tiny("llama"), tmp_path)
    rope, message = LLAMA[wrong]
    change(tmp_path, {"rope_parameters": rope})
    with pytest.raises(ValueError, match=message):
        from_pretrained(tmp_path)
    change(tmp_path, {"rope_parameters": None, "head_dim": 2})
    with pytest.raises(ValueError, match=r"head_dim is 2, but ours are .* = 4 wide"):
        from_pretrained(tmp_path)


def test_a_name_that_is_nowhere_is_said(monkeypatch):
    import huggingface_hub

    def refuse(name, **more):
        raise OSError("no such repository")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ValueError, match=r"nowhere/x is no folder here, .* no such repository"):
        from_pretrained("nowhere/x")


UNSAYABLE = {
    "another residual": (lambda: small("gpt2", residual=get("gpt").residual), "cannot hold .*\n.*\n *residual"),
    "no positions": (lambda: small("gpt2", pos=nothing), "cannot hold .*\n.*\n *pos"),
    "another width": (lambda: small("gpt", d_ff=24), "cannot hold .*\n.*\n *d_ff +64 -> 24"),
    "an activation without a name": (lambda: small("gpt2", act=torch.sin), "activation_function has no name for"),
    "a scaling without a name": (lambda: small("llama", turn=stretched(ntk(2.0))), "no name for turn=stretched"),
    "another turn": (lambda: small("llama", turn=lambda spec: rotary(spec)), "no name for turn="),
    "a length of its own": (lambda: small("llama", turn=stretched(dynamic(2.0, 7))), "n_positions=12 for .*n_trained"),
    "a head without a class": (lambda: small("gpt2", head=heads.Pool), "gpt2 has no head like"),
    "a model of nobody's": (lambda: Spec(name="x"), "x has no layout in transformers; there are layouts of"),
}


@pytest.mark.parametrize("wrong", UNSAYABLE)
def test_what_theirs_cannot_hold_is_said_and_nothing_written(wrong, tmp_path):
    spec, message = UNSAYABLE[wrong]
    with pytest.raises(ValueError, match=message):
        save_pretrained(Model(spec()), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_layouts_are_known_by_the_nearest_ancestor():
    assert layout_of(get("llama-3.1")).model_type == "llama" and layout_of(get("roberta")).model_type == "roberta"
