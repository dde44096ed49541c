"""Dask arrays that do nothing but read Zarr: they are read as Zarr, region by region, by no graph.

That is what `xarray.open_zarr(chunks={})` and `dask.array.from_zarr` make: one array, and a task
for each block that takes a part of it. How long the blocks are does not matter then. A graph with
anything else in it stays one: what it computes, a lock that it takes, an annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr
import zarr
from dask.highlevelgraph import HighLevelGraph
from zarr.types import AnyArray

from xpyramid._compat import (
    BackendArray,
    ZarrArrayWrapper,
    is_dask_array,
    lazily_indexed,
    lazy_data,
    source_of_blocks,
)


def read_directly(array: xr.DataArray) -> xr.DataArray:
    """Return an array that is read without dask, if all that its graph does is to read Zarr.

    Others are returned as they are.
    """
    data = lazy_data(array)
    origin: Any = source_of_blocks(data) if is_dask_array(data) else None
    stored = zarr_array_of(origin)
    if stored is None or origin.shape != data.shape or origin.dtype != data.dtype:
        return array
    if origin is stored:
        origin = lazily_indexed(ZarrArrayWrapper(stored))
    direct = array.copy(deep=False, data=origin)
    direct.encoding.pop("preferred_chunks", None)
    if stored.shape == data.shape and len(stored.chunks) == data.ndim:
        direct.encoding["preferred_chunks"] = dict(zip(array.dims, stored.chunks, strict=True))
    return direct


def read_by_others(arrays: Sequence[xr.DataArray]) -> list[bool]:
    """Say of each array that only reads Zarr whether dask reads its blocks anyway, for another one.

    To read it directly would be to read them twice.
    """
    layers = [_layers(array) for array in arrays]
    computed = [read_directly(array) is array for array in arrays]
    return [
        not computed[i] and any(computed[j] and own & other for j, other in enumerate(layers))
        for i, own in enumerate(layers)
    ]


def _layers(array: xr.DataArray) -> set[str]:
    graph = array.data.__dask_graph__() if array.chunks is not None else None
    return {*graph.layers} if isinstance(graph, HighLevelGraph) else set()


def zarr_array_of(data: Any) -> AnyArray | None:
    """Return the array that wrappers of xarray read, whatever they make of its samples."""
    while not isinstance(data, zarr.Array):
        if isinstance(data, ZarrArrayWrapper):
            data = data._array
        elif isinstance(data, BackendArray):
            data = getattr(data, "zarr_array", None)  # a level of ours
        elif type(data).__module__.startswith("xarray."):
            data = getattr(data, "array", None)
        else:
            return None
    return data
