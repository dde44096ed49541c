"""Means and modes over windows of one or two samples along each dimension.

Each cell is that of eight samples: where its window has fewer, all of them come equally often,
which changes no mean and no majority. Samples and cells are 1-D here; ``shape`` and ``cells`` say
how many there are as (b, z, y, x). Positions have no sign: numba counts negative ones from the end.
"""

from __future__ import annotations

import numpy as np

from xpyramid.kernels._jit import inline, inline_once, jit
from xpyramid.kernels.arrays import Array, Scalar, Shape

#: Where four rows begin.
Rows = tuple[np.uint64, np.uint64, np.uint64, np.uint64]


@inline
def begin(shape: Shape, b: int, z: int, y: int) -> np.uint64:
    """Return where a row begins."""
    return np.uint64(((b * shape[1] + z) * shape[2] + y) * shape[3])


@inline
def begin_rows(shape: Shape, b: int, z: int, y: int, fz: int, fy: int) -> Rows:
    """Return where the four rows of a row of windows begin, some twice where there are fewer."""
    z0, z1 = z * fz, min((z + 1) * fz, shape[1]) - 1
    y0, y1 = y * fy, min((y + 1) * fy, shape[2]) - 1
    upper, lower = begin(shape, b, z0, y0), begin(shape, b, z0, y1)
    return upper, lower, begin(shape, b, z1, y0), begin(shape, b, z1, y1)


@inline
def padded_stop(at: np.uint64, size: int, room: int, end: int) -> np.uint64:
    """Return how many samples of a row to do: ``room``, whole vectors, where memory goes on so far.

    What is left of a row after its whole vectors takes as long as all of them, sample by sample.
    What is read from beyond a row is not used, and what is written there is overwritten later, as
    that is where the next row begins.
    """
    return np.uint64(room if np.int64(at) + room <= end else size)


@inline
def eighth(total: Scalar) -> Scalar:
    """Return an eighth of an integer, rounded half to even."""
    wide = type(total)
    odd = wide(total >> wide(3)) & wide(1)
    return wide(total + wide(3) + odd) >> wide(3)


