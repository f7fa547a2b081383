"""Files that `save_gguf` writes: every key, tensor and token of them, and who reads them alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind

from lib import files
from lib.gguf import from_gguf, save_gguf, tokenizer_of
from lib.heads import OfPrefixes
from lib.spec import diff, get
from lib.stack import Model
from lib.tokens.load import load
from tests.attention.twins import shaken
from tests.gguf.files import metadata_of, tensors_of, twin
from tests.gguf.verified import BYTES, LLAMA3, WRITTEN, scaling_of, wide
from tests.hf import through_a_folder
from tests.tokens.corpus import TEXTS
from tests.tokens.families import text_of

TINY = {"n_vocab": 260, "n_positions": 12, "n_layers": 2, "n_heads": 4, "d_model": 32, "d_ff": 48}


def tiny(name: str, **changes: Any) -> Model:
    return shaken(Model(get(name).but(**(TINY | changes))), np.random.default_rng(0)).float().eval()


def written(path: Path, model: Model, **more: Any) -> gguf.GGUFReader:
    save_gguf(model, BYTES, path, **more)
    return gguf.GGUFReader(path)


def metadata(reader: gguf.GGUFReader) -> dict[str, Any]:
    return {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", WRITTEN)
def test_keys_and_tensors_are_those_of_the_converter(which, tmp_path):
    """tests/gguf/files.py lays out the same model by itself."""
    theirs = wide(which)
    reader = written(tmp_path / "m.gguf", through_a_folder(theirs), kind="F32")
    more, factors = scaling_of(theirs)
    found, kind = metadata(reader), theirs.config.model_type
    told = {key: value for key, value in found.items() if key.startswith(f"{kind}.")}
    expected = metadata_of(theirs) | more | {f"{kind}.vocab_size": 260}
    if kind == "llama":
        expected = {"llama.rope.freq_base": 10000.0} | expected
    assert {*told} == {*expected}
    for key, value in expected.items():
        assert told[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key
    assert found["general.architecture"] == kind and found["general.name"] == kind
    assert found["general.file_type"] == 0 and found["general.quantization_version"] == 2
    tensors = tensors_of(theirs) | factors
    assert sorted(tensor.name for tensor in reader.tensors) == sorted(tensors)
    for tensor in reader.tensors:
        assert tensor.tensor_type is Kind.F32
        assert tensor.shape.tolist() == [*tensors[tensor.name].shape][::-1], "the fastest axis comes first"
        np.testing.assert_allclose(tensor.data, tensors[tensor.name].numpy(), rtol=2e-6, err_msg=tensor.name)


TYPES = {
    "uint32": ("block_count", "head_count", "bos_token_id", "file_type"),
    "float32": ("freq_base", "epsilon"),
    "bool": ("add_bos_token",),
}


def test_keys_have_the_types_that_llama_cpp_asks_for(tmp_path):
    reader = written(tmp_path / "m.gguf", tiny("llama"))
    for kind, ends in TYPES.items():
        for end in ends:
            (field,) = [field for key, field in reader.fields.items() if key.endswith(end)]
            assert field.types == [gguf.GGUFValueType[kind.upper()]], end
    assert reader.fields["tokenizer.ggml.tokens"].types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING]
    assert reader.fields["tokenizer.ggml.token_type"].types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32]


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama-3"])
def test_matrices_in_float16_and_the_rest_in_float32(name, tmp_path):
    model = tiny(name, n_groups=2 if name == "llama-3" else None)
    whole, half = written(tmp_path / "m.gguf", model, kind="F32"), written(tmp_path / "h.gguf", model)
    assert metadata(half)["general.file_type"] == 1
    for a, b in zip(whole.tensors, half.tensors, strict=True):
        is_matrix = len(a.shape) == 2 and a.name != "position_embd.weight"
        assert b.tensor_type is (Kind.F16 if is_matrix else Kind.F32), a.name
        assert np.array_equal(b.data, a.data.astype(np.float16) if is_matrix else a.data), a.name


@pytest.mark.parametrize("which", WRITTEN)
def test_we_read_what_we_write(which, tmp_path):
    model = through_a_folder(wide(which)).float()
    save_gguf(model, BYTES, tmp_path / "m.gguf", kind="F32")
    again = from_gguf(tmp_path / "m.gguf")
    assert all(torch.equal(p, q) for p, q in zip(again.parameters(), model.parameters(), strict=True))
    training = {name: getattr(model.spec, name) for name in ("init", "p_dropout", "p_attend", "std")}
    assert str(diff(again.spec.but(**training), model.spec)) == "no difference"
    assert tokenizer_of(tmp_path / "m.gguf").pieces == BYTES.pieces


def test_what_training_needs_is_not_asked_for(tmp_path):
    save_gguf(tiny("gpt2", p_dropout=0.0, p_attend=0.3, std=0.5), BYTES, tmp_path / "m.gguf")
    assert from_gguf(tmp_path / "m.gguf").spec.p_dropout == get("gpt2").p_dropout


# --- the tokenizer ---------------------------------------------------------------------------------------------------

FAMILIES = {"gpt2": "gpt-2", "smollm2": "smollm", "llama 3": "llama-bpe"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_published_tokenizer_is_inside(family, tmp_path):
    (tmp_path / "tokenizer.json").write_text(text_of(family), encoding="utf-8")
    tokenizer = load(tmp_path / "tokenizer.json")
    told = {"eos_token": "<|eot|>"} if family == "llama 3" else {}
    save_gguf(tiny("llama", n_vocab=910), tokenizer, tmp_path / "m.gguf", **told)
    again = tokenizer_of(tmp_path / "m.gguf")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    assert again.pieces == tokenizer.pieces and again.merges == tokenizer.merges
    assert (again.specials, again.splits) == (tokenizer.specials, tokenizer.splits)
    for text in [*TEXTS, *(f"a {special} b{special}" for special in tokenizer.specials)]:
        ids = tokenizer.encode(text).ids
        assert again.encode(text).ids == ids
        if family != "smollm2":  # whose digits theirs does not part
            assert theirs(text).input_ids == ids
    n, found = len(tokenizer), metadata(gguf.GGUFReader(tmp_path / "m.gguf"))
    assert found["tokenizer.ggml.model"] == "gpt2" and found["tokenizer.ggml.pre"] == FAMILIES[family]
    assert found["tokenizer.ggml.tokens"] == [*tokenizer.pieces, *(f"[PAD{i}]" for i in range(n, 910))]
    kinds = [3 if piece in tokenizer.specials else 1 for piece in tokenizer.pieces] + [5] * (910 - n)
    assert found["tokenizer.ggml.token_type"] == kinds
    assert [tuple(merge.split(" ")) for merge in found["tokenizer.ggml.merges"]] == tokenizer.merges
    bos = {"gpt2": 0, "smollm2": 0, "llama 3": 901}[family]
    assert found["tokenizer.ggml.bos_token_id"] == bos
    assert found["tokenizer.ggml.eos_token_id"] == (902 if family == "llama 3" else 0)
    assert found["tokenizer.ggml.add_bos_token"] is (family == "llama 3")
    assert found["tokenizer.ggml.add_eos_token"] is False


# --- what cannot be written ------------------------------------------------------------------------------------------

UNSAYABLE = {
    "nano-gpt": (lambda: tiny("nano-gpt"), "nano-gpt is none that llama.cpp runs: .*\n.*\n *bias +True -> False"),
    "mini-gpt": (lambda: tiny("mini-gpt"), "mini-gpt is none that llama.cpp runs: .* no head like .*CappedLM"),
    "an encoder": (lambda: tiny("bert"), "written of llama, gpt2 and their children, not of bert"),
    "two stacks": (lambda: tiny("transformer"), "and their children, not of transformer"),
    "a class": (
        lambda: tiny("gpt2", head=OfPrefixes),
        "gpt2 is none that llama.cpp runs: .* no head like .*OfPrefixes",
    ),
    "biases": (lambda: tiny("llama", bias=True), "llama is none that llama.cpp runs: .*\n.*\n *bias +False -> True"),
    "a small table": (lambda: tiny("gpt2", n_vocab=256), "has 258 pieces, but the model's table only n_vocab=256"),
}


@pytest.mark.parametrize("what", UNSAYABLE)
def test_what_cannot_be_written_is_said(what, tmp_path):
    make, said = UNSAYABLE[what]
    with pytest.raises(ValueError, match=said):
        save_gguf(make(), BYTES, tmp_path / "m.gguf")
    assert not [*tmp_path.iterdir()]


def test_numbers_beyond_float16_are_not_made_infinite(tmp_path):
    model = tiny("gpt2")
    model.body.stack.blocks[1].ff.up.weight.data[2, 3] = -70_000
    with pytest.raises(ValueError, match=r"blk\.1\.ffn_up\.weight has numbers that F16 cannot hold: use kind='F32'"):
        save_gguf(model, BYTES, tmp_path / "m.gguf")
    save_gguf(model, BYTES, tmp_path / "m.gguf", kind="F32")
    assert from_gguf(tmp_path / "m.gguf").body.stack.blocks[1].ff.up.weight[2, 3] == -70_000
    with pytest.raises(ValueError, match="kind is 'Q4_0'; matrices are kept as F32 or F16"):
        save_gguf(model, BYTES, tmp_path / "m.gguf", kind="Q4_0")


def test_a_file_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    save_gguf(tiny("gpt2"), BYTES, tmp_path / "m.gguf")
    before = (tmp_path / "m.gguf").read_bytes()
    for name in ("write_kv_data_to_file", "write_tensors_to_file"):
        with monkeypatch.context() as patched:

            def stop(self, **more):
                raise OSError("the disk is full")

            patched.setattr(gguf.GGUFWriter, name, stop)
            with pytest.raises(OSError, match="the disk is full"):
                save_gguf(tiny("llama"), BYTES, tmp_path / "m.gguf")
        assert [file.name for file in tmp_path.iterdir()] == ["m.gguf"]
        assert (tmp_path / "m.gguf").read_bytes() == before
    synced = []
    monkeypatch.setattr(files, "sync", synced.append)
    save_gguf(tiny("llama"), BYTES, tmp_path / "m.gguf")
    assert synced == [tmp_path] and from_gguf(tmp_path / "m.gguf").spec.name == "llama"


def test_the_factors_of_llama3_are_those_of_transformers(tmp_path):
    theirs = twin("llama", np.random.default_rng(0), vocab_size=260, hidden_size=512, rope_parameters=LLAMA3)
    reader = written(tmp_path / "m.gguf", through_a_folder(theirs))
    (factors,) = [tensor for tensor in reader.tensors if tensor.name == "rope_freqs.weight"]
    plain = 500000.0 ** (-torch.arange(0, 128, 2).double() / 128)
    expected = plain / theirs.model.rotary_emb.inv_freq.double()
    assert factors.tensor_type is Kind.F32 and factors.shape.tolist() == [64]
    assert factors.data.min() == 1.0 and factors.data.max() == pytest.approx(32.0, rel=1e-6)
    np.testing.assert_allclose(factors.data, expected.numpy(), rtol=1e-6)
