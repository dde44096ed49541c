"""Where an image is made, and how it comes to its place: all or nothing.

On a local disk an image is made in a hidden directory beside its place, and renamed when it is
whole; one that it replaces stays readable until then. Elsewhere there is no rename: the image is
made at its place, where its own group, which announces it, is written last.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import zarr
from filelock import FileLock, Timeout
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import collect_aiterator, sync
from zarr.storage import LocalStore, MemoryStore

from xpyramid import ngff
from xpyramid.errors import TargetBusyError
from xpyramid.runtime.retry import retried
from xpyramid.store.contents import children
from xpyramid.store.local_files import write_file
from xpyramid.store.path import (
    Place,
    Store,
    is_name,
    local_path,
    resolve,
    takes_nodes_only,
)
from xpyramid.store.record import parse_record

#: Documents of a group itself.
_OWN = {"zarr.json", ".zgroup", ".zattrs", ".zmetadata"}

#: What is a document in a store, and not everything below a place.
_DOCUMENTS = _OWN | {"build.json"}

_YARD = ("build.json", "tasks", "image", "parent")

#: What an image that is being replaced is called in the yard, between two renames.
_ASIDE = "replaced"

_UNFINISHED = re.compile(r"\.(.+)\.unfinished")

#: What zarr-python calls a file until it is written.
_TORN = re.compile(r".*\.[0-9a-f]{32}\.partial")

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@dataclass(frozen=True)
class Staging:
    """An image on its way to its place.

    Attributes
    ----------
    target : Place
        Where it will be.
    """

    target: Place

    @property
    def yard(self) -> Place:
        """What is there only while the image is unfinished."""
        parent, _, name = self.target.path.rpartition("/")
        return replace(self.target, path=parent) / f".{name}.unfinished"

    @property
    def image(self) -> Place:
        """Where it is made."""
        return self.target if self.directory is None else self.yard / "image"

    @property
    def directory(self) -> Path | None:
        """The directory that it will be, on a local disk."""
        store = self.target.store
        return store.root / self.target.path if isinstance(store, LocalStore) else None

    @property
    def resumable(self) -> bool:
        """Whether the store outlives this process, and can be tidied up."""
        return not isinstance(self.target.store, MemoryStore) and self.keeps_notes

    @property
    def keeps_notes(self) -> bool:
        """Whether the store has room for what is there only while an image is unfinished.

        Icechunk takes Zarr's own keys alone; there, nothing is seen before the user's commit.
        """
        store = self.target.store
        return store.supports_deletes and not takes_nodes_only(store)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from making the same image; a lock of the dead is free.

        Raises
        ------
        TargetBusyError
            If somebody does.
        """
        if self.directory is None:
            yield
            return
        yard = self.directory.parent / f".{self.directory.name}.unfinished"
        yard.mkdir(parents=True, exist_ok=True)
        lock = FileLock(yard / "lock", timeout=0)
        try:
            lock.acquire()
        except (Timeout, FileNotFoundError):  # or removed by another who is just done
            raise TargetBusyError(
                f"{self.target} is being made by another process; wait for it, or write elsewhere"
            ) from None
        self._put_back(yard / _ASIDE, self.directory)
        try:
            yield
        finally:
            if self.record() is None:  # nothing that could be gone on with
                shutil.rmtree(yard, ignore_errors=True)
            lock.release()

    @staticmethod
    def _put_back(aside: Path, place: Path) -> None:
        """Undo or complete replacing an image with renames, if that was broken off."""
        if aside.is_dir() and not os.path.lexists(place):
            aside.rename(place)
        elif aside.is_dir():
            shutil.rmtree(aside)

    def record(self) -> dict[str, Any] | None:
        """Return what was noted of an unfinished image, None where there is none."""
        if not self.keeps_notes:
            return None
        place = self.yard / "build.json"
        if isinstance(place.store, LocalStore):  # which would make its directory to look into it
            path = _path(place)
            text = path.read_bytes() if path.is_file() else None
        else:
            document = sync(place.store.get(place.path, default_buffer_prototype()))
            text = None if document is None else document.to_bytes()
        found = None if text is None else parse_record(text)
        # Once the image is at its place, another is here, or none.
        gone = found is not None and found["created"] and self._is_gone(found)
        return None if gone else found

    def _is_gone(self, record: Mapping[str, Any]) -> bool:
        if self.is_original(record):
            return False
        made = _path(self.image)
        return not made.is_dir() or any((made / name).exists() for name in _OWN)

    def is_original(self, record: Mapping[str, Any]) -> bool:
        """Whether the directory that a record is about was made here, and is no copy."""
        return bool(record["inode"] == self._inode())

    def _inode(self) -> int | None:
        """Return what stays the same of the image's directory when it is renamed."""
        if self.directory is None:
            return None
        made = _path(self.image)
        return made.stat().st_ino if made.is_dir() else None

    def note(self, record: Mapping[str, Any]) -> None:
        """Note what is being made, where that is of use."""
        if not self.keeps_notes:
            return
        whole = {**record, "inode": self._inode()}
        text = json.dumps(whole, indent=1, allow_nan=False).encode()
        put(self.yard, {"build.json": default_buffer_prototype().buffer.from_bytes(text)})

    def clear(self) -> None:
        """Remove what an earlier build has left, and where it was made in place, all of it."""
        found = self.record()
        if found is not None and self.directory is None:
            for name in (*sorted(_OWN), *found["children"]):
                remove(self.target / name)
        self.sweep()

    def create_parents(self, zarr_format: Literal[2, 3]) -> None:
        """Create the groups that the image will lie in."""
        for place in self.target.parents():
            if place.node() is not None:
                continue
            documents: dict[str, Buffer] = {}
            zarr.create_group(MemoryStore(documents), zarr_format=zarr_format)
            self.put_above(place, documents)

    def put_above(self, place: Place, documents: Mapping[str, Buffer]) -> None:
        """Store documents of a group that the image will lie in."""
        if self.directory is None:
            put(place, documents)
            return
        put(self.yard / "parent", documents)  # no torn file outside of the yard
        for key in documents:
            path = _path(place / key)
            path.parent.mkdir(parents=True, exist_ok=True)
            _path(self.yard / "parent" / key).replace(path)

    def tidy(self) -> None:
        """Remove files that a process that died has left half written."""
        for place in (self.yard, *([] if self.directory is not None else [self.target])):
            directory = local_path(place)
            for torn in directory.rglob("*.partial") if directory is not None else ():
                if _TORN.fullmatch(torn.name):
                    torn.unlink()

    def withdraw(self, record: Mapping[str, Any]) -> None:
        """Begin to replace an image where there is no rename: from now on there is none.

        What there is to remove is noted first: without its announcement nobody would know.
        """
        node = self.target.node() if self.directory is None else None
        if isinstance(node, zarr.Group):
            names = announced(node)
            self.note({**record, "children": sorted(names.union(record["children"]))})
            for name in [*sorted(_OWN, reverse=True), *sorted(names)]:
                remove(self.target / name)

    def publish(self, announcement: Mapping[str, Buffer], *, durable: bool = False) -> None:
        """Make an image of what is complete now, in its place."""
        made = None if self.directory is None else _path(self.image)
        if durable and made is not None:
            _fsync_tree(made)
        # Zarr v2 spreads a group over files; the one with the image's metadata comes last.
        for key in sorted(announcement, key=lambda key: (key == ".zattrs", key)):
            put(self.image, {key: announcement[key]})
        if self.directory is not None and made is not None:
            if durable:
                for path in (*(made / key for key in announcement), made):
                    _fsync(path)
            self._swap(made, self.directory)
        self.sweep()

    def sweep(self) -> None:
        """Remove what is there only while the image is unfinished."""
        for name in _YARD if self.keeps_notes else ():
            remove(self.yard / name)

    def sync_above(self) -> None:
        """Have the disk keep the way to an image: the groups above, up to where the store lies."""
        if self.directory is None:
            return
        root: Path = self.target.store.root  # type: ignore[attr-defined]  # of a LocalStore
        for above in self.directory.parents:
            for name in _OWN:
                if above != root.parent and (above / name).is_file():
                    _fsync(above / name)
            _fsync(above)
            if above == root.parent:
                break

    def _swap(self, made: Path, place: Path) -> None:
        """Bring a directory to its place; what was there takes its place in turn."""
        if not place.is_dir() or not any(place.iterdir()):
            made.rename(place)
            return
        node = self.target.node()
        replaced = announced(node) if isinstance(node, zarr.Group) else set()
        _link_others(place, made, replaced | _OWN)
        _exchange(made, place)


