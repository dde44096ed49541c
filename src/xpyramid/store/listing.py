"""Everything that lies below a place in a store, from one listing."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import (
    FsspecStore,
    LocalStore,
    MemoryStore,
    ObjectStore,
    WrapperStore,
    ZipStore,
)

from xpyramid._compat import fsspec_sizes, memory_of, sync, zip_sizes
from xpyramid.ngff import ome_xml
from xpyramid.store.documents import (
    DOCUMENTS,
    attributes_of,
    is_document,
    parse_document,
    read_documents,
)
from xpyramid.store.path import NodePath, as_prefix, name_of_staged
from xpyramid.store.retrying import as_local

T = TypeVar("T")

#: Documents that make a group.
_OF_GROUPS = ("zarr.json", ".zgroup", ".zattrs")


@dataclass(frozen=True)
class Contents:
    """What is stored below a place.

    Attributes
    ----------
    place : NodePath
    keys : sequence of str
        Of all stored objects, below the place, sorted.
    documents : mapping
        From the key of each metadata document to its content.
    damaged : mapping
        From the key of each invalid document to what is wrong with it.
    links : sequence of str
        Symbolic links, which are not followed.
    sizes : ndarray of int or None
        Bytes of each object, in the order of the keys; None where the listing does not tell.
    """

    place: NodePath
    keys: Sequence[str]
    documents: Mapping[str, object]
    damaged: Mapping[str, str]
    links: Sequence[str] = field(default=())
    sizes: NDArray[np.int64] | None = None

    def below(self, path: str) -> Sequence[str]:
        """Return the keys below a path, without that path."""
        return [key[len(as_prefix(path)) :] for key in self.keys[self._span(path)]]

    def sizes_below(self, path: str) -> NDArray[np.int64] | None:
        """Return the sizes of what is `below` a path, in the same order."""
        return None if self.sizes is None else self.sizes[self._span(path)]

    def _span(self, path: str) -> slice:
        """Return where the keys below a path are among all."""
        if not path:
            return slice(None)
        start = bisect_left(self.keys, f"{path}/")
        return slice(start, bisect_left(self.keys, f"{path}0"))  # "0" is what follows "/"

    def without_hidden(self) -> tuple[Contents, list[str]]:
        """Return what is no part of an unfinished build, and the images that have such parts."""
        keys = [key for key in self.keys if ".unfinished/" in key]
        images = {match[0]: match[1] for key in keys if (match := _hidden_in(key)) is not None}
        if not images:
            return self, []
        # Where an image is made at its place, what is there of it is no part of anything either.
        in_place = tuple(
            f"{image}/"
            for image in images.values()
            if not any(f"{image}/{name}" in self.documents for name in _OF_GROUPS)
        )

        def is_visible(key: str) -> bool:
            return _hidden_in(key) is None and not key.startswith(in_place)

        def cut(by_key: Mapping[str, T]) -> dict[str, T]:
            return {key: content for key, content in by_key.items() if is_visible(key)}

        kept = [i for i, key in enumerate(self.keys) if is_visible(key)]
        visible = replace(
            self,
            keys=[self.keys[i] for i in kept],
            sizes=None if self.sizes is None else self.sizes[kept],
            documents=cut(self.documents),
            damaged=cut(self.damaged),
        )
        return visible, list(images.values())

    def part(self, path: str) -> Contents:
        """Return what is stored below a path."""
        prefix = f"{path}/"

        def cut(by_key: Mapping[str, T]) -> dict[str, T]:
            return {k.removeprefix(prefix): v for k, v in by_key.items() if k.startswith(prefix)}

        documents, damaged = cut(self.documents), cut(self.damaged)
        sizes = self.sizes_below(path)
        return Contents(self.place / path, self.below(path), documents, damaged, sizes=sizes)

    def nodes(self) -> dict[str, bool]:
        """Return the path of each Zarr node, and whether it is an array, by its document."""
        is_array: dict[str, bool] = {}
        for key in [*self.documents, *self.damaged]:
            path, _, name = key.rpartition("/")
            content = self.documents.get(key)
            if name == "zarr.json" and isinstance(content, dict):
                is_array[path] = content.get("node_type") == "array"
            elif name in ("zarr.json", ".zgroup", ".zarray"):
                is_array[path] = is_array.get(path, False) or name == ".zarray"
        return is_array


def _hidden_in(key: str) -> tuple[str, str] | None:
    """Return the hidden directory that a key lies in, and the image that it is of."""
    parts = key.split("/")
    for n, part in enumerate(parts[:-1]):
        name = name_of_staged(part)
        if name is not None:
            return "/".join(parts[: n + 1]), "/".join((*parts[:n], name))
    return None


def list_contents(place: NodePath) -> Contents:
    """List a place, and read the metadata documents there."""
    links: list[str] = []
    keys, sizes = _list_sizes(place, links)
    document_keys = [key for key in keys if is_document(key)]
    documents: dict[str, object] = {}
    damaged: dict[str, str] = {}
    for key, raw in zip(document_keys, read_documents(place, document_keys), strict=True):
        try:
            documents[key] = parse_document(raw)
        except ValueError as error:
            damaged[key] = str(error)
    return Contents(place, keys, documents, damaged, links, sizes)


def _list_sizes(place: NodePath, links: list[str]) -> tuple[list[str], NDArray[np.int64] | None]:
    """Return the keys of all that is stored below a place, sorted, and sizes from the same listing.

    No object is asked for by itself: that would be a request for each.
    """
    directory = as_local(place.store)
    if directory is not None:
        root = os.path.join(directory.root, place.path)
        size_of = dict(_walk_sizes(root, links)) if os.path.lexists(root) else {}
        keys = sorted(size_of)
        return keys, np.array([size_of[key] for key in keys], np.int64)
    keys, prefix = list_keys(place, links), as_prefix(place.path)
    try:
        sizes = _sizes_in_listing(_inside_of_ours(place.store), prefix)
    except Exception:  # whatever its client raises: sizes are not compared, and that is said
        return keys, None
    if sizes is None or any(prefix + key not in sizes for key in keys):
        return keys, None
    return keys, np.array([sizes[prefix + key] for key in keys], np.int64)


def _inside_of_ours(store: Store) -> Store:
    """Return the store inside of wrappers of this package, which change nothing that is stored."""
    while isinstance(store, WrapperStore) and type(store).__module__.startswith("xpyramid."):
        store = store._store
    return store


def _sizes_in_listing(store: Store, prefix: str) -> Mapping[str, int] | None:
    """Return the size of each object below a prefix, by its key; None where no listing tells it."""
    if isinstance(store, ZipStore):
        return zip_sizes(store)
    if type(store) is FsspecStore:
        return fsspec_sizes(store, prefix)
    if type(store) is ObjectStore:
        return sync(_obstore_sizes(store, prefix))
    if type(store) is MemoryStore:
        return {key: len(document) for key, document in memory_of(store).items()}
    return None


async def _obstore_sizes(store: ObjectStore[Any], prefix: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    async for batch in store.store.list(prefix=prefix):
        sizes |= {about["path"]: int(about["size"]) for about in batch}
    return sizes


def list_keys(place: NodePath, links: list[str] | None = None) -> list[str]:
    """Return the keys of all that is stored below a place, sorted; links are added to a list."""
    directory = as_local(place.store)
    if directory is not None:
        root = os.path.join(directory.root, place.path)
        if not os.path.lexists(root):
            return []
        entries = _walk(root, [] if links is None else links)
        return sorted(path for path, _ in entries)
    return sorted(sync(_list(place)))


def _walk_sizes(root: str, links: list[str]) -> Iterator[tuple[str, int]]:
    """Yield the paths of files below a directory, and their sizes."""
    for path, entry in _walk(root, links):
        with suppress(FileNotFoundError):  # removed meanwhile
            yield path, entry.stat(follow_symlinks=False).st_size


def _walk(root: str, links: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the files below a directory, with their paths; one call for each directory."""
    waiting = [""]
    while waiting:
        here = waiting.pop()
        with os.scandir(os.path.join(root, here)) as entries:
            for entry in entries:
                path = f"{here}{entry.name}"
                if entry.is_symlink():
                    links.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                else:
                    yield path, entry


