"""From the metadata of a stored image back to the axes that were written.

The metadata have the numbers that coordinates are only samples of: the spacing of a dimension of
length 1, a given spacing to its last digit, the type of an axis whose name says nothing.
"""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from xpyramid import axes as axes_module
from xpyramid import units
from xpyramid.axes import AXIS_TYPES, AxisSpec
from xpyramid.ngff.model import Axis, Multiscale
from xpyramid.plan import Grid

_TYPES = {str(axis_type): axis_type for axis_type in AXIS_TYPES.values()}


def recover_axes(image: Multiscale, base: xr.DataArray) -> tuple[AxisSpec, ...]:
    """Return the axes of a stored image.

    Parameters
    ----------
    image : Multiscale
        Its metadata.
    base : xarray.DataArray
        Its level 0; what is uneven is known from its coordinates alone.
    """
    first, signs = image.datasets[0], _signs(image, base)
    found = axes_module.describe(base)
    return tuple(
        _recover(*each)
        for each in zip(found, image.axes, signs, first.scale, first.translation, strict=True)
    )


def recover_grids(image: Multiscale, base: xr.DataArray) -> tuple[Grid, ...]:
    """Return spacing and origin of each level, as the metadata have them."""
    signs = _signs(image, base)
    return tuple(
        tuple(
            (sign * scale, sign * shift + 0.0)  # + 0.0 turns -0.0 into 0.0
            for sign, scale, shift in zip(signs, dataset.scale, dataset.translation, strict=True)
        )
        for dataset in image.datasets
    )


def _signs(image: Multiscale, base: xr.DataArray) -> list[float]:
    """Return -1 for dimensions that were written the other way round, else 1."""
    listed = image.metadata.get("reversed")
    reversed_dims = listed if isinstance(listed, list) else []
    return [-1.0 if dim in reversed_dims else 1.0 for dim in base.dims]


def _recover(
    found: AxisSpec, axis: Axis, sign: float, scale: float, translation: float
) -> AxisSpec:
    axis_type = _TYPES.get(str(axis.type), found.type)
    told = replace(found, name=axis.name, type=axis_type)
    if found.uneven is not None:
        return told
    return replace(
        told,
        unit=units.to_ngff(axis.unit, axis_type),
        spacing=sign * scale,
        origin=sign * translation + 0.0,
    )
