"""The zarrs codec pipeline (the ``fast`` extra), for arrays of ours and nobody else's."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from typing import Any, Literal

import xarray as xr
import zarr
from xarray.backends.zarr import ZarrArrayWrapper
from zarr.storage import LocalStore

_PIPELINE = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}
_told: set[str] = set()


def available() -> bool:
    """Whether zarrs is installed."""
    return importlib.util.find_spec("zarrs") is not None


def accelerate(array: zarr.Array[Any], *, reading: bool = False) -> zarr.Array[Any]:
    """Return an array that encodes and decodes with zarrs, where that is installed and able to.

    The user's zarr configuration is as it was afterwards. Writing Zarr v2 is left to zarr-python:
    its metadata do not mention our checksums, so zarrs would leave them out. What zarrs cannot
    write is said once.
    """
    known = isinstance(array.store, LocalStore) and (reading or array.metadata.zarr_format == 3)
    if not known or not available():
        return array
    mode: Literal["r", "r+"] = "r" if reading or array.store.read_only else "r+"
    with zarr.config.set(_PIPELINE), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fast = zarr.open_array(array.store, path=array.path, mode=mode)
    reasons = [str(warning.message) for warning in said if "ZarrsCodecPipeline" in str(warning)]
    if not reasons:
        return fast
    if not reading and reasons[0] not in _told:
        _told.add(reasons[0])
        warnings.warn(f"{array.path!r} goes without zarrs: {reasons[0]}", UserWarning, stacklevel=2)
    return array


def accelerate_reads(variable: xr.Variable) -> xr.Variable:
    """Return a variable that reads with zarrs what xarray opened lazily from Zarr.

    How xarray wraps an array is not part of its API, so whatever looks unfamiliar stays as it is.
    """
    try:
        data = _rewrapped(variable._data)
    except AttributeError:
        return variable
    fast = variable.copy(deep=False)
    fast._data = data
    return fast


def _rewrapped(node: Any) -> Any:
    """Return a copy of xarray's wrappers around another array."""
    twin = copy.copy(node)
    if isinstance(node, ZarrArrayWrapper):
        twin._array = accelerate(node._array, reading=True)
    else:
        twin.array = _rewrapped(node.array)
    return twin
