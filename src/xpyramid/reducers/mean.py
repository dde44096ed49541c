"""Arithmetic mean: sums and counts are added up, and divided once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpyramid import kernels
from xpyramid.errors import DtypeError, PlanError
from xpyramid.reducers.record import Array, Factors, Part, Reducer, Request, State, Window, place
from xpyramid.reducers.registry import register
from xpyramid.reducers.windows import (
    add,
    at_least_float32,
    by_two,
    native,
    single_pass,
    sum_valid_windows,
    sum_windows,
)


@register("mean")
def mean(request: Request) -> Reducer:
    """Return the record of the mean.

    Integers are exact, rounded half to even; bool is a majority vote in which a tie is False.
    Floats are summed in float64. With ``skipna`` (floats) or ``ignore``, the state also holds the
    number of samples that count, and a cell with none is NaN (floats) or ``ignore`` (integers).
    """
    dtype = request.dtype
    if dtype.kind not in "biuf":
        raise DtypeError(f"mean of dtype {dtype}; accepted: bool, integers, floats")
    request.check_ignore()
    floats = _Floats(request) if dtype.kind == "f" else None
    kind = floats or _Integers(request)
    direct = None if dtype.kind == "b" or request.skips else kind.direct
    assemble = floats.assemble if floats else place
    return Reducer("mean", dtype, kind.chunk, kind.combine, kind.finalise, direct, assemble)


def _growth(samples: int) -> int:
    """Return how many bits wider than a sample the sum of so many is."""
    return max(0, samples - 1).bit_length()


def _one_pass(block: Array, factors: Factors, row: type, ratio: type, out: Array) -> bool:
    """Fill ``out`` with means straight from samples, if a single pass of the kernel can do it."""
    only = single_pass(block.shape, factors)
    if only is None:
        return False
    shape, step, reduced = only
    src, rounded, out = native(block).reshape(shape), out.dtype.kind in "iu", out.reshape(reduced)
    real: Array = np.empty(0, ratio)
    if by_two(step):
        sums: Array = np.empty(0, row)
        kernels.means.window_mean_2(src, *step[:2], sums, real, rounded, out)
    else:
        line: Array = np.empty(shape[3], row)
        total: Array = np.empty((1, 1, 1, reduced[3]), row)
        kernels.means.window_mean(src, *step, line, total, real, rounded, out)
    return True


def _divided(total: Array, window: Window, real: type, dtype: np.dtype[Any]) -> Array:
    """Return sums divided, in ``real``, by the sizes of their windows."""
    (_, shape), *edges = list(window.regions()) or [((), ())]
    rounded, out = dtype.kind in "iu", np.empty(total.shape, dtype)
    kernels.means.divide(total.reshape(-1), real(math.prod(shape)), rounded, out.reshape(-1))
    for region, shape in edges:  # were divided as if they were whole
        side = np.ascontiguousarray(total[region])
        part = np.empty(side.shape, dtype)
        kernels.means.divide(side.reshape(-1), real(math.prod(shape)), rounded, part.reshape(-1))
        out[region] = part
    return out


@dataclass(frozen=True)
class _Integers:
    """Exact sums of integers, in limbs where one array could overflow.

    A state is ``(limbs,)`` or ``(limbs, count)``. The sum of a cell is
    ``sum_k limbs[k, cell] << width * (last - k)``; while sums stay below 2**52 there is one limb.
    """

    request: Request

    def __post_init__(self) -> None:
        if self.width < 16:
            raise PlanError(f"windows of {self.request.samples} samples; accepted: up to 2**46")

    @property
    def bits(self) -> int:
        """Width of a sample."""
        return 1 if self.request.dtype.kind == "b" else 8 * self.request.dtype.itemsize

    @property
    def sum_bits(self) -> int:
        """Width of the sum of the largest window."""
        return self.bits + _growth(self.request.samples)

    @property
    def narrow(self) -> bool:
        """Whether float64 division gives the exact result."""
        return self.sum_bits <= 52

    @property
    def width(self) -> int:
        """Bits of a sample that a limb sums: the sums, times a count, stay below 2**62."""
        return 62 - _growth(self.request.samples)

    def direct(self, block: Array, factors: Factors) -> Array | None:
        bits = self.bits + _growth(math.prod(factors))
        if bits > 52 and block.size:  # what is there may be narrower than the dtype
            low, high = int(block.min()) if block.dtype.kind == "i" else 0, int(block.max())
            bits = max(abs(low), abs(high)).bit_length() + 1 + _growth(math.prod(factors))
        out = np.empty(Window(block.shape, factors).cells, block.dtype.newbyteorder("="))
        done = bits <= 52 and _one_pass(block, factors, _accumulator(bits), _ratio(bits), out)
        return out.astype(block.dtype, copy=False) if done else None

    def chunk(self, block: Array, factors: Factors) -> State:
        accumulator = _accumulator(self.bits + _growth(math.prod(factors)))
        if self.narrow and self.request.skips:
            total, count = sum_valid_windows(block, factors, accumulator, self.request)
            return (total[None], count)
        if self.narrow:
            return (sum_windows(block, factors, accumulator)[None],)
        counts: State = ()
        block = native(block)
        if self.request.skips:
            valid = block != self.request.ignored()
            block = np.where(valid, block, block.dtype.type(0))
            counts = (sum_windows(valid, factors, np.int64),)
        number = -(-self.bits // self.width)
        limbs = [block >> (self.width * k) for k in reversed(range(number))]
        low = 2 ** min(self.width, self.bits - 1) - 1
        limbs[1:] = [limb & block.dtype.type(low) for limb in limbs[1:]]  # the highest has the sign
        sums = [sum_windows(limb.astype(np.int64), factors, np.int64) for limb in limbs]
        return (np.stack(sums), *counts)

    def combine(self, state: State, factors: Factors) -> State:
        """Add up; the narrow accumulator of the first step makes way for one of all steps."""
        wide = _accumulator(self.sum_bits) if self.narrow else np.int64
        return (sum_windows(state[0], factors, wide), *add(state[1:], factors))

    def finalise(self, state: State, window: Window) -> Array:
        dtype, limbs = self.request.dtype, state[0]
        if dtype.kind == "b":
            count = state[1] if self.request.skips else window.counts()
            majority = 2 * limbs[0].astype(np.int64) > count
            return np.where(count > 0, majority, bool(self.request.ignore))
        native_dtype = dtype.newbyteorder("=")
        if self.narrow and not self.request.skips:
            out = _divided(limbs[0], window, _ratio(self.sum_bits), native_dtype)
            return out.astype(dtype, copy=False)
        count = (state[1] if self.request.skips else window.counts()).reshape(-1)
        out = np.full(window.cells, self.request.ignored(), native_dtype)
        flat = limbs.reshape(len(limbs), -1)
        if self.narrow:
            real: Array = count.astype(_ratio(self.sum_bits))
            kernels.means.divide_each(flat[0], real, out.reshape(-1))
        else:
            kernels.means.divide_limbs(flat, self.width, count, out.reshape(-1))
        return out.astype(dtype, copy=False)


def _accumulator(bits: int) -> type:
    """Return the narrowest signed integer for sums of so many bits: narrow ones vectorise best."""
    return np.int16 if bits <= 15 else np.int32 if bits <= 31 else np.int64


def _ratio(bits: int) -> type:
    """Return the float whose quotients round right; see `kernels.means.divide`."""
    return np.float32 if bits <= 23 else np.float64


#: float64 samples are summed twice, as they are and scaled down by this, so that neither the
#: largest finite values overflow nor the smallest are lost.
_SCALE = 2.0**-64

#: Counts of a state in which every sample counts.
_ALL: Array = np.empty(0, np.int64)


@dataclass(frozen=True)
class _Floats:
    """Sums of floats in float64.

    A state is the sums, for float64 also the scaled sums, and where samples may not count, the
    number that do; without any cells, that number says that all count, as they do in most blocks.
    """

    request: Request

    @property
    def counted(self) -> bool:
        """Whether the state holds counts."""
        return self.request.skips_na or self.request.skips

    @property
    def scaled(self) -> bool:
        """Whether the state holds scaled sums."""
        return self.request.dtype.itemsize == 8

    def direct(self, block: Array, factors: Factors) -> Array | None:
        dtype = self.request.dtype
        cells = Window(block.shape, factors).cells
        out = np.empty(cells, np.float32 if dtype.itemsize == 4 else np.float64)
        if not _one_pass(at_least_float32(block), factors, np.float64, np.float64, out):
            return None
        # NaN may have to be skipped, and float64 sums may have overflowed.
        suspicious = not np.isfinite(out).all() if self.scaled else np.isnan(out).any()
        return None if suspicious else out.astype(dtype, copy=False)

    def chunk(self, block: Array, factors: Factors) -> State:
        values = at_least_float32(block)
        counts: State = ()
        total = sum_windows(values, factors, np.float64)
        if self.request.skips or (self.request.skips_na and np.isnan(total).any()):
            total, count = sum_valid_windows(values, factors, np.float64, self.request)
            counts = (count,)
        elif self.counted:  # where no sum is NaN no sample was
            counts = (_ALL,)
        if not self.scaled:
            return (total, *counts)
        small, double = native(values) * _SCALE, np.dtype(np.float64)
        if self.counted:
            scaled_ignore = float(self.request.ignored()) * _SCALE if self.request.skips else None
            scaled = Request(double, self.request.samples, self.request.skipna, scaled_ignore)
            return (total, sum_valid_windows(small, factors, double, scaled)[0], *counts)
        return (total, sum_windows(small, factors, double), *counts)

    def combine(self, state: State, factors: Factors) -> State:
        return add(state, factors)

    def assemble(self, parts: Sequence[Part], cells: tuple[int, ...]) -> State:
        """Put states together; where some have counts, all must."""
        if not self.counted:
            return place(parts, cells)
        every = [part.state[-1].shape == _ALL.shape for part in parts]
        if all(every):
            sums = [replace(part, state=part.state[:-1]) for part in parts]
            return (*place(sums, cells), _ALL)
        counted = [
            replace(part, state=(*part.state[:-1], part.window.counts())) if implicit else part
            for part, implicit in zip(parts, every, strict=True)
        ]
        return place(counted, cells)

    def finalise(self, state: State, window: Window) -> Array:
        every = not self.counted or state[-1].shape == _ALL.shape
        if every and not (self.scaled and not np.isfinite(state[0]).all()):
            single = np.dtype(np.float32 if self.request.dtype.itemsize == 4 else np.float64)
            out = _divided(state[0], window, np.float64, single)
            return out.astype(self.request.dtype, copy=False)
        count = window.counts() if every else state[-1]
        with np.errstate(all="ignore"):  # 0 / 0 is the NaN that is wanted
            mean = state[0] / count
            if self.scaled:
                large, limit = state[1] / count, np.finfo(np.float64).max * _SCALE
                large = np.where(np.isfinite(large), np.clip(large, -limit, limit), large)
                mean = np.where(np.isfinite(state[0]), mean, large / _SCALE)
            return np.asarray(mean.astype(self.request.dtype))
