"""Levels of a stored image, made again above regions of level 0 that have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from zarr.abc.buffer import Buffer

from xpyramid import engine, ngff
from xpyramid.errors import ResumeError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.sections import joined
from xpyramid.geometry.tiles import Region
from xpyramid.messages import say
from xpyramid.store import value_counts
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.chunk_grid import StoredMask
from xpyramid.store.documents import as_buffer, put, put_group, remove
from xpyramid.store.local_files import remove_torn_files
from xpyramid.store.manifest import manifest_of, set_aside, tables_of, taken_back, with_tables
from xpyramid.store.object_table import KEY, ObjectTable
from xpyramid.store.path import root_of_files, takes_nodes_only
from xpyramid.store.transaction import Transaction
from xpyramid.writer import documents
from xpyramid.writer.omero import OmeroRequest
from xpyramid.writer.record import check_finished
from xpyramid.writer.resume import FORMAT
from xpyramid.writer.session import consolidate_above
from xpyramid.writer.stored_levels import StoredLevels
from xpyramid.writer.target_checks import check_writable
from xpyramid.writer.windows import LevelZero, Windows, recorded_windows

#: What is noted of an update, beside what is noted of builds.
_REGIONS = "regions"


def update(
    levels: StoredLevels, regions: Sequence[Region], limits: Limits, progress: bool | None
) -> None:
    """Make the levels again above regions of level 0; note it first, and record it at the end.

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
        consolidate_above(transaction)


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
                triples = zip(cells, levels.factors[level], levels.base.shape, strict=True)
                base = tuple(slice(c.start * f, min(c.stop * f, n)) for c, f, n in triples)
                engine.run(list(levels.jobs(base, limits, (level, cells))), progress)


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
