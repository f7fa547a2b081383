"""What is claimed of `lib.layers.conv`, `pool`, `norm` and `windows`, each with its reference."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F

from lib.layers.conv import conv2d_fft, conv2d_im2col, conv2d_loops
from lib.layers.pool import avg_pool2d, max_pool2d
from tests.claims import Claim, largest
from tests.layers.conv import parts

TOLERANCE = 1e-10
BOTH = "outputs and gradients"


def claim(name, reference, cases, error) -> Claim:
    return Claim(name, reference, TOLERANCE, partial(largest, cases, error, TOLERANCE))


def torch_avg_pool2d(x, kernel_size, stride, padding):
    return F.avg_pool2d(x, kernel_size, stride, padding)


def torch_max_pool2d(x, kernel_size, stride, padding):
    return F.max_pool2d(x, kernel_size, stride, padding)


CONV, POOL = parts.convolutions(), parts.pools()
CLAIMS = [
    *(
        claim(f.__name__, f"torch.nn.functional.conv2d: {BOTH}", CONV, partial(parts.conv_error, f))
        for f in (conv2d_loops, conv2d_im2col, conv2d_fft)
    ),
    claim("conv2d_backward", "torch's autograd of conv2d: dx, dw, db", CONV, parts.backward_error),
    claim("conv2d_backward: dx", "<dx, x> = <dy, conv(x)>", CONV, parts.adjoint_error),
    claim(
        "conv_transpose2d",
        f"torch.nn.functional.conv_transpose2d: {BOTH}",
        parts.transposed(),
        parts.transposed_error,
    ),
    claim("Conv2d", f"torch.nn.Conv2d: {BOTH}", CONV, parts.conv_module_error),
    claim("ConvTranspose2d", f"torch.nn.ConvTranspose2d: {BOTH}", parts.transposed(), parts.transposed_module_error),
    claim(
        "max_pool2d",
        f"torch.nn.functional.max_pool2d: {BOTH}",
        POOL,
        partial(parts.pool_error, max_pool2d, torch_max_pool2d),
    ),
    claim(
        "avg_pool2d",
        f"torch.nn.functional.avg_pool2d: {BOTH}",
        POOL,
        partial(parts.pool_error, avg_pool2d, torch_avg_pool2d),
    ),
    claim(
        "BatchNorm",
        f"torch.nn.BatchNorm1d, 2d: {BOTH}, running statistics",
        parts.batches(),
        parts.batch_norm_error,
    ),
    claim("receptive_field", "which inputs have a gradient, for a stack of kernels", parts.stacks, parts.seen_error),
]
