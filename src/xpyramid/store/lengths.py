"""Arrays that are longer, or shorter, than their own documents say.

An image that grows is made longer array by array. The copies of their metadata in the image's own
group are put last, all at once: they say how long the image is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import zarr
from zarr.errors import UnstableSpecificationWarning
from zarr.storage import StorePath

from xpyramid._compat import store_path_of
from xpyramid.store.path import ZarrArray


def with_shape(array: ZarrArray, shape: Sequence[int], place: StorePath | None = None) -> ZarrArray:
    """Return an array of another shape than its documents say, maybe in another store.

    Parameters
    ----------
    array : zarr.Array
    shape : sequence of int
    place : StorePath, optional
        Default: where it is.
    """
    config = array.async_array.config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableSpecificationWarning)  # of text in Zarr v3
        metadata = array.metadata.update_shape(tuple(shape))
    return zarr.Array(zarr.AsyncArray(metadata, place or store_path_of(array), config))


def as_announced(array: ZarrArray, copy: object, is_growing: Callable[[], bool]) -> ZarrArray:
    """Return an array as long as the copy of its metadata says, where its image is growing.

    Any other difference than a longer axis is not of that. All arrays of an image are to get one
    answer to whether it grows, which is asked for where it is needed.
    """
    if not isinstance(copy, zarr.Array) or copy.ndim != array.ndim or copy.shape == array.shape:
        return array
    longer = [n > m for n, m in zip(array.shape, copy.shape, strict=True) if n != m]
    return with_shape(array, copy.shape) if longer == [True] and is_growing() else array
