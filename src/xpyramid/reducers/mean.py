"""Arithmetic mean: sums and counts are added up, and divided once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xpyramid import kernels
from xpyramid.errors import DtypeError, PlanError
from xpyramid.reducers.record import Array, Factors, Reducer, State, Window
from xpyramid.reducers.windows import add, sum_windows


def mean(dtype: np.dtype[Any], samples: int, skipna: bool | None, ignore: float | None) -> Reducer:
    """Return the record of the mean.

    Integers are exact, rounded half to even; bool is a majority vote in which a tie is False.
    Floats are summed in float64. With ``skipna`` (floats) or ``ignore``, the state also holds the
    number of samples that count, and a cell with none is NaN (floats) or ``ignore`` (integers).
    """
    if dtype.kind == "f" and dtype.itemsize <= 8:
        floats = _Floats(dtype, skipna is None or skipna, ignore)
        return Reducer("mean", dtype, floats.chunk, add, floats.finalise)
    if dtype.kind not in "biu":
        raise DtypeError(
            f"mean of dtype {dtype}; accepted: bool, integers, float16, float32, float64"
        )
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if ignore is not None and not (low <= ignore <= high and ignore == int(ignore)):
        raise DtypeError(f"ignore={ignore!r} is no value of dtype {dtype} ({low} to {high})")
    integers = _Integers(dtype, (samples - 1).bit_length(), ignore)
    return Reducer("mean", dtype, integers.chunk, add, integers.finalise)


@dataclass(frozen=True)
class _Integers:
    """Exact sums of integers, in limbs where one array could overflow.

    A state is ``(limbs,)`` or ``(limbs, count)``. The sum of a cell is
    ``sum_k limbs[k, cell] << width * (last - k)``; while sums stay below 2**52 there is one limb.

    Attributes
    ----------
    dtype : numpy.dtype
    growth : int
        Bits that summing the largest window adds.
    ignore : int or None
        A value that does not count.
    """

    dtype: np.dtype[Any]
    growth: int
    ignore: float | None

    def __post_init__(self) -> None:
        if self.growth > 46:
            raise PlanError(f"windows of 2**{self.growth} samples; accepted: up to 2**46")

    @property
    def bits(self) -> int:
        """Width of a sample."""
        return 1 if self.dtype.kind == "b" else 8 * self.dtype.itemsize

    @property
    def narrow(self) -> bool:
        """Whether float64 division gives the exact result."""
        return self.bits + self.growth <= 52

    @property
    def width(self) -> int:
        """Bits of a sample that a limb sums: the sums, times a count, stay below 2**62."""
        return 62 - self.growth

    def chunk(self, block: Array, factors: Factors) -> State:
        counts: State = ()
        if self.ignore is not None:
            valid = block != block.dtype.type(self.ignore)
            block = np.where(valid, block, block.dtype.type(0))
            counts = (sum_windows(valid, factors, np.int64),)
        if self.narrow:
            accumulator = np.int32 if self.bits + self.growth <= 31 else np.int64
            return (sum_windows(block, factors, accumulator)[None], *counts)
        number = -(-self.bits // self.width)
        limbs = [block >> (self.width * k) for k in reversed(range(number))]
        low = 2 ** min(self.width, self.bits - 1) - 1
        limbs[1:] = [limb & block.dtype.type(low) for limb in limbs[1:]]  # the highest has the sign
        sums = [sum_windows(limb.astype(np.int64), factors, np.int64) for limb in limbs]
        return (np.stack(sums), *counts)

    def finalise(self, state: State, window: Window) -> Array:
        limbs = state[0]
        if self.dtype.kind == "b":
            count = window.counts() if self.ignore is None else state[1]
            majority = 2 * limbs[0].astype(np.int64) > count
            return np.where(count > 0, majority, bool(self.ignore))
        out = np.full(window.cells, self.ignore or 0, self.dtype.newbyteorder("="))
        if self.ignore is not None:
            self._divide(limbs, state[1], out)
        else:
            for region, n in window.regions():
                part = np.empty(out[region].shape, out.dtype)
                self._divide(limbs[(slice(None), *region)], np.array([n]), part)
                out[region] = part
        return out.astype(self.dtype, copy=False)

    def _divide(self, limbs: Array, count: Array, out: Array) -> None:
        flat = np.ascontiguousarray(limbs).reshape(len(limbs), -1)
        if self.narrow:
            kernels.means.divide_narrow(flat[0], count.reshape(-1), out.reshape(-1))
        else:
            kernels.means.divide_limbs(flat, self.width, count.reshape(-1), out.reshape(-1))


#: float64 samples are summed twice, as they are and scaled down by this, so that neither the
#: largest finite values overflow nor the smallest are lost.
_SCALE = 2.0**-64


@dataclass(frozen=True)
class _Floats:
    """Sums of floats in float64.

    A state is the sums, for float64 also the scaled sums, and where samples may not count, the
    number that do.
    """

    dtype: np.dtype[Any]
    skipna: bool
    ignore: float | None

    @property
    def counted(self) -> bool:
        """Whether the state holds counts."""
        return self.skipna or self.ignore is not None

    @property
    def scaled(self) -> bool:
        """Whether the state holds scaled sums."""
        return self.dtype.itemsize == 8

    def chunk(self, block: Array, factors: Factors) -> State:
        # numba knows no float16 on CPUs; float32 holds every float16
        values = block.astype(np.float32) if self.dtype.itemsize == 2 else block
        total = sum_windows(values, factors, np.float64)
        counts: State = ()
        # Where no sum is NaN no sample was, which is so in most blocks.
        if self.ignore is not None or (self.skipna and np.isnan(total).any()):
            valid = ~np.isnan(values) if self.skipna else np.ones(values.shape, bool)
            if self.ignore is not None:
                valid &= block != block.dtype.type(self.ignore)
            values = np.where(valid, values, values.dtype.type(0))
            total = sum_windows(values, factors, np.float64)
            counts = (sum_windows(valid, factors, np.int64),)
        elif self.skipna:
            counts = (Window(block.shape, factors).counts(),)
        if self.scaled:
            return (total, sum_windows(values * _SCALE, factors, np.float64), *counts)
        return (total, *counts)

    def finalise(self, state: State, window: Window) -> Array:
        count = state[-1] if self.counted else window.counts()
        with np.errstate(all="ignore"):  # 0 / 0 is the NaN that is wanted
            mean = state[0] / count
            if self.scaled:
                large, limit = state[1] / count, np.finfo(np.float64).max * _SCALE
                large = np.where(np.isfinite(large), np.clip(large, -limit, limit), large)
                mean = np.where(np.isfinite(state[0]), mean, large / _SCALE)
            return np.asarray(mean.astype(self.dtype))
