"""An image in a store without rename: made at its place, and published by its last document.

That document is the one of the image's own group, which holds ``multiscales``. An image that is
replaced is removed before; that is the price of such stores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import RLock
from types import MappingProxyType
from typing import Literal

import zarr
from zarr.abc.buffer import Buffer
from zarr.abc.store import Store as ZarrStore
from zarr.storage import MemoryStore

from xpyramid._compat import memory_of, sync, unwrapped
from xpyramid.errors import TargetBusyError
from xpyramid.store.build_in_group import build_at, group_with_record, record_in_group
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import (
    OWN_DOCUMENTS,
    announce_last,
    as_buffer,
    get_document,
    missing_parents,
    put,
    record_writes,
    remove,
)
from xpyramid.store.listing import children, list_keys
from xpyramid.store.local_files import remove_torn_files
from xpyramid.store.path import (
    NodePath,
    as_prefix,
    level_names,
    root_of_files,
    staging_path,
    takes_nodes_only,
)
from xpyramid.store.retrying import bare

#: Held while the images in the making, or a group around them, change.
_guard = RLock()

#: Images that threads of this process make: in which memory, if it is one, and where.
_in_the_making: set[tuple[int | None, str]] = set()


def _forget_other_threads() -> None:
    """Begin without the locks of threads that a process which has just forked does not have."""
    global _guard  # noqa: PLW0603  a lock that others hold cannot be freed
    _guard = RLock()
    _in_the_making.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


@dataclass(frozen=True)
class InPlaceTransaction:
    """See the module, and `xpyramid.store.transaction.Transaction`."""

    target: NodePath
    kept: tuple[str, ...] = ()

    @classmethod
    def suits(cls, store: ZarrStore) -> bool:  # noqa: ARG003  every store can do this
        """Whether images come to their place like this in a store."""
        return True

    @property
    def location(self) -> NodePath:
        """Where documents and objects are written: at the image's place."""
        return self.target

    @property
    def tasks(self) -> NodePath | None:
        """Where tasks note what they have done; None in stores that end with this process."""
        is_kept = not isinstance(bare(self.target.store), MemoryStore)
        return self._notes / "tasks" if is_kept and self._notes is not None else None

    @property
    def _notes(self) -> NodePath | None:
        """Where there is room for what is there only while an image is unfinished.

        Icechunk takes the keys of nodes alone; there, nothing is seen before the user's commit, and
        what is noted is an attribute of the image's own group.
        """
        store = self.target.store
        has_room = store.supports_deletes and not self._notes_in_group
        return staging_path(self.target) if has_room else None

    @property
    def _notes_in_group(self) -> bool:
        """Whether the group of an unfinished image holds what is noted of it."""
        return takes_nodes_only(self.target.store)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other threads from making the same image, or one above or below.

        Such stores have no locks for others.

        Raises
        ------
        TargetBusyError
            If one does.
        """
        store = unwrapped(self.target.store)
        is_memory = isinstance(store, MemoryStore)
        where = id(memory_of(store)) if isinstance(store, MemoryStore) else None
        image = (where, self.target.path if is_memory else str(self.target))
        with _guard:
            for other in (path for memory, path in _in_the_making if memory == where):
                if _overlap(other, image[1]):
                    raise TargetBusyError(
                        f"{NodePath(store, other) if is_memory else other} is being made by "
                        "another thread",
                        fix="wait for it, or write elsewhere",
                    )
            _in_the_making.add(image)
        try:
            yield
        finally:
            with _guard:
                _in_the_making.discard(image)

    def recover(self) -> bool:
        """Return that there is nothing to complete: the last step is the last document."""
        return False

    @property
    def excludes_all(self) -> bool:
        """Whether the lock keeps everybody out: what is in memory is there for this process."""
        return isinstance(unwrapped(self.target.store), MemoryStore)

    @property
    def keeps_notes(self) -> bool:
        """Whether the store has room for notes on unfinished builds."""
        return self._notes is not None or self._notes_in_group

    def noted(self) -> BuildRecord | None:
        """Return what is noted of a build, be it unfinished or not; None where nothing is."""
        if self._notes_in_group:
            return record_in_group(self.target)
        raw = None if self._notes is None else get_document(self._notes / "build.json")
        return None if raw is None else BuildRecord.parse(raw)

    def unfinished(self) -> BuildRecord | None:
        """Return what was noted of an unfinished build, None where there is none."""
        record = self.noted()
        is_published = record is not None and record.build and self._is_published(record)
        return None if is_published else record

    def _is_published(self, record: BuildRecord) -> bool:
        """Whether a build was killed when it was published, and its notes are still there."""
        # Another image was removed when the build began.
        build = record.build if record.is_named else ""
        return record.created and build_at(self.target) == build

    def left_over(self) -> int | None:
        """Return the bytes that a build has left which is at its place; None where it left nothing.

        An image that is replaced is removed before, so that these are notes.
        """
        if self._notes is None or self.noted() is None or self.unfinished() is not None:
            return None
        keys = [self._notes / key for key in list_keys(self._notes)]
        return sum(sync(place.store.getsize(place.path)) for place in keys)

    def is_original(self, record: BuildRecord) -> bool:
        """Whether an unfinished build was begun in this way."""
        return record.inode is None

    def begin(
        self,
        record: BuildRecord,
        zarr_format: Literal[2, 3],
        interim: Mapping[str, Buffer] = MappingProxyType({}),
    ) -> None:
        """Remove an image that is replaced, and what an earlier build left.

        What there is to remove is noted first: without its own group nobody would know.
        """
        self.abandon()
        self._claim(record)
        node = self.target.node()
        if isinstance(node, zarr.Group) and (interim or not self.kept):
            record = record.with_children(level_names(node))
            self.note(record)
            put(self.target, interim)
            if interim:
                remove(self.target / ".zmetadata")
            self._remove(record)
        for place, documents in missing_parents(self.target, zarr_format):
            put(place, documents)
        self.note(record)

    def note(self, record: BuildRecord) -> None:
        """Note how far the build is."""
        if self._notes_in_group:
            self._put_group(record, is_kept=bool(record.kept))
        if self._notes is not None:
            put(self._notes, {"build.json": as_buffer(record.to_json())})

    def _claim(self, record: BuildRecord) -> None:
        """Be the first to note something of a build.

        Raises
        ------
        TargetBusyError
            If another process was.
        """
        if self._notes is None:
            return
        key = (self._notes / "build.json").path
        sync(self.target.store.set_if_not_exists(key, as_buffer(record.to_json())))
        now = self.noted()
        if now is None or now.build != record.build:
            raise TargetBusyError(
                f"{self.target} has just been begun by another process",
                fix="wait for it, or write elsewhere",
            )

    def tidy(self) -> None:
        """Remove files that a process that died has left half written."""
        root = root_of_files(self.target.store)
        for place in (staging_path(self.target), self.target):
            remove_torn_files(None if root is None else root / place.path)

    def publish(self, documents: Mapping[str, Buffer], *, durable: bool = False) -> None:  # noqa: ARG002
        """Make an image of what is complete now."""
        for key in sorted(documents, key=announce_last):
            put(self.target, {key: documents[key]})
        self.close()

    def change_group(self, group: NodePath, change: Callable[[NodePath], None]) -> None:
        """Change the documents of a group around the image, one thread at a time."""
        with _guard:
            put(group, record_writes(group, change))

    def flush(self) -> None:
        """Such stores keep what they have taken."""

    def abandon(self) -> None:
        """Remove all that an unfinished build has left."""
        if (record := self.unfinished()) is not None:
            self.note(replace(record, created=False))  # what is half removed is not resumed
            self._remove(record)
            if self._notes_in_group and not children(self.target):
                remove(self.target / "zarr.json")
        self.close()

    def close(self) -> None:
        """Remove what is there only while the image is unfinished."""
        if self._notes is not None:
            remove(self._notes / "build.json")
            remove(self._notes)

    def _remove(self, record: BuildRecord) -> None:
        """Remove the documents of the image's own group, which announce it, and then its levels.

        Where the group goes with all that is in it, it stays, and announces nothing.
        """
        documents = () if self._notes_in_group or record.kept else OWN_DOCUMENTS
        if self._notes_in_group:
            self._put_group(None, is_kept=bool(record.kept))
        for name in (*documents, *sorted(record.children)):
            remove(self.target / name)

    def _put_group(self, record: BuildRecord | None, *, is_kept: bool) -> None:
        """Put what is noted of a build into the image's group, whose own attributes may be kept."""
        place = self.target if is_kept else None
        put(self.target, {"zarr.json": group_with_record(record, place)})


def _overlap(path: str, other: str) -> bool:
    """Whether two paths of a store are the same, or one lies in the other."""
    short, long = sorted((path, other), key=len)
    return not short or long == short or long.startswith(as_prefix(short))
