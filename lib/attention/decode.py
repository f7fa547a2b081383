"""Key-value caches: keys and values of the tokens so far, so that each new token costs one row of attention.

    cache = Cache(n_rows=2, n_groups=4, size=128, d_head=16)
    with torch.no_grad():
        y = attention(prompt, cache=cache)                  # pre-fill: all tokens of the prompts at once
        y = attention(token, cache=cache)                   # a step: T = 1

What a cached call gives is what the call on whole sequences gives, provided that the layer's mask lets no query see
what the cache cannot hold: `causal`, and for a `SlidingCache` a window no wider than its size. The rows of a batch may
be of different lengths. A key is stored as it is compared, turned by its position already.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.shapes import BGSD, BS, BT, require

Lengths = Sequence[int] | Tensor


class Cache:
    """Room for `size` positions in each of B rows; one more is a ValueError. One cache for each attention layer.

    k, v: (B, G, size, D), position p in slot p. n: (B,), how many positions each row has seen; n_all: the number that
    all rows have seen, None where they differ. What stands in slots that are not in use is of no account: no number of
    it, not even a NaN, reaches an output.
    """

    def __init__(
        self,
        n_rows: int,
        n_groups: int,
        size: int,
        d_head: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        sizes = f"{n_rows=}, {n_groups=}, {size=}, {d_head=}"
        require(min(n_rows, n_groups, size, d_head) >= 1, f"the sizes of a cache are at least 1, not {sizes}")
        self.size = size
        self.k = torch.zeros(n_rows, n_groups, size, d_head, dtype=dtype, device=device)
        self.v = torch.zeros_like(self.k)
        self.n = torch.zeros(n_rows, dtype=torch.long, device=device)
        self.n_all: int | None = 0
        self._given: Tensor | None = None  # the positions from n_all on that were given last

    def next_positions(self, B: int, T: int, lengths: Lengths | None = None) -> BT:
        """The positions of T new tokens in each of B rows: (B, T), -1 for padding, where t >= lengths[b].

        lengths: (B,), whole numbers from 0 to T; all T tokens count if None. ValueError where the room is not enough.
        """
        require(len(self.n) == B, f"this cache has {len(self.n)} rows, but {B} sequences want to go on")
        require(T >= 1, "there is no new token: x is empty")
        if lengths is None and self.n_all is not None:
            self._check_room(self.n_all + T)
            self._given = torch.arange(self.n_all, self.n_all + T, device=self.n.device).expand(B, T)
            return self._given
        t = torch.arange(T, device=self.n.device)
        at = self.n.unsqueeze(1) + t  # B T
        if lengths is not None:
            n = torch.as_tensor(lengths, device=self.n.device)
            whole = not (n.is_floating_point() or n.dtype == torch.bool)
            found = f"not {n.dtype} of shape {tuple(n.shape)}"
            require(whole and n.shape == (B,), f"lengths must be {B} whole numbers, one for each row, {found}")
            within = bool(((n >= 0) & (n <= T)).all())
            require(within, f"lengths are from 0 to {T}, the number of new tokens; got {n.tolist()}")
            at = at.where(t < n.unsqueeze(1), -1)
        self._check_room(int(at.max()) + 1)
        return at

    def extend(self, k: BGSD, v: BGSD, at: BT) -> tuple[BGSD, BGSD, BS]:
        """Store the keys and values (B, G, T, D) of new tokens at the positions (B, T) that `next_positions` gave.

        Returns the keys, the values and their positions, stored and new: what the new tokens may attend to. A position
        of -1 marks a slot that holds nothing. ValueError for tensors that do not fit, or that want a gradient. Where
        all rows go on together they are views into the cache, good until the next call.
        """
        self._check(k, v, at)
        if at is self._given and self.n_all is not None and self._in_order(self.n_all + at.shape[1]):
            return self._append(k, v)
        old_k, old_v, old_at = self._read()
        seen_k, seen_v = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2)  # copies: old ones may go below
        seen_at = torch.cat((old_at, at), dim=1)
        empty = (seen_at < 0)[:, None, :, None]  # of which not even a NaN may come through
        seen_k, seen_v = seen_k.masked_fill(empty, 0), seen_v.masked_fill(empty, 0)
        n = torch.maximum(self.n, at.amax(1) + 1)
        lasting = (at >= 0) & (at >= n.unsqueeze(1) - self.size)  # a later token of this call needs the others' slots
        b, t = lasting.nonzero(as_tuple=True)
        self._write(b, at[b, t], k[b, :, t], v[b, :, t])
        self._count(n)
        return seen_k, seen_v, seen_at

    def grow(self, n: Tensor) -> None:
        """Each row has one position more, n (B,) in all: a compiled step put keys and values into their slots."""
        self.n, self.n_all, self._given = n, None if self.n_all is None else self.n_all + 1, None

    def reorder(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was. Rows may repeat, as in beam search, or go."""
        self._check_rows(rows)
        self._count(self.n[rows])
        self._move(rows)

    def reset(self, rows: Tensor | None = None) -> None:
        """Forget these rows, all if None: their next token stands at position 0 again."""
        rows = torch.arange(len(self.n), device=self.n.device) if rows is None else rows
        self._check_rows(rows)
        self._count(self.n.index_fill(0, rows, 0))
        self._free(rows)

    def rewind(self, n: Lengths) -> None:
        """Forget all but the first n[b] positions of row b; a row that has no more than that stays as it is.

        ValueError where the first n[b] are no longer held, as in a `SlidingCache` that has gone round.
        """
        n = torch.as_tensor(n, device=self.n.device)
        whole = not (n.is_floating_point() or n.dtype == torch.bool) and n.shape == self.n.shape
        good = whole and bool((n >= 0).all())
        require(good, f"to go back to: {len(self.n)} whole numbers, 0 or more, one for each row, not {n.tolist()}")
        held = ((self.n <= n) | (self.n <= self.size)).all()
        require(bool(held), f"this cache holds the last {self.size} positions: the earlier ones cannot be gone back to")
        self._count(torch.minimum(self.n, n))

    def _count(self, n: Tensor) -> None:
        """The rows have seen n (B,) positions."""
        self.n, self._given = n, None
        first = int(n[0]) if len(n) else 0
        self.n_all = first if bool((n == first).all()) else None

    def _in_order(self, n: int) -> bool:
        """Would each of n positions stand in the slot of its number?"""
        return True

    def _append(self, k: BGSD, v: BGSD) -> tuple[BGSD, BGSD, BS]:
        """`extend` where all rows go on together: no empty slot lies between old and new, so nothing is copied."""
        old = self.n_all or 0
        new = old + k.shape[2]
        self.k[:, :, old:new], self.v[:, :, old:new] = k, v
        self.n, self.n_all, self._given = self.n + (new - old), new, None
        at = torch.arange(new, device=self.n.device).expand(len(self.n), new)
        return self.k[:, :, :new], self.v[:, :, :new], at

    def _read(self) -> tuple[BGSD, BGSD, BS]:
        """The slots in use, and the position that each holds, or -1."""
        used = min(int(self.n.max()), self.size)
        last = self.n.unsqueeze(1) - 1
        slot = torch.arange(used, device=self.n.device)
        at = last - (last - slot) % self.size  # the latest position up to the last that falls into this slot
        return self.k[:, :, :used], self.v[:, :, :used], at.clamp(min=-1)

    def _write(self, b: Tensor, at: Tensor, k: Tensor, v: Tensor) -> None:
        """Store N tokens, k and v of shape (N, G, D), at the positions `at` (N,) of the rows b (N,)."""
        self.k[b, :, at % self.size] = k
        self.v[b, :, at % self.size] = v

    def _move(self, rows: Tensor) -> None:
        self.k, self.v = self.k[rows], self.v[rows]

    def _free(self, rows: Tensor) -> None:
        """The slots of a row are its own for ever."""

    def _check_room(self, n: int) -> None:
        require(n <= self.size, f"a row would hold {n} positions, but this cache has room for {self.size}")

    def _check(self, k: Tensor, v: Tensor, at: Tensor) -> None:
        B, (G, D), T = len(self.n), (self.k.shape[1], self.k.shape[3]), at.shape[1]
        found = f"got k {tuple(k.shape)} and v {tuple(v.shape)}"
        require(k.shape == v.shape == (B, G, T, D), f"this cache takes k and v of shape {(B, G, T, D)}, {found}")
        for name, one, ours in (("dtype", k.dtype, self.k.dtype), ("device", k.device, self.k.device)):
            require(one == ours, f"the {name} of keys is {one}, but this cache was built with {name}={ours}")
        wants = torch.is_grad_enabled() and (k.requires_grad or v.requires_grad)
        require(not wants, "a cache keeps no gradients: call the layer under torch.no_grad(), or without a cache")

    def _check_rows(self, rows: Tensor) -> None:
        whole = not (rows.is_floating_point() or rows.dtype == torch.bool) and rows.dim() == 1
        inside = whole and bool(((rows >= 0) & (rows < len(self.n))).all())
        require(inside, f"rows are whole numbers from 0 to {len(self.n) - 1} along one axis, not {rows.tolist()}")


