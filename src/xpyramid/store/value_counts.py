"""How often which values occur in each section of level 0: a compact table, beside the image.

Windows of channels (``omero`` metadata) are computed from the distributions of all values. When
some of level 0 changes, its old values are gone; so the distributions of its sections are kept, and
only sections that have changed are counted again, see `xpyramid.writer.windows`.

- What is in it: of each channel of each section, the extremes, and how often each key occurs; keys
  are those of `xpyramid.engine.statistics`. All keys between the tails of a channel are counted as
  one.
- As bytes: a line of JSON, then all keys, as differences, and all counts, byte by byte in planes
  and deflated.
- Where it is: an object ``values.xpyramid`` in the directory of the first level that was written
  with it, for the reasons that `xpyramid.store.object_table` has. The attributes hold its digest.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import numpy as np

from xpyramid.engine import Distribution, Statistics
from xpyramid.geometry.sections import Sections
from xpyramid.types import Array

#: Name of the object, in the directory of an array.
KEY = "values.xpyramid"

#: No table that is read is larger, in bytes.
LARGEST = 2**28

_MAGIC = b"XPV1"

#: How hard zlib tries: more takes longer, and makes it hardly smaller.
_EFFORT = 1


@dataclass(frozen=True)
class ValueCounts:
    """See the module.

    Attributes
    ----------
    sections : Sections
    channels : int
    bounds : mapping
        Of each channel that has any, the first and the last key that are counted as one.
    statistics : Statistics
        That of channel ``c`` of section ``s`` at ``s * channels + c``.
    """

    sections: Sections
    channels: int
    bounds: dict[int, tuple[int, int]]
    statistics: Statistics

    def to_bytes(self) -> bytes:
        """Return the table as it is kept."""
        rows = sorted(self.statistics.items())
        head: dict[str, object] = {
            "shape": self.sections.shape, "lengths": self.sections.lengths,
            "channels": self.channels,
            "bounds": [[c, *ends] for c, ends in sorted(self.bounds.items())],
            "rows": [[row, counted.low, counted.high, len(counted.keys)] for row, counted in rows],
        }  # fmt: skip
        keys = [np.diff(counted.keys, prepend=np.uint16(0)) for _, counted in rows]
        counts = np.concatenate([np.empty(0, np.uint64), *(counted.counts for _, counted in rows)])
        width = next(w for w in (1, 2, 4, 8) if int(counts.max(initial=0)) < 2 ** (8 * w))
        head["width"] = width
        deltas = np.concatenate([np.empty(0, np.uint16), *keys])
        body = _planes(deltas, 2) + _planes(counts, width)
        text = json.dumps(head, separators=(",", ":"), allow_nan=False).encode()
        return b"".join((_MAGIC, zlib.compress(text + b"\n", 6), zlib.compress(body, _EFFORT)))

    @classmethod
    def from_bytes(cls, data: bytes) -> ValueCounts:
        """Return the table that bytes hold.

        Raises
        ------
        ValueError
            If they hold none.
        """
        if not data.startswith(_MAGIC):
            raise ValueError("no table of values")
        try:
            return cls._parsed(data[len(_MAGIC) :])
        except (zlib.error, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            raise ValueError(f"the table of values is damaged: {error}") from None

    @classmethod
    def _parsed(cls, data: bytes) -> ValueCounts:
        stream = zlib.decompressobj()
        head = json.loads(stream.decompress(data, LARGEST))
        width, channels = int(head["width"]), int(head["channels"])
        rows = [(int(row), low, high, int(keys)) for row, low, high, keys in head["rows"]]
        number = sum(keys for *_, keys in rows)
        size = (2 + width) * number
        if width not in (1, 2, 4, 8) or size > LARGEST or any(keys < 0 for *_, keys in rows):
            raise ValueError("it is too large")
        rest = zlib.decompressobj()
        body = rest.decompress(stream.unused_data, size + 1)
        if len(body) != size or not rest.eof:
            raise ValueError(f"{len(body)} bytes, not {size}")
        deltas = _unplaned(body[: 2 * number], 2)
        counts = _unplaned(body[2 * number :], width)
        statistics: Statistics = {}
        start = 0
        for row, low, high, length in rows:
            own = slice(start, start + length)
            keys = np.cumsum(deltas[own], dtype=np.uint16)
            statistics[row] = Distribution(low, high, keys, counts[own])
            start += length
        bounds = {int(c): (int(first), int(last)) for c, first, last in head["bounds"]}
        shape, lengths = (tuple(map(int, head[key])) for key in ("shape", "lengths"))
        return cls(Sections(shape, lengths), channels, bounds, statistics)


def _planes(values: Array, width: int) -> bytes:
    return values.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T.tobytes()


def _unplaned(data: bytes, width: int) -> Array:
    columns = np.frombuffer(data, np.uint8).reshape(width, -1).T
    return np.ascontiguousarray(columns).view(f"<u{width}").reshape(-1)
