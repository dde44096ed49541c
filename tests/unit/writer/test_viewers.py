"""Dtypes that viewers refuse are named once for each write; all are written."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid.errors import ViewerWarning


def field(dtype: str, name: str = "field") -> xr.DataArray:
    return xr.DataArray(np.zeros((8, 8), dtype), dims=("y", "x"), name=name)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">u2", "i2", "u4", "i4", "f4"])
def test_what_all_viewers_show(tmp_path: Path, dtype: str) -> None:
    field(dtype).pyramid.to_ome_zarr(tmp_path, levels=2, method="mean")


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("?", r"neuroglancer and vizarr cannot show dtype bool \('field'\).*astype\('uint8'\)"),
        ("i8", r"neuroglancer cannot show dtype int64 .*astype\('int32'\)"),
        ("f2", r"astype\('float32'\)"),
        (">f8", r"dtype float64 .*astype\('float32'\)"),
        ("u8", r"vizarr cannot show dtype uint64 .*astype\('uint32'\)"),
    ],
)
def test_what_some_refuse(tmp_path: Path, dtype: str, message: str) -> None:
    with pytest.warns(ViewerWarning, match=message) as seen:
        field(dtype).pyramid.build(levels=2, method="mean").to_ome_zarr(tmp_path)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert len(xpyramid.open_pyramid(tmp_path, "field")) == 2


def test_one_warning_for_a_dataset(tmp_path: Path) -> None:
    dataset = xr.Dataset({name: field("f8", name) for name in "ab"} | {"c": field("u1", "c")})
    with pytest.warns(ViewerWarning, match=r"float64 \('a', 'b'\)") as seen:
        dataset.pyramid.build(levels=2).to_ome_zarr(tmp_path)
    assert len(seen) == 1


def test_the_advice_works(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field("f8").astype("float32").pyramid.to_ome_zarr(tmp_path, levels=2)
