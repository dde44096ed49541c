"""Nearest: the first sample of each window, as it is."""

from __future__ import annotations

from xpyramid.errors import PlanError
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import Factors, Reducer, Request, State, Window
from xpyramid.reducers.registry import register


def _first(block: Array, factors: Factors) -> State:
    return (block[tuple(slice(None, None, f) for f in factors)].copy(),)


def _combine(state: State, factors: Factors) -> State:
    return _first(state[0], factors)


def _finalise(state: State, window: Window) -> Array:  # noqa: ARG001
    return state[0]


@register("nearest")
def nearest(request: Request) -> Reducer:
    """Return the record of the first sample; any dtype."""
    if request.has_ignore or request.skipna_option:
        raise PlanError(
            "takes each window's first sample as it is",
            option="method",
            value="nearest",
            fix="skipna and ignore do not apply: leave them out",
        )
    return Reducer("nearest", request.dtype, _first, _combine, _finalise)
