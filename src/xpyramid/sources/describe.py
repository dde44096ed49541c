"""What was found in a file, in a line for people."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from itertools import groupby

import xarray as xr

from xpyramid import ngff
from xpyramid.geometry import axes as axes_module
from xpyramid.geometry.axes import AxisSpec, is_channel_name
from xpyramid.messages import literal, one_line
from xpyramid.types import Attrs

#: What is said where no dimension of space has a coordinate.
NO_SPACING = "no spacing found"

#: How many names of channels are listed, and how much of each.
_LISTED, _LONGEST = 8, 60


def describe_source(array: xr.DataArray, placed: Collection[Hashable] = ()) -> str:
    """Say what an array knows of itself beside its samples.

    Parameters
    ----------
    array : xarray.DataArray
        As :func:`xpyramid.open_source` returns it.
    placed : collection of str
        Dimensions whose spacing comes from elsewhere: where they have none, that is not said.

    Examples
    --------
    >>> import numpy as np
    >>> image = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"))
    >>> describe_source(image)
    'no spacing found'
    >>> describe_source(image.assign_coords(y=("y", [0, 0.5], {"units": "um"}), x=[0, 0.5]))
    'spacing y 0.5 micrometer, x 0.5 (no unit)'
    """
    axes = [axis for axis in axes_module.describe_axes(array) if axis.type != "channel"]
    with_coordinates = [axis for axis in axes if axis.dim in array.coords]
    parts = [str(array.encoding.get("format", ""))]
    if spaced := [
        axis for axis in with_coordinates if axis.uneven is None and array.sizes[axis.dim] > 1
    ]:
        parts.append(f"spacing {_spacings(array, spaced)}")
    if shifted := [a for a in with_coordinates if a.type == "space" and a.origin]:
        parts.append(f"origin {', '.join(f'{a.dim} {a.origin:.9g}' for a in shifted)}")
    if uneven := [axis.dim for axis in with_coordinates if axis.uneven is not None]:
        parts.append(f"uneven steps along {', '.join(uneven)}")
    parts += [_channels(array), *_georeference(array)]
    in_space = [axis.dim for axis in axes if axis.type == "space"]
    known_dims = {*placed, *(axis.dim for axis in with_coordinates)}
    unplaced = [dim for dim in in_space if dim not in known_dims]
    if unplaced:
        parts.append(
            NO_SPACING if unplaced == in_space else f"{NO_SPACING} along {', '.join(unplaced)}"
        )
    return one_line("; ".join(filter(None, parts)))


def _spacings(array: xr.DataArray, axes: Sequence[AxisSpec]) -> str:
    """Return the spacings, each run of the same unit with one mention of it."""
    runs = groupby(axes, key=lambda axis: _unit(array, axis))
    spacings = [
        f"{', '.join(f'{axis.dim} {axis.spacing:.9g}' for axis in run)} {unit or '(no unit)'}"
        for unit, run in runs
    ]
    return ", ".join(spacings)


def _unit(array: xr.DataArray, axis: AxisSpec) -> str:
    return axis.unit or str(array.coords[axis.dim].attrs.get("units", ""))


def _channels(array: xr.DataArray) -> str:
    """Return the names of the channels, and what else is known of them."""
    shown = ngff.stored_channels(array.attrs, None).get("channels", [])
    names = [str(channel["label"])[:_LONGEST] for channel in shown if channel.get("label")]
    dims = [axis.dim for axis in axes_module.describe_axes(array) if axis.type == "channel"]
    if dims and not shown and not is_channel_name(dims[0]) and array[dims[0]].dtype.kind in "iuf":
        return f"{dims[0]} as {array.sizes[dims[0]]} channels"
    if dims and dims[0] in array.coords:
        names = [str(value)[:_LONGEST] for value in array.coords[dims[0]].values]
    if not names and not shown:
        return ""
    listed = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
    words = {"color": "colours", "window": "windows"}
    extras = [word for key, word in words.items() if any(key in channel for channel in shown)]
    what = f"channels {listed}" if names else f"{len(shown)} channel{'s' if len(shown) > 1 else ''}"
    return f"{what} with {' and '.join(extras)}" if extras else what


def _georeference(array: xr.DataArray) -> list[str]:
    """Return the reference system, and the value of missing data."""
    mapping = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping", "spatial_ref"))
    attrs: Attrs = array.coords[mapping].attrs if mapping in array.coords else {}
    names = ("projected_crs_name", "geographic_crs_name", "grid_mapping_name")
    system = next((str(attrs[name]) for name in names if attrs.get(name)), "")
    parts = [f"reference system {system}"] if system else []
    if "_FillValue" in array.attrs:
        parts.append(f"missing value {literal(array.attrs['_FillValue'])[:_LONGEST]}")
    return parts
