"""Contrastive search: likely, but unlike what stands there already."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F

from lib.sample.filters import check
from lib.sample.run import Prompts, Rows, Start, Stop, feed, last, logits_of, open_state, read
from lib.shapes import require
from lib.stack import Model


@torch.no_grad()
def contrastive_search(
    model: Model,
    prompts: Prompts,
    n_new: int,
    *,
    k: int = 4,
    alpha: float = 0.6,
    stop: Iterable[int | str] = (),
    decode: Callable[[list[int]], str] | None = None,
    start: Start | None = None,
) -> Rows:
    """The ids that continue each prompt, each of them the best of the k likeliest tokens v:

        score(v) = (1 - alpha) p(v | the ids so far) - alpha max_j cos(h_v, h_j)

    h_v is the last hidden state of v, read as the next token, h_j that of each id before it. A token that leads the
    model back to where it was gets a state like an earlier one, and loses for it: so text does not go round in circles.
    k=1 or alpha=0 is greedy decoding. Each step reads k tokens for each row, to see their states.

    stop, decode, start: as in `generate`. ValueError for k < 1 and for alpha outside 0 to 1.
    Y. Su et al. (2022), "A Contrastive Framework for Neural Text Generation", section 3.2, equation 5.
    """
    require(isinstance(k, int) and k >= 1, f"k is a whole number of candidates, at least 1, not {k!r}")
    require(0 <= alpha <= 1, f"alpha, the weight of what is new, is from 0 to 1, not {alpha}")
    rows, done = read(prompts), Stop(stop, decode)
    k = min(k, model.spec.n_vocab)
    state = open_state(model, rows, n_new, start, n_read=n_new)
    y = feed(model, state, rows)
    logits = logits_of(model, last(y, rows))[:, 0]
    n = torch.tensor([len(row) for row in rows], device=y.device)
    there = torch.arange(y.shape[1], device=y.device) < n.unsqueeze(1)  # B T: is there an id?
    states = F.normalize(y, dim=-1)
    going, answers = list(range(len(rows))), [[] for _ in rows]
    while True:
        check(logits, "the model")
        p, ids = logits.softmax(-1).topk(k)  # B k
        B = len(going)
        state.reorder(torch.arange(B, device=y.device).repeat_interleave(k))
        y = model.body.step(ids.view(B * k, 1), state)
        fresh = F.normalize(y, dim=-1).view(B, k, -1)
        likeness = (fresh @ states.mT).masked_fill(~there.unsqueeze(1), -1).amax(-1)  # B k
        best = ((1 - alpha) * p - alpha * likeness).argmax(-1)
        stay = []
        for i, (row, new) in enumerate(zip(going, ids.gather(1, best.unsqueeze(1)).flatten().tolist(), strict=True)):
            answers[row].append(new)
            if len(answers[row]) < n_new and not done(answers[row]):
                stay.append(i)
        if not stay:
            return answers
        rows_on = torch.tensor(stay, device=y.device)
        going, chosen = [going[i] for i in stay], rows_on * k + best[rows_on]
        state.reorder(chosen)
        logits = logits_of(model, y[chosen])[:, 0]
        states = torch.cat((states[rows_on], fresh[rows_on, best[rows_on]].unsqueeze(1)), dim=1)
        there = F.pad(there[rows_on], (0, 1), value=True)
