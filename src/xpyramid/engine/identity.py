"""Whether two arrays hold the same samples, as far as that is known without reading them.

A dask array is what its name says. What xarray reads lazily is an array of a backend, of which it
takes some indexes and may decode the samples, in caches that hold none until all is read: two are
the same if they begin with the same object and do the same to it. Where that is not sure, arrays
are taken for different ones, which costs no more than reading twice.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xpyramid._compat import DecodedArray, indexing, is_dask_array, is_in_memory, lazy_data
from xpyramid.types import Array


class _Object:
    """An object that equals itself alone, kept alive so that no other takes its place."""

    def __init__(self, content: object) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Object) and other.content is self.content

    def __hash__(self) -> int:
        return id(self.content)


def identity(variable: xr.Variable) -> Hashable | None:
    """Return what equals that of another variable with the same samples.

    None if that is not known. Arrays in memory need not be read, but what is made of one is made
    together: it is the same as itself alone.
    """
    data = lazy_data(variable)
    if is_dask_array(data):
        return "dask", data.name, data.chunks
    if type(data) is np.ndarray:
        return "memory", _Object(data)
    return None if is_in_memory(variable) else _lazy(data)


def _lazy(data: Any) -> Hashable:
    """Return what equals that of another array that reads the same, in the same way."""
    while type(data) in (indexing.MemoryCachedArray, indexing.CopyOnWriteArray):
        data = data.array
    if type(data) is DecodedArray:
        return "decoded", _Object(data.func), data.dtype, _lazy(data.array)
    if type(data) is indexing.LazilyIndexedArray:
        pairs = zip(data.key.tuple, data.array.shape, strict=True)
        return "indexed", _lazy(data.array), *(_along(part, length) for part, length in pairs)
    return _Object(data)


def _along(part: slice | Array | int, length: int) -> Hashable:
    """Return which indexes a key takes along a dimension."""
    if isinstance(part, slice):
        return range(length)[part]
    if isinstance(part, np.ndarray):
        return part.dtype.str, part.shape, part.tobytes()
    return int(part)
