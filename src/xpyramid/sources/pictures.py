"""Pictures that Pillow reads, and ``.npy`` files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xpyramid._compat import da
from xpyramid.errors import SourceError
from xpyramid.geometry.axes import COLORS, has_trailing_colors
from xpyramid.sources.dims import by_rank
from xpyramid.sources.metadata import Channel, FileMetadata, attach
from xpyramid.types import Array

if TYPE_CHECKING:
    from PIL.Image import Image

_ACCEPTED = (
    "accepted: OME-Zarr, Zarr, TIFF (OME-TIFF, ImageJ, GeoTIFF), netCDF, HDF5, GRIB, .npy, "
    "pictures (PNG, JPEG, ...), CZI, ND2, LIF; in Python, any DataArray has .pyramid"
)

_BANDS = {"R": "red", "G": "green", "B": "blue", "L": "grey", "A": "alpha"}


def open_npy(path: Path) -> xr.DataArray:
    """Map a ``.npy`` file into memory."""
    data = np.load(path, mmap_mode="r")
    array = xr.DataArray(as_blocks(data))
    if has_trailing_colors(array):
        return _channel_first(array, FileMetadata("NumPy", {}, _colors(data.shape[-1])))
    return attach(xr.DataArray(array.data, dims=by_rank(data.ndim)), FileMetadata("NumPy"))


def _colors(number: int) -> list[Channel]:
    return [{"label": name} for name in COLORS[:number]]


def _channel_first(array: xr.DataArray, metadata: FileMetadata) -> xr.DataArray:
    """Return a photograph, or a stack of them, whose colours come last, with the colours first."""
    others = by_rank(array.ndim - 1) if array.ndim < 5 else ("t", "z", "y", "x")
    named = xr.DataArray(array.data, dims=(*others, "c"))
    order = ("t", "c", "z", "y", "x")
    return attach(named.transpose(*[dim for dim in order if dim in named.dims]), metadata)


def as_blocks(data: Array) -> da.Array:
    """Wrap memory-mapped data; xarray by itself would have dask read all of it for a name."""
    array: da.Array = da.from_array(data, chunks="auto")
    return array


def open_picture(path: Path) -> xr.DataArray:
    """Read a picture, colours first."""
    from PIL import (  # noqa: PLC0415  # come with scikit-image
        Image,
        ImageOps,
        UnidentifiedImageError,
    )

    # The limit protects servers from pictures that strangers send. This one was asked for by name,
    # and pictures that need a pyramid are large.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format != "MPO":  # a JPEG with a preview beside the picture
                raise SourceError(f"{str(path)!r} holds {frames} pictures", accepted="1, or a TIFF")
            return _picture_array(picture, ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        if path.suffix.lower() in Image.registered_extensions():
            raise
        raise SourceError(f"{str(path)!r} is not in a known format", fix=_ACCEPTED) from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _picture_array(opened: Image, picture: Image) -> xr.DataArray:
    """Return a picture, turned as the camera says, in the format that was opened."""
    kind = FileMetadata(str(opened.format))
    if picture.mode in {"P", "PA"}:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    elif picture.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        picture = picture.convert("RGB")
    data = np.asarray(picture)
    if data.ndim == 2:
        return attach(xr.DataArray(data, dims=("y", "x")), kind)
    names: list[Channel] = [{"label": _BANDS.get(band, band)} for band in picture.getbands()]
    array = xr.DataArray(np.moveaxis(data, -1, 0), dims=("c", "y", "x"))
    return attach(array, FileMetadata(kind.format, {}, names))
