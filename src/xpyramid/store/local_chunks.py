"""Stored objects of local arrays, read and written by the thread that needs them.

zarr-python hands each chunk to an event loop in one thread, which all others then wait for. Here a
thread reads, decodes, encodes and writes by itself, so that two of them take half the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from zarr.buffer import default_buffer_prototype

from xpyramid.geometry.tiles import Lengths, Region, relative
from xpyramid.lazy.selections import Outer
from xpyramid.store.checksums import Algorithm, checksum, checksum_of_file
from xpyramid.store.codec import ABSENT, Codec, codec_of, fill_of, is_regular
from xpyramid.store.local_files import write_file
from xpyramid.store.object_reader import Directory, reader_of
from xpyramid.store.path import ZarrArray, local_root
from xpyramid.types import Array, Parts

_NONE: Mapping[Lengths, Parts] = MappingProxyType({})


class ObjectRecord(NamedTuple):
    """What whoever writes an object knows of it.

    Attributes
    ----------
    place : tuple of int
        Of the object in the grid of its array.
    size : int
        In bytes.
    checksum : int
        See `xpyramid.store.checksums`.
    """

    place: Lengths
    size: int
    checksum: int


@dataclass
class EncodedObject:
    """An object as it is stored, wherever that is.

    Attributes
    ----------
    place : tuple of int
        Of the object in the grid of its array.
    parts : sequence of bytes
        Which lie one after the other; none where nothing is to be stored.
    checksum : int
        Of the parts; see `xpyramid.store.checksums`.
    path : pathlib.Path or None
        A file that holds it already.
    """

    place: Lengths
    parts: Parts
    checksum: int
    path: Path | None = None

    @classmethod
    def from_parts(cls, place: Lengths, parts: Parts, algorithm: Algorithm) -> EncodedObject:
        """Return an object with its checksum."""
        return cls(place, parts, checksum(parts, algorithm) if parts else 0)

    @property
    def record(self) -> ObjectRecord:
        """What is known of it when it is stored."""
        return ObjectRecord(self.place, sum(map(len, self.parts)), self.checksum)

    def put(self, path: Path, inside: Path) -> None:
        """Put it in its place at once; remove what is there, where there is nothing to store."""
        if not self.parts:
            path.unlink(missing_ok=True)
            return
        write_file(path, self.parts, inside, self.path)
        self.path = path


class ObjectArray:
    """A Zarr array of which regions are read and written object by object.

    Everything else that it is asked for, the Zarr array does.

    Attributes
    ----------
    array : zarr.Array
    codec : Codec
    root : pathlib.Path
        Directory of its store.
    """

    def __init__(self, array: ZarrArray, codec: Codec, root: Path) -> None:
        self.array, self.codec = array, codec
        self.chunks: Lengths = array.chunks
        self.shards: Lengths | None = array.shards
        self._directory = root / array.path
        self._fill = fill_of(array, codec)
        self.root = root
        self._algorithm: Algorithm = "crc32" if codec.adds_crc32c else "crc32c"
        self._stores_empty = (
            array.metadata.fill_value is None or array.async_array.config.write_empty_chunks
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "array":  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.array, name)

    def __getitem__(self, key: Any) -> object:
        region = _region(key, self.array.shape)
        # Made anew, for the shape of an array may change.
        reader = reader_of(self.array, self.codec, Directory(str(self.root)))
        if region is None or reader is None:
            return self.array[key]
        selection = Outer(region, self.array.shape, self.chunks)
        return reader.read(selection, self.array.dtype, alone=True)

    def __setitem__(self, key: Any, values: Array) -> None:
        region = _region(key, self.array.shape)
        lengths = self.shards or self.chunks
        if region is None or not _whole(region, lengths, self.array.shape):
            self.array[key] = values
        else:
            self.put(self.encoded(region, values))

    def write(self, region: Region, values: Array) -> list[ObjectRecord]:
        """Store values in a region; return what is known of the objects that it touches."""
        lengths = self.shards or self.chunks
        if _whole(region, lengths, self.array.shape):
            return self.put(self.encoded(region, values))
        self.array[region] = values
        checksums = (
            (index, checksum_of_file(self._path(index), self._algorithm))
            for index in indexes_in(region, lengths)
        )
        return [ObjectRecord(index, *record) for index, record in checksums if record is not None]

    def encoded(
        self, region: Region, values: Array, chunks: Mapping[Lengths, Parts] = _NONE
    ) -> Iterator[EncodedObject]:
        """Yield the objects of a region of whole ones, which hold some values.

        Parameters
        ----------
        region : tuple of slice
        values : ndarray
        chunks : mapping
            The bytes of chunks, where they are known, by their place in the grid of the region.
        """
        lengths = self.shards or self.chunks
        for index, _, piece in _pieces(region, lengths):
            inside = relative(piece, [r.start for r in region])
            if self.shards is None:
                parts = self._chunk(values[inside], chunks.get(self._first(inside)))
            else:
                parts = self._shard(values, inside, lengths, chunks)
            yield EncodedObject.from_parts(index, parts, self._algorithm)

    def put(self, objects: Iterable[EncodedObject]) -> list[ObjectRecord]:
        """Store objects; return what is known of those that there are now."""
        records = []
        for encoded in objects:
            encoded.put(self._path(encoded.place), self._directory)
            if encoded.parts:
                records.append(encoded.record)
        return records

    def _path(self, index: Lengths) -> Path:
        return self._directory / self.array.metadata.encode_chunk_key(index)

    def _grid(self, lengths: Lengths) -> Lengths:
        """Return how many chunks a shard has along each dimension."""
        return tuple(n // c for n, c in zip(lengths, self.chunks, strict=True))

    def _first(self, region: Region) -> Lengths:
        """Return the place of the chunk with which a region begins."""
        return tuple([r.start // n for r, n in zip(region, self.chunks, strict=True)])

    def _chunk(self, values: Array, encoded: Parts | None = None) -> Parts:
        """Return the bytes of a chunk, which may be known, and none where it is all fill value."""
        if not self._stores_empty and _all_equal(values, self._fill):
            return []
        if encoded is not None:
            return encoded
        chunk = values
        if values.shape != self.chunks:
            chunk = np.full(self.chunks, self._fill, self.codec.dtype)
            chunk[tuple(map(slice, values.shape))] = values
        return [self.codec.encode(chunk)]

    def _shard(
        self, values: Array, region: Region, lengths: Lengths, chunks: Mapping[Lengths, Parts]
    ) -> Parts:
        """Return the bytes of a shard: chunks, and an index of where each begins and ends.

        https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/

        Parameters
        ----------
        values : ndarray
        region : tuple of slice
            Of the values that the shard holds.
        lengths : tuple of int
            Shape of shards.
        chunks : mapping
            See `encoded`.
        """
        index = np.full((*self._grid(lengths), 2), ABSENT, "<u8")
        first = self._first(region)
        parts: list[bytes | memoryview] = []
        end = 0
        for place, _, piece in _pieces(region, self.chunks):
            at = tuple([i - n for i, n in zip(place, first, strict=True)])
            if chunk := self._chunk(values[piece], chunks.get(place)):
                length = sum(map(len, chunk))
                index[at] = end, length
                end += length
                parts += chunk
        tail = index.tobytes()
        return [*parts, tail, google_crc32c.value(tail).to_bytes(4, "little")] if parts else []


def by_object(array: ZarrArray) -> ObjectArray | None:
    """Return an array that is read and written object by object, where it is simple enough.

    It has to lie in a local directory, as chunks or shards of numbers that a `Codec` knows.
    """
    root = local_root(array.store)
    codec = codec_of(array) if root is not None and is_regular(array) else None
    return None if root is None or codec is None else ObjectArray(array, codec, root)


def encoder_of(array: ZarrArray) -> ObjectArray | None:
    """Return what encodes the objects of an array, wherever they are stored; it reads nothing.

    None where that takes more than a `Codec`.
    """
    codec = codec_of(array) if is_regular(array) else None
    return None if codec is None else ObjectArray(array, codec, Path())


def only_chunk(array: ZarrArray, values: Array) -> Parts | None:
    """Return the bytes of an array of one chunk, none where it is all fill value.

    None where that takes more than a `Codec`. Nothing is read or written.
    """
    encoder = encoder_of(array)
    return None if encoder is None else encoder._chunk(values)


def indexes_in(region: Region, lengths: Lengths) -> list[Lengths]:
    """Return the indexes of the objects that a region touches."""
    return [index for index, _, _ in _pieces(region, lengths)]


def _region(key: object, shape: Lengths) -> Region | None:
    """Return what a key selects, if that is a region, of as many dimensions, and not empty."""
    if not isinstance(key, tuple) or len(key) != len(shape):
        return None
    if not all(isinstance(part, slice) and part.step in (None, 1) for part in key):
        return None
    ends = [part.indices(n) for part, n in zip(key, shape, strict=True)]
    return tuple(slice(a, b) for a, b, _ in ends) if all(a < b for a, b, _ in ends) else None


def _whole(region: Region, lengths: Lengths, shape: Lengths) -> bool:
    """Whether a region holds whole objects only."""
    return all(
        part.start % length == 0 and (part.stop % length == 0 or part.stop == n)
        for part, length, n in zip(region, lengths, shape, strict=True)
    )


def _pieces(region: Region, lengths: Lengths) -> Iterator[tuple[Lengths, list[int], Region]]:
    """Yield the index of each object that a region touches, its start, and what they share."""
    spans = [range(p.start // n, -(-p.stop // n)) for p, n in zip(region, lengths, strict=True)]
    for index in product(*spans):
        start = [i * n for i, n in zip(index, lengths, strict=True)]
        ends = zip(region, start, lengths, strict=True)
        yield index, start, tuple(slice(max(p.start, s), min(p.stop, s + n)) for p, s, n in ends)


def _all_equal(values: Array, fill: object) -> bool:
    """Whether all samples are fill value, as zarr-python sees it: NaN is, -0.0 is not 0.0."""
    first = values[(0,) * values.ndim]
    if not (first == fill or (first != first and fill != fill)):  # noqa: PLR0124
        return False  # mostly that decides it
    if not any(values.strides):  # one sample, broadcast
        values = values[(slice(0, 1),) * values.ndim]
    buffer = default_buffer_prototype().nd_buffer.from_numpy_array(values)
    return buffer.all_equal(fill)
