"""Published families of tokenizer.json: ids, spans, types, masks, text and pairs are those of the Rust library."""

import base64
import json
import struct

import pytest
from tokenizers import Tokenizer as Rust

from lib.tokens.bpe import BPE, LETTERS
from lib.tokens.charsmap import Charsmap
from lib.tokens.fallback import FallbackBPE
from lib.tokens.load import load
from tests.tokens.corpus import TEXTS, shuffled
from tests.tokens.families import CHARSMAP, FAMILIES, gpt2, llama2, llama3, smollm2, t5, text_of, token
from tests.tokens.twins import columns, row, unlike


def both(path, content):
    """A file as ours and as theirs."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return load(path), Rust.from_file(str(path))


def with_specials(tokenizer) -> list[str]:
    """Texts in which its special tokens stand, between spaces, letters and each other."""
    return [
        text
        for special in tokenizer.specials
        for text in (special, f" {special} ", f"a {special} b{special}{special}  c\n{special}\td", f"{special}hello")
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_published_file_gives_what_the_rust_library_gives(tmp_path, family):
    ours, theirs = both(tmp_path / "theirs.json", text_of(family))
    texts = TEXTS + shuffled(100) + with_specials(ours)
    assert unlike(ours, theirs, texts) == []
    for a, b in zip(texts[::9], texts[4::9], strict=False):
        assert columns(ours.encode(a, b)) == columns(theirs.encode(a, b)), (a, b)
    ours.save(tmp_path / "ours.json")
    assert unlike(load(tmp_path / "ours.json"), theirs, texts) == []
    assert unlike(ours, Rust.from_file(str(tmp_path / "ours.json")), texts) == []


def test_special_tokens_that_are_looked_for_in_the_normalised_text(tmp_path):
    """Llama 2's oldest files: what is found is ▁</s>, so that only one behind a space is found.

    Their decode then takes </s> for no special token; ours leaves it out as any other.
    """
    content = llama2("normal")
    content["added_tokens"] = [token(i, name, normalized=True) for i, name in enumerate(["<unk>", "<s>", "</s>"])]
    ours, theirs = both(tmp_path / "theirs.json", content)
    texts = TEXTS + with_specials(ours)
    assert [row(ours.encode(text)) for text in texts] == [row(theirs.encode(text)) for text in texts]
    assert [ours.pieces[i] for i in ours.encode("a</s>a </s>b").ids].count("</s>") == 1
    assert ours.decode(ours.encode("so </s>").ids) == "so"


def test_a_byte_without_a_piece_leaves_no_trace_and_is_refused_where_bytes_shall_come_back(tmp_path):
    content = smollm2()
    content["model"] = json.loads(json.dumps(content["model"]))
    lost = LETTERS[0x04]
    last = max(content["model"]["vocab"].items(), key=lambda item: item[1])[0]
    content["model"]["vocab"][last] = content["model"]["vocab"].pop(lost)  # ids stay 0 to n - 1
    content["model"]["merges"] = [pair for pair in content["model"]["merges"] if "".join(pair) != last]
    ours, theirs = both(tmp_path / "theirs.json", content)
    texts = [*TEXTS, "a\x04b", "\x04", "\x04\x04c ", "x \x04\x05"]
    assert [ours.encode(text).ids for text in texts] == [theirs.encode(text).ids for text in texts]
    assert ours.encode("a\x04\x05").offsets == [
        (0, 1),
        (2, 3),
    ]  # theirs has (1, 2): it counts what it dropped as nothing
    with pytest.raises(ValueError, match="no piece for the byte 0x04"):
        ours.encode_bytes(b"a\x04")
    with pytest.raises(ValueError, match="lacks 1, the first being 0x04"):
        BPE(ours.pieces, ours.merges)


def test_the_oldest_files_do_not_name_their_model(tmp_path):
    for family, kind in (("gpt2", "BPE"), ("bert, cased", "WordPiece")):
        content = json.loads(text_of(family))
        assert "type" not in content["model"]
        assert type(both(tmp_path / "theirs.json", content)[0]).__name__ == kind
    content["model"] = {"vocab": content["model"]["vocab"]}
    with pytest.raises(ValueError, match="model has no 'type', and neither"):
        both(tmp_path / "theirs.json", content)


@pytest.mark.parametrize("family", ["roberta", "roberta, prefix space", "llama 2, first", "t5"])
def test_what_overflows_has_the_spans_that_the_rust_library_gives(tmp_path, family):
    theirs = Rust.from_str(text_of(family))
    theirs.enable_truncation(9, stride=2, direction="left")
    ours, theirs = both(tmp_path / "theirs.json", theirs.to_str())
    assert [columns(ours.encode(text)) for text in TEXTS] == [columns(theirs.encode(text)) for text in TEXTS]


def test_of_a_rare_character_every_byte_is_a_piece_with_its_span(tmp_path):
    ours, theirs = both(tmp_path / "theirs.json", llama2("first"))
    assert isinstance(ours, FallbackBPE)
    encoding = ours.encode("a🧿b", special=False)
    assert [ours.pieces[i] for i in encoding.ids] == ["▁a", "<0xF0>", "<0x9F>", "<0xA7>", "<0xBF>", "b"]
    assert encoding.offsets == [(0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3)]
    for part in (["<0xF0>", "<0x9F>"], ["a", "<0xC3>", "<0xA9>", "<0xA9>", "b"], ["▁", "▁a"], ["<0x41>"]):
        ids = [ours.id_of(piece) for piece in part]
        assert ours.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize(
    ("family", "where", "value", "message"),
    [
        (llama3, "pre_tokenizer.pretokenizers.0.behavior", "Removed", "behavior = \"Removed\", .* only 'Isolated'"),
        (llama3, "pre_tokenizer.pretokenizers.0.pattern", {"String": " "}, "pre_tokenizer.pattern has no 'Regex'"),
        (
            llama3,
            "pre_tokenizer.pretokenizers.0.pattern",
            {"Regex": "(a"},
            r"The pattern '\(a' for words cannot be read",
        ),
        (llama3, "pre_tokenizer.pretokenizers.0.pattern", {"Regex": "(a)"}, r"'\(a\)' for words should have no groups"),
        (llama3, "pre_tokenizer.pretokenizers.0.pattern", {"Regex": "a*"}, r"'a\*' .* match no empty text"),
        (llama3, "pre_tokenizer.pretokenizers.0.type", "Punctuation", "has 'Punctuation' before ByteLevel"),
        (llama3, "pre_tokenizer.pretokenizers.1.add_prefix_space", True, "prefix_space goes with GPT-2's words alone"),
        (llama3, "model.ignore_merges", 1, "model.ignore_merges should be true or false; it is 1"),
        (llama3, "post_processor.processors.0.trim_offsets", True, "add_prefix_space = true, .* only False"),
        (llama3, "post_processor.processors.1.special_tokens.<|begin|>.ids", [7], r"the ids \[7\]; in .* it has 901"),
        (
            gpt2,
            "padding",
            {"strategy": "BatchLongest", "pad_token": "!", "pad_id": 0},
            r"puts in '!' with the ids \[0\]",
        ),
        (lambda: llama2("first"), "pre_tokenizer.split", True, "pre_tokenizer is .*; beside byte_fallback"),
        (lambda: llama2("normal"), "normalizer.normalizers.0.prepend", "_", "normalizer is .*; beside byte_fallback"),
        (lambda: llama2("first"), "decoder.decoders.3.start", 2, "decoder is .*; beside byte_fallback"),
        (lambda: llama2("first"), "model.dropout", 0.1, "model has dropout = 0.1"),
        (
            lambda: llama2("first"),
            "post_processor",
            {"type": "ByteLevel", "trim_offsets": True},
            "byte-level BPE alone",
        ),
        (t5, "normalizer", {"type": "NFKC"}, "normalizer has type = \"NFKC\", .* only 'Precompiled'"),
        (t5, "pre_tokenizer.pretokenizers.0.type", "Whitespace", 'has type = "Whitespace"'),
        (t5, "pre_tokenizer.pretokenizers.1.prepend_scheme", "first", 'prepend_scheme = "first"'),
        (t5, "model.byte_fallback", True, "model has byte_fallback = true"),
    ],
)
def test_what_no_family_uses_is_refused_by_name(tmp_path, family, where, value, message):
    content = json.loads(json.dumps(family()))
    *path, last = (int(key) if key.isdigit() else key for key in where.split("."))
    section = content
    for key in path:
        section = section[key]
    section[last] = value
    with pytest.raises(ValueError, match=message):
        both(tmp_path / "theirs.json", content)


def test_a_vocabulary_without_a_piece_for_a_byte_is_refused():
    with pytest.raises(ValueError, match="a piece for each byte; it lacks '<0x00>'"):
        FallbackBPE(["a"], [])
    with pytest.raises(ValueError, match="space is 'last'; known are first"):
        FallbackBPE(["a"], [], space="last")


def test_charsmap_sees_the_shortest_entry_and_keeps_the_places():
    charsmap = Charsmap(CHARSMAP)
    assert charsmap("ﬁ①½ e\u0301\u200bx…") == ("fi11/2 éx...", [0, 0, 1, 2, 2, 2, 3, 4, 7, 8, 8, 8])
    assert charsmap("") == ("", [])


def test_charsmap_reads_what_only_large_tables_have():
    """A table of the one entry a -> b, by hand: children far away (in steps of 256), a replacement behind 70,000 bytes.

    See charsmap.py for the units: the base of the children from bit 10 on, bit 9 for steps of 256, bit 8 for an end.
    """
    units = [0] * 512
    units[0] = 1 << 10 | 1 << 9  # the root's children are at 256, and a's at 256 ^ ord("a")
    units[256 ^ ord("a")] = 1 << 10 | 1 << 8 | ord("a")
    units[256 ^ ord("a") ^ 1] = 1 << 31 | 70_000
    data = struct.pack("<I512I", 4 * len(units), *units) + b"x" * 70_000 + b"b\0"
    assert Charsmap(base64.b64encode(data).decode())("aca") == ("bcb", [0, 1, 2])


@pytest.mark.parametrize("table", ["no base64!", "AAAA", "////AAAA"])
def test_what_is_no_table_of_characters_is_refused(table):
    with pytest.raises(ValueError, match="precompiled_charsmap is no table of SentencePiece's"):
        Charsmap(table)
