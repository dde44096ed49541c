"""Stores that are reached over a network, or made by others: what they are asked is asked again.

`resolve` puts a `RetryingStore` around each of them, so every operation goes through one place. A
fault that may pass is tried again; one that stays is a `ReadError` or a `StorageError` that names
the place, whatever package the client is of. It is neither "nothing is there" nor "damaged".
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from typing import Any, TypeGuard, TypeVar

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

from xpyramid._compat import unwrapped
from xpyramid.errors import PyramidError, ReadError, StorageError
from xpyramid.runtime.retry import is_absence, is_not_allowed, retried, retried_async

T = TypeVar("T")

#: Modules of fsspec with the ways of listing that filesystems have which do not bring their own.
_CARELESS = {"fsspec.asyn", "fsspec.spec"}


def spelled(store: Store) -> str:
    """Return the root of a store as users spell it: a path, or a URL."""
    store = unwrapped(store)
    if isinstance(store, LocalStore):
        return str(store.root)
    if isinstance(store, FsspecStore):
        fs = getattr(store.fs, "sync_fs", store.fs)
        return str(fs.unstrip_protocol(store.path))
    return str(store)


def retrying(store: Store) -> Store:
    """Return a store that asks again; directories and dicts, which have ways of their own, stay.

    What others have made of a `LocalStore` is a store like any other.
    """
    has_own_ways = type(store) in (LocalStore, MemoryStore) or getattr(store, "asks_again", False)
    return store if has_own_ways else RetryingStore(store)


def as_local(store: Store) -> LocalStore | None:
    """Return the directory that a store is, be it of a class of its own; None for other stores."""
    store = bare(store)
    return store if isinstance(store, LocalStore) else None


def bare(store: Store) -> Store:
    """Return the store that a user has given."""
    return store._store if isinstance(store, RetryingStore) else store


@contextmanager
def reading(store: Store, key: str) -> Iterator[None]:
    """Turn what goes wrong when a store is read into an error that names the place.

    Raises
    ------
    ReadError
    """
    with _attributed(store, key, "read", ReadError):
        yield


@contextmanager
def _attributed(
    store: Store, key: str, what: str, kind: type[ReadError] | type[StorageError]
) -> Iterator[None]:
    try:
        yield
    except (PyramidError, MemoryError, NotImplementedError):
        raise
    except Exception as error:  # whatever a client raises
        if kind is ReadError and is_absence(error):
            raise
        place = "/".join(part for part in (spelled(store), key) if part)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        if is_not_allowed(error):
            raise kind(
                f"not allowed to {what} {place}: {reason}", fix="check the credentials"
            ) from error
        raise kind(f"cannot {what} {place}: {reason}") from error


def _says_absent(error: Exception) -> bool:
    return not isinstance(error, PyramidError) and is_absence(error)


def _lists_carelessly(store: Store) -> TypeGuard[FsspecStore]:
    """Whether a listing leaves out what could not be listed, as fsspec's own way does."""
    if type(store) is not FsspecStore:
        return False
    fs = store.fs
    while inner := getattr(fs, "sync_fs", None) or getattr(fs, "fs", None):
        fs = inner
    ways = (getattr(type(fs), name, None) for name in ("_find", "find"))
    return all(way is None or way.__module__ in _CARELESS for way in ways)


async def _list_carefully(store: FsspecStore, prefix: str) -> AsyncIterator[str]:
    """Yield the keys below a prefix, or raise what keeps a part of them from being listed."""
    root = f"{store.path.strip('/')}/".lstrip("/")
    waiting = ["/".join(part for part in (store.path.rstrip("/"), prefix.rstrip("/")) if part)]
    while waiting:
        directory = waiting.pop()
        prefix_here = f"{directory.strip('/')}/".lstrip("/")
        try:
            entries = await store.fs._ls(directory, detail=True)
        except Exception as error:
            if not is_absence(error):
                raise
            continue
        for entry in entries:
            path = str(entry["name"]).strip("/")
            if path == prefix_here.rstrip("/") or not path.startswith(prefix_here):
                continue  # some list the directory, too, or what links lead to
            if entry["type"] == "directory":
                waiting.append(str(entry["name"]).rstrip("/"))
            else:
                yield path.removeprefix(root)


