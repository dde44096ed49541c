"""Standard deviation: of all samples of a window, around their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xpyramid.errors import DtypeError
from xpyramid.kernels import choice as kernels
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import Factors, Reducer, Request, State, Window
from xpyramid.reducers.registry import register
from xpyramid.reducers.windows import (
    AxisPass,
    add,
    aligned_empty,
    as_native,
    at_least_float32,
    axis_passes,
    cells_of,
    sum_windows,
    valid_flags,
    with_one_nan,
)
from xpyramid.types import DType


@register("std")
def std(request: Request) -> Reducer:
    """Return the record of the standard deviation, with ``ddof=0``, as xarray's default is.

    It is float64 for samples of 64 bits, else float32. Integers of up to 16 bits are added up
    exactly. For others, the sums of squares of neighbours are merged in float64. Level 0 of its
    image is 0, or NaN where a sample does not count or is not finite.
    """
    dtype = request.dtype
    if dtype.kind not in "biuf":
        raise DtypeError(f"std of dtype {dtype}", accepted="bool, integers, floats")
    request.check_ignore()
    out = np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    bits = 1 if dtype.kind == "b" else 8 * dtype.itemsize
    is_exact = dtype.kind != "f" and 2 * bits + request.samples.bit_length() <= 62
    if is_exact:
        exact = _Exact(request, out)
        parts = (exact.chunk, add, exact.finalise)
    else:
        merged = _Merged(request, out)
        parts = (merged.chunk, merged.combine, merged.finalise)
    return Reducer("std", out, *parts, base=_Base(request, out), copies=5)


@dataclass(frozen=True)
class _Base:
    """From samples to level 0 of an image of standard deviations."""

    request: Request
    dtype: DType

    def __call__(self, block: Array) -> Array:
        valid: Array | None = None
        if block.dtype.kind == "f":
            valid = np.isfinite(block)
        if self.request.has_ignore:
            counted = block != self.request.ignore_as()
            valid = counted if valid is None else valid & counted
        if valid is None or valid.all():  # takes no memory
            return np.broadcast_to(self.dtype.type(0), block.shape)
        base: Array = np.where(valid, self.dtype.type(0), self.dtype.type(np.nan))
        return base


def _root(squares: Array, count: Array, dtype: DType) -> Array:
    """Return the roots of mean squares, NaN where there is no sample."""
    with np.errstate(all="ignore"):
        return with_one_nan(np.sqrt(squares / count).astype(dtype))


@dataclass(frozen=True)
class _Exact:
    """Sums of integers and of their squares, in int64, which is exact.

    A state is ``(sums, squares)`` or ``(sums, squares, count)``.
    """

    request: Request
    dtype: DType

    def chunk(self, block: Array, factors: Factors) -> State:
        src = as_native(block)
        (shape, step, reduced), *others = axis_passes(block.shape, factors)
        names = 3 if self.request.has_ignore else 2
        out: list[Array] = [np.empty(reduced, np.int64) for _ in range(names)]
        rows: list[Array] = [aligned_empty(shape[3], np.int64) for _ in range(names)]
        ignored = self.request.ignore_as(src.dtype) if self.request.has_ignore else None
        seen, count = (rows[2], out[2]) if self.request.has_ignore else (None, None)
        kernels.sums.window_squares(
            src.reshape(shape), *step, ignored, rows[0], rows[1], seen, out[0], out[1], count
        )
        for shape, step, reduced in others:
            out = [sum_windows(a.reshape(shape), step, np.int64).reshape(reduced) for a in out]
        cells = cells_of(block.shape, factors)
        return tuple(array.reshape(cells) for array in out)

    def finalise(self, state: State, window: Window) -> Array:
        total, square = state[:2]
        count = state[2] if self.request.has_ignore else window.counts()
        n = np.maximum(count, 1)
        # Around the integer next to the mean, squares are small: what is subtracted from them is
        # at most half of their sum.
        middle = (2 * total + n) // (2 * n)
        rest = total - middle * n
        around = (square - middle * (total + rest)).astype(np.float64)
        spread = around - rest.astype(np.float64) ** 2 / n
        return _root(spread, count, self.dtype)


@dataclass(frozen=True)
class _Merged:
    """Sums of squared distances from the mean, in float64, and what is needed to merge them.

    A state is ``(count, pivot, offset, square)``; see `kernels.moments`.
    """

    request: Request
    dtype: DType

    @property
    def integers(self) -> bool | None:
        """Whether pivots are integers; None for floats."""
        return None if self.request.dtype.kind == "f" else True

    def chunk(self, block: Array, factors: Factors) -> State:
        src = as_native(at_least_float32(block))
        (shape, step, reduced), *others = axis_passes(block.shape, factors)
        state = _empty_state(reduced, src.dtype)
        kernels.moments.window_spread(
            src.reshape(shape), *step, self.integers, *valid_flags(self.request, src.dtype), *state
        )
        return self._merge(state, others, cells_of(block.shape, factors))

    def combine(self, state: State, factors: Factors) -> State:
        shape = state[0].shape
        return self._merge(state, list(axis_passes(shape, factors)), cells_of(shape, factors))

    def _merge(self, state: State, passes: Sequence[AxisPass], cells: tuple[int, ...]) -> State:
        for shape, step, reduced in passes:
            out = _empty_state(reduced, state[1].dtype)
            below = (np.ascontiguousarray(array).reshape(shape) for array in state)
            kernels.moments.merge_spread(*below, *step, self.integers, *out)
            state = out
        return tuple(array.reshape(cells) for array in state)

    def finalise(self, state: State, window: Window) -> Array:  # noqa: ARG002
        return _root(state[3], state[0], self.dtype)


def _empty_state(shape: tuple[int, ...], pivot: DType) -> State:
    return (
        np.empty(shape, np.int64), np.empty(shape, pivot), np.empty(shape), np.empty(shape)
    )  # fmt: skip
