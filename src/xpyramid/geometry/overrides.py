"""What the caller says of the axes, against what the coordinates say.

A spacing or an origin becomes a coordinate, a unit becomes an attribute of one: levels and metadata
both go by the coordinates, and so cannot contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Self, TypeVar, cast

import numpy as np
import xarray as xr

from xpyramid.errors import AxisError
from xpyramid.geometry import axes as axes_module
from xpyramid.geometry import units as units_module
from xpyramid.geometry.axes import AXIS_TYPES, AxisSpec
from xpyramid.geometry.ranges import LONGEST_MADE, range_coordinates, transform_of
from xpyramid.messages import Message, code, option, say
from xpyramid.options.types import AxisType, PerDim
from xpyramid.types import Attrs

T = TypeVar("T")

_TYPES = tuple(dict.fromkeys(AXIS_TYPES.values()))


@dataclass(frozen=True)
class Overrides:
    """What is passed to `xpyramid.accessor.ArrayAccessor.build` about the axes.

    Attributes
    ----------
    spacing, origin : number, {dim: number}, sequence of number, or None
        A number is for all space dimensions; a sequence has one entry for each dimension, in the
        order of the array, None for those that it leaves out.
    units : str, {dim: str}, sequence of str, or None
        In any spelling; objects of pint and astropy do too. A single one is for all space
        dimensions.
    axis_types : {dim: type} or None
    """

    spacing: PerDim | None = None
    origin: PerDim | None = None
    units: object = None
    axis_types: Mapping[str, AxisType] | None = None

    def check_dims(self, dims: Sequence[object]) -> None:
        """Refuse dimensions that are not there.

        Raises
        ------
        AxisError
            If there are any.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            unknown = [d for d in value if d not in dims] if isinstance(value, Mapping) else []
            if unknown:
                raise AxisError(
                    f": no dimension {unknown}",
                    option=field.name,
                    value=value,
                    accepted=", ".join(map(str, dims)),
                )

    def only(self, dims: Sequence[object]) -> Self:
        """Return what is said of some dimensions."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self,
            **{
                name: {dim: value for dim, value in by_dim.items() if dim in dims}
                for name, by_dim in options.items()
                if isinstance(by_dim, Mapping)
            },
        )


def apply(
    array: xr.DataArray, overrides: Overrides, coarsened: Collection[str] = ()
) -> tuple[xr.DataArray, tuple[AxisSpec, ...]]:
    """Return an array with the coordinates that the caller asks for, and its axes.

    Parameters
    ----------
    array : xarray.DataArray
    overrides : Overrides
    coarsened : collection of str
        Dimensions that the caller wants to coarsen; see `xpyramid.geometry.axes.describe_axes`.

    Returns
    -------
    array : xarray.DataArray
        Dimensions with a spacing or an origin have the coordinate ``origin + spacing * i``; of
        these two, what was not passed is that of the coordinate there was (the mean step where it
        is irregular), else 1 and 0. A unit is the attribute ``units`` of the coordinate, which is
        made if there is none.
    axes : tuple of AxisSpec
        With the very numbers that were passed.

    Raises
    ------
    AxisError
        For values that an axis cannot have.
    """
    overrides.check_dims(array.dims)
    types = _checked_types(overrides.axis_types)
    axes = axes_module.describe_axes(array, types, coarsened)
    _check_names(axes, types)
    spacing = _for_dims("spacing", overrides.spacing, axes, _spacing)
    origin = _for_dims("origin", overrides.origin, axes, _origin)
    units = _for_dims("units", overrides.units, axes, _unit)
    grids: dict[str, tuple[float, float]] = {}
    for axis in axes:
        if axis.dim in {*spacing, *origin, *units}:
            _check_numeric(array, axis.dim)
        if axis.dim in {*spacing, *origin}:
            grids[axis.dim] = (
                spacing.get(axis.dim, axis.spacing or 1.0),
                origin.get(axis.dim, axis.origin),
            )
    if not grids and not units:
        return array, axes
    array = _with_coordinates(array, grids, units)
    return array, tuple(
        _as_given(axis, *grids[axis.dim]) if axis.dim in grids else axis
        for axis in axes_module.describe_axes(array, types, coarsened)
    )


def _as_given(axis: AxisSpec, spacing: float, origin: float) -> AxisSpec:
    """Return an axis with the numbers that were passed, which its coordinate has but rounded."""
    if axis.uneven is not None:
        raise AxisError(
            say("with {origin}", origin=origin)
            + f" along {axis.dim!r}: the coordinates are not told apart in float64",
            option="spacing",
            value=spacing,
            accepted="an origin nearer to 0, or other units",
        )
    return replace(axis, spacing=spacing, origin=origin)


def _with_coordinates(
    array: xr.DataArray, grids: Mapping[str, tuple[float, float]], units: Mapping[str, object]
) -> xr.DataArray:
    """Return the array with affine coordinates along some dimensions, and units on some."""
    for dim in {**grids, **units}:
        is_there = dim in array.coords  # xarray makes what is not there
        attrs = dict(array.coords[dim].attrs) if is_there else {}
        if dim in units:
            attrs.pop("unit", None)
            attrs["units"] = units[dim]
        if dim in grids or not is_there:
            array = _on_a_line(array, dim, grids.get(dim, (1.0, 0.0)), attrs)
        else:
            array = _with_attributes(array, dim, attrs)
    return array


def _with_attributes(array: xr.DataArray, dim: str, attrs: Attrs) -> xr.DataArray:
    """Return an array with other attributes of a coordinate, whose values are left alone."""
    index = array.xindexes.get(dim)
    together: dict[Hashable, xr.Variable] = {dim: array.coords[dim].variable}
    if index is not None:  # which may have several coordinates, of which none goes alone
        together = dict(array.xindexes.get_all_coords(dim))
    together[dim] = together[dim].copy(deep=False)
    together[dim].attrs = dict(attrs)
    indexes = {} if index is None else dict.fromkeys(together, index)
    return array.assign_coords(xr.Coordinates(together, indexes))


def _on_a_line(
    array: xr.DataArray, dim: str, line: tuple[float, float], attrs: Attrs
) -> xr.DataArray:
    """Return an array with the coordinate of a dimension on a line, made only if it is short."""
    step, start = line
    length = array.sizes[dim]
    if transform_of(array, dim) is not None:
        array = array.drop_indexes(list(array.xindexes.get_all_coords(dim)))
    if length > LONGEST_MADE:
        coordinates = range_coordinates(dim, step, start, length, attrs)
        return array.drop_vars(dim, errors="ignore").assign_coords(coordinates)
    return array.assign_coords({dim: xr.Variable(dim, start + step * np.arange(length), attrs)})


def _for_dims(
    name: str, setting: object, axes: Sequence[AxisSpec], check: Callable[[object, Message], T]
) -> dict[str, T]:
    """Return the checked value for each dimension that has one."""
    if setting is None:
        return {}
    if isinstance(setting, np.ndarray) and setting.ndim:
        setting = setting.tolist()
    if isinstance(setting, Sequence) and not isinstance(setting, str):
        setting = _by_position(name, setting, axes)
    if not isinstance(setting, Mapping):
        setting = {axis.dim: setting for axis in axes if axis.type == "space"}
    return {
        dim: check(value, Message(option(name, value), f" along {dim!r}"))
        for dim, value in setting.items()
    }


def _by_position(
    name: str, entries: Sequence[object], axes: Sequence[AxisSpec]
) -> dict[str, object]:
    """Return the values of a sequence by dimension; None is for dimensions that it leaves out."""
    dims = tuple(axis.dim for axis in axes)
    if len(entries) != len(dims):
        raise AxisError(
            f"has {len(entries)} entries for the {len(dims)} dimensions {', '.join(dims)}",
            option=name,
            value=entries,
            accepted=Message(
                "one for each, in this order; one for all space dimensions; or by name, as in ",
                option(name, dict(zip(dims[-2:], entries[-2:], strict=False))),
            ),
        )
    return {dim: value for dim, value in zip(dims, entries, strict=True) if value is not None}


def _origin(value: object, what: Message) -> float:
    number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    if not (number and math.isfinite(cast(float, value))):
        raise AxisError(what, accepted="finite numbers, in the units of the coordinate")
    return float(cast(float, value))


def _spacing(value: object, what: Message) -> float:
    if isinstance(value, Real) and value == 0:
        raise AxisError(
            what, accepted="numbers other than 0, negative where the coordinate descends"
        )
    return _origin(value, what)


def _unit(value: object, what: Message) -> object:
    text = units_module.as_text(value)
    if not isinstance(text, str) or not text.strip():
        raise AxisError(what, accepted="a unit as text, such as 'um', 'micrometer' or 's'")
    return text


def _check_numeric(array: xr.DataArray, dim: str) -> None:
    """Refuse a grid or a unit for coordinates that are not numbers: those have a meaning."""
    if dim in array.coords and (kind := array.coords[dim].dtype.kind) not in "iuf":
        what = "datetimes or durations" if kind in "mM" else f"{array.coords[dim].dtype} values"
        raise AxisError(
            say(", {origin} and {units}")
            + f" are for numbers, and the coordinate of {dim!r} holds {what}",
            option="spacing",
            fix=Message(
                f"leave {dim!r} out, or drop the coordinate with ",
                code(f".drop_vars({dim!r})"),
                " first",
            ),
        )


def _checked_types(types: Mapping[str, AxisType] | None) -> Mapping[str, AxisType]:
    if types is None:
        return {}
    if not isinstance(types, Mapping):
        raise AxisError(
            option="axis_types", value=types, accepted="a mapping, as in {'w': 'channel'}"
        )
    for dim, axis_type in types.items():
        if axis_type not in _TYPES:
            raise AxisError(option="axis_types", value={dim: axis_type}, accepted=", ".join(_TYPES))
    for once in ("time", "channel"):
        if len(several := [dim for dim in types if types[dim] == once]) > 1:
            value = dict.fromkeys(several, once)
            raise AxisError(option="axis_types", value=value, accepted=f"one {once} axis")
    return types


def _check_names(axes: Sequence[AxisSpec], types: Mapping[str, AxisType]) -> None:
    """Refuse types that leave no axis for other dimensions."""
    for axis in axes:
        if axis.dim in types and axis.type != types[axis.dim]:
            raise AxisError(
                "cannot be: there are three space dimensions already",
                option="axis_types",
                value={axis.dim: types[axis.dim]},
                fix="say what the others are",
            )
        if types and axis.dim in AXIS_TYPES and axis.dim not in types and axis.name != axis.dim:
            raise AxisError(
                f"leaves no place for the dimension {axis.dim!r}",
                option="axis_types",
                value=dict(types),
                fix=Message(
                    "say what it is, as in ",
                    option("axis_types", {axis.dim: "space"}),
                    ", or rename it",
                ),
            )
