"""WordPiece beside the Rust library: training, ids, spans, normalisation."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from lib.tokens import bert
from lib.tokens.layout import Template
from lib.tokens.load import load
from lib.tokens.wordpiece import PREFIX, WordPiece, grow
from tests.tokens.corpus import ENGLISH, TEXTS, TRAINING, shuffled
from tests.tokens.twins import SPECIALS, model_of, rust_of, rust_wordpiece, unlike

OURS = WordPiece.train(TRAINING, 1200, specials=SPECIALS)
THEIRS = rust_of(OURS)
CASED = WordPiece.train(TRAINING, 1200, specials=SPECIALS, lowercase=False)


@pytest.mark.parametrize("least", [0, 3])
@pytest.mark.parametrize("texts", [TRAINING, [ENGLISH], ["ab ba aab bab abab"] * 3])
def test_training_gives_the_vocabulary_of_the_rust_trainer_from_its_order_of_characters(texts, least):
    """The order is drawn anew in every run of theirs; from that on, every piece and every id agree."""
    theirs = sorted((vocabulary := model_of(rust_wordpiece(texts, 1000, SPECIALS, least))["vocab"]), key=vocabulary.get)
    n_first = len(SPECIALS) + sum(len(piece.removeprefix(PREFIX)) == 1 for piece in theirs)
    totals = Counter(word for text in texts for word in bert.WORDS.findall(bert.normalise(text, True)[0]))
    assert grow(theirs[:n_first], totals, 1000, least) == theirs
    ours = WordPiece.train(texts, 1000, specials=SPECIALS, least=least)
    assert set(ours.pieces[:n_first]) == set(theirs[:n_first])


@pytest.mark.parametrize("ours", [OURS, CASED], ids=["lower case", "cased"])
def test_ids_spans_and_text_are_those_of_the_rust_library(ours):
    assert unlike(ours, rust_of(ours), TEXTS + shuffled(300)) == []


@given(st.lists(st.integers(0, len(OURS) - 1), max_size=30))
@settings(deadline=None)
def test_any_ids_decode_to_the_text_of_the_rust_library(ids):
    assert OURS.decode(ids, special=True) == THEIRS.decode(ids, skip_special_tokens=False)


def test_the_longest_piece_is_taken_and_not_the_first_merge():
    tokenizer = WordPiece(["[UNK]", "a", "ab", "abc", "##c", "##d", "##cd"])
    cut = [tokenizer.pieces[i] for i in tokenizer.encode("abcd").ids]
    assert cut == ["abc", "##d"]
    assert [tokenizer.pieces[i] for i in tokenizer.encode("abd abx").ids] == ["ab", "##d", "[UNK]"]
    assert tokenizer.encode("abx").offsets == [(0, 3)]


def test_spans_are_of_the_text_that_was_given():
    """An accent that is dropped, one of its own, a control character, and a Chinese character between spaces."""
    tokenizer = WordPiece(["[UNK]", "e", "##t", "##e", "##a", "我", "a"])
    text = "Été e\u0301a\x07 a我"
    assert tokenizer.encode(text).offsets == [(0, 1), (1, 2), (2, 3), (4, 5), (6, 7), (9, 10), (10, 11)]
    assert tokenizer.encode(text).offsets == rust_of(tokenizer).encode(text).offsets


def test_half_a_surrogate_pair_is_dropped():
    assert bert.normalise("a\ud83eb", True) == ("ab", [0, 2])


def test_decoding_puts_no_space_before_what_is_glued_to_a_word():
    glued = [".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"]
    tokenizer = WordPiece(["[UNK]", "do", "(", *glued])
    theirs = rust_of(tokenizer)
    for i, piece in enumerate(glued, 3):
        assert tokenizer.decode([1, i]) == theirs.decode([1, i]) == f"do{piece}"
    assert tokenizer.decode([1, 2]) == theirs.decode([1, 2]) == "do ("


def differ(f, g) -> list[str]:
    """The characters that Python's Unicode tables know and on which two functions differ."""
    known = (chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) not in ("Cn", "Cs"))
    return [character for character in known if f(character) != g(character)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_character_is_normalised_as_by_the_rust_library(lowercase):
    """But for marks, formats and signs that Unicode has added since the table of the Rust library was made, in 2016."""
    theirs = normalizers.BertNormalizer(lowercase=lowercase).normalize_str
    apart = differ(lambda character: bert.normal(character, lowercase), theirs)
    assert {unicodedata.category(character) for character in apart} <= {"Mn", "Mc", "Cf"}
    assert len(apart) < 500 and min(map(ord, apart)) > 0x7F0


def test_every_character_is_cut_as_by_the_rust_library():
    theirs = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    apart = differ(
        lambda character: bert.WORDS.findall(f"a{bert.normal(character, False)}a"),
        lambda character: [word for word, _ in theirs(f"a{bert.normal(character, False)}a")],
    )
    assert {unicodedata.category(character) for character in apart} <= {"Po", "Ps", "Pe", "Pd", "So", "Mn"}
    assert len(apart) < 150 and min(map(ord, apart)) > 0x600


def test_a_file_of_theirs_gives_the_same_ids_and_ours_comes_back(tmp_path):
    theirs = rust_wordpiece(TRAINING, 800, SPECIALS)
    theirs.save(str(tmp_path / "theirs.json"))
    ours = load(tmp_path / "theirs.json")
    assert unlike(ours, theirs, TEXTS) == []
    CASED.save(tmp_path / "ours.json")
    again = load(tmp_path / "ours.json")
    assert [again.encode(text) for text in TEXTS] == [CASED.encode(text) for text in TEXTS]


def test_berts_template():
    tokenizer = WordPiece(
        OURS.pieces, specials=SPECIALS, template=Template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    )
    theirs = rust_of(tokenizer).encode("The owl", "l'été")
    ours = tokenizer.encode("The owl", "l'été")
    assert (ours.ids, ours.offsets, ours.types) == (theirs.ids, theirs.offsets, theirs.type_ids)


def test_a_vocabulary_below_the_alphabet_is_refused():
    with pytest.raises(
        ValueError, match=r"5 pieces is too small: 1 special tokens, 3 characters, and 2 inside.*6 or more"
    ):
        WordPiece.train(["abc"], 5, specials=["[UNK]"])


def test_a_vocabulary_without_the_unknown_piece_is_refused():
    with pytest.raises(ValueError, match=r"unknown words, '\[UNK\]', is not in the vocabulary"):
        WordPiece(["a"])
    with pytest.raises(ValueError, match=r"'\[UNK\]', for unknown words, should be one of the specials \['<s>'\]"):
        WordPiece.train(["abc"], 50, specials=["<s>"])
