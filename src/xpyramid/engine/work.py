"""What the task of a node does: read, reduce, write, and hand up.

The nodes of a `Tiling` form a tree. The task of a tile reads its part of the base leaf by leaf. A
leaf is reduced to as many levels as it covers whole windows of; the cells of its own level and of
those below are written, and what is left of the levels above is its `Intermediate`. A node above
puts the intermediates of its children together, writes the cells of its level, and goes on from
the states to the levels that it covers whole windows of now.

That is done for each `Output`: several pyramids are made of one base, which is read once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol, cast

from xpyramid.engine.samples import Samples
from xpyramid.engine.statistics import Observer, Statistics, merge
from xpyramid.engine.written import Written, join
from xpyramid.geometry.tiles import Index, Node, Region, Tiling, relative
from xpyramid.reducers import (
    Array,
    Part,
    Reducer,
    State,
    Window,
    assemble_arrays,
    reduce_levels_with_state,
)

Read = Callable[[Region], Samples]

#: Where the values of a region of a level go. Called once for each stored object, of which it
#: returns what it has written; None where it does not store.
Sink = Callable[[Region, Array], Written | None]


class SharedSink(Protocol):
    """A sink whose objects others store, too: those of the same form have the same bytes.

    Attributes
    ----------
    form : hashable or None
        How values become bytes; None where that is nobody else's affair.
    """

    form: Hashable | None

    def __call__(self, region: Region, values: Array) -> Written | None:
        """Store the values of a region."""

    def encode(self, region: Region, values: Array, stored: object) -> object:
        """Return the values of a region as they are stored.

        How they are stored where they come from may be known, see `Samples`.
        """

    def store(self, region: Region, encoded: object) -> Written:
        """Store what a sink of the same form has encoded."""


#: Of outputs that have written nothing.
_NOTHING: Written = {}

#: Whether what is written is still needed; raises where it would do harm.
Ask = Callable[[], bool]


class Intermediate(NamedTuple):
    """What a node hands up for an output: all that its samples alone say of the levels above.

    Attributes
    ----------
    values : tuple of ndarray
        Of its cells of the levels above, up to the last of which it covers whole windows.
    state : tuple of ndarray
        Of its cells of that last level, where there are levels above it.
    statistics : Statistics
        Of the base.
    written : mapping
        Records of the objects that were written, by this node and by those below it.
    """

    values: tuple[Array, ...]
    state: State
    statistics: Statistics
    written: Written = _NOTHING


#: One for each output.
Intermediates = tuple[Intermediate, ...]


class Journal(Protocol):
    """What keeps what tasks have handed up for an output."""

    @property
    def done(self) -> frozenset[Node]:
        """Nodes whose tasks an earlier run has done."""

    def load(self, node: Node) -> Intermediate:
        """Return what such a task has handed up."""

    def save(self, node: Node, intermediate: Intermediate) -> None:
        """Keep what a task hands up; all that it writes is written."""


@dataclass(frozen=True)
class Output:
    """One of the pyramids that a pass makes of its base.

    Attributes
    ----------
    reducer : Reducer
        How level 0 becomes the others.
    shapes : tuple of tuple of int
        Of the levels that are written; shorter than the tiling's where windows are trimmed.
    sinks : tuple of callable or None
        One for each level; None where a level is there already.
    observe : Observer or None
        Looks at the base on its way through.
    journal : Journal or None
        Keeps what tasks have handed up for this output.
    is_wanted : callable or None
        What each task asks once before it writes. Where it is not needed, since all of it is there
        already, a task only hands up what it has to.
    is_local : bool
        Whether all sinks store on disks of this machine.
    """

    reducer: Reducer
    shapes: tuple[tuple[int, ...], ...]
    sinks: tuple[Sink | None, ...]
    observe: Observer | None = None
    journal: Journal | None = None
    is_wanted: Ask | None = None
    is_local: bool = False

    @property
    def done(self) -> frozenset[Node]:
        """Nodes whose tasks need not run for this output."""
        return frozenset() if self.journal is None else self.journal.done

    def write(self, level: int, region: Region, values: Array) -> Written:
        """Hand values to a level's sink, without what is trimmed; return what it has written."""
        sink = self.sinks[level]
        kept = tuple(
            slice(r.start, min(r.stop, n)) for r, n in zip(region, self.shapes[level], strict=True)
        )
        if sink is None or not all(r.start < r.stop for r in kept):
            return _NOTHING
        part = values[tuple(slice(r.stop - r.start) for r in kept)]
        return self._unless_unwanted(partial(sink, kept, part))

    @property
    def watches_base(self) -> bool:
        """Whether what is looked at are the samples: else it is level 1, as level 0 says little."""
        return self.observe is not None and self.reducer.base is None

    @property
    def base_form(self) -> Hashable | None:
        """What level 0 has in common with those of outputs that store the same bytes."""
        return getattr(self.sinks[0], "form", None) if self.reducer.base is None else None

    def base_values(self, block: Array) -> Array:
        """Return the values of level 0 that samples stand for."""
        if self.reducer.base is None or self.sinks[0] is None:
            return block
        return self.reducer.base(block)

    def encode_base(self, region: Region, samples: Samples) -> object:
        """Return samples of level 0 as its sink stores them, which has a form."""
        return cast("SharedSink", self.sinks[0]).encode(region, *samples)

    def store_base(self, region: Region, encoded: object) -> Written:
        """Hand samples of level 0 to its sink, as one of the same form has encoded them."""
        store = cast("SharedSink", self.sinks[0]).store
        return self._unless_unwanted(partial(store, region, encoded))

    def _unless_unwanted(self, write: Callable[[], Written | None]) -> Written:
        """Return what is written; where that fails, nothing, if it is not needed any more."""
        try:
            return write() or _NOTHING
        except Exception:  # what was there when the task began may have gone since
            if self.is_wanted is None or self.is_wanted():
                raise
            return _NOTHING

    def asked(self) -> Output:
        """Return the output as a task finds it that asks whether to write."""
        if self.is_wanted is None or self.is_wanted():
            return self
        return replace(self, sinks=(None,) * len(self.sinks))


