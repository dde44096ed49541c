"""Chunks that are stored elsewhere just as they would be stored here: passed through, not encoded.

They are read once and decoded once, for the levels that are made of them; that proves them, too.
What is no chunk of the source as it is (it is not stored, or had to be read by zarr-python, or
holds other samples beyond the end of the array) is encoded as ever.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numcodecs import Blosc, Zstd
from numcodecs.abc import Codec as NumcodecsCodec

from xpyramid._compat import ZarrArrayWrapper, indexing, lazy_data
from xpyramid.geometry.tiles import Lengths, Region
from xpyramid.lazy.direct import read_directly, zarr_array_of
from xpyramid.lazy.selections import Outer
from xpyramid.store.codec import Codec, codec_of, fill_of, shuffle_of
from xpyramid.store.frames import with_checksum
from xpyramid.store.level_array import LevelArray
from xpyramid.store.path import ZarrArray
from xpyramid.types import Array, Parts

#: What xarray wraps an array in that leaves its samples, and where they are, as they are.
_WRAPPERS = (indexing.CopyOnWriteArray, indexing.MemoryCachedArray)


@dataclass(frozen=True)
class PassedChunks:
    """Chunks of a region, as they are stored.

    Attributes
    ----------
    form : hashable
        Of the arrays that store them so.
    chunks : mapping
        The parts of their bytes, by their place in the grid of the region. Others are to be
        encoded.
    """

    form: Hashable
    chunks: Mapping[Lengths, Parts] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredSamples:
    """Samples that are those of a Zarr array, or of a part of it.

    Attributes
    ----------
    array : zarr.Array
    start : tuple of int
        Where the part begins.
    shape : tuple of int
        Of the part.
    """

    array: ZarrArray
    start: Lengths
    shape: Lengths

    @property
    def codec(self) -> Codec | None:
        """How chunks are bytes, None where that takes more than a `Codec`."""
        return codec_of(self.array)


def stored_samples(variable: xr.Variable) -> StoredSamples | None:
    """Return where the samples of a variable are stored, None where they are nowhere just so."""
    data = lazy_data(variable)
    start, dtype = (0,) * variable.ndim, variable.dtype
    while not isinstance(data, ZarrArrayWrapper | LevelArray):
        if type(data) is indexing.LazilyIndexedArray:
            lines = [*map(_line, data.key.tuple, data.array.shape)]
            starts = [line.start for line in lines if line is not None and line.step == 1]
            if len(starts) != len(start):
                return None
            start = tuple(a + b for a, b in zip(start, starts, strict=True))
        elif type(data) not in _WRAPPERS:
            return None
        data = data.array
    array = zarr_array_of(data)
    if array is None or data.dtype != dtype or array.dtype != dtype:
        return None
    return StoredSamples(array, start, variable.shape)


def source_samples(array: xr.DataArray) -> StoredSamples | None:
    """Return where an array is stored that is only read, by a dask graph or without one."""
    return stored_samples(read_directly(array).variable)


def _line(part: object, length: int) -> range | None:
    """Return which indexes a slice takes along a dimension, None where it is no slice."""
    return range(length)[part] if isinstance(part, slice) else None


class PassingReader:
    """Reads regions of whole chunks of a Zarr array, with their bytes.

    Parameters
    ----------
    samples : StoredSamples
    target : zarr.Array
        That has the same samples, from its first one on, and stores them in the same chunks.
    form : hashable
        Of the target.
    """

    def __init__(self, samples: StoredSamples, target: ZarrArray, form: Hashable) -> None:
        self._level = LevelArray(samples.array, alone=True)
        self._start, self._form = samples.start, form
        codec = codec_of(target)
        self._fill = None if codec is None else fill_of(target, codec)
        self._sums = codec is not None and bool(getattr(codec.compressor, "checksum", False))
        self._chunks, self._dtype = samples.array.chunks, samples.array.dtype

    def read(self, region: Region) -> tuple[Array, PassedChunks]:
        """Return the samples of a region, and their chunks."""
        reader, array = self._level.reader, self._level.zarr_array
        stored_region = tuple(
            slice(part.start + n, part.stop + n)
            for part, n in zip(region, self._start, strict=True)
        )
        if reader is None:  # where tasks run, the files are not to be seen
            return np.asarray(array[stored_region]), PassedChunks(self._form)
        first = [part.start // n for part, n in zip(stored_region, self._chunks, strict=True)]
        chunks: dict[Lengths, Parts] = {}

        def keep(index: Lengths, data: bytes, chunk: Array) -> None:
            passed = self._passed(index, data, chunk)
            if passed is not None:
                chunks[tuple([i - n for i, n in zip(index, first, strict=True)])] = passed

        selection = Outer(stored_region, array.shape, self._chunks)
        samples = reader.read(selection, self._dtype, alone=True, keep=keep)
        return samples, PassedChunks(self._form, chunks)

    def _passed(self, index: Lengths, data: bytes, chunk: Array) -> Parts | None:
        """Return a chunk as it is to be stored, in parts, None where it is to be encoded."""
        shape = self._level.zarr_array.shape
        triples = zip(index, chunk.shape, shape, strict=True)
        inside = [min(n, length - i * n) for i, n, length in triples]
        if tuple(inside) != chunk.shape:
            ours = np.full_like(chunk, self._fill)
            part = tuple(map(slice, inside))
            ours[part] = chunk[part]
            if ours.tobytes() != chunk.tobytes():
                return None
        return with_checksum(data, chunk) if self._sums else [data]


def can_pass(samples: StoredSamples, target: ZarrArray) -> bool:
    """Whether chunks of a Zarr array may be those of another, of which these are the samples."""
    array, codec = samples.array, codec_of(target)
    if codec is None or samples.shape != target.shape or array.chunks != target.chunks:
        return False
    own = samples.codec
    if own is None or not _is_same(own, codec) or LevelArray(array).reader is None:
        return False
    if codec.filters or codec.order:  # which chunks would have to be summed after
        return False
    quadruples = zip(samples.start, samples.shape, array.chunks, array.shape, strict=True)
    return all(
        start % n == 0 and (start + length == end or length % n == 0)
        for start, length, n, end in quadruples
    )


def _is_same(codec: Codec, other: Codec) -> bool:
    """Whether two codecs make the same bytes, but for a checksum."""
    if codec.dtype != other.dtype or codec.order != other.order:
        return False
    return _settings(codec) == _settings(other)


def _settings(codec: Codec) -> object:
    """Return what decides on the bytes; equal to nothing where that is not known."""
    coders = [*codec.filters, *([] if codec.compressor is None else [codec.compressor])]
    settings = []
    for coder in coders:
        if not isinstance(coder, NumcodecsCodec):  # several of Zarr v3, or its CRC-32C
            return object()
        options = dict(coder.get_config())
        if isinstance(coder, Blosc):
            options["shuffle"] = shuffle_of(coder, codec)
        elif isinstance(coder, Zstd):
            options.pop("checksum", None)
        settings.append(options)
    return settings
