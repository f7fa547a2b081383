"""Checks of 31_lstm_gru on the equations: one step of an LSTM, one of a GRU, and one step of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.checks import Case, Exercise, Misconception
from lib.layers.recurrent import gru_step, lstm_step

LESSON = "of 31_lstm_gru"


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    """Random numbers for a case."""
    return torch.from_numpy(rng.standard_normal(shape))


# --- 31.1 One step of an LSTM ----------------------------------------------------------------------------------------


def _lstm(a: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    return lstm_step(a, torch.zeros_like(a), (h, c))


def _lstm_by_slices(a, h, c):
    n = c.shape[1]
    s = torch.sigmoid(a)
    c = s[:, n : 2 * n] * c + s[:, :n] * torch.tanh(a[:, 2 * n : 3 * n])
    return s[:, 3 * n :] * torch.tanh(c), c


def _lstm_mistaken(change: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """`change` gets the gates i, f, o, the candidate g before its tanh, and c."""

    def step(a, h, c):
        i, f, g, o = a.chunk(4, dim=1)
        return change(i.sigmoid(), f.sigmoid(), o.sigmoid(), g, c)

    return step


def _lstm_swapped(a, h, c):
    i, f, o, g = a.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _shown(o: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return o * c.tanh(), c


def _lstm_case(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    b, n = int(rng.integers(1, 4)), int(rng.integers(2, 7))
    return 2 * normal(rng, b, 4 * n), normal(rng, b, n), 2 * normal(rng, b, n)


# --- 31.2 One step of a GRU ------------------------------------------------------------------------------------------


def _gru(from_x: Tensor, from_h: Tensor, h: Tensor) -> Tensor:
    return gru_step(from_x, from_h, (h,))[0]


def _gru_as_a_step(from_x, from_h, h):
    n = h.shape[1]
    gates = torch.sigmoid(from_x[:, : 2 * n] + from_h[:, : 2 * n])
    new = torch.tanh(from_x[:, 2 * n :] + gates[:, :n] * from_h[:, 2 * n :])
    return new + gates[:, n:] * (h - new)


def _gru_mistaken(change: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`change` gets r, z, the two parts of the candidate, and h."""

    def step(from_x, from_h, h):
        (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3, dim=1), from_h.chunk(3, dim=1)
        return change((r_x + r_h).sigmoid(), (z_x + z_h).sigmoid(), n_x, n_h, h)

    return step


def _gru_swapped(from_x, from_h, h):
    (z_x, r_x, n_x), (z_h, r_h, n_h) = from_x.chunk(3, dim=1), from_h.chunk(3, dim=1)
    r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
    return (1 - z) * (n_x + r * n_h).tanh() + z * h


