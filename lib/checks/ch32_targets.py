"""Checks of 32_seq2seq_attention on teacher forcing: the shifted target, and the loss without padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.tokens.vocabulary import BOS, EOS, PAD, pad

LESSON = "of 32_seq2seq_attention"

# 32.1 -----------------------------------------------------------------------------------------------------------------


def shifted(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    return pad([[BOS, *row] for row in rows]), pad([[*row, EOS] for row in rows])


def _shifted_by_slices(rows):
    y = pad([[BOS, *row, EOS] for row in rows])
    inputs = y[:, :-1].clone()
    inputs[inputs == EOS] = PAD
    return inputs, y[:, 1:]


def _not_shifted(rows):
    y = pad([[*row, EOS] for row in rows])
    return y, y.clone()


def _not_shifted_bos(rows):
    y = pad([[BOS, *row] for row in rows])
    return y, y.clone()


def _eos_at_the_end_of_the_table(rows):
    inputs, table = pad([[BOS, *row] for row in rows]), pad(rows)
    return inputs, torch.cat([table, torch.full_like(table[:, :1], EOS)], dim=1)


def _no_eos(rows):
    return pad([[BOS, *row[:-1]] for row in rows]), pad(rows)


def _inputs_and_labels_swapped(rows):
    inputs, labels = shifted(rows)
    return labels, inputs


def _padding_in_front(rows):
    longest = max(map(len, rows)) + 1
    inputs = torch.tensor([[PAD] * (longest - len(row) - 1) + [BOS, *row] for row in rows])
    return inputs, torch.tensor([[PAD] * (longest - len(row) - 1) + [*row, EOS] for row in rows])


def _eos_in_the_inputs(rows):
    y = pad([[BOS, *row, EOS] for row in rows])
    return y[:, :-1], y[:, 1:]


def _rows_case(rng: Generator) -> tuple:
    return ([rng.integers(4, 20, n).tolist() for n in (*rng.permutation(5)[:3] + 1, 7)],)


# 32.4 -----------------------------------------------------------------------------------------------------------------


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)


def _loss_by_hand(logits, labels):
    log_p = logits.log_softmax(-1).gather(-1, labels[:, :, None])[..., 0]
    real = labels != PAD
    return -(log_p * real).sum() / real.sum()


def _loss_with_padding(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _loss_divided_by_all(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD, reduction="sum") / labels.numel()


def _loss_of_rows(logits, labels):
    return torch.stack([F.cross_entropy(z, y, ignore_index=PAD) for z, y in zip(logits, labels, strict=True)]).mean()


def _loss_sum(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD, reduction="sum")


def _loss_for_each_row(logits, labels):
    return _loss_sum(logits, labels) / len(labels)


def _loss_over_steps(logits, labels):
    log_p = logits.log_softmax(1).gather(-1, labels[:, :, None])[..., 0]
    real = labels != PAD
    return -(log_p * real).sum() / real.sum()


def _loss_softmax_twice(logits, labels):
    return masked_loss(logits.softmax(-1), labels)


def _labels_case(rng: Generator) -> tuple:
    b, t, v = int(rng.integers(2, 4)), int(rng.integers(5, 8)), int(rng.integers(9, 12))
    lengths = torch.tensor([t, *rng.integers(1, t, b - 1).tolist()])
    labels = torch.from_numpy(rng.integers(2, v, (b, t))) * (torch.arange(t) < lengths[:, None])
    return torch.from_numpy(rng.normal(0, 1.5, (b, t, v))), labels


EXERCISES = [
    Exercise(
        "32.1",
        "The target, shifted",
        minutes=12,
        difficulty=1,
        reference=shifted,
        cases=[_rows_case, Case("one row, one piece", [[9]]), Case("equal lengths", [[5, 6], [8, 7]])],
        misconceptions=[
            Misconception(
                "gives the decoder the very pieces that it is to predict",
                _not_shifted,
                why="Inputs and labels are the same, so the decoder learns to copy its input. Alone it then has "
                "nothing to copy. The input at each step is the piece before: BOS first.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "puts BOS in front of both, so that they are the same",
                _not_shifted_bos,
                why="The labels are one step ahead of the inputs: no BOS, and EOS at the end.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "puts EOS behind the padding",
                _eos_at_the_end_of_the_table,
                why="EOS says where *this* row ends, so it stands right behind the row's last piece, and padding after "
                "it. Add EOS to each row before you pad.",
                look=f"Section 1 {LESSON}, 'From strings to tables of numbers'",
            ),
            Misconception(
                "never asks for EOS",
                _no_eos,
                why="A decoder that was never asked for EOS never writes it, and goes on for ever.",
                look=f"Section 1 {LESSON}, 'From strings to tables of numbers'",
            ),
            Misconception(
                "returns the labels first and the inputs second",
                _inputs_and_labels_swapped,
                why="The first table is what the decoder reads (it begins with BOS), the second what it is to predict.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "puts the padding in front",
                _padding_in_front,
                why="The decoder would begin with steps of padding. Rows begin at column 0 and are filled at the end.",
                look=f"Section 1 {LESSON}, 'From strings to tables of numbers'",
            ),
            Misconception(
                "leaves EOS in the inputs of the shorter rows",
                _eos_in_the_inputs,
                why="After EOS there is nothing to write, so nobody needs to read it: here it is PAD. (Where the loss "
                "leaves PAD out, this slip does no harm; the exercise asks for the clean form.)",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
        ],
        hints=(
            "For a target 7, 8: what is read at each of the three steps, and what is to be written?",
            "Inputs: BOS and then the row. Labels: the row and then EOS. Both before padding.",
            "return pad([[BOS, *row] for row in rows]), pad([[*row, EOS] for row in rows])",
        ),
        alternatives=[_shifted_by_slices],
        names=("rows",),
    ),
    Exercise(
        "32.4",
        "A loss without padding",
        minutes=12,
        difficulty=2,
        reference=masked_loss,
        cases=[_labels_case],
        misconceptions=[
            Misconception(
                "counts the padding in the loss",
                _loss_with_padding,
                why="Where the label is PAD there is nothing to predict. Counted, the model is paid for writing PAD "
                "after EOS, which is the easiest thing to learn.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "leaves padding out of the sum but divides by all positions",
                _loss_divided_by_all,
                why="The loss then falls when a batch has more padding. Divide by the number of real positions.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "takes the mean of each row, and then of the rows",
                _loss_of_rows,
                why="A piece of a short row then counts more than one of a long row. Every real piece counts the same.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "returns the sum",
                _loss_sum,
                why="The size of the step would then depend on the batch. Divide by the number of real positions.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "divides by the number of rows",
                _loss_for_each_row,
                why="That is a loss for each row, and long rows have a larger one. Divide by the real positions.",
                look=f"Section 4 {LESSON}, 'Teacher forcing'",
            ),
            Misconception(
                "normalises over the steps instead of the vocabulary",
                _loss_over_steps,
                why="At each step the probabilities of all *pieces* add up to 1: the softmax runs over the last axis.",
                look="Section 4 of 13_mlp_mnist, 'From scores to probabilities'",
            ),
            Misconception(
                "applies softmax before the cross-entropy",
                _loss_softmax_twice,
                why="F.cross_entropy takes logits; softmax is inside.",
                look="Section 4 of 13_mlp_mnist, 'One softmax too many'",
            ),
        ],
        hints=(
            "F.cross_entropy wants a table (n, V) and n labels. How do you get there from (B, T, V)? And what of PAD?",
            "`logits.flatten(0, 1)` and `labels.flatten()`; cross_entropy has an argument for a label to leave out.",
            "F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)",
        ),
        alternatives=[_loss_by_hand],
        names=("logits", "labels"),
    ),
]
