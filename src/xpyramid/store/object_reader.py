"""Selections of local arrays, read object by object, in several threads.

What is as expected is read and decoded here: a regular file inside the store, of the size that is
recorded, which holds chunks that can be decoded. Everything else (links, what is missing, of
another size, damaged, not allowed) is read again through the store of the array by zarr-python,
which says what is wrong, tries again, or finds that nothing is. So all that the store promises
holds, and nothing of it costs time as long as all is well.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import google_crc32c
import numpy as np

from xpyramid.geometry.tiles import Lengths
from xpyramid.lazy.selections import Piece, Selection
from xpyramid.runtime.threads import share, threads
from xpyramid.store.checked import CheckedStore, Sizes
from xpyramid.store.codec import ABSENT, Codec, fill_of
from xpyramid.store.confined import ConfinedStore
from xpyramid.store.path import ZarrArray, local_root
from xpyramid.store.retrying import bare
from xpyramid.types import Array, DType

T = TypeVar("T")

#: Called with the index of a chunk that is stored, its bytes, and the chunk that they hold.
Keep = Callable[[Lengths, bytes, Array], None]

#: A thread more is of use for so many bytes of samples; handing work over takes some 50 us.
_BYTES_PER_THREAD = 2**18

#: So many chunks of a shard are read by one thread at a time, which opens it once for them.
_MOST_TOGETHER = 16

#: Larger chunks are left to zarr-python.
_LARGEST = 2**31

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
#: A pipe must not keep whoever opens it waiting.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class _UnexpectedError(Exception):
    """Something that the store has to look at."""


@dataclass(frozen=True)
class Directory:
    """Where the objects of a store are files, and what is to be asked of them.

    Attributes
    ----------
    root : str
    confined : ConfinedStore, optional
        Out of which no link may lead.
    checked : CheckedStore, optional
        Which knows their sizes, and whether the image is still the same.
    """

    root: str
    confined: ConfinedStore | None = None
    checked: CheckedStore | None = None


def directory_of(array: ZarrArray) -> Directory | None:
    """Return where the objects of an array are files, None where they are not, or may not be."""
    store = array.store
    checked = store if type(store) is CheckedStore else None
    if checked is not None:
        store = checked._store
    inner = bare(store)
    if type(inner) is ConfinedStore:
        # Without a way not to follow a link, each file would have to be looked at first.
        return Directory(str(inner.root), inner, checked) if _NOFOLLOW else None
    root = local_root(store)
    return None if root is None else Directory(str(root), None, checked)


class _Request(NamedTuple):
    """What is read, where it goes, and what else is done with the bytes of chunks."""

    selection: Selection
    out: Array
    keep: Keep | None

    def take(self, piece: Piece, data: bytes, chunk: Array) -> None:
        """Put what is selected of a chunk, which some bytes hold, into its place."""
        self.selection.put(piece, chunk, self.out)
        if self.keep is not None:
            self.keep(piece.chunk, data, chunk)


class ObjectReader:
    """Reads selections of an array.

    Parameters
    ----------
    array : zarr.Array
        Of regular chunks.
    codec : Codec
    directory : Directory
    """

    def __init__(self, array: ZarrArray, codec: Codec, directory: Directory) -> None:
        self._array, self._codec, self._fill = array, codec, fill_of(array, codec)
        self._confined, self._checked = directory.confined, directory.checked
        self._path = array.path
        self._files = os.path.join(directory.root, array.path)
        self._inside = {directory.root}
        self.shape: Lengths = array.shape
        self.chunks: Lengths = array.chunks
        self._is_sharded = array.shards is not None
        objects: Lengths = array.shards or array.chunks
        self._chunks_in_object = tuple(n // c for n, c in zip(objects, self.chunks, strict=True))
        pairs = zip(self.shape, objects, strict=True)
        self._grid = tuple(-(-length // n) for length, n in pairs)
        self._key_of: Callable[[Lengths], str] = array.metadata.encode_chunk_key
        self._flags = _FLAGS | (0 if self._confined is None else _NOFOLLOW)
        self._sizes: Sizes | None = None
        self._is_prepared = False

    def read(
        self, selection: Selection, dtype: DType, *, alone: bool = False, keep: Keep | None = None
    ) -> Array:
        """Return what is selected, as samples of a dtype.

        Parameters
        ----------
        selection : Selection
        dtype : numpy.dtype
        alone : bool
            Whether no other thread is to help, for there are enough of them.
        keep : callable, optional
            What else is done with the bytes of chunks; not called for those that zarr-python has
            to read.

        Raises
        ------
        ReplacedError
            If another image has taken the place.
        ReadError
            If something cannot be read, or has another size than recorded.
        """
        out = np.empty(selection.shape, dtype)
        if 0 in selection.shape:
            return out
        request = _Request(selection, out, keep)
        if self._checked is None:
            self._read(request, alone=alone)
        else:
            if not self._is_prepared:
                self._prepare(self._checked)
            self._checked.watched(lambda: self._read(request, alone=alone))
        return out

    def _prepare(self, checked: CheckedStore) -> None:
        """Look up the recorded sizes of the objects."""
        path = checked.inner_path(self._path)
        self._sizes = checked.sizes_of(path) if path in checked.records else None
        self._is_prepared = True

    def _read(self, request: _Request, *, alone: bool) -> None:
        selection, number = request.selection, 1
        if not alone and selection.count > 1:
            nbytes = selection.count * math.prod(self.chunks) * request.out.itemsize
            number = min(threads(), selection.count, 1 + nbytes // _BYTES_PER_THREAD)
        together = max(1, min(_MOST_TOGETHER, selection.count // (2 * number)))
        work = (
            (index, pieces[k : k + together])
            for index, pieces in selection.by_object(self._chunks_in_object)
            for k in range(0, len(pieces), together)
        )
        share(work, lambda item: self._read_object(request, *item), number - 1)

    def _read_object(self, request: _Request, index: Lengths, pieces: Sequence[Piece]) -> None:
        """Read some chunks of an object."""
        try:
            self._read_file(request, index, pieces)
        except Exception:  # whatever a system or a codec raises
            for piece in pieces:
                self._read_through_store(request.selection, piece, request.out)

    def _read_file(self, request: _Request, index: Lengths, pieces: Sequence[Piece]) -> None:
        recorded = None if self._sizes is None else int(self._sizes[self._position(index)])
        file = self._open(f"{self._files}/{self._key_of(index)}", recorded)
        if file is None:
            for piece in pieces:
                request.selection.fill(piece, self._fill, request.out)
            return
        try:
            status = os.fstat(file)
            size = status.st_size
            if not stat.S_ISREG(status.st_mode) or recorded not in (None, size):
                raise _UnexpectedError
            if self._is_sharded:
                self._read_shard(request, file, size, pieces)
            else:
                data = _bytes(file, 0, size)
                request.take(pieces[0], data, self._codec.decode(data, self.chunks))
        finally:
            os.close(file)

    def _read_shard(self, request: _Request, file: int, size: int, pieces: Sequence[Piece]) -> None:
        index = _index(file, size, self._chunks_in_object)
        for piece in pieces:
            at = tuple([c % n for c, n in zip(piece.chunk, self._chunks_in_object, strict=True)])
            offset, length = index[at].tolist()
            if (offset, length) == (ABSENT, ABSENT):
                request.selection.fill(piece, self._fill, request.out)
            elif offset + length > size:
                raise _UnexpectedError
            else:
                data = _bytes(file, offset, length)
                request.take(piece, data, self._codec.decode(data, self.chunks))

    def _open(self, path: str, recorded: int | None) -> int | None:
        """Return a descriptor of a file, None where there is none, and none is to be."""
        try:
            if self._confined is not None:
                self._check_inside(path.rpartition("/")[0], self._confined)
            return os.open(path, self._flags)
        except (FileNotFoundError, NotADirectoryError):
            if recorded:
                raise
            return None

    def _check_inside(self, directory: str, store: ConfinedStore) -> None:
        """Refuse a directory to which a link leads out of the store."""
        if directory in self._inside:
            return
        self._check_inside(directory.rpartition("/")[0], store)
        if stat.S_ISLNK(os.lstat(directory).st_mode):
            store.follow(Path(directory), directory)
        self._inside.add(directory)

    def _position(self, index: Lengths) -> int:
        position = 0
        for i, n in zip(index, self._grid, strict=True):
            position = position * n + i
        return position

    def _read_through_store(self, selection: Selection, piece: Piece, out: Array) -> None:
        """Read a chunk as zarr-python does."""
        starts = [i * n for i, n in zip(piece.chunk, self.chunks, strict=True)]
        ends = zip(starts, self.chunks, self.shape, strict=True)
        region = tuple(slice(start, min(start + n, length)) for start, n, length in ends)
        selection.put(piece, np.asarray(self._array[region]), out)


def reader_of(array: ZarrArray, codec: Codec, directory: Directory) -> ObjectReader | None:
    """Return a reader of an array, None where it has to be read by zarr-python."""
    if min(array.chunks, default=1) < 1:
        return None
    if math.prod(array.chunks) * array.dtype.itemsize > _LARGEST:
        return None
    reader = ObjectReader(array, codec, directory)
    checked = directory.checked
    record = None if checked is None else checked.records.get(checked.inner_path(array.path))
    is_known = record is None or tuple(record["grid"]) == reader._grid
    return reader if is_known else None


def _bytes(file: int, start: int, size: int) -> bytes:
    """Return a part of a file.

    Raises
    ------
    _UnexpectedError
        If it is not there as a whole.
    """
    os.lseek(file, start, os.SEEK_SET)
    data = os.read(file, size)
    if len(data) != size:
        raise _UnexpectedError
    return data


def _index(file: int, size: int, grid: Lengths) -> Array:
    """Return where the chunks of a shard begin, and how long they are.

    Raises
    ------
    _UnexpectedError
        If the index is damaged.
    """
    length = 16 * math.prod(grid)
    if size < length + 4:
        raise _UnexpectedError
    tail = _bytes(file, size - length - 4, length + 4)
    if google_crc32c.value(tail[:length]).to_bytes(4, "little") != tail[length:]:
        raise _UnexpectedError
    return np.frombuffer(tail[:length], "<u8").reshape(*grid, 2)
