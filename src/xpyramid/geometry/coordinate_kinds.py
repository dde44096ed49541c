"""Kinds of coordinates that have no mean or that a store has no form for, and what to make of them.

One table says it for both: which kind it is, and the call that makes another of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
import xarray as xr
from xarray.indexes import PandasMultiIndex

from xpyramid.errors import AxisError
from xpyramid.geometry.axes import is_cftime
from xpyramid.messages import Message, code, option
from xpyramid.types import Array

_AS_TEXT = ".to_numpy().astype(str)"
_STORED = "numbers, booleans, text, dates"
_AVERAGED = "numbers and datetimes without a zone"


@dataclass(frozen=True)
class _Rule:
    """What to make of one kind of coordinate.

    Attributes
    ----------
    applies : callable
        Whether a dtype is of this kind.
    says : str
        What the coordinate has, with ``{dtype}`` and ``{zone}``.
    to_store : str
        What is called on the coordinate to make one that can be stored.
    to_average : str
        The same for one that has a mean; empty where there is none.
    accepted : str
        What a store has a form for.
    """

    applies: Callable[[object], bool]
    says: str
    to_store: str
    to_average: str
    accepted: str = _STORED


def _has_zone(dtype: object) -> bool:
    return isinstance(getattr(dtype, "tz", None), tzinfo)


def _is_called(dtype: object, name: str) -> bool:
    return type(dtype).__name__ == name


_RULES = (
    _Rule(
        _has_zone, "times with the zone {zone}",
        ".to_index().tz_convert(None)", ".to_index().tz_convert(None)", "times without a zone",
    ),
    _Rule(
        lambda dtype: _is_called(dtype, "IntervalDtype"), "dtype {dtype}",
        _AS_TEXT, ".to_index().mid",
    ),
    _Rule(
        lambda dtype: _is_called(dtype, "PeriodDtype"), "dtype {dtype}",
        _AS_TEXT, ".to_index().to_timestamp()",
    ),
    _Rule(
        lambda dtype: getattr(dtype, "_is_numeric", False), "dtype {dtype}",
        _AS_TEXT, ".to_numpy().astype(float)",
    ),
    _Rule(lambda _: True, "dtype {dtype}", _AS_TEXT, ""),
)  # fmt: skip


def check_storable(array: xr.DataArray) -> None:
    """Refuse coordinates of kinds that Zarr has no form for, and name them.

    Raises
    ------
    AxisError
        For several columns in one (a MultiIndex), times with a zone, categories, intervals, and
        other objects that are no text or dates.
    """
    for dim in array.dims:
        _check_columns(array, dim, "which a store has no form for")
    for name, coordinate in array.coords.items():
        if not isinstance(coordinate.dtype, np.dtype):
            rule, says = _rule_for(coordinate.dtype)
            raise AxisError(
                f"coordinate {name!r} has {says}, which a store has no form for",
                accepted=f"{rule.accepted}",
                fix=Message(
                    f"call {_assigned(coordinate, rule.to_store)} before .pyramid, or drop it "
                    "with ",
                    code(f".drop_vars({name!r})"),
                ),
            )
        if unsupported := _unsupported_types(coordinate):
            raise AxisError(
                f"coordinate {name!r} has dtype object, with values of type {unsupported}",
                accepted=f"{_STORED}",
                fix=Message(
                    f"call {_assigned(coordinate, '.astype(str)')}, or drop it with ",
                    code(f".drop_vars({name!r})"),
                ),
            )


def check_average(array: xr.DataArray, dim: str) -> None:
    """Refuse the coordinate of a dimension to coarsen, if it is of a kind that has no mean.

    Raises
    ------
    AxisError
    """
    _check_columns(array, dim, "which has no mean")
    coordinate = array.coords[dim]
    dtype: object = coordinate.dtype
    call = ""
    if not isinstance(dtype, np.dtype):
        rule, says = _rule_for(dtype)
        call = rule.to_average
    elif dtype.kind in "iufmM" or is_cftime(coordinate.values):
        return
    elif unsupported := _unsupported_types(coordinate):
        says, call = (
            f"dtype object, with values of type {unsupported}",
            _as_numbers(coordinate.values),
        )
    else:
        says = f"dtype {dtype}"
    first = f"call {_assigned(coordinate, call)} before .pyramid, " if call else ""
    raise AxisError(
        f"the coordinate of {dim!r} has {says} and cannot be coarsened",
        accepted=f"{_AVERAGED}",
        fix=Message(
            f"{first}drop it with ",
            code(f".drop_vars({dim!r})"),
            ", or choose other ",
            option("dims"),
        ),
    )


def _check_columns(array: xr.DataArray, dim: Hashable, which: str) -> None:
    """Refuse a coordinate that is made of several."""
    index = array.xindexes.get(dim)
    if isinstance(index, PandasMultiIndex):
        raise AxisError(
            f"coordinate {index.dim!r} is a MultiIndex of "
            f"{list(map(str, index.index.names))}, {which}",
            accepted="one value for each sample",
            fix=Message(
                "call ",
                code(f".reset_index({index.dim!r})"),
                ", which keeps its columns, before .pyramid",
            ),
        )


def _rule_for(dtype: object) -> tuple[_Rule, str]:
    """Return what to make of a dtype of pandas, and what such coordinates are said to have."""
    rule = next(rule for rule in _RULES if rule.applies(dtype))
    return rule, rule.says.format(dtype=dtype, zone=getattr(dtype, "tz", None))


def _assigned(coordinate: xr.DataArray, call: str) -> str:
    """Return the call that puts another coordinate in the place of one."""
    name, dims = coordinate.name, coordinate.dims
    dims_of = repr(dims[0]) if len(dims) == 1 else repr(dims)
    expression = f"array[{name!r}]{call}"
    if not call.startswith(".astype"):  # which is called on the coordinate, and gives another
        expression = f"({dims_of}, {expression})"
    return f".assign_coords({{{name!r}: {expression}}})"


def _unsupported_types(coordinate: xr.DataArray) -> str:
    """Return the types of objects that are neither text nor dates."""
    if coordinate.dtype.kind != "O" or is_cftime(values := coordinate.values):
        return ""
    types = {type(value).__name__ for value in values.flat if not isinstance(value, str)}
    return ", ".join(sorted(types))


def _as_numbers(values: Array) -> str:
    """Return what makes numbers or datetimes of objects; empty where nothing does."""
    for dtype in ("float", "'datetime64[ns]'"):
        try:
            converted = values.astype(np.dtype(dtype.strip("'")))
        except (TypeError, ValueError):
            continue
        if np.isfinite(converted).all():
            return f".astype({dtype})"
    return ""
