"""Encoder, attention, decoder: one sequence into another, of another length.

    model = Seq2Seq(n_source, n_target, d_embed=64, d_model=128, attention=Multiplicative)
    logits, weights = model(source, target[:, :-1])      teacher forcing: every step at once
    ids = model.greedy(source, n_steps=20)               the likeliest piece at each step
    best = model.beam(source[:1], width=4, n_steps=20)   several hypotheses side by side, the best first

Sources are rows of ids, PAD at the end of the shorter ones. Targets are BOS, pieces, EOS, PAD. What the decoder looks
at is a slot that holds a class: `Additive`, `Multiplicative`, or `Fixed`, which cannot look anywhere in particular.

Shapes: B batch, T decoder step, S source position, C model width, V target vocabulary.

Sources: Sutskever, Vinyals and Le (2014), sequence to sequence learning; Bahdanau, Cho and Bengio (2015), additive
attention and the encoder of two directions; Luong, Pham and Manning (2015), section 3.1, multiplicative attention and
the decoder whose attention comes after the recurrent layer, so that all steps of a known target are computed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.tokens.vocabulary import BOS, EOS, PAD, pad


class Attention(nn.Module):
    """Weights over the source positions for every decoder step: softmax(score(q, k)) over the positions that exist.

    q: (B, T, C), k: (B, S, C), mask: (B, S), True where a piece stands. Returns weights (B, T, S), each row of sum 1.
    """

    def forward(self, q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
        s = self.score(q, k).masked_fill(~mask[:, None, :], float("-inf"))  # B T S
        return s.softmax(dim=-1)

    def score(self, q: Tensor, k: Tensor) -> Tensor:
        """How well each source position fits each step: (B, T, S)."""
        raise NotImplementedError(f"{type(self).__name__} has no score.")


class Additive(Attention):
    """score = v · tanh(W q + U k). Source: Bahdanau, Cho and Bengio (2015), appendix A.1.2."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w = nn.Linear(d_model, d_model)
        self.u = nn.Linear(d_model, d_model, bias=False)
        self.v = nn.Linear(d_model, 1, bias=False)

    def score(self, q: Tensor, k: Tensor) -> Tensor:
        pair = self.w(q)[:, :, None] + self.u(k)[:, None]  # B T S C
        return self.v(torch.tanh(pair))[..., 0]


class Multiplicative(Attention):
    """score = q · W k / sqrt(C). Source: Luong, Pham and Manning (2015), equation 8, "general".

    The division is Vaswani et al.'s (2017): without it the scores of a wide model are so large from the start that
    softmax is all on one position and has no slope left to learn from.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w = nn.Linear(d_model, d_model, bias=False)

    def score(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ self.w(k).transpose(1, 2) / q.shape[-1] ** 0.5


class Fixed(Attention):
    """The same score everywhere: every step gets the same mean of the source. A decoder without attention."""

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def score(self, q: Tensor, k: Tensor) -> Tensor:
        return q.new_zeros(q.shape[0], q.shape[1], k.shape[1])


def reverse_rows(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn the first lengths[b] positions of row b round and leave its padding where it is. x: (B, S, C)."""
    at = torch.arange(x.shape[1], device=x.device)
    source = torch.where(at < lengths[:, None], lengths[:, None] - 1 - at, at)  # B S
    return x.gather(1, source[:, :, None].expand_as(x))


