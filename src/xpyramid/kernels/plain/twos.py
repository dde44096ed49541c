"""Means and modes over windows of one or two samples along each dimension; see `kernels.twos`."""

from __future__ import annotations

from itertools import product

import numpy as np

from xpyramid.kernels.arrays import Array, Scalar, Shape
from xpyramid.kernels.plain import sums


def window_mean(
    src: Array, shape: Shape, fz: int, fy: int, fx: int, row: Array, out: Array, cells: Shape
) -> None:
    """Fill ``out`` with means of integers, rounded."""
    ratio = np.empty(0, np.float32)  # of eight samples of up to 16 bits, the quotient rounds right
    sums.window_mean(
        src.reshape(shape), fz, fy, fx, None, row, row, 1, 1, None, ratio, True, out.reshape(cells)
    )


def corners(src: Array, fz: int, fy: int, fx: int) -> list[Array]:
    """Return the eight samples of each window, of which some come twice where there are fewer."""
    ends = [(0, -n % f) for n, f in zip(src.shape[1:], (fz, fy, fx), strict=True)]
    if any(end for _, end in ends):
        src = np.pad(src, [(0, 0), *ends], "edge")
    places = product((0, fz - 1), (0, fy - 1), (0, fx - 1))
    return [src[:, z::fz, y::fy, x::fx] for z, y, x in places]


#: Which two of eight are put in order, one after the other; see `kernels.twos.sort_8`.
_EXCHANGES = (
    (0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (1, 2), (5, 6),
    (0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6),
)  # fmt: skip

#: Where runs begin and end, the ones that win last; see `kernels.twos.longest_run`.
_RUNS = (
    (6, 7), (5, 6), (4, 5), (3, 4), (2, 3), (1, 2), (0, 1),
    (5, 7), (4, 6), (3, 5), (2, 4), (1, 3), (0, 2), (4, 7), (3, 6), (0, 3),
)  # fmt: skip


def longest_run(labels: list[Array], ignored: Scalar) -> Array:
    """Return the label with the longest run of eight ones, the lowest if there are several."""
    ordered = list(labels)
    for i, j in _EXCHANGES:
        low, high = np.minimum(ordered[i], ordered[j]), np.maximum(ordered[i], ordered[j])
        ordered[i], ordered[j] = low, high
    best = ordered[0]
    if ignored is not None:
        for label in ordered:
            best = np.where(best == ignored, label, best)
    for first, last in _RUNS:
        full = ordered[first] == ordered[last]
        if ignored is not None:
            full &= ordered[first] != ignored
        best = np.where(full, ordered[first], best)
    return best


def window_mode(
    src: Array, shape: Shape, fz: int, fy: int, pairs: bool | None, ignored: Scalar,
    rows: Array, out: Array, cells: Shape,
) -> None:  # fmt: skip
    """Fill ``out`` with the most frequent labels, the lowest on ties.

    Windows with one label, as most are, need no look.
    """
    first, *others = corners(src.reshape(shape), fz, fy, 1 if pairs is None else 2)
    cell = out.reshape(cells)
    cell[...] = first
    mixed = np.zeros(cells, bool)
    for other in others:
        mixed |= other != first
    if mixed.any():
        cell[mixed] = longest_run([each[mixed] for each in (first, *others)], ignored)
