"""Which stored objects of an array there are: a bit for each, in the record of an image.

A chunk that holds nothing but the fill value is not stored, so that a missing object may be right.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping

import numpy as np

from xpyramid.store.chunk_grid import ChunkGrid, StoredMask

#: The longest list of absent objects that is kept, in characters; of a longer one, the digest is.
LONGEST = 2**18


def presence_record(grid: ChunkGrid, present: StoredMask) -> dict[str, object]:
    """Record which objects of an array there are."""
    record: dict[str, object] = {"objects": grid.total, "grid": list(grid.counts)}
    if not present.all():
        packed = base64.b64encode(zlib.compress(np.packbits(~present).tobytes(), 9)).decode()
        if len(packed) <= LONGEST:
            record["absent"] = packed
        else:
            record |= {"stored": int(present.sum()), "digest": _bits_digest(~present)}
    return record


def expected(record: object, total: int) -> StoredMask | None:
    """Return which objects there should be; None where the record holds a digest only.

    Raises
    ------
    ValueError
        For an invalid record, or one of another number of objects.
    """
    if not isinstance(record, Mapping) or record.get("objects") != total:
        raise ValueError(f"the record is of {str(record)[:80]}, and the array has {total} objects")
    if "digest" in record:
        return None
    return ~_unpack(record.get("absent"), total)


def agrees(record: Mapping[str, object], present: StoredMask) -> bool:
    """Whether the objects that are there have the digest that is recorded."""
    return record.get("digest") == _bits_digest(~present)


def _unpack(packed: object, total: int) -> StoredMask:
    if packed is None:
        return np.zeros(total, bool)
    if not isinstance(packed, str):
        raise ValueError("the record of absent objects is not text")
    size = -(-total // 8)
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"the record of absent objects is damaged: {error}") from None
    if len(raw) != size:
        raise ValueError(f"the record of absent objects has {len(raw)} bytes, not {size}")
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=total).astype(bool)


def _bits_digest(bits: StoredMask) -> str:
    return hashlib.sha256(np.packbits(bits).tobytes()).hexdigest()[:16]
