"""Sums divided by counts, rounded half to even."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpyramid.kernels._jit import Array, inline, jit
from xpyramid.kernels.sums import add_rows, add_rows_at_once, fold

# Division is in the dtype of the count, float32 or float64 with a mantissa of m bits. For integers
# of a magnitude below 2**(m - 1) the rounded quotient is exact: one that is no tie is at least
# 1 / (2 * count) away from a tie, which is more than its rounding error.


@inline
def finish(value: Any, rounded: bool) -> Any:
    """Return a quotient as it is stored."""
    return np.rint(value) if rounded else value


@inline
def is_finite(mean: Any, rounded: Any) -> bool:
    """Whether a quotient is a number; one that is rounded, of integers, always is."""
    return True if rounded is not None else mean - mean == 0


@jit
def divide(total: Array, count: Any, rounded: bool, out: Array) -> None:
    """Fill ``out`` with ``total / count``; 1-D, with one count for all."""
    real, share = type(count), type(count)(1) / count
    if np.int64(count) & (np.int64(count) - 1) == 0:  # a power of two: the same, and faster
        for i in range(out.size):
            out[i] = finish(real(total[i]) * share, rounded)
    else:
        for i in range(out.size):
            out[i] = finish(real(total[i]) / count, rounded)


@jit
def divide_each(total: Array, count: Array, out: Array) -> None:
    """Fill ``out`` with ``total / count``, rounded; 1-D. Where a count is 0, it is left alone."""
    for i in range(out.size):
        if count[i]:
            out[i] = np.rint(count.dtype.type(total[i]) / count[i])


@inline
def divide_row(
    total: Array, rows: int, length: int, factor: int, ratio: Array, rounded: Any,
    out: Array, b: int, z: int, y: int,
) -> bool:  # fmt: skip
    """Fill a row of ``out`` with means of ``rows`` times ``factor`` samples; see `window_mean`.

    Along the last dimension there are ``length`` samples; the last cell may have fewer.
    """
    real, whole, count = ratio.dtype.type, length // factor, rows * factor
    finite = True
    if count & (count - 1) == 0:  # see `divide`
        share = real(1) / real(count)
        for x in range(whole):
            mean = real(total[0, 0, 0, x]) * share
            out[b, z, y, x] = finish(mean, rounded)
            finite &= is_finite(mean, rounded)
    else:
        for x in range(whole):
            mean = real(total[0, 0, 0, x]) / real(count)
            out[b, z, y, x] = finish(mean, rounded)
            finite &= is_finite(mean, rounded)
    if whole < out.shape[3]:
        mean = real(total[0, 0, 0, whole]) / real(rows * (length - whole * factor))
        out[b, z, y, whole] = finish(mean, rounded)
        finite &= is_finite(mean, rounded)
    return finite


@jit
def window_mean(
    src: Array, fz: int, fy: int, fx: int, at_once: Any, row: Array, total: Array,
    gz: int, gy: int, above: Any, ratio: Array, rounded: Any, out: Array,
) -> bool:  # fmt: skip
    """Fill ``out`` with means: `window_sum` and `divide` at once, which saves a pass of memory.

    Where there are levels above, ``above`` is not None but (b, z, y, x) of zeros: the sums of each
    ``gz`` times ``gy`` rows of windows are added to it, in the order of `add_rows`.

    ``row`` and ``total`` are buffers of a row of ``src`` and, as (1, 1, 1, x), of ``out``.
    ``ratio`` is any array of the dtype to divide in. Returns whether all means of floats are
    finite.
    """
    finite = True
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, src.shape[1])
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, src.shape[2])
                if at_once is None:
                    add_rows(src, b, z0, z1, y0, y1, row)
                else:
                    add_rows_at_once(src, b, z0, z1, y0, y1, row)
                fold(row, fx, total, 0, 0, 0)
                if above is not None:
                    i, j = z // gz, y // gy
                    for x in range(out.shape[3]):
                        above[b, i, j, x] += total[0, 0, 0, x]
                rows = (z1 - z0) * (y1 - y0)
                finite &= divide_row(total, rows, row.size, fx, ratio, rounded, out, b, z, y)
    return finite


@jit
def divide_limbs(limbs: Array, width: int, count: Array, out: Array) -> None:
    """Fill ``out`` with sums over counts, the sums being given in limbs of ``width`` bits.

    ``limbs[k, i]`` is the ``k``-th highest int64 limb of sum ``i``, not normalised: the sum is
    ``sum_k limbs[k, i] << width * (last - k)``. Schoolbook long division; with
    ``count << width <= 2**62`` no intermediate value overflows. A count of 0 is left alone.
    """
    for i in range(out.size):
        n = count[i]
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
