"""Jobs on dask's schedulers, with progress, and an end to it where one is interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, zip_longest
from typing import Any, NamedTuple
from uuid import uuid4

import dask
import dask.local
import dask.multiprocessing
import dask.threaded
from dask.callbacks import Callback
from dask.delayed import Delayed

from xpyramid._compat import get_scheduler, named_schedulers
from xpyramid.engine.failures import attribute_failures
from xpyramid.engine.graph import TOPIC, Graph, Job, NodeKey, Packed, give_up, inlined, make_graph
from xpyramid.engine.statistics import Statistics, merge
from xpyramid.engine.tasks import Key
from xpyramid.engine.work import Intermediates
from xpyramid.engine.written import Written, join
from xpyramid.geometry.tiles import Node
from xpyramid.kernels.choice import compiling, expect
from xpyramid.runtime.cluster import PROCESSES, client, scheduler_errors, workers
from xpyramid.runtime.progress import bar

#: Bytes of samples that one thread reduces and writes as fast as several, where it never waits.
LITTLE = 2**20


class Summary(NamedTuple):
    """What is known of an output when its tasks are done.

    Attributes
    ----------
    statistics : Statistics
        What it has seen of its base.
    written : mapping
        Records of the objects that it has written.
    """

    statistics: Statistics
    written: Written


def run(
    jobs: Sequence[Job],
    progress: bool | None = None,
    nodes: Sequence[Sequence[Node]] | None = None,
) -> list[Summary]:
    """Run jobs on dask's scheduler, all of them together.

    Parameters
    ----------
    jobs : sequence of Job
    progress : bool, optional
        Whether to show a bar; None is where somebody may look at it.
    nodes : sequence of sequence of Node, optional
        For each job, the nodes of one level of its tiling that are to run, with all that lie below
        them; None for all of it. What they hand up is in the journals of the outputs.

    Returns
    -------
    list of Summary
        Of each output of each job, one job after the other.
    """
    done: dict[NodeKey, Intermediates] = {}
    parts = [None] * len(jobs) if nodes is None else nodes
    batches = [job.waves(part) for job, part in zip(jobs, parts, strict=True)]
    waves = zip_longest(*batches, fillvalue=())
    roots = [job.roots() if part is None else [] for job, part in zip(jobs, parts, strict=True)]
    total = sum(job.work.written_under(part) for job, part in zip(jobs, parts, strict=True))
    nbytes = sum(job.work.covered(part) for job, part in zip(jobs, parts, strict=True))
    expect(nbytes)
    get = _scheduler(is_little=nbytes <= LITTLE and not any(job.waits for job in jobs))
    subjects = {job.name: (job.work.tiling, job.source) for job in jobs}
    with (
        bar(total, progress, compiling) as advance,
        scheduler_errors(),
        _report_progress(jobs, advance),
    ):
        for wave in chain(waves, [roots]):
            if not any(wave):
                continue
            graph = make_graph(jobs, wave, done)
            keys = [job.key(*node) for job, nodes in zip(jobs, wave, strict=True) for node in nodes]
            with attribute_failures(subjects, graph, client()):
                done.update(zip(keys, get(inlined(graph), keys), strict=True))
    return _summaries(_outputs(jobs), done)


def _outputs(jobs: Sequence[Job]) -> list[tuple[str, int]]:
    """Return the name of the job of each output, and which of its outputs that is."""
    return [(job.name, i) for job in jobs for i in range(len(job.work.outputs))]


def _summaries(
    outputs: Sequence[tuple[str, int]], done: dict[NodeKey, Intermediates]
) -> list[Summary]:
    """Return what is known of each output, from what the nodes of the top handed up."""
    summaries = []
    for name, i in outputs:
        own = [intermediates[i] for key, intermediates in done.items() if key[0] == name]
        statistics = merge(intermediate.statistics for intermediate in own)
        summaries.append(Summary(statistics, join(summary.written for summary in own)))
    return summaries


@contextmanager
def _report_progress(jobs: Sequence[Job], advance: Callable[[int], None] | None) -> Iterator[None]:
    """Call ``advance`` with the bytes that each task has written, wherever it runs."""
    if advance is None:
        yield
        return
    works = {job.name: job.work for job in jobs}
    reported: set[Key] = set()

    def hear(key: Any, *_: object) -> None:
        # A later wave takes up what is handed on.
        if key[0] in works and tuple(key) not in reported:
            reported.add(tuple(key))
            name, level, *index = key
            advance(works[name].written((level, tuple(index))))

    cluster = client()
    if cluster is None:
        with Callback(posttask=hear):
            yield
        return
    cluster.subscribe_topic(TOPIC, lambda event: hear(event[1]))
    try:
        yield
    finally:
        with suppress(OSError):  # the cluster has gone
            cluster.unsubscribe_topic(TOPIC)


def _scheduler(*, is_little: bool) -> Callable[..., Any]:
    """Return what runs a graph: what is configured, a cluster of this session, or threads.

    Where there is little to do, the calling thread does it before others have started.
    dask itself looks for a cluster by importing distributed, even where threads are configured, and
    that takes a quarter of a second; where nobody has imported it, there is none.
    """
    scheduler = dask.config.get("scheduler", None)
    if scheduler in PROCESSES:  # would fuse tasks, which are not heard of then
        return partial(dask.multiprocessing.get, optimize_graph=False)
    get = None
    if isinstance(scheduler, str) and scheduler.lower() in named_schedulers:
        get = named_schedulers[scheduler.lower()]
    elif scheduler is not None or "distributed" in sys.modules:
        get = get_scheduler()
    if get is None and is_little and dask.config.get("pool", None) is None:
        return dask.local.get_sync
    return _on_threads if get in (None, dask.threaded.get) else get


def _on_threads(graph: Graph, keys: Sequence[NodeKey]) -> object:
    """Run a graph on threads that are done when this returns, also after an interrupt.

    Threads that go on while the interpreter ends may wait for others that have ended.
    """
    if dask.config.get("pool", None) is not None:
        return dask.threaded.get(graph, keys)
    pool = ThreadPoolExecutor(workers())
    try:
        return dask.threaded.get(graph, keys, pool=pool)
    except BaseException:
        give_up(key[0] for key in keys)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def delay(jobs: Sequence[Job], then: Callable[..., object], *args: object) -> Delayed:
    """Return one dask Delayed of all tasks of all jobs, and of a call after them.

    ``then`` is called with the summary of each output of each job, one job after the other, and
    with ``args``.
    """
    roots = [job.roots(always=True) for job in jobs]
    graph = make_graph(jobs, roots, {})
    keys = [job.key(*node) for job, nodes in zip(jobs, roots, strict=True) for node in nodes]
    last = f"pyramid-announce-{uuid4().hex}"
    graph[last] = (_call, Packed((then, _outputs(jobs), keys, args)), keys)
    return Delayed(last, inlined(graph))


def _call(packed: Packed, results: Sequence[Intermediates]) -> object:
    function, outputs, keys, args = packed.content
    return function(_summaries(outputs, dict(zip(keys, results, strict=True))), *args)
