"""The documents of a store: read, parsed strictly, put, and removed."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn

import zarr
from zarr.abc.buffer import Buffer
from zarr.abc.store import RangeByteRequest, Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, WrapperStore

from xpyramid._compat import sync
from xpyramid.errors import PyramidError
from xpyramid.runtime.retry import is_absence, retried, retried_async
from xpyramid.store import object_table, value_counts
from xpyramid.store.local_files import write_file
from xpyramid.store.path import (
    NodePath,
    as_prefix,
    read_at_once,
    reads_at_once,
    takes_nodes_only,
)
from xpyramid.store.retrying import as_local, reading
from xpyramid.types import Json

#: Documents by their keys below a place.
Documents = dict[str, Buffer]

#: Names of the documents that make a Zarr node.
DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")

#: Those of a group itself, in the order in which they are removed: first what announces an image.
OWN_DOCUMENTS = ("zarr.json", ".zmetadata", ".zgroup", ".zattrs")

#: What is one document in a store, and not everything below a place.
_SINGLE = {*OWN_DOCUMENTS, "build.json", object_table.KEY, value_counts.KEY}

#: No metadata document of an image is larger, in bytes.
LARGEST_DOCUMENT = 64 * 2**20


def is_document(key: str) -> bool:
    """Whether a key is that of a metadata document."""
    return key.rpartition("/")[2] in DOCUMENTS


def as_buffer(data: bytes) -> Buffer:
    """Return bytes as zarr-python holds them."""
    return default_buffer_prototype().buffer.from_bytes(data)


def as_document(content: object, *, compact: bool = False) -> Buffer:
    """Return a document as zarr-python spaces it."""
    indent = None if compact else zarr.config.get("json_indent")
    return as_buffer(json.dumps(content, indent=indent).encode())


def new_group(
    zarr_format: Literal[2, 3], attributes: Mapping[str, object] | None = None
) -> Documents:
    """Return the documents of a group without copies of what is in it."""
    own = dict(attributes or {})
    if zarr_format == 3:
        return {
            "zarr.json": as_document({"attributes": own, "zarr_format": 3, "node_type": "group"})
        }
    return {".zgroup": as_document({"zarr_format": 2}), ".zattrs": as_document(own)}


def get_document(place: NodePath) -> bytes | None:
    """Return the document at a place, None where there is none.

    Raises
    ------
    ReadError
        If the store does not answer.
    """
    if type(place.store) is LocalStore:  # which makes its directory anew where that has gone
        return retried(partial(_read_file, place.store.root / place.path))
    get = place.store.get
    with reading(place.store, place.path):
        document = retried(lambda: sync(get(place.path, default_buffer_prototype())))
    return None if document is None else document.to_bytes()


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _would_wait(path: Path) -> bool:
    """Whether something is there that gives nothing until somebody writes to it: a pipe."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def read_documents(place: NodePath, keys: Sequence[str]) -> list[bytes | None]:
    """Return the content of documents below a place, None for those that are not there.

    Raises
    ------
    ReadError
        If the store does not answer.
    """
    prefix = as_prefix(place.path)
    if reads_at_once(place.store):
        return [_read_at_once(place.store, prefix + key) for key in keys]
    return sync(_read(place, [prefix + key for key in keys]))


def _read_at_once(store: Store, key: str) -> bytes | None:
    """Return a document that is on a local disk; no more of it than shows that it is too large."""
    root = as_local(store)
    if root is not None and _would_wait(root.root / key):
        return b""  # which is no document
    with reading(store, key):
        try:
            return retried(lambda: read_at_once(store, key, LARGEST_DOCUMENT + 1))
        except OSError as error:
            if isinstance(error, PyramidError) or not is_absence(error):
                raise
            return None


async def _read(place: NodePath, keys: Sequence[str]) -> list[bytes | None]:
    gate, prototype = asyncio.Semaphore(32), default_buffer_prototype()
    # Icechunk has no ranges that are longer than what there is.
    byte_range = (
        None if takes_nodes_only(place.store) else RangeByteRequest(0, LARGEST_DOCUMENT + 1)
    )

    root = as_local(place.store)

    async def get(key: str) -> bytes | None:
        if root is not None and _would_wait(root.root / key):
            return b""  # which is no document
        async with gate:
            try:
                with reading(place.store, key):
                    buffer = await retried_async(
                        lambda: place.store.get(key, prototype, byte_range)
                    )
            except OSError as error:
                if isinstance(error, PyramidError) or not is_absence(error):
                    raise
                return None
            return None if buffer is None else buffer.to_bytes()

    return list(await asyncio.gather(*map(get, keys)))


