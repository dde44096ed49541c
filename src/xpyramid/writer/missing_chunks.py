"""Chunks of a source that are not there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import zarr
from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore

from xpyramid._compat import sync
from xpyramid.errors import MissingChunkError, MissingChunkWarning
from xpyramid.messages import literal, say
from xpyramid.store.chunk_grid import ArrayV2, ArrayV3, ChunkGrid, StoredMask
from xpyramid.store.manifest import object_records
from xpyramid.store.path import NodePath, ZarrArray, as_prefix, local_path
from xpyramid.store.presence import expected
from xpyramid.store.retrying import retrying
from xpyramid.warn import warn

#: Listing so many stored objects of a local disk takes half a second. Larger arrays are listed when
#: all is written, so that this can begin at once.
MANY = 10**5


def check_missing(arrays: Iterable[ZarrArray], *, strict: bool) -> None:
    """Say which stored arrays have chunks that are not there, which read as the fill value.

    Each array is listed once. It counts whole, also where only a part of it is read. Whether such a
    chunk was left out because it is empty, or was lost, nobody can tell, unless the array was
    written by xpyramid, which keeps a record of it.

    Parameters
    ----------
    arrays : iterable of zarr.Array
    strict : bool
        Whether that is an error.

    Raises
    ------
    MissingChunkError
        If it is.
    """
    for array in arrays:
        number, first, total = missing(array)
        if not number:
            continue
        place, fill = NodePath(array.store, array.path), literal(array.fill_value)
        message = (
            f"{number} of the {total} chunks of {place} {'is' if number == 1 else 'are'} missing, "
            f"the first at {first}; missing chunks read as the fill value {fill}"
        )
        if strict:
            raise MissingChunkError(
                message,
                fix=say(
                    "restore them, or, if they are meant to be empty, leave out {strict}",
                    strict=True,
                ),
            )
        warn(
            f"{message}; " + say("{strict} makes this an error", strict=True),
            MissingChunkWarning,
        )


def missing(array: ZarrArray) -> tuple[int, tuple[int, ...] | None, int]:
    """Return how many stored objects an array lacks, the index of the first, and their number."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dtypes that Zarr v3 has no final word on
            grid = ChunkGrid.from_metadata(cast("ArrayV2 | ArrayV3", array.metadata.to_dict()))
    except ValueError:  # chunks of several sizes: nothing can be said
        return 0, None, 0
    present, _ = grid.present(_keys(array))
    if not present.all():
        present |= _left_out(array, grid.total)
    lost = np.flatnonzero(~present)
    if not lost.size:
        return 0, None, grid.total
    first = np.unravel_index(lost[0], grid.counts) if grid.counts else ()
    return lost.size, tuple(int(i) for i in first), grid.total


def _keys(array: ZarrArray) -> Iterator[str]:
    """Yield the keys of what is stored of an array, relative to it."""
    directory = local_path(NodePath(array.store, array.path))
    if directory is not None:  # faster than the store's own listing
        for folder, _, files in os.walk(directory):
            inside = os.path.relpath(folder, directory).replace(os.sep, "/")
            prefix = "" if inside == "." else f"{inside}/"
            yield from [prefix + name for name in files]
        return
    prefix = as_prefix(array.path)
    for key in sync(_listed(retrying(array.store), prefix)):
        yield key.removeprefix(prefix)


async def _listed(store: ZarrStore, prefix: str) -> list[str]:
    return [key async for key in store.list_prefix(prefix)]


def _left_out(array: ZarrArray, total: int) -> StoredMask:
    """Return the stored objects of which an image of ours says that they are empty."""
    none = np.zeros(total, bool)
    for image, path in _above(array):
        node = image.node()
        objects = object_records(dict(node.attrs)) if isinstance(node, zarr.Group) else {}
        if path in objects:
            try:
                stored_mask = expected(objects[path], total)
            except ValueError:
                return none
            return none if stored_mask is None else ~stored_mask
    return none


def _above(array: ZarrArray) -> Iterator[tuple[NodePath, str]]:
    """Yield the groups that may be the image of an array, and its path in them."""
    directory = local_path(NodePath(array.store, array.path))
    for depth in (1, 2):  # levels that are arrays, and levels that are groups
        if directory is not None:
            group, parts = directory, list[str]()
            for _ in range(depth):
                group, parts = group.parent, [group.name, *parts]
            yield NodePath(LocalStore(group, read_only=True), ""), "/".join(parts)
        elif array.path.count("/") >= depth - 1:
            names = array.path.split("/")
            yield (
                NodePath(retrying(array.store), "/".join(names[:-depth])),
                "/".join(names[-depth:]),
            )
