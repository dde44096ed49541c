"""Regular coordinates that are never made: xarray's `RangeIndex`.

A coordinate of a hundred million samples takes seconds and gigabytes to make, and says no more
than two numbers do. Long ones are ranges; short ones are arrays, in which `.sel` finds values.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from xarray.indexes import RangeIndex

from xpyramid.warn import warn

#: Regular coordinates longer than that are not made; of what a store holds, not read.
LONGEST_MADE, LONGEST_READ = 2**20, 2**24


def range_of(array: xr.DataArray | xr.Dataset, dim: Hashable) -> tuple[float, float] | None:
    """Return step and start of a coordinate that is a range, None for any other.

    Examples
    --------
    >>> index = RangeIndex.linspace(2.0, 10.0, num=4, endpoint=False, dim="x")
    >>> range_of(xr.Dataset(coords=xr.Coordinates.from_xindex(index)), "x")
    (2.0, 2.0)
    """
    index = array.xindexes.get(dim)
    return (float(index.step), float(index.start)) if isinstance(index, RangeIndex) else None


def range_coordinates(
    dim: str, step: float, start: float, length: int, attrs: Mapping[Any, Any]
) -> xr.Coordinates:
    """Return the coordinate ``start + step * i`` along a dimension, as a range."""
    stop = start + step * length
    index = RangeIndex.linspace(start, stop, num=length, endpoint=False, dim=dim)
    coordinates = xr.Coordinates.from_xindex(index)
    coordinates[dim].attrs.update(attrs)
    return coordinates


def lazy_range(coordinate: xr.Variable, step: float, start: float) -> xr.Variable:
    """Return a long range as a variable that dask makes, piece by piece."""
    positions = da.arange(coordinate.size, chunks=LONGEST_MADE, dtype=np.float64)
    return xr.Variable(coordinate.dims, start + step * positions, coordinate.attrs)


def warn_too_long(dim: str, length: int) -> None:
    """Warn that a dimension goes without a coordinate, which cannot be a range."""
    warn(
        f"{dim[:80]!r} has {length} samples, and no coordinate: those that are not evenly spaced "
        f"numbers are for up to {LONGEST_READ}"
    )
