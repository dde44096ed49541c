"""Minima and maxima over windows."""

from __future__ import annotations

from xpyramid.kernels._jit import inline, jit
from xpyramid.kernels.arrays import Array, Scalar


@inline
def pick(
    best: Scalar, value: Scalar, largest: bool | None, skipna: bool | None, ignored: Scalar
) -> Scalar:
    """Return the better of two; NaN loses if ``skipna`` and wins if not; ``ignored`` loses."""
    take = value < best if largest is None else value > best
    take |= (value != value) if skipna is None else (best != best)  # noqa: PLR0124
    if ignored is not None:
        take = (take & (value != ignored)) | (best == ignored)
    return value if take else best


@inline
def reduce_row(
    row: Array, factor: int, largest: bool | None, skipna: bool | None, ignored: Scalar,
    out: Array, b: int, z: int, y: int,
) -> None:  # fmt: skip
    """Fill a row of ``out`` with the best of ``factor`` neighbours; the last may have fewer."""
    whole = row.size // factor
    if factor == 2:
        for x in range(whole):
            out[b, z, y, x] = pick(row[2 * x], row[2 * x + 1], largest, skipna, ignored)
    else:
        for x in range(whole):
            out[b, z, y, x] = row[x * factor]
        for i in range(1, factor):
            for x in range(whole):
                best, value = out[b, z, y, x], row[x * factor + i]
                out[b, z, y, x] = pick(best, value, largest, skipna, ignored)
    if whole < out.shape[3]:
        best = row[whole * factor]
        for x in range(whole * factor + 1, row.size):
            best = pick(best, row[x], largest, skipna, ignored)
        out[b, z, y, whole] = best


@jit
def window_extreme(
    src: Array, fz: int, fy: int, fx: int, largest: bool | None, skipna: bool | None,
    ignored: Scalar, row: Array, out: Array,
) -> None:  # fmt: skip
    """Fill ``out`` with the smallest or largest samples; ``row`` is a buffer of one row.

    What does not apply is None rather than False: with a flag, loops would not vectorise.
    """
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            z0, z1 = z * fz, min((z + 1) * fz, src.shape[1])
            for y in range(out.shape[2]):
                y0, y1 = y * fy, min((y + 1) * fy, src.shape[2])
                for x in range(row.size):  # a slice would compile for two seconds
                    row[x] = src[b, z0, y0, x]
                for i in range(z0, z1):
                    for j in range(y0 + (i == z0), y1):
                        for x in range(row.size):
                            row[x] = pick(row[x], src[b, i, j, x], largest, skipna, ignored)
                reduce_row(row, fx, largest, skipna, ignored, out, b, z, y)
