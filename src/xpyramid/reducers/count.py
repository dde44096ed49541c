"""Count: how many samples of a window count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xpyramid.errors import DtypeError
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import Factors, Reducer, Request, State, Window
from xpyramid.reducers.registry import register
from xpyramid.reducers.windows import add, sum_windows
from xpyramid.types import DType


def valid_samples(block: Array, request: Request) -> Array:
    """Return which samples count."""
    valid: Array = np.ones(block.shape, bool)
    if request.skipna and block.dtype.kind in "fcmM":
        valid = ~np.isnat(block) if block.dtype.kind in "mM" else ~np.isnan(block)
    if request.has_ignore:
        valid &= block != block.dtype.type(request.ignore)
    return valid


@dataclass(frozen=True)
class _Count:
    """A state is the counts."""

    request: Request
    dtype: DType

    @property
    def is_all(self) -> bool:
        """Whether every sample counts, whatever it is."""
        is_number = self.request.dtype.kind in "biu" or not self.request.skipna
        return is_number and not self.request.has_ignore

    def base(self, block: Array) -> Array:
        if self.is_all:  # takes no memory
            return np.broadcast_to(self.dtype.type(1), block.shape)
        return valid_samples(block, self.request).astype(self.dtype)

    def chunk(self, block: Array, factors: Factors) -> State:
        if self.is_all:
            return (Window(block.shape, factors).counts(),)
        return (sum_windows(valid_samples(block, self.request), factors, np.int64),)

    def finalise(self, state: State, window: Window) -> Array:  # noqa: ARG002
        return state[0].astype(self.dtype)


@register("count")
def count(request: Request) -> Reducer:
    """Return the record of the number of samples that count.

    The result has the smallest unsigned dtype that holds the largest window. Level 0 of its image
    is 1 where a sample counts, and else 0.
    """
    if request.has_ignore and request.dtype.kind in "cmM":
        raise DtypeError(
            f"with dtype {request.dtype}", option="ignore", value=request.ignore, fix="use NaN"
        )
    request.check_ignore()
    rule = _Count(request, np.min_scalar_type(request.samples))
    return Reducer("count", rule.dtype, rule.chunk, add, rule.finalise, base=rule.base, copies=3)


def recount(dtype: DType) -> Reducer:
    """Return the record of counts that are made of level 0 of their own image: they are its sums.

    Parameters
    ----------
    dtype : numpy.dtype
        Of that image.
    """

    def chunk(block: Array, factors: Factors) -> State:
        return (sum_windows(block, factors, np.int64),)

    def finalise(state: State, window: Window) -> Array:  # noqa: ARG001
        return state[0].astype(dtype)

    return Reducer("count", dtype, chunk, add, finalise)
