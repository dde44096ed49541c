"""Where values go: the arrays of a store.

Whoever writes an object has its bytes in hand, and notes how many they are and their checksum.
What goes object by object does so by itself; a store that zarr-python writes to is wrapped by one
that sees the bytes; and what zarr-python writes to a local disk is read again, from the system's
cache, for some codec pipelines know local stores by their type.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import zarr
from zarr.abc.buffer import Buffer
from zarr.abc.store import Store
from zarr.storage import MemoryStore, StorePath, WrapperStore

from xpyramid import engine
from xpyramid._compat import sync
from xpyramid.errors import StorageError
from xpyramid.geometry.tiles import Lengths
from xpyramid.runtime.retry import retried
from xpyramid.store.checksums import Algorithm, algorithm_for, checksum, checksum_of_file
from xpyramid.store.documents import as_buffer
from xpyramid.store.local_chunks import (
    EncodedObject,
    ObjectArray,
    ObjectRecord,
    by_object,
    encoder_of,
    indexes_in,
)
from xpyramid.store.passed_chunks import PassedChunks
from xpyramid.store.path import NodePath, ZarrArray, local_root
from xpyramid.types import Array


class ZarrSink:
    """Puts values into a Zarr array.

    Attributes
    ----------
    array : zarr.Array
    target : zarr.Array
        The same one, without what reads and writes it.
    name : str
        What the array is called in errors.
    path : str
        Of the array in its image.
    form : hashable or None
        What arrays have in common whose objects have the same bytes; see `engine.SharedSink`.
    """

    def __init__(self, array: ZarrArray, name: str, path: str = "") -> None:
        self.array = by_object(array) or array
        self.form: Hashable | None = _form(array, isinstance(self.array, ObjectArray))
        self.name, self.path = name, path
        self.counts = tuple(
            -(-n // length)
            for n, length in zip(array.shape, array.shards or array.chunks, strict=True)
        )
        self.target = array
        self._root = local_root(array.store)
        self._algorithm = algorithm_for(array.metadata.to_dict())
        self._seen: _WatchedStore | None = None
        self._encoder: ObjectArray | None = None
        if self._root is None:
            self._seen = _WatchedStore(array.store, self._algorithm)
            place = StorePath(self._seen, array.path)
            config = array.async_array.config
            self.array = zarr.Array(zarr.AsyncArray(array.metadata, place, config))

    @property
    def is_local(self) -> bool:
        """Whether the store is a directory of a local disk."""
        return self._root is not None

    def __call__(self, region: tuple[slice, ...], values: Array) -> engine.Written:
        """Store values in a region of whole chunks; return records of what is stored.

        Raises
        ------
        StorageError
            If that fails, and goes on to fail.
        """
        with self._naming(region):
            return self._written(retried(lambda: self._store(region, values)))

    def encode(
        self, region: tuple[slice, ...], values: Array, stored: object = None
    ) -> list[EncodedObject]:
        """Return the objects of a region of whole ones, for all sinks of the same form.

        Chunks that are stored so elsewhere are passed through.

        Raises
        ------
        StorageError
        """
        with self._naming(region):
            array, encoded_chunks = self.array, None
            if isinstance(stored, PassedChunks) and stored.form == self.form:
                encoded_chunks = stored.chunks
                self._encoder = self._encoder or encoder_of(self.target)
                array = self._encoder or array
            if isinstance(array, ObjectArray):
                return list(array.encoded(region, values, encoded_chunks or {}))
            return list(_encoded_by_zarr(array, region, values, self._algorithm))

    def store(self, region: tuple[slice, ...], encoded: Sequence[EncodedObject]) -> engine.Written:
        """Store objects that a sink of the same form has encoded; return records of them.

        Raises
        ------
        StorageError
            If that fails, and goes on to fail.
        """
        with self._naming(region):
            return self._written(retried(lambda: self._put(encoded)))

    @contextmanager
    def _naming(self, region: tuple[slice, ...]) -> Iterator[None]:
        """Say what could not be written, where something fails."""
        try:
            yield
        except Exception as error:
            objects = self.array.shards or self.array.chunks
            raise StorageError(
                f"cannot write {self.name}, {_objects(region, objects)}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _written(self, records: Sequence[ObjectRecord]) -> engine.Written:
        """Return records as tasks hand them up."""
        if not records:
            return {}
        rows = [(self._position(record.place), record.size, record.checksum) for record in records]
        return {self.path: np.array(rows, np.uint64)}

    def read(self, region: tuple[slice, ...]) -> Array:
        """Return what is stored in a region."""
        return np.asarray(self.array[region])

    def _position(self, index: Lengths) -> int:
        """Return the place of an object in C order."""
        position = 0
        for i, count in zip(index, self.counts, strict=True):
            position = position * count + i
        return position

    def _store(self, region: tuple[slice, ...], values: Array) -> list[ObjectRecord]:
        if isinstance(self.array, ObjectArray):
            return self.array.write(region, values)
        self.array[region] = values
        return list(self._records(region))

    def _put(self, objects: Sequence[EncodedObject]) -> list[ObjectRecord]:
        """Store objects as they are; remove those of which nothing is to be stored."""
        if isinstance(self.array, ObjectArray):
            return self.array.put(objects)
        if self._root is None:
            sync(self._put_all(objects))
        else:
            for encoded in objects:
                encoded.put(
                    Path(self._root, self.key(encoded.place)), Path(self._root, self.array.path)
                )
        return [encoded.record for encoded in objects if encoded.parts]

    async def _put_all(self, objects: Sequence[EncodedObject]) -> None:
        """Store objects in a store that zarr-python writes to, all at a time."""
        steps = [
            self.target.store.set(self.key(encoded.place), as_buffer(b"".join(encoded.parts)))
            if encoded.parts
            else self.target.store.delete(self.key(encoded.place))
            for encoded in objects
        ]
        await asyncio.gather(*steps)

    def key(self, index: Lengths) -> str:
        """Return the key of an object in the store."""
        return f"{self.array.path}/{self.array.metadata.encode_chunk_key(index)}".lstrip("/")

    def _records(self, region: tuple[slice, ...]) -> Iterator[ObjectRecord]:
        """Yield what is known of the objects of a region that zarr-python has written."""
        for index in indexes_in(region, self.array.shards or self.array.chunks):
            key = self.key(index)
            if self._seen is not None:
                size_and_checksum = self._seen.records.pop(key, None)
            else:
                path = Path(str(self._root), key)
                size_and_checksum = checksum_of_file(path, self._algorithm)
            if size_and_checksum is not None:
                yield ObjectRecord(index, *size_and_checksum)


class PartSink(ZarrSink):
    """Puts values into a part of an array: regions are counted from where that begins.

    Parameters
    ----------
    array, name, path
        See `ZarrSink`.
    offset : tuple of int
    """

    def __init__(self, array: ZarrArray, name: str, path: str, offset: Lengths) -> None:
        super().__init__(array, name, path)
        self.offset = offset
        self.form = None if self.form is None else (self.form, offset)

    def __call__(self, region: tuple[slice, ...], values: Array) -> engine.Written:
        """Store values in a region of whole chunks; return records of what is stored."""
        return super().__call__(self._moved(region), values)

    def encode(
        self, region: tuple[slice, ...], values: Array, stored: object = None
    ) -> list[EncodedObject]:
        """Return the objects of a region of whole chunks; see `ZarrSink.encode`."""
        return super().encode(self._moved(region), values, stored)

    def store(self, region: tuple[slice, ...], encoded: Sequence[EncodedObject]) -> engine.Written:
        """Store objects that a sink of the same form has encoded."""
        return super().store(self._moved(region), encoded)

    def read(self, region: tuple[slice, ...]) -> Array:
        """Return what is stored in a region."""
        return super().read(self._moved(region))

    def _moved(self, region: tuple[slice, ...]) -> tuple[slice, ...]:
        pairs = zip(region, self.offset, strict=True)
        return tuple(slice(part.start + n, part.stop + n) for part, n in pairs)


class PatchSink(ZarrSink):
    """Puts values into parts of stored objects, of which the rest stays.

    No two tasks may hold parts of one object, see `Tiling.limited_to`.
    """

    def __init__(self, array: ZarrArray, name: str, path: str = "") -> None:
        super().__init__(array, name, path)
        self.form = None  # regions need not be of whole objects

    def __call__(self, region: tuple[slice, ...], values: Array) -> engine.Written:
        """Store values in a region; return records of the objects that hold it."""
        lengths = self.array.shards or self.array.chunks
        triples = list(zip(region, lengths, self.array.shape, strict=True))
        whole = tuple(
            slice(r.start // n * n, min(-(-r.stop // n) * n, end)) for r, n, end in triples
        )
        if whole == region:
            return super().__call__(region, values)
        pairs = zip(region, whole, strict=True)
        block = np.array(retried(lambda: self.array[whole]))
        block[tuple(slice(r.start - w.start, r.stop - w.start) for r, w in pairs)] = values
        return super().__call__(whole, block)


class _WatchedStore(WrapperStore[Store]):
    """A store of which it is noted what is written to it.

    Attributes
    ----------
    records : dict
        Size and checksum of each object, by its key, until somebody takes them.
    """

    def __init__(self, store: Store, algorithm: Algorithm) -> None:
        super().__init__(store)
        self.algorithm = algorithm
        self.records: dict[str, tuple[int, int]] = {}

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self.algorithm)

    async def set(self, key: str, value: Buffer) -> None:
        """Store an object."""
        await super().set(key, value)
        self._note(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store an object, if there is none."""
        await super().set_if_not_exists(key, value)
        self._note(key, value)

    @property
    def _supports_sync_io(self) -> bool:  # newer releases of zarr would go past `set`
        return False

    def set_sync(self, key: str, value: Buffer) -> None:
        """Store an object."""
        sync(self.set(key, value))

    async def delete(self, key: str) -> None:
        """Remove an object."""
        await super().delete(key)
        self.records.pop(key, None)

    def _note(self, key: str, value: Buffer) -> None:
        data = value.to_bytes()
        self.records[key] = len(data), checksum([data], self.algorithm)


