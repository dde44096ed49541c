"""How every kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Kernel = Callable[..., Any]


def jit(function: Kernel) -> Kernel:
    """Compile without the GIL, with NumPy's division, cached on disk where one can be written."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no place for a cache: a read-only installation without a home
        return numba.njit(nogil=True, error_model="numpy")(function)
