"""tokenizer.json: ours in theirs, theirs in ours, and files that are refused by name."""

import json
import os

import pytest
from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models, pre_tokenizers, processors

from lib.tokens.bpe import BPE
from lib.tokens.layout import Padding, Template, Truncation
from lib.tokens.load import load
from tests.tokens.corpus import ENGLISH, FRENCH, TEXTS
from tests.tokens.twins import SPECIALS, rust_bpe, rust_of, unlike

TRAINED = BPE.train([ENGLISH, FRENCH], 400, specials=SPECIALS)


def rebuilt(**shared) -> BPE:
    return BPE(TRAINED.pieces, TRAINED.merges, specials=SPECIALS, **shared)


@pytest.mark.parametrize(
    "shared",
    [
        {},
        {"template": Template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")},
        {"truncation": Truncation(12, "longest_first", "left"), "padding": Padding("[PAD]", None, "left", 8)},
        {"truncation": Truncation(9, "only_first", stride=3), "padding": Padding("<|end|>", 20, "right", None, 1)},
    ],
)
def test_what_is_saved_comes_back(tmp_path, shared):
    ours = rebuilt(**shared)
    ours.save(tmp_path / "tokenizer.json")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    again = load(tmp_path / "tokenizer.json")
    again.save(tmp_path / "again.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    assert [again.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]
    assert unlike(again, rust_of(ours), TEXTS) == []


@pytest.mark.parametrize(
    "processor",
    [
        None,
        processors.ByteLevel(trim_offsets=False),
        processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
        processors.TemplateProcessing(single="<|end|> $A", pair="$A $B:2 <|end|>:1", special_tokens=[("<|end|>", 4)]),
    ],
)
def test_a_file_of_theirs_gives_the_same_ids(tmp_path, processor):
    theirs = rust_bpe([ENGLISH, FRENCH], 500, SPECIALS)
    if processor:
        theirs.post_processor = processor
    theirs.enable_truncation(40)
    theirs.enable_padding(pad_id=0, pad_token="[PAD]", pad_to_multiple_of=4)
    theirs.save(str(tmp_path / "theirs.json"))
    assert unlike(load(tmp_path / "theirs.json"), theirs, TEXTS) == []


def test_special_tokens_that_their_file_adds_after_the_vocabulary(tmp_path):
    theirs = rust_bpe([ENGLISH], 300)
    theirs.add_special_tokens(["<|user|>", "<|end|>"])
    theirs.save(str(tmp_path / "theirs.json"))
    ours = load(tmp_path / "theirs.json")
    assert ours.specials == ["<|user|>", "<|end|>"] and len(ours) == 302
    assert unlike(ours, theirs, ["<|user|>Hello <|end|>"]) == []


def test_the_older_form_of_merges_is_read(tmp_path):
    path = tmp_path / "tokenizer.json"
    TRAINED.save(path)
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["model"]["merges"] = [" ".join(pair) for pair in saved["model"]["merges"]]
    path.write_text(json.dumps(saved), encoding="utf-8")
    assert load(path).merges == TRAINED.merges


def edit(saved, where, value):
    """Set, or with ... remove, the entry at a path such as model.type."""
    *path, last = where.split(".")
    for key in path:
        saved = saved[key]
    if value is ...:
        del saved[last]
    else:
        saved[last] = value


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("model.type", "WordLevel", r"model.type is 'WordLevel'; lib.tokens has BPE"),
        ("model", ..., "The file has no 'model'"),
        ("model", [], "model has no 'type'"),
        ("model.vocab", ..., "model has no 'vocab'"),
        ("model.vocab", ["a"], "model.vocab should map each piece to its id"),
        ("model.vocab.!", 700, "ids of 400 pieces should be 0 to 399"),
        ("model.vocab.[PAD]", 1, r"added token '\[PAD\]' has id 0, but model.vocab gives it 1"),
        ("model.merges", ..., "model has no 'merges'"),
        ("model.merges", [["a", "?!"]], r"Merge 0 is 'a' \+ '\?!', but '\?!' is not in the vocabulary"),
        ("model.merges", ["a b c"], "Merge 0 should be two pieces; it is 'a b c'"),
        ("model.dropout", 0.1, "model has dropout = 0.1, which lib.tokens does not do, only None"),
        ("model.novelty", "", 'model has novelty = ""'),
        ("model.novelty", True, "model has novelty = true, which lib.tokens does not do"),
        ("normalizer", {"type": "NFC"}, 'normalizer has type = "NFC"'),
        ("pre_tokenizer", {}, "pre_tokenizer has no 'type'"),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer is 'Whitespace'; a BPE of lib.tokens works on bytes"),
        ("pre_tokenizer.add_prefix_space", None, "add_prefix_space should be true or false; it is null"),
        ("decoder", ..., "The file has no 'decoder'"),
        ("post_processor", {"type": "New"}, "post_processor is 'New'; lib.tokens reads"),
        ("post_processor", {"type": "ByteLevel", "trim_offsets": True}, "add_prefix_space = null"),
        ("post_processor.single", ..., "post_processor has no 'single'"),
        ("added_tokens", [{"id": 0}], "An added token has no 'content'"),
        ("added_tokens", [{"id": 0, "content": "[PAD]", "novel": True}], r"'\[PAD\]' has novel = true"),
        ("truncation", {"strategy": "LongestFirst"}, "truncation has no 'max_length'"),
        ("truncation", {"max_length": 9, "strategy": "Longest"}, "truncation.strategy is 'Longest'; known are"),
        ("truncation", {"max_length": 9, "strategy": "OnlyFirst", "pad": 2}, "truncation has pad = 2"),
        ("padding", {"strategy": "BatchLongest"}, "padding has no 'pad_token'"),
        ("padding", {"strategy": "BatchLongest", "pad_token": "<pad>"}, "Padding uses '<pad>', which is not in"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, where, value, message):
    path = tmp_path / "tokenizer.json"
    TRAINED.save(path)
    saved = json.loads(path.read_text(encoding="utf-8"))
    edit(saved, where, value)
    path.write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\x80\x04K\x01.", b"[]"])
def test_what_is_no_tokenizer_is_refused(tmp_path, data):
    """The third is a pickle: it is text to this library, and no text at all."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"is not JSON|has no 'model'"):
        load(path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    TRAINED.save(path)
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        rebuilt(template=Template("[CLS] $A")).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_byte_level_file_without_every_byte_is_refused(tmp_path):
    theirs = Rust(models.BPE(vocab={"a": 0}, merges=[]))
    theirs.pre_tokenizer, theirs.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    theirs.save(str(tmp_path / "theirs.json"))
    with pytest.raises(ValueError, match=r"lacks 159, the first being 0x20.*initial_alphabet"):
        load(tmp_path / "theirs.json")
