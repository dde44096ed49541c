"""The documents of an image that has grown: lengths, places along the axis, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer

from xpyramid import ngff
from xpyramid.geometry.tiles import Region
from xpyramid.growth.image import GrowingImage
from xpyramid.growth.plan import Growth
from xpyramid.store.chunk_grid import StoredMask, grid_of_array
from xpyramid.store.documents import Documents, as_buffer, as_document, get_document
from xpyramid.store.identity import identity_when_longer
from xpyramid.store.listing import children
from xpyramid.store.local_chunks import indexes_in
from xpyramid.store.manifest import manifest_of, tables_of, with_beginning, with_tables
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import NodePath, ZarrArray, as_prefix, is_name
from xpyramid.writer import documents
from xpyramid.writer.object_tables import rows_of
from xpyramid.writer.windows import Windows

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass
class Ledger:
    """What is known of the stored objects of an image while it grows.

    Attributes
    ----------
    tables : dict
        Sizes and checksums of the objects of arrays, by path.
    present : dict
        Which objects there are of arrays of which only that is known.
    """

    tables: dict[str, ObjectTable] = field(default_factory=dict)
    present: dict[str, StoredMask] = field(default_factory=dict)

    @classmethod
    def of(cls, image: GrowingImage) -> Ledger | None:
        """Return what is recorded of an image; None where nothing is."""
        if manifest_of(image.attributes) is None:
            return None
        tables = {
            p: t for p, t in tables_of(image.place, image.attributes).items() if p in image.arrays
        }
        masks = {p: image.levels.present(p) for p in image.arrays if p not in tables}
        return cls(tables, {path: mask for path, mask in masks.items() if mask is not None})

    def add(
        self,
        image: GrowingImage,
        longer: Mapping[str, ZarrArray],
        regions: Mapping[str, Region],
        written: Mapping[str, NDArray[np.uint64]],
    ) -> None:
        """Note what has been stored.

        Parameters
        ----------
        image : GrowingImage
            As it was before.
        longer : mapping
            Its arrays as they are now, by path.
        regions : mapping
            What was stored of each of them, in whole objects.
        written : mapping
            Records of the objects in these regions, where tasks have noted them; others are read.
        """
        for path, array in longer.items():
            before = grid_of_array(image.arrays[path]).counts
            counts = grid_of_array(array).counts
            rows = _rows(image.place / path, array, regions[path], written.get(path))
            if (table := self.tables.get(path)) is not None:
                sizes = _in_grid(table.sizes, before, counts)
                checksums = _in_grid(table.checksums, before, counts)
                table = ObjectTable(sizes, checksums, table.algorithm).with_rows(rows)
                self.tables[path] = table
            elif path in self.present:
                self.present[path] = _in_grid(self.present[path], before, counts)
                self.present[path][rows[:, 0]] = rows[:, 1] > 0

    def without_tables(self) -> Ledger:
        """Return which objects there are, and no more."""
        present = {path: table.stored for path, table in self.tables.items()}
        return Ledger({}, {**self.present, **present})


@dataclass(frozen=True)
class Announcement:
    """What makes an image of what is stored, as long as it is now.

    Attributes
    ----------
    tables : mapping
        What belongs to the record and is stored beside the arrays, before the documents.
    changed : mapping
        Documents that change, by their keys below the image.
    after : mapping
        All documents below the image, as they will be.
    attributes : mapping
        Of the image's group.
    """

    tables: Mapping[str, Buffer]
    changed: Documents
    after: Documents
    attributes: Mapping[str, object]


def announcement(
    growth: Growth,
    before: Documents,
    longer: Mapping[str, ZarrArray],
    ledger: Ledger | None,
    build: str,
    windows: Windows | None,
) -> Announcement:
    """Return what makes an image of what is stored, as long as it is now.

    Parameters
    ----------
    growth : Growth
    before : mapping
        All documents below the image, as they are.
    longer : mapping
        The arrays that get longer, by path.
    ledger : Ledger or None
        What is known of the stored objects; None where nothing is recorded.
    build : str
        What no other build has.
    windows : Windows or None
        Of channels, where others are to be put in their place.
    """
    after = dict(before)
    for path, array in longer.items():
        after = with_shape_of(after, path, array)
    groups = {path[:i] for path in longer for i, letter in enumerate(path) if letter == "/"}
    for group in sorted(groups, key=lambda group: -group.count("/")):
        if _has_copies(before, group):
            documents.consolidate(after, group)
    image = growth.image
    identity = identity_when_longer(image.attributes, build) if image.is_aligned else None
    return announced(
        image.place, growth.attributes, before, after, longer, ledger, build, identity, windows
    )


def with_shape_of(before: Documents, path: str, array: ZarrArray) -> Documents:
    """Return documents of which that of an array says how long it is."""
    name = "zarr.json" if f"{path}/zarr.json" in before else ".zarray"
    node = documents.parse(before[f"{path}/{name}"])
    longer = as_document({**node, "shape": list(array.shape)})
    return {**before, f"{path}/{name}": longer}


def announced(
    place: NodePath,
    attributes: Mapping[str, object],
    before: Documents,
    after: Documents,
    arrays: Mapping[str, ZarrArray],
    ledger: Ledger | None,
    build: str,
    identity: str | None,
    windows: Windows | None,
) -> Announcement:
    """Return documents of an image with those of its own group, with a record of what is stored."""
    tables = dict[str, bytes]()
    if windows is not None:
        attributes = ngff.with_metadata(attributes, "omero", windows.metadata)
    if ledger is not None:
        attributes, tables = with_tables(
            place, attributes, ledger.tables, ledger.present, build,
            omero=None if windows is None else windows.entry,
            grids={path: grid_of_array(array) for path, array in arrays.items()},
            documents={
                key: json.loads(document.to_bytes())
                for key, document in after.items()
                if before.get(key) != document or key.rpartition("/")[0] in arrays
            },
        )  # fmt: skip
    attributes = with_beginning(attributes, identity)
    after = with_own(place, attributes, before, after)
    tables |= {} if windows is None else windows.values
    buffers = {key: as_buffer(data) for key, data in tables.items()}
    return Announcement(buffers, _changed(before, after), after, attributes)


def with_own(
    place: NodePath, attributes: Mapping[str, object], before: Documents, after: Documents
) -> Documents:
    """Return documents of an image with those of its own group, which has these attributes."""
    if _has_copies(before, ""):
        consolidated = dict(after)
        documents.consolidate(consolidated, attributes=attributes)
        return consolidated
    return {**after, **documents.with_attributes(place, attributes)}


def documents_below(place: NodePath) -> Documents:
    """Return the documents of all nodes of an image, labels and others in its group included."""
    by_path: Documents = {}
    waiting = [""]
    names = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
    while waiting:
        path = waiting.pop()
        raw = {name: get_document(place / path / name) for name in names}
        own = {name: as_buffer(text) for name, text in raw.items() if text is not None}
        kind = documents.kind_of({k: v for k, v in own.items() if k != ".zmetadata"})
        if kind is None:
            continue
        by_path |= {f"{as_prefix(path)}{name}": document for name, document in own.items()}
        if kind == "group":
            inside = children(place / path)
            waiting += [f"{as_prefix(path)}{name}" for name in inside if is_name(name)]
    return by_path


def _changed(before: Documents, after: Documents) -> Documents:
    return {key: document for key, document in after.items() if before.get(key) != document}


def _has_copies(before: Documents, group: str) -> bool:
    """Whether a group has copies of the metadata of what lies in it."""
    prefix = as_prefix(group)
    if f"{prefix}zarr.json" not in before:
        return f"{prefix}.zmetadata" in before
    return documents.parse(before[f"{prefix}zarr.json"]).get("consolidated_metadata") is not None


def _in_grid(
    values: NDArray[Scalar], before: Sequence[int], counts: Sequence[int]
) -> NDArray[Scalar]:
    """Return what is known of each object of a grid that has become longer."""
    widths = [(0, n - m) for m, n in zip(before, counts, strict=True)]
    return np.pad(values.reshape(before), widths).ravel()


def _rows(
    place: NodePath,
    array: ZarrArray,
    region: Region,
    written: NDArray[np.uint64] | None,
) -> NDArray[np.uint64]:
    """Return position, size and checksum of each object of a region; 0 where it is not stored."""
    indexes = sorted(indexes_in(region, array.shards or array.chunks))
    if written is None:
        return rows_of(place, array, indexes)
    if not indexes:
        return written
    counts = grid_of_array(array).counts
    rows = np.zeros((len(indexes), 3), np.uint64)
    rows[:, 0] = np.ravel_multi_index(tuple(np.array(indexes).T), counts)
    return np.concatenate([rows, written])
