"""Samples of all windows at once, one place of the window after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from xpyramid.kernels.arrays import Array

#: The cells that have a sample at a place of their windows.
Cells = tuple[slice, ...]


def rows(src: Array, fz: int, fy: int) -> Iterator[tuple[Cells, Array]]:
    """Yield the rows at each place of the windows, in order, and the cells that have such rows."""
    for z, y in product(range(min(fz, src.shape[1])), range(min(fy, src.shape[2]))):
        part = src[:, z::fz, y::fy]
        yield (slice(None), slice(part.shape[1]), slice(part.shape[2])), part


def samples(src: Array, fz: int, fy: int, fx: int) -> Iterator[tuple[Cells, Array]]:
    """Yield the samples at each place of the windows, in order, and the cells that have such."""
    for cells, part in rows(src, fz, fy):
        for x in range(min(fx, src.shape[3])):
            column = part[..., x::fx]
            yield (*cells, slice(column.shape[3])), column
