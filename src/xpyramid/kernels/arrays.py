"""The names for what kernels work on; loads no numba."""

from __future__ import annotations

from typing import Any

from xpyramid.types import Array

__all__ = ["Array", "Scalar", "Shape"]

#: A sample of an array of any dtype, or what is computed from it: numba infers which.
Scalar = Any
#: (b, z, y, x)
Shape = tuple[int, int, int, int]