def announced(group: zarr.Group) -> set[str]:
    """Return the names of the children of a group that are levels of an image in it.

    Anybody may have written them: those that lead elsewhere, or to labels, are left out.
    """
    names = {path.split("/")[0] for path in ngff.paths_of(dict(group.attrs))}
    return {name for name in names if is_name(name) and name != "labels"}


def find_unfinished(store: Store, group: str | None) -> Staging | None:
    """Return the unfinished build of an image, None if there is none."""
    if isinstance(store, str | os.PathLike) and "://" not in os.fspath(store):
        path = Path(store, group or "").expanduser().absolute()
        place = Place(LocalStore(path.parent, read_only=True), path.name)
    else:
        place = resolve(store, read_only=True) / (group or "").strip("/")
    staging = Staging(place)
    return staging if staging.record() is not None else None


def unfinished_in(place: Place) -> list[str]:
    """Return the names of the images in a group whose builds have not ended."""
    names = [found[1] for name in children(place) if (found := _UNFINISHED.fullmatch(name))]
    return [name for name in names if Staging(place / name).record() is not None]


def put(place: Place, documents: Mapping[str, Buffer]) -> None:
    """Store documents by their keys below a place."""
    if type(place.store) is LocalStore:  # tasks need not wait for zarr's event loop
        for key, document in documents.items():
            retried(partial(write_file, _path(place / key), [document.as_buffer_like()]))
        return

    async def put_all() -> None:
        for key, document in documents.items():
            await place.store.set((place / key).path, document)

    retried(lambda: sync(put_all()))


