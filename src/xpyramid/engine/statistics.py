"""What the values of each channel are like, seen while they pass through the writer.

Extremes are exact. The distribution is a histogram over keys of 16 bits that grow with the values:
the values themselves where they have 8 or 16 bits, else the first half of a float32 (one part in
128). Both are the same in whatever order and pieces the values come. NaN and infinity do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from xpyramid import kernels
from xpyramid.geometry.tiles import Region
from xpyramid.reducers import Array
from xpyramid.types import DType

Number = int | float

_KEYS = 1 << 16

#: The smallest normal float32: what lies below it is 0, of which keys know no more.
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Distribution:
    """The values of one channel.

    Attributes
    ----------
    low, high : number
        Extremes.
    keys, counts : ndarray
        Which keys occur, in order, and how often.
    """

    low: Number
    high: Number
    keys: Array
    counts: Array

    def __add__(self, other: Distribution) -> Distribution:
        return _together([self, other])

    def quantile(self, fraction: float, dtype: DType) -> Number:
        """Return the value that a fraction of the values do not exceed.

        Exact for integers of 8 and 16 bits, else interpolated between keys.
        """
        upto = np.cumsum(self.counts)
        rank = fraction * (int(upto[-1]) - 1)
        at = int(np.searchsorted(upto, rank, side="right"))
        lower, upper = _edges(int(self.keys[at]), dtype)
        part = (rank - (int(upto[at]) - int(self.counts[at]))) / int(self.counts[at])
        value: Number = min(max(lower + part * (upper - lower), self.low), self.high)
        if dtype.kind in "iu":
            return round(value)
        return float(value) if abs(value) >= _TINY else 0.0


Statistics = dict[int, Distribution]


@dataclass(frozen=True)
class Observer:
    """Looks at blocks of the base.

    Attributes
    ----------
    channel : int or None
        The dimension of the channels, None where there is one channel.
    ignore : number or None
        A value that does not count.
    """

    channel: int | None
    ignore: Number | None = None

    def __call__(self, region: Region, block: Array) -> Statistics:
        """Return the statistics of each channel in a block."""
        if self.channel is None:
            pieces = {0: block}
        else:
            start = region[self.channel].start
            planes = np.moveaxis(block, self.channel, 0)
            pieces = {start + i: plane for i, plane in enumerate(planes)}
        if self.ignore is not None:
            pieces = {channel: piece[piece != self.ignore] for channel, piece in pieces.items()}
        distributions = {channel: _distribution(piece) for channel, piece in pieces.items()}
        return {
            channel: distribution
            for channel, distribution in distributions.items()
            if distribution is not None
        }


def merge(parts: Iterable[Statistics]) -> Statistics:
    """Put statistics of several blocks together."""
    by_channel: dict[int, list[Distribution]] = {}
    for part in parts:
        for channel, distribution in part.items():
            by_channel.setdefault(channel, []).append(distribution)
    return {channel: _together(several) for channel, several in by_channel.items()}


def _together(several: Sequence[Distribution]) -> Distribution:
    """Return the distribution of all values of several ones."""
    if len(several) == 1:
        return several[0]
    counts = np.zeros(_KEYS, np.int64)
    for distribution in several:
        counts[distribution.keys] += distribution.counts
    low, high = min(one.low for one in several), max(one.high for one in several)
    return _sparse(low, high, counts)


def _distribution(values: Array) -> Distribution | None:
    """Return the distribution of some values, None where none is finite."""
    kind = np.dtype(np.uint8) if values.dtype.kind == "b" else values.dtype.newbyteorder("=")
    flat = np.ascontiguousarray(values, kind).ravel()
    counts = np.zeros(_KEYS, np.int64)
    if not flat.size:
        return None
    if kind.kind in "iu":
        low, high = int(flat.min()), int(flat.max())
    else:
        wide = flat if kind.itemsize > 2 else flat.astype(np.float32)  # numba has no float16
        ends = np.array([np.inf, -np.inf], wide.dtype)
        kernels.values.finite_extremes(wide, ends)
        low, high = ends.tolist()
        if low > high:
            return None
    if _is_exact(kind):
        unsigned = flat.view(f"u{kind.itemsize}")
        if kind.kind == "i":  # the least value gets key 0
            unsigned = unsigned ^ unsigned.dtype.type(1 << (8 * kind.itemsize - 1))
        kernels.values.count_keys(unsigned, counts)
    else:
        kernels.values.count_floats(_float32(flat).view(np.uint32), counts)
    return _sparse(low, high, counts)


def _float32(values: Array) -> Array:
    """Return values as float32; what is too large becomes the largest there is."""
    if values.dtype.itemsize < 8 or values.dtype.kind != "f":
        return values.astype(np.float32, copy=False)
    top = np.finfo(np.float32).max
    with np.errstate(over="ignore", under="ignore"):
        out = values.astype(np.float32)
    finite_before = np.isinf(out) & np.isfinite(values)
    out[finite_before] = np.copysign(top, values[finite_before])
    return out


def _sparse(low: Number, high: Number, counts: Array) -> Distribution:
    keys = np.flatnonzero(counts)
    # Journals and messages carry them: no wider than need be.
    narrow = np.min_scalar_type(int(counts.max(initial=0)))
    return Distribution(low, high, keys.astype(np.uint16), counts[keys].astype(narrow))


def _is_exact(dtype: DType) -> bool:
    """Whether a key is a value."""
    return dtype.kind in "iub" and dtype.itemsize <= 2


def _edges(key: int, dtype: DType) -> tuple[Number, Number]:
    """Return the values between which a key lies."""
    if _is_exact(dtype):
        value = key - (1 << (8 * dtype.itemsize - 1) if dtype.kind == "i" else 0)
        return value, value
    first = key & 0x7FFF if key & 0x8000 else 0xFFFF - key
    near_zero, far_from_zero = (
        np.array([first << 16, (first << 16) | 0xFFFF], np.uint32).view(np.float32).tolist()
    )
    return (near_zero, far_from_zero) if key & 0x8000 else (far_from_zero, near_zero)
