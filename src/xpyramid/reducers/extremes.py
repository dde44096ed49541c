"""Minimum and maximum: they nest, so the state is the values themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from xpyramid.errors import DtypeError
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import Factors, Reducer, Request, State, Window
from xpyramid.reducers.registry import register
from xpyramid.reducers.windows import at_least_float32, extreme_windows


@dataclass(frozen=True)
class _Extreme:
    """Cells without a sample that counts hold what does not count.

    That is the ignored value, if there is one, though there may be NaN beside it.
    """

    largest: bool
    request: Request

    def chunk(self, block: Array, factors: Factors) -> State:
        values = at_least_float32(block)
        return (extreme_windows(values, factors, self.largest, self.request),)

    def combine(self, state: State, factors: Factors) -> State:
        return (extreme_windows(state[0], factors, self.largest, self.request),)

    def finalise(self, state: State, window: Window) -> Array:  # noqa: ARG002
        values = state[0]
        if self.request.has_ignore and self.request.skipna and values.dtype.kind == "f":
            values = np.where(np.isnan(values), self.request.ignore_as(values.dtype), values)
        return values.astype(self.request.dtype)


def _extreme(name: str, largest: bool, request: Request) -> Reducer:
    dtype = request.dtype
    if dtype.kind not in "biuf":
        raise DtypeError(f"{name} of dtype {dtype}", accepted="bool, integers, floats, datetimes")
    request.check_ignore()
    extreme = _Extreme(largest, request)
    return Reducer(name, dtype, extreme.chunk, extreme.combine, extreme.finalise)


register("min")(partial(_extreme, "min", False))
register("max")(partial(_extreme, "max", True))
