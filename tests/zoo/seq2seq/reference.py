"""References for `lib.zoo.seq2seq`: torch's packed GRU; cells and loops on one row at a time; all targets there are."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lib.tokens.vocabulary import BOS, EOS, PAD, pad
from lib.zoo.seq2seq import Additive, Attention, Encoder, Fixed, Multiplicative, Pairs, Seq2Seq, pair_loss
from tests.claims import difference

ATTENTIONS: tuple[type[Attention], ...] = (Additive, Multiplicative, Fixed)


def shaken(module: nn.Module, rng: Generator) -> nn.Module:
    """The module in float64, every parameter from N(0, 0.2)."""
    module = module.double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(rng.normal(0, 0.2, p.shape)))
    return module


def ragged(rng: Generator, n_ids: int, longest: int = 7) -> list[list[int]]:
    """A few rows of ids, of unequal lengths from 1 on."""
    return [rng.integers(3, n_ids, rng.integers(1, longest + 1)).tolist() for _ in range(rng.integers(2, 5))]


def worst(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(difference(a.detach().numpy(), b.detach().numpy()) for a, b in zip(ours, theirs, strict=True))


def gradients(module: nn.Module, y: Tensor) -> list[Tensor]:
    """Of a fixed mixture of y's entries with respect to every parameter."""
    mixture = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum()
    found = torch.autograd.grad(mixture, list(module.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, module.parameters(), strict=True)]


def score(attention: Attention, q: Tensor, k: Tensor) -> Tensor:
    """The score of one query (C,) for one key (C,), from the papers' formulas."""
    if isinstance(attention, Additive):
        return attention.v.weight[0] @ torch.tanh(attention.w.weight @ q + attention.w.bias + attention.u.weight @ k)
    if isinstance(attention, Multiplicative):
        return q @ (attention.w.weight @ k) / np.sqrt(len(q))
    return q.new_zeros(())


def weights_of_row(attention: Attention, q: Tensor, k: Tensor) -> Tensor:
    """Weights (T, S) of the queries (T, C) of one row over its real positions (S, C), one number at a time."""
    rows = []
    for q_t in q:
        e = torch.stack([torch.exp(score(attention, q_t, k_s)) for k_s in k])
        rows.append(e / e.sum())
    return torch.stack(rows)


def attention_error(cls: type[Attention], rng: Generator) -> float:
    b, t, s, d = (int(rng.integers(low, low + 3)) for low in (2, 2, 4, 3))
    attention = shaken(cls(d), rng)
    q, k = (torch.from_numpy(rng.normal(size=(b, n, d))) for n in (t, s))
    lengths = [s, *rng.integers(1, s + 1, b - 1).tolist()]
    mask = torch.arange(s) < torch.tensor(lengths)[:, None]
    ours = attention(q, k, mask)
    rows = [weights_of_row(attention, q[i], k[i, :n]) for i, n in enumerate(lengths)]
    theirs = torch.stack([F.pad(row, (0, s - row.shape[1])) for row in rows])
    if cls is Fixed:
        return worst([ours], [theirs])
    return worst([ours, *gradients(attention, ours)], [theirs, *gradients(attention, theirs)])


