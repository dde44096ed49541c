"""Coordinates that are never made: ranges, and what else xarray makes when it is asked.

A coordinate of a hundred million samples takes seconds and gigabytes to make. A regular one says no
more than two numbers do: long ones are ranges (xarray's `RangeIndex`), short ones are arrays, in
which `.sel` finds values. Any `CoordinateTransformIndex` makes its labels from their positions.
Whether they lie on a straight line is seen in some of them, as all are too many to look at.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from xarray.indexes import CoordinateTransform, CoordinateTransformIndex, RangeIndex

from xpyramid._compat import da, map_blocks
from xpyramid.types import Array, Attrs
from xpyramid.warn import warn

#: A coordinate is regular when no value is further than this part of a step from a straight line.
REGULAR_TOLERANCE = 1e-3

#: Regular coordinates longer than that are not made; of what a store holds, not read.
LONGEST_MADE, LONGEST_READ = 2**20, 2**24

#: Of a longer coordinate that is made from positions, so many labels are looked at, and as many
#: that follow them.
_LOOKED_AT = 2**10

_GOLDEN = (5**0.5 - 1) / 2


def transform_of(array: xr.DataArray | xr.Dataset, dim: Hashable) -> CoordinateTransform | None:
    """Return what makes the coordinate of a dimension from positions; None for any other."""
    index = array.xindexes.get(dim)
    if not isinstance(index, CoordinateTransformIndex) or index.transform.dims != (dim,):
        return None
    return index.transform


def range_of(array: xr.DataArray | xr.Dataset, dim: Hashable) -> tuple[float, float] | None:
    """Return step and start of a coordinate that is a range, None for any other.

    Examples
    --------
    >>> index = RangeIndex.linspace(2.0, 10.0, num=4, endpoint=False, dim="x")
    >>> range_of(xr.Dataset(coords=xr.Coordinates.from_xindex(index)), "x")
    (2.0, 2.0)
    """
    index = array.xindexes.get(dim)
    if isinstance(index, RangeIndex):
        return float(index.step), float(index.start)
    if transform_of(array, dim) is None or not array.sizes[dim]:
        return None
    labels, positions = labels_along(array, dim)
    if labels.dtype.kind not in "iuf" or not np.isfinite(labels).all():
        return None
    step, start, uneven = straight_line(labels, positions)
    return None if uneven else (step, start)


def labels_along(array: xr.DataArray | xr.Dataset, dim: Hashable) -> tuple[Array, Array | None]:
    """Return the values of the coordinate of a dimension: all, or some and their positions.

    Some are enough where there are many that would have to be made: those at both ends, in the
    middle, and a thousand places between, each with the one that follows it.
    """
    transform, length = transform_of(array, dim), array.sizes[dim]
    if transform is None or length <= 2 * _LOOKED_AT:
        return array.coords[dim].values, None
    # Multiples of the golden ratio are spread evenly, and follow no period of the labels.
    spread = np.arange(1, _LOOKED_AT) * _GOLDEN % 1
    first = np.append((spread * (length - 1)).astype(np.int64), [0, length // 2, length - 2])
    positions = np.unique(np.concatenate([first, first + 1]))
    return _labels(positions, transform, dim), positions


def _labels(positions: Array, transform: CoordinateTransform, name: Hashable) -> Array:
    """Return the labels at some positions."""
    (dim,) = transform.dims
    return np.asarray(transform.forward({dim: positions})[name], transform.dtype)


def straight_line(
    values: Array, positions: Array | None = None
) -> tuple[float, float, tuple[float, float] | None]:
    """Fit ``values[i] = origin + spacing * i``.

    Parameters
    ----------
    values : ndarray
        1-D, real numbers, finite, at least one.
    positions : ndarray of int, optional
        The ``i`` of each value, ascending from 0. Default: there is a value for each.

    Returns
    -------
    spacing, origin : float
        The spacing is the shortest decimal that gives the values back to rounding error where
        there is one (0.1 rather than 0.10000000000000002), else the mean step.
    uneven : (float, float) or None
        The smallest and largest step if some value is further than `REGULAR_TOLERANCE` steps from
        the line, or if the line is flat.
    """
    line = values.astype(np.float64)
    origin = float(line[0])
    if len(line) == 1:
        return 1.0, origin, None
    steps = np.arange(len(line)) if positions is None else positions
    last = int(steps[-1])
    spacing = (float(line[-1]) - origin) / last
    precision = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    noise = 2 * float(np.finfo(precision).eps) * float(np.abs(line).max())
    # What the dtype of the coordinate rounds off is not uneven, as long as samples are told apart.
    tolerance = max(REGULAR_TOLERANCE * abs(spacing), min(noise, abs(spacing) / 8))
    if not np.abs(line - (origin + spacing * steps)).max() <= tolerance or spacing == 0:
        jumps = np.diff(line) / np.diff(steps)
        return spacing, origin, (float(jumps.min()), float(jumps.max()))
    for digits in range(1, 17):
        short = float(f"{spacing:.{digits}g}")
        off = abs(float(line[-1]) - (origin + short * last))
        if off <= noise and np.abs(line - (origin + short * steps)).max() <= noise:
            return short, origin, None
    return spacing, origin, None


def range_coordinates(
    dim: str, step: float, start: float, length: int, attrs: Attrs
) -> xr.Coordinates:
    """Return the coordinate ``start + step * i`` along a dimension, as a range."""
    stop = start + step * length
    index = RangeIndex.linspace(start, stop, num=length, endpoint=False, dim=dim)
    coordinates = xr.Coordinates.from_xindex(index)
    coordinates[dim].attrs.update(attrs)
    return coordinates


def lazy_labels(variable: xr.Variable, transform: CoordinateTransform) -> xr.Variable:
    """Return a long coordinate as a variable that dask makes, piece by piece."""
    positions = da.arange(variable.size, chunks=LONGEST_MADE, dtype=np.int64)
    labels = map_blocks(positions, _labels, transform, variable.dims[0], dtype=variable.dtype)
    return xr.Variable(variable.dims, labels, variable.attrs)


def warn_too_long(dim: str, length: int) -> None:
    """Warn that a dimension goes without a coordinate, which cannot be a range."""
    warn(
        f"{dim[:80]!r} has {length} samples, and no coordinate: those that are not evenly spaced "
        f"numbers are for up to {LONGEST_READ}"
    )
