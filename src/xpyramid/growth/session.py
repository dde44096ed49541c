"""An image grows: its objects are written first, and then all that says how long it is.

What is new lies behind the end of each array, where no reader looks, until the documents say that
the arrays are longer. They are put in one go, the one of the image's own group last. What they will
be is noted before, so that an interrupted call is completed by the next one. Where stored objects
hold old samples and new ones, they are written as a whole; what they hold of the old samples stays.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from zarr.abc.buffer import Buffer

from xpyramid import engine
from xpyramid._compat import lazy_variable
from xpyramid._version import __version__
from xpyramid.errors import PlanError, ResumeError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.plan import Level, Plan, budget
from xpyramid.geometry.tiles import Region
from xpyramid.growth.continuity import as_part, check_continues, check_part, with_coordinate
from xpyramid.growth.documents import Growth, grown_documents
from xpyramid.growth.image import GrowingImage, open_growing
from xpyramid.lazy.coarsen import as_dask, source_chunks
from xpyramid.lazy.coordinates import level_coordinates
from xpyramid.lazy.levels import Levels
from xpyramid.messages import say
from xpyramid.options import RunOptions
from xpyramid.runtime.cluster import check_main_module, workers
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import Documents, announce_last, as_buffer, get_document, put, remove
from xpyramid.store.local_chunks import indexes_in
from xpyramid.store.manifest import set_aside
from xpyramid.store.path import NodePath, local_root
from xpyramid.store.transaction import StillBegun, Transaction, transaction_for
from xpyramid.writer import documents
from xpyramid.writer.failures import resume_hint
from xpyramid.writer.jobs import jobs_of, passes_of, shared_jobs
from xpyramid.writer.missing_chunks import check_missing
from xpyramid.writer.request import PreparedImage
from xpyramid.writer.resume import FORMAT, check_input, check_same
from xpyramid.writer.session import consolidate_above
from xpyramid.writer.sinks import PartSink
from xpyramid.writer.source_guard import check_source, what_is_read
from xpyramid.writer.target_checks import check_space, check_writable
from xpyramid.writer.template import MetadataTemplate
from xpyramid.writer.update import StoredLevels

#: What is noted of an image that grows, beside what is noted of builds.
_APPEND = "append"

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


@dataclass(frozen=True)
class PreparedGrowth:
    """An image that is to grow, all checks of which have passed.

    Attributes
    ----------
    growth : Growth
    prepared : PreparedImage
        The part of it that is written from its source: whole stored objects.
    about : mapping
        What must be the same where the call is resumed.
    """

    growth: Growth
    prepared: PreparedImage
    about: Mapping[str, object]

    @property
    def image(self) -> GrowingImage:
        """The image as it is."""
        return self.growth.image

    @property
    def transaction(self) -> Transaction:
        """What keeps others from changing it, and holds notes."""
        return self.prepared.transaction

    @property
    def region(self) -> Region:
        """What is new of level 0."""
        image, shape = self.image, self.image.levels.base.shape
        return tuple(
            slice(image.length, self.growth.total) if i == image.axis else slice(0, n)
            for i, n in enumerate(shape)
        )


def append(parts: Sequence[Part], dim: str | None, options: RunOptions) -> None:
    """Append samples to stored images; see :meth:`xpyramid.accessor.ArrayAccessor.append`.

    Everything that can be refused is refused before anything is touched.
    """
    check_main_module()
    limits = Limits(workers(), budget(options["memory"]))
    prepared = []
    for part in parts:
        finished = _complete(part.place)
        image = open_growing(part.place, dim)
        if options["resume"] and finished is not None and _is_end(image, part.array, finished):
            continue
        growth = _prepare(part, image, limits, options)
        if growth is not None:
            prepared.append(growth)
    transactions = [growth.transaction for growth in prepared]
    with resume_hint(transactions), ExitStack() as locks:
        for transaction in sorted(transactions, key=lambda one: one.target.path):
            locks.enter_context(transaction.lock())
        _run_all(prepared, limits, options)


def _run_all(growths: Sequence[PreparedGrowth], limits: Limits, options: RunOptions) -> None:
    begun = [_begin(growth, limits, options) for growth in growths]
    jobs, positions = shared_jobs([image_jobs for _, image_jobs in begun], limits)
    summaries = engine.run(jobs, options["progress"])
    for growth, own, (record, _) in zip(growths, positions, begun, strict=True):
        written = engine.join(summaries[i].written for i in own)
        _publish(growth, written, record, limits, options)


def _prepare(
    part: Part, image: GrowingImage, limits: Limits, options: RunOptions
) -> PreparedGrowth | None:
    """Check that samples continue an image, and plan what is written; None where there are none."""
    array = with_coordinate(image, as_part(image, part.array))
    check_part(image, array)
    if not array.sizes[image.dim]:
        return None
    check_continues(image, array, options["irregular"])
    total = image.length + array.sizes[image.dim]
    if image.plan.boundary == "exact" and total % image.factors[-1]:
        raise PlanError(
            f"{image.place} would have {total} samples along {image.dim!r}, and boundary='exact' "
            f"demands multiples of {image.factors[-1]}"
        )
    transaction = _transaction(image.levels)
    read = what_is_read([array.variable], [array.coords.to_dataset(), part.bounds])
    check_source(read.locations, [image.place / name for name in transaction.kept])
    check_writable(transaction.target)
    check_missing(read.arrays, strict=options["strict"])
    check_space(str(local_root(image.place.store) or ""), [image.place], array.nbytes)
    has_coordinate = image.dim in array.coords  # of which `get` would make one
    along = array.coords[image.dim] if has_coordinate else None
    growth = Growth(
        image, total, _coordinates(image, array, part.bounds, total), along, options["irregular"]
    )
    _ = growth.attributes
    encoded = growth.encoded()
    digest = hashlib.sha256()
    for path, _array, values in encoded:
        digest.update(f"{path} {values.dtype}\0".encode() + np.ascontiguousarray(values).tobytes())
    about = {
        _APPEND: image.dim,
        "from": image.length,
        "to": total,
        "library": __version__,
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "memory": limits.memory,
        "coordinates": digest.hexdigest(),
    }
    prepared = _prepared_image(image, array, total, transaction)
    prepared = replace(prepared, passes=tuple(passes_of(prepared, limits)))
    return PreparedGrowth(growth, prepared, about)


def _transaction(levels: StoredLevels) -> Transaction:
    names = dict.fromkeys(path.split("/")[0] for path in levels.paths)
    return transaction_for(levels.place.as_image(), tuple(names))


def _coordinates(
    image: GrowingImage, array: xr.DataArray, bounds: xr.Dataset, total: int
) -> list[xr.Dataset]:
    """Return the coordinates of each level, from `GrowingImage.first_coordinate` on."""
    dim, first = image.dim, image.first_coordinate
    new = {**bounds.variables, **array.coords.to_dataset().variables}
    joined: dict[str, xr.Variable] = {}
    for name, stored in image.coordinates[0].variables.items():
        variable = stored.to_base_variable()
        if dim in variable.dims and name in new and new[name].dims == variable.dims:
            parts = [variable.isel({dim: slice(first, None)}), new[name].to_base_variable()]
            values = np.concatenate(
                [np.asarray(one.values) for one in parts], axis=variable.dims.index(dim)
            )
            joined[str(name)] = xr.Variable(variable.dims, values, variable.attrs)
            joined[str(name)].encoding = dict(variable.encoding)
        elif dim not in variable.dims:
            joined[str(name)] = variable
    shape = tuple(total - first if d == dim else array.sizes[d] for d in array.dims)
    own = {name: v for name, v in joined.items() if {*v.dims} <= {*array.dims}}
    frame = xr.DataArray(da.zeros(shape, "u1", chunks=-1), own, array.dims, name="frame")
    beside = {name: v for name, v in joined.items() if name not in own}
    others = xr.Dataset(coords=xr.Coordinates(beside, indexes={}))
    plan = _plan_of(image, shape[image.axis], total)
    return [level_coordinates(frame, plan, k, others) for k in range(len(plan.levels))]


def _plan_of(image: GrowingImage, length: int, total: int) -> Plan:
    """Return the plan of so many samples of an image, counted from a whole window."""
    plan, start, lengths = image.plan, total - length, image.lengths(total)
    levels = []
    for k, level in enumerate(plan.levels):
        n = lengths[k] - start // image.factors[k]
        shape = (*level.shape[: image.axis], n, *level.shape[image.axis + 1 :])
        nbytes = int(np.prod(shape, dtype=object)) * plan.dtype.itemsize
        levels.append(Level(shape, level.factors, level.chunks, nbytes))
    return replace(plan, levels=tuple(levels), stored=())


def _prepared_image(
    image: GrowingImage, array: xr.DataArray, total: int, transaction: Transaction
) -> PreparedImage:
    """Return the part of an image that is written from its source: whole stored objects.

    Where coarser levels are shorter along the dimension, that is level 0 alone.
    """
    start = image.first_object
    source = array if start == image.length else _with_tail(image, array, start)
    reducer = image.levels.reducer
    plan = _plan_of(image, total - start, total)
    plan = replace(
        plan, source_chunks=(source_chunks(source),), holistic=reducer.holistic,
        copies=reducer.copies, dtype=source.dtype,
    )  # fmt: skip
    paths, objects = tuple(image.levels.paths), tuple(image.objects)
    if image.is_coarsened:
        plan = replace(plan, levels=plan.levels[:1], steps=(), holistic=False)
        paths, objects = paths[:1], objects[:1]
    return PreparedImage(
        transaction=transaction,
        levels=Levels.from_arrays([source]),
        objects=objects,
        plan=plan,
        reducer=None if image.is_coarsened else reducer,
        paths=paths,
        template=MetadataTemplate({}, {}, {}),
        zarr_format=image.levels.base.metadata.zarr_format,
    )


def _with_tail(image: GrowingImage, array: xr.DataArray, start: int) -> xr.DataArray:
    """Return new samples behind those with which they share stored objects."""
    base = image.levels.base
    stored = da.from_array(lazy_variable(base, list(image.plan.dims), {}), chunks=base.chunks)
    tail = stored[
        tuple(slice(start, None) if i == image.axis else slice(None) for i in range(base.ndim))
    ]
    new = as_dask(array, base.chunks)
    return xr.DataArray(da.concatenate([tail, new], axis=image.axis), dims=array.dims)


def _begin(
    growth: PreparedGrowth, limits: Limits, options: RunOptions
) -> tuple[BuildRecord, Sequence[engine.Job]]:
    """Note that an image grows, or take up what an earlier call has left; return its jobs.

    Raises
    ------
    ResumeError
    """
    transaction, image = growth.transaction, growth.image
    _check_unchanged(image)
    record = BuildRecord(
        format=FORMAT, workers=limits.workers, created=True, about=growth.about,
        build=uuid4().hex, kept=transaction.kept,
    )  # fmt: skip
    earlier = transaction.unfinished()
    if earlier is not None and _APPEND not in earlier.about:
        raise ResumeError(
            f"there is an unfinished build of {transaction.target}",
            fix=say("finish it first, by the call that began it with {resume}", resume=True),
        )
    if earlier is not None and options["resume"]:
        check_same(earlier, record, transaction)
        record = earlier
    else:
        if earlier is not None:
            _forget(growth, earlier)
        transaction.note(record)
        if not image.is_aligned:
            aside = set_aside(image.attributes)
            _put(image.place, documents.with_attributes(image.place, aside))
    is_wanted = None if transaction.excludes_all else StillBegun(transaction, record)
    arrays, start = growth.growth.arrays(), image.first_object
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
    jobs = list(jobs_of(prepared, sinks, transaction.tasks, is_wanted))
    for job in jobs:
        check_input(job, prepared)
    return record, jobs


def _check_unchanged(image: GrowingImage) -> None:
    """Refuse to go on where somebody else has changed the image since it was looked at.

    Raises
    ------
    ResumeError
    """
    now = open_growing(image.place, image.dim)
    if now.length != image.length or now.levels.paths != image.levels.paths:
        raise ResumeError(f"{image.place} was changed by another call", fix="call again")


def _forget(growth: PreparedGrowth, earlier: BuildRecord) -> None:
    """Remove what an earlier call, which is not resumed, has stored behind the end of the image."""
    image, transaction = growth.image, growth.transaction
    total = earlier.about.get("to")
    if transaction.tasks is not None:
        remove(transaction.tasks)
    if not isinstance(total, int) or total <= image.length:
        return
    longer = replace(growth.growth, total=total).arrays()
    before = {
        path: array.shape
        for path, array in zip(image.levels.paths, image.levels.arrays, strict=True)
    }
    for path, shape in before.items():
        array = longer[path]
        lengths = array.shards or array.chunks
        inside = tuple(-(-n // length) for n, length in zip(shape, lengths, strict=True))
        region = tuple(slice(0, n) for n in array.shape)
        for index in indexes_in(region, lengths):
            if index[image.axis] >= inside[image.axis]:
                remove(image.place / path / array.metadata.encode_chunk_key(index))


def _publish(
    growth: PreparedGrowth,
    written: engine.Written,
    record: BuildRecord,
    limits: Limits,
    options: RunOptions,
) -> None:
    """Make the image as long as what is stored now."""
    image, transaction = growth.image, growth.transaction
    arrays = growth.growth.arrays()
    regions: dict[str, Region] = {}
    rows = dict(written)
    longer = [arrays[path] for path in image.levels.paths]
    levels = replace(image.levels, arrays=longer)
    if image.is_coarsened:
        engine.run(list(levels.jobs(growth.region, limits)), options["progress"])
        rows |= {
            path: levels.stored(k, [growth.region])
            for k, path in enumerate(image.levels.paths)
            if k
        }
    for k, path in enumerate(image.levels.paths):
        start = image.first_object // image.factors[k]
        if k and image.is_coarsened:
            regions[path] = levels.above(levels.aligned(growth.region), k)
        else:
            regions[path] = tuple(
                slice(start, n) if i == image.axis else slice(0, n)
                for i, n in enumerate(longer[k].shape)
            )
        rows.setdefault(path, np.zeros((0, 3), np.uint64))
    regions |= growth.growth.put_coordinates()
    tables, changed = grown_documents(growth.growth, arrays, regions, rows, record.build)
    if options["durable"]:
        os.sync()
    _decide(transaction, tables, changed)
    _announce(transaction, image.place, tables, changed)
    if options["durable"]:
        os.sync()


def _decide(transaction: Transaction, tables: Mapping[str, Buffer], changed: Documents) -> None:
    """Note the documents that will be put: from now on, the image grows for sure."""
    if transaction.tasks is None:
        return
    content = [
        {key: base64.b64encode(data.to_bytes()).decode() for key, data in each.items()}
        for each in (tables, changed)
    ]
    put(transaction.tasks, {_DECIDED: as_buffer(json.dumps(content).encode())})


def _announce(
    transaction: Transaction, place: NodePath, tables: Mapping[str, Buffer], changed: Documents
) -> None:
    """Put the documents: those of coarse levels first, and the image's own last."""
    put(place, tables)
    for key in sorted((key for key in changed if "/" in key), reverse=True):
        put(place, {key: changed[key]})
    _put(place, {key: document for key, document in changed.items() if "/" not in key})
    transaction.close()
    consolidate_above(transaction)


