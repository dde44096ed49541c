"""How chunks are compressed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numcodecs
import xarray as xr
import zarr
from numcodecs.abc import Codec
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, ZstdCodec
from zarr.storage import LocalStore, MemoryStore, StorePath

from xpyramid._compat import (
    ArrayConfig,
    ArrayConfigParams,
    ArrayV2Metadata,
    ArrayV3Metadata,
    store_path_of,
)
from xpyramid.errors import PlanError
from xpyramid.store.codec import SHUFFLES, shuffle_of
from xpyramid.store.codec import Codec as SimpleCodec
from xpyramid.store.passed_chunks import StoredSamples, source_samples
from xpyramid.store.path import ZarrArray

ZarrFormat = Literal[2, 3]

#: Metadata of Zarr v2 without a fill value demand that empty chunks are stored.
STORE_EMPTY: ArrayConfigParams = {"write_empty_chunks": True}


class _Zstd(numcodecs.Zstd):  # type: ignore[misc]  # numcodecs ships no types
    """Zstandard with a checksum in each frame, which every decoder checks by itself.

    The metadata need not say so, and tensorstore refuses Zarr v2 metadata that do.
    """

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "checksum": False}


#: Compression levels up to this are those of the source.
_HIGHEST = 5

_DEFAULT: dict[ZarrFormat, object] = {
    2: _Zstd(level=1, checksum=True),
    3: ZstdCodec(level=1, checksum=True),
}


def compressor_of(
    compressor: object, zarr_format: ZarrFormat, source: StoredSamples | None = None
) -> object:
    """Return what zarr is to compress chunks with.

    Parameters
    ----------
    compressor : object
        As it was passed.
    zarr_format : {2, 3}
    source : StoredSamples, optional
        What level 0 is, where that is stored already.

    Raises
    ------
    PlanError
        If it is not a codec of that format.
    """
    if is_default(compressor):
        return _DEFAULT[zarr_format]
    if isinstance(compressor, str) and compressor == "source":
        codec = None if source is None else source.codec
        followed = None if codec is None else _like(codec, zarr_format)
        return _DEFAULT[zarr_format] if followed is None else followed
    if compressor is None or _is_codec(compressor, zarr_format):
        return compressor
    if zarr_format == 3 and isinstance(compressor, list | tuple):
        several = list(compressor)
        if all(_is_codec(codec, 3) for codec in several):
            return several
    example = "zarr.codecs.BloscCodec()" if zarr_format == 3 else "numcodecs.Blosc()"
    raise PlanError(
        option="compressor",
        value=compressor,
        fix=f"accepted with Zarr v{zarr_format}: 'default' (Zstandard, level 1, with checksums), "
        "'source' (as in the Zarr array that is read, where that has Zstandard or Blosc, of level "
        f"5 or less), None, or a codec such as {example}",
    )


def how_source_is_compressed(base: xr.DataArray) -> str:
    """Say how level 0 is compressed where it is read from, if that is followed."""
    samples = source_samples(base)
    codec = None if samples is None else samples.codec
    if codec is None or _like(codec, 3) is None:
        return ""
    match codec.compressor:
        case numcodecs.Zstd(level=level):
            return f"zstd, level {level}"
        case numcodecs.Blosc(cname=name, clevel=level):
            return f"blosc, {name}, level {level}"
    return ""


def is_default(compressor: object) -> bool:
    """Whether chunks are to be encoded as is the default of ours, wherever they come from."""
    return isinstance(compressor, str) and compressor == "default"


def _like(codec: SimpleCodec, zarr_format: ZarrFormat) -> object:
    """Return what compresses as a codec does that is followed, None for others.

    Those are Zstandard, which gets checksums, and Blosc: all viewers know them. With higher levels
    than `_HIGHEST`, the coarser levels would take longer than what is saved.
    """
    match codec.compressor:
        case numcodecs.Zstd(level=level) if level <= _HIGHEST:
            kind = _Zstd if zarr_format == 2 else ZstdCodec
            return kind(level=level, checksum=True)
        case numcodecs.Blosc(clevel=level) as blosc if level <= _HIGHEST:
            options = {"cname": blosc.cname, "clevel": level, "blocksize": blosc.blocksize}
            shuffle = shuffle_of(blosc, codec)
            if zarr_format == 2:
                return numcodecs.Blosc(**options, shuffle=shuffle)
            words = {number: word for word, number in SHUFFLES.items()}
            return BloscCodec(**options, shuffle=words[shuffle], typesize=codec.dtype.itemsize)
    return None


def _is_codec(codec: object, zarr_format: ZarrFormat) -> bool:
    return isinstance(codec, BytesBytesCodec if zarr_format == 3 else Codec)


def empty_copy(array: ZarrArray, store: MemoryStore | LocalStore) -> ZarrArray:
    """Return an empty array at the root of a store whose chunks are encoded as those of another."""
    metadata: ArrayV2Metadata | ArrayV3Metadata = array.metadata
    return with_checksums(zarr.Array(zarr.AsyncArray(metadata, StorePath(store))), STORE_EMPTY)


def with_checksums(array: ZarrArray, config: ArrayConfigParams) -> ZarrArray:
    """Return an array that writes the checksums that metadata of Zarr v2 have no words for.

    Where samples are complex, it stores all chunks: zarr-python takes those for empty of which only
    the signs of zeros, or what stands beside NaN, differ from the fill value.
    """
    metadata = array.metadata
    if metadata.zarr_format == 3:
        if array.dtype.kind != "c" or not config:
            return array
        return _with_config(array, metadata, config)
    compressor = metadata.compressor
    if isinstance(compressor, numcodecs.Zstd):
        metadata = replace(metadata, compressor=_Zstd(compressor.level, checksum=True))
    return _with_config(array, metadata, config)


def _with_config(
    array: ZarrArray, metadata: ArrayV2Metadata | ArrayV3Metadata, config: ArrayConfigParams
) -> ZarrArray:
    where = store_path_of(array)
    return zarr.Array(zarr.AsyncArray(metadata, where, ArrayConfig.from_dict(config)))
