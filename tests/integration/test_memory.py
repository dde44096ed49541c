"""Builds hold what their plans say, however large the base is."""

from __future__ import annotations

import re
import tracemalloc
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from helpers.quick import quick_if

from xpyramid.errors import CostWarning
from xpyramid.geometry import passes, tiles
from xpyramid.geometry.plan import budget
from xpyramid.kernels import choice

CHUNK, EDGE, WORKERS = 32, 224, 2


def noise(dtype: str) -> xr.DataArray:
    """Return a cube of which each sample has a value of its own, made block by block."""

    def make(block: Any, block_info: Any = None) -> Any:
        first = np.ravel_multi_index(block_info[None]["chunk-location"], (EDGE // CHUNK,) * 3)
        values = np.arange(block.size, dtype="u8") + np.uint64(first * block.size)
        return (values * np.uint64(2654435761)).astype(dtype).reshape(block.shape)

    blocks = da.zeros((EDGE,) * 3, chunks=CHUNK, dtype=dtype)
    blocks = blocks.map_blocks(make, dtype=dtype, meta=np.empty((0, 0, 0), dtype))
    return xr.DataArray(blocks, dims=("z", "y", "x"), name="field")


@pytest.fixture(autouse=True)
def one_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Go one way: numba itself, if it is imported meanwhile, is not part of what is planned."""
    with choice.only(getattr(request, "param", "compiled")):
        yield


@pytest.mark.once
@pytest.mark.parametrize(
    ("one_way", "method", "dtype"),
    quick_if(
        lambda way, method, _: (way, method) == ("numpy", "mean"),
        [
            (way, *case)
            for way in ("numpy", "compiled")
            for case in [("mean", "u2"), ("median", "u2"), ("mode", "u4"), (np.ptp, "u2")]
        ],
    ),
    ids=[
        "-".join(pair)
        for pair in product(("numpy", "compiled"), ("mean", "median", "mode", "own function"))
    ],
    indirect=["one_way"],
)
def test_what_is_held(
    method: Any, dtype: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (
        passes,
        tiles,
    ):  # leaves that are as small beside this base as beside larger ones
        monkeypatch.setattr(module, "LEAF_BYTES", 2**19)
    array = noise(dtype)
    array[:64, :64, :64].pyramid.build(levels=3, chunks=CHUNK, method=method).to_ome_zarr(
        tmp_path / "small.zarr", progress=False
    )
    pyramid = array.pyramid.build(levels=4, chunks=CHUNK, method=method)
    planned = pyramid.plan.cost(workers=WORKERS).memory
    assert held(pyramid, tmp_path) <= 1.1 * planned < array.nbytes


def held(pyramid: Any, directory: Path, **options: Any) -> int:
    """Return how many bytes there are at a time while a pyramid is written."""
    with dask.config.set(num_workers=WORKERS):
        tracemalloc.start()
        try:
            pyramid.to_ome_zarr(directory / "out.zarr", progress=False, **options)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("memory", ["4 MB", "9 MB", "16 MB"])
def test_a_limit_is_kept_or_warned_of(memory: str, tmp_path: Path) -> None:
    array = noise("u2")
    array[:64, :64, :64].pyramid.build(levels=3, chunks=CHUNK).to_ome_zarr(
        tmp_path / "small.zarr", progress=False
    )
    pyramid = array.pyramid.build(levels=4, chunks=CHUNK)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        largest = held(pyramid, tmp_path, memory=memory)
    told = [str(one.message) for one in caught if one.category is CostWarning]
    limit = budget(memory) or 0
    if told:
        limit = int(re.findall(r"need about (\d+) bytes", told[0])[0])
    assert bool(told) == (memory != "16 MB")
    assert largest <= 1.1 * limit
