"""From (plan, levels) to a store: check everything, write every object once, announce last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import zarr
from zarr.storage import MemoryStore

from xpyramid import engine
from xpyramid.cluster import check_main_module, in_process, workers
from xpyramid.errors import PlanError
from xpyramid.io.form.shown import watch
from xpyramid.io.form.viewers import warn_of_dtypes
from xpyramid.io.store.captured import captured
from xpyramid.io.store.files import one_at_a_time
from xpyramid.io.store.staging import Staging, put
from xpyramid.io.store.target import Place, Store, local_path, resolve
from xpyramid.io.writing.casing import check_case
from xpyramid.io.writing.checks import check_space
from xpyramid.io.writing.done import prepare_all
from xpyramid.io.writing.draft import announcement, consolidate, empty_array, write_lazy
from xpyramid.io.writing.guard import arrays, sources
from xpyramid.io.writing.image import Checked, Image, Options
from xpyramid.io.writing.jobs import jobs_of, shared_jobs
from xpyramid.io.writing.missing import MANY, check_missing
from xpyramid.io.writing.packing import pack
from xpyramid.io.writing.prepare import check_target
from xpyramid.io.writing.resume import check_documents, check_input, check_same, record_of
from xpyramid.io.writing.sinks import open_sink
from xpyramid.io.writing.told import reached, told
from xpyramid.passes import Limits
from xpyramid.plan import budget


def write(images: Sequence[Image], store: Store, options: Options) -> Any:
    """Write images; see :meth:`xpyramid.pyramid.Pyramid.to_ome_zarr`.

    Everything that can be refused is refused before anything is touched. All images are made
    together, and announced when they are complete.
    """
    check_main_module()
    root = resolve(store, read_only=False)
    if isinstance(root.store, MemoryStore) and not in_process():
        raise PlanError(
            "a store in memory, and tasks in other processes, which would write to copies of it; "
            "accepted: a store on disk, or dask.config.set(scheduler='threads')"
        )
    read = sources(thing for image in images for thing in (*image.read, *image.levels.coordinates))
    if options.dtype == "source":
        images = [pack(image) for image in images]
    with reached(root):
        checked, done = prepare_all(images, root, options, read)
    places = [image.staging.target for image in checked]
    check_case((image.staging.target, [*image.draft.documents]) for image in checked)
    check_space(store, places, sum(image.plan.nbytes for image in images))
    stored = list(arrays(level.variable for image in images for level in image.read))
    most = math.inf if options.strict or not options.compute else MANY
    check_missing([a for a in stored if a.nchunks <= most], strict=options.strict)
    warn_of_dtypes({image.name: image.plan.dtype for image in checked})
    limits = Limits(workers(), budget(options.memory))
    for image in checked:  # fails before anything is created
        list(jobs_of(image, [None] * len(image.levels), limits, None))
    with told(image.staging for image in checked), _held([*checked, *done]):
        each = [_begin(image, options, limits) for image in checked]
        jobs, positions = shared_jobs(each, limits)
        begun = _Begun(checked, positions, done, options.durable)
        if not options.compute:
            return engine.delay(jobs, _finish_later, begun)
        seen = engine.run(jobs, options.progress)
        check_missing([a for a in stored if a.nchunks > most], strict=False)
        return _finish(seen, begun)


@contextmanager
def _held(images: Sequence[Checked]) -> Iterator[None]:
    """Keep others from making the same images."""
    with ExitStack() as held:
        for image in images:
            held.enter_context(image.staging.held())
        yield


def _begin(image: Checked, options: Options, limits: Limits) -> list[engine.Job]:
    """Create what has no data yet, or take up what an earlier build has left."""
    staging, tasks = image.staging, None
    check_target(staging, image.paths, options)  # again: nobody else can change it now
    record = record_of(image, limits)
    found = staging.record() if options.resume else None
    if found is not None:
        check_same(found, record, staging)
    if found is not None and found["created"]:
        check_documents(image)
        limits = replace(limits, workers=int(found["workers"]))  # decides which tasks there are
    else:
        staging.clear()
        staging.withdraw(record)
        staging.create_parents(image.zarr_format)
        staging.note(record)
        put(staging.image, image.draft.documents)
        write_lazy(image.draft, staging.image)
        staging.note({**record, "created": True})
    staging.tidy()
    if staging.resumable and options.compute:
        tasks = staging.yard / "tasks"
    sinks = [
        open_sink(empty_array(image.draft, path, staging.image), staging.target / path, k)
        for k, path in enumerate(image.paths)
    ]
    jobs = list(jobs_of(image, sinks, limits, tasks))
    for job in jobs:
        check_input(job, image)
    return watch(jobs, image.shown)


@dataclass(frozen=True)
class _Begun:
    """Images, where what was seen of each stands, and those that an earlier run has finished."""

    images: Sequence[Checked]
    positions: Sequence[int]
    done: Sequence[Checked]
    durable: bool


def _finish(seen: Sequence[engine.Statistics], begun: _Begun) -> None:
    """Make images of what is complete now; what was seen is given for each output of each job."""
    for image, position in zip(begun.images, begun.positions, strict=True):
        staging = image.staging
        omero = None if image.shown is None else image.shown.metadata(seen[position])
        documents = announcement(image.draft, staging.image, omero)
        staging.publish(documents, durable=begun.durable)
    for image in (*begun.images, *begun.done):
        target = image.staging.target
        if isinstance((target / "labels").node(), zarr.Group):  # of the image that was replaced
            _change(image.staging, target, consolidate)
        if image.labels_group is not None:
            _change(image.staging, image.labels_group.place, image.labels_group.add)
        if image.collection is not None and image.collection.is_outdated():
            _change(image.staging, image.collection.root, image.collection.add)
        for above in image.staging.target.parents():
            # Whoever consolidated a group above would not see the new image in it.
            node = above.node()
            if isinstance(node, zarr.Group) and node.metadata.consolidated_metadata is not None:
                _change(image.staging, above, consolidate)
        if begun.durable:  # what lists the image, too
            image.staging.sync_above()
    for image in begun.done:
        image.staging.sweep()


def _finish_later(seen: Sequence[engine.Statistics], begun: _Begun) -> None:
    """Finish what was only begun before: nobody was kept from it since."""
    with _held([*begun.images, *begun.done]):
        _finish(seen, begun)


def _change(staging: Staging, above: Place, change: Callable[[Place], None]) -> None:
    """Change the metadata of a group above an image, after whoever changes them at the moment."""
    directory = local_path(above) if staging.directory is not None else None
    with nullcontext() if directory is None else one_at_a_time(directory):
        staging.put_above(above, captured(above, change))
