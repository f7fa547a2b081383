"""Checks of 30_rnn on the network: unrolling, and backpropagation through time. More in ch30_names, ch30_training."""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Exercise, Misconception

# 30.3 -----------------------------------------------------------------------------------------------------------------


def unroll(x: Tensor, h0: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    h = [h0]
    for x_t in x:
        h.append(torch.tanh(x_t @ weight_ih.T + h[-1] @ weight_hh.T + bias))
    return torch.stack(h)


def _unroll_by_torch(x, h0, weight_ih, weight_hh, bias):
    layer = torch.nn.RNN(x.shape[2], h0.shape[1], dtype=x.dtype)
    for p, w in zip(layer.parameters(), (weight_ih, weight_hh, bias, torch.zeros_like(bias)), strict=True):
        p.data = w
    return torch.cat([h0.unsqueeze(0), layer(x, h0.unsqueeze(0))[0]]).detach()


def _unrolled(step, x, h0):
    h = [h0]
    for x_t in x:
        h.append(step(x_t, h[-1]))
    return torch.stack(h)


def _unroll_from_start(x, h0, weight_ih, weight_hh, bias):
    return _unrolled(lambda x_t, h: torch.tanh(x_t @ weight_ih.T + h0 @ weight_hh.T + bias), x, h0)


def _unroll_untransposed(x, h0, weight_ih, weight_hh, bias):
    return _unrolled(lambda x_t, h: torch.tanh(x_t @ weight_ih.T + h @ weight_hh + bias), x, h0)


def _unroll_tanh_of_x(x, h0, weight_ih, weight_hh, bias):
    return _unrolled(lambda x_t, h: torch.tanh(x_t @ weight_ih.T + bias) + h @ weight_hh.T, x, h0)


def _unroll_no_tanh(x, h0, weight_ih, weight_hh, bias):
    return _unrolled(lambda x_t, h: x_t @ weight_ih.T + h @ weight_hh.T + bias, x, h0)


def _unroll_backwards(x, h0, weight_ih, weight_hh, bias):
    return unroll(x.flip(0), h0, weight_ih, weight_hh, bias)


def _unroll_without_h0(x, h0, weight_ih, weight_hh, bias):
    return unroll(x, h0, weight_ih, weight_hh, bias)[1:]


def _unroll_zeros(x, h0, weight_ih, weight_hh, bias):
    return torch.cat([h0.unsqueeze(0), unroll(x, torch.zeros_like(h0), weight_ih, weight_hh, bias)[1:]])


def _weights_case(rng: Generator) -> tuple:
    T, B, d_in, H = int(rng.integers(2, 6)), 2, 3, 4
    shapes = [(T, B, d_in), (B, H), (H, d_in), (H, H), (H,)]
    return tuple(torch.from_numpy(rng.normal(0, 0.7, shape)) for shape in shapes)


# 30.4 -----------------------------------------------------------------------------------------------------------------


def bptt(x: Tensor, h: Tensor, grad_h: Tensor, weight_ih: Tensor, weight_hh: Tensor) -> dict[str, Tensor]:
    return _back(x, h, grad_h, weight_hh)


def _back(x, h, grad_h, weight_hh, *, slope=0, tanh=True, back=None, state=0, passing=1.0, direct=True):
    """The backward pass, with a switch for each of the usual mistakes; returns the gradients by name."""
    grad_ih, grad_hh = torch.zeros(h.shape[2], x.shape[2], dtype=x.dtype), torch.zeros_like(weight_hh)
    grad_b, later = torch.zeros_like(weight_hh[:, 0]), torch.zeros_like(h[0])
    back = weight_hh if back is None else back
    for t in reversed(range(len(x))):
        own = grad_h[t] if direct or t == len(x) - 1 else 0
        grad_a = (own + later) * (1 - h[t + 1 - slope] ** 2 if tanh else 1)
        grad_ih += grad_a.T @ x[t]
        grad_hh += grad_a.T @ h[t + state]
        grad_b += grad_a.sum(0)
        later = passing * (grad_a @ back)
    return {"weight_ih": grad_ih, "weight_hh": grad_hh, "bias": grad_b, "h0": later}


def _back_by_engine(x, h, grad_h, weight_ih, weight_hh):
    bias = torch.atanh(h[1]) - x[0] @ weight_ih.T - h[0] @ weight_hh.T  # what the forward pass must have added
    leaves = [p.detach().clone().requires_grad_() for p in (weight_ih, weight_hh, bias[0], h[0])]
    states = unroll(x, leaves[3], leaves[0], leaves[1], leaves[2])
    grads = torch.autograd.grad((states[1:] * grad_h).sum(), leaves)
    return dict(zip(("weight_ih", "weight_hh", "bias", "h0"), grads, strict=True))


def _back_no_slope(x, h, grad_h, weight_ih, weight_hh):
    return _back(x, h, grad_h, weight_hh, tanh=False)


def _back_early_slope(x, h, grad_h, weight_ih, weight_hh):
    return _back(x, h, grad_h, weight_hh, slope=1)


def _back_transposed(x, h, grad_h, weight_ih, weight_hh):
    return _back(x, h, grad_h, weight_hh, back=weight_hh.T)


def _back_same_state(x, h, grad_h, weight_ih, weight_hh):
    return _back(x, h, grad_h, weight_hh, state=1)


def _back_forgets_later(x, h, grad_h, weight_ih, weight_hh):
    found = _back(x, h, grad_h, weight_hh, passing=0.0)
    return found | {"h0": _back(x[:1], h[:2], grad_h[:1], weight_hh)["h0"]}


def _back_last_loss(x, h, grad_h, weight_ih, weight_hh):
    return _back(x, h, grad_h, weight_hh, direct=False)


def _back_first_step(x, h, grad_h, weight_ih, weight_hh):
    found = _back(x, h, grad_h, weight_hh)
    later = _back(x[1:], h[1:], grad_h[1:], weight_hh)
    return {name: g if name == "h0" else g - later[name] for name, g in found.items()}


def _states_case(rng: Generator) -> tuple:
    x, h0, weight_ih, weight_hh, bias = _weights_case(rng)
    h = unroll(x, h0, weight_ih, weight_hh, bias)
    return x, h, torch.from_numpy(rng.normal(size=tuple(h[1:].shape))), weight_ih, weight_hh


_CELL = "Section 1 of 30_rnn, 'The same weights, used again'"
_BPTT = "Section 2 of 30_rnn, 'Backpropagation through time'"

EXERCISES = [
    Exercise(
        "30.3",
        "Unroll a cell",
        minutes=12,
        difficulty=1,
        reference=unroll,
        cases=[_weights_case],
        misconceptions=[
            Misconception(
                "starts every step from h0",
                _unroll_from_start,
                why="Each step must continue from the state that the step before it left. From h0 every time, the "
                "network remembers nothing: the last state depends on the last input alone.",
                look=_CELL,
            ),
            Misconception(
                "multiplies the state by W_hh without transposing it",
                _unroll_untransposed,
                why="The formula has a column on the right, W h. Here each state is a row, so it is h W^T. W_hh is "
                "square, so the mistake raises no error.",
                look=_CELL,
            ),
            Misconception(
                "leaves the state outside the tanh",
                _unroll_tanh_of_x,
                why="The tanh is around the whole sum. Outside it the state is multiplied by W_hh at every step with "
                "nothing to hold it, and leaves the range from -1 to 1.",
                look=_CELL,
            ),
            Misconception(
                "has no tanh",
                _unroll_no_tanh,
                why="Without the tanh the whole network is one linear map, and its states grow without bound.",
                look=_CELL,
            ),
            Misconception(
                "reads the sequence from its end",
                _unroll_backwards,
                why="The first step takes x[0]. (Layers that read from the end exist; here it is not asked for.)",
                look=_CELL,
            ),
            Misconception(
                "leaves h0 out of what it returns",
                _unroll_without_h0,
                why="Return T + 1 states. The backward pass needs the state *before* each step, and for the first "
                "step that is h0.",
                look=_CELL,
            ),
            Misconception(
                "starts from zeros whatever h0 is",
                _unroll_zeros,
                why="h0 is often zeros, but not always: a state handed over from the piece before, or from an "
                "encoder, arrives there.",
                look=_CELL,
            ),
        ],
        hints=(
            "What goes into a step besides x_t, and where does it come from?",
            "Keep a list that begins with h0; each step reads its last entry and appends a new one.",
            "h.append(torch.tanh(x_t @ weight_ih.T + h[-1] @ weight_hh.T + bias)); return torch.stack(h).",
        ),
        alternatives=[_unroll_by_torch],
        names=("x", "h0", "weight_ih", "weight_hh", "bias"),
    ),
    Exercise(
        "30.4",
        "Backpropagation through time",
        minutes=25,
        difficulty=3,
        reference=bptt,
        cases=[_states_case],
        misconceptions=[
            Misconception(
                "leaves out the derivative of tanh",
                _back_no_slope,
                why="Between h_t and what is summed inside stands a tanh. Its derivative is 1 - h_t^2: where the "
                "state is near 1 or -1, hardly anything passes.",
                look=_BPTT,
            ),
            Misconception(
                "takes the derivative of tanh at the state before the step",
                _back_early_slope,
                why="The tanh of step t gave h_t, so its slope is 1 - h_t^2. In `h`, which begins with h0, that is "
                "h[t + 1] when t counts from 0.",
                look=_BPTT,
            ),
            Misconception(
                "sends the gradient back through W_hh the wrong way round",
                _back_transposed,
                why="Forward, a row of states goes through W^T. So backward a row of gradients goes through W: "
                "`grad_a @ weight_hh`. W_hh is square, so the mistake raises no error.",
                look=_BPTT,
            ),
            Misconception(
                "pairs each gradient with the state after the step",
                _back_same_state,
                why="W_hh was multiplied by the state that came *into* the step, h_{t-1}. In `h`, which begins with "
                "h0, that is h[t] when t counts from 0.",
                look=_BPTT,
            ),
            Misconception(
                "forgets what comes back from the later steps",
                _back_forgets_later,
                why="h_t is read twice, by its own loss and by the next step, and collects from both. Without the "
                "second part every step is on its own, and no weight learns to keep anything.",
                look=_BPTT,
            ),
            Misconception(
                "counts the loss of the last step alone",
                _back_last_loss,
                why="Every step has a loss of its own. Add `grad_h[t]` at each step, not only at the last.",
                look=_BPTT,
            ),
            Misconception(
                "keeps only one step's share of the weights' gradients",
                _back_first_step,
                why="The same weights were used at every step, so their gradient is a sum over all steps: `+=`, not "
                "`=`.",
                look=_BPTT,
            ),
        ],
        hints=(
            "Walk from the last step to the first. Which two gradients arrive at a state?",
            "grad_a = (grad_h[t] + later) * (1 - h[t + 1] ** 2); then three sums, then `later` for the step before.",
            "grad_ih += grad_a.T @ x[t]; grad_hh += grad_a.T @ h[t]; grad_b += grad_a.sum(0); "
            "later = grad_a @ weight_hh. After the loop, `later` is the gradient of h0.",
        ),
        alternatives=[_back_by_engine],
        names=("x", "h", "grad_h", "weight_ih", "weight_hh"),
    ),
]
