"""The zarrs codec pipeline (the ``fast`` extra), for arrays of ours and nobody else's."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import zarr
from zarr.storage import LocalStore

_PIPELINE = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}
_told: set[str] = set()


def accelerate(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return an array that encodes and decodes with zarrs, where that is installed and able to.

    The user's zarr configuration is as it was afterwards. Zarr v2 is left to zarr-python: its
    metadata do not mention our checksums, so zarrs would leave them out. What zarrs cannot do is
    said once.
    """
    local = isinstance(array.store, LocalStore)
    if array.metadata.zarr_format == 2 or not local or importlib.util.find_spec("zarrs") is None:
        return array
    mode = "r" if array.store.read_only else "r+"
    with zarr.config.set(_PIPELINE), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fast = zarr.open_array(array.store, path=array.path, mode=mode, zarr_format=3)
    reasons = [str(warning.message) for warning in said if "ZarrsCodecPipeline" in str(warning)]
    if not reasons:
        return fast
    if reasons[0] not in _told:
        _told.add(reasons[0])
        warnings.warn(f"{array.path!r} goes without zarrs: {reasons[0]}", UserWarning, stacklevel=2)
    return array
