"""What a task does: read, reduce, write, and hand up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from xpyramid.engine.statistics import Observer, Statistics, merge
from xpyramid.reducers import Array, Part, Reducer, State, Window, climb, place
from xpyramid.tiles import Index, Node, Region, Tiling, relative

Read = Callable[[Region], Array]

#: Where the values of a region of a level go. Called once for each stored object.
Sink = Callable[[Region, Array], None]


class Handed(NamedTuple):
    """What a node hands up of an output: all that its samples alone say of the levels above.

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


#: Of each output.
AllHanded = tuple[Handed, ...]


class Journal(Protocol):
    """What keeps what tasks have handed up of an output."""

    @property
    def done(self) -> frozenset[Node]:
        """Nodes whose tasks an earlier run has done."""

    def load(self, node: Node) -> Handed:
        """Return what such a task has handed up."""

    def save(self, node: Node, handed: Handed) -> None:
        """Keep what a task hands up; all that it writes is written."""


@dataclass(frozen=True)
class Output:
    """One of the pyramids that a pass makes of its base.

    Attributes
    ----------
    reducer : Reducer
    shapes : tuple of tuple of int
        Of the levels that are written; shorter than the tiling's where windows are trimmed.
    sinks : tuple of callable or None
        One for each level; None where a level is there already.
    observe : Observer or None
        Looks at the base on its way through.
    journal : Journal or None
        Keeps what tasks have handed up of this output.
    """

    reducer: Reducer
    shapes: tuple[tuple[int, ...], ...]
    sinks: tuple[Sink | None, ...]
    observe: Observer | None = None
    journal: Journal | None = None

    @property
    def done(self) -> frozenset[Node]:
        """Nodes whose tasks need not run for this output."""
        return frozenset() if self.journal is None else self.journal.done


