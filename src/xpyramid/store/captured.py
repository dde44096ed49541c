"""What a change would write, before any of it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import WrapperStore

from xpyramid.store.path import Place


class _Captured(WrapperStore[Store]):
    """A store that is read, and keeps what is written to itself."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.written: dict[str, Buffer] = {}

    async def set(self, key: str, value: Buffer) -> None:
        """Keep a document."""
        self.written[key] = value

    def set_sync(self, key: str, value: Buffer) -> None:
        """Keep a document."""
        self.written[key] = value


def captured(place: Place, change: Callable[[Place], Any]) -> dict[str, Buffer]:
    """Return the documents that a change of a group writes, by their keys below it."""
    store = _Captured(place.store)
    change(Place(store, place.path))
    lead = f"{place.path}/" if place.path else ""
    return {key.removeprefix(lead): document for key, document in store.written.items()}
