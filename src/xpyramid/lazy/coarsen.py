"""Lazy levels: the only module that builds dask graphs over arrays.

Each block of level 0 is reduced by a task of its own, so that a selection of a level computes the
blocks that lie under it, and no others. Where windows lie across the edges of blocks, those are
moved first.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import xarray as xr
from dask.highlevelgraph import HighLevelGraph

from xpyramid._compat import da, map_blocks
from xpyramid.geometry.chunks import align, regular
from xpyramid.geometry.passes import SourceChunks
from xpyramid.lazy.direct import read_directly
from xpyramid.lazy.sharing import first_shared_step
from xpyramid.reducers import Reducer, reduce_block


def coarsen(
    base: da.Array,
    steps: Sequence[tuple[int, ...]],
    reducer: Reducer,
    shape: tuple[int, ...],
    chunks: tuple[int, ...] | None = None,
) -> da.Array:
    """Reduce level 0 to level ``len(steps)``, lazily.

    Parameters
    ----------
    base : dask array
        Level 0, with any chunks. They are moved to window edges where they are not there.
    steps : sequence of tuple of int
        Factors of each step.
    reducer : Reducer
        Made for windows at least as large as the product of the steps.
    shape : tuple of int
        Of the result; shorter than ``ceil(n / F)`` where partial windows are trimmed.
    chunks : tuple of int, optional
        Of the result, if it is not to have a block over each block of the base.
    """
    if 0 in shape:  # dask leaves the chunks of empty arrays alone
        empty: da.Array = da.empty(shape, dtype=reducer.dtype, chunks=chunks or shape)
        return empty
    total = tuple(math.prod(fs) for fs in zip(*steps, strict=True))
    whole = tuple(slice(0, n * f) for n, f in zip(shape, total, strict=True))
    windows: da.Array = base[whole]
    windows = rechunk(
        windows, tuple(align(cs, f) for cs, f in zip(windows.chunks, total, strict=True))
    )
    level = map_blocks(
        windows,
        reduce_block,
        steps=tuple(steps),
        reducer=reducer,
        chunks=tuple(
            tuple(-(-c // f) for c in cs) for cs, f in zip(windows.chunks, total, strict=True)
        ),
        dtype=reducer.dtype,
        name=None,
    )
    if chunks is None:
        return level
    return rechunk(level, tuple(regular(n, c) for n, c in zip(shape, chunks, strict=True)))


def rechunk(array: da.Array, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Return an array in other chunks.

    To choose how, dask imports distributed, which takes a quarter of a second; it matters on a
    cluster only, and where nobody has imported it, there is none.
    """
    if array.chunks == chunks:
        return array
    method: Any = None if "distributed" in sys.modules else "tasks"
    rechunked: da.Array = array.rechunk(chunks, method=method)
    return rechunked


def source_chunks(array: xr.DataArray, *, by_graph: bool = False) -> SourceChunks:
    """Return the chunks that an array is read in.

    Parameters
    ----------
    array : xarray.DataArray
    by_graph : bool
        Whether a dask array is computed even if it only reads Zarr.
    """
    array = array if by_graph else read_directly(array)
    preferred = array.encoding.get("preferred_chunks", {})
    lengths = (preferred.get(dim) for dim in array.dims)
    on_disk = tuple(tuple(n) if isinstance(n, Sequence) else n for n in lengths)
    graph = None if array.chunks is None else array.data.__dask_graph__()
    shared = first_shared_step(graph) if isinstance(graph, HighLevelGraph) else ""
    return SourceChunks(array.chunks, on_disk, shared)


def as_dask(array: xr.DataArray, chunks: tuple[int, ...]) -> da.Array:
    """Return the data of an array as dask array; what is not one yet is wrapped, not read.

    It is wrapped in the chunks that it has on disk, so that each is read once; else in ``chunks``.
    """
    if array.chunks is None:
        on_disk = array.encoding.get("preferred_chunks", {})
        lengths = dict(zip(array.dims, chunks, strict=True))
        variable = array.variable.to_base_variable()  # that of an index is not chunked
        data: da.Array = variable.chunk({d: on_disk.get(d, c) for d, c in lengths.items()}).data
        return data
    data = array.data
    return data
