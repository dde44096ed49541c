"""What files say beside their samples, and how an array has it.

Spacings become coordinates, units their attributes, names of channels the coordinate of the channel
dimension. Colours and windows of channels become ``attrs["omero"]``, which is written with the
pyramid as OME-NGFF has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import xarray as xr

from xpyramid.geometry import units


class Channel(TypedDict, total=False):
    """What is said of a channel, in the words of OME-NGFF."""

    label: str
    color: str
    window: dict[str, float]


@dataclass(frozen=True)
class Grid:
    """Where the samples lie along a dimension.

    Attributes
    ----------
    spacing : float
        Distance of samples.
    unit : str or None
        As the file spells it.
    origin : float
        Coordinate of the first sample.
    """

    spacing: float
    unit: str | None = None
    origin: float = 0.0


@dataclass(frozen=True)
class FileMetadata:
    """What a file says beside its samples.

    Attributes
    ----------
    format : str
        What kind of file it is, for people.
    grids : mapping of str to Grid
        For the dimensions of which something is known.
    channels : sequence of Channel
        One for each channel, or none.
    """

    format: str
    grids: Mapping[str, Grid] = field(default_factory=dict)
    channels: Sequence[Channel] = ()


def attach(array: xr.DataArray, metadata: FileMetadata) -> xr.DataArray:
    """Return an array with what its file says.

    Parameters
    ----------
    array : xarray.DataArray
        With the dimension ``c`` where there are several channels.
    metadata : FileMetadata
        What is of dimensions that the array has not, or of another number of channels, is left out.
    """
    coords: dict[str, object] = {}
    for dim, grid in metadata.grids.items():
        if dim in array.dims:
            unit = units.to_ngff(grid.unit, "time" if dim == "t" else "space") or grid.unit
            line = grid.origin + grid.spacing * np.arange(array.sizes[dim])
            coords[dim] = xr.Variable(dim, line, {"units": unit} if unit else {})
    channels = list(metadata.channels)
    if len(channels) == array.sizes.get("c", 1):
        labels = [channel.get("label") for channel in channels]
        if "c" in array.dims and all(labels):
            coords["c"] = labels
        if any(channel.keys() & {"color", "window"} for channel in channels) or (
            any(labels) and "c" not in array.dims
        ):
            array = array.assign_attrs(omero={"channels": channels})
    array = array.assign_coords(coords).rename(None)  # xarray takes the name of a dask array
    array.encoding["format"] = metadata.format
    return array


def spacing_of(value: object) -> float | None:
    """Return a spacing that a file states; None if it is not a valid one.

    Examples
    --------
    >>> spacing_of("0.25"), spacing_of("0"), spacing_of("nan"), spacing_of(None)
    (0.25, None, None, None)
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None
