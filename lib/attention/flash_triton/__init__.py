"""Attention in tiles as GPU kernels in Triton, and without a GPU in Triton's interpreter: TRITON_INTERPRET=1.

    forward.py      the forward kernel                  `forward`, with the signature of lib.attention.flash
    backward.py     one kernel for dq, one for dk, dv   `backward`, likewise
    parts.py        what the kernels share on the device: which keys, the scores, dropout
    launch.py       what they share before the launch: the pattern as arguments, bad input
    tiles.py        how large the tiles are
    decode.py       one new token against a cache

The interpreter runs a kernel on the CPU, one program after another, with NumPy; the variable must be set before this
package is imported. ImportError where Triton is not installed or too old.
"""

try:
    from triton import knobs  # noqa: F401
except ImportError as error:
    raise ImportError(
        "lib.attention.flash_triton needs Triton 3.4 or newer, for Linux only: `pip install 'triton>=3.4'` there; "
        "elsewhere use lib.attention.flash, the same in plain torch"
    ) from error

from lib.attention.flash_triton.backward import backward
from lib.attention.flash_triton.forward import forward

__all__ = ["backward", "forward"]
