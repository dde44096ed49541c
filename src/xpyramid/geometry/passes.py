"""The passes over arrays that writing a pyramid takes, and how each is divided: pure geometry.

Mostly it is one pass, which reads level 0 and writes all levels. A plan says what the passes cost,
and the writer makes jobs of the same ones.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from xpyramid.geometry.chunks import fit, regular
from xpyramid.geometry.tiles import LEAF_BYTES, TILE_BYTES, Lengths, Region, Tiling, make_tiling

Blocks = tuple[Lengths, ...]


@dataclass(frozen=True)
class SourceChunks:
    """In which chunks the samples of a level are given.

    Attributes
    ----------
    blocks : tuple of tuple of int, or None
        Of a dask array, along each dimension; None for what is read region by region.
    on_disk : tuple
        Length of the chunks in the file along each dimension, or the lengths of all of them;
        None where it is not known. Empty where nothing is.
    """

    blocks: Blocks | None = None
    on_disk: tuple[int | Lengths | None, ...] = ()


@dataclass(frozen=True)
class Shape:
    """A level, as far as it matters here.

    Attributes
    ----------
    shape : tuple of int
    stored : tuple of int
        Of its stored objects: chunks, or shards.
    """

    shape: Lengths
    stored: Lengths


@dataclass(frozen=True)
class Limits:
    """What the tasks together may take.

    Attributes
    ----------
    workers : int
        How many tasks run at a time.
    memory : int or None
        In bytes.
    """

    workers: int
    memory: int | None


@dataclass(frozen=True)
class Pass:
    """One pass over a level.

    Attributes
    ----------
    levels : tuple of int
        The first is read, the others are made from it.
    writes : tuple of int
        Those that are written.
    tiling : Tiling
    blocks : tuple of tuple of int, or None
        In which dask reads it, if it does.
    """

    levels: tuple[int, ...]
    writes: tuple[int, ...]
    tiling: Tiling
    blocks: Blocks | None

    def memory(self, itemsize: int, workers: int) -> int:
        """Estimate how many bytes all workers together hold at a time."""
        return workers * self.tiling.memory(itemsize) + itemsize * self._waiting(workers)

    def _waiting(self, workers: int) -> int:
        """Estimate how many samples wait in blocks that do not lie in one tile.

        Blocks that are cut wait until all tiles that they touch are joined, a front of them.
        """
        if self.blocks is None:
            return 0
        tiling, tile = self.tiling, self.tiling.base_shape(self.tiling.tile)
        touched = tuple(map(_touched, self.blocks, tile))
        fitting = tuple(map(fit, self.blocks, tile))
        cut = [i for i, blocks in enumerate(self.blocks) if blocks != fitting[i]]
        if not cut:
            return workers * (math.prod(touched) - tiling.samples(tiling.tile))
        front = [n if i in cut[1:] else touched[i] for i, n in enumerate(tiling.shape)]
        largest = [math.prod(map(max, blocks)) for blocks in (self.blocks, fitting)]
        return math.prod(front) + workers * sum(largest)


def _touched(blocks: Lengths, span: int) -> int:
    """Return how long the blocks are together, along a dimension, that a tile touches, at most."""
    edges = [0, *accumulate(blocks)]
    longest = 0
    for start in range(0, edges[-1], span):
        first = bisect_right(edges, start) - 1
        last = bisect_left(edges, min(start + span, edges[-1]))
        longest = max(longest, edges[last] - edges[first])
    return longest


def passes(
    levels: Sequence[Shape],
    steps: Sequence[Lengths],
    source_chunks: Sequence[SourceChunks],
    itemsize: int,
    limits: Limits,
    *,
    holistic: bool = False,
    present: Collection[int] = (),
    region: Region | None = None,
    outputs: int = 1,
) -> Iterator[Pass]:
    """Yield the passes that writing a pyramid takes.

    Parameters
    ----------
    levels : sequence of Shape
    steps : sequence of tuple of int
        Factors from each level to the next.
    source_chunks : sequence of SourceChunks
        Of level 0; or of each level, where all of them are there already.
    itemsize : int
        Of a sample, in bytes.
    limits : Limits
    holistic : bool
        Whether the method needs all samples of a window at once, so that each level is made from
        level 0 by itself.
    present : collection of int
        Levels that are in their place already, and are not written.
    region : tuple of slice, optional
        Of level 0, to which the passes are limited; see `Tiling.limited_to`.
    outputs : int
        How many reductions are made in each pass.

    Raises
    ------
    PlanError
        If the memory does not do for the smallest tiles.
    """

    def make_pass(chosen: Sequence[int], strides: Sequence[Lengths], writes: Sequence[int]) -> Pass:
        used = [levels[k] for k in chosen]
        base, blocks = used[0], source_chunks[chosen[0]].blocks
        unit: Lengths | None = None
        if blocks is None:
            unit = _joined(base, source_chunks[chosen[0]], itemsize, limits)
            blocks = _wrapped(base, source_chunks[chosen[0]]) if unit is None else None
        tiling = make_tiling(
            base.shape, strides, [unit or base.stored, *(level.stored for level in used[1:])],
            itemsize, workers=limits.workers, memory=limits.memory, gathered=blocks is not None,
            copies=_HOLISTIC_COPIES if holistic and strides else 2,
            tile_bytes=TILE_BYTES if blocks is None else LEAF_BYTES,  # dask holds all of a tile
            outputs=outputs, region=region,
        )  # fmt: skip
        return Pass(tuple(chosen), tuple(writes), tiling, blocks)

    count = range(len(levels))
    missing = [k for k in count if k not in present]
    if len(source_chunks) > 1:
        yield from (make_pass([k], (), [k]) for k in missing)
    elif not holistic and missing:
        yield make_pass(count, steps, missing)
    elif holistic:
        for k in missing:
            factors = tuple(math.prod(along) for along in zip(*steps[:k], strict=True))
            yield make_pass([0, k], (factors,), [k]) if k else make_pass([0], (), [0])


#: How often samples are there that a median is taken of: beside the usual, put in order.
_HOLISTIC_COPIES = 5


def _joined(level: Shape, source: SourceChunks, itemsize: int, limits: Limits) -> Lengths | None:
    """Return regions of whole chunks of both source and target, None where they get too large.

    What is read in such regions is read once.
    """
    lengths = [chunk or 1 for chunk in source.on_disk] or [1] * len(level.shape)
    chunks = [chunk for chunk in lengths if isinstance(chunk, int)]
    if len(chunks) != len(lengths):  # of several lengths
        return None
    triples = zip(level.stored, chunks, level.shape, strict=True)
    region = tuple(min(math.lcm(s, chunk), max(1, n)) for s, chunk, n in triples)
    max_bytes = 4 * LEAF_BYTES
    if limits.memory is not None:  # a worker holds a region as it is read, encoded, and reduced
        max_bytes = min(max_bytes, limits.memory // (4 * limits.workers))
    limit = max(max_bytes, math.prod(level.stored) * itemsize)
    return region if math.prod(region) * itemsize <= limit else None


def _wrapped(level: Shape, source: SourceChunks) -> Blocks:
    """Return the blocks that dask reads in, where regions get too large."""
    triples = zip(level.shape, source.on_disk, level.stored, strict=True)
    return tuple(
        regular(n, chunk or length) if not isinstance(chunk, tuple) else chunk
        for n, chunk, length in triples
    )
