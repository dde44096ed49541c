"""GeoZarr's attributes beside OME's: corners, signs, reference systems."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors

UTM = 'PROJCRS["WGS 84 / UTM 31N",BASEGEOGCRS["WGS 84",ID["EPSG",4326]],ID["EPSG",32631]]'
OLD = 'GEOGCS["WGS 84",AUTHORITY["EPSG","4326"]]'


def terrain(wkt: str | None = UTM) -> xr.DataArray:
    """Return a map in 10 m cells whose upper left corner is (500, 9000)."""
    coords: dict[str, Any] = {
        "y": ("y", 9000 - 10 * (np.arange(21) + 0.5), {"units": "m"}),
        "x": ("x", 500 + 10 * (np.arange(34) + 0.5), {"units": "m"}),
    }
    if wkt is not None:
        coords["spatial_ref"] = ((), 0, {"crs_wkt": wkt})
    values = np.arange(21 * 34, dtype="f4").reshape(21, 34)
    return xr.DataArray(values, coords, ("y", "x"), "terrain")


def written(path: Path, array: xr.DataArray, **options: Any) -> dict[str, Any]:
    array.pyramid.to_ome_zarr(path, conventions=["geozarr"], **{"levels": 3} | options)
    return dict(zarr.open_group(path / "terrain", mode="r").attrs)


@pytest.mark.parametrize("version", ["0.5", "0.6"])
@pytest.mark.parametrize("layout", ["groups", "arrays"])
@pytest.mark.parametrize("method", ["mean", "nearest"])
def test_levels(tmp_path: Path, version: str, layout: str, method: str) -> None:
    """All levels begin at one corner; the centres of their cells are the coordinates."""
    options = {"version": version, "layout": layout, "method": method}
    attrs = written(tmp_path, terrain(), **options)
    back = xpyramid.open_pyramid(tmp_path / "terrain")
    assert attrs["ome"]["version"] == version
    assert attrs["spatial:dimensions"] == ["y", "x"]
    for k, (level, entry) in enumerate(zip(back, attrs["multiscales"]["layout"], strict=True)):
        assert entry["asset"] == str(k)
        assert entry.get("derived_from") == (None if k == 0 else "0")
        assert entry["transform"]["scale"] == [2.0**k] * 2
        a, b, c, d, e, f = entry["spatial:transform"]
        assert (a, b, d, e) == (10 * 2**k, 0, 0, -10 * 2**k)
        if method == "mean":
            assert (c, f) == (500, 9000)
        assert entry["spatial:shape"] == list(level.shape)
        np.testing.assert_allclose(c + a * (np.arange(level.sizes["x"]) + 0.5), level.x)
        np.testing.assert_allclose(f + e * (np.arange(level.sizes["y"]) + 0.5), level.y)


@pytest.mark.parametrize(
    ("wkt", "code"), [(UTM, "EPSG:32631"), (OLD, "EPSG:4326"), ("LOCAL_CS[]", None), (None, None)]
)
def test_reference_systems(tmp_path: Path, wkt: str | None, code: str | None) -> None:
    attrs = written(tmp_path, terrain(wkt))
    assert (attrs.get("proj:code"), attrs.get("proj:wkt2")) == (code, wkt)
    names = [convention["name"] for convention in attrs["zarr_conventions"]]
    assert names == ["multiscales", "spatial", *(["proj"] if wkt else [])]
    if wkt:  # passed through
        level = xpyramid.open_pyramid(tmp_path / "terrain")[2]
        assert level.spatial_ref.attrs == {"crs_wkt": wkt}


def test_a_grid_mapping_of_another_name(tmp_path: Path) -> None:
    array = terrain().rename(spatial_ref="crs").assign_attrs(grid_mapping="crs")
    assert written(tmp_path, array)["proj:code"] == "EPSG:32631"


def test_other_dimensions(tmp_path: Path) -> None:
    array = terrain().expand_dims(time=np.array(["2025-01-01"], "M8[ns]"))
    entry = written(tmp_path, array)["multiscales"]["layout"][1]
    assert entry["spatial:shape"] == [11, 17]
    assert entry["transform"]["scale"] == [1, 2, 2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"version": "0.4"}, errors.PlanError, "accepted: version='0.5'"),
        ({"conventions": "geozarr"}, errors.PlanError, r"accepted: \['geozarr'\]"),
        ({"conventions": ["stac"]}, errors.PlanError, r"accepted: \['geozarr'\]"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    options = {"conventions": ["geozarr"]} | options
    with pytest.raises(error, match=message):
        terrain().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, **options)
    assert not list(tmp_path.iterdir())


def test_no_map(tmp_path: Path) -> None:
    array = terrain(None).rename(y="z").drop_vars("z")
    with pytest.raises(errors.AxisError, match="it needs y and x"):
        array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, conventions=["geozarr"])


def test_geozarr_toolkit(tmp_path: Path) -> None:
    toolkit = pytest.importorskip(
        "geozarr_toolkit", reason="pip install 'xpyramid[peers]', on Python 3.12 or newer"
    )
    written(tmp_path, terrain())
    group = zarr.open_group(tmp_path / "terrain", mode="r")
    attrs = dict(group.attrs)
    assert toolkit.validate_multiscales(attrs) == (True, [])
    assert toolkit.validate_spatial(attrs) == (True, [])
    assert toolkit.helpers.validation.validate_multiscales_structure(group) == (True, [])
    assert set(toolkit.detect_conventions(attrs)) == {"multiscales", "spatial", "proj"}


def with_transform(**attrs: Any) -> xr.DataArray:
    """Return the map with its place as GDAL and rioxarray write it."""
    array = terrain()
    array.spatial_ref.attrs["GeoTransform"] = "500.0 10.0 0.0 9000.0 0.0 -10.0"
    array.encoding["grid_mapping"] = "spatial_ref"
    return array.assign_attrs(attrs)


@pytest.mark.parametrize("coords", [["y", "x"], []])
@pytest.mark.parametrize("method", ["mean", "nearest"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_level_says_where_it_lies(
    tmp_path: Path, coords: list[str], method: str, version: str
) -> None:
    affine = (10.0, 0.0, 500.0, 0.0, -10.0, 9000.0)
    array = with_transform(transform=affine, res=(10.0, 10.0))
    array = array.drop_vars({"y", "x"} - set(coords))
    pyramid = array.pyramid.build(factor=[{"y": 2, "x": 2}, {"x": 2}], method=method)
    pyramid.to_ome_zarr(tmp_path, version=version)
    opened = xpyramid.open_pyramid(tmp_path / "terrain")
    opened.to_ome_zarr(tmp_path, "again", version=version)
    again = xpyramid.open_pyramid(tmp_path / "again")
    for levels in (pyramid, opened, again):
        for level, (down, across) in zip(levels, [(1, 1), (2, 2), (2, 4)], strict=True):
            left, dx, _, top, _, dy = map(float, level.spatial_ref.attrs["GeoTransform"].split())
            assert (dx, dy) == (10 * across, -10 * down)
            if method == "mean":
                assert (left, top) == (500, 9000)
            if coords:
                assert (left + dx / 2, top + dy / 2) == (level.x[0], level.y[0])
            assert tuple(level.attrs["transform"]) == (dx, 0, left, 0, dy, top)
            assert tuple(level.attrs["res"]) == (dx, -dy)
    for first, second in zip(pyramid, opened, strict=True):
        assert first.spatial_ref.identical(second.spatial_ref.load())


def test_coordinates_count_for_more_than_a_transform_that_was_not_sliced() -> None:
    level = with_transform()[4:, 2:].pyramid.build(levels=2)[1]
    assert level.spatial_ref.attrs["GeoTransform"] == "520.0 20.0 0.0 8960.0 0.0 -20.0"


def test_places_of_turned_and_of_uneven_maps() -> None:
    array = with_transform().drop_vars(["y", "x"])
    array.spatial_ref.attrs["GeoTransform"] = "500 10 1 9000 2 -10"
    level = array.pyramid.build(factor=[{"y": 2, "x": 4}])[1]
    assert level.spatial_ref.attrs["GeoTransform"] == "500.0 40.0 2.0 9000.0 8.0 -20.0"
    uneven = with_transform().assign_coords(x=np.geomspace(500, 900, 34))
    levels = uneven.pyramid.build(levels=2, factor=2)
    assert "GeoTransform" in levels[0].spatial_ref.attrs
    assert "GeoTransform" not in levels[1].spatial_ref.attrs


@pytest.mark.parametrize("value", ["east", "1 2 3", 7, [1, 2], ["a"] * 6])
def test_attributes_that_are_no_transform(value: Any) -> None:
    array = with_transform(transform=value)
    array.spatial_ref.attrs["GeoTransform"] = value
    level = array.pyramid.build(levels=2)[1]
    assert level.attrs["transform"] == level.spatial_ref.attrs["GeoTransform"] == value


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of rioxarray
def test_rioxarray_finds_every_level(tmp_path: Path) -> None:
    pytest.importorskip("rioxarray")
    array = with_transform().rio.write_crs(32631)
    assert "GeoTransform" in array.spatial_ref.attrs
    array.pyramid.to_ome_zarr(tmp_path, levels=3)
    for k, level in enumerate(xpyramid.open_pyramid(tmp_path / "terrain")):
        plain = xr.open_zarr(tmp_path / f"terrain/{k}", decode_coords="all").terrain
        for found in (level, plain):
            assert found.rio.resolution() == (10 * 2**k, -10 * 2**k)
            assert found.rio.crs.to_epsg() == 32631
            a, *_, top = tuple(found.rio.transform())[:6]
            assert (a, top) == (10 * 2**k, 9000)


@pytest.mark.parametrize("names", ["ome", "source"])
@pytest.mark.parametrize("descending", [True, False])
def test_the_whole_map(tmp_path: Path, names: str, descending: bool) -> None:
    array = terrain() if descending else terrain()[::-1]
    attrs = written(tmp_path, array.rename(y="northing", x="easting"), names=names)
    assert attrs["spatial:bbox"] == [500, 8790, 840, 9000]
    dims = ["y", "x"] if names == "ome" else ["northing", "easting"]
    assert attrs["spatial:dimensions"] == dims


@pytest.mark.parametrize(
    ("method", "word"),
    [("mean", "average"), ("mode", "mode"), ("nearest", "nearest"), ("min", "min"),
     ("max", "max"), ("median", "median")],
)  # fmt: skip
def test_words_of_methods(tmp_path: Path, method: str, word: str) -> None:
    attrs = written(tmp_path, terrain().astype("i8"), method=method)
    assert attrs["multiscales"]["resampling_method"] == word
