"""Spread over windows, in NumPy; see `kernels.moments`."""

from __future__ import annotations

import numpy as np

from xpyramid.kernels.arrays import Array, Scalar
from xpyramid.kernels.plain.windows import Cells, samples

State = tuple[Array, Array, Array, Array]


def distance(a: Array, b: Array, integers: bool | None) -> Array:
    """Return ``a - b`` in float64, rounded once; ``integers`` is None for floats."""
    if integers is None:
        return a.astype(np.float64) - b.astype(np.float64)
    low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
    size = (high - low).astype(np.float64)
    return np.where(a >= b, size, -size)


def counts_as(value: Array, skipna: bool | None, ignored: Scalar) -> Array:
    """Return which samples count."""
    valid = np.ones(value.shape, bool) if skipna is None else value == value  # noqa: PLR0124
    if ignored is not None:
        valid &= value != ignored
    return valid


def put(target: Array, cells: Cells, where: Array, values: Array) -> None:
    """Put values into some cells, where a mask says so."""
    np.copyto(target[cells], values, where=where, casting="unsafe")


def finish(n: Array, mean: Array, rest: Array, spread: Array) -> tuple[Array, Array]:
    """Return what a mean and a spread are with what the mean has lost by rounding."""
    some = n > 0
    mean = np.where(some, mean + rest / n, mean)
    spread = np.where(some, spread - rest * rest / n, spread)
    return mean, np.where(spread < 0, 0.0, spread)


def window_spread(
    src: Array, fz: int, fy: int, fx: int, integers: bool | None, skipna: bool | None,
    ignored: Scalar, count: Array, pivot: Array, offset: Array, square: Array,
) -> None:  # fmt: skip
    """Fill what there is of each cell, see the kernels, from samples (b, z, y, x)."""
    count[...], pivot[...] = 0, src[:, ::fz, ::fy, ::fx]
    total, rest, spread = (np.zeros(count.shape) for _ in range(3))
    for cells, value in samples(src, fz, fy, fx):
        valid = counts_as(value, skipna, ignored)
        put(pivot, cells, valid & (count[cells] == 0), value)
        count[cells] += valid
        put(total, cells, valid, total[cells] + distance(value, pivot[cells], integers))
    mean = np.where(count > 0, total / count, 0.0)
    for cells, value in samples(src, fz, fy, fx):
        valid = counts_as(value, skipna, ignored)
        d = distance(value, pivot[cells], integers) - mean[cells]
        put(rest, cells, valid, rest[cells] + d)
        put(spread, cells, valid, spread[cells] + d * d)
    offset[...], square[...] = finish(count, mean, rest, spread)


def merge_spread(
    count: Array, pivot: Array, offset: Array, square: Array, fz: int, fy: int, fx: int,
    integers: bool | None, count_out: Array, pivot_out: Array, offset_out: Array,
    square_out: Array,
) -> None:  # fmt: skip
    """Fill what there is of each cell from that of the cells below it, all (b, z, y, x)."""
    factors = fz, fy, fx
    count_out[...], pivot_out[...] = 0, pivot[:, ::fz, ::fy, ::fx]
    total, rest, spread = (np.zeros(count_out.shape) for _ in range(3))
    entries = [[part for _, part in samples(each, *factors)] for each in (pivot, offset, square)]
    below = list(zip(samples(count, *factors), *entries, strict=True))
    for (cells, c), first, far, _ in below:
        put(pivot_out, cells, (c > 0) & (count_out[cells] == 0), first)
        count_out[cells] += c
        d = distance(first, pivot_out[cells], integers)
        put(total, cells, c > 0, total[cells] + c * (d + far))
    mean = np.where(count_out > 0, total / count_out, 0.0)
    for (cells, c), first, far, own in below:
        d = distance(first, pivot_out[cells], integers) + far - mean[cells]
        put(rest, cells, c > 0, rest[cells] + c * d)
        put(spread, cells, c > 0, spread[cells] + (own + c * d * d))
    offset_out[...], square_out[...] = finish(count_out, mean, rest, spread)
