"""The stored objects of an array, chunks or shards: their number, names, and what each holds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NotRequired, TypedDict, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import UnstableSpecificationWarning

from xpyramid.store.documents import DOCUMENTS
from xpyramid.store.listing import Contents
from xpyramid.store.path import NodePath, ZarrArray, as_prefix

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
        node = place.node()
        if isinstance(node, zarr.Array):
            return node
        return zarr.open_array(place.store, path=place.path, mode="r")  # which says what is wrong


def grid_of(contents: Contents, path: str) -> ChunkGrid:
    """Return the grid of an array that has been listed."""
    return ChunkGrid.from_metadata(cast("ArrayV2 | ArrayV3", metadata_of(contents, path)))


def metadata_of(contents: Contents, path: str) -> Mapping[str, object]:
    """Return the document of an array that has been listed."""
    documents, prefix = contents.documents, as_prefix(path)
    metadata = documents.get(f"{prefix}zarr.json") or documents[f"{prefix}.zarray"]
    return cast("Mapping[str, object]", metadata)


def grid_at(place: NodePath) -> ChunkGrid:
    """Return the grid of an array from its own document."""
    return grid_of_array(open_array(place))


def grid_of_array(array: ZarrArray) -> ChunkGrid:
    """Return the grid of an array as its metadata say it here, if not yet in the store."""
    return ChunkGrid.from_metadata(cast("ArrayV2 | ArrayV3", metadata_of_array(array)))


def metadata_of_array(array: ZarrArray) -> Mapping[str, object]:
    """Return the document of an array, as it would be stored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableSpecificationWarning)  # text in Zarr v3
        return array.metadata.to_dict()
