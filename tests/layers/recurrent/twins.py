"""Ours and torch's recurrent layers, built from the same numbers; each `..._error` is the largest difference found.

Compared are the output, the final state, and the gradients of the input, the initial state and every parameter, for a
loss that weighs every number of the output and of the final state at random.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lib.layers.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell, bptt
from tests.claims import difference

LAYERS = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}
CELLS = {RNNCell: torch.nn.RNNCell, LSTMCell: torch.nn.LSTMCell, GRUCell: torch.nn.GRUCell}


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(rng.normal(0, scale, shape))


def redraw(module: torch.nn.Module, rng: np.random.Generator) -> None:
    """Every parameter from N(0, 0.2)."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(normal(rng, *p.shape, scale=0.2))


def parts(state) -> tuple[torch.Tensor, ...]:
    return (state,) if isinstance(state, torch.Tensor) else tuple(state)


def biggest(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """The largest difference between two lists of tensors; a None beside a tensor is a failure."""
    return max(difference(a.detach().numpy(), b.detach().numpy()) for a, b in zip(ours, theirs, strict=True))


def results(module, run, inputs: list[torch.Tensor], rng: np.random.Generator) -> list[torch.Tensor]:
    """run(*inputs) -> tensors; those, and the gradients of inputs and parameters for a random weighing of them."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    outputs = run(*leaves)
    loss = sum((y * normal(rng, *y.shape)).sum() for y in outputs)
    leaves += [p for _, p in sorted(module.named_parameters())]
    return [*outputs, *torch.autograd.grad(loss, leaves)]


def both(ours, theirs, run_ours, run_theirs, inputs, rng) -> float:
    """Compare the two; the weights go through a state_dict, in the one or in the other direction."""
    redraw(theirs, rng)
    ours.load_state_dict(theirs.state_dict())
    if rng.integers(2):
        redraw(ours, rng)
        theirs.load_state_dict(ours.state_dict())
    weighing = int(rng.integers(2**32))
    a = results(ours, run_ours, inputs, np.random.default_rng(weighing))
    return biggest(a, results(theirs, run_theirs, inputs, np.random.default_rng(weighing)))


def cell_error(kind, rng: np.random.Generator) -> float:
    """One step of a cell, with a state or without."""
    n, d_in, d_hidden = rng.integers(1, 5, 3).tolist()
    ours, theirs = kind(d_in, d_hidden), CELLS[kind](d_in, d_hidden, dtype=torch.float64)
    state = [normal(rng, n, d_hidden) for _ in range(kind.n_states * rng.integers(2))]

    def run(cell):
        return lambda x, *s: parts(cell(x, None if not s else s[0] if len(s) == 1 else s))

    return both(ours.double(), theirs, run(ours), run(theirs), [normal(rng, n, d_in), *state], rng)


def layer_case(kind, rng: np.random.Generator):
    """A pair of layers with 1 to 3 layers, one or two directions, and the parts of an initial state, or none."""
    n, d_in, d_hidden = rng.integers(1, 5, 3).tolist()
    n_layers, bidirectional, batch_first = int(rng.integers(1, 4)), bool(rng.integers(2)), bool(rng.integers(2))
    ours = kind(d_in, d_hidden, n_layers, batch_first=batch_first, bidirectional=bidirectional).double()
    options = {"batch_first": batch_first, "bidirectional": bidirectional, "dtype": torch.float64}
    shape = (n_layers * (1 + bidirectional), n, d_hidden)
    state = [normal(rng, *shape) for _ in range(kind.cell.n_states * rng.integers(2))]
    return ours, LAYERS[kind](d_in, d_hidden, n_layers, **options), n, d_in, state


def as_state(parts: tuple[torch.Tensor, ...]):
    return None if not parts else parts[0] if len(parts) == 1 else parts


def layer_error(kind, rng: np.random.Generator) -> float:
    """A layer on sequences that are all of one length."""
    ours, theirs, n, d_in, state = layer_case(kind, rng)
    T = int(rng.integers(1, 7))

    def run(layer):
        def go(x, *s):
            y, last = layer(x, as_state(s))
            return [y, *parts(last)]

        return go

    x = normal(rng, *((n, T) if ours.batch_first else (T, n)), d_in)
    return both(ours, theirs, run(ours), run(theirs), [x, *state], rng)


def ragged_error(kind, rng: np.random.Generator) -> float:
    """Sequences of different lengths: ours padded with lengths, and packed, beside torch's packed."""
    ours, theirs, n, d_in, state = layer_case(kind, rng)
    T, first = int(rng.integers(1, 7)), ours.batch_first
    lengths = torch.from_numpy(rng.integers(1, T + 1, n))
    if ordered := bool(rng.integers(2)):  # packed without a permutation
        lengths = lengths.sort(descending=True).values

    def packed(layer):
        def go(x, *s):
            sequences = pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=ordered)
            y, last = layer(sequences, as_state(s))
            return [y.data, pad_packed_sequence(y, batch_first=first, total_length=T)[0], *parts(last)]

        return go

    def padded(x, *s):
        y, last = ours(x, as_state(s), lengths)
        data = pack_padded_sequence(y, lengths, batch_first=first, enforce_sorted=ordered).data
        return [data, y, *parts(last)]

    x = normal(rng, *((n, T) if first else (T, n)), d_in)
    run = packed(ours) if rng.integers(2) else padded
    return both(ours, theirs, run, packed(theirs), [x, *state], rng)


def dropout_error(kind, rng: np.random.Generator) -> float:
    """Dropout between layers in training: the same seed drops the same numbers as in torch."""
    ours = kind(3, 4, 3, p_dropout=0.4, bidirectional=bool(rng.integers(2))).double()
    directions = len(ours.directions)
    theirs = LAYERS[kind](3, 4, 3, dropout=0.4, bidirectional=directions == 2, dtype=torch.float64)
    seed = int(rng.integers(2**31))

    def run(layer):
        def go(x):
            torch.manual_seed(seed)
            y, last = layer(x)
            return [y, *parts(last)]

        return go

    return both(ours, theirs, run(ours), run(theirs), [normal(rng, 5, 2, 3)], rng)


def bptt_error(rng: np.random.Generator) -> float:
    """The backward pass by hand beside autograd through torch's cell, the state detached at the same borders."""
    T, n, d_in, d_hidden = int(rng.integers(1, 8)), *rng.integers(1, 5, 3).tolist()
    truncate = None if rng.integers(2) else int(rng.integers(1, T + 2))
    cell = torch.nn.RNNCell(d_in, d_hidden, dtype=torch.float64)
    redraw(cell, rng)
    x, h0 = normal(rng, T, n, d_in).requires_grad_(), normal(rng, n, d_hidden).requires_grad_()
    weights, states, h = normal(rng, T, n, d_hidden), [h0], h0
    for t in range(T):
        h = cell(x[t], h.detach() if truncate and t and t % truncate == 0 else h)
        states.append(h)
    h = torch.stack(states)
    by_name = {"x": x, "h0": h0, **dict(cell.named_parameters())}
    theirs = torch.autograd.grad((h[1:] * weights).sum(), list(by_name.values()))
    ours = bptt(x.detach(), h.detach(), weights, cell.weight_ih.detach(), cell.weight_hh.detach(), truncate)
    assert set(ours) == set(by_name)
    return biggest([ours[name] for name in by_name], list(theirs))
