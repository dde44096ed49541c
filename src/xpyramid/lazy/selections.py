"""Which chunks a selection touches, and what goes from each of them to which place of the result.

Two kinds are known, which are those of xarray: `Outer` takes a slice, or indexes, along each
dimension by itself (``oindex``); `Points` takes single samples (``vindex``). Nothing is read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import compress, groupby, pairwise, product
from typing import NamedTuple, Protocol

import numpy as np

from xpyramid.geometry.tiles import Lengths
from xpyramid.types import Array

#: What is taken along a dimension.
Along = slice | Array


class Piece(NamedTuple):
    """What a selection takes from a chunk.

    Attributes
    ----------
    chunk : tuple of int
        Index of the chunk in the grid of all.
    inside : tuple
        Where the samples are in the chunk, along each dimension.
    target : tuple
        Where they go.
    """

    chunk: Lengths
    inside: tuple[Along, ...]
    target: tuple[Along, ...]


class Selection(Protocol):
    """Samples of an array of regular chunks."""

    @property
    def shape(self) -> Lengths:
        """Shape of the result."""

    @property
    def count(self) -> int:
        """How many chunks are touched."""

    def by_object(self, grid: Lengths) -> Iterator[tuple[Lengths, list[Piece]]]:
        """Yield the index of each stored object, and what is taken from its chunks.

        Parameters
        ----------
        grid : tuple of int
            Number of chunks in an object along each dimension.
        """

    def put(self, piece: Piece, chunk: Array, out: Array) -> None:
        """Put what is taken from a chunk into the result."""

    def fill(self, piece: Piece, value: object, out: Array) -> None:
        """Put a value in the place of what would be taken from a chunk that is not stored."""


class _Part(NamedTuple):
    """What is taken from the chunks of one index along one dimension."""

    chunk: int
    inside: Along
    target: Along


class Outer:
    """A slice of any step, or indexes in any order, along each dimension.

    Attributes
    ----------
    shape : tuple of int
        Of the result.

    Raises
    ------
    IndexError
        For indexes beyond the array.
    """

    def __init__(self, key: Sequence[Along], shape: Lengths, chunks: Lengths) -> None:
        self._lines = [
            range(n)[part] if isinstance(part, slice) else _checked(part, n)
            for part, n in zip(key, shape, strict=True)
        ]
        self._chunks = chunks
        self.shape: Lengths = tuple(map(len, self._lines))

    @cached_property
    def _parts(self) -> list[list[_Part]]:
        """What is taken along each dimension; of a huge array that may take a while."""
        return [
            _of_range(line, size) if isinstance(line, range) else _of_indexes(line, size)
            for line, size in zip(self._lines, self._chunks, strict=True)
        ]

    @property
    def count(self) -> int:
        """How many chunks are touched."""
        return math.prod(map(len, self._parts))

    def by_object(self, grid: Lengths) -> Iterator[tuple[Lengths, list[Piece]]]:
        """Yield the index of each stored object, and what is taken from its chunks."""
        runs = []
        for parts, n in zip(self._parts, grid, strict=True):
            grouped = groupby(parts, partial(_object_of, n))
            runs.append([(index, [*group]) for index, group in grouped])
        for objects in product(*runs):
            chunks = product(*(parts for _, parts in objects))
            yield tuple(index for index, _ in objects), [_piece(parts) for parts in chunks]

    def put(self, piece: Piece, chunk: Array, out: Array) -> None:
        """Put what is taken from a chunk into the result."""
        inside = tuple(part if isinstance(part, slice) else slice(None) for part in piece.inside)
        taken = chunk[inside]
        for axis, part in enumerate(piece.inside):
            if not isinstance(part, slice):
                taken = taken.take(part, axis)
        out[self._place(piece)] = taken

    def fill(self, piece: Piece, value: object, out: Array) -> None:
        """Put a value in the place of what would be taken from a chunk that is not stored."""
        out[self._place(piece)] = value

    def _place(self, piece: Piece) -> tuple[Along, ...]:
        if all(isinstance(part, slice) for part in piece.target):
            return piece.target
        pairs = zip(piece.target, self.shape, strict=True)
        lines = (np.arange(n)[part] if isinstance(part, slice) else part for part, n in pairs)
        return np.ix_(*lines)


class Points:
    """Single samples: indexes along all dimensions, which are broadcast together.

    Attributes
    ----------
    shape : tuple of int
        Of the result.
    count : int
        How many chunks are touched.

    Raises
    ------
    IndexError
        For indexes beyond the array.
    """

    def __init__(self, key: Sequence[Array], shape: Lengths, chunks: Lengths) -> None:
        lines = np.broadcast_arrays(*(_checked(k, n) for k, n in zip(key, shape, strict=True)))
        self.shape: Lengths = lines[0].shape
        self._chunks = chunks
        self._at = np.stack([line.reshape(-1) for line in lines])
        sizes = np.array(chunks)[:, None]
        self._index = self._at // sizes
        self.count = np.unique(self._index, axis=1).shape[1]

    def by_object(self, grid: Lengths) -> Iterator[tuple[Lengths, list[Piece]]]:
        """Yield the index of each stored object, and what is taken from its chunks."""
        objects = self._index // np.array(grid)[:, None]
        order = np.lexsort((*self._index[::-1], *objects[::-1]))
        for at in _runs(objects[:, order]):
            several = order[at]
            yield (
                tuple(map(int, objects[:, several[0]])),
                [self._piece(several[part]) for part in _runs(self._index[:, several])],
            )

    def _piece(self, at: Array) -> Piece:
        chunk = tuple(map(int, self._index[:, at[0]]))
        starts = [c * n for c, n in zip(chunk, self._chunks, strict=True)]
        inside = tuple(line[at] - start for line, start in zip(self._at, starts, strict=True))
        return Piece(chunk, inside, np.unravel_index(at, self.shape))

    def put(self, piece: Piece, chunk: Array, out: Array) -> None:
        """Put what is taken from a chunk into the result."""
        out[piece.target] = chunk[piece.inside]

    def fill(self, piece: Piece, value: object, out: Array) -> None:
        """Put a value in the place of what would be taken from a chunk that is not stored."""
        out[piece.target] = value


def selected(
    key: Sequence[Along | int], shape: Lengths, chunks: Lengths, is_of_points: bool
) -> tuple[Selection, Lengths]:
    """Return what a key of xarray selects, and the shape of what is then returned.

    Parameters
    ----------
    key : sequence of slice, int or ndarray
        For each dimension.
    shape, chunks : tuple of int
        Of the array.
    is_of_points : bool
        Whether indexes are broadcast together.
    """
    if is_of_points:
        points = Points([*map(np.asarray, key)], shape, chunks)
        return points, points.shape
    are_kept = [isinstance(part, slice | np.ndarray) for part in key]
    lines = [
        part if isinstance(part, slice | np.ndarray) else _single(part, n)
        for part, n in zip(key, shape, strict=True)
    ]
    outer = Outer(lines, shape, chunks)
    return outer, tuple(compress(outer.shape, are_kept))


def _single(index: int, length: int) -> slice:
    """Return the slice that takes one index; negative ones count from the end."""
    first = int(_checked(np.array([index]), length)[0])
    return slice(first, first + 1)


def _object_of(n: int, part: _Part) -> int:
    return part.chunk // n


def _piece(parts: Sequence[_Part]) -> Piece:
    return Piece(
        tuple([part.chunk for part in parts]),
        tuple([part.inside for part in parts]),
        tuple([part.target for part in parts]),
    )


def _of_range(indexes: range, size: int) -> list[_Part]:
    """Return what evenly spaced indexes, of either direction, take from chunks of a size."""
    parts: list[_Part] = []
    step, done = indexes.step, 0
    while done < len(indexes):
        index, first = divmod(indexes[done], size)
        room = size - 1 - first if step > 0 else first
        count = min(room // abs(step) + 1, len(indexes) - done)
        stop = first + count * step
        inside = slice(first, stop if stop >= 0 else None, step)
        parts.append(_Part(index, inside, slice(done, done + count)))
        done += count
    return parts


def _of_indexes(indexes: Array, size: int) -> list[_Part]:
    """Return what indexes in any order take from chunks of a size."""
    if not indexes.size:
        return []
    chunks = indexes // size
    order = np.argsort(chunks, kind="stable")
    is_sorted = bool((chunks[1:] >= chunks[:-1]).all())
    parts = []
    for run in _runs(chunks[None, order]):
        at = order[run]
        index = int(chunks[at[0]])
        parts.append(_Part(index, indexes[at] - index * size, run if is_sorted else at))
    return parts


def _runs(columns: Array) -> list[slice]:
    """Return runs of equal columns."""
    if not columns.shape[1]:
        return []
    edges = np.flatnonzero((columns[:, 1:] != columns[:, :-1]).any(axis=0)) + 1
    ends = [0, *edges.tolist(), columns.shape[1]]
    return [slice(a, b) for a, b in pairwise(ends)]


def _checked(indexes: Array, length: int) -> Array:
    """Return indexes counted from the first sample.

    Raises
    ------
    IndexError
        For those beyond the array.
    """
    counted = np.asarray(indexes, np.int64)
    counted = np.where(counted < 0, counted + length, counted)
    if counted.size and not (counted.min() >= 0 and counted.max() < length):
        raise IndexError(
            f"index {int(counted.max() if counted.max() >= length else counted.min() - length)} "
            f"is out of bounds for a dimension of {length} samples"
        )
    return counted
