"""Microscopes' own formats, through bioio and its plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from xpyramid.errors import SourceError
from xpyramid.messages import say
from xpyramid.sources.dims import BY_RANK
from xpyramid.sources.metadata import Channel, FileMetadata, Grid, attach, spacing_of
from xpyramid.sources.readers import is_installed, missing
from xpyramid.warn import warn

#: Suffixes, and the plugin of bioio that reads such files.
PLUGINS = {
    ".czi": "bioio-czi",
    ".nd2": "bioio-nd2",
    ".lif": "bioio-lif",
    ".dv": "bioio-dv",
    ".r3d": "bioio-dv",
    ".sldy": "bioio-sldy",
}


def open_with_bioio(path: Path, variable: str | None) -> xr.DataArray:
    """Open a scene of a microscope's file: the first, or the one with a name.

    Raises
    ------
    SourceError
        If bioio or its plugin is not installed, or there is no such scene.
    """
    suffix = path.suffix.lower()
    plugin = PLUGINS[suffix]
    needed = f"bioio and {plugin}"
    install = missing(str(path), f"a {suffix} file", needed, f"bioio {plugin}")
    if not is_installed("bioio"):
        raise install
    import bioio  # noqa: PLC0415  # optional

    try:
        image = bioio.BioImage(path)
    except Exception as cause:
        if not is_installed(plugin.replace("-", "_")):
            raise install from cause
        raise
    _choose_scene(image, variable, str(path))
    return attach(_plain_array(image.xarray_dask_data, str(path)), _metadata(image, suffix))


def _choose_scene(image: Any, variable: str | None, path: str) -> None:
    """Go to a scene; of several, the caller should know that there are others."""
    scenes = [str(scene) for scene in image.scenes]
    if variable is None:
        if len(scenes) > 1:
            warn(
                f"{path!r} holds the scenes {', '.join(scenes)}; this is the first, "
                + say("{variable} chooses")
            )
        return
    if variable not in scenes:
        raise SourceError(f"{path!r} has no scene {variable!r}", fix=f"it has {', '.join(scenes)}")
    image.set_scene(variable)


def _plain_array(read: xr.DataArray, path: str) -> xr.DataArray:
    """Return the samples in dimensions of ours, without times, channels and slices of one."""
    array = read.reset_coords(drop=True).drop_vars(list(read.coords), errors="ignore")
    array = array.rename({dim: str(dim).lower() for dim in array.dims}).drop_attrs()
    array = array.squeeze([dim for dim in "tcz" if array.sizes.get(dim) == 1], drop=True)
    if "s" in array.dims and "c" not in array.dims:  # samples of a pixel: red, green, blue
        array = array.rename({"s": "c"})
    if not set(array.dims) <= set(BY_RANK):
        raise SourceError(
            f"{path!r} has the dimensions {', '.join(map(str, array.dims))}",
            accepted=f"{', '.join(BY_RANK)}",
        )
    return array.transpose(*[dim for dim in BY_RANK if dim in array.dims])


def _metadata(image: Any, suffix: str) -> FileMetadata:
    """Return what bioio says. Of units it often knows nothing; then there are none."""
    grids = {}
    for name in "ZYX":
        spacing = spacing_of(getattr(image.physical_pixel_sizes, name, None))
        if spacing is not None:
            grids[name.lower()] = Grid(spacing, _unit(image, name))
    interval: Any = getattr(image, "time_interval", None)
    if hasattr(interval, "total_seconds") and interval.total_seconds() > 0:
        grids["t"] = Grid(interval.total_seconds(), "s")
    channels: list[Channel] = [{"label": str(name)} for name in image.channel_names or ()]
    return FileMetadata(suffix[1:].upper(), grids, channels)


def _unit(image: Any, name: str) -> str | None:
    described = getattr(getattr(image, "dimension_properties", None), name, None)
    unit = getattr(described, "unit", None)
    return None if unit is None else str(unit)
