"""Sums over windows.

Whole rows are added first, then neighbours within the row. For floats this order is part of the
result: it follows the dimensions, so no chunking and no memory order can change a bit.
"""

from __future__ import annotations

from typing import Any

from xpyramid.kernels._jit import Array, inline, jit

# Sums at one place of a row: over one row, over two, over two by two, in the order of `add_rows`.
# Loops of them vectorise, and read as fast as a copy does. Every operation is cast, for numba would
# widen it.


@inline
def one(wide: Any, src: Array, b: int, z0: int, y0: int, x: int) -> Any:
    """Return the sum over a window of one row."""
    return wide(wide(0) + wide(src[b, z0, y0, x]))


@inline
def two(wide: Any, src: Array, b: int, z0: int, z1: int, y0: int, y1: int, x: int) -> Any:
    """Return the sum over the first and the last row of a window."""
    return wide(wide(wide(0) + wide(src[b, z0, y0, x])) + wide(src[b, z1 - 1, y1 - 1, x]))


@inline
def four(wide: Any, src: Array, b: int, z0: int, y0: int, x: int) -> Any:
    """Return the sum over a window of two by two rows."""
    total = wide(wide(wide(0) + wide(src[b, z0, y0, x])) + wide(src[b, z0, y0 + 1, x]))
    return wide(wide(total + wide(src[b, z0 + 1, y0, x])) + wide(src[b, z0 + 1, y0 + 1, x]))


@inline
def add_rows(src: Array, b: int, z0: int, z1: int, y0: int, y1: int, row: Array) -> None:
    """Fill ``row`` with the sum of the rows of a window."""
    wide = row.dtype.type
    row[:] = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(row.size):
                row[x] += wide(src[b, z, y, x])


@inline
def fold(row: Array, factor: int, out: Array, b: int, z: int, y: int) -> None:
    """Fill a row of ``out`` with sums of ``factor`` neighbours of ``row``; the last may have fewer.

    Rows of ``out`` are indexed, not sliced: a slice per row would cost as much as the row.
    """
    whole = row.size // factor
    if factor == 1:
        for x in range(whole):
            out[b, z, y, x] = row[x]
    else:
        for x in range(whole):
            total = row[x * factor]
            for i in range(1, factor):
                total += row[x * factor + i]
            out[b, z, y, x] = total
    if whole < out.shape[3]:
        total = row[whole * factor]
        for i in range(whole * factor + 1, row.size):
            total += row[i]
        out[b, z, y, whole] = total


@jit
def window_sum_2(src: Array, fz: int, fy: int, out: Array) -> None:
    """Fill ``out`` with the sums over windows of two along x, and of at most two along z and y."""
    wide, pairs = out.dtype.type, src.shape[3] // 2
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, src.shape[1])
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, src.shape[2])
                rows = (z1 - z0) * (y1 - y0)
                if rows == 4:
                    for x in range(pairs):
                        left = four(wide, src, b, z0, y0, 2 * x)
                        out[b, z, y, x] = wide(left + four(wide, src, b, z0, y0, 2 * x + 1))
                    for x in range(pairs, out.shape[3]):
                        out[b, z, y, x] = four(wide, src, b, z0, y0, 2 * x)
                elif rows == 2:
                    for x in range(pairs):
                        left = two(wide, src, b, z0, z1, y0, y1, 2 * x)
                        right = two(wide, src, b, z0, z1, y0, y1, 2 * x + 1)
                        out[b, z, y, x] = wide(left + right)
                    for x in range(pairs, out.shape[3]):
                        out[b, z, y, x] = two(wide, src, b, z0, z1, y0, y1, 2 * x)
                else:
                    for x in range(pairs):
                        left = one(wide, src, b, z0, y0, 2 * x)
                        out[b, z, y, x] = wide(left + one(wide, src, b, z0, y0, 2 * x + 1))
                    for x in range(pairs, out.shape[3]):
                        out[b, z, y, x] = one(wide, src, b, z0, y0, 2 * x)


@jit
def window_sum(src: Array, fz: int, fy: int, fx: int, row: Array, out: Array) -> None:
    """Fill ``out`` with the sums over windows; ``row`` is a buffer of one row of ``src``."""
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, src.shape[1])
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, src.shape[2])
                add_rows(src, b, z0, z1, y0, y1, row)
                fold(row, fx, out, b, z, y)


@jit
def window_sum_valid(
    src: Array,
    fz: int,
    fy: int,
    fx: int,
    skipna: bool,
    skip: bool,
    ignored: Any,
    row: Array,
    seen: Array,
    out: Array,
    count: Array,
) -> None:
    """Fill ``out`` and ``count`` with the sums and numbers of the samples that count.

    NaN does not if ``skipna``, nor does ``ignored`` if ``skip``.
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
                            valid = (value == value or not skipna) and not (  # noqa: PLR0124
                                skip and value == ignored
                            )
                            row[x] += wide(value) if valid else wide(0)
                            seen[x] += valid
                fold(row, fx, out, b, z, y)
                fold(seen, fx, count, b, z, y)
