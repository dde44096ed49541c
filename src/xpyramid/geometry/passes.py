"""The passes over arrays that writing a pyramid takes, and how each is divided: pure geometry.

Mostly it is one pass, which reads level 0 and writes all levels. A plan says what the passes cost,
and the writer makes jobs of the same ones.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from xpyramid.errors import CostWarning
from xpyramid.geometry.chunks import fit, regular
from xpyramid.geometry.tiles import (
    LEAF_BYTES,
    TILE_BYTES,
    WAVE,
    Lengths,
    Region,
    Tiling,
    make_tiling,
    times,
)
from xpyramid.messages import say
from xpyramid.warn import warn

Blocks = tuple[Lengths, ...]


@dataclass(frozen=True)
class SourceChunks:
    """The chunks that a level is read in.

    Attributes
    ----------
    blocks : tuple of tuple of int, or None
        Of a dask array, along each dimension; None for what is read region by region.
    on_disk : tuple
        Length of the chunks in the file along each dimension, or the lengths of all of them;
        None where it is not known. Empty where nothing is.
    shared : str
        The first step of a dask graph of which several tasks need one block of the step before:
        such blocks are held until all of them have run. Empty where there is none.
    """

    blocks: Blocks | None = None
    on_disk: tuple[int | Lengths | None, ...] = ()
    shared: str = ""


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
        """Estimate how many bytes all workers together hold at a time.

        Parameters
        ----------
        itemsize : int
            Of a sample, in bytes.
        workers : int
        """
        samples = workers * self.tiling.memory(itemsize) + itemsize * self._waiting(workers)
        return samples + self._handed_up(itemsize) + self._overhead(workers)

    def _handed_up(self, itemsize: int) -> int:
        """Estimate how many bytes wait for tasks of the levels above.

        On each level the children of one node wait, and on that of the waves all of its nodes do.
        """
        tiling, total = self.tiling, 0
        channels, wave_level = tiling.channels, tiling.wave_level(tiling.wave, self._tasks_of_tile)
        for level in range(tiling.tile, tiling.top):
            samples, waiting = tiling.samples(level), tiling.count(level)
            if level != wave_level:
                pairs = zip(tiling.base_shape(level + 1), tiling.base_shape(level), strict=True)
                waiting = min(waiting, math.prod(-(-span // part) for span, part in pairs))
            counted = channels * min(_KEYS, samples // max(1, channels)) * _KEY_BYTES
            values = samples // math.prod(tiling.factors(level + 1)) * itemsize
            total += waiting * (values + counted)
        return total * tiling.outputs

    def _overhead(self, workers: int) -> int:
        """Estimate how many bytes there are beside samples and what is made of them."""
        tiling = self.tiling
        records = sum(map(tiling.count, range(tiling.top + 1))) * tiling.outputs
        fixed = PROCESS_BYTES + workers * WORKER_BYTES
        return fixed + TASK_BYTES * self._alive() + RECORD_BYTES * records

    def _alive(self) -> int:
        """Return about how many tasks the largest graph has: that of a wave, or the last one."""
        tiling, of_tile = self.tiling, self._tasks_of_tile
        merges = tiling.tasks() - tiling.count(tiling.tile)
        together = max(tiling.wave, min(self._group() * of_tile, 16 * tiling.wave))
        last = tiling.count(tiling.wave_level(tiling.wave, of_tile))
        return min(tiling.count(tiling.tile) * of_tile + merges, max(together, 2 * last))

    def _group(self) -> int:
        """Return how many tiles need blocks of each other, at most, and so go into one wave."""
        if self.blocks is None:
            return 1
        tiling = self.tiling
        spans = tiling.base_shape(tiling.tile)
        return math.prod(map(_together, self.blocks, spans, tiling.grid(tiling.tile)))

    @property
    def _tasks_of_tile(self) -> int:
        """The task of a tile, and those of the blocks that it touches."""
        if self.blocks is None:
            return 1
        spans = self.tiling.base_shape(self.tiling.tile)
        fitting = map(fit, self.blocks, spans)
        pairs = zip(spans, fitting, strict=True)
        return 1 + math.prod(-(-span // max(1, *sizes)) for span, sizes in pairs)

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
            together, own = math.prod(touched), tiling.samples(tiling.tile)
            if together == own:
                return 0
            # Tasks of the next level wait for all their tiles, and blocks for the tiles they share.
            above = tiling.base_shape(min(tiling.tile + 1, tiling.top))
            under = math.prod(map(_touched, self.blocks, above))
            return max(workers * together, under) - workers * own
        front = [n if i in cut[1:] else touched[i] for i, n in enumerate(tiling.shape)]
        largest = [math.prod(map(max, blocks)) for blocks in (self.blocks, fitting)]
        return math.prod(front) + workers * sum(largest)


#: What is held beside samples: by the process, whatever is written; by each worker, in its codec,
#: the histogram that it counts, and the allocator; by a task, in a graph and in dask's books; and
#: of a stored object. Measured, see `benchmarks/memory.py`.
PROCESS_BYTES, WORKER_BYTES, TASK_BYTES, RECORD_BYTES = 4 * 2**20, 2 * 2**20, 3 * 2**10, 64

#: Of the histogram of a channel: how many keys there may be, and the bytes of one with its count.
_KEYS, _KEY_BYTES = 2**16, 4


def _touched(blocks: Lengths, span: int) -> int:
    """Return how long the blocks are together, along a dimension, that a tile touches, at most."""
    edges = [0, *accumulate(blocks)]
    longest = 0
    for start in range(0, edges[-1], span):
        first = bisect_right(edges, start) - 1
        last = bisect_left(edges, min(start + span, edges[-1]))
        longest = max(longest, edges[last] - edges[first])
    return longest


def _together(blocks: Lengths, span: int, count: int) -> int:
    """Return the longest run of nodes, along a dimension, without an edge that blocks share."""
    edges = {*accumulate(blocks)}
    ends = [i for i in range(1, count) if i * span in edges]
    return max(b - a for a, b in pairwise((0, *ends, count)))


def passes(
    levels: Sequence[Shape],
    steps: Sequence[Lengths],
    source_chunks: Sequence[SourceChunks],
    itemsize: int,
    limits: Limits,
    *,
    holistic: bool = False,
    copies: int = 2,
    present: Collection[int] = (),
    region: Region | None = None,
    outputs: int = 1,
    channels: int = 0,
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
        Whether the method needs all samples of a window at once. Then the regions that are read
        hold whole windows of all levels that are made of them; levels whose windows are too large
        for that have passes of their own.
    copies : int
        How often the samples of a leaf are there at a time.
    present : collection of int
        Levels that are in their place already, and are not written.
    region : tuple of slice, optional
        Of level 0, to which the passes are limited; see `Tiling.limited_to`.
    outputs : int
        How many reductions are made in each pass.
    channels : int
        How many channels there are whose values are counted on the way.

    Raises
    ------
    PlanError
        If the memory does not do for the smallest tiles.

    Warns
    -----
    CostWarning
        If the memory does for the smallest tiles, but not for all that is needed beside them.
    """

    def make_pass(
        chosen: Sequence[int], writes: Sequence[int], windows: Lengths | None = None
    ) -> Pass:
        used = [levels[k] for k in chosen]
        base, source = used[0], source_chunks[chosen[0]]
        unit, blocks = _unit(base, source, itemsize, limits)
        if windows is not None:
            unit = _with_windows(base, unit, windows)
        tiling = make_tiling(
            base.shape, _strides(totals, chosen), [unit, *(level.stored for level in used[1:])],
            itemsize, workers=limits.workers, memory=limits.memory, gathered=blocks is not None,
            copies=copies if chosen[1:] else 2,
            leaf_bytes=2 * LEAF_BYTES // copies,
            tile_bytes=TILE_BYTES if blocks is None else LEAF_BYTES,  # dask holds all of a tile
            outputs=outputs, channels=channels, region=region,
        )  # fmt: skip
        return _within(Pass(tuple(chosen), tuple(writes), tiling, blocks), itemsize, limits)

    totals = list(accumulate(steps, times, initial=(1,) * len(levels[0].shape)))
    missing = [k for k in range(len(levels)) if k not in present]
    if len(source_chunks) > 1:
        yield from (make_pass([k], [k]) for k in missing)
    elif not holistic and missing:
        yield make_pass(range(len(levels)), missing)
    elif missing:
        base = levels[0]
        unit, _ = _unit(base, source_chunks[0], itemsize, limits)
        together = [
            k for k in missing
            if _is_small_enough(_with_windows(base, unit, totals[k]), base, itemsize, limits)
        ]  # fmt: skip
        for group in (together, *([k] for k in missing if k not in together)):
            chosen = [0, *(k for k in group if k)]
            if group:
                yield make_pass(chosen, group, totals[chosen[-1]] if chosen[1:] else None)


