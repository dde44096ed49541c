"""How often values occur, in NumPy; see `kernels.values`."""

from __future__ import annotations

import numpy as np

from xpyramid.kernels.arrays import Array


def count_keys(keys: Array, counts: Array) -> None:
    """Add one to ``counts`` for each of some unsigned integers."""
    counts += np.bincount(keys, minlength=counts.size)


def count_floats(bits: Array, counts: Array) -> None:
    """Count float32 values, given as their bits, by the first half of them; NaN and inf do not."""
    finite = bits[(bits >> 23) & 0xFF != 0xFF]
    keys = finite >> 16
    count_keys(np.where(keys & 0x8000, 0xFFFF - keys, keys | 0x8000), counts)


def finite_extremes(values: Array, out: Array) -> None:
    """Put the smallest and largest finite value into ``out``, which holds inf and -inf before."""
    finite = values[np.isfinite(values)]
    if finite.size:  # of zeros, whatever their sign, the first
        out[:] = finite[np.argmin(finite)], finite[np.argmax(finite)]
