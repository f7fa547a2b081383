"""Recurrent cells and layers, with the parameter names of torch.nn, so that a state_dict loads in either direction.

A **step** is an equation: from an input and a state to the next state. A **cell** adds the weights. A **layer** runs a
step along sequences, in several layers and one or two directions. Only the equations differ between the kinds; all else
is written once. `bptt` is the backward pass of the plain RNN, by hand.

Sizes: B sequences in a batch, T steps, D directions (1 or 2), L layers, H = d_hidden, G = n_gates blocks of H rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from lib.shapes import require

State = Tensor | tuple[Tensor, ...]
"""What a caller sees: h for RNN and GRU, (h, c) for LSTM. Inside, always a tuple."""

Lengths = Sequence[int] | Tensor


def _add_parameters(module: nn.Module, suffix: str, d_in: int, d_hidden: int, n_gates: int) -> None:
    """Register weight_ih (G H, d_in), weight_hh (G H, H), bias_ih (G H,), bias_hh (G H,), each name with `suffix`.

    All start uniform in +-1 / sqrt(H), drawn in torch's order: the same seed gives the same layer as torch.nn.
    """
    bound, rows = 1 / math.sqrt(d_hidden), n_gates * d_hidden
    shapes = {"weight_ih": (rows, d_in), "weight_hh": (rows, d_hidden), "bias_ih": (rows,), "bias_hh": (rows,)}
    for name, shape in shapes.items():
        module.register_parameter(name + suffix, nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))


def _parameters(module: nn.Module, suffix: str) -> list[Tensor]:
    """What `_add_parameters` registered: weight_ih, weight_hh, bias_ih, bias_hh."""
    return [module.get_parameter(name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


# --- one step --------------------------------------------------------------------------------------------------------

# from_x = W_ih x_t + b_ih and from_h = W_hh h + b_hh, both (B, G H); a state is a tuple of tensors (B, H), first h.


def rnn_step(from_x: Tensor, from_h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh). J. Elman (1990), "Finding Structure in Time"."""
    return (torch.tanh(from_x + from_h),)


