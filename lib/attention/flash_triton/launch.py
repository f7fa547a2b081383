"""What the kernels share before they are launched: the pattern as arguments of a kernel, and bad input."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from triton import knobs

from lib.attention import flash
from lib.attention.flash_triton.tiles import Tile, capability, tile
from lib.attention.pattern import Pattern
from lib.shapes import BHTD, require

MAX_WIDTH = 256
NO_LIMIT = 1 << 30  # farther than any position


class Rules(NamedTuple):
    """A Pattern as kernels take it; what is None is compiled away."""

    shift: int
    left: int
    right: int
    first: Tensor | None  # (B, T) int32, where the document of each position begins
    end: Tensor | None  # (B, T) int32, where the next one does
    lengths: Tensor | None  # (B,) int32
    cap: float | None
    slopes: Tensor | None  # (H,) float32


def rules(pattern: Pattern) -> Rules:
    left, right = (NO_LIMIT if side is None else min(side, NO_LIMIT) for side in (pattern.left, pattern.right))
    first, end = (None, None) if pattern.documents is None else flash.document_ends(pattern.documents)
    lengths = None if pattern.lengths is None else pattern.lengths.to(torch.int32).contiguous()
    cap = None if pattern.cap is None else float(pattern.cap)
    return Rules(pattern.shift, left, right, first, end, lengths, cap, floats(pattern.slopes))


def floats(x: Tensor | None) -> Tensor | None:
    """As a kernel reads it by counting: float32, one number after the other."""
    return None if x is None else x.float().contiguous()


def block(width: int) -> int:
    """The width of a head in a kernel: a power of two, and at least what a matrix instruction takes."""
    return max(16, 1 << (width - 1).bit_length())


def tile_for(kind: str, q: BHTD, v: BHTD, chosen: Tile | None) -> Tile:
    return chosen or tile(kind, max(q.shape[3], v.shape[3]), q.dtype, capability(q.device))


def options(size: Tile) -> dict[str, int]:
    """What a launch is told beside the kernel's own arguments."""
    return {"num_warps": size.n_warps, "num_stages": size.n_stages}


def check(q: BHTD, v: BHTD, *others: Tensor) -> None:
    """ValueError unless the kernels run on this device, for this dtype, these widths and strides."""
    runs = q.is_cuda or knobs.runtime.interpret
    advice = "set TRITON_INTERPRET=1 before lib.attention.flash_triton is imported, or use lib.attention.flash"
    require(runs, f"the kernels need a CUDA device, and q is on {q.device}: {advice}")
    known = q.dtype in (torch.float16, torch.bfloat16, torch.float32)
    require(known, f"the kernels are for float16, bfloat16 and float32, not {q.dtype}; lib.attention.flash takes it")
    D, Dv = q.shape[3], v.shape[3]
    require(max(D, Dv) <= MAX_WIDTH, f"heads may be {MAX_WIDTH} wide for the kernels, not {D=}, {Dv=}")
    for x in (q, v, *others):  # within a tile, distances are counted in 32 bits
        near = max(x.stride(2), x.stride(3)) * MAX_WIDTH < 2**31
        require(near, f"neighbours of a tensor stand too far apart, strides {x.stride()}: call .contiguous() first")
