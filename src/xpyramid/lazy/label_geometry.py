"""Labels beside an image: the geometry that they take from it, and what contradicts it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from xpyramid.errors import PlanError
from xpyramid.geometry import units
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.ranges import range_coordinates, range_of
from xpyramid.inputs.kinds import AVERAGING
from xpyramid.lazy.levels import Levels
from xpyramid.messages import Message, code, option, say
from xpyramid.options.types import Boundary

#: Spacings and origins within this part of a sample are the same.
_SAME = 0.01


@dataclass(frozen=True)
class ImageGeometry:
    """A stored image, as far as its labels must fit it.

    Attributes
    ----------
    path : str
        Of the image, for messages.
    plan : Plan
    coordinates : tuple of xarray.Dataset
        Of each level.
    """

    path: str
    plan: Plan
    coordinates: tuple[xr.Dataset, ...]


def image_factors(axes: Sequence[AxisSpec], image: ImageGeometry) -> list[dict[str, int]] | None:
    """Return the factors of each step of an image, for the dimensions of labels; None for none."""
    shared = _shared(axes, image.plan.axes)
    steps = [{axes[i].dim: step[j] for i, j in shared.items()} for step in image.plan.steps]
    return steps if steps and all(max(step.values(), default=1) > 1 for step in steps) else None


def image_boundary(image: ImageGeometry) -> Boundary:
    """Return what an image does with last, partial windows, so far as its lengths say it."""
    base, *coarser = image.plan.levels
    floored = [
        tuple(n // f for n, f in zip(base.shape, level.factors, strict=True)) for level in coarser
    ]
    is_trimmed = floored == [level.shape for level in coarser]
    return "trim" if is_trimmed and image.plan.boundary != "exact" else image.plan.boundary


def place_beside(levels: Levels, plan: Plan, image: ImageGeometry) -> tuple[Levels, Plan]:
    """Return labels with the spacing, origin, units and coordinates that they have from an image.

    Where labels have a coordinate of their own, it must fit that of the image.

    Parameters
    ----------
    levels, plan
        Of the labels.
    image : ImageGeometry

    Raises
    ------
    PlanError
        If shapes, factors or coordinates contradict those of the image.
    """
    if plan.method in AVERAGING or len(levels) != len(image.coordinates):
        return levels, plan  # which the writer refuses, whatever the geometry
    shared = _shared(plan.axes, image.plan.axes)
    _check_dims(plan, image, shared)
    with_geometry = {i for i in shared if _has_geometry(plan.axes[i], levels.coordinates[0])}
    for i in with_geometry:
        _check_values(plan, image, (i, shared[i]), levels.coordinates[0])
    _check_channels(plan, image, shared, levels.coordinates[0])
    coarser = {i for i in with_geometry if _is_coarser(plan, image, i, shared[i])}
    for i, j in shared.items():
        if i not in coarser:
            _check_samples(plan, image, i, j)
    axes = list(plan.axes)
    for i, j in shared.items():
        theirs = image.plan.axes[j]
        if i in with_geometry:
            axes[i] = replace(axes[i], unit=axes[i].unit or theirs.unit)
        elif axes[i].type != "channel":
            axes[i] = replace(
                axes[i], unit=theirs.unit, spacing=theirs.spacing, origin=theirs.origin,
                uneven=theirs.uneven,
            )  # fmt: skip
    taken = {
        i: j for i, j in shared.items()
        if i not in with_geometry and plan.axes[i].dim not in levels.coordinates[0].coords
    }  # fmt: skip
    bare = {
        i: shared[i]
        for i in with_geometry
        if plan.axes[i].unit is None and axes[i].unit is not None
    }
    coordinates = [
        _along(plan, image, taken, theirs).assign_coords(
            _with_units(plan, image, bare, ours, theirs)
        )
        for ours, theirs in zip(levels.coordinates, image.coordinates, strict=True)
    ]
    placed = levels.with_coordinates(coordinates)
    return placed, replace(plan, axes=tuple(axes), stored=_grids(plan, image, taken, tuple(axes)))


def _along(
    plan: Plan, image: ImageGeometry, taken: Mapping[int, int], theirs: xr.Dataset
) -> xr.Dataset:
    """Return the coordinates of a level of an image, along the dimensions of labels."""
    coordinates = xr.Dataset()
    for i, j in taken.items():
        dim, image_dim = plan.axes[i].dim, image.plan.axes[j].dim
        if (line := range_of(theirs, image_dim)) is not None:
            length, attrs = theirs.sizes[image_dim], theirs[image_dim].attrs
            coordinates = coordinates.assign_coords(range_coordinates(dim, *line, length, attrs))
        elif image_dim in theirs.coords:
            old = theirs[image_dim].variable
            along = xr.Variable((dim,), old.values, old.attrs, old.encoding)
            coordinates = coordinates.assign_coords({dim: along})
    return coordinates


def _with_units(
    plan: Plan,
    image: ImageGeometry,
    bare: Mapping[int, int],
    ours: xr.Dataset,
    theirs: xr.Dataset,
) -> dict[str, xr.Variable]:
    """Return the coordinates of labels that have no unit with that of the image."""
    coordinates = {}
    for i, j in bare.items():
        dim, axis = plan.axes[i].dim, image.plan.axes[j]
        attrs = theirs[axis.dim].attrs if axis.dim in theirs.coords else {}
        old = ours[dim].variable
        attrs = {**old.attrs, "units": attrs.get("units", axis.unit)}
        coordinates[dim] = xr.Variable((dim,), old.values, attrs, old.encoding)
    return coordinates


def _grids(
    plan: Plan, image: ImageGeometry, taken: Mapping[int, int], axes: tuple[AxisSpec, ...]
) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return spacing and origin of each level, where the store says those of the image."""
    if not image.plan.stored:
        return plan.stored
    derived = replace(plan, axes=axes)
    return tuple(
        tuple(
            image.plan.stored[k][taken[i]] if i in taken else grid
            for i, grid in enumerate(zip(derived.scale(k), derived.translation(k), strict=True))
        )
        for k in range(len(plan.levels))
    )


