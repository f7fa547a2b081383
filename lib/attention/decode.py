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

import torch
from torch import Tensor

from lib.shapes import BGSD, BS, BT, require


class Cache:
    """Room for `size` positions in each of B rows; one more is a ValueError. One cache for each attention layer.

    k, v: (B, G, size, D), position p in slot p. n: (B,), how many positions each row has seen.
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

    def next_positions(self, T: int, lengths: Tensor | None = None) -> BT:
        """The positions of T new tokens in each row: (B, T), -1 for padding, where t >= lengths[b].

        lengths: (B,), whole numbers from 0 to T; all T tokens count if None. ValueError where the room is not enough.
        """
        t = torch.arange(T, device=self.n.device)
        at = self.n.unsqueeze(1) + t  # B T
        if lengths is not None:
            whole = not (lengths.is_floating_point() or lengths.dtype == torch.bool)
            found = f"not {lengths.dtype} of shape {tuple(lengths.shape)}"
            require(whole and lengths.shape == self.n.shape, f"lengths must be {len(self.n)} whole numbers, {found}")
            within = bool(((lengths >= 0) & (lengths <= T)).all())
            require(within, f"lengths are from 0 to {T}, the number of new tokens; got {lengths.tolist()}")
            at = at.where(t < lengths.unsqueeze(1), -1)
        self._check_room(int(at.max()) + 1)
        return at

    def extend(self, k: BGSD, v: BGSD, at: BT) -> tuple[BGSD, BGSD, BS]:
        """Store the keys and values (B, G, T, D) of new tokens at the positions (B, T) that `next_positions` gave.

        Returns the keys, the values and their positions, stored and new: what the new tokens may attend to. A position
        of -1 marks a slot that holds nothing. ValueError for tensors that do not fit, or that want a gradient.
        """
        self._check(k, v, at)
        old_k, old_v, old_at = self._read()
        seen = torch.cat((old_k, k), dim=2), torch.cat((old_v, v), dim=2), torch.cat((old_at, at), dim=1)
        n = torch.maximum(self.n, at.amax(1) + 1)
        b, t = ((at >= 0) & (at >= n.unsqueeze(1) - self.size)).nonzero(as_tuple=True)
        self._write(b, at[b, t], k[b, :, t], v[b, :, t])
        self.n = n
        return seen

    def reorder(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was. Rows may repeat, as in beam search, or go."""
        self._check_rows(rows)
        self.k, self.v, self.n = self.k[rows], self.v[rows], self.n[rows]

    def reset(self, rows: Tensor | None = None) -> None:
        """Forget these rows, all if None: their next token stands at position 0 again."""
        rows = torch.arange(len(self.n), device=self.n.device) if rows is None else rows
        self._check_rows(rows)
        self.k[rows] = self.v[rows] = 0  # a NaN of the past would survive a weight of 0
        self.n[rows] = 0

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
