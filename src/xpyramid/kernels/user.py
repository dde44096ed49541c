"""A user's own compiled reduction."""

from __future__ import annotations

from typing import Any

from xpyramid.kernels._jit import Array, jit


@jit
def apply(function: Any, windows: Array, out: Array) -> None:
    """Fill ``out[i]`` with ``function(windows[i])``."""
    for i in range(out.size):
        out[i] = function(windows[i])
