"""An image on a local disk: made in a hidden directory beside its place, renamed when it is whole.

An image that it replaces stays readable until then. The steps of publishing are: what lies in the
old image and is not replaced gets a second name in the new one (a hard link); then the two
directories change places, in one step where the system can do that.

Where levels are added to an image, its directory stays, with all that is in it. Each new level
comes to its place by a rename, and then the documents that announce them. From the first of these
steps on, whoever comes next goes on with them.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import zarr
from zarr.abc.buffer import Buffer
from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore

from xpyramid.errors import TargetBusyError
from xpyramid.store.build_in_group import build_at
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import (
    OWN_DOCUMENTS,
    announce_last,
    as_buffer,
    missing_parents,
    put,
    record_writes,
    remove_path,
)
from xpyramid.store.local_files import one_at_a_time, remove_torn_files, write_file
from xpyramid.store.local_locks import held, is_made_here, staged_below, staged_in
from xpyramid.store.path import NodePath, level_names, name_of_staged, staging_path
from xpyramid.store.retrying import bare

#: What the staging directory holds, beside the lock.
_STAGED = ("build.json", "tasks", "image", "parent", "decided")

#: What an image that is being replaced is called in the staging directory, between two renames.
_BACKUP = "replaced"

#: What stands in the staging directory from when the new image is complete, and takes the place of
#: what is there file by file, or level by level.
_DECIDED = "decided"

#: What systems say of directories that they cannot rename.
_NO_RENAME = {errno.EXDEV, errno.EBUSY}

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@dataclass(frozen=True)
class RenameTransaction:
    """See the module, and `xpyramid.store.transaction.Transaction`."""

    target: NodePath
    kept: tuple[str, ...] = ()

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
        """Keep others from making the same image, or one above or below.

        A lock of the dead is free.
        A replacement changes all that lies in an image's directory, so there is one order: whoever
        has the lock of an image asks for those above it, from the root down, and then for those
        below, and keeps none of them. Of two that begin at the same time at least one sees the
        other; nobody waits for somebody who waits.

        Raises
        ------
        TargetBusyError
            If somebody makes one of these, or will do so later.
        """
        self._check_above()  # before anything is made
        with held(self._staging_dir, str(self.target)):
            self._check_above()
            self._check_below()
            self._settle()
            self._sweep_siblings()
            try:
                yield
            finally:
                self._settle()

    def recover(self) -> bool:
        """Complete what a process that died has begun at its last step; return whether it has."""
        if not (self._staging_dir / _DECIDED).is_file():
            return False
        with suppress(TargetBusyError), self.lock():
            return True
        return False

    def _check_above(self) -> None:
        """Refuse to make an image inside of one that is being replaced; settle what was."""
        for above in self.target.parents():
            other = RenameTransaction(above.as_image())
            if other._staging_dir.is_dir():
                why = f", and {self.target} lies in it"
                with held(other._staging_dir, str(above), why), suppress(PermissionError):
                    other._settle()

    def _check_below(self) -> None:
        """Refuse to replace what somebody else is writing to, or is about to.

        Builds that were interrupted are carried over, see `_swap`.
        """
        directory = _directory(self.target)
        for staged in staged_below(directory):
            group = self.target / staged.relative_to(directory).parent.as_posix().strip(".")
            other = RenameTransaction(group / str(name_of_staged(staged.name)))
            with held(staged, str(other.target), f", and lies in {self.target}"):
                other._settle()
                record = other.unfinished()
            if record is not None and record.delayed:
                raise TargetBusyError(
                    f"{other.target}, which lies in {self.target}, is the build of a Delayed, "
                    "and would be lost",
                    fix=f"compute that first, or remove {str(staged)!r}",
                )

    def _settle(self) -> None:
        """Undo or complete the last step, if that was interrupted; remove what nobody can resume.

        The lock is held.
        """
        directory, place = self._staging_dir, _directory(self.target)
        _settle_backup(directory / _BACKUP, place)
        if (directory / _DECIDED).is_file():
            staged, record = _directory(self.location), self.noted()
            if record is not None and self.is_original(record) and staged.is_dir():
                if not record.kept:
                    if self.unfinished() is not None:
                        _put_in_place(staged, place)
                elif all((place / name).is_dir() for name in record.kept):
                    self._put_levels(record)
            self.close()
        if self.unfinished() is None:
            _carry_over(directory / "image", place)
            self.close()
            remove_torn_files(directory)

    def _sweep_siblings(self) -> None:
        """Remove what builds of other images in the group have left that are at their places."""
        for directory in staged_in(self._staging_dir.parent):
            other = RenameTransaction(self.target.beside(str(name_of_staged(directory.name))))
            if directory != self._staging_dir and other._has_left():
                # What is in use, or of another user, stays.
                with suppress(TargetBusyError, OSError), held(directory, str(other.target)):
                    other._settle()

    def _has_left(self) -> bool:
        """Whether there is something of ours that nobody can resume."""
        is_ours = is_made_here(self._staging_dir)
        has_parts = any((self._staging_dir / name).is_dir() for name in ("image", _BACKUP))
        return is_ours and has_parts and self.unfinished() is None

    @property
    def excludes_all(self) -> bool:
        """Whether the lock keeps everybody out who can write there, other processes included."""
        return True

    @property
    def keeps_notes(self) -> bool:
        """Whether the store has room for notes on unfinished builds."""
        return True

    def noted(self) -> BuildRecord | None:
        """Return what is noted of a build, be it unfinished or not; None where nothing is."""
        return _record_in(self._staging_dir)

    def unfinished(self) -> BuildRecord | None:
        """Return what was noted of an unfinished build, None where there is none."""
        record = self.noted()
        # Once the image is at its place, another is here, or none.
        is_published = record is not None and record.created and self._has_gone(record)
        return None if is_published else record

    def _has_gone(self, record: BuildRecord) -> bool:
        if record.kept:  # nothing else tells levels that have been added from those that will be
            return build_at(self.target) == record.build
        if self.is_original(record):
            return False
        staged = _directory(self.location)
        return not staged.is_dir() or any((staged / name).exists() for name in OWN_DOCUMENTS)

    def is_original(self, record: BuildRecord) -> bool:
        """Whether the directory that a record is about was made here, and is not a copy."""
        return record.inode == self._inode()

    def left_over(self) -> int | None:
        """Return the bytes that a build has left which is at its place; None if it left nothing."""
        if not self._has_left():
            return None
        left = [self._staging_dir / name for name in ("image", _BACKUP)]
        carried = {s for directory in left for s in staged_below(directory) if _record_in(s)}
        stats = [
            path.lstat()
            for directory in left
            for path in directory.rglob("*")
            if carried.isdisjoint(path.parents)
        ]
        # What has a second name lies in the image at the place, too.
        return sum(s.st_size for s in stats if stat.S_ISREG(s.st_mode) and s.st_nlink == 1)

    def _inode(self) -> int | None:
        """Return what stays the same of the image's directory when it is renamed."""
        staged = _directory(self.location)
        return staged.stat().st_ino if staged.is_dir() else None

    def begin(
        self,
        record: BuildRecord,
        zarr_format: Literal[2, 3],
        interim: Mapping[str, Buffer] = MappingProxyType({}),  # noqa: ARG002
    ) -> None:
        """Remove what an earlier build has left, and make room; what is at the place stays."""
        self.abandon()
        if self.kept:  # from now on, the record knows its directory
            _directory(self.location).mkdir(parents=True)
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
        staged = _directory(self.location)
        if durable:
            _fsync_tree(staged)
        for key in sorted(documents, key=announce_last):
            put(self.location, {key: documents[key]})
        if durable:
            for path in (*(staged / key for key in documents), staged):
                _fsync(path)
        if self.kept:
            self._add(staged, durable=durable)
        else:
            self._swap(staged, _directory(self.target))
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
            staged = self._staging_dir / "parent" / key
            try:
                staged.replace(path)
            except OSError as error:
                if error.errno not in _NO_RENAME:
                    raise
                write_file(path, [staged.read_bytes()])  # what is mounted there is another disk

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
        directory = self._staging_dir
        for name in _STAGED:
            remove_path(directory / name)

    def _swap(self, staged: Path, place: Path) -> None:
        """Bring a directory to its place; what was there takes its place in turn."""
        if not place.is_dir() or not any(place.iterdir()):
            if not _renamed(staged, place):
                self._put_in_place(staged, place)
            return
        node = self.target.node()
        replaced = level_names(node) if isinstance(node, zarr.Group) else set()
        _link_others(place, staged, replaced.union(OWN_DOCUMENTS))
        if _exchange(staged, place):
            _carry_over(staged, place)
        else:
            self._put_in_place(staged, place)

    def _add(self, staged: Path, *, durable: bool) -> None:
        """Bring the levels of a directory to their places, beside those that stay."""
        levels = {child.name: child.stat().st_ino for child in staged.iterdir() if child.is_dir()}
        write_file(self._staging_dir / _DECIDED, [json.dumps(levels).encode()])
        record = self.noted()
        if record is not None:
            self._put_levels(record)
        if durable:
            _fsync(_directory(self.target))

    def _put_levels(self, record: BuildRecord) -> None:
        """Do, or go on with, all that is to be done once it is decided that levels are added.

        Levels that have come to their places are distinguished from those that they replace by
        what stays the same of a directory that is renamed.
        """
        staged, place = _directory(self.location), _directory(self.target)
        levels = json.loads((self._staging_dir / _DECIDED).read_bytes())
        for name, inode in levels.items():
            new, old = staged / name, place / name
            if old.is_dir() and old.stat().st_ino == inode:
                continue
            if not os.path.lexists(old) or not _exchange(new, old):
                _put_in_place(new, old)
        for name in sorted(OWN_DOCUMENTS, key=announce_last):
            if (staged / name).is_file():
                self._put_beside(self.target, {name: as_buffer((staged / name).read_bytes())})
        for name in {*record.children}.difference(levels):
            remove_path(place / name)

    def _put_in_place(self, staged: Path, place: Path) -> None:
        """Bring a directory to its place where directories cannot be renamed.

        That takes many steps. From the first on, whoever comes next goes on with them.
        """
        _carry_over(place, staged)
        write_file(self._staging_dir / _DECIDED, [])
        _put_in_place(staged, place)


