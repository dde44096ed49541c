"""Stored objects as bytes: whether they have the sizes and checksums that were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from xpyramid.ngff import Problem
from xpyramid.runtime.cluster import workers
from xpyramid.runtime.retry import retried
from xpyramid.store import object_table
from xpyramid.store.checksums import Algorithm, checksum, checksum_of_file
from xpyramid.store.documents import get_document
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import NodePath
from xpyramid.store.retrying import as_local
from xpyramid.verifier.arrays import Stored

#: How many objects are fetched at once from a store that is not a local disk.
_REQUESTS = 32

Tables = Mapping[str, ObjectTable]


def load_tables(
    place: NodePath,
    arrays: Mapping[str, Stored],
    records: Mapping[str, object],
    problems: list[Problem],
    notes: list[str],
) -> Tables:
    """Return what was recorded of the objects of arrays, as far as there is a record.

    Parameters
    ----------
    place : NodePath
        Of the image.
    arrays : mapping
    records : mapping
        What the manifest says of each array, by its path.
    problems, notes : list
        Get what is wrong with tables, and which were never made.
    """
    tables: dict[str, ObjectTable] = {}
    for path, stored in arrays.items():
        record, total = records.get(path), stored.grid.total
        if not isinstance(record, Mapping) or "table" not in record:
            continue  # of an older version, or said already
        if record["table"] is None:
            notes.append(
                f"{path}: the sizes and checksums of {total} {stored.noun}s were not recorded, for "
                "such a store has no room for them"
            )
            continue
        key = f"{path}/{object_table.KEY}"
        apart = object_table.is_apart(record)
        raw = get_document(place / key) if apart else None
        if apart and raw is None:
            message = "the table of sizes and checksums is missing; it belongs to the record"
            problems.append(Problem("missing", key, message))
            continue
        try:
            tables[path] = object_table.read_table(record, total, raw)
        except ValueError as error:
            message = f"{error}; expected what was recorded at the end"
            problems.append(Problem("record", key if apart else path, message))
    return tables


def check_sizes(
    arrays: Mapping[str, Stored], tables: Tables, notes: list[str]
) -> Iterator[tuple[str, Problem]]:
    """Yield the objects of another size than recorded, by their keys, from the listing alone."""
    if tables and any(arrays[path].sizes is None for path in tables):
        notes.append(
            "sizes were not compared: the listing of such a store tells none; checksums=True "
            "reads every object"
        )
    for path, table in tables.items():
        stored = arrays[path]
        if stored.sizes is None:
            continue
        both = stored.present & table.stored
        for index in np.flatnonzero(both & (stored.sizes != table.sizes)):
            yield _of_another_size(stored, int(index), int(stored.sizes[index]), table)


def check_checksums(
    place: NodePath, arrays: Mapping[str, Stored], tables: Tables, changed: dict[str, Problem]
) -> None:
    """Read the objects whose bytes are recorded; add those that differ to ``changed``.

    Nothing is decoded. Objects that are in ``changed`` already are not read.
    """
    is_local = as_local(place.store) is not None
    with ThreadPoolExecutor(workers() if is_local else _REQUESTS) as pool:
        for path, table in tables.items():
            stored = arrays[path]
            indexes = [
                int(index)
                for index in np.flatnonzero(stored.present & table.stored)
                if stored.key(index) not in changed
            ]
            compare = partial(_compare, place, stored, table)
            for difference in pool.map(compare, indexes):
                changed.update([difference] if difference is not None else [])


def _compare(
    place: NodePath, stored: Stored, table: ObjectTable, index: int
) -> tuple[str, Problem] | None:
    """Compare an object with what was recorded of it."""
    key = stored.key(index)
    try:
        size_and_checksum = retried(lambda: _read(place / key, table.algorithm))
    except OSError as error:
        message = f"the {stored.noun} cannot be read: {type(error).__name__}: {error}"
        return key, Problem("unreadable", key, message)
    if size_and_checksum is None:
        return key, Problem("missing", key, f"the {stored.noun} was removed while it was looked at")
    size, value = size_and_checksum
    if size != table.sizes[index]:
        return _of_another_size(stored, index, size, table)
    if value == table.checksums[index]:
        return None
    message = (
        f"the {stored.noun} has the checksum {value:08x}, and {int(table.checksums[index]):08x} "
        "was recorded: damaged, in the wrong place, or changed since by something else"
    )
    return key, Problem("changed", key, message)


def _of_another_size(
    stored: Stored, index: int, size: int, table: ObjectTable
) -> tuple[str, Problem]:
    key = stored.key(index)
    message = (
        f"the {stored.noun} has {size} bytes, and {int(table.sizes[index])} were recorded: "
        "damaged, or changed since by something else"
    )
    return key, Problem("changed", key, message)


def _read(place: NodePath, algorithm: Algorithm) -> tuple[int, int] | None:
    """Return the size and the checksum of an object, None where there is none."""
    directory = as_local(place.store)
    if directory is not None:
        return checksum_of_file(directory.root / place.path, algorithm)
    data = get_document(place)
    return None if data is None else (len(data), checksum([data], algorithm))
