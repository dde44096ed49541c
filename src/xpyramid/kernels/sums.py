"""Sums over windows, and means.

Whole rows are added first, then neighbours within the row. For floats this order is part of the
result: it follows the dimensions, so no chunking and no memory order can change a bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpyramid.kernels._jit import inline, jit
from xpyramid.kernels.arrays import Array, Scalar


@inline
def add_rows(src: Array, b: int, z0: int, z1: int, y0: int, y1: int, row: Array) -> None:
    """Fill ``row`` with the sum of the rows of a window, which are read one after the other.

    This reads memory twice as fast as a loop that needs several rows at once.
    """
    wide = row.dtype.type
    for x in range(row.size):
        row[x] = wide(0) + wide(src[b, z0, y0, x])  # so that a sum of -0.0 is 0.0, as everywhere
    for z in range(z0, z1):
        for y in range(y0 + (z == z0), y1):
            for x in range(row.size):
                row[x] += wide(src[b, z, y, x])


@inline
def add_rows_together(src: Array, b: int, z0: int, z1: int, y0: int, y1: int, row: Array) -> None:
    """Fill ``row`` as `add_rows` does, but with the rows of most windows of two in one loop.

    That is faster for bytes in a cache, of which a loop does not hold many.
    """
    wide = row.dtype.type
    if z1 - z0 == 2 and y1 - y0 == 2:
        for x in range(row.size):
            total = wide(wide(src[b, z0, y0, x]) + wide(src[b, z0, y0 + 1, x]))
            total = wide(total + wide(src[b, z0 + 1, y0, x]))
            row[x] = wide(total + wide(src[b, z0 + 1, y0 + 1, x]))
    elif (z1 - z0) * (y1 - y0) == 2:
        for x in range(row.size):
            row[x] = wide(wide(src[b, z0, y0, x]) + wide(src[b, z1 - 1, y1 - 1, x]))
    else:
        add_rows(src, b, z0, z1, y0, y1, row)


@inline
def reduce_row(row: Array, factor: int, out: Array, b: int, z: int, y: int) -> None:
    """Fill a row of ``out`` with sums of ``factor`` neighbours of ``row``; the last may have fewer.

    Rows of ``out`` are indexed, not sliced: a slice per row would cost as much as the row.
    """
    wide, whole = row.dtype.type, row.size // factor
    if factor == 2:
        for x in range(whole):
            out[b, z, y, x] = wide(row[2 * x] + row[2 * x + 1])
    else:
        for x in range(whole):
            out[b, z, y, x] = row[x * factor]
        for i in range(1, factor):
            for x in range(whole):
                out[b, z, y, x] += row[x * factor + i]
    if whole < out.shape[3]:
        total = wide(0)
        for i in range(whole * factor, row.size):
            total = wide(total + row[i])
        out[b, z, y, whole] = total


@jit
def window_sum(
    src: Array, fz: int, fy: int, fx: int, together: bool | None, row: Array, out: Array
) -> None:
    """Fill ``out`` with the sums over windows; ``row`` is a buffer of one row of ``src``.

    ``row`` has the dtype of ``out``, and best begins with a cache line. ``together`` says how rows
    are read; it is None rather than False, with which both ways would be compiled.
    """
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, src.shape[1])
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, src.shape[2])
                if together is None:
                    add_rows(src, b, z0, z1, y0, y1, row)
                else:
                    add_rows_together(src, b, z0, z1, y0, y1, row)
                reduce_row(row, fx, out, b, z, y)


@jit
def window_sum_valid(
    src: Array, fz: int, fy: int, fx: int, skipna: bool | None, ignored: Scalar,
    row: Array, seen: Array, out: Array, count: Array,
) -> None:  # fmt: skip
    """Fill ``out`` and ``count`` with the sums and numbers of the samples that count.

    NaN does not unless ``skipna`` is None, nor does ``ignored`` unless that is; see `window_sum`.
    """
    wide = row.dtype.type
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                row[:] = 0
                seen[:] = 0
                for i in range(z * fz, min((z + 1) * fz, src.shape[1])):
                    for j in range(y * fy, min((y + 1) * fy, src.shape[2])):
                        for x in range(row.size):
                            value = src[b, i, j, x]
                            valid = True
                            if skipna is not None:
                                valid &= value == value  # noqa: PLR0124
                            if ignored is not None:
                                valid &= value != ignored
                            row[x] += wide(value) if valid else wide(0)
                            seen[x] += valid
                reduce_row(row, fx, out, b, z, y)
                reduce_row(seen, fx, count, b, z, y)


@jit
def window_squares(
    src: Array, fz: int, fy: int, fx: int, ignored: Scalar, row: Array, squares: Array,
    seen: Any, out: Array, square: Array, count: Any,
) -> None:  # fmt: skip
    """Fill ``out`` and ``square`` with the sums over windows, and with those of the squares.

    Where there is something ``ignored``, ``count`` gets the numbers of the samples that count, and
    else is None, as is ``seen``; the others are buffers of a row of ``src``.
    """
    wide = row.dtype.type
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                row[:] = 0
                squares[:] = 0
                if ignored is not None:
                    seen[:] = 0
                for i in range(z * fz, min((z + 1) * fz, src.shape[1])):
                    for j in range(y * fy, min((y + 1) * fy, src.shape[2])):
                        for x in range(row.size):
                            value = wide(src[b, i, j, x])
                            if ignored is not None:
                                valid = src[b, i, j, x] != ignored
                                value = value if valid else wide(0)
                                seen[x] += valid
                            row[x] += value
                            squares[x] += value * value
                reduce_row(row, fx, out, b, z, y)
                reduce_row(squares, fx, square, b, z, y)
                if ignored is not None:
                    reduce_row(seen, fx, count, b, z, y)


# Division is in the dtype of the count, float32 or float64 with a mantissa of m bits. For integers
# of a magnitude below 2**(m - 1) the rounded quotient is exact: one that is no tie is at least
# 1 / (2 * count) away from a tie, which is more than its rounding error.


@inline
def finish(value: Scalar, rounded: bool | None) -> Scalar:
    """Return a quotient as it is stored; ``rounded`` is None for no, see `window_sum`."""
    return value if rounded is None else np.rint(value)


@inline
def is_finite(mean: Scalar, rounded: bool | None) -> bool:
    """Whether a quotient is a number; one that is rounded, of integers, always is."""
    return True if rounded is not None else mean - mean == 0


@jit
def divide(total: Array, count: Scalar, rounded: bool | None, out: Array) -> None:
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
    total: Array, rows: int, length: int, factor: int, ratio: Array, rounded: bool | None,
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
    src: Array, fz: int, fy: int, fx: int, together: bool | None, row: Array, total: Array,
    gz: int, gy: int, above: Array | None, ratio: Array, rounded: bool | None, out: Array,
) -> bool:  # fmt: skip
    """Fill ``out`` with means: `window_sum` and `divide` at once, which saves a pass of memory.

    Where there are levels above, ``above`` is not None but (b, z, y, x) of zeros: the sums of each
    ``gz`` times ``gy`` rows of windows are added to it, in the order of `add_rows`.

    ``row`` and ``total`` are buffers of a row of ``src`` and, as (1, 1, 1, x), of ``out``.
    ``ratio`` is any array of the dtype to divide in. Returns whether all means of floats are
    finite; where one is not, the rest is left alone.
    """
    finite = True
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, src.shape[1])
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, src.shape[2])
                if together is None:
                    add_rows(src, b, z0, z1, y0, y1, row)
                else:
                    add_rows_together(src, b, z0, z1, y0, y1, row)
                reduce_row(row, fx, total, 0, 0, 0)
                if above is not None:
                    i, j = z // gz, y // gy
                    for x in range(out.shape[3]):
                        above[b, i, j, x] += total[0, 0, 0, x]
                rows = (z1 - z0) * (y1 - y0)
                finite &= divide_row(total, rows, row.size, fx, ratio, rounded, out, b, z, y)
            if not finite:
                return False
    return True


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
