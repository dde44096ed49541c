"""Stores for reading what strangers made: nothing outside is read, and nothing without bound."""

from __future__ import annotations

import os
import stat
import weakref
import zipfile
from collections.abc import Iterable
from pathlib import Path

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, ZipStore

from xpyramid._compat import open_zip
from xpyramid.errors import NotAPyramidError
from xpyramid.messages import say
from xpyramid.runtime.retry import is_absence, retried, retried_async
from xpyramid.store.path import NodePath, Store, expanded, path_named, resolve
from xpyramid.store.retrying import reading

#: The largest file of metadata that is read. Consolidated ones of large plates are tens of MB.
MAX_METADATA = 2**27

#: The largest member of an archive that is unpacked; codecs do not take more in one piece either.
MAX_MEMBER = 2**31

_LONGEST_PATH, _LONGEST_NAME = 1000, 255

_METADATA = {"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}

#: How the names of archives end.
ARCHIVES = {".zip", ".ozx"}


def resolve_confined(store: Store) -> NodePath:
    """Return the place to read that a path, URL, store or group names.

    Directories keep their readers inside, and a file that ends in ``.zip`` or ``.ozx`` is read as
    an archive.

    Raises
    ------
    NotAPyramidError
        For a path without a file, or a file that is not an archive.
    """
    archive = archive_at(store)
    if archive is not None:
        return archive
    place = resolve(store, read_only=True)
    if type(place.store) is LocalStore:
        return NodePath(ConfinedStore(place.store.root, read_only=True), place.path)
    return place


def archive_at(store: Store) -> NodePath | None:
    """Return the root of the archive that a path names, None where it names none.

    Raises
    ------
    NotAPyramidError
        For a file that is called like one, and is none.
    """
    path = expanded(path_named(store)) if isinstance(store, str | os.PathLike) else None
    if path is None or path.suffix.lower() not in ARCHIVES or not path.is_file():
        return None
    archive = BoundedZipStore(path, mode="r")
    archive.archive()  # fails here rather than later
    open_zip(archive)  # which zarr lists with
    return NodePath(archive, "")


def check_path(path: object) -> str:
    """Return a path that metadata name, if it stays inside the group that names it.

    Raises
    ------
    NotAPyramidError
        For paths that are absolute, lead upwards, or are no path of Zarr names.
    """
    parts = path.split("/") if isinstance(path, str) else [""]
    if (
        not isinstance(path, str)
        or len(path) > _LONGEST_PATH
        or {".", "..", ""} & set(parts)
        or ":" in parts[0]  # a drive, or a URL
        or any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts)
        or "\\" in path
        or not path.isprintable()
    ):
        shown = path[:80] if isinstance(path, str) else type(path).__name__
        raise NotAPyramidError(f"dataset path {shown!r} is not a path inside the image's group")
    return path


class ConfinedStore(LocalStore):
    """A directory whose symbolic links may lead about inside it, but not out of it."""

    asks_again = reads_at_once = True

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._real = Path(os.path.realpath(root))
        self._inside: set[Path] = set()

    def __getstate__(self) -> dict[str, object]:
        # What was looked at so far would give graphs of the same samples other names.
        return {**self.__dict__, "_inside": set()}

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what is stored under a key."""

        async def get() -> Buffer | None:
            return await get_unchecked(key, prototype, byte_range) if self._check(key) else None

        get_unchecked = super().get
        with reading(self, key):
            return await retried_async(get)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of what is stored under some keys."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what is stored under a key."""

        def get() -> Buffer | None:
            if not self._check(key):
                return None
            return get_unchecked(key, prototype=prototype, byte_range=byte_range)

        get_unchecked = super().get_sync
        with reading(self, key):
            return retried(get)

    def read_at_once(self, key: str, most: int = -1) -> bytes | None:
        """Return a document, or its first bytes, without zarr's event loop."""
        part = None if most < 0 else RangeByteRequest(0, most)
        buffer = self.get_sync(key, prototype=default_buffer_prototype(), byte_range=part)
        return None if buffer is None else buffer.to_bytes()

    def _check(self, key: str) -> bool:
        """Whether there may be something under a key; refuse what must not be read."""
        path = self.root / key
        try:
            parent = path.parent
            if parent not in self._inside:
                self.follow(parent, key)
                self._inside.add(parent)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                self.follow(path, key)
                status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as error:
            if isinstance(error, NotAPyramidError) or not (
                isinstance(error, ValueError) or is_absence(error)
            ):
                raise
            return False  # a name that no file system can hold, links that go in circles
        if stat.S_ISDIR(status.st_mode):
            return False
        if not stat.S_ISREG(status.st_mode):
            raise NotAPyramidError(
                f"{str(path)[:200]!r} is not a file"
            )  # a pipe would wait for ever
        _check_size(key, status.st_size)
        return True

    def follow(self, path: Path, key: str) -> None:
        """Refuse a link that leads out of the directory.

        Raises
        ------
        NotAPyramidError
        """
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self._real):
            raise NotAPyramidError(
                f"{key[:200]!r} leads out of {str(self.root)!r}, through a symbolic link",
                fix=say("if you trust it, open a directory that holds both, and pass {group}"),
            )


class BoundedZipStore(ZipStore):
    """An archive of which no member is unpacked beyond the size that it declares.

    Nothing is ever extracted, so names such as ``../x`` are keys like others.
    """

    asks_again = True
    _archive: zipfile.ZipFile | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_archive": None}

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what is stored under a key."""
        archive = self.archive()
        try:
            member = archive.getinfo(key)
        except KeyError:
            return None
        self._check(key, member)
        start, end = _bounds(byte_range, member.file_size)

        def unpack() -> bytes:
            with archive.open(member) as file:
                file.seek(start)
                # A length given, zipfile does not unpack more, whatever the member would give.
                return file.read(end - start)

        with reading(self, key):
            return prototype.buffer.from_bytes(retried(unpack))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of what is stored under some keys."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def getsize(self, key: str) -> int:
        """Return the size of what is stored under a key."""
        try:
            return self.archive().getinfo(key).file_size
        except KeyError:
            raise FileNotFoundError(key) from None

    def archive(self) -> zipfile.ZipFile:
        """Return the archive, opened at first use."""
        if self._archive is None:
            try:
                archive = self._archive = zipfile.ZipFile(self.path)
                weakref.finalize(self, archive.close)
            except (zipfile.BadZipFile, NotImplementedError) as error:
                raise NotAPyramidError(
                    f"{str(self.path)!r} is not a zip archive: {error}"
                ) from error
        return self._archive

    def _check(self, key: str, member: zipfile.ZipInfo) -> None:
        _check_size(key, member.file_size)
        if member.compress_type == zipfile.ZIP_STORED:
            return
        if member.compress_type != zipfile.ZIP_DEFLATED:  # zipfile unpacks others without a bound
            raise NotAPyramidError(
                f"{key[:200]!r} in {str(self.path)!r} is compressed by method "
                f"{member.compress_type}",
                accepted="stored, deflated",
            )
        if member.file_size > MAX_MEMBER:
            raise NotAPyramidError(
                f"{key[:200]!r} in {str(self.path)!r} unpacks to {member.file_size} bytes",
                accepted=f"at most {MAX_MEMBER}",
            )


def _bounds(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return the first byte of a request, and the one after its last."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, size
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, size - byte_range.suffix), size
    return 0, size


def _check_size(key: str, size: int) -> None:
    if size > MAX_METADATA and key.rpartition("/")[2] in _METADATA:
        raise NotAPyramidError(
            f"the metadata {key[:200]!r} are {size} bytes", accepted=f"at most {MAX_METADATA}"
        )
