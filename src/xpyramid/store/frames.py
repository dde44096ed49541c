"""Zstandard frames: one that has no checksum gets one, and is not encoded anew for it.

A frame says in its header whether four bytes follow its last block: the lower half of the XXH64 of
its content. So they are put there, and a bit is set; all else stays as it is. Decoders compare them
by themselves.

https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.1
"""

from __future__ import annotations

import numpy as np
import xxhash

from xpyramid.types import Array, Parts

_MAGIC = b"\x28\xb5\x2f\xfd"

#: Of the descriptor, which is the first byte after the magic number.
_HAS_CHECKSUM, _IS_ONE_SEGMENT = 0x04, 0x20

#: Bytes of the checksum.
_CHECKSUM = 4

#: Bytes of a frame that is written in parts.
_LARGE = 2**16


def with_checksum(frame: bytes, content: Array) -> Parts | None:
    """Return the parts of a frame with a checksum: the same one, if it has one.

    Large frames are not copied: memory for that takes longer to come by than all else here.

    Parameters
    ----------
    frame : bytes
        Which can be decoded.
    content : ndarray
        What it holds, contiguous.

    Returns
    -------
    sequence of bytes or memoryview, or None
        None if it is not a single frame, but several, or one beside others that hold nothing.
    """
    end = _end_of_blocks(frame)
    if end is None:
        return None
    descriptor = frame[len(_MAGIC)]
    if descriptor & _HAS_CHECKSUM:
        return [frame] if end + _CHECKSUM == len(frame) else None
    if end != len(frame):
        return None
    head = _MAGIC + bytes([descriptor | _HAS_CHECKSUM])
    parts: Parts = [head, memoryview(frame)[len(head) :], _checksum(content)]
    return parts if len(frame) > _LARGE else [b"".join(parts)]


def _checksum(content: Array) -> bytes:
    total: int = xxhash.xxh64(content.reshape(-1).view(np.uint8).data).intdigest()
    return total.to_bytes(8, "little")[:_CHECKSUM]


def _end_of_blocks(frame: bytes) -> int | None:
    """Return where the blocks of a frame end, None where that is no frame, or not a whole one."""
    if frame[: len(_MAGIC)] != _MAGIC or len(frame) == len(_MAGIC):
        return None
    descriptor = frame[len(_MAGIC)]
    is_one_segment = bool(descriptor & _IS_ONE_SEGMENT)
    size = (1 if is_one_segment else 0, 2, 4, 8)[descriptor >> 6]
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    at = len(_MAGIC) + 1 + (not is_one_segment) + dictionary + size
    while at + 3 <= len(frame):
        header = int.from_bytes(frame[at : at + 3], "little")
        is_last, kind, length = header & 1, header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else length)  # the second kind is one byte, so many times
        if is_last:
            return at
    return None
