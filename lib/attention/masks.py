"""Who may attend to whom. A mask is a function mask(b, h, q, k) -> bool, True where query q may attend to key k.

b, h, q, k are integer tensors of any shapes that broadcast together: the sequence in the batch, the head, the position
of the query and the position of the key. That is the contract of PyTorch's flex_attention, which calls a mask with
single numbers; `dense` calls it once with four axes, and the answer is the table that a reader can look at.

    local = and_masks(causal, sliding_window(256))      # Mistral
    dense(local, B=1, H=1, T=6, S=6)                    # 1 1 6 6, bool
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.shapes import BHTS, BS, BT, Mask, require

# --- masks without numbers of their own ------------------------------------------------------------------------------


def full(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """Everyone may attend to everyone."""
    return b.new_ones((), dtype=torch.bool)


def causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """Nobody looks ahead: k <= q. A. Vaswani et al. (2017), "Attention Is All You Need", section 3.2.3."""
    return k <= q


# --- masks that are made ---------------------------------------------------------------------------------------------
# Each is a small class that is used like a function, hence the lower case, as in `functools.partial`. What it was made
# of can be read off it: `pattern.py` tells a kernel from that which tiles it need not load.


@dataclass(frozen=True)
class sliding_window:
    """|q - k| < width: the own position and width - 1 on either side. With `causal`: the last `width` positions.

    I. Beltagy, M. Peters and A. Cohan (2020), "Longformer", section 3.1; A. Jiang et al. (2023), "Mistral 7B".
    """

    width: int

    def __post_init__(self):
        require(self.width >= 1, f"the width of a window counts the own position: at least 1, not {self.width}")

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q - k).abs() < self.width


@dataclass(frozen=True)
class dilated:
    """Every step-th position, counted from the own one: q - k is a multiple of `step`. Longformer, section 3.1."""

    step: int

    def __post_init__(self):
        require(self.step >= 1, f"the step of a dilated mask is at least 1, not {self.step}")

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q - k) % self.step == 0


@dataclass(frozen=True, eq=False, init=False)
class padding:
    """k < lengths[b]: keys beyond the end of sequence b are seen by nobody. lengths: (B,), whole numbers."""

    lengths: Tensor

    def __init__(self, lengths: Tensor | Sequence[int]):
        n = _table(lengths, 1, "lengths (B,)")
        require(bool((n >= 0).all()), f"a length is 0 or more; got {n.tolist()}")
        object.__setattr__(self, "lengths", n)

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return k < self.lengths[b]


def prefix(lengths: Tensor | Sequence[int]) -> Mask:
    """The first lengths[b] positions are seen by all, the others by nobody before them. lengths: (B,).

    C. Raffel et al. (2020), "Exploring the Limits of Transfer Learning", section 3.2.1.
    """
    return or_masks(causal, padding(lengths))


@dataclass(frozen=True, eq=False)
class documents:
    """Several documents packed in a row do not see each other: ids[b, q] == ids[b, k]. ids: (B, T), whole numbers."""

    ids: BT
    runs: BT | None = field(init=False)
    """int32: the documents numbered in the order in which they stand. None where an id comes back after another one."""

    def __post_init__(self):
        ids = _table(self.ids, 2, "ids (B, T)")
        changes = ids.diff(dim=1) != 0
        in_one_piece = bool(((ids.sort(1).values.diff(dim=1) != 0).sum(1) == changes.sum(1)).all())
        object.__setattr__(self, "ids", ids)
        runs = F.pad(changes.cumsum(1, dtype=torch.int32), (1, 0)) if in_one_piece else None
        object.__setattr__(self, "runs", runs)

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.ids[b, q] == self.ids[b, k]


@dataclass(frozen=True, eq=False)
class global_tokens:
    """A marked position sees all and is seen by all. marks: (B, T), bool. Longformer, section 3.1.

    On its own the other positions see only the marked ones; it is made for `or_masks(sliding_window(w), ...)`.
    """

    marks: BT

    def __post_init__(self):
        object.__setattr__(self, "marks", _table(self.marks, 2, "marks (B, T)", bools=True))

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.marks[b, q] | self.marks[b, k]


@dataclass(frozen=True, eq=False)
class block_sparse:
    """layout[h, q // block, k // block]: the table of positions, coarsely, in squares of `block`.

    layout: (n, blocks of queries, blocks of keys), bool; with n = 1 one layout for all heads, with n = H one for each.
    Of other numbers, head h takes layout h modulo n.
    R. Child et al. (2019), "Generating Long Sequences with Sparse Transformers", section 5.2.
    """

    layout: Tensor
    block: int

    def __post_init__(self):
        require(self.block >= 1, f"a block holds at least 1 position, not {self.block}")
        layout = _table(self.layout, 3, "layout (n, query blocks, key blocks)", bools=True)
        object.__setattr__(self, "layout", layout)

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.layout[h % len(self.layout), q // self.block, k // self.block]


# --- masks from masks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, init=False)
class and_masks:
    """True where all of them are; of none, `full`."""

    masks: tuple[Mask, ...]

    def __init__(self, *masks: Mask):
        object.__setattr__(self, "masks", masks)

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        allowed = full(b, h, q, k)
        for mask in self.masks:
            allowed = allowed & mask(b, h, q, k)
        return allowed


def narrowed(mask: Mask, by: Mask) -> Mask:
    """Both of them. Where one is `full` it is the other itself, which a back end may know by its name."""
    if by is full:
        return mask
    return by if mask is full else and_masks(mask, by)


@dataclass(frozen=True, init=False)
class or_masks:
    """True where at least one of them is; of none, nowhere."""

    masks: tuple[Mask, ...]

    def __init__(self, *masks: Mask):
        object.__setattr__(self, "masks", masks)

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        allowed = ~full(b, h, q, k)
        for mask in self.masks:
            allowed = allowed | mask(b, h, q, k)
        return allowed


@dataclass(frozen=True)
class not_mask:
    """True where `mask` is False."""

    mask: Mask

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ~self.mask(b, h, q, k)


@dataclass(frozen=True, eq=False)
class moved:
    """The mask for queries and keys whose positions are not their indices, as in a cache.

    Query q of sequence b stands at position q_at[b, q], key k at k_at[b, k]. A position of -1 says that nothing is
    there: such a query attends to nothing, and nobody attends to such a key.
    """

    mask: Mask
    q_at: BT
    k_at: BS

    def __call__(self, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        q, k = self.q_at[b, q], self.k_at[b, k]
        return (q >= 0) & (k >= 0) & self.mask(b, h, q, k)


# --- as a table ------------------------------------------------------------------------------------------------------


def indices(B: int, H: int, T: int, S: int, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """b, h, q, k for all entries of a table: (B, 1, 1, 1), (1, H, 1, 1), (1, 1, T, 1), (1, 1, 1, S)."""
    b, h, q, k = (torch.arange(n, device=device) for n in (B, H, T, S))
    return b[:, None, None, None], h[:, None, None], q[:, None], k


def dense(mask: Mask, B: int, H: int, T: int, S: int, device: torch.device | str = "cpu") -> BHTS:
    """The mask as a table (B, H, T, S) of bools. ValueError where it holds too few numbers or does not return bools."""
    return table(mask, B, H, T, S, device).expand(B, H, T, S)


def table(mask: Mask, B: int, H: int, T: int, S: int, device: torch.device | str = "cpu") -> Tensor:
    """As `dense`, but with axes of 1, or none, where the mask does not differ: what broadcasts to that table."""
    try:
        allowed = mask(*indices(B, H, T, S, device))
    except IndexError as error:
        shape = f"{B} sequences, {H} heads, {T} queries and {S} keys"
        raise ValueError(f"the mask was made for a smaller batch than {shape}: {error}") from None
    require(allowed.dtype == torch.bool, f"a mask returns bools, True for 'may attend', not {allowed.dtype}")
    return allowed


def _table(values: Tensor | Sequence[int], n_axes: int, name: str, bools: bool = False) -> Tensor:
    table = torch.as_tensor(values)
    kind = "bools" if bools else "whole numbers"
    right = table.dtype == torch.bool if bools else not (table.is_floating_point() or table.dtype == torch.bool)
    found = f"not {table.dtype} of shape {tuple(table.shape)}"
    require(right and table.dim() == n_axes, f"{name} must be {kind} with {n_axes} axes, {found}")
    return table