def _within(largest: Pass, itemsize: int, limits: Limits) -> Pass:
    """Return a pass with tiles and waves that are small enough for the memory."""
    if limits.memory is None:
        return largest
    candidates = [
        replace(largest, tiling=replace(largest.tiling.with_tile(tile), wave=WAVE >> shift))
        for tile in range(largest.tiling.tile, -1, -1)
        for shift in range(0, 9, 2)
    ]
    needs = [candidate.memory(itemsize, limits.workers) for candidate in candidates]
    fitting = (c for c, need in zip(candidates, needs, strict=True) if need <= limits.memory)
    chosen = next(fitting, None)
    if chosen is not None:
        return chosen
    least = min(needs)
    warn(
        say("{memory} is too little for ", memory=limits.memory)
        + f"{limits.workers} worker{'s' if limits.workers > 1 else ''}: even with the smallest "
        f"tiles, they need about {least} bytes together, for samples, blocks of a dask array, "
        "tasks and codecs; allow that much, or use smaller chunks, shards or dask blocks, or fewer "
        "workers",
        CostWarning,
    )
    return candidates[needs.index(least)]


def memory_together(passes: Iterable[tuple[Pass, int]], workers: int) -> int:
    """Estimate how many bytes passes hold that run together: the largest tiles, and all else.

    Parameters
    ----------
    passes : iterable of (Pass, int)
        Each with the bytes of a sample.
    workers : int
    """
    fixed = PROCESS_BYTES + workers * WORKER_BYTES
    tiles, beside = [0], 0
    for image_pass, itemsize in passes:
        tiles.append(workers * image_pass.tiling.memory(itemsize))
        beside += image_pass.memory(itemsize, workers) - tiles[-1] - fixed
    return fixed + max(tiles) + beside


