"""Votes for the most frequent label."""

from __future__ import annotations

from typing import Any

from xpyramid.kernels._jit import Array, inline, jit


@inline
def stand(u: Any, best: Any, most: Any, v: Any, s: Any, skip: bool, ignored: Any) -> Any:
    """Let ``v`` stand for election by the eight samples ``s``; return the winner and its votes.

    The lower label wins a tie. Votes are counted in the labels' own width, so that it vectorises.
    """
    n = u(
        u(u(u(v == s[0]) + u(v == s[1])) + u(u(v == s[2]) + u(v == s[3])))
        + u(u(u(v == s[4]) + u(v == s[5])) + u(u(v == s[6]) + u(v == s[7])))
    )
    n = u(0) if skip and v == ignored else n
    better = (n > most) | ((n == most) & (v < best))
    return (v if better else best), (n if better else most)


@inline
def elect(
    src: Array,
    b: int,
    z0: int,
    z1: int,
    y0: int,
    y1: int,
    x0: int,
    x1: int,
    skip: bool,
    ignored: Any,
) -> Any:
    """Return the most frequent of the eight samples at two positions along each axis."""
    u = src.dtype.type
    s = (
        src[b, z0, y0, x0], src[b, z0, y0, x1], src[b, z0, y1, x0], src[b, z0, y1, x1],
        src[b, z1, y0, x0], src[b, z1, y0, x1], src[b, z1, y1, x0], src[b, z1, y1, x1],
    )  # fmt: skip
    best, most = stand(u, s[0], u(0), s[0], s, skip, ignored)
    best, most = stand(u, best, most, s[1], s, skip, ignored)
    best, most = stand(u, best, most, s[2], s, skip, ignored)
    best, most = stand(u, best, most, s[3], s, skip, ignored)
    best, most = stand(u, best, most, s[4], s, skip, ignored)
    best, most = stand(u, best, most, s[5], s, skip, ignored)
    best, most = stand(u, best, most, s[6], s, skip, ignored)
    best, most = stand(u, best, most, s[7], s, skip, ignored)
    return best


@jit
def window_mode_2(
    src: Array, fz: int, fy: int, fx: int, skip: bool, ignored: Any, out: Array
) -> None:
    """Fill ``out`` with the most frequent labels, the lowest on ties, for factors of 1 and 2.

    Each cell is elected by eight samples. Where its window has fewer, all of them vote equally
    often, which changes no majority. No branch depends on the data.
    """
    pairs = src.shape[3] // 2 if fx == 2 else 0
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, src.shape[1]) - 1
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, src.shape[2]) - 1
                for x in range(pairs):
                    out[b, z, y, x] = elect(src, b, z0, z1, y0, y1, 2 * x, 2 * x + 1, skip, ignored)
                for x in range(pairs, out.shape[3]):
                    out[b, z, y, x] = elect(src, b, z0, z1, y0, y1, x * fx, x * fx, skip, ignored)


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
def is_uniform(src: Array, b: int, z0: int, z1: int, y0: int, y1: int, x0: int, x1: int) -> bool:
    """Whether all samples of a window are the same, which most windows of a segmentation are."""
    others = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                others += src[b, z, y, x] != src[b, z0, y0, x0]
    return others == 0


@jit
def count_labels(
    src: Array,
    fz: int,
    fy: int,
    fx: int,
    skip: bool,
    ignored: Any,
    labels: Array,
    counts: Array,
    ends: Array,
) -> None:
    """Fill the lists of all cells from samples; the flat arrays have room for each one."""
    end = 0
    for b in range(ends.shape[0]):
        for z in range(ends.shape[1]):
            for y in range(ends.shape[2]):
                for x in range(ends.shape[3]):
                    start, z0, y0, x0 = end, z * fz, y * fy, x * fx
                    z1, y1 = min(z0 + fz, src.shape[1]), min(y0 + fy, src.shape[2])
                    x1 = min(x0 + fx, src.shape[3])
                    votes = 1
                    if is_uniform(src, b, z0, z1, y0, y1, x0, x1):  # one sample speaks for all
                        votes = (z1 - z0) * (y1 - y0) * (x1 - x0)
                        z1, y1, x1 = z0 + 1, y0 + 1, x0 + 1
                    for i in range(z0, z1):
                        for j in range(y0, y1):
                            for k in range(x0, x1):
                                v = src[b, i, j, k]
                                if not (skip and v == ignored):
                                    end = add_votes(labels, counts, start, end, v, votes)
                    ends[b, z, y, x] = end


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


@jit
def merge_labels(
    src_ends: Array,
    src_labels: Array,
    src_counts: Array,
    fz: int,
    fy: int,
    fx: int,
    labels: Array,
    counts: Array,
    ends: Array,
) -> None:
    """Fill the lists of all cells from the lists under them."""
    end = 0
    _, nz, ny, nx = src_ends.shape
    flat = src_ends.reshape(-1)
    for b in range(ends.shape[0]):
        for z in range(ends.shape[1]):
            for y in range(ends.shape[2]):
                for x in range(ends.shape[3]):
                    start = end
                    for i in range(z * fz, min((z + 1) * fz, nz)):
                        for j in range(y * fy, min((y + 1) * fy, ny)):
                            for k in range(x * fx, min((x + 1) * fx, nx)):
                                c = ((b * nz + i) * ny + j) * nx + k
                                first = flat[c - 1] if c else 0
                                end = merge(
                                    labels, counts, start, end,
                                    src_labels, src_counts, first, flat[c],
                                )  # fmt: skip
                    ends[b, z, y, x] = end


@jit
def most_frequent(ends: Array, labels: Array, counts: Array, out: Array) -> None:
    """Fill ``out`` with each list's most frequent label, the lowest on ties; skip empty ones."""
    start = 0
    for i in range(ends.size):
        most = 0
        for j in range(start, ends[i]):
            if counts[j] > most:
                most = counts[j]
                out[i] = labels[j]
        start = ends[i]
