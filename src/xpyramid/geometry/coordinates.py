"""Coordinates of the levels."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Hashable, Iterator, Sequence

import numpy as np
import xarray as xr

from xpyramid.errors import AxisError
from xpyramid.geometry.axes import AxisSpec, is_cftime, is_temporal, since_first
from xpyramid.geometry.bounds import BOUNDS, without_bounds
from xpyramid.geometry.coordinate_kinds import check_average
from xpyramid.geometry.plan import Plan, centre
from xpyramid.geometry.ranges import LONGEST_MADE, range_coordinates, range_of, transform_of
from xpyramid.messages import Message, code, option
from xpyramid.types import Array, Attrs, DType
from xpyramid.warn import warn

#: Names of longitudes, and CF's units of them: section 4.2.
_LONGITUDES = {"lon", "lons", "longitude", "nav_lon", "rlon"}
_EAST = re.compile(r"degrees?_?e(ast)?")

#: What a variable names others by, which xarray moves from attributes to ``encoding`` when it
#: decodes: CF conventions, sections 3.4, 4.3.3, 5, 5.6, and 7.
REFERENCES = (
    "grid_mapping", "coordinates", "ancillary_variables", "cell_measures", "bounds", "climatology",
    "formula_terms", "geometry", "node_coordinates", "node_count", "part_node_count",
    "interior_ring",
)  # fmt: skip

#: What coarsened times are counted in.
_KEPT_ENCODING = ("units", "calendar", "dtype")

#: Where the six numbers a, b, c, d, e, f of an affine transformation are in what tools write.
_GDAL_ORDER = (1, 2, 0, 4, 5, 3)
_AFFINE_ORDER = (0, 1, 2, 3, 4, 5)


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
        if range_of(array, dim) is not None:
            continue
        coordinate = array.coords[dim]
        if transform_of(array, dim) is not None and coordinate.size > LONGEST_MADE:
            raise AxisError(
                f"the coordinate of {dim!r} is made of {coordinate.size} positions, not on a line, "
                f"and can be coarsened up to a length of {LONGEST_MADE}",
                accepted="evenly spaced numbers",
                fix=Message(
                    "pass ",
                    option("spacing", {dim: ...}),
                    ", drop it with ",
                    code(f".drop_vars({dim!r})"),
                    ", or choose other ",
                    option("dims"),
                ),
            )
        check_average(array, dim)
        if coordinate.dtype.kind == "O":  # dates of a calendar
            continue
        missing = np.flatnonzero(~np.isfinite(coordinate.values))  # NaT counts as not finite
        if missing.size:
            value = coordinate.values[missing[0]]
            raise AxisError(
                f"the coordinate of {dim!r} is {value} at position {missing[0]}",
                fix=Message(
                    "drop it with ",
                    code(f".drop_vars({dim!r})"),
                    ", or choose other ",
                    option("dims"),
                ),
            )


def coarsen_dimension(
    values: Array,
    axis: AxisSpec,
    factor: int,
    length: int,
    sampled: bool = False,
    period: float | None = None,
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
    period : float or None
        Of angles; see `angular_period`.

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
    if axis.uneven is not None:
        used = values[: min(len(values), length * factor)]
        return _window_means(used, np.arange(length) * factor, kind, period)
    centres: Array = (factor - 1) / 2 + factor * np.arange(length)
    if is_temporal(values.dtype):
        ticks = values.astype(np.int64)
        step = (int(ticks[-1]) - int(ticks[0])) / max(1, len(ticks) - 1)
        moved: Array = ticks[0] + np.rint(centres * step).astype(np.int64)
        return moved.astype(values.dtype)
    return (axis.origin + axis.spacing * centres).astype(kind)


def _window_means(values: Array, starts: Array, kind: DType, period: float | None) -> Array:
    """Return the means of the windows that begin at some positions."""
    if period is not None:
        windows = np.split(values.astype(np.float64), starts[1:])
        return np.array([mean_angle(window, -1, period) for window in windows], kind)
    counts = np.diff(np.append(starts, len(values)))
    if is_temporal(values.dtype):
        ticks = values.astype(np.int64)
        offsets, count = ticks - ticks[0], np.repeat(counts, counts)
        whole = np.add.reduceat(offsets // count, starts)  # floats would round nanoseconds
        remainder = np.rint(np.add.reduceat(offsets % count, starts) / counts)
        averaged: Array = ticks[0] + whole + remainder.astype(np.int64)
        return averaged.astype(values.dtype)
    means: Array = np.add.reduceat(values.astype(np.float64), starts) / counts
    return means.astype(kind)


def angular_period(coordinate: xr.DataArray) -> float | None:
    """Return the angle after which a coordinate wraps around, None if it does not.

    Those are longitudes and directions, as CF's units and standard names say, or the name.
    """
    if coordinate.dtype.kind not in "iuf":
        return None
    attrs = {key: str(coordinate.attrs.get(key, "")).lower() for key in ("units", "standard_name")}
    units, standard_name = attrs["units"], attrs["standard_name"]
    named = any(word in standard_name for word in ("longitude", "azimuth", "direction"))
    is_angle = named or str(coordinate.name).lower() in _LONGITUDES
    if is_angle and units in ("radian", "radians", "rad"):
        return 2 * math.pi
    in_degrees = not units or units in ("deg", "°") or units.startswith("degree")
    return 360.0 if _EAST.fullmatch(units) or (is_angle and in_degrees) else None


def mean_angle(windows: Array, axis: int, period: float) -> Array:
    """Return the means of angles over the last axis; NaN do not count.

    Parameters
    ----------
    windows : ndarray
        Angles. Those of a window that are further apart than half a turn are counted from the first
        of them, the short way round.
    axis : int
        -1.
    period : float
        Of a turn.

    Returns
    -------
    ndarray
        Below half a turn where such a window has negative angles, else from 0 to a turn.
    """
    angles = windows.astype(np.float64)
    valid = ~np.isnan(angles)
    count = valid.sum(axis)
    first = np.take_along_axis(angles, valid.argmax(axis)[..., None], axis)
    lowest = np.where(valid, angles, np.inf).min(axis)
    highest = np.where(valid, angles, -np.inf).max(axis)
    with np.errstate(invalid="ignore", divide="ignore"):  # of windows of NaN alone
        plain = np.where(valid, angles, 0).sum(axis) / count
        turned = (angles - first + period / 2) % period - period / 2
        around = first[..., 0] + np.where(valid, turned, 0).sum(axis) / count
        start = np.where(lowest < 0, -period / 2, 0)
        around = (around - start) % period + start
    means: Array = np.where(highest - lowest > period / 2, around, plain).astype(windows.dtype)
    return means


def level_attributes(attrs: Attrs, array: xr.DataArray, plan: Plan, k: int) -> Attrs:
    """Return the attributes that level ``k`` has, where those of level 0 say where its cells lie.

    These are ``GeoTransform`` of a grid mapping, as GDAL and rioxarray have it, and ``transform``
    and ``res`` of arrays from rasterio.

    Parameters
    ----------
    attrs : mapping
        Of the array or a coordinate.
    array : xarray.DataArray
        Level 0.
    plan : Plan
    k : int
    """
    level_attrs = dict(attrs)
    if k == 0 or not {"GeoTransform", "transform"} & level_attrs.keys():
        return level_attrs
    places = {axis.name: i for i, axis in enumerate(plan.axes)}
    if not {"y", "x"} <= places.keys() or all(
        plan.levels[k].factors[places[name]] == 1 for name in ("y", "x")
    ):
        return level_attrs
    for key, order in (("GeoTransform", _GDAL_ORDER), ("transform", _AFFINE_ORDER)):
        numbers = _six_numbers(level_attrs.get(key))
        if numbers is None:
            continue
        moved = _transform([numbers[i] for i in order], array, plan, k)
        if moved is None:
            del level_attrs[key]
            continue
        back = [moved[order.index(i)] for i in range(6)]
        level_attrs[key] = " ".join(map(str, back)) if key == "GeoTransform" else tuple(back)
        if key == "transform" and "res" in level_attrs:
            level_attrs["res"] = (abs(moved[0]), abs(moved[4]))
    return level_attrs


def _six_numbers(value: object) -> list[float] | None:
    """Return the numbers of a transformation, None if it is not one."""
    parts = value.split() if isinstance(value, str) else value
    if not isinstance(parts, list | tuple | np.ndarray) or len(parts) not in (6, 9):
        return None
    try:
        return [float(part) for part in parts[:6]]
    except (TypeError, ValueError):
        return None


def _transform(
    base: Sequence[float], array: xr.DataArray, plan: Plan, k: int
) -> list[float] | None:
    """Return the affine transformation of a level from that of level 0, None if there is none.

    Coordinates count for more than what stands beside them, which is not sliced with them.
    """
    names = [axis.name for axis in plan.axes]
    (across, fx), (down, fy) = (
        (plan.axes[names.index(name)], plan.levels[k].factors[names.index(name)])
        for name in ("x", "y")
    )
    if across.uneven is not None or down.uneven is not None:
        return None
    a, b, c, d, e, f = base
    if not b and not d and {across.dim, down.dim} <= set(array.coords):
        a, e = across.spacing, down.spacing
        c, f = across.origin - a / 2, down.origin - e / 2
    if plan.sampled:  # each cell is centred on its first sample
        c += a * (1 - fx) / 2 + b * (1 - fy) / 2
        f += d * (1 - fx) / 2 + e * (1 - fy) / 2
    return [a * fx, b * fy, c, d * fx, e * fy, f]


def split(
    array: xr.DataArray, plan: Plan, k: int, bounds: Collection[Hashable] = ()
) -> tuple[dict[Hashable, xr.DataArray], dict[Hashable, xr.DataArray]]:
    """Return the coordinates that level ``k`` keeps as they are, and those to coarsen as data.

    The coordinates of the coarsened dimensions themselves are in neither. Coordinates that have no
    mean and run along a coarsened dimension are left out, with a warning at the top level; so are
    references to bounds of cells that have become larger, but for those ``bounds`` that are known.
    """
    factors = dict(zip(plan.dims, plan.levels[k].factors, strict=True))
    kept: dict[Hashable, xr.DataArray] = {}
    as_data: dict[Hashable, xr.DataArray] = {}
    dropped: list[str] = []
    for name, coordinate in array.coords.items():
        if not any(factors.get(str(dim), 1) > 1 for dim in coordinate.dims):
            attrs = level_attributes(coordinate.attrs, array, plan, k)
            kept[name] = coordinate if attrs == coordinate.attrs else _with(coordinate, attrs)
            continue
        attrs = without_bounds(coordinate.attrs, bounds)
        dropped += [
            f"{text!r} of coordinate {name!r}"
            for key in BOUNDS
            if (text := coordinate.attrs.get(key, coordinate.encoding.get(key)))
            and text not in bounds
        ]
        if name in coordinate.dims and coordinate.ndim == 1:
            continue
        has_mean = isinstance(coordinate.dtype, np.dtype) and coordinate.dtype.kind in "iufmM"
        if has_mean and set(map(str, coordinate.dims)) <= set(plan.dims):
            as_data[name] = _with(coordinate, attrs)
        elif k == len(plan.levels) - 1:
            warn(
                f"coordinate {name!r} of dtype {coordinate.dtype} runs along a coarsened dimension "
                "and has no mean; the coarser levels are without it"
            )
    if dropped and k == len(plan.levels) - 1:
        warn(
            f"the bounds {', '.join(dropped)} are of the cells of level 0; coarser levels have none"
        )
    return kept, as_data


def unmade(
    array: xr.DataArray, plan: Plan, k: int, bounds: Collection[Hashable] = ()
) -> Iterator[xr.Coordinates]:
    """Yield the coordinates of level ``k`` that are not made, as they are not at level 0."""
    level = plan.levels[k]
    for dim, f, n in zip(plan.dims, level.factors, level.shape, strict=True):
        if transform_of(array, dim) is None:
            continue
        if f == 1:
            together = array.xindexes.get_all_coords(dim)
            index = array.xindexes[dim]
            yield xr.Coordinates(together, dict.fromkeys(together, index))
        elif (line := range_of(array, dim)) is not None:
            step, start = line
            middle = start + step * centre(f, plan.sampled)
            attrs = without_bounds(array.coords[dim].attrs, bounds)
            yield range_coordinates(dim, step * f, middle, n, attrs)


def level_coordinate(
    array: xr.DataArray, plan: Plan, k: int, dim: str, bounds: Collection[Hashable] = ()
) -> xr.DataArray:
    """Return the coordinate of a coarsened dimension at level ``k``."""
    base_coordinate, i, level = array.coords[dim], plan.dims.index(dim), plan.levels[k]
    values = coarsen_dimension(
        base_coordinate.values, plan.axes[i], level.factors[i], level.shape[i], plan.sampled,
        angular_period(base_coordinate),
    )  # fmt: skip
    coordinate = xr.DataArray(values, dims=dim, attrs=without_bounds(base_coordinate.attrs, bounds))
    named = {
        key: base_coordinate.encoding[key] for key in BOUNDS if key in base_coordinate.encoding
    }
    coordinate.encoding = time_encoding(base_coordinate) | without_bounds(named, bounds)
    return coordinate


def time_encoding(coordinate: xr.DataArray) -> dict[str, object]:
    """Return in what the means of some times are counted; nothing for other coordinates."""
    if coordinate.dtype.kind not in "mMO":
        return {}
    return {key: coordinate.encoding[key] for key in _KEPT_ENCODING if key in coordinate.encoding}


def _with(coordinate: xr.DataArray, attrs: Attrs) -> xr.DataArray:
    """Return a coordinate with other attributes."""
    changed = coordinate.copy(deep=False)
    changed.attrs = dict(attrs)
    changed.encoding = {k: v for k, v in coordinate.encoding.items() if k not in BOUNDS}
    return changed


def with_grid_mapping(dataset: xr.Dataset, array: xr.DataArray) -> xr.DataArray:
    """Return a variable of a Dataset with the variable that holds its grid mapping as coordinate.

    xarray opens it as a variable of the Dataset; it is not there any more when another is taken
    out.
    """
    text = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping"))
    words = text.replace(":", " ").split() if isinstance(text, str) else []
    grid_mappings = {
        word: dataset[word].reset_coords(drop=True)
        for word in words
        if word in dataset.variables and word not in array.coords and not dataset[word].ndim
    }
    return array.assign_coords(grid_mappings) if grid_mappings else array


def in_nanoseconds(times: Array) -> Array:
    """Return datetimes or durations in nanoseconds, where these hold them; others as they are.

    xarray makes NaT of coarser ones that it is to count in finer units than their own.
    """
    if times.dtype.kind not in "mM":
        return times
    try:
        finer = times.astype(f"{times.dtype.kind}8[ns]")
    except OverflowError:  # NumPy 2.5 and later; older ones give another time
        return times
    back = finer.astype(times.dtype)
    return finer if np.array_equal(back, times, equal_nan=True) else times


def reference_system(base: xr.DataArray) -> Attrs:
    """Return the attributes of the coordinate that holds the grid mapping."""
    grid_mapping = base.attrs.get("grid_mapping", base.encoding.get("grid_mapping"))
    words = (
        [word.rstrip(":") for word in grid_mapping.split()] if isinstance(grid_mapping, str) else []
    )
    name = next((word for word in words if word in base.coords), "spatial_ref")
    if words and not set(words) <= set(base.coords):
        warn(
            f"the grid mapping {grid_mapping!r} is not a coordinate of the array, so its levels "
            "have no reference system; build from the Dataset that has it, or open that with "
            "decode_coords='all'"
        )
    return base.coords[name].attrs if name in base.coords else {}
