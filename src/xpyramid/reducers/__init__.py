"""Reduction methods, each a record; see :mod:`xpyramid.reducers.record`."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from itertools import accumulate
from typing import Any

import numpy as np

from xpyramid.errors import DtypeError, PlanError
from xpyramid.reducers import adapt, whole
from xpyramid.reducers.record import (
    Array,
    Factors,
    Part,
    Reducer,
    Request,
    State,
    Steps,
    Window,
    place,
    times,
)
from xpyramid.reducers.registry import METHODS
from xpyramid.reducers.whole import method_name
from xpyramid.reducers.windows import fillable

__all__ = [
    "METHODS",
    "Array",
    "Factors",
    "Method",
    "Part",
    "Reducer",
    "State",
    "Window",
    "at_once",
    "copier",
    "make_reducer",
    "method_name",
    "place",
    "reduce_block",
    "reduce_levels",
]

Method = str | Callable[..., Any]

#: Bytes of samples that are reduced at a time, so that what is carried stays in a cache.
_SLAB = 2**24

# A method makes itself known when its module is imported: a new one is a new file here, no more.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def make_reducer(
    method: Method,
    dtype: np.dtype[Any],
    samples: int,
    *,
    skipna: bool | None = None,
    ignore: float | None = None,
    min_valid: float | None = None,
) -> Reducer:
    """Return the record of a method.

    Parameters
    ----------
    method : str or callable
        A key of `METHODS`, or a reduction of one's own; see :func:`xpyramid.reducers.whole.user`.
    dtype : numpy.dtype
        Of the array to reduce.
    samples : int
        Number of samples of level 0 in the largest window; decides how wide sums must be.
    skipna, ignore, min_valid
        As in :meth:`xpyramid.accessor.ArrayAccessor.build`.

    Raises
    ------
    PlanError
        For an unknown method, or options that do not apply to it.
    DtypeError
        For a dtype that the method cannot reduce.
    """
    request = Request(np.dtype(dtype), samples, skipna, ignore)
    if request.dtype.kind not in "biufcmM" or request.dtype.char in "gG":
        raise DtypeError(
            f"{method_name(method)} of dtype {dtype}; accepted: bool, integers, floats, complex, "
            "datetime64, timedelta64"
        )
    if callable(method):
        if min_valid is not None:
            raise PlanError(f"{method_name(method)!r} gets all samples; min_valid does not apply")
        reducer = whole.user(method, request)
    elif method in METHODS:
        make = METHODS[method]
        adapter = {"m": adapt.ticks, "M": adapt.ticks, "c": adapt.pairs}.get(request.dtype.kind)
        direct = adapter is None or method == "nearest"
        reducer = make(request) if direct or adapter is None else adapter(make, request)
    else:
        raise PlanError(f"method={method!r}; accepted: {', '.join(sorted(METHODS))}, or a callable")
    return reducer if min_valid is None else adapt.with_min_valid(reducer, request, min_valid)


def copier(dtype: np.dtype[Any]) -> Reducer:
    """Return a record for levels that are there already: it is never asked to reduce."""
    return make_reducer("nearest", dtype, 1)


def at_once(reducer: Reducer) -> Reducer:
    """Return a record that goes from samples to values in one step, its state being the values."""

    def chunk(block: Array, factors: Factors) -> State:
        return (reducer.finalise(reducer.chunk(block, factors), Window(block.shape, factors)),)

    def finalise(state: State, window: Window) -> Array:  # noqa: ARG001
        return state[0]

    return replace(reducer, chunk=chunk, finalise=finalise, whole=False)


def reduce_levels(block: Array, steps: Steps, reducer: Reducer) -> list[Array]:
    """Reduce a block of level 0 to each of the levels 1 to ``len(steps)``, in one go.

    Parameters
    ----------
    block : ndarray
        Samples; starts at a window's edge. Never modified.
    steps : sequence of tuple of int
        Factors of each step.
    reducer : Reducer

    Returns
    -------
    list of ndarray
        ``ceil(n / F)`` cells along each dimension, in the dtype (and byte order) of the reducer.
    """
    axis, length = _slab(block, steps)
    if len(steps) == 1 or 2 * length >= block.shape[axis]:  # to cut takes longer than it gains
        return [level.astype(reducer.dtype, copy=False) for level in _reduce(block, steps, reducer)]
    factors = list(accumulate(steps, times))
    cells = [Window(block.shape, total).cells for total in factors]
    levels: list[Array] = [np.empty(shape, fillable(reducer.dtype)) for shape in cells]
    before = (slice(None),) * axis
    for start in range(0, block.shape[axis], length):
        stop = start + length
        parts = [
            level[(*before, slice(start // total[axis], -(-stop // total[axis])))]
            for level, total in zip(levels, factors, strict=True)
        ]
        made = _reduce(block[(*before, slice(start, stop))], steps, reducer, parts[0])
        for part, values in zip(parts, made, strict=True):
            if part is not values:
                part[...] = values
    return [level.astype(reducer.dtype, copy=False) for level in levels]


def _slab(block: Array, steps: Steps) -> tuple[int, int]:
    """Return along which axis a block is cut, and into which length.

    That is the first axis with several windows, along which slabs are in one piece.
    """
    factors = reduce(times, steps, (1,) * block.ndim)
    several = (n > f for n, f in zip(block.shape, factors, strict=True))
    axis = next((i for i, cut in enumerate(several) if cut), 0)
    rows = max(1, block.shape[axis])
    window = block.nbytes // rows * factors[axis]
    return axis, max(1, _SLAB // max(1, window)) * factors[axis]


def _reduce(block: Array, steps: Steps, reducer: Reducer, out: Array | None = None) -> list[Array]:
    """Reduce a block; ``out`` is filled with level 1 and returned, or has nothing of use."""
    state: State | None = None
    several, window = len(steps) > 1, Window(block.shape, steps[0])
    if reducer.direct is not None:
        out = np.empty(window.cells, fillable(reducer.dtype)) if out is None else out
        state = reducer.direct(block, steps[0], out, several)
    if state is None or out is None:
        state = reducer.chunk(block, steps[0])
        out = reducer.finalise(state, window)
    levels, factors = [out], steps[0]
    for step in steps[1:]:
        state, factors = reducer.combine(state, step), times(factors, step)
        levels.append(reducer.finalise(state, Window(block.shape, factors)))
    return levels


def reduce_block(block: Array, steps: Steps, reducer: Reducer) -> Array:
    """Reduce a block of level 0 to level ``len(steps)``; see `reduce_levels`."""
    if len(steps) == 1:
        return reduce_levels(block, steps, reducer)[0]
    state = reducer.chunk(block, steps[0])
    for step in steps[1:]:
        state = reducer.combine(state, step)
    total = tuple(math.prod(fs) for fs in zip(*steps, strict=True))
    return reducer.finalise(state, Window(block.shape, total))
