"""Checks of 21_modern_cnn on training and scoring: a score that can be trusted, and the rate of each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from lib.checks import Case, Exercise, Misconception

LOOK_EVAL = "Section 11 of 21_modern_cnn, '`eval()` forgotten'"
LOOK_LOOP = "Section 8 of 21_modern_cnn, 'A training loop that never loses work'"
LOOK_NET = "Section 9 of 21_modern_cnn, 'The ResNet'"
LOOK_CYCLE = "Section 7 of 21_modern_cnn, 'One cycle for the learning rate'"

# 21.5 -----------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def score(net, x, y, batch):
    was = net.training
    net.eval()
    right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(batch), y.split(batch), strict=True))
    net.train(was)
    return right / len(y)


def _score_concatenated(net, x, y, batch):
    was = net.training
    net.eval()
    with torch.no_grad():
        guess = torch.cat([net(part) for part in x.split(batch)]).argmax(1)
    net.train(was)
    return (guess == y).double().mean()


def _score_no_eval(net, x, y, batch):
    with torch.no_grad():
        right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(batch), y.split(batch), strict=True))
    return right / len(y)


def _score_stays_eval(net, x, y, batch):
    net.eval()
    return score(net, x, y, batch)


def _score_always_train(net, x, y, batch):
    share = score(net, x, y, batch)
    net.train()
    return share


def _score_mean_of_batches(net, x, y, batch):
    was = net.training
    net.eval()
    with torch.no_grad():
        pairs = zip(x.split(batch), y.split(batch), strict=True)
        shares = [(net(a).argmax(1) == b).float().mean().item() for a, b in pairs]
    net.train(was)
    return sum(shares) / len(shares)


def _score_with_gradients(net, x, y, batch):
    was = net.training
    net.eval()
    right = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(batch), y.split(batch), strict=True))
    net.train(was)
    return right / len(y)


def _score_first_batch(net, x, y, batch):
    return score(net, x[:batch], y[:batch], batch)


def _score_whole_batches(net, x, y, batch):
    n = len(x) // batch * batch or len(x)
    return score(net, x[:n], y[:n], batch)


def _score_count(net, x, y, batch):
    return score(net, x, y, batch) * len(y)


def _score_argmax_over_images(net, x, y, batch):
    was = net.training
    net.eval()
    with torch.no_grad():
        guess = torch.cat([net(part) for part in x.split(batch)]).argmax(0)
    net.train(was)
    return (guess[y] == y).float().mean().item()


class _Recorder(nn.Module):
    """A batch norm and a linear layer that note whether gradients are recorded and how many examples come at once."""

    def __init__(self, mean: np.ndarray, weight: np.ndarray):
        super().__init__()
        self.norm = nn.BatchNorm1d(len(mean), dtype=torch.float64)
        self.norm.running_mean.copy_(torch.from_numpy(mean))  # type: ignore[union-attr]
        self.head = nn.Linear(*weight.shape[::-1], dtype=torch.float64)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight))
            self.head.bias.zero_()
        self.recorded, self.largest = False, 0

    def forward(self, x: Tensor) -> Tensor:
        self.recorded |= torch.is_grad_enabled()
        self.largest = max(self.largest, len(x))
        return self.head(self.norm(x))


def _use_score(
    answer: Callable, mean: np.ndarray, weight: np.ndarray, x: np.ndarray, batch: int, training: bool
) -> dict[str, Any]:
    """Score a net whose right labels are what it says in evaluation mode, for two of three examples."""
    net = _Recorder(mean, weight).eval()
    inputs = torch.from_numpy(x)
    with torch.no_grad():
        y = net(inputs).argmax(1)
    y[::3] = (y[::3] + 1) % len(weight)
    net.train(training)
    net.recorded, net.largest = False, 0
    share = answer(net, inputs, y, batch)
    return {
        "the share": share.item() if isinstance(share, Tensor) and share.numel() == 1 else share,
        "whether the net is in training mode afterwards": net.training,
        "whether gradients were recorded": net.recorded,
        "whether a batch was larger than allowed": net.largest > batch,
    }


def _score_case(rng: Generator) -> tuple:
    d, k = int(rng.integers(3, 6)), int(rng.integers(3, 6))
    n = int(rng.integers(20, 40))
    batch = int(rng.choice([size for size in range(5, 12) if n % size > 1]))  # a last batch that is smaller, not one
    x = rng.normal(0, 1, (n, d)) + np.linspace(-6, 6, n)[:, None] * rng.normal(0, 1, d)  # sorted: neighbours are alike
    return rng.normal(0, 1, d), rng.normal(0, 1, (k, d)), x, batch, bool(rng.random() < 0.8)


# 21.6 -----------------------------------------------------------------------------------------------------------------


def one_cycle(step, n_steps, lr, warmup):
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * (1 - (step - warmup) / (n_steps - warmup))


def _cycle_minimum(step, n_steps, lr, warmup):
    climb = (step + 1) / warmup if warmup else 1.0
    return lr * min(climb, (n_steps - step) / (n_steps - warmup))


def _cycle_from_zero(step, n_steps, lr, warmup):
    return lr * step / warmup if step < warmup else one_cycle(step, n_steps, lr, warmup)


def _cycle_falls_from_start(step, n_steps, lr, warmup):
    return lr * (step + 1) / warmup if step < warmup else lr * (1 - step / n_steps)


def _cycle_no_fall(step, n_steps, lr, warmup):
    return lr * min((step + 1) / warmup, 1.0) if warmup else lr


def _cycle_no_climb(step, n_steps, lr, warmup):
    return lr * (1 - step / n_steps)


def _cycle_reversed(step, n_steps, lr, warmup):
    if step < warmup:
        return lr * (1 - step / warmup)
    return lr * (step - warmup + 1) / (n_steps - warmup)


def _cycle_ends_early(step, n_steps, lr, warmup):
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * max(0.0, 1 - (step - warmup + 1) / (n_steps - warmup))


def _cycle_case(rng: Generator) -> tuple:
    n_steps = int(rng.integers(20, 60))
    warmup = int(rng.integers(3, 10))
    step = int(rng.integers(0, warmup)) if rng.random() < 0.5 else int(rng.integers(warmup, n_steps))
    return step, n_steps, float(rng.uniform(0.1, 2.0)), warmup


EXERCISES = [
    Exercise(
        "21.5",
        "A score that can be trusted",
        minutes=15,
        difficulty=2,
        reference=score,
        use=_use_score,
        cases=[_score_case],
        misconceptions=[
            Misconception(
                "forgets eval()",
                _score_no_eval,
                why="Batch norm then uses each batch's own statistics, so the score depends on who shares a batch, and "
                "its running statistics move while you score.",
                look=LOOK_EVAL,
            ),
            Misconception(
                "leaves the network in evaluation mode",
                _score_stays_eval,
                why="Whoever scores in the middle of training would go on training in evaluation mode: batch norm no "
                "longer learns its statistics, dropout is off. Note `net.training` first, and set it back.",
                look=LOOK_LOOP,
            ),
            Misconception(
                "leaves the network in training mode whatever it was before",
                _score_always_train,
                why="A network that came in evaluation mode must leave in it. `net.train(was)` sets either.",
                look=LOOK_LOOP,
            ),
            Misconception(
                "averages the shares of the batches",
                _score_mean_of_batches,
                why="The last batch is smaller, and its examples then count for more. Count the right answers, and "
                "divide once by the number of examples.",
                look=LOOK_EVAL,
            ),
            Misconception(
                "records gradients that nobody needs",
                _score_with_gradients,
                why="Without `torch.no_grad()` torch keeps every activation for a backward pass that never comes.",
                look=LOOK_NET,
            ),
            Misconception(
                "scores the first batch alone",
                _score_first_batch,
                why="A `return` inside the loop ends it at the first batch.",
                look=LOOK_NET,
            ),
            Misconception(
                "drops the last, smaller batch",
                _score_whole_batches,
                why="In training that is a choice; in scoring every example counts. `split` keeps the last batch.",
                look=LOOK_NET,
            ),
            Misconception(
                "returns how many are right, not which share",
                _score_count,
                why="Divide by the number of examples.",
                look=LOOK_NET,
            ),
            Misconception(
                "takes the largest logit over the examples in place of the classes",
                _score_argmax_over_images,
                why="Logits are (examples, classes): `argmax(1)` gives each example its class.",
                look=LOOK_NET,
            ),
        ],
        hints=(
            "Three things around the loop: which mode, whether gradients are recorded, and what the mode was before.",
            "was = net.training; net.eval(); under torch.no_grad(), count the right answers batch by batch; set the "
            "mode back.",
            "right += (net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(batch), y.split(batch)); "
            "net.train(was); return right / len(y).",
        ),
        alternatives=[_score_concatenated],
        names=("mean", "weight", "x", "batch", "training"),
    ),
    Exercise(
        "21.6",
        "One cycle",
        minutes=8,
        difficulty=1,
        reference=one_cycle,
        cases=[
            _cycle_case,
            Case("the first step", 0, 100, 0.8, 20),
            Case("the last step of the climb", 19, 100, 0.8, 20),
            Case("the first step of the fall", 20, 100, 0.8, 20),
            Case("the last step", 99, 100, 0.8, 20),
            Case("no climb at all", 0, 10, 0.5, 0),
        ],
        misconceptions=[
            Misconception(
                "starts at a rate of 0",
                _cycle_from_zero,
                why="A step with rate 0 moves nothing and is wasted: at step s of the climb the rate is "
                "lr (s + 1) / warmup.",
                look=LOOK_CYCLE,
            ),
            Misconception(
                "falls along a line that began at step 0",
                _cycle_falls_from_start,
                why="The fall begins where the climb ends, at the full rate: its progress is "
                "(step - warmup) / (n_steps - warmup). Yours jumps down after the climb.",
                look=LOOK_CYCLE,
            ),
            Misconception(
                "stays at the top after the climb",
                _cycle_no_fall,
                why="Without the fall the weights jump about the goal until the end.",
                look=LOOK_CYCLE,
            ),
            Misconception(
                "falls from the first step on",
                _cycle_no_climb,
                why="The first gradients are wild; that is why the rate climbs for `warmup` steps.",
                look=LOOK_CYCLE,
            ),
            Misconception(
                "falls first and then climbs",
                _cycle_reversed,
                why="It is the other way round: low at both ends, high in between.",
                look=LOOK_CYCLE,
            ),
            Misconception(
                "begins the fall one step too early",
                _cycle_ends_early,
                why="The first step of the fall still has the full rate, and the last step's is small but not 0.",
                look=LOOK_CYCLE,
            ),
        ],
        hints=(
            "Two straight lines, one for the steps before `warmup` and one for those after.",
            "The climb is lr (step + 1) / warmup. How far along is the fall, as a share from 0 to 1?",
            "if step < warmup: return lr * (step + 1) / warmup; otherwise "
            "lr * (1 - (step - warmup) / (n_steps - warmup)).",
        ),
        alternatives=[_cycle_minimum],
        names=("step", "n_steps", "lr", "warmup"),
    ),
]
