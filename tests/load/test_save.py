"""What `save_pretrained` writes beside weights: tokenizers that AutoTokenizer reads, shards, nothing that misleads."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from itertools import groupby, pairwise
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from lib import files, save
from lib.attention.masks import padding
from lib.load import from_pretrained, save_pretrained, tokenizer_of
from lib.stack import Model
from lib.tokens.added import Added
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.layout import Template, Truncation
from lib.tokens.roles import NAMES, roles
from tests.load.verified import AUTO, CLAIMS, PAIRS, published
from tests.load.verified import model_for as double
from tests.tokens.corpus import TEXTS, TRAINING


def model_for(*args) -> Model:
    return double(*args).float()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


@torch.no_grad()
def test_a_padded_batch_of_theirs_is_one_of_ours(tmp_path):
    for which in ("bytes, padded", "word pieces"):
        kind, make = PAIRS[which]
        tokenizer, rows = make(), TEXTS[:6]
        model = model_for(tokenizer, kind)
        save_pretrained(model, tmp_path, tokenizer)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        network = getattr(transformers, f"AutoModelFor{AUTO[kind]}").from_pretrained(tmp_path).eval()
        inputs, ours = theirs(rows, padding=True, return_tensors="pt"), tokenizer.encode_batch(rows)
        assert inputs.input_ids.tolist() == [row.ids for row in ours]
        assert inputs.attention_mask.tolist() == [row.mask for row in ours]
        real = inputs.attention_mask.bool()
        y = model(inputs.input_ids, mask=padding(real.sum(1)))
        assert (y - network(**inputs).logits)[real].abs().max() < 1e-5
        assert network.config.pad_token_id == theirs.pad_token_id == tokenizer.id_of(tokenizer.padding.piece)


def test_truncation_is_theirs_to_ask_for(tmp_path):
    tokenizer = BPE.train(TRAINING, 300, specials=["</s>"], truncation=Truncation(4), template=Template("$A </s>"))
    save_pretrained(model_for(tokenizer), tmp_path, tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(TEXTS[3], truncation=True, max_length=4).input_ids == tokenizer.encode(TEXTS[3]).ids
    assert theirs.model_max_length == 1024


# --- roles -----------------------------------------------------------------------------------------------------------

ROLES = {
    "gpt2": {"bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "roberta": {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"},
    "smollm2": {"bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "llama 3": {},
    "llama 2, first": {"bos": "<s>", "eos": "</s>", "unk": "<unk>"},
    "t5": {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"},
    "bert, cased": {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"},
}


@pytest.mark.parametrize("family", ROLES)
def test_published_names_tell_what_a_special_token_is_for(family, tmp_path):
    tokenizer = published(family)
    expected = {f"{role}_token": token for role, token in ROLES[family].items()}
    assert roles(tokenizer) == expected
    save_pretrained(model_for(tokenizer), tmp_path, tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert {role: getattr(theirs, role) for role in NAMES} == dict.fromkeys(NAMES) | expected
    assert {*theirs.all_special_tokens} == {text for text, token in tokenizer.added.items() if token.special}
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    for role in ("bos", "eos", "pad"):
        assert getattr(config, f"{role}_token_id") == (tokenizer.ids.get(expected.get(f"{role}_token", "")))


def test_other_names_are_told(tmp_path):
    trained = BPE.train(TRAINING, 300, specials=["<|endoftext|>", "<|im_start|>", "<tool>"])
    specials = ["<|endoftext|>", "<|im_start|>", Added("<tool>", special=False)]
    tokenizer = BPE(trained.pieces, trained.merges, specials=specials)
    save_pretrained(model_for(tokenizer), tmp_path, tokenizer, bos_token="<|im_start|>", pad_token="<tool>")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 0, 2)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 0, 2)
    assert theirs.decode([2, 0, 65]) == tokenizer.decode([2, 0, 65], special=True)


def test_what_cannot_be_written_is_said_and_nothing_is(tmp_path):
    small, big = Char.train(["ab"], specials=["<pad>"]), Char.train(["abcdefghijklmnopqrstuvwxyz"])
    cases = [
        (model_for(None), {"tokenizer": big}, "the tokenizer has 26 pieces, but the model's table only n_vocab=17"),
        (model_for(small), {"tokenizer": small, "end_token": "a"}, "There is no role 'end_token'; there are bos_token"),
        (model_for(small), {"tokenizer": small, "eos_token": "a"}, r"eos_token is 'a', which is not one of .*'<pad>'"),
        (model_for(None), {"eos_token": "a"}, "eos_token belong to a tokenizer, and there is none"),
        (model_for(small, "roberta"), {"tokenizer": small}, "pad_token_id is 0, but ours has 1 and nothing else"),
        (model_for(None), {"max_shard": "5 EB"}, "a number of bytes, or such as '500MB' or '5GB', not '5 EB'"),
        (model_for(None), {"max_shard": 0}, "max_shard is 1 byte or more, not 0"),
    ]
    for model, more, message in cases:
        with pytest.raises(ValueError, match=message):
            save_pretrained(model, tmp_path / "model", **more)
        assert not (tmp_path / "model").exists()


def test_a_tokenizer_is_read_from_a_folder_or_the_hub(tmp_path, monkeypatch):
    import huggingface_hub

    tokenizer = Char.train(["hello"])
    asked = []

    def give(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    save_pretrained(model_for(tokenizer), tmp_path, tokenizer)
    assert tokenizer_of("someone/chars").pieces == tokenizer_of(tmp_path).pieces == tokenizer.pieces
    assert asked == [("someone/chars", ["tokenizer.json"])]
    save_pretrained(model_for(None), tmp_path)
    assert tokenizer_of(tmp_path).pieces == tokenizer.pieces  # a model that is trained further keeps its tokenizer
    (tmp_path / save.TOKENIZER).write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer\.json: it is not JSON"):
        tokenizer_of(tmp_path)
    (tmp_path / save.TOKENIZER).unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json is not there; `transformers` writes it with"):
        tokenizer_of(tmp_path)


# --- shards ----------------------------------------------------------------------------------------------------------


def the_same(a: Model, b: Model) -> bool:
    return a.spec.eps == b.spec.eps and all(
        torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_shards_are_those_of_transformers(kind, tmp_path):
    model = model_for(None, kind)
    save_pretrained(model, tmp_path, max_shard="4KB")
    shards = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    n = len(shards)
    assert n > 2 and shards == [f"model-{i:05}-of-{n:05}.safetensors" for i in range(1, n + 1)]
    theirs, told = getattr(transformers, f"AutoModelFor{AUTO[kind]}").from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs.save_pretrained(tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / save.WEIGHTS)
    found = {name: tensor for shard in shards for name, tensor in load_file(tmp_path / shard).items()}
    assert {*found} == {*whole} and all(torch.equal(found[name], whole[name]) for name in whole)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="4KB")
    index, other = (json.loads((folder / save.INDEX).read_text()) for folder in (tmp_path, tmp_path / "theirs"))
    assert {*index["weight_map"]} == {*other["weight_map"]}
    assert index["metadata"]["total_size"] == other["metadata"]["total_size"] == sum(t.nbytes for t in whole.values())
    sizes = [sum(tensor.nbytes for tensor in load_file(tmp_path / shard).values()) for shard in shards]
    assert all(a + b > 4000 for a, b in pairwise(sizes)), "two that would fit into one"
    for shard in shards:
        tensors = load_file(tmp_path / shard)
        assert {index["weight_map"][name] for name in tensors} == {shard}
        assert len(tensors) == 1 or sum(t.nbytes for t in tensors.values()) <= 4000
    assert the_same(from_pretrained(tmp_path), model)


@pytest.mark.parametrize("size", [1, 3584, 5000, 10**6, "5GB"])
def test_a_size_of_shards(size, tmp_path):
    model = model_for(None)
    save_pretrained(model, tmp_path, max_shard=size)
    n_tensors, total = len(model.state_dict()) - 2 * 4, sum(p.nbytes for p in model.parameters())  # q, k, v are one
    n = len([*tmp_path.glob("*.safetensors")])
    assert (n == 1) == (size not in (1, 3584, 5000)) == (not (tmp_path / save.INDEX).exists())
    assert n == n_tensors if size == 1 else n <= max(1, total // 1500)
    assert the_same(from_pretrained(tmp_path), model)


def folder_of(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


OTHERS = {"one file": {}, "shards": {"max_shard": 4000}, "fewer shards": {"max_shard": 8000}}


@pytest.mark.parametrize("before", OTHERS)
@pytest.mark.parametrize("after", OTHERS)
def test_nothing_old_is_left_and_nothing_else_is_touched(before, after, tmp_path):
    old, new = model_for(None), model_for(None, "llama")
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "model-card-of-mine.safetensors").write_text("mine")
    save_pretrained(new, tmp_path / "fresh", **OTHERS[after])
    save_pretrained(old, tmp_path, **OTHERS[before])
    save_pretrained(new, tmp_path, **OTHERS[after])
    (tmp_path / "README.md").unlink()
    (tmp_path / "model-card-of-mine.safetensors").unlink()
    fresh = folder_of(tmp_path / "fresh")
    assert {file.name for file in tmp_path.iterdir()} == {*fresh, "fresh"}
    assert all((tmp_path / name).read_bytes() == data for name, data in fresh.items())


@pytest.mark.parametrize("before, after", [("one file", "shards"), ("shards", "one file"), ("shards", "fewer shards")])
def test_whoever_is_stopped_leaves_the_old_model_the_new_one_or_none(before, after, tmp_path, monkeypatch):
    """Stopped at each call that touches a file: a write that fails, a removal, a change of names."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    old = model_for(None)
    new = Model(old.spec.but(eps=0.1))  # of the same shapes, so that only config.json tells them apart
    new.load_state_dict({name: p + 1 for name, p in old.state_dict().items()})
    left = []
    for stop in range(100):
        folder, calls = tmp_path / str(stop), iter(range(10**6))
        save_pretrained(old, folder, **OTHERS[before])

        def stopping(call, calls=calls, stop=stop):
            def stopped(*args, **more):
                if next(calls) == stop:
                    raise KeyboardInterrupt
                return call(*args, **more)

            return stopped

        with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
            for owner, name in ((files, "write"), (os, "replace"), (Path, "unlink")):
                patched.setattr(owner, name, stopping(getattr(owner, name)))
            save_pretrained(new, folder, **OTHERS[after])
        assert not [*folder.glob(".*")]
        try:
            found = from_pretrained(folder)
            left.append("new" if the_same(found, new) else "old" if the_same(found, old) else "mixed")
        except ValueError:
            left.append("none")
        if left[-1] == "new":
            break
    stages = [state for state, _ in groupby(left)]
    assert stages == ["old", "none", "new"] and len(left) > 6, left
