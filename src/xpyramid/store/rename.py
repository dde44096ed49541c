"""An image on a local disk: made in a hidden directory beside its place, renamed when it is whole.

An image that it replaces stays readable until then. The steps of publishing are: what lies in the
old image and is not replaced gets a second name in the new one (a hard link); then the two
directories change places, in one step where the system can do that.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import zarr
from zarr.abc.buffer import Buffer
from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore

from xpyramid.errors import TargetBusyError
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import (
    OWN_DOCUMENTS,
    announce_last,
    as_buffer,
    missing_parents,
    put,
    record_writes,
    remove,
    remove_path,
)
from xpyramid.store.local_files import one_at_a_time, remove_torn_files, write_file
from xpyramid.store.locks import locked
from xpyramid.store.path import NodePath, level_names, staging_path

#: What the staging directory holds, beside the lock.
_STAGED = ("build.json", "tasks", "image", "parent", "decided")

#: What an image that is being replaced is called in the staging directory, between two renames.
_BACKUP = "replaced"

#: What stands in the staging directory from when the new image is complete, and takes the place of
#: what is there file by file.
_DECIDED = "decided"

#: What systems say of directories that they cannot rename.
_NO_RENAME = {errno.EXDEV, errno.EBUSY}

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@dataclass(frozen=True)
class RenameTransaction:
    """See the module, and `xpyramid.store.transaction.Transaction`."""

    target: NodePath

    @classmethod
    def suits(cls, store: ZarrStore) -> bool:
        """Whether images come to their place like this in a store."""
        return isinstance(store, LocalStore)

    @property
    def location(self) -> NodePath:
        """Where documents and objects are written."""
        return staging_path(self.target) / "image"

    @property
    def tasks(self) -> NodePath:
        """Where tasks note what they have done."""
        return staging_path(self.target) / "tasks"

    @property
    def _staging_dir(self) -> Path:
        return _directory(staging_path(self.target))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep others from making the same image; a lock of the dead is free.

        Raises
        ------
        TargetBusyError
            If somebody does.
        """
        directory = self._staging_dir
        with ExitStack() as held:
            with _directory_for(directory):
                what = f"{self.target} is being made by another process"
                try:
                    held.enter_context(locked(directory / "lock", 0, what))
                except FileNotFoundError:  # removed by another who is just done
                    raise TargetBusyError(what, fix="wait for it, or write elsewhere") from None
            try:
                self._settle()
                yield
            finally:
                if self.unfinished() is None:  # nothing that could be resumed
                    shutil.rmtree(directory, ignore_errors=True)

    def recover(self) -> bool:
        """Complete what a process that died has begun at its last step; return whether it has."""
        if not (self._staging_dir / _DECIDED).is_file():
            return False
        with suppress(TargetBusyError), self.lock():
            return True
        return False

    def _settle(self) -> None:
        """Undo or complete the last step, if that was interrupted."""
        directory, place = self._staging_dir, _directory(self.target)
        _settle_backup(directory / _BACKUP, place)
        if not (directory / _DECIDED).is_file():
            return
        made, record = _directory(self.location), self.unfinished()
        if record is not None and self.is_original(record) and made.is_dir():
            _put_in_place(made, place)
        self.close()

    def unfinished(self) -> BuildRecord | None:
        """Return what was noted of an unfinished build, None where there is none."""
        path = self._staging_dir / "build.json"
        record = BuildRecord.parse(path.read_bytes()) if path.is_file() else None
        # Once the image is at its place, another is here, or none.
        is_published = record is not None and record.created and self._has_gone(record)
        return None if is_published else record

    def _has_gone(self, record: BuildRecord) -> bool:
        if self.is_original(record):
            return False
        made = _directory(self.location)
        return not made.is_dir() or any((made / name).exists() for name in OWN_DOCUMENTS)

    def is_original(self, record: BuildRecord) -> bool:
        """Whether the directory that a record is about was made here, and is not a copy."""
        return record.inode == self._inode()

    def is_published(self, record: BuildRecord) -> bool:
        """Whether the directory at the image's place is the one that a record is about."""
        place = _directory(self.target)
        return place.is_dir() and place.stat().st_ino == record.inode

    def _inode(self) -> int | None:
        """Return what stays the same of the image's directory when it is renamed."""
        made = _directory(self.location)
        return made.stat().st_ino if made.is_dir() else None

    def begin(self, record: BuildRecord, zarr_format: Literal[2, 3]) -> None:
        """Remove what an earlier build has left, and make room; what is at the place stays."""
        self.abandon()
        for group, documents in missing_parents(self.target, zarr_format):
            self._put_beside(group, documents)
        self.note(record)

    def note(self, record: BuildRecord) -> None:
        """Note how far the build is."""
        text = as_buffer(replace(record, inode=self._inode()).to_json())
        put(staging_path(self.target), {"build.json": text})

    def tidy(self) -> None:
        """Remove files that a process that died has left half written."""
        remove_torn_files(self._staging_dir)

    def publish(self, documents: Mapping[str, Buffer], *, durable: bool = False) -> None:
        """Make an image of what is complete now, and bring it to its place."""
        made = _directory(self.location)
        if durable:
            _fsync_tree(made)
        for key in sorted(documents, key=announce_last):
            put(self.location, {key: documents[key]})
        if durable:
            for path in (*(made / key for key in documents), made):
                _fsync(path)
        self._swap(made, _directory(self.target))
        self.close()

    def change_group(self, group: NodePath, change: Callable[[NodePath], None]) -> None:
        """Change the documents of a group around the image, after whoever changes them now."""
        with one_at_a_time(_directory(group)):
            self._put_beside(group, record_writes(group, change))

    def _put_beside(self, group: NodePath, documents: Mapping[str, Buffer]) -> None:
        """Store documents of a group around the image; no torn file lies outside of the staging."""
        put(staging_path(self.target) / "parent", documents)
        for key in documents:
            path = _directory(group / key)
            path.parent.mkdir(parents=True, exist_ok=True)
            (self._staging_dir / "parent" / key).replace(path)

    def flush(self) -> None:
        """Have the disk keep the way to the image: the groups above, up to where the store lies."""
        root = _directory(NodePath(self.target.store, ""))
        for above in _directory(self.target).parents:
            for name in OWN_DOCUMENTS:
                if above != root.parent and (above / name).is_file():
                    _fsync(above / name)
            _fsync(above)
            if above == root.parent:
                break

    def abandon(self) -> None:
        """Remove all that an unfinished build has left; what is at the place stays."""
        self.close()

    def close(self) -> None:
        """Remove what is there only while the image is unfinished."""
        for name in _STAGED:
            remove(staging_path(self.target) / name)

    def _swap(self, made: Path, place: Path) -> None:
        """Bring a directory to its place; what was there takes its place in turn."""
        if not place.is_dir() or not any(place.iterdir()):
            if not _renamed(made, place):
                self._put_in_place(made, place)
            return
        node = self.target.node()
        replaced = level_names(node) if isinstance(node, zarr.Group) else set()
        _link_others(place, made, replaced.union(OWN_DOCUMENTS))
        if not _exchange(made, place):
            self._put_in_place(made, place)

    def _put_in_place(self, made: Path, place: Path) -> None:
        """Bring a directory to its place where directories cannot be renamed.

        That takes many steps. From the first on, whoever comes next goes on with them.
        """
        write_file(self._staging_dir / _DECIDED, [])
        _put_in_place(made, place)


