"""Special tokens and their settings, beside the Rust library."""

import itertools
import json

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Rust

from lib.tokens.added import Added, Finder
from lib.tokens.load import load
from lib.tokens.wordpiece import WordPiece
from tests.tokens.families import text_of
from tests.tokens.twins import columns, unlike

TEXTS = [
    "lol",
    "a lol b",
    "alol lolb lol_ lol2 lol! (lol) élol lolé lol\u0301 lol\u200d lol",
    "lol  lol\tlol\n\nlol",
    "  lol  \u00a0lol\u3000 \x1clol\x1f lol",
    "LOL Lol  lollol rolling",
    "été ÉTÉ Été  été",
    "<x> <x><x>  <x>lol<x> lol",
    " ",
    "",
]


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=4)), ids=lambda flags: f"{flags}")
@pytest.mark.parametrize("family", ["bert, distilbert", "smollm2", "t5", "roberta", "llama 2, first"])
def test_tokens_are_found_as_by_the_rust_library(tmp_path, family, flags):
    names = ("lstrip", "rstrip", "single_word", "normalized")
    theirs = Rust.from_str(text_of(family))
    theirs.add_tokens([AddedToken(text, **dict(zip(names, flags, strict=True))) for text in ("lol", "Été", "ing")])
    theirs.add_special_tokens(["<x>"])
    theirs.save(str(tmp_path / "theirs.json"))
    ours = load(tmp_path / "theirs.json")
    for text in TEXTS:
        assert columns(ours.encode(text)) == columns(theirs.encode(text)), text
    assert len(ours.specials) == len(json.loads(theirs.to_str())["added_tokens"])
    ours.save(tmp_path / "ours.json")
    again = load(tmp_path / "ours.json")
    assert again.added == ours.added and again.own == ours.own
    assert [again.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]


def test_decoding_keeps_what_is_added_but_not_special(tmp_path):
    theirs = Rust.from_str(text_of("smollm2"))
    theirs.add_tokens(["lol"])
    theirs.add_special_tokens(["<x>"])
    theirs.save(str(tmp_path / "theirs.json"))
    ours = load(tmp_path / "theirs.json")
    assert unlike(ours, theirs, TEXTS) == []
    assert ours.decode(ours.encode("a lol<x>b").ids) == "a lolb"


def test_a_token_behind_the_vocabulary_is_no_piece_of_the_model():
    """Inside a word it is not found, and longest match must not take it either."""
    pieces = ["[UNK]", "l", "##o", "##l", "##lo", "lol"]
    behind = WordPiece(pieces, specials=[Added("lol", single_word=True, behind=True)])
    within = WordPiece(pieces, specials=[Added("lol", single_word=True)])
    assert [behind.pieces[i] for i in behind.encode("lol lolo").ids] == ["lol", "l", "##o", "##lo"]
    assert [within.pieces[i] for i in within.encode("lol lolo").ids] == ["lol", "lol", "##o"]


def test_stretches_cover_the_text():
    find = Finder([("<a>", Added("<a>", lstrip=True)), ("<a>b", Added("<a>b", rstrip=True))])
    text = "x  <a> <a>b  y<a>"
    stretches = [(text[start:end], token and token.text) for start, end, token in find(text)]
    assert stretches == [("x", None), ("  <a>", "<a>"), (" ", None), ("<a>b  ", "<a>b"), ("y", None), ("<a>", "<a>")]
    assert list(find("")) == [] and list(Finder([])("ab")) == [(0, 2, None)]