def check_together(passes: Sequence[tuple[Pass, int]], limits: Limits) -> None:
    """Warn where passes that run together need more memory than allowed.

    Warns
    -----
    CostWarning
    """
    need = memory_together(passes, limits.workers)
    if limits.memory is not None and len(passes) > 1 and need > limits.memory:
        warn(
            say("{memory} is too little for ", memory=limits.memory)
            + f"{len(passes)} passes that run together, mostly one for each variable: they need "
            f"about {need} bytes; allow that much, or write the variables one after the other",
            CostWarning,
        )


def _strides(totals: Sequence[Lengths], chosen: Sequence[int]) -> list[Lengths]:
    """Return the factors from each of some levels to the next of them."""
    pairs = pairwise(totals[k] for k in chosen)
    return [tuple(b // a for a, b in zip(*pair, strict=True)) for pair in pairs]


def _unit(
    level: Shape, source: SourceChunks, itemsize: int, limits: Limits
) -> tuple[Lengths, Blocks | None]:
    """Return the region that is read at a time, and the blocks of dask that it is read through."""
    if source.blocks is not None:
        return level.stored, source.blocks
    joined = _joined(level, source, itemsize, limits)
    return (level.stored, _wrapped(level, source)) if joined is None else (joined, None)


def _joined(level: Shape, source: SourceChunks, itemsize: int, limits: Limits) -> Lengths | None:
    """Return regions of whole chunks of both source and target, None where they get too large.

    What is read in such regions is read once.
    """
    lengths = [chunk or 1 for chunk in source.on_disk] or [1] * len(level.shape)
    chunks = [chunk for chunk in lengths if isinstance(chunk, int)]
    if len(chunks) != len(lengths):  # of several lengths
        return None
    region = _with_windows(level, level.stored, tuple(chunks))
    return region if _is_small_enough(region, level, itemsize, limits) else None


def _with_windows(level: Shape, unit: Lengths, windows: Lengths) -> Lengths:
    """Return the smallest regions of a level of whole units and whole windows."""
    triples = zip(unit, windows, level.shape, strict=True)
    return tuple(min(math.lcm(length, window), max(1, n)) for length, window, n in triples)


def _is_small_enough(region: Lengths, level: Shape, itemsize: int, limits: Limits) -> bool:
    """Whether a region is small enough to be read in one piece; a stored object always is."""
    limit = 4 * LEAF_BYTES
    if limits.memory is not None:  # a worker holds a region as it is read, encoded, and reduced
        for_samples = limits.memory - PROCESS_BYTES - limits.workers * WORKER_BYTES
        limit = min(limit, max(0, for_samples) // (4 * limits.workers))
    limit = max(limit, math.prod(level.stored) * itemsize)
    return math.prod(region) * itemsize <= limit


def _wrapped(level: Shape, source: SourceChunks) -> Blocks:
    """Return the blocks that dask reads in, where regions get too large."""
    triples = zip(level.shape, source.on_disk, level.stored, strict=True)
    return tuple(
        regular(n, chunk or length) if not isinstance(chunk, tuple) else chunk
        for n, chunk, length in triples
    )
