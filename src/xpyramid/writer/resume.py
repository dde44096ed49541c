"""Whether a build can take up what an earlier one has left, unfinished or published."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from uuid import uuid4

import numpy as np
import zarr

from xpyramid import engine
from xpyramid._version import __version__
from xpyramid.errors import PyramidError, ReadError, ResumeError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.tiles import Region
from xpyramid.messages import say
from xpyramid.options import WriteOptions
from xpyramid.reducers import Array, reduce_levels_with_state
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import attributes_of, parse_document, read_documents
from xpyramid.store.transaction import Transaction
from xpyramid.writer.request import PreparedImage
from xpyramid.writer.sinks import ZarrSink
from xpyramid.writer.target_checks import check_free, check_target

#: Of what is noted of an unfinished build.
FORMAT = 6


def record_of(image: PreparedImage, limits: Limits) -> BuildRecord:
    """Return what is noted of a build; its ``about`` must be the same where it is resumed."""
    documents = {**image.template.documents, **image.template.own}
    digest = hashlib.sha256()
    for key in sorted(documents):
        digest.update(key.encode() + b"\0" + documents[key].to_bytes())
    return BuildRecord(
        format=FORMAT,
        build=uuid4().hex,
        workers=limits.workers,
        children=tuple(sorted({*image.replaced, *(p.split("/")[0] for p in image.written)})),
        kept=image.transaction.kept,
        about={
            "library": __version__,
            **_samples_of(image),
            "memory": limits.memory,
            "metadata, attributes and coordinates": digest.hexdigest(),
            "what is counted for omero": None if image.omero is None else str(image.omero.observer),
            **({"others": list(map(_samples_of, image.members))} if image.members else {}),
        },
    )


def _samples_of(image: PreparedImage) -> dict[str, object]:
    """Return what the samples of an image follow from, as JSON."""
    plan = image.plan
    return {
        "shape": list(plan.levels[0].shape),
        "dtype": plan.dtype.str,
        "method": plan.method,
        "boundary": plan.boundary,
        "factors": [list(level.factors) for level in plan.levels],
        "chunks": [list(level.chunks) for level in plan.levels],
        "stored objects": [list(shape) for shape in image.objects],
    }


def check_same(earlier: BuildRecord, record: BuildRecord, transaction: Transaction) -> None:
    """Refuse to resume another build, or a copy of one, which may lack anything.

    Raises
    ------
    ResumeError
    """
    target = transaction.target
    if earlier.format != FORMAT:
        raise ResumeError(
            f"the unfinished build of {target} was started by another version of xpyramid",
            fix=say("start over with {mode}", mode="w"),
        )
    if earlier.created and not transaction.is_original(earlier):
        raise ResumeError(
            f"the unfinished build of {target} is a copy of one that was made "
            "elsewhere, and may be incomplete; start over with " + say("{mode}", mode="w")
        )
    old, new = earlier.about, json.loads(json.dumps(record.about))
    differ = [_difference(key, old.get(key), new[key]) for key in new if old.get(key) != new[key]]
    if differ:
        raise ResumeError(
            f"the unfinished build of {target} differs in {'; '.join(differ)}",
            fix=say("call it as before, or start over with {mode}", mode="w"),
        )


def _difference(key: str, then: object, now: object) -> str:
    """Say what differs, with the values where these are for people."""
    shown = [str(value) for value in (then, now)]
    is_plain = all(len(text) <= _LONGEST and "(" not in text for text in shown)
    return f"{key} ({shown[0]} then, {shown[1]} now)" if is_plain else key


def check_documents(image: PreparedImage) -> None:
    """Refuse to resume a build whose metadata are not those that it began with.

    Raises
    ------
    ResumeError
    """
    documents = image.template.documents
    stored = read_documents(image.transaction.location, list(documents))
    for key, raw in zip(documents, stored, strict=True):
        if raw != documents[key].to_bytes():
            raise _damaged(
                image.transaction, f"{key!r} is {'missing' if raw is None else 'another'}"
            )


def _damaged(transaction: Transaction, what: str) -> ResumeError:
    return ResumeError(
        f"the unfinished build of {transaction.target} is damaged: {what}",
        fix=say("start over with {mode}", mode="w"),
    )


#: The longest value that a message shows; digests are longer.
_LONGEST = 60

#: How many cells of a coarse level are compared in each place, along each dimension.
_CELLS = 16

#: In how many places the input is compared with what an earlier run has stored of it.
_SAMPLES = 8


def check_input(job: engine.Job, image: PreparedImage) -> None:
    """Refuse to resume with another input, as far as samples show.

    Raises
    ------
    ResumeError
    """
    output, tiling = job.work.outputs[0], job.work.tiling
    sinks = [
        (i, sink)
        for i, sink in enumerate(output.sinks)
        if isinstance(sink, ZarrSink) and (i > 0 or output.reducer.base is None)
    ]
    done = sorted(node for node in output.done if node[0] == tiling.tile)
    if not sinks or sinks[0][0] > tiling.tile:
        return
    level, sink = sinks[0]
    lengths = sink.array.shards or sink.array.chunks
    for node in done[:: max(1, -(-len(done) // _SAMPLES))]:
        cells = tiling.coarse_region(tiling.base_region(*node), level)
        triples = zip(cells, lengths, output.shapes[level], strict=True)
        region = tuple(
            slice(c.start, min(c.stop, end, c.start + (n if level == 0 else min(n, _CELLS))))
            for c, n, end in triples
        )
        samples = _made_of(job, level, region)
        try:
            stored = sink.read(region).astype(samples.dtype, copy=False)
        except PyramidError:
            raise
        except OSError as error:
            raise ReadError(
                f"cannot read what {image.transaction.target} has stored: "
                f"{type(error).__name__}: {error}"
            ) from error
        except Exception as error:
            raise _damaged(image.transaction, f"{type(error).__name__}: {error}") from error
        _check_samples(
            samples, stored, region, f"the unfinished build of {image.transaction.target}"
        )


def _made_of(job: engine.Job, level: int, region: Region) -> Array:
    """Return what a region of a level of a job is, computed from its source."""
    tiling = job.work.tiling
    triples = zip(region, tiling.factors(level), tiling.shape, strict=True)
    base = tuple(slice(r.start * f, min(r.stop * f, end)) for r, f, end in triples)
    samples = np.asarray(job.source.sample(base))
    if level == 0:
        return samples
    steps, reducer = tiling.steps[:level], job.work.outputs[0].reducer
    reduced = reduce_levels_with_state(samples, steps, reducer, keep=False)[0][-1]
    return reduced[tuple(slice(r.stop - r.start) for r in region)]


def _check_samples(samples: Array, stored: Array, region: Region, what: str) -> None:
    if samples.tobytes() != stored.tobytes():
        where = [(part.start, part.stop) for part in region]
        raise ResumeError(
            f"{what} had another input: samples {where} differ from what is stored",
            fix=say("write to another {group}, or start over with {mode}", mode="w"),
        )


def finished_among(
    images: Sequence[PreparedImage], options: WriteOptions
) -> tuple[list[PreparedImage], list[PreparedImage]]:
    """Return the images that are to be made, and those that an earlier run of the build published.

    A build that is interrupted at its very end has published some of its images. Where all are
    published and listed, nothing is to be resumed: they are in the way.

    Raises
    ------
    ResumeError
        If a published one is of another input.
    TargetExistsError
    """
    finished = [
        image
        for image in images
        if options["resume"]
        and (options["mode"] == "w-" or image.was_recovered)
        and _is_published(image)
    ]
    to_do = [image for image in images if image not in finished]
    for image in to_do:
        check_target(image.transaction, image.written, options)
    if finished and not any(image.was_recovered or _is_left(image) for image in images):
        check_free(finished[0].transaction.target)
    for image in finished:
        for member in image.images:
            _check_published(member)
    return to_do, finished


def _is_left(image: PreparedImage) -> bool:
    """Whether something of an image is to be done, but not from its beginning."""
    target, labels, collection = image.transaction.target, image.labels_group, image.collection
    if image.transaction.unfinished() is not None:
        return True
    if labels is not None and not labels.is_listed():
        return True
    if collection is not None and collection.missing():
        return True
    return any(target.seen_from(above) is None for above in target.parents())


def _is_published(image: PreparedImage) -> bool:
    """Whether what is at an image's place says just what that image would say."""
    if image.transaction.unfinished() is not None:
        return False
    expected = {**image.template.documents, **image.template.own}
    stored = dict(
        zip(expected, read_documents(image.transaction.target, list(expected)), strict=True)
    )
    if any(stored[key] != expected[key].to_bytes() for key in image.template.documents):
        return False
    try:
        own, published = (
            attributes_of({key: parse_document(documents[key]) for key in image.template.own})
            for documents in ({key: buffer.to_bytes() for key, buffer in expected.items()}, stored)
        )
    except ValueError:  # what is there is damaged
        return False
    return _includes(published, own)


