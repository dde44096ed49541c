"""Which stored objects an image consists of: recorded when it is announced, compared later.

A chunk that holds nothing but the fill value is not stored, so that a missing object may be right.
What was not there when the image was complete is recorded with it, a bit for each object, together
with a digest of each metadata document, which have no checksums of their own, and with the size and
the checksum of each object, see `xpyramid.store.object_table`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer
from zarr.errors import UnstableSpecificationWarning

from xpyramid import ngff
from xpyramid.store import object_table
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import (
    DOCUMENTS,
    as_buffer,
    attributes_of,
    get_document,
    parse_document,
)
from xpyramid.store.listing import Contents
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import NodePath, ZarrArray, as_prefix, takes_nodes_only

#: Attribute of the image's group that is ours.
KEY = "xpyramid"

#: What it holds of an unfinished build, where that is noted in the image's group.
UNFINISHED = "unfinished"

#: What it holds while objects of a complete image are changed: the record of the time before.
_SET_ASIDE = "before"

#: The longest list of absent objects that is kept, in characters; of a longer one, the digest is.
LONGEST = 2**18

StoredMask = NDArray[np.bool_]


class _Lengths(TypedDict):
    chunk_shape: Sequence[int]


class _Grid(TypedDict):
    name: str
    configuration: _Lengths


class _KeyForm(TypedDict, total=False):
    separator: str


class _KeyEncoding(TypedDict):
    name: str
    configuration: NotRequired[_KeyForm | None]


class ArrayV2(TypedDict):
    """What the metadata of an array say of its chunks in Zarr v2."""

    zarr_format: Literal[2]
    shape: Sequence[int]
    chunks: Sequence[int]
    dimension_separator: NotRequired[str | None]


class ArrayV3(TypedDict):
    """What the metadata of an array say of its chunks in Zarr v3."""

    zarr_format: Literal[3]
    shape: Sequence[int]
    chunk_grid: _Grid
    chunk_key_encoding: _KeyEncoding


@dataclass(frozen=True)
class ChunkGrid:
    """The stored objects of an array: chunks, or shards.

    Attributes
    ----------
    shape : tuple of int
        Of the array.
    lengths : tuple of int
        Of an object.
    prefix, separator : str
        What the name of an object begins with, and what stands between its numbers.
    """

    shape: tuple[int, ...]
    lengths: tuple[int, ...]
    prefix: str
    separator: str

    @classmethod
    def from_metadata(cls, metadata: ArrayV2 | ArrayV3) -> ChunkGrid:
        """Return the grid of an array from its metadata, of either Zarr format.

        Raises
        ------
        ValueError
            For chunks that are not all alike.
        """
        shape = tuple(metadata["shape"])
        if metadata["zarr_format"] == 2:
            separator = metadata.get("dimension_separator") or "."
            return cls(shape, tuple(metadata["chunks"]), "" if shape else "0", separator)
        grid, encoding = metadata["chunk_grid"], metadata["chunk_key_encoding"]
        if grid["name"] != "regular":
            raise ValueError(f"a chunk grid of the kind {grid['name']!r}")
        is_default = encoding["name"] == "default"
        configured = (encoding.get("configuration") or {}).get("separator")
        separator = configured or ("/" if is_default else ".")
        prefix = "c" if is_default else "" if shape else "0"
        lengths = tuple(grid["configuration"]["chunk_shape"])
        return cls(
            shape, lengths, prefix + separator if is_default and shape else prefix, separator
        )

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of objects along each dimension."""
        return tuple(-(-n // length) for n, length in zip(self.shape, self.lengths, strict=True))

    @property
    def total(self) -> int:
        """Number of objects."""
        return math.prod(self.counts)

    def key(self, index: int) -> str:
        """Return the name of an object, by its place in C order."""
        at = np.unravel_index(index, self.counts) if self.counts else ()
        return self.prefix + self.separator.join(str(i) for i in at)

    def region(self, index: int) -> tuple[slice, ...]:
        """Return the samples that an object holds."""
        at = np.unravel_index(index, self.counts) if self.counts else ()
        triples = zip(at, self.lengths, self.shape, strict=True)
        return tuple(slice(int(i) * n, min(int(i + 1) * n, end)) for i, n, end in triples)

    def present(self, keys: Iterable[str]) -> tuple[StoredMask, list[str]]:
        """Return which objects are there, and the keys that are no objects of the array."""
        positions, unexpected_keys = self.locate(keys)
        stored = np.zeros(self.total, bool)
        stored[positions[positions >= 0]] = True
        return stored, unexpected_keys

    def locate(self, keys: Iterable[str]) -> tuple[NDArray[np.int64], list[str]]:
        """Return the place in C order of the object of each key, and the keys that are no objects.

        The place of those is -1. Metadata documents are not among them, though they are no objects.
        """
        positions, unexpected_keys = list[int](), list[str]()
        for key in keys:
            position = self.position(key)
            positions.append(position)
            if position < 0 and key.rpartition("/")[2] not in DOCUMENTS:
                unexpected_keys.append(key)
        return np.array(positions, np.int64), unexpected_keys

    def position(self, key: str) -> int:
        """Return the place in C order of the object of a key, -1 if it is that of none."""
        if not self.shape:
            return 0 if key == self.prefix else -1
        if not key.startswith(self.prefix):
            return -1
        return _position(self.counts, key[len(self.prefix) :].split(self.separator))


def position_in(counts: Sequence[int], key: str) -> int | None:
    """Return the place in C order of the object of a key, below an array of which no more is known.

    Parameters
    ----------
    counts : sequence of int
        Number of objects along each dimension.
    key : str
        In any of the forms that Zarr has for them.

    Returns
    -------
    int or None
        None if it is the key of no object.
    """
    if not counts:
        return 0 if key in ("c", "0") else None
    parts = key.replace(".", "/").split("/")
    position = _position(counts, parts[1:] if parts[0] == "c" else parts)
    return None if position < 0 else position


def _position(counts: Sequence[int], parts: Sequence[str]) -> int:
    """Return the place in C order of the object of some indexes, -1 if they are those of none."""
    if len(parts) != len(counts):
        return -1
    position = 0
    for part, count in zip(parts, counts, strict=True):
        index = int(part) if part.isdecimal() and len(part) < 20 else -1
        if not 0 <= index < count or str(index) != part:
            return -1
        position = position * count + index
    return position


def open_array(place: NodePath) -> ZarrArray:
    """Open an array from its own document, without what groups above say of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableSpecificationWarning)  # text in Zarr v3
        return zarr.open_array(place.store, path=place.path, mode="r")


def grid_of(contents: Contents, path: str) -> ChunkGrid:
    """Return the grid of an array that has been listed."""
    return ChunkGrid.from_metadata(cast("ArrayV2 | ArrayV3", metadata_of(contents, path)))


def metadata_of(contents: Contents, path: str) -> Mapping[str, object]:
    """Return the document of an array that has been listed."""
    documents, prefix = contents.documents, as_prefix(path)
    metadata = documents.get(f"{prefix}zarr.json") or documents[f"{prefix}.zarray"]
    return cast("Mapping[str, object]", metadata)


class KeptRecords(NamedTuple):
    """What is recorded of levels that stay where they are.

    Attributes
    ----------
    objects : mapping
        Of their arrays, by path.
    documents : mapping
        Digests of their documents, by key.
    """

    objects: Mapping[str, object] = MappingProxyType({})
    documents: Mapping[str, object] = MappingProxyType({})


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
        path: _presence(grid, grid.present(contents.below(path))[0])
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
    )


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
    record["digest"] = digest({**record, "digest": None})
    known = {"build": build} if build else {}
    return {**attributes, KEY: {**known, "sealed": record}}, objects


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


def manifest_of(attributes: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return the record that an image carries, None for images of others."""
    own = attributes.get(KEY)
    record = own.get("sealed") if isinstance(own, Mapping) else None
    return record if isinstance(record, Mapping) else None


def tables_of(place: NodePath, attributes: Mapping[str, object]) -> dict[str, ObjectTable]:
    """Return what is recorded of the objects of each array of an image, as far as it is.

    Raises
    ------
    ValueError
        For a table that is missing, or damaged.
    """
    listed = (manifest_of(attributes) or {}).get("objects")
    tables = {}
    for path, record in listed.items() if isinstance(listed, Mapping) else ():
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

    Returns
    -------
    attributes : dict
    objects : dict
        Tables that are objects of their own, by their keys below the image.
    """
    record, objects = {**(manifest_of(attributes) or {})}, dict[str, bytes]()
    listed = record.get("objects")
    records = dict(listed) if isinstance(listed, Mapping) else {}
    for path, table in tables.items():
        records[path] = _record(grid_at(place / path), place, path, table, objects)
    for path, mask in present.items():
        records[path] = _presence(grid_at(place / path), mask)
    record |= {"objects": records, "attributes": digest(_others(attributes))}
    record["digest"] = digest({**record, "digest": None})
    return {**attributes, KEY: {"build": build, "sealed": record}}, objects


def grid_at(place: NodePath) -> ChunkGrid:
    """Return the grid of an array from its own document."""
    metadata = open_array(place).metadata.to_dict()
    return ChunkGrid.from_metadata(cast("ArrayV2 | ArrayV3", metadata))


def set_aside(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return attributes of an image whose record is not true now, and is needed again."""
    record = manifest_of(attributes)
    others = without_manifest(attributes)
    return others if record is None else {**others, KEY: {_SET_ASIDE: record}}


def taken_back(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return attributes with the record that `set_aside` has put aside, if it has."""
    own = attributes.get(KEY)
    record = own.get(_SET_ASIDE) if isinstance(own, Mapping) else None
    return dict(attributes) if record is None else {**attributes, KEY: {"sealed": record}}


def without_manifest(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return attributes of an image without what is recorded of it."""
    return {key: value for key, value in attributes.items() if key != KEY}


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


def expected(record: object, total: int) -> StoredMask | None:
    """Return which objects there should be; None where the record holds a digest only.

    Raises
    ------
    ValueError
        For an invalid record, or one of another number of objects.
    """
    if not isinstance(record, Mapping) or record.get("objects") != total:
        raise ValueError(f"the record is of {str(record)[:80]}, and the array has {total} objects")
    if "digest" in record:
        return None
    return ~_unpack(record.get("absent"), total)


def agrees(record: Mapping[str, object], present: StoredMask) -> bool:
    """Whether the objects that are there have the digest that is recorded."""
    return record.get("digest") == _bits_digest(~present)


def _record(
    grid: ChunkGrid, place: NodePath, path: str, table: ObjectTable, objects: dict[str, bytes]
) -> dict[str, object]:
    """Record the objects of an array; a table that is one of its own is added to ``objects``."""
    record = _presence(grid, table.stored)
    data = table.to_bytes()
    text, has_room = object_table.as_text(data), not takes_nodes_only(place.store)
    if len(text) <= (object_table.INLINE if has_room else LONGEST):
        return {**record, "table": text}
    if not has_room:
        return {**record, "table": None}
    objects[f"{path}/{object_table.KEY}"] = data
    return {**record, "table": {"digest": object_table.digest_of(data)}}


def _presence(grid: ChunkGrid, present: StoredMask) -> dict[str, object]:
    """Record which objects of an array there are."""
    record: dict[str, object] = {"objects": grid.total, "grid": list(grid.counts)}
    if not present.all():
        packed = base64.b64encode(zlib.compress(np.packbits(~present).tobytes(), 9)).decode()
        if len(packed) <= LONGEST:
            record["absent"] = packed
        else:
            record |= {"stored": int(present.sum()), "digest": _bits_digest(~present)}
    return record


def _unpack(packed: object, total: int) -> StoredMask:
    if packed is None:
        return np.zeros(total, bool)
    if not isinstance(packed, str):
        raise ValueError("the record of absent objects is not text")
    size = -(-total // 8)
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"the record of absent objects is damaged: {error}") from None
    if len(raw) != size:
        raise ValueError(f"the record of absent objects has {len(raw)} bytes, not {size}")
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=total).astype(bool)


def _bits_digest(bits: StoredMask) -> str:
    return hashlib.sha256(np.packbits(bits).tobytes()).hexdigest()[:16]


def digest(document: object) -> str:
    """Return a digest of a JSON document's content, however it is spaced and ordered."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _others(attributes: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in attributes.items() if key != KEY}


def _is_apart(path: str) -> bool:
    """Whether a path belongs to another image: labels are announced by themselves."""
    return path.split("/", maxsplit=1)[0] == "labels"
