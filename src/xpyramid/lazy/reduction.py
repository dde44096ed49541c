"""From a region of level 0 to the cells above it, by as little memory as that takes.

Where windows are so large that a few of them do not fit, a region is read block by block: each is
reduced to the state of a level between, and those are put together and combined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate, product

from xpyramid.geometry.tiles import LEAF_BYTES, Lengths, Region, relative, times
from xpyramid.reducers import (
    Part,
    Reducer,
    Window,
    reduce_block,
    reduce_levels_with_state,
)
from xpyramid.types import Array

ReadRegion = Callable[[Region], Array]


@dataclass(frozen=True)
class Reduction:
    """How cells are made from samples of level 0.

    Attributes
    ----------
    steps : tuple of tuple of int
        Factors of each step; none for the values of level 0 itself.
    reducer : Reducer
    chunks : tuple of int
        In which level 0 is read best.
    itemsize : int
        Of its samples, in bytes.
    """

    steps: tuple[Lengths, ...]
    reducer: Reducer
    chunks: Lengths
    itemsize: int

    @cached_property
    def factors(self) -> Lengths:
        """Those of all steps together."""
        return reduce(times, self.steps, (1,) * len(self.chunks))

    def cells(self, read: ReadRegion, region: Region) -> Array:
        """Return the cells over a region of level 0.

        Parameters
        ----------
        read : callable
            Returns the samples of a region.
        region : tuple of slice
            Of level 0; whole windows, but for those that the end of the array cuts off.
        """
        blocks = self._blocks(region)
        if blocks is None:
            return self._of_block(read(region))
        level, span = blocks
        return self._of_blocks(read, region, level, span)

    def nbytes(self, cells: Sequence[int]) -> int:
        """Return the bytes of level 0 under some cells."""
        return math.prod(cells) * math.prod(self.factors) * self.itemsize

    def _of_block(self, block: Array) -> Array:
        if self.steps:
            return reduce_block(block, self.steps, self.reducer)
        return block if self.reducer.base is None else self.reducer.base(block)

    def _blocks(self, region: Region) -> tuple[int, Lengths] | None:
        """Return the level to whose states a region is reduced block by block, and their shape.

        None where it is to be read in one go: it is small, all samples are needed at once, or its
        chunks are large. Blocks are as long as a chunk at least, so that few chunks are read twice.
        """
        lengths = [part.stop - part.start for part in region]
        if self.reducer.holistic or math.prod(lengths) * self.itemsize <= LEAF_BYTES:
            return None
        totals = [*accumulate(self.steps[:-1], times)]
        for level, factors in reversed([*enumerate(totals, 1)]):
            span = tuple(-(-n // f) * f for n, f in zip(self.chunks, factors, strict=True))
            if math.prod(map(min, span, lengths)) * self.itemsize <= LEAF_BYTES:
                return level, span
        return None

    def _of_blocks(self, read: ReadRegion, region: Region, level: int, span: Lengths) -> Array:
        reducer, steps = self.reducer, self.steps
        factors = reduce(times, steps[:level])
        parts = []
        for block in _divided(region, span):
            samples = read(block)
            _, state = reduce_levels_with_state(samples, steps[:level], reducer, keep=True)
            window = Window(samples.shape, factors)
            starts = relative(block, [part.start for part in region])
            where = tuple(
                slice(part.start // f, part.start // f + n)
                for part, f, n in zip(starts, factors, window.cells, strict=True)
            )
            parts.append(Part(where, state or (), window))
        lengths = tuple(part.stop - part.start for part in region)
        state = reducer.assemble(parts, Window(lengths, factors).cells)
        for step in steps[level:]:
            state = reducer.combine(state, step)
        values: Array = reducer.finalise(state, Window(lengths, self.factors))
        return values


def _divided(region: Region, span: Lengths) -> Iterator[Region]:
    """Yield the blocks of a region, each as long as a span, but for the last ones."""
    lines = [
        [slice(i, min(i + n, part.stop)) for i in range(part.start, part.stop, n)]
        for part, n in zip(region, span, strict=True)
    ]
    yield from product(*lines)