def _complete(place: NodePath) -> Mapping[str, object] | None:
    """Complete what an earlier call has decided, and say what it was about; mostly nothing."""
    transaction = transaction_for(place.as_image())
    record = transaction.noted()
    tasks = transaction.tasks
    if record is None or _APPEND not in record.about or tasks is None:
        return None
    transaction = transaction_for(place.as_image(), record.kept)
    with transaction.lock():
        raw = get_document(tasks / _DECIDED)
        if raw is None:
            return None
        tables, changed = (
            {key: as_buffer(base64.b64decode(data)) for key, data in each.items()}
            for each in json.loads(raw)
        )
        _announce(transaction, place, tables, changed)
    return record.about


def _is_end(image: GrowingImage, array: xr.DataArray, finished: Mapping[str, object]) -> bool:
    """Whether samples are those that the image ends with: of a call that has been completed now."""
    array = as_part(image, array)
    count = array.sizes[image.dim]
    same = {_APPEND: image.dim, "to": image.length, "from": image.length - count}
    if any(finished.get(key) != value for key, value in same.items()):
        return False
    if image.dim not in array.coords or image.dim not in image.coordinates[0].coords:
        return True
    tail = image.coordinates[0].coords[image.dim].values[image.length - count :]
    return bool(np.array_equal(tail, array.coords[image.dim].values))


def _put(place: NodePath, group: Documents) -> None:
    for key in sorted(group, key=announce_last):
        put(place, {key: group[key]})
