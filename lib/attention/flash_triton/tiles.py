"""How large the tiles are: what fits into the registers and the shared memory of each generation of GPU.

A larger tile reads keys and values less often, and needs more registers; one that needs more than there are spills them
into memory, which costs more than the tile saves. docs/gpu.md has the counts that these numbers were chosen by.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

Capability = tuple[int, int]
"""(8, 0) is an A100, (8, 9) an L4 or RTX 4090, (9, 0) an H100, (10, 0) a B200."""


class Tile(NamedTuple):
    """m queries by n keys, worked on by n_warps x 32 threads; n_stages tiles are on their way from memory at once."""

    m: int
    n: int
    n_warps: int
    n_stages: int


def capability(device: torch.device) -> Capability:
    """The compute capability of a CUDA device; that of an A100 where Triton's interpreter stands in for one."""
    from triton import knobs  # here, so that sizes can be asked for where Triton does not run

    return (8, 0) if knobs.runtime.interpret else torch.cuda.get_device_capability(device)


def tile(kind: str, d_head: int, dtype: torch.dtype, capability: Capability) -> Tile:
    """The tile of a kernel: kind is "forward", "backward" or "decode"; d_head the wider of q's and v's heads.

    In "backward", the kernel for dq owns m queries and walks over n keys at a time; the kernel for dk and dv owns n
    keys and walks over m queries at a time. In "decode", m is the fewest rows of a tile, which holds the query heads of
    a group.
    """
    width = max(16, 1 << (d_head - 1).bit_length()) * dtype.itemsize // 2  # what a head takes, in numbers of two bytes
    if kind == "decode":
        return Tile(16, 64 if width <= 128 else 32, 4, 2)
    if kind == "backward":
        return Tile(64, 64, 4, 1) if width <= 64 else Tile(32, 32, 4, 1)
    return Tile(64, 64, 4, 2) if width <= 64 else Tile(64, 32, 4, 2)
