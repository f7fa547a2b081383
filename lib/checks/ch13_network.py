"""Checks of 13_mlp_mnist on the network: the confusion table and a training step in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator

from lib.checks import Case, Exercise, Misconception

# 13.5 -----------------------------------------------------------------------------------------------------------------


def confusion(true: np.ndarray, guess: np.ndarray, n_classes: int) -> np.ndarray:
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (true, guess), 1)
    totals = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(totals, 1)


def _confusion_bincount(true, guess, n_classes):
    counts = np.bincount(true * n_classes + guess, minlength=n_classes**2).reshape(n_classes, n_classes)
    return counts / np.maximum(counts.sum(1), 1)[:, None]


def _confusion_loop(true, guess, n_classes):
    table = np.zeros((n_classes, n_classes))
    for k in range(n_classes):
        of_k = guess[true == k]
        for g in of_k:
            table[k, g] += 1 / len(of_k)
    return table


def _counts(true, guess, n_classes):
    return np.histogram2d(true, guess, bins=np.arange(n_classes + 1))[0]


def _confusion_swapped(true, guess, n_classes):
    return confusion(true, guess, n_classes).T


def _confusion_columns(true, guess, n_classes):
    counts = _counts(true, guess, n_classes)
    return counts / np.maximum(counts.sum(0), 1)


def _confusion_columns_swapped(true, guess, n_classes):
    return confusion(guess, true, n_classes)


def _confusion_overall(true, guess, n_classes):
    return _counts(true, guess, n_classes) / len(true)


def _confusion_counts(true, guess, n_classes):
    return _counts(true, guess, n_classes)


def _confusion_once(true, guess, n_classes):
    counts = np.zeros((n_classes, n_classes))
    counts[true, guess] += 1
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _confusion_nan(true, guess, n_classes):
    counts = _counts(true, guess, n_classes)
    return counts / counts.sum(1, keepdims=True)


def _confusion_no_keepdims(true, guess, n_classes):
    counts = _counts(true, guess, n_classes)
    return counts / np.maximum(counts.sum(1), 1)


def _guesses(rng: Generator) -> tuple:
    k = int(rng.integers(3, 6))
    true = np.concatenate([np.arange(k), rng.integers(0, k, 40)])
    guess = np.where(rng.random(len(true)) < 0.6, true, rng.integers(0, k, len(true)))
    return true, guess, k


# 13.6 -----------------------------------------------------------------------------------------------------------------


def train_step(net, opt, x, y):
    loss = F.cross_entropy(net(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.item()


def _step_zero_first(net, opt, x, y):
    opt.zero_grad()
    loss = -F.log_softmax(net(x), dim=1).gather(1, y[:, None]).mean()
    loss.backward()
    opt.step()
    return float(loss.detach())


def _step_keeps_gradients(net, opt, x, y):
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    opt.step()
    return loss.item()


def _step_after_softmax(net, opt, x, y):
    loss = F.cross_entropy(torch.softmax(net(x), dim=1), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.item()


def _step_cleared_too_late(net, opt, x, y):
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    opt.zero_grad()
    opt.step()
    return loss.item()


def _step_before_backward(net, opt, x, y):
    loss = F.cross_entropy(net(x), y)
    opt.step()
    opt.zero_grad()
    loss.backward()
    return loss.item()


def _step_summed(net, opt, x, y):
    loss = F.cross_entropy(net(x), y, reduction="sum")
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.item()


def _step_loss_afterwards(net, opt, x, y):
    train_step(net, opt, x, y)
    return F.cross_entropy(net(x), y).item()


def _step_no_step(net, opt, x, y):
    loss = F.cross_entropy(net(x), y)
    opt.zero_grad()
    loss.backward()
    return loss.item()


class _CountingSGD(torch.optim.SGD):
    steps = 0

    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)


def _three_steps(answer: Callable, weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Run the answer three times on a small float64 network; say what it returned and where the weights went."""
    net = torch.nn.Linear(x.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        net.weight.copy_(torch.from_numpy(weight))
        net.bias.zero_()
    opt = _CountingSGD(net.parameters(), lr=0.5)
    losses = [answer(net, opt, torch.from_numpy(x), torch.from_numpy(y)) for _ in range(3)]
    return {
        "steps of the optimizer": opt.steps,
        "the three losses": losses,
        "the weights after three steps": net.weight.detach().numpy(),
    }


def _step_case(rng: Generator) -> tuple:
    n, d, k = rng.integers(4, 8), rng.integers(3, 6), rng.integers(3, 5)
    return rng.normal(0, 0.5, (k, d)), rng.normal(0, 1, (n, d)), rng.integers(0, k, n)


EXERCISES = [
    Exercise(
        "13.5",
        "The confusion table",
        minutes=15,
        difficulty=2,
        reference=confusion,
        cases=[
            _guesses,
            Case("everything right", np.array([0, 1, 2, 2]), np.array([0, 1, 2, 2]), 3),
            Case("a digit that never occurs", np.array([0, 0, 2]), np.array([0, 2, 2]), 4),
        ],
        misconceptions=[
            Misconception(
                "swaps rows and columns",
                _confusion_swapped,
                why="Rows are the true digits and columns the guesses. Swapped, 'read as' turns into 'is really a'.",
                look="Section 11 of 13_mlp_mnist, 'Which digits are taken for which'",
            ),
            Misconception(
                "divides each column by its sum",
                _confusion_columns,
                why="A column's share answers another question: of all images read as 3, how many were one? (That is "
                "precision.) Here each row, all images of one true digit, sums to 1. (That is recall.)",
                look="Section 11 of 13_mlp_mnist, 'Which digits are taken for which'",
            ),
            Misconception(
                "has the guesses as rows, and shares of each guess",
                _confusion_columns_swapped,
                why="Rows must be the true digits: of all images of a 3, which share was read as each digit?",
                look="Section 11 of 13_mlp_mnist, 'Which digits are taken for which'",
            ),
            Misconception(
                "divides by the number of all images",
                _confusion_overall,
                why="The numbers then depend on how common each digit is. Divide each row by its own sum.",
                look="Section 11 of 13_mlp_mnist, 'Which digits are taken for which'",
            ),
            Misconception(
                "returns counts instead of shares",
                _confusion_counts,
                why="Counting is half of it: divide each row by the number of images of that digit.",
                look="Section 11 of 13_mlp_mnist, 'Which digits are taken for which'",
            ),
            Misconception(
                "counts each pair of digits at most once",
                _confusion_once,
                why="`counts[true, guess] += 1` reads all places, adds 1, and writes all back: a pair that comes a "
                "hundred times is written a hundred times with the same 1. Use `np.add.at(counts, (true, guess), "
                "1)` or a loop.",
                look="Section 11 of 13_mlp_mnist, 'Which digits are taken for which'",
            ),
            Misconception(
                "divides 0 by 0 for a digit that never occurs",
                _confusion_nan,
                why="A digit with no images has a row of zeros, and 0/0 is NaN. Leave such a row at 0: divide by the "
                "larger of the sum and 1.",
                look="Section 11 of 13_mlp_mnist, 'Which digits are taken for which'",
            ),
            Misconception(
                "divides row i by the sums of other rows",
                _confusion_no_keepdims,
                why="The sums have shape (k,), and broadcasting lines them up with the columns of the square table. "
                "`keepdims=True` leaves (k, 1), one sum beside each row.",
                look="Section 4 of 13_mlp_mnist, 'From scores to probabilities'",
            ),
        ],
        hints=(
            "First count, then divide. Where does an image with true digit t, read as g, belong?",
            "Add 1 at [t, g] for each image (np.add.at counts repeats), then divide each row by its sum.",
            "totals = counts.sum(axis=1, keepdims=True); return counts / np.maximum(totals, 1).",
        ),
        alternatives=[_confusion_bincount, _confusion_loop],
        names=("true", "guess", "n_classes"),
    ),
    Exercise(
        "13.6",
        "One training step in torch",
        minutes=12,
        difficulty=2,
        reference=train_step,
        use=_three_steps,
        cases=[
            _step_case,
            Case("one example", np.array([[0.2, -0.1], [0.0, 0.3]]), np.array([[1.0, 2.0]]), np.array([1])),
        ],
        misconceptions=[
            Misconception(
                "never sets the gradients back to zero",
                _step_keeps_gradients,
                why="`backward` adds to what is already in `.grad`. The second step then goes along the sum of two "
                "gradients, the third along three.",
                look="Section 8 of 13_mlp_mnist, 'The same loop in torch'",
            ),
            Misconception(
                "applies softmax before F.cross_entropy",
                _step_after_softmax,
                why="F.cross_entropy expects logits and applies log-softmax itself. After a second softmax the "
                "gradients are small, and with ten classes the loss cannot fall below 1.46.",
                look="Section 4 of 13_mlp_mnist, 'One softmax too many'",
            ),
            Misconception(
                "clears the gradients between backward and step",
                _step_cleared_too_late,
                why="`step` then finds no gradients, so the weights never move. Clear before `backward`.",
                look="Section 8 of 13_mlp_mnist, 'The same loop in torch'",
            ),
            Misconception(
                "steps before backward",
                _step_before_backward,
                why="`step` uses the gradients that are there, which are the ones of the batch before, or none at all.",
                look="Section 8 of 13_mlp_mnist, 'The same loop in torch'",
            ),
            Misconception(
                "sums the loss over the batch",
                _step_summed,
                why="The step then grows with the batch. F.cross_entropy averages by default, which is what the "
                "learning rate was chosen for.",
                look="Section 4 of 13_mlp_mnist, 'The loss of a guess'",
            ),
            Misconception(
                "returns the loss after the step",
                _step_loss_afterwards,
                why="That costs a second forward pass, and the curve would show other numbers than the ones the "
                "gradients came from. Return the loss that was differentiated.",
                look="Section 8 of 13_mlp_mnist, 'The same loop in torch'",
            ),
            Misconception(
                "computes gradients but never takes the step",
                _step_no_step,
                why="`backward` only fills `.grad`. It is `opt.step()` that moves the weights.",
                look="Section 8 of 13_mlp_mnist, 'The same loop in torch'",
            ),
        ],
        hints=(
            "Five things in order: logits and loss, clear, backward, step, return.",
            "F.cross_entropy takes the logits as they are. `opt.zero_grad()` must come before `loss.backward()`.",
            "loss = F.cross_entropy(net(x), y); then zero_grad, backward, step; return loss.item().",
        ),
        alternatives=[_step_zero_first],
        names=("weight", "x", "y"),
    ),
]
