"""Checks of 30_rnn on the data: names as inputs and targets, and the loss that counts letters."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

# 30.1 -----------------------------------------------------------------------------------------------------------------


def _rows(inputs: list[list[int]], outputs: list[list[int]], pad_input: int = 0, pad_target: int = -100):
    width = max(map(len, inputs))
    ids = torch.tensor([row + [pad_input] * (width - len(row)) for row in inputs])
    return ids, torch.tensor([row + [pad_target] * (width - len(row)) for row in outputs])


def inputs_and_targets(names: list[list[int]]) -> tuple[Tensor, Tensor]:
    return _rows([[0, *name] for name in names], [[*name, 0] for name in names])


def _targets_by_shifting(names):
    ids = torch.zeros(len(names), max(map(len, names)) + 1, dtype=torch.long)
    for i, name in enumerate(names):
        ids[i, 1 : len(name) + 1] = torch.tensor(name)
    targets = torch.cat([ids[:, 1:], torch.zeros(len(names), 1, dtype=torch.long)], dim=1)
    for i, name in enumerate(names):
        targets[i, len(name) + 1 :] = -100
    return ids, targets


def _targets_not_shifted(names):
    return _rows([[0, *name] for name in names], [[0, *name] for name in names])


def _targets_backwards(names):
    return _rows([[*name, 0] for name in names], [[0, *name] for name in names])


def _targets_no_end(names):
    return _rows([[0, *name[:-1]] for name in names], names)


def _targets_no_start(names):
    return _rows(names, [[*name[1:], 0] for name in names])


def _targets_pad_mark(names):
    return _rows([[0, *name] for name in names], [[*name, 0] for name in names], pad_target=0)


def _targets_pad_both(names):
    return _rows([[0, *name] for name in names], [[*name, 0] for name in names], pad_input=-100)


def _names_case(rng: Generator) -> tuple:
    lengths = [int(n) for n in rng.permutation([2, 3, int(rng.integers(4, 8))])]
    return ([rng.integers(1, 20, n).tolist() for n in lengths],)


# 30.2 -----------------------------------------------------------------------------------------------------------------


def nats_per_letter(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _letter_nats(logits, targets):
    """-log p of each target (B, T), 0 where there is none."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


def _nats_with_mask(logits, targets):
    counted = targets != -100
    log_p = logits.log_softmax(dim=-1)
    picked = log_p.gather(2, targets.clamp(min=0).unsqueeze(2)).squeeze(2)
    return -picked[counted].mean()


def _nats_pads_as_marks(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.clamp(min=0).flatten())


def _nats_over_all(logits, targets):
    return _letter_nats(logits, targets).mean()


def _nats_of_names(logits, targets):
    return (_letter_nats(logits, targets).sum(1) / (targets >= 0).sum(1)).mean()


def _nats_a_name(logits, targets):
    return _letter_nats(logits, targets).sum(1).mean()


def _nats_in_bits(logits, targets):
    return nats_per_letter(logits, targets) / math.log(2)


def _nats_wrong_axis(logits, targets):
    log_p = logits.log_softmax(dim=1)
    return F.nll_loss(log_p.flatten(0, 1), targets.flatten())


def _nats_softmax_twice(logits, targets):
    return nats_per_letter(logits.softmax(dim=-1), targets)


def _nats_log_of_mean(logits, targets):
    return -(-_letter_nats(logits, targets)).exp()[targets >= 0].mean().log()


def _logits_case(rng: Generator) -> tuple:
    B, T, V = int(rng.integers(2, 5)), int(rng.integers(3, 7)), int(rng.integers(3, 6))
    targets = torch.from_numpy(rng.integers(0, V, (B, T)))
    for b in range(1, B):
        targets[b, int(rng.integers(1, T)) :] = -100
    return torch.from_numpy(rng.normal(0, 2, (B, T, V))), targets


_SHIFT = "Section 4 of 30_rnn, 'A name as a row of predictions'"
_NATS = "Section 5 of 30_rnn, 'What must be beaten'"

