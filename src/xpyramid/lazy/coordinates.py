"""The coordinates of a level, made from those of level 0."""

from __future__ import annotations

import math
from functools import partial

import xarray as xr

from xpyramid.geometry import coordinates
from xpyramid.geometry.bounds import level_bounds
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.ranges import range_of, transform_of
from xpyramid.inputs.missing_values import missing_value
from xpyramid.lazy.coarsen import as_dask, coarsen
from xpyramid.options.types import Method
from xpyramid.reducers import make_reducer


def level_coordinates(array: xr.DataArray, plan: Plan, k: int, bounds: xr.Dataset) -> xr.Dataset:
    """Return the coordinates of level ``k``, with the bounds of their cells."""
    if k == 0:
        return array.coords.to_dataset().assign_coords(bounds.coords)
    of_level = level_bounds(bounds, array, plan, k)
    coords, as_data = coordinates.split(array, plan, k, of_level.coords)
    for dim, f in zip(plan.dims, plan.levels[k].factors, strict=True):
        if transform_of(array, dim) is not None and (f == 1 or range_of(array, dim) is not None):
            for name in array.xindexes.get_all_coords(dim) if f == 1 else [dim]:
                coords.pop(name, None)
        elif f > 1 and dim in array.coords and array.coords[dim].ndim == 1:
            coords[dim] = coordinates.level_coordinate(array, plan, k, dim, of_level.coords)
    for name, coordinate in as_data.items():
        coords[name] = _coarsen_coordinate(coordinate, plan, k)
    dataset = xr.Dataset(coords=coords)
    for lazily in coordinates.unmade(array, plan, k, of_level.coords):
        dataset = dataset.assign_coords(lazily)
    return dataset.assign_coords(of_level.coords)


def _coarsen_coordinate(coordinate: xr.DataArray, plan: Plan, k: int) -> xr.DataArray:
    """Return the mean of a coordinate that runs along coarsened dimensions, lazily."""
    level = plan.levels[k]
    at = [plan.dims.index(str(dim)) for dim in coordinate.dims]
    numbers = coordinate.astype("float64") if coordinate.dtype.kind in "iu" else coordinate
    window = math.prod(level.factors[i] for i in at)
    period = coordinates.angular_period(coordinate)
    method: Method = "nearest" if plan.sampled else "mean"
    if period is not None and not plan.sampled:
        method = partial(coordinates.mean_angle, period=period)
    fill = None if plan.sampled or numbers.dtype.kind in "mM" else missing_value(numbers)
    is_masked = period is not None and fill is not None
    if is_masked:
        numbers = numbers.where(numbers != fill)
    data = coarsen(
        as_dask(numbers, tuple(plan.levels[0].chunks[i] for i in at)),
        [tuple(step[i] for i in at) for step in plan.steps[:k]],
        make_reducer(method, numbers.dtype, window, ignore=None if is_masked else fill),
        tuple(level.shape[i] for i in at),
        tuple(level.chunks[i] for i in at),
    )
    coarse = xr.DataArray(data, dims=coordinate.dims, attrs=coordinate.attrs)
    coarse.encoding = coordinates.time_encoding(coordinate)
    return coarse.fillna(fill) if is_masked else coarse
