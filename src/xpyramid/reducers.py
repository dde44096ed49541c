"""A reduction method is a record: how to start, how to go on, how to end.

    state  = reducer.chunk(samples, step)      # windows of level 0 -> state of level 1
    state  = reducer.combine(state, step)      # state of level k   -> state of level k + 1
    values = reducer.finalise(state, window)   # state of level k   -> values of level k

A state is a tuple of arrays whose first axes are the cells of the level. What is carried is exact
(or float64 sums, added in an order that the dimensions fix), and rounding happens in ``finalise``
alone, so every level is the reduction of level 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from xpyramid import kernels
from xpyramid.errors import DtypeError, PlanError

Array = np.ndarray[Any, np.dtype[Any]]
State = tuple[Array, ...]
Factors = Sequence[int]


@dataclass(frozen=True)
class Window:
    """How many samples of level 0 lie under each cell of a block.

    Attributes
    ----------
    samples : tuple of int
        Shape of the block of level 0, which starts at a window's edge.
    factors : tuple of int
        Cumulative factors.
    """

    samples: tuple[int, ...]
    factors: tuple[int, ...]

    @property
    def cells(self) -> tuple[int, ...]:
        """Shape of the block at the coarse level."""
        return tuple(-(-n // f) for n, f in zip(self.samples, self.factors, strict=True))

    def regions(self) -> Iterator[tuple[tuple[slice, ...], int]]:
        """Yield regions of cells that all have the same number of samples, and that number.

        The whole windows come as one region; those cut off at an end come by side, edge and corner.
        """
        sides = []
        for n, f in zip(self.samples, self.factors, strict=True):
            whole, rest = divmod(n, f)
            side = [(slice(0, whole), f)] if whole else []
            sides.append([*side, (slice(whole, whole + 1), rest)] if rest else side)
        for parts in product(*sides):
            yield tuple(part for part, _ in parts), math.prod(n for _, n in parts)

    def counts(self) -> Array:
        """Return the number of samples of each cell, as int64."""
        out = np.empty(self.cells, np.int64)
        for region, n in self.regions():
            out[region] = n
        return out


@dataclass(frozen=True)
class Reducer:
    """A reduction method, ready for one dtype and one largest window.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
        Of the samples and of the result.
    chunk, combine, finalise : callable
        See the module's docstring.
    """

    name: str
    dtype: np.dtype[Any]
    chunk: Callable[[Array, Factors], State]
    combine: Callable[[State, Factors], State]
    finalise: Callable[[State, Window], Array]


def make_reducer(
    method: str,
    dtype: np.dtype[Any],
    samples: int,
    *,
    skipna: bool | None = None,
    ignore: float | None = None,
) -> Reducer:
    """Return the record of a method.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    dtype : numpy.dtype
        Of the array to reduce.
    samples : int
        Number of samples of level 0 in the largest window; decides how wide sums must be.
    skipna, ignore
        As in :meth:`xpyramid.accessor.ArrayAccessor.build`.

    Raises
    ------
    PlanError
        For an unknown method.
    DtypeError
        For a dtype that the method cannot reduce.
    """
    if method not in METHODS:
        raise PlanError(f"method={method!r}; accepted: {', '.join(METHODS)}")
    return METHODS[method](np.dtype(dtype), samples, skipna, ignore)


def reduce_block(block: Array, steps: Sequence[tuple[int, ...]], reducer: Reducer) -> Array:
    """Reduce a block of level 0 to level ``len(steps)``.

    Parameters
    ----------
    block : ndarray
        Samples; starts at a window's edge. Never modified.
    steps : sequence of tuple of int
        Factors of each step; at least one step.
    reducer : Reducer

    Returns
    -------
    ndarray
        ``ceil(n / F)`` cells along each dimension, in the dtype (and byte order) of the reducer.
    """
    state = reducer.chunk(block, steps[0])
    for step in steps[1:]:
        state = reducer.combine(state, step)
    total = tuple(math.prod(fs) for fs in zip(*steps, strict=True))
    return reducer.finalise(state, Window(block.shape, total))


def sum_windows(values: Array, factors: Factors, dtype: np.dtype[Any]) -> Array:
    """Return the sums over windows, for any rank.

    The kernel takes three dimensions and a batch: the last three are reduced first, then the ones
    before them, with all that is already done as one long last dimension.

    Parameters
    ----------
    values : ndarray
        Any numeric dtype, byte order and memory order.
    factors : sequence of int
        One per dimension.
    dtype : numpy.dtype
        Of the sums; the caller knows that they fit.
    """
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    src = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    shape, todo = values.shape, list(factors)
    cells = tuple(-(-n // f) for n, f in zip(shape, todo, strict=True))
    shape = (1,) * (3 - len(shape)) + shape  # a kernel's rank at least
    todo = [1] * (3 - len(todo)) + todo
    while True:
        step, todo = todo[-3:], todo[:-3]
        out_shape = tuple(-(-n // f) for n, f in zip(shape[-3:], step, strict=True))
        batch = math.prod(shape[:-3])
        out = np.empty((batch, *out_shape), dtype)
        kernels.sums.window_sum(src.reshape(batch, *shape[-3:]), *step, out)
        if all(f == 1 for f in todo):
            return out.reshape(cells)
        shape = (1, 1, *shape[:-3], math.prod(out_shape))
        todo = [1, 1, *todo, 1]
        src = out


# --- mean ---------------------------------------------------------------------------------------


def mean(dtype: np.dtype[Any], samples: int, skipna: bool | None, ignore: float | None) -> Reducer:
    """Arithmetic mean: sums and counts are added up, and divided once.

    Integers are exact, rounded half to even; bool is a majority vote in which a tie is False.
    Floats are summed in float64. With ``skipna`` (floats) or ``ignore``, the state also holds the
    count of valid samples, and a cell with none is NaN (floats) or ``ignore`` (integers).
    """
    if dtype.kind == "f" and dtype.itemsize <= 8:
        skip = skipna is None or bool(skipna)
        return _float_mean(dtype, skip, ignore)
    if dtype.kind in "biu":
        if ignore is not None:
            _check_representable(ignore, dtype)
        return _integer_mean(dtype, samples, ignore)
    raise DtypeError(f"mean of dtype {dtype}; accepted: bool, integers, float16, float32, float64")


METHODS: Mapping[str, Callable[..., Reducer]] = {"mean": mean}


def _check_representable(ignore: float, dtype: np.dtype[Any]) -> None:
    info = np.iinfo(dtype) if dtype.kind in "iu" else None
    low, high = (info.min, info.max) if info else (0, 1)
    if not (low <= ignore <= high and ignore == int(ignore)):
        raise DtypeError(f"ignore={ignore!r} is not a value of dtype {dtype} ({low} to {high})")


def _add(state: State, factors: Factors) -> State:
    """Combine a state of sums, whose trailing axes (if any) are not cells."""
    return tuple(
        sum_windows(part, [*factors, *[1] * (part.ndim - len(factors))], part.dtype)
        for part in state
    )


def _integer_mean(dtype: np.dtype[Any], samples: int, ignore: float | None) -> Reducer:
    """Choose the width of the sums: one array while they fit, limbs beyond."""
    counted = ignore is not None
    bits = (1 if dtype.kind == "b" else 8 * dtype.itemsize) + (samples - 1).bit_length()
    if bits <= 52:
        accumulator = np.dtype(np.int32 if bits <= 31 else np.int64)
        return Reducer(
            "mean", dtype,
            chunk=partial(_sum_integers, accumulator=accumulator, ignore=ignore),
            combine=_add,
            finalise=partial(_divide_narrow, dtype=dtype, counted=counted, empty=ignore or 0),
        )  # fmt: skip
    width = 62 - (samples - 1).bit_length()
    if width < 16:
        raise PlanError(f"a window of {samples} samples is too large; accepted: up to 2**46")
    return Reducer(
        "mean", dtype,
        chunk=partial(_sum_limbs, width=width, ignore=ignore),
        combine=_add,
        finalise=partial(_divide_limbs, dtype=dtype, width=width, counted=counted, empty=ignore or 0),
    )  # fmt: skip


def _valid_integers(block: Array, ignore: float | None) -> tuple[Array, Array | None]:
    """Return the samples with ignored ones set to 0, and which ones count (None for all)."""
    if ignore is None:
        return block, None
    valid = block != block.dtype.type(ignore)
    return np.where(valid, block, block.dtype.type(0)), valid


def _sum_integers(
    block: Array, factors: Factors, accumulator: np.dtype[Any], ignore: float | None
) -> State:
    values, valid = _valid_integers(block, ignore)
    total = sum_windows(values, factors, accumulator)
    return (total,) if valid is None else (total, _count(valid, factors))


def _sum_limbs(block: Array, factors: Factors, width: int, ignore: float | None) -> State:
    values, valid = _valid_integers(block, ignore)
    number = -(-8 * values.dtype.itemsize // width)
    mask = values.dtype.type((1 << width) - 1) if number > 1 else None
    limbs = [values >> (width * (number - 1))]  # the highest limb has the sign
    limbs += [(values >> (width * k)) & mask for k in reversed(range(number - 1))]
    parts = [sum_windows(limb.astype(np.int64), factors, np.dtype(np.int64)) for limb in limbs]
    total = np.stack(parts, axis=-1)
    return (total,) if valid is None else (total, _count(valid, factors))


def _count(valid: Array, factors: Factors) -> Array:
    return sum_windows(valid, factors, np.dtype(np.int64))


def _divide(
    total: Array, count: Array | None, window: Window, out: Array, divide: Callable[..., None]
) -> None:
    """Divide by the counts: those carried, or else the sizes of the windows."""
    if count is not None:
        divide(total.reshape(out.size, -1), count.reshape(-1), out.reshape(-1))
        return
    for region, n in window.regions():
        part = np.ascontiguousarray(total[region])
        values = np.empty(part.shape[: out.ndim], out.dtype)
        divide(part.reshape(values.size, -1), np.array([n], np.int64), values.reshape(-1))
        out[region] = values


def _divide_narrow(
    state: State, window: Window, dtype: np.dtype[Any], counted: bool, empty: float
) -> Array:
    if dtype.kind == "b":
        count = state[1] if counted else window.counts()
        return np.asarray(2 * state[0].astype(np.int64) > count)
    native = dtype.newbyteorder("=")
    out = np.full(state[0].shape, native.type(empty), native)
    count = state[1] if counted else None
    _divide(state[0], count, window, out, _narrow)
    return out.astype(dtype, copy=False)


def _narrow(total: Array, count: Array, out: Array) -> None:
    kernels.means.divide_narrow(total.reshape(-1), count, out)


def _divide_limbs(
    state: State, window: Window, dtype: np.dtype[Any], width: int, counted: bool, empty: float
) -> Array:
    native = dtype.newbyteorder("=")
    out = np.full(state[0].shape[:-1], native.type(empty), native)
    count = state[1] if counted else None
    _divide(state[0], count, window, out, partial(_limbs, width=width))
    return out.astype(dtype, copy=False)


def _limbs(total: Array, count: Array, out: Array, width: int) -> None:
    kernels.means.divide_limbs(total, width, count, out)


#: float64 samples are summed twice, as they are and scaled down by this, so that neither the
#: largest finite values overflow nor the smallest are lost.
_SCALE = 2.0**-64


def _float_mean(dtype: np.dtype[Any], skipna: bool, ignore: float | None) -> Reducer:
    return Reducer(
        "mean", dtype,
        chunk=partial(_sum_floats, skipna=skipna, ignore=ignore),
        combine=_add,
        finalise=partial(_divide_floats, dtype=dtype, counted=skipna or ignore is not None),
    )  # fmt: skip


def _sum_floats(block: Array, factors: Factors, skipna: bool, ignore: float | None) -> State:
    """State: sums, for float64 also scaled sums, and counts where samples may not count."""
    values = block.astype(np.float32) if block.dtype.itemsize == 2 else block
    double = np.dtype(np.float64)
    total = sum_windows(values, factors, double)
    counts: State = ()
    if skipna or ignore is not None:
        # A sum without NaN had no NaN to skip, and most blocks have none.
        clean = ignore is None and not np.isnan(total).any()
        if clean:
            counts = (Window(block.shape, tuple(factors)).counts(),)
        else:
            valid = ~np.isnan(values) if skipna else np.ones(values.shape, bool)
            if ignore is not None:
                valid &= values != values.dtype.type(ignore)
            values = np.where(valid, values, values.dtype.type(0))
            total = sum_windows(values, factors, double)
            counts = (_count(valid, factors),)
    if block.dtype.itemsize < 8:
        return (total, *counts)
    return (total, sum_windows(values * _SCALE, factors, double), *counts)


def _divide_floats(state: State, window: Window, dtype: np.dtype[Any], counted: bool) -> Array:
    count = state[-1] if counted else window.counts()
    with np.errstate(all="ignore"):  # 0 / 0 is the NaN that is wanted
        mean = state[0] / count
        if dtype.itemsize == 8:
            overflowed = ~np.isfinite(state[0]) & np.isfinite(state[1]) & (count > 0)
            large = np.finfo(np.float64).max
            scaled = np.clip(state[1] / count, -large * _SCALE, large * _SCALE) / _SCALE
            mean = np.where(overflowed, scaled, mean)
        return np.asarray(mean.astype(dtype))