def lstm_step(from_x: Tensor, from_h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """i, f, o = sigmoid(...), g = tanh(...);  c' = f c + i g,  h' = o tanh(c'). Rows of the weights: i, f, g, o.

    S. Hochreiter and J. Schmidhuber (1997), "Long Short-Term Memory", with the forget gate of F. Gers, J. Schmidhuber
    and F. Cummins (2000), "Learning to Forget".
    """
    i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(from_x: Tensor, from_h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """r, z = sigmoid(...);  n = tanh(W_in x + b_in + r (W_hn h + b_hn));  h' = (1 - z) n + z h. Rows: r, z, n.

    K. Cho et al. (2014), "Learning Phrase Representations using RNN Encoder-Decoder". There the reset gate r acts on h
    before the product, W_hn (r h). Here, as in torch and cuDNN, it acts after it, so that one product W_hh h serves all
    gates. The two are different functions: weights trained for one do not fit the other.
    """
    (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3, dim=-1), from_h.chunk(3, dim=-1)
    r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
    n = (n_x + r * n_h).tanh()
    return ((1 - z) * n + z * state[0],)


class Cell(nn.Module):
    """One step of a recurrence: x (B, d_in) and a state of parts (B, H), zeros if None -> the next state.

    Subclasses name the equation and two counts. ValueError where a shape is not as said here.
    """

    step: Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
    n_gates: int
    """Blocks of H rows in each weight and bias."""
    n_states: int
    """Parts of the state; the first is h, the output."""

    def __init__(self, d_in: int, d_hidden: int):
        super().__init__()
        require(min(d_in, d_hidden) >= 1, f"sizes must be at least 1, not d_in={d_in}, d_hidden={d_hidden}")
        self.d_in, self.d_hidden = d_in, d_hidden
        _add_parameters(self, "", d_in, d_hidden, self.n_gates)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        require(x.dim() == 2, f"a cell takes one step, x of shape (B, d_in), not {tuple(x.shape)}")
        require(x.shape[1] == self.d_in, f"x is {x.shape[1]} wide, but this cell was built with d_in={self.d_in}")
        parts = _unpack(state, x.new_zeros(len(x), self.d_hidden), self.n_states)
        weight_ih, weight_hh, bias_ih, bias_hh = _parameters(self, "")
        return _pack(self.step(F.linear(x, weight_ih, bias_ih), F.linear(parts[0], weight_hh, bias_hh), parts))


class RNNCell(Cell):
    """`rnn_step` with its weights, as torch.nn.RNNCell."""

    step, n_gates, n_states = staticmethod(rnn_step), 1, 1


class LSTMCell(Cell):
    """`lstm_step` with its weights, as torch.nn.LSTMCell. Its state is a pair (h, c)."""

    step, n_gates, n_states = staticmethod(lstm_step), 4, 2


class GRUCell(Cell):
    """`gru_step` with its weights, as torch.nn.GRUCell."""

    step, n_gates, n_states = staticmethod(gru_step), 3, 1


# --- many steps ------------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """A cell's step along sequences: L layers, one or two directions. Subclasses name the cell.

    x: (T, B, d_in), or (B, T, d_in) with `batch_first`; or a PackedSequence.
    state: its parts (L D, B, H), zeros if None; layer 0 forward, layer 0 backward, layer 1 forward, ...
    lengths: (B,), from 1 to T, in any order: sequence b counts up to lengths[b], and what stands beyond is never read.
    Returns (y, state). y: as x but D H wide, the top layer's h at every step, 0 beyond a sequence's length; packed if x
    is. state: each sequence's own last one; the backward direction ends at the first step.
    `p_dropout` acts on the output of every layer but the top one, in training. ValueError for anything else.
    """

    cell: type[Cell]

    def __init__(
        self,
        d_in: int,
        d_hidden: int,
        n_layers: int = 1,
        *,
        batch_first: bool = False,
        p_dropout: float = 0.0,
        bidirectional: bool = False,
    ):
        super().__init__()
        sizes = f"d_in={d_in}, d_hidden={d_hidden}, n_layers={n_layers}"
        require(min(d_in, d_hidden, n_layers) >= 1, f"sizes must be at least 1, not {sizes}")
        require(0 <= p_dropout < 1, f"p_dropout is a probability below 1, not {p_dropout}")
        require(n_layers > 1 or p_dropout == 0, "p_dropout acts between layers: with n_layers=1 it must be 0")
        self.d_in, self.d_hidden, self.n_layers = d_in, d_hidden, n_layers
        self.batch_first, self.p_dropout = batch_first, p_dropout
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for k in range(n_layers):
            width = d_hidden * len(self.directions) if k else d_in
            for direction in self.directions:
                _add_parameters(self, f"_l{k}{direction}", width, d_hidden, self.cell.n_gates)

    def forward(self, x: Tensor | PackedSequence, state: State | None = None, lengths: Lengths | None = None):
        if isinstance(x, PackedSequence):
            require(lengths is None, "a PackedSequence brings its own lengths: pass no others")
            padded, counts = pad_packed_sequence(x)  # in the order that the batch had before it was packed
            inside = _inside(counts, padded)
            y, state = self._layers(padded, state, inside)
            order = slice(None) if x.sorted_indices is None else x.sorted_indices
            packed = y[:, order][inside[:, order]]  # step after step, the sequences that still run
            return PackedSequence(packed, x.batch_sizes, x.sorted_indices, x.unsorted_indices), state
        require(x.dim() == 3, f"x has 3 axes, sequences x steps x width, not the shape {tuple(x.shape)}")
        x = x.transpose(0, 1) if self.batch_first else x  # T B C
        y, state = self._layers(x, state, None if lengths is None else _inside(lengths, x))
        return y.transpose(0, 1) if self.batch_first else y, state

    def _layers(self, x: Tensor, state: State | None, inside: Tensor | None) -> tuple[Tensor, State]:
        """x (T, B, d_in), inside (T, B): which steps count, None for all -> y (T, B, D H) and the state."""
        T, B, width = x.shape
        require(T >= 1 and B >= 1, f"x holds {B} sequences of {T} steps; at least one of each is needed")
        require(width == self.d_in, f"x is {width} wide, but this layer was built with d_in={self.d_in}")
        zeros = x.new_zeros(self.n_layers * len(self.directions), B, self.d_hidden)
        starts = zip(*_unpack(state, zeros, self.cell.n_states), strict=True)  # one for each layer and direction
        ends = []
        x = _blank(x, inside)  # not even a NaN in the padding reaches a gradient
        for k in range(self.n_layers):
            outputs = []
            for direction in self.directions:
                y, end = self._run(x, next(starts), f"_l{k}{direction}", inside)
                outputs.append(y)
                ends.append(end)
            x = torch.cat(outputs, dim=-1)  # T B DH
            if k < self.n_layers - 1:
                x = F.dropout(x, self.p_dropout, self.training)
        return x, _pack(tuple(torch.stack(part) for part in zip(*ends, strict=True)))

    def _run(
        self, x: Tensor, state: tuple[Tensor, ...], suffix: str, inside: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer in one direction: x (T, B, width), state of parts (B, H) -> y (T, B, H) and the last state."""
        weight_ih, weight_hh, bias_ih, bias_hh = _parameters(self, suffix)
        from_x = F.linear(x, weight_ih, bias_ih).unbind(0)  # this part waits for no earlier step: one product for all
        steps = range(len(x))
        outputs = {}
        for t in reversed(steps) if suffix.endswith("_reverse") else steps:
            new = self.cell.step(from_x[t], F.linear(state[0], weight_hh, bias_hh), state)
            if inside is not None:  # a sequence that has ended, or is yet to begin, keeps its state
                new = tuple(torch.where(inside[t].unsqueeze(-1), a, b) for a, b in zip(new, state, strict=True))
            state, outputs[t] = new, new[0]
        return _blank(torch.stack([outputs[t] for t in steps]), inside), state


class RNN(Recurrent):
    """The plain recurrent layer: `RNNCell` along sequences, as torch.nn.RNN."""

    cell = RNNCell


class LSTM(Recurrent):
    """`LSTMCell` along sequences, as torch.nn.LSTM. Its state is a pair (h, c)."""

    cell = LSTMCell


class GRU(Recurrent):
    """`GRUCell` along sequences, as torch.nn.GRU."""

    cell = GRUCell


def _unpack(state: State | None, zeros: Tensor, n_states: int) -> tuple[Tensor, ...]:
    """The state as a tuple of `n_states` parts, each of the shape of `zeros`; None stands for zeros."""
    if state is None:
        return (zeros,) * n_states
    parts = (state,) if isinstance(state, Tensor) else tuple(state)
    wanted = "one tensor" if n_states == 1 else f"a tuple of {n_states} tensors, (h, c)"
    require(len(parts) == n_states, f"the state must be {wanted}; got {len(parts)}")
    for part in parts:
        shapes = f"shape {tuple(part.shape)}, but {tuple(zeros.shape)} is needed here"
        require(part.shape == zeros.shape, f"a part of the state has {shapes}")
    return parts


def _pack(parts: tuple[Tensor, ...]) -> State:
    """The state as its caller sees it: one tensor where there is one part."""
    return parts[0] if len(parts) == 1 else parts


def _inside(lengths: Lengths, x: Tensor) -> Tensor:
    """Which steps of x (T, B, C) count: (T, B), True where t < lengths[b]."""
    T, B, _ = x.shape
    n = torch.as_tensor(lengths, device=x.device)
    whole = not (n.is_floating_point() or n.dtype == torch.bool)
    require(whole and n.shape == (B,), f"lengths must be {B} whole numbers, one for each sequence, not {lengths}")
    bad = n[(n < 1) | (n > T)].tolist()
    require(not bad, f"a length is from 1 to {T}, the number of steps; got {bad}")
    return torch.arange(T, device=x.device).unsqueeze(1) < n  # T B


def _blank(x: Tensor, inside: Tensor | None) -> Tensor:
    """x (T, B, C) with 0 at the steps that do not count."""
    return x if inside is None else x.masked_fill(~inside.unsqueeze(-1), 0.0)


# --- backward, by hand -----------------------------------------------------------------------------------------------


def bptt(
    x: Tensor, h: Tensor, grad_h: Tensor, weight_ih: Tensor, weight_hh: Tensor, truncate: int | None = None
) -> dict[str, Tensor]:
    """Backpropagation through time for the plain RNN: every gradient, from the gradients that the loss gives at h.

        h_t = tanh(a_t),  a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
        dL/dh_t = grad_h_t + W_hh^T dL/da_{t+1},   dL/da_t = (1 - h_t^2) dL/dh_t

    x: (T, B, d_in). h: (T + 1, B, H), the states of the forward pass, h[0] the initial one. grad_h: (T, B, H), what the
    loss gives to each of h[1:] directly, not by way of later steps. `truncate=k` lets nothing back across the borders
    before steps k, 2k, ..., as if the state were detached there. Returns the gradients of x, h0, weight_ih, weight_hh,
    bias_ih, bias_hh. P. Werbos (1990), "Backpropagation Through Time: What It Does and How to Do It".
    """
    if truncate is not None and truncate < 1:
        raise ValueError(f"truncate is a number of steps, at least 1, not {truncate}")
    grad_x, grad_ih, grad_hh = torch.zeros_like(x), torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
    grad_b = torch.zeros_like(weight_hh[:, 0])
    later = torch.zeros_like(h[0])  # what comes back from the next step
    for t in reversed(range(len(x))):
        grad_a = (grad_h[t] + later) * (1 - h[t + 1] ** 2)  # through the tanh
        grad_x[t] = grad_a @ weight_ih
        grad_ih += grad_a.T @ x[t]  # the same weights at every step: their gradients add up
        grad_hh += grad_a.T @ h[t]
        grad_b += grad_a.sum(0)
        later = grad_a @ weight_hh
        if truncate and t and t % truncate == 0:
            later = torch.zeros_like(later)
    weights = {"weight_ih": grad_ih, "weight_hh": grad_hh, "bias_ih": grad_b, "bias_hh": grad_b.clone()}
    return {"x": grad_x, "h0": later, **weights}
