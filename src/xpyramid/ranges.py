"""Regular coordinates that are never made: xarray's `RangeIndex`.

A coordinate of a hundred million samples takes seconds and gigabytes to make, and says no more
than two numbers do. Long ones are ranges; short ones are arrays, in which `.sel` finds values.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr
from xarray.indexes import RangeIndex

#: Coordinates longer than that are not made.
LONGEST_MADE = 2**20


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
