"""Which image is at a place: what is asked after each read of one that was opened.

An image is replaced at once, by exchanging directories, or it is withdrawn, its document first, and
another one is made at its place, its document last. So the document of the image's own group says
which image is there, and one question *after* a read is enough: if the image that was opened is
still at its place, it was there all the time, for none comes back.

The question has two steps:

- What is cheap: whether the document is the same file (`os.stat`, one system call), or the same
  object in memory. It is another one after each publication. Nothing is held open for that, so that
  a plate of thousands of images takes no file descriptors; and the time stands beside the number of
  the file, for file systems use numbers again.
- Where it is another file, what it says: a document is also written when labels are added to the
  image, or linked into a new directory with them. The record of what is stored (`manifest`), which
  has the size and the checksum of each object, stays the same then. If so, the read is repeated. An
  image without such a record is known by its list of levels and the time of its document.

Object stores, and stores that we do not know, have no cheap question. There the document is asked
for when an image has been opened, and before an object is called damaged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeGuard

from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore

from xpyramid import ngff
from xpyramid._compat import GroupMetadata, memory_of, sync, unwrapped
from xpyramid.errors import ReplacedError
from xpyramid.store.documents import attributes_of, get_document
from xpyramid.store.manifest import BEGAN, KEY, digest, manifest_of
from xpyramid.store.path import NodePath, local_root

#: What distinguishes a document from others at its place: numbers, or an object in memory.
Mark = object

#: What is between the identity of an image and the name of what first made it longer.
_LONGER = "+"

#: So many times it is looked which image is there, if that changes meanwhile.
TIMES = 10

#: Identities of images by path and mark, for tasks, each of which may have a store of its own.
_known: dict[tuple[str, Mark], str | None] = {}
_MOST_KNOWN = 1024

#: Documents that announce an image, one of either Zarr format.
_DOCUMENTS = ("zarr.json", ".zattrs")


class Watch:
    """Whether the image that was opened is still at its place.

    Parameters
    ----------
    place : NodePath
        Of the image, in a store that does not ask by itself.
    document : {"zarr.json", ".zattrs"}
        The one that announces the image.
    identity : str
        See `identity_of`.
    """

    def __init__(self, place: NodePath, document: str, identity: str | None) -> None:
        self.place, self.document, self.identity = place, document, identity
        self._mark = _marker(place / document)
        self._confirmed: Mark = None
        self._opened = self._mark_now()

    @classmethod
    def begin(cls, place: NodePath, metadata: GroupMetadata, before: Mark) -> Watch | None:
        """Return a watch of an image whose metadata have just been read.

        None where nothing could be noticed: the store has no cheap way, and the image no record.

        Parameters
        ----------
        place : NodePath
        metadata : GroupMetadata
        before : Mark
            What `cheap_marks_at` has returned before they were read: the document is not looked at
            again where it still has the same. None is not known.

        Raises
        ------
        ReplacedError
            If another one is there by now.
        """
        attributes, is_v3 = dict(metadata.attributes), metadata.zarr_format == 3
        document = _DOCUMENTS[0 if is_v3 else 1]
        watch = cls(place, document, identity_of(attributes))
        if not watch.is_cheap:
            return None if watch.identity is None else watch
        mark = watch._mark_now()
        has_copies = not is_v3 and metadata.consolidated_metadata is not None  # of attributes, too
        marks = before if isinstance(before, list) and not has_copies else [None, None]
        of_document = marks[0 if is_v3 else 1]
        if mark is not None and _is_same(mark, of_document):
            watch.identity = watch.identity or _weak_identity(attributes, mark)
            watch._confirmed = mark
            watch._remember(mark, watch.identity)
        elif watch.identity is None:
            watch.identity = sync(watch._look(mark))
            is_other = not has_copies and watch.identity != _weak_identity(attributes, mark)
            if is_other or not _is_weak(watch.identity) or not _is_same(mark, watch._mark_now()):
                raise watch.replaced()
        return watch

    @property
    def is_cheap(self) -> bool:
        """Whether there is a cheap way to ask."""
        return self._mark is not None

    @property
    def has_changed(self) -> bool:
        """Whether the document is another one than when the image was opened: it may be longer."""
        return not _is_same(self._opened, self._mark_now())

    @property
    def is_confirmed(self) -> bool:
        """Whether `confirm` has nothing to look at."""
        mark = self._mark_now()
        return mark is not None and _is_same(mark, self._confirmed)

    @property
    def last_confirmed(self) -> Mark:
        """What `begun` would return without looking, None if it has to look."""
        return self._confirmed if self.is_cheap else None

    def is_at_once_unchanged(self, before: Mark) -> bool:
        """Whether `is_unchanged` is sure without looking at the document."""
        return not self.is_cheap or _is_same(before, self._mark_now())

    async def begun(self) -> Mark:
        """Return what is known before a read, for `is_unchanged`."""
        if self.is_cheap and self._confirmed is None:
            await self.confirm()
        return self._confirmed

    async def is_unchanged(self, before: Mark) -> bool:
        """Whether what was read since is of the image; False if it is to be read again.

        Raises
        ------
        ReplacedError
            If another image has taken the place.
        """
        if not self.is_cheap or _is_same(before, self._mark_now()):
            return True
        await self.confirm()
        return False

    async def confirm(self) -> None:
        """Look whether the image is still there, by its document.

        Raises
        ------
        ReplacedError
            If another one is, or none.
        """
        for _ in range(TIMES):
            mark = self._mark_now()
            if mark is not None and _is_same(mark, self._confirmed):
                return
            identity = await self._look(mark)
            if _is_same(mark, self._mark_now()):
                break
        else:
            raise self.replaced()
        is_same = identity == self.identity
        if not is_same and not str(identity).startswith(f"{self.identity}{_LONGER}"):
            raise self.replaced()
        if mark is None:  # a store that has its documents elsewhere
            self._mark = None
        self._confirmed = mark

    def _mark_now(self) -> Mark:
        return None if self._mark is None else self._mark()

    async def _look(self, mark: Mark) -> str | None:
        """Return which image is there now, whose document has a mark; None where none is."""
        marked = (str(self.place), mark)
        if _is_of_file(mark) and marked in _known:
            return _known[marked]
        key = (self.place / self.document).path
        buffer = await self.place.store.get(key, default_buffer_prototype())
        try:  # as zarr, which takes NaN
            document = None if buffer is None else json.loads(buffer.to_bytes())
        except (ValueError, RecursionError):
            return None
        attributes = attributes_of({self.document: document})
        identity = identity_of(attributes) or _weak_identity(attributes, mark)
        if _is_same(mark, self._mark_now()):
            self._remember(mark, identity)
        return identity

    def _remember(self, mark: Mark, identity: str | None) -> None:
        """Remember which image a document is of that has had a mark for as long as it was read."""
        if _is_of_file(mark):
            while len(_known) >= _MOST_KNOWN:
                _known.pop(next(iter(_known)), None)
            _known[str(self.place), mark] = identity

    def replaced(self) -> ReplacedError:
        """Return the error that says that another image is there."""
        return ReplacedError(
            f"{self.place} was removed or replaced while it was read", fix="open it again"
        )


def identity_of(attributes: Mapping[str, object]) -> str | None:
    """Return what tells an image from others, by its attributes: all that is stored of it.

    None without a record of all sizes and checksums. An image that only got longer is the same.
    """
    own, record = attributes.get(KEY), manifest_of(attributes)
    if isinstance(own, Mapping) and isinstance(began := own.get(BEGAN), str):
        return began
    objects = None if record is None else record.get("objects")
    if not isinstance(own, Mapping) or record is None or not isinstance(objects, Mapping):
        return None
    if not all(isinstance(entry, Mapping) and entry.get("table") for entry in objects.values()):
        return None
    return f"{own.get('build', '')}/{record.get('digest') or digest(record)}"


def identity_when_longer(attributes: Mapping[str, object], build: str) -> str | None:
    """Return what tells an image from others when it has become longer, by its attributes now.

    An image that was made anew of the same samples and then became longer is another one. So the
    first that makes it longer adds a name of its own, and `Watch` takes the one for the other.
    """
    own, identity = attributes.get(KEY), identity_of(attributes)
    if identity is None or (isinstance(own, Mapping) and BEGAN in own):
        return identity
    return f"{identity}{_LONGER}{build}"


def marks_at(place: NodePath) -> Mark:
    """Return what changes whenever another image is published at a place.

    Where there is no cheap way, the documents that announce an image are read.
    """
    markers = [_marker(place / name) for name in _DOCUMENTS]
    return [
        get_document(place / name) if marker is None else marker()
        for name, marker in zip(_DOCUMENTS, markers, strict=True)
    ]


def cheap_marks_at(place: NodePath) -> Mark:
    """Return what changes whenever another image is published, None where that is not cheap."""
    return None if _marker(place) is None else marks_at(place)


def is_same_mark(mark: Mark, other: Mark) -> bool:
    """Whether marks are those of the same documents."""
    if isinstance(mark, list) and isinstance(other, list):
        return all(map(_is_same, mark, other))
    return mark is other


def _marker(document: NodePath) -> Callable[[], Mark] | None:
    """Return what tells the mark of a document at once, None where there is no cheap way."""
    store = unwrapped(document.store)
    if isinstance(store, MemoryStore):
        documents = memory_of(store)
        # Another mapping may make its objects anew each time that it is asked.
        is_plain = type(documents) is dict
        return partial(_object_in, documents, document.path) if is_plain else None
    root = store.root if isinstance(store, LocalStore) else local_root(store)
    return None if root is None else partial(_mark_of_file, os.path.join(root, document.path))


def _object_in(documents: Mapping[str, object], key: str) -> Mark:
    return documents.get(key)


def _mark_of_file(path: str) -> Mark:
    try:
        status = os.stat(path)
    except OSError:  # looked at more closely then, by whoever asks
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_of_file(mark: Mark) -> TypeGuard[tuple[int, ...]]:
    return isinstance(mark, tuple)


def _is_same(mark: Mark, other: Mark) -> bool:
    """Whether two marks are those of one document."""
    return (
        mark is other
        or (_is_of_file(mark) and _is_of_file(other) and mark == other)
        or (isinstance(mark, bytes) and mark == other)
    )


def _weak_identity(attributes: Mapping[str, object], mark: Mark) -> str:
    """Return what tells an image from others that has no record of what is stored."""
    levels = digest(ngff.ome_metadata(attributes).get("multiscales"))
    return f"?{levels}/{mark[3] if _is_of_file(mark) else ''}"


def _is_weak(identity: str | None) -> bool:
    return identity is not None and identity.startswith("?")
