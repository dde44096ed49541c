"""Stores of directories, which links do not lead out of."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import zarr

from xpyramid.store.confined import ConfinedStore


def test_what_was_looked_at_is_not_sent_along(tmp_path: Path) -> None:
    """Dask names what it reads by what is sent; so names would depend on what was read before."""
    zarr.create_array(tmp_path / "a", data=np.arange(8), chunks=(4,))
    stores = [ConfinedStore(tmp_path) for _ in range(2)]
    fresh, used = (zarr.open_array(store, path="a", mode="r") for store in stores)
    assert used[:].tolist() == list(range(8))
    assert pickle.dumps(used.store) == pickle.dumps(fresh.store)
