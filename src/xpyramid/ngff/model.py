"""What every version says, in no version's form: axes, datasets and their transformations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xpyramid.errors import AxisError
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.plan import Plan
from xpyramid.messages import Message, code, say
from xpyramid.options.types import Irregular
from xpyramid.warn import warn

_ORDER = {"time": 0, "channel": 1, "space": 2}


@dataclass(frozen=True)
class Axis:
    """An NGFF axis."""

    name: str
    type: str | None
    unit: str | None = None


@dataclass(frozen=True)
class Dataset:
    """One level: where it is, and ``physical = scale * index + translation``.

    Both are empty where the metadata do not say (0.1 to 0.3), and a scale is 0 where it is not
    known; see `xpyramid.ngff.fill_transforms`.
    """

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class Multiscale:
    """One multiscale image.

    The last three are of images that were read: the version, the labels of the channels, and the
    mapping that holds ``multiscales``, with ``omero`` and all else, as it was stored.
    """

    axes: tuple[Axis, ...]
    datasets: tuple[Dataset, ...]
    name: str | None = None
    type: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    version: str | None = None
    channels: tuple[str, ...] = ()
    document: Mapping[str, object] = field(default_factory=dict)


def describe_image(
    plan: Plan,
    paths: Sequence[str],
    name: str,
    irregular: Irregular,
    library: Mapping[str, object],
    names: Mapping[str, str],
) -> Multiscale:
    """Describe a pyramid in NGFF's terms.

    NGFF transformations have positive scales. Where a coordinate descends, the data keep their
    order and the axis points the other way: its physical coordinate is minus the xarray coordinate.

    Parameters
    ----------
    plan : Plan
    paths : sequence of str
        Of the level arrays, relative to the image group.
    name : str
        Of the image.
    irregular : {"error", "approximate"}
        What to do with space coordinates that are not evenly spaced.
    library : mapping
        Name and version of the writer.
    names : mapping of str to str
        From each dimension to the name of its axis.

    Raises
    ------
    AxisError
        For dimensions that NGFF has no place for.
    """
    _check_axes(plan, irregular)
    measured = plan.coarsened if irregular == "error" else plan.dims
    axes = tuple(_evenly(axis, measured) for axis in plan.axes)
    even = replace(plan, axes=axes, stored=plan.stored if axes == plan.axes else ())
    signs = [-1.0 if axis.spacing < 0 else 1.0 for axis in axes]
    datasets = tuple(
        Dataset(path, _signed(signs, even.scale(k)), _signed(signs, even.translation(k)))
        for k, path in enumerate(paths)
    )
    metadata: dict[str, object] = {
        "method": plan.method,
        "boundary": plan.boundary,
        "dims": list(plan.dims),
        "factors": [list(level.factors) for level in plan.levels],
        **{key: _number(value) for key, value in plan.options.items()},
        **library,
    }
    if plan.kind == "labels":
        metadata["kind"] = "labels"
    if reversed_dims := [a.dim for a, sign in zip(axes, signs, strict=True) if sign < 0]:
        metadata["reversed"] = reversed_dims
    if uneven := [axis.dim for axis in plan.axes if axis.uneven]:
        metadata["irregular"] = uneven
    if any(names[axis.dim] != axis.name for axis in axes):
        metadata["axes"] = [axis.name for axis in axes]
    return Multiscale(
        axes=tuple(Axis(names[axis.dim], axis.type, axis.unit) for axis in axes),
        datasets=datasets,
        name=name,
        type=plan.method,
        metadata=metadata,
    )


def _signed(signs: Sequence[float], values: Sequence[float]) -> tuple[float, ...]:
    # + 0.0 turns -0.0 into 0.0
    return tuple(sign * value + 0.0 for sign, value in zip(signs, values, strict=True))


def _number(value: object) -> object:
    """Return a number as JSON has it; NaN and infinity, which JSON has not, as text."""
    plain = value.item() if isinstance(value, np.generic) else value
    return str(plain) if isinstance(plain, float) and not math.isfinite(plain) else plain


def _evenly(axis: AxisSpec, measured: Sequence[str]) -> AxisSpec:
    """Return what NGFF can say of an axis.

    Uneven times and channels are counted; of those in space, the mean spacing of some is measured.
    """
    counted = AxisSpec(axis.dim, axis.name, axis.type)
    if axis.uneven is None or (axis.type == "space" and axis.dim in measured):
        return axis if axis.spacing else counted
    if axis.type == "space":
        warn(
            f"the coordinate of {axis.dim!r} is irregular: steps from {axis.uneven[0]:.6g} to "
            f"{axis.uneven[1]:.6g}; OME-NGFF knows evenly spaced samples only, so viewers will "
            "count them (scale 1, no unit); the coordinate itself is stored as it is"
        )
    return counted


def _check_axes(plan: Plan, irregular: Irregular) -> None:
    """Refuse what the axes sections of NGFF 0.4 and 0.5 forbid, or what viewers would mistake."""
    axes, coarsened = plan.axes, plan.coarsened
    dims = tuple(axis.dim for axis in axes)
    types = [axis.type for axis in axes]
    if irregular not in ("error", "approximate"):
        raise AxisError(option="irregular", value=irregular, accepted="'error', 'approximate'")
    if other := [axis.dim for axis in axes if axis.type == "other"]:
        raise AxisError(
            f"OME-NGFF has no axis for {other} beside the others of {dims}",
            accepted="t, c, z, y, x, each at most once",
            fix="select along the dimension, or rename it",
        )
    if not 2 <= types.count("space") <= 3:
        space_dims = [axis.dim for axis in axes if axis.type == "space"]
        raise AxisError(
            f"OME-NGFF needs 2 or 3 space dimensions, {dims} has {len(space_dims)}: {space_dims}",
            fix=say("add one of length 1 with `.expand_dims('y')`"),
        )
    right = sorted(axes, key=lambda axis: (_ORDER[axis.type], "zyx".find(axis.name)))
    if (ordered_dims := tuple(axis.dim for axis in right)) != dims:
        is_picture = axes[-1].type == "channel"
        colors = say(
            "; of a photograph, pass {omero} too", omero={"labels": ["red", "green", "blue"]}
        )
        raise AxisError(
            f"OME-NGFF orders dimensions time, channel, z, y, x, not {dims}",
            fix=Message(
                "call ",
                code(f".transpose({', '.join(map(repr, ordered_dims))})"),
                " before .pyramid",
                colors if is_picture else "",
            ),
        )
    for axis in axes:
        is_uneven = axis.uneven is not None and axis.type == "space" and axis.dim in coarsened
        if axis.uneven is not None and is_uneven and irregular == "error":
            raise AxisError(
                f"the coordinate of {axis.dim!r} is irregular: steps from {axis.uneven[0]:.6g} to "
                f"{axis.uneven[1]:.6g}, and OME-NGFF knows evenly spaced samples only",
                fix=say(
                    "pass {build.spacing} to put the samples on an even grid, or "
                    "{to_ome_zarr.irregular} to write the mean spacing beside the true "
                    "coordinates; or interpolate",
                    spacing={axis.dim: ...},
                    irregular="approximate",
                ),
            )
