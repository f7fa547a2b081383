"""Checks of 45_mini_bert on gaps: which tokens are hidden, how, and about which the model is asked."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.pretrain.masking import IGNORE

LESSON = "of 45_mini_bert"
MASK = 4

# 45.5 -----------------------------------------------------------------------------------------------------------------


def gaps(ids: Tensor, special: Tensor, u: Tensor, v: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    return _gaps(ids, special, u, v, other)


def _gaps(
    ids, special, u, v, other, *, p=0.15, shield=True, bounds=(0.8, 0.9), swap=False, one=False, y="chosen", reuse=False
):
    """The gaps, with a switch for each of the usual mistakes."""
    chosen = (u < p) & ~special if shield else u < p
    v = u / p if reuse else v
    masked, drawn = chosen & (v < bounds[0]), chosen & (v >= bounds[0]) & (v < bounds[1])
    masked, drawn = (masked, chosen & (v >= bounds[1])) if swap else (masked, drawn)
    x = ids.masked_fill(masked, MASK)
    x = torch.where(drawn, MASK if one else other, x)
    asked = {"chosen": chosen, "all": torch.ones_like(chosen), "real": ~special, "masked": masked, "rest": ~chosen}
    asked["changed"] = x != ids
    return x, (x if y == "read" else ids).masked_fill(~asked.get(y, chosen), IGNORE)


def _gaps_with_where(ids, special, u, v, other):
    chosen = torch.logical_and(u < 0.15, special.logical_not())
    x = torch.where(v < 0.8, torch.full_like(ids, MASK), torch.where(v < 0.9, other, ids))
    return torch.where(chosen, x, ids), torch.where(chosen, ids, torch.full_like(ids, IGNORE))


def _gaps_by_loops(ids, special, u, v, other):
    x, y = ids.clone(), torch.full_like(ids, IGNORE)
    for place in np.ndindex(*ids.shape):
        if u[place] < 0.15 and not special[place]:
            y[place] = ids[place]
            if v[place] < 0.9:
                x[place] = MASK if v[place] < 0.8 else other[place]
    return x, y


def _masks_specials(*args):
    return _gaps(*args, shield=False)


def _always_masks(*args):
    return _gaps(*args, bounds=(1.0, 1.0))


def _asks_everywhere(*args):
    return _gaps(*args, y="all")


def _asks_real(*args):
    return _gaps(*args, y="real")


def _asks_masked(*args):
    return _gaps(*args, y="masked")


def _asks_changed(*args):
    return _gaps(*args, y="changed")


def _asks_the_rest(*args):
    return _gaps(*args, y="rest")


def _asks_what_it_reads(*args):
    return _gaps(*args, y="read")


def _swaps_random_and_kept(*args):
    return _gaps(*args, swap=True)


def _never_random(*args):
    return _gaps(*args, bounds=(0.8, 0.8))


def _random_too(*args):
    return _gaps(*args, bounds=(0.8, 1.0))


def _shares_of_all(ids, special, u, v, other):
    """Three draws, each of all tokens: 80% hidden."""
    x, y = _gaps(ids, special, u, v, other, p=2.0)
    return x, y


def _one_draw(*args):
    return _gaps(*args, reuse=True)


def _gaps_case(rng: Generator) -> tuple:
    B, T = 4, int(rng.integers(24, 32))
    ids = torch.from_numpy(rng.integers(5, 90, (B, T)))
    special = torch.from_numpy(rng.random((B, T)) < 0.2)
    ids[special] = torch.from_numpy(rng.integers(0, 4, int(special.sum())))
    u, v = torch.from_numpy(rng.random((B, T)) ** 2), torch.from_numpy(rng.random((B, T)))
    return ids, special, u, v, torch.from_numpy(rng.integers(90, 190, (B, T)))


def _edges() -> tuple:
    """Draws at the very borders: 0.15 is not below 0.15."""
    u = torch.tensor([[0.0, 0.15, 0.1, 0.1, 0.1, 0.1, 0.0, 0.9]], dtype=torch.float64)
    v = torch.tensor([[0.1, 0.1, 0.8, 0.9, 0.7999, 0.8999, 0.1, 0.1]], dtype=torch.float64)
    special = torch.tensor([[True, False, False, False, False, False, False, True]])
    return torch.tensor([[2, 11, 12, 13, 14, 15, 16, 3]]), special, u, v, torch.arange(31, 39)[None]


_GAPS = f"Section 5 {LESSON}, 'Eighty, ten, ten'"

EXERCISES = [
    Exercise(
        "45.5",
        "Gaps",
        minutes=15,
        difficulty=2,
        reference=gaps,
        cases=[_gaps_case, Case("draws at the borders", *_edges())],
        misconceptions=[
            Misconception(
                "masks special tokens",
                _masks_specials,
                why="[CLS], [SEP] and padding are not text. There is nothing to learn from guessing them, and without "
                "[SEP] the row loses its order. Choose only where `special` is False.",
                look=_GAPS,
            ),
            Misconception(
                "asks about every position, so that the loss counts unmasked ones too",
                _asks_everywhere,
                why="Where the token can be seen, the answer is to copy it. Six of seven answers would be copies, and "
                "the loss would tell little about the gaps. y is IGNORE where nothing was chosen.",
                look=_GAPS,
            ),
            Misconception(
                "asks about every token of the text, chosen or not",
                _asks_real,
                why="Where the token can be seen, the answer is to copy it. y is IGNORE where nothing was chosen.",
                look=_GAPS,
            ),
            Misconception(
                "asks only where [MASK] stands",
                _asks_masked,
                why="The random and the kept tokens were chosen too, and are asked about. That is what they are for: "
                "the model cannot trust what it reads.",
                look=_GAPS,
            ),
            Misconception(
                "asks only where the token was changed",
                _asks_changed,
                why="The kept tokens are asked about too. Otherwise a token that is no [MASK] is always a wrong one.",
                look=_GAPS,
            ),
            Misconception(
                "asks about what was not chosen",
                _asks_the_rest,
                why="y holds the id where a token was chosen, and IGNORE elsewhere.",
                look=_GAPS,
            ),
            Misconception(
                "asks for what the model reads instead of what stood there",
                _asks_what_it_reads,
                why="y comes from ids, not from x. Otherwise the right answer to a gap is [MASK].",
                look=_GAPS,
            ),
            Misconception(
                "masks every chosen token",
                _always_masks,
                why="Later the model reads text without any [MASK]. One chosen token in ten stays, one is exchanged.",
                look=_GAPS,
            ),
            Misconception(
                "swaps the random and the kept tokens",
                _swaps_random_and_kept,
                why="Of v: below 0.8 the mask, from 0.8 up to 0.9 another token, from 0.9 on the token itself.",
                look=_GAPS,
            ),
            Misconception(
                "never puts another token",
                _never_random,
                why="From 0.8 up to 0.9 stands a token of `other`.",
                look=_GAPS,
            ),
            Misconception(
                "never keeps a chosen token",
                _random_too,
                why="From 0.9 on the chosen token stays as it is, and is asked about all the same.",
                look=_GAPS,
            ),
            Misconception(
                "takes the shares of all tokens instead of the chosen ones",
                _shares_of_all,
                why="First u chooses 15% of the tokens. 80, 10 and 10% are shares of those; v decides among them.",
                look=_GAPS,
            ),
            Misconception(
                "uses u for both decisions",
                _one_draw,
                why="u says whether a token is chosen, v what is done to it.",
                look=_GAPS,
            ),
        ],
        hints=(
            "Two decisions, one after the other: is the token chosen, and what is done to a chosen one?",
            "chosen = (u < 0.15) & ~special. Then three cases of v; y needs `chosen` alone.",
            "x = ids.masked_fill(chosen & (v < 0.8), MASK); torch.where(chosen & (0.8 <= v) & (v < 0.9), other, x)",
        ),
        alternatives=[_gaps_with_where, _gaps_by_loops],
    ),
]
