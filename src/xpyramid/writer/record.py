"""The record of an image, made anew from what is stored, and whether level 0 is as it says."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

import numpy as np

from xpyramid.errors import ResumeError
from xpyramid.messages import and_others, say
from xpyramid.store.chunk_grid import grid_of_array
from xpyramid.store.documents import as_buffer, put, put_group
from xpyramid.store.listing import list_contents
from xpyramid.store.manifest import (
    digest,
    manifest_of,
    omero_entry,
    tables_of,
    with_manifest,
    without_manifest,
)
from xpyramid.store.transaction import Transaction
from xpyramid.writer import documents
from xpyramid.writer.object_tables import table_of
from xpyramid.writer.session import renew_around
from xpyramid.writer.stored_levels import StoredLevels
from xpyramid.writer.target_checks import check_writable
from xpyramid.writer.template import consolidate
from xpyramid.writer.windows import remove_values

#: What is to be said of a level 0 that others wrote.
UNRECORDED = "nothing is recorded of level 0 that says that it is right"


def doubt_of_base(levels: StoredLevels) -> str:
    """Say why nothing is to be made of level 0; empty where each of its bytes is as recorded.

    All of it is read: what a report lists is bounded, and says nothing of what is not listed.
    """
    path, base = levels.paths[0], levels.base
    try:
        table = tables_of(levels.place, levels.attributes).get(path)
    except (TypeError, ValueError) as error:
        return f"the record of level 0 is damaged ({error}), so that nothing says that it is right"
    if table is None or table.sizes.size != grid_of_array(base).total:
        return UNRECORDED
    rows = levels.stored(0, [tuple(slice(0, n) for n in base.shape)])
    now = table.with_rows(rows)
    is_other = (now.sizes != table.sizes) | (now.checksums != table.checksums)
    if number := int(is_other.sum()):
        key = (
            levels.place
            / path
            / base.metadata.encode_chunk_key(
                tuple(
                    int(i) for i in np.unravel_index(np.flatnonzero(is_other)[0], _counts(levels))
                )
            )
        )
        return f"level 0 is damaged, or was changed: {key}{and_others(number - 1)}"
    return ""


def _counts(levels: StoredLevels) -> tuple[int, ...]:
    return tuple(grid_of_array(levels.base).counts) or (1,)


def _intact_entry(attributes: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return what is recorded of the windows of channels, if the record is as it was written."""
    record = manifest_of(attributes) or {}
    is_intact = record.get("digest") == digest({**record, "digest": None})
    return omero_entry(attributes) if is_intact else None


def check_finished(transaction: Transaction) -> None:
    """Refuse an image of which an update was interrupted, or a build is unfinished.

    Raises
    ------
    ResumeError
    """
    if transaction.unfinished() is not None:
        raise ResumeError(
            f"{transaction.target} is unfinished",
            fix=say("finish it first, by the call that began it with {resume}", resume=True),
        )


def renew_record(levels: StoredLevels) -> None:
    """Record what is stored of an image now, whatever was recorded before.

    Raises
    ------
    ResumeError
        If an update of the image was interrupted, or a build is unfinished.
    """
    transaction, place = levels.transaction(), levels.place
    check_writable(transaction.target)
    with transaction.lock():
        check_finished(transaction)
        attributes = place.attributes()
        entry = _intact_entry(attributes)
        if entry is None:  # the next update makes it anew
            remove_values(place, levels.paths, None)
        contents, _ = list_contents(place).without_hidden()
        tables = {
            path: table_of(contents, path, {}, {})
            for path, is_array in contents.nodes().items()
            if is_array and not path.startswith("labels/")
        }
        attributes, objects = with_manifest(
            contents, without_manifest(attributes), tables, uuid4().hex, omero=entry
        )
        put(place, {key: as_buffer(data) for key, data in objects.items()})
        put_group(place, documents.with_attributes(place, attributes))
        consolidate(place)
        renew_around(transaction)
