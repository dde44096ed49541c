"""Which dask arrays do nothing but read Zarr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

from xpyramid.lazy.direct import read_directly

DATA = np.arange(1, 97, dtype="u2").reshape(12, 8)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    packing = {"packed": {"scale_factor": 0.5, "_FillValue": 1, "dtype": "u2"}}
    variables = {"plain": (("y", "x"), DATA), "packed": (("y", "x"), DATA * 0.5)}
    chunks = {name: {"chunks": (4, 3), **packing.get(name, {})} for name in variables}
    xr.Dataset(variables).to_zarr(tmp_path / "in.zarr", encoding=chunks, consolidated=False)
    return tmp_path / "in.zarr"


def opened(store: Path, name: str = "plain", chunks: Any = None) -> xr.DataArray:
    return xr.open_zarr(store, chunks=chunks, consolidated=False)[name]


def of_dask(array: da.Array) -> xr.DataArray:
    return xr.DataArray(array, dims=("y", "x"))


def array_in(store: Path) -> zarr.Array[Any]:
    return zarr.open_array(store / "plain", mode="r")


def annotated(store: Path) -> xr.DataArray:
    with dask.annotate(retries=3):
        return of_dask(da.from_zarr(store / "plain"))


READS: dict[str, Callable[[Path], xr.DataArray]] = {
    "as stored": lambda s: opened(s, chunks={}),
    "other blocks": lambda s: opened(s, chunks={"y": 8}),
    "blocks of its own": lambda s: opened(s).chunk(5),
    "renamed": lambda s: opened(s, chunks={}).rename(y="lat"),
    "decoded": lambda s: opened(s, "packed", {}),
    "from_zarr": lambda s: of_dask(da.from_zarr(s / "plain")),
    "from_array": lambda s: of_dask(da.from_array(array_in(s), (5, 8))),
    "inline": lambda s: of_dask(da.from_array(array_in(s), 5, inline_array=True)),
}
OTHERS: dict[str, Callable[[Path], xr.DataArray]] = {
    "lazy": opened,
    "selected": lambda s: opened(s, chunks={})[:8],
    "computed": lambda s: opened(s, chunks={}) + 1,
    "turned": lambda s: opened(s, chunks={}).T,
    "rechunked": lambda s: opened(s, chunks={}).chunk(6),
    "in memory": lambda s: opened(s, chunks={}).persist(),
    "locked": lambda s: of_dask(da.from_array(array_in(s), 5, lock=True)),
    "annotated": annotated,
    "not Zarr": lambda _: of_dask(da.from_array(DATA, 5)),
    "read before": lambda s: opened(s).load().chunk(5),
}


@pytest.mark.filterwarnings("ignore:The specified chunks separate the stored chunks")
@pytest.mark.parametrize("make", READS.values(), ids=READS)
def test_what_only_reads(make: Callable[[Path], xr.DataArray], stored: Path) -> None:
    array = make(stored)
    direct = read_directly(array)
    assert array.chunks is not None
    assert direct.chunks is None
    assert direct.encoding["preferred_chunks"] == dict(zip(array.dims, (4, 3), strict=True))
    xr.testing.assert_identical(direct, array.compute())
    xr.testing.assert_identical(direct[1:5, 2:], array[1:5, 2:].compute())


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_what_does_more(make: Callable[[Path], xr.DataArray], stored: Path) -> None:
    array = make(stored)
    assert read_directly(array) is array
