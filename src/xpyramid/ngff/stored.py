"""From the metadata of a stored image back to the axes that were written.

The metadata have the numbers that coordinates are only samples of: the spacing of a dimension of
length 1, a spacing that was passed to its last digit, the type of an axis whose name says nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import xarray as xr

from xpyramid.errors import NotAPyramidError
from xpyramid.geometry import axes as axes_module
from xpyramid.geometry import units
from xpyramid.geometry.axes import AXIS_TYPES, AxisSpec
from xpyramid.geometry.plan import Plan
from xpyramid.ngff.model import Axis, Multiscale

_TYPES = {str(axis_type): axis_type for axis_type in AXIS_TYPES.values()}


def recover_axes(image: Multiscale, base: xr.DataArray) -> tuple[AxisSpec, ...]:
    """Return the axes of a stored image.

    Parameters
    ----------
    image : Multiscale
        Its metadata.
    base : xarray.DataArray
        Its level 0; what is uneven is known from its coordinates alone.

    Raises
    ------
    NotAPyramidError
        If the metadata have another number of axes.
    """
    if len(image.axes) != base.ndim:
        raise NotAPyramidError(
            f"level 0 has the dimensions {base.dims}, and the metadata {len(image.axes)} axes"
        )
    first, signs = image.datasets[0], _signs(image, base.dims)
    base_axes = axes_module.describe_axes(base)
    recorded_names = image.metadata.get("axes")  # where axes are called as dimensions are
    names: Sequence[object] = [axis.name for axis in image.axes]
    if isinstance(recorded_names, list) and len(recorded_names) == base.ndim:
        names = recorded_names
    recovered = (
        _recover(*each)
        for each in zip(base_axes, image.axes, signs, first.scale, first.translation, strict=True)
    )
    return tuple(replace(axis, name=str(name)) for axis, name in zip(recovered, names, strict=True))


def as_stored(plan: Plan, image: Multiscale) -> Plan:
    """Return the plan of a stored image with the places of its levels.

    Levels that others wrote may lie elsewhere than factors say: half a sample off, or with the
    ratio of two shapes as their scale. What is copied must stay where it is.
    """
    signs = _signs(image, plan.dims)
    derived, stored = [], []
    for k, dataset in enumerate(image.datasets):
        derived.append(tuple(zip(plan.scale(k), plan.translation(k), strict=True)))
        transforms = zip(signs, dataset.scale, dataset.translation, strict=True)
        stored.append(
            tuple(
                # What is uneven, the metadata cannot say. + 0.0 turns -0.0 into 0.0.
                grid if axis.uneven is not None else (sign * scale, sign * shift + 0.0)
                for axis, grid, (sign, scale, shift) in zip(
                    plan.axes, derived[k], transforms, strict=True
                )
            )
        )
    return plan if stored == derived else replace(plan, stored=tuple(stored))


def _signs(image: Multiscale, dims: Sequence[Hashable]) -> list[float]:
    """Return -1 for dimensions that were written the other way round, else 1."""
    recorded = image.metadata.get("reversed")
    reversed_dims = recorded if isinstance(recorded, list) else []
    return [-1.0 if dim in reversed_dims else 1.0 for dim in dims]


def _recover(
    base_axis: AxisSpec, axis: Axis, sign: float, scale: float, translation: float
) -> AxisSpec:
    axis_type = _TYPES.get(str(axis.type), base_axis.type)
    recovered = replace(base_axis, name=axis.name, type=axis_type)
    if base_axis.uneven is not None:
        return recovered
    return replace(
        recovered,
        unit=units.to_ngff(axis.unit, axis_type),
        spacing=sign * scale,
        origin=sign * translation + 0.0,
    )
