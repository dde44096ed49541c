"""An image with fewer levels than before: the same steps, with nothing to compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from uuid import uuid4

from xpyramid import ngff
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import new_group
from xpyramid.store.manifest import without_manifest
from xpyramid.store.path import NodePath
from xpyramid.store.transaction import transaction_for
from xpyramid.writer.failures import storage_errors
from xpyramid.writer.resume import FORMAT
from xpyramid.writer.session import renew_around
from xpyramid.writer.target_checks import check_writable
from xpyramid.writer.template import MetadataTemplate, group_documents


def drop(
    image: NodePath,
    attributes: Mapping[str, object],
    kept: list[str],
    dropped: list[str],
    zarr_format: Literal[2, 3],
) -> None:
    """Remove levels of an image; readers find all of them, or none.

    Parameters
    ----------
    image : NodePath
        Its group.
    attributes : mapping
        Of the group.
    kept, dropped : list of str
        Paths of the levels that stay, and of those that go.
    zarr_format : {2, 3}
    """
    names = {path.split("/")[0] for path in kept}
    transaction = transaction_for(image.as_image(), tuple(sorted(names)))
    check_writable(transaction.target)
    own = new_group(zarr_format, ngff.with_levels(without_manifest(attributes), kept))
    record = BuildRecord(
        format=FORMAT,
        build=uuid4().hex,
        children=tuple(sorted({path.split("/")[0] for path in dropped} - names)),
        kept=transaction.kept,
    )
    with storage_errors(image), transaction.lock():
        transaction.begin(record, zarr_format, own)
        transaction.note(replace(record, created=True))
        template = MetadataTemplate({}, own, {})
        _, announced = group_documents(
            template, transaction, {}, build=record.build, before=attributes
        )
        transaction.publish(announced)
        renew_around(transaction)
