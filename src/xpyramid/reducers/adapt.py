"""Dtypes that are pairs or ticks, and ``min_valid``: records made from other records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xpyramid.errors import DtypeError, PlanError
from xpyramid.kernels.arrays import Array
from xpyramid.messages import say
from xpyramid.reducers.record import (
    Factors,
    Part,
    Reducer,
    Request,
    State,
    Window,
    assemble_arrays,
)
from xpyramid.reducers.windows import sum_windows
from xpyramid.types import DType

Make = Callable[[Request], Reducer]

_NAT = np.iinfo(np.int64).min


@dataclass(frozen=True)
class _Ticks:
    """Datetimes and durations as int64, NaT being a value that does not count."""

    inner: Reducer
    dtype: DType

    def chunk(self, block: Array, factors: Factors) -> State:
        return self.inner.chunk(_ticks(block), factors)

    def finalise(self, state: State, window: Window) -> Array:
        values = self.inner.finalise(state, window).astype(np.int64, copy=False)
        return values.view(self.dtype.newbyteorder("=")).astype(self.dtype, copy=False)


def _ticks(block: Array) -> Array:
    native = np.ascontiguousarray(block, block.dtype.newbyteorder("="))
    return native.view(np.int64)


def ticks(make: Make, request: Request) -> Reducer:
    """Return the record of a method for datetime64 or timedelta64."""
    if request.has_ignore:
        raise DtypeError(
            f"with dtype {request.dtype}",
            option="ignore",
            value=request.ignore,
            fix="use NaT",
        )
    inner = make(Request(np.dtype(np.int64), request.samples, None, _NAT))
    if inner.name == "sum" and request.dtype.kind == "M":
        raise DtypeError(f"sum of dtype {request.dtype}", accepted="bool, numbers, durations")
    adapter = _Ticks(inner, request.dtype)
    reducer = replace(
        inner, dtype=request.dtype, chunk=adapter.chunk, finalise=adapter.finalise, direct=None
    )
    return reducer if request.skipna else with_min_valid(reducer, request, 1.0)


@dataclass(frozen=True)
class _Pairs:
    """Complex numbers as two floats; either being NaN makes the number not count."""

    inner: Reducer
    request: Request

    def chunk(self, block: Array, factors: Factors) -> State:
        real, imaginary = block.real, block.imag
        if self.request.skipna and (missing := np.isnan(block)).any():
            nan = real.dtype.type(np.nan)
            real, imaginary = np.where(missing, nan, real), np.where(missing, nan, imaginary)
        return (*self.inner.chunk(real, factors), *self.inner.chunk(imaginary, factors))

    def combine(self, state: State, factors: Factors) -> State:
        half = len(state) // 2
        return (
            *self.inner.combine(state[:half], factors),
            *self.inner.combine(state[half:], factors),
        )

    def assemble(self, parts: Sequence[Part], cells: tuple[int, ...]) -> State:
        half = len(parts[0].state) // 2
        real = [replace(part, state=part.state[:half]) for part in parts]
        imaginary = [replace(part, state=part.state[half:]) for part in parts]
        return (*self.inner.assemble(real, cells), *self.inner.assemble(imaginary, cells))

    def finalise(self, state: State, window: Window) -> Array:
        half = len(state) // 2
        out = np.empty(window.cells, self.request.dtype)
        out.real = self.inner.finalise(state[:half], window)
        out.imag = self.inner.finalise(state[half:], window)
        return out


def pairs(make: Make, request: Request) -> Reducer:
    """Return the record of a method for complex numbers."""
    if request.has_ignore:
        raise DtypeError(
            f"with dtype {request.dtype}",
            option="ignore",
            value=request.ignore,
            fix="use NaN",
        )
    part = np.dtype(f"f{request.dtype.itemsize // 2}").newbyteorder(request.dtype.byteorder)
    order = DtypeError(
        f"dtype {request.dtype}: complex numbers have a mean and a sum, but no order"
    )
    try:
        inner = make(replace(request, dtype=part))
    except DtypeError:
        raise order from None
    if inner.name not in ("mean", "sum"):
        raise order
    adapter = _Pairs(inner, request)
    return Reducer(
        inner.name, request.dtype, adapter.chunk, adapter.combine, adapter.finalise,
        assemble=adapter.assemble,
    )  # fmt: skip


@dataclass(frozen=True)
class _MinValid:
    """A state that begins with the number of samples that count."""

    inner: Reducer
    request: Request
    least: float

    def chunk(self, block: Array, factors: Factors) -> State:
        valid = np.ones(block.shape, bool)
        if block.dtype.kind in "fcmM":
            valid = ~np.isnat(block) if block.dtype.kind in "mM" else ~np.isnan(block)
        if self.request.has_ignore:
            valid &= block != block.dtype.type(self.request.ignore)
        return (sum_windows(valid, factors, np.int64), *self.inner.chunk(block, factors))

    def combine(self, state: State, factors: Factors) -> State:
        count = sum_windows(state[0], factors, np.int64)
        return (count, *self.inner.combine(state[1:], factors))

    def assemble(self, parts: Sequence[Part], cells: tuple[int, ...]) -> State:
        count = assemble_arrays([replace(part, state=part.state[:1]) for part in parts], cells)
        inner_parts = [replace(part, state=part.state[1:]) for part in parts]
        return (*count, *self.inner.assemble(inner_parts, cells))

    def finalise(self, state: State, window: Window) -> Array:
        values = self.inner.finalise(state[1:], window)
        values[state[0] / window.counts() < self.least] = self._empty()
        return values

    def _empty(self) -> object:
        if self.request.has_ignore and self.inner.base is None:
            return self.request.ignore_as(self.inner.dtype)
        if self.inner.dtype.kind in "mM":
            return np.array("NaT", self.inner.dtype)
        return complex(np.nan, np.nan) if self.inner.dtype.kind == "c" else np.nan


def with_min_valid(inner: Reducer, request: Request, min_valid: float) -> Reducer:
    """Return a record whose cells need a least fraction of samples that count."""
    if not 0 <= min_valid <= 1:
        raise PlanError(option="min_valid", value=min_valid, accepted="a fraction from 0 to 1")
    if inner.name == "nearest" or (request.dtype.kind in "biu" and not request.has_ignore):
        raise PlanError(
            say("with {method}", method=inner.name)
            + f" and dtype {request.dtype}: every sample counts",
            option="min_valid",
            value=min_valid,
            fix=say("say which does not with {ignore}"),
        )
    rule = _MinValid(inner, request, min_valid)
    return Reducer(
        inner.name, inner.dtype, rule.chunk, rule.combine, rule.finalise,
        assemble=rule.assemble, holistic=inner.holistic, copies=inner.copies, base=inner.base,
    )  # fmt: skip
