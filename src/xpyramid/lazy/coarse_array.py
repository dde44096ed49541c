"""A level of what xarray has opened lazily: made where it is indexed, without a graph.

It is an array of an xarray backend. A selection is cut into parts, cells over a few chunks of the
base; several threads read the base under a part, reduce it, and put what is asked for into the
result. So nothing is read but what lies under the selection, and beside the result each thread
holds one part.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
import xarray as xr

from xpyramid._compat import BackendArray, indexing, is_in_memory, lazily_indexed, lazy_data
from xpyramid.geometry.tiles import LEAF_BYTES, Lengths
from xpyramid.lazy.reduction import Reduction
from xpyramid.lazy.selections import Along, Piece, Selection, selected
from xpyramid.reducers import Reducer
from xpyramid.runtime.threads import share, threads
from xpyramid.types import Array

#: From a variable to what reads regions of it, called with a region and whether no other thread is
#: to help (``alone``).
Reading = Callable[[xr.Variable], Callable[..., Array]]

#: A thread more is of use for so many bytes of the base.
_BYTES_PER_THREAD = 2**18

#: So many parts for each thread, so that all end at about the same time.
_PARTS_PER_THREAD = 4

#: Parts may be so much larger than usual where that saves reading chunks twice.
_LARGER = 2


class CoarseArray(BackendArray):
    """A level that is made where it is indexed; nothing of it is kept.

    Parameters
    ----------
    base : xarray.Variable
        Level 0.
    reduction : Reduction
    shape : tuple of int
        Of the level; shorter than ``ceil(n / F)`` where partial windows are trimmed.
    reading : callable
        From level 0 to what reads regions of it.
    """

    def __init__(
        self, base: xr.Variable, reduction: Reduction, shape: Lengths, reading: Reading
    ) -> None:
        self.base, self.reduction = base, reduction
        self.shape: Lengths = shape
        self.dtype = reduction.reducer.dtype
        self._reading = reading

    def __reduce__(self) -> tuple[type[CoarseArray], tuple[object, ...]]:
        return CoarseArray, (self.base, self.reduction, self.shape, self._reading)

    @cached_property
    def _read_base(self) -> Callable[..., Array]:
        """What reads regions of level 0."""
        return self._reading(self.base)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Array:
        is_of_points = isinstance(key, indexing.VectorizedIndexer)
        parts = self._small_parts if is_of_points else self._parts(key.tuple)
        selection, shape = selected(key.tuple, self.shape, parts, is_of_points)
        return self._read(selection, parts).reshape(shape)

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Array:
        """Return what is indexed; it is made in another thread."""
        return await asyncio.to_thread(self.__getitem__, key)

    def _read(self, selection: Selection, parts: Lengths) -> Array:
        out = np.empty(selection.shape, self.dtype)
        if not out.size:
            return out
        nbytes = out.size * self.reduction.nbytes((1,) * len(parts))
        number = min(threads(), selection.count, 1 + nbytes // _BYTES_PER_THREAD)
        objects = selection.by_object((1,) * len(parts))
        pieces = (piece for _, several in objects for piece in several)
        put = partial(self._put, selection, parts, out, alone=number > 1)
        share(pieces, put, number - 1)
        return out

    def _put(
        self, selection: Selection, parts: Lengths, out: Array, piece: Piece, *, alone: bool
    ) -> None:
        """Make the cells of a part that a selection takes."""
        ends = [*map(_ends, piece.inside, parts)]
        region = []
        for i, part, (low, high), f, n in zip(
            piece.chunk, parts, ends, self.reduction.factors, self.base.shape, strict=True
        ):
            first = i * part
            region.append(slice((first + low) * f, min((first + high) * f, n)))
        cells = self.reduction.cells(partial(self._read_base, alone=alone), tuple(region))
        pairs = zip(piece.inside, ends, strict=True)
        inside = tuple(_moved(along, low) for along, (low, _) in pairs)
        selection.put(Piece(piece.chunk, inside, piece.target), cells, out)

    @cached_property
    def _small_parts(self) -> Lengths:
        """Shape of parts that lie over few chunks of the base, for selections with gaps."""
        return tuple(max(1, chunk // f) for chunk, f in self._chunks_and_factors)

    @cached_property
    def _whole_parts(self) -> Lengths:
        """Shape of the smallest parts over whole chunks, along the dimensions where it can be."""
        parts = [*self._small_parts]
        for axis, (chunk, f) in enumerate(self._chunks_and_factors):
            several = [*parts]
            several[axis] = min(math.lcm(chunk, f) // f, max(1, self.shape[axis]))
            if self.reduction.nbytes(several) <= _LARGER * LEAF_BYTES:
                parts = several
        return tuple(parts)

    @property
    def _chunks_and_factors(self) -> list[tuple[int, int]]:
        return [*zip(self.reduction.chunks, self.reduction.factors, strict=True)]

    def _parts(self, key: Sequence[Along | int]) -> Lengths:
        """Return the shape of the parts, in cells, by which a selection is made.

        Where it has no gaps, a part may lie over several chunks.
        """
        lengths = [_run(along, n) for along, n in zip(key, self.shape, strict=True)]
        if not all(lengths):
            return self._small_parts
        nbytes = self.reduction.nbytes(lengths)
        if nbytes <= LEAF_BYTES:
            return self.shape  # the chunks under it are read by several threads, each once
        unit, parts = self._whole_parts, [*self._whole_parts]
        most = min(LEAF_BYTES, nbytes // (_PARTS_PER_THREAD * threads()))
        while True:
            several = [[*parts[:i], n + unit[i], *parts[i + 1 :]] for i, n in enumerate(parts)]
            larger = [
                (parts[i] * f, candidate)
                for i, (candidate, f) in enumerate(
                    zip(several, self.reduction.factors, strict=True)
                )
                if parts[i] < lengths[i] and self.reduction.nbytes(candidate) <= most
            ]
            if not larger:
                return tuple(parts)
            parts = min(larger)[1]


def _run(along: Along | int, length: int) -> int:
    """Return how many indexes in a row are taken along a dimension, 0 where there are gaps."""
    if isinstance(along, slice):
        line = range(length)[along]
        return len(line) if abs(line.step) == 1 else 0
    return 0 if isinstance(along, np.ndarray) else 1


def _ends(along: Along, length: int) -> tuple[int, int]:
    """Return the first index that is taken along a dimension, and the one after the last."""
    if isinstance(along, slice):
        line = range(length)[along]
        return min(line[0], line[-1]), max(line[0], line[-1]) + 1
    return int(along.min()), int(along.max()) + 1


def _moved(along: Along, low: int) -> Along:
    """Return what is taken along a dimension that begins later."""
    if not isinstance(along, slice):
        return along - low
    stop = None if along.stop is None or along.stop < low else along.stop - low
    return slice(along.start - low, stop, along.step)


def is_lazily_indexed(variable: xr.Variable) -> bool:
    """Whether a variable is in a file that xarray has opened without dask."""
    data = lazy_data(variable)
    return isinstance(data, indexing.ExplicitlyIndexed) and not is_in_memory(variable)


def coarse_data(
    base: xr.Variable,
    steps: tuple[Lengths, ...],
    reducer: Reducer,
    shape: Lengths,
    chunks: Lengths,
    reading: Reading,
) -> object:
    """Return what a variable of a level is made of that is made where it is indexed.

    Parameters
    ----------
    base : xarray.Variable
        Level 0, lazily indexed.
    steps, reducer
        As `Reduction` takes them.
    shape, reading
        As `CoarseArray` takes them.
    chunks : tuple of int
        In which level 0 is read where it does not say in which chunks it is stored.
    """
    on_disk = base.encoding.get("preferred_chunks", {})
    lengths = (on_disk.get(dim, chunk) for dim, chunk in zip(base.dims, chunks, strict=True))
    longest = (max(n) if isinstance(n, Sequence) else int(n) for n in lengths)
    known = tuple(max(1, min(pair)) for pair in zip(longest, base.shape, strict=True))
    reduction = Reduction(steps, reducer, known, base.dtype.itemsize)
    return lazily_indexed(CoarseArray(base, reduction, shape, reading))
