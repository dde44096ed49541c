"""How every kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Kernel = Callable[..., Any]


def jit(function: Kernel) -> Kernel:
    """Compile without the GIL, with NumPy's division, cached on disk where a disk can be written."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no place for a cache: a read-only installation without a home
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
