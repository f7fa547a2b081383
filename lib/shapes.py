"""The axis legend: one letter for each axis of a tensor, the same in signatures, comments, einsum and error messages.

    B   sequences in a batch            H   heads that ask (query heads)
    T   positions of the queries        G   heads that are asked (key-value heads); G divides H
    S   positions of the keys           D   width of one head
    C   width of the model              F   width of the feed-forward layer
    V   entries of the vocabulary

The layout of heads is B H T D: the last two axes are the matrix that a product works on. The same letters, lower case,
name the axes in an einsum. An alias below is a torch.Tensor whose axes its name spells out, for readers and for tools
that read `Annotated`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from torch import Tensor

BT = Annotated[Tensor, "B T"]
BS = Annotated[Tensor, "B S"]
BV = Annotated[Tensor, "B V"]
BTC = Annotated[Tensor, "B T C"]
BSC = Annotated[Tensor, "B S C"]
BHTD = Annotated[Tensor, "B H T D"]
BGSD = Annotated[Tensor, "B G S D"]
BHTS = Annotated[Tensor, "B H T S"]

Mask = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""mask(b, h, q, k) -> bool: may query q of head h in sequence b attend to key k? True means yes."""

Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""score(s, b, h, q, k) -> s: what becomes of s, the scaled product of query q and key k."""


def require(holds: bool, message: str) -> None:
    """ValueError with `message` unless `holds`."""
    if not holds:
        raise ValueError(message)