EXERCISES = [
    Exercise(
        "30.1",
        "Input and target",
        minutes=12,
        difficulty=1,
        reference=inputs_and_targets,
        cases=[
            _names_case,
            Case("one name of one letter", [[7]]),
            Case("names of one length", [[3, 4], [5, 6]]),
        ],
        misconceptions=[
            Misconception(
                "asks at each step for the letter that goes in at that step",
                _targets_not_shifted,
                why="The answer then stands in the question. The network learns to copy its input, the loss falls to "
                "almost 0, and it can write nothing. The target of a step is the input of the *next* one.",
                look=_SHIFT,
            ),
            Misconception(
                "asks for the letter before instead of the letter after",
                _targets_backwards,
                why="Input and target have changed places: the row with the mark in front is the input, the row with "
                "the mark behind is the target.",
                look=_SHIFT,
            ),
            Misconception(
                "never asks where a name ends",
                _targets_no_end,
                why="The mark must be the last target of every name. A model that was never asked for it never "
                "writes it, and so its names never end.",
                look=_SHIFT,
            ),
            Misconception(
                "never asks for the first letter",
                _targets_no_start,
                why="Without the mark as the first input there is no step whose target is the first letter, and "
                "nothing to begin with when the model is to write.",
                look=_SHIFT,
            ),
            Misconception(
                "pads the targets with the mark",
                _targets_pad_mark,
                why="The loss then counts the padding: mark after mark behind a name that is over. These are easy to "
                "get right, so the loss looks better than it is. Behind the end a target is -100.",
                look=_SHIFT,
            ),
            Misconception(
                "pads the inputs with -100",
                _targets_pad_both,
                why="-100 means 'no target' to the loss. As an input it is no letter's number, and the embedding "
                "raises an error. Pad the inputs with 0; what is read there is never asked about.",
                look=_SHIFT,
            ),
        ],
        hints=(
            "Write both rows for one name on paper, one under the other. Which is the other, moved by one?",
            "The input of a name is `[0, *name]`, its target `[*name, 0]`. Both are one longer than the name.",
            "Fill ids with 0 and targets with -100, both (n, longest + 1), and write each row's beginning.",
        ),
        alternatives=[_targets_by_shifting],
        names=("names",),
        same_dtype=True,
    ),
    Exercise(
        "30.2",
        "Nats per letter",
        minutes=10,
        difficulty=2,
        reference=nats_per_letter,
        cases=[_logits_case],
        misconceptions=[
            Misconception(
                "counts the padding as if the mark were asked for there",
                _nats_pads_as_marks,
                why="Where the target is -100 nothing is asked. Counted as marks, the padding is most of a batch of "
                "short names, and the loss mainly says how well the model predicts nothing.",
                look=_SHIFT,
            ),
            Misconception(
                "divides by all positions, padding included",
                _nats_over_all,
                why="The sum is right and the divisor is not: padding adds 0 to the sum, so it must add 0 to the "
                "count. As it is, the loss shrinks when a longer name joins the batch.",
                look=_SHIFT,
            ),
            Misconception(
                "averages over the letters of each name first, and then over the names",
                _nats_of_names,
                why="A letter of a short name then weighs more than one of a long name. Nats per letter has one "
                "sum over all letters and one count of all letters.",
                look=_NATS,
            ),
            Misconception(
                "gives nats per name",
                _nats_a_name,
                why="The sum over a name's letters is the cost of the name. Divide the sum over all letters by their "
                "number.",
                look=_NATS,
            ),
            Misconception(
                "gives bits",
                _nats_in_bits,
                why="The logarithm to base 2 gives bits, the natural logarithm nats; they differ by a factor of "
                "ln 2 = 0.69.",
                look=_NATS,
            ),
            Misconception(
                "takes the softmax over the steps",
                _nats_wrong_axis,
                why="At each step the probabilities of the *letters* add up to 1. They lie on the last axis of the "
                "logits, which have the shape (B, T, V).",
                look="Section 6 of 30_rnn, 'The model'",
            ),
            Misconception(
                "takes the softmax twice",
                _nats_softmax_twice,
                why="`cross_entropy` wants logits and takes the softmax itself. Probabilities, taken for logits, all "
                "lie between 0 and 1, and no letter can get a probability near 1 any more.",
                look="Section 6 of 30_rnn, 'The model'",
            ),
            Misconception(
                "takes the logarithm of the mean probability",
                _nats_log_of_mean,
                why="The mean of the logarithms is not the logarithm of the mean. One letter of probability almost 0 "
                "must cost a lot; in a mean of probabilities it goes under.",
                look=_NATS,
            ),
        ],
        hints=(
            "How many numbers are summed, and by which number must the sum be divided?",
            "`F.cross_entropy` leaves out targets of -100 and divides by the rest. It wants a table and a row.",
            "Flatten: `logits.flatten(0, 1)` is (B T, V), `targets.flatten()` is (B T,).",
        ),
        alternatives=[_nats_with_mask],
        names=("logits", "targets"),
    ),
]
