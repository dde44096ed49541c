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
from xarray.indexes import CoordinateTransform, CoordinateTransformIndex, RangeIndex

import xpyramid
from xpyramid import errors
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


class Rule(CoordinateTransform):
    """Labels by a rule of one's own, which refuses to make very many of them."""

    def __init__(self, dim: str, length: int, rule: Any, *more: str, dtype: Any = "f8") -> None:
        super().__init__((dim, *more), {dim: length}, np.dtype(dtype))
        self.rule = rule

    def forward(self, dim_positions: dict[str, Any]) -> dict[Any, Any]:
        positions = np.asarray(dim_positions[self.dims[0]])
        assert positions.size <= 2**20
        labels = np.asarray(self.rule(positions)).astype(self.dtype)
        return dict.fromkeys(self.coord_names, labels)

    def equals(self, other: CoordinateTransform, **_: Any) -> bool:
        return isinstance(other, Rule) and other.rule is self.rule


def halves(positions: Any) -> Any:
    return 3 + 0.5 * positions


def squares(positions: Any) -> Any:
    return 1e-9 * positions**2


def by_rule(
    dim: str, length: int, rule: Any = halves, *more: str, dtype: Any = "f8"
) -> xr.Coordinates:
    index = CoordinateTransformIndex(Rule(dim, length, rule, *more, dtype=dtype))
    coordinates = xr.Coordinates.from_xindex(index)
    coordinates[dim].attrs["units"] = "um"
    return coordinates


def huge(**coords: Any) -> xr.DataArray:
    data = da.zeros((2, HUGE), chunks=(2, 2**24), dtype="u1")
    return xr.DataArray(data, coords, ("y", "x"), "field")


