"""Bounds of cells: the variables that coordinates name, which have a dimension of their own.

CF conventions, section 7.1: the bounds of ``lat`` (lat) are ``lat_bnds`` (lat, nv). A DataArray has
no room for them, so they come from a Dataset, and lie in the Dataset of a level.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

import numpy as np
import xarray as xr

from xpyramid.geometry.plan import Plan
from xpyramid.types import Array, Attrs
from xpyramid.warn import warn

#: Attributes that name the bounds of cells: CF conventions, sections 7.1 and 7.4.
BOUNDS = ("bounds", "climatology")

#: Dimensions of stored images, which those of bounds must not be taken for.
_TAKEN = frozenset("tczyx")


def bounds_in(dataset: xr.Dataset, array: xr.DataArray) -> xr.Dataset:
    """Return the variables of a Dataset that are bounds of an array's coordinates."""
    bounds: dict[str, xr.Variable] = {}
    for coordinate in array.coords.values():
        for name in named_bounds(coordinate):
            if name not in dataset.variables or name in array.coords or "/" in name:
                continue
            variable = dataset.variables[name].to_base_variable().copy(deep=False)
            if variable.dims[:-1] != coordinate.dims or variable.ndim != coordinate.ndim + 1:
                continue
            *dims, vertices = map(str, variable.dims)
            if vertices in array.dims:
                continue
            if vertices in _TAKEN:
                variable.dims = (*dims, f"{vertices}_bounds")
            bounds[name] = variable
    return xr.Dataset(coords=xr.Coordinates(bounds, indexes={}))


def named_bounds(coordinate: xr.DataArray | xr.Variable) -> list[str]:
    """Return the names of the bounds that a coordinate has."""
    texts = (coordinate.attrs.get(key, coordinate.encoding.get(key)) for key in BOUNDS)
    return [text for text in texts if isinstance(text, str)]


def without_bounds(attrs: Attrs, kept: Collection[Hashable]) -> dict[Hashable, object]:
    """Return attributes, or an encoding, without names of bounds that are not kept."""
    return {key: value for key, value in attrs.items() if key not in BOUNDS or value in kept}


def forget_bounds(array: xr.DataArray, coordinates: xr.Dataset) -> xr.DataArray:
    """Return an array whose coordinates do not name the bounds that lie beside it, with a warning.

    Parameters
    ----------
    array : xarray.DataArray
    coordinates : xarray.Dataset
        Those of the array, and the bounds.
    """
    dropped = [str(name) for name in coordinates.coords if name not in array.coords]
    if not dropped:
        return array
    warn(f"the bounds {dropped} are not stored: layout='arrays' has no place for them")
    array = array.copy(deep=False)
    for coordinate in array.coords.values():
        for holder in (coordinate.attrs, coordinate.encoding):
            for key in BOUNDS:
                if holder.get(key) in dropped:
                    del holder[key]
    return array


def without_overridden(
    bounds: xr.Dataset, before: xr.DataArray, array: xr.DataArray
) -> tuple[xr.Dataset, xr.DataArray]:
    """Return bounds without those of coordinates that the caller has moved, with a warning.

    Parameters
    ----------
    bounds : xarray.Dataset
    before, array : xarray.DataArray
        With the coordinates that there were, and those that there are.

    Returns
    -------
    bounds : xarray.Dataset
    array : xarray.DataArray
        Its coordinates do not name the bounds that are gone.
    """
    moved = [
        name for name in array.coords
        if name in before.coords and not before.coords[name].identical(array.coords[name])
    ]  # fmt: skip
    dropped = [text for name in moved for text in named_bounds(array.coords[name])]
    dropped = [text for text in dropped if text in bounds.variables]
    if not dropped:
        return bounds, array
    warn(f"the bounds {dropped} are left out: the coordinates that they are of were overridden")
    array = array.copy(deep=False)
    for name in moved:
        for holder in (array.coords[name].attrs, array.coords[name].encoding):
            for key in [key for key in BOUNDS if holder.get(key) in dropped]:
                del holder[key]
    return bounds.drop_vars(dropped), array


def level_bounds(bounds: xr.Dataset, array: xr.DataArray, plan: Plan, k: int) -> xr.Dataset:
    """Return the bounds of the cells of level ``k``; unknown ones are left out.

    Parameters
    ----------
    bounds : xarray.Dataset
        Of the cells of level 0.
    array : xarray.DataArray
        Level 0.
    plan : Plan
    k : int

    Returns
    -------
    xarray.Dataset
        Bounds of cells along dimensions that are not coarsened are what they were. Intervals along
        a coarsened one reach from the first edge of a window to its last. Cells of two dimensions,
        and climatologies, are left out.
    """
    level = plan.levels[k]
    factors = dict(zip(plan.dims, level.factors, strict=True))
    lengths = dict(zip(plan.dims, level.shape, strict=True))
    of_a_climate = [
        c.attrs.get("climatology", c.encoding.get("climatology")) for c in array.coords.values()
    ]
    coarse_bounds: dict[Hashable, xr.Variable] = {}
    for name, variable in bounds.variables.items():
        *dims, vertices = map(str, variable.dims)
        if not any(factors.get(dim, 1) > 1 for dim in dims):
            coarse_bounds[name] = variable
        elif (
            len(dims) == 1
            and variable.sizes[vertices] == 2
            and variable.dtype.kind in "iufmM"
            and name not in of_a_climate
        ):
            factor = 1 if plan.sampled else factors[dims[0]]
            first = np.arange(lengths[dims[0]]) * factors[dims[0]]
            last = np.minimum(first + factor, variable.sizes[dims[0]]) - 1
            coarse_bounds[name] = _hull(variable, dims[0], vertices, first, last)
    return xr.Dataset(coords=xr.Coordinates(coarse_bounds, indexes={}))


def _hull(bounds: xr.Variable, dim: str, vertices: str, first: Array, last: Array) -> xr.Variable:
    """Return the intervals from the first cells to the last ones, in the direction of the first."""
    cells = xr.DataArray(bounds)
    firsts, lasts = cells.isel({dim: first}), cells.isel({dim: last})
    edges = xr.concat([firsts, lasts], vertices)
    low, high = edges.min(vertices, skipna=False), edges.max(vertices, skipna=False)
    ascends = firsts.isel({vertices: 0}) <= firsts.isel({vertices: 1})
    hull = xr.concat([low.where(ascends, high), high.where(ascends, low)], vertices)
    variable = hull.transpose(dim, vertices).variable
    variable.attrs, variable.encoding = dict(bounds.attrs), _time_units(bounds)
    return variable


def _time_units(bounds: xr.Variable) -> dict[str, object]:
    return {k: bounds.encoding[k] for k in ("units", "calendar", "dtype") if k in bounds.encoding}
