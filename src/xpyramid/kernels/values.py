"""How often values occur."""

from __future__ import annotations

from xpyramid.kernels._jit import jit
from xpyramid.kernels.arrays import Array


@jit
def count_keys(keys: Array, counts: Array) -> None:
    """Add one to ``counts`` for each of some unsigned integers."""
    for i in range(keys.size):
        counts[keys[i]] += 1


@jit
def count_floats(bits: Array, counts: Array) -> None:
    """Count float32 values, given as their bits, by the first half of them; NaN and inf do not.

    The sign is turned over and negative values are turned round, so that keys grow with the values.
    """
    for i in range(bits.size):
        word = bits[i]
        if (word >> 23) & 0xFF == 0xFF:
            continue
        key = word >> 16
        counts[0xFFFF - key if key & 0x8000 else key | 0x8000] += 1


@jit
def finite_extremes(values: Array, out: Array) -> None:
    """Put the smallest and largest finite value into ``out``, which holds inf and -inf before."""
    low, high = out[0], out[1]
    for i in range(values.size):
        value = values[i]
        if value - value == 0:  # not so for NaN and inf
            low = min(low, value)
            high = max(high, value)
    out[0], out[1] = low, high
