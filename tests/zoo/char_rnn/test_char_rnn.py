"""The character model: its encoding, its layers, what it draws; and the task that trains it."""

import math

import pytest
import torch
from torch import nn

from lib.layers.recurrent import GRU, LSTM, RNN
from lib.tasks.surnames import Names, loss
from lib.zoo.char_rnn import MARK, NOTHING, CharRNN, decode, encode, sample
from tests.layers.recurrent.twins import LAYERS

ALPHABET = ".abcK"


def test_targets_are_the_ids_one_step_on():
    ids, targets = encode(["Kab", "c"], ALPHABET)
    assert ids.tolist() == [[MARK, 4, 1, 2], [MARK, 3, MARK, MARK]]
    assert targets.tolist() == [[4, 1, 2, MARK], [3, MARK, NOTHING, NOTHING]]


def test_a_letter_that_the_alphabet_lacks_is_named():
    with pytest.raises(ValueError, match=r"lacks \['d', 'e'\]"):
        encode(["Kde", "ca"], ALPHABET)


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_our_layers_and_torchs_give_the_same_model(layer):
    torch.manual_seed(0)
    ours, theirs = CharRNN(5, 3, layer=layer).double(), CharRNN(5, 3, layer=LAYERS[layer]).double()
    theirs.load_state_dict(ours.state_dict())
    ids, nation = torch.randint(5, (4, 7)), torch.tensor([0, 2, 1, 2])
    torch.testing.assert_close(ours(ids, nation)[0], theirs(ids, nation)[0], rtol=0, atol=1e-10)


def test_the_nation_counts_at_every_step():
    torch.manual_seed(0)
    model, ids = CharRNN(5, 3), torch.randint(5, (1, 6))
    a, b = (model(ids, torch.tensor([k]))[0] for k in (0, 1))
    assert (a - b).abs().amax(dim=2).min() > 1e-4


class Fixed(nn.Module):
    """The same logits at every step."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, ids, nation, state=None):
        return self.logits.expand(*ids.shape, -1), state


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_letters_come_as_often_as_softmax_says(temperature):
    model = Fixed([-30.0, 0.0, 1.0, 2.0])
    generator = torch.Generator().manual_seed(0)
    drawn = sample(model, torch.zeros(500, dtype=torch.long), temperature, longest=40, generator=generator)
    share = drawn.flatten().bincount(minlength=4) / drawn.numel()
    torch.testing.assert_close(share, (model.logits / temperature).softmax(0), rtol=0, atol=0.01)


def test_a_name_that_has_ended_stays_ended():
    generator = torch.Generator().manual_seed(0)
    drawn = sample(Fixed([0.0, 0.0, 0.0]), torch.zeros(300, dtype=torch.long), longest=12, generator=generator)
    assert drawn.shape == (300, 12)
    for row in drawn.tolist():
        end = row.index(MARK) if MARK in row else len(row)
        assert all(i == MARK for i in row[end:])
    names = decode(drawn, ".ab")
    assert [len(name) for name in names] == [row.index(MARK) if MARK in row else 12 for row in drawn.tolist()]
    assert {len(name) for name in names} >= {0, 1, 2, 3}


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_a_temperature_that_cannot_be_is_said(temperature):
    with pytest.raises(ValueError, match="above 0"):
        sample(Fixed([0.0, 0.0]), torch.tensor([0]), temperature)


def test_the_loss_counts_letters_and_no_padding():
    names = Names([("Kabc", 0), ("a", 1), ("bc", 0)], ALPHABET)
    total, count = loss(Fixed([0.0] * 5), names.batch([0, 1, 2]))
    assert count == 5 + 2 + 3
    assert float(total / count) == pytest.approx(math.log(5))


def test_a_batch_is_as_wide_as_its_longest_name():
    names = Names([("Kabc", 0), ("a", 1), ("bc", 2)], ALPHABET)
    ids, targets, nation = names.batch([2, 1])
    assert ids.shape == targets.shape == (2, 3) and nation.tolist() == [2, 1]
