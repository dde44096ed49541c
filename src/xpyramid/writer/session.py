"""One way through the writer, in four steps with one record between them.

`prepare` checks everything and makes all documents; it touches nothing. `begin` creates what has no
data yet, or takes up what an earlier build has left. `run` computes and writes, each stored object
once. `publish` makes images of what is complete. A `Session` goes from step to step. It can be
sent to another process, so that one may begin, another run, and a third publish.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import compress

import zarr
from dask.delayed import Delayed
from zarr.storage import MemoryStore

from xpyramid import engine
from xpyramid.errors import PlanError
from xpyramid.geometry.passes import Limits, check_together, memory_together
from xpyramid.geometry.plan import Cost, budget
from xpyramid.lazy.direct import read_by_others
from xpyramid.options import WriteOptions, resolve_options
from xpyramid.runtime.cluster import check_main_module, in_process, workers
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.collection import ImageCollection
from xpyramid.store.documents import put
from xpyramid.store.label_groups import unlisted
from xpyramid.store.names import name_of
from xpyramid.store.path import NodePath, Store, ZarrArray, resolve
from xpyramid.store.retrying import bare
from xpyramid.store.transaction import StillBegun, Transaction
from xpyramid.writer.array_checks import warn_of_dtypes
from xpyramid.writer.datasets import in_one_group
from xpyramid.writer.failures import resume_hint, storage_errors
from xpyramid.writer.jobs import divided, jobs_of, shared_jobs
from xpyramid.writer.missing_chunks import MANY, check_missing
from xpyramid.writer.omero import watch
from xpyramid.writer.packing import pack
from xpyramid.writer.prepare import prepare_image
from xpyramid.writer.request import ImageSource, PreparedImage
from xpyramid.writer.resume import (
    check_documents,
    check_input,
    check_same,
    finished_among,
    record_of,
)
from xpyramid.writer.sinks import open_sink
from xpyramid.writer.source_guard import what_is_read
from xpyramid.writer.target_checks import check_above, check_case, check_space, check_target
from xpyramid.writer.template import consolidate, empty_array, group_documents, write_lazy
from xpyramid.writer.windows import remove_values, windows_of


@dataclass(frozen=True)
class Session:
    """Images that are written together.

    Attributes
    ----------
    images : sequence of PreparedImage
        Those to make.
    finished : sequence of PreparedImage
        Those that an earlier run of the same build has published.
    options : WriteOptions
    limits : Limits
    unchecked : sequence of zarr.Array
        Sources with so many chunks that they are looked for when all is written.
    jobs : sequence of Job
        What there is to do for all images together; empty before `begin`.
    positions : sequence of sequence of int
        For each image, which of the summaries of the jobs are its own, that of level 0 first.
    records : sequence of BuildRecord
        What is noted of the build of each image, where the store has room for notes.
    """

    images: Sequence[PreparedImage]
    finished: Sequence[PreparedImage]
    options: WriteOptions
    limits: Limits
    unchecked: Sequence[ZarrArray] = ()
    jobs: Sequence[engine.Job] = ()
    positions: Sequence[Sequence[int]] = ()
    records: Sequence[BuildRecord] = ()

    @property
    def cost(self) -> Cost:
        """What it takes to write the images; what several read in common is counted for each."""
        images = [image for group in self.images for image in group.images]
        passes = [(image, image_pass) for image in images for image_pass in image.passes]
        read = (
            math.prod(image.plan.levels[image_pass.levels[0]].shape) * image.plan.itemsize
            for image, image_pass in passes
        )
        written = (level.nbytes for i in images for level in i.plan.levels[i.kept :])
        together = [(image_pass, image.plan.itemsize) for image, image_pass in passes]
        return Cost(
            bytes_read=sum(read),
            bytes_written=sum(written),
            tasks=sum(image_pass.tiling.tasks() for _, image_pass in passes),
            memory=memory_together(together, self.limits.workers),
        )

    def array(self, image: PreparedImage) -> ZarrArray:
        """Return the finest array that is written of an image, as it will be stored."""
        location = image.transaction.location
        return empty_array(image.template, image.written[0], location)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep others from making the same images, while the context lasts.

        All callers take the locks in one order.
        """
        images = (*self.images, *self.finished)
        with ExitStack() as locks:
            for image in sorted(images, key=lambda image: image.transaction.target.path):
                locks.enter_context(image.transaction.lock())
            yield


def write(images: Sequence[ImageSource], store: Store, options: WriteOptions) -> Delayed | None:
    """Write images; see :meth:`xpyramid.pyramid.Pyramid.to_ome_zarr`.

    Everything that can be refused is refused before anything is touched. All images are made
    together, and published when they are complete.
    """
    session = prepare(images, store, resolve_options(WriteOptions, options))
    with resume_hint(image.transaction for image in session.images), session.lock():
        session = begin(session)
        if not session.options["compute"]:
            return engine.delay(session.jobs, _publish_later, session)
        publish(session, run(session))
        return None