def _includes(published: object, own: object) -> bool:
    """Whether attributes are there; more became known while the image was written."""
    if isinstance(own, Mapping) and isinstance(published, Mapping):
        return all(key in published and _includes(published[key], own[key]) for key in own)
    return bool(published == own)


def _check_published(image: PreparedImage) -> None:
    # Of counts, level 0 may be the same whatever the samples are.
    k = 0 if image.samples is None else min(1, len(image.paths) - 1)
    target, base = image.transaction.target, image.levels[k].variable
    array = zarr.open_array(target.store, path=(target / image.paths[k]).path, mode="r")
    for region in _sample_regions(base.shape, image.objects[k]):
        samples = np.asarray(base[region].to_numpy())
        stored = np.asarray(array[region], samples.dtype)
        _check_samples(samples, stored, region, f"{target} is finished, and")


def _sample_regions(shape: Sequence[int], lengths: Sequence[int]) -> Iterator[Region]:
    """Yield the regions of some stored objects, spread over an array."""
    counts = [-(-n // length) for n, length in zip(shape, lengths, strict=True)]
    total = math.prod(counts)
    for i in range(0, total, max(1, -(-total // _SAMPLES))):
        index = [int(j) for j in np.unravel_index(i, counts)]
        parts = zip(index, lengths, shape, strict=True)
        yield tuple(slice(j * n, min((j + 1) * n, stop)) for j, n, stop in parts)