@jit
def window_mean(
    src: Array, shape: Shape, fz: int, fy: int, fx: int, row: Array, out: Array, cells: Shape
) -> None:
    """Fill ``out`` with means of integers, rounded.

    Four rows are read at once, which is faster in a cache, and slower from memory. ``row`` is a
    buffer of whole vectors for one sample more than a row, in a dtype for sums of eight.
    """
    wide, one, two = row.dtype.type, np.uint64(1), np.uint64(2)
    for b in range(cells[0]):
        for z in range(cells[1]):
            for y in range(cells[2]):
                p, q, r, s = begin_rows(shape, b, z, y, fz, fy)
                for x in range(padded_stop(s, shape[3], row.size, src.size)):
                    above = wide(wide(src[p + x]) + wide(src[q + x]))
                    row[x] = wide(above + wide(wide(src[r + x]) + wide(src[s + x])))
                at = begin(cells, b, z, y)
                if fx == 2:
                    if shape[3] % 2:
                        row[shape[3]] = row[shape[3] - 1]
                    for x in range(padded_stop(at, cells[3], row.size // 2, out.size)):
                        out[at + x] = eighth(wide(row[two * x] + row[two * x + one]))
                else:
                    for x in range(padded_stop(at, cells[3], row.size, out.size)):
                        out[at + x] = eighth(wide(row[x] + row[x]))


@inline_once
def compare_exchange(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """Return two labels, the lower one first."""
    return (a if a < b else b), (b if a < b else a)


@inline_once
def prefer(best: Scalar, label: Scalar, last: Scalar, ignored: Scalar) -> Scalar:
    """Return ``label`` if it fills its list up to ``last`` and counts, else ``best``."""
    if ignored is None:
        return label if label == last else best
    return label if (label == last) & (label != ignored) else best


@inline_once
def sort_8(
    a: Scalar, b: Scalar, c: Scalar, d: Scalar, e: Scalar, f: Scalar, g: Scalar, h: Scalar
) -> tuple[Scalar, ...]:
    """Return eight labels sorted.

    By Batcher's odd-even merge sort: Knuth, The Art of Computer Programming, volume 3, 5.3.4.
    """
    a, b = compare_exchange(a, b)
    c, d = compare_exchange(c, d)
    e, f = compare_exchange(e, f)
    g, h = compare_exchange(g, h)
    a, c = compare_exchange(a, c)
    b, d = compare_exchange(b, d)
    e, g = compare_exchange(e, g)
    f, h = compare_exchange(f, h)
    b, c = compare_exchange(b, c)
    f, g = compare_exchange(f, g)
    a, e = compare_exchange(a, e)
    b, f = compare_exchange(b, f)
    c, g = compare_exchange(c, g)
    d, h = compare_exchange(d, h)
    c, e = compare_exchange(c, e)
    d, f = compare_exchange(d, f)
    b, c = compare_exchange(b, c)
    d, e = compare_exchange(d, e)
    f, g = compare_exchange(f, g)
    return a, b, c, d, e, f, g, h


@inline_once
def longest_run(s: Scalar, ignored: Scalar) -> Scalar:
    """Return the label with the longest run of eight sorted ones, the lowest if there are several.

    Runs of two, three and four are looked for, each from the highest label down, so that the lowest
    is found last. Of the fours, those with room for three lower labels need a look, and then the
    first of all, which beats them; any other run of four or more was found last as a three.
    """
    best = s[0]
    if ignored is not None:
        for label in s:
            best = label if best == ignored else best
    best = prefer(best, s[6], s[7], ignored)
    best = prefer(best, s[5], s[6], ignored)
    best = prefer(best, s[4], s[5], ignored)
    best = prefer(best, s[3], s[4], ignored)
    best = prefer(best, s[2], s[3], ignored)
    best = prefer(best, s[1], s[2], ignored)
    best = prefer(best, s[0], s[1], ignored)
    best = prefer(best, s[5], s[7], ignored)
    best = prefer(best, s[4], s[6], ignored)
    best = prefer(best, s[3], s[5], ignored)
    best = prefer(best, s[2], s[4], ignored)
    best = prefer(best, s[1], s[3], ignored)
    best = prefer(best, s[0], s[2], ignored)
    best = prefer(best, s[4], s[7], ignored)
    best = prefer(best, s[3], s[6], ignored)
    best = prefer(best, s[0], s[3], ignored)
    return best


@inline
def pair_indices(x: np.uint64, pairs: bool | None) -> tuple[np.uint64, np.uint64]:
    """Return where the samples of a window are in its rows; ``pairs`` is None where it has one."""
    return (x, x) if pairs is None else (np.uint64(2) * x, np.uint64(2) * x + np.uint64(1))


@inline
def sort_window(rows: Array, src: Array, last: np.uint64, p: np.uint64, q: np.uint64) -> Scalar:
    """Return the samples of a window sorted, those at two places of its rows; see `read_rows`."""
    return sort_8(
        rows[0, p], rows[0, q], rows[1, p], rows[1, q],
        rows[2, p], rows[2, q], src[last + p], src[last + q],
    )  # fmt: skip


@inline
def read_rows(src: Array, size: int, starts: Rows, rows: Array) -> np.int64:
    """Fill ``rows`` with all rows of a row of windows but the last, one after the other.

    This reads memory twice as fast as a loop that needs several rows at once. The last row is
    left to the loop that sorts: it computes while it waits for memory. Returns how many samples of
    a row it may do; see `padded_stop`.
    """
    stop = padded_stop(starts[3], size, rows.shape[1], src.size)
    for i in range(3):
        for x in range(stop):
            rows[i, x] = src[starts[i] + x]
    return np.int64(stop)


@jit
def window_mode(
    src: Array, shape: Shape, fz: int, fy: int, pairs: bool | None, ignored: Scalar,
    rows: Array, out: Array, cells: Shape,
) -> None:  # fmt: skip
    """Fill ``out`` with the most frequent labels, the lowest on ties; see `pair_indices`.

    No branch depends on the data, so that it vectorises; for the same reason ``ignored`` is None
    rather than a flag where every label counts. ``rows`` is a buffer for three rows of ``src``, of
    whole vectors.
    """
    fx = 1 if pairs is None else 2
    whole, right = shape[3] // fx, np.uint64(shape[3] - 1)
    for b in range(cells[0]):
        for z in range(cells[1]):
            for y in range(cells[2]):
                starts, at = begin_rows(shape, b, z, y, fz, fy), begin(cells, b, z, y)
                last, stop = starts[3], read_rows(src, shape[3], starts, rows)
                for x in range(padded_stop(at, whole, stop // fx, out.size)):
                    p, q = pair_indices(x, pairs)
                    out[at + x] = longest_run(sort_window(rows, src, last, p, q), ignored)
                if whole < cells[3]:
                    ordered = sort_window(rows, src, last, right, right)
                    out[at + np.uint64(whole)] = longest_run(ordered, ignored)
