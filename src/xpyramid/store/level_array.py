"""A stored level as xarray reads it lazily: what is indexed is read when samples are asked for.

It is an array of an xarray backend. Where the level is simple enough it is read by
`xpyramid.store.object_reader`, else by zarr-python.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xpyramid._compat import (
    BackendArray,
    ZarrArrayWrapper,
    indexing,
    lazily_indexed,
    lazy_data,
    with_lazy_data,
)
from xpyramid.geometry.tiles import Lengths
from xpyramid.lazy.selections import selected
from xpyramid.store.codec import codec_of, is_regular
from xpyramid.store.object_reader import ObjectReader, directory_of, reader_of
from xpyramid.store.path import ZarrArray
from xpyramid.types import Array, DType

T = TypeVar("T")


class LevelArray(BackendArray):
    """A Zarr array that is read where it is indexed, and nowhere else.

    Nothing that was read is kept.

    Parameters
    ----------
    zarr_array : zarr.Array
        Or what is read like one.
    dtype : numpy.dtype, optional
        In which samples are returned, if not in that of the array.
    alone : bool
        Whether whoever reads has threads enough, so that a read takes no more of them.
    """

    def __init__(self, zarr_array: Any, dtype: DType | None = None, *, alone: bool = False) -> None:
        self.zarr_array, self._alone = zarr_array, alone
        self.shape: Lengths = zarr_array.shape
        self.dtype: DType = zarr_array.dtype if dtype is None else dtype

    def __reduce__(self) -> tuple[Callable[..., LevelArray], tuple[object, ...]]:
        return _make, (self.zarr_array, self.dtype, self._alone)

    @cached_property
    def reader(self) -> ObjectReader | None:
        """What reads the array past zarr-python, None where it is not simple enough."""
        array: ZarrArray = self.zarr_array
        directory = directory_of(array) if is_regular(array) else None
        codec = None if directory is None else codec_of(array)
        return None if directory is None or codec is None else reader_of(array, codec, directory)

    def as_dtype(self, dtype: DType) -> LevelArray:
        """Return the same array, read as another dtype."""
        return LevelArray(self.zarr_array, dtype, alone=self._alone)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Array:
        if self.reader is not None:  # which knows steps of all kinds
            is_of_points = isinstance(key, indexing.VectorizedIndexer)
            selection, shape = selected(key.tuple, self.shape, self.reader.chunks, is_of_points)
            return self.reader.read(selection, self.dtype, alone=self._alone).reshape(shape)
        # xarray cannot turn round a slice of nothing.
        parts = [_of_something(part, n) for part, n in zip(key.tuple, self.shape, strict=True)]
        support = indexing.IndexingSupport.VECTORIZED
        kind, by_zarr = type(key), self._by_zarr(key)
        by_parts = kind(tuple(parts))
        read: Array = indexing.explicit_indexing_adapter(by_parts, self.shape, support, by_zarr)
        return read

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Array:
        """Return what is indexed; it is read in another thread."""
        return await asyncio.to_thread(self.__getitem__, key)

    def _by_zarr(self, key: object) -> Callable[[tuple[Any, ...]], Array]:
        """Return what has zarr-python read a selection of the kind of a key."""
        array: Any = self.zarr_array
        if isinstance(key, indexing.VectorizedIndexer):
            array = array.vindex
        elif isinstance(key, indexing.OuterIndexer):
            array = array.oindex
        return lambda parts: np.asarray(array[parts]).astype(self.dtype, copy=False)


def _of_something(part: T, length: int) -> T | slice:
    is_empty = isinstance(part, slice) and not range(length)[part]
    return slice(0, 0) if is_empty else part


def _make(zarr_array: object, dtype: DType, alone: bool) -> LevelArray:
    return LevelArray(zarr_array, dtype, alone=alone)


def level_variable(
    array: ZarrArray,
    dims: Sequence[str],
    attrs: Mapping[str, object],
    chunks: Lengths | None = None,
) -> xr.Variable:
    """Return a variable that reads an array when it is asked to.

    It keeps nothing of what it has read, as xarray does with ``cache=False``.

    Parameters
    ----------
    array : zarr.Array
    dims : sequence of str
    attrs : mapping
    chunks : tuple of int, optional
        In which dask is to read it, if not in those of the array.
    """
    variable = xr.Variable(dims, lazily_indexed(LevelArray(array)), dict(attrs))
    return as_level(variable, array, array.chunks if chunks is None else chunks)


def stored_variable(
    array: ZarrArray, dims: Sequence[str], attrs: Mapping[str, object]
) -> xr.Variable:
    """Return a variable beside a level, which is kept when it was read once.

    Its encoding is what xarray has of arrays that it has opened.
    """
    level = LevelArray(array)
    data = ZarrArrayWrapper(array) if level.reader is None else level  # it knows the kinds of text
    cached = indexing.MemoryCachedArray(lazily_indexed(data))
    variable = xr.Variable(dims, cached, dict(attrs))
    variable.encoding = {"compressors": array.compressors, "filters": array.filters}
    if is_regular(array):
        preferred = dict(zip(dims, array.chunks, strict=True))
        variable.encoding |= {
            "chunks": array.chunks, "preferred_chunks": preferred, "shards": array.shards
        }  # fmt: skip
    if data.dtype.kind == "T":
        variable.encoding["dtype"] = data.dtype
    if array.metadata.zarr_format == 3:
        variable.encoding |= {"serializer": array.serializer, "fill_value": array.fill_value}
    return variable


def as_level(variable: xr.Variable, array: ZarrArray, chunks: Lengths) -> xr.Variable:
    """Return a variable that xarray has opened as one that reads an array.

    Parameters
    ----------
    variable : xarray.Variable
    array : zarr.Array
        The same array.
    chunks : tuple of int
        In which dask is to read it.
    """
    level = with_lazy_data(variable, lazily_indexed(LevelArray(array)))
    preferred = dict(zip(variable.dims, chunks, strict=True))
    level.encoding = {
        **variable.encoding, "chunks": array.chunks, "preferred_chunks": preferred
    }  # fmt: skip
    return level


def level_of(variable: xr.Variable, coords: Mapping[T, object], name: str | None) -> xr.DataArray:
    """Return an array of a variable, of which nothing is read and the encoding is kept."""
    free = "_".join(["array", *map(str, coords)])
    level: xr.DataArray = xr.Dataset({free: variable}, coords)[free]
    return level.rename(name)


def read_as(variable: xr.Variable, dtype: DType) -> xr.Variable:
    """Return a variable of `level_variable` that is read as another dtype."""
    data = lazy_data(variable)
    while not isinstance(data, LevelArray):
        data = data.array
    return with_lazy_data(variable, lazily_indexed(data.as_dtype(dtype)))
