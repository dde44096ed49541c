"""An image grows: its objects are written first, and then all that says how long it is.

What is new lies behind the end of each array, where no reader looks, until the documents say that
the arrays are longer. They are put in one go, the one of the image's own group last. What they will
be is noted before, so that an interrupted call is completed by the next one. Where stored objects
hold old samples and new ones, they are written as a whole; what they hold of the old samples stays.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer

from xpyramid import engine
from xpyramid.errors import ResumeError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.plan import budget
from xpyramid.geometry.tiles import Region
from xpyramid.growth.continuity import as_part
from xpyramid.growth.coordinates import put_coordinates
from xpyramid.growth.documents import (
    Announcement,
    Ledger,
    announcement,
    documents_below,
    with_shape_of,
)
from xpyramid.growth.image import GrowingImage, open_growing
from xpyramid.growth.plan import PreparedGrowth, plan_growth
from xpyramid.growth.rollback import forget, roll_back
from xpyramid.growth.windows import GrowingWindows, count_again
from xpyramid.messages import say
from xpyramid.options import RunOptions
from xpyramid.runtime.cluster import check_main_module, workers
from xpyramid.store.build_record import APPEND, BuildRecord
from xpyramid.store.documents import Documents, as_buffer, get_document, put, put_group, remove
from xpyramid.store.identity import identity_when_longer
from xpyramid.store.local_files import remove_torn_files
from xpyramid.store.manifest import object_records, set_aside, with_beginning
from xpyramid.store.path import NodePath, local_root, root_of_files, takes_nodes_only
from xpyramid.store.transaction import StillBegun, Transaction, is_growing, transaction_for
from xpyramid.writer import documents
from xpyramid.writer.changed import check_in_step
from xpyramid.writer.failures import resume_hint
from xpyramid.writer.jobs import jobs_of, passes_of, shared_jobs
from xpyramid.writer.missing_chunks import check_missing
from xpyramid.writer.resume import FORMAT, check_input, check_same
from xpyramid.writer.session import renew_around
from xpyramid.writer.sinks import PartSink
from xpyramid.writer.source_guard import check_source, what_is_read
from xpyramid.writer.target_checks import check_space, check_writable

#: Where what is decided is noted: below the journals of tasks.
_DECIDED = "decided.json"


@dataclass(frozen=True)
class Part:
    """Samples that continue a stored image.

    Attributes
    ----------
    place : NodePath
        Of the image's group.
    array : xarray.DataArray
    bounds : xarray.Dataset
        Of the cells of its coordinates.
    """

    place: NodePath
    array: xr.DataArray
    bounds: xr.Dataset


@dataclass
class Known:
    """What is known of an image that grows, beside its levels.

    Attributes
    ----------
    ledger : Ledger or None
        Of its stored objects.
    windows : GrowingWindows or None
        Of its channels.
    documents : mapping
        All that lie below it.
    """

    ledger: Ledger | None
    windows: GrowingWindows | None
    documents: Documents

    @classmethod
    def of(cls, image: GrowingImage) -> Known:
        """Return what is known of an image as it is."""
        return cls(Ledger.of(image), GrowingWindows.of(image), documents_below(image.place))

    def copy(self) -> Known:
        """Return the same, to be changed by a call that may break off."""
        ledger, windows = self.ledger, self.windows
        return Known(
            None if ledger is None else Ledger(dict(ledger.tables), dict(ledger.present)),
            None if windows is None else replace(windows),
            self.documents,
        )

    def announcement(
        self,
        growth: PreparedGrowth,
        summaries: Sequence[engine.Summary],
        record: BuildRecord,
        limits: Limits,
        progress: bool | None,
        *,
        is_last: bool = True,
    ) -> Announcement:
        """Return what makes the image longer, once its jobs have run.

        Unless it is the last time, tables that grow with the image are left out.
        """
        image, windows = growth.image, None
        written = engine.join(summary.written for summary in summaries)
        regions, rows = finish_levels(growth, written, limits, progress)
        longer = image.longer(growth.growth.total)
        if self.ledger is not None:
            self.ledger.add(image, longer, regions, rows)
        if self.windows is not None:
            shape = longer[image.levels.paths[0]].shape
            count = partial(count_again, image, self.windows, limits)
            self.windows.add(summaries[0].statistics, count, shape)
            windows = self.windows.made(shape, is_kept=is_last)
        ledger = self.ledger
        if ledger is not None and not is_last:
            ledger = ledger.without_tables()
        return announcement(growth.growth, self.documents, longer, ledger, record.build, windows)


def append(parts: Sequence[Part], dim: str | None, options: RunOptions) -> None:
    """Append samples to stored images; see :meth:`xpyramid.accessor.ArrayAccessor.append`.

    Everything that can be refused is refused before anything is touched.
    """
    check_main_module()
    limits = Limits(workers(), budget(options["memory"]))
    prepared = []
    for part in parts:
        finished = complete(part.place)
        image = open_growing(part.place, dim)
        if not is_growing(part.place):
            check_in_step(image.levels)
        if finished is not None and _is_end(image, part.array, finished):
            if options["resume"]:
                continue
            raise ResumeError(
                f"an earlier call was interrupted when it had nearly appended to {image.place}, "
                f"which has been completed now: the image has {image.length} samples",
                fix=say(
                    "if this call is that one, there is nothing left to do, which {resume} knows; "
                    "if not, call it again",
                    resume=True,
                ),
            )
        transaction = image.levels.transaction()
        _check_stores(image, part, transaction, options)
        growth = plan_growth(
            image, part.array, part.bounds, transaction, limits, options["irregular"]
        )
        if growth is not None:
            prepared.append(growth)
    transactions = [growth.transaction for growth in prepared]
    with resume_hint(transactions), ExitStack() as locks:
        for transaction in sorted(transactions, key=lambda one: one.target.path):
            locks.enter_context(transaction.lock())
        for growth in prepared:
            _check_unchanged(growth.image)
        known = [Known.of(growth.image) for growth in prepared]
        locks.enter_context(_rolled_back(prepared, known))
        begun = [
            begin(growth, limits, before.windows, resume=options["resume"])
            for growth, before in zip(prepared, known, strict=True)
        ]
        jobs, positions = shared_jobs([image_jobs for _, image_jobs in begun], limits)
        summaries = engine.run(jobs, options["progress"])
        for growth, own, (record, _), before in zip(prepared, positions, begun, known, strict=True):
            seen = [summaries[i] for i in own]
            announcement = before.announcement(growth, seen, record, limits, options["progress"])
            publish(
                growth.transaction, growth.image.place, announcement, durable=options["durable"]
            )
            growth.transaction.close()
            renew_around(growth.transaction)


@contextmanager
def _rolled_back(prepared: Sequence[PreparedGrowth], known: Sequence[Known]) -> Iterator[None]:
    """Make images as long as they were if a call breaks off whose arrays are longer already."""
    try:
        yield
    except BaseException:
        for growth, before in zip(prepared, known, strict=True):
            if takes_nodes_only(growth.image.place.store):
                roll_back(growth, before.documents, {})
        raise


def _check_stores(
    image: GrowingImage, part: Part, transaction: Transaction, options: RunOptions
) -> None:
    """Refuse to write where something is read, or where it cannot be written."""
    others = [part.array.coords.to_dataset(), part.bounds]
    read = what_is_read([part.array.variable], others)
    check_source(read.locations, [image.place / name for name in transaction.kept])
    check_writable(transaction.target)
    check_missing(read.arrays, strict=options["strict"])
    check_space(str(local_root(image.place.store) or ""), [image.place], part.array.nbytes)


def begin(
    growth: PreparedGrowth,
    limits: Limits,
    windows: GrowingWindows | None,
    *,
    resume: bool = False,
    journal: bool = True,
) -> tuple[BuildRecord, Sequence[engine.Job]]:
    """Note that an image grows, or take up what an earlier call has left; return its jobs.

    Raises
    ------
    ResumeError
    """
    transaction, image = growth.transaction, growth.image
    record = _record(transaction, limits, growth.about)
    if journal and transaction.noted() is not None:
        tidy(image.place, transaction.kept)
    earlier = transaction.unfinished()
    if earlier is not None and not earlier.is_of_growth:
        raise ResumeError(
            f"there is an unfinished build of {transaction.target}",
            fix=say("finish it first, by the call that began it with {resume}", resume=True),
        )
    if earlier is not None and resume:
        check_same(earlier, record, transaction)
        record = earlier
    else:
        if earlier is not None:
            _forget(growth, earlier)
        _prepare_place(growth, record)
    tasks = transaction.tasks if journal else None
    return record, _jobs(growth, record, limits, windows, tasks)


def _prepare_place(growth: PreparedGrowth, record: BuildRecord) -> None:
    """Note that an image grows, and set aside what is recorded of objects that will change."""
    transaction, image = growth.transaction, growth.image
    transaction.note(record)
    if takes_nodes_only(image.place.store):  # and no objects behind the end of an array
        _put_lengths(growth)
    if not image.is_aligned or _knows_sizes(image):
        identity = identity_when_longer(image.attributes, record.build)
        aside = with_beginning(set_aside(image.attributes), identity if image.is_aligned else None)
        put_group(image.place, documents.with_attributes(image.place, aside))
        if takes_nodes_only(image.place.store):  # where that document has the note
            transaction.note(record)


def _jobs(
    growth: PreparedGrowth,
    record: BuildRecord,
    limits: Limits,
    windows: GrowingWindows | None,
    tasks: NodePath | None,
) -> list[engine.Job]:
    """Return what there is to compute and to write, as far as no earlier call has done it.

    Raises
    ------
    ResumeError
        If an earlier call had another input.
    """
    transaction, image = growth.transaction, growth.image
    is_wanted = None if transaction.excludes_all else StillBegun(transaction, record)
    arrays, start = image.longer(growth.growth.total), image.first_object
    sinks = []
    for k, path in enumerate(growth.prepared.paths):
        at = [
            start // image.factors[k] if i == image.axis else 0
            for i in range(len(image.objects[k]))
        ]
        name = f"array {image.place / path}, level {k}"
        sinks.append(PartSink(arrays[path], name, path, tuple(at)))
    prepared = growth.prepared
    if record.workers != limits.workers:  # which decides how the work is divided
        divided = replace(limits, workers=record.workers)
        prepared = replace(prepared, passes=tuple(passes_of(prepared, divided)))
    jobs = list(jobs_of(prepared, sinks, tasks, is_wanted))
    for job in jobs:
        check_input(job, prepared)
    if windows is not None:
        observed = jobs[0].work.with_observer(windows.observer(image))
        jobs[0] = replace(jobs[0], work=observed)
    return jobs


def _check_unchanged(image: GrowingImage) -> None:
    """Refuse to go on where somebody else has changed the image since it was looked at.

    Raises
    ------
    ResumeError
    """
    now = open_growing(image.place, image.dim)
    if now.length != image.length or now.levels.paths != image.levels.paths:
        raise ResumeError(f"{image.place} was changed by another call", fix="call again")


def note(transaction: Transaction, limits: Limits, about: Mapping[str, object]) -> BuildRecord:
    """Note what is to be done, and return the note."""
    record = _record(transaction, limits, about)
    transaction.note(record)
    return record


def _record(transaction: Transaction, limits: Limits, about: Mapping[str, object]) -> BuildRecord:
    return BuildRecord(
        format=FORMAT, workers=limits.workers, created=True, about=about, build=uuid4().hex,
        kept=transaction.kept,
    )  # fmt: skip


def _knows_sizes(image: GrowingImage) -> bool:
    """Whether sizes of coordinates are recorded, whose last chunk is written again."""
    records = object_records(image.attributes)
    coordinates = [records.get(path) for arrays in image.beside for path in arrays]
    return any(isinstance(record, Mapping) and record.get("table") for record in coordinates)


def tidy(place: NodePath, names: Iterable[str]) -> None:
    """Remove files that a call that died has left half written, in a group and in its levels."""
    root = root_of_files(place.store)
    if root is not None:
        remove_torn_files(root / place.path, below=False)
        for name in names:
            remove_torn_files(root / place.path / name)


def _put_lengths(growth: PreparedGrowth) -> None:
    """Make arrays longer at once, in stores in which nothing is seen before the user's commit."""
    image, before = growth.image, documents_below(growth.image.place)
    for path, array in image.longer(growth.growth.total).items():
        after = with_shape_of(before, path, array)
        put_group(image.place, {key: after[key] for key in after if key.rpartition("/")[0] == path})


