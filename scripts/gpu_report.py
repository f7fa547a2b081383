"""Compile every kernel for GPUs that are not here, and write what came out into docs/gpu.md.

    python scripts/gpu_report.py                            compile all (minutes), and write the page
    python scripts/gpu_report.py --check sm_90              compile forward and backward in bf16 for that target; exit
                                                            status 1 for a spill, or numbers other than the page's

Triton's compiler needs no GPU. The kernels are launched by the same functions as on one, through a driver that answers
for a GPU that is absent: what is compiled is what a launch compiles, alignments and constants included. Nothing runs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ["TRITON_INTERPRET"] = "0"  # before triton is imported

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from lib.attention.flash_triton import backward, forward, launch
from lib.attention.flash_triton.decode import decode
from lib.attention.pattern import Pattern

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gpu.md"


class Multiprocessor(NamedTuple):
    """What it holds at a time: warps, blocks, shared memory (KB); the shared memory of one block at most."""

    warps: int
    blocks: int
    shared: int
    shared_block: int
    product: str  # the matrix instruction that its generation brought


WIDTHS = 64, 128
DTYPES = torch.float16, torch.bfloat16
REGISTERS = 65536  # of 32 bits, on each of them
MULTIPROCESSORS = {
    "sm_80": Multiprocessor(64, 32, 164, 163, "mma.sync"),
    "sm_89": Multiprocessor(48, 24, 100, 99, "mma.sync"),
    "sm_90": Multiprocessor(64, 32, 228, 227, "wgmma.mma_async"),
    "sm_100": Multiprocessor(64, 32, 228, 227, "tcgen05.mma"),
}
"""NVIDIA, CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"."""
PRODUCTS = "mma.sync", "wgmma.mma_async", "tcgen05.mma"


