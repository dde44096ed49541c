"""What there is to do for an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import xarray as xr

from xpyramid import engine
from xpyramid.coarsen import as_dask
from xpyramid.io.store.fast import accelerate_graph, accelerate_reads
from xpyramid.io.store.target import Place
from xpyramid.io.writing.image import Checked, Limits
from xpyramid.io.writing.journal import Journal
from xpyramid.reducers import Reducer, at_once, copier
from xpyramid.tiles import LEAF_BYTES, TILE_BYTES, make_tiling


def jobs_of(
    checked: Checked,
    sinks: Sequence[engine.Sink | None],
    limits: Limits,
    tasks: Place | None,
) -> Iterator[engine.Job]:
    """Yield what there is to do for an image, mostly one job for all of its levels.

    Each keeps a journal of its own below ``tasks``.
    """
    plan, reducer = checked.plan, checked.reducer
    count = range(len(plan.levels))

    job = partial(_job, checked, limits, tasks)
    if reducer is None:  # levels that are stored elsewhere are copied
        for k in count:
            yield job([k], (), copier(plan.dtype), [sinks[k]])
    elif not reducer.whole:
        yield job(count, plan.steps, reducer, sinks)
    else:
        yield job([0], (), reducer, [sinks[0]])
        for k in count[1:]:
            step = plan.levels[k].factors
            yield job([0, k], (step,), at_once(reducer), [None, sinks[k]])


def _job(
    checked: Checked,
    limits: Limits,
    tasks: Place | None,
    levels: Sequence[int],
    steps: Sequence[tuple[int, ...]],
    reducer: Reducer,
    sinks: Sequence[engine.Sink | None],
) -> engine.Job:
    """Return the job of writing some levels, made from the first of them."""
    base = checked.levels[levels[0]]
    objects = [checked.objects[k] for k in levels]
    joined = None if base.chunks is not None else _joined(objects[0], base, limits)
    tiling = make_tiling(
        base.shape, steps, [joined or objects[0], *objects[1:]], base.dtype.itemsize,
        workers=limits.workers, memory=limits.memory,
        tile_bytes=LEAF_BYTES if joined is None else TILE_BYTES,  # dask holds all blocks of a tile
    )  # fmt: skip
    journal = None if tasks is None else Journal.of(tasks / str(levels[-1]))
    shapes = tuple(checked.plan.levels[k].shape for k in levels)
    work = engine.Work(tiling, reducer, shapes, tuple(sinks), journal=journal)
    name = f"level {levels[0]} of {str(base.name or checked.name)!r}"
    if joined is not None:
        return engine.Job(work, engine.Source(accelerate_reads(base.variable), name))
    data = accelerate_graph(as_dask(base, checked.objects[levels[0]]))
    return engine.Job(work, engine.DaskSource(data, tiling.reach(tiling.tile), name, base.dims))


def _joined(stored: tuple[int, ...], base: xr.DataArray, limits: Limits) -> tuple[int, ...] | None:
    """Return regions of whole chunks of both source and target, None where they get too large.

    What is read in such regions is read once.
    """
    on_disk = base.encoding.get("preferred_chunks", {})
    chunks = [on_disk.get(dim, 1) for dim in base.dims]
    if not all(isinstance(chunk, int) for chunk in chunks):
        return None
    pairs = zip(stored, chunks, base.shape, strict=True)
    region = tuple(min(math.lcm(s, chunk), max(1, n)) for s, chunk, n in pairs)
    most = 4 * LEAF_BYTES
    if limits.memory is not None:  # a worker holds a region as it is read, encoded, and reduced
        most = min(most, limits.memory // (4 * limits.workers))
    limit = max(most, math.prod(stored) * base.dtype.itemsize)
    return region if math.prod(region) * base.dtype.itemsize <= limit else None