def _gru_case(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    b, n = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    return 2 * normal(rng, b, 3 * n), 2 * normal(rng, b, 3 * n), normal(rng, b, n)


# --- 31.7 One step of training ---------------------------------------------------------------------------------------


def _train_step(model, ids, lengths, labels, optimizer, limit):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(ids, lengths), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    return loss.item()


def _train_step_by_hand(model, ids, lengths, labels, optimizer, limit):
    loss = F.cross_entropy(model(ids, lengths), labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    for p, g in zip(model.parameters(), gradients, strict=True):
        p.grad = g * min(1.0, limit / norm.item())
    optimizer.step()
    return float(loss)


def _train_step_mistaken(*parts: str) -> Callable[..., float]:
    """The parts of a step, in the order in which the mistaken answer does them."""

    def step(model, ids, lengths, labels, optimizer, limit):
        loss = F.cross_entropy(model(ids, lengths), labels)
        does = {
            "zero": optimizer.zero_grad,
            "backward": loss.backward,
            "clip": lambda: nn.utils.clip_grad_norm_(model.parameters(), limit),
            "clip values": lambda: nn.utils.clip_grad_value_(model.parameters(), limit),
            "clip each": lambda: [nn.utils.clip_grad_norm_(p, limit) for p in model.parameters()],
            "step": optimizer.step,
        }
        for part in parts:
            does[part]()
        return loss.item()

    return step


class _MeanOfWords(nn.Module):
    """A model small enough for a check: the mean vector of the words, then a linear layer."""

    def __init__(self, table: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.table, self.weight = nn.Parameter(table.clone()), nn.Parameter(weight.clone())

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        return (self.table[ids] * mask[..., None]).sum(1) / lengths[:, None] @ self.weight


def _two_steps(answer: Callable[..., Any], table: Tensor, weight: Tensor, limit: float) -> tuple[Any, ...]:
    """Run the answer twice on a small model, with old gradients lying about; both losses and the parameters."""
    model = _MeanOfWords(table, weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    ids, lengths = torch.tensor([[1, 2, 3, 4], [2, 4, 0, 0], [3, 0, 0, 0]]), torch.tensor([4, 2, 1])
    labels = torch.tensor([0, 1, 1])
    losses = [answer(model, ids, lengths, labels, optimizer, limit) for _ in range(2)]
    return *losses, model.table.data, model.weight.data


def _steep(rng: np.random.Generator) -> tuple[Tensor, Tensor, float]:
    return 3 * normal(rng, 5, 4), 3 * normal(rng, 4, 2), 0.2


EXERCISES = [
    Exercise(
        "31.1",
        "One step of an LSTM",
        minutes=12,
        difficulty=2,
        reference=_lstm,
        cases=[
            _lstm_case,
            Case(
                "an open forget gate, the others shut", torch.tensor([[-30.0, 30.0, 5.0, -30.0]]), *torch.ones(2, 1, 1)
            ),
            Case("all gates open", torch.tensor([[30.0, 30.0, 1.0, 30.0]]), torch.zeros(1, 1), torch.ones(1, 1)),
        ],
        misconceptions=[
            Misconception(
                "takes the blocks in the order i, f, o, g",
                _lstm_swapped,
                why="The blocks here are torch's: i, f, g, o. The candidate g stands third. In another order each gate "
                "gets the numbers of another, and a trained network's weights mean something else.",
                look=f"Section 1 {LESSON}, the cell with lstm_step",
            ),
            Misconception(
                "leaves the tanh out of the output",
                _lstm_mistaken(lambda i, f, o, g, c: (o * (f * c + i * g.tanh()), f * c + i * g.tanh())),
                why="The memory has no bound, so what is shown of it goes through a tanh: h = o * tanh(c).",
                look=f"Section 1 {LESSON}, the two equations",
            ),
            Misconception(
                "shows the old memory",
                _lstm_mistaken(lambda i, f, o, g, c: (o * c.tanh(), f * c + i * g.tanh())),
                why="The output looks at the memory after it was written: first the new c, then h from it.",
                look=f"Section 1 {LESSON}, the two equations",
            ),
            Misconception(
                "puts the candidate through a sigmoid",
                _lstm_mistaken(lambda i, f, o, g, c: _shown(o, f * c + i * g.sigmoid())),
                why="A candidate is a value, not a gate, and must be able to be negative: tanh. With a sigmoid the "
                "memory could only grow.",
                look=f"Section 1 {LESSON}, the table of gates",
            ),
            Misconception(
                "swaps the forget gate and the input gate",
                _lstm_mistaken(lambda i, f, o, g, c: _shown(o, i * c + f * g.tanh())),
                why="The forget gate f multiplies the old memory, the input gate i the candidate.",
                look=f"Section 1 {LESSON}, the table of gates",
            ),
            Misconception(
                "forgets with 1 - f",
                _lstm_mistaken(lambda i, f, o, g, c: _shown(o, (1 - f) * c + i * g.tanh())),
                why="In spite of its name the forget gate says how much is *kept*: 1 keeps all, 0 wipes.",
                look=f"Section 1 {LESSON}, the table of gates",
            ),
        ],
        hints=(
            "Cut the stacked numbers into four equal blocks. Which of them are gates, and which is a value?",
            "Sigmoid for i, f and o, tanh for g. Compute the new c first; h needs it.",
            "`i, f, g, o = a.chunk(4, dim=1)`, then c = f c + i g and h = o tanh(c), each through its sigmoid or tanh.",
        ),
        alternatives=[_lstm_by_slices],
        names=("a", "h", "c"),
    ),
    Exercise(
        "31.2",
        "One step of a GRU",
        minutes=12,
        difficulty=2,
        reference=_gru,
        cases=[
            _gru_case,
            Case("keep everything", torch.tensor([[0.0, 30.0, 1.0]]), torch.zeros(1, 3), torch.tensor([[0.5]])),
            Case("no look back", torch.tensor([[-30.0, -30.0, 1.0]]), torch.full((1, 3), 2.0), torch.tensor([[0.5]])),
        ],
        misconceptions=[
            Misconception(
                "keeps with 1 - z and writes with z",
                _gru_mistaken(lambda r, z, n_x, n_h, h: z * (n_x + r * n_h).tanh() + (1 - z) * h),
                why="In this form, torch's, z is the share of the old state that is kept: h' = (1 - z) n + z h. Some "
                "texts write it the other way round; a network trained one way does not work the other.",
                look=f"Section 4 {LESSON}, the equation",
            ),
            Misconception(
                "leaves the reset gate out",
                _gru_mistaken(lambda r, z, n_x, n_h, h: (1 - z) * (n_x + n_h).tanh() + z * h),
                why="The reset gate r decides how much of the old state the candidate may look at: tanh(n_x + r n_h).",
                look=f"Section 4 {LESSON}, the equation",
            ),
            Misconception(
                "resets the input as well",
                _gru_mistaken(lambda r, z, n_x, n_h, h: (1 - z) * (r * (n_x + n_h)).tanh() + z * h),
                why="The reset gate acts on what comes from the old state. The input goes into the candidate whole.",
                look=f"Section 4 {LESSON}, the equation",
            ),
            Misconception(
                "takes the blocks in the order z, r, n",
                _gru_swapped,
                why="The blocks are torch's: r, z, n. Swapped, each gate does the other's work.",
                look=f"Section 4 {LESSON}, the cell with gru_step",
            ),
            Misconception(
                "puts the candidate through a sigmoid",
                _gru_mistaken(lambda r, z, n_x, n_h, h: (1 - z) * (n_x + r * n_h).sigmoid() + z * h),
                why="The candidate is a value and must be able to be negative: tanh.",
                look=f"Section 4 {LESSON}, the equation",
            ),
        ],
        hints=(
            "Three blocks from x and three from h. Two of the three pairs are added; the third is special.",
            "r and z are sigmoids of sums. In the candidate, r multiplies the part from h before the sum.",
            "n = tanh(n_x + r n_h), and the new state is (1 - z) n + z h.",
        ),
        alternatives=[_gru_as_a_step],
        names=("from_x", "from_h", "h"),
    ),
    Exercise(
        "31.7",
        "One step of training, with a bound",
        minutes=12,
        difficulty=2,
        reference=_train_step,
        use=_two_steps,
        cases=[_steep, Case("a gentle slope", torch.ones(5, 4) / 7, torch.eye(4)[:, :2] / 5, 10.0)],
        misconceptions=[
            Misconception(
                "steps along gradients without a bound",
                _train_step_mistaken("zero", "backward", "step"),
                why="One batch with a huge gradient can throw the network away, and nothing warns you. Clip, and do it "
                "between backward and step: before backward there is nothing to clip, after the step it is too late.",
                look=f"Section 9 {LESSON}, 'No bound on the gradients'",
            ),
            Misconception(
                "never clears the old gradients",
                _train_step_mistaken("backward", "clip", "step"),
                why="backward adds to what is in `.grad`. Clear it first, or each step goes along old gradients too.",
                look="Section 4 of 13_mlp_mnist, the training loop",
            ),
            Misconception(
                "cuts each number at the limit",
                _train_step_mistaken("zero", "backward", "clip values", "step"),
                why="That changes the gradient's direction: its large entries shrink, its small ones stay. Bound the "
                "norm of all gradients together.",
                look="the section on clipping of 30_rnn",
            ),
            Misconception(
                "bounds each parameter on its own",
                _train_step_mistaken("zero", "backward", "clip each", "step"),
                why="The bound is on the norm of all gradients *together*. Parameter by parameter, the step turns.",
                look="the section on clipping of 30_rnn",
            ),
        ],
        hints=(
            "Five lines and a return. In which order do clear, forward, backward, clip and step have to come?",
            "`torch.nn.utils.clip_grad_norm_(parameters, limit)` bounds the norm of all gradients together, in place.",
            "zero_grad, loss, backward, clip_grad_norm_, step; return loss.item().",
        ),
        alternatives=[_train_step_by_hand],
        rtol=1e-5,  # torch adds 1e-6 to the norm before it divides; an answer by hand need not
        atol=1e-6,
        names=("table", "weight", "limit"),
    ),
]
