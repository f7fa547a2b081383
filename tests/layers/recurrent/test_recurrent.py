"""Every claim in `verified.py`; and what random numbers do not reach: seeds, padding, permutations, bad input."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from lib.layers.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell, bptt
from tests.layers.recurrent.twins import LAYERS
from tests.layers.recurrent.verified import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


@pytest.mark.parametrize("kind", LAYERS)
def test_same_seed_same_weights_as_torch(kind):
    torch.manual_seed(3)
    ours = kind(3, 4, 2, bidirectional=True).state_dict()
    torch.manual_seed(3)
    theirs = LAYERS[kind](3, 4, 2, bidirectional=True).state_dict()
    assert list(ours) == list(theirs)  # the same names in the same order
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", LAYERS)
def test_padding_reaches_nothing(kind):
    torch.manual_seed(0)
    layer = kind(2, 3, 2, bidirectional=True)
    lengths = [2, 4, 1]
    found = []
    for filler in (0.0, 1e6, float("nan")):
        x = torch.arange(24.0).reshape(4, 3, 2) / 24
        for b, n in enumerate(lengths):
            x[n:, b] = filler
        x.requires_grad_()
        y, state = layer(x, lengths=lengths)
        loss = y.sum() + sum(part.sum() for part in ([state] if isinstance(state, torch.Tensor) else state))
        found.append([y, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert all(not found[0][0][n:, b].any() for b, n in enumerate(lengths))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_batch_is_its_sequences(kind):
    """Unsorted lengths: each sequence of a batch gives what it gives alone."""
    torch.manual_seed(1)
    layer = kind(2, 3, bidirectional=True).double()
    x, lengths = torch.randn(3, 5, 2, dtype=torch.float64), [3, 5, 1]
    layer.batch_first = True
    y, state = layer(x, lengths=lengths)
    for b, n in enumerate(lengths):
        alone, last = layer(x[b : b + 1, :n])
        torch.testing.assert_close(y[b : b + 1, :n], alone, rtol=0, atol=1e-12)
        for whole, part in zip(*([s] if isinstance(s, torch.Tensor) else s for s in (state, last)), strict=True):
            torch.testing.assert_close(whole[:, b : b + 1], part, rtol=0, atol=1e-12)


def test_a_packed_sequence_keeps_its_order():
    """Ties in length and a permutation of the caller's own: the fields of the packing come back as they were."""
    torch.manual_seed(0)
    packed = pack_padded_sequence(torch.randn(4, 5, 2), torch.tensor([2, 4, 2, 4, 1]), enforce_sorted=False)
    for x in (packed, pack_sequence([torch.randn(n, 2) for n in (3, 3, 1)])):
        y, _ = LSTM(2, 3)(x)
        assert isinstance(y, PackedSequence)
        assert torch.equal(y.batch_sizes, x.batch_sizes)
        assert y.sorted_indices is x.sorted_indices and y.unsorted_indices is x.unsorted_indices


def test_dropout_only_in_training_and_not_on_the_top():
    torch.manual_seed(0)
    layer, x = RNN(2, 50, 2, p_dropout=0.5), torch.randn(6, 3, 2)
    first, second = layer(x)[0], layer(x)[0]
    assert not torch.equal(first, second)
    assert first.ne(0).all()  # the top layer's output is never dropped
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_the_dtype_stays():
    layer = GRU(2, 3, 2, bidirectional=True).bfloat16()
    y, state = layer(torch.randn(4, 5, 2, dtype=torch.bfloat16))
    assert y.dtype == state.dtype == torch.bfloat16 and y.shape == (4, 5, 6) and state.shape == (4, 5, 3)


X = torch.zeros(4, 3, 2)
H = torch.zeros(1, 3, 5)
PACKED = pack_padded_sequence(X, torch.tensor([4, 4, 1]))
BAD = {
    "x has 3 axes.*(4, 2)": lambda: RNN(2, 5)(torch.zeros(4, 2)),
    "x is 2 wide, but this layer was built with d_in=3": lambda: GRU(3, 5)(X),
    "x is 2 wide, but this layer was built with d_in=4": lambda: LSTM(4, 5)(PACKED),
    "3 sequences of 0 steps": lambda: RNN(2, 5)(X[:0]),
    "0 sequences of 4 steps": lambda: RNN(2, 5)(X[:, :0]),
    "from 1 to 4.*got [0]": lambda: RNN(2, 5)(X, lengths=[4, 0, 2]),
    "from 1 to 4.*got [5, -1]": lambda: RNN(2, 5)(X, lengths=torch.tensor([5, 4, -1])),
    "from 1 to 3.*got [4]": lambda: RNN(2, 5, batch_first=True)(X, lengths=[4, 3, 1, 1]),
    "3 whole numbers": lambda: RNN(2, 5)(X, lengths=[4, 4]),
    "3 whole numbers, one": lambda: RNN(2, 5)(X, lengths=[1.0, 2.0, 3.0]),
    "3 whole numbers, one for": lambda: RNN(2, 5)(X, lengths=torch.tensor([True, True, False])),
    "brings its own lengths": lambda: RNN(2, 5)(PACKED, lengths=[4, 4, 1]),
    "shape (3, 5), but (1, 3, 5)": lambda: RNN(2, 5)(X, H[0]),
    "shape (1, 3, 5), but (2, 3, 5)": lambda: GRU(2, 5, bidirectional=True)(X, H),
    "shape (1, 3, 4), but (1, 3, 5)": lambda: LSTM(2, 5)(X, (H, H[:, :, :4])),
    "tuple of 2 tensors, (h, c); got 1": lambda: LSTM(2, 5)(X, H),
    "one tensor; got 2": lambda: RNN(2, 5)(X, (H, H)),
    "sizes must be at least 1.*n_layers=0": lambda: RNN(2, 5, 0),
    "sizes must be at least 1.*d_hidden=0": lambda: LSTMCell(2, 0),
    "below 1, not 1.0": lambda: RNN(2, 5, 2, p_dropout=1.0),
    "below 1, not -0.1": lambda: RNN(2, 5, 2, p_dropout=-0.1),
    "with n_layers=1 it must be 0": lambda: RNN(2, 5, p_dropout=0.1),
    "a cell takes one step": lambda: RNNCell(2, 5)(X),
    "x is 2 wide, but this cell": lambda: GRUCell(3, 5)(X[0]),
    "shape (1, 3, 5), but (3, 5)": lambda: GRUCell(2, 5)(X[0], H),
    "tuple of 2 tensors, (h, c); got 3": lambda: LSTMCell(2, 5)(X[0], (H, H, H)),
    "at least 1, not 0": lambda: bptt(X, torch.zeros(5, 3, 5), X, torch.zeros(5, 2), torch.zeros(5, 5), truncate=0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_said(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert all(piece in str(error.value) for piece in message.split(".*")), str(error.value)
