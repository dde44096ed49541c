"""What a task does: read, reduce, write, and hand up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from xpyramid.engine.statistics import Observer, Statistics, merge
from xpyramid.geometry.tiles import Index, Node, Region, Tiling, relative
from xpyramid.reducers import Array, Part, Reducer, State, Window, climb, place

Read = Callable[[Region], Array]

#: Where the values of a region of a level go. Called once for each stored object.
Sink = Callable[[Region, Array], None]


class Handed(NamedTuple):
    """What a node hands up: all that can be said of the levels above from its samples alone.

    Attributes
    ----------
    values : tuple of ndarray
        Of its cells of the levels above, up to the last of which it covers whole windows.
    state : tuple of ndarray
        Of its cells of that last level, where there are levels above it.
    seen : Statistics
        Of the base.
    """

    values: tuple[Array, ...]
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
        """Write all that lies in a node, and return what the levels above need of it."""
        tiling, base = self.tiling, self.tiling.base(level, index)
        if level > tiling.leaf:
            below = [(c, self.node(level - 1, c, read)) for c in tiling.children(level, index)]
            return self.join(level, index, *zip(*below, strict=True))
        block = read(base)
        self._write(0, base, block)
        seen = self.observe(base, block) if self.observe else {}
        if tiling.top == 0:
            return Handed((), (), seen)
        top = tiling.settled(level)
        keep = top < tiling.top
        values, state = climb(block, tiling.steps[:top], self.reducer, keep=keep)
        for k in range(1, level + 1):
            self._write(k, tiling.over(base, k), values[k - 1])
        return Handed(tuple(values[level:]), state if keep else (), seen)

    def join(
        self, level: int, index: Index, below: Sequence[Index], handed: Sequence[Handed]
    ) -> Handed:
        """Write the cells of a node that its children hold, and return what is needed above."""
        tiling, base = self.tiling, self.tiling.base(level, index)
        parts = [tiling.base(level - 1, child) for child in below]
        known = tiling.settled(level - 1)
        values: list[Array] = []
        for k in range(level, known + 1):
            pieces = [(one.values[k - level],) for one in handed]
            values += place(self._parts(pieces, parts, base, k), _shape(tiling.over(base, k)))
        self._write(level, tiling.over(base, level), values[0])
        state: State = ()
        if known < tiling.top:
            held = self._parts([one.state for one in handed], parts, base, known)
            state = self.reducer.assemble(held, _shape(tiling.over(base, known)))
            more, state = self._climb(state, base, known, tiling.settled(level))
            values += more
        return Handed(tuple(values[1:]), state, merge(one.seen for one in handed))

    def _climb(self, state: State, base: Region, level: int, top: int) -> tuple[list[Array], State]:
        """Return the values of the levels above one, up to a top, and the state of that."""
        values = []
        for k in range(level + 1, top + 1):
            state = self.reducer.combine(state, self.tiling.steps[k - 1])
            values.append(self._values(state, base, k))
        return values, state if top < self.tiling.top else ()

    def _values(self, state: State, base: Region, level: int) -> Array:
        return self.reducer.finalise(state, Window(_shape(base), self.tiling.factors(level)))

    def _parts(
        self, states: Sequence[State], bases: Sequence[Region], whole: Region, level: int
    ) -> list[Part]:
        """Return where states of a level lie in the cells over a region of level 0."""
        tiling = self.tiling
        origin = [part.start for part in tiling.over(whole, level)]
        parts = []
        for state, base in zip(states, bases, strict=True):
            where = relative(tiling.over(base, level), origin)
            parts.append(Part(where, state, Window(_shape(base), tiling.factors(level))))
        return parts

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
