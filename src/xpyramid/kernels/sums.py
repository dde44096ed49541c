"""Sums over windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpyramid.kernels._jit import jit


@jit
def fold(row: NDArray, factor: int, out: NDArray) -> None:  # type: ignore[type-arg]
    """Fill ``out`` with the sums of ``factor`` neighbours of ``row``; the last may have fewer."""
    whole = row.size // factor
    if factor == 1:
        out[:] = row
    elif factor == 2:  # the compiler vectorises a constant stride
        for i in range(whole):
            out[i] = row[2 * i] + row[2 * i + 1]
    else:
        for i in range(whole):
            total = row[i * factor]
            for j in range(i * factor + 1, (i + 1) * factor):
                total += row[j]
            out[i] = total
    if factor > 1 and whole < out.size:
        total = row[whole * factor]
        for j in range(whole * factor + 1, row.size):
            total += row[j]
        out[whole] = total


@jit
def window_sum(src: NDArray, fz: int, fy: int, fx: int, out: NDArray) -> None:  # type: ignore[type-arg]
    """Fill ``out[b, z, y, x]`` with sums over windows of ``fz * fy * fx`` samples of ``src``.

    Whole rows are added first, so that the inner loop has unit stride and no carried dependency;
    then neighbours within the row. For floats this order is part of the result: it follows the
    dimensions, so no chunking or memory order can change a bit.
    """
    row = np.empty(src.shape[3], out.dtype)
    for b in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                row[:] = 0
                for i in range(z * fz, min((z + 1) * fz, src.shape[1])):
                    for j in range(y * fy, min((y + 1) * fy, src.shape[2])):
                        for k in range(src.shape[3]):
                            row[k] += src[b, i, j, k]
                fold(row, fx, out[b, z, y])
