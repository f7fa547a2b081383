"""What the kernels share on the device.

Scores are in units of log 2 here, x log2(e), since the hardware's exponential is 2^x. Letters of the axes:
lib/shapes.py; m queries and n keys make a tile.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl
from triton import knobs

INTERPRETED = tl.constexpr(knobs.runtime.interpret)
LOG2E = tl.constexpr(math.log2(math.e))
LN2 = tl.constexpr(math.log(2))
INF = tl.constexpr(math.inf)


@triton.jit
def dot(a, b):
    """The matrix product a b, summed in float32; float32 itself is not cut down to tf32."""
    if INTERPRETED:  # which takes the bits of bfloat16 for whole numbers, and says nothing
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """x, float32, in a dtype as narrow or narrower, to the nearest."""
    if INTERPRETED and dtype == tl.bfloat16:  # which cuts the last 16 bits off: half of the even neighbour's gap first
        bits = x.to(tl.uint32, bitcast=True)
        x = (bits + 0x7FFF + ((bits >> 16) & 1)).to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def pointers(x, strides, b, h, i0, i, d):
    """Where the rows i0 + i of head h in sequence b stand, (len(i), len(d)). Only the tile's corner may be far away."""
    corner = tl.cast(b, tl.int64) * strides[0] + tl.cast(h, tl.int64) * strides[1] + tl.cast(i0, tl.int64) * strides[2]
    return x + corner + (i[:, None] * strides[2] + d[None, :] * strides[3])


@triton.jit
def load(x, strides, b, h, i0, i, end, d, D: tl.constexpr, EDGE: tl.constexpr):
    """The rows i0 + i of head h in sequence b; 0 beyond its width D, and at an edge from row `end` on."""
    at = pointers(x, strides, b, h, i0, i, d)
    rows, columns = (i0 + i < end)[:, None], (d < D)[None, :]
    if EDGE and D != d.shape[0]:
        return tl.load(at, mask=rows & columns, other=0.0)
    elif EDGE:
        return tl.load(at, mask=rows, other=0.0)
    elif D != d.shape[0]:
        return tl.load(at, mask=columns, other=0.0)
    else:
        return tl.load(at)


@triton.jit
def store(x, values, strides, b, h, i0, i, end, d, D: tl.constexpr):
    """Write rows i0 + i, as far as `end`, in the dtype of x."""
    at = pointers(x, strides, b, h, i0, i, d)
    tl.store(at, rounded(values, x.dtype.element_ty), mask=(i0 + i < end)[:, None] & (d < D)[None, :])


# --- which keys -------------------------------------------------------------------------------------------------------


@triton.jit
def keys_of(rules, t, b, T, S):
    """lo, hi: the queries t of sequence b may attend to the keys lo <= s < hi. See flash.py::intervals."""
    lo = tl.maximum(t + rules.shift - rules.left, 0)
    hi = tl.minimum(t + rules.shift + rules.right + 1, S)
    if rules.first is not None:
        lo = tl.maximum(lo, tl.load(rules.first + b * T + t))
        hi = tl.minimum(hi, tl.load(rules.end + b * T + t))
    if rules.lengths is not None:
        hi = tl.minimum(hi, tl.load(rules.lengths + b))
    return lo, tl.maximum(hi, 0)


@triton.jit
def queries_of(rules, s, b, T):
    """The same the other way round: the keys s, all within their sequence's length, are seen by lo <= t < hi."""
    lo = tl.maximum(s - rules.shift - rules.right, 0)
    hi = tl.minimum(s - rules.shift + rules.left + 1, T)
    if rules.first is not None:
        lo = tl.maximum(lo, tl.load(rules.first + b * T + s))
        hi = tl.minimum(hi, tl.load(rules.end + b * T + s))
    return lo, tl.maximum(hi, 0)


@triton.jit
def spans(first_lo, first_hi, last_lo, last_hi, n: tl.constexpr):
    """Four borders from first_lo to last_hi: between the inner two, every row of the tile sees all of every step of n.

    Of a tile of rows, the first sees first_lo .. first_hi, the last last_lo .. last_hi, and neither end ever decreases.
    """
    whole = first_lo + tl.cdiv(tl.maximum(last_lo - first_lo, 0), n) * n
    ragged = whole + tl.maximum(first_hi - whole, 0) // n * n
    return first_lo, tl.minimum(whole, last_hi), tl.minimum(ragged, last_hi), last_hi


# --- what a score becomes ---------------------------------------------------------------------------------------------


@triton.jit
def scores(x, rules, slope, away, scale):
    """From the products x = q . k: the scores in units of log 2, and by how much a soft cap flattens them.

    slope: of this head, with ALiBi. away: position of the query minus that of the key.
    """
    flat = 1.0
    if rules.cap is None:
        x = x * (scale * LOG2E)
    else:
        bent = tanh(x * (scale / rules.cap))
        x = bent * (rules.cap * LOG2E)
        flat = 1 - bent * bent
    if rules.slopes is not None:
        x -= slope * LOG2E * tl.abs(away).to(tl.float32)
    return x, flat


@triton.jit
def slope_of(rules, h):
    slope = 0.0
    if rules.slopes is not None:
        slope = tl.load(rules.slopes + h)
    return slope


@triton.jit
def tanh(x):
    """tanh, to the rounding of float32. Near 0 the closed form subtracts equal numbers, so a series stands in."""
    e = tl.exp2(tl.abs(x) * (-2 * LOG2E))
    closed = (1 - e) / (1 + e)
    s = x * x
    series = x * (1 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
    return tl.where(s < 0.09, series, tl.where(x < 0, -closed, closed))


@triton.jit
def kept(seed, p_dropout, bh, t, s):
    """Where dropout leaves a weight: flash.py::kept, from the same counters."""
    bits = tl.philox(seed, s, t, bh, 0)[0]
    return (bits >> 8).to(tl.float32) * (1 / 16777216) >= p_dropout  # 2^-24
