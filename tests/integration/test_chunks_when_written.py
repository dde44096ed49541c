"""Levels are stored in the chunks that the writer is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from xpyramid import open_pyramid, verify
from xpyramid.errors import PlanError


@pytest.fixture
def array() -> xr.DataArray:
    data = np.arange(50 * 30, dtype="u2").reshape(50, 30)
    return xr.DataArray(data, dims=("y", "x"), name="a").chunk(y=16, x=16)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [(8, (8, 8)), ({"x": 5}, (16, 5)), ((50, -1), (50, 30)), (None, (16, 16))],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_chunks(
    array: xr.DataArray, chunks: Any, expected: tuple[int, ...], version: str, tmp_path: Path
) -> None:
    pyramid = array.pyramid.build(levels=3)
    pyramid.to_ome_zarr(tmp_path / "a.zarr", chunks=chunks, version=version)
    assert verify(tmp_path / "a.zarr", deep=True) == []
    for k, level in enumerate(pyramid.levels):
        stored = zarr.open_array(tmp_path / f"a.zarr/a/{k}/a", mode="r")
        cut = tuple(min(c, n) for c, n in zip(expected, level.shape, strict=True))
        assert stored.chunks == cut
        np.testing.assert_array_equal(stored[:], level.values)


def test_an_image_in_other_chunks_and_shards(array: xr.DataArray, tmp_path: Path) -> None:
    array.pyramid.to_ome_zarr(tmp_path / "a.zarr", levels=3)
    opened = open_pyramid(tmp_path / "a.zarr/a")
    opened.to_ome_zarr(tmp_path / "b.zarr", chunks=8, shards=16)
    base = zarr.open_array(tmp_path / "b.zarr/a/0/a", mode="r")
    assert (base.chunks, base.shards) == ((8, 8), (16, 16))
    again = open_pyramid(tmp_path / "b.zarr/a")
    assert verify(tmp_path / "b.zarr", deep=True) == []
    for old, new in zip(opened, again, strict=True):
        xr.testing.assert_identical(old.compute(), new.compute())


def test_every_variable(array: xr.DataArray, tmp_path: Path) -> None:
    dataset = xr.Dataset({"a": array, "b": array * 2})
    dataset.pyramid.build(levels=2).to_ome_zarr(tmp_path / "c.zarr", chunks=8)
    for name in ("a", "b"):
        assert zarr.open_array(tmp_path / f"c.zarr/{name}/0/{name}", mode="r").chunks == (8, 8)


def test_what_makes_no_chunks(array: xr.DataArray, tmp_path: Path) -> None:
    pyramid = array.pyramid.build()
    for chunks in (0, {"z": 4}, (1, 2, 3)):
        with pytest.raises(PlanError, match="chunks"):
            pyramid.to_ome_zarr(tmp_path / "a.zarr", chunks=chunks)
    assert not (tmp_path / "a.zarr").exists()