@dataclass(frozen=True)
class Work:
    """Everything that the tasks of one pass have in common.

    A part of the base is read once, and then reduced and written for each output. An output whose
    journal says that an earlier run has done a task is left out of it, and what it handed up then
    is loaded.

    Attributes
    ----------
    tiling : Tiling
    outputs : tuple of Output
    """

    tiling: Tiling
    outputs: tuple[Output, ...]

    def is_done(self, node: Node) -> bool:
        """Whether the task of a node need not run for any output."""
        return all(node in output.done for output in self.outputs)

    def observed(self, observer: Observer) -> Work:
        """Return a work of which each output has an observer of the base."""
        return replace(
            self, outputs=tuple(replace(output, observe=observer) for output in self.outputs)
        )

    def tile(self, level: int, index: Index, read: Read) -> AllHanded:
        """Run the task of a tile: a node whose samples are read."""
        left = self._left((level, index))
        return self._keep((level, index), self._only(left).node(level, index, read))

    def above(
        self, level: int, index: Index, below: Sequence[Index], handed: Sequence[AllHanded]
    ) -> AllHanded:
        """Run the task of a node above the tiles, given what those below it hand up."""
        left = self._left((level, index))
        parts = [tuple(one[i] for i in left) for one in handed]
        return self._keep((level, index), self._only(left).join(level, index, below, parts))

    def load(self, level: int, index: Index) -> AllHanded:
        """Return what a task handed up that has been done for all outputs."""
        return self._keep((level, index), ())

    def _left(self, node: Node) -> list[int]:
        """Return the outputs for which a task has to run."""
        return [i for i, output in enumerate(self.outputs) if node not in output.done]

    def _only(self, outputs: Sequence[int]) -> Work:
        return replace(self, outputs=tuple(self.outputs[i] for i in outputs))

    def _keep(self, node: Node, made: AllHanded) -> AllHanded:
        """Note that a task is done; return what it hands up with what was handed up before."""
        new = iter(made)
        handed = []
        for output in self.outputs:
            if output.journal is not None and node in output.done:
                handed.append(output.journal.load(node))
                continue
            handed.append(next(new))
            if output.journal is not None:
                output.journal.save(node, handed[-1])
        return tuple(handed)

    def node(self, level: int, index: Index, read: Read) -> AllHanded:
        """Write all that lies in a node, and return what the levels above need of it."""
        tiling = self.tiling
        if level > tiling.leaf:
            below = [(c, self.node(level - 1, c, read)) for c in tiling.children(level, index)]
            return self.join(level, index, *zip(*below, strict=True))
        base = tiling.base(level, index)
        block = read(base)
        seen: dict[Observer | None, Statistics] = {None: {}}
        for output in self.outputs:
            if output.observe is not None and output.observe not in seen:
                seen[output.observe] = output.observe(base, block)
        return tuple(
            self._leaf(output, level, base, block, seen[output.observe]) for output in self.outputs
        )

    def _leaf(
        self, output: Output, level: int, base: Region, block: Array, seen: Statistics
    ) -> Handed:
        """Write the cells above a block, and return what the levels above need of it."""
        tiling = self.tiling
        _write(output, 0, base, block)
        if tiling.top == 0:
            return Handed((), (), seen)
        top = tiling.settled(level)
        keep = top < tiling.top
        values, state = climb(block, tiling.steps[:top], output.reducer, keep=keep)
        for k in range(1, level + 1):
            _write(output, k, tiling.over(base, k), values[k - 1])
        return Handed(tuple(values[level:]), state if keep else (), seen)

    def join(
        self, level: int, index: Index, below: Sequence[Index], handed: Sequence[AllHanded]
    ) -> AllHanded:
        """Write the cells of a node that its children hold, and return what is needed above."""
        parts = [self.tiling.base(level - 1, child) for child in below]
        base = self.tiling.base(level, index)
        each = zip(self.outputs, zip(*handed, strict=True), strict=True)
        return tuple(self._join(output, level, base, parts, own) for output, own in each)

    def _join(
        self,
        output: Output,
        level: int,
        base: Region,
        parts: Sequence[Region],
        handed: Sequence[Handed],
    ) -> Handed:
        tiling, known = self.tiling, self.tiling.settled(level - 1)
        values: list[Array] = []
        for k in range(level, known + 1):
            pieces = [(one.values[k - level],) for one in handed]
            values += place(self._parts(pieces, parts, base, k), _shape(tiling.over(base, k)))
        _write(output, level, tiling.over(base, level), values[0])
        state: State = ()
        if known < tiling.top:
            held = self._parts([one.state for one in handed], parts, base, known)
            state = output.reducer.assemble(held, _shape(tiling.over(base, known)))
            top = tiling.settled(level)
            more, state = self._climb(output.reducer, state, base, known, top)
            values += more
        return Handed(tuple(values[1:]), state, merge(one.seen for one in handed))

    def _climb(
        self, reducer: Reducer, state: State, base: Region, level: int, top: int
    ) -> tuple[list[Array], State]:
        """Return the values of the levels above one, up to a top, and the state of that."""
        values = []
        for k in range(level + 1, top + 1):
            state = reducer.combine(state, self.tiling.steps[k - 1])
            window = Window(_shape(base), self.tiling.factors(k))
            values.append(reducer.finalise(state, window))
        return values, state if top < self.tiling.top else ()

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

    def written(self, node: Node) -> int:
        """Return the bytes that the task of a node writes, in this run."""
        return sum(
            self._written(output, node) for output in self.outputs if node not in output.done
        )

    @property
    def nbytes(self) -> int:
        """Bytes that all tasks together write, in this run."""
        return sum(
            self._written(output) - sum(self._written(output, node) for node in output.done)
            for output in self.outputs
        )

    def _written(self, output: Output, node: Node | None = None) -> int:
        """Return the bytes of an output that belong to the task of a node, or all of them."""
        tiling = self.tiling
        levels, base = range(tiling.top + 1), tiling.extent(0)
        if node is not None:
            levels = range(0 if node[0] == tiling.tile else node[0], node[0] + 1)
            base = tiling.base(*node)
        return output.reducer.dtype.itemsize * sum(
            math.prod(Window(_shape(base), tiling.factors(k)).cells)
            for k in levels
            if output.sinks[k] is not None
        )


def _write(output: Output, level: int, region: Region, values: Array) -> None:
    """Hand values to a level's sink, without what is trimmed."""
    sink = output.sinks[level]
    kept = tuple(
        slice(r.start, min(r.stop, n)) for r, n in zip(region, output.shapes[level], strict=True)
    )
    if sink is not None and all(r.start < r.stop for r in kept):
        sink(kept, values[tuple(slice(r.stop - r.start) for r in kept)])


def _shape(region: Region) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in region)
