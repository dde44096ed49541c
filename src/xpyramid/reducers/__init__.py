"""Reduction methods, and how a block of samples is reduced to several levels by one.

A method is a record of functions, see :mod:`xpyramid.reducers.record`; `make_reducer` makes that of
a method for a dtype and a largest window. `reduce_levels` goes from samples to the state of level
1, from there to that of level 2, and so on, and from each state to the values of its level. Where
the method has a way straight to the values of level 1 (`Reducer.direct`), that comes first.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from functools import reduce
from itertools import accumulate

import numpy as np

from xpyramid.errors import DtypeError, PlanError
from xpyramid.geometry.tiles import times
from xpyramid.kernels.arrays import Array
from xpyramid.options.types import Method
from xpyramid.reducers import adapt, holistic
from xpyramid.reducers.count import recount
from xpyramid.reducers.holistic import method_name
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
from xpyramid.reducers.registry import METHODS
from xpyramid.reducers.several import SETS, named_methods
from xpyramid.reducers.windows import fillable
from xpyramid.types import DType

__all__ = [
    "METHODS",
    "SETS",
    "Array",
    "Factors",
    "Method",
    "Part",
    "Reducer",
    "State",
    "Window",
    "assemble_arrays",
    "make_reducer",
    "method_name",
    "named_methods",
    "passthrough",
    "recount",
    "reduce_block",
    "reduce_levels",
    "reduce_levels_with_state",
    "suggest_method",
]

#: Bytes of samples that are reduced at a time, so that what is carried stays in a cache.
_SLAB = 2**24

#: From our methods to what they are called elsewhere, in small letters and digits alone.
_OTHER_WORDS = {
    "mean": "average avg averaging box area linear bilinear gaussian",
    "mode": "majority mostcommon mostfrequent modal countless vote",
    "nearest": "nearestneighbour nearestneighbor neighbour neighbor subsample subsampling stride "
    "striding decimate decimation first",
    "min": "minimum minimal lowest smallest",
    "max": "maximum maximal highest largest",
    "sum": "total add",
    "median": "medianlower middle",
    "std": "stddev stdev standarddeviation deviation sigma",
    "count": "number n counts valid",
}
_OUR_WORDS = {theirs: ours for ours, words in _OTHER_WORDS.items() for theirs in words.split()}

# A method makes itself known when its module is imported: a new one is a new file here, no more.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def make_reducer(
    method: Method,
    dtype: DType,
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
        A key of `METHODS`, or a user-supplied function; see
        :func:`xpyramid.reducers.holistic.user`.
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
            f"{method_name(method)} of dtype {dtype}",
            accepted="bool, integers, floats, complex, datetime64, timedelta64",
        )
    named: object = method
    if callable(method):
        if min_valid is not None:
            raise PlanError(
                f"{method_name(method)!r} gets all samples", fix="min_valid does not apply"
            )
        reducer = holistic.user(method, request)
    elif isinstance(named, str) and named in METHODS:
        make = METHODS[method]
        adapter = {"m": adapt.ticks, "M": adapt.ticks, "c": adapt.pairs}.get(request.dtype.kind)
        direct = adapter is None or method in ("nearest", "count", "std")
        reducer = make(request) if direct or adapter is None else adapter(make, request)
    else:
        hint = suggest_method(named) if isinstance(named, str) else ""
        raise PlanError(
            option="method",
            value=method,
            accepted=f"{', '.join(sorted(METHODS))}, or a callable{hint}",
        )
    if min_valid is None or method == "count":  # which says how many samples there are
        return reducer
    return adapt.with_min_valid(reducer, request, min_valid)


def suggest_method(method: str) -> str:
    """Return which method is meant by another word, as the end of a message.

    Examples
    --------
    >>> suggest_method("average"), suggest_method("fourier")
    ("; did you mean 'mean'?", '')
    """
    word = re.sub(r"[\W_]", "", method.lower())
    matches = difflib.get_close_matches(word, METHODS, 1, 0.7)
    meant = _OUR_WORDS.get(word, matches[0] if matches else None)
    return f"; did you mean {meant!r}?" if meant in METHODS else ""


def passthrough(dtype: DType) -> Reducer:
    """Return a record for levels that are there already: it is never asked to reduce."""
    return make_reducer("nearest", dtype, 1)


def reduce_levels_with_state(
    block: Array, steps: Steps, reducer: Reducer, *, keep: bool = False
) -> tuple[list[Array], State | None]:
    """Return what `reduce_levels` does, and the state of the last level.

    For blocks that are small enough to be reduced as a whole. Without ``keep`` there is no state:
    it is None.
    """
    fused = None if keep and len(steps) == 1 else _fused(block, steps, reducer)
    if fused is None:
        levels, state = _stepwise(block, steps, reducer)
    else:
        levels, state = _finish_levels(*fused, block.shape, steps, reducer)
    return levels, state if keep else None


def _fused(block: Array, steps: Steps, reducer: Reducer) -> tuple[list[Array], State] | None:
    """Return level 1 and the state of level 2, if the reducer can make them in one go."""
    if reducer.direct is None:
        return None
    out: Array = np.empty(Window(block.shape, steps[0]).cells, fillable(reducer.dtype))
    state = reducer.direct(block, steps, out)
    return None if state is None else ([out.astype(reducer.dtype, copy=False)], state)


def _stepwise(block: Array, steps: Steps, reducer: Reducer) -> tuple[list[Array], State]:
    """Do what `reduce_levels_with_state` does, by way of the state of level 1."""
    return _finish_levels([], reducer.chunk(block, steps[0]), block.shape, steps, reducer)


def _finish_levels(
    levels: list[Array], state: State, shape: tuple[int, ...], steps: Steps, reducer: Reducer
) -> tuple[list[Array], State]:
    """Add the values of the other levels to the first ones; the state is of the next one."""
    start = len(levels)
    for k in range(start, len(steps)):
        if k > start:
            state = reducer.combine(state, steps[k])
        levels.append(reducer.finalise(state, Window(shape, reduce(times, steps[: k + 1]))))
    return levels, state


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
    fused = _fused(block, steps, reducer)
    if fused is not None:
        return _finish_levels(*fused, block.shape, steps, reducer)[0]
    axis, length = _slab(block, steps)
    if len(steps) == 1 or 2 * length >= block.shape[axis]:  # to cut takes longer than it gains
        return _stepwise(block, steps, reducer)[0]
    factors = list(accumulate(steps, times))
    levels = [np.empty(Window(block.shape, total).cells, reducer.dtype) for total in factors]
    before = (slice(None),) * axis
    for start in range(0, block.shape[axis], length):
        stop = start + length
        slab_levels, _ = _stepwise(block[(*before, slice(start, stop))], steps, reducer)
        for level, total, values in zip(levels, factors, slab_levels, strict=True):
            level[(*before, slice(start // total[axis], -(-stop // total[axis])))] = values
    return levels


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


def reduce_block(block: Array, steps: Steps, reducer: Reducer) -> Array:
    """Reduce a block of level 0 to level ``len(steps)``; see `reduce_levels`."""
    if reducer.holistic:  # what the levels between would cost is for nothing
        steps = [reduce(times, steps)]
    return reduce_levels(block, steps, reducer)[-1]
