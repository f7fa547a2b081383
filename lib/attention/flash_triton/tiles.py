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
    """The tile of a kernel: kind is "forward", "dq", "dkdv" or "decode"; d_head the wider of q's and v's heads.

    The forward kernel and the one for dq own m queries and walk over n keys at a time, the one for dk and dv owns n
    keys and walks over m queries at a time. In decoding, m rows at least hold the query heads of a group.
    """
    bytes_wide = max(16, d_head) * dtype.itemsize
    row = next(i for i, most in enumerate((128, 256, 512, 1024)) if bytes_wide <= most)
    return TILES[kind][_generation(capability)][row]


def _generation(capability: Capability) -> str:
    """Those with small shared memory, 99 KB for a block, are the GPUs of desktops, before and after sm_89 too."""
    known = {(8, 0): "sm_80", (8, 7): "sm_80", (9, 0): "sm_90", (10, 0): "sm_100", (10, 3): "sm_100"}
    return known.get(capability, "sm_89")


_SMALL = [Tile(32, 32, 4, 1), Tile(16, 16, 4, 1)]  # heads of 512 and 1024 bytes, of which no table tells
_DECODE = [Tile(16, 64, 4, 2), Tile(16, 64, 4, 2), Tile(16, 32, 4, 2), Tile(16, 16, 4, 2)]

TILES = {
    "forward": {
        "sm_80": [Tile(128, 64, 8, 3), Tile(128, 32, 8, 3), *_SMALL],
        "sm_89": [Tile(128, 64, 8, 3), Tile(128, 64, 8, 2), *_SMALL],
        "sm_90": [Tile(128, 64, 8, 3), Tile(128, 64, 8, 3), *_SMALL],
        "sm_100": [Tile(128, 64, 8, 3), Tile(128, 64, 8, 3), *_SMALL],
    },
    "dq": {
        "sm_80": [Tile(128, 64, 8, 1), Tile(64, 64, 8, 2), *_SMALL],
        "sm_89": [Tile(128, 64, 8, 1), Tile(64, 64, 8, 2), *_SMALL],
        "sm_90": [Tile(64, 64, 4, 2), Tile(64, 64, 8, 2), *_SMALL],
        "sm_100": [Tile(64, 128, 8, 1), Tile(64, 64, 8, 2), *_SMALL],
    },
    "dkdv": {
        "sm_80": [Tile(32, 128, 8, 1), Tile(32, 64, 8, 1), *_SMALL],
        "sm_89": [Tile(32, 128, 8, 1), Tile(64, 64, 8, 1), *_SMALL],
        "sm_90": [Tile(64, 128, 8, 1), Tile(32, 64, 8, 1), *_SMALL],
        "sm_100": [Tile(64, 128, 8, 1), Tile(64, 64, 8, 1), *_SMALL],
    },
    "decode": dict.fromkeys(("sm_80", "sm_89", "sm_90", "sm_100"), _DECODE),
}
"""For heads of up to 128, 256, 512 and 1024 bytes: widths 64, 128, 256 in two bytes, and 256 in four."""
