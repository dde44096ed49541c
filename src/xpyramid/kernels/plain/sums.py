"""Sums over windows, and means, in NumPy; see `kernels.sums`."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpyramid.kernels.arrays import Array, Scalar
from xpyramid.kernels.plain.windows import rows
from xpyramid.types import DType


def add_rows(src: Array, fz: int, fy: int, dtype: DType) -> Array:
    """Return the sums of the rows of each row of windows."""
    b, z, y, x = src.shape
    total = np.zeros((b, -(-z // fz), -(-y // fy), x), dtype)
    for cells, part in rows(src, fz, fy):
        np.add(total[cells], part, out=total[cells], dtype=dtype, casting="unsafe")
    return total


def reduce_rows(row: Array, factor: int, out: Array) -> None:
    """Fill ``out`` with sums of ``factor`` neighbours; the last may have fewer."""
    for x in range(min(factor, row.shape[3])):
        part = row[..., x::factor]
        if x == 0:
            out[...] = part
        else:
            out[..., : part.shape[3]] += part


def window_sum(
    src: Array, fz: int, fy: int, fx: int, together: bool | None, row: Array, out: Array
) -> None:
    """Fill ``out`` with the sums over windows."""
    reduce_rows(add_rows(src, fz, fy, row.dtype), fx, out)


def window_sum_valid(
    src: Array, fz: int, fy: int, fx: int, skipna: bool | None, ignored: Scalar,
    row: Array, seen: Array, out: Array, count: Array,
) -> None:  # fmt: skip
    """Fill ``out`` and ``count`` with the sums and numbers of the samples that count."""
    valid = np.ones(src.shape, bool) if skipna is None else src == src  # noqa: PLR0124
    if ignored is not None:
        valid &= src != ignored
    window_sum(np.where(valid, src, src.dtype.type(0)), fz, fy, fx, None, row, out)
    window_sum(valid, fz, fy, fx, None, seen, count)


def window_squares(
    src: Array, fz: int, fy: int, fx: int, ignored: Scalar, row: Array, squares: Array,
    seen: Any, out: Array, square: Array, count: Any,
) -> None:  # fmt: skip
    """Fill ``out`` and ``square`` with the sums over windows, and with those of the squares."""
    if ignored is not None:
        valid = src != ignored
        window_sum(valid, fz, fy, fx, None, seen, count)
        src = np.where(valid, src, src.dtype.type(0))
    window_sum(src, fz, fy, fx, None, row, out)
    window_sum(src.astype(squares.dtype) ** 2, fz, fy, fx, None, squares, square)


def divide(total: Array, count: Scalar, rounded: bool | None, out: Array) -> None:
    """Fill ``out`` with ``total / count``; 1-D, with one count for all."""
    mean = total.astype(type(count)) / count
    out[...] = mean if rounded is None else np.rint(mean)


def divide_each(total: Array, count: Array, out: Array) -> None:
    """Fill ``out`` with ``total / count``, rounded; 1-D. Where a count is 0, it is left alone."""
    some = count != 0
    out[some] = np.rint(total[some].astype(count.dtype) / count[some])


def window_sizes(shape: tuple[int, ...], factors: tuple[int, ...]) -> Array:
    """Return how many samples each window has."""
    sizes: Array = np.ones((1,) * len(shape), np.int64)
    for axis, (n, f) in enumerate(zip(shape, factors, strict=True)):
        starts = np.arange(0, n, f)
        along = [1] * len(shape)
        along[axis] = -1
        sizes = sizes * np.minimum(f, n - starts).reshape(along)
    return sizes


def window_mean(
    src: Array, fz: int, fy: int, fx: int, together: bool | None, row: Array, total: Array,
    gz: int, gy: int, above: Array | None, ratio: Array, rounded: bool | None, out: Array,
) -> bool:  # fmt: skip
    """Fill ``out`` with means, and ``above`` with sums; whether all means of floats are finite."""
    sums = np.empty(out.shape, row.dtype)
    window_sum(src, fz, fy, fx, together, row, sums)
    if above is not None:
        for cells, part in rows(sums, gz, gy):
            above[cells] += part
    mean = sums.astype(ratio.dtype)
    mean /= window_sizes(src.shape[1:], (fz, fy, fx)).astype(ratio.dtype)
    out[...] = mean if rounded is None else np.rint(mean, out=mean)
    return rounded is not None or bool(np.isfinite(mean).all())


def divide_limbs(limbs: Array, width: int, count: Array, out: Array) -> None:
    """Fill ``out`` with sums over counts, the sums being given in limbs of ``width`` bits."""
    some = count != 0
    n = count[some]
    quotient, remainder = np.zeros_like(n), np.zeros_like(n)
    for limb in limbs:
        part = (remainder << width) + limb[some]
        digit = part // n
        remainder = part - digit * n
        quotient = (quotient << width) + digit
    quotient += (2 * remainder > n) | ((2 * remainder == n) & (quotient & 1 == 1))
    out[some] = quotient.astype(out.dtype)