def _shared(axes: Sequence[AxisSpec], theirs: Sequence[AxisSpec]) -> dict[int, int]:
    """Return the position in an image of each axis of labels that it has."""
    at = {axis.name: j for j, axis in enumerate(theirs)}
    return {i: at[axis.name] for i, axis in enumerate(axes) if axis.name in at}


def _has_geometry(axis: AxisSpec, coordinates: xr.Dataset) -> bool:
    """Whether labels say by themselves where they lie along an axis."""
    bare = (axis.spacing, axis.origin, axis.unit) == (1.0, 0.0, None)
    return axis.type != "channel" and (axis.dim in coordinates.coords or not bare)


def _check_dims(plan: Plan, image: ImageGeometry, shared: Mapping[int, int]) -> None:
    """Refuse labels that do not have the space dimensions of the image."""
    ours = [axis.name for axis in plan.axes if axis.type == "space"]
    theirs = [axis.name for axis in image.plan.axes if axis.type == "space"]
    extra = [axis.dim for i, axis in enumerate(plan.axes) if i not in shared and axis.name != "c"]
    if ours != theirs or extra:
        raise PlanError(
            f"labels with the dimensions {plan.dims}, and the image {image.path!r} "
            f"has {image.plan.dims}",
            accepted="the same space dimensions",
            fix=say("select, or add one with `.expand_dims(...)`"),
        )


def _is_coarser(plan: Plan, image: ImageGeometry, i: int, j: int) -> bool:
    """Whether labels have samples of another size than the image, but the same extent.

    Raises
    ------
    PlanError
        If they lie elsewhere.
    """
    axis, theirs = plan.axes[i], image.plan.axes[j]
    n, m = plan.levels[0].shape[i], image.plan.levels[0].shape[j]
    ratio = _unit_ratio(axis, theirs)
    if theirs.uneven is not None or axis.uneven is not None or ratio is None:
        return False
    spacing, origin = axis.spacing * ratio, axis.origin * ratio
    same_size = math.isclose(spacing, theirs.spacing, rel_tol=_SAME) or m == n == 1
    tolerance = abs(theirs.spacing) * (_SAME if same_size else 0.5)
    tolerance = max(tolerance, 0.0 if same_size else abs(spacing) / 2)
    ends = zip(_ends(spacing, origin, n), _ends(theirs.spacing, theirs.origin, m), strict=True)
    if same_size and n != m:
        return False  # said by their lengths
    if any(abs(a - b) > tolerance * (1 if same_size else 1.001) for a, b in ends):
        raise PlanError(
            f"along {axis.dim!r}, the labels have {n} samples {_grid(axis)}, and the "
            f"image {image.path!r} has {m} {_grid(theirs)}",
            accepted="the same place",
            fix=Message(
                "pass ",
                option("spacing"),
                " and ",
                option("origin"),
                " to match it, or drop the coordinate with ",
                code(f".drop_vars({axis.dim!r})"),
                " to take that of the image",
            ),
        )
    return not same_size


