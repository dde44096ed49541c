"""From what users call a store to a Zarr store and a path in it, and what may be written there."""

from __future__ import annotations

import errno
import json
import os
import re
import unicodedata
from collections import UserDict
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote_to_bytes
from urllib.request import url2pathname

import zarr
from zarr.abc.store import Store as ZarrStore
from zarr.storage import (
    FsspecStore,
    LocalStore,
    MemoryStore,
    ObjectStore,
    StorePath,
    ZipStore,
)
from zarr.types import AnyArray

from xpyramid import ngff
from xpyramid._compat import GroupMetadata, node_of, open_zip, package_of, sync, unwrapped
from xpyramid.errors import (
    InvalidNameError,
    NotAPyramidError,
    PyramidError,
    TargetExistsError,
    check_kind,
)
from xpyramid.messages import Message, code, literal, say
from xpyramid.store.retrying import as_local, bare, retrying, spelled
from xpyramid.types import Json

Store = str | os.PathLike[str] | ZarrStore | zarr.Group | StorePath | MutableMapping[str, object]
#: An array of either Zarr format.
ZarrArray = AnyArray
Node = zarr.Group | ZarrArray

#: Names of Zarr's own files, and those that are no names in a path.
_RESERVED = {"", ".", "..", "zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}

#: Bytes of a name on usual file systems.
_LONGEST_NAME = 255

#: What the document of a group of Zarr v3 may hold.
GROUP_FIELDS = {"zarr_format", "node_type", "attributes", "consolidated_metadata"}

#: Names of the documents that make a node.
_NODES = ("zarr.json", ".zgroup", ".zarray")

#: What lies beside an image only while it is unfinished.
_STAGED = re.compile(r"\.(.+)\.unfinished")

#: A URL of a file. What has no slash after the colon is no such URL, but a name with a colon.
_FILE_URL = re.compile(r"file:(//(?P<host>[^/\\]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)
_HERE = {"", "localhost"}

#: What the system says of a path that cannot be one.
_NO_PATH = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}


@dataclass(frozen=True)
class NodePath:
    """A node's place: a Zarr store and a path in it ("" is the root).

    Attributes
    ----------
    store : zarr.abc.store.Store
    path : str
    outside : int
        How many parts of the path are directories outside of what the user calls the store.
    """

    store: ZarrStore
    path: str
    outside: int = 0

    def __truediv__(self, path: str) -> NodePath:
        below = "/".join(part for part in (self.path, path) if part)
        return NodePath(self.store, below, self.outside)

    def __str__(self) -> str:
        """Return the place as users spell it: a path, or a URL."""
        return "/".join(part for part in (spelled(self.store), self.path) if part)

    def parents(self) -> Iterator[NodePath]:
        """Yield the places above this one, from the root down."""
        parts = self.path.split("/") if self.path else []
        for depth in range(self.outside, len(parts)):
            yield NodePath(self.store, "/".join(parts[:depth]), self.outside)

    def beside(self, name: str) -> NodePath:
        """Return the place of another name in the same group."""
        return replace(self, path=self.path.rpartition("/")[0]) / name

    def as_image(self) -> NodePath:
        """Return the same place as one that an image can be made beside.

        The root of a store on a local disk is a directory of its parent, which has room for that.
        """
        directory = as_local(self.store)
        if self.path or directory is None:
            return self
        root = Path(os.path.abspath(directory.root))
        parent_store = LocalStore(root.parent, read_only=directory.read_only)
        return NodePath(parent_store, root.name, outside=1)

    def node(self) -> Node | None:
        """Return the group or array that is there, or None."""
        if (node := self.node_at_once()) is not None:
            return node
        if type(self.store) is LocalStore:
            own = self.store.root / self.path
            if _is_absent(own) or all(_is_absent(own / name) for name in _NODES):
                return None
        try:
            return zarr.open(store=self.store, path=self.path, mode="r")
        except FileNotFoundError:
            return None

    def node_at_once(self) -> Node | None:
        """Return the node of Zarr v3 that is there on a local disk; None for all others."""
        document = node_document(self.store, self.path)
        if document is None:
            return None
        store = self.store if self.store.read_only else self.store.with_read_only(True)
        return node_of(store, self.path, document)

    def attributes(self) -> dict[str, object]:
        """Return the attributes of the group or array that is there; none where nothing is.

        The copies that a group has of what is in it are not looked at, which takes long.
        """
        document = node_document(self.store, self.path)
        attributes = {} if document is None else document.get("attributes", {})
        if document is not None and isinstance(attributes, dict):
            return dict(attributes)
        node = self.node()
        return {} if node is None else dict(node.attrs)

    def sound_node(self) -> Node | None:
        """Return the node that is there, or None.

        Raises
        ------
        TargetExistsError
            If its metadata are damaged.
        """
        try:
            return self.node()
        except (OSError, PyramidError):
            raise
        except Exception as error:  # zarr trips over damaged documents in many ways
            raise TargetExistsError(
                f"{self} holds metadata that are damaged: {type(error).__name__}: {error}",
                fix=say("mend or remove them, or choose another {group} or store"),
            ) from error

    def check_around(self) -> None:
        """Refuse to change what lies in a group whose metadata are damaged.

        Raises
        ------
        TargetExistsError
        """
        for above in self.parents():
            above.sound_node()

    def seen_from(self, above: NodePath) -> Node | None:
        """Return the node as a group above has it: consolidated metadata may not know it."""
        group = above.node()
        path = self.path[len(above.path) :].strip("/")
        return group.get(path) if isinstance(group, zarr.Group) else None

    def is_empty(self) -> bool:
        """Whether nothing at all is stored there, be it Zarr's or not."""
        if takes_nodes_only(self.store):  # and lists below nodes alone
            return self.node() is None
        if type(self.store) is LocalStore and _is_absent(self.store.root / self.path):
            return True
        return sync(self.store.is_empty(self.path))


def reads_at_once(store: ZarrStore) -> bool:
    """Whether `read_at_once` and `list_at_once` can be asked: on a local disk."""
    return type(store) is LocalStore or bool(getattr(store, "reads_at_once", False))


def read_at_once(store: ZarrStore, key: str, most: int = -1) -> bytes | None:
    """Return a document, or its first bytes, without zarr's event loop, which takes longer."""
    if type(store) is not LocalStore:
        document: bytes | None = store.read_at_once(key, most)  # type: ignore[attr-defined]
        return document
    try:
        with (store.root / key).open("rb") as file:
            return bytes(file.read(most))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def list_at_once(store: ZarrStore, path: str) -> list[str]:
    """Return the names of what lies directly below a path, without zarr's event loop."""
    root = unwrapped(store)
    if not isinstance(root, LocalStore):
        return []
    try:
        return os.listdir(root.root / path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def node_document(store: ZarrStore, path: str) -> dict[str, Json] | None:
    """Return the document of a node of Zarr v3 on a local disk; None for all others."""
    if not reads_at_once(store):
        return None
    try:
        document = json.loads(read_at_once(store, f"{as_prefix(path)}zarr.json") or b"")
    except (OSError, ValueError, RecursionError):
        return None
    is_v3 = isinstance(document, dict) and document.get("zarr_format") == 3
    return document if is_v3 and document.get("node_type") in ("array", "group") else None


def _is_absent(path: Path) -> bool:
    """Whether nothing is there; what cannot be seen may be."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def members_of(group: zarr.Group) -> Callable[[str], Node | None]:
    """Return what finds the members of a group by their paths, as the group has them.

    Of arrays it has copies of, these are looked up at once.
    """
    copies = group.metadata.consolidated_metadata
    if copies is None:
        return partial(_member, group)
    flat = copies.flattened_metadata

    def find(path: str) -> Node | None:
        metadata = flat.get(path)
        if metadata is None:
            return None
        if isinstance(metadata, GroupMetadata):
            return group.get(path)
        where = StorePath(group.store, f"{group.path}/{path}")
        return zarr.Array(zarr.AsyncArray(metadata, where))

    return find


def _member(group: zarr.Group, path: str) -> Node | None:
    """Return a member of a group that has no copies of what is in it."""
    place = NodePath(group.store, group.path) / path
    # What is of another format beside it is none of the group's.
    node = place.node_at_once() if group.metadata.zarr_format == 3 else None
    return group.get(path) if node is None else node


def takes_nodes_only(store: ZarrStore) -> bool:
    """Whether a store takes the keys of Zarr's nodes alone, as Icechunk does."""
    store = unwrapped(store)
    return package_of(store) == "icechunk"


def local_path(place: NodePath) -> Path | None:
    """Return where a place is in a directory of this machine, as it was spelled; None elsewhere."""
    store = unwrapped(place.store)
    return Path(store.root, place.path) if isinstance(store, LocalStore) else None


def local_root(store: ZarrStore) -> Path | None:
    """Return the local directory of a store that does nothing of its own."""
    store = bare(store)
    if type(store) is LocalStore:
        root: Path = store.root
        return root
    if type(store) is FsspecStore:
        inner = getattr(store.fs, "sync_fs", None)
        if getattr(inner, "protocol", None) == ("file", "local"):
            return Path(store.path)
    return None


def root_of_files(store: ZarrStore) -> Path | None:
    """Return the local directory of a store, whatever it does of its own; None elsewhere."""
    return local_path(NodePath(store, "")) or local_root(store)


def as_prefix(path: str) -> str:
    """Return what the keys of all that lies at a path of a store begin with."""
    return f"{path}/" if path else ""


def staging_path(target: NodePath) -> NodePath:
    """Return where there is room for what is there only while an image is unfinished."""
    return target.beside(f".{target.path.rpartition('/')[2]}.unfinished")


def name_of_staged(name: str) -> str | None:
    """Return the name of the image that a `staging_path` is of, None for other names."""
    match = _STAGED.fullmatch(name)
    return match[1] if match else None


def is_image(node: Node | None) -> bool:
    """Whether there is something, and its metadata announce an image."""
    return node is not None and ngff.version_of(dict(node.attrs)) is not None


def level_names(group: zarr.Group) -> set[str]:
    """Return the names of the children of a group that are levels of an image in it.

    Anybody may have written them: those that lead elsewhere, or to labels, are left out.
    """
    names = {path.split("/")[0] for path in ngff.dataset_paths(dict(group.attrs))}
    return {name for name in names if is_name(name) and name != "labels"}


def is_text(name: str) -> bool:
    """Whether a name is text that can be stored: no control characters, no halves of characters."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def is_name(part: str) -> bool:
    """Whether a text can be the name of a Zarr node: a part of a path that leads nowhere else."""
    if part in _RESERVED or part.startswith("__") or "\\" in part or not part.strip("."):
        return False
    if "/" in part or (part[0] == "." and part.endswith(".unfinished")):  # see `staging_path`
        return False
    return is_text(part) and len(part.encode()) <= 200


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home directory that ``~`` stands for; that of nobody is a name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def path_named(location: str | bytes | os.PathLike[str]) -> str:
    """Return a path, or a ``file:`` URL as the path that it stands for; other URLs as they are.

    https://www.rfc-editor.org/rfc/rfc8089: ``file:///data``, ``file://localhost/data`` and
    ``file:/data`` are one place, and what is not a letter of a URL is percent-encoded.

    Raises
    ------
    InvalidNameError
        For a file on another machine.
    """
    text = os.fsdecode(location)
    match = _FILE_URL.fullmatch(text)
    if match is None:
        return text
    host, path = match["host"] or "", match["path"]
    if os.name == "nt":
        return url2pathname(f"//{host}{path}" if host.lower() not in _HERE else path)
    if host.lower() not in _HERE:
        raise InvalidNameError(
            f"{text[:200]!r} is a file on the machine {host[:60]!r}",
            accepted=f"{f'file:///{host}{path}'[:200]!r}, or a path without 'file:'",
        )
    return "/" + os.fsdecode(unquote_to_bytes(path)).lstrip("/")


def resolve(store: Store, *, read_only: bool) -> NodePath:
    """Return the place that a path, URL, store or group names; nothing is created.

    Raises
    ------
    NotAPyramidError
        For a path that is not a directory.
    InvalidNameError
        For objects that are not stores, and URLs of unknown kinds.
    """
    if isinstance(store, zarr.Group | StorePath):
        return NodePath(retrying(store.store), store.path)
    if (opened := _as_zarr_store(store, read_only=read_only)) is not None:
        archive = unwrapped(opened)
        if isinstance(archive, ZipStore) and not open_zip(archive) and read_only:
            raise InvalidNameError(
                f"{archive} is not open, and not one that can be opened only to be read",
                accepted="a ZipStore of an archive that is there, with mode='r'",
            )
        return NodePath(retrying(opened), "")
    if not isinstance(store, str | bytes | os.PathLike) or not os.fspath(store):
        kind = f"an object of {type(store).__module__}.{type(store).__qualname__}"
        what = literal(store)[:60] if isinstance(store, str | int | None) else kind
        raise InvalidNameError(
            f"{what} is not a store",
            accepted="a path ('.' is this directory), a URL, a Zarr store or group, a mapper "
            "of fsspec, a store of obstore, or a dict",
        )
    location = path_named(store)
    if "://" in location:
        return NodePath(retrying(_remote(location, read_only=read_only)), "")
    path = expanded(location)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if getattr(error, "errno", errno.EINVAL) in _NO_PATH:
            raise InvalidNameError(f"{location[:60]!r} cannot be a path: {error}") from error
    if path.exists() and not path.is_dir():
        raise NotAPyramidError(
            f"{location!r} is a file", accepted="a Zarr store, which is a directory",
            fix=Message(code("xpyramid.open_source()"), " reads files of other formats"),
        )  # fmt: skip
    if read_only and not path.exists():
        raise NotAPyramidError(f"there is nothing at {location!r}")
    return NodePath(LocalStore(path, read_only=read_only), "")


def _as_zarr_store(store: object, *, read_only: bool) -> ZarrStore | None:
    """Return the Zarr store that an object is, or stands for; None if it is neither."""
    is_session = package_of(store) == "icechunk"
    session_store = getattr(store, "store", None) if is_session else None
    for opened in (store, session_store):
        if isinstance(opened, ZarrStore):
            return opened
    if isinstance(store, dict | UserDict):
        return MemoryStore(store, read_only=read_only)
    if package_of(store) == "obstore":
        return ObjectStore(store, read_only=read_only)  # type: ignore[type-var]  # any of them
    if (
        package_of(store) == "fsspec" and hasattr(store, "fs") and hasattr(store, "root")
    ):  # a mapper
        protocol = store.fs.protocol
        if {"file", "local"} & set([protocol] if isinstance(protocol, str) else protocol):
            return LocalStore(str(store.root), read_only=read_only)
        mapped: ZarrStore = FsspecStore.from_mapper(store, read_only=read_only)
        return mapped
    return None


def _remote(url: str, *, read_only: bool) -> ZarrStore:
    try:
        return FsspecStore.from_url(url, read_only=read_only)
    except (ValueError, ImportError) as error:  # no such protocol, or its package is not there
        raise InvalidNameError(f"{url[:200]!r} cannot be opened: {error}") from error


def is_root(path: object) -> bool:
    """Whether a path is that of the root of a store."""
    return isinstance(path, str) and not path.strip("/")


def check_group_path(group: object) -> None:
    """Refuse what cannot be the path of a group in a store; None is the store itself.

    Raises
    ------
    PlanError
        If it is no text.
    NotAPyramidError
        If it leads elsewhere, or no store can have it.
    """
    check_kind("group", group, str, "text, as in 'lab/field'")
    for part in str(group or "").strip("/").split("/"):
        is_too_long = len(part.encode(errors="replace")) > _LONGEST_NAME
        if part in (".", "..") or "\0" in part or is_too_long:
            raise NotAPyramidError(
                f"with {part[:60]!r}", option="group", value=str(group)[:200],
                accepted="names separated by slashes, as in 'lab/field'",
            )  # fmt: skip


def check_name(name: str | None, *, nested: bool = True) -> str:
    """Return the path of an image in a store, checked part by part.

    Raises
    ------
    InvalidNameError
        For a missing name, or one that is not a path of Zarr names.
    """
    if name is None:
        raise InvalidNameError(
            "the array has no name",
            fix=say("call `.rename('field')`, or pass {group}", group="field"),
        )
    if not nested and "/" in name:
        raise InvalidNameError(
            f"the array's name {name[:60]!r} has a slash",
            fix=say("rename it, and pass {group} for its place"),
        )
    if not isinstance(name, str):
        raise InvalidNameError(option="group", value=name, accepted="text, as in 'lab/field'")
    for part in name.split("/"):
        if not is_name(part):
            raise InvalidNameError(
                f"{part[:60]!r} in {name[:60]!r} cannot be the name of a Zarr node",
                accepted="1 to 200 bytes without slashes or control characters, not '.', '..' or "
                "a Zarr file name",
            )
    return name
