"""Reductions over windows of any rank, by kernels of a fixed one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from xpyramid import kernels
from xpyramid.reducers.record import Array, Factors, State


def sum_windows(values: Array, factors: Factors, dtype: DTypeLike) -> Array:
    """Return the sums over windows.

    The kernel takes three dimensions and a batch: the last three are reduced first, then the ones
    before them, with all that is already done as one long last dimension.

    Parameters
    ----------
    values : ndarray
        Any real dtype, byte order and memory order.
    factors : tuple of int
        One for each of the last dimensions; dimensions before those are not reduced.
    dtype : dtype
        Of the sums; the caller knows that they fit.
    """
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    src = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    todo = [1] * (max(3, src.ndim) - len(factors)) + list(factors)
    shape = (1,) * (3 - src.ndim) + src.shape
    cells = tuple(-(-n // f) for n, f in zip(shape, todo, strict=True))[-values.ndim :]
    while True:
        step, todo = todo[-3:], todo[:-3]
        reduced = tuple(-(-n // f) for n, f in zip(shape[-3:], step, strict=True))
        batch = math.prod(shape[:-3])
        out = np.empty((batch, *reduced), dtype)
        kernels.sums.window_sum(src.reshape(batch, *shape[-3:]), *step, out)
        if all(f == 1 for f in todo):
            return out.reshape(cells)
        src, shape, todo = out, (1, 1, *shape[:-3], math.prod(reduced)), [1, 1, *todo, 1]


def add(state: State, factors: Factors) -> State:
    """Combine a state of sums: add them up over windows."""
    return tuple(sum_windows(part, factors, part.dtype) for part in state)
