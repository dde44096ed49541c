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
from itertools import product

Region = tuple[slice, ...]
Index = tuple[int, ...]
Lengths = tuple[int, ...]

#: Base samples that a leaf reads at a time, and that a task goes through, in bytes. Larger leaves
#: cost memory, smaller ones calls; larger tasks leave workers idle at the end.
LEAF_BYTES = 8 * 2**20
TILE_BYTES = 64 * 2**20


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
    """

    shape: Lengths
    steps: tuple[Lengths, ...]
    spans: tuple[Lengths, ...]
    leaf: int = 0
    tile: int = 0

    @property
    def top(self) -> int:
        """The coarsest level."""
        return len(self.steps)

    def factors(self, level: int) -> Lengths:
        """Cumulative factors of a level."""
        return tuple(math.prod(s[i] for s in self.steps[:level]) for i in range(len(self.shape)))

    def cells(self, level: int) -> Lengths:
        """Shape of a level, partial windows included."""
        return tuple(-(-n // f) for n, f in zip(self.shape, self.factors(level), strict=True))

    def reach(self, level: int) -> Lengths:
        """Return the samples of level 0 under a whole node, along each dimension."""
        return tuple(a * f for a, f in zip(self.spans[level], self.factors(level), strict=True))

    def grid(self, level: int) -> Lengths:
        """Return the number of nodes of a level along each dimension."""
        pairs = zip(self.cells(level), self.spans[level], strict=True)
        return tuple(-(-n // span) for n, span in pairs)

    def region(self, level: int, index: Index) -> Region:
        """Return the cells of a node."""
        ends = zip(index, self.spans[level], self.cells(level), strict=True)
        return tuple(slice(i * span, min((i + 1) * span, n)) for i, span, n in ends)

    def base(self, level: int, index: Index) -> Region:
        """Return the samples of level 0 under a node."""
        ends = zip(self.region(level, index), self.factors(level), self.shape, strict=True)
        return tuple(slice(r.start * f, min(r.stop * f, n)) for r, f, n in ends)

    def children(self, level: int, index: Index) -> Iterator[Index]:
        """Yield the nodes of the level below that make up a node."""
        ends = []
        for i, span, step, below, n in zip(
            index, self.spans[level], self.steps[level - 1], self.spans[level - 1],
            self.grid(level - 1), strict=True,
        ):  # fmt: skip
            ends.append(range(i * span * step // below, min(-(-(i + 1) * span * step // below), n)))
        yield from product(*ends)

    def under(self, level: int, index: Index, wanted: int) -> Iterator[Index]:
        """Yield the nodes of a lower level that make up a node, neighbours together."""
        if level == wanted:
            yield index
            return
        for child in self.children(level, index):
            yield from self.under(level - 1, child, wanted)

    def nodes(self, level: int) -> Iterator[Index]:
        """Yield all nodes of a level, neighbours together."""
        for index in product(*map(range, self.grid(self.top))):
            yield from self.under(self.top, index, level)

    def count(self, level: int) -> int:
        """Return the number of nodes of a level."""
        return math.prod(self.grid(level))

    def samples(self, level: int) -> int:
        """Return the number of samples of level 0 under the largest node of a level."""
        return math.prod(min(r, n) for r, n in zip(self.reach(level), self.shape, strict=True))


def make_tiling(
    shape: Lengths,
    steps: Sequence[Lengths],
    objects: Sequence[Lengths],
    itemsize: int,
    *,
    workers: int = 1,
    leaf_bytes: int = LEAF_BYTES,
    tile_bytes: int = TILE_BYTES,
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
    leaf_bytes, tile_bytes : int
        The largest leaves and tiles, where a stored object is not larger.
    """
    tiling = Tiling(tuple(shape), tuple(steps), ())
    spans: list[Lengths] = []
    for level, lengths in enumerate(objects):
        below = spans[-1] if spans else (1,) * len(shape)
        step = steps[level - 1] if level else (1,) * len(shape)
        next_step = steps[level] if level < len(steps) else (1,) * len(shape)
        cells = tiling.cells(level)
        spans.append(
            tuple(
                _span(n, length, f, span, g)
                for n, length, f, span, g in zip(
                    cells, lengths, step, below, next_step, strict=True
                )
            )
        )
    tiling = replace(tiling, spans=tuple(spans))
    sizes = [tiling.samples(level) * itemsize for level in range(len(spans))]
    leaf = max((k for k, size in enumerate(sizes) if size <= leaf_bytes), default=0)
    tile = max((k for k, size in enumerate(sizes) if size <= tile_bytes), default=0)
    while tile > leaf and tiling.count(tile) < 8 * workers:
        tile -= 1
    while leaf > 0 and tiling.count(leaf) < 8 * workers and sizes[leaf] > leaf_bytes // 8:
        leaf -= 1
    return replace(tiling, leaf=leaf, tile=max(leaf, tile))


def _span(cells: int, length: int, step: int, below: int, next_step: int) -> int:
    """Return how long a node is: whole objects, whole nodes below, and whole windows above."""
    span = math.lcm(length, below // math.gcd(below, step), next_step)
    return max(1, min(span, cells))
