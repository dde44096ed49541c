"""Reductions over windows of any rank, by kernels of a fixed one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from xpyramid.kernels import choice as kernels
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import Factors, Request, State
from xpyramid.types import DType

Shape4 = tuple[int, int, int, int]
Step3 = tuple[int, int, int]
AxisPass = tuple[Shape4, Step3, Shape4]

_CACHE_LINE = 64

#: Bytes that loops of kernels do in one go.
_VECTORS = 128

#: Samples of so many bytes may lie in the last cache.
_IN_CACHE = 2**25


def as_native(values: Array) -> Array:
    """Return samples as kernels want them: C-contiguous, native byte order, bool as uint8.

    They may not be written to: for arrays that may, kernels would be compiled once more.
    """
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).view()
    native.flags.writeable = False
    return native


def with_one_nan(values: Array) -> Array:
    """Return new values of which those that are NaN are `numpy.nan`.

    What comes of several NaN of different bits, such as that of inf - inf, is up to the compiler.
    """
    out = np.asarray(values)
    if out.dtype.kind == "f":
        out[np.isnan(out)] = np.nan
    return out


def fillable(dtype: DType) -> DType:
    """Return a dtype that kernels can fill and that holds all values of another one."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    is_half = dtype.kind == "f" and dtype.itemsize == 2
    return np.dtype(np.float64) if is_half else dtype.newbyteorder("=")


def at_least_float32(values: Array) -> Array:
    """Return samples as kernels know them: numba has no float16, float32 holds every one."""
    is_half = values.dtype.kind == "f" and values.dtype.itemsize == 2
    return values.astype(np.float32) if is_half else values


def cells_of(shape: tuple[int, ...], factors: Factors) -> tuple[int, ...]:
    """Return the shape after a reduction of the last ``len(factors)`` dimensions."""
    steps = (1,) * (len(shape) - len(factors)) + factors
    return tuple(-(-n // f) for n, f in zip(shape, steps, strict=True))


def axis_passes(shape: tuple[int, ...], factors: Factors) -> Iterator[AxisPass]:
    """Split a reduction of any rank into passes of a batch and three dimensions.

    The last three dimensions are reduced first, then the ones before them, with all that is
    already done as one long last dimension. Yields source shape, factors and result shape of each.
    """
    todo = (1,) * (max(3, len(shape)) - len(factors)) + factors
    shape = (1,) * (3 - len(shape)) + shape
    while True:
        (fz, fy, fx), todo = todo[-3:], todo[:-3]
        z, y, x = shape[-3:]
        batch = math.prod(shape[:-3])
        reduced = (-(-z // fz), -(-y // fy), -(-x // fx))
        yield (batch, z, y, x), (fz, fy, fx), (batch, *reduced)
        if all(f == 1 for f in todo):
            return
        shape, todo = (1, 1, *shape[:-3], math.prod(reduced)), (1, 1, *todo, 1)


def single_pass(shape: tuple[int, ...], factors: Factors) -> AxisPass | None:
    """Return the only pass of a reduction, None where there are several."""
    first, *others = axis_passes(shape, factors)
    return None if others else first


def aligned_empty(size: int, dtype: DTypeLike) -> Array:
    """Return a buffer that begins with a cache line of memory.

    Kernels store and load a row many times, and take half as long again where vectors of it lie
    across two cache lines.
    """
    dtype = np.dtype(dtype)
    scratch: Array = np.empty(size * dtype.itemsize + _CACHE_LINE, np.uint8)
    start = -scratch.__array_interface__["data"][0] % _CACHE_LINE
    return scratch[start : start + size * dtype.itemsize].view(dtype)


def padded_aligned_empty(size: int, dtype: DTypeLike) -> Array:
    """Return an `aligned_empty` for at least so many samples, of whole vectors."""
    whole = max(1, _VECTORS // np.dtype(dtype).itemsize)
    return aligned_empty(-(-size // whole) * whole, dtype)


def read_rows_together(values: Array) -> bool | None:
    """Return how kernels are to read the rows of a window; see `kernels.sums`."""
    return True if values.itemsize == 1 and values.nbytes <= _IN_CACHE else None


def sum_windows(values: Array, factors: Factors, dtype: DTypeLike) -> Array:
    """Return the sums over windows.

    Parameters
    ----------
    values : ndarray
        Any real dtype, byte order and memory order.
    factors : tuple of int
        One for each of the last dimensions; dimensions before those are not reduced.
    dtype : dtype
        Of the sums; the caller knows that they fit.
    """
    out = values
    for shape, step, reduced in axis_passes(values.shape, factors):
        src, out = as_native(out).reshape(shape), np.empty(reduced, dtype)
        kernels.sums.window_sum(
            src, *step, read_rows_together(src), aligned_empty(shape[3], dtype), out
        )
    return out.reshape(cells_of(values.shape, factors))


def sum_valid_windows(
    values: Array, factors: Factors, dtype: DTypeLike, request: Request
) -> tuple[Array, Array]:
    """Return the sums of the samples that count, and how many there are (int64)."""
    src = as_native(values)
    (shape, step, reduced), *other_passes = axis_passes(values.shape, factors)
    total, count = np.empty(reduced, dtype), np.empty(reduced, np.int64)
    kernels.sums.window_sum_valid(
        src.reshape(shape), *step, *valid_flags(request, src.dtype),
        aligned_empty(shape[3], dtype), aligned_empty(shape[3], np.int64), total, count,
    )  # fmt: skip
    for shape, step, reduced in other_passes:
        total = sum_windows(total.reshape(shape), step, dtype).reshape(reduced)
        count = sum_windows(count.reshape(shape), step, np.int64).reshape(reduced)
    cells = cells_of(values.shape, factors)
    return total.reshape(cells), count.reshape(cells)


def valid_flags(request: Request, dtype: DType) -> tuple[bool | None, np.generic | None]:
    """Return whether NaN is skipped, and what is ignored; None where that does not apply."""
    nan = request.skipna and dtype.kind == "f"
    return True if nan else None, request.ignore_as(dtype) if request.has_ignore else None


def add(state: State, factors: Factors) -> State:
    """Combine a state of sums: add them up over windows. A part of shape (0,) stays."""
    return tuple(p if p.shape == (0,) else sum_windows(p, factors, p.dtype) for p in state)


def extreme_windows(values: Array, factors: Factors, largest: bool, request: Request) -> Array:
    """Return the smallest or largest samples of windows, in native byte order."""
    out = as_native(values)
    flags = True if largest else None, *valid_flags(request, out.dtype)
    for shape, step, reduced in axis_passes(values.shape, factors):
        src, out = as_native(out).reshape(shape), np.empty(reduced, out.dtype)
        kernels.extremes.window_extreme(src, *step, *flags, aligned_empty(shape[3], out.dtype), out)
    return out.reshape(cells_of(values.shape, factors))
