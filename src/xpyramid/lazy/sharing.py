"""Whether a dask graph holds more than the blocks that are asked of it.

A block that one task needs is gone when that has run. One that several need waits for all of them;
where they are neighbours, as those of `map_overlap` or `rechunk` are, whole fronts of blocks wait.
Tasks that dask has not written out yet are not made for it: the kinds of their layers are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.utils import key_split

from xpyramid._compat import GraphNode

#: So many tasks at either end of a layer are looked at; its others are like them.
_TASKS = 1000


def first_shared_step(graph: HighLevelGraph) -> str:
    """Return the name of a step whose tasks share blocks of other steps, "" if there is none.

    Parameters
    ----------
    graph : dask.highlevelgraph.HighLevelGraph
    """
    for name, layer in graph.layers.items():
        if graph.dependencies[name] and (_shares(layer) or _waits(name, graph)):
            return str(key_split(name))
    return ""


def _waits(name: str, graph: HighLevelGraph) -> bool:
    """Whether blocks of an array wait for something that is made of all of them, as a mean is."""
    layer = graph.layers[name]
    if not isinstance(layer, Blockwise):
        return False
    counts = {array: math.prod(numbers) for array, numbers in layer.numblocks.items()}
    most = max(counts.values(), default=1)
    if all(count == most for count in counts.values()):
        return False
    above = {array: _sources(array, graph) for array in counts if array in graph.layers}
    fewer = [array for array in above if counts[array] < most]
    many = set().union(*(above[array] for array in above if counts[array] == most))
    return any(not many.isdisjoint(above[array] - {array}) for array in fewer)


def _sources(name: str, graph: HighLevelGraph) -> set[str]:
    """Return a layer and all that it is made from."""
    sources, waiting = set[str](), [name]
    while waiting:
        layer = waiting.pop()
        if layer not in sources:
            sources.add(layer)
            waiting += graph.dependencies[layer]
    return sources


def _shares(layer: Layer) -> bool:
    """Whether several tasks of a layer need one block of another."""
    if isinstance(layer, Blockwise):
        return False
    if not isinstance(layer, MaterializedLayer):
        return True
    needed: set[object] = set()
    for task in _ends(list(layer.mapping.values())):
        keys = {key for key in _dependencies(task) if key not in layer.mapping}
        if not needed.isdisjoint(keys):
            return True
        needed |= keys
    return False


def _ends(tasks: list[object]) -> list[object]:
    """Return the first and the last of some tasks: a layer may hold those of two steps."""
    return tasks if len(tasks) <= 2 * _TASKS else tasks[:_TASKS] + tasks[-_TASKS:]


def _dependencies(task: object) -> Iterable[object]:
    """Return the keys of the blocks that a task needs; those of whole arrays are not counted."""
    keys = task.dependencies if isinstance(task, GraphNode) else ()
    return (key for key in keys if isinstance(key, tuple))
