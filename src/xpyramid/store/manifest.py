"""Which stored objects an image consists of: recorded when it is announced, compared later.

A chunk that holds nothing but the fill value is not stored, so that a missing object may be right.
What was not there when the image was complete is recorded with it, a bit for each object, together
with a digest of each metadata document, which have no checksums of their own, and with the size and
the checksum of each object, see `xpyramid.store.object_table`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType
from typing import NamedTuple

from xpyramid.store import object_table, presence
from xpyramid.store.chunk_grid import ChunkGrid, StoredMask, grid_at, grid_of
from xpyramid.store.documents import get_document
from xpyramid.store.listing import Contents
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import NodePath, takes_nodes_only
from xpyramid.store.presence import presence_record

#: Attribute of the image's group that is ours.
KEY = "xpyramid"

#: What it holds while objects of a complete image are changed: the record of the time before.
_SET_ASIDE = "before"


#: What it holds of an image that got longer, and of which all else is as it was: its identity then.
BEGAN = "began"


class KeptRecords(NamedTuple):
    """What is recorded of levels that stay where they are.

    Attributes
    ----------
    objects : mapping
        Of their arrays, by path.
    documents : mapping
        Digests of their documents, by key.
    omero : mapping or None
        How the windows of channels were made, see `with_manifest`.
    """

    objects: Mapping[str, object] = MappingProxyType({})
    documents: Mapping[str, object] = MappingProxyType({})
    omero: Mapping[str, object] | None = None


def records_kept(contents: Contents, attributes: Mapping[str, object]) -> KeptRecords:
    """Return what is recorded of levels that stay where they are.

    Of those that others wrote, or have changed since, that is which objects there are: they may
    write to them again.

    Parameters
    ----------
    contents : Contents
        Of these levels.
    attributes : mapping
        Of the image's group as it is now.
    """
    record = manifest_of(attributes) or {}
    objects, documents = (
        listed if isinstance(listed := record.get(key), Mapping) else {}
        for key in ("objects", "documents")
    )
    present = {
        path: presence_record(grid, grid.present(contents.below(path))[0])
        for path, is_array in contents.nodes().items()
        if is_array
        for grid in [grid_of(contents, path)]
    }
    return KeptRecords(
        {path: _still(objects.get(path), now) for path, now in present.items()},
        {
            key: documents[key]
            for key, document in contents.documents.items()
            if key in documents and documents[key] == digest(document)
        },
        _omero_kept(record.get("omero"), {*present}),
    )


def _omero_kept(entry: object, paths: Set[str]) -> Mapping[str, object] | None:
    """Return how windows were made, without distributions that are not beside some arrays."""
    if not paths or not isinstance(entry, Mapping):
        return None
    values = entry.get("values")
    is_kept = isinstance(values, Mapping) and values.get("path") in paths
    return {key: value for key, value in entry.items() if key != "values" or is_kept}


def _still(record: object, now: dict[str, object]) -> object:
    """Return what is recorded of an array's objects, if they still are those that are there."""
    if not isinstance(record, Mapping):
        return now
    presence = {key: value for key, value in record.items() if key != "table"}
    return record if presence == now else now


