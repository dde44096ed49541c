"""The one name for arrays, below and above; loads no numba."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

#: An array of any dtype and rank.
Array = NDArray[Any]