def prepare(images: Sequence[ImageSource], store: Store, options: WriteOptions) -> Session:
    """Check all that can be known before anything is written, and make all documents."""
    check_main_module()
    root = resolve(store, read_only=False)
    if isinstance(bare(root.store), MemoryStore) and not in_process():
        raise PlanError(
            "a store in memory, and tasks in other processes, which would write to copies of it",
            accepted="a store on disk, or dask.config.set(scheduler='threads')",
        )
    read = what_is_read(
        [level.variable for image in images for level in image.read],
        [coordinates for image in images for coordinates in image.levels.coordinates],
    )
    if options["dtype"] == "source":
        images = [pack(image) for image in images]
    shared = read_by_others([image.read[0] for image in images])
    images = [
        replace(image, by_graph=is_shared) for image, is_shared in zip(images, shared, strict=True)
    ]
    limits = Limits(workers(), budget(options["memory"]))
    if limits.memory is not None:
        for image in images:
            image.plan.warn_of_graphs()
    with storage_errors(root):
        prepared = [prepare_image(image, root, options, read.locations) for image in images]
        if options["layout"] == "datasets":
            prepared = [in_one_group(prepared)]
        to_do, finished = finished_among(prepared, options)
    prepared = [divided(image, limits) for image in to_do]
    members = [member for image in prepared for member in image.images]
    together = [
        (image_pass, image.plan.itemsize) for image in members for image_pass in image.passes
    ]
    check_together(together, limits)
    check_case((image.transaction.target, [*image.template.documents]) for image in prepared)
    places = [image.transaction.target for image in prepared]
    check_space(store, places, sum(image.plan.nbytes for image in images))
    most = math.inf if options["strict"] or not options["compute"] else MANY
    check_missing([a for a in read.arrays if a.nchunks <= most], strict=options["strict"])
    warn_of_dtypes(
        {
            name_of(image.levels[0], "") if group.members else image.name: image.plan.dtype
            for group in prepared
            for image in group.images
        }
    )
    unchecked = [array for array in read.arrays if array.nchunks > most]
    return Session(prepared, finished, options, limits, unchecked)


def begin(session: Session) -> Session:
    """Create what has no data yet, or take up what an earlier build has left.

    Raises
    ------
    ResumeError
        If what was left is of another build.
    TargetExistsError
        If somebody else has made an image there meanwhile.
    """
    begun = [_begin(image, session) for image in session.images]
    jobs, positions = shared_jobs([image_jobs for _, image_jobs in begun], session.limits)
    records = [record for record, _ in begun]
    return replace(session, jobs=jobs, positions=positions, records=records)


def _begin(image: PreparedImage, session: Session) -> tuple[BuildRecord, Sequence[engine.Job]]:
    """Begin one image, or take it up; return what is noted of it, and its jobs."""
    transaction, options, limits = image.transaction, session.options, session.limits
    _check_again(image, options)
    record = replace(record_of(image, limits), delayed=not options["compute"])
    earlier = transaction.unfinished() if options["resume"] else None
    if earlier is not None:
        check_same(earlier, record, transaction)
    if earlier is not None and earlier.created:
        check_documents(image)
        if earlier.workers != limits.workers:  # which decides how the work is divided
            limits = replace(limits, workers=earlier.workers)
            image = divided(image, limits)
        record = earlier
        if not options["compute"] and not earlier.delayed:
            record = replace(earlier, delayed=True)
            transaction.note(record)
    else:
        transaction.begin(record, image.zarr_format, image.interim)
        put(transaction.location, image.template.documents)
        write_lazy(image.template, transaction.location)
        record = replace(record, created=True)
        transaction.note(record)
    transaction.tidy()
    # Tasks elsewhere may outlive this process, which holds the lock.
    is_locked = options["compute"] and transaction.excludes_all and in_process()
    is_wanted = None if is_locked else StillBegun(transaction, record)
    tasks = transaction.tasks if options["compute"] else None
    jobs: list[engine.Job] = []
    for i, member in enumerate(image.images):
        journals = tasks if tasks is None or i == 0 else tasks / f"of-{i}"
        own = list(jobs_of(member, _sinks(member), journals, is_wanted))
        for job in own:
            check_input(job, member)
        jobs += watch(own, member.omero)
    return record, jobs


def _sinks(image: PreparedImage) -> list[engine.Sink | None]:
    """Return what takes the samples of each level, None for those that are there already."""
    transaction = image.transaction
    sinks = [
        open_sink(
            empty_array(image.template, path, transaction.location),
            transaction.target / path,
            k,
            path,
        )
        for k, path in enumerate(image.written, image.kept)
    ]
    return [*[None] * image.kept, *sinks]