def _directory(place: NodePath) -> Path:
    root: Path = place.store.root  # type: ignore[attr-defined]  # of a LocalStore
    return root / place.path


@contextmanager
def _directory_for(directory: Path) -> Iterator[None]:
    """Make a directory; where it turns out that nothing can be made in it, it does not stay."""
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except TargetBusyError:  # it is of somebody else
        raise
    except OSError:
        with suppress(OSError):
            for path in new:
                path.rmdir()
        raise


def _settle_backup(backup: Path, place: Path) -> None:
    """Undo or complete replacing an image with renames, if that was interrupted."""
    if backup.is_dir() and not os.path.lexists(place):
        backup.rename(place)
    elif backup.is_dir():
        shutil.rmtree(backup)


def _link_others(old: Path, new: Path, replaced: set[str]) -> None:
    """Give the new directory what lies in the old one and is not replaced, under both names."""
    for child in old.iterdir():
        if child.name in replaced:
            continue
        remove_path(new / child.name)  # of a build that was interrupted here
        if child.is_dir() and not child.is_symlink():
            shutil.copytree(child, new / child.name, symlinks=True, copy_function=_link)
        else:
            _link(child, new / child.name)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # no hard links there
        shutil.copy2(source, target, follow_symlinks=False)


def _renamed(old: Path, new: Path) -> bool:
    """Rename a directory, if its file system can do that.

    Overlays cannot, if the directory is of a lower layer, nor can others if something is mounted.
    """
    try:
        old.rename(new)
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
        return False
    return True


def _exchange(new: Path, old: Path) -> bool:
    """Let two directories change places, if their file system can do that; else nothing changes.

    That takes one step where the system can do that, else three.
    """
    if _exchange_at_once(new, old):
        return True
    backup = new.with_name(_BACKUP)
    if not _renamed(old, backup):
        return False
    if not _renamed(new, old):
        backup.rename(old)
        return False
    backup.rename(new)
    return True


def _put_in_place(made: Path, place: Path) -> None:
    """Remove what is at a place, its announcement first, and bring a directory there.

    Begun again after it was interrupted, it comes to the same end.
    """
    if place.is_dir():
        for name in OWN_DOCUMENTS:
            remove_path(place / name)
        for child in list(place.iterdir()):
            remove_path(child)
    if _renamed(made, place):
        return
    documents = sorted(OWN_DOCUMENTS, key=announce_last)
    place.mkdir(exist_ok=True)
    for child in made.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.copytree(child, place / child.name, symlinks=True, copy_function=_link)
        elif child.name not in documents:
            _link(child, place / child.name)
    for name in documents:
        if (made / name).is_file():
            write_file(place / name, [(made / name).read_bytes()])


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
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, *_NO_RENAME):
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