def with_manifest(
    contents: Contents,
    attributes: Mapping[str, object],
    tables: Mapping[str, ObjectTable],
    build: str = "",
    kept: KeptRecords = KeptRecords(),  # noqa: B008  not changed
    omero: Mapping[str, object] | None = None,
    beside: Iterable[str] = (),
) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return the attributes that announce a complete image, with a record of what is stored.

    Parameters
    ----------
    contents : Contents
        Of the image, whose levels are complete and consolidated.
    attributes : mapping
        All that the image's group will have.
    tables : mapping
        Of each array, by its path.
    build : str
        What no other build has, see `BuildRecord`; "" where nobody will ask for it, so that builds
        of the same samples are the same to the last byte.
    kept : KeptRecords
        Of levels that stay where they are, and are not among the contents.
    omero : mapping, optional
        How the windows of channels were made, see `xpyramid.writer.windows`. Default: as is known
        of the levels that stay.
    beside : iterable of str
        Paths of arrays in the image's group that are no part of the image.

    Returns
    -------
    attributes : dict
    objects : dict
        Tables that are objects of their own, by their keys below the image. They are to be stored
        before the attributes.
    """
    objects: dict[str, bytes] = {}
    records = {
        path: _record(grid_of(contents, path), contents.place, path, tables[path], objects)
        for path, is_array in contents.nodes().items()
        if is_array and not _is_apart(path)
    }
    record: dict[str, object] = {
        "objects": {**kept.objects, **records},
        "documents": {
            **kept.documents,
            **{
                key: digest(document)
                for key, document in contents.documents.items()
                if "/" in key and not _is_apart(key)
            },
        },
        "attributes": digest(_others(attributes)),
    }
    if (omero := kept.omero if omero is None else omero) is not None:
        record["omero"] = omero
    if others := sorted(p for p in {*beside} - kept.objects.keys() if not _is_apart(p)):
        record["beside"] = others
    record["digest"] = digest({**record, "digest": None})
    own = {"build": build} if build else {}
    return {**attributes, KEY: {**own, "sealed": record}}, objects


def manifest_of(attributes: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return the record that an image carries, None for images of others."""
    own = attributes.get(KEY)
    record = own.get("sealed") if isinstance(own, Mapping) else None
    return record if isinstance(record, Mapping) else None


def object_records(attributes: Mapping[str, object]) -> Mapping[str, object]:
    """Return what is recorded of the objects of each array, by its path; empty where nothing is."""
    listed = (manifest_of(attributes) or {}).get("objects")
    return listed if isinstance(listed, Mapping) else {}


