"""A user's own compiled reduction."""

from __future__ import annotations

from typing import Any

import numba
import numba.np.numpy_support
import numpy as np

from xpyramid.kernels._jit import Kernel
from xpyramid.kernels.arrays import Array
from xpyramid.types import DType


def result_dtype(function: Any, window: Array) -> DType:
    """Return the dtype of what a compiled function, called before, returns for a window."""
    returned = function.overloads[(numba.typeof(window),)].signature.return_type
    return np.dtype(numba.np.numpy_support.as_dtype(returned))


@numba.njit(nogil=True, error_model="numpy")  # not kept: no other process has this very function
def apply(function: Kernel, windows: Array, out: Array) -> None:
    """Fill ``out[i]`` with ``function(windows[i])``."""
    for i in range(out.size):
        out[i] = function(windows[i])
