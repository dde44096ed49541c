"""Stores of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
import pytest
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore

KINDS = ["local", "memory", "fsspec", "obstore", "icechunk"]


def empty_store(kind: str, directory: Path) -> Any:
    """Return a store of one of `KINDS` with nothing in it."""
    if kind == "memory":
        return MemoryStore()
    if kind == "fsspec":
        return FsspecStore.from_url(f"file://{directory}", storage_options={"auto_mkdir": True})
    if kind == "obstore":
        return ObjectStore(obstore.store.MemoryStore())
    if kind == "icechunk":
        icechunk = pytest.importorskip("icechunk")
        repository = icechunk.Repository.create(icechunk.in_memory_storage())
        return repository.writable_session("main").store
    return LocalStore(directory)
