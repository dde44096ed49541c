"""An object store: it has keys but no directories, and nothing can be renamed or locked."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

from zarr.abc.store import Store
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore, WrapperStore


class Objects(MutableMapping[str, Buffer]):
    """Objects of which each is there whole or not at all, whoever dies; kept as files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def file(self, key: str) -> Path:
        """Return where an object is kept."""
        return self.directory / quote(key, safe="")

    def __getitem__(self, key: str) -> Buffer:
        try:
            return default_buffer_prototype().buffer.from_bytes(self.file(key).read_bytes())
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Buffer) -> None:
        sent = self.directory.parent / f"{os.getpid()}.sent"
        sent.write_bytes(value.to_bytes())
        sent.replace(self.file(key))

    def __delitem__(self, key: str) -> None:
        try:
            self.file(key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        return iter([unquote(name) for name in sorted(os.listdir(self.directory))])

    def __len__(self) -> int:
        return len(os.listdir(self.directory))


class Bucket(WrapperStore[Store]):
    """What Zarr makes of such objects."""

    def __init__(self, objects: Objects, read_only: bool = False) -> None:
        super().__init__(MemoryStore(objects, read_only=read_only))
        self.objects = objects

    @classmethod
    def at(cls, directory: Path) -> Self:
        return cls(Objects(directory / "bucket"))

    def with_read_only(self, read_only: bool = False) -> Self:
        return type(self)(self.objects, read_only)
