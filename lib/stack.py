"""One skeleton for every model: blocks, stacks of them, and what decoding keeps between steps.

    model = Model(get("transformer"))
    logits = model(source, target, padding(lengths))      an encoder-decoder; model(ids) where there is one stack
    states = []
    logits = model(ids, keep=states)                      all hidden states, n_layers + 1 for each stack
    state = model.start(n_rows, size)                     or start(source, size, padding(lengths)), which reads it once
    logits = model.step(ids, state)                       the new tokens alone; no_grad

Parts fit into each other so; each level is a slot of the specification (lib/spec.py) and can be exchanged alone:

    Model        body, then head; the first values of all parameters
    body         `Single`, `EncoderDecoder` or `TwoTables`: embeddings and stacks
    Stack        n_layers blocks and a final norm
    block        `Block` (mix, feed-forward) or `CrossBlock` (mix, look at a memory, feed-forward)
    residual     `PreNorm` or `PostNorm`: how a sublayer's answer joins the stream
    mix          `attention`, or anything with its forward

B, T, S, C, V as in lib/shapes.py. A mask that is given to a call narrows the model's own, for padding or for packed
documents. A. Vaswani et al. (2017), "Attention Is All You Need", sections 3 and 5.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lib.attention import masks, scores
from lib.attention.core import Attention, Pair
from lib.attention.decode import Cache, Lengths
from lib.layers.embed import nothing
from lib.layers.pos import Learned
from lib.shapes import BSC, BT, BTC, Mask, Score, require

if TYPE_CHECKING:
    from lib.spec import Spec

# --- values of `mix`, `score` and `residual` -------------------------------------------------------------------------


def attention(spec: Spec) -> Attention:
    """Multi-head attention as the specification has it."""
    s = spec
    slots: dict[str, Any] = {"pos": s.turn(s), "mask": s.mask, "score": s.score(s), "attend": s.attend}
    return Attention(s.d_model, s.n_heads, s.n_groups, bias=s.bias, p_dropout=s.p_attend, **slots)


def same(spec: Spec) -> Score:
    """The score as it is."""
    return scores.same


class PreNorm(nn.Module):
    """y = x + drop(f(norm(x))): the stream itself passes through no norm, from the first block to the last.

    A final norm belongs to it. R. Xiong et al. (2020), "On Layer Normalization in the Transformer Architecture".
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.norm = spec.norm(spec.d_model, eps=spec.eps)
        self.drop = nn.Dropout(spec.p_dropout)

    def forward(self, x: BTC, f: Callable[[BTC], BTC]) -> BTC:
        return x + self.drop(f(self.norm(x)))


class PostNorm(PreNorm):
    """y = norm(x + drop(f(x))): the sum is normed, so the stream passes through every norm. The original of 2017."""

    def forward(self, x: BTC, f: Callable[[BTC], BTC]) -> BTC:
        return self.norm(x + self.drop(f(x)))


# --- blocks and stacks -----------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Mix positions, then work on each by itself; each answer joins the stream through a residual of its own."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.mix, self.add_mix = spec.mix(spec), spec.residual(spec)
        self.ff = spec.ff(spec.d_model, spec.d_ff, act=spec.act, bias=spec.bias)
        self.add_ff = spec.residual(spec)

    def forward(self, x: BTC, mask: Mask, cache: Cache | None = None, lengths: Lengths | None = None) -> BTC:
        x = self.add_mix(x, lambda x: self.mix(x, mask=mask, cache=cache, lengths=lengths))
        return self.add_ff(x, self.ff)


class CrossBlock(Block):
    """A block that looks at a memory between mixing and feeding forward: queries from x, keys and values from memory.

    memory: what `self.cross.read` returned, or the memory itself. Who may look where in it: memory_mask, with its
    positions as keys.
    """

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.cross = spec.mix(spec.but(mask=masks.full, score=same, turn=nothing))
        self.add_cross = spec.residual(spec)

    def forward(
        self,
        x: BTC,
        mask: Mask,
        cache: Cache | None = None,
        lengths: Lengths | None = None,
        memory: Pair | BSC | None = None,
        memory_mask: Mask = masks.full,
    ) -> BTC:
        require(memory is not None, "this block looks at a memory: give it one")
        x = self.add_mix(x, lambda x: self.mix(x, mask=mask, cache=cache, lengths=lengths))
        x = self.add_cross(x, lambda x: self.cross(x, memory, mask=memory_mask))
        return self.add_ff(x, self.ff)


