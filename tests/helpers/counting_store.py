"""Zarr stores that watch what is done to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple, Self

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import MemoryStore, WrapperStore


class Entry(NamedTuple):
    """Something that was done: ``what`` is get, set or delete; ``text`` is what metadata say."""

    what: str
    key: str
    text: str = ""


class CountingStore(WrapperStore[Store]):
    """Keeps a log of all that is read and written, in order.

    Asking for a key that is not there counts too. Every door through which the bytes of a key go
    is watched, the synchronous ones of newer zarr versions included.
    """

    def __init__(self, store: Store | None = None, log: list[Entry] | None = None):
        super().__init__(MemoryStore() if store is None else store)
        self.log: list[Entry] = [] if log is None else log

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self.log)

    def with_read_only(self, read_only: bool = False) -> Self:
        return self._with_store(self._store.with_read_only(read_only))

    def chunks(self, what: str) -> list[str]:
        """Return the keys of chunks that were got, set or deleted, in order."""
        return [entry.key for entry in self.log if entry.what == what and is_chunk(entry.key)]

    def _note(self, what: str, key: str, value: Buffer | None = None) -> None:
        text = "" if value is None or is_chunk(key) else value.to_bytes().decode(errors="replace")
        self.log.append(Entry(what, key, text))

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        self._note("get", key)
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncIterator[tuple[str, Buffer | None]]:
        for request in requests:
            yield request[0], await self.get(*request)

    async def set(self, key: str, value: Buffer) -> None:
        self._note("set", key, value)
        await super().set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        self._note("set", key, value)
        await super().set_if_not_exists(key, value)

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        for pair in values:
            await self.set(*pair)

    async def delete(self, key: str) -> None:
        self._note("delete", key)
        await super().delete(key)

    def get_sync(self, key: str, **options: Any) -> Buffer | None:
        self._note("get", key)
        found: Buffer | None = super().get_sync(key, **options)
        return found

    def set_sync(self, key: str, value: Buffer) -> None:
        self._note("set", key, value)
        super().set_sync(key, value)

    def delete_sync(self, key: str) -> None:
        self._note("delete", key)
        super().delete_sync(key)


def is_chunk(key: str) -> bool:
    """Whether a key holds samples: Zarr ends those with numbers, as in c/0/1 or 0.1."""
    return key.rsplit("/", 1)[-1].replace(".", "").isdigit()
