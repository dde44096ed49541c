"""A store for reading an image: nothing of another image, nor of another size, gets through.

Every read of the levels that `open_pyramid` returns goes through the store, whoever asks it:
xarray, dask, zarr-python. So that is where sizes are compared with those of the record
(`xpyramid.store.object_table`). What is got whole costs nothing more, for its length is known; of a
shard, from which parts are got, the size is asked for once for each time that its index is read. A
table is loaded when its array is first read, and once in a process.

An object that is missing, empty, truncated or longer is refused, rather than read as fill values,
and so is one where none was stored. That holds also for one that somebody has changed on purpose
with other software: there is no telling that from damage, and the levels above it are stale then.
Checksums are not compared: that takes as long as reading, and is what `xpyramid.verify` is for.

After each read it is asked whether the image is still the one that was opened, see
`xpyramid.store.identity`. If it is not, the read is refused, whatever it has got.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Self, TypedDict, TypeGuard, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.storage import StorePath

from xpyramid._compat import sync
from xpyramid.errors import ReadError
from xpyramid.store import object_table
from xpyramid.store.chunk_grid import position_in
from xpyramid.store.documents import is_document
from xpyramid.store.identity import Mark, Watch
from xpyramid.store.manifest import object_records
from xpyramid.store.path import NodePath, as_prefix, read_at_once, reads_at_once
from xpyramid.store.retrying import SingleGets
from xpyramid.store.transaction import is_growing
from xpyramid.warn import warn

T = TypeVar("T")

Sizes = NDArray[np.unsignedinteger]

#: Sizes that were loaded last, by the digests of their tables; tables that tasks on one machine
#: load, each with a store of its own, are the same.
_loaded: dict[str, Sizes] = {}
_MOST_LOADED = 64


class TableRecord(TypedDict):
    """What the record of an image has of an array's objects, see `xpyramid.store.manifest`.

    Attributes
    ----------
    grid : list of int
        How many there are along each dimension.
    objects : int
        How many there are in all.
    table : str or mapping
        Their sizes and checksums, or where these are.
    """

    grid: list[int]
    objects: int
    table: str | Mapping[str, object]


class CheckedStore(SingleGets):
    """See the module.

    Parameters
    ----------
    store : zarr.abc.store.Store
    image : str
        Path of the image.
    records : mapping
        What its manifest says of each array, by its path.
    known : tuple of str, optional
        By which of its documents the image is known, and what that says, see `Watch`.
    """

    def __init__(
        self,
        store: Store,
        image: str,
        records: Mapping[str, TableRecord],
        known: tuple[str, str | None] | None = None,
    ) -> None:
        super().__init__(store)
        self.image, self.records, self.known = image, records, known
        self.watch = None if known is None else Watch(NodePath(store, image), *known)
        self._prefix = as_prefix(image)
        self._sizes: dict[str, Sizes | None] = {}
        self._loading: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[Sizes | None]] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), (self._store, self.image, self.records, self.known)

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self.image, self.records, self.known)

    @property
    def _supports_sync_io(self) -> bool:  # newer releases of zarr would go past `get`
        return False

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what is stored under a key, if it has the size that is recorded.

        Raises
        ------
        ReplacedError
            If another image has taken the place, or it has become longer.
        ReadError
            If it has another size, also when it is looked at again.
        """
        watch, looked_again = self.watch, False
        if watch is None:
            try:
                return await self._get(key, prototype, byte_range)
            except _OtherSizeError as error:
                raise error.for_users() from None
        while True:
            before = await watch.begun()
            try:
                buffer = await self._get(key, prototype, byte_range)
            except Exception as error:
                if not await watch.is_unchanged(before):
                    continue
                if not isinstance(error, _OtherSizeError):
                    raise
                if looked_again:
                    if watch.has_changed or await asyncio.to_thread(is_growing, watch.place):
                        raise watch.replaced() from None
                    raise error.for_users() from None
                await watch.confirm()
                looked_again = True
                continue
            if await watch.is_unchanged(before):
                return buffer

    async def _get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        """Return what is stored under a key, whatever image it is of."""
        place = self._place(key)
        sizes = None if place is None else await self._sizes_of(place[0])
        if place is None or sizes is None:
            return await self._store.get(key, prototype, byte_range)
        recorded = int(sizes[place[1]])
        if not _reads_index(byte_range):
            buffer = await self._store.get(key, prototype, byte_range)
            if byte_range is None or buffer is None:
                self._check(key, 0 if buffer is None else len(buffer), recorded)
            return buffer
        content, size = await asyncio.gather(
            self._store.get(key, prototype, byte_range), self._size(key), return_exceptions=True
        )
        if isinstance(size, BaseException):
            raise size
        self._check(key, size, recorded)
        if isinstance(content, BaseException):
            raise content
        return content

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what is stored under a key, if it has the size that is recorded."""
        return sync(self.get(key, prototype or default_buffer_prototype(), byte_range))

    @property
    def reads_at_once(self) -> bool:
        """Whether documents can be read without zarr's event loop."""
        return reads_at_once(self._store)

    def read_at_once(self, key: str, most: int = -1) -> bytes | None:
        """Return a document of the image that was opened; its size is not recorded."""
        return self.watched(partial(read_at_once, self._store, key, most))

    def _place(self, key: str) -> tuple[str, int] | None:
        """Return the array that a key is of an object of, and the place of that in C order."""
        if not key.startswith(self._prefix) or is_document(key):
            return None
        below = key[len(self._prefix) :]
        for end in _slashes(below):
            record = self.records.get(below[:end])
            if record is not None:
                position = position_in(record["grid"], below[end + 1 :])
                return None if position is None else (below[:end], position)
        return None

    async def _size(self, key: str) -> int:
        """Return the size of an object, 0 where there is none."""
        try:
            return await self._store.getsize(key)
        except FileNotFoundError:
            return 0

    def _check(self, key: str, size: int, recorded: int) -> None:
        """Refuse an object of another size.

        Raises
        ------
        ReadError
        """
        if size == recorded:
            return
        now = f"has {size} bytes" if size else "is missing, or empty"
        before = f"had {recorded} bytes" if recorded else "was not there"
        raise _OtherSizeError(
            f"{NodePath(self._store, key)} {now}, and {before} when the image was complete: it "
            "is damaged, or was changed since by something else",
            fix="restore it from a copy; levels above 0 are made again by xpyramid.repair(), or by "
            "xpyramid.update() where level 0 was changed on purpose; if the image was replaced "
            "meanwhile, open it again",
        )

    def inner_path(self, path: str) -> str:
        """Return the path of an array below the image."""
        return path.removeprefix(self._prefix)

    def sizes_of(self, path: str) -> Sizes | None:
        """Return the recorded sizes of the objects of an array, None if they cannot be known."""
        if path not in self._sizes:
            record = self.records[path]
            if not isinstance(record["table"], Mapping):  # the record holds it all
                with suppress(ValueError):  # of which the general way warns
                    total = record["objects"]
                    self._sizes[path] = object_table.read_table(record, total, None).sizes
        return self._sizes[path] if path in self._sizes else sync(self._sizes_of(path))

    def watched(self, read: Callable[[], T]) -> T:
        """Return what is read past this store, all of it from the image that was opened.

        Raises
        ------
        ReplacedError
            If another image has taken the place.
        """
        watch = self.watch
        if watch is None:
            return read()
        while True:
            before = watch.last_confirmed or sync(watch.begun())
            content = read()
            if watch.is_at_once_unchanged(before) or sync(watch.is_unchanged(before)):
                return content

    async def _sizes_of(self, path: str) -> Sizes | None:
        """Return the recorded sizes of the objects of an array, None if they cannot be known."""
        if path in self._sizes:
            return self._sizes[path]
        loop = asyncio.get_running_loop()
        task = self._loading.get((loop, path))
        if task is None:
            task = self._loading[loop, path] = loop.create_task(self._load(path))
        try:
            self._sizes[path] = await asyncio.shield(task)
        finally:
            self._loading.pop((loop, path), None)
        return self._sizes[path]

    async def _load(self, path: str) -> Sizes | None:
        record = self.records[path]
        entry, key = record["table"], f"{self._prefix}{path}/{object_table.KEY}"
        digest = str(entry.get("digest")) if isinstance(entry, Mapping) else None
        if digest in _loaded and _loaded[digest].size == record["objects"]:
            return _loaded[digest]
        stored = None
        if digest is not None:
            buffer = await self._store.get(key, default_buffer_prototype())
            stored = None if buffer is None else buffer.to_bytes()
        try:
            total = record["objects"]
            sizes = object_table.read_table(record, total, stored).sizes
        except ValueError as error:
            if self.watch is not None:
                await self.watch.confirm()
            array = NodePath(self._store, f"{self._prefix}{path}")
            warn(f"{array} is read without comparing sizes: {error}; verify() says more")
            return None
        if digest is not None:
            while len(_loaded) >= _MOST_LOADED:
                _loaded.pop(next(iter(_loaded)))
            _loaded[digest] = sizes
        return sizes


