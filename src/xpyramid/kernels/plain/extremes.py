"""Minima and maxima over windows, in NumPy; see `kernels.extremes`."""

from __future__ import annotations

import numpy as np

from xpyramid.kernels.arrays import Array, Scalar
from xpyramid.kernels.plain.windows import rows


def pick(
    best: Array, value: Array, largest: bool | None, skipna: bool | None, ignored: Scalar
) -> Array:
    """Return the better of two, sample by sample."""
    if ignored is None and best.dtype.kind in "iu":
        return np.minimum(best, value) if largest is None else np.maximum(best, value)
    take = value < best if largest is None else value > best
    take |= (value != value) if skipna is None else (best != best)  # noqa: PLR0124
    if ignored is not None:
        take = (take & (value != ignored)) | (best == ignored)
    return np.where(take, value, best)


def window_extreme(
    src: Array, fz: int, fy: int, fx: int, largest: bool | None, skipna: bool | None,
    ignored: Scalar, row: Array, out: Array,
) -> None:  # fmt: skip
    """Fill ``out`` with the smallest or largest samples."""
    best = src[:, ::fz, ::fy].copy()
    for i, (cells, part) in enumerate(rows(src, fz, fy)):
        if i:
            best[cells] = pick(best[cells], part, largest, skipna, ignored)
    out[...] = best[..., ::fx]
    for x in range(1, min(fx, src.shape[3])):
        value = best[..., x::fx]
        cell = out[..., : value.shape[3]]
        cell[...] = pick(cell, value, largest, skipna, ignored)
