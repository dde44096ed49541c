"""Votes for the most frequent label, in windows of any size."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpyramid.kernels._jit import Array, inline, jit

#: Where lists start. A literal 0 has a type of its own, and what it is given to is compiled twice.
ZERO = np.int64(0)


# Label counts. Each cell has a list of labels, ascending, and of how often each occurs; the lists
# lie one after the other in flat arrays, and ``ends`` says for each cell where its list stops.


@inline
def add_votes(labels: Array, counts: Array, start: int, end: int, label: Any, votes: int) -> int:
    """Count samples of one label in the list from ``start`` to ``end``; return the new end."""
    at = end
    while at > start and labels[at - 1] > label:
        at -= 1
    if at > start and labels[at - 1] == label:
        counts[at - 1] += votes
        return end
    for i in range(end, at, -1):
        labels[i], counts[i] = labels[i - 1], counts[i - 1]
    labels[at], counts[at] = label, votes
    return end + 1


@inline
def winner(labels: Array, counts: Array, start: int, end: int, none: Any) -> Any:
    """Return the most frequent label of a list, the lowest on ties; ``none`` if it is empty."""
    best, most = none, 0
    for i in range(start, end):
        if counts[i] > most:
            best, most = labels[i], counts[i]
    return best


@inline
def compare_rows(
    src: Array, b: int, z0: int, z1: int, y0: int, y1: int, fx: int, row: Array, mixed: Array
) -> None:
    """Fill ``mixed`` with other than 0 where a window has different samples, which few have.

    Whole rows are compared first, in ``row``, so that it vectorises.
    """
    row[:] = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(row.size):
                row[x] |= src[b, z, y, x] ^ src[b, z0, y0, x]
    whole = row.size // fx
    for x in range(whole):
        mixed[x] = row[x * fx]
    for i in range(1, fx):
        for x in range(whole):
            at = x * fx + i
            mixed[x] |= row[at] | (src[b, z0, y0, at] ^ src[b, z0, y0, at - 1])
    for x in range(whole, mixed.size):
        mixed[x] = row[x * fx]
        for at in range(x * fx + 1, row.size):
            mixed[x] |= row[at] | (src[b, z0, y0, at] ^ src[b, z0, y0, at - 1])


@inline
def list_offsets(shape: Any, deep: int, high: int, wide: int, offsets: Array) -> int:
    """Fill ``offsets`` with where the samples of a window are, after the first; return how many.

    One loop over these takes half as long as three over short rows.
    """
    size = 0
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                offsets[size] = (z * shape[2] + y) * shape[3] + x
                size += 1
    return size


@inline
def count_window(
    flat: Array, at: Any, offsets: Array, size: int, skip: bool, ignored: Any,
    labels: Array, counts: Array, start: int,
) -> int:  # fmt: skip
    """Fill a list with the labels of a window, from ``start`` on; return its end.

    Samples of one label that follow each other are counted as one.
    """
    end, label, votes = start, flat[at], 0
    for i in range(size):
        if flat[at + offsets[i]] != label:
            if not (skip and label == ignored):
                end = add_votes(labels, counts, start, end, label, votes)
            label, votes = flat[at + offsets[i]], 0
        votes += 1
    if not (skip and label == ignored):
        end = add_votes(labels, counts, start, end, label, votes)
    return end


@jit
def count_labels(
    src: Array, flat: Array, fz: int, fy: int, fx: int, skip: bool, ignored: Any,
    row: Array, mixed: Array, offsets: Array, labels: Array, counts: Array, ends: Array,
) -> None:  # fmt: skip
    """Fill the lists of all cells from samples; the flat arrays have room for each one.

    ``flat`` is ``src`` in one dimension. ``row`` and ``mixed`` are buffers of one row of ``src``
    and of ``ends``, in the dtype of labels; ``offsets`` is one of a window, without a sign, as
    numba counts positions that have one from the end.
    """
    end, shape = ZERO, src.shape
    for b in range(ends.shape[0]):
        for z in range(ends.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, shape[1])
            for y in range(ends.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, shape[2])
                compare_rows(src, b, z0, z1, y0, y1, fx, row, mixed)
                size, start = 0, ((b * shape[1] + z0) * shape[2] + y0) * shape[3]
                for x in range(ends.shape[3]):
                    wide = min(fx, shape[3] - x * fx)
                    if x == 0 or wide < fx:
                        size = list_offsets(shape, z1 - z0, y1 - y0, wide, offsets)
                    at = np.uint64(start + x * fx)
                    if mixed[x]:
                        end = count_window(
                            flat, at, offsets, size, skip, ignored, labels, counts, end
                        )
                    elif not (skip and flat[at] == ignored):  # one speaks for all
                        labels[end], counts[end] = flat[at], size
                        end += 1
                    ends[b, z, y, x] = end


@inline
def vote_of_two(flat: Array, at: Any, offsets: Array, size: int, skip: bool, ignored: Any) -> Any:
    """Return the winner of a window with two labels, and whether it is one.

    It is if all its samples have the label of the first or that of the last, as in most windows
    with several labels. They are counted without a branch and without a list.
    """
    one, other = flat[at], flat[at + offsets[size - 1]]
    for_one = for_other = 0
    for i in range(size):
        for_one += flat[at + offsets[i]] == one
        for_other += flat[at + offsets[i]] == other
    has_two = (for_one + for_other == size) & (one != other)
    if skip:
        for_one *= one != ignored
        for_other *= other != ignored
    first = (for_one > for_other) | ((for_one == for_other) & (one < other))
    return (one if first else other), has_two


@jit
def window_mode(
    src: Array, flat: Array, fz: int, fy: int, fx: int, skip: bool, ignored: Any,
    row: Array, mixed: Array, offsets: Array, labels: Array, counts: Array, out: Array,
) -> None:  # fmt: skip
    """Fill ``out`` with the most frequent labels, the lowest on ties; see `count_labels`.

    ``labels`` and ``counts`` have room for one window.
    """
    shape = src.shape
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, shape[1])
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, shape[2])
                compare_rows(src, b, z0, z1, y0, y1, fx, row, mixed)
                size, start = 0, ((b * shape[1] + z0) * shape[2] + y0) * shape[3]
                for x in range(out.shape[3]):
                    wide = min(fx, shape[3] - x * fx)
                    if x == 0 or wide < fx:
                        size = list_offsets(shape, z1 - z0, y1 - y0, wide, offsets)
                    at = np.uint64(start + x * fx)
                    best = flat[at]
                    if mixed[x]:
                        best, has_two = vote_of_two(flat, at, offsets, size, skip, ignored)
                        if not has_two:
                            end = count_window(
                                flat, at, offsets, size, skip, ignored, labels, counts, ZERO
                            )
                            best = winner(labels, counts, ZERO, end, ignored)
                    out[b, z, y, x] = best


@inline
def merge(
    labels: Array,
    counts: Array,
    start: int,
    end: int,
    more_labels: Array,
    more_counts: Array,
    first: int,
    last: int,
) -> int:
    """Merge a second list, ``more[first:last]``, into the first; return the new end."""
    new, i = 0, start
    for j in range(first, last):  # how many labels are new decides where the last one goes
        while i < end and labels[i] < more_labels[j]:
            i += 1
        new += i == end or labels[i] != more_labels[j]
    i, j, at = end - 1, last - 1, end + new - 1
    while j >= first:
        if i >= start and labels[i] > more_labels[j]:
            labels[at], counts[at] = labels[i], counts[i]
            i -= 1
        elif i >= start and labels[i] == more_labels[j]:
            labels[at], counts[at] = labels[i], counts[i] + more_counts[j]
            i -= 1
            j -= 1
        else:
            labels[at], counts[at] = more_labels[j], more_counts[j]
            j -= 1
        at -= 1
    return end + new


@inline
def merge_two(
    flat: Array, src_labels: Array, src_counts: Array, rows: Any, ny: int, nx: int,
    labels: Array, counts: Array, start: int,
) -> int:  # fmt: skip
    """Merge the lists of a window if they have no more than two labels, as most do.

    Returns the new end, or -1 where there are more. ``rows`` says where the rows of the window
    start and stop, as counted by cells; the lists of a row lie one after the other.
    """
    z0, z1, y0, y1, x0, x1 = rows
    one = other = labels.dtype.type(0)
    for_one = for_other = counts.dtype.type(0)
    for z in range(z0, z1):
        for y in range(y0, y1):
            c = (z * ny + y) * nx
            for i in range(flat[c + x0 - 1] if c + x0 else 0, flat[c + x1 - 1]):
                if src_labels[i] == one or for_one == 0:
                    one = src_labels[i]
                    for_one += src_counts[i]
                elif src_labels[i] == other or for_other == 0:
                    other = src_labels[i]
                    for_other += src_counts[i]
                else:
                    return -1
    end = start
    if for_other > 0 and other < one:
        labels[end], counts[end] = other, for_other
        end += 1
    if for_one > 0:
        labels[end], counts[end] = one, for_one
        end += 1
    if for_other > 0 and other > one:
        labels[end], counts[end] = other, for_other
        end += 1
    return end


@jit
def merge_labels(
    src_ends: Array, src_labels: Array, src_counts: Array, fz: int, fy: int, fx: int,
    labels: Array, counts: Array, ends: Array,
) -> None:  # fmt: skip
    """Fill the lists of all cells from the lists under them."""
    end = ZERO
    _, nz, ny, nx = src_ends.shape
    flat = src_ends.reshape(-1)
    for b in range(ends.shape[0]):
        for z in range(ends.shape[1]):
            z0, z1 = b * nz + z * fz, b * nz + min((z + 1) * fz, nz)
            for y in range(ends.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, ny)
                for x in range(ends.shape[3]):
                    x0, x1, start = x * fx, min((x + 1) * fx, nx), end
                    end = merge_two(
                        flat, src_labels, src_counts, (z0, z1, y0, y1, x0, x1), ny, nx,
                        labels, counts, start,
                    )  # fmt: skip
                    if end < 0:
                        end = start
                        for i in range(z0, z1):
                            for j in range(y0, y1):
                                for k in range(x0, x1):
                                    c = (i * ny + j) * nx + k
                                    end = merge(
                                        labels, counts, start, end,
                                        src_labels, src_counts, flat[c - 1] if c else 0, flat[c],
                                    )  # fmt: skip
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
def most_frequent(ends: Array, labels: Array, counts: Array, none: Any, out: Array) -> None:
    """Fill ``out`` with each list's most frequent label, the lowest on ties; empty: ``none``."""
    start = ZERO
    for i in range(ends.size):
        if ends[i] == start + 1:
            out[i] = labels[start]
        else:
            out[i] = winner(labels, counts, start, ends[i], none)
        start = ends[i]
