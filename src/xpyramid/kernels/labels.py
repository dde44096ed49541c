"""Votes for the most frequent label, in windows of any size."""

from __future__ import annotations

import numpy as np

from xpyramid.kernels._jit import inline, inline_once, jit
from xpyramid.kernels.arrays import Array, Scalar, Shape

#: Where counting starts. A literal 0 has a type of its own: what it is given to is compiled twice.
ZERO = np.int64(0)


# Label counts. Each cell has a list of labels, ascending, and of how often each occurs; the lists
# lie one after the other in flat arrays, and ``ends`` says for each cell where its list stops.


@inline
def compare_rows(
    src: Array, b: int, z0: int, z1: int, y0: int, y1: int, fx: int, row: Array, mixed: Array
) -> None:
    """Fill ``mixed`` with other than 0 where a window has different samples, which few have.

    Whole rows are compared first, in ``row``, so that it vectorises.
    """
    for x in range(1, row.size):
        row[x] = src[b, z0, y0, x] ^ src[b, z0, y0, x - 1]
    for x in range(mixed.size):
        row[x * fx] = 0  # what is on its left is in another window
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(row.size):
                row[x] |= src[b, z, y, x] ^ src[b, z0, y0, x]
    for _ in range(1, min(fx, 4)):  # in vectors; what is further apart, by windows
        for x in range(row.size - 1):
            row[x] |= row[x + 1]
    for x in range(mixed.size):
        mixed[x] = row[x * fx]
    for i in range(4, fx):
        for x in range((row.size - i - 1) // fx + 1):
            mixed[x] |= row[x * fx + i]


@inline
def list_offsets(shape: Shape, deep: int, high: int, wide: int, offsets: Array) -> int:
    """Fill ``offsets`` with where the samples of a window are, after the first; return how many.

    One loop over these takes half as long as three over short rows.
    """
    size = ZERO
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                offsets[size] = (z * shape[2] + y) * shape[3] + x
                size += 1
    return int(size)


@inline
def list_two(
    flat: Array, at: np.uint64, offsets: Array, size: int, skip: bool, ignored: Scalar,
    labels: Array, counts: Array, end: int,
) -> int:  # fmt: skip
    """Fill a list with the labels of a window if there are two; return its end, or -1.

    There are two if all samples have the label of the first or that of the last, as in most
    windows with several labels. They are counted without a branch, where they lie.
    """
    one, other = flat[at], flat[at + offsets[size - 1]]
    votes_of = counts.dtype.type
    for_one = for_other = votes_of(0)
    for i in range(size):
        label = flat[at + offsets[i]]
        for_one = votes_of(for_one + votes_of(label == one))
        for_other = votes_of(for_other + votes_of(label == other))
    if (for_one + for_other != size) | (one == other):
        return -1
    swap = one > other
    low, high = (other, one) if swap else (one, other)
    labels[end], counts[end] = low, (for_other if swap else for_one)
    end += not (skip and low == ignored)
    labels[end], counts[end] = high, (for_one if swap else for_other)
    end += not (skip and high == ignored)
    return end


@inline_once
def tally(
    entries: Array, votes: Array, size: int, labels: Array, counts: Array, end: int
) -> int:  # fmt: skip
    """Fill a list with the labels of ``size`` entries and the sums of their votes; return its end.

    One label after the other, the lowest first, all entries are asked whether they have it and
    which one comes next: loops without a branch, and quicker than to sort, as there are few labels.
    Entries without a vote do not count.
    """
    label_of, votes_of = entries.dtype.type, votes.dtype.type
    label, last, left = entries[0], entries[0], votes_of(0)
    for i in range(size):
        label, last = min(label, entries[i]), max(last, entries[i])
        left = votes_of(left + votes[i])
    while left > 0:
        count, above = left, last
        if label != last:
            count = votes_of(0)
            for i in range(size):
                count = votes_of(count + (votes[i] if entries[i] == label else votes_of(0)))
                above = label_of(min(above, entries[i] if entries[i] > label else last))
        if count > 0:
            labels[end], counts[end] = label, count
            end += 1
        label, left = above, votes_of(left - count)
    return end


@inline
def winner(labels: Array, counts: Array, start: int, end: int, none: Scalar) -> Scalar:
    """Return the most frequent label of a list, the lowest on ties; ``none`` if it is empty."""
    best, best_count = none, 0
    for i in range(start, end):
        if counts[i] > best_count:
            best, best_count = labels[i], counts[i]
    return best


@jit
def count_labels(
    src: Array, flat: Array, fz: int, fy: int, fx: int, skip: bool, ignored: Scalar,
    row: Array, mixed: Array, offsets: Array, entries: Array, votes: Array,
    labels: Array, counts: Array, cells: Shape, ends: Array | None, out: Array | None,
) -> None:  # fmt: skip
    """Fill the lists of all cells from samples, or ``out`` with the winners.

    Of ``ends`` and ``out`` one is None. The flat arrays have room for each sample, of a window
    where there is ``out``. ``flat`` is ``src`` in one dimension. The others are buffers:
    ``row`` and ``mixed`` of one row of ``src`` and of cells, ``offsets`` (without a sign, as numba
    counts positions that have one from the end), ``entries`` and ``votes`` (see `tally`) of a
    window.
    """
    end, shape, decide = ZERO, src.shape, out is not None
    for b in range(cells[0]):
        for z in range(cells[1]):
            z0, z1 = z * fz, min((z + 1) * fz, shape[1])
            for y in range(cells[2]):
                y0, y1 = y * fy, min((y + 1) * fy, shape[2])
                compare_rows(src, b, z0, z1, y0, y1, fx, row, mixed)
                size, start = ZERO, ((b * shape[1] + z0) * shape[2] + y0) * shape[3]
                for x in range(cells[3]):
                    wide = min(fx, shape[3] - x * fx)
                    if x == 0 or wide < fx:
                        size = list_offsets(shape, z1 - z0, y1 - y0, wide, offsets)
                    at = np.uint64(start + x * fx)
                    first, best = end, flat[at]
                    if mixed[x]:
                        end = list_two(
                            flat, at, offsets, size, skip, ignored, labels, counts, first
                        )
                        if end < 0:
                            for i in range(size):
                                entries[i] = flat[at + offsets[i]]
                                votes[i] = not (skip and flat[at + offsets[i]] == ignored)
                            end = tally(entries, votes, size, labels, counts, first)
                        if decide:
                            best = winner(labels, counts, first, end, ignored)
                    elif not (decide or (skip and best == ignored)):  # one speaks for all
                        labels[end], counts[end] = best, size
                        end += 1
                    if ends is not None:
                        ends[b, z, y, x] = end
                    if out is not None:
                        out[b, z, y, x] = best
                        end = first


@inline
def begin_lists(
    flat: Array, z0: int, z1: int, y0: int, y1: int, x0: int, x1: int, ny: int, nx: int,
    heads: Array, stops: Array,
) -> int:  # fmt: skip
    """Fill ``heads`` and ``stops`` with where the lists of a window are; return how many."""
    size = ZERO
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                c = (z * ny + y) * nx + x
                first = flat[c - 1] if c else 0
                if first < flat[c]:
                    heads[size], stops[size] = first, flat[c]
                    size += 1
    return int(size)


@jit
def merge_labels(
    src_ends: Array, src_labels: Array, src_counts: Array, fz: int, fy: int, fx: int,
    heads: Array, stops: Array, labels: Array, counts: Array, ends: Array,
) -> None:  # fmt: skip
    """Fill the lists of all cells from the lists under them.

    The lowest of the labels that the lists of a window begin with comes first in theirs. Lists that
    begin with it advance, and those at their end drop out. ``heads`` and ``stops`` are buffers of a
    window.
    """
    end = ZERO
    _, nz, ny, nx = src_ends.shape
    flat, votes_of = src_ends.reshape(-1), counts.dtype.type
    for b in range(ends.shape[0]):
        for z in range(ends.shape[1]):
            z0, z1 = b * nz + z * fz, b * nz + min((z + 1) * fz, nz)
            for y in range(ends.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, ny)
                for x in range(ends.shape[3]):
                    x0, x1 = x * fx, min((x + 1) * fx, nx)
                    size = begin_lists(flat, z0, z1, y0, y1, x0, x1, ny, nx, heads, stops)
                    while size:
                        lowest = src_labels[heads[0]]
                        for i in range(1, size):
                            lowest = min(lowest, src_labels[heads[i]])
                        votes, left = votes_of(0), ZERO
                        for i in range(size):
                            at, stop = heads[i], stops[i]
                            if src_labels[at] == lowest:
                                votes = votes_of(votes + src_counts[at])
                                at += 1
                            heads[left], stops[left] = at, stop
                            left += at < stop
                        labels[end], counts[end] = lowest, votes
                        end, size = end + 1, left
                    ends[b, z, y, x] = end


@jit
def move_lists(
    ends: Array, labels: Array, counts: Array, starts: Array, out_labels: Array, out_counts: Array
) -> None:
    """Copy the list of each cell to where it starts in a larger state."""
    first = 0
    for i in range(ends.size):
        for j in range(first, ends[i]):
            out_labels[starts[i] + j - first] = labels[j]
            out_counts[starts[i] + j - first] = counts[j]
        first = ends[i]


@jit
def most_frequent(ends: Array, labels: Array, counts: Array, none: Scalar, out: Array) -> None:
    """Fill ``out`` with each list's most frequent label, the lowest on ties; empty: ``none``."""
    start = ZERO
    for i in range(ends.size):
        if ends[i] == start + 1:
            out[i] = labels[start]
        else:
            out[i] = winner(labels, counts, start, ends[i], none)
        start = ends[i]
