"""Published families of tokenizer.json: ids, spans, types, masks, text and pairs are those of the Rust library."""

import json

import pytest
from tokenizers import Tokenizer as Rust

from lib.tokens.bpe import BPE, LETTERS
from lib.tokens.load import load
from lib.tokens.unigram import Unigram
from tests.tokens.corpus import TEXTS, shuffled
from tests.tokens.families import CHARSMAP, FAMILIES, LLAMA3, llama2, smollm2, text_of, token
from tests.tokens.twins import SPECIALS, columns, row, rust_bpe, unlike


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
    """Llama 2's oldest files: what is found is ▁</s>, so that only one in front of it leaves no ▁ behind.

    Their decode then takes </s> for no special token; ours leaves it out as any other.
    """
    content = llama2("normal")
    content["added_tokens"] = [token(i, name, normalized=True) for i, name in enumerate(["<unk>", "<s>", "</s>"])]
    ours, theirs = both(tmp_path / "theirs.json", content)
    texts = TEXTS + with_specials(ours)
    assert [row(ours.encode(text)) for text in texts] == [row(theirs.encode(text)) for text in texts]
    assert [ours.pieces[i] for i in ours.encode("a</s> </s>b").ids[-3:]] == ["</s>", "</s>", "b"][-3:]
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
    assert ours.encode("a\x04\x05").offsets == [(0, 1), (2, 3)]  # theirs has (1, 2): it counts what it dropped as nothing
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


def test_charsmap_sees_the_shortest_entry_and_keeps_the_places():
    charsmap = load_charsmap()
    assert charsmap("ﬁ①½ e\u0301\u200bx…") == ("fi11/2 éx...", [0, 0, 1, 2, 2, 2, 3, 4, 7, 8, 8, 8])
    assert charsmap("") == ("", [])


def load_charsmap():
    from lib.tokens.charsmap import Charsmap

    return Charsmap(CHARSMAP)


@pytest.mark.parametrize("table", ["no base64!", "AAAA", "////AAAA"])
def test_what_is_no_table_of_characters_is_refused(table):
    from lib.tokens.charsmap import Charsmap

    with pytest.raises(ValueError, match="precompiled_charsmap is no table of SentencePiece's"):
        Charsmap(table)
