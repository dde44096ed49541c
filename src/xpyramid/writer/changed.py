"""Which stored objects of level 0 other programs have changed since the levels were made."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from xpyramid.errors import MissingChunkWarning, PlanError, SourceError
from xpyramid.geometry.sections import joined
from xpyramid.geometry.tiles import Region
from xpyramid.messages import and_others
from xpyramid.store.checksums import algorithm_for, checksum
from xpyramid.store.chunk_grid import ChunkGrid, grid_at
from xpyramid.store.documents import get_document
from xpyramid.store.listing import list_contents, list_keys
from xpyramid.store.manifest import tables_of, taken_back
from xpyramid.store.object_table import KEY, ObjectTable
from xpyramid.store.path import NodePath, local_path
from xpyramid.warn import warn
from xpyramid.writer.stored_levels import StoredLevels

Mask = NDArray[np.bool_]

#: What the documents of arrays are called.
_ARRAYS = ("zarr.json", ".zarray")


def changed_regions(levels: StoredLevels, *, deep: bool) -> list[Region]:
    """Return the regions of level 0 that have changed, in whole windows of the top.

    Objects that are new, gone, or of another size have changed. Others are compared by checksum:
    all of them if ``deep``, or where a store tells no times; else those that are younger than what
    is recorded of them.

    Raises
    ------
    PlanError
        Where nothing is recorded by which that could be known.
    """
    path, place = levels.paths[0], levels.place / levels.paths[0]
    grid, table = grid_at(place), tables_of(levels.place, taken_back(levels.attributes)).get(path)
    contents = list_contents(place)
    positions, _ = grid.locate(contents.keys)
    present = np.zeros(grid.total, bool)
    present[positions[positions >= 0]] = True
    if table is None:
        changed, gone = _without_table(levels, grid, present, deep=deep)
    else:
        gone = table.stored & ~present
        sizes = np.zeros(grid.total, np.int64)
        if contents.sizes is not None:
            sizes[positions[positions >= 0]] = contents.sizes[positions >= 0]
            changed = sizes != table.sizes
        else:
            changed = present != table.stored
        time = None if deep else _time_of(levels, f"{path}/{KEY}")
        younger = _younger(levels, grid, present, time)
        doubtful = present & ~changed if younger is None else younger & ~changed
        for index in np.flatnonzero(doubtful):
            changed[index] = _differs(levels, grid, table, int(index))
    _warn_of_gone(place, grid, np.flatnonzero(gone), levels.base.fill_value)
    regions = {
        tuple((part.start, part.stop) for part in levels.aligned(grid.region(int(index))))
        for index in np.flatnonzero(changed)
    }
    return joined([tuple(slice(*ends) for ends in region) for region in sorted(regions)])


def newest_change(levels: StoredLevels) -> int | None:
    """Return when level 0 was last written to, where only times tell what has changed."""
    path, image = levels.paths[0], local_path(levels.place)
    if image is None or path in tables_of(levels.place, taken_back(levels.attributes)):
        return None
    grid = grid_at(levels.place / path)
    present, _ = grid.present(list_keys(levels.place / path))
    keys = [grid.key(int(index)) for index in np.flatnonzero(present)]
    return max(((image / path / key).stat().st_mtime_ns for key in keys), default=None)


def mark_in_step(levels: StoredLevels, time: int) -> None:
    """Note, in the times of their documents, that levels hold all that was written by a time."""
    image = local_path(levels.place)
    if image is None:
        return
    for path in levels.paths[1:]:
        for document in (image / path / name for name in _ARRAYS):
            if document.is_file() and (status := document.stat()).st_mtime_ns < time:
                os.utime(document, ns=(status.st_atime_ns, time))


def check_in_step(levels: StoredLevels) -> None:
    """Refuse levels that were made before other programs last changed level 0.

    Where checksums are recorded, that is found later, too. Else times tell, and those of levels
    that are written to, or made, from now on would hide it.

    Raises
    ------
    SourceError
    """
    path = levels.paths[0]
    if len(levels.paths) == 1 or path in tables_of(levels.place, taken_back(levels.attributes)):
        return
    grid = grid_at(levels.place / path)
    made = _made_at(levels)
    present, _ = grid.present(list_keys(levels.place / path))
    younger = None if made is None else _younger(levels, grid, present, made + 1)
    if younger is not None and younger.any():
        first = grid.key(int(np.flatnonzero(younger)[0]))
        raise SourceError(
            f"{first!r}{and_others(int(younger.sum()) - 1)} of {levels.place / path} was changed "
            "after its levels were made",
            fix="bring them up to date first: `xpyramid.update(...)`",
        )


def _warn_of_gone(place: NodePath, grid: ChunkGrid, gone: NDArray[np.int64], fill: object) -> None:
    """Say which objects are there no more: programs do not store zeros, and disks lose files."""
    if gone.size:
        first = grid.key(int(gone[0]))
        others = and_others(gone.size - 1)
        warn(
            f"missing, though there when the levels were made: {first!r}{others} of {place}; what "
            f"is missing counts as {np.asarray(fill).item()!r}, the fill value; if it is lost, "
            "restore it and call again",
            MissingChunkWarning,
        )


def _without_table(
    levels: StoredLevels, grid: ChunkGrid, present: Mask, *, deep: bool
) -> tuple[Mask, Mask]:
    """Return which objects have changed, and which are gone, where only is recorded which were."""
    before = levels.present(levels.paths[0])
    made = _made_at(levels)
    younger = None if made is None else _younger(levels, grid, present, made)
    if deep or before is None or younger is None:
        raise PlanError(
            f": no checksums of level 0 of {levels.place} are recorded, by which it could be known",
            option="region", value="changed", accepted="a mapping, as in {'y': slice(10, 20)}",
        )  # fmt: skip
    return (present != before) | younger, before & ~present


def _made_at(levels: StoredLevels) -> int | None:
    """Return when the oldest of the coarser levels was made, None if that is not known."""
    names = [f"{path}/{name}" for path in levels.paths[1:] for name in _ARRAYS]
    times = [time for name in names if (time := _time_of(levels, name)) is not None]
    return min(times, default=None)


def _time_of(levels: StoredLevels, key: str) -> int | None:
    """Return when an object of an image was written, None if that is not known."""
    image = local_path(levels.place)
    if image is None or not (image / key).is_file():
        return None
    return (image / key).stat().st_mtime_ns


def _younger(levels: StoredLevels, grid: ChunkGrid, present: Mask, time: int | None) -> Mask | None:
    """Return which objects of level 0 may have been written after a time, if times are known."""
    image = local_path(levels.place)
    if image is None or time is None:
        return None
    base, younger = image / levels.paths[0], np.zeros(grid.total, bool)
    for index in np.flatnonzero(present):
        younger[index] = (base / grid.key(int(index))).stat().st_mtime_ns >= time
    return younger


def _differs(levels: StoredLevels, grid: ChunkGrid, table: ObjectTable, index: int) -> bool:
    """Whether the bytes of an object are not those that are recorded."""
    raw = get_document(levels.place / levels.paths[0] / grid.key(index))
    algorithm = algorithm_for(levels.base.metadata.to_dict())
    return raw is None or checksum([raw], algorithm) != table.checksums[index]
