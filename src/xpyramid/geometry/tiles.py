"""How the work on a pyramid is divided: pure geometry.

A *node* of level ``k`` is a region of that level that holds whole stored objects. Below it lie the
nodes of level ``k - 1`` that cover the same part of the base; so the nodes form a tree, and every
stored object of every level belongs to one node. A *leaf* node reads its part of the base in one
call; a *tile* is a node that is one task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from xpyramid.errors import PlanError

Region = tuple[slice, ...]
Index = tuple[int, ...]
Lengths = tuple[int, ...]

#: Level and index.
Node = tuple[int, Index]

#: Base samples that a leaf reads at a time, and that a task goes through, in bytes. Larger leaves
#: cost memory, smaller ones calls; larger tasks leave workers idle at the end.
LEAF_BYTES = 8 * 2**20
TILE_BYTES = 64 * 2**20

#: What a cell's state takes, roughly: sums and counts, or the label lists of a segmentation.
STATE_BYTES = 16

#: Tasks of one graph, those that compute blocks of the base included.
WAVE = 16384


def times(a: Lengths, b: Lengths) -> Lengths:
    """Return the factors of two steps together."""
    return tuple(x * y for x, y in zip(a, b, strict=True))


@dataclass(frozen=True)
class Tiling:
    """The tree of nodes.

    Attributes
    ----------
    shape : tuple of int
        Of level 0.
    steps : tuple of tuple of int
        ``steps[k]`` are the factors from level ``k`` to level ``k + 1``.
    spans : tuple of tuple of int
        Shape of the nodes of each level, in its cells; those at an end are smaller.
    leaf : int
        Level of the leaves.
    tile : int
        Level of the tiles.
    copies : int
        How often the samples of a leaf are there at a time.
    gathered : bool
        Whether all samples of a tile are there before its task begins, in blocks.
    outputs : int
        How many reductions are made of a leaf while it is there.
    channels : int
        How many channels there are whose values are counted on the way.
    wave : int
        How many tasks there may be in a graph.
    within : tuple of slice, or None
        The region of level 0 that the work is on, whole windows of the top; None is all of level 0.
        There are no nodes outside, and those at its edges are clipped. See `limited_to`.
    """

    shape: Lengths
    steps: tuple[Lengths, ...]
    spans: tuple[Lengths, ...]
    leaf: int = 0
    tile: int = 0
    copies: int = 2
    gathered: bool = False
    outputs: int = 1
    channels: int = 0
    wave: int = WAVE
    within: Region | None = None

    @property
    def top(self) -> int:
        """The coarsest level."""
        return len(self.steps)

    def factors(self, level: int) -> Lengths:
        """Cumulative factors of a level."""
        return self._totals[level]

    @cached_property
    def _totals(self) -> tuple[Lengths, ...]:
        """Cumulative factors of all levels: every task asks for them many times."""
        return tuple(
            tuple(math.prod(step[i] for step in self.steps[:level]) for i in range(len(self.shape)))
            for level in range(self.top + 1)
        )

    def level_shape(self, level: int) -> Lengths:
        """Shape of a level, partial windows included."""
        return tuple(-(-n // f) for n, f in zip(self.shape, self.factors(level), strict=True))

    def base_shape(self, level: int) -> Lengths:
        """Return the samples of level 0 under a whole node, along each dimension."""
        return tuple(a * f for a, f in zip(self.spans[level], self.factors(level), strict=True))

    def align(self, region: Region) -> Region:
        """Return a region of level 0, rounded outward to whole windows of the top.

        What lies above such a region can be told from its samples alone, on every level.

        Raises
        ------
        PlanError
            For slices with steps, or another number of them than there are dimensions.
        """
        if len(region) != len(self.shape) or any(part.step not in (None, 1) for part in region):
            raise PlanError(
                f"region={region} of an array of shape {self.shape}",
                accepted=f"a slice without a step for each of the {len(self.shape)} dimensions",
            )
        aligned = []
        for part, f, n in zip(region, self.factors(self.top), self.shape, strict=True):
            start, stop, _ = part.indices(n)
            first = start // f * f
            aligned.append(slice(first, min(-(-stop // f) * f, n) if start < stop else first))
        return tuple(aligned)

    def limited_to(self, region: Region) -> Tiling:
        """Return a tiling of only what lies above a region of level 0, rounded outward by `align`.

        Nodes are clipped to that region. Those at its edges then hold parts of stored objects, but
        still no two nodes hold parts of the same one.
        """
        return replace(self, within=self.align(region))

    def with_tile(self, level: int) -> Tiling:
        """Return the tiling with smaller tiles: the nodes of a level."""
        return replace(self, tile=level, leaf=min(self.leaf, level))

    def extent(self, level: int) -> Region:
        """Return the cells of a level that the work is on."""
        return self._extents[level]

    @cached_property
    def _extents(self) -> tuple[Region, ...]:
        within = self.within or tuple(slice(0, n) for n in self.shape)
        return tuple(self.coarse_region(within, level) for level in range(self.top + 1))

    def grid(self, level: int) -> Lengths:
        """Return how many nodes cover all of a level along each dimension."""
        pairs = zip(self.level_shape(level), self.spans[level], strict=True)
        return tuple(-(-n // span) for n, span in pairs)

    def node_ranges(self, level: int) -> tuple[range, ...]:
        """Return the indexes of the nodes of a level that the work is on, along each dimension."""
        pairs = zip(self.extent(level), self.spans[level], strict=True)
        return tuple(
            range(part.start // span, -(-part.stop // span) if part.start < part.stop else 0)
            for part, span in pairs
        )

    def region(self, level: int, index: Index) -> Region:
        """Return the cells of a node."""
        ends = zip(index, self.spans[level], self.extent(level), strict=True)
        return tuple(
            slice(max(i * span, part.start), min((i + 1) * span, part.stop))
            for i, span, part in ends
        )

    def base_region(self, level: int, index: Index) -> Region:
        """Return the samples of level 0 under a node."""
        ends = zip(self.region(level, index), self.factors(level), self.shape, strict=True)
        return tuple(slice(r.start * f, min(r.stop * f, n)) for r, f, n in ends)

    def coarse_region(self, base: Region, level: int) -> Region:
        """Return the cells of a level whose windows a region of level 0 begins and ends with."""
        pairs = zip(base, self.factors(level), strict=True)
        return tuple(slice(part.start // f, -(-part.stop // f)) for part, f in pairs)

    def last_complete_level(self, level: int) -> int:
        """Return the coarsest level whose windows the nodes of a level do not cut."""
        ends = list(zip(self.base_shape(level), self.shape, strict=True))
        top = level
        while top < self.top and all(
            reach % f == 0 or reach >= n
            for (reach, n), f in zip(ends, self.factors(top + 1), strict=True)
        ):
            top += 1
        return top

    def children(self, level: int, index: Index) -> Iterator[Index]:
        """Yield the nodes of the level below that make up a node."""
        ends = []
        for i, span, step, below, nodes in zip(
            index, self.spans[level], self.steps[level - 1], self.spans[level - 1],
            self.node_ranges(level - 1), strict=True,
        ):  # fmt: skip
            first, stop = i * span * step // below, -(-(i + 1) * span * step // below)
            ends.append(range(max(first, nodes.start), min(stop, nodes.stop)))
        yield from product(*ends)

    def descendants(self, level: int, index: Index, below: int) -> Iterator[Index]:
        """Yield the nodes of a lower level that make up a node, neighbours together."""
        if level == below:
            yield index
            return
        for child in self.children(level, index):
            yield from self.descendants(level - 1, child, below)

    def nodes(self, level: int) -> Iterator[Index]:
        """Yield all nodes of a level, neighbours together."""
        for index in product(*self.node_ranges(self.top)):
            yield from self.descendants(self.top, index, level)

    def count(self, level: int) -> int:
        """Return the number of nodes of a level."""
        return math.prod(map(len, self.node_ranges(level)))

    def samples(self, level: int) -> int:
        """Return the number of samples of level 0 under the largest node of a level."""
        pairs = zip(self.base_shape(level), self.extent(0), strict=True)
        return math.prod(min(reach, part.stop - part.start) for reach, part in pairs)

    def tasks(self) -> int:
        """Return the number of tasks: tiles, and nodes above them."""
        return sum(self.count(level) for level in range(self.tile, self.top + 1))

    def tasks_under(self, level: int, of_tile: int) -> float:
        """Return the mean number of tasks for a node of a level.

        Parameters
        ----------
        level : int
        of_tile : int
            Tasks for a tile: its own, and those of its blocks.
        """
        return self.count(self.tile) * of_tile / max(1, self.count(level))

    def wave_level(self, wave: int, of_tile: int) -> int:
        """Return the highest level whose nodes have few enough tasks for a wave."""
        levels = range(self.tile, self.top + 1)
        fitting = (k for k in levels if self.tasks_under(k, of_tile) <= wave)
        return max(fitting, default=self.tile)

    def memory(self, itemsize: int) -> int:
        """Estimate how many bytes a worker holds at a time.

        A leaf is there as it is read, as it is encoded, and as states of its levels; for each level
        above, up to the tile, the states that the children hand up are there, and put together.
        There are states of each output.
        """
        nbytes = self.copies * self.samples(self.leaf) * itemsize
        nbytes += self.gathered * self.samples(self.tile) * itemsize
        states = STATE_BYTES * self.outputs
        nbytes += states * self._cells_under(min(1, self.top), self.leaf)
        for level in range(self.leaf + 1, self.tile + 1):
            nbytes += 2 * states * self._cells_under(level, level)
        return nbytes

    def _cells_under(self, level: int, node: int) -> int:
        """Return how many cells of a level lie under a node of a level."""
        triples = zip(self.base_shape(node), self.extent(0), self.factors(level), strict=True)
        return math.prod(-(-min(reach, p.stop - p.start) // f) for reach, p, f in triples)


def make_tiling(
    shape: Lengths,
    steps: Sequence[Lengths],
    objects: Sequence[Lengths],
    itemsize: int,
    *,
    workers: int = 1,
    memory: int | None = None,
    leaf_bytes: int = LEAF_BYTES,
    tile_bytes: int = TILE_BYTES,
    copies: int = 2,
    gathered: bool = False,
    outputs: int = 1,
    channels: int = 0,
    region: Region | None = None,
) -> Tiling:
    """Divide the work on a pyramid.

    Parameters
    ----------
    shape : tuple of int
        Of level 0.
    steps : sequence of tuple of int
        Factors of each step.
    objects : sequence of tuple of int
        Shape of the stored objects (chunks, or shards) of each level.
    itemsize : int
        Of a sample, in bytes.
    workers : int
        How many tasks run at the same time: there should be several for each.
    memory : int, optional
        What all workers together may hold, in bytes.
    leaf_bytes, tile_bytes : int
        The largest leaves and tiles, where a stored object is not larger.
    copies, gathered, outputs, channels
        See `Tiling`.
    region : tuple of slice, optional
        Of level 0, to which the work is limited; see `Tiling.limited_to`.

    Raises
    ------
    PlanError
        If the memory does not do for the smallest tiles.
    """
    spans = _spans(shape, steps, objects)
    tiling = Tiling(
        tuple(shape), tuple(steps), spans, copies=copies, gathered=gathered, outputs=outputs,
        channels=channels,
    )  # fmt: skip
    if region is not None:
        tiling = tiling.limited_to(region)
    sizes = [tiling.samples(level) * itemsize for level in range(len(objects))]
    leaf = max((k for k, size in enumerate(sizes) if size <= leaf_bytes), default=0)
    tile = max((k for k, size in enumerate(sizes) if size <= tile_bytes), default=0)
    while tile > 0 and tiling.count(tile) < 4 * workers:
        tile -= 1
    tiling = replace(tiling, leaf=min(leaf, tile), tile=tile)
    while memory is not None and workers * tiling.memory(itemsize) > memory:
        if tiling.tile == 0:
            raise PlanError(
                f"memory of {memory} bytes for {workers} workers; a worker that writes "
                f"one stored object of shape {tuple(objects[0])} needs about "
                f"{tiling.memory(itemsize)}",
                accepted="more memory, smaller chunks or shards, fewer workers",
            )
        tiling = tiling.with_tile(tiling.tile - 1)
    return tiling


def relative(region: Sequence[slice], origin: Sequence[int]) -> Region:
    """Return a region as it is counted from an origin."""
    pairs = zip(region, origin, strict=True)
    return tuple(slice(part.start - start, part.stop - start) for part, start in pairs)


def _spans(
    shape: Lengths, steps: Sequence[Lengths], objects: Sequence[Lengths]
) -> tuple[Lengths, ...]:
    """Return the shape of the nodes of each level."""
    none = (1,) * len(shape)
    spans: list[Lengths] = []
    cells = tuple(shape)
    for level, lengths in enumerate(objects):
        step = steps[level - 1] if level else none
        above = steps[level] if level < len(steps) else none
        cells = tuple(-(-n // f) for n, f in zip(cells, step, strict=True))
        below = spans[-1] if spans else none
        spans.append(tuple(map(_span, cells, lengths, step, below, above)))
    return tuple(spans)


def _span(cells: int, length: int, step: int, below: int, next_step: int) -> int:
    """Return how long a node is: whole objects, whole nodes below, and whole windows above."""
    span = math.lcm(length, below // math.gcd(below, step), next_step)
    return max(1, min(span, cells))
