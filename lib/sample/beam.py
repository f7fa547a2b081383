"""Beam search: several answers grow side by side, and the best whole one wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lib.sample.filters import check
from lib.sample.run import Prompts, Start, Stop, feed, last, logits_of, open_state, read
from lib.shapes import require
from lib.stack import Model


@dataclass(frozen=True)
class Hypothesis:
    """An answer and its score: log p(ids | prompt), for a whole answer divided by len(ids) ^ length_penalty."""

    ids: list[int]
    score: float


class Row:
    """The beams of one prompt: `going` may still grow, `whole` are at their end, both best first."""

    def __init__(self, n_beams: int, n_new: int, length_penalty: float, early: bool | Literal["never"]):
        self.n_beams, self.n_new, self.length_penalty, self.early = n_beams, n_new, length_penalty, early
        self.going = [Hypothesis([], 0.0)]
        self.whole: list[Hypothesis] = []

    def grow(self, candidates: list[Hypothesis], done: Stop) -> list[int]:
        """Take over the candidates, best first, that are whole or may grow; which of them those are that may grow.

        Only the best n_beams may enter as whole ones: a stop that comes lower down is not worth ending with.
        """
        stay = []
        for i, one in enumerate(candidates):
            if len(one.ids) < self.n_new and not done(one.ids):
                if len(stay) < self.n_beams:
                    stay.append(i)
            elif i < self.n_beams:
                self.whole.append(Hypothesis(one.ids, one.score / len(one.ids) ** self.length_penalty))
        self.whole = sorted(self.whole, key=lambda one: -one.score)[: self.n_beams]
        self.going = [candidates[i] for i in stay]
        return stay

    @property
    def done(self) -> bool:
        """Is there nothing to wait for? `beam_search` says when."""
        if not self.going:
            return True
        if len(self.whole) < self.n_beams:
            return False
        grows = self.early == "never" and self.length_penalty > 0
        n = self.n_new if grows else len(self.going[0].ids)
        return self.early is True or self.going[0].score / n**self.length_penalty <= self.whole[-1].score


@torch.no_grad()
def beam_search(
    model: Model,
    prompts: Prompts,
    n_new: int,
    *,
    n_beams: int = 4,
    length_penalty: float = 1.0,
    early: bool | Literal["never"] = False,
    stop: Iterable[int | str] = (),
    decode: Callable[[list[int]], str] | None = None,
    start: Start | None = None,
    keep: list[list[list[Hypothesis]]] | None = None,
) -> list[list[Hypothesis]]:
    """For each prompt up to n_beams answers, best first: ids and score, the prompt not among them.

    At each step every beam is continued by every token, and the n_beams likeliest of all these grow on. One that ends,
    at a stop or at n_new ids, is put aside if it is among the n_beams likeliest. Its score is log p(ids | prompt) /
    len(ids) ^ length_penalty: at 0 short answers win, since each token makes an answer less likely; at 1 the score is
    the mean for each token; above, long ones win. As `transformers` has it; Wu et al. divide by ((5 + n) / 6) ^ alpha.

    early: when a row ends that has n_beams whole answers.
        True      at once
        False     when the best beam, at its present length, would not beat the worst of them. A guess: with a positive
                  length_penalty it might still get better
        "never"   when it could not beat it even if it reached n_new ids and lost nothing on the way

    stop, decode, start: as in `generate`. keep: a list that gets, after each step, the beams of each row that grow on.
    Nothing is drawn here, so there is no temperature and no seed. With n_beams=1 it is greedy decoding.
    Y. Wu et al. (2016), "Google's Neural Machine Translation System", section 7.
    """
    require(isinstance(n_beams, int) and n_beams >= 1, f"n_beams is a whole number, at least 1, not {n_beams!r}")
    require(math.isfinite(length_penalty), f"length_penalty is a finite number, not {length_penalty}")
    require(early in (True, False, "never"), f'early is True, False or "never", not {early!r}')
    prompted, done = read(prompts), Stop(stop, decode)
    state = open_state(model, prompted, n_new, start)
    n_ends = max(1, len(done.ids))  # so many candidates of each beam may end here: more are asked for, so that n stay
    rows = [Row(n_beams, n_new, length_penalty, early) for _ in prompted]
    open_rows = rows
    logits = logits_of(model, last(feed(model, state, prompted), prompted))[:, 0]
    while True:
        check(logits, "the model")
        beams, ids = [], []  # for each beam that grows on: which one it was, and its new id
        first = 0
        for row, log_p in zip(open_rows, logits.log_softmax(-1).split([len(r.going) for r in open_rows]), strict=True):
            came, new = _continue(row, log_p, (1 + n_ends) * n_beams, done)
            if not row.done:
                beams += [first + i for i in came]
                ids += new
            first += len(log_p)
        if keep is not None:
            keep.append([list(row.going) for row in rows])
        open_rows = [row for row in open_rows if not row.done]
        if not open_rows:
            return [row.whole for row in rows]
        state.reorder(torch.tensor(beams, device=logits.device))
        logits = model.step(torch.tensor(ids, device=logits.device).unsqueeze(1), state)[:, 0]


def _continue(row: Row, log_p: Tensor, n_candidates: int, done: Stop) -> tuple[list[int], list[int]]:
    """Grow a row by the best of its continuations, log_p (beams, V): which beam each came from, and its new id."""
    scores = log_p + log_p.new_tensor([one.score for one in row.going]).unsqueeze(1)
    best = scores.flatten().topk(min(n_candidates, scores.numel()))
    found = [(s, *divmod(i, scores.shape[1])) for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
    found = [(s, beam, i) for s, beam, i in found if s > -math.inf]
    stay = row.grow([Hypothesis([*row.going[beam].ids, i], s) for s, beam, i in found], done)
    return [found[i][1] for i in stay], [found[i][2] for i in stay]
