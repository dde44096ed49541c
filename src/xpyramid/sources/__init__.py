"""Sources of pyramids: files and stores of many formats, as lazy DataArrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from xpyramid.errors import SourceError, check_kind
from xpyramid.messages import say
from xpyramid.sources.bioio_formats import PLUGINS, open_with_bioio
from xpyramid.sources.datasets import is_dataset, open_variable
from xpyramid.sources.describe import NO_SPACING, describe_source
from xpyramid.sources.dims import may_repeat, name_dims
from xpyramid.sources.pictures import open_npy, open_picture
from xpyramid.sources.readers import reading
from xpyramid.sources.stores import is_store, open_store
from xpyramid.sources.tiff import open_tiff
from xpyramid.store.path import expanded, path_named

__all__ = ["NO_SPACING", "describe_source", "open_source", "reading"]

_TIFF_SUFFIXES = {
    ".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".ndpi", ".qptiff", ".scn", ".stk", ".svs",
}  # fmt: skip


def open_source(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    dims: Sequence[str] | None = None,
    name: str | None = None,
) -> xr.DataArray:
    """Open a file or store of any format that a library reads, lazily, with its metadata.

    Spacing, origin and units become coordinates; channel names become the coordinate of the channel
    dimension. Colours and windows of channels become ``attrs["omero"]``, which is written with the
    pyramid.

    Parameters
    ----------
    path : str or path
        An OME-Zarr image or a level of one, a Zarr array or group, by path or URL; or a file: TIFF
        (OME-TIFF, ImageJ, GeoTIFF), netCDF, HDF5, GRIB, ``.npy``, pictures (PNG, JPEG, ...), and
        CZI, ND2, LIF and others for which bioio has a plugin. Only pictures are read at once.
    variable : str, optional
        Which one to open, if there are several: a variable of a group or file ("temperature", or
        "group/temperature" in a group of the file), a series of a TIFF by its name or its number
        from 0, or a scene of a microscope's file. Default: the only variable; the first series or
        scene.
    dims : sequence of str, optional
        Names of the dimensions, for a source that does not name them, or names them wrongly.
        Default: those of the source, else t, c, z, y, x by rank.
    name : str, optional
        Name of the array, for a source without a name. Default: the file's name
        without its suffix.

    Returns
    -------
    xarray.DataArray
        ``encoding["format"]`` says what was opened.

    Raises
    ------
    xpyramid.errors.SourceError
        If the source does not exist, no reader understands it, it needs a package that is not
        installed (the message has the ``pip install``), or the variable or dimensions do not
        fit.

    Examples
    --------
    >>> import numpy as np, tifffile, xpyramid
    >>> about = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2}
    >>> tifffile.imwrite("scan.ome.tif", np.zeros((3, 40, 50), "uint8"), ome=True, metadata=about)
    >>> scan = xpyramid.open_source("scan.ome.tif")
    >>> scan.name, scan.dims, scan.z.values, scan.z.units
    ('scan', ('z', 'y', 'x'), array([0., 2., 4.]), 'micrometer')
    """
    check_kind("path", path, (str, os.PathLike), "a path or URL, as text or pathlib.Path")
    check_kind("variable", variable, str, "text")
    source = path_named(path)
    with may_repeat(), reading(source):
        if is_store(source):
            array = open_store(source, variable)
        else:
            array = _open_file(expanded(source), variable, dims)
        array = name_dims(array, dims, source)
    named = array if array.name is not None else array.rename(name or _stem(source))
    named.encoding = {**array.encoding, "source": source}
    return named


def _open_file(path: Path, variable: str | None, dims: Sequence[str] | None) -> xr.DataArray:
    if not path.exists():
        raise SourceError(f"there is nothing at {str(path)!r}")
    suffix = path.suffix.lower()
    if suffix in _TIFF_SUFFIXES:
        return open_tiff(path, variable)
    if suffix in PLUGINS:
        return open_with_bioio(path, variable)
    if suffix != ".npy" and is_dataset(path):
        return open_variable(path, variable, is_named=dims is not None)
    if variable is not None:
        raise SourceError(
            f"{str(path)!r} is one array",
            fix=say(
                "accepted with {variable}: a Zarr group, and files that hold several "
                "variables or series"
            ),
        )
    return open_npy(path) if suffix == ".npy" else open_picture(path)


def _stem(source: str) -> str:
    """Return the last part of a path or URL without its suffix."""
    if "://" in source:
        stem = source.rstrip("/").rpartition("/")[2].rpartition(".")
        return stem[0] or stem[2]
    return expanded(source).resolve().stem.removesuffix(".ome")
