"""Which samples dask tasks were about that have failed, or that may have killed their workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from xpyramid.engine.source import DaskSource, Source
from xpyramid.engine.tasks import Key, TaskError, dependents
from xpyramid.errors import ReadError, StorageError
from xpyramid.geometry.tiles import Region, Tiling
from xpyramid.runtime.cluster import Client

#: So many tasks are named.
_NAMED = 16

#: What the tasks of a job are about, by its name.
Subjects = Mapping[str, tuple[Tiling, Source]]


@contextmanager
def attribute_failures(
    subjects: Subjects, graph: Mapping[Key, object], client: Client | None = None
) -> Iterator[None]:
    """Say which samples a task was about that has failed, or killed its workers.

    Parameters
    ----------
    subjects : mapping
    graph : mapping
        The tasks that run.
    client : distributed.Client, optional
        Of the cluster where they run.

    Raises
    ------
    ReadError
        If it could not compute a block of a base.
    StorageError
        If no worker is left that takes it up.
    """
    try:
        yield
    except TaskError as error:
        block = _block(subjects, graph, error.key)
        if block is None:
            raise
        source, region = block
        raise ReadError(source.failure(region, error.reason)) from (error.__cause__ or error)
    except Exception as error:
        if type(error).__name__ != "KilledWorker":
            raise
        named = _all_named(subjects, graph, _in_hand(error, client))
        raise StorageError(
            f"workers keep dying of one of these: {named}",
            fix=f"the last one was working on them: {error}",
        ) from error


def _in_hand(error: Any, client: Client | None) -> list[Key]:
    """Return the tasks that a worker had in hand when it died, of which dask blames any one.

    Those that have seen most workers die come first.
    """
    counts: Counter[Key] = Counter()
    hand: list[Key] = []
    last = getattr(getattr(error, "last_worker", None), "address", None)
    for worker, tasks in _deaths(client):
        counts.update(tasks)
        hand += tasks if worker == last else ()
    hand.sort(key=counts.__getitem__, reverse=True)
    return list(dict.fromkeys([error.task, *hand]))


def _deaths(client: Client | None) -> Iterator[tuple[object, Sequence[Key]]]:
    """Yield workers of a cluster that have died, and what tasks they had in hand."""
    if client is None:
        return
    with suppress(OSError):  # the cluster has gone, too
        for _, event in client.get_events("all"):
            if not isinstance(event, dict) or event.get("action") != "remove-worker":
                continue
            if not event.get("expected"):
                yield event.get("worker"), list(event.get("processing-tasks", ()))


def _all_named(subjects: Subjects, graph: Mapping[Key, object], keys: Sequence[Key]) -> str:
    """Name what some tasks are about, each thing once."""
    subjects_of_keys = dict.fromkeys(_subject(subjects, graph, key) for key in keys)
    # Tasks that are about no samples only hand something on; they are named if there is no other.
    names = [name for name in subjects_of_keys if name] or [f"the task {key!r}" for key in keys]
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more


def _subject(subjects: Subjects, graph: Mapping[Key, object], key: Key) -> str | None:
    """Name the samples that a task is about, None where it is about none."""
    if isinstance(key, tuple) and key[0] in subjects:
        tiling, source = subjects[key[0]]
        level, *index = key[1:]
        return source.called(tiling.base_region(level, tuple(index)))
    block = _block(subjects, graph, key)
    return None if block is None else block[0].called(block[1])


def _block(
    subjects: Subjects, graph: Mapping[Key, object], key: Key
) -> tuple[DaskSource, Region] | None:
    """Return the block of a base that a task is for, or the first of several."""
    sources = [source for _, source in subjects.values() if isinstance(source, DaskSource)]
    names = {name for source in sources for name in (source.source_name, source.array.name)}
    for needed in dependents(graph, key, names):
        for source in sources:
            region = source.region_of(needed)
            if region is not None:
                return source, region
    return None
