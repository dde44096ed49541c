"""What a build that was broken off at its very end has brought to its place already."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import zarr

from xpyramid.errors import PyramidError, ResumeError, TargetExistsError
from xpyramid.store.contents import attributes_of, parse_document, read_documents
from xpyramid.store.path import Place
from xpyramid.writer.image import Checked, Image, Options
from xpyramid.writer.prepare import prepare
from xpyramid.writer.source_guard import Spot

#: In how many places an image is compared with its input.
_SAMPLES = 8


def prepare_all(
    images: Sequence[Image], root: Place, options: Options, read: Sequence[Spot]
) -> tuple[list[Checked], list[Checked]]:
    """Prepare images; second come those that an earlier run of the same build has finished.

    Where that is all of them, there is nothing to go on with: they are in the way.

    Raises
    ------
    ResumeError
        If a finished one is of another input.
    TargetExistsError
    """
    to_do: list[Checked] = []
    done: list[Checked] = []
    in_the_way: list[TargetExistsError] = []
    for image in images:
        try:
            to_do.append(prepare(image, root, options, read))
        except TargetExistsError as error:
            there = _finished(image, root, options, read) if options.resume else None
            if there is None:
                raise
            done.append(there)
            in_the_way.append(error)
    if done and not any(map(_is_left, [*to_do, *done])):
        raise in_the_way[0]
    for finished in done:
        _check_input(finished)
    return to_do, done


def _finished(image: Image, root: Place, options: Options, read: Sequence[Spot]) -> Checked | None:
    """Return the image that is in the way, if it is the one that is wanted."""
    try:
        there = prepare(image, root, replace(options, mode="w"), read)
        return there if _is_there(there) else None
    except (PyramidError, ValueError):  # what is there cannot be replaced, or is damaged
        return None


def _is_left(image: Checked) -> bool:
    """Whether something of an image is to be done, but not from its beginning."""
    target, labels, collection = image.staging.target, image.labels_group, image.collection
    if image.staging.record() is not None or (labels is not None and not labels.is_listed()):
        return True
    if collection is not None and collection.missing():
        return True
    return any(target.seen_from(above) is None for above in target.parents())


def _is_there(image: Checked) -> bool:
    """Whether what is at an image's place says just what that image would say."""
    target = image.staging.target
    wanted = {**image.draft.documents, **image.draft.announcement}
    stored = dict(zip(wanted, read_documents(target, list(wanted)), strict=True))
    if any(stored[key] != wanted[key].to_bytes() for key in image.draft.documents):
        return False
    said, found = (
        attributes_of({key: parse_document(texts[key]) for key in image.draft.announcement})
        for texts in ({key: buffer.to_bytes() for key, buffer in wanted.items()}, stored)
    )
    return _holds(found, said)


def _holds(found: Any, said: Any) -> bool:
    """Whether attributes are there; more became known while the image was written."""
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        return all(key in found and _holds(found[key], said[key]) for key in said)
    return bool(found == said)


def _check_input(image: Checked) -> None:
    target, base = image.staging.target, image.levels[0].variable
    stored = zarr.open_array(target.store, path=(target / image.paths[0]).path, mode="r")
    for region in _samples(base.shape, image.objects[0]):
        given = np.asarray(base[region].to_numpy())
        if given.tobytes() != np.asarray(stored[region], given.dtype).tobytes():
            raise ResumeError(
                f"{target} is finished, and its input was another: samples "
                f"{[(part.start, part.stop) for part in region]} differ from what is stored; "
                "choose another group=, or replace it with mode='w'"
            )


def _samples(shape: Sequence[int], lengths: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the regions of some stored objects, spread over an array."""
    counts = [-(-n // length) for n, length in zip(shape, lengths, strict=True)]
    total = math.prod(counts)
    for i in range(0, total, max(1, -(-total // _SAMPLES))):
        index = [int(j) for j in np.unravel_index(i, counts)]
        parts = zip(index, lengths, shape, strict=True)
        yield tuple(slice(j * n, min((j + 1) * n, stop)) for j, n, stop in parts)
