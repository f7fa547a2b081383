"""Checks of 14_training_craft, third part: two loops whose fault lies around the step, in the modes and in the data.

The right repairs of the last loop visit the examples in different orders, so its check hands over a `step` that writes
down what it is shown, and compares facts about the visits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch14_broken_steps import CHECKLIST, LESSON, examples, weights

# --- 14.8 ---------------------------------------------------------------------------------------------------------


def _switching(start: bool | None = None, epoch: bool | None = None, measure: bool | None = None) -> Callable:
    """A loop that puts the model into training (True) or evaluation (False) mode at three places, or leaves it "
    "(None)."""

    def train(model, x, y, x_val, y_val, lr, epochs):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        val_losses = []
        if start is not None:
            model.train(start)
        for _ in range(epochs):
            if epoch is not None:
                model.train(epoch)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if measure is not None:
                model.train(measure)
            with torch.no_grad():
                val_losses.append(F.cross_entropy(model(x_val), y_val).item())
        return val_losses

    return train


def _restoring(model, x, y, x_val, y_val, lr, epochs):
    """The other right repair: back to training mode after each measurement."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    val_losses = []
    for _ in range(epochs):
        loss = F.cross_entropy(model(x), y)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        val_losses.append(F.cross_entropy(model(x_val), y_val).item())
        model.train()
    return val_losses


def _use_switching(train, seed, x, y, x_val, y_val, lr, epochs):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    val_losses = train(model, x, y, x_val, y_val, lr, epochs)
    return {"the validation losses it returns": val_losses, "the weights it leaves in the model": weights(model)}


def _random_split(rng: np.random.Generator) -> tuple:
    return int(rng.integers(1000)), *examples(rng, 12), *examples(rng, 8), float(rng.uniform(0.1, 0.5)), 4


# --- 14.9 ---------------------------------------------------------------------------------------------------------


def _shuffling(how: str) -> Callable:
    """A loop that shuffles x and y: together, x only, apart, half (x again and again, y once), never, once."""

    def train(step, x, y, epochs, batch_size, generator):
        losses = []
        order = torch.randperm(len(x), generator=generator)
        for epoch in range(epochs):
            if epoch and how != "once":
                order = torch.randperm(len(x), generator=generator)
            if how in ("x only", "half"):
                x = x[order]
            xs = x if how in ("x only", "half", "never") else x[order]
            ys = y if how in ("x only", "never") else y[order]
            if how == "apart":
                ys = y[torch.randperm(len(y), generator=generator)]
            for i in range(0, len(x), batch_size):
                losses.append(step(xs[i : i + batch_size], ys[i : i + batch_size]))
        return losses

    return train


def _shuffle_both_again(step, x, y, epochs, batch_size, generator):
    """Right as well: the shuffled copies are shuffled again."""
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        x, y = x[order], y[order]
        losses += [step(x[i : i + batch_size], y[i : i + batch_size]) for i in range(0, len(x), batch_size)]
    return losses


def _data_loader(step, x, y, epochs, batch_size, generator):
    """Right as well: PyTorch's own loader."""
    data = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(data, batch_size, shuffle=True, generator=generator)
    return [step(xb, yb) for _ in range(epochs) for xb, yb in loader]


def _use_shuffling(train, n, epochs, batch_size, seed):
    """What two runs with the same seed of the generator show to `step`. Example i is the input (i, -i) with the "
    "label i."""
    ids = torch.arange(n)
    runs, sizes, returned = [], [], []
    for _ in range(2):
        seen: list[tuple[int, int]] = []

        def step(xb: Tensor, yb: Tensor, seen: list = seen) -> float:
            seen.extend(zip(xb[:, 0].long().tolist(), yb.tolist(), strict=True))
            sizes.append(len(xb))
            return float(len(seen))

        generator = torch.Generator().manual_seed(seed)
        returned = train(step, torch.stack([ids, -ids], 1).double(), ids.clone(), epochs, batch_size, generator)
        runs.append(seen)
    rounds = [runs[0][i : i + n] for i in range(0, len(runs[0]), n)]
    orders = [[x for x, _ in r] for r in rounds]
    return {
        "the sizes of the batches": sizes,
        "is each example seen once in each epoch": all(sorted(order) == ids.tolist() for order in orders),
        "does each input keep its label in the first epoch": all(x == y for x, y in rounds[0]) if rounds else False,
        "does each input keep its label in later epochs": all(x == y for r in rounds[1:] for x, y in r),
        "are the inputs in a new order in each epoch": all(map(list.__ne__, [ids.tolist(), *orders], orders)),
        "do the labels leave their stored order": any([y for _, y in r] != ids.tolist() for r in rounds),
        "does the same generator give the same order again": runs[0] == runs[1],
        "the losses it returns": returned,
    }


