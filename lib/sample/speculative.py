"""Speculative decoding: a small model proposes, the large one checks many tokens in one call, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lib.sample.filters import Filter, apply
from lib.sample.generate import Draw, Greedy
from lib.sample.run import Prompts, Rows, Stop, feed, logits_of, open_state, read
from lib.shapes import BT, BTC, require
from lib.stack import Model, State


@dataclass
class Speculated:
    """The answers, and what they took. A token is judged if all those that were drafted before it were accepted."""

    ids: Rows
    n_drafted: int = 0
    n_judged: int = 0
    n_accepted: int = 0
    n_calls: int = 0
    """Of the large model, the one that reads the prompts among them."""

    @property
    def p_accepted(self) -> float:
        """The share of the judged tokens that was accepted, the paper's alpha; 0 where none was drafted."""
        return self.n_accepted / self.n_judged if self.n_judged else 0.0


@torch.no_grad()
def speculate(
    model: Model,
    draft: Model,
    prompts: Prompts,
    n_new: int,
    *,
    n_draft: int = 4,
    filters: Sequence[Filter] = (),
    pick: Greedy | Draw | None = None,
    stop: Iterable[int | str] = (),
    decode: Callable[[list[int]], str] | None = None,
) -> Speculated:
    """What `generate` with the same arguments gives, in fewer calls of `model`; `draft` is a smaller model.

    The draft proposes n_draft tokens, x ~ q, one after the other. The model reads them in one call, which gives its own
    distribution p at each of them, and each is accepted with probability min(1, p(x) / q(x)). At the first that is not,
    a token is drawn from max(p - q, 0), scaled to 1, and the rest is dropped; if all are accepted, one more comes from
    p. So each token has the distribution p: x comes with min(p(x), q(x)) by being accepted, and with what p(x) exceeds
    q(x) by from the second draw. p and q are taken behind the filters. With `Greedy()`, the ids of greedy decoding;
    with `Draw(seed)`, the same distribution as without a draft, though not the same ids.

    ValueError as in `generate`, for n_draft < 1, and where the two models have different vocabularies.
    Y. Leviathan, M. Kalman and Y. Matias (2023), "Fast Inference from Transformers via Speculative Decoding", algorithm
    1; C. Chen et al. (2023), "Accelerating Large Language Model Decoding with Speculative Sampling", algorithm 2.
    """
    require(isinstance(n_draft, int) and n_draft >= 1, f"n_draft is a whole number, at least 1, not {n_draft!r}")
    V, drafts_from = model.spec.n_vocab, draft.spec.n_vocab
    other = f"the draft's vocabulary has {drafts_from} entries and the model's {V}: ids would mean different things"
    require(V == drafts_from, other)
    pick, done = Greedy() if pick is None else pick, Stop(stop, decode)
    dice = pick if isinstance(pick, Draw) else Draw(0)  # greedy shares are 0 and 1: all dice fall alike
    texts = read(prompts)
    large, small = (Reader(one, open_state(one, texts, n_new, None)) for one in (model, draft))
    found = Speculated([[] for _ in texts])
    going = list(range(len(texts)))
    while True:
        n = [min(n_draft, n_new - len(found.ids[row]) - 1) for row in going]
        seen = pad_sequence([torch.tensor(text) for text in texts], batch_first=True, padding_value=-1)
        seen = seen.to(model.body.embed.tokens.weight.device)
        ids, q = _propose(small, texts, n, seen, filters, pick, dice)
        new, n_accepted, n_judged = _judge(large, texts, n, ids, q, seen, filters, pick, dice)
        found.n_calls += 1
        found.n_drafted, found.n_judged = found.n_drafted + sum(n), found.n_judged + n_judged
        found.n_accepted += n_accepted
        stay = []
        for i, row in enumerate(going):
            for token in new[i]:
                found.ids[row].append(token)
                texts[i].append(token)
                if done(found.ids[row]) or len(found.ids[row]) == n_new:
                    break
            else:
                stay.append(i)
        if not stay:
            return found
        going, texts = [going[i] for i in stay], [texts[i] for i in stay]
        for reader in (large, small):
            reader.go_on(stay, [len(text) - 1 for text in texts])


