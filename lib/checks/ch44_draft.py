"""Checks of 44_sampling on judging what a draft proposed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Exercise, Misconception

LESSON = "of 44_sampling"

# 44.6 -----------------------------------------------------------------------------------------------------------------


def judge(drafted: list[int], q: Tensor, p: Tensor, u: Tensor, draw: Callable[[Tensor], int]) -> list[int]:
    new = []
    for j, x in enumerate(drafted):
        if u[j] >= p[j, x] / q[j, x]:
            rest = (p[j] - q[j]).clamp(min=0)
            return [*new, draw(rest / rest.sum())]
        new.append(x)
    return [*new, draw(p[-1])]


def _judge_by_count(drafted, q, p, u, draw):
    at = torch.arange(len(drafted)), torch.tensor(drafted)
    n = int((u * q[at] < p[:-1][at]).int().cumprod(0).sum())
    weights = p[n] if n == len(drafted) else torch.relu(p[n] - q[n])
    return [*drafted[:n], draw(weights / weights.sum())]


def _judge_with(drafted, q, p, u, draw, ratio=None, rest=None, bonus=True, stop=True, keep=False):
    ratio = ratio or (lambda p, q: p / q)
    rest = rest or (lambda p, q: (p - q).clamp(min=0) / (p - q).clamp(min=0).sum())
    new = []
    for j, x in enumerate(drafted):
        if u[j] < ratio(p[j, x], q[j, x]):
            new.append(x)
            continue
        new += [x] * keep + [draw(rest(p[j], q[j]))]
        if stop:
            return new
    return [*new, draw(p[-1])] if bonus else new


def _judge_inverted(*args):
    return _judge_with(*args, ratio=lambda p, q: q / p)


def _judge_other_side(*args):
    return _judge_with(*args, ratio=lambda p, q: 1 - p / q)


def _judge_by_p(*args):
    return _judge_with(*args, ratio=lambda p, q: p)


def _judge_never_by_chance(*args):
    return _judge_with(*args, ratio=lambda p, q: 2.0 * (p >= q))


def _judge_not_scaled(*args):
    return _judge_with(*args, rest=lambda p, q: (p - q).clamp(min=0))


def _judge_from_p(*args):
    return _judge_with(*args, rest=lambda p, q: p)


def _judge_distance(*args):
    return _judge_with(*args, rest=lambda p, q: (p - q).abs() / (p - q).abs().sum())


def _judge_wrong_way(*args):
    return _judge_with(*args, rest=lambda p, q: (q - p).clamp(min=0) / (q - p).clamp(min=0).sum())


def _judge_softmax(*args):
    return _judge_with(*args, rest=lambda p, q: (p - q).clamp(min=0).softmax(0))


def _judge_no_bonus(*args):
    return _judge_with(*args, bonus=False)


def _judge_goes_on(*args):
    return _judge_with(*args, stop=False)


def _judge_keeps_rejected(*args):
    return _judge_with(*args, keep=True)


def _judge_drops_all(drafted, q, p, u, draw):
    new = judge(drafted, q, p, u, draw)
    return new if len(new) > len(drafted) else new[-1:]


def _with_draws(answer: Callable, drafted: list[int], q: Tensor, p: Tensor, u: Tensor) -> Any:
    """The new ids, and what was drawn from: `draw` takes the largest weight and notes them all."""
    weights = []

    def draw(w: Tensor) -> int:
        if not isinstance(w, Tensor) or w.ndim != 1:
            shape = tuple(w.shape) if isinstance(w, Tensor) else type(w).__name__
            raise ValueError(f"draw takes the probabilities of all tokens, a tensor (V,); it got {shape}")
        weights.append(w.detach().clone())
        return int(w.argmax())

    return [int(i) for i in answer(list(drafted), q, p, u, draw)], weights


def _drafts_case(rng: Generator) -> tuple:
    k, V = 3, 6
    q, p = (torch.from_numpy(rng.dirichlet([1.0] * V, n)) for n in (k, k + 1))
    drafted = [int(rng.choice(V, p=row.numpy() / row.numpy().sum())) for row in q]
    return drafted, q, p, torch.from_numpy(rng.uniform(0, 1, k))


def _near_case(rng: Generator) -> tuple:
    """A draft that knows the model well: most tokens are accepted."""
    drafted, q, p, u = _drafts_case(rng)
    return drafted, 0.15 * q + 0.85 * p[:-1], p, u


def _same_case(rng: Generator) -> tuple:
    drafted, q, p, u = _drafts_case(rng)
    return drafted, q, torch.cat((q, p[-1:])), u


EXERCISES = [
    Exercise(
        "44.6",
        "Judging a draft",
        minutes=20,
        difficulty=3,
        reference=judge,
        use=_with_draws,
        cases=[_drafts_case, _near_case, _same_case],
        misconceptions=[
            Misconception(
                "accepts with q / p: the fraction is upside down",
                _judge_inverted,
                why="A token that the model finds likelier than the draft does is always welcome: p / q is above 1.",
                look=f"Section 10 {LESSON}, the first line of the proof",
            ),
            Misconception(
                "accepts where u is above the ratio",
                _judge_other_side,
                why="u falls below p / q with probability p / q. Above it is the chance of a rejection.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "accepts with probability p(x), without q",
                _judge_by_p,
                why="x was proposed with probability q(x). Accepted with p(x) it would come with q(x) p(x).",
                look=f"Section 10 {LESSON}, the first line of the proof",
            ),
            Misconception(
                "accepts only where p is at least q, without any chance",
                _judge_never_by_chance,
                why="A token with p below q must still come with probability p(x): accept it now and then, by u.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "does not scale the residual to 1",
                _judge_not_scaled,
                why="max(p - q, 0) sums to the chance of a rejection, not to 1. Divide by its sum.",
                look=f"Section 10 {LESSON}, the third line of the proof",
            ),
            Misconception(
                "draws from p after a rejection",
                _judge_from_p,
                why="Then tokens that the draft likes come too often: once by being accepted, and again from p. Draw "
                "from what p has more than q.",
                look=f"Section 10 {LESSON}, below the proof",
            ),
            Misconception(
                "draws from |p - q|",
                _judge_distance,
                why="Where q is larger, the token has come often enough by being accepted. What p has *more* counts.",
                look=f"Section 10 {LESSON}, the second line of the proof",
            ),
            Misconception(
                "draws from max(q - p, 0): the residual the wrong way round",
                _judge_wrong_way,
                why="What is still missing is what p has more than q.",
                look=f"Section 10 {LESSON}, the second line of the proof",
            ),
            Misconception(
                "takes a softmax of the residual",
                _judge_softmax,
                why="The residual consists of probabilities. Divide by the sum; a softmax would give weight to tokens "
                "that must not come.",
                look=f"Section 10 {LESSON}, the third line of the proof",
            ),
            Misconception(
                "forgets the free token when all are accepted",
                _judge_no_bonus,
                why="The one call of the large model has given a distribution behind the last drafted token too.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "goes on judging after a rejection",
                _judge_goes_on,
                why="What was drafted later stands behind a token that is not there any more.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "keeps the rejected token as well",
                _judge_keeps_rejected,
                why="The new token stands in the place of the rejected one.",
                look=f"Section 10 {LESSON}",
            ),
            Misconception(
                "drops what was accepted before a rejection",
                _judge_drops_all,
                why="Each accepted token has the right distribution. Only what comes behind the rejection goes.",
                look=f"Section 10 {LESSON}",
            ),
        ],
        hints=(
            "Go through the drafted tokens. What happens at the first rejection, and what if there is none?",
            "u[j] < p[j, x] / q[j, x] accepts. The residual is (p[j] - q[j]).clamp(min=0).",
            "return [*new, draw(rest / rest.sum())] at a rejection; [*new, draw(p[-1])] at the end.",
        ),
        alternatives=[_judge_by_count],
        names=("drafted", "q", "p", "u"),
    ),
]
