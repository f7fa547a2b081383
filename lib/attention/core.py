"""The readable reference: scaled dot-product attention, and the layer with several heads around it.

    y = Attention(d_model=64, n_heads=8, n_groups=2, mask=causal, pos=Rotary(8))(x)          # B T C -> B T C

`weights` and `attend` make every number of the table B H T S, so time and memory grow with T S. Faster ways to the same
answer are tested against these two. Letters of the axes: lib/shapes.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.attention import masks, scores
from lib.attention.decode import Cache, Lengths
from lib.layers.pos import Position
from lib.shapes import BGSD, BHTD, BHTS, BSC, BTC, Mask, Score, require

Pair = tuple[Tensor, Tensor]
"""Keys and values, (B, G, S, D) each."""


def weights(
    q: BHTD,
    k: BGSD,
    mask: Mask = masks.full,
    score: Score = scores.same,
    scale: float | None = None,
    sinks: Tensor | None = None,
) -> BHTS:
    """How much each query takes of each key: w = softmax(score(scale q k^T)) over the keys that `mask` allows.

    scale: 1 / sqrt(D) if None. Head h of the queries asks head h // (H / G) of the keys. The weights of a query add up
    to 1; of a query that may attend to nothing they are all 0, and so is every gradient that passes through them.
    ValueError for shapes, dtypes or devices that do not fit. A. Vaswani et al. (2017), "Attention Is All You Need",
    section 3.2.1; grouped heads: J. Ainslie et al. (2023), "GQA", section 2.2.

    sinks: (H,), for each head the score of one more key, which has no value: what it takes of the 1 goes nowhere, so
    that a head can stay silent. OpenAI (2025), "gpt-oss-120b & gpt-oss-20b Model Card", section 2.3.
    """
    check(q, k, sinks=sinks)
    (B, H, T, D), S = q.shape, k.shape[2]
    s = q * (1 / math.sqrt(D) if scale is None else scale) @ for_each_head(k, H).mT  # B H T S
    if score is not scores.same:
        s = score(s, *masks.indices(B, H, T, S, q.device))
    if mask is not masks.full:
        allowed = masks.table(mask, B, H, T, S, q.device)
        s = s + torch.where(allowed, 0.0, -math.inf).to(s.dtype)  # a small table; to add it is cheaper than to choose
    if sinks is not None:
        s = torch.cat((s, sinks.to(s.dtype)[:, None, None].expand(B, H, T, 1)), dim=-1)  # B H T S+1
    if mask not in (masks.full, masks.causal) or score is not scores.same:  # a query may be left without a key
        nothing = s.amax(-1, keepdim=True) == -math.inf  # softmax would divide 0 by 0
        if torch.compiler.is_compiling() or nothing.any():
            return s.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)[..., :S]
    return s.softmax(-1)[..., :S]


def attend(
    q: BHTD,
    k: BGSD,
    v: BGSD,
    mask: Mask = masks.full,
    score: Score = scores.same,
    scale: float | None = None,
    p_dropout: float = 0.0,
    sinks: Tensor | None = None,
) -> BHTD:
    """Each query's weighted mean of the values, y = w v, with w from `weights`. v may be of another width than k.

    p_dropout: the share of the weights that is set to 0, the others growing by 1 / (1 - p_dropout); 0 in evaluation.
    """
    check(q, k, v)
    w = F.dropout(weights(q, k, mask, score, scale, sinks), p_dropout)
    return w @ for_each_head(v, q.shape[1])  # B H T D


class Attention(nn.Module):
    """Multi-head attention: y = out(heads), head_i = attend(q_i, k_i, v_i), with q from x and k, v from memory, or x.

    Slots hold classes and functions:
    linear      makes the four projections, called as linear(d_in, d_out, bias=bias)
    pos         what turns queries and keys by their positions: `Rotary(d_head)`; the default leaves them
    mask        who may ever attend to whom: `causal` in a decoder; a call may narrow it, for padding
    score       what is done to a score before the softmax; one that learns is a module, and trains with the layer
    attend      how the answer is computed: the reference above, or `backends.attention`, which takes the fastest way
    sinks       for each head a score that learns, `nn.Parameter(torch.zeros(n_heads))`: see `weights`

    n_groups: G, heads of keys and values. H is multi-head, 1 is multi-query (N. Shazeer (2019), "Fast Transformer
    Decoding"), and what lies between is grouped-query attention. d_head: d_model / n_heads if None. d_memory: width of
    `memory`, d_model if None. scale: 1 / sqrt(d_head) if None. ValueError for sizes that do not divide.
    A. Vaswani et al. (2017), "Attention Is All You Need", section 3.2.2.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_groups: int | None = None,
        d_head: int | None = None,
        *,
        d_memory: int | None = None,
        bias: bool = True,
        linear: Callable[..., nn.Module] = nn.Linear,
        pos: Position | None = None,
        mask: Mask = masks.full,
        score: Score = scores.same,
        attend: Callable[..., Tensor] = attend,
        sinks: nn.Parameter | None = None,
        scale: float | None = None,
        p_dropout: float = 0.0,
    ):
        super().__init__()
        n_groups = n_heads if n_groups is None else n_groups
        require(min(d_model, n_heads, n_groups) >= 1, f"sizes are at least 1: {d_model=}, {n_heads=}, {n_groups=}")
        require(n_heads % n_groups == 0, f"n_heads={n_heads} is not a multiple of n_groups={n_groups}")
        if d_head is None:
            fits = f"d_model={d_model} is not a multiple of n_heads={n_heads}: change one of them, or give d_head"
            require(d_model % n_heads == 0, fits)
            d_head = d_model // n_heads
        require(d_head >= 1, f"d_head is at least 1, not {d_head}")
        require(0 <= p_dropout < 1, f"p_dropout is a probability below 1, not {p_dropout}")
        self.d_model, self.d_head, self.d_memory = d_model, d_head, d_model if d_memory is None else d_memory
        self.scale, self.p_dropout = scale, p_dropout
        self.pos = Position() if pos is None else pos
        self.mask, self.score, self.attend, self.sinks = mask, score, attend, sinks
        self.q = linear(d_model, n_heads * d_head, bias=bias)
        self.k = linear(self.d_memory, n_groups * d_head, bias=bias)
        self.v = linear(self.d_memory, n_groups * d_head, bias=bias)
        self.out = linear(n_heads * d_head, d_model, bias=bias)

    def forward(
        self,
        x: BTC,
        memory: BSC | Pair | None = None,
        mask: Mask = masks.full,
        cache: Cache | None = None,
        lengths: Lengths | None = None,
    ) -> BTC:
        """x (B, T, d_model), memory (B, S, d_memory) or None for x itself -> (B, T, d_model).

        memory: may also be what `read(memory)` returned, where call after call asks the same one, as in decoding.
        mask: narrows the layer's own. cache: x continues the sequences that it holds; positions in masks and scores are
        counted from their beginning. lengths: (B,), how many of the T new positions of each sequence count, with a
        cache only; the others are kept nowhere, and no other position depends on them.
        """
        q, k, v, mask, score = self._heads(x, memory, mask, cache, lengths)
        p_dropout = self.p_dropout if self.training else 0.0
        y = self.attend(q, k, v, mask, score, self.scale, p_dropout, sinks=self.sinks)
        return self.out(y.transpose(1, 2).flatten(2))  # B H T D -> B T C

    def read(self, memory: BSC) -> Pair:
        """Keys and values of a memory (B, S, d_memory), turned by their positions in it: (B, G, S, d_head) each."""
        self._check("memory", memory, self.d_memory)
        k_at = torch.arange(memory.shape[1], device=memory.device)
        return self.pos.on_heads(self._split(self.k(memory)), k_at), self._split(self.v(memory))

    def weights(self, x: BTC, memory: BSC | Pair | None = None, mask: Mask = masks.full) -> BHTS:
        """The weights that `forward` uses for the same input, before dropout: (B, H, T, S).

        In a larger model, a hook finds them, with whatever arguments the layer is called:

            def keep(layer, args, kwargs, y):
                found.append(layer.weights(*args, **kwargs))

            layer.register_forward_hook(keep, with_kwargs=True)
        """
        q, k, _, mask, score = self._heads(x, memory, mask, None, None)
        return weights(q, k, mask, score, self.scale, self.sinks)

    def _heads(
        self, x: BTC, memory: BSC | Pair | None, mask: Mask, cache: Cache | None, lengths: Lengths | None
    ) -> tuple[BHTD, BGSD, BGSD, Mask, Score]:
        """Queries, keys and values in heads, turned by their positions; the mask and the score that go with them."""
        self._check("x", x, self.d_model)
        require(cache is None or memory is None, "a cache is for self-attention: its keys come from x, not from memory")
        require(cache is not None or lengths is None, "lengths go with a cache; without one, use mask=padding(lengths)")
        q, mask, score = self._split(self.q(x)), masks.narrowed(self.mask, mask), self.score
        T = x.shape[1]
        at = torch.arange(T, device=x.device) if cache is None else cache.next_positions(len(x), T, lengths)
        turn = self.pos.turn(at, q)
        if memory is not None:
            k, v = memory if isinstance(memory, tuple) else self.read(memory)
            return turn(q), k, v, mask, score
        self._check("memory", x, self.d_memory)
        q, k, v = turn(q), turn(self._split(self.k(x))), self._split(self.v(x))
        if cache is None:
            return q, k, v, mask, score
        k, v, k_at = cache.extend(k, v, at)
        newest = mask is masks.causal and x.shape[1] == 1 and cache.n_all == k.shape[2]
        mask = masks.full if newest else masks.moved(mask, at, k_at)  # the newest of each row sees all before it
        return q, k, v, mask, score if score is scores.same else scores.moved(score, at, k_at)

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, n d_head) -> (B, n, T, d_head). The width is cut into heads first; a reshape alone would mix them."""
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)

    @staticmethod
    def _check(name: str, x: Tensor, d: int) -> None:
        fits = x.dim() == 3 and x.shape[-1] == d
        require(fits, f"{name} has 3 axes, sequences x positions x {d}, not the shape {tuple(x.shape)}")


def for_each_head(x: BGSD, H: int) -> Tensor:
    """Each of the G heads H / G times, neighbours together: (B, G, S, D) -> (B, H, S, D)."""
    return x.repeat_interleave(H // x.shape[1], dim=1)


def check(q: Tensor, k: Tensor, v: Tensor | None = None, sinks: Tensor | None = None) -> None:
    """ValueError unless q (B, H, T, D), k (B, G, S, D), v (B, G, S, any) and sinks (H,) go together."""
    problem = _misfit(q, k, k if v is None else v, sinks)
    if problem:
        given = {"q": q, "k": k, "v": v, "sinks": sinks}
        found = (f"{name} {tuple(x.shape)} {x.dtype} on {x.device}" for name, x in given.items() if x is not None)
        raise ValueError(f"{problem}: got {', '.join(found)}")


def _misfit(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor | None) -> str:
    """What does not fit, or nothing. Attention is called in every layer, so no message is made before it is needed."""
    if not q.dim() == k.dim() == v.dim() == 4:
        return "q, k and v have 4 axes, B H T D"
    if min(q.numel(), k.numel(), v.numel()) == 0:
        return "no axis may be empty"
    if not q.shape[0] == k.shape[0] == v.shape[0]:
        return "q, k and v must hold the same number of sequences"
    if q.shape[3] != k.shape[3]:
        return "queries and keys are multiplied, so they must be equally wide"
    if k.shape[1:3] != v.shape[1:3]:
        return "each key needs one value, in as many heads"
    if q.shape[1] % k.shape[1]:
        return "the heads of q must be a multiple of those of k and v"
    if not q.dtype == k.dtype == v.dtype:
        return "dtypes differ"
    if not q.dtype.is_floating_point:
        return "q, k and v are floating-point numbers: convert them first"
    if not q.device == k.device == v.device:
        return "devices differ"
    if sinks is None:
        return ""
    if not (sinks.shape == q.shape[1:2] and sinks.is_floating_point()):
        return f"sinks are {q.shape[1]} floating-point numbers, one for each head of q"
    return "" if sinks.device == q.device else "devices differ"
