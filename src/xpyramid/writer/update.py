"""Levels of a stored image, made again above regions of level 0 that have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any
from uuid import uuid4

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer

from xpyramid import engine, ngff
from xpyramid._compat import lazy_variable
from xpyramid.errors import NotAPyramidError, PyramidError, ResumeError
from xpyramid.geometry.passes import Limits, Shape, SourceChunks, passes
from xpyramid.geometry.tiles import Region, relative
from xpyramid.messages import say
from xpyramid.reducers import Array, Reducer
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.chunk_grid import StoredMask, grid_at
from xpyramid.store.documents import announce_last, as_buffer, put, remove
from xpyramid.store.fast import accelerate_reads
from xpyramid.store.listing import list_keys
from xpyramid.store.local_chunks import indexes_in
from xpyramid.store.local_files import remove_torn_files
from xpyramid.store.manifest import manifest_of, set_aside, tables_of, taken_back, with_tables
from xpyramid.store.object_table import KEY, ObjectTable
from xpyramid.store.path import NodePath, ZarrArray, local_path, local_root, takes_nodes_only
from xpyramid.store.presence import expected
from xpyramid.store.transaction import Transaction, transaction_for
from xpyramid.writer import documents
from xpyramid.writer.compression import STORE_EMPTY, with_checksums
from xpyramid.writer.object_tables import rows_of
from xpyramid.writer.resume import FORMAT
from xpyramid.writer.session import consolidate_above
from xpyramid.writer.sinks import PatchSink
from xpyramid.writer.target_checks import check_writable

#: What is noted of an update, beside what is noted of builds.
_REGIONS = "regions"


@dataclass(frozen=True)
class StoredLevels:
    """The levels of an image, as its metadata have them.

    Attributes
    ----------
    place : NodePath
        The group of the image.
    attributes : mapping
        Of the group.
    paths : sequence of str
    arrays : sequence of zarr.Array
    factors : sequence of tuple of int
        Of each level, against level 0.
    reducer : Reducer
    """

    place: NodePath
    attributes: Mapping[str, object]
    paths: Sequence[str]
    arrays: Sequence[ZarrArray]
    factors: Sequence[tuple[int, ...]]
    reducer: Reducer

    @property
    def base(self) -> ZarrArray:
        """Level 0."""
        return self.arrays[0]

    @cached_property
    def sinks(self) -> list[PatchSink | None]:
        """Where the values of each level go."""
        sinks = [
            PatchSink(array, f"array {self.place / path}, level {k}", path)
            for k, (path, array) in enumerate(zip(self.paths, self.arrays, strict=True))
        ]
        return [None, *sinks[1:]]

    def stored(self, level: int, regions: Sequence[Region]) -> NDArray[np.uint64]:
        """Return position, size and checksum of each object of a level above some regions.

        Those that are not stored have the size 0.
        """
        array, place = self.arrays[level], self.place / self.paths[level]
        indexes = {
            index
            for region in regions
            for index in indexes_in(
                self.above(self.aligned(region), level), array.shards or array.chunks
            )
        }
        return rows_of(place, array, sorted(indexes))

    def aligned(self, region: Region) -> Region:
        """Return a region of level 0, rounded outward to whole windows of the top."""
        triples = zip(region, self.factors[-1], self.base.shape, strict=True)
        return tuple(slice(r.start // f * f, min(-(-r.stop // f) * f, n)) for r, f, n in triples)

    def above(self, region: Region, level: int) -> Region:
        """Return the cells of a level above a region of level 0."""
        triples = zip(region, self.factors[level], self.arrays[level].shape, strict=True)
        return tuple(slice(r.start // f, min(-(-r.stop // f), n)) for r, f, n in triples)

    def present(self, path: str) -> StoredMask | None:
        """Return which objects of an array there were, where nothing else is recorded of it."""
        listed = (manifest_of(taken_back(self.attributes)) or {}).get("objects")
        record = listed.get(path) if isinstance(listed, Mapping) else None
        if not isinstance(record, Mapping):
            return None
        total = int(record["objects"])
        mask = expected(record, total)
        if mask is not None:
            return mask.copy()
        return grid_at(self.place / path).present(list_keys(self.place / path))[0]

    def jobs(
        self, region: Region, limits: Limits, only: tuple[int, Region] | None = None
    ) -> Iterator[engine.Job]:
        """Yield what there is to do above a region of level 0: for all levels, or cells of one."""
        level, cells = only or (None, ())
        present = [k for k in range(len(self.paths)) if k == 0 or level not in (None, k)]
        base = self.base
        dims = [f"dim_{i}" for i in range(base.ndim)]
        variable = accelerate_reads(lazy_variable(base, dims, {}))
        source = engine.Source(variable, f"level 0 of {self.place}")
        steps = [
            tuple(b // a for a, b in zip(fine, coarse, strict=True))
            for fine, coarse in zip(self.factors, self.factors[1:], strict=False)
        ]
        shapes = [Shape(a.shape, a.shards or a.chunks) for a in self.arrays]
        for one in passes(
            shapes, steps, [SourceChunks(None, base.chunks)], base.dtype.itemsize, limits,
            holistic=self.reducer.holistic, copies=self.reducer.copies, present=present,
            region=region,
        ):  # fmt: skip
            used = tuple(self.arrays[k].shape for k in one.levels)
            sinks: list[engine.Sink | None] = [
                self.sinks[k] if k in one.writes else None for k in one.levels
            ]
            if only is not None:
                sinks = [sink and partial(_write_inside, sink, cells) for sink in sinks]
            yield engine.Job(
                engine.Work(one.tiling, (engine.Output(self.reducer, used, tuple(sinks)),)), source
            )


def stored_levels(place: NodePath) -> StoredLevels:
    """Open the levels of an image, all of which we have made.

    Raises
    ------
    NotAPyramidError
    """
    node = place.node()
    attributes = {} if node is None else dict(node.attrs)
    image = ngff.parse(attributes)
    paths = [dataset.path for dataset in image.datasets]
    opened = [zarr.open_array(place.store, path=(place / p).path, mode="r+") for p in paths]
    arrays = [with_checksums(array, STORE_EMPTY) for array in opened]
    factors, base = ngff.recorded_factors(image), arrays[0]
    if image.metadata.get("library") != "xpyramid" or factors is None:
        raise NotAPyramidError(
            f"{place} does not say how its levels were made",
            fix="make them anew: xpyramid.add_levels(..., mode='w')",
        )
    try:
        reducer = ngff.reducer_of(image, base.dtype, base.shape, factors[-1])
    except (PyramidError, TypeError, ValueError) as error:
        raise NotAPyramidError(f"the levels of {place} cannot be made again: {error}") from error
    return StoredLevels(place, attributes, paths, arrays, factors, reducer)


def _write_inside(
    sink: engine.Sink, cells: Region, region: Region, values: Array
) -> engine.Written | None:
    """Hand on those of some values that are for some cells; what is around them is right."""
    inside = tuple(
        slice(max(r.start, c.start), min(r.stop, c.stop))
        for r, c in zip(region, cells, strict=True)
    )
    if not all(part.start < part.stop for part in inside):
        return None
    return sink(inside, values[relative(inside, [part.start for part in region])])


def update(levels: StoredLevels, regions: Sequence[Region], limits: Limits, progress: Any) -> None:
    """Make the levels again above regions of level 0; note it first, and record it at the end.

    Raises
    ------
    ResumeError
        If a build of the image is unfinished.
    """
    names = dict.fromkeys(path.split("/")[0] for path in levels.paths)
    transaction = transaction_for(levels.place.as_image(), tuple(names))
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
        _put(levels.place, documents.with_attributes(levels.place, set_aside(attributes)))
        for region in regions:  # one after the other: two may meet in one object
            engine.run(list(levels.jobs(region, limits)), progress)
        tables: Mapping[str, Buffer] = {}
        if manifest_of(attributes) is not None:
            attributes, tables = _recorded(levels, attributes, regions, record.build)
            put(levels.place, tables)
        _put(levels.place, documents.with_attributes(levels.place, attributes))
        for key in (f"{path}/{KEY}" for path in levels.paths):
            # What was in there has become short enough for the attributes.
            if key not in tables and not takes_nodes_only(levels.place.store):
                remove(levels.place / key)
        transaction.close()
        consolidate_above(transaction)


def _as_they_are(levels: StoredLevels) -> StoredLevels:
    """Return levels with the attributes that their group has now that nobody else changes it.

    Raises
    ------
    ResumeError
        If they are not the levels of the image any more.
    """
    node = levels.place.node()
    attributes = {} if node is None else dict(node.attrs)
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
    levels: StoredLevels, objects: Mapping[int, Sequence[Region]], limits: Limits, progress: Any
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
    names = dict.fromkeys(path.split("/")[0] for path in levels.paths)
    transaction = transaction_for(levels.place.as_image(), tuple(names))
    check_writable(transaction.target)
    with transaction.lock():
        if transaction.unfinished() is not None:
            raise ResumeError(
                f"{transaction.target} is unfinished",
                fix=say("finish it first, by the call that began it with {resume}", resume=True),
            )
        for level, regions in objects.items():
            for cells in regions:
                triples = zip(cells, levels.factors[level], levels.base.shape, strict=True)
                base = tuple(slice(c.start * f, min(c.stop * f, n)) for c, f, n in triples)
                engine.run(list(levels.jobs(base, limits, (level, cells))), progress)


def _tidy(transaction: Transaction, levels: StoredLevels) -> None:
    """Remove what an update that died has left half written; of level 0, others may write files."""
    target = transaction.target
    root = local_path(NodePath(target.store, "")) or local_root(target.store)
    if transaction.noted() is None or root is None:
        return
    first, image = levels.paths[0].split("/")[0], root / target.path
    remove_torn_files(image, below=False)
    for name in transaction.kept:
        if name != first:
            remove_torn_files(image / name)


def _put(place: NodePath, group: Mapping[str, Any]) -> None:
    for key in sorted(group, key=announce_last):
        put(place, {key: group[key]})


def _recorded(
    levels: StoredLevels, attributes: Mapping[str, object], regions: Sequence[Region], build: str
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
    with_record, objects = with_tables(levels.place, attributes, changed, present, build)
    return with_record, {key: as_buffer(data) for key, data in objects.items()}
