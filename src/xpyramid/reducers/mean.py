"""Arithmetic mean: sums and counts are added up, and divided once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xpyramid.errors import DtypeError, PlanError
from xpyramid.kernels import choice as kernels
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import (
    Factors,
    Part,
    Reducer,
    Request,
    State,
    Steps,
    Window,
    assemble_arrays,
)
from xpyramid.reducers.registry import register
from xpyramid.reducers.windows import (
    add,
    aligned_empty,
    as_native,
    at_least_float32,
    cells_of,
    padded_aligned_empty,
    read_rows_together,
    single_pass,
    sum_valid_windows,
    sum_windows,
    with_one_nan,
)
from xpyramid.types import DType

#: Up to so many bytes, samples are taken to lie in a cache, as a decoded block does. There, several
#: levels are sooner made by states, pass by pass.
_SMALL = 2**23


@register("mean")
def mean(request: Request) -> Reducer:
    """Return the record of the mean.

    Integers are exact, rounded half to even; bool is a majority vote in which a tie is False.
    Floats are summed in float64. With ``skipna`` (floats) or ``ignore``, the state also holds the
    number of samples that count, and a cell with none is ``ignore``, or NaN where there is none.
    """
    dtype = request.dtype
    if dtype.kind not in "biuf":
        raise DtypeError(f"mean of dtype {dtype}", accepted="bool, integers, floats")
    request.check_ignore()
    floats = _Floats(request) if dtype.kind == "f" else None
    kind = floats or _Integers(request)
    direct = None if dtype.kind == "b" or request.has_ignore else kind.direct
    assemble = floats.assemble if floats else assemble_arrays
    return Reducer("mean", dtype, kind.chunk, kind.combine, kind.finalise, direct, assemble)


def _growth(samples: int) -> int:
    """Return how many bits wider than a sample the sum of so many is."""
    return max(0, samples - 1).bit_length()


def _means(
    block: Array, steps: Steps, sums: tuple[type, type], ratio: type, out: Array
) -> Array | None:
    """Fill level 1 with means straight from samples, if one pass of the kernel can do it.

    ``sums`` are the dtypes of the sums of level 1 and of level 2. Returns those of level 2, or
    nothing in particular where there is none; None if something is not finite, or not done.
    """
    several, first = len(steps) > 1, single_pass(block.shape, steps[0])
    if several and block.nbytes <= _SMALL:
        return None
    second = single_pass(out.shape, steps[1]) if several else first
    if first is None or second is None:
        return None
    (shape, step, (batch, nz, ny, nx)), (gz, gy, gx), (row, wide) = first, second[1], sums
    above: Array | None = None
    if several:  # np.zeros would give new memory each time, which costs more than to fill it
        above = np.full((batch, -(-nz // gz), -(-ny // gy), nx), 0, wide)
    src = as_native(block).reshape(shape)
    finite = kernels.sums.window_mean(
        src, *step, read_rows_together(src),
        aligned_empty(shape[3], row), aligned_empty(nx, row).reshape(1, 1, 1, -1),
        gz, gy, above, np.empty(0, ratio), True if out.dtype.kind in "iu" else None,
        out.reshape(batch, nz, ny, nx),
    )  # fmt: skip
    if not finite:
        return None
    if above is None:
        return _IMPLIED
    return sum_windows(above, (1, 1, gx), wide).reshape(cells_of(out.shape, steps[1]))


def _means_of_few(block: Array, steps: Steps, out: Array) -> bool:
    """Fill level 1 as `_means` does, with at most eight integers for each cell, if that is all.

    Returns whether it is. Single bytes need not lie in a cache: to add them takes longest.
    """
    only = single_pass(block.shape, steps[0])
    small = block.itemsize == 1 or (block.itemsize == 2 and block.nbytes <= _SMALL)
    if only is None or len(steps) > 1 or max(steps[0]) > 2 or not small:
        return False
    shape, step, cells = only
    row = padded_aligned_empty(shape[3] + 1, _accumulator(8 * block.itemsize + 3))
    src = as_native(block).reshape(-1)
    kernels.twos.window_mean(src, shape, *step, row, out.reshape(-1), cells)
    return True


def _magnitude(block: Array) -> int:
    """Return how many bits the samples of a block need, without a sign."""
    least = int(block.min(initial=0)) if block.dtype.kind == "i" else 0
    return max(int(block.max(initial=0)), -least).bit_length()


def _divided(total: Array, window: Window, real: type, dtype: DType) -> Array:
    """Return sums divided, in ``real``, by the sizes of their windows."""
    (_, shape), *edges = list(window.regions()) or [((), ())]
    rounded, out = True if dtype.kind in "iu" else None, np.empty(total.shape, dtype)
    kernels.sums.divide(total.reshape(-1), real(math.prod(shape)), rounded, out.reshape(-1))
    for region, shape in edges:  # were divided as if they were whole
        side = np.ascontiguousarray(total[region])
        part = np.empty(side.shape, dtype)
        kernels.sums.divide(side.reshape(-1), real(math.prod(shape)), rounded, part.reshape(-1))
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
            raise PlanError(
                f"windows of {self.request.samples} samples",
                accepted="up to 2**46",
                fix="build fewer levels",
            )

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

    def direct(self, block: Array, steps: Steps, out: Array) -> State | None:
        if _means_of_few(block, steps, out):
            return ()
        first, several = _growth(math.prod(steps[0])), len(steps) > 1
        bits, growth = self.bits, _growth(self.request.samples) if several else first
        if bits + growth > 52 and not several:  # what is there may be narrower than the dtype
            bits = _magnitude(block) + 1
        if bits + growth > 52:
            return None
        sums = _accumulator(bits + first), _accumulator(bits + growth)
        total = _means(block, steps, sums, _ratio(bits + first), out)
        return None if total is None else (total[None],)

    def chunk(self, block: Array, factors: Factors) -> State:
        accumulator = _accumulator(self.bits + _growth(math.prod(factors)))
        if self.narrow and self.request.has_ignore:
            total, count = sum_valid_windows(block, factors, accumulator, self.request)
            return (total[None], count)
        if self.narrow:
            return (sum_windows(block, factors, accumulator)[None],)
        counts: State = ()
        block = as_native(block)
        if self.request.has_ignore:
            valid = block != self.request.ignore_as()
            block = np.where(valid, block, block.dtype.type(0))
            counts = (sum_windows(valid, factors, np.int64),)
        return (self._limbs(block, factors), *counts)

    def _limbs(self, block: Array, factors: Factors) -> Array:
        """Return the sums over windows in limbs; samples that need no more go into the last."""
        number = -(-self.bits // self.width)
        if _magnitude(block) <= self.width:
            limbs = [block]
        else:
            limbs = [block >> (self.width * k) for k in reversed(range(number))]
            low = 2 ** min(self.width, self.bits - 1) - 1
            limbs[1:] = [limb & block.dtype.type(low) for limb in limbs[1:]]  # the first has a sign
        wide = [limb.view(np.int64) if limb.itemsize == 8 else limb for limb in limbs]
        sums: Array = np.zeros((number, *cells_of(block.shape, factors)), np.int64)
        for k in range(-len(wide), 0):
            sums[k] = sum_windows(wide[k], factors, np.int64)
        return sums

    def combine(self, state: State, factors: Factors) -> State:
        """Add up; a narrow accumulator of the first step makes way for one of all steps."""
        wide = _accumulator(self.sum_bits) if self.narrow else np.int64
        return (sum_windows(state[0], factors, wide), *add(state[1:], factors))

    def finalise(self, state: State, window: Window) -> Array:
        dtype, limbs = self.request.dtype, state[0]
        if dtype.kind == "b":
            count = state[1] if self.request.has_ignore else window.counts()
            majority = 2 * limbs[0].astype(np.int64) > count
            return np.where(count > 0, majority, bool(self.request.ignore))
        native_dtype = dtype.newbyteorder("=")
        if not self.request.has_ignore and (self.narrow or _is_small(limbs)):
            ratio = _ratio(self.sum_bits if self.narrow else 52)
            return _divided(limbs[-1], window, ratio, native_dtype).astype(dtype, copy=False)
        count = (state[1] if self.request.has_ignore else window.counts()).reshape(-1)
        out = np.full(window.cells, self.request.ignore_as(), native_dtype)
        flat = limbs.reshape(len(limbs), -1)
        if self.narrow:
            real: Array = count.astype(_ratio(self.sum_bits))
            kernels.sums.divide_each(flat[0], real, out.reshape(-1))
        else:
            kernels.sums.divide_limbs(flat, self.width, count, out.reshape(-1))
        return out.astype(dtype, copy=False)


def _is_small(limbs: Array) -> bool:
    """Whether float64 division gives the exact result of what turned out to be in limbs."""
    low, last = limbs[:-1], limbs[-1]
    lowest, highest = int(last.min(initial=0)), int(last.max(initial=0))
    return max(highest, -lowest) < 2**52 and not low.any()


def _accumulator(bits: int) -> type:
    """Return the narrowest signed integer for sums of so many bits: narrow ones vectorise best."""
    return np.int16 if bits <= 15 else np.int32 if bits <= 31 else np.int64


def _ratio(bits: int) -> type:
    """Return the float whose quotients round right; see `kernels.sums.divide`."""
    return np.float32 if bits <= 23 else np.float64


#: Where a sum of float64 samples overflows, they are summed scaled down by this.
_SCALE = 2.0**-64

#: In place of what a state does not need to say: its counts, as every sample counts, or its scaled
#: sums, as all its sums are finite.
_IMPLIED: Array = np.empty(0)


def _implies(entry: Array) -> bool:
    return bool(entry.shape == _IMPLIED.shape)


@dataclass(frozen=True)
class _Floats:
    """Sums of floats in float64.

    A state is the sums, for float64 also the scaled sums, and where samples may not count, the
    number that do. Most blocks need to say neither of these two.
    """

    request: Request

    @property
    def counted(self) -> bool:
        """Whether the state holds counts."""
        return self.request.skipna or self.request.has_ignore

    @property
    def scaled(self) -> bool:
        """Whether the state holds scaled sums."""
        return self.request.dtype.itemsize == 8

    def direct(self, block: Array, steps: Steps, out: Array) -> State | None:
        # What is not finite is NaN that may have to be skipped, or the overflow of a sum.
        total = _means(at_least_float32(block), steps, (np.float64,) * 2, np.float64, out)
        if total is None or (self.scaled and not np.isfinite(total).all()):
            return None
        return (total, *(_IMPLIED,) * (self.scaled + self.counted))

    def chunk(self, block: Array, factors: Factors) -> State:
        values = at_least_float32(block)
        counts: State = ()
        total = sum_windows(values, factors, np.float64)
        if self.request.has_ignore or (self.request.skipna and np.isnan(total).any()):
            total, count = sum_valid_windows(values, factors, np.float64, self.request)
            counts = (count,)
        elif self.counted:  # where no sum is NaN no sample was
            counts = (_IMPLIED,)
        if not self.scaled:
            return (total, *counts)
        if np.isfinite(total).all():
            return (total, _IMPLIED, *counts)
        small, double = as_native(values) * _SCALE, np.dtype(np.float64)
        if self.counted:
            ignore = float(self.request.ignore_as()) * _SCALE if self.request.has_ignore else None
            scaled_request = Request(
                double, self.request.samples, self.request.skipna_option, ignore
            )
            scaled = sum_valid_windows(small, factors, double, scaled_request)[0]
        else:
            scaled = sum_windows(small, factors, double)
        return (total, _where_not_finite(total, scaled), *counts)

    def combine(self, state: State, factors: Factors) -> State:
        if not self.scaled:
            return add(state, factors)
        total, scaled, *counts = state
        above = sum_windows(total, factors, np.float64)
        if _implies(scaled) and not np.isfinite(above).all():
            scaled = total * _SCALE
        (scaled, *counts) = add((scaled, *counts), factors)
        return (above, scaled if _implies(scaled) else _where_not_finite(above, scaled), *counts)

    def assemble(self, parts: Sequence[Part], cells: tuple[int, ...]) -> State:
        """Put states together; what one of them says, all must."""
        entries = zip(*(part.state for part in parts), strict=True)
        explicit = [not all(map(_implies, each)) for each in entries]
        explicit_parts = [
            replace(part, state=self._explicit_entries(part, explicit)) for part in parts
        ]
        assembled = iter(assemble_arrays(explicit_parts, cells))
        return tuple(next(assembled) if is_explicit else _IMPLIED for is_explicit in explicit)

    def _explicit_entries(self, part: Part, explicit: Sequence[bool]) -> State:
        """Return those entries of a state that are explicit, computed where they are implied."""
        entries = []
        for i, entry in enumerate(part.state):
            if explicit[i] and i > 0 and _implies(entry):
                scaled = i == 1 and self.scaled
                entries.append(part.state[0] * _SCALE if scaled else part.window.counts())
            elif explicit[i]:
                entries.append(entry)
        return tuple(entries)

    def finalise(self, state: State, window: Window) -> Array:
        every = not self.counted or _implies(state[-1])
        finite = not self.scaled or _implies(state[1])
        if every and finite:
            single = np.dtype(np.float32 if self.request.dtype.itemsize == 4 else np.float64)
            out = _divided(state[0], window, np.float64, single)
            return with_one_nan(out.astype(self.request.dtype, copy=False))
        count = window.counts() if every else state[-1]
        with np.errstate(all="ignore"):  # 0 / 0 is the NaN that is wanted
            mean = state[0] / count
            if not finite:
                large, limit = state[1] / count, np.finfo(np.float64).max * _SCALE
                large = np.where(np.isfinite(large), np.clip(large, -limit, limit), large)
                mean = np.where(np.isfinite(state[0]), mean, large / _SCALE)
            out = with_one_nan(np.asarray(mean.astype(self.request.dtype)))
        if self.request.has_ignore:
            out[count == 0] = self.request.ignore_as()
        return out


def _where_not_finite(total: Array, scaled: Array) -> Array:
    """Return scaled sums: those of the samples only where the sums overflow.

    Thereby it depends on the samples of a cell alone whether it says its scaled sum or implies it.
    """
    return np.where(np.isfinite(total), total * _SCALE, scaled)
