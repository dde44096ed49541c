"""``layout="arrays"``: levels without groups of their own, and so without coordinate arrays.

What the transformations cannot say of the coordinates is kept in the metadata, as CF attributes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NotRequired, TypedDict, cast

import numpy as np
import xarray as xr

from xpyramid import ngff
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.chunks import joined
from xpyramid.geometry.ranges import LONGEST_READ, range_coordinates, warn_too_long
from xpyramid.store.encoding import ARRAY_NOTE, as_noted, attributes_back, restore_attributes
from xpyramid.store.json_attributes import coordinate as holder
from xpyramid.store.json_attributes import json_attributes
from xpyramid.store.level_array import level_of, level_variable
from xpyramid.store.path import ZarrArray
from xpyramid.types import Array, Json
from xpyramid.warn import warn

#: Uneven coordinates up to so many numbers are written into the metadata.
_MOST_VALUES = 10_000

#: More chunks than that are joined to larger blocks, for dask lists them all.
_MAX_BLOCKS = 2**22


class _Kept(TypedDict, total=False):
    """What is kept of a coordinate."""

    dtype: str
    values: list[object]
    attrs: dict[str, Json]
    encoding: Mapping[str, str]


class _Remembered(TypedDict):
    """The metadata of an image that go by `remember`."""

    variable: str
    coordinates: Mapping[str, _Kept]
    dims: Sequence[str]
    factors: Sequence[Sequence[int]]
    reversed: NotRequired[Sequence[str]]
    ranges: NotRequired[Sequence[str]]
    undecoded: NotRequired[object]
    dtype: NotRequired[object]


#: What times are counted from.
_TIME_UNITS = ("units", "calendar")


def remember(
    base: xr.DataArray, axes: tuple[AxisSpec, ...], name: str, coarsened: Collection[str]
) -> dict[str, object]:
    """Return metadata from which the coordinates of the dimensions can be made again.

    Evenly spaced numbers and datetimes are made from the transformations, text is kept as it is,
    and so are uneven numbers that all levels have; all else is not kept.
    """
    kept: dict[str, _Kept] = {}
    for axis in axes:
        if axis.dim not in base.coords or (axis.uneven and axis.type != "space"):
            continue
        coordinate = base.coords[axis.dim]
        attrs = json_attributes(coordinate.attrs, holder(axis.dim))
        kind = coordinate.dtype.kind
        if axis.uneven and axis.dim not in coarsened:
            if len(coordinate) <= _MOST_VALUES:
                values = coordinate.values.tolist()
                kept[axis.dim] = {"dtype": str(coordinate.dtype), "values": values, "attrs": attrs}
            else:
                warn(
                    f"the coordinate of {axis.dim!r} is not stored: layout='arrays' keeps up to "
                    f"{_MOST_VALUES} uneven values; pass layout='groups', or drop it with "
                    f".drop_vars({axis.dim!r})"
                )
        elif kind in "iuf":
            kept[axis.dim] = {"dtype": str(coordinate.dtype), "attrs": attrs}
        elif kind == "M":
            start = np.datetime_as_string(coordinate[:1].values.astype("M8[ns]"))[0]
            attrs |= {"units": f"seconds since {start}", "calendar": "proleptic_gregorian"}
            kept[axis.dim] = {"dtype": "float64", "attrs": attrs}
            time_encoding = {
                key: str(v) for key, v in coordinate.encoding.items() if key in _TIME_UNITS
            }
            if time_encoding:
                kept[axis.dim]["encoding"] = time_encoding
        elif kind in "UT":
            kept[axis.dim] = {"values": [str(v) for v in coordinate.values], "attrs": attrs}
    return {"layout": "arrays", "variable": name, "coordinates": kept}


def open_level(array: ZarrArray, image: ngff.Multiscale, level: int) -> xr.DataArray:
    """Open a level that we wrote in this layout."""
    metadata, dataset = cast("_Remembered", image.metadata), image.datasets[level]
    dims = [str(dim) for dim in metadata["dims"]]
    coords, ranges = {}, []
    for i, dim in enumerate(dims):
        kept = metadata["coordinates"].get(dim)
        if kept is None:
            continue
        sign, length = -1 if dim in metadata.get("reversed", ()) else 1, array.shape[i]
        step, start = sign * dataset.scale[i], sign * dataset.translation[i]
        if _is_range(kept, length, dim in metadata.get("ranges", ())):
            ranges.append(range_coordinates(dim, step, start, length, kept["attrs"]))
        elif length > LONGEST_READ:
            warn_too_long(dim, length)
        else:
            factor = metadata["factors"][level][i]
            coords[dim] = _coordinate(dim, kept, start + step * np.arange(length), factor)
    listed = metadata.get("undecoded")
    left = [
        dim
        for axis, dim in zip(image.axes, dims, strict=True)
        if dim in coords and isinstance(listed, list) and axis.name in listed
    ]
    stored = xr.Dataset(coords=coords)
    decoded = xr.decode_cf(stored.drop_vars(left), concat_characters=False).assign_coords(
        {d: stored[d] for d in left}
    )
    for dim in map(str, decoded.variables):
        stored_encoding = metadata["coordinates"][dim].get("encoding")
        if decoded[dim].dtype.kind == "M":  # what it is counted in here is our own choice
            encoding = stored_encoding if isinstance(stored_encoding, Mapping) else {}
            decoded.variables[dim].encoding = {
                key: encoding[key] for key in _TIME_UNITS if isinstance(encoding.get(key), str)
            }
    for coordinates in ranges:
        decoded = decoded.assign_coords(coordinates)
    larger = [dim for dim, f in zip(dims, metadata["factors"][level], strict=True) if f > 1]
    for axis, dim in zip(image.axes, dims, strict=True):
        if dim in decoded.variables:
            restore_attributes(decoded.variables[dim], axis.name, metadata, larger)
    name, attrs = metadata["variable"], attributes_back(array, is_flat=True)
    variable = level_variable(array, dims, attrs, joined(array.shape, array.chunks, _MAX_BLOCKS))
    opened = level_of(as_noted(variable, metadata.get("dtype")), decoded.coords, name)
    restore_attributes(opened, ARRAY_NOTE, metadata, larger)
    return opened


def _is_range(kept: _Kept, length: int, was: bool) -> bool:
    """Whether a coordinate was a range, or is numbers of which there are too many to be made."""
    is_line = "values" not in kept and " since " not in str(kept["attrs"].get("units", ""))
    return is_line and (was or length > LONGEST_READ)


def _coordinate(dim: str, kept: _Kept, line: Array, factor: int) -> xr.DataArray:
    """Return a coordinate as it is encoded."""
    if "values" in kept:
        values = np.asarray(kept["values"], kept.get("dtype"))
        return xr.DataArray(values, dims=dim, attrs=kept["attrs"])
    dtype = np.dtype(kept["dtype"])
    if dtype.kind in "iu":  # the mean of integers is not an integer
        dtype = dtype if factor == 1 else np.dtype(np.float64)
        line = line if dtype.kind == "f" else np.rint(line)
    return xr.DataArray(line.astype(dtype), dims=dim, attrs=kept["attrs"])