def _forget(growth: PreparedGrowth, earlier: BuildRecord) -> None:
    """Remove what an earlier call, which is not resumed, has stored behind the end of the image."""
    total = earlier.about.get("to")
    if growth.transaction.tasks is not None:
        remove(growth.transaction.tasks)
    if isinstance(total, int):
        forget(growth.image, total)


def finish_levels(
    growth: PreparedGrowth, written: engine.Written, limits: Limits, progress: bool | None
) -> tuple[dict[str, Region], dict[str, NDArray[np.uint64]]]:
    """Make what is left: levels that are coarsened along the dimension, and coordinates.

    Returns
    -------
    regions : dict
        What has been stored of each array, by path.
    rows : dict
        Records of the objects, where they are known.
    """
    image, regions, rows = growth.image, dict[str, Region](), dict(written)
    longer = image.longer(growth.growth.total)
    levels = replace(image.levels, arrays=[longer[path] for path in image.levels.paths])
    if image.is_coarsened:
        engine.run(list(levels.jobs(growth.region, limits)), progress)
    for k, path in enumerate(image.levels.paths):
        rows.setdefault(path, np.zeros((0, 3), np.uint64))
        if k and image.is_coarsened:
            regions[path] = levels.above(levels.aligned(growth.region), k)
            rows[path] = levels.stored(k, [growth.region])
        else:
            start = image.first_object // image.factors[k]
            shape = levels.arrays[k].shape
            regions[path] = tuple(
                slice(start if i == image.axis else 0, n) for i, n in enumerate(shape)
            )
    return regions | put_coordinates(image, growth.growth.encoded), rows


