"""The masks and scores that tiles can skip by: a band, documents, lengths, soft-capping, ALiBi.

A mask as a function of positions can say anything, so a kernel would have to ask it for every pair. A `Pattern` says
less, in numbers, and from numbers a kernel knows which whole tiles it need not even load.

    Pattern.of(and_masks(causal, sliding_window(256)), soft_cap(50.0), B, H, T, S, device)   # left=255, right=0, cap=50
    Pattern.of(dilated(2), same, B, H, T, S, device)                                         # a str: why there is none
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import FunctionType

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.attention import masks, scores
from lib.shapes import BT, Mask, Score, require


@dataclass(frozen=True, eq=False)
class Pattern:
    """Query t stands at position q = t + shift, key s at k = s. The query may attend to the key if all of these hold:

    left        q - k <= left, if given             a causal window of w tokens: left = w - 1, right = 0
    right       k - q <= right, if given            0 is causal
    documents   (B, T) int32, non-decreasing along T: equal for query and key, if given; then T = S and shift = 0
    lengths     (B,) int32: k < lengths[b], if given

    What is done to a score s = scale q k, in this order:

    cap         cap tanh(s / cap), if given
    slopes      (H,) float32: s - slopes[h] |q - k|, if given
    """

    left: int | None = None
    right: int | None = None
    shift: int = 0
    documents: Tensor | None = None
    lengths: Tensor | None = None
    cap: float | None = None
    slopes: Tensor | None = None

    @staticmethod
    def of(
        mask: Mask, score: Score, B: int, H: int, T: int, S: int, device: torch.device | str = "cpu"
    ) -> Pattern | str:
        """The pattern of a mask and a score from masks.py and scores.py; a str that says why, where there is none.

        ValueError where the mask holds too few numbers. What is asked of a cache's positions depends on the
        numbers in them: on a GPU, the processor waits for those.
        """
        try:
            shift = _shift(mask, B, T, S)
            pattern = Pattern(shift=shift)
            pattern = _narrowed(pattern, mask.mask if isinstance(mask, masks.moved) else mask, B, T, S, device)
            pattern = _scored(pattern, score.score if isinstance(score, scores.moved) else score, H, device)
            if pattern.slopes is not None and _shift(score, B, T, S) != shift:
                raise _Inexpressible("mask and score count positions from different places: only one of them is moved")
        except _Inexpressible as reason:
            return str(reason)
        return pattern


class _Inexpressible(Exception):
    """Why a mask or a score has no pattern."""


def _narrowed(p: Pattern, mask: Mask, B: int, T: int, S: int, device: torch.device | str) -> Pattern:
    """The pattern where `mask` holds too."""
    if mask is masks.full:
        return p
    if mask is masks.causal:
        return replace(p, right=_least(p.right, 0))
    if isinstance(mask, masks.sliding_window):
        return replace(p, left=_least(p.left, mask.width - 1), right=_least(p.right, mask.width - 1))
    if isinstance(mask, masks.padding):
        lengths = _rows(mask.lengths, B).to(device, torch.int32)
        return replace(p, lengths=lengths if p.lengths is None else lengths.minimum(p.lengths))
    if isinstance(mask, masks.documents):
        if T != S or p.shift != 0:
            raise _Inexpressible("documents: only where queries and keys stand at the same positions, all of them new")
        if mask.runs is None:
            raise _Inexpressible("documents: an id comes back after another, but each document must stand in one piece")
        runs = _rows(mask.runs, B, T).to(device)
        return replace(p, documents=runs if p.documents is None else _finer(runs, p.documents))
    if isinstance(mask, masks.and_masks):
        for one in mask.masks:
            p = _narrowed(p, one, B, T, S, device)
        return p
    raise _Inexpressible(f"the mask {name(mask)} is neither a band, nor documents, nor lengths")


def _scored(p: Pattern, score: Score, H: int, device: torch.device | str) -> Pattern:
    """The pattern with `score` done after what it does already."""
    if score is scores.same:
        return p
    if isinstance(score, scores.soft_cap):
        if p.cap is not None or p.slopes is not None:
            raise _Inexpressible("soft_cap can only come once, and before alibi")
        return replace(p, cap=score.cap)
    if isinstance(score, scores.alibi):
        if p.slopes is not None:
            raise _Inexpressible("alibi can only come once")
        return replace(p, slopes=score.slope(torch.arange(H, device=device), torch.float32))
    if isinstance(score, scores.Compose):
        for one in score.scores:
            p = _scored(p, one, H, device)
        return p
    raise _Inexpressible(f"the score {name(score)} is neither soft_cap nor alibi")


def _shift(f: Mask | Score, B: int, T: int, S: int) -> int:
    """How far query 0 stands behind key 0. 0 if f was not moved."""
    if not isinstance(f, masks.moved | scores.moved):
        return 0
    q_at, k_at = _rows(f.q_at, B, T), _rows(f.k_at, B, S)
    shift = int(q_at[0, 0])
    in_order = (q_at - torch.arange(T, device=q_at.device) == shift).all() & (
        k_at == torch.arange(S, device=k_at.device)
    ).all()
    if shift < 0 or not bool(in_order):
        raise _Inexpressible("moved: rows of different lengths in the cache, or its slots out of order")
    return shift


def _finer(runs: BT, others: BT) -> BT:
    """Documents with a new number wherever either numbering changes."""
    return F.pad(((runs.diff(dim=1) != 0) | (others.diff(dim=1) != 0)).cumsum(1, dtype=torch.int32), (1, 0))


def _rows(table: Tensor, *sizes: int) -> Tensor:
    """The part of a table that is asked for; a mask may have been made for longer rows."""
    holds = all(n <= have for n, have in zip(sizes, table.shape, strict=True))
    require(holds, f"the mask was made for a smaller batch: it has numbers for {tuple(table.shape)}, not for {sizes}")
    return table[tuple(slice(n) for n in sizes)]


def _least(a: int | None, b: int) -> int:
    return b if a is None else min(a, b)


def name(f: Mask | Score) -> str:
    """What a mask or a score is called: of a function its name, of an object that of its class."""
    owner = getattr(f, "__self__", f)  # T5Bias(8).forward is a T5Bias
    return owner.__name__ if isinstance(owner, FunctionType) else type(owner).__name__
