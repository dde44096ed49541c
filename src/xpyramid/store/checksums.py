"""The checksum of a stored object: one that costs next to nothing, and sees all of its bytes.

CRC-32C is computed by the processor, at 30 GB/s. But the CRC of bytes that end with the same CRC of
themselves is a constant, and Zarr's own checksums are CRC-32C: that of the index of a shard, at its
end, and those of chunks where their codecs ask for it. A plain CRC-32C of a shard would not see its
index at all. So the last four bytes are left out of it and added as a number. Where chunks have a
CRC-32C of their own, there are many such ends; there it is CRC-32, another polynomial, at 1 to 8
GB/s.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np

from xpyramid.types import Parts

Algorithm = Literal["crc32c", "crc32"]

#: What is left out of a CRC-32C, in bytes.
_APART = 4

#: An odd number of 32 bits, so that each number of four bytes adds another one.
_FACTOR = 0x9E3779B1

#: How much of a file is in memory at once, in bytes.
_BLOCK = 2**22


def algorithm_for(metadata: Mapping[str, object]) -> Algorithm:
    """Return what to compute for the objects of an array, by its metadata, of either format."""
    codecs = [metadata.get(key) for key in ("codecs", "compressor", "filters")]
    return "crc32" if _names_crc32c(codecs) else "crc32c"


def _names_crc32c(codecs: object) -> bool:
    """Whether codecs of chunks, and not those of the index of a shard, add a CRC-32C."""
    if isinstance(codecs, Mapping):
        return any(_names_crc32c(value) for key, value in codecs.items() if key != "index_codecs")
    if isinstance(codecs, list | tuple):
        return any(map(_names_crc32c, codecs))
    return isinstance(codecs, str) and "crc32c" in codecs


def checksum(parts: Parts, algorithm: Algorithm) -> int:
    """Return the checksum of bytes that lie one after the other."""
    *first, last = parts
    if algorithm == "crc32c" and len(last) < _APART:
        first, last = [], b"".join(parts)
    value = 0
    for part in first:
        value = _extend(value, part, algorithm)
    if algorithm == "crc32":
        return _extend(value, last, algorithm)
    head = np.frombuffer(last, np.uint8)[: max(0, len(last) - _APART)]  # not copied
    return _with_end(_extend(value, head, algorithm), last[-_APART:])


def checksum_of_file(path: Path, algorithm: Algorithm) -> tuple[int, int] | None:
    """Return the size and the checksum of a file, None where there is none."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        size = os.fstat(file.fileno()).st_size
        left, value = size if algorithm == "crc32" else max(0, size - _APART), 0
        while left and (block := file.read(min(left, _BLOCK))):
            value, left = _extend(value, block, algorithm), left - len(block)
        return size, value if algorithm == "crc32" else _with_end(value, file.read(_APART))


def _extend(value: int, data: Any, algorithm: Algorithm) -> int:
    if algorithm == "crc32":
        return zlib.crc32(data, value)
    if isinstance(data, memoryview):  # which it does not take
        data = np.frombuffer(data, np.uint8)
    extended: int = google_crc32c.extend(value, data)
    return extended


def _with_end(value: int, end: bytes | memoryview) -> int:
    return (value + _FACTOR * int.from_bytes(end, "little")) % 2**32
