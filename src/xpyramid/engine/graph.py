"""From works to dask tasks, in waves, so that the graph stays small however large the base is.

A wave is the tasks of some nodes of one level, with all that lie below them and the blocks of the
base that these need. What its nodes hand up waits for the last graph, that of the nodes above.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from uuid import uuid4

from xpyramid._compat import GraphNode
from xpyramid.engine.source import Blocks, Source, graph_of
from xpyramid.engine.tasks import Key, NamedTask
from xpyramid.engine.work import Intermediates, Work
from xpyramid.geometry.tiles import WAVE, Index, Node
from xpyramid.reducers import Array
from xpyramid.runtime.cluster import workers

#: So many tiles for each worker keep all of them busy.
TILES_FOR_EACH = 4

#: How many times larger a wave may get, so that blocks that many tiles need are computed once.
_STRETCH = 16

#: What tasks on a cluster say is done.
TOPIC = "xpyramid-progress"

Graph = dict[Key, Any]

#: Of the task of a node: the name of its job, its level and its index.
NodeKey = tuple[str, int, *tuple[int, ...]]


@dataclass(frozen=True)
class Job:
    """A work, and where its samples come from.

    Attributes
    ----------
    work : Work
    source : Source
        Reads level 0.
    samples : hashable
        Equal to that of another job with the same samples; see `identity`. None if that is not
        known.
    name : str
        What the keys of its tasks begin with.
    """

    work: Work
    source: Source
    samples: Hashable | None = None
    name: str = field(default_factory=lambda: f"pyramid-{uuid4().hex}")

    def key(self, level: int, index: Index) -> NodeKey:
        """Return the key of the task of a node."""
        return (self.name, level, *index)

    @property
    def waits(self) -> bool:
        """Whether tasks wait for more than the processor and a local disk."""
        is_local = all(output.is_local for output in self.work.outputs)
        return not (is_local and self.source.is_loaded)

    @property
    def work_key(self) -> str:
        """Key of the work itself."""
        return f"{self.name}-work"

    def waves(self, nodes: Sequence[Node] | None = None) -> Iterator[list[Node]]:
        """Yield nodes whose tasks run together; what they hand up waits for the others.

        Parameters
        ----------
        nodes : sequence of Node, optional
            Of one level; None for all of `wave_level`.
        """
        if nodes:
            number = self._nodes_of_wave(nodes[0][0])
            yield from (list(nodes[i : i + number]) for i in range(0, len(nodes), number))
        if nodes is not None:
            return
        level, wave = self.wave_level, list[Node]()
        number = self._nodes_of_wave(level)
        for group in self._groups(level):
            for index in group:
                if len(wave) >= number * _STRETCH:
                    yield wave
                    wave = []
                wave.append((level, index))
            if len(wave) >= number:
                yield wave
                wave = []
        if wave:
            yield wave

    def _groups(self, level: int) -> Iterator[Iterable[Index]]:
        """Yield nodes by groups that share no block, so that no block is needed in two waves."""
        tiling = self.work.tiling
        groups = self.source.groups(tiling.base_shape(level), tiling.grid(level))
        if groups is None:
            yield from ([index] for index in tiling.nodes(level))
            return
        pairs = zip(groups, tiling.node_ranges(level), strict=True)
        runs = [list(_within(along, known)) for along, known in pairs]
        yield from (product(*ranges) for ranges in product(*runs))

    @property
    def wave_level(self) -> int:
        """The highest level whose nodes have few enough tasks for a wave."""
        return self.work.tiling.wave_level(self._wave, self._tasks_of_tile)

    def _nodes_of_wave(self, level: int) -> int:
        """Return how many nodes of a level make up a wave."""
        tasks = self.work.tiling.tasks_under(level, self._tasks_of_tile)
        return max(1, int(self._wave / max(1, tasks)))

    @property
    def _wave(self) -> int:
        return min(WAVE, self.work.tiling.wave)

    @property
    def _tasks_of_tile(self) -> int:
        tiling = self.work.tiling
        return 1 + self.source.tasks(tiling.base_shape(tiling.tile))

    def roots(self, *, always: bool = False) -> list[Node]:
        """Return the nodes of the top, unless the waves have done them."""
        tiling = self.work.tiling
        if self.wave_level == tiling.top and not always:
            return []
        return [(tiling.top, index) for index in tiling.nodes(tiling.top)]

    def tasks(
        self, level: int, index: Index, done: dict[NodeKey, Intermediates]
    ) -> Iterator[tuple[Key, tuple[object, ...]]]:
        """Yield the tasks of a node and of those below it that are not done."""
        tiling, key = self.work.tiling, self.key(level, index)
        if key in done:
            yield key, (_unpack, Packed(done.pop(key)))
        elif self.work.is_done((level, index)):
            yield key, (_load, self.work_key, level, index)
        elif level == tiling.tile:
            region = tiling.base_region(level, index)
            blocks = self.source.blocks(region)
            source = f"{self.name}-source" if blocks is None else blocks
            yield key, (
                _tile, self.work_key, self.name, level, index, source, self.source.needs(region),
            )  # fmt: skip
        else:
            children = list(tiling.children(level, index))
            keys = [self.key(level - 1, child) for child in children]
            yield key, (_merge, self.work_key, self.name, level, index, Packed(children), keys)
            for child in children:
                yield from self.tasks(level - 1, child, done)


def _within(runs: Iterable[range], known: range) -> Iterator[range]:
    """Yield the parts of runs of indexes that are known."""
    for run in runs:
        part = range(max(run.start, known.start), min(run.stop, known.stop))
        if part:
            yield part


def make_graph(
    jobs: Sequence[Job], waves: Sequence[Sequence[Node]], done: dict[NodeKey, Intermediates]
) -> Graph:
    """Return the tasks of some nodes of each job, with all that they need."""
    graph: Graph = {}
    for job, nodes in zip(jobs, waves, strict=True):
        if nodes:
            graph[job.work_key] = (_unpack, Packed(job.work))
            graph[f"{job.name}-source"] = (_unpack, Packed(job.source.shared))
            for level, index in nodes:
                graph.update(job.tasks(level, index, done))
    needed = {key for task in graph.values() if task[0] is _tile for key in task[-1]}
    return {**graph_of([job.source for job in jobs], list(needed)), **graph}


def inlined(graph: Graph) -> Graph:
    """Return a graph whose tiles compute the blocks that no other task needs by themselves.

    A task for each block costs as much as many a block does. Where there are few tiles, workers
    would wait for each other, and blocks stay tasks.
    """
    tiles = {
        key: task
        for key, task in graph.items()
        if isinstance(key, tuple) and isinstance(task, tuple) and task[0] is _tile
    }
    if len(tiles) < TILES_FOR_EACH * workers():
        return graph
    uses = Counter(key for task in tiles.values() for key in task[-1])
    for node in graph.values():
        uses.update(node.dependencies if isinstance(node, GraphNode) else ())
    own = {
        block: _nested(graph[block], key[0])
        for key, task in tiles.items()
        for block in task[-1]
        if uses[block] == 1 and type(graph[block]) is NamedTask
    }
    others = {key: task for key, task in graph.items() if key not in own}
    return others | {
        key: (*task[:-1], [own.get(block, block) for block in task[-1]])
        for key, task in tiles.items()
    }


def _nested(task: NamedTask, job: str) -> tuple[object, ...]:
    """Return a task as one that runs inside of another, of a job."""
    needs = tuple(task.dependencies)
    return (_compute, Packed((job, task, needs)), *needs)


#: Jobs that were interrupted. They stay here: a pool may not know a thread that was just starting.
_given_up: set[str] = set()


def give_up(names: Iterable[str]) -> None:
    """Have the tiles of some jobs, in this process, compute no more blocks."""
    _given_up.update(names)


def _compute(packed: Packed, *values: object) -> object:
    job, task, needs = packed.content
    if job in _given_up:
        raise CancelledError(job)
    return task(dict(zip(needs, values, strict=True)))


@dataclass(frozen=True)
class Packed:
    """Something that dask must not look into."""

    content: Any


def _unpack(packed: Packed) -> Any:
    return packed.content


def _load(work: Work, level: int, index: Index) -> Intermediates:
    return work.load(level, index)


def _tile(
    work: Work,
    name: str,
    level: int,
    index: Index,
    source: Source | Blocks,
    blocks: Sequence[Array],
) -> Intermediates:
    samples = source.of(blocks) if isinstance(source, Blocks) else source
    intermediates = work.run_tile(level, index, samples.take)
    _log_done(name, level, index)
    return intermediates


def _merge(
    work: Work,
    name: str,
    level: int,
    index: Index,
    children: Packed,
    intermediates: Sequence[Intermediates],
) -> Intermediates:
    merged = work.run_merge(level, index, children.content, intermediates)
    _log_done(name, level, index)
    return merged


def _log_done(name: str, level: int, index: Index) -> None:
    """Tell a cluster's client that a task is done; other schedulers say so by themselves."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        with suppress(ValueError):  # not on a worker
            distributed.get_worker().log_event(TOPIC, [name, level, *index])
