"""Sums divided by counts, rounded half to even."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpyramid.kernels._jit import jit


@jit
def divide_narrow(total: NDArray, count: NDArray, out: NDArray) -> None:  # type: ignore[type-arg]
    """Fill ``out`` with ``total / count`` for 1-D sums below 2**52 in magnitude.

    Up to there ``rint`` of the float64 quotient is exact: a quotient that is no tie is at least
    ``1 / (2 * count)`` away from one, further than its rounding error. A count of 0 is left alone.
    """
    for i in range(out.size):
        n = count[i if count.size > 1 else 0]
        if n:
            out[i] = np.rint(total[i] / n)


@jit
def divide_limbs(limbs: NDArray, width: int, count: NDArray, out: NDArray) -> None:  # type: ignore[type-arg]
    """Fill ``out`` with sums over counts, the sums being given in limbs of ``width`` bits.

    ``limbs[k, i]`` is the ``k``-th highest int64 limb of sum ``i``, not normalised: the sum is
    ``sum_k limbs[k, i] << width * (last - k)``. Schoolbook long division; with
    ``count << width <= 2**62`` no intermediate value overflows. A count of 0 is left alone.
    """
    for i in range(out.size):
        n = count[i if count.size > 1 else 0]
        if n:
            quotient = np.int64(0)
            remainder = np.int64(0)
            for k in range(limbs.shape[0]):
                part = (remainder << width) + limbs[k, i]
                digit = part // n
                remainder = part - digit * n
                quotient = (quotient << width) + digit
            if 2 * remainder > n or (2 * remainder == n and quotient & 1):
                quotient += 1
            out[i] = quotient