def omero_entry(attributes: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return what is recorded of how the windows of channels were made, if it is."""
    entry = (manifest_of(attributes) or {}).get("omero")
    return entry if isinstance(entry, Mapping) else None


def values_of(attributes: Mapping[str, object]) -> Mapping[str, object]:
    """Return the path of the array beside which distributions are kept, and their digest.

    Empty where none are.
    """
    values = (omero_entry(attributes) or {}).get("values")
    return values if isinstance(values, Mapping) else {}


def tables_of(place: NodePath, attributes: Mapping[str, object]) -> dict[str, ObjectTable]:
    """Return what is recorded of the objects of each array of an image, as far as it is.

    Raises
    ------
    ValueError
        For a table that is missing, or damaged.
    """
    tables = {}
    for path, record in object_records(attributes).items():
        if isinstance(record, Mapping) and record.get("table") is not None:
            apart = object_table.is_apart(record)
            raw = get_document(place / path / object_table.KEY) if apart else None
            tables[path] = object_table.read_table(record, int(record["objects"]), raw)
    return tables


def with_tables(
    place: NodePath,
    attributes: Mapping[str, object],
    tables: Mapping[str, ObjectTable],
    present: Mapping[str, StoredMask],
    build: str,
    *,
    omero: Mapping[str, object] | None = None,
    grids: Mapping[str, ChunkGrid] = MappingProxyType({}),
    documents: Mapping[str, object] = MappingProxyType({}),
) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return the attributes of an image of which objects have changed, with a record of them.

    Parameters
    ----------
    place : NodePath
        Of the image.
    attributes : mapping
        As they were, with the record of the time before.
    tables : mapping
        Of arrays whose objects have changed, by path.
    present : mapping
        Which objects there are of arrays of which only that is recorded.
    build : str
        See `with_manifest`.
    omero : mapping, optional
        See `with_manifest`. Default: as before.
    grids : mapping
        Of arrays that will be longer than their documents say yet.
    documents : mapping
        Documents below the image that change, by key.

    Returns
    -------
    attributes : dict
    objects : dict
        Tables that are objects of their own, by their keys below the image.
    """
    record, objects = {**(manifest_of(attributes) or {})}, dict[str, bytes]()
    records = dict(object_records(attributes))
    for path, table in tables.items():
        grid = grids[path] if path in grids else grid_at(place / path)
        records[path] = _record(grid, place, path, table, objects)
    for path, mask in present.items():
        grid = grids[path] if path in grids else grid_at(place / path)
        records[path] = presence_record(grid, mask)
    record |= {"objects": records, "attributes": digest(_others(attributes))}
    if omero is not None:
        record["omero"] = omero
    listed = record.get("documents")
    digests = dict(listed) if isinstance(listed, Mapping) else {}
    changed = {key: digest(content) for key, content in documents.items() if key in digests}
    record |= {"documents": {**digests, **changed}} if changed else {}
    record["digest"] = digest({**record, "digest": None})
    return {**attributes, KEY: {"build": build, "sealed": record}}, objects


def set_aside(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return attributes of an image whose record is not true now, and is needed again."""
    record = manifest_of(attributes)
    others = without_manifest(attributes)
    return others if record is None else {**others, KEY: {_SET_ASIDE: record}}


def taken_back(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return attributes with the record that `set_aside` has put aside, if it has."""
    own = attributes.get(KEY)
    record = own.get(_SET_ASIDE) if isinstance(own, Mapping) else None
    if not isinstance(own, Mapping) or record is None:
        return dict(attributes)
    began = {key: own[key] for key in (BEGAN,) if key in own}
    return {**attributes, KEY: {"sealed": record, **began}}


def with_beginning(attributes: Mapping[str, object], identity: str | None) -> dict[str, object]:
    """Return attributes of an image that got longer, which is the one of an identity still."""
    own = attributes.get(KEY)
    if identity is None or not isinstance(own, Mapping):
        return dict(attributes)
    return {**attributes, KEY: {**own, BEGAN: identity}}


def without_manifest(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return attributes of an image without what is recorded of it."""
    return {key: value for key, value in attributes.items() if key != KEY}


def arrays_beside(attributes: Mapping[str, object]) -> Set[str]:
    """Return the paths of arrays that were in the image's group, and are no part of the image."""
    listed = (manifest_of(attributes) or {}).get("beside")
    return {path for path in listed if isinstance(path, str)} if isinstance(listed, list) else set()


def modified_documents(
    contents: Contents, attributes: Mapping[str, object]
) -> list[tuple[str, str]]:
    """Return the documents that are not what the record says, and what is wrong with them."""
    record = manifest_of(attributes) or {}
    modified = []
    if record.get("attributes") != digest(_others(attributes)):
        modified.append(("", "the attributes of the image"))
    if "digest" in record and record["digest"] != digest({**record, "digest": None}):
        modified.append(("", "the record of what is stored"))
    digests = record.get("documents")
    for key, recorded_digest in digests.items() if isinstance(digests, Mapping) else ():
        if key in contents.documents and digest(contents.documents[key]) != recorded_digest:
            modified.append((key, "the document"))
        elif key not in contents.documents and key not in contents.damaged:
            modified.append((key, "the document, which is missing,"))
    return modified


def _record(
    grid: ChunkGrid, place: NodePath, path: str, table: ObjectTable, objects: dict[str, bytes]
) -> dict[str, object]:
    """Record the objects of an array; a table that is one of its own is added to ``objects``."""
    record = presence_record(grid, table.stored)
    data = table.to_bytes()
    text, has_room = object_table.as_text(data), not takes_nodes_only(place.store)
    if len(text) <= (object_table.INLINE if has_room else presence.LONGEST):
        return {**record, "table": text}
    if not has_room:
        return {**record, "table": None}
    objects[f"{path}/{object_table.KEY}"] = data
    return {**record, "table": {"digest": object_table.digest_of(data)}}


def digest(document: object) -> str:
    """Return a digest of a JSON document's content, however it is spaced and ordered."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _others(attributes: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in attributes.items() if key != KEY}


def _is_apart(path: str) -> bool:
    """Whether a path belongs to another image: labels are announced by themselves."""
    return path.split("/", maxsplit=1)[0] == "labels"