class SlidingCache(Cache):
    """The last `size` positions of each row: position p in slot p modulo size, the oldest ones overwritten."""

    def _check_room(self, n: int) -> None:
        """There always is."""

    def _in_order(self, n: int) -> bool:
        return n <= self.size


class PagedCache(Cache):
    """Blocks of `block` positions from one pool, handed out as rows grow: a short row takes no room from a long one.

    k, v: (n_blocks, G, block, D). blocks: (B, n_blocks), the block that holds each stretch of a row, -1 for none. Rows
    that `reorder` made from one share its blocks, and a shared block is copied before it is written to. ValueError when
    the pool is used up; what the cache held before stays as it was.
    W. Kwon et al. (2023), "Efficient Memory Management for Large Language Model Serving with PagedAttention".
    """

    def __init__(
        self,
        n_rows: int,
        n_groups: int,
        n_blocks: int,
        block: int,
        d_head: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        require(min(n_rows, n_blocks, block) >= 1, f"sizes are at least 1, not {n_rows=}, {n_blocks=}, {block=}")
        super().__init__(n_blocks, n_groups, block, d_head, dtype, device)  # what were rows of the store are blocks
        self.block, self.size = block, n_blocks * block
        self.n = torch.zeros(n_rows, dtype=torch.long, device=device)
        self.blocks = torch.full((n_rows, n_blocks), -1, device=device)

    def _in_order(self, n: int) -> bool:
        return False

    def _read(self) -> tuple[BGSD, BGSD, BS]:
        used = -(-int(self.n.max()) // self.block)
        k, v = (pool[self.blocks[:, :used].clamp(min=0)] for pool in (self.k, self.v))  # B blocks G block D
        slot = torch.arange(used * self.block, device=self.n.device)
        at = slot.where(slot < self.n.unsqueeze(1), -1)
        return k.transpose(1, 2).flatten(2, 3), v.transpose(1, 2).flatten(2, 3), at

    def _write(self, b: Tensor, at: Tensor, k: Tensor, v: Tensor) -> None:
        stretch, offset = at // self.block, at % self.block
        for row, i in torch.stack((b, stretch), dim=1).unique(dim=0).tolist():
            self._own(row, i)
        self.k[self.blocks[b, stretch], :, offset] = k
        self.v[self.blocks[b, stretch], :, offset] = v

    def _own(self, row: int, i: int) -> None:
        """Give stretch i of the row a block that no other row shares."""
        old = int(self.blocks[row, i])
        if old >= 0 and int((self.blocks == old).sum()) == 1:
            return
        free = torch.ones(len(self.k), dtype=torch.bool, device=self.n.device)
        free[self.blocks[self.blocks >= 0]] = False
        room = f"all {len(free)} blocks of {self.block} positions are in use: reset rows that are done, or take more"
        require(bool(free.any()), room)
        new = int(free.nonzero()[0])
        if old >= 0:
            self.k[new], self.v[new] = self.k[old], self.v[old]
        self.blocks[row, i] = new

    def _move(self, rows: Tensor) -> None:
        self.blocks = self.blocks[rows]

    def _free(self, rows: Tensor) -> None:
        self.blocks[rows] = -1
