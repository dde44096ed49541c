"""How large each stored object of an array is, and the checksum of its bytes: a compact table.

A codec's checksum says that a chunk is one that somebody has encoded. It does not say that it is
this array's, or that it is at its own place: two chunks swapped, or one copied over another, are
valid. And many arrays have none: a shard that was emptied reads as zeros. So the manifest of an
image (`xpyramid.store.manifest`) has a table for each array, of levels and of coordinates alike:

- What is in it: for each object, in C order, its size in bytes; 0 is an object that is not stored,
  for none that is stored is empty. For each that is stored, a checksum of its bytes, see
  `xpyramid.store.checksums`.
- Who makes it: the task that writes an object has its bytes in hand (`xpyramid.engine.written`),
  and what it notes is in the journals, so that a build that is resumed has it too. The few
  coordinates are in memory; those computed and written block by block are read again.
- As bytes: the sizes, byte by byte in planes and deflated, then the checksums. Sizes that are alike
  take next to nothing, others one to two bytes, checksums four: 6 MB for 10**6 objects, and
  4 MB where nothing is compressed.
- Where it is: every reader reads the attributes of an image when it opens it, and groups above have
  copies of them. Small tables (`INLINE`) are there, in base64, which are those of nearly all
  coordinates and of the coarsest levels. A larger one is an object of its own, ``objects.xpyramid``
  in the directory of its array, beside what describes it; the attributes hold its digest. Nobody
  lists the directory of an array to look for nodes, so that it is no node that zarr-python warns
  of, or that a tree of xarray shows; who counts chunks there looks for their keys. It moves with
  its array, is replaced with it, and is read only by who reads that level.
- Stores that take the keys of nodes alone, as Icechunk does, have no room for it. There, tables up
  to `presence.LONGEST` are in the attributes, and larger ones are left out, which `verify` says.
  Such a store knows the sizes of its own chunks, and never changes one.

A table is compared with what is there by `xpyramid.verify`, and by our reader, see
`xpyramid.store.checked`. Who changes an object on purpose, with zarr-python, makes it differ from
its table, and there is no telling that from damage.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xpyramid.store.checksums import Algorithm

#: Name of the object that holds a table, in the directory of the array.
KEY = "objects.xpyramid"

#: The longest table that is kept in attributes, in characters.
INLINE = 2**10

#: No table that is read is larger, in bytes: half a billion objects.
LARGEST = 2**31

#: What a table begins with, by the algorithm of its checksums.
_MAGICS: Mapping[Algorithm, bytes] = {"crc32c": b"XPC1", "crc32": b"XPZ1"}


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """See the module.

    Attributes
    ----------
    sizes : ndarray
        Bytes of each object of an array, in C order; 0 for those that are not stored.
    checksums : ndarray of uint32
        Of the bytes of each; 0 for those that are not stored.
    algorithm : {"crc32c", "crc32"}
        What the checksums are.
    """

    sizes: NDArray[np.unsignedinteger]
    checksums: NDArray[np.uint32]
    algorithm: Algorithm = "crc32c"

    @classmethod
    def from_records(
        cls, total: int, records: NDArray[np.uint64], algorithm: Algorithm = "crc32c"
    ) -> ObjectTable:
        """Return the table of an array of so many objects, those of the records being stored."""
        sizes, checksums = np.zeros(total, np.uint64), np.zeros(total, np.uint32)
        positions, sizes_of, checksums_of = records.T
        sizes[positions] = sizes_of
        checksums[positions] = checksums_of
        return cls(sizes, checksums, algorithm)

    def with_rows(self, rows: NDArray[np.uint64]) -> ObjectTable:
        """Return the table with other sizes and checksums: rows of position, size and checksum."""
        sizes, checksums = self.sizes.astype(np.uint64), self.checksums.copy()
        positions, sizes_of, checksums_of = rows.T
        sizes[positions] = sizes_of
        checksums[positions] = checksums_of
        return ObjectTable(sizes, checksums, self.algorithm)

    @property
    def stored(self) -> NDArray[np.bool_]:
        """Which objects are stored."""
        return self.sizes > 0

    def to_bytes(self) -> bytes:
        """Return the table as it is kept."""
        largest = int(self.sizes.max(initial=0))
        width = next(width for width in (1, 2, 4, 8) if largest < 2 ** (8 * width))
        planes = self.sizes.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T
        checksums = self.checksums[self.stored].astype("<u4")
        packed = zlib.compress(planes.tobytes(), 6)
        return b"".join((_MAGICS[self.algorithm], bytes([width]), packed, checksums.tobytes()))

    @classmethod
    def from_bytes(cls, data: bytes, total: int) -> ObjectTable:
        """Return the table that bytes hold, of an array of so many objects.

        Raises
        ------
        ValueError
            If they hold none.
        """
        algorithms = [name for name, magic in _MAGICS.items() if data.startswith(magic)]
        start = len(_MAGICS["crc32c"]) + 1
        width = data[start - 1] if len(data) >= start else 0
        if not algorithms or width not in (1, 2, 4, 8) or total * width > LARGEST:
            raise ValueError("no table of sizes and checksums")
        stream = zlib.decompressobj()
        try:
            planes = stream.decompress(data[start:], total * width + 1)
        except zlib.error as error:
            raise ValueError(f"the table of sizes is damaged: {error}") from None
        if len(planes) != total * width or not stream.eof:
            raise ValueError(f"the table of sizes is not of {total} objects")
        columns = np.frombuffer(planes, np.uint8).reshape(width, total).T
        sizes = np.ascontiguousarray(columns).view(f"<u{width}").reshape(total)
        stored, checksums = sizes > 0, np.zeros(total, np.uint32)
        if len(stream.unused_data) != 4 * int(stored.sum()):
            raise ValueError("the table of checksums is damaged")
        checksums[stored] = np.frombuffer(stream.unused_data, "<u4")
        return cls(sizes, checksums, algorithms[0])


def as_text(table: bytes) -> str:
    """Return the bytes of a table as attributes hold it."""
    return base64.b64encode(table).decode()


def from_text(text: str, total: int) -> ObjectTable:
    """Return a table from attributes.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    return ObjectTable.from_bytes(base64.b64decode(text, validate=True), total)


def digest_of(table: bytes) -> str:
    """Return the digest by which attributes name a table that is an object of its own."""
    return hashlib.sha256(table).hexdigest()[:16]


def is_apart(record: object) -> bool:
    """Whether the record of an array says that its table is an object of its own."""
    return isinstance(record, Mapping) and isinstance(record.get("table"), Mapping)


def read_table(record: Mapping[str, object], total: int, stored: bytes | None) -> ObjectTable:
    """Return the table of an array, by the record of it.

    Parameters
    ----------
    record : mapping
        What the manifest says of the array.
    total : int
        How many objects it has.
    stored : bytes or None
        The object that holds the table, where it is one of its own.

    Raises
    ------
    ValueError
        If it is missing, damaged, or another one.
    """
    entry = record.get("table")
    if isinstance(entry, str):
        return from_text(entry, total)
    if stored is None:
        raise ValueError("the table of sizes and checksums is missing")
    if not isinstance(entry, Mapping) or entry.get("digest") != digest_of(stored):
        raise ValueError("the table of sizes and checksums is not the one that was written")
    return ObjectTable.from_bytes(stored, total)
