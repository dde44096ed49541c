"""The fastest way to read an array: object by object, or with the zarrs codec pipeline.

zarrs (the ``fast`` extra) is used where the library reads, and nowhere else in the process.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from zarr.storage import LocalStore

from xpyramid._compat import (
    ZarrArrayWrapper,
    da,
    indexing,
    lazy_data,
    meta_of,
    with_lazy_data,
    with_zarr_array,
)
from xpyramid.lazy.selections import Outer
from xpyramid.store.checked import CheckedStore
from xpyramid.store.level_array import LevelArray
from xpyramid.store.local_chunks import ObjectArray, by_object
from xpyramid.store.object_reader import Directory, reader_of
from xpyramid.store.path import ZarrArray
from xpyramid.types import Array
from xpyramid.warn import warn

#: Wrappers of xarray that change nothing of what is read.
_TRANSPARENT = (
    indexing.ImplicitToExplicitIndexingAdapter, indexing.MemoryCachedArray,
    indexing.CopyOnWriteArray,
)  # fmt: skip

_PIPELINE = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}
_warned: set[str] = set()


def available() -> bool:
    """Whether zarrs is installed."""
    return importlib.util.find_spec("zarrs") is not None


class WatchedArray:
    """An array that is read past the store that watches its image, and so asks by itself.

    Parameters
    ----------
    array : zarr.Array
    store : CheckedStore
        That watches the image.
    """

    def __init__(self, array: ZarrArray, store: CheckedStore) -> None:
        self.array, self.store = array, store

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "array":  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.array, name)

    def __getitem__(self, key: Any) -> object:
        return self.store.watched(lambda: self.array[key])


class RegionArray:
    """An array of which regions are read past xarray's wrappers: for a chunk, they take a while.

    Parameters
    ----------
    wrapped : object
        As xarray has wrapped the array.
    array : ObjectArray or LevelArray
        What all wrappers leave as it is.
    """

    def __init__(self, wrapped: Any, array: ObjectArray | LevelArray) -> None:
        self.wrapped, self.array = wrapped, array

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "wrapped":  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def __getitem__(self, key: Any) -> object:
        if not isinstance(key, tuple) or not all(isinstance(part, slice) for part in key):
            return self.wrapped[key]
        if isinstance(self.array, LevelArray):
            return self.array[indexing.BasicIndexer(key)]
        return self.array[key]


def accelerate(array: ZarrArray) -> ZarrArray | ObjectArray | WatchedArray:
    """Return an array that is read faster, where there is a way.

    What does not go object by object is decoded with zarrs, where that is installed and able to;
    that it is not is said once. The user's zarr configuration is as it was afterwards.
    """
    simple = by_object(array)
    if simple is not None:
        return simple
    store = watching = array.store
    if isinstance(watching, CheckedStore) and not watching.records:
        store = watching._store
    if not isinstance(store, LocalStore) or not available() or array.order == "F":
        return array  # zarrs decodes into memory in C order alone
    with zarr.config.set(_PIPELINE), warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        fast = zarr.open_array(store, path=array.path, mode="r")
    reasons = [
        str(warning.message) for warning in caught_warnings if "ZarrsCodecPipeline" in str(warning)
    ]
    if not reasons:
        return WatchedArray(fast, watching) if isinstance(watching, CheckedStore) else fast
    if reasons[0] not in _warned:
        _warned.add(reasons[0])
        place = f"{store.root}/{array.path}".rstrip("/")
        warn(f"{place!r} is read without zarrs, which is slower: {reasons[0]}")
    return array


def accelerate_reads(variable: xr.Variable) -> xr.Variable:
    """Return a variable that reads fast what xarray opened lazily from Zarr."""
    return with_lazy_data(variable, _accelerated(lazy_data(variable)))


def region_reader(variable: xr.Variable) -> Callable[..., Array]:
    """Return what reads regions of a variable that xarray has opened lazily.

    It is called with a region, and whether no other thread is to help (``alone``).
    """
    fast = accelerate_reads(variable)
    array = _unwrapped(lazy_data(fast))
    if isinstance(array, LevelArray):
        reader = array.reader
    elif array is not None:
        reader = reader_of(array.array, array.codec, Directory(str(array.root)))
    if array is None or reader is None:
        return lambda region, alone: np.asarray(fast[region].to_numpy())  # noqa: ARG005
    return lambda region, alone: reader.read(
        Outer(region, reader.shape, reader.chunks), array.dtype, alone=alone
    )


def accelerate_graph(array: da.Array) -> da.Array:
    """Return a dask array that reads fast what its graph has from Zarr."""
    layers = {name: _accelerated_layer(layer) for name, layer in array.dask.layers.items()}
    graph = HighLevelGraph(layers, array.dask.dependencies)
    return da.Array(graph, array.name, array.chunks, meta=meta_of(array))


def _accelerated_layer(layer: Layer) -> Layer:
    """Return a layer with another array, if an array is all that it holds."""
    if not isinstance(layer, MaterializedLayer) or len(layer) != 1:
        return layer
    ((key, value),) = layer.items()
    fast = _accelerated(value)
    array = _unwrapped(fast)
    source = fast if array is None else RegionArray(fast, array)
    return MaterializedLayer({key: source}, annotations=layer.annotations)


def _accelerated(data: object) -> object:
    """Return something that reads fast; what looks unfamiliar stays as it is."""
    if isinstance(data, zarr.Array):
        return accelerate(data)
    try:
        return _rewrapped(data)
    except AttributeError:
        return data


def _unwrapped(node: Any) -> ObjectArray | LevelArray | None:
    """Return the array of which wrappers of xarray make nothing else, if it is simple to read."""
    while type(node) in _TRANSPARENT or (
        type(node) is indexing.LazilyIndexedArray and _is_all(node.key.tuple, node.array.shape)
    ):
        node = node.array
    if isinstance(node, LevelArray):
        return node if node.reader is not None else None
    array = node._array if type(node) is ZarrArrayWrapper else None
    return array if isinstance(array, ObjectArray) else None


def _is_all(key: tuple[object, ...], shape: tuple[int, ...]) -> bool:
    """Whether a key takes all of an array, in its order."""
    return all(
        isinstance(part, slice) and range(n)[part] == range(n)
        for part, n in zip(key, shape, strict=True)
    )


def _rewrapped(node: Any) -> object:
    """Return a copy of xarray's wrappers around another array.

    How xarray wraps an array is not part of its API.

    Raises
    ------
    AttributeError
        If this is not one that it has opened from Zarr.
    """
    if isinstance(node, LevelArray):
        is_simple = node.reader is not None
        array = node.zarr_array if is_simple else accelerate(node.zarr_array)
        return LevelArray(array, node.dtype, alone=True)
    if not type(node).__module__.startswith("xarray."):
        raise AttributeError(type(node).__name__)
    twin = copy.copy(node)
    if isinstance(node, ZarrArrayWrapper):
        with_zarr_array(twin, accelerate(node._array))
    else:
        twin.array = _rewrapped(node.array)
    return twin
