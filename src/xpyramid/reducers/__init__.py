"""Reduction methods, each a record; see :mod:`xpyramid.reducers.record`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xpyramid.errors import PlanError
from xpyramid.reducers.mean import mean
from xpyramid.reducers.record import Array, Reducer, Window

__all__ = ["METHODS", "Reducer", "make_reducer", "reduce_block"]

#: By name, what makes the record for (dtype, samples in the largest window, skipna, ignore).
METHODS: Mapping[str, Callable[[np.dtype[Any], int, bool | None, float | None], Reducer]] = {
    "mean": mean
}


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
