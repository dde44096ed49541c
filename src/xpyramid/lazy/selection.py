"""Regions of all levels at once, in xarray's words; see `xpyramid.Pyramid.sel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr

from xpyramid.errors import PlanError, SelectionError
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.selection import Part, as_given, cells, is_reduction, selected
from xpyramid.lazy.coarsen import as_dask, source_chunks
from xpyramid.lazy.levels import Levels
from xpyramid.messages import Message, code
from xpyramid.reducers import Reducer
from xpyramid.types import Indexers

How = Literal["isel", "sel"]

#: What coordinates are that no number can select from, by the kind of their dtype.
_TIMES = {"M": "datetime", "m": "duration"}


def parts_of(
    coordinates: xr.Dataset,
    plan: Plan,
    indexers: Indexers,
    how: How,
    method: str | None = None,
) -> tuple[Part, ...]:
    """Return what is taken of level 0 along each dimension.

    Parameters
    ----------
    coordinates : xarray.Dataset
        Of level 0.
    plan : Plan
    indexers : mapping
        From dimensions to indexes or labels, single ones or slices without a step.
    how : {"isel", "sel"}
        Which of both they are.
    method : str, optional
        How single labels are found that are not there, as for :meth:`xarray.DataArray.sel`.

    Raises
    ------
    SelectionError
    """
    if unknown := [dim for dim in indexers if dim not in plan.dims]:
        raise SelectionError(f"there is no dimension {unknown[0]!r}", accepted=", ".join(plan.dims))
    whole = zip(plan.dims, plan.levels[0].shape, strict=True)
    parts: list[Part] = [slice(0, n) for _, n in whole]
    for i, dim in enumerate(plan.dims):
        if dim in indexers:
            parts[i] = _along(coordinates, dim, parts[i].stop, indexers[dim], how, method)  # type: ignore[union-attr]
    return tuple(parts)


def _along(
    coordinates: xr.Dataset, dim: str, length: int, part: object, how: How, method: str | None
) -> Part:
    is_slice = isinstance(part, slice)
    if (isinstance(part, slice) and part.step not in (None, 1)) or np.ndim(
        np.asarray(part, object)
    ):
        raise SelectionError(
            f"along {dim!r}: {part!r}",
            accepted="a single one, or a slice without a step",
            fix=f"select on one level, as in p[1].{how}(...)",
        )
    coords = {dim: coordinates.variables[dim]} if dim in coordinates.variables else {}
    positions = xr.DataArray(np.arange(length), coords, [dim])
    options = {"method": method} if method is not None and how == "sel" and not is_slice else {}
    try:
        taken = getattr(positions, how)({dim: part}, **options).values
    except (KeyError, IndexError, TypeError, ValueError) as error:
        kind = positions.coords[dim].dtype.kind if dim in positions.coords and how == "sel" else ""
        is_other = kind in _TIMES and not isinstance(error, KeyError | IndexError)
        reason = f"no {_TIMES[kind]}" if is_other else error.args[0]
        accepted = _accepted(positions, dim, how, is_nearest=is_other or method is not None)
        by_index = f".isel({dim}={part})" if is_other and isinstance(part, int) else ""
        raise SelectionError(
            f"along {dim!r}, {part!r}: {reason}",
            accepted=accepted,
            fix=Message("for an index, call ", code(by_index), " first") if by_index else "",
        ) from error
    if not taken.ndim:
        return int(taken)
    if not taken.size:
        raise SelectionError(
            f"along {dim!r}, {part!r} selects nothing",
            accepted=_accepted(positions, dim, how, is_nearest=method is not None),
        )
    return slice(int(taken[0]), int(taken[-1]) + 1)


def _accepted(positions: xr.DataArray, dim: str, how: How, *, is_nearest: bool) -> str:
    if how == "isel" or dim not in positions.coords:
        return f"indexes below {positions.size}"
    first, last = (_as_text(positions.coords[dim].values[i]) for i in (0, -1))
    has_next = not is_nearest and positions.coords[dim].dtype.kind not in "OSU"
    return f"coordinates from {first} to {last}" + (
        "; method='nearest' for the next one" if has_next else ""
    )


def _as_text(label: object) -> str:
    """Return a label as people write it: a time without zeros that say nothing."""
    text = str(label)
    if not isinstance(label, np.datetime64):
        return text
    return (text.rstrip("0").rstrip(".") if "." in text else text).removesuffix("T00:00:00")


def region_of(
    levels: Levels,
    plan: Plan,
    parts: Sequence[Part],
    samples: xr.DataArray | None,
    reducer: Reducer | None,
) -> tuple[Levels, Plan, xr.DataArray | None, Reducer | None]:
    """Return a region of all levels, and what they are made from, as far as they still are.

    Parameters
    ----------
    levels, plan
        Of the whole.
    parts : sequence of slice or int
        Of level 0: whole windows of the coarsest level.
    samples, reducer
        As `with_sources` takes them.
    """
    taken, region = selected_levels(levels, plan, parts), selected(plan, parts)
    if not is_reduction(plan, parts):
        windows = f"windows along {', '.join(plan.coarsened)}"
        region = as_given(region, f"{plan.method}, of {windows}")
        samples = reducer = None
    elif samples is not None:
        samples = samples.isel(dict(zip(plan.dims, parts, strict=True)))
    return taken, with_sources(region, taken, samples, reducer), samples, reducer


def selected_levels(levels: Levels, plan: Plan, parts: Sequence[Part]) -> Levels:
    """Return parts of all levels, made when they are asked for."""
    numbers = range(len(levels))
    indexers = [dict(zip(plan.dims, cells(plan, k, parts), strict=True)) for k in numbers]
    makers = [partial(_selected, levels, k, own) for k, own in enumerate(indexers)]
    coordinates = [
        coords.isel(own, missing_dims="ignore")
        for coords, own in zip(levels.coordinates, indexers, strict=True)
    ]
    return Levels(makers, coordinates)


def _selected(levels: Levels, k: int, indexers: Mapping[str, Part]) -> xr.DataArray:
    return levels[k].isel(indexers)


def mapped(levels: Levels, plan: Plan, function: Callable[[xr.DataArray], xr.DataArray]) -> Levels:
    """Return levels with a function applied to each, when it is asked for; nothing is computed."""
    makers = [partial(_mapped, levels, plan, k, function) for k in range(len(levels))]
    return Levels(makers, levels.coordinates)


def _mapped(
    levels: Levels, plan: Plan, k: int, function: Callable[[xr.DataArray], xr.DataArray]
) -> xr.DataArray:
    level = levels[k]
    if level.chunks is None:  # of which any arithmetic would read all
        data = as_dask(level, plan.levels[k].chunks)
        level = level.copy(data=data)
    result: object = function(level)
    if not isinstance(result, xr.DataArray):
        returned = f"a {type(result).__name__}"
    elif (result.dims, result.shape) == (level.dims, level.shape):
        return result
    else:
        returned = f"{result.dims} {result.shape}"
    raise PlanError(
        f"the function returns {returned} for level {k}",
        accepted=f"a DataArray like the level: {level.dims} {level.shape}",
    )


def with_sources(
    plan: Plan, levels: Levels, samples: xr.DataArray | None, reducer: Reducer | None
) -> Plan:
    """Return a plan with the chunks that are to be read.

    Parameters
    ----------
    plan : Plan
    levels : Levels
    samples : xarray.DataArray or None
        What the levels are made from, where that is not level 0.
    reducer : Reducer or None
        What makes them; None where each is read.
    """
    read = levels if reducer is None else [levels[0] if samples is None else samples]
    return replace(plan, source_chunks=tuple(map(source_chunks, read)))
