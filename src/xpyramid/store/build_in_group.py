"""What the group of an image says of the build that made it, or that has not finished it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zarr.abc.buffer import Buffer

from xpyramid import ngff
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import as_buffer, attributes_of, get_document, parse_document
from xpyramid.store.manifest import KEY
from xpyramid.store.path import NodePath

#: What our attribute holds of an unfinished build, where that is noted in the image's group.
UNFINISHED = "unfinished"


def build_at(place: NodePath) -> str | None:
    """Return which build an image is of: "" where that is not known, None without an image.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    for name in ("zarr.json", ".zattrs"):
        raw = get_document(place / name)
        if raw is not None:
            return _build_in(raw, name)
    return None


def _build_in(raw: bytes, name: str) -> str | None:
    try:
        attributes = attributes_of({name: parse_document(raw)})
    except ValueError:  # damaged: whatever it was
        return ""
    own = attributes.get(KEY)
    build = own.get("build") if isinstance(own, Mapping) else None
    if isinstance(build, str):
        return build
    return None if ngff.version_of(attributes) is None else ""


def group_with_record(record: BuildRecord | None, place: NodePath | None = None) -> Buffer:
    """Return the document of a group that is no image yet, with what is noted of its build.

    With a place, it also has what the group has there now.

    Raises
    ------
    ValueError
        If what is there is damaged.
    """
    raw = None if place is None else get_document(place / "zarr.json")
    content: Any = {} if raw is None else parse_document(raw)
    attributes = {**content.get("attributes", {})}
    own = {key: value for key, value in attributes.pop(KEY, {}).items() if key != UNFINISHED}
    if record is not None:
        own[UNFINISHED] = json.loads(record.to_json())
    if own:
        attributes[KEY] = own
    content |= {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return as_buffer(json.dumps(content).encode())


def record_in_group(place: NodePath) -> BuildRecord | None:
    """Return what a group that is no image yet says of its build, None where it says nothing.

    Raises
    ------
    OSError
        If the store does not answer.
    """
    raw = get_document(place / "zarr.json")
    try:
        own = attributes_of({"zarr.json": parse_document(raw)}).get(KEY)
    except ValueError:  # not there, or damaged
        return None
    if not isinstance(own, Mapping) or UNFINISHED not in own:
        return None
    return BuildRecord.parse(json.dumps(own[UNFINISHED]).encode())