def _random_shuffle(rng: np.random.Generator) -> tuple:
    return int(rng.integers(20, 40)), 3, int(rng.integers(4, 8)), int(rng.integers(1000))


_x, _y = examples(np.random.default_rng(14), 10)

EXERCISES = [
    Exercise(
        "14.8",
        "Patient D",
        minutes=10,
        difficulty=2,
        reference=_switching(epoch=True, measure=False),
        use=_use_switching,
        names=("seed of the model", "x", "y", "x_val", "y_val", "lr", "epochs"),
        cases=[_random_split, Case("one epoch", 6, _x, _y, _x[:6] + 1, _y[:6], 0.3, 1)],
        misconceptions=[
            Misconception(
                "measures in training mode: no_grad does not switch dropout off",
                _switching(),
                why="no_grad only stops the recording of the graph. The mode is another switch: model.eval() turns "
                "dropout off and makes batch normalisation use its running averages.",
                look=f"Section 7 {LESSON}, 'Two modes'",
            ),
            Misconception(
                "stays in evaluation mode after the first measurement",
                _switching(measure=False),
                why="eval() lasts until train() is called. From the second epoch on the model is trained without "
                "dropout, and batch normalisation stops updating its averages.",
                look=f"Section 7 {LESSON}, 'Two modes'",
            ),
            Misconception(
                "is in evaluation mode from the start, so dropout never acts",
                _switching(start=False),
                why="The mode must follow the work: training mode for the step, evaluation mode for the measurement, "
                "in each epoch.",
                look=f"Section 7 {LESSON}, 'Two modes'",
            ),
            Misconception(
                "has the two modes exchanged",
                _switching(epoch=False, measure=True),
                why="eval() belongs before the measurement and train() before the step.",
                look=f"Section 7 {LESSON}, 'Two modes'",
            ),
        ],
        hints=(
            "The same model, measured twice on the same images, gives two different losses. Which layers are random?",
            "A model has two modes. Which one should it be in for the step, and which one for the measurement?",
            "`model.train()` as the first line of the epoch, `model.eval()` before the `with torch.no_grad()` block.",
        ),
        alternatives=[_restoring],
    ),
    Exercise(
        "14.9",
        "Patient E",
        minutes=10,
        difficulty=2,
        reference=_shuffling("together"),
        use=_use_shuffling,
        names=("number of examples", "epochs", "batch_size", "seed of the generator"),
        cases=[_random_shuffle, Case("one epoch", 25, 1, 8, 7)],
        misconceptions=[
            Misconception(
                "shuffles the inputs and leaves the labels where they were",
                _shuffling("x only"),
                why="After the shuffle, input 0 is another image, and label 0 is still the old one. The model is "
                "taught at random and the loss stays at ln 10.",
                look=CHECKLIST,
            ),
            Misconception(
                "shuffles inputs and labels with two different permutations",
                _shuffling("apart"),
                why="Each call of randperm draws a new order. One order must be drawn, kept, and used for both.",
                look=CHECKLIST,
            ),
            Misconception(
                "shuffles x again and again, but y only from its first order, so they part in the second epoch",
                _shuffling("half"),
                why="`x = x[order]` overwrites x, so the next epoch shuffles what is already shuffled; `y[order]` "
                "starts from the stored order. The first epoch is right, the later ones are not: either overwrite "
                "both or neither.",
                look=CHECKLIST,
            ),
            Misconception(
                "no longer shuffles at all",
                _shuffling("never"),
                why="That keeps the pairs, but data is often stored in some order, and then each batch pulls the "
                "model in its own direction. Draw an order and use it for both.",
                look=f"Section 9 {LESSON}, the run with sorted data",
            ),
            Misconception(
                "shuffles once, before the first epoch, and then repeats the same order",
                _shuffling("once"),
                why="With the same batches in each epoch, the steps always follow each other in the same way. Draw a "
                "new order inside the epoch loop.",
                look=CHECKLIST,
            ),
        ],
        hints=(
            "The loss stays at ln 10, as if the labels were drawn by lot. Look at one batch: does each image have "
            "its own label?",
            "`order` says which example comes next. Both x and y must follow it, in every epoch.",
            "Draw `order` in each epoch, then `i = order[start : start + batch_size]` and `step(x[i], y[i])`.",
        ),
        alternatives=[_shuffle_both_again, _data_loader],
    ),
]