async def _list(place: NodePath) -> list[str]:
    prefix = as_prefix(place.path)
    keys = [key.removeprefix(prefix) async for key in place.store.list_prefix(prefix)]
    return [key for key in keys if not key.endswith("/")]  # archives list directories, too


@dataclass(frozen=True)
class Node:
    """What is at a place.

    Attributes
    ----------
    kind : {"group", "array", "nothing", "damaged"}
    documents : mapping
        Those that can be read.
    """

    kind: str
    documents: Mapping[str, object]

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes, as far as they can be read; a copy where the document has gone."""
        copies = self.documents.get(".zmetadata")
        metadata = copies.get("metadata") if isinstance(copies, dict) else None
        documents = metadata if isinstance(metadata, dict) else {}
        return attributes_of({**documents, **self.documents})


def peek(place: NodePath) -> Node:
    """Look at a place: its own documents are read, and nothing is listed."""
    names = DOCUMENTS
    raw = dict(zip(names, read_documents(place, names), strict=True))
    documents: dict[str, object] = {}
    for name in names:
        with suppress(ValueError):
            documents[name] = parse_document(raw[name])
    if raw["zarr.json"] is None:
        kind = "group" if raw[".zgroup"] else "array" if raw[".zarray"] else "nothing"
        stored_names = [name for name in names[1:] if raw[name] is not None]
        return Node(
            kind if all(name in documents for name in stored_names) else "damaged", documents
        )
    node = documents.get("zarr.json")
    kind = str(node.get("node_type")) if isinstance(node, dict) else ""
    return Node(kind if kind in ("group", "array") else "damaged", documents)


def children(place: NodePath) -> list[str]:
    """Return the names of what lies directly below a place, its own documents left out.

    So is the OME-XML of a list of images: some stores cannot be asked what lies below a file.
    """
    documents = {*DOCUMENTS, ome_xml.DOCUMENT}
    return sorted(name for name in _names_in(place) if name not in documents)


def _names_in(place: NodePath) -> list[str]:
    if type(place.store) is not LocalStore:
        return sync(_children(place))
    try:
        return os.listdir(place.store.root / place.path)
    except (FileNotFoundError, NotADirectoryError):
        return []


async def _children(place: NodePath) -> list[str]:
    return [name async for name in place.store.list_dir(place.path)]
