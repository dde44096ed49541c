"""Reductions that need all samples of a window at once: the median, and what users bring."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from xpyramid import kernels
from xpyramid.errors import DtypeError, PlanError
from xpyramid.kernels.arrays import Array
from xpyramid.reducers.record import Factors, Reducer, Request, State, Window
from xpyramid.reducers.registry import register
from xpyramid.types import DType

#: The largest window, in bytes, that is held in memory as a whole.
LARGEST_WINDOW = 2**28

#: How often samples are there: beside the usual, window by window, and put in order.
_COPIES = 5


def _keep(block: Array, factors: Factors) -> State:  # noqa: ARG001
    return (block,)


def _keep_state(state: State, factors: Factors) -> State:  # noqa: ARG001
    return state


def _check_size(name: str, request: Request) -> None:
    size = request.samples * request.dtype.itemsize
    if size > LARGEST_WINDOW:
        raise PlanError(
            f"needs whole windows of level 0 in memory, here {size} bytes",
            option="method",
            value=name,
            accepted=f"up to {LARGEST_WINDOW}",
            fix="build fewer levels",
        )


def windows_of(block: Array, window: Window) -> Iterator[tuple[tuple[slice, ...], Array]]:
    """Yield regions of cells, and their windows as an array (cells, samples)."""
    for region, shape in window.regions():
        samples = tuple(
            slice(part.start * f, part.start * f + (part.stop - part.start) * n)
            for part, f, n in zip(region, window.factors, shape, strict=True)
        )
        cells = [part.stop - part.start for part in region]
        split = block[samples].reshape([m for pair in zip(cells, shape, strict=True) for m in pair])
        order = [*range(0, 2 * len(cells), 2), *range(1, 2 * len(cells), 2)]
        yield region, split.transpose(order).reshape(math.prod(cells), math.prod(shape))


@dataclass(frozen=True)
class _Median:
    request: Request

    def finalise(self, state: State, window: Window) -> Array:
        block = state[0]
        out = np.empty(window.cells, block.dtype)
        for region, windows in windows_of(block, window):
            out[region] = self._lower_middle(windows).reshape(out[region].shape)
        return out

    def _lower_middle(self, windows: Array) -> Array:
        request, is_float = self.request, windows.dtype.kind == "f"
        missing = np.isnan(windows) if is_float else np.zeros(windows.shape, bool)
        if request.has_ignore:
            missing |= windows == windows.dtype.type(request.ignore)
        last = np.nan if is_float else self._highest()
        ordered = np.sort(np.where(missing, windows.dtype.type(last), windows), axis=1)
        valid = windows.shape[1] - missing.sum(1)
        middle = np.take_along_axis(ordered, np.maximum(valid - 1, 0)[:, None] // 2, axis=1)[:, 0]
        if request.has_ignore:
            middle = np.where(valid > 0, middle, windows.dtype.type(request.ignore))
        if is_float and not request.skipna:
            middle = np.where(np.isnan(windows).any(1), np.nan, middle)
        return middle

    def _highest(self) -> bool | int:
        dtype = self.request.dtype
        return True if dtype.kind == "b" else int(np.iinfo(dtype).max)


@register("median")
def median(request: Request) -> Reducer:
    """Return the record of the median: the lower middle of the samples of level 0."""
    if request.dtype.kind not in "biuf":
        raise DtypeError(
            f"median of dtype {request.dtype}", accepted="bool, integers, floats, datetimes"
        )
    request.check_ignore()
    _check_size("median", request)
    return Reducer(
        "median", request.dtype, _keep, _keep_state, _Median(request).finalise,
        holistic=True, copies=_COPIES,
    )  # fmt: skip


@dataclass(frozen=True)
class _Callable:
    function: Callable[..., object]
    dtype: DType

    @property
    def scalar(self) -> bool:
        """Whether it is compiled, for one window at a time."""
        return is_compiled(self.function)

    def finalise(self, state: State, window: Window) -> Array:
        out = np.empty(window.cells, self.dtype)
        for region, windows in windows_of(state[0], window):
            out[region] = self.reduce(windows).reshape(out[region].shape)
        return out

    def reduce(self, windows: Array) -> Array:
        """Apply the function to an array (cells, samples)."""
        native = np.ascontiguousarray(windows, windows.dtype.newbyteorder("="))
        try:
            if not self.scalar:
                return np.asarray(self.function(native, axis=-1))
            out = np.empty(len(native), self.dtype.newbyteorder("="))
            kernels.user.apply(self.function, native, out)
        except Exception as error:
            error.add_note(
                f"in method {method_name(self.function)!r}, given windows (cells, samples) of "
                f"shape {native.shape}; those at the ends of an array have fewer samples"
            )
            raise
        return out


def method_name(method: str | Callable[..., object]) -> str:
    """Return the name under which a method is recorded."""
    if isinstance(method, str):
        return method
    return str(getattr(method, "__name__", type(method).__name__))


def is_compiled(function: Callable[..., object]) -> bool:
    """Whether a function was compiled by numba (which need not be imported to know)."""
    return hasattr(function, "py_func") and hasattr(function, "nopython_signatures")


def user(function: Callable[..., object], request: Request) -> Reducer:
    """Return the record of a user's reduction.

    Parameters
    ----------
    function : callable
        A NumPy reduction, called as ``function(windows, axis=-1)``, or a function compiled by
        numba, called with the samples of one window and returning a number.
    request : Request
        Its ``skipna`` and ``ignore`` are the function's own affair, and refused.

    Raises
    ------
    PlanError
        If the function does not turn a window into a number; it is tried on one of ones.
    """
    name = method_name(function)
    if request.has_ignore or request.skipna_option is not None:
        raise PlanError(
            f"method {name!r} gets all samples", fix="skipna and ignore do not apply to it"
        )
    _check_size(name, request)
    probe = np.ones((1, request.samples), request.dtype.newbyteorder("="))
    try:
        if is_compiled(function):
            function(probe[0])  # compiles it for this dtype
            rule = _Callable(function, kernels.user.result_dtype(function, probe[0]))
        else:
            result = np.asarray(function(probe, axis=-1))
            rule = _Callable(function, result.dtype)
    except Exception as error:
        what = "a window" if is_compiled(function) else "windows with axis=-1"
        raise PlanError(
            f"method {name!r} fails for {what} of {request.samples} samples of dtype "
            f"{probe.dtype}: {error}"
        ) from error
    if not is_compiled(function) and result.shape != (1,):
        raise PlanError(
            f"method {name!r} does not reduce windows: of samples of shape {probe.shape}, it "
            f"returned the shape {result.shape}",
            accepted="a function with axis=, as np.median, that returns one value for each window",
        )
    return Reducer(
        name, rule.dtype, _keep, _keep_state, rule.finalise, holistic=True, copies=_COPIES
    )