def _check_values(
    plan: Plan, image: ImageGeometry, pair: tuple[int, int], ours: xr.Dataset
) -> None:
    """Refuse coordinates that are no straight lines, or have no common unit, and are not equal."""
    axis, theirs = plan.axes[pair[0]], image.plan.axes[pair[1]]
    above = image.coordinates[0]
    if axis.dim not in ours.coords or theirs.dim not in above.coords:
        return
    label_coordinate, image_coordinate = ours[axis.dim], above[theirs.dim]
    raw_units = _raw_unit(label_coordinate), _raw_unit(image_coordinate)
    if None not in raw_units and raw_units[0] != raw_units[1] and None in (axis.unit, theirs.unit):
        raise PlanError(
            f"along {axis.dim!r}, the labels are in {raw_units[0]!r}, and the image "
            f"{image.path!r} in {raw_units[1]!r}",
            accepted="the same unit",
        )
    is_line = axis.uneven is None and theirs.uneven is None and label_coordinate.dtype.kind in "iuf"
    if is_line or label_coordinate.size != image_coordinate.size:
        return
    if label_coordinate.dtype.kind in "iuf" and image_coordinate.dtype.kind in "iuf":
        same = bool(np.allclose(label_coordinate.values, image_coordinate.values, rtol=1e-6))
    else:
        same = bool(np.array_equal(label_coordinate.values, image_coordinate.values))
    if not same:
        raise PlanError(
            f"along {axis.dim!r}, the labels begin at {label_coordinate.values[0]} and end at "
            f"{label_coordinate.values[-1]}, and the image {image.path!r} goes from "
            f"{image_coordinate.values[0]} to {image_coordinate.values[-1]}",
            accepted="the same values",
            fix=Message(
                "drop those of the labels with ",
                code(f".drop_vars({axis.dim!r})"),
                " to take those of the image",
            ),
        )


def _check_channels(
    plan: Plan, image: ImageGeometry, shared: Mapping[int, int], ours: xr.Dataset
) -> None:
    """Refuse channels of the image in another order; labels may have channels of their own."""
    above = image.coordinates[0]
    for i, j in shared.items():
        dim, image_dim = plan.axes[i].dim, image.plan.axes[j].dim
        if (
            plan.axes[i].type != "channel"
            or dim not in ours.coords
            or image_dim not in above.coords
        ):
            continue
        label_channels, image_channels = ours[dim].values.tolist(), above[image_dim].values.tolist()
        if len(label_channels) == len(image_channels) and any(
            channel in image_channels and channel != image_channel
            for channel, image_channel in zip(label_channels, image_channels, strict=True)
        ):
            raise PlanError(
                f"along {dim!r}, the labels have {label_channels[:8]}, and the image "
                f"{image.path!r} has {image_channels[:8]}",
                accepted="the same order",
                fix=Message("select them with ", code(f".sel({dim}={image_channels[:8]})")),
            )


def _raw_unit(coordinate: xr.DataArray) -> str | None:
    unit = coordinate.attrs.get("units", coordinate.attrs.get("unit"))
    return None if unit is None else str(unit)


def _unit_ratio(axis: AxisSpec, theirs: AxisSpec) -> float | None:
    """Return the size of an axis' unit in that of another one; 1 where one of them says none."""
    if axis.unit is None or theirs.unit is None:
        return 1.0
    return units.size(axis.unit) / units.size(theirs.unit)


def _ends(spacing: float, origin: float, length: int) -> tuple[float, float]:
    return origin - spacing / 2, origin + spacing * (length - 0.5)


def _grid(axis: AxisSpec) -> str:
    return f"of {axis.spacing:.6g} from {axis.origin:.6g}" + (f" {axis.unit}" if axis.unit else "")


def _check_samples(plan: Plan, image: ImageGeometry, i: int, j: int) -> None:
    """Refuse labels of which a sample is not one of the image."""
    dim, theirs = plan.axes[i].dim, image.plan
    n, m = plan.levels[0].shape[i], theirs.levels[0].shape[j]
    if plan.axes[i].type == "channel" and n == 1:
        return
    if n != m:
        raise PlanError(
            f"along {dim!r}, the labels have {n} samples, and the image {image.path!r} has {m}",
            accepted="as many, or coordinates that say how large they are",
        )
    ours = [level.factors[i] for level in plan.levels]
    factors = [level.factors[j] for level in theirs.levels]
    lengths = [(a.shape[i], b.shape[j]) for a, b in zip(plan.levels, theirs.levels, strict=True)]
    if ours == factors and any(a != b for a, b in lengths):
        raise PlanError(
            f"along {dim!r}, the levels of the labels have the lengths "
            f"{[a for a, _ in lengths]}, and those of the image {image.path!r} "
            f"{[b for _, b in lengths]}",
            accepted="the same",
            fix=say("pass {build.boundary}", boundary=image_boundary(image)),
        )
    if ours != factors:
        steps = [
            {plan.axes[a].dim: step[b] for a, b in _shared(plan.axes, theirs.axes).items()}
            for step in theirs.steps
        ]
        raise PlanError(
            f"along {dim!r}, the labels have the factors {ours}, and the image "
            f"{image.path!r} has {factors}",
            accepted="the same",
            fix=say("pass {build.factor}", factor=steps),
        )
