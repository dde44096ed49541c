"""What the values of each channel are like, seen while they pass through the writer.

Extremes are exact. The distribution is a histogram over keys of 16 bits that grow with the values:
the values themselves where they have 8 or 16 bits, else the first half of a float32 (one part in
128). Both are the same in whatever order and pieces the values come. NaN and infinity do not count.

Where level 0 has sections, the values of each are counted apart. Of the distributions of many only
the tails matter, in which the quantiles lie that are asked for: where it is known of several
together that a key lies between the tails, it is counted as one that stands for all of these, see
`Observer.trim`. So what travels up is not much more than one distribution, and what is kept of all
sections is less.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xpyramid.geometry.sections import Sections
from xpyramid.geometry.tiles import Region, relative
from xpyramid.kernels import choice as kernels
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

    def key_at(self, fraction: float) -> int:
        """Return the key of the value that a fraction of the values do not exceed."""
        return int(self.keys[self._at(fraction)[0]])

    def _at(self, fraction: float) -> tuple[int, float, Array]:
        """Return where that is among the keys, its rank, and how many values each key ends at."""
        upto = np.cumsum(self.counts)
        rank = fraction * (int(upto[-1]) - 1)
        return int(np.searchsorted(upto, rank, side="right")), rank, upto

    def quantile(self, fraction: float, dtype: DType) -> Number:
        """Return the value that a fraction of the values do not exceed.

        Exact for integers of 8 and 16 bits, else interpolated between keys.
        """
        at, rank, upto = self._at(fraction)
        lower, upper = _edges(int(self.keys[at]), dtype)
        part = (rank - (int(upto[at]) - int(self.counts[at]))) / int(self.counts[at])
        value: Number = min(max(lower + part * (upper - lower), self.low), self.high)
        if dtype.kind in "iu":
            return round(value)
        return float(value) if abs(value) >= _TINY else 0.0


#: The distribution of each channel. Where there are sections: that of channel ``c`` of section
#: ``s`` at ``s * channels + c``.
Statistics = dict[int, Distribution]

#: The first and the last key that stand for several, of each channel that has any.
Bounds = Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Observer:
    """Looks at blocks of the base.

    Attributes
    ----------
    channel : int or None
        The dimension of the channels, None where there is one channel.
    ignore : number or None
        A value that does not count.
    sections : Sections or None
        Of the base, whose values are counted apart; None counts all together.
    tails : tuple of float
        The parts of the values of a channel at either end whose keys are to be known.
    """

    channel: int | None
    ignore: Number | None = None
    sections: Sections | None = None
    tails: tuple[float, float] = (1.0, 1.0)

    @property
    def channels(self) -> int:
        """Number of channels, as far as that matters."""
        if self.channel is None or self.sections is None:
            return 1
        return self.sections.shape[self.channel]

    def __call__(self, region: Region, block: Array) -> Statistics:
        """Return the statistics of each channel in a block, of each section apart."""
        if self.sections is None:
            return self._by_channel(region, block)
        statistics: Statistics = {}
        for number, part in self.sections.within(region):
            piece = block[relative(part, [along.start for along in region])]
            for channel, distribution in self._by_channel(part, piece).items():
                statistics[number * self.channels + channel] = distribution
        return statistics

    def trim(self, statistics: Statistics) -> Statistics:
        """Return statistics without what does not matter, whatever else is counted in the base.

        Of the values of a channel together, those are the keys between tails so long that they hold
        the requested part of all values that there can be. They are counted as the first of them.
        """
        if self.sections is None or len(statistics) < 2:
            return statistics
        bounds = self.bounds(statistics)
        return lump(statistics, bounds, self.channels) if bounds else statistics

    def bounds(self, statistics: Statistics) -> dict[int, tuple[int, int]]:
        """Return the keys that may be counted as one, of each channel that has any."""
        by_channel = defaultdict(list)
        for key, distribution in statistics.items():
            by_channel[key % self.channels].append(distribution)
        bounds = {c: self._between(own) for c, own in sorted(by_channel.items())}
        return {channel: between for channel, between in bounds.items() if between is not None}

    def _between(self, distributions: Iterable[Distribution]) -> tuple[int, int] | None:
        shape = () if self.sections is None else self.sections.shape
        most = math.prod(shape) // max(1, self.channels)
        low, high = (math.ceil(part * most) + 1 for part in self.tails)
        counts = np.zeros(_KEYS, np.int64)
        for distribution in distributions:
            counts[distribution.keys] += distribution.counts
        first = int(np.searchsorted(np.cumsum(counts), low)) + 1
        last = _KEYS - 2 - int(np.searchsorted(np.cumsum(counts[::-1]), high))
        return (first, last) if first < last else None

    def _by_channel(self, region: Region, block: Array) -> Statistics:
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
    own = defaultdict(list)
    for part in parts:
        for key, distribution in part.items():
            own[key].append(distribution)
    return {key: _joined(distributions) for key, distributions in own.items()}


def _joined(distributions: Sequence[Distribution]) -> Distribution:
    if len(distributions) == 1:
        return distributions[0]
    counts = np.zeros(_KEYS, np.int64)
    for distribution in distributions:
        counts[distribution.keys] += distribution.counts
    low, high = min(d.low for d in distributions), max(d.high for d in distributions)
    return _sparse(low, high, counts)


def lump(statistics: Statistics, bounds: Bounds, channels: int) -> Statistics:
    """Return statistics in which one key stands for all between two, by channel."""
    return {
        key: _lumped(distribution, *bounds[key % channels])
        if key % channels in bounds
        else distribution
        for key, distribution in statistics.items()
    }


def _lumped(distribution: Distribution, first: int, last: int) -> Distribution:
    start, stop = np.searchsorted(distribution.keys, (first, last + 1))
    if start == stop:
        return distribution
    middle = int(distribution.counts[start:stop].sum(dtype=np.int64))
    keys = np.r_[distribution.keys[:start], np.uint16(first), distribution.keys[stop:]]
    counts = np.r_[distribution.counts[:start].astype(np.int64), middle, distribution.counts[stop:]]
    narrow = np.min_scalar_type(int(counts.max()))
    return Distribution(distribution.low, distribution.high, keys, counts.astype(narrow))


def by_channel(statistics: Statistics, channels: int) -> Statistics:
    """Return the statistics of each channel, of all sections together."""
    return merge({key % channels: distribution} for key, distribution in statistics.items())


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
