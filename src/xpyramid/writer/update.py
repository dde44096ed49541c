"""Levels of a stored image, made again above regions of level 0 that have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from uuid import uuid4

import numpy as np
from zarr.abc.buffer import Buffer
from zarr.storage import LocalStore, MemoryStore

from xpyramid import engine, ngff
from xpyramid.errors import ResumeError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.sections import joined
from xpyramid.geometry.tiles import Region
from xpyramid.messages import say
from xpyramid.store import value_counts
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.checksums import algorithm_for, checksum
from xpyramid.store.chunk_grid import StoredMask, grid_at
from xpyramid.store.documents import as_buffer, get_document, put, put_group, remove
from xpyramid.store.local_files import remove_torn_files
from xpyramid.store.manifest import manifest_of, set_aside, tables_of, taken_back, with_tables
from xpyramid.store.object_table import KEY, ObjectTable
from xpyramid.store.path import NodePath, local_path, root_of_files, takes_nodes_only
from xpyramid.store.transaction import Transaction
from xpyramid.writer import documents
from xpyramid.writer.compression import empty_copy
from xpyramid.writer.omero import OmeroRequest
from xpyramid.writer.record import check_finished
from xpyramid.writer.resume import FORMAT
from xpyramid.writer.session import renew_around
from xpyramid.writer.stored_levels import StoredLevels
from xpyramid.writer.target_checks import check_writable
from xpyramid.writer.windows import LevelZero, Windows, recorded_windows

#: What is noted of an update, beside what is noted of builds.
_REGIONS = "regions"


def update(
    levels: StoredLevels, regions: Sequence[Region], limits: Limits, progress: bool | None
) -> int:
    """Make the levels again above regions of level 0; note it first, and record it at the end.

    Returned is how many stored objects were made again.

    Raises
    ------
    ResumeError
        If a build of the image is unfinished.
    """
    transaction = levels.transaction()
    check_writable(transaction.target)
    with transaction.lock():
        levels = _as_they_are(levels)
        regions = [*_interrupted(transaction, levels), *regions]
        _tidy(transaction, levels)
        record = BuildRecord(
            format=FORMAT, build=uuid4().hex, kept=transaction.kept, created=True,
            about={_REGIONS: [[[r.start, r.stop] for r in region] for region in regions]},
        )  # fmt: skip
        transaction.note(record)
        attributes = taken_back(levels.attributes)
        put_group(levels.place, documents.with_attributes(levels.place, set_aside(attributes)))
        for region in regions:  # one after the other: two may meet in one object
            engine.run(list(levels.jobs(region, limits)), progress)
        tables: Mapping[str, Buffer] = {}
        windows = windows_again(levels, attributes, regions, limits, progress)
        if windows is not None:
            attributes = ngff.with_metadata(attributes, "omero", windows.metadata)
        if manifest_of(attributes) is not None:
            entry = None if windows is None else windows.entry
            attributes, tables = _recorded(levels, attributes, regions, record.build, entry)
            put(levels.place, tables)
        if windows is not None:
            put(levels.place, {key: as_buffer(data) for key, data in windows.values.items()})
        put_group(levels.place, documents.with_attributes(levels.place, attributes))
        for key in (f"{path}/{KEY}" for path in levels.paths):
            # What was in there has become short enough for the attributes.
            if key not in tables and not takes_nodes_only(levels.place.store):
                remove(levels.place / key)
        transaction.close()
        renew_around(transaction)
        above = range(1, len(levels.paths))
        return sum(len(levels.indexes(k, regions)) for k in above)


def windows_again(
    levels: StoredLevels,
    attributes: Mapping[str, object],
    regions: Sequence[Region],
    limits: Limits,
    progress: bool | None,
) -> Windows | None:
    """Return the windows of the channels after some regions have changed, None without any.

    Warns
    -----
    UserWarning
        Where windows stay as they are, and nothing says how they were made.
    """
    base = levels.base
    zero = LevelZero(base.shape, base.shards or base.chunks, levels.factors[-1], base.dtype)
    recorded = recorded_windows(levels.place, attributes, zero, levels.paths[-1])
    if recorded is None:
        return None
    windows, request = recorded

    def count(request: OmeroRequest, numbers: set[int] | None) -> engine.Statistics:
        whole = tuple(slice(0, n) for n in base.shape)
        chosen = [whole]
        if numbers is not None and request.sections is not None:
            chosen = joined([request.sections.region(number) for number in sorted(numbers)])
        jobs = list(levels.counting(request.observer, chosen, limits))
        return engine.merged(summary.statistics for summary in engine.run(jobs, progress))

    return windows.again(request, regions, count)


def _as_they_are(levels: StoredLevels) -> StoredLevels:
    """Return levels with the attributes that their group has now that nobody else changes it.

    Raises
    ------
    ResumeError
        If they are not the levels of the image any more.
    """
    attributes = levels.place.attributes()
    if ngff.dataset_paths(attributes) != list(levels.paths):
        raise ResumeError(f"{levels.place} was changed by another call", fix="call again")
    return replace(levels, attributes=attributes)


def _interrupted(transaction: Transaction, levels: StoredLevels) -> list[Region]:
    """Return the regions of an update that was interrupted."""
    earlier = transaction.unfinished()
    if earlier is None:
        return []
    noted = earlier.about.get(_REGIONS)
    if not isinstance(noted, list):
        raise ResumeError(
            f"there is an unfinished build of {transaction.target}",
            fix=say("finish it first, by the call that began it with {resume}", resume=True),
        )
    try:
        return [tuple(slice(int(a), int(b)) for a, b in region) for region in noted]
    except (TypeError, ValueError):
        return [tuple(slice(0, n) for n in levels.base.shape)]


def restore(
    levels: StoredLevels,
    objects: Mapping[int, Sequence[Region]],
    limits: Limits,
    progress: bool | None,
) -> None:
    """Make stored objects again, each at once, and nothing else.

    Parameters
    ----------
    levels : StoredLevels
    objects : mapping
        From a level above 0 to the cells that objects of it hold.
    limits : Limits
    progress : bool or None

    Raises
    ------
    ResumeError
        If an update of the image was interrupted, or a build is unfinished.
    """
    transaction = levels.transaction()
    check_writable(transaction.target)
    with transaction.lock():
        check_finished(transaction)
        for level, regions in objects.items():
            for cells in regions:
                base = _below(levels, level, cells)
                engine.run(list(levels.jobs(base, limits, (level, cells))), progress)


def restore_as_recorded(
    levels: StoredLevels,
    objects: Mapping[int, Sequence[Region]],
    limits: Limits,
    progress: bool | None,
) -> int:
    """Make stored objects again whose bytes are then those that were recorded, and no others.

    For a level 0 of which nothing is recorded: if the object is the same to the last byte, so are
    the samples that it was made from, as far as it depends on them. Parameters are those of
    `restore`; what is returned is how many objects there are again.
    """
    tables = tables_of(levels.place, taken_back(levels.attributes))
    transaction = levels.transaction()
    check_writable(transaction.target)
    with transaction.lock():
        check_finished(transaction)
        made = 0
        for level, regions in objects.items():
            path = levels.paths[level]
            if path in tables:
                made += _put_if_same(levels, level, regions, tables[path], limits, progress)
    return made


def _put_if_same(
    levels: StoredLevels,
    level: int,
    regions: Sequence[Region],
    table: ObjectTable,
    limits: Limits,
    progress: bool | None,
) -> int:
    """Make objects of a level apart, and store those that are as a table says."""
    place, array = levels.place / levels.paths[level], levels.arrays[level]
    grid, algorithm = grid_at(place), algorithm_for(array.metadata.to_dict())
    made = 0
    for cells in regions:
        at = [c.start // n for c, n in zip(cells, grid.lengths, strict=True)]
        index = int(np.ravel_multi_index(at, grid.counts))
        # Files are written in a way of their own, which lays out shards otherwise.
        with TemporaryDirectory() as folder:
            is_local = local_path(levels.place) is not None
            trial = empty_copy(array, LocalStore(folder) if is_local else MemoryStore())
            arrays = [trial if k == level else other for k, other in enumerate(levels.arrays)]
            below = _below(levels, level, cells)
            jobs = replace(levels, arrays=arrays).jobs(below, limits, (level, cells))
            engine.run(list(jobs), progress)
            raw = get_document(NodePath(trial.store, "") / grid.key(index))
        is_same = raw is not None and (len(raw), checksum([raw], algorithm)) == (
            table.sizes[index], table.checksums[index],
        )  # fmt: skip
        if raw is not None and is_same:
            put(place, {grid.key(index): as_buffer(raw)})
            made += 1
    return made


def _below(levels: StoredLevels, level: int, cells: Region) -> Region:
    """Return the region of level 0 under cells of a level."""
    triples = zip(cells, levels.factors[level], levels.base.shape, strict=True)
    return tuple(slice(c.start * f, min(c.stop * f, n)) for c, f, n in triples)


def _tidy(transaction: Transaction, levels: StoredLevels) -> None:
    """Remove what an update that died has left half written; of level 0, others may write files."""
    target = transaction.target
    root = root_of_files(target.store)
    if transaction.noted() is None or root is None:
        return
    first, image = levels.paths[0].split("/")[0], root / target.path
    remove_torn_files(image, below=False)
    remove_torn_files(image / levels.paths[0], below=False, of=(KEY, value_counts.KEY))
    for name in transaction.kept:
        if name != first:
            remove_torn_files(image / name)


def _recorded(
    levels: StoredLevels,
    attributes: Mapping[str, object],
    regions: Sequence[Region],
    build: str,
    omero: Mapping[str, object] | None,
) -> tuple[dict[str, object], dict[str, Buffer]]:
    """Return the attributes with a record of what is stored now, and tables that belong to it."""
    tables = tables_of(levels.place, attributes)
    changed: dict[str, ObjectTable] = {}
    present: dict[str, StoredMask] = {}
    for k, path in enumerate(levels.paths):
        rows = levels.stored(k, regions)
        if path in tables:
            changed[path] = tables[path].with_rows(rows)
        elif (mask := levels.present(path)) is not None:
            mask[rows[:, 0]] = rows[:, 1] > 0
            present[path] = mask
    with_record, objects = with_tables(
        levels.place, attributes, changed, present, build, omero=omero
    )
    return with_record, {key: as_buffer(data) for key, data in objects.items()}
