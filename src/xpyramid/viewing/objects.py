"""What a server has: objects by their keys, some of them in a store, others made when asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from zarr.abc.store import RangeByteRequest
from zarr.buffer import default_buffer_prototype

from xpyramid._compat import sync
from xpyramid.errors import NotAPyramidError
from xpyramid.store.confined import check_path
from xpyramid.store.path import NodePath


class Objects(Protocol):
    """Objects by their keys, which are read and never written."""

    def size(self, key: str) -> int | None:
        """Return the length of an object, None where there is none."""

    def read(self, key: str, part: slice | None = None) -> bytes | None:
        """Return an object, or a part of it with a start and a stop; None where there is none."""


class MadeObjects(ABC):
    """Objects that are made as a whole, of which parts are cut."""

    @abstractmethod
    def make(self, key: str) -> bytes | None:
        """Return an object, None where there is none."""

    def size(self, key: str) -> int | None:
        """Return the length of an object, None where there is none."""
        data = self.make(key)
        return None if data is None else len(data)

    def read(self, key: str, part: slice | None = None) -> bytes | None:
        """Return an object, or a part of it; None where there is none."""
        data = self.make(key)
        return data if data is None or part is None else data[part]


class StoredObjects:
    """All that lies below a place of a store, and nothing else.

    The store looks up keys as it does for the reader; none of them leads out of the place.

    Parameters
    ----------
    place : NodePath
    """

    def __init__(self, place: NodePath) -> None:
        self._place = place

    def size(self, key: str) -> int | None:
        """Return the length of an object, None where there is none."""
        if self.read(key, slice(0, 1)) is None:  # which looks where a key leads
            return None
        return sync(self._place.store.getsize((self._place / key).path))

    def read(self, key: str, part: slice | None = None) -> bytes | None:
        """Return an object, or a part of it; None where there is none."""
        try:
            check_path(key)
        except NotAPyramidError:
            return None
        byte_range = None if part is None else RangeByteRequest(part.start, part.stop)
        path, prototype = (self._place / key).path, default_buffer_prototype()
        stored = sync(self._place.store.get(path, prototype, byte_range))
        return None if stored is None else stored.to_bytes()


class Files(MadeObjects):
    """Files of a directory, by its name and theirs; those in others are not there.

    Parameters
    ----------
    directory : pathlib.Path
    """

    def __init__(self, directory: Path) -> None:
        self._files = {
            f"{directory.name}/{file.name}": file for file in directory.iterdir() if file.is_file()
        }

    def make(self, key: str) -> bytes | None:
        """Return a file, None where there is none."""
        file = self._files.get(key)
        return None if file is None else file.read_bytes()