def along(dim: str, step: float, start: float, length: int) -> xr.Coordinates:
    return ranges.range_coordinates(dim, step, start, length, {"units": "um"})


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("given", ["spacing", "range", "rule", "nothing"])
def test_a_huge_axis_is_planned_without_its_coordinate(given: str) -> None:
    array, options = huge(), {}
    if given == "spacing":
        options = {"spacing": {"x": 0.5}, "origin": {"x": 3}, "units": "um"}
    elif given == "range":
        array = array.assign_coords(along("x", 0.5, 3, HUGE))
    elif given == "rule":
        array = array.assign_coords(by_rule("x", HUGE))
    p = array.pyramid.build(levels=4, factor={"x": 4}, chunks=(2, 2**24), **options)
    assert [level.shape for level in p.plan.levels] == [(2, HUGE // 4**k) for k in range(4)]
    assert "1000000000" in repr(p)
    assert p.plan.cost().bytes_written == p.nbytes
    if given != "nothing":
        assert p.plan.scale(2) == (1, 8)
        assert p.plan.translation(2)[1] == 3 + 0.5 * 7.5
        for k, level in enumerate(p):
            assert isinstance(level.xindexes["x"], RangeIndex if k else CoordinateTransformIndex)
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


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("rule", [halves, squares])
def test_labels_by_a_rule_stay_unmade_along_a_dimension_that_is_kept(rule: Any) -> None:
    array = xr.DataArray(da.zeros((8, HUGE), chunks=(8, 2**22), dtype="u1"), dims=("y", "x"))
    array = array.assign_coords(by_rule("x", HUGE, rule, "also"))
    p = array.pyramid.build(2, dims="y", units={"x": "nm"})
    for level in p:
        assert level.xindexes["x"].equals(array.xindexes["x"])
        assert level.xindexes["also"] is level.xindexes["x"]
        assert level.x.attrs == {"units": "nm"}
        assert float(level.x[10**6]) == rule(10**6)
    assert (p.plan.axes[1].uneven is None) == (rule is halves)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("dtype", ["f8", "M8[s]", "U9"])
def test_a_huge_uneven_rule_is_refused_and_the_ways_out_work(dtype: str) -> None:
    array = huge().assign_coords(by_rule("x", HUGE, squares if dtype == "f8" else abs, dtype=dtype))
    with pytest.raises(errors.AxisError, match="'x' is made of 1000000000 positions") as error:
        array.pyramid.build(2, factor={"x": 2}, axis_types={"x": "space"})
    for way_out in ("pass spacing={'x': ", ".drop_vars('x')", "dims="):
        assert way_out in str(error.value)
    dropped = array.drop_vars("x").pyramid.build(2, factor={"x": 2})
    assert dropped.plan.scale(1) == (1, 2)
    if dtype == "f8":
        array = array.drop_vars("x").assign_coords(by_rule("x", HUGE, squares, "also"))
        spaced = array.pyramid.build(2, factor={"x": 2}, spacing={"x": 5})
        assert spaced.plan.scale(1) == (1, 10)
        assert spaced[0].also.size == HUGE


def test_a_short_uneven_rule_is_averaged_as_other_coordinates_are() -> None:
    array = xr.DataArray(np.zeros((2, 8), "u1"), by_rule("x", 8, squares), ("y", "x"))
    level = array.pyramid.build(2, factor={"x": 4})[1]
    np.testing.assert_allclose(level.x, [1e-9 * (1 + 4 + 9) / 4, 1e-9 * (16 + 25 + 36 + 49) / 4])


@pytest.mark.parametrize(("at", "is_range"), [(None, True), (0, False), (-1, False), (1500, False)])
def test_unevenness_is_seen_at_the_ends_and_where_all_labels_are_looked_at(
    at: int | None, is_range: bool
) -> None:
    def bent(positions: Any) -> Any:
        return positions + 0.5 * (at is not None and positions == at % length)

    for length in (2000, HUGE) if at != 1500 else (2000,):
        array = xr.DataArray(da.zeros(length, chunks=2**24), by_rule("x", length, bent), "x")
        assert (ranges.range_of(array, "x") is not None) == is_range


@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_labels_by_a_rule_are_written_piece_by_piece(tmp_path: Path, layout: Any) -> None:
    length = 3 * 2**20
    array = xr.DataArray(da.zeros((2, length), chunks=(2, 2**20), dtype="u1"), dims=("y", "x"))
    array = array.assign_coords(by_rule("x", length)).rename("field")
    array.pyramid.to_ome_zarr(tmp_path, levels=2, factor={"x": 2}, chunks=2**20, layout=layout)
    opened = xpyramid.open_pyramid(tmp_path, "field")
    for k, level in enumerate(opened):
        assert isinstance(level.xindexes["x"], RangeIndex)
        assert float(level.x[-1]) == 3 + 0.5 * ((length >> k << k) - 1 - k / 2)
    assert xpyramid.verify(tmp_path, deep=True) == []
    kept = xr.DataArray(array.data, by_rule("x", length, squares), ("y", "x"), "kept")
    with pytest.warns(UserWarning, match="irregular|not stored") as said:
        kept.pyramid.to_ome_zarr(tmp_path, levels=2, dims="y", chunks=2**20, layout=layout)
    level = xpyramid.open_pyramid(tmp_path, "kept")[1]
    if layout == "groups":
        assert float(level.x[-1]) == squares(length - 1)
    else:
        assert "x" not in level.coords
        assert "layout='arrays' keeps up to 10000 uneven values" in str(said[0].message)


def test_a_rule_for_whole_numbers_and_one_for_times_come_back(tmp_path: Path) -> None:
    data = np.zeros((2, 6, 8), "u1")
    array = xr.DataArray(data, dims=("time", "y", "x"), name="field")
    array = array.assign_coords(by_rule("x", 8, lambda at: 10 * at, dtype="i8"))
    array = array.assign_coords(by_rule("time", 2, lambda at: 3600 * at, dtype="M8[s]"))
    array.time.attrs.clear()
    p = array.pyramid.build(2)
    assert (p.plan.axes[0].spacing, p.plan.axes[0].unit) == (3600, "second")
    p.to_ome_zarr(tmp_path)
    for ours, theirs in zip(p, xpyramid.open_pyramid(tmp_path, "field"), strict=True):
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.time, theirs.time)
