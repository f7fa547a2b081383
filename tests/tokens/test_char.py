"""Characters, beside the Rust library."""

import json

import pytest

from lib.tokens.added import Added
from lib.tokens.char import Char
from lib.tokens.load import load
from tests.tokens.corpus import TEXTS
from tests.tokens.twins import SPECIALS, rust_of, unlike

OURS = Char.train(TEXTS, specials=SPECIALS)
FEW = Char.train(["abc de"], specials=SPECIALS, unknown="[UNK]")


@pytest.mark.parametrize("ours", [OURS, FEW], ids=["all characters", "few"])
def test_ids_spans_and_text_are_those_of_the_rust_library(ours):
    assert unlike(ours, rust_of(ours), [*TEXTS, "a<|end|>b"]) == []


def test_a_text_comes_back():
    assert [OURS.decode(OURS.encode(text).ids) for text in TEXTS] == TEXTS


def test_the_vocabulary_is_in_the_order_of_unicode():
    assert Char.train(["bca", "é\n"]).pieces == ["\n", "a", "b", "c", "é"]
    assert Char.train(["b\na"], specials=["\n"]).pieces == ["\n", "a", "b"]
    assert FEW.encode("a?b").ids == [FEW.id_of("a"), FEW.id_of("[UNK]"), FEW.id_of("b")]


def test_an_unknown_character_is_refused_where_no_piece_stands_for_it():
    with pytest.raises(ValueError, match="The character 'z' is not in the vocabulary"):
        Char.train(["abc"]).encode("abz")
    with pytest.raises(ValueError, match="unknown characters, '<unk>', is not in"):
        Char.train(["abc"], unknown="<unk>")


def test_a_special_token_behind_the_vocabulary_is_no_character():
    """Within a word it is not looked for, and the model does not know it."""
    ours = Char(["?", "a", "x"], unknown="?", specials=[Added("x", single_word=True, behind=True)])
    assert ours.encode("ax x").ids == rust_of(ours).encode("ax x").ids == [1, 0, 0, 2]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("merges", [["a", "b"]], "a tokenizer of characters; yet model has merges"),
        ("fuse_unk", True, "model has fuse_unk = true, .* only False"),
        ("dropout", 0.5, "model has dropout = 0.5, .* only None"),
    ],
)
def test_a_file_comes_back_and_what_characters_do_not_have_is_refused(tmp_path, key, value, message):
    path = tmp_path / "tokenizer.json"
    FEW.save(path)
    again = load(path)
    assert isinstance(again, Char) and [again.encode(t) for t in TEXTS] == [FEW.encode(t) for t in TEXTS]
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["model"][key] = value
    path.write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(path)
