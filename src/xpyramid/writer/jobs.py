"""What there is to do for images: one pass over each base, mostly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import xarray as xr

from xpyramid import engine
from xpyramid.geometry.passes import Limits, Pass, Shape, passes
from xpyramid.lazy.coarsen import as_dask, source_chunks
from xpyramid.lazy.direct import read_directly
from xpyramid.reducers import Reducer, passthrough
from xpyramid.store.fast import accelerate_graph, accelerate_reads
from xpyramid.store.names import name_of
from xpyramid.store.passed_chunks import PassingReader, can_pass, stored_samples
from xpyramid.store.path import NodePath
from xpyramid.writer.journal import Journal
from xpyramid.writer.request import PreparedImage
from xpyramid.writer.sinks import ZarrSink


def passes_of(image: PreparedImage, limits: Limits) -> Iterator[Pass]:
    """Yield the passes that writing an image takes; mostly one over all of its levels.

    Where nothing is to be written, level 0 is read only if viewers are to know its values.
    """
    plan, kept = image.plan, image.kept
    if kept == len(plan.levels):
        if image.omero is None:
            return
        kept = 0
    levels = list(map(Shape, (level.shape for level in plan.levels), image.objects))
    numbers = range(len(plan.source_chunks))
    read = [source_chunks(image.source(k), by_graph=image.by_graph) for k in numbers]
    yield from passes(
        levels, plan.steps, read, plan.itemsize, limits, holistic=plan.holistic,
        copies=plan.copies, present=range(kept), channels=plan.counted_channels,
    )  # fmt: skip


def divided(image: PreparedImage, limits: Limits) -> PreparedImage:
    """Return an image with the passes that it takes, and those that come with it."""
    members = tuple(divided(member, limits) for member in image.members)
    return replace(image, passes=tuple(passes_of(image, limits)), members=members)


def jobs_of(
    image: PreparedImage,
    sinks: Sequence[engine.Sink | None],
    tasks: NodePath | None,
    is_wanted: engine.Ask | None = None,
) -> Iterator[engine.Job]:
    """Yield what there is to do for an image: a job for each of its passes.

    Each keeps a journal of its own below ``tasks``. What ``is_wanted`` is, see `engine.Output`.
    """
    for job_pass in image.passes:
        record = passthrough(image.plan.dtype) if image.reducer is None else image.reducer
        targets = [sinks[k] if k in job_pass.writes else None for k in job_pass.levels]
        yield _job(image, job_pass, record, targets, tasks, is_wanted)


def _job(
    image: PreparedImage,
    job_pass: Pass,
    reducer: Reducer,
    sinks: Sequence[engine.Sink | None],
    tasks: NodePath | None,
    is_wanted: engine.Ask | None,
) -> engine.Job:
    """Return the job of a pass."""
    first, tiling = job_pass.levels[0], job_pass.tiling
    base = image.source(first)
    journal = None if tasks is None else Journal.load_from(tasks / str(job_pass.levels[-1]))
    shapes = tuple(image.plan.levels[k].shape for k in job_pass.levels)
    is_local = all(sink is None or (type(sink) is ZarrSink and sink.is_local) for sink in sinks)
    output = engine.Output(reducer, shapes, tuple(sinks), None, journal, is_wanted, is_local)
    work = engine.Work(tiling, (output,))
    samples = engine.identity(base.variable)
    name = f"level {first} of {name_of(base, image.name)!r}"
    direct = base if image.by_graph else read_directly(base)
    if job_pass.blocks is None:
        variable = direct.variable
        stored = _passing(variable, output) if image.passes_through else None
        return engine.Job(work, engine.Source(accelerate_reads(variable), name, stored), samples)
    data = accelerate_graph(as_dask(direct, image.objects[first]))
    source = engine.DaskSource(data, tiling.base_shape(tiling.tile), name, base.dims)
    return engine.Job(work, source, samples)


def _passing(variable: xr.Variable, output: engine.Output) -> PassingReader | None:
    """Return what reads level 0 as it is stored, if that is as an output is to store it."""
    sink = output.sinks[0]
    if type(sink) is not ZarrSink or output.base_form is None:
        return None
    samples = stored_samples(variable)
    if samples is None or not can_pass(samples, sink.target):
        return None
    return PassingReader(samples, sink.target, sink.form)


def shared_jobs(
    images: Sequence[Sequence[engine.Job]], limits: Limits
) -> tuple[list[engine.Job], list[tuple[int, ...]]]:
    """Put jobs together that read the same samples by the same tiles, so that they are read once.

    Each output keeps the journal of its own image: a task that an earlier run has done for some of
    them runs for the others alone. So an image can be resumed beside others than before, or
    by itself, and nothing that is finished is written again. Jobs whose states together would take
    more memory than allowed stay apart.

    Parameters
    ----------
    images : sequence of sequence of Job
        At least one job for each image, of which the first reads level 0.
    limits : Limits

    Returns
    -------
    jobs : list of Job
    positions : list of tuple of int
        For each image, which of the summaries that `engine.run` returns for these jobs are those
        of its own jobs, in their order.
    """
    merged: list[engine.Job] = []
    outputs: dict[str, list[str]] = {}  # from a merged job to the jobs that its outputs come from
    for job in chain.from_iterable(images):
        group = next((i for i, first in enumerate(merged) if _can_be_one(first, job, limits)), None)
        if group is None:
            merged.append(job)
            outputs[job.name] = [job.name] * len(job.work.outputs)
        else:
            merged[group] = _merge(merged[group], job)
            outputs[merged[group].name] += [job.name] * len(job.work.outputs)
    order = [name for job in merged for name in outputs[job.name]]
    return merged, [tuple(order.index(job.name) for job in jobs) for jobs in images]


def _can_be_one(job: engine.Job, other: engine.Job, limits: Limits) -> bool:
    """Whether two jobs can be one."""
    if job.samples is None or job.samples != other.samples:
        return False
    tiling, another = (
        replace(candidate.work.tiling, leaf=0, tile=0, copies=0, outputs=0, channels=0, wave=0)
        for candidate in (job, other)
    )
    if tiling != another:
        return False
    if limits.memory is None:
        return True
    merged = _merge(job, other)
    source = merged.source
    blocks = source.source_chunks if isinstance(source, engine.DaskSource) else None
    together = Pass((), (), merged.work.tiling, blocks)
    return together.memory(source.itemsize, limits.workers) <= limits.memory


def _merge(job: engine.Job, other: engine.Job) -> engine.Job:
    """Return a job that makes the outputs of two, divided as finely as either."""
    outputs, tilings = (
        (*job.work.outputs, *other.work.outputs),
        (job.work.tiling, other.work.tiling),
    )
    tiling = replace(
        job.work.tiling,
        leaf=min(tiling.leaf for tiling in tilings),
        tile=min(tiling.tile for tiling in tilings),
        copies=max(tiling.copies for tiling in tilings),
        outputs=len(outputs),
        channels=max(tiling.channels for tiling in tilings),
        wave=min(tiling.wave for tiling in tilings),
    )
    smaller = min((job, other), key=lambda candidate: candidate.work.tiling.tile)
    # Its source is cut for its tiles.
    return replace(job, work=engine.Work(tiling, outputs), source=smaller.source)