def _form(array: ZarrArray, is_simple: bool) -> Hashable | None:
    """Return what arrays have in common whose objects have the same bytes.

    Parameters
    ----------
    array : zarr.Array
    is_simple : bool
        Whether it is written object by object, and not by zarr-python. Then bytes may differ, as
        the chunks of a shard have no order.
    """
    if not is_simple and not str(zarr.config.get("codec_pipeline.path")).startswith("zarr."):
        return None  # those of others may know files alone
    metadata: dict[str, object] = dict(array.metadata.to_dict())
    for key in ("attributes", "dimension_names", "chunk_key_encoding", "dimension_separator"):
        metadata.pop(key, None)
    config = array.async_array.config
    text = json.dumps(metadata, sort_keys=True, default=repr)
    return is_simple, config.order, config.write_empty_chunks, text


def _encoded_by_zarr(
    array: ZarrArray, region: tuple[slice, ...], values: Array, algorithm: Algorithm
) -> Iterator[EncodedObject]:
    """Yield the objects of a region of whole ones, as zarr-python would store them."""
    objects: dict[str, Buffer] = {}
    place, config = StorePath(MemoryStore(objects), "array"), array.async_array.config
    in_memory: ZarrArray = zarr.Array(zarr.AsyncArray(array.metadata, place, config))
    in_memory[region] = values
    for index in indexes_in(region, array.shards or array.chunks):
        stored = objects.get(f"array/{array.metadata.encode_chunk_key(index)}")
        parts = [] if stored is None else [stored.to_bytes()]
        yield EncodedObject.from_parts(index, parts, algorithm)


def open_sink(array: ZarrArray, final: NodePath, level: int, path: str) -> ZarrSink:
    """Return what writes to an array.

    Parameters
    ----------
    array : zarr.Array
    final : NodePath
        Where it will be.
    level : int
    path : str
        Of the array in its image.
    """
    return ZarrSink(array, f"array {final}, level {level}", path)


def _objects(region: Sequence[slice], lengths: Sequence[int]) -> str:
    """Name the stored objects of a region by their indexes."""
    first = tuple(part.start // n for part, n in zip(region, lengths, strict=True))
    last = tuple((part.stop - 1) // n for part, n in zip(region, lengths, strict=True))
    return f"chunk {first}" if first == last else f"chunks {first} to {last}"