def encoder_error(rng: Generator) -> float:
    n_ids, d_embed, d_model = int(rng.integers(5, 9)), int(rng.integers(2, 5)), 2 * int(rng.integers(2, 5))
    encoder = shaken(Encoder(n_ids, d_embed, d_model), rng)
    twin = nn.GRU(d_embed, d_model // 2, batch_first=True, bidirectional=True).double()
    for p, q in zip(twin.parameters(), [*encoder.onward.parameters(), *encoder.back.parameters()], strict=True):
        p.data = q.data
    ids = pad(ragged(rng, n_ids))
    lengths = (ids != PAD).sum(1)
    packed = pack_padded_sequence(encoder.embed(ids), lengths, batch_first=True, enforce_sorted=False)
    memory, last = twin(packed)
    memory, _ = pad_packed_sequence(memory, batch_first=True)
    state = torch.tanh(encoder.bridge(torch.cat([last[0], last[1]], dim=-1)))
    our_memory, our_state = encoder(ids)
    our_memory = our_memory * (ids != PAD)[:, :, None]
    ours, theirs = (
        torch.cat([our_memory.flatten(), our_state.flatten()]),
        torch.cat([memory.flatten(), state.flatten()]),
    )
    joined = nn.ModuleList([encoder.onward, encoder.back])
    return worst([ours, *gradients(joined, ours)], [theirs, *gradients(twin, theirs)])


def logits_of_row(model: Seq2Seq, source: list[int], inputs: list[int]) -> Tensor:
    """The logits (T, V) of one row without padding: GRU cells step by step, and attention in loops."""
    encoder, decoder = model.encoder, model.decoder
    embedded = [encoder.embed.weight[i] for i in source]

    def read(gru: nn.GRU, rows: list[Tensor], h: Tensor) -> list[Tensor]:
        states = []
        for x in rows:
            h = torch.gru_cell(x[None], h[None], gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)[0]
            states.append(h)
        return states

    zero = embedded[0].new_zeros(encoder.onward.hidden_size)
    onward, back = read(encoder.onward, embedded, zero), read(encoder.back, embedded[::-1], zero)
    memory = torch.stack([torch.cat(pair) for pair in zip(onward, back[::-1], strict=True)])
    state = torch.tanh(encoder.bridge(torch.cat([onward[-1], back[-1]])))
    q = torch.stack(read(decoder.gru, [decoder.embed.weight[i] for i in inputs], state))
    context = weights_of_row(decoder.attention, q, memory) @ memory
    return decoder.head(torch.tanh(decoder.mix(torch.cat([context, q], dim=-1))))


def random_model(cls: type[Attention], rng: Generator, n_target: int = 7) -> tuple[Seq2Seq, int]:
    n_source = int(rng.integers(5, 9))
    return shaken(Seq2Seq(n_source, n_target, int(rng.integers(2, 5)), 2 * int(rng.integers(2, 4)), cls), rng), n_source


def model_error(cls: type[Attention], rng: Generator) -> float:
    """Loss under teacher forcing and its gradients, a padded batch beside one row at a time."""
    model, n_source = random_model(cls, rng)
    sources = ragged(rng, n_source)
    targets = [rng.integers(3, 7, rng.integers(1, 6)).tolist() for _ in sources]
    pairs = Pairs(sources, targets)
    total, count = pair_loss(model, pairs.batch(range(len(pairs))))
    losses = []
    for source, target in zip(sources, targets, strict=True):
        log_p = logits_of_row(model, source, [BOS, *target]).log_softmax(-1)
        losses += [-log_p[t, i] for t, i in enumerate([*target, EOS])]
    assert count == len(losses)
    theirs = torch.stack(losses).sum()
    return worst([total, *gradients(model, total)], [theirs, *gradients(model, theirs)])


def log_p_of(model: Seq2Seq, source: list[int], ids: tuple[int, ...]) -> float:
    """The log-probability of a target, where PAD and BOS are never written; step by step, one row."""
    z = logits_of_row(model, source, [BOS, *ids[:-1]])
    z = z.index_fill(1, torch.tensor([PAD, BOS]), -torch.inf)
    return sum(float(z.log_softmax(-1)[t, i].detach()) for t, i in enumerate(ids))


def every_target(n_target: int, n_steps: int) -> list[tuple[int, ...]]:
    """All targets of at most n_steps pieces that end in EOS, and those of n_steps pieces that have not ended."""
    plain = range(EOS + 1, n_target)
    ended = [(*row, EOS) for n in range(n_steps) for row in product(plain, repeat=n)]
    return ended + list(product(plain, repeat=n_steps))


def beam_error(rng: Generator) -> float:
    """A beam wide enough to keep everything, beside every target there is: the same ones, with the same sums."""
    model, n_source = random_model(Additive, rng, n_target=int(rng.integers(4, 6)))
    source, n_steps = rng.integers(3, n_source, rng.integers(1, 5)).tolist(), int(rng.integers(1, 4))
    alpha = float(rng.choice([0.0, 0.7, 1.0]))
    targets = every_target(model.decoder.head.out_features, n_steps)
    wanted = {ids: log_p_of(model, source, ids) for ids in targets}
    found = model.beam(torch.tensor([source]), width=1_000, n_steps=n_steps, alpha=alpha)
    assert {h.ids for h in found} == set(wanted), "the beam has other hypotheses than there are targets"
    best = max(wanted, key=lambda ids: wanted[ids] / len(ids) ** alpha)
    assert found[0].ids == best, f"the beam's best is {found[0].ids}, of all targets {best} is"
    return max(abs(h.log_p - wanted[h.ids]) / max(1.0, abs(wanted[h.ids])) for h in found)


def greedy_error(rng: Generator) -> float:
    """Greedy decoding of a padded batch beside a beam of width 1 on each row, and the sums beside the twin's."""
    model, n_source = random_model(Multiplicative, rng)
    sources, found = ragged(rng, n_source), 0.0
    for source, row in zip(sources, model.greedy(pad(sources), 6).tolist(), strict=True):
        best = model.beam(torch.tensor([source]), width=1, n_steps=6)[0]
        ids = row[: row.index(EOS) + 1] if EOS in row else row
        assert best.ids == tuple(ids), f"greedy wrote {ids}, a beam of width 1 {best.ids}"
        found = max(found, abs(best.log_p - log_p_of(model, source, best.ids)))
    return found
