"""The arrays of an image as they lie in the store: header, grid, and which objects are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, SupportsInt

import numpy as np
from numpy.typing import NDArray

from xpyramid.errors import ReadError
from xpyramid.ngff import Header, Problem
from xpyramid.store import object_table, value_counts
from xpyramid.store.chunk_grid import ChunkGrid, StoredMask, grid_of, open_array
from xpyramid.store.faults import fault_of
from xpyramid.store.listing import Contents
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import ZarrArray, as_prefix
from xpyramid.store.presence import agrees, expected

Region = tuple[slice, ...]


@dataclass(frozen=True)
class Stored:
    """An array that could be opened.

    Attributes
    ----------
    path : str
        Below the image.
    array : zarr.Array
    grid : ChunkGrid
    present : ndarray of bool
        Which objects are there.
    unexpected_keys : list of str
        Keys below the array that are none of its objects.
    sizes : ndarray of int or None
        Bytes of each object that is there, in C order; None where the listing did not tell.
    """

    path: str
    array: ZarrArray
    grid: ChunkGrid
    present: StoredMask
    unexpected_keys: list[str]
    sizes: NDArray[np.int64] | None = None

    @classmethod
    def open(cls, contents: Contents, path: str) -> Stored:
        """Open an array; raises what zarr raises."""
        array = open_array(contents.place / path)
        grid = grid_of(contents, path)
        positions, unexpected_keys = grid.locate(contents.below(path))
        own = positions >= 0
        present = np.zeros(grid.total, bool)
        present[positions[own]] = True
        sizes, listed = None, contents.sizes_below(path)
        if listed is not None:
            sizes = np.zeros(grid.total, np.int64)
            sizes[positions[own]] = listed[own]
        return cls(path, array, grid, present, unexpected_keys, sizes)

    @property
    def header(self) -> Header:
        """What the metadata say."""
        metadata = self.array.metadata
        attributes: object = metadata.attributes  # zarr takes what there is
        names: object = None
        if metadata.zarr_format == 3:
            names = metadata.dimension_names
        elif isinstance(attributes, Mapping):
            names = attributes.get("_ARRAY_DIMENSIONS")
        return Header(
            shape=self.array.shape,
            dtype=self.array.dtype,
            names=tuple(names) if isinstance(names, list | tuple) else None,
            separator=self.grid.separator,
            zarr_format=metadata.zarr_format,
        )

    @property
    def noun(self) -> str:
        """What its objects are called."""
        return "chunk" if self.array.shards is None else "shard"

    def key(self, index: SupportsInt) -> str:
        """Return the path of an object below the image."""
        return f"{as_prefix(self.path)}{self.grid.key(int(index))}"

    def missing(self, record: object, table: ObjectTable | None) -> list[Region]:
        """Return the samples of objects that are missing, by a record of them."""
        try:
            expected_mask = expected(record, self.grid.total)
        except ValueError:
            return []
        if expected_mask is None and table is not None:
            expected_mask = table.stored
        lost = () if expected_mask is None else np.flatnonzero(expected_mask & ~self.present)
        return [self.grid.region(int(index)) for index in lost]


def open_all(
    contents: Contents, announced: list[str], problems: list[Problem]
) -> dict[str, Stored]:
    """Open every array of an image, its labels apart; what cannot be opened becomes a problem."""
    arrays: dict[str, Stored] = {}
    nodes = contents.nodes()
    for path in sorted(nodes):
        if not nodes[path] or path.split("/")[0] == "labels":
            continue
        keys = [f"{as_prefix(path)}{name}" for name in ("zarr.json", ".zarray")]
        key = keys[0] if keys[0] in {**contents.documents, **contents.damaged} else keys[1]
        if key in contents.damaged:
            continue  # said already
        try:
            arrays[path] = Stored.open(contents, path)
        except ReadError:  # the store does not answer, which says nothing of the array
            raise
        except Exception as error:  # zarr raises what happens to go wrong first
            fault = fault_of(contents.documents[key], key.rpartition("/")[2])
            zarr_error = f"zarr cannot open it: {type(error).__name__}: {error}"
            message = fault or " ".join(zarr_error.split())[:300]
            problems.append(Problem("unreadable", key, message))
    for path in announced:
        if not _is_inside(path):
            message = f"dataset path {path[:80]!r}; expected a path inside the image's group"
            problems.append(Problem("path", "", message))
        elif not nodes.get(path, False):
            what = "a group" if path in nodes else "nothing"
            message = f"announced as a level, but there is {what}; expected an array"
            problems.append(Problem("missing", path[:200], message))
    return arrays


def _is_inside(path: str) -> bool:
    return not ({"", ".", ".."} & set(path.split("/")) or set(path) & {"\\", "\0"})


def check_objects(stored: Stored, record: Any, table: ObjectTable | None) -> Iterator[Problem]:
    """Yield the objects of an array of ours that are missing or should not be there."""
    try:
        expected_mask = expected(record, stored.grid.total)
    except ValueError as error:
        yield Problem("record", stored.path, f"{error}; expected what was recorded at the end")
        return
    if expected_mask is None and table is not None:
        expected_mask = table.stored
    if expected_mask is None:
        if not agrees(record, stored.present):
            count = int(stored.present.sum())
            yield Problem(
                "missing",
                stored.path,
                f"{count} of {stored.grid.total} {stored.noun}s are there; expected "
                f"{record.get('stored')}, and others; deep=True names them",
            )
    else:
        for index in np.flatnonzero(expected_mask & ~stored.present):
            message = f"the {stored.noun} is missing; it was there when the image was complete"
            yield Problem("missing", stored.key(index), message)
        for index in np.flatnonzero(stored.present & ~expected_mask):
            message = f"the {stored.noun} was not there when the image was complete: written since"
            yield Problem("extra", stored.key(index), message, "warning")


def check_foreign(levels: Mapping[str, Stored], notes: list[str]) -> Iterator[Problem]:
    """Yield what can be said of the objects of arrays that others wrote."""
    any_stored = any(stored.present.any() for stored in levels.values())
    for path, stored in levels.items():
        absent = np.flatnonzero(~stored.present)
        if not absent.size:
            continue
        fill = stored.array.metadata.fill_value
        if fill is None:
            for index in absent:
                message = f"the {stored.noun} is missing, and the array has no fill value"
                yield Problem("missing", stored.key(index), message)
        elif any_stored and absent.size == stored.grid.total:
            message = (
                f"none of {stored.grid.total} {stored.noun}s exist, but other levels have some"
            )
            yield Problem("missing", path, message)
        else:
            notes.append(
                f"{path}: {absent.size} of {stored.grid.total} {stored.noun}s are not stored and "
                f"read as {np.asarray(fill)}; nothing in the store says whether they ever were"
            )


def check_unexpected(
    stored: Stored, record: object, values: Mapping[str, object] = MappingProxyType({})
) -> Iterator[Problem]:
    """Yield what lies below an array and is not one of its objects, nor belongs to a record."""
    own = set() if record is None else {object_table.KEY, value_counts.KEY}
    if values.get("path") == stored.path:
        own.add(value_counts.KEY)
    for key in stored.unexpected_keys:
        if key in own:
            continue
        accepted = (
            f"keys as {stored.grid.key(0)!r}" if stored.grid.total else "none, for it is empty"
        )
        message = f"is not a {stored.noun} of the array; expected {accepted}"
        yield Problem("stray", f"{stored.path}/{key}", message, "warning")
