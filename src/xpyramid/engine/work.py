"""What a task does: read, reduce, write, and hand up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from xpyramid.engine.statistics import Observer, Statistics, merge
from xpyramid.reducers import Array, Part, Reducer, State, Window
from xpyramid.tiles import Index, Node, Region, Tiling

Read = Callable[[Region], Array]

#: Where the values of a region of a level go. Called once for each stored object.
Sink = Callable[[Region, Array], None]


class Handed(NamedTuple):
    """What a node hands up: its part of the state above, and what was seen of the base."""

    state: State
    seen: Statistics


class Journal(Protocol):
    """What keeps what tasks have handed up."""

    @property
    def done(self) -> frozenset[Node]:
        """Nodes whose tasks an earlier run has done."""

    def load(self, node: Node) -> Handed:
        """Return what such a task has handed up."""

    def save(self, node: Node, handed: Handed) -> None:
        """Keep what a task hands up; all that it writes is written."""


@dataclass(frozen=True)
class Work:
    """Everything that tasks of one pyramid have in common.

    Attributes
    ----------
    tiling : Tiling
    reducer : Reducer
    shapes : tuple of tuple of int
        Of the levels that are written; shorter than the tiling's where windows are trimmed.
    sinks : tuple of callable or None
        One for each level; None where a level is there already.
    observe : Observer or None
        Looks at the base on its way through.
    journal : Journal or None
    """

    tiling: Tiling
    reducer: Reducer
    shapes: tuple[tuple[int, ...], ...]
    sinks: tuple[Sink | None, ...]
    observe: Observer | None = None
    journal: Journal | None = None

    @property
    def done(self) -> frozenset[Node]:
        """Nodes whose tasks need not run."""
        return frozenset() if self.journal is None else self.journal.done

    def node(self, level: int, index: Index, read: Read) -> Handed:
        """Write all that lies in a node, and return what the level above needs of it."""
        tiling = self.tiling
        if level > tiling.leaf:
            below = [(c, self.node(level - 1, c, read)) for c in tiling.children(level, index)]
            return self.join(level, index, *zip(*below, strict=True))
        block = read(tiling.base(level, index))
        self._write(0, tiling.base(level, index), block)
        seen = self.observe(tiling.base(level, index), block) if self.observe else {}
        if tiling.top == 0:
            return Handed((), seen)
        state = self.reducer.chunk(block, tiling.steps[0])
        for k in range(1, level + 1):
            state = self._finish(k, tiling.base(level, index), state)
        return Handed(state, seen)

    def join(
        self, level: int, index: Index, below: Sequence[Index], handed: Sequence[Handed]
    ) -> Handed:
        """Write the cells of a node that its children hold, and return what is needed above."""
        tiling, step = self.tiling, self.tiling.steps[level - 1]
        here = tiling.region(level, index)
        parts = []
        for child, (state, _) in zip(below, handed, strict=True):
            region = tiling.region(level - 1, child)
            where = tuple(
                slice(r.start // f - h.start, -(-r.stop // f) - h.start)
                for r, f, h in zip(region, step, here, strict=True)
            )
            window = Window(_shape(tiling.base(level - 1, child)), tiling.factors(level))
            parts.append(Part(where, state, window))
        state = self.reducer.assemble(parts, _shape(here))
        state = self._finish(level, tiling.base(level, index), state)
        return Handed(state, merge(one.seen for one in handed))

    def _finish(self, level: int, base: Region, state: State) -> State:
        """Write the values of a state of a level; return its part of the state above."""
        tiling = self.tiling
        factors = tiling.factors(level)
        values = self.reducer.finalise(state, Window(_shape(base), factors))
        start = [b.start // f for b, f in zip(base, factors, strict=True)]
        region = tuple(slice(s, s + n) for s, n in zip(start, values.shape, strict=True))
        self._write(level, region, values)
        if level == tiling.top:
            return ()
        return self.reducer.combine(state, tiling.steps[level])

    def _write(self, level: int, region: Region, values: Array) -> None:
        """Hand values to a level's sink, without what is trimmed."""
        sink = self.sinks[level]
        kept = tuple(
            slice(r.start, min(r.stop, n)) for r, n in zip(region, self.shapes[level], strict=True)
        )
        if sink is not None and all(r.start < r.stop for r in kept):
            sink(kept, values[tuple(slice(r.stop - r.start) for r in kept)])

    def written(self, node: Node | None = None) -> int:
        """Return the bytes that the task of a node writes, or all of them together."""
        tiling = self.tiling
        levels, base = range(tiling.top + 1), tuple(slice(0, n) for n in tiling.shape)
        if node is not None:
            levels = range(0 if node[0] == tiling.tile else node[0], node[0] + 1)
            base = tiling.base(*node)
        return self.reducer.dtype.itemsize * sum(
            math.prod(Window(_shape(base), tiling.factors(k)).cells)
            for k in levels
            if self.sinks[k] is not None
        )


def _shape(region: Region) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in region)
