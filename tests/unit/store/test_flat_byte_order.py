"""Levels without groups of their own keep the byte order, too."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from zarr.storage import MemoryStore

import xpyramid


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_the_byte_order_comes_back(version: Any, chunks: Any) -> None:
    store = MemoryStore()
    array = xr.DataArray(np.arange(64, dtype=">i2").reshape(8, 8), dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(store, levels=2, layout="arrays", version=version)
    for level, wanted in zip(
        xpyramid.open_pyramid(store, "field", chunks=chunks), array.pyramid.build(2), strict=True
    ):
        assert level.dtype == wanted.dtype == np.dtype(">i2")
        assert level.values.tobytes() == wanted.values.tobytes()
