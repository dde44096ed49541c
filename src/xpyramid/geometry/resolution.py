"""Which level suits: by its spacing, its size, or its number of pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real

from dask.utils import parse_bytes

from xpyramid.errors import PlanError, SelectionError
from xpyramid.geometry import units
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.plan import Level, Plan

#: A number and perhaps a unit.
_QUANTITY = re.compile(r"\s*(?P<number>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(?P<unit>.*?)\s*")
_ACCEPTED = "a number in the unit of the axes, or text as '10 um'"


def level_of_resolution(plan: Plan, resolution: object, own_units: Mapping[str, str | None]) -> int:
    """Return the coarsest level whose cells are not longer than that.

    Parameters
    ----------
    plan : Plan
    resolution : number, str or mapping
        Of the dimensions that are coarsened, or by dimension.
    own_units : mapping
        From dimensions to the units of their axes, or those that coordinates have.

    Raises
    ------
    PlanError
        For what is no length, or a unit that is not comparable to that of the axes.
    SelectionError
        If the cells of all levels are longer.
    """
    dims = plan.coarsened or tuple(axis.dim for axis in plan.axes if axis.type == "space")
    lengths = resolution if isinstance(resolution, Mapping) else dict.fromkeys(dims, resolution)
    if unknown := [dim for dim in lengths if dim not in plan.dims]:
        raise PlanError(
            f"names {unknown[0]!r}, which is no dimension",
            option="resolution", value=resolution, accepted=", ".join(plan.dims),
        )  # fmt: skip
    limits = {
        i: _length(lengths[axis.dim], axis, own_units.get(axis.dim))
        for i, axis in enumerate(plan.axes)
        if axis.dim in lengths
    }
    for k in reversed(range(len(plan.levels))):
        scale = plan.scale(k)
        # What rounding has made of a spacing does not count.
        if all(abs(scale[i]) <= limit * (1 + 1e-9) for i, limit in limits.items()):
            return k
    finest = ", ".join(
        " ".join(filter(None, [dim, f"{abs(plan.scale(0)[i]):.6g}", own_units.get(dim)]))
        for i in limits
        for dim in [plan.dims[i]]
    )
    raise SelectionError(
        option="resolution", value=resolution, accepted=f"at least that of level 0, {finest}"
    )


def _length(length: object, axis: AxisSpec, own_unit: str | None) -> float:
    """Return a length in the unit of an axis."""
    match = _QUANTITY.fullmatch(str(units.as_text(length)))
    number = float(match["number"]) if match is not None else math.nan
    if isinstance(length, bool) or not number > 0:
        raise PlanError(option="resolution", value=length, accepted=_ACCEPTED)
    unit = match["unit"] if match is not None else ""
    if not unit or isinstance(length, Real):
        return number
    word = units.to_ngff(unit, axis.type)
    if word is not None and axis.unit is not None:
        return number * units.size(word) / units.size(axis.unit)
    if word is None and _is_same_unit(unit, own_unit):
        return number
    has = f": the unit of {axis.dim!r} is {own_unit}" if own_unit else f": {axis.dim!r} has no unit"
    raise PlanError(has, option="resolution", value=length, accepted=_ACCEPTED)


def _is_same_unit(word: str, other: str | None) -> bool:
    """Whether units are the same word, or both degrees."""
    if other is None:
        return False
    both = [unit.strip().lower().removesuffix("s") for unit in (word, other)]
    degrees = [unit in {"°", "deg"} or unit.startswith("degree") for unit in both]
    return both[0] == both[1] or all(degrees)


def finest_below(
    plan: Plan, *, max_bytes: int | str | None = None, max_pixels: float | None = None
) -> int:
    """Return the finest level that is not larger than one of both limits.

    Parameters
    ----------
    plan : Plan
    max_bytes : int or str, optional
        Of all samples.
    max_pixels : int, optional
        Cells in space, of one channel and at one time.

    Raises
    ------
    SelectionError
        If all levels are larger.
    PlanError
        For what is no number.
    """
    option, value = ("max_bytes", max_bytes) if max_pixels is None else ("max_pixels", max_pixels)
    limit = _number(option, value)
    sizes = [level.nbytes if max_pixels is None else _pixels(plan, level) for level in plan.levels]
    for k, size in enumerate(sizes):
        if size <= limit:
            return k
    raise SelectionError(
        option=option, value=value, accepted=f"at least what the coarsest level has, {sizes[-1]}",
        fix="build more levels, or choose a smaller region",
    )  # fmt: skip


def _number(option: str, value: object) -> float:
    try:
        number = float(parse_bytes(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not number >= 0:
        text = ", or text as '500 MB'" if option == "max_bytes" else ""
        raise PlanError(option=option, value=value, accepted=f"a number{text}")
    return number


def _pixels(plan: Plan, level: Level) -> int:
    """Return how many cells a level has in space."""
    pairs = zip(plan.axes, level.shape, strict=True)
    return math.prod(n for axis, n in pairs if axis.type == "space")