def _directory(place: NodePath) -> Path:
    root: Path = bare(place.store).root  # type: ignore[attr-defined]  # of a LocalStore
    return root / place.path


def _settle_backup(backup: Path, place: Path) -> None:
    """Undo or complete replacing an image with renames, if that was interrupted."""
    if backup.is_dir() and not os.path.lexists(place):
        backup.rename(place)
    elif backup.is_dir():
        _carry_over(backup, place)
        shutil.rmtree(backup)


def _record_in(staged: Path) -> BuildRecord | None:
    """Return what is noted of a build in its hidden directory."""
    try:
        return BuildRecord.parse((staged / "build.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _carry_over(old: Path, new: Path) -> None:
    """Move unfinished builds from an image that was replaced into the one at its place.

    They are moved, and not linked: a copy of a build is not resumed.
    """
    for staged in staged_below(old):
        place = new / staged.relative_to(old)
        if _record_in(staged) is not None and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            _renamed(staged, place)


def _link_others(old: Path, new: Path, replaced: set[str]) -> None:
    """Give the new directory what lies in the old one and is not replaced, under both names.

    Hidden directories of builds are left out, see `_carry_over`.
    """

    def hidden(_: str, names: list[str]) -> list[str]:
        return [name for name in names if name_of_staged(name) is not None]

    for child in old.iterdir():
        if child.name in replaced or name_of_staged(child.name) is not None:
            continue
        remove_path(new / child.name)  # of a build that was interrupted here
        if child.is_dir() and not child.is_symlink():
            shutil.copytree(
                child, new / child.name, symlinks=True, ignore=hidden, copy_function=_link
            )
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


def _put_in_place(staged: Path, place: Path) -> None:
    """Remove what is at a place, its announcement first, and bring a directory there.

    Begun again after it was interrupted, it comes to the same end.
    """
    if place.is_dir():
        for name in OWN_DOCUMENTS:
            remove_path(place / name)
        for child in list(place.iterdir()):
            remove_path(child)
    if _renamed(staged, place):
        return
    documents = sorted(OWN_DOCUMENTS, key=announce_last)
    place.mkdir(exist_ok=True)
    for child in staged.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.copytree(child, place / child.name, symlinks=True, copy_function=_link)
        elif child.name not in documents:
            _link(child, place / child.name)
    for name in documents:
        if (staged / name).is_file():
            write_file(place / name, [(staged / name).read_bytes()])


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
