"""Filters: what is done to logits before a token is taken. Each is filter(logits, seen) -> logits.

    filters = [RepetitionPenalty(1.2), Temperature(0.8), TopK(50), TopP(0.95)]      applied from left to right
    apply(filters, logits, seen).softmax(-1)                                        the distribution that is drawn from

logits: (B, V). seen: (B, T), the ids of each row so far, prompt and answer, -1 where there is nothing; only
`RepetitionPenalty` reads it. A token that is ruled out gets the logit -inf, so its probability is 0 and those that stay
share the 1 in their old proportions. At least one token always stays. Anything else that is called so is a filter too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.shapes import BT, BV, require

Filter = Callable[[BV, BT], BV]


def apply(filters: Sequence[Filter], logits: BV, seen: BT) -> BV:
    """The logits after all filters, the first one first. ValueError for logits that no token can be taken by."""
    check(logits, "the model")
    for one in filters:
        logits = one(logits, seen)
        check(logits, str(one))
    return logits


def check(logits: BV, source: str) -> None:
    """ValueError unless each row has a largest logit, a finite one."""
    best = logits.amax(-1).tolist()  # a NaN is the largest of all
    if not all(map(math.isfinite, best)):
        row = [math.isfinite(one) for one in best].index(False)
        kind = "only -inf, so no token is left" if best[row] == -math.inf else f"the value {best[row]}"
        raise ValueError(f"the logits of row {row} from {source} hold {kind}: look for a fault in weights or filters")


@dataclass(frozen=True)
class Temperature:
    """logits / t: above 1 the distribution gets flatter, below 1 more pointed; 1 leaves it. ValueError unless t > 0.

    D. Ackley, G. Hinton and T. Sejnowski (1985), "A Learning Algorithm for Boltzmann Machines".
    """

    t: float

    def __post_init__(self) -> None:
        greedy = "; for the likeliest token every time, the limit at 0, use pick=Greedy()" if self.t == 0 else ""
        require(0 < self.t < math.inf, f"a temperature is above 0 and finite, not {self.t}{greedy}")

    def __call__(self, logits: BV, seen: BT | None = None) -> BV:
        return logits / self.t


@dataclass(frozen=True)
class TopK:
    """The k likeliest tokens stay, and whatever is as likely as the last of them. ValueError unless k >= 1.

    A. Fan, M. Lewis and Y. Dauphin (2018), "Hierarchical Neural Story Generation", section 5.4.
    """

    k: int

    def __post_init__(self) -> None:
        whole = isinstance(self.k, int) and not isinstance(self.k, bool)
        require(whole and self.k >= 1, f"top-k keeps a whole number of tokens, at least 1, not {self.k!r}")

    def __call__(self, logits: BV, seen: BT | None = None) -> BV:
        last = logits.topk(min(self.k, logits.shape[-1])).values[:, -1:]
        return logits.masked_fill(logits < last, -math.inf)


@dataclass(frozen=True)
class TopP:
    """The nucleus stays: the fewest likeliest tokens that have at least p of the probability together.

    The token that crosses p belongs to it: a token goes if those that are no likelier, itself among them, have at most
    1 - p together. Of equally likely ones at the edge some may go and some stay. ValueError unless 0 < p <= 1.
    A. Holtzman et al. (2020), "The Curious Case of Neural Text Degeneration", section 3.1.
    """

    p: float

    def __post_init__(self) -> None:
        require(0 < self.p <= 1, f"top-p keeps a share of the probability above 0 and up to 1, not {self.p}")

    def __call__(self, logits: BV, seen: BT | None = None) -> BV:
        rising, order = logits.sort(-1)
        gone = rising.softmax(-1).cumsum(-1) <= 1 - self.p
        gone[:, -1] = False  # where the likeliest alone has p, 1 - p may still round to more than the rest
        return logits.masked_fill(unsort(gone, order), -math.inf)


@dataclass(frozen=True)
class MinP:
    """Tokens stay that have at least p times the probability of the likeliest. ValueError unless 0 < p <= 1.

    N. Minh Nguyen et al. (2024), "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs".
    """

    p: float

    def __post_init__(self) -> None:
        require(0 < self.p <= 1, f"min-p is a share of the largest probability, above 0 and up to 1, not {self.p}")

    def __call__(self, logits: BV, seen: BT | None = None) -> BV:
        shares = logits.softmax(-1)
        return logits.masked_fill(shares < self.p * shares.amax(-1, keepdim=True), -math.inf)


@dataclass(frozen=True)
class Typical:
    """Tokens stay whose surprise, -log p(x), is nearest its mean, the entropy, until they have the share p together.

    A token that is too likely can go as well as one that is too unlikely; what is as near as the last one stays.
    ValueError unless 0 < p < 1. C. Meister et al. (2023), "Locally Typical Sampling".
    """

    p: float

    def __post_init__(self) -> None:
        require(0 < self.p < 1, f"typical sampling keeps a share of the probability between 0 and 1, not {self.p}")

    def __call__(self, logits: BV, seen: BT | None = None) -> BV:
        log_shares = logits.log_softmax(-1)
        shares = log_shares.exp()
        entropy = -(shares * log_shares).nansum(-1, keepdim=True)  # 0 log 0 counts as 0
        far, order = (-log_shares - entropy).abs().sort(-1)
        n = (logits.gather(-1, order).softmax(-1).cumsum(-1) < self.p).sum(-1, keepdim=True)
        farthest = far.gather(-1, n.clamp(max=logits.shape[-1] - 1))
        return logits.masked_fill(unsort(far > farthest, order), -math.inf)


@dataclass(frozen=True)
class RepetitionPenalty:
    """Tokens that the row holds already become less likely: a positive logit is divided by `penalty`.

    A negative one is multiplied, which the paper leaves open: dividing it would make the token likelier. 1 leaves all
    as it is. ValueError unless penalty > 0. N. Keskar et al. (2019), "CTRL", section 4.1.
    """

    penalty: float

    def __post_init__(self) -> None:
        require(0 < self.penalty < math.inf, f"a repetition penalty is above 0 and finite, not {self.penalty}")

    def __call__(self, logits: BV, seen: BT) -> BV:
        B, V = logits.shape
        found = torch.zeros(B, V + 1, dtype=torch.bool, device=logits.device)
        found.scatter_(1, seen.where(seen >= 0, V), True)  # column V is for "nothing"
        less = torch.where(logits < 0, logits * self.penalty, logits / self.penalty)
        return torch.where(found[:, :V], less, logits)


def unsort(marks: Tensor, order: Tensor) -> Tensor:
    """Marks of sorted entries, each put back to where its entry came from."""
    return torch.empty_like(marks).scatter(-1, order, marks)