class Reader:
    """A model, and how much of each text it has read."""

    def __init__(self, model: Model, state: State):
        self.model, self.state = model, state

    def unread(self, texts: Rows) -> Rows:
        return [text[n:] for text, n in zip(texts, self.state.caches[0].n.tolist(), strict=True)]

    def read(self, rows: Rows, at: Tensor) -> Tensor:
        """Read new ids in each row; the logits behind those at the indices `at` (B, N): (B, N, V)."""
        y: BTC = feed(self.model, self.state, rows)
        return logits_of(self.model, y.take_along_dim(at.to(y.device).unsqueeze(-1), dim=1))

    def go_on(self, rows: list[int], n: list[int]) -> None:
        """Only these rows go on, and of each at most its first n ids count as read."""
        index = torch.tensor(rows, device=self.state.caches[0].n.device)
        self.state.reorder(index)
        self.state.rewind(n)


def _propose(
    small: Reader, texts: Rows, n: list[int], seen: BT, filters: Sequence[Filter], pick: Greedy | Draw, dice: Draw
) -> tuple[BT, Tensor]:
    """n[b] drafted ids for each row, (B, N), and the distributions that they came from, (B, N, V); 0 beyond n[b]."""
    longer, ids, shares = [list(text) for text in texts], [], []
    for j in range(max(n)):
        rows = [row if j < n[b] else [] for b, row in enumerate(small.unread(longer))]
        logits = small.read(rows, torch.tensor([[max(len(row) - 1, 0)] for row in rows]))[:, 0]
        q = pick.shares(apply(filters, logits, torch.cat((seen, *(x.unsqueeze(1) for x in ids)), dim=1)))
        x = dice.take(q)
        proposes = torch.tensor([j < most for most in n], device=x.device)
        ids.append(x)
        shares.append(q * proposes.unsqueeze(1))
        for row, token, more in zip(longer, x.tolist(), proposes.tolist(), strict=True):
            row += [token] * more
    if not ids:
        return seen[:, :0], torch.zeros(len(texts), 0, small.model.spec.n_vocab, device=seen.device)
    return torch.stack(ids, dim=1), torch.stack(shares, dim=1)


def _judge(
    large: Reader, texts: Rows, n: list[int], ids: BT, q: Tensor, seen: BT, filters: Sequence[Filter],
    pick: Greedy | Draw, dice: Draw,
) -> tuple[Rows, int, int]:  # fmt: skip
    """The tokens that each row gets: drafted ones as long as they are accepted, then one of the model's own.

    Also how many were accepted, and how many were judged.
    """
    N, device = ids.shape[1], seen.device
    rows = [row + drafted[:most] for row, drafted, most in zip(large.unread(texts), ids.tolist(), n, strict=True)]
    at = torch.tensor(
        [[len(row) - 1 - most + min(j, most) for j in range(N + 1)] for row, most in zip(rows, n, strict=True)]
    )
    logits = large.read(rows, at)
    n_drafted = torch.tensor(n, device=device)
    ids, q = F.pad(ids, (0, 1)), F.pad(q, (0, 0, 0, 1))  # behind the drafted ones stands a token that has no q
    going = torch.ones(len(texts), dtype=torch.bool, device=device)
    new: Rows = [[] for _ in texts]
    n_accepted = n_judged = 0
    for j in range(N + 1):
        p = pick.shares(apply(filters, logits[:, j], torch.cat((seen, ids[:, :j]), dim=1)))
        judged = going & (j < n_drafted)
        chance = torch.rand(len(texts), generator=dice.generator(device), device=device, dtype=p.dtype)
        x = ids[:, j : j + 1]
        accepted = judged & (chance * q[:, j].gather(1, x)[:, 0] < p.gather(1, x)[:, 0])
        rest = (p - q[:, j]).clamp(min=0)
        rest = torch.where(rest.sum(1, keepdim=True) > 0, rest, p)  # p = q, up to rounding: then x is accepted
        token = torch.where(accepted, ids[:, j], dice.take(rest))
        for row, t, goes in zip(new, token.tolist(), going.tolist(), strict=True):
            row += [t] * goes
        n_judged, n_accepted = n_judged + int(judged.sum()), n_accepted + int(accepted.sum())
        going = accepted
    return new, n_accepted, n_judged
