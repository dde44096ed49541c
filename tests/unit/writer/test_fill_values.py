"""What stands for missing samples in the arrays of a map, of which readers mask the fill value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors

GEOZARR: dict[str, Any] = {"conventions": ["geozarr"], "chunks": 4, "levels": 2}


def field(dtype: str, **attrs: Any) -> xr.DataArray:
    """Return a map with zeros, ones and, in floats, land without values."""
    values = np.kron([[0, 1], [1, 0]], np.ones((4, 4))).astype(dtype)
    if values.dtype.kind == "f":
        values[:4, :4], values[4, 4] = np.nan, np.nan
    coords = {"y": 9.5 - np.arange(8), "x": 5.5 + np.arange(8)}
    return xr.DataArray(values, coords, ("y", "x"), "t2m", attrs)


def stored(path: Path, k: int = 0) -> zarr.Array[Any]:
    return zarr.open_array(path, path=f"t2m/{k}/t2m", mode="r")


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floats_are_missing_where_they_are_not_a_number(tmp_path: Path, dtype: str, k: int) -> None:
    field(dtype).pyramid.to_ome_zarr(tmp_path, **GEOZARR)
    array = stored(tmp_path, k)
    assert np.isnan(array.fill_value)
    np.testing.assert_array_equal(array[:], xpyramid.open_pyramid(tmp_path / "t2m")[k])
    assert not xpyramid.verify(tmp_path, deep=True)
    if k == 0:
        np.testing.assert_array_equal(array[:], field(dtype))
        assert not (tmp_path / "t2m/0/t2m/c/0/0").exists()  # of missing samples alone


@pytest.mark.parametrize("dtype", ["f4", "i2", "u1"])
def test_the_missing_value_of_the_attributes(tmp_path: Path, dtype: str) -> None:
    field(dtype, _FillValue=1).pyramid.to_ome_zarr(tmp_path, **GEOZARR)
    assert stored(tmp_path).fill_value == 1
    np.testing.assert_array_equal(stored(tmp_path)[:], field(dtype))


def test_what_is_ignored_is_missing(tmp_path: Path) -> None:
    field("u2").pyramid.to_ome_zarr(tmp_path, ignore=1, **GEOZARR)
    assert stored(tmp_path).fill_value == 1
    np.testing.assert_array_equal(stored(tmp_path)[:], field("u2"))


@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_elsewhere_it_says_nothing_of_missing_samples(tmp_path: Path, dtype: str) -> None:
    field(dtype).pyramid.to_ome_zarr(tmp_path, chunks=4, levels=2)
    assert stored(tmp_path).fill_value == 0


def test_chunks_of_zeros_that_are_not_stored_in_the_source(tmp_path: Path) -> None:
    """They are not taken for missing samples when level 0 passes through."""
    zeros = xr.DataArray(np.zeros((8, 8), "f4"), field("f4").coords, ("y", "x"), "t2m")
    zeros[:4, :4] = 7
    path = tmp_path / "in.zarr"
    encoding = {"t2m": {"chunks": (4, 4), "fill_value": 0.0}}
    zeros.to_dataset().to_zarr(path, encoding=encoding, consolidated=False, zarr_format=3)
    source = zarr.open_array(path, path="t2m", mode="a")
    assert source.fill_value == 0
    for key in (path / "t2m/c").rglob("1"):
        if key.is_file():
            key.unlink()
    opened = xr.open_zarr(path, mask_and_scale=False, chunks={}, consolidated=False).t2m
    opened.attrs.pop("_FillValue", None)
    with pytest.warns(errors.MissingChunkWarning):
        opened.pyramid.to_ome_zarr(tmp_path / "out.zarr", **GEOZARR)
    np.testing.assert_array_equal(stored(tmp_path / "out.zarr")[:], zeros)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_not_a_number_that_does_not_count_comes_back(tmp_path: Path, version: Any) -> None:
    array = field("f4", _FillValue=np.float32("nan")).expand_dims(time=[0.0])
    array.pyramid.build(2, ignore=np.nan, dims=("y", "x")).to_ome_zarr(tmp_path, version=version)
    opened = xpyramid.open_pyramid(tmp_path / "t2m")
    assert np.isnan(opened.plan.options["ignore"])
    opened.to_ome_zarr(tmp_path / "copy", version=version)
    array.assign_coords(time=[1.0]).pyramid.append(tmp_path, "t2m", dim="time")
    xpyramid.add_levels(tmp_path, "t2m", levels=3, ignore=np.nan, dims=("y", "x"))
    for k, level in enumerate(xpyramid.open_pyramid(tmp_path / "t2m")):
        np.testing.assert_array_equal(level[1], array.pyramid.build(3, dims=("y", "x"))[k][0])
    assert not xpyramid.verify(tmp_path, deep=True)
