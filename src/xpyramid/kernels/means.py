"""Sums divided by counts, rounded half to even."""

from __future__ import annotations

import numpy as np

from xpyramid.kernels._jit import Array, jit
from xpyramid.kernels.sums import add_rows, fold

# The dtype of counts, float32 or float64 with a mantissa of m bits, is that of the division. For
# integers of a magnitude below 2**(m - 1) the rounded quotient is exact: one that is no tie is at
# least 1 / (2 * count) away from a tie, which is more than its rounding error.


@jit
def divide(total: Array, count: Array, rounded: bool, out: Array) -> None:
    """Fill ``out`` with ``total / count``, 1-D; one count for all, or one each. 0 is left alone."""
    ratio = count.dtype.type
    for i in range(out.size):
        n = count[i if count.size > 1 else 0]
        if n:
            quotient = ratio(total[i]) / n
            out[i] = np.rint(quotient) if rounded else quotient


@jit
def window_mean(
    src: Array,
    fz: int,
    fy: int,
    fx: int,
    row: Array,
    total: Array,
    count: Array,
    rounded: bool,
    out: Array,
) -> None:
    """Fill ``out`` with means: `window_sum` and `divide` row by row, while the row is in cache.

    ``row`` and ``total`` are buffers of one row of ``src`` and, as (1, 1, 1, x), of ``out``;
    ``count`` is one of a number, for its dtype.
    """
    ratio = count.dtype.type
    whole = row.size // fx
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z1 = min((z + 1) * fz, src.shape[1])
            for y in range(out.shape[2]):
                y1 = min((y + 1) * fy, src.shape[2])
                add_rows(src, b, z * fz, z1, y * fy, y1, row)
                fold(row, fx, total, 0, 0, 0)
                count[0] = (z1 - z * fz) * (y1 - y * fy) * fx
                divisor = count[0]
                for x in range(whole):
                    quotient = ratio(total[0, 0, 0, x]) / divisor
                    out[b, z, y, x] = np.rint(quotient) if rounded else quotient
                count[0] = (z1 - z * fz) * (y1 - y * fy) * (row.size - whole * fx)
                for x in range(whole, out.shape[3]):
                    quotient = ratio(total[0, 0, 0, x]) / count[0]
                    out[b, z, y, x] = np.rint(quotient) if rounded else quotient


@jit
def divide_limbs(limbs: Array, width: int, count: Array, out: Array) -> None:
    """Fill ``out`` with sums over counts, the sums being given in limbs of ``width`` bits.

    ``limbs[k, i]`` is the ``k``-th highest int64 limb of sum ``i``, not normalised: the sum is
    ``sum_k limbs[k, i] << width * (last - k)``. Schoolbook long division; with
    ``count << width <= 2**62`` no intermediate value overflows. A count of 0 is left alone.
    """
    for i in range(out.size):
        n = count[i if count.size > 1 else 0]
        if n:
            quotient = np.int64(0)
            remainder = np.int64(0)
            for k in range(limbs.shape[0]):
                part = (remainder << width) + limbs[k, i]
                digit = part // n
                remainder = part - digit * n
                quotient = (quotient << width) + digit
            if 2 * remainder > n or (2 * remainder == n and quotient & 1):
                quotient += 1
            out[i] = quotient
