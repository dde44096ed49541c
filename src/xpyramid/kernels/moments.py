"""Spread over windows: sums of squared distances from the mean.

Of a cell there are its number of samples, a sample (the pivot), the mean's distance from the pivot,
and the sum of the squared distances from the mean. Numbers are only ever subtracted from others of
the same window, so nothing gets lost where they are large and lie close together.
"""

from __future__ import annotations

import numpy as np

from xpyramid.kernels._jit import inline, jit
from xpyramid.kernels.arrays import Array, Scalar

#: Where a window begins and ends along a dimension.
Span = tuple[int, int]


@inline
def distance(a: Scalar, b: Scalar, integers: bool | None) -> Scalar:
    """Return ``a - b`` in float64, rounded once; ``integers`` is None for floats."""
    if integers is None:
        return np.float64(a) - np.float64(b)
    if a >= b:  # the difference of 64-bit integers needs one bit more than they have, with its sign
        return np.float64(np.uint64(a) - np.uint64(b))
    return -np.float64(np.uint64(b) - np.uint64(a))


@inline
def counts_as(value: Scalar, skipna: bool | None, ignored: Scalar) -> bool:
    """Whether a sample counts; what does not apply is None."""
    valid = True
    if skipna is not None:
        valid &= value == value  # noqa: PLR0124
    if ignored is not None:
        valid &= value != ignored
    return valid


@inline
def mean_of_samples(
    src: Array, b: int, zs: Span, ys: Span, xs: Span, integers: bool | None, skipna: bool | None,
    ignored: Scalar,
) -> tuple[int, Scalar, Scalar]:  # fmt: skip
    """Return how many samples of a window count, the first of them, and how far their mean is."""
    n, total, first = 0, 0.0, src[b, zs[0], ys[0], xs[0]]
    for z in range(zs[0], zs[1]):
        for y in range(ys[0], ys[1]):
            for x in range(xs[0], xs[1]):
                value = src[b, z, y, x]
                if counts_as(value, skipna, ignored):
                    first = value if n == 0 else first
                    n += 1
                    total += distance(value, first, integers)
    return n, first, total / n if n else 0.0


@inline
def spread_of_samples(
    src: Array, b: int, zs: Span, ys: Span, xs: Span, integers: bool | None, skipna: bool | None,
    ignored: Scalar, first: Scalar, mean: Scalar,
) -> tuple[Scalar, Scalar]:  # fmt: skip
    """Return the sums of the distances from a mean, and of their squares."""
    rest, spread = 0.0, 0.0
    for z in range(zs[0], zs[1]):
        for y in range(ys[0], ys[1]):
            for x in range(xs[0], xs[1]):
                value = src[b, z, y, x]
                if counts_as(value, skipna, ignored):
                    d = distance(value, first, integers) - mean
                    rest += d
                    spread += d * d
    return rest, spread


@inline
def span(i: int, factor: int, length: int) -> Span:
    """Return where a window begins and ends."""
    return i * factor, min((i + 1) * factor, length)


@jit
def window_spread(
    src: Array, fz: int, fy: int, fx: int, integers: bool | None, skipna: bool | None,
    ignored: Scalar, count: Array, pivot: Array, offset: Array, square: Array,
) -> None:  # fmt: skip
    """Fill what there is of each cell, see the module, from samples (b, z, y, x)."""
    for b in range(count.shape[0]):
        for z in range(count.shape[1]):
            zs = span(z, fz, src.shape[1])
            for y in range(count.shape[2]):
                ys = span(y, fy, src.shape[2])
                for x in range(count.shape[3]):
                    xs = span(x, fx, src.shape[3])
                    n, first, mean = mean_of_samples(src, b, zs, ys, xs, integers, skipna, ignored)
                    rest, spread = spread_of_samples(
                        src, b, zs, ys, xs, integers, skipna, ignored, first, mean
                    )
                    if n:  # what the mean has lost by rounding
                        mean += rest / n
                        spread -= rest * rest / n
                    count[b, z, y, x] = n
                    pivot[b, z, y, x] = first
                    offset[b, z, y, x] = mean
                    square[b, z, y, x] = 0.0 if spread < 0 else spread


@inline
def mean_of_cells(
    count: Array, pivot: Array, offset: Array, b: int, zs: Span, ys: Span, xs: Span,
    integers: bool | None,
) -> tuple[int, Scalar, Scalar]:  # fmt: skip
    """Return what `mean_of_samples` does, of cells."""
    n, total, first = 0, 0.0, pivot[b, zs[0], ys[0], xs[0]]
    for z in range(zs[0], zs[1]):
        for y in range(ys[0], ys[1]):
            for x in range(xs[0], xs[1]):
                c = count[b, z, y, x]
                if c:
                    first = pivot[b, z, y, x] if n == 0 else first
                    n += c
                    d = distance(pivot[b, z, y, x], first, integers)
                    total += c * (d + offset[b, z, y, x])
    return n, first, total / n if n else 0.0


@inline
def spread_of_cells(
    count: Array, pivot: Array, offset: Array, square: Array, b: int, zs: Span, ys: Span, xs: Span,
    integers: bool | None, first: Scalar, mean: Scalar,
) -> tuple[Scalar, Scalar]:  # fmt: skip
    """Return what `spread_of_samples` does, of cells."""
    rest, spread = 0.0, 0.0
    for z in range(zs[0], zs[1]):
        for y in range(ys[0], ys[1]):
            for x in range(xs[0], xs[1]):
                c = count[b, z, y, x]
                if c:
                    d = distance(pivot[b, z, y, x], first, integers) + offset[b, z, y, x] - mean
                    rest += c * d
                    spread += square[b, z, y, x] + c * d * d
    return rest, spread


@jit
def merge_spread(
    count: Array, pivot: Array, offset: Array, square: Array, fz: int, fy: int, fx: int,
    integers: bool | None, count_out: Array, pivot_out: Array, offset_out: Array,
    square_out: Array,
) -> None:  # fmt: skip
    """Fill what there is of each cell from that of the cells below it, all (b, z, y, x)."""
    for b in range(count_out.shape[0]):
        for z in range(count_out.shape[1]):
            zs = span(z, fz, count.shape[1])
            for y in range(count_out.shape[2]):
                ys = span(y, fy, count.shape[2])
                for x in range(count_out.shape[3]):
                    xs = span(x, fx, count.shape[3])
                    n, first, mean = mean_of_cells(count, pivot, offset, b, zs, ys, xs, integers)
                    rest, spread = spread_of_cells(
                        count, pivot, offset, square, b, zs, ys, xs, integers, first, mean
                    )
                    if n:
                        mean += rest / n
                        spread -= rest * rest / n
                    count_out[b, z, y, x] = n
                    pivot_out[b, z, y, x] = first
                    offset_out[b, z, y, x] = mean
                    square_out[b, z, y, x] = 0.0 if spread < 0 else spread
