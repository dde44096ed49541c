"""The levels of a stored image, and what there is to do to make some of them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import zarr
from numpy.typing import NDArray

from xpyramid import engine, ngff
from xpyramid._compat import lazy_variable
from xpyramid.errors import NotAPyramidError, PyramidError
from xpyramid.geometry.passes import Limits, Shape, SourceChunks, passes
from xpyramid.geometry.sections import pieces
from xpyramid.geometry.tiles import LEAF_BYTES, Region, make_tiling, relative
from xpyramid.reducers import Array, Reducer
from xpyramid.store.chunk_grid import StoredMask, grid_at
from xpyramid.store.fast import accelerate_reads
from xpyramid.store.listing import list_keys
from xpyramid.store.local_chunks import indexes_in
from xpyramid.store.manifest import object_records, taken_back
from xpyramid.store.path import NodePath, ZarrArray
from xpyramid.store.presence import expected
from xpyramid.store.transaction import Transaction, transaction_for
from xpyramid.writer.compression import STORE_EMPTY, with_checksums
from xpyramid.writer.object_tables import rows_of
from xpyramid.writer.sinks import PatchSink


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

    def transaction(self) -> Transaction:
        """Return what keeps others from changing them, and holds notes of what is unfinished."""
        names = dict.fromkeys(path.split("/")[0] for path in self.paths)
        return transaction_for(self.place.as_image(), tuple(names))

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
        place = self.place / self.paths[level]
        return rows_of(place, self.arrays[level], self.indexes(level, regions))

    def indexes(self, level: int, regions: Sequence[Region]) -> list[tuple[int, ...]]:
        """Return the indexes of the objects of a level above some regions."""
        lengths = self.arrays[level].shards or self.arrays[level].chunks
        cells = [self.above(self.aligned(region), level) for region in regions]
        return sorted({index for part in cells for index in indexes_in(part, lengths)})

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
        record = object_records(taken_back(self.attributes)).get(path)
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
        base, source = self.base, self.source
        steps = [
            tuple(b // a for a, b in zip(fine, coarse, strict=True))
            for fine, coarse in zip(self.factors, self.factors[1:], strict=False)
        ]
        shapes = [Shape(a.shape, a.shards or a.chunks) for a in self.arrays]
        for image_pass in passes(
            shapes, steps, [SourceChunks(None, base.chunks)], base.dtype.itemsize, limits,
            holistic=self.reducer.holistic, copies=self.reducer.copies, present=present,
            region=region,
        ):  # fmt: skip
            used = tuple(self.arrays[k].shape for k in image_pass.levels)
            sinks: list[engine.Sink | None] = [
                self.sinks[k] if k in image_pass.writes else None for k in image_pass.levels
            ]
            if only is not None:
                sinks = [sink and partial(_write_inside, sink, cells) for sink in sinks]
            yield engine.Job(
                engine.Work(image_pass.tiling, (engine.Output(self.reducer, used, tuple(sinks)),)),
                source,
            )

    @cached_property
    def source(self) -> engine.Source:
        """Reads level 0."""
        dims = [f"dim_{i}" for i in range(self.base.ndim)]
        variable = accelerate_reads(lazy_variable(self.base, dims, {}))
        return engine.Source(variable, f"level 0 of {self.place}")

    def counting(
        self, observer: engine.Observer, regions: Sequence[Region], limits: Limits
    ) -> Iterator[engine.Job]:
        """Yield what there is to do to count the values of some regions of level 0.

        They are read in pieces of whole objects.
        """
        base, itemsize = self.base, self.base.dtype.itemsize
        piece = pieces(
            base.shape, base.shards or base.chunks, self.factors[-1], LEAF_BYTES // itemsize
        )
        output = engine.Output(self.reducer, (base.shape,), (None,), observer)
        for region in regions:
            tiling = make_tiling(
                base.shape, [], [piece], itemsize,
                workers=limits.workers, memory=limits.memory, region=region,
            )  # fmt: skip
            yield engine.Job(engine.Work(tiling, (output,)), self.source)


def stored_levels(place: NodePath, node: zarr.Group | None = None) -> StoredLevels:
    """Open the levels of an image, all of which we have made.

    Parameters
    ----------
    place : NodePath
    node : zarr.Group, optional
        Its group, if that is open.

    Raises
    ------
    NotAPyramidError
    """
    group = place.node() if node is None else node
    attributes = {} if group is None else dict(group.attrs)
    ngff.check_single(attributes, str(place))
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
    _check_lengths(place, image, arrays, factors)
    try:
        reducer = ngff.reducer_of(image, base.dtype, base.shape, factors[-1])
    except (PyramidError, TypeError, ValueError) as error:
        raise NotAPyramidError(f"the levels of {place} cannot be made again: {error}") from error
    return StoredLevels(place, attributes, paths, arrays, factors, reducer)


def _check_lengths(
    place: NodePath,
    image: ngff.Multiscale,
    arrays: Sequence[ZarrArray],
    factors: Sequence[Sequence[int]],
) -> None:
    """Refuse levels that are of a level 0 of another shape, as where a program has appended to it.

    Raises
    ------
    NotAPyramidError
    """
    for k, (level, of_level) in enumerate(zip(arrays, factors, strict=True)):
        lengths = zip(image.axes, arrays[0].shape, level.shape, of_level, strict=True)
        for axis, n, length, f in lengths:
            if not n // f <= length <= -(-n // f):
                raise NotAPyramidError(
                    f"level 0 of {place} has {n} samples along {axis.name!r}, and level {k} has "
                    f"{length}, with the factor {f}: its shape has changed since",
                    fix="make the levels anew: xpyramid.add_levels(..., mode='w')",
                )


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
