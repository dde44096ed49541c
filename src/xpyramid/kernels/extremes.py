"""Minima and maxima over windows."""

from __future__ import annotations

from typing import Any

from xpyramid.kernels._jit import Array, inline, jit


@inline
def pick(best: Any, value: Any, largest: bool, skipna: bool, skip: bool, ignored: Any) -> Any:
    """Return the better of two; NaN loses if ``skipna`` and wins if not; ``ignored`` loses."""
    take = value > best if largest else value < best
    take |= (best != best) if skipna else (value != value)  # noqa: PLR0124
    if skip:
        take = (take & (value != ignored)) | (best == ignored)
    return value if take else best


@jit
def window_extreme(
    src: Array,
    fz: int,
    fy: int,
    fx: int,
    largest: bool,
    skipna: bool,
    skip: bool,
    ignored: Any,
    row: Array,
    out: Array,
) -> None:
    """Fill ``out`` with the smallest or largest samples; ``row`` is a buffer of one row."""
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                for x in range(row.size):  # a slice would compile for two seconds
                    row[x] = src[b, z * fz, y * fy, x]
                for i in range(z * fz, min((z + 1) * fz, src.shape[1])):
                    for j in range(y * fy, min((y + 1) * fy, src.shape[2])):
                        for x in range(row.size):
                            row[x] = pick(row[x], src[b, i, j, x], largest, skipna, skip, ignored)
                for k in range(out.shape[3]):
                    best = row[k * fx]
                    for x in range(k * fx + 1, min((k + 1) * fx, row.size)):
                        best = pick(best, row[x], largest, skipna, skip, ignored)
                    out[b, z, y, k] = best
