"""Coordinates of the levels."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpyramid.axes import AxisSpec, is_cftime, is_temporal, since_first
from xpyramid.errors import AxisError

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, np.dtype[Any]]


def check_coarsenable(array: xr.DataArray, dims: Sequence[str]) -> None:
    """Refuse coordinates that have no mean along the dimensions to coarsen.

    Raises
    ------
    AxisError
        For coordinates that are no numbers or datetimes, or that hold NaN or NaT.
    """
    for dim in dims:
        if dim not in array.coords:
            continue
        coordinate = array.coords[dim]
        ways_out = f"drop it with .drop_vars({dim!r}), or choose other dims="
        if is_cftime(coordinate.values):
            continue
        if coordinate.dtype.kind not in "iufmM":
            raise AxisError(
                f"the coordinate of {dim!r} has dtype {coordinate.dtype} and cannot be coarsened; "
                f"accepted: numbers and datetimes; {ways_out}"
            )
        missing = np.flatnonzero(~np.isfinite(coordinate.values))  # NaT counts as not finite
        if missing.size:
            value = coordinate.values[missing[0]]
            raise AxisError(
                f"the coordinate of {dim!r} is {value} at position {missing[0]}; {ways_out}"
            )


def coarsen_dimension(
    values: Array, axis: AxisSpec, factor: int, length: int, sampled: bool = False
) -> Array:
    """Return the coordinate of a level along a coarsened dimension.

    Parameters
    ----------
    values : ndarray
        Coordinate of level 0.
    axis : AxisSpec
        Its affine grid.
    factor : int
        Cumulative factor.
    length : int
        Of the level.
    sampled : bool
        Whether cells stand for the first sample of their windows.

    Returns
    -------
    ndarray
        Regular coordinates stay on their straight line, also at a partial last window. Irregular
        ones are averaged over what each window holds, as xarray does.
    """
    if sampled:
        return values[: length * factor : factor]
    if is_cftime(values):
        moved_by = coarsen_dimension(
            since_first(values).astype("m8[us]"), axis, factor, length, sampled
        )
        dates: Array = values[0] + moved_by.astype(object)
        return dates
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    if axis.uneven is None:
        centres: Array = (factor - 1) / 2 + factor * np.arange(length)
        if is_temporal(values.dtype):
            ticks = values.astype(np.int64)
            step = (int(ticks[-1]) - int(ticks[0])) / max(1, len(ticks) - 1)
            moved: Array = ticks[0] + np.rint(centres * step).astype(np.int64)
            return moved.astype(values.dtype)
        return (axis.origin + axis.spacing * centres).astype(kind)
    starts = np.arange(length) * factor
    used = values[: min(len(values), length * factor)]
    counts = np.diff(np.append(starts, len(used)))
    if is_temporal(values.dtype):
        ticks = used.astype(np.int64)
        offsets = np.add.reduceat((ticks - ticks[0]).astype(np.float64), starts) / counts
        averaged: Array = ticks[0] + np.rint(offsets).astype(np.int64)
        return averaged.astype(values.dtype)
    means: Array = np.add.reduceat(used.astype(np.float64), starts) / counts
    return means.astype(kind)


def split(
    array: xr.DataArray, factors: Mapping[str, int]
) -> tuple[dict[Hashable, xr.DataArray], dict[Hashable, xr.DataArray]]:
    """Return the coordinates that a level keeps as they are, and those to coarsen as data.

    The coordinates of the coarsened dimensions themselves are in neither. Coordinates that are no
    numbers and run along a coarsened dimension are left out, with a warning.
    """
    kept: dict[Hashable, xr.DataArray] = {}
    as_data: dict[Hashable, xr.DataArray] = {}
    for name, coordinate in array.coords.items():
        if not any(factors.get(str(dim), 1) > 1 for dim in coordinate.dims):
            kept[name] = coordinate
        elif name in coordinate.dims:
            continue
        elif coordinate.dtype.kind in "iuf":
            as_data[name] = coordinate
        else:
            warnings.warn(
                f"coordinate {name!r} of dtype {coordinate.dtype} runs along a coarsened dimension "
                "and has no mean; the coarser levels are without it",
                UserWarning,
                stacklevel=4,
            )
    return kept, as_data
