"""Dask tasks that are tried again when a fault may pass, and that say their key when they fail."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from functools import partial

from xpyramid._compat import GraphNode, Task
from xpyramid.errors import PyramidError, ReadError
from xpyramid.runtime.retry import retried

#: Of any dask task: text, or a tuple of text and numbers.
Key = Hashable


class TaskError(ReadError):
    """What a task raised; also where it comes from another process, which loses its cause."""

    def __init__(self, key: Key, reason: str) -> None:
        super().__init__(f"the dask task {key!r} failed: {reason}")
        self.key = key
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.key, self.reason)


class NamedTask(Task):
    """A task like another one, see the module."""

    __slots__ = ()

    def __call__(self, values: Mapping[Key, object] | tuple[()] = ()) -> object:
        """Run the task, given what it needs."""
        try:
            return retried(partial(super().__call__, values))
        except Exception as error:
            # A cluster raises Reschedule for itself. A store that does not answer names its place,
            # and not the block.
            is_ours = isinstance(error, PyramidError) and type(error) is not ReadError
            if is_ours or type(error).__name__ == "Reschedule":
                raise
            raise TaskError(self.key, f"{type(error).__name__}: {error}") from error


def named(graph: Mapping[Key, object]) -> dict[Key, object]:
    """Return the tasks of a graph, each with its name; kinds that dask treats apart stay."""
    return {
        key: _as_named_task(node) if type(node) is Task else node for key, node in graph.items()
    }


def _as_named_task(task: Task) -> NamedTask:
    return NamedTask(
        task.key, task.func, *task.args, _data_producer=task.data_producer, **task.kwargs
    )


def dependents(graph: Mapping[Key, object], key: Key, arrays: Collection[str]) -> Iterable[Key]:
    """Yield the tasks that need a task, itself included, and that belong to one of some arrays.

    The nearest come first.
    """
    above: dict[Key, list[Key]] = {}
    for dependent, node in graph.items():
        for needed in node.dependencies if isinstance(node, GraphNode) else ():
            above.setdefault(needed, []).append(dependent)
    waiting, visited = [key], {key}
    for reached in waiting:
        if isinstance(reached, tuple) and reached[0] in arrays:
            yield reached
        waiting += [new for new in above.get(reached, ()) if new not in visited]
        visited.update(waiting)
