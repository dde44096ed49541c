"""Which variables are known to hold the same samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xpyramid.engine import identity


@pytest.fixture
def ds(tmp_path: Path) -> xr.Dataset:
    values = np.arange(24, dtype="i2").reshape(4, 6)
    array = xr.DataArray(values, dims=("y", "x"))
    packed = array.assign_attrs(scale_factor=0.5)
    xr.Dataset({"a": array, "packed": packed, "other": array + 1}).to_netcdf(
        tmp_path / "in.nc", engine="h5netcdf"
    )
    return xr.open_dataset(tmp_path / "in.nc", engine="h5netcdf")


SAME: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "itself": lambda a: a,
    "a copy": lambda a: a.copy(),
    "other names": lambda a: a.rename("b").rename(x="column").assign_attrs(units="m"),
    "all of it": lambda a: a.isel(x=slice(0, 6), y=slice(0, 10)),
    "a transposed view": lambda a: a.transpose("x", "y"),
    "a part": lambda a: a.isel(x=slice(0, 4)).isel(x=slice(1, 3)),
}


@pytest.mark.parametrize("name", ["a", "packed"])
@pytest.mark.parametrize("change", SAME.values(), ids=list(SAME))
def test_the_same_samples(
    change: Callable[[xr.DataArray], xr.DataArray], name: str, ds: xr.Dataset
) -> None:
    one = change(ds[name])
    other = one.copy(deep=False) if one.dims[0] == "x" else change(ds[name])
    known = identity(one.variable)
    assert known is not None
    assert identity(other.variable) == known
    assert hash(identity(other.variable)) == hash(known)
    if one.shape == ds[name].shape:
        assert identity(ds[name].variable) == known


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.other,
        lambda ds: ds.packed,
        lambda ds: ds.a.isel(x=slice(0, 5)),
        lambda ds: ds.a.isel(x=slice(None, None, -1)),
        lambda ds: ds.a.isel(y=[1, 0, 2, 3]),
        lambda ds: ds.a.isel(y=[0, 1, 2, 3]),
        lambda ds: ds.a.transpose("x", "y"),
        lambda ds: ds.a.load(),
        lambda ds: ds.a + 0,
    ],
)
def test_what_may_be_others(change: Callable[[xr.Dataset], xr.DataArray], ds: xr.Dataset) -> None:
    known = identity(ds.a.variable)
    assert identity(change(ds).variable) != known


def test_a_file_that_is_opened_twice_may_have_changed(ds: xr.Dataset) -> None:
    again = xr.open_dataset(ds.encoding["source"], engine="h5netcdf")
    assert identity(again.a.variable) != identity(ds.a.variable)


def test_what_is_written_to_is_another(ds: xr.Dataset) -> None:
    changed = ds.a.copy()
    changed[0, 0] = 7
    assert identity(changed.variable) != identity(ds.a.variable) is not None


def test_indexes_in_an_array(ds: xr.Dataset) -> None:
    rows = [identity(ds.a.isel(y=order).variable) for order in ([1, 0], [1, 0], [0, 1])]
    assert rows[0] == rows[1] != rows[2]


def test_dask_arrays() -> None:
    ones, twos = da.ones((4, 6), chunks=3), da.full((4, 6), 2, chunks=3)
    a, b = xr.Variable(("y", "x"), ones), xr.Variable(("row", "column"), ones)
    assert identity(a) == identity(b) is not None
    assert identity(a) != identity(xr.Variable(("y", "x"), twos))
    assert identity(a) != identity(a[:, ::-1])


def test_what_is_in_memory_is_the_same_as_itself_alone() -> None:
    values = np.arange(3)
    a, b = xr.Variable("x", values), xr.Variable("y", values)
    assert identity(a) == identity(b) is not None
    for other in (values.copy(), values[:], values[::-1]):
        assert identity(a) != identity(xr.Variable("x", other))
    assert identity(xr.IndexVariable("x", values)) is None