def parse_document(raw: bytes | None) -> Json:
    """Return the content of a JSON document, strictly.

    Raises
    ------
    ValueError
        For text that is not JSON, too large, or nested too deeply.
    """
    if raw is None:
        raise ValueError("cannot be read")
    if len(raw) > LARGEST_DOCUMENT:
        raise ValueError(f"larger than {LARGEST_DOCUMENT} bytes, too large for metadata")
    try:
        content: Json = json.loads(raw, parse_constant=_refuse)
        return content
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:  # also bytes that are no text
        raise ValueError(f"not JSON: {error}") from None


def _refuse(token: str) -> NoReturn:
    raise ValueError(f"{token} is not a JSON number")


def attributes_of(documents: Mapping[str, object], path: str = "") -> dict[str, object]:
    """Return the attributes of a node, of either Zarr format."""
    prefix = as_prefix(path)
    node = documents.get(f"{prefix}zarr.json")
    attributes = (
        node.get("attributes") if isinstance(node, dict) else documents.get(f"{prefix}.zattrs")
    )
    return dict(attributes) if isinstance(attributes, dict) else {}


def put(place: NodePath, documents: Mapping[str, Buffer]) -> None:
    """Store documents by their keys below a place."""
    if type(place.store) is LocalStore:  # tasks need not wait for zarr's event loop
        for key, document in documents.items():
            path = place.store.root / (place / key).path
            retried(partial(write_file, path, [document.as_buffer_like()]))
        return

    async def put_all() -> None:
        for key, document in documents.items():
            await place.store.set((place / key).path, document)

    retried(lambda: sync(put_all()))


def remove(place: NodePath) -> None:
    """Remove a document, or everything below a place."""
    _remove(place, is_single=place.path.rpartition("/")[2] in _SINGLE)


def remove_object(place: NodePath) -> None:
    """Remove one object of an array, whatever it is called, if it is there."""
    _remove(place, is_single=True)


def _remove(place: NodePath, *, is_single: bool) -> None:
    store = place.store
    if not store.supports_deletes:
        return
    directory = as_local(store)
    if directory is not None:
        remove_path(directory.root / place.path)
    else:
        sync((store.delete if is_single else store.delete_dir)(place.path))


def remove_path(path: Path) -> None:
    """Remove a file, a link, or a directory with all that is in it."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        if path.is_symlink() or not path.is_dir():
            raise
        shutil.rmtree(path)


def announce_last(key: str) -> tuple[bool, str]:
    """Return by what to sort the documents of an image's group: the one that announces it is last.

    Zarr v2 spreads a group over several; ``.zattrs`` holds the metadata of the image.
    """
    return key == ".zattrs", key


def put_group(place: NodePath, documents: Mapping[str, Buffer]) -> None:
    """Store the documents of an image's group, the one that announces it last."""
    for key in sorted(documents, key=announce_last):
        put(place, {key: documents[key]})


def missing_parents(
    place: NodePath, zarr_format: Literal[2, 3]
) -> Iterator[tuple[NodePath, Documents]]:
    """Yield the groups around a place that are not there, with the documents that make them."""
    for parent in place.parents():
        if parent.node() is None:
            yield parent, new_group(zarr_format)


class _RecordingStore(WrapperStore[Store]):
    """A store that is read, and keeps what is written to itself."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.written: Documents = {}

    async def set(self, key: str, value: Buffer) -> None:
        """Keep a document."""
        self.written[key] = value

    def set_sync(self, key: str, value: Buffer) -> None:
        """Keep a document."""
        self.written[key] = value


def record_writes(place: NodePath, change: Callable[[NodePath], object]) -> Documents:
    """Return the documents that a change of a group would write, by their keys below it."""
    store = _RecordingStore(place.store)
    change(NodePath(store, place.path))
    prefix = as_prefix(place.path)
    return {key.removeprefix(prefix): document for key, document in store.written.items()}