def _check_again(image: PreparedImage, options: WriteOptions) -> None:
    """Refuse what somebody else has changed since an image was prepared; nobody else can now."""
    transaction, labels = image.transaction, image.labels_group
    check_target(transaction, image.written, options)
    check_above(transaction.target, image.zarr_format, is_label=labels is not None)
    if labels is not None:
        labels.check_image(image.plan.dtype, len(image.paths))


def run(
    session: Session, nodes: Sequence[Sequence[engine.Node]] | None = None
) -> list[engine.Summary]:
    """Compute and write samples; return what is known of each output of each job.

    Parameters
    ----------
    session : Session
    nodes : sequence of sequence of Node, optional
        For each job of the session, the nodes of one level of its tiling to run; None for all.
        Where parts run in several places, a build that resumes them puts them together: it loads
        what they have noted.
    """
    summaries = engine.run(session.jobs, session.options["progress"], nodes)
    if nodes is None:
        check_missing(session.unchecked, strict=False)
    return summaries


def publish(session: Session, summaries: Sequence[engine.Summary]) -> None:
    """Make images of what is complete now, and list them where others look for them.

    Parameters
    ----------
    session : Session
    summaries : sequence of Summary
        Of each output of each job, as `run` returns them.

    Raises
    ------
    ResumeError
        If another build has taken the place of one of them since, or somebody has removed it. What
        was published since, by a call that resumed the same build, stays as it is.
    """
    durable = session.options["durable"]
    is_begun = [guard() for guard in _guards(session)]
    triples = zip(session.images, session.positions, session.records, strict=True)
    for image, positions, record in compress(triples, is_begun):
        own = [summaries[i] for i in positions]
        written = engine.join(summary.written for summary in own)
        windows = None
        if image.omero is not None:
            beside = next(iter(image.written), None)
            windows = windows_of(image.omero, own[0].statistics, image.transaction.target, beside)
        build = record.build if record.is_named else ""
        tables, documents = group_documents(
            image.template, image.transaction, written, windows, build=build, before=image.before
        )
        put(image.transaction.location, tables)
        named = None if windows is None else windows.path
        # Where that is all that gets done, the next update makes new ones.
        remove_values(image.transaction.target, image.paths[: image.kept], named)
        image.transaction.publish(documents, durable=durable)
    for image in (*session.images, *session.finished):
        for group, change in _changes_around(image):
            image.transaction.change_group(group, change)
        if durable:  # what lists the image, too
            image.transaction.flush()
    for image in session.finished:
        image.transaction.close()


def _publish_later(summaries: Sequence[engine.Summary], session: Session) -> None:
    """Publish what was only begun before: nobody was kept from it since.

    A Delayed may be computed twice, or late, see `publish`.
    """
    for guard in _guards(session):  # before a lock is made where everything has gone
        guard()
    with session.lock():
        publish(session, summaries)


def _guards(session: Session) -> list[StillBegun]:
    """Return what knows for each image whether its build is still there."""
    pairs = zip(session.images, session.records, strict=True)
    return [StillBegun(image.transaction, record) for image, record in pairs]


def _changes_around(
    image: PreparedImage,
) -> Iterator[tuple[NodePath, Callable[[NodePath], None]]]:
    """Yield the groups around an image whose documents must change now that it is there, and how.

    Each is to be changed before the next is asked for.
    """
    target = image.transaction.target
    if image.labels_group is not None:
        yield image.labels_group.place, image.labels_group.add
    elif groups := list(unlisted(target)):
        yield from ((labels.place, labels.add) for labels in groups)
        yield target, consolidate
    if image.collection is not None and image.collection.is_outdated():
        yield image.collection.root, image.collection.add
    yield from ((above, consolidate) for above in _consolidated_above(target))


def _consolidated_above(target: NodePath) -> Iterator[NodePath]:
    """Yield the groups around an image that have copies of its metadata.

    Whoever consolidated a group above would not see there what is new.
    """
    for above in reversed([*target.parents()]):  # the copies in a group hold those of groups below
        node = above.node()
        if isinstance(node, zarr.Group) and node.metadata.consolidated_metadata is not None:
            yield above


def renew_around(transaction: Transaction) -> None:
    """Say anew of an image what groups around it say: in the OME-XML, and in copies of metadata."""
    target = transaction.target
    collection = ImageCollection.around(target, "")
    if collection is not None and collection.says_otherwise() and not collection.missing():
        transaction.change_group(collection.root, collection.add)
    for above in _consolidated_above(transaction.target):
        transaction.change_group(above, consolidate)
