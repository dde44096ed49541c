"""Sum: in 64 bits for integers, in float64 for floats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xpyramid.errors import DtypeError
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import Factors, Reducer, Request, State, Window
from xpyramid.reducers.registry import register
from xpyramid.reducers.windows import (
    add,
    at_least_float32,
    sum_valid_windows,
    sum_windows,
    with_one_nan,
)


@dataclass(frozen=True)
class _Sum:
    """A state is the sums, and where samples may not count, the number that do."""

    request: Request
    dtype: np.dtype[np.generic]

    @property
    def counted(self) -> bool:
        """Whether the state holds counts."""
        return self.request.has_ignore or (self.request.dtype.kind == "f" and self.request.skipna)

    def chunk(self, block: Array, factors: Factors) -> State:
        values = at_least_float32(block)
        wide = np.float64 if self.dtype.kind == "f" else self.dtype
        if self.counted:
            return sum_valid_windows(values, factors, wide, self.request)
        return (sum_windows(values, factors, wide),)

    def finalise(self, state: State, window: Window) -> Array:  # noqa: ARG002
        values = state[0]
        if self.counted:
            empty = self.request.ignore_as(self.dtype) if self.request.has_ignore else np.nan
            values = np.where(state[1] > 0, values, empty)
        with np.errstate(over="ignore"):  # a sum beyond float16 or float32 is infinite
            return with_one_nan(values.astype(self.dtype))


@register("sum")
def total(request: Request) -> Reducer:
    """Return the record of the sum.

    The result of integers and bool is int64, or uint64 for unsigned ones, modulo 2**64, as in
    NumPy; floats keep their dtype. A cell without a sample that counts is the ignored value, or NaN
    where there is none.
    """
    kind = request.dtype.kind
    if kind not in "biuf":
        raise DtypeError(f"sum of dtype {request.dtype}", accepted="bool, numbers, durations")
    request.check_ignore()
    dtype = request.dtype if kind == "f" else np.dtype(np.uint64 if kind == "u" else np.int64)
    rule = _Sum(request, dtype)
    return Reducer("sum", dtype, rule.chunk, add, rule.finalise)
