"""Checks of 14_training_craft, second part: three loops whose fault lies in the training step.

A loop changes the model that it is given, so each check builds a small model from a seed, hands it to the loop, and
compares what the loop returns and the weights that it leaves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.checks import Case, Exercise, Misconception

LESSON = "of 14_training_craft"
CHECKLIST = f"Section 10 {LESSON}, the checklist"


def _model(seed: int, n_hidden: int = 6, last_scale: float = 1.0) -> nn.Sequential:
    """A 5-n_hidden-3 network in float64."""
    torch.manual_seed(seed)
    last = nn.Linear(n_hidden, 3)
    model = nn.Sequential(nn.Linear(5, n_hidden), nn.Tanh(), last).double()
    with torch.no_grad():
        last.weight.mul_(last_scale)
    return model


def examples(rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
    """n points in 5 dimensions; the class is the largest of the first three coordinates."""
    x = torch.from_numpy(rng.standard_normal((n, 5)))
    return x, x[:, :3].argmax(1)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _losses_and_weights(losses: list[float], model: nn.Module) -> dict:
    return {"the losses it returns": losses, "the weights it leaves in the model": weights(model)}


# --- 14.5 ---------------------------------------------------------------------------------------------------------


def _clearing(where: str) -> Callable:
    """A loop over batches that clears the gradients: batch, end of batch, epoch, after backward, never."""

    def train(model, x, y, lr, epochs, batch_size):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        losses = []
        for _ in range(epochs):
            if where == "epoch":
                optimizer.zero_grad()
            for i in range(0, len(x), batch_size):
                loss = F.cross_entropy(model(x[i : i + batch_size]), y[i : i + batch_size])
                if where == "batch":
                    optimizer.zero_grad()
                loss.backward()
                if where == "after backward":
                    optimizer.zero_grad()
                optimizer.step()
                if where == "end of batch":
                    model.zero_grad()
                losses.append(loss.item())
        return losses

    return train


def _use_clearing(train, seed, x, y, lr, epochs, batch_size):
    model = _model(seed)
    return _losses_and_weights(train(model, x, y, lr, epochs, batch_size), model)


def _random_run(rng: np.random.Generator) -> tuple:
    x, y = examples(rng, int(rng.integers(9, 15)))
    return int(rng.integers(1000)), x, y, float(rng.uniform(0.1, 0.5)), 3, 4


# --- 14.6 ---------------------------------------------------------------------------------------------------------


def _with_loss(loss_fn: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    def train(model, x, y, lr, steps):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        losses = []
        for _ in range(steps):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return train


def _squared(z: Tensor, y: Tensor) -> Tensor:
    return ((z.softmax(1) - F.one_hot(y, z.shape[1])) ** 2).mean()


def _use_loss(train, seed, last_scale, x, y, lr, steps):
    model = _model(seed, last_scale=last_scale)
    return _losses_and_weights(train(model, x, y, lr, steps), model)


def _random_loss_run(rng: np.random.Generator) -> tuple:
    return int(rng.integers(1000)), 1.0, *examples(rng, 12), float(rng.uniform(0.1, 0.5)), 5


# --- 14.7 ---------------------------------------------------------------------------------------------------------


def _fine_tuning(parameters: Callable[[nn.Sequential], list], early: bool = False, rebuild: bool = False) -> Callable:
    """Replace the head and train parameters(model); the optimizer is made before the exchange, after it, or in each "
    "step."""

    def make(model: nn.Sequential, lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters(model), lr=lr, momentum=0.9)

    def fine_tune(model, head, x, y, lr, steps):
        before = make(model, lr)
        model[-1] = head
        optimizer = before if early else make(model, lr)
        losses = []
        for _ in range(steps):
            if rebuild:
                optimizer = make(model, lr)
            loss = F.cross_entropy(model(x), y)
            model.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return fine_tune


