"""Text to ids and back, and tables of unequal rows."""

import pytest
import torch

from lib.tokens.vocabulary import BOS, EOS, PAD, SPECIAL, UNK, Vocabulary, pad, pieces


def test_pieces_are_words_digits_and_signs():
    assert pieces("3rd of août, 1987_x") == ["3", "rd", "of", "août", ",", "1", "9", "8", "7", "_", "x"]


def test_common_pieces_come_first_and_rare_ones_are_unknown():
    vocabulary = Vocabulary.of([["b", "a", "c"], ["a", "b", "a"]], least=2)
    assert vocabulary.symbols == (*SPECIAL, "a", "b")
    assert vocabulary.encode(["b", "c", "a"]) == [5, UNK, 4]
    assert Vocabulary.of([["b", "c", "a", "c"]]).symbols == (*SPECIAL, "c", "a", "b")


def test_decode_ends_at_eos_and_leaves_special_ids_out():
    vocabulary = Vocabulary.of([["a", "b"]])
    assert vocabulary.decode(torch.tensor([BOS, 4, PAD, 5, EOS, 4]).tolist()) == ["a", "b"]


def test_a_vocabulary_without_its_special_ids_or_with_a_piece_twice_is_refused():
    with pytest.raises(ValueError, match="begins with"):
        Vocabulary(("a", "b"))
    with pytest.raises(ValueError, match=r"more than once: \['a'\]"):
        Vocabulary((*SPECIAL, "a", "a"))


def test_pad_fills_to_the_longest():
    assert pad([[5], [6, 7]]).tolist() == [[5, PAD], [6, 7]]
    assert pad([]).shape == (0, 0)
