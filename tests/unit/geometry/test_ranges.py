"""Long regular coordinates are ranges: nothing of their length is made."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from xarray.indexes import RangeIndex

import xpyramid
from xpyramid.geometry import ranges

HUGE = 10**9


@pytest.fixture
def little_memory() -> Any:
    """Fail if a test takes more than 100 MB at a time; one coordinate would take 8 GB."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def huge(**coords: Any) -> xr.DataArray:
    data = da.zeros((2, HUGE), chunks=(2, 2**24), dtype="u1")
    return xr.DataArray(data, coords, ("y", "x"), "field")


def along(dim: str, step: float, start: float, length: int) -> xr.Coordinates:
    return ranges.range_coordinates(dim, step, start, length, {"units": "um"})


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("given", ["spacing", "range", "nothing"])
def test_a_huge_axis_is_planned_without_its_coordinate(given: str) -> None:
    array, options = huge(), {}
    if given == "spacing":
        options = {"spacing": {"x": 0.5}, "origin": {"x": 3}, "units": "um"}
    elif given == "range":
        array = array.assign_coords(along("x", 0.5, 3, HUGE))
    p = array.pyramid.build(levels=4, factor={"x": 4}, chunks=(2, 2**24), **options)
    assert [level.shape for level in p.plan.levels] == [(2, HUGE // 4**k) for k in range(4)]
    assert "1000000000" in repr(p)
    assert p.plan.cost().bytes_written == p.nbytes
    if given != "nothing":
        assert p.plan.scale(2) == (1, 8)
        assert p.plan.translation(2)[1] == 3 + 0.5 * 7.5
        for k, level in enumerate(p):
            assert isinstance(level.xindexes["x"], RangeIndex)
            wanted = p.plan.translation(k)[1] + p.plan.scale(k)[1] * np.array([0, 1, 5000])
            np.testing.assert_allclose(level.x[[0, 1, 5000]], wanted)
            assert level.x.attrs == {"units": "um"}


@pytest.mark.parametrize("layout", ["groups", "arrays"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("step", [0.5, -0.5])
def test_ranges_come_back(tmp_path: Path, layout: Any, version: str, step: float) -> None:
    array = xr.DataArray(np.zeros((3, 200), "u1"), dims=("y", "x"), name="field")
    array = array.assign_coords(along("x", step, 3, 200)).assign_coords(y=[1.0, 2, 3])
    p = array.pyramid.build(levels=3, chunks=64)
    p.to_ome_zarr(tmp_path, layout=layout, version=version)
    opened = xpyramid.open_pyramid(tmp_path, "field")
    for ours, theirs in zip(p, opened, strict=True):
        xr.testing.assert_identical(ours.compute(), theirs.compute())
        assert isinstance(theirs.xindexes["x"], RangeIndex)
        assert not isinstance(theirs.xindexes["y"], RangeIndex)
    assert xpyramid.verify(tmp_path, deep=True) == []
    opened.to_ome_zarr(copy := {}, layout=layout, version=version)
    again = xpyramid.open_pyramid(copy, "field")
    xr.testing.assert_identical(again[1].compute(), opened[1].compute())
    if layout == "groups":  # plain xarray finds the numbers
        with xr.open_dataset(tmp_path / "field/1", engine="zarr") as plain:
            np.testing.assert_allclose(plain.x, p[1].x)


def test_a_long_range_is_written_piece_by_piece(tmp_path: Path) -> None:
    length = 3 * 2**20
    array = xr.DataArray(da.zeros((2, length), chunks=(2, 2**20), dtype="u1"), dims=("y", "x"))
    p = array.rename("field").pyramid.build(2, factor={"x": 2}, chunks=(2, 2**20), spacing=0.25)
    assert isinstance(p[0].xindexes["x"], RangeIndex)
    assert not isinstance(p[0].xindexes["y"], RangeIndex)
    p.to_ome_zarr(tmp_path)
    opened = xpyramid.open_pyramid(tmp_path, "field")
    assert isinstance(opened[1].xindexes["x"], RangeIndex)
    stored = zarr.open_array(tmp_path / "field/1/x", mode="r")
    assert stored.shape == (length // 2,)
    np.testing.assert_allclose(stored[-3:], 0.125 + 0.5 * (length // 2 + np.arange(-3, 0)))
    assert xpyramid.verify(tmp_path, deep=True) == []


@pytest.mark.usefixtures("little_memory")
def test_a_huge_image_of_others_opens_with_ranges(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path)
    names = ["y", "x"]
    group.create_array("0", shape=(2, HUGE), dtype="u1", chunks=(2, 2**22), dimension_names=names)
    scale = [{"type": "scale", "scale": [1, 0.25]}]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{
            "axes": [{"name": name, "type": "space", "unit": "meter"} for name in names],
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }],
    }  # fmt: skip
    (level,) = xpyramid.open_pyramid(tmp_path)
    assert isinstance(level.xindexes["x"], RangeIndex)
    assert (float(level.x[4]), level.x.attrs) == (1.0, {"units": "meter"})


def test_labels_take_ranges_of_their_image() -> None:
    image = xr.DataArray(np.zeros((4, 200), "u1"), dims=("y", "x"), name="img")
    image.assign_coords(along("x", 0.5, 3, 200)).pyramid.to_ome_zarr(store := {}, levels=2)
    labels = xr.DataArray(np.ones((4, 200), "u1"), dims=("y", "x"), name="cells")
    labels.pyramid.to_ome_zarr(store, labels_of="img")
    opened = xpyramid.open_pyramid(store, "img/labels/cells")
    xr.testing.assert_identical(opened[1].x, xpyramid.open_pyramid(store, "img")[1].x)


@pytest.mark.usefixtures("little_memory")
def test_a_unit_alone_makes_no_coordinate_of_a_huge_axis() -> None:
    p = huge().pyramid.build(2, factor={"x": 2}, units={"x": "um"})
    assert isinstance(p[1].xindexes["x"], RangeIndex)
    assert p.plan.axes[1].unit == "micrometer"
