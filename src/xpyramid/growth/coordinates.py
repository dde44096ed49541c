"""The coordinates of what is appended, at each level, as those before them are stored."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpyramid import ngff
from xpyramid._compat import da
from xpyramid.errors import AxisError
from xpyramid.geometry.coordinates import in_nanoseconds
from xpyramid.geometry.plan import Level, Plan
from xpyramid.geometry.tiles import Region
from xpyramid.growth.image import GrowingImage, with_length
from xpyramid.lazy.coordinates import level_coordinates
from xpyramid.store.encoding import attributes_back
from xpyramid.store.path import ZarrArray

#: Attributes by which xarray stores other values than it is given.
_CODING = (
    "units",
    "calendar",
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "dtype",
)


def plan_of(image: GrowingImage, length: int, total: int) -> Plan:
    """Return the plan of so many samples of an image, counted from a whole window."""
    plan, start, lengths = image.plan, total - length, image.lengths(total)
    levels = []
    for k, level in enumerate(plan.levels):
        n = lengths[k] - start // image.factors[k]
        shape = (*level.shape[: image.axis], n, *level.shape[image.axis + 1 :])
        nbytes = int(np.prod(shape, dtype=object)) * plan.dtype.itemsize
        levels.append(Level(shape, level.factors, level.chunks, nbytes))
    return replace(plan, levels=tuple(levels), stored=())


def part_coordinates(
    image: GrowingImage, array: xr.DataArray, bounds: xr.Dataset, total: int
) -> list[xr.Dataset]:
    """Return the coordinates of each level, from `GrowingImage.first_coordinate` on."""
    dim, first = image.dim, image.first_coordinate
    along = [name for name, v in image.coordinates[0].variables.items() if dim in v.dims]
    if not along:
        return [xr.Dataset()] * len(image.plan.levels)
    if along == [dim] and not image.is_coarsened and dim in array.coords:  # the same for all levels
        return [xr.Dataset(coords={dim: array.coords[dim].variable})] * len(image.plan.levels)
    new = {**bounds.variables, **array.coords.to_dataset().variables}
    joined: dict[str, xr.Variable] = {}
    for name, stored in image.coordinates[0].variables.items():
        variable = stored.to_base_variable()
        if dim in variable.dims and name in new and {*new[name].dims} == {*variable.dims}:
            added = new[name].to_base_variable().transpose(*variable.dims)
            parts = [variable.isel({dim: slice(first, None)}), added]
            values = np.concatenate(
                [np.asarray(part.values) for part in parts], axis=variable.dims.index(dim)
            )
            joined[str(name)] = xr.Variable(variable.dims, values, variable.attrs)
            joined[str(name)].encoding = dict(variable.encoding)
        elif dim not in variable.dims:
            joined[str(name)] = variable
    shape = tuple(total - first if d == dim else array.sizes[d] for d in array.dims)
    own = {name: v for name, v in joined.items() if {*v.dims} <= {*array.dims}}
    frame = xr.DataArray(da.zeros(shape, "u1", chunks=-1), own, array.dims, name="frame")
    beside = {name: v for name, v in joined.items() if name not in own}
    others = xr.Dataset(coords=xr.Coordinates(beside, indexes={}))
    plan = plan_of(image, shape[image.axis], total)
    return [level_coordinates(frame, plan, k, others) for k in range(len(plan.levels))]


def encoded_coordinates(
    image: GrowingImage, coordinates: Sequence[xr.Dataset]
) -> dict[str, NDArray[np.generic]]:
    """Return the new values of each coordinate that is stored, by path.

    Raises
    ------
    AxisError
        If one of them is missing, or cannot be stored as those before it are.
    """
    undecoded = ngff.parse(image.attributes).metadata.get("undecoded")
    raw = undecoded if isinstance(undecoded, list) else []
    by_path: dict[str, NDArray[np.generic]] = {}
    for dataset, arrays in zip(coordinates, image.beside, strict=True):
        for path, array in arrays.items():
            name = image.own_name(path)
            if name not in dataset.variables:
                raise AxisError(
                    f"the new samples have no coordinate {name!r}, and {image.place} has one "
                    f"along {image.dim!r}",
                    fix=f"add it with .assign_coords({name}=...), or, if it holds bounds of "
                    "cells, for which a DataArray has no room, append a Dataset that has it",
                )
            is_raw = path.rpartition("/")[2] in raw
            by_path[path] = _encoded(name, dataset.variables[name], array, is_raw=is_raw)
    return by_path


def put_coordinates(
    image: GrowingImage, encoded: Mapping[str, NDArray[np.generic]]
) -> dict[str, Region]:
    """Store new values of coordinates; return where, by the path of their array.

    Readers do not see what lies behind the end of an array.
    """
    regions = {}
    for path, values in encoded.items():
        axis, start = image.axis_in(path), image.first_coordinate
        length = start + values.shape[axis]
        longer = with_length(image.place / path, image.arrays[path], axis, length)
        region = tuple(
            slice(start, n) if i == axis else slice(0, n) for i, n in enumerate(longer.shape)
        )
        longer[region] = values
        regions[path] = region
    return regions


def _encoded(
    name: str, variable: xr.Variable, array: ZarrArray, *, is_raw: bool
) -> NDArray[np.generic]:
    """Return the values of a coordinate as those before them are stored.

    Raises
    ------
    AxisError
    """
    attrs = attributes_back(array)
    values = np.asarray(variable.values)
    if not is_raw:
        values = in_nanoseconds(values)
        kept = {key: attrs[key] for key in _CODING if key in attrs}
        kept["dtype"] = np.dtype(array.dtype) if values.dtype.kind != "b" else np.dtype(bool)
        plain = xr.Variable(variable.dims, values, encoding=kept)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it is seen below whether they come back
                values = np.asarray(xr.conventions.encode_cf_variable(plain, name=name).values)
        except (ValueError, OverflowError, TypeError) as error:
            raise _not_storable(name, attrs, array, str(error)) from error
    with np.errstate(invalid="ignore", over="ignore"):
        stored = values.astype(array.dtype)
    back = xr.Variable(variable.dims, stored, {} if is_raw else attrs)
    if not is_raw and values.dtype.kind not in "UST":
        dates = xr.coders.CFDatetimeCoder(use_cftime=variable.dtype.kind == "O")
        try:
            back = xr.conventions.decode_cf_variable(name, back, decode_times=dates)
            np.asarray(back.values)
        except (ValueError, OverflowError) as error:  # counted in other units than those here
            raise _not_storable(name, attrs, array, "") from error
    if not _are_equal(np.asarray(back.values), np.asarray(variable.values)):
        raise _not_storable(name, attrs, array, "")
    return stored


def _are_equal(stored: NDArray[np.generic], new: NDArray[np.generic]) -> bool:
    if stored.dtype.kind in "fcmM" and new.dtype.kind == stored.dtype.kind:
        return bool(np.array_equal(stored, new, equal_nan=True))
    return bool(np.array_equal(stored, new))


def _not_storable(name: str, attrs: Mapping[str, object], array: ZarrArray, why: str) -> AxisError:
    units = f" in {attrs['units']!r}" if "units" in attrs else ""
    return AxisError(
        f"the new values of the coordinate {name!r} cannot be stored as those before them are, as "
        f"{array.dtype}{units}{': ' + why if why else ''}",
        fix="round them, or write a new image"
        + (f", with .{name}.encoding['units'] for all of them" if "units" in attrs else ""),
    )
