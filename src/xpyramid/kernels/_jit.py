"""How every kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

Kernel = Callable[..., Any]
Array = np.ndarray[Any, np.dtype[Any]]


def jit(function: Kernel) -> Kernel:
    """Compile without the GIL, with NumPy's division, cached on disk where one can be written."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no place for a cache: a read-only installation without a home
        return numba.njit(nogil=True, error_model="numpy")(function)


def inline(function: Kernel) -> Kernel:
    """Compile as a part of the kernels that call it: a call costs as much as a row."""
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


def inline_once(function: Kernel) -> Kernel:
    """Compile by itself and then as a part of kernels: quicker where one calls it many times."""
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