class Row(NamedTuple):
    """A kernel as it was compiled. shared: bytes of a block; spilled: bytes of stack and local memory of a thread."""

    kernel: str
    target: str
    width: int
    dtype: torch.dtype
    tile: str
    n_warps: int
    n_stages: int
    registers: int
    shared: int
    spilled: int
    products: dict[str, int]  # how often each matrix instruction stands in the PTX

    @property
    def occupancy(self) -> float:
        """The share of a multiprocessor's warps that fit at a time.

        Registers are handed out to a warp by 256, shared memory to a block by 128 bytes, and 1 KB for the system.
        """
        most = MULTIPROCESSORS[self.target]
        of_a_warp = -(-self.registers * 32 // 256) * 256
        of_a_block = -(-self.shared // 128) * 128 + 1024
        warps_by_registers = REGISTERS // of_a_warp // 4 * 4  # four schedulers share them
        warps = min(most.warps, warps_by_registers)
        blocks = min(most.blocks, warps // self.n_warps, most.shared * 1024 // of_a_block)
        return blocks * self.n_warps / most.warps


# --- compiling --------------------------------------------------------------------------------------------------------


class AbsentGPU:
    """What Triton asks of a driver before it compiles."""

    def __init__(self, target: str):
        self.target = GPUTarget("cuda", int(target.removeprefix("sm_")), 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return int(self.target.arch)  # kernels are kept by device, so each target has a number of its own

    def get_current_stream(self, device: int) -> int:
        return 0


@contextmanager
def compiled_for(target: str) -> Iterator[list]:
    """Launches inside compile for that target and run nothing; the list fills with what they compiled."""
    kernels, run, capability, check = [], JITFunction.run, torch.cuda.get_device_capability, launch.check

    def compile_only(self, *args, grid, warmup, **kwargs):
        kernels.append(run(self, *args, grid=grid, warmup=True, **kwargs))

    arch = int(target.removeprefix("sm_"))
    triton.runtime.driver.set_active(AbsentGPU(target))  # pyright: ignore[reportArgumentType]
    JITFunction.run, torch.cuda.get_device_capability = compile_only, lambda device=None: divmod(arch, 10)
    launch.check = lambda *tensors: None  # the tensors are on the CPU; only their shapes and alignments are read
    try:
        yield kernels
    finally:
        JITFunction.run, torch.cuda.get_device_capability, launch.check = run, capability, check


def _heads(width: int, dtype: torch.dtype, n_queries: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries of 8 heads and keys of 2, never written to."""
    return torch.empty(2, 8, n_queries, width, dtype=dtype), torch.empty(2, 2, 4096, width, dtype=dtype)


CAUSAL = Pattern(right=0)
EVERYTHING = Pattern(
    right=0,
    documents=torch.zeros(2, 4096, dtype=torch.int32),
    lengths=torch.zeros(2, dtype=torch.int32),
    cap=30.0,
    slopes=torch.ones(8),
)
NOISE = {"p_dropout": 0.1, "sinks": torch.zeros(8)}


def _forward(width: int, dtype: torch.dtype, pattern: Pattern = CAUSAL, **more) -> None:
    q, k = _heads(width, dtype)
    forward(q, k, k, pattern, scale=width**-0.5, **more)


def _backward(width: int, dtype: torch.dtype, pattern: Pattern = CAUSAL, **more) -> None:
    q, k = _heads(width, dtype)
    backward(q, q, k, k, q, torch.empty(2, 8, 4096), pattern, scale=width**-0.5, **more)


def _decode(width: int, dtype: torch.dtype) -> None:
    q, k = _heads(width, dtype, n_queries=1)
    decode(q, k, k, torch.ones(2, dtype=torch.long), n_splits=8)


def _paged(width: int, dtype: torch.dtype) -> None:
    q, k = _heads(width, dtype, n_queries=1)
    pool = k.view(512, 2, 16, width)
    blocks = torch.zeros(2, 256, dtype=torch.long)
    decode(q, pool, pool, torch.ones(2, dtype=torch.long), blocks=blocks, n_splits=8)


CALLS: dict[str, Callable[[int, torch.dtype], None]] = {
    "forward": _forward,
    "backward": _backward,
    "forward, all features": partial(_forward, pattern=EVERYTHING, **NOISE),
    "backward, all features": partial(_backward, pattern=EVERYTHING, **NOISE),
    "decode": _decode,
    "decode, paged": _paged,
}
"""After the comma: what is said of the kernels that such a call launches."""


def rows(call: str, target: str, width: int, dtype: torch.dtype) -> list[Row]:
    """What the kernels of one call become for one target."""
    with compiled_for(target) as kernels:
        CALLS[call](width, dtype)
    return [_row(kernel, call, target, width, dtype) for kernel in kernels]


def _row(kernel, call: str, target: str, width: int, dtype: torch.dtype) -> Row:
    """The numbers of one compiled kernel."""
    constants = {kernel.src.fn.arg_names[path[0]]: value for path, value in kernel.src.constants.items()}
    tile = f"{constants['M']} x {constants['N']}" if "M" in constants else "-"
    name = "".join((kernel.metadata.name.removesuffix("_kernel"), *call.partition(",")[1:]))
    usage = _resource_usage(kernel.asm["cubin"])
    products = {name: len(re.findall(rf"^\s*(?:@\S+\s+)?{name}", kernel.asm["ptx"], re.MULTILINE)) for name in PRODUCTS}
    return Row(
        name, target, width, dtype, tile, kernel.metadata.num_warps, kernel.metadata.num_stages, usage["REG"],
        kernel.metadata.shared, usage["STACK"] + usage["LOCAL"], {name: n for name, n in products.items() if n},
    )  # fmt: skip


def _resource_usage(cubin: bytes) -> dict[str, int]:
    """What `cuobjdump --dump-resource-usage` says of the only kernel in a binary."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        said = subprocess.run([tool, "--dump-resource-usage", file], check=True, capture_output=True, text=True).stdout
    return {name: int(n) for name, n in re.findall(r"(REG|STACK|LOCAL):(\d+)", said)}


def faults(row: Row) -> list[str]:
    """What a row must not say. With all features at once a few bytes may spill; the page says how many."""
    where = f"{row.kernel}, {row.target}, width {row.width}"
    most = MULTIPROCESSORS[row.target]
    found = []
    if row.spilled and not row.kernel.endswith("all features"):
        found.append(f"{where}: {row.spilled} bytes spilled; choose a smaller tile in tiles.py")
    if row.shared > most.shared_block * 1024:
        found.append(f"{where}: {row.shared} bytes of shared memory, and a block gets {most.shared_block} KB")
    kind = row.kernel.partition(",")[0]
    if kind in ("forward", "dq", "dkdv") and most.product not in row.products:
        found.append(f"{where}: no {most.product}, but {row.products or 'no matrix instruction at all'}")
    if kind == "split" and not row.products:
        found.append(f"{where}: no matrix instruction")
    return found


# --- the page ---------------------------------------------------------------------------------------------------------


PREFACE = f"""# The kernels, compiled

`make gpu-report` writes this page; do not edit it. Triton {triton.__version__} compiled each kernel of
`lib/attention/flash_triton` for four generations of GPU, on a machine without one: A100 (sm_80), L4 and RTX 40 (sm_89),
H100 (sm_90), B200 (sm_100). Nothing was measured on a GPU: these numbers say what a kernel asks for, not how
fast it is.

- **tile**: queries by keys that a program holds at a time, from `lib/attention/flash_triton/tiles.py`; **warps**, of 32
  threads each, share its work; **stages**: how many tiles are on their way from memory at once.
- **registers** of one thread, 255 at most, and **shared** memory of one block, in KB.
- **spilled**: bytes of a thread that found no register and went to memory, the stack and local memory that
  `cuobjdump --dump-resource-usage` tells of. A test fails unless this is 0 in every table, those of all
  features at once excepted.
- **matrix instructions**: how often they stand in the PTX, the language that Triton hands to NVIDIA's assembler.
  sm_80 has `mma.sync`; sm_90 brought `wgmma`, sm_100 `tcgen05.mma`. A tile of decoding has 16 rows, too few
  for those two.
- **occupancy**: the share of a multiprocessor's warps that fit at a time, from registers, shared memory and warps, with
  the limits of NVIDIA's CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". It is low where
  tiles are large: such a kernel hides the wait for memory by asking for the next tile early, not by many warps.

There are 8 heads of queries and 2 of keys, all lengths are 4096, and the mask is causal; its borders are arguments of a
kernel and no part of its code. *All features*: documents, lengths, a soft cap, ALiBi, dropout and sinks at once.
"""


def _line(row: Row) -> str:
    """A row of a table in Markdown."""
    products = ", ".join(f"{n} {name}" for name, n in row.products.items()) or "-"
    dtype = {torch.float16: "fp16", torch.bfloat16: "bf16"}[row.dtype]
    cells = [row.target, row.width, dtype, row.tile, row.n_warps, row.n_stages, row.registers]
    cells += [f"{row.shared / 1024:.1f}", row.spilled, products, f"{row.occupancy:.0%}"]
    return f"| {' | '.join(map(str, cells))} |"


def page(tables: dict[str, list[Row]], turing: list[Row]) -> str:
    """The page in Markdown. turing: the forward and backward kernels for sm_75, width 64."""
    columns = ["target", "width", "dtype", "tile", "warps", "stages", "registers", "shared", "spilled"]
    columns += ["matrix instructions", "occupancy"]
    header = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    parts = [PREFACE]
    for name, lines in tables.items():
        parts += [f"## {name}\n", *header, *map(_line, lines), ""]
    spilled = ", ".join(f"{row.spilled} bytes in {row.kernel}" for row in turing)
    counted = sum(sum(row.products.values()) for row in turing)
    parts += [
        "## Older GPUs\n",
        f"For sm_75, the T4 that Colab lends, the kernels at width 64 in fp16 have {counted} matrix instructions, and",
        f"a thread spills {spilled}.",
        'Below sm_80, `backend="auto"` therefore takes SDPA.',
    ]
    return "\n".join(parts) + "\n"


def write() -> list[str]:
    """Compile everything, write the page, and say what must not be."""
    tables: dict[str, list[Row]] = {}
    for target in MULTIPROCESSORS:
        for width in WIDTHS:
            for dtype in DTYPES:
                for call in CALLS:
                    for row in rows(call, target, width, dtype):
                        if row.kernel != "combine, paged":  # which is `combine` again
                            tables.setdefault(row.kernel, []).append(row)
                print(f"{target}, width {width}, {dtype}", flush=True)
    turing = [row for call in ("forward", "backward") for row in rows(call, "sm_75", 64, torch.float16)]
    PAGE.write_text(page(tables, turing), "utf-8")
    return [fault for table in tables.values() for row in table for fault in faults(row)]


def check(target: str) -> list[str]:
    """Compile for one target in bf16, and say what must not be: faults, and lines that are not those of the page."""
    calls = [(call, width) for call in CALLS for width in WIDTHS if width == 64 or "all features" not in call]
    compiled = [row for call, width in calls for row in rows(call, target, width, torch.bfloat16)]
    found = [fault for row in compiled for fault in faults(row)]
    written = PAGE.read_text("utf-8")
    if f"Triton {triton.__version__} " not in written:
        print(f"docs/gpu.md was made with another Triton than {triton.__version__}: its numbers are not compared.")
        return found
    stale = [row for row in compiled if row.kernel != "combine, paged" and _line(row) not in written]
    return found + [f"docs/gpu.md does not have {row.kernel}: {_line(row)}; run `make gpu-report`" for row in stale]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", choices=MULTIPROCESSORS, metavar="TARGET", help="compare one target with the page")
    target = parser.parse_args(arguments).check
    found = check(target) if target else write()
    print("\n".join(found) or "No spills, and matrix instructions everywhere.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
