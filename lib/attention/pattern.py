"""The masks and scores that tiles can skip by: a band, documents, lengths, soft-capping, ALiBi.

A mask as a function of positions can say anything, so a kernel would have to ask it for every pair. A `Pattern` says less,
in numbers, and from numbers a kernel knows which whole tiles it need not even load.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
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
