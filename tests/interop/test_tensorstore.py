"""tensorstore, an independent reader with a reduction of its own, sees and computes the same."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorstore as ts
import xarray as xr
from helpers import real_data
from helpers.quick import quick_if

import xpyramid

Version = Literal["0.4", "0.5"]
DRIVERS: dict[Version, str] = {"0.4": "zarr", "0.5": "zarr3"}


def opened(path: Path, version: Version) -> Any:
    """Open one level for reading."""
    spec = {
        "driver": DRIVERS[version],
        "kvstore": {"driver": "file", "path": str(path)},
        "open": True,
    }
    return ts.open(spec, read=True).result()


def check(field: xr.DataArray, store: Path, version: Version, **options: Any) -> None:
    """Write a pyramid and compare each stored level with a reduction of the stored base."""
    pyramid = field.pyramid.build(**options)
    assert len(pyramid) > 1
    pyramid.to_ome_zarr(store, version=version)
    stored = [
        opened(store / f"{field.name}/{k}/{field.name}", version) for k in range(len(pyramid))
    ]
    np.testing.assert_array_equal(stored[0].read().result(), field.values)
    for k, (level, factors) in enumerate(zip(stored, pyramid.factors, strict=True)):
        reduced = ts.downsample(stored[0], [factors[dim] for dim in field.dims], "mean")
        assert level.shape == reduced.shape == pyramid[k].shape
        assert level.dtype.numpy_dtype == field.dtype.newbyteorder("=")
        values = level.read().result()
        np.testing.assert_array_equal(values, reduced.read().result(), strict=True)
        np.testing.assert_array_equal(values, pyramid[k].values)


def test_every_voxel_of_the_brain(tmp_path: Path) -> None:
    brain = real_data.mni_brain()
    assert brain.shape == (189, 233, 197)
    check(brain.chunk(64), tmp_path, "0.5", levels=5)


def test_a_part_of_the_brain_in_zarr_v2(tmp_path: Path) -> None:
    crop = real_data.mni_brain()[40:117, 60:151, 50:121]
    check(crop.chunk(32), tmp_path, "0.4", levels=4)


@pytest.mark.parametrize("version", DRIVERS)
def test_factors_that_fit_nowhere(tmp_path: Path, version: Version) -> None:
    crop = real_data.mni_brain()[60:121, 80:147, 50:103]
    factor = [{"z": 3, "y": 2}, {"x": 5}, {"z": 2, "y": 3, "x": 3}]
    check(crop, tmp_path, version, factor=factor, chunks=16)


@pytest.mark.parametrize("version", DRIVERS)
def test_terrain(tmp_path: Path, version: Version) -> None:
    check(real_data.terrain(), tmp_path, version, levels=4, chunks=100)


@pytest.mark.parametrize("version", DRIVERS)
@pytest.mark.parametrize(
    "dtype",
    quick_if(
        {"u2", "i8", ">u2", ">i8", "?", ">f4", "f8"}.__contains__,
        ["i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2", ">i4", ">i8", "?", ">f4", "f8"],
    ),
)
def test_dtypes(tmp_path: Path, version: Version, dtype: str) -> None:
    """All values small: tensorstore adds integers up in 64 bits and floats in their own width."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, 2 if dtype == "?" else 100, (21, 18)).astype(dtype)
    check(xr.DataArray(values, dims=("y", "x"), name="f"), tmp_path, version, levels=4, chunks=8)


@pytest.mark.parametrize(
    ("field", "names"),
    [
        (xpyramid.example_field((2, 3, 9, 20, 20)), ("t", "c", "z", "y", "x")),
        (real_data.terrain()[:50, :50], ("y", "x")),
    ],
    ids=["tczyx", "lat-lon"],
)
def test_dimension_names(tmp_path: Path, field: xr.DataArray, names: tuple[str, ...]) -> None:
    field.pyramid.to_ome_zarr(tmp_path, levels=3)
    for k in range(3):
        level = opened(tmp_path / f"{field.name}/{k}/{field.name}", "0.5")
        assert level.domain.labels == names
