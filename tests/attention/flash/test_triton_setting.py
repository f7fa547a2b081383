"""Where the kernels run: what is said without a GPU and without Triton, and the interpreter's fault with bfloat16."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: there is none for this system")

import triton
import triton.language as tl

from lib import ROOT
from lib.attention.flash_triton import parts

WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None  # an import of it fails
import lib, lib.attention, lib.attention.flash, lib.attention.pattern
try:
    import lib.attention.flash_triton
except ImportError as error:
    print(error)
"""
WITHOUT_A_GPU = """
import sys
import torch, lib, lib.attention, lib.attention.flash
from lib.attention.pattern import Pattern
assert "triton" not in sys.modules
from lib.attention import flash_triton
x = torch.zeros(1, 1, 1, 16)
for call in (
    lambda: flash_triton.forward(x, x, x, Pattern(), scale=1.0),
    lambda: flash_triton.backward(x, x, x, x, x, x[..., 0], Pattern(), scale=1.0),
):
    try:
        call()
    except ValueError as error:
        print(error)
"""
COMPILED = """
import re
import sys
import torch
sys.path.insert(0, "scripts")
from gpu_report import compiled_for
from lib.attention.flash_triton import backward, forward
from lib.attention.flash_triton.tiles import Tile
from lib.attention.pattern import Pattern

def compile(q, k, pattern, **options):
    options.update(scale=1.0, tile=Tile(16, 16, 4, 1))
    row = q[..., 0].float()
    with compiled_for("sm_90") as kernels:
        forward(q, k, k, pattern, **options)
        backward(q, q, k, k, q, row, pattern, dlse=row, **options)
    for kernel in kernels:
        print(kernel.metadata.name, "atomics" if re.search(r"\\b(atom|red)\\.", kernel.asm["ptx"]) else "")

one = torch.zeros(1, 1, 1, 1)
compile(one, one, Pattern())
whole = torch.ones(1, 1).int()
everything = Pattern(left=1, right=1, documents=whole, lengths=whole[0], cap=1.0, slopes=one[0, 0, 0])
compile(one, one, everything, p_dropout=0.1, seed=2**62, sinks=one[0, 0, 0])
q, k = (torch.zeros(2, n, 24, 33, dtype=torch.bfloat16).mT for n in (4, 2))
compile(q, k, Pattern(left=16, shift=-3, slopes=torch.ones(4)), p_dropout=0.1, seed=1, sinks=torch.zeros(4))
"""


def printed(program: str) -> str:
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_ALWAYS_COMPILE": "1"}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_without_triton():
    assert "pip install 'triton>=3.4'" in printed(WITHOUT_TRITON)


def test_tensors_on_the_cpu_without_the_interpreter():
    assert printed(WITHOUT_A_GPU).count("set TRITON_INTERPRET=1 before") == 2


def test_any_call_compiles():
    """Sizes of 1, which Triton takes for constants, all features at once, transposed heads; and nobody uses atomics."""
    lines = printed(COMPILED).splitlines()
    assert [line.strip() for line in lines] == ["forward_kernel", "dq_kernel", "dkdv_kernel"] * 3


@triton.jit
def product_kernel(a, b, y, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(y + at, parts.dot(tl.load(a + at), tl.load(b + at)))


def test_products_of_bfloat16(rng):
    """The interpreter's own tl.dot multiplies the bits of bfloat16 as if they were whole numbers."""
    a, b = (torch.from_numpy(rng.normal(0, 1, (16, 16))).to(torch.bfloat16) for _ in "ab")
    y = torch.empty(16, 16)
    product_kernel[(1,)](a, b, y, 16)
    torch.testing.assert_close(y, a.float() @ b.float(), atol=1e-5, rtol=1e-5)


@triton.jit
def tanh_kernel(x, y, N: tl.constexpr):
    tl.store(y + tl.arange(0, N), parts.tanh(tl.load(x + tl.arange(0, N))))


def test_tanh():
    """To a few roundings of float32, near 0 as well, where a soft cap does most of its work."""
    x = torch.cat([torch.logspace(-8, 2, 512), -torch.logspace(-8, 2, 512)])
    y = torch.empty_like(x)
    tanh_kernel[(1,)](x, y, 1024)
    torch.testing.assert_close(y.double(), x.double().tanh(), atol=0, rtol=5e-7)
