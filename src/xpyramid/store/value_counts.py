"""How often which values occur in each section of level 0: a compact table, beside the image.

Windows of channels (``omero`` metadata) are told from the distributions of all values. When some of
level 0 changes, its old values are gone; so the distributions of its sections are kept, and only
sections that have changed are counted again, see `xpyramid.writer.windows`.

- What is in it: of each channel of each section, the extremes, and how often each key occurs; keys
  are those of `xpyramid.engine.statistics`. All keys between the tails of a channel are counted as
  one.
- As bytes: a line of JSON, then the keys and counts of all channels, byte by byte in planes and
  deflated. Of a channel, the keys that occur anywhere, and counts of each section.
- Where it is: an object ``values.xpyramid`` in the directory of the first level that was written
  with it, for the reasons that `xpyramid.store.object_table` has. The attributes hold its digest.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpyramid.engine import Distribution, Statistics
from xpyramid.geometry.sections import Sections

#: Name of the object, in the directory of an array.
KEY = "values.xpyramid"

#: No table that is read is larger, in bytes.
LARGEST = 2**28

_MAGIC = b"XPV1"

_Array = NDArray[Any]


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
        head: dict[str, Any] = {
            "shape": self.sections.shape, "lengths": self.sections.lengths,
            "channels": self.channels, "rows": [], "keys": [],
            "bounds": [[c, *ends] for c, ends in sorted(self.bounds.items())],
        }  # fmt: skip
        keys: list[_Array] = [np.empty(0, np.uint16)]
        counts: list[_Array] = [np.empty(0, np.uint64)]
        for channel, rows in self._by_channel():
            used = np.zeros(2**16, bool)
            for _, one in rows:
                used[one.keys] = True
            own = np.flatnonzero(used)
            table = np.zeros((len(rows), len(own)), np.uint64)
            for line, (_, one) in zip(table, rows, strict=True):
                line[np.searchsorted(own, one.keys)] = one.counts
            head["keys"].append([channel, len(own), len(rows)])
            head["rows"] += [[row, one.low, one.high] for row, one in rows]
            keys.append(np.diff(own, prepend=0).astype(np.uint16))
            counts.append(table.ravel())
        joined = np.concatenate(counts)
        width = next(w for w in (1, 2, 4, 8) if int(joined.max(initial=0)) < 2 ** (8 * w))
        head["width"] = width
        body = _planes(np.concatenate(keys), 2) + _planes(joined, width)
        text = json.dumps(head, separators=(",", ":"), allow_nan=False).encode()
        return b"".join((_MAGIC, zlib.compress(text + b"\n", 6), zlib.compress(body, 6)))

    def _by_channel(self) -> Iterator[tuple[int, list[tuple[int, Distribution]]]]:
        rows: dict[int, list[tuple[int, Distribution]]] = {}
        for row, one in sorted(self.statistics.items()):
            rows.setdefault(row % self.channels, []).append((row, one))
        yield from sorted(rows.items())

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
        rows = [(int(row), low, high) for row, low, high in head["rows"]]
        number = sum(int(keys) for _, keys, _ in head["keys"])
        cells = sum(int(keys) * int(own) for _, keys, own in head["keys"])
        if width not in (1, 2, 4, 8) or not 0 <= 2 * number + cells * width <= LARGEST:
            raise ValueError("it is too large")
        size = 2 * number + cells * width
        rest = zlib.decompressobj()
        body = rest.decompress(stream.unused_data, size + 1)
        if len(body) != size or not rest.eof:
            raise ValueError(f"{len(body)} bytes, not {size}")
        deltas = _unplaned(body[: 2 * number], 2)
        counts = _unplaned(body[2 * number :], width)
        statistics: Statistics = {}
        for _, length, own in head["keys"]:
            keys = np.cumsum(deltas[:length], dtype=np.uint64).astype(np.uint16)
            table, deltas = counts[: length * own].reshape(own, length), deltas[length:]
            counts = counts[length * own :]
            for line in table:
                row, low, high = rows[len(statistics)]
                there = line > 0
                statistics[row] = Distribution(low, high, keys[there], line[there])
        bounds = {int(c): (int(first), int(last)) for c, first, last in head["bounds"]}
        shape, lengths = (tuple(map(int, head[key])) for key in ("shape", "lengths"))
        return cls(Sections(shape, lengths), channels, bounds, statistics)


def _planes(values: _Array, width: int) -> bytes:
    return values.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T.tobytes()


def _unplaned(data: bytes, width: int) -> _Array:
    columns = np.frombuffer(data, np.uint8).reshape(width, -1).T
    return np.ascontiguousarray(columns).view(f"<u{width}").reshape(-1)


def digest_of(table: bytes) -> str:
    """Return the digest by which the attributes name a table."""
    return hashlib.sha256(table).hexdigest()[:16]
