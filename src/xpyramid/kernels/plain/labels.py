"""Votes for the most frequent label, in windows of any size, in NumPy; see `kernels.labels`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from xpyramid.kernels.arrays import Array, Scalar, Shape
from xpyramid.kernels.plain.extremes import window_extreme
from xpyramid.kernels.plain.sums import window_sizes

#: Of entries of lists: the numbers of their cells, labels, and how often these occur.
Entries = tuple[Array, Array, Array]


def windows_of(src: Array, factors: tuple[int, ...], mixed: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the numbers of those cells that are mixed, and their samples as (cells, samples).

    The cells whose windows are whole come together; those cut off at an end by side, edge, corner.
    """
    numbers = np.arange(mixed.size).reshape(mixed.shape)
    sides = []
    for n, f in zip(src.shape[1:], factors, strict=True):
        whole, rest = divmod(n, f)
        sides.append([(0, whole, f), (whole, whole + 1, rest)] if rest else [(0, whole, f)])
    for parts in product(*sides):
        cells = (slice(None), *(slice(start, stop) for start, stop, _ in parts))
        if not mixed[cells].any():
            continue
        spans = zip(parts, factors, strict=True)
        samples = src[(slice(None), *(slice(a * f, a * f + (b - a) * n) for (a, b, n), f in spans))]
        shape = [len(src)]
        for start, stop, n in parts:
            shape += [stop - start, n]
        split = samples.reshape(shape).transpose(0, 1, 3, 5, 2, 4, 6)[mixed[cells]]
        yield numbers[cells][mixed[cells]], split.reshape(len(split), -1)


def runs(numbers: Array, windows: Array) -> Entries:
    """Return the entries of the cells of some windows."""
    ordered = np.sort(windows, axis=1)
    begins = np.ones(ordered.shape, bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(begins)
    cells = numbers[starts // windows.shape[1]]
    return cells, ordered[begins], np.diff(starts, append=ordered.size)


def count_labels(
    src: Array, flat: Array, fz: int, fy: int, fx: int, skip: bool, ignored: Scalar,
    row: Array, mixed: Array, offsets: Array, entries: Array, votes: Array,
    labels: Array, counts: Array, cells: Shape, ends: Array | None, out: Array | None,
) -> None:  # fmt: skip
    """Fill the lists of all cells from samples, or ``out`` with the winners."""
    low, high = np.empty(cells, src.dtype), np.empty(cells, src.dtype)
    window_extreme(src, fz, fy, fx, None, None, None, row, low)
    window_extreme(src, fz, fy, fx, True, None, None, row, high)
    several = low != high
    sizes = np.broadcast_to(window_sizes(src.shape[1:], (fz, fy, fx)), cells)
    lists = [(np.flatnonzero(~several), low[~several], sizes[~several])]
    lists += [runs(*found) for found in windows_of(src, (fz, fy, fx), several)]
    numbers, found, votes_of = (np.concatenate(each) for each in zip(*lists, strict=True))
    if skip:
        valid = found != ignored
        numbers, found, votes_of = numbers[valid], found[valid], votes_of[valid]
    order = np.argsort(numbers, kind="stable")  # in each list, labels are in order already
    stops = np.cumsum(np.bincount(numbers, minlength=low.size))
    if ends is not None:
        labels[: order.size], counts[: order.size] = found[order], votes_of[order]
        ends[...] = stops.reshape(cells)
    if out is not None:
        most_frequent(stops, found[order], votes_of[order], ignored, out.reshape(-1))


def merge_labels(
    src_ends: Array, src_labels: Array, src_counts: Array, fz: int, fy: int, fx: int,
    heads: Array, stops: Array, labels: Array, counts: Array, ends: Array,
) -> None:  # fmt: skip
    """Fill the lists of all cells from the lists under them."""
    numbers: Array = np.zeros((), np.int64)
    for n, cells, f in zip(src_ends.shape, ends.shape, (1, fz, fy, fx), strict=True):
        numbers = numbers[..., None] * cells + np.arange(n) // f
    numbers = np.repeat(numbers.reshape(-1), np.diff(src_ends.reshape(-1), prepend=0))
    order = np.lexsort((src_labels[: numbers.size], numbers))
    numbers, found = numbers[order], src_labels[order]
    begins = np.ones(order.size, bool)
    begins[1:] = (numbers[1:] != numbers[:-1]) | (found[1:] != found[:-1])
    starts = np.flatnonzero(begins)
    labels[: starts.size] = found[starts]
    if starts.size:
        counts[: starts.size] = np.add.reduceat(src_counts[order], starts)
    ends[...] = np.cumsum(np.bincount(numbers[starts], minlength=ends.size)).reshape(ends.shape)


def move_lists(
    ends: Array, labels: Array, counts: Array, starts: Array, out_labels: Array, out_counts: Array
) -> None:
    """Copy the list of each cell to where it starts in a larger state."""
    lengths = np.diff(ends, prepend=0)
    size = int(lengths.sum())
    at = np.repeat(starts - (ends - lengths), lengths) + np.arange(size)
    out_labels[at], out_counts[at] = labels[:size], counts[:size]


def most_frequent(ends: Array, labels: Array, counts: Array, none: Scalar, out: Array) -> None:
    """Fill ``out`` with each list's most frequent label, the lowest on ties; empty: ``none``."""
    lengths = np.diff(ends, prepend=0)
    some = lengths > 0
    out[~some] = none
    starts = (ends - lengths)[some]
    if not starts.size:
        return
    counts = counts[: int(lengths.sum())]
    most = np.maximum.reduceat(counts, starts)
    winners = np.flatnonzero(counts == np.repeat(most, lengths[some]))
    out[some] = labels[winners[np.searchsorted(winners, starts)]]