class Encoder(nn.Module):
    """Read the source in both directions. Returns the memory (B, S, C) and the decoder's first state (B, C).

    The second layer reads each row reversed within its own length, so padding comes last for both and no state that is
    used has seen any of it. (Packed sequences do the same; on a CPU they take about three times as long.)
    """

    def __init__(self, n_source: int, d_embed: int, d_model: int, p_drop: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_source, d_embed)
        self.drop = nn.Dropout(p_drop)
        self.onward = nn.GRU(d_embed, d_model // 2, batch_first=True)
        self.back = nn.GRU(d_embed, d_model // 2, batch_first=True)
        self.bridge = nn.Linear(d_model, d_model)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        lengths = (ids != PAD).sum(dim=1)
        x = self.drop(self.embed(ids))
        onward, _ = self.onward(x)
        back = reverse_rows(self.back(reverse_rows(x, lengths))[0], lengths)
        last = onward[torch.arange(len(ids), device=ids.device), lengths - 1]
        state = torch.tanh(self.bridge(torch.cat([last, back[:, 0]], dim=-1)))
        return torch.cat([onward, back], dim=-1), state  # B S C, B C


class Decoder(nn.Module):
    """Write the target: the state asks, the memory answers, and both together give the next piece.

    q = GRU(embed(ids)); c = weights @ memory; logits = W tanh(M [c, q]).

    ids: (B, T), state: (B, C). Returns logits (B, T, V), the last state (B, C) and the weights (B, T, S).
    """

    def __init__(
        self, n_target: int, d_embed: int, d_model: int, attention: type[Attention], p_drop: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_target, d_embed)
        self.drop = nn.Dropout(p_drop)
        self.gru = nn.GRU(d_embed, d_model, batch_first=True)
        self.attention = attention(d_model)
        self.mix = nn.Linear(2 * d_model, d_model)
        self.head = nn.Linear(d_model, n_target)

    def forward(self, ids: Tensor, state: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, state = self.gru(self.drop(self.embed(ids)), state[None])  # B T C, 1 B C
        weights = self.attention(q, memory, mask)  # B T S
        context = weights @ memory  # B T C
        y = torch.tanh(self.mix(torch.cat([context, q], dim=-1)))
        return self.head(self.drop(y)), state[0], weights


@dataclass(frozen=True)
class Hypothesis:
    """A target, finished or not: its pieces, with EOS where it has ended, and the sum of their log-probabilities."""

    ids: tuple[int, ...]
    log_p: float

    def score(self, alpha: float) -> float:
        """log_p / length^alpha: 0 prefers short ones, 1 compares means for each piece."""
        return self.log_p / max(1, len(self.ids)) ** alpha


def expand(log_p: Tensor, so_far: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `width` best ways to go on from n hypotheses: of which (width,), with which piece (width,), and their sums.

    log_p: (n, V), log-probabilities of the next piece; so_far: (n,), the sums until now.
    """
    total = so_far[:, None] + log_p  # n V
    best = total.flatten().topk(min(width, total.numel()))
    return best.indices // log_p.shape[1], best.indices % log_p.shape[1], best.values


class Seq2Seq(nn.Module):
    """An encoder and a decoder, and three ways to use them."""

    def __init__(
        self,
        n_source: int,
        n_target: int,
        d_embed: int = 64,
        d_model: int = 128,
        attention: type[Attention] = Multiplicative,
        p_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if d_model % 2 or d_model < 2:
            raise ValueError(f"d_model={d_model} must be even: half of it reads onward, half of it back.")
        self.encoder = Encoder(n_source, d_embed, d_model, p_drop)
        self.decoder = Decoder(n_target, d_embed, d_model, attention, p_drop)

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher forcing. source: (B, S); target: (B, T), from BOS on. Returns logits (B, T, V), weights (B, T, S)."""
        check_ids(target, self.decoder.embed.num_embeddings, "target")
        memory, state, mask = self.read(source)
        logits, _, weights = self.decoder(target, state, memory, mask)
        return logits, weights

    def read(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The memory, the first state and the mask of a source. ValueError for an empty row, or PAD between pieces."""
        check_ids(source, self.encoder.embed.num_embeddings, "source")
        mask = source != PAD
        if not mask[:, 0].all():
            row = int(mask[:, 0].int().argmin())
            raise ValueError(f"Row {row} of the source is empty, or begins with PAD ({PAD}): padding goes at the end.")
        if (mask[:, 1:] & ~mask[:, :-1]).any():
            raise ValueError(f"PAD ({PAD}) stands between pieces of the source; it may only fill a row at its end.")
        memory, state = self.encoder(source)
        return memory, state, mask

    def step(self, last: Tensor, state: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """One piece on: from the last pieces (B,) to log-probabilities (B, V) of the next, never PAD or BOS."""
        logits, state, _ = self.decoder(last[:, None], state, memory, mask)
        logits[:, :, [PAD, BOS]] = float("-inf")
        return logits[:, 0].log_softmax(dim=-1), state

    @torch.no_grad()
    def greedy(self, source: Tensor, n_steps: int) -> Tensor:
        """The likeliest piece at each step. Returns ids (B, at most n_steps), PAD after each row's EOS."""
        check_count(n_steps, "n_steps")
        memory, state, mask = self.read(source)
        last = torch.full((len(source),), BOS, device=source.device)
        done, rows = torch.zeros_like(last, dtype=torch.bool), []
        while len(rows) < n_steps and not done.all():
            log_p, state = self.step(last, state, memory, mask)
            last = log_p.argmax(dim=-1).masked_fill(done, PAD)
            done = done | (last == EOS)
            rows.append(last)
        return torch.stack(rows, dim=1)

    @torch.no_grad()
    def beam(self, source: Tensor, width: int, n_steps: int, alpha: float = 1.0) -> list[Hypothesis]:
        """Beam search on one source (1, S). Returns up to `width` hypotheses, the best score(alpha) first.

        Live hypotheses all have the same length, so their sums are compared as they are. One that ends leaves the beam
        and makes it narrower; only ended ones, whose lengths differ, need the division by length.
        """
        check_count(width, "width")
        check_count(n_steps, "n_steps")
        if len(source) != 1:
            raise ValueError(
                f"beam takes one source at a time, shape (1, S); this one has shape {tuple(source.shape)}."
            )
        memory, state, mask = self.read(source)
        live, sums, ended = [()], source.new_zeros(1, dtype=memory.dtype), []
        for _ in range(n_steps):
            n = len(live)
            last = torch.tensor([row[-1] if row else BOS for row in live], device=source.device)
            log_p, state = self.step(last, state.expand(n, -1), memory.expand(n, -1, -1), mask.expand(n, -1))
            parents, pieces, sums = expand(log_p, sums, width - len(ended))
            rows = [(*live[p], i) for p, i in zip(parents.tolist(), pieces.tolist(), strict=True)]
            goes_on = (pieces != EOS) & (sums > float("-inf"))
            ended += [Hypothesis(r, s) for r, s in zip(rows, sums.tolist(), strict=True) if r[-1] == EOS]
            live = [row for row, on in zip(rows, goes_on.tolist(), strict=True) if on]
            state, sums = state[parents[goes_on]], sums[goes_on]
            if not live:
                break
        ended += [Hypothesis(r, s) for r, s in zip(live, sums.tolist(), strict=True)]
        return sorted(ended, key=lambda hypothesis: -hypothesis.score(alpha))


def check_ids(ids: Tensor, n: int, name: str) -> None:
    """ValueError unless `ids` is a table of whole numbers from 0 to n - 1 with at least one row and one column."""
    if ids.ndim != 2 or 0 in ids.shape:
        raise ValueError(f"The {name} must have shape (rows, positions), both at least 1; found {tuple(ids.shape)}.")
    if ids.is_floating_point() or ids.min() < 0 or ids.max() >= n:
        raise ValueError(f"The {name}'s ids must be whole numbers from 0 to {n - 1}, its vocabulary; found {ids}.")


def check_count(n: int, name: str) -> None:
    if n < 1:
        raise ValueError(f"{name}={n} must be at least 1.")


class Pairs:
    """Pairs of rows of ids, found by number (`lib.train.Examples`): a batch is padded to its own longest rows.

    Sources are given bare; targets get BOS before and EOS after.
    """

    def __init__(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> None:
        if len(sources) != len(targets) or not sources:
            raise ValueError(f"One target for each source, at least one: found {len(sources)} and {len(targets)}.")
        self.sources = list(sources)
        self.targets = [[BOS, *row, EOS] for row in targets]

    def __len__(self) -> int:
        return len(self.sources)

    def batch(self, indices: Sequence[int], rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        return pad([self.sources[i] for i in indices]), pad([self.targets[i] for i in indices])


def pair_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropy under teacher forcing, summed over the pieces that are not padding, and how many there are."""
    source, target = batch
    logits, _ = model(source, target[:, :-1])
    following = target[:, 1:]
    total = F.cross_entropy(logits.flatten(0, 1), following.flatten(), ignore_index=PAD, reduction="sum")
    return total, (following != PAD).sum()