@dataclass(frozen=True)
class Work:
    """Everything that the tasks of one pass have in common.

    An output whose journal says that an earlier run has done a task is left out of that task; what
    was handed up then is loaded.

    Attributes
    ----------
    tiling : Tiling
        Which nodes there are.
    outputs : tuple of Output
        What is made of the base.
    """

    tiling: Tiling
    outputs: tuple[Output, ...]

    def is_done(self, node: Node) -> bool:
        """Whether the task of a node need not run for any output."""
        return all(node in output.done for output in self.outputs)

    def with_observer(self, observer: Observer) -> Work:
        """Return a work of which each output has an observer of the base."""
        observed = (replace(output, observe=observer) for output in self.outputs)
        return replace(self, outputs=tuple(observed))

    def run_tile(self, level: int, index: Index, read: Read) -> Intermediates:
        """Run the task of a tile: a node whose samples are read."""
        pending = self._pending((level, index))
        new = self._asked(pending).reduce_node(level, index, read)
        return self._record((level, index), new)

    def run_merge(
        self,
        level: int,
        index: Index,
        children: Sequence[Index],
        intermediates: Sequence[Intermediates],
    ) -> Intermediates:
        """Run the task of a node above the tiles, given what its children hand up."""
        pending = self._pending((level, index))
        of_pending = [tuple(child[i] for i in pending) for child in intermediates]
        new = self._asked(pending).merge_children(level, index, children, of_pending)
        return self._record((level, index), new)

    def load(self, level: int, index: Index) -> Intermediates:
        """Return what a task handed up that has been done for all outputs."""
        return self._record((level, index), ())

    def _pending(self, node: Node) -> list[int]:
        """Return the positions of the outputs for which the task of a node has to run."""
        return [i for i, output in enumerate(self.outputs) if node not in output.done]

    def _asked(self, positions: Sequence[int]) -> Work:
        """Return what a task has to do for some outputs, each asked whether it is wanted."""
        return replace(self, outputs=tuple(self.outputs[i].asked() for i in positions))

    def _record(self, node: Node, computed: Intermediates) -> Intermediates:
        """Note in the journals that a task is done; add what was handed up before."""
        new = iter(computed)
        intermediates = []
        for output in self.outputs:
            if output.journal is None:
                intermediates.append(next(new))
            elif node in output.journal.done:
                intermediates.append(output.journal.load(node))
            else:
                intermediates.append(next(new))
                output.journal.save(node, intermediates[-1])
        return tuple(intermediates)

    def reduce_node(self, level: int, index: Index, read: Read) -> Intermediates:
        """Write all that lies in a node, and return what the levels above need of it."""
        tiling = self.tiling
        if level > tiling.leaf:
            children = list(tiling.children(level, index))
            intermediates = [self.reduce_node(level - 1, child, read) for child in children]
            return self.merge_children(level, index, children, intermediates)
        base = tiling.base_region(level, index)
        samples = read(base)
        block = samples.values
        statistics: dict[Observer | None, Statistics] = {None: {}}
        for output in self.outputs:
            if output.watches_base and output.observe not in statistics:
                statistics[output.observe] = output.observe(base, block)  # type: ignore[misc]
        pairs = zip(self.outputs, self._write_base(base, samples), strict=True)
        return tuple(
            self._reduce_leaf(
                output, level, base, block, statistics.get(output.observe, {}), written
            )
            for output, written in pairs
        )

    def _write_base(self, base: Region, samples: Samples) -> list[Written]:
        """Write samples of level 0 for each output; those that store alike encode them once."""
        block, stored = samples
        forms = Counter(output.base_form for output in self.outputs)
        encoded: dict[Hashable, object] = {}
        written = []
        for output in self.outputs:
            form = output.base_form
            is_alone = forms[form] == 1 and stored is None
            if form is None or is_alone or not block.size:
                written.append(output.write(0, base, output.base_values(block)))
                continue
            if form not in encoded:
                encoded[form] = output.encode_base(base, samples)
            written.append(output.store_base(base, encoded[form]))
        return written

    def _reduce_leaf(
        self,
        output: Output,
        level: int,
        base: Region,
        block: Array,
        statistics: Statistics,
        written_base: Written,
    ) -> Intermediate:
        """Write the cells above a leaf, and return what the levels above need of it."""
        tiling = self.tiling
        written = [written_base]
        if tiling.top == 0:
            return Intermediate((), (), statistics, join(written))
        top = tiling.last_complete_level(level)
        steps, keep = tiling.steps[:top], top < tiling.top
        values, state = reduce_levels_with_state(block, steps, output.reducer, keep=keep)
        written += [
            output.write(k, tiling.coarse_region(base, k), values[k - 1])
            for k in range(1, level + 1)
        ]
        state = () if state is None else state
        if output.observe is not None and not output.watches_base:
            region = tiling.coarse_region(base, 1)
            statistics = output.observe(region, values[0])
        return Intermediate(tuple(values[level:]), state, statistics, join(written))

    def merge_children(
        self,
        level: int,
        index: Index,
        children: Sequence[Index],
        intermediates: Sequence[Intermediates],
    ) -> Intermediates:
        """Write the cells of a node that its children hold, and return what is needed above."""
        bases = [self.tiling.base_region(level - 1, child) for child in children]
        base = self.tiling.base_region(level, index)
        pairs = zip(self.outputs, zip(*intermediates, strict=True), strict=True)
        of_base: dict[Observer | None, Statistics] = {}  # the same for all that watch it
        merged = []
        for output, own in pairs:
            known = of_base.get(output.observe) if output.watches_base else None
            if known is None:
                known = merge(child.statistics for child in own)
                known = known if output.observe is None else output.observe.trim(known)
            if output.watches_base:
                of_base[output.observe] = known
            merged.append(self._merge(output, level, base, bases, own)._replace(statistics=known))
        return tuple(merged)

    def _merge(
        self,
        output: Output,
        level: int,
        base: Region,
        bases: Sequence[Region],
        intermediates: Sequence[Intermediate],
    ) -> Intermediate:
        """Do what `merge_children` does for an output, but for the statistics.

        The regions of level 0 are given.
        """
        tiling, last_complete = self.tiling, self.tiling.last_complete_level(level - 1)
        values: list[Array] = []
        for k in range(level, last_complete + 1):
            pieces = [(child.values[k - level],) for child in intermediates]
            parts = self._parts(pieces, bases, base, k)
            values += assemble_arrays(parts, _shape(tiling.coarse_region(base, k)))
        written = output.write(level, tiling.coarse_region(base, level), values[0])
        state: State = ()
        if last_complete < tiling.top:
            parts = self._parts(
                [child.state for child in intermediates], bases, base, last_complete
            )
            cells = _shape(tiling.coarse_region(base, last_complete))
            state = output.reducer.assemble(parts, cells)
            top = tiling.last_complete_level(level)
            more, state = self._combine(output.reducer, state, base, last_complete, top)
            values += more
        written = join([*(child.written for child in intermediates), written])
        return Intermediate(tuple(values[1:]), state, {}, written)

    def _combine(
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
        self, states: Sequence[State], bases: Sequence[Region], together: Region, level: int
    ) -> list[Part]:
        """Return where states of a level lie in the cells over a region of level 0."""
        tiling = self.tiling
        origin = [part.start for part in tiling.coarse_region(together, level)]
        parts = []
        for state, base in zip(states, bases, strict=True):
            where = relative(tiling.coarse_region(base, level), origin)
            parts.append(Part(where, state, Window(_shape(base), tiling.factors(level))))
        return parts

    def written(self, node: Node) -> int:
        """Return the bytes that the task of a node writes, in this run."""
        return sum(self._nbytes(output, node) for output in self.outputs if node not in output.done)

    def written_under(self, nodes: Sequence[Node] | None = None) -> int:
        """Return the bytes that the tasks of nodes, and of those below them, write in this run.

        None stands for all of them, which need not be listed for it.
        """
        if nodes is None:
            return self.nbytes
        levels = range(self.tiling.tile, self.tiling.top + 1)
        return sum(
            self.written((below, index))
            for level, above in nodes
            for below in levels[: level - self.tiling.tile + 1]
            for index in self.tiling.descendants(level, above, below)
        )

    def covered(self, nodes: Sequence[Node] | None = None) -> int:
        """Return the bytes of level 0 that nodes lie over; None stands for all of it."""
        tiling = self.tiling
        bases = [tiling.extent(0)] if nodes is None else [tiling.base_region(*n) for n in nodes]
        itemsize = max(output.reducer.dtype.itemsize for output in self.outputs)
        return itemsize * sum(math.prod(_shape(base)) for base in bases)

    @property
    def nbytes(self) -> int:
        """Bytes that all tasks together write, in this run."""
        return sum(
            self._nbytes(output) - sum(self._nbytes(output, node) for node in output.done)
            for output in self.outputs
        )

    def _nbytes(self, output: Output, node: Node | None = None) -> int:
        """Return the bytes of an output that belong to the task of a node, or all of them."""
        tiling = self.tiling
        levels, base = range(tiling.top + 1), tiling.extent(0)
        if node is not None:
            levels = range(0 if node[0] == tiling.tile else node[0], node[0] + 1)
            base = tiling.base_region(*node)
        return output.reducer.dtype.itemsize * sum(
            math.prod(Window(_shape(base), tiling.factors(k)).cells)
            for k in levels
            if output.sinks[k] is not None
        )


def _shape(region: Region) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in region)
