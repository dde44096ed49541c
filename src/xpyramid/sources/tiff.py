"""TIFF files: which series, which dimensions, and reading planes when they are asked for.

A file that is not compressed is mapped into memory. Else tiles and strips are read and decoded one
by one, so that a file may be larger than memory.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
import zarr

from xpyramid._compat import BackendArray, CachingFileManager, indexing
from xpyramid.errors import SourceError
from xpyramid.messages import say
from xpyramid.sources.dims import BY_RANK
from xpyramid.sources.geotiff import open_geotiff
from xpyramid.sources.metadata import attach
from xpyramid.sources.pictures import as_blocks
from xpyramid.sources.readers import is_installed
from xpyramid.sources.tiff_metadata import (
    RGB,
    check_description,
    no_data,
    read_metadata,
    tag_of,
)
from xpyramid.store.path import ZarrArray
from xpyramid.types import Array, DType
from xpyramid.warn import warn

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

#: Strips are read together, so many bytes at a time.
_BAND_BYTES = 16 * 2**20

#: So many bytes of a plane that the 64 of a chunk can be held.
_SMALL_PLANE = 2**19


def open_tiff(path: Path, variable: str | None) -> xr.DataArray:
    """Open a series of a TIFF file: the first, or the one with a name or a number.

    skimage.io would read the numbers too, but it guesses which axis holds the colours, and takes a
    stack of three planes for a colour picture. The file says what its axes are.

    Raises
    ------
    SourceError
        For a file without pictures, a missing series, axes other than ours, and
        compressions that need another package.
    """
    import tifffile  # noqa: PLC0415  # takes a while to import; reading Zarr needs none of it

    with _log_as_warnings(str(path)), tifffile.TiffFile(path) as tiff:
        check_description(tiff, str(path))
        if not tiff.series:
            raise SourceError(f"{str(path)!r} holds no picture")
        is_geotiff = tiff.pages.first.is_geotiff
        index = 0 if is_geotiff and variable is None else _choose(tiff, variable, str(path))
        series = tiff.series[index]
        if is_geotiff and index == 0 and is_installed("rioxarray"):
            array = open_geotiff(path, is_photograph=series.keyframe.photometric == RGB)
            blocks = array.encoding.get("preferred_chunks", {})
            array.encoding |= chunk_encoding(
                array.sizes, dict(blocks), array.dtype, series.keyframe.is_tiled
            )
            return array
        if is_geotiff:
            why = (
                ""
                if index
                else "; pip install 'xpyramid[geotiff]' brings rioxarray, which reads it"
            )
            _warn(f"{str(path)!r} is a GeoTIFF, and its georeference is left out{why}")
        _check_compression(series, str(path))
        _warn_of_colors(series, str(path))
        array = _open_series(series, path, index)
        if (missing := no_data(series, array.dtype)) is not None:
            array.attrs["_FillValue"] = missing
        return attach(array, read_metadata(tiff, index))


def _warn_of_colors(series: TiffPageSeries, source: str) -> None:
    """Warn of samples that are no brightness: indices of a palette, or 0 for white."""
    kind = getattr(series.keyframe.photometric, "name", "")
    if kind == "PALETTE":
        _warn(
            f"{source!r} holds indices of a palette, and its colours are left out; "
            "they are labels for "
            + say("{kind}; for a picture, convert it to RGB first", kind="labels")
        )
    elif kind == "MINISWHITE":
        _warn(f"{source!r} has 0 for white, and is stored as it is: it shows inverted")
    if (orientation := tag_of(series, "Orientation") or 1) != 1:
        _warn(
            f"{source!r} needs to be rotated or mirrored (Orientation {orientation}), and "
            "is stored as it is"
        )


class _Listed(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())


@contextmanager
def _log_as_warnings(path: str) -> Iterator[None]:
    """Warn of what tifffile logs, such as planes that are missing; not of what it also raises."""
    logger, handler = logging.getLogger("tifffile"), _Listed()
    if not logger.handlers:  # for later: without any, what is logged goes to stderr
        logger.addHandler(logging.NullHandler())
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    for message in dict.fromkeys(handler.messages):
        _warn(f"{path!r}: {' '.join(message.split())}")


def _choose(tiff: TiffFile, variable: str | None, path: str) -> int:
    """Return the number of a series; of several, the caller should know that there are others."""
    names = [series.name for series in tiff.series]
    available = ", ".join(f"{i}{f' ({name})' if name else ''}" for i, name in enumerate(names))
    if variable is None:
        if len(names) > 1:
            _warn(
                f"{path!r} holds the series {available}; this is the first, "
                + say("{variable} chooses")
            )
        return 0
    if names.count(variable) == 1:
        return names.index(variable)
    if variable.isdecimal() and int(variable) < len(names):
        return int(variable)
    raise SourceError(f"{path!r} has no series {variable!r}", fix=f"it has {available}")


def _warn(message: str) -> None:
    warn(message)


def _check_compression(series: TiffPageSeries, path: str) -> None:
    """Refuse what cannot be decoded, before anything is written."""
    try:
        series.keyframe.decode(None, 0)  # of a strip that is not there: nothing but the checks
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise SourceError(
            f"{path!r} is compressed with {_codec(series)}, which needs imagecodecs",
            fix="pip install 'xpyramid[tiff]'",
        ) from error


def _codec(series: TiffPageSeries) -> str:
    """Return the name of a compression; some have only a number."""
    compression = series.keyframe.compression
    return str(getattr(compression, "name", compression))


def _open_series(series: TiffPageSeries, path: Path, index: int) -> xr.DataArray:
    dims = _tiff_dims(series.axes)
    if len(set(dims)) < len(dims) or len(dims) > len(BY_RANK):
        raise SourceError(
            f"{str(path)!r} has the axes {series.axes}",
            accepted=f"{', '.join(BY_RANK)}, each at most once",
        )
    ordered_dims = tuple(dim for dim in BY_RANK if dim in dims)
    if series.dataoffset is not None:  # all of it lies in one piece
        return xr.DataArray(as_blocks(series.asarray(out="memmap")), dims=dims).transpose(
            *ordered_dims
        )
    files = CachingFileManager(_OpenSeries, str(path.absolute()), index, mode="r")
    samples = _Samples(files, tuple(dims.index(dim) for dim in ordered_dims))
    array = xr.DataArray(xr.Variable(ordered_dims, indexing.LazilyIndexedArray(samples)))
    chunks = dict(zip(dims, samples.chunks, strict=True))
    array.encoding |= chunk_encoding(array.sizes, chunks, array.dtype, series.keyframe.is_tiled)
    return array


def chunk_encoding(
    sizes: Any, chunks: dict[str, int], dtype: DType, is_tiled: bool
) -> dict[str, object]:
    """Return how an array says in which chunks it is read.

    Tiles are chunks that viewers like, and a pyramid keeps them. Strips are read several at a time.
    They are kept for stacks of large planes only, of which it takes too much memory to hold as many
    as a chunk is deep; else the pyramid is to choose chunks by itself (None).
    """
    if not is_tiled:
        row = math.prod(n for dim, n in chunks.items() if dim != "y") * dtype.itemsize
        strip = chunks["y"]
        fitting = max(1, _BAND_BYTES // max(1, row * strip))
        together = 1 << (fitting.bit_length() - 1)  # powers of two have edges in common with chunks
        chunks = {**chunks, "y": min(sizes["y"], strip * together)}
    encoding: dict[str, object] = {"preferred_chunks": chunks}
    plane = math.prod(n for dim, n in sizes.items() if dim in "yx") * dtype.itemsize
    is_large = sizes.get("z", 1) > 1 and plane > _SMALL_PLANE
    if chunks.get("c", 1) > 1 or not (is_tiled or is_large):
        encoding["chunks"] = None
    return encoding


def _tiff_dims(axes: str) -> tuple[str, ...]:
    """Return dimensions for TIFF axis letters: samples are channels, unknown letters by rank.

    Examples
    --------
    >>> _tiff_dims("YXS"), _tiff_dims("QQYX")
    (('y', 'x', 'c'), ('c', 'z', 'y', 'x'))
    """
    dims = [axis.lower().replace("s", "c") for axis in axes]
    free = [dim for dim in BY_RANK if dim not in dims]
    for i in reversed(range(len(dims))):
        if dims[i] not in BY_RANK and free:
            dims[i] = free.pop()
    return tuple(dims)


class _OpenSeries:
    """A series of an open file, as an array of Zarr whose chunks are the tiles or strips."""

    def __init__(self, path: str, index: int, mode: Literal["r"]) -> None:
        import tifffile  # noqa: PLC0415

        self._tiff = tifffile.TiffFile(path, mode=mode)
        self._store = self._tiff.series[index].aszarr(level=0)
        self.array: ZarrArray = zarr.open_array(self._store, mode="r")

    def close(self) -> None:
        """Close the file."""
        self._store.close()
        self._tiff.close()


class _Samples(BackendArray):
    """Samples of a series, in an order of axes that the file may not have.

    Parameters
    ----------
    files : CachingFileManager
        Opens the file where it is needed: in each process, and as seldom as can be.
    order : tuple of int
        Axes of the file, in the wanted order.
    """

    def __init__(self, files: CachingFileManager[_OpenSeries], order: tuple[int, ...]) -> None:
        self._files, self._order = files, order
        stored = files.acquire().array
        self.shape = tuple(stored.shape[axis] for axis in order)
        self.dtype, self.chunks = stored.dtype, stored.chunks

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[int | slice, ...]) -> Array:
        """Return the samples of integers and slices, one for each dimension."""
        of_file = dict(zip(self._order, key, strict=True))
        axes = sorted(of_file)
        samples = np.asarray(self._files.acquire().array[tuple(of_file[axis] for axis in axes)])
        left = [axis for axis in axes if isinstance(of_file[axis], slice)]
        ordered_axes = [axis for axis in self._order if axis in left]
        return samples.transpose([left.index(axis) for axis in ordered_axes])