class SingleGets(WrapperStore[Store]):
    """A store of which everything is read by `get`, whatever zarr asks for."""

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of what is stored under some keys."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for request in requests:
            yield request[0], await self.get(*request)

    async def get_ranges(
        self, key: str, byte_ranges: Sequence[ByteRequest | None], **options: object
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield parts of what is stored under a key, as newer releases of zarr ask for them."""
        chosen = {name: value for name, value in options.items() if value is not None}
        get_ranges: Any = Store.get_ranges  # type: ignore[attr-defined]
        try:
            async for parts in get_ranges(self, key, byte_ranges, **chosen):
                yield parts
        except ExceptionGroup as group:  # of requests that are made together
            ours = [error for error in group.exceptions if isinstance(error, PyramidError)]
            raise (ours[0] if ours else group) from group


class RetryingStore(SingleGets):
    """See the module."""

    #: Of stores that need none around them.
    asks_again = True

    async def _read(self, key: str, action: Callable[[], Awaitable[T]]) -> T:
        with _attributed(self._store, key, "read", ReadError):
            return await retried_async(action)

    async def _write(self, key: str, action: Callable[[], Awaitable[T]]) -> T:
        self._check_writable()
        with _attributed(self._store, key, "write", StorageError):
            return await retried_async(action)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what is stored under a key."""
        try:
            return await self._read(key, lambda: self._store.get(key, prototype, byte_range))
        except Exception as error:
            if not _says_absent(error):
                raise
            return None

    async def exists(self, key: str) -> bool:
        """Whether something is stored under a key."""
        if await self._read(key, lambda: self._store.exists(key)):
            return True
        if not isinstance(unwrapped(self._store), FsspecStore):
            return False
        # Some filesystems of fsspec say that of whatever they cannot reach.
        first = RangeByteRequest(0, 1)
        return await self.get(key, default_buffer_prototype(), first) is not None

    async def getsize(self, key: str) -> int:
        """Return the number of bytes under a key."""
        return await self._read(key, lambda: self._store.getsize(key))

    async def getsize_prefix(self, prefix: str) -> int:
        """Return the number of bytes below a prefix."""
        return await self._read(prefix, lambda: self._store.getsize_prefix(prefix))

    async def is_empty(self, prefix: str) -> bool:
        """Whether nothing is stored below a prefix."""
        if _lists_carelessly(self._store):
            return await Store.is_empty(self, prefix)
        return await self._read(prefix, lambda: self._store.is_empty(prefix))

    async def _listed(
        self, prefix: str, names: Callable[[], AsyncIterator[str]]
    ) -> AsyncIterator[str]:
        async def collect() -> list[str]:
            return [name async for name in names()]

        try:
            keys = await self._read(prefix, collect)
        except Exception as error:
            if not _says_absent(error):
                raise
            keys = []
        for name in keys:
            yield name

    def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        if _lists_carelessly(self._store):
            return self.list_prefix("")
        return self._listed("", self._store.list)

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys below a prefix."""
        store = self._store
        if _lists_carelessly(store):
            return self._listed(prefix, lambda: _list_carefully(store, prefix))
        return self._listed(prefix, lambda: store.list_prefix(prefix))

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a prefix."""
        return self._listed(prefix, lambda: self._store.list_dir(prefix))

    async def set(self, key: str, value: Buffer) -> None:
        """Store something under a key."""
        await self._write(key, lambda: self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Store something under a key, if nothing is there."""
        await self._write(key, lambda: self._store.set_if_not_exists(key, value))

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        await Store._set_many(self, values)

    async def delete(self, key: str) -> None:
        """Remove what is stored under a key, if something is."""
        await self._removed(key, lambda: self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        """Remove what is stored below a prefix."""
        if _lists_carelessly(self._store):
            await Store.delete_dir(self, prefix)
            return
        await self._removed(prefix, lambda: self._store.delete_dir(prefix))

    async def clear(self) -> None:
        """Remove everything."""
        await self._removed("", self._store.clear)

    async def _removed(self, key: str, action: Callable[[], Awaitable[None]]) -> None:
        async def remove() -> None:
            try:
                await action()
            except Exception as error:
                if not _says_absent(error):
                    raise  # else an earlier try has removed it, and was not heard of

        await self._write(key, remove)

    async def _open(self) -> None:
        await self._read("", self._store._open)

    async def _ensure_open(self) -> None:
        await self._read("", self._store._ensure_open)

    @property
    def supports_consolidated_metadata(self) -> bool:
        """Whether groups may hold copies of the metadata below them."""
        return self._store.supports_consolidated_metadata

    def __str__(self) -> str:
        return str(self._store)

    def __repr__(self) -> str:
        return f"RetryingStore({self._store!r})"

    @property
    def _inner(self) -> Any:
        """The store itself, which in newer releases has calls that older ones do not have."""
        return self._store

    # Newer releases of zarr ask stores that need not wait for a network without an event loop.
    if hasattr(WrapperStore, "get_sync"):

        def get_sync(self, key: str, **options: object) -> Buffer | None:
            """Return what is stored under a key."""
            with _attributed(self._store, key, "read", ReadError):
                buffer: Buffer | None = retried(lambda: self._inner.get_sync(key, **options))
            return buffer

        def set_sync(self, key: str, value: Buffer) -> None:
            """Store something under a key."""
            self._check_writable()
            with _attributed(self._store, key, "write", StorageError):
                retried(lambda: self._inner.set_sync(key, value))

        def delete_sync(self, key: str) -> None:
            """Remove what is stored under a key."""
            self._check_writable()
            with _attributed(self._store, key, "write", StorageError):
                retried(lambda: self._inner.delete_sync(key))
