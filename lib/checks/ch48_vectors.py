"""Checks of 48_real_bert on vectors of sentences: pooling, and the loss that trains them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.tokens.vocabulary import PAD

LESSON = "of 48_real_bert"
CLS, SEP = 101, 102


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1, shape))


# 48.2 -----------------------------------------------------------------------------------------------------------------


def mean_pool(y: Tensor, ids: Tensor) -> Tensor:
    real = (ids != PAD)[..., None]  # B T 1
    return (y * real).sum(dim=1) / real.sum(dim=1)


def _pool_by_rows(y, ids):
    return torch.stack([states[row != PAD].mean(dim=0) for states, row in zip(y, ids, strict=True)])


def _pool_padding(y, ids):
    return y.mean(dim=1)


def _pool_by_longest(y, ids):
    return (y * (ids != PAD)[..., None]).mean(dim=1)


def _pool_first(y, ids):
    return y[:, 0]


def _pool_sum(y, ids):
    return (y * (ids != PAD)[..., None]).sum(dim=1)


def _pool_max(y, ids):
    return y.masked_fill((ids == PAD)[..., None], float("-inf")).amax(dim=1)


def _pool_width(y, ids):
    return y.mean(dim=-1)


def _pool_only_padding(y, ids):
    pad = (ids == PAD)[..., None]
    return (y * pad).sum(dim=1) / pad.sum(dim=1)


def _pool_without_marks(y, ids):
    return mean_pool(y, torch.where((ids == CLS) | (ids == SEP), PAD, ids))


def _pool_one_vector(y, ids):
    real = (ids != PAD)[..., None]
    return (y * real).sum(dim=1) / real.sum()


def _batch_case(rng: Generator) -> tuple:
    B, T, C = 3, int(rng.integers(6, 9)), int(rng.integers(2, 5))
    ids = torch.from_numpy(rng.integers(200, 300, (B, T)))
    for row, n in zip(ids, (T, int(rng.integers(4, T)), 3), strict=True):
        row[0], row[n - 1], row[n:] = CLS, SEP, PAD
    return _normal(rng, B, T, C) + 1, ids


_WHOLE = torch.arange(12.0).view(1, 4, 3) ** 2, torch.tensor([[CLS, 7, 8, SEP]])

# 48.6 -----------------------------------------------------------------------------------------------------------------


def contrastive(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    cosines = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
    return F.cross_entropy(cosines / temperature, torch.arange(len(a)))


def _loss_by_hand(a, b, temperature):
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    scores = a @ b.T / temperature
    return (torch.logsumexp(scores, dim=1) - scores.diagonal()).mean()


def _cosines(a, b):
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


def _loss_dot(a, b, temperature):
    return F.cross_entropy(a @ b.T / temperature, torch.arange(len(a)))


def _loss_wrong_axis(a, b, temperature):
    return F.cross_entropy(_cosines(a, b).T / temperature, torch.arange(len(a)))


def _loss_times(a, b, temperature):
    return F.cross_entropy(_cosines(a, b) * temperature, torch.arange(len(a)))


def _loss_no_temperature(a, b, temperature):
    return F.cross_entropy(_cosines(a, b), torch.arange(len(a)))


def _loss_first(a, b, temperature):
    return F.cross_entropy(_cosines(a, b) / temperature, torch.zeros(len(a), dtype=torch.long))


def _loss_sum(a, b, temperature):
    return F.cross_entropy(_cosines(a, b) / temperature, torch.arange(len(a)), reduction="sum")


def _loss_partners_alone(a, b, temperature):
    return (1 - _cosines(a, b).diagonal()).mean()


def _loss_both_ways(a, b, temperature):
    return (contrastive(a, b, temperature) + contrastive(b, a, temperature)) / 2


def _loss_softmax_twice(a, b, temperature):
    return F.cross_entropy((_cosines(a, b) / temperature).softmax(dim=1), torch.arange(len(a)))


def _pairs_case(rng: Generator) -> tuple:
    n, C = int(rng.integers(4, 7)), int(rng.integers(7, 10))
    a = 2 * _normal(rng, n, C)
    return a, a + 2 * _normal(rng, n, C), float(rng.uniform(0.05, 0.5))


EXERCISES = [
    Exercise(
        "48.2",
        "The mean of the real tokens",
        minutes=12,
        difficulty=1,
        reference=mean_pool,
        cases=[_batch_case, Case("no padding", *_WHOLE)],
        misconceptions=[
            Misconception(
                "counts padding into the mean",
                _pool_padding,
                why="A padded position has states too. The vector of a sentence would then depend on how long the "
                "others in its batch are.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "leaves padding out of the sum and divides by the longest row",
                _pool_by_longest,
                why="The sum has only the real tokens in it; divide by how many those are, for each row.",
                look=f"Section 3 {LESSON}, the formula",
            ),
            Misconception(
                "takes [CLS] instead of the mean",
                _pool_first,
                why="In this model nobody trained [CLS] to stand for the sentence; the mean was trained.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "sums, and does not divide",
                _pool_sum,
                why="A long sentence would get a long vector.",
                look=f"Section 3 {LESSON}, the formula",
            ),
            Misconception(
                "takes the largest instead of the mean",
                _pool_max,
                why="That is max pooling, another choice; the model was trained with the mean.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "averages over the width instead of the tokens",
                _pool_width,
                why="The axes are B, T, C. The tokens lie on axis 1.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "averages the padding instead of the tokens",
                _pool_only_padding,
                why="The mask is inverted: True should mean a real token.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "leaves out [CLS] and [SEP]",
                _pool_without_marks,
                why="They are tokens of the sentence as the model reads it, and it was trained with them in the mean.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "divides every row by the tokens of the whole batch",
                _pool_one_vector,
                why="Each row has a count of its own: sum the mask over axis 1 alone.",
                look=f"Section 3 {LESSON}, the formula",
            ),
        ],
        hints=(
            "Which positions are real? A product with 0 and 1 leaves the others out of a sum.",
            "(ids != PAD) has the shape (B, T). With [..., None] it stretches over the width.",
            "(y * real).sum(dim=1) / real.sum(dim=1)",
        ),
        alternatives=[_pool_by_rows],
        names=("y", "ids"),
    ),
    Exercise(
        "48.6",
        "The loss that makes them near",
        minutes=15,
        difficulty=3,
        reference=contrastive,
        cases=[_pairs_case],
        misconceptions=[
            Misconception(
                "takes dot products instead of cosines",
                _loss_dot,
                why="The model could then lower the loss by making vectors longer, and the search compares directions.",
                look=f"Section 3 {LESSON}",
            ),
            Misconception(
                "takes the softmax over the wrong axis",
                _loss_wrong_axis,
                why="Each a looks for its partner among all b: row i holds the cosines of a_i with every b.",
                look="Section 2 of 41_attention",
            ),
            Misconception(
                "multiplies by the temperature",
                _loss_times,
                why="A small temperature makes the softmax sharp: divide by it.",
                look="Section 7 of 03_probability, 'Sampling with a temperature'",
            ),
            Misconception(
                "forgets the temperature",
                _loss_no_temperature,
                why="Cosines lie between -1 and 1; a softmax over such small differences is nearly flat.",
                look="Section 7 of 03_probability, 'Sampling with a temperature'",
            ),
            Misconception(
                "takes the first of the batch for everyone's partner",
                _loss_first,
                why="The partner of row i is column i: the labels are 0, 1, 2, ...",
                look=f"'Go bigger' {LESSON}",
            ),
            Misconception(
                "sums over the batch instead of averaging",
                _loss_sum,
                why="The size of the batch would change the size of the steps.",
                look="Section 4 of 13_mlp_mnist",
            ),
            Misconception(
                "only pulls partners together",
                _loss_partners_alone,
                why="If nothing is pushed apart, one vector for every text has the loss 0.",
                look=f"'Go bigger' {LESSON}",
            ),
            Misconception(
                "takes the mean of both directions",
                _loss_both_ways,
                why="A good loss too, and others use it. The formula here lets each a look for its b, and stops there.",
                look=f"'Go bigger' {LESSON}",
            ),
            Misconception(
                "takes the softmax twice",
                _loss_softmax_twice,
                why="F.cross_entropy takes scores and does the softmax itself.",
                look="Section 4 of 13_mlp_mnist, 'One softmax too many'",
            ),
        ],
        hints=(
            "It is a classification: which of the n texts in b belongs to a_i? What are the scores, and the labels?",
            "All cosines are one matrix product, (n, n); divide by the temperature. The right answers are 0, 1, 2, ...",
            "F.cross_entropy(cosines / temperature, torch.arange(len(a)))",
        ),
        alternatives=[_loss_by_hand],
        names=("a", "b", "temperature"),
    ),
]
