"""Chunks of a source that are not there."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import zarr
from zarr.abc.store import Store as ZarrStore
from zarr.core.sync import sync

from xpyramid.errors import MissingChunkError, MissingChunkWarning
from xpyramid.io import guard
from xpyramid.io.target import Place, local_path

#: Keys of chunks: c/0/1, 0/1, 0.1, and c and 0 of a scalar.
_CHUNK = re.compile(r"c|(c[./])?\d+([./]\d+)*")


def check_missing(read: Iterable[Any], *, strict: bool) -> None:
    """Say which stored arrays have chunks that are not there, which read as the fill value.

    Each array is listed once. It counts whole, also where only a part of it is read. Whether such a
    chunk was left out because it is empty, or was lost, nobody can tell, unless the array was
    written by xpyramid, which keeps a record of it.

    Parameters
    ----------
    read : iterable
        xarray objects or dask collections.
    strict : bool
        Whether that is an error.

    Raises
    ------
    MissingChunkError
        If it is.
    """
    for array in guard.arrays(read):
        number, first, total = missing(array)
        if not number:
            continue
        message = (
            f"{array.store}/{array.path} has {total} chunks and {number} of them are not there, "
            f"the first at {first}; they read as the fill value {array.fill_value!r}"
        )
        if strict:
            raise MissingChunkError(
                f"{message}; restore them, or, if they are meant to be empty, pass strict=False"
            )
        warnings.warn(
            f"{message}; strict=True makes this an error", MissingChunkWarning, stacklevel=4
        )


def missing(array: zarr.Array[Any]) -> tuple[int, tuple[int, ...] | None, int]:
    """Return how many stored objects an array lacks, the index of the first, and their number."""
    grid = tuple(
        -(-n // size) for n, size in zip(array.shape, array.shards or array.chunks, strict=True)
    )
    total = math.prod(grid)
    here = {key for key in _keys(array) if _CHUNK.fullmatch(key)}
    number = total - len(here)
    if not number:
        return 0, None, total
    lost = (i for i in product(*map(range, grid)) if array.metadata.encode_chunk_key(i) not in here)
    if empty := _recorded(array):
        strides = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]
        numbers = ((i, sum(a * b for a, b in zip(i, strides, strict=True))) for i in lost)
        left = [i for i, n in numbers if not any(start <= n < stop for start, stop in empty)]
        return len(left), left[0] if left else None, total
    return number, next(lost, None), total


def _keys(array: zarr.Array[Any]) -> Iterator[str]:
    """Yield the keys of what is stored of an array, relative to it."""
    directory = local_path(Place(array.store, array.path))
    if directory is not None:  # faster than the store's own listing
        for folder, _, files in os.walk(directory):
            inside = os.path.relpath(folder, directory).replace(os.sep, "/")
            prefix = "" if inside == "." else f"{inside}/"
            yield from [prefix + name for name in files]
        return
    prefix = f"{array.path}/" if array.path else ""
    for key in sync(_listed(array.store, prefix)):
        yield key.removeprefix(prefix)


async def _listed(store: ZarrStore, prefix: str) -> list[str]:
    return [key async for key in store.list_prefix(prefix)]


def _recorded(array: zarr.Array[Any]) -> list[tuple[int, int]]:
    """Return the runs of stored objects that xpyramid left out because they are empty."""
    above, _, _ = array.path.rpartition("/")
    node = Place(array.store, above).node() if array.path else None
    kept = node.attrs.get("xpyramid") if isinstance(node, zarr.Group) else None
    runs = kept.get("absent") if isinstance(kept, dict) else None
    if not isinstance(runs, list):
        return []
    pairs = [run for run in runs if isinstance(run, list) and len(run) == 2]
    return [
        (start, stop) for start, stop in pairs if isinstance(start, int) and isinstance(stop, int)
    ]
