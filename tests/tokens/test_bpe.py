"""Byte-level BPE beside the Rust library: training, ids, spans, bytes."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from lib.tokens.bpe import BPE, BYTES, GPT2, LETTERS
from lib.tokens.merges import apply
from tests.tokens.corpus import TEXTS, TRAINING, shuffled
from tests.tokens.twins import SPECIALS, model_of, rust_bpe, rust_of, trainer_of, unlike

OURS = BPE.train(TRAINING, 900, specials=SPECIALS)
THEIRS = rust_of(OURS)


def merges_of(rust) -> list[tuple[str, str]]:
    return [(left, right) for left, right in model_of(rust)["merges"]]


@pytest.mark.parametrize("least", [0, 3])
def test_training_gives_the_merges_and_the_vocabulary_of_the_rust_trainer(least):
    ours, theirs = BPE.train(TRAINING, 900, specials=SPECIALS, least=least), rust_bpe(TRAINING, 900, SPECIALS, least)
    assert ours.merges == merges_of(theirs)
    assert ours.ids == model_of(theirs)["vocab"]


@pytest.mark.parametrize(("splits", "space"), [((r"\p{N}", GPT2), False), ((GPT2,), True), ((), False)])
def test_training_goes_by_the_words_that_encoding_has(splits, space):
    ours = BPE.train(TRAINING, 700, splits=splits, prefix_space=space)
    theirs = rust_bpe(TRAINING, 700)
    digits = [pre_tokenizers.Digits(individual_digits=True)] * (len(splits) == 2)
    level = pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=splits != ())
    theirs.pre_tokenizer = pre_tokenizers.Sequence([*digits, level])
    theirs.train_from_iterator(TRAINING, trainer_of(700))
    assert ours.merges == merges_of(theirs)
    assert ours.merges != OURS.merges[: len(ours.merges)]
    assert unlike(ours, rust_of(ours), TEXTS) == []


def test_ties_go_to_the_older_pieces_as_in_the_rust_trainer():
    """Three letters and few words: nearly every merge is a tie, and pieces come about in two ways."""
    for i in range(100):
        rng = random.Random(i)
        texts = ["".join(rng.choices("abc ", k=rng.choice([20, 100, 400])))]
        ours, theirs = BPE.train(texts, 256 + 10 * (i % 12)), rust_bpe(texts, 256 + 10 * (i % 12))
        assert (ours.merges, ours.ids) == (merges_of(theirs), model_of(theirs)["vocab"]), texts


def test_ids_spans_and_text_are_those_of_the_rust_library():
    assert unlike(OURS, THEIRS, TEXTS + shuffled(300)) == []


def test_a_piece_of_a_character_has_the_span_of_the_whole_character():
    bare = BPE(sorted(LETTERS), [])
    assert bare.encode("a🙂b").offsets == [(0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3)]


@given(st.lists(st.integers(0, len(OURS) - 1), max_size=30))
@settings(deadline=None)
def test_any_ids_decode_to_the_text_of_the_rust_library(ids):
    """Random ids are broken UTF-8: each bad stretch becomes as many U+FFFD as theirs."""
    assert OURS.decode(ids) == THEIRS.decode(ids)
    assert OURS.decode(ids, special=True) == THEIRS.decode(ids, skip_special_tokens=False)


def test_a_special_token_outside_ascii_is_text_and_not_the_letters_of_bytes():
    tokenizer = BPE([*OURS.pieces, "<｜fin｜>"], OURS.merges, specials=[*SPECIALS, "<｜fin｜>"])
    ids = tokenizer.encode("né<｜fin｜>").ids
    assert tokenizer.decode(ids, special=True) == "né<｜fin｜>"
    assert rust_of(tokenizer).decode(ids, skip_special_tokens=False) == "né<｜fin｜>"


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_come_back(data):
    assert OURS.decode_bytes(OURS.encode_bytes(data)) == data


@given(st.text(max_size=100))
@settings(deadline=None)
def test_any_text_comes_back(text):
    assert OURS.decode(OURS.encode(text).ids, special=True) == text


def test_merges_go_by_rank_and_not_from_left_to_right():
    ids = {(1, 2): (1, 12), (2, 3): (0, 23), (1, 23): (2, 123)}
    assert apply([1, 2, 3], {pair: ids[pair] for pair in [(1, 2), (2, 3)]}) == [1, 23]
    assert apply([1, 2, 3], ids) == [123]
    assert apply([4, 4, 4, 4, 4], {(4, 4): (0, 44)}) == [44, 44, 4]


def dropout(word: list[int], merges: dict, p: float, rng: random.Random) -> list[int]:
    """BPE-dropout, algorithm 1 of the paper: in each round every candidate drops out with p, and the best is merged."""
    while True:
        pairs = [(merges[pair][0], i) for i, pair in enumerate(itertools.pairwise(word)) if pair in merges]
        left = [candidate for candidate in pairs if rng.random() >= p]
        if not left:
            return word
        _, i = min(left)
        word = [*word[:i], merges[word[i], word[i + 1]][1], *word[i + 2 :]]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_cuts_a_word_as_often_in_each_way_as_the_papers_algorithm(p):
    tokenizer = BPE([*LETTERS, "ab", "aba", "bab", "abab", "ba"], [("a", "b"), ("b", "a"), ("ab", "a"), ("ab", "ab")])
    n, rng, reference = 4_000, np.random.default_rng(0), random.Random(1)
    word = [tokenizer.id_of(letter) for letter in "ababa"]
    drawn = Counter(tuple(tokenizer.sample("ababa", p, rng)) for _ in range(n))
    expected = Counter(tuple(dropout(word, tokenizer._ranks, p, reference)) for _ in range(n))
    assert len(expected) > 4
    for way in drawn | expected:  # the difference of two counts of about np(1-p) each
        assert abs(drawn[way] - expected[way]) < 5 * (2 * max(expected[way], 9)) ** 0.5, way


def test_dropout_of_nothing_is_encoding_and_of_all_is_bytes():
    rng = np.random.default_rng(0)
    assert OURS.sample(TEXTS[0], 0.0, rng) == OURS.encode(TEXTS[0]).ids
    assert [OURS.pieces[i] for i in OURS.sample("the é", 1.0, rng)] == ["t", "h", "e", "Ġ", "Ã", "©"]
    assert len({tuple(OURS.sample("the quick brown fox", 0.3, rng)) for _ in range(20)}) > 5
    with pytest.raises(ValueError, match=r"between 0 and 1; it is 1\.5"):
        OURS.sample("a", 1.5, rng)


def test_a_word_of_many_characters_takes_no_quadratic_time():
    text = "ab" * 50_000
    assert OURS.decode(OURS.encode(text).ids) == text


def test_the_cache_forgets_and_changes_nothing(monkeypatch):
    monkeypatch.setattr("lib.tokens.base.N_CACHE", 3)
    fresh = BPE(OURS.pieces, OURS.merges, specials=SPECIALS)
    assert [fresh.encode(text) for text in TEXTS * 2] == [OURS.encode(text) for text in TEXTS * 2]
    assert len(fresh._cache) <= 3


def test_the_cache_keeps_no_long_words():
    fresh = BPE(OURS.pieces, OURS.merges, specials=SPECIALS)
    fresh.encode_batch(["a" * 100, "b" * 101])
    assert list(fresh._cache) == ["a" * 100]


def test_every_byte_has_a_letter_of_its_own():
    assert len(set(LETTERS)) == 256 and LETTERS[ord(" ")] == "Ġ" and [BYTES[c] for c in LETTERS] == list(range(256))


def test_a_vocabulary_below_the_alphabet_is_refused():
    with pytest.raises(ValueError, match=r"257 pieces is too small: 2 special tokens and 256 bytes.*258 or more"):
        BPE.train(["abc"], 257, specials=["<a>", "<b>"])


def test_a_vocabulary_without_a_byte_is_refused():
    with pytest.raises(ValueError, match="lacks 1, the first being 0x20"):
        BPE([letter for letter in LETTERS if letter != "Ġ"], [])


def test_a_merge_of_or_into_no_piece_is_refused():
    with pytest.raises(ValueError, match="Merge 0 is 'a' \\+ 'xy', but 'xy' is not in"):
        BPE(LETTERS, [("a", "xy")])
    with pytest.raises(ValueError, match="but 'ab' is not in"):
        BPE(LETTERS, [("a", "b")])