class Stack(nn.Module):
    """n_layers blocks, then the final norm: (B, T, C) -> (B, T, C)."""

    blocks: Any  # an nn.ModuleList of what spec.block makes

    def __init__(self, spec: Spec):
        super().__init__()
        self.blocks = nn.ModuleList(spec.block(spec) for _ in range(spec.n_layers))
        self.final = spec.final(spec.d_model, eps=spec.eps)

    def forward(
        self,
        x: BTC,
        mask: Mask = masks.full,
        caches: list[Cache] | None = None,
        lengths: Lengths | None = None,
        memory: list[Pair] | None = None,
        memory_mask: Mask = masks.full,
        keep: list[BTC] | None = None,
    ) -> BTC:
        """caches, memory: one for each block. lengths: with caches, as in `Attention.forward`.

        keep: a list that gets x, what each block but the last returned, and the answer.
        """
        for i, block in enumerate(self.blocks):
            if keep is not None:
                keep.append(x)
            look = {} if memory is None else {"memory": memory[i], "memory_mask": memory_mask}
            x = block(x, mask, None if caches is None else caches[i], lengths, **look)
        y = self.final(x)
        if keep is not None:
            keep.append(y)
        return y


# --- values of `body` ------------------------------------------------------------------------------------------------


@dataclass
class State:
    """What decoding keeps between steps: each block's cache and, with an encoder, what each block reads of the source.

    Any kind of cache will do, for example State([SlidingCache(...) for _ in range(n_layers)]).
    """

    caches: list[Cache]
    memory: list[Pair] | None = None
    memory_mask: Mask = masks.full

    def reorder(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was, in every part. Rows may repeat, as in beam search, or go."""
        for cache in self.caches:
            cache.reorder(rows)
        if self.memory is not None:
            self.memory = [(k[rows], v[rows]) for k, v in self.memory]
            mask = self.memory_mask
            self.memory_mask = lambda b, h, q, k: mask(rows[b], h, q, k)

    def rewind(self, n: Lengths) -> None:
        """Forget all but the first n[b] positions of row b, as where a guess was wrong."""
        for cache in self.caches:
            cache.rewind(n)


class Single(nn.Module):
    """One stack: an encoder where spec.mask is full, a decoder where it is causal."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec, self.embed, self.stack = spec, spec.embed(spec), Stack(spec)

    def forward(self, ids: BT, kinds: BT | None = None, mask: Mask = masks.full, keep: list[BTC] | None = None) -> BTC:
        """ids (B, T) -> (B, T, C). kinds: the segments of the ids, where the model has any; mask: for padding."""
        return self.stack(self.embed(ids, positions(ids), kinds), mask, keep=keep)

    def start(self, n_rows: int, size: int) -> State:
        """For `step`: room for `size` positions in each of n_rows sequences."""
        return State(new_caches(self.spec, n_rows, size, like=self.embed.tokens.weight))

    def step(self, ids: BT, state: State, lengths: Lengths | None = None) -> BTC:
        """What `forward` gives for the new tokens ids (B, T) of the sequences in `state`; see `Attention.forward`."""
        at = state.caches[0].next_positions(ids.shape[0], ids.shape[1], lengths)
        return self.stack(self.embed(ids, at), caches=state.caches, lengths=lengths)


class EncoderDecoder(nn.Module):
    """An encoder reads the source, a decoder writes the target and looks at what the encoder made of the source.

    The specification is the decoder's. The encoder has the same but that everyone attends to everyone and no block
    looks at a memory. One table embeds both languages, as in section 3.4 of the paper.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec, self.embed = spec, spec.embed(spec)
        self.encoder = Stack(self.reader(spec))
        self.decoder = Stack(spec)

    @staticmethod
    def reader(spec: Spec) -> Spec:
        """The encoder's specification."""
        return spec.but(mask=masks.full, block=Block)

    def forward(self, source: BT, target: BT, source_mask: Mask = masks.full, keep: list[BTC] | None = None) -> BTC:
        """source (B, S), target (B, T) -> (B, T, C). source_mask: padding(lengths). keep: the encoder's states first.

        A target's padding stands at its end, where no earlier position sees it.
        """
        memory = self.read(source, source_mask, keep)
        return self.decoder(self.embed(target, positions(target)), memory=memory, memory_mask=source_mask, keep=keep)

    def read(self, source: BT, source_mask: Mask = masks.full, keep: list[BTC] | None = None) -> list[Pair]:
        """The keys and values that each block of the decoder finds in the source."""
        y = self.encoder(self.enter(source), source_mask, keep=keep)
        return [block.cross.read(y) for block in self.decoder.blocks]

    def enter(self, source: BT) -> BTC:
        return self.embed(source, positions(source))

    def start(self, source: BT, size: int, source_mask: Mask = masks.full) -> State:
        """For `step`: the source, read once, and room for `size` positions of the target in each row."""
        caches = new_caches(self.spec, len(source), size, like=self.embed.tokens.weight)
        return State(caches, self.read(source, source_mask), source_mask)

    def step(self, ids: BT, state: State, lengths: Lengths | None = None) -> BTC:
        """What `forward` gives for the new tokens ids (B, T) of the targets in `state`; see `Attention.forward`."""
        x = self.embed(ids, state.caches[0].next_positions(ids.shape[0], ids.shape[1], lengths))
        return self.decoder(x, caches=state.caches, lengths=lengths, memory=state.memory, memory_mask=state.memory_mask)


class TwoTables(EncoderDecoder):
    """Each language has a vocabulary and a table of its own, the source one of spec.n_source entries."""

    def __init__(self, spec: Spec):
        super().__init__(spec)
        self.embed_source = spec.embed(self.reader(spec))

    @staticmethod
    def reader(spec: Spec) -> Spec:
        return EncoderDecoder.reader(spec).but(n_vocab=spec.n_source)

    def enter(self, source: BT) -> BTC:
        return self.embed_source(source, positions(source))


def positions(ids: BT) -> Tensor:
    """0, 1, 2, ... (T,), on the device of the ids."""
    return torch.arange(ids.shape[-1], device=ids.device)


def new_caches(spec: Spec, n_rows: int, size: int, like: Tensor) -> list[Cache]:
    """An empty cache for each block, of the dtype and on the device of `like`."""
    G = spec.n_heads if spec.n_groups is None else spec.n_groups
    return [Cache(n_rows, G, size, spec.d_head, like.dtype, like.device) for _ in range(spec.n_layers)]


# --- the model -------------------------------------------------------------------------------------------------------


class Model(nn.Module):
    """A body and a head, as the specification has them; `forward` takes what its body takes, and answers with the head.

    start, step: decoding, where the body can; `step` needs torch.no_grad(). `body(...)` gives the last hidden states.
    """

    body: Single | EncoderDecoder

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec, self.body, self.head = spec, spec.body(spec), spec.head(spec)
        spec.init(self)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.head(self.body(*args, **kwargs), self.body.embed.tokens.weight)

    def start(self, *args: Any, **kwargs: Any) -> State:
        return self.body.start(*args, **kwargs)

    def step(self, ids: BT, state: State, lengths: Lengths | None = None) -> Tensor:
        """The head's answer for the new tokens ids (B, T), which then belong to `state`.

        lengths: (B,), how many of the T count in each row, where prompts are of unequal length or some rows are done.
        """
        return self.head(self.body.step(ids, state, lengths), self.body.embed.tokens.weight)


# --- values of `init`: all first values in one place -----------------------------------------------------------------


def normal(model: Model) -> None:
    """Every matrix and table from N(0, std), every bias 0, as in GPT and BERT. Norms are built as 1 and 0."""
    fill(model, lambda w: nn.init.normal_(w, std=model.spec.std))


def xavier(model: Model) -> None:
    """Every matrix uniform with variance 2 / (inputs + outputs), tables from N(0, 1 / sqrt(C)), every bias 0.

    X. Glorot and Y. Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks",
    section 4.2.1. `Scaled` then makes vectors of variance 1, and `TiedLM` logits of variance 1.
    """
    fill(model, nn.init.xavier_uniform_, lambda w: nn.init.normal_(w, std=w.shape[1] ** -0.5))


def fill(model: nn.Module, matrix: Callable[[Tensor], Any], table: Callable[[Tensor], Any] | None = None) -> None:
    """matrix(weight) for each linear layer, whose bias becomes 0; table(weight), or matrix, for each embedding."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            matrix(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding | Learned):
            (table or matrix)(module.weight)