def publish(
    transaction: Transaction, place: NodePath, announcement: Announcement, *, durable: bool = False
) -> None:
    """Make an image as long as what is stored: noted first, so that nothing is half done."""
    if durable:
        os.sync()
    if transaction.tasks is not None:
        content = [
            {key: base64.b64encode(data.to_bytes()).decode() for key, data in each.items()}
            for each in (announcement.tables, announcement.changed)
        ]
        put(transaction.tasks, {_DECIDED: as_buffer(json.dumps(content).encode())})
    _put_all(place, announcement.tables, announcement.changed)
    if durable:
        os.sync()


def _put_all(place: NodePath, tables: Mapping[str, Buffer], changed: Documents) -> None:
    """Put documents: those of coarse levels first, and the image's own last."""
    put(place, tables)
    for key in sorted((key for key in changed if "/" in key), reverse=True):
        put(place, {key: changed[key]})
    put_group(place, {key: document for key, document in changed.items() if "/" not in key})


def complete(place: NodePath) -> Mapping[str, object] | None:
    """Complete what an earlier call has decided, and say what it was about; mostly nothing."""
    transaction = transaction_for(place.as_image())
    record = transaction.noted()
    tasks = transaction.tasks
    if record is None or not record.is_of_growth or tasks is None:
        return None
    transaction = transaction_for(place.as_image(), record.kept)
    with transaction.lock():
        raw = get_document(tasks / _DECIDED)
        if raw is None:
            return None
        tidy(place, record.kept)
        tables, changed = (
            {key: as_buffer(base64.b64decode(data)) for key, data in each.items()}
            for each in json.loads(raw)
        )
        _put_all(place, tables, changed)
        transaction.close()
        renew_around(transaction)
    return record.about


def _is_end(image: GrowingImage, array: xr.DataArray, finished: Mapping[str, object]) -> bool:
    """Whether samples are those that the image ends with: of a call that has been completed now."""
    array = as_part(image, array)
    count = array.sizes[image.dim]
    same = {APPEND: image.dim, "to": image.length, "from": image.length - count}
    if any(finished.get(key) != value for key, value in same.items()):
        return False
    if image.dim not in array.coords or image.dim not in image.coordinates[0].coords:
        return True
    tail = image.coordinates[0].coords[image.dim].values[image.length - count :]
    return bool(np.array_equal(tail, array.coords[image.dim].values))
