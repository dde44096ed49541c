"""Votes for the most frequent label, in windows of any size, in NumPy; see `kernels.labels`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from xpyramid.kernels.arrays import Array, Scalar, Shape
from xpyramid.kernels.plain.extremes import window_extreme
from xpyramid.kernels.plain.sums import window_sizes

#: How many samples, or entries of lists, are looked at together: what that takes is much more.
_AT_ONCE = 2**14

Factors = tuple[int, int, int]
#: Of entries of lists: the numbers of their cells, labels, and how often these occur.
Entries = tuple[Array, Array, Array]


def windows_of(src: Array, factors: Factors, mixed: Array) -> Iterator[tuple[Array, Array]]:
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


def lists_of(src: Array, factors: Factors, cells: Shape, skip: bool, ignored: Scalar) -> Entries:
    """Return the lists of some cells: where they stop, their labels and counts."""
    low, high = np.empty(cells, src.dtype), np.empty(cells, src.dtype)
    window_extreme(src, *factors, None, None, None, low, low)
    window_extreme(src, *factors, True, None, None, high, high)
    several = low != high
    sizes = np.broadcast_to(window_sizes(src.shape[1:], factors), cells)
    lists = [(np.flatnonzero(~several), low[~several], sizes[~several])]
    lists += [runs(*window) for window in windows_of(src, factors, several)]
    numbers, labels, counts = (np.concatenate(each) for each in zip(*lists, strict=True))
    if skip:
        valid = labels != ignored
        numbers, labels, counts = numbers[valid], labels[valid], counts[valid]
    order = np.argsort(numbers, kind="stable")  # in each list, labels are in order already
    stops = np.cumsum(np.bincount(numbers, minlength=low.size))
    return stops, labels[order], counts[order]


def along_rows(shape: Shape, factors: Factors) -> tuple[Shape, Factors]:
    """Return a shape and factors of which the first one is not of a single plane of samples."""
    b, z, y, x = shape
    fz, fy, fx = factors
    return ((b, y, 1, x), (fy, 1, fx)) if z == 1 else ((b, z, y, x), (fz, fy, fx))


def pieces(shape: Shape, factor: int) -> Iterator[tuple[int, int, int]]:
    """Yield parts of a batch and planes of cells, whose samples are looked at together."""
    planes = max(1, _AT_ONCE // max(1, factor * shape[2] * shape[3]))
    for b in range(shape[0]):
        for z in range(0, -(-shape[1] // factor), planes):
            yield b, z, min(z + planes, -(-shape[1] // factor))


def count_labels(
    src: Array, flat: Array, fz: int, fy: int, fx: int, skip: bool, ignored: Scalar,
    row: Array, mixed: Array, offsets: Array, entries: Array, votes: Array,
    labels: Array, counts: Array, cells: Shape, ends: Array | None, out: Array | None,
) -> None:  # fmt: skip
    """Fill the lists of all cells from samples, or ``out`` with the winners."""
    shape, factors = along_rows(src.shape, (fz, fy, fx))
    many = src.reshape(shape)
    reduced, _ = along_rows(cells, factors) if src.shape[1] == 1 else (cells, None)
    end = 0
    for b, start, stop in pieces(shape, factors[0]):
        piece = many[b : b + 1, start * factors[0] : stop * factors[0]]
        own = (1, stop - start, *reduced[2:])
        stops, distinct, votes_of = lists_of(piece, factors, own, skip, ignored)
        if ends is not None:
            labels[end : end + distinct.size] = distinct
            counts[end : end + distinct.size] = votes_of
            ends.reshape(reduced)[b, start:stop] = (end + stops).reshape(own[1:])
            end += distinct.size
        if out is not None:
            winners = np.empty(stops.size, out.dtype)
            most_frequent(stops, distinct, votes_of, ignored, winners)
            out.reshape(reduced)[b, start:stop] = winners.reshape(own[1:])


def merged(
    lengths: Array, labels: Array, counts: Array, factors: Factors, cells: tuple[int, ...]
) -> Entries:
    """Return the lists of some cells from the lists under them: their lengths, labels, counts."""
    numbers: Array = np.zeros((), np.int64)
    for n, cell, f in zip(lengths.shape, cells, factors, strict=True):
        numbers = numbers[..., None] * cell + np.arange(n) // f
    numbers = np.repeat(numbers.reshape(-1), lengths.reshape(-1))
    order = np.lexsort((labels, numbers))
    numbers, merged_labels = numbers[order], labels[order]
    begins = np.ones(order.size, bool)
    begins[1:] = (numbers[1:] != numbers[:-1]) | (merged_labels[1:] != merged_labels[:-1])
    starts = np.flatnonzero(begins)
    votes = np.add.reduceat(counts[order], starts) if starts.size else counts[:0]
    size = int(np.prod(cells))
    return np.bincount(numbers[starts], minlength=size), merged_labels[starts], votes


def merge_labels(
    src_ends: Array, src_labels: Array, src_counts: Array, fz: int, fy: int, fx: int,
    heads: Array, stops: Array, labels: Array, counts: Array, ends: Array,
) -> None:  # fmt: skip
    """Fill the lists of all cells from the lists under them."""
    shape, factors = along_rows(src_ends.shape, (fz, fy, fx))
    reduced, _ = along_rows(ends.shape, factors) if src_ends.shape[1] == 1 else (ends.shape, None)
    lengths = np.diff(src_ends.reshape(-1), prepend=0).reshape(shape)
    first = end = 0
    for b, start, stop in pieces(shape, factors[0]):
        below = lengths[b, start * factors[0] : stop * factors[0]]
        last = first + int(below.sum())
        sizes, distinct, votes = merged(
            below, src_labels[first:last], src_counts[first:last], factors,
            (stop - start, *reduced[2:]),
        )  # fmt: skip
        labels[end : end + distinct.size], counts[end : end + distinct.size] = distinct, votes
        sizes = sizes.reshape(stop - start, *reduced[2:])
        ends.reshape(reduced)[b, start:stop] = end + np.cumsum(sizes).reshape(sizes.shape)
        first, end = last, end + distinct.size


def some_lists(ends: Array) -> Iterator[tuple[slice, slice, Array]]:
    """Yield cells of which not many entries are looked at together, those, and where lists end."""
    start, first = 0, 0
    while start < ends.size:
        stop = int(np.searchsorted(ends, first + _AT_ONCE, "right"))
        stop = min(max(stop, start + 1), start + _AT_ONCE)
        own = ends[start:stop].astype(np.int64) - first
        last = first + int(own[-1])
        yield slice(start, stop), slice(first, last), own
        start, first = stop, last


def move_lists(
    ends: Array, labels: Array, counts: Array, starts: Array, out_labels: Array, out_counts: Array
) -> None:
    """Copy the list of each cell to where it starts in a larger state."""
    for cells, entries, own in some_lists(ends):
        lengths = np.diff(own, prepend=0)
        at = np.repeat(starts[cells] - (own - lengths), lengths) + np.arange(own[-1])
        out_labels[at], out_counts[at] = labels[entries], counts[entries]


def most_frequent(ends: Array, labels: Array, counts: Array, none: Scalar, out: Array) -> None:
    """Fill ``out`` with each list's most frequent label, the lowest on ties; empty: ``none``."""
    for cells, entries, own in some_lists(ends):
        lengths = np.diff(own, prepend=0)
        some, part = lengths > 0, out[cells]
        part[~some] = none
        starts = (own - lengths)[some]
        if starts.size:
            most = np.repeat(np.maximum.reduceat(counts[entries], starts), lengths[some])
            winners = np.flatnonzero(counts[entries] == most)
            part[some] = labels[entries][winners[np.searchsorted(winners, starts)]]