class _OtherSizeError(ReadError):
    """An object of another size than recorded."""

    def for_users(self) -> ReadError:
        """Return the error that says so, which has no other name."""
        error = ReadError(*self.args)
        error.__dict__.update(self.__dict__)
        return error


def as_checked(
    place: NodePath, group: zarr.Group, before: Mark = None
) -> tuple[NodePath, zarr.Group]:
    """Return an image as one of which nothing of another image, or another size, can be read.

    ``before`` is what `cheap_marks_at` has returned before the group was read.

    An image without a record of sizes, of others or of an older version, may be returned as it is.

    Raises
    ------
    ReplacedError
        If another image has taken the place since the group was read.
    """
    recorded = object_records(dict(group.attrs))
    records = {str(path): record for path, record in recorded.items() if _has_table(record)}
    watch = Watch.begin(place, group.metadata, before)
    if not records and watch is None:
        return place, group
    known = None if watch is None else (watch.document, watch.identity)
    store = CheckedStore(place.store, place.path, records, known)
    checked = NodePath(store, place.path, place.outside)
    node = zarr.AsyncGroup(group.metadata, StorePath(store, place.path))
    return checked, zarr.Group(node)


@contextmanager
def confirm(place: NodePath) -> Iterator[None]:
    """Read an image from a store of `as_checked`, all of it or nothing.

    Raises
    ------
    ReplacedError
        If another image has taken the place by the end.
    """
    watch = place.store.watch if isinstance(place.store, CheckedStore) else None
    try:
        yield
    except Exception:
        _confirm(watch)
        raise
    _confirm(watch)


def _confirm(watch: Watch | None) -> None:
    if watch is not None and not watch.is_confirmed:
        sync(watch.confirm())


def _has_table(record: object) -> TypeGuard[TableRecord]:
    """Whether the record of an array is valid, and tells where its table is."""
    if not isinstance(record, Mapping):
        return False
    total, grid = record.get("objects"), record.get("grid")
    if not isinstance(grid, list) or not all(type(n) is int and n > 0 for n in grid):
        return False
    return isinstance(record.get("table"), str | Mapping) and total == np.prod(grid, dtype=object)


def _reads_index(byte_range: ByteRequest | None) -> bool:
    """Whether a part of an object may be the index of a shard, at its end or its beginning."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start == 0
    return isinstance(byte_range, SuffixByteRequest)


def _slashes(text: str) -> Iterator[int]:
    """Yield where slashes are in a text."""
    at = text.find("/")
    while at >= 0:
        yield at
        at = text.find("/", at + 1)
