"""Mode: the most frequent label, by counts of labels that are carried from level to level."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xpyramid.errors import DtypeError
from xpyramid.geometry.tiles import times
from xpyramid.kernels import choice as kernels
from xpyramid.kernels.arrays import Array
from xpyramid.messages import say
from xpyramid.reducers.record import (
    Factors,
    Part,
    Reducer,
    Request,
    State,
    Steps,
    Window,
)
from xpyramid.reducers.registry import register
from xpyramid.reducers.windows import (
    AxisPass,
    aligned_empty,
    as_native,
    axis_passes,
    cells_of,
    padded_aligned_empty,
    single_pass,
)
from xpyramid.types import DType

#: What a thread keeps to work in, up to so many bytes for a use.
_scratch = threading.local()
_LARGEST_SCRATCH = 2**24

#: Labels of windows up to so many samples are counted at once, those of larger ones step by step.
_LARGEST_WINDOW = 128


#: How many lists of all samples there are at a time, where each sample has a label of its own: as
#: they are counted, kept, merged, and kept again.
_LISTS = 4


@dataclass(frozen=True)
class _Mode:
    """Exact label counts of every cell.

    A state is ``(ends, labels, counts)``: the lists of all cells one after the other. It holds at
    most one label and one count for each sample of level 0, in noise, and one of each for a cell in
    the usual case of a window within one object.
    """

    request: Request

    def direct(self, block: Array, steps: Steps, out: Array) -> State | None:
        only = single_pass(block.shape, steps[0])
        second = times(steps[0], steps[1]) if len(steps) > 1 else steps[0]
        if only is None or (len(steps) > 1 and math.prod(second) > _LARGEST_WINDOW):
            return None
        shape, step, reduced = only
        src = as_native(block)
        if max(step) <= 2:
            pairs = True if step[2] == 2 else None  # with False, both ways would be compiled
            ignored = self.request.ignore_as(src.dtype) if self.request.has_ignore else None
            kernels.twos.window_mode(
                src.reshape(-1), shape, *step[:2], pairs, ignored, _rows(shape[3], src.dtype),
                out.reshape(-1), reduced,
            )  # fmt: skip
        else:
            window_size = math.prod(step)
            labels: Array = np.empty(window_size, src.dtype)
            counts: Array = np.empty(window_size, self.number)
            self._count(src, only, labels, counts, None, out.reshape(reduced))
        return () if len(steps) == 1 else self.chunk(src, second)

    @property
    def number(self) -> type:
        """Dtype of counts."""
        return np.int32 if self.request.samples < 2**31 else np.int64

    def chunk(self, block: Array, factors: Factors) -> State:
        first, *_ = axis_passes(block.shape, factors)
        src = as_native(block)
        labels = _thread_scratch("labels", src.size, src.dtype)
        counts = _thread_scratch("counts", src.size, np.dtype(self.number))
        ends: Array = np.empty(first[2], _positions(src.size))
        self._count(src, first, labels, counts, ends, None)
        return self._merged((ends, *_used(ends, labels, counts)), block.shape, factors, done=1)

    def _count(
        self, src: Array, only: AxisPass, labels: Array, counts: Array,
        ends: Array | None, out: Array | None,
    ) -> None:  # fmt: skip
        """Fill the lists of all cells, or ``out`` with the winners."""
        shape, step, reduced = only
        row, mixed = aligned_empty(shape[3], src.dtype), aligned_empty(reduced[3], src.dtype)
        offsets: Array = np.empty(math.prod(step), np.uint64)
        wide = np.promote_types(src.dtype, np.dtype(f"{src.dtype.kind}4"))
        kernels.labels.count_labels(
            src.reshape(shape), src.reshape(-1), *step, self.request.has_ignore,
            self.request.ignore_as(src.dtype), row, mixed, offsets,
            aligned_empty(offsets.size, wide), aligned_empty(offsets.size, self.number),
            labels, counts, reduced, ends, out,
        )  # fmt: skip

    def combine(self, state: State, factors: Factors) -> State:
        return self._merged(state, state[0].shape, factors, done=0)

    def _merged(self, state: State, shape: tuple[int, ...], factors: Factors, done: int) -> State:
        ends, labels, counts = state
        for before, step, reduced in list(axis_passes(shape, factors))[done:]:
            src = (ends.reshape(before), labels, counts)
            labels, counts = np.empty_like(labels), np.empty_like(counts)
            ends = np.empty(reduced, ends.dtype)
            heads, stops = np.empty((2, math.prod(step)), np.int64)
            kernels.labels.merge_labels(*src, *step, heads, stops, labels, counts, ends)
            labels, counts = _used(ends, labels, counts)
        return (ends.reshape(cells_of(shape, factors)), labels, counts)

    def assemble(self, parts: Sequence[Part], cells: tuple[int, ...]) -> State:
        """Put the lists of all parts in the order of the cells that they make up."""
        if len(parts) == 1:
            return parts[0].state
        lengths: Array = np.empty(cells, np.int32)
        for part in parts:
            ends = part.state[0]
            lengths[part.where] = np.diff(ends.reshape(-1), prepend=0).reshape(ends.shape)
        number = int(lengths.sum())
        ends = np.cumsum(lengths.reshape(-1), dtype=_positions(number)).reshape(cells)
        starts: Array = ends - lengths
        labels: Array = np.empty(number, parts[0].state[1].dtype)
        counts: Array = np.empty(number, self.number)
        for part in parts:
            at = np.ascontiguousarray(starts[part.where]).reshape(-1)
            part_ends, *lists = part.state
            kernels.labels.move_lists(part_ends.reshape(-1), *lists, at, labels, counts)
        return (ends, labels, counts)

    def finalise(self, state: State, window: Window) -> Array:
        ends, labels, counts = state
        none, out = self.request.ignore_as(labels.dtype), np.empty(window.cells, labels.dtype)
        kernels.labels.most_frequent(ends.reshape(-1), labels, counts, none, out.reshape(-1))
        return out.astype(self.request.dtype, copy=False)


def _rows(size: int, dtype: DType) -> Array:
    """Return a buffer for three rows of so many samples, in whole vectors."""
    length = padded_aligned_empty(size, dtype).size
    return aligned_empty(3 * length, dtype).reshape(3, length)


def _thread_scratch(use: str, size: int, dtype: DType) -> Array:
    """Return an array for a use, to a thread the same one each time if it is not too large.

    To be given new memory takes longer than to count labels in it.
    """
    if size * dtype.itemsize > _LARGEST_SCRATCH:
        return np.empty(size, dtype)
    name = f"{use} {dtype.str}"
    scratch: Array | None = getattr(_scratch, name, None)
    if scratch is None or scratch.size < size:
        scratch = np.empty(size, dtype)
        setattr(_scratch, name, scratch)
    return scratch


def _positions(size: int) -> type:
    """Return the dtype of positions in lists of so many entries."""
    return np.int32 if size < 2**31 else np.int64


def _used(ends: Array, labels: Array, counts: Array) -> tuple[Array, Array]:
    """Let go of the room that no list needed."""
    used = int(ends.flat[-1]) if ends.size else 0
    return labels[:used].copy(), counts[:used].copy()


@register("mode")
def mode(request: Request) -> Reducer:
    """Return the record of the mode.

    Of the samples of level 0, at every level; the lowest label wins a tie. A cell without a label
    that counts is ``ignore``.
    """
    if request.dtype.kind not in "biu":
        raise DtypeError(
            f"mode of dtype {request.dtype}",
            accepted="bool, integers, datetimes",
            fix=say(
                "for labels that are floats call `.astype('int32')`, and "
                "`.fillna(...)` before it where some are NaN, or open the file with "
                "mask_and_scale=False"
            ),
        )
    request.check_ignore()
    rule = _Mode(request)
    entry = request.dtype.itemsize + np.dtype(rule.number).itemsize
    return Reducer(
        "mode", request.dtype, rule.chunk, rule.combine, rule.finalise, rule.direct, rule.assemble,
        copies=2 + -(-_LISTS * entry // request.dtype.itemsize),
    )  # fmt: skip
