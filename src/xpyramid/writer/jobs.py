"""What there is to do for an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xpyramid import engine
from xpyramid.geometry.passes import Limits, Pass, Shape, passes
from xpyramid.lazy.coarsen import as_dask, given
from xpyramid.reducers import Reducer, at_once, copier
from xpyramid.store.fast import accelerate_graph, accelerate_reads
from xpyramid.store.names import name_of
from xpyramid.store.path import NodePath
from xpyramid.writer.journal import Journal
from xpyramid.writer.request import PreparedImage


def passes_of(image: PreparedImage, limits: Limits) -> Iterator[Pass]:
    """Yield the passes that writing an image takes; mostly one over all of its levels."""
    plan = image.plan
    levels = list(map(Shape, (level.shape for level in plan.levels), image.objects))
    read = list(map(given, image.levels[: len(plan.given)]))
    yield from passes(levels, plan.steps, read, plan.dtype.itemsize, limits, whole=plan.whole)


def jobs_of(
    image: PreparedImage, sinks: Sequence[engine.Sink | None], tasks: NodePath | None
) -> Iterator[engine.Job]:
    """Yield what there is to do for an image: a job for each of its passes.

    Each keeps a journal of its own below ``tasks``.
    """
    for one in image.passes:
        record = copier(image.plan.dtype) if image.reducer is None else image.reducer
        if record.whole and len(one.levels) > 1:
            record = at_once(record)
        targets = [sinks[k] if k in one.writes else None for k in one.levels]
        yield _job(image, one, record, targets, tasks)


def _job(
    checked: PreparedImage,
    one: Pass,
    reducer: Reducer,
    sinks: Sequence[engine.Sink | None],
    tasks: NodePath | None,
) -> engine.Job:
    """Return the job of a pass."""
    first, tiling = one.levels[0], one.tiling
    base = checked.levels[first]
    journal = None if tasks is None else Journal.of(tasks / str(one.levels[-1]))
    shapes = tuple(checked.plan.levels[k].shape for k in one.levels)
    work = engine.Work(tiling, reducer, shapes, tuple(sinks), journal=journal)
    name = f"level {first} of {name_of(base, checked.name)!r}"
    if one.blocks is None:
        return engine.Job(work, engine.Source(accelerate_reads(base.variable), name))
    data = accelerate_graph(as_dask(base, checked.objects[first]))
    return engine.Job(work, engine.DaskSource(data, tiling.reach(tiling.tile), name, base.dims))
