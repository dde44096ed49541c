"""How many calls a chunk takes: what a clock would tell of the engine, without a clock.

Calls of Python and of C functions are counted, of two images that differ in the number of their
chunks alone, so that what a build does once does not count. The counts are the same in every run,
on every machine. Raise a bound where a chunk has to take more, and say why.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

CHUNK = 16
#: At most so many for each chunk of level 0, with its share of the levels above.
BOUNDS = {"numpy": 330, "zarr": 440, "dask": 570}


def source(kind: str, length: int, path: Path) -> xr.DataArray:
    samples = np.random.default_rng(0).integers(0, 50, (length,) * 3).astype("u1")
    cube = xr.DataArray(samples, dims=("z", "y", "x"), name="field")
    if kind == "zarr":
        encoding: dict[str, Any] = {"field": {"chunks": (CHUNK,) * 3}}
        cube.to_dataset().to_zarr(path, encoding=encoding, consolidated=False, zarr_format=3)
        return xr.open_zarr(path, consolidated=False, chunks=None).field
    return cube.chunk(CHUNK) if kind == "dask" else cube


def calls(kind: str, chunks: int, path: Path) -> int:
    """Return how many calls it takes to write an image of so many chunks along each side."""
    array, count = source(kind, chunks * CHUNK, path / "in.zarr"), 0

    def profile(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with dask.config.set(scheduler="sync", num_workers=1):
        pyramid = array.pyramid.build(levels=3, chunks=CHUNK)
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            pyramid.to_ome_zarr(path / "out.zarr", progress=False, omero=False)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return count


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("kind", BOUNDS)
def test_what_a_chunk_takes(kind: str, tmp_path: Path) -> None:
    calls(kind, 2, tmp_path / "warm")
    few, many = (calls(kind, n, tmp_path / str(n)) for n in (4, 6))
    per_chunk = (many - few) / (6**3 - 4**3)
    assert BOUNDS[kind] / 2 < per_chunk < BOUNDS[kind]
