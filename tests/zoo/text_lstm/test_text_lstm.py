"""TextLSTM and the sentences that it reads."""

import pytest
import torch

from lib.tasks.sentiment import Sentences, encode, vocabulary
from lib.zoo.text_lstm import PAD, UNKNOWN, TextLSTM
from tests.zoo.text_lstm.verified import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


@pytest.mark.parametrize("lengths", [[0, 2], [2, 4]])
def test_a_length_that_cannot_be_is_said(lengths):
    with pytest.raises(ValueError, match="from 1 to 3"):
        TextLSTM(5)(torch.ones(2, 3, dtype=torch.long), torch.tensor(lengths))


def test_words_of_one_occurrence_share_an_id():
    vocab = vocabulary(["b a b", "a c"])
    assert vocab == {"a": 2, "b": 3}
    assert [ids.tolist() for ids in encode(["a c", "zebra"], vocab)] == [[2, UNKNOWN], [UNKNOWN]]
    assert set(vocabulary(["b a b", "a c"], n_least=1)) == {"a", "b", "c"}


def test_a_batch_is_padded_and_keeps_lengths_and_labels_together():
    data = Sentences([torch.tensor([2]), torch.tensor([3, 4, 5])], torch.tensor([0, 1]))
    ids, lengths, labels = data.batch([1, 0])
    assert ids.tolist() == [[3, 4, 5], [2, PAD, PAD]]
    assert lengths.tolist() == [3, 1] and labels.tolist() == [1, 0]


def test_hidden_words_are_drawn_from_the_generator_and_never_from_padding():
    data = Sentences([torch.full((50,), 7), torch.tensor([7])], torch.tensor([0, 1]), p_unknown=0.5)
    first, again = (data.batch([0, 1], torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert torch.equal(first, again)
    assert 10 < (first[0] == UNKNOWN).sum() < 40
    assert (first[1, 1:] == PAD).all()