def _add_group(model, head, x, y, lr, steps):
    """Right as well: the optimizer is told of the new head."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    model[-1] = head
    optimizer.add_param_group({"params": head.parameters()})
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _use_fine_tuning(fine_tune, seed, x, y, lr, steps):
    model, head = _model(seed, n_hidden=7), nn.Linear(7, 3).double()
    return _losses_and_weights(fine_tune(model, head, x, y, lr, steps), model)


def _random_tuning(rng: np.random.Generator) -> tuple:
    return int(rng.integers(1000)), *examples(rng, 10), float(rng.uniform(0.05, 0.2)), 5


_x, _y = examples(np.random.default_rng(14), 10)

EXERCISES = [
    Exercise(
        "14.5",
        "Patient A",
        minutes=8,
        difficulty=1,
        reference=_clearing("batch"),
        use=_use_clearing,
        names=("seed of the model", "x", "y", "lr", "epochs", "batch_size"),
        cases=[
            _random_run,
            Case("one epoch, one batch", 3, _x, _y, 0.5, 1, 10),
            Case("a last batch of 1", 4, _x, _y, 0.3, 2, 3),
        ],
        misconceptions=[
            Misconception(
                "never clears the gradients, so each step follows the sum of all gradients so far",
                _clearing("never"),
                why="backward() adds to .grad. Without zero_grad the step of batch 100 still contains the gradients "
                "of the 99 batches before it, taken at weights that the model no longer has.",
                look=CHECKLIST,
            ),
            Misconception(
                "clears the gradients once in each epoch and not in each batch",
                _clearing("epoch"),
                why="Within an epoch the gradients still pile up. The clearing belongs to the step, so it goes into "
                "the inner loop.",
                look=CHECKLIST,
            ),
            Misconception(
                "clears the gradients between backward and step, so nothing is ever learnt",
                _clearing("after backward"),
                why="backward() has just computed what step() needs. Cleared in between, every step is a step of "
                "length 0.",
                look=CHECKLIST,
            ),
        ],
        hints=(
            "The loss falls at first and then climbs, as if the steps grew longer. What does `backward()` do to a "
            "`.grad` that is already there?",
            "It adds. So something must set the gradients back before each `backward()`, in each batch.",
            "Add `optimizer.zero_grad()` in the inner loop, before `loss.backward()`.",
        ),
        alternatives=[_clearing("end of batch")],
    ),
    Exercise(
        "14.6",
        "Patient B",
        minutes=8,
        difficulty=1,
        reference=_with_loss(F.cross_entropy),
        use=_use_loss,
        names=("seed of the model", "scale of the last layer", "x", "y", "lr", "steps"),
        cases=[_random_loss_run, Case("logits in the thousands", 5, 1e4, _x, _y, 0.1, 3)],
        misconceptions=[
            Misconception(
                "applies the softmax twice: once by itself, once inside cross_entropy",
                _with_loss(lambda z, y: F.cross_entropy(z.softmax(1), y)),
                why="cross_entropy takes logits and applies log-softmax to them. Probabilities are all between 0 and "
                "1, so as logits they can never be far apart: with 10 classes the loss cannot fall below 1.46.",
                look=f"Section 2 {LESSON}, and 'One softmax too many' in section 4 of 13_mlp_mnist",
            ),
            Misconception(
                "gives nll_loss probabilities instead of their logarithms",
                _with_loss(lambda z, y: F.nll_loss(z.softmax(1), y)),
                why="nll_loss only picks out the number of the right class and changes its sign; the logarithm is "
                "yours to take. Without it the loss is minus the mean probability: it is negative, and confident "
                "mistakes cost hardly anything.",
                look="Section 4 of 13_mlp_mnist, 'The loss of a guess'",
            ),
            Misconception(
                "takes the logarithm of a softmax that can be 0",
                _with_loss(lambda z, y: F.nll_loss(z.softmax(1).log(), y)),
                why="With logits far apart the small probabilities underflow to exactly 0, and log 0 is minus "
                "infinity. log_softmax, which cross_entropy uses, never forms the probability.",
                look="Section 4 of 13_mlp_mnist, 'The same number, computed safely'",
            ),
            Misconception(
                "trains on the squared error of the probabilities",
                _with_loss(_squared),
                why="It has its minimum in the same place, but its gradient carries a factor p (1 - p) that is near 0 "
                "exactly where the model is confidently wrong. The task asks for the cross-entropy.",
                look="Section 4 of 13_mlp_mnist, 'Softmax and cross-entropy'",
            ),
        ],
        hints=(
            "The loss comes to rest at a strange height. What does `F.cross_entropy` expect: logits or probabilities?",
            "It applies log-softmax itself. How often is the softmax applied in this loop?",
            "Give the logits to it directly: `F.cross_entropy(model(x), y)`.",
        ),
        alternatives=[_with_loss(lambda z, y: F.nll_loss(z.log_softmax(1), y))],
    ),
    Exercise(
        "14.7",
        "Patient C",
        minutes=10,
        difficulty=2,
        reference=_fine_tuning(lambda model: list(model.parameters())),
        use=_use_fine_tuning,
        names=("seed of the model", "x", "y", "lr", "steps"),
        cases=[_random_tuning, Case("one step", 8, _x, _y, 0.2, 1)],
        misconceptions=[
            Misconception(
                "gives the optimizer the parameters before the head is replaced, so the new head never moves",
                _fine_tuning(lambda model: list(model.parameters()), early=True),
                why="The optimizer keeps the tensors that it was given, not the model. It goes on updating a head "
                "that is no longer in use.",
                look=CHECKLIST,
            ),
            Misconception(
                "trains the head only and leaves the rest of the model as it was",
                _fine_tuning(lambda model: list(model[-1].parameters())),
                why="That is a good method with a name of its own (a linear probe), but the task is to train every "
                "layer: give the optimizer model.parameters().",
                look=CHECKLIST,
            ),
            Misconception(
                "steps without momentum: the optimizer has none, or is made anew in each step and forgets it",
                _fine_tuning(lambda model: list(model.parameters()), rebuild=True),
                why="Momentum, and Adam's averages, live in the optimizer. Made anew in each step it starts from 0 "
                "each time: it is plain SGD.",
                look=f"Section 4 {LESSON}, 'Momentum'",
            ),
        ],
        hints=(
            "Compare the head before and after training. Which parameters moved?",
            "`model.parameters()` is read when the optimizer is made. Which layer is in the model at that moment?",
            "Put `model[-1] = head` before the line that makes the optimizer.",
        ),
        alternatives=[_add_group],
    ),
]
