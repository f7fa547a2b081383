"""Checks of 45_mini_bert on numbers: the loss of both tasks, and what to hold beside a score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.pretrain.masking import IGNORE

LESSON = "of 45_mini_bert"

# 45.6 -----------------------------------------------------------------------------------------------------------------


def loss(logits: Tensor, ids: Tensor, chosen: Tensor, pair_logits: Tensor, labels: Tensor) -> Tensor:
    return _loss(logits, ids, chosen, pair_logits, labels)


def _loss(
    logits, ids, chosen, pair_logits, labels, *, which="chosen", total=None, rows=False, sentence=1.0, twice=False
):
    """The loss, with a switch for each of the usual mistakes."""
    logits = F.softmax(logits, dim=-1) if twice else logits
    each = F.cross_entropy(logits.mT, ids, reduction="none")  # B T
    counted = {"chosen": chosen, "all": torch.ones_like(chosen), "rest": ~chosen}[which]
    if rows:
        words = ((each * counted).sum(1) / counted.sum(1).clamp(min=1)).mean()
    else:
        n = {None: counted.sum().clamp(min=1), "sum": 1, "all": ids.numel()}[total]
        words = (each * counted).sum() / n
    return words + sentence * F.cross_entropy(pair_logits, labels)


def _loss_by_index(logits, ids, chosen, pair_logits, labels):
    log_p = logits[chosen].log_softmax(-1)  # n V
    words = -log_p[range(len(log_p)), ids[chosen]].mean() if len(log_p) else 0.0
    return words - pair_logits.log_softmax(-1)[range(len(labels)), labels].mean()


def _loss_with_ignore(logits, ids, chosen, pair_logits, labels):
    y = ids.masked_fill(~chosen, IGNORE)
    words = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / max(1, int(chosen.sum()))
    return words + F.cross_entropy(pair_logits, labels)


def _all_positions(*args):
    return _loss(*args, which="all")


def _unmasked_positions(*args):
    return _loss(*args, which="rest")


def _divided_by_all(*args):
    return _loss(*args, total="all")


def _summed(*args):
    return _loss(*args, total="sum")


def _mean_of_rows(*args):
    return _loss(*args, rows=True)


def _words_alone(*args):
    return _loss(*args, sentence=0.0)


def _labels_flipped(logits, ids, chosen, pair_logits, labels):
    return _loss(logits, ids, chosen, pair_logits, 1 - labels)


def _softmax_twice(*args):
    return _loss(*args, twice=True)


def _halved(*args):
    return _loss(*args) / 2


def _loss_case(rng: Generator) -> tuple:
    B, T, V = 3, int(rng.integers(5, 9)), 7
    chosen = torch.zeros(B, T, dtype=torch.bool)
    for row, n in enumerate(rng.permutation([1, 2, 4])):
        chosen[row, torch.from_numpy(rng.permutation(T)[:n])] = True
    logits, pair_logits = (torch.from_numpy(rng.normal(0, 2, shape)) for shape in ((B, T, V), (B, 2)))
    ids, labels = torch.from_numpy(rng.integers(0, V, (B, T))), torch.from_numpy(rng.permutation([0, 1, 1]))
    return logits, ids, chosen, pair_logits, labels


# 45.7 -----------------------------------------------------------------------------------------------------------------


def score(logits: Tensor, y: Tensor, train: Tensor) -> tuple[float, float]:
    return _score(logits, y, train)


def _score(logits, y, train, *, by_all=False, counted=None):
    """Both accuracies, with a switch for each of the usual mistakes."""
    asked = y != IGNORE
    n = y.numel() if by_all else int(asked.sum())
    right = int((logits.argmax(-1) == y)[asked].sum()) / n
    common = int((train if counted is None else counted).mode().values)
    return right, int((y == common).sum()) / n


def _score_with_bincount(logits, y, train):
    asked = y[y != IGNORE]
    guess = torch.bincount(train).argmax()
    hit = logits[y != IGNORE].argmax(1) == asked
    return hit.double().mean().item(), (asked == guess).double().mean().item()


def _score_over_all(*args):
    return _score(*args, by_all=True)


def _score_peeks(logits, y, train):
    return _score(logits, y, train, counted=y[y != IGNORE])


def _score_counts_guesses(logits, y, train):
    return _score(logits, y, train, counted=logits.argmax(-1)[y != IGNORE])


def _score_counts_ignored(logits, y, train):
    return _score(logits, y, train, counted=y)


def _score_chance(logits, y, train):
    return _score(logits, y, train)[0], 1 / logits.shape[-1]


def _score_share_in_training(logits, y, train):
    return _score(logits, y, train)[0], (train == train.mode().values).double().mean().item()


def _score_case(rng: Generator) -> tuple:
    """One token is common in training, another among the answers, a third among the guesses."""
    T, V = int(rng.integers(20, 26)), 9
    common, held, guess, *rest = rng.permutation(V).tolist()
    answers = rng.permutation([held] * 10 + [guess] * 6 + [common] * 3 + rest[:5])
    y = torch.full((4 * T,), IGNORE)
    y[torch.from_numpy(rng.permutation(4 * T)[: len(answers)])] = torch.from_numpy(answers)
    logits = torch.from_numpy(rng.normal(size=(4 * T, V))) + 2.0 * F.one_hot(y.clamp(min=0), V)
    logits[:, guess] += 2.5
    train = rng.permutation([common] * 20 + [held] * 12 + rng.integers(0, V, 10).tolist())
    return logits.view(4, T, V), y.view(4, T), torch.from_numpy(train)


_LOSS = f"Section 8 {LESSON}, 'The loss'"
_SCORE = f"Section 9 {LESSON}, 'What to compare with'"

EXERCISES = [
    Exercise(
        "45.6",
        "The loss of both tasks",
        minutes=15,
        difficulty=2,
        reference=loss,
        cases=[
            _loss_case,
            Case(
                "nothing is chosen",
                torch.zeros(2, 3, 4).double(),
                torch.tensor([[1, 2, 3], [0, 1, 2]]),
                torch.zeros(2, 3, dtype=torch.bool),
                torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double(),
                torch.tensor([0, 0]),
            ),
        ],
        misconceptions=[
            Misconception(
                "counts unmasked positions in the loss",
                _all_positions,
                why="Where the token can be seen, to copy it is enough. The mean goes over the chosen positions alone.",
                look=_LOSS,
            ),
            Misconception(
                "counts the unmasked positions alone",
                _unmasked_positions,
                why="`chosen` is True where the model is asked.",
                look=_LOSS,
            ),
            Misconception(
                "divides by the number of all positions",
                _divided_by_all,
                why="The sum over the chosen ones is divided by how many were chosen. Else the loss is a seventh of "
                "what it should be, and the sentences weigh too much.",
                look=_LOSS,
            ),
            Misconception(
                "sums over the gaps instead of taking the mean",
                _summed,
                why="The mean, so that the number of gaps does not change the weight of the two tasks.",
                look=_LOSS,
            ),
            Misconception(
                "takes the mean of each row first",
                _mean_of_rows,
                why="Rows have different numbers of gaps. Each gap counts alike: one mean over all gaps of the batch.",
                look=_LOSS,
            ),
            Misconception(
                "forgets the sentence task",
                _words_alone,
                why="The loss is the sum of two means, that of the gaps and that of the pairs.",
                look=_LOSS,
            ),
            Misconception(
                "takes 1 for pairs that follow",
                _labels_flipped,
                why="`labels` are the classes of `pair_logits` already. Use them as they are.",
                look=_LOSS,
            ),
            Misconception(
                "applies softmax before the cross-entropy",
                _softmax_twice,
                why="F.cross_entropy takes logits and does the softmax itself.",
                look="Section 4 of 13_mlp_mnist, 'One softmax too many'",
            ),
            Misconception(
                "halves the sum",
                _halved,
                why="The paper adds the two means.",
                look=_LOSS,
            ),
        ],
        hints=(
            "Two means are added. Over what does each of them go?",
            "logits[chosen] has the shape (gaps, V), and ids[chosen] their answers. A mean of nothing is NaN, "
            "so take 0 there.",
            "words = F.cross_entropy(logits[chosen], ids[chosen]) if chosen.any() else 0.0",
        ),
        alternatives=[_loss_by_index, _loss_with_ignore],
    ),
    Exercise(
        "45.7",
        "A score, and what to hold beside it",
        minutes=12,
        difficulty=1,
        reference=score,
        cases=[_score_case],
        misconceptions=[
            Misconception(
                "divides by all positions",
                _score_over_all,
                why="Only the positions that are asked about count: y is IGNORE at the others.",
                look=_SCORE,
            ),
            Misconception(
                "takes the commonest answer of the held-out text as the baseline",
                _score_peeks,
                why="A baseline is a model like any other: it learns from the training text. Counted on the answers, "
                "it knows them.",
                look=_SCORE,
            ),
            Misconception(
                "takes the model's commonest guess as the baseline",
                _score_counts_guesses,
                why="The baseline knows nothing of the model. It counts the training text.",
                look=_SCORE,
            ),
            Misconception(
                "takes IGNORE for the commonest token",
                _score_counts_ignored,
                why="y holds IGNORE at most positions. Count the training ids.",
                look=_SCORE,
            ),
            Misconception(
                "takes one over the vocabulary as the baseline",
                _score_chance,
                why="Tokens are not equally common: always to say the commonest is far better than chance.",
                look=_SCORE,
            ),
            Misconception(
                "reports how common the token is in training instead of how often it is right",
                _score_share_in_training,
                why="Both are measured on the same gaps, or they cannot be compared.",
                look=_SCORE,
            ),
        ],
        hints=(
            "On which positions are both measured, and on which text is the baseline counted?",
            "asked = y != IGNORE; torch.bincount(train).argmax() is the commonest training token.",
            "(logits.argmax(-1)[asked] == y[asked]).double().mean().item()",
        ),
        alternatives=[_score_with_bincount],
    ),
]