def remove(place: Place) -> None:
    """Remove a document, or everything below a place."""
    store = place.store
    if not store.supports_deletes:
        return
    if isinstance(store, LocalStore):
        _discard(_path(place))
        return
    if place.path.rpartition("/")[2] in _DOCUMENTS:
        sync(store.delete(place.path))
    else:
        sync(store.delete_dir(place.path))


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def keys_below(place: Place) -> list[str]:
    """Return the keys of everything below a place, relative to it."""
    prefix = f"{place.path}/"
    found = collect_aiterator(place.store.list_prefix(prefix))
    return [key.removeprefix(prefix) for key in found]


def _path(place: Place) -> Path:
    root: Path = place.store.root  # type: ignore[attr-defined]  # of a LocalStore
    return root / place.path


def _link_others(old: Path, new: Path, replaced: set[str]) -> None:
    """Give the new directory what lies in the old one and is not replaced, under both names."""
    for child in old.iterdir():
        if child.name in replaced:
            continue
        _discard(new / child.name)  # of a build that was broken off here
        if child.is_dir() and not child.is_symlink():
            shutil.copytree(child, new / child.name, symlinks=True, copy_function=_link)
        else:
            _link(child, new / child.name)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # no hard links there
        shutil.copy2(source, target, follow_symlinks=False)


def _exchange(new: Path, old: Path) -> None:
    """Let two directories change places: in one step where the system can do that, else in two."""
    if not _exchange_at_once(new, old):
        aside = new.with_name(_ASIDE)
        old.rename(aside)
        new.rename(old)
        aside.rename(new)


def _exchange_at_once(new: Path, old: Path) -> bool:
    """Exchange two directories, if that is Linux and a file system that can."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = (os.fsencode(new), os.fsencode(old))
    if not renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), str(new), None, str(old))


def _fsync_tree(directory: Path) -> None:
    """Have the disk keep the files of a directory, then the directories themselves."""
    for where, _, files in os.walk(directory, topdown=False):
        for name in files:
            _fsync(Path(where) / name)
        _fsync(Path(where))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
