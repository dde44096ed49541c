"""Sizes and checksums of all that an image consists of, from whoever has written it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer

from xpyramid import engine
from xpyramid.errors import StorageError
from xpyramid.messages import and_others
from xpyramid.store.checksums import algorithm_for, checksum
from xpyramid.store.chunk_grid import grid_of, grid_of_array, metadata_of, metadata_of_array
from xpyramid.store.documents import get_document
from xpyramid.store.listing import Contents
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import NodePath, ZarrArray


def table_of(
    contents: Contents, path: str, documents: Mapping[str, Buffer], written: engine.Written
) -> ObjectTable:
    """Return the table of an array of an image that is complete.

    What was neither written by tasks nor is in memory is read: coordinates that were computed block
    by block.

    Parameters
    ----------
    contents : Contents
        Of the image.
    path : str
        Of the array in it.
    documents : mapping
        What else was written, by its keys in the image.
    written : mapping
        Records of what tasks have written.

    Raises
    ------
    StorageError
        If an object that was written is not there any more.
    """
    grid = grid_of(contents, path)
    keys = contents.below(path)
    positions, _ = grid.locate(keys)
    algorithm = algorithm_for(metadata_of(contents, path))
    records = written.get(path, np.empty((0, 3), np.uint64))
    table = ObjectTable.from_records(grid.total, records, algorithm)
    present = np.zeros(grid.total, bool)
    present[positions[positions >= 0]] = True
    if (lost := np.flatnonzero(table.stored & ~present)).size:
        first = contents.place / path / grid.key(int(lost[0]))
        raise StorageError(
            f"{first}{and_others(lost.size - 1)} was written and is not there any more; "
            "something else changes the image while it is made"
        )
    recorded = table.stored
    for key, position in zip(keys, positions, strict=True):
        if position < 0 or recorded[position]:
            continue
        own = f"{path}/{key}"
        data = documents[own].to_bytes() if own in documents else None
        data = (get_document(contents.place / own) or b"") if data is None else data
        table.sizes[position], table.checksums[position] = len(data), checksum([data], algorithm)
    return table


def rows_of(
    place: NodePath, array: ZarrArray, indexes: Sequence[tuple[int, ...]]
) -> NDArray[np.uint64]:
    """Return position, size and checksum of some objects of an array, which are read.

    Those that are not stored have the size 0.
    """
    counts = grid_of_array(array).counts
    algorithm = algorithm_for(metadata_of_array(array))
    rows = np.zeros((len(indexes), 3), np.uint64)
    for row, index in zip(rows, indexes, strict=True):
        raw = get_document(place / array.metadata.encode_chunk_key(index))
        row[0] = np.ravel_multi_index(index, counts) if counts else 0
        if raw is not None:
            row[1:] = len(raw), checksum([raw], algorithm)
    return rows
