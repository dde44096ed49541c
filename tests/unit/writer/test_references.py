"""What a variable names of others: grid mappings, coordinates, bounds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import spread

import xpyramid

WKT = 'GEOGCRS["WGS 84", ID["EPSG",4326]]'


def rain() -> xr.Dataset:
    """Return a Dataset as a CF file has it, undecoded."""
    crs = xr.Variable((), 0, {"crs_wkt": WKT, "grid_mapping_name": "latitude_longitude"})
    edges = np.arange(8.0)[:, None] + [-0.5, 0.5]
    values = np.arange(2 * 64, dtype="f4").reshape(2, 8, 8)
    attrs = {
        "grid_mapping": "crs", "cell_methods": "time: mean", "ancillary_variables": "quality",
        "coordinates": "height station",
    }  # fmt: skip
    return xr.Dataset(
        {
            "rain": (("time", "lat", "lon"), values, attrs),
            "crs": crs,
            "lat_bnds": (("lat", "nv"), edges),
            "time_bnds": (("time", "nv"), [[0, 1], [1, 2]]),
        },
        {
            "time": ("time", [0.5, 1.5], {"units": "days since 2000-01-01", "bounds": "time_bnds"}),
            "lat": ("lat", np.arange(8.0), {"units": "degrees_north", "bounds": "lat_bnds"}),
            "lon": ("lon", np.arange(8.0), {"units": "degrees_east"}),
            "height": ((), 2.0),
            "station": ("lat", np.arange(8.0)),
        },
    )


@pytest.mark.parametrize("decode", [False, True, "all"])
@pytest.mark.parametrize("names", ["ome", "source"])
def test_grid_mappings_of_a_dataset(tmp_path: Path, decode: Any, names: str) -> None:
    """Whether xarray has them as attributes or in the encoding, as variables or as coordinates."""
    ds = rain()
    ds.attrs["coordinates"] = "height station"
    ds.rain.attrs.pop("coordinates")
    ds = xr.decode_cf(ds, decode_coords=decode)
    with pytest.warns(UserWarning, match="bounds 'lat_bnds' of coordinate 'lat'"):
        pyramids = ds[["rain", "crs"]].pyramid.build(levels=2)
    ds.attrs.pop("coordinates", None)
    pyramids["rain"].to_ome_zarr(tmp_path, names=names)
    opened = xpyramid.open_pyramid(tmp_path / "rain")
    for k in (0, 1):
        plain = xr.open_zarr(tmp_path / f"rain/{k}")
        assert plain.rain.attrs["grid_mapping"] == "crs"
        assert plain.crs.attrs["crs_wkt"] == WKT
        whole = xr.open_zarr(tmp_path / f"rain/{k}", decode_coords="all")  # warns of nothing
        assert whole.rain.crs.attrs["crs_wkt"] == WKT
        assert opened[k].crs.attrs["crs_wkt"] == WKT
        where = opened[k].encoding if decode == "all" else opened[k].attrs
        assert where["grid_mapping"] == "crs"
        assert "grid_mapping" not in (opened[k].attrs if decode == "all" else opened[k].encoding)
    if decode == "all":  # lazy levels, too
        assert pyramids["rain"][1].encoding["grid_mapping"] == "crs"


@pytest.mark.parametrize("layout", ["groups", "arrays"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_xarray_moves_to_the_encoding(tmp_path: Path, version: str, layout: str) -> None:
    array = xr.decode_cf(rain(), decode_coords="all").rain
    array.lat.encoding.pop("bounds")
    assert {"grid_mapping", "coordinates"} <= array.encoding.keys()
    array.pyramid.to_ome_zarr(tmp_path, levels=2, version=version, layout=layout)
    path = "1/rain" if layout == "groups" else "1"
    stored = zarr.open_array(tmp_path / "rain" / path, mode="r").attrs
    assert stored["grid_mapping"] == "crs"
    assert stored["coordinates"] == "height station"
    assert stored["ancillary_variables"] == "quality"
    assert stored["cell_methods"] == "time: mean"
    for level in xpyramid.open_pyramid(tmp_path / "rain"):
        assert level.attrs == array.attrs
        for key in ("grid_mapping", "coordinates"):
            assert level.encoding[key] == array.encoding[key]
    if layout == "groups":
        opened = xpyramid.open_pyramid(tmp_path / "rain")
        xr.testing.assert_identical(opened[0].load(), array.load())
        assert opened[1].time.encoding["bounds"] == "time_bnds"
        plain = xr.open_zarr(tmp_path / "rain/1")
        assert {"height", "station", "crs"} <= set(plain.coords)


def test_lists_of_coordinates_have_their_stored_names(tmp_path: Path) -> None:
    array = xr.decode_cf(rain(), decode_coords=True).rain.drop_vars("height").rename(station="y")
    array.attrs.pop("grid_mapping")
    array.lat.attrs.pop("bounds")
    array.encoding["coordinates"] = "height y lat"
    array.pyramid.to_ome_zarr(tmp_path, levels=2)
    stored = zarr.open_array(tmp_path / "rain/1/rain", mode="r").attrs
    assert stored["coordinates"] == "y_ y"  # what is not there would hide what is
    opened = xpyramid.open_pyramid(tmp_path / "rain")
    assert opened[0].encoding["coordinates"] == "height y lat"
    xr.testing.assert_identical(opened[0].load(), array.load())


@pytest.mark.parametrize("moved", [False, True])
def test_bounds_of_finer_cells_are_not_left(moved: bool) -> None:
    array = xr.decode_cf(rain(), decode_coords="all" if moved else False).rain.drop_attrs(
        deep=False
    )
    with pytest.warns(UserWarning, match="bounds 'lat_bnds' of coordinate 'lat' are of") as warned:
        pyramid = array.pyramid.build(levels=3)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    pyramid.to_ome_zarr(store := {})
    opened = xpyramid.open_pyramid(store, "rain")
    for k, level in [*enumerate(pyramid), *enumerate(opened)]:
        said = [{**c.attrs, **c.encoding}.get("bounds") for c in (level.lat, level.time)]
        assert said == [None if k else "lat_bnds", "time_bnds"]


def test_coarsened_times_are_counted_as_they_were() -> None:
    array = xr.decode_cf(rain()).rain
    array.lat.attrs.pop("bounds")
    array.time.attrs.pop("bounds")
    level = array.pyramid.build(levels=2, dims=["time", "lat", "lon"], factor=2)[1]
    assert level.time.encoding["units"] == "days since 2000-01-01"


def test_a_grid_mapping_that_is_not_there(tmp_path: Path) -> None:
    array = xr.decode_cf(rain(), decode_coords=True).rain
    array.lat.attrs.pop("bounds")
    with pytest.warns(UserWarning, match="grid mapping 'crs' is not a coordinate of the array"):
        array.pyramid.to_ome_zarr(tmp_path, levels=2)
    xr.open_zarr(tmp_path / "rain/1", decode_coords="all")  # warns of nothing
    assert xpyramid.open_pyramid(tmp_path / "rain")[1].attrs["grid_mapping"] == "crs"


def edges(dataset: xr.Dataset | xr.DataArray, name: str) -> list[Any]:
    return [[float(v) for v in cell] for cell in dataset[name].values]


@pytest.mark.parametrize(
    ("decode", "names", "version"),
    spread(2, [False, True, "all"], ["ome", "source"], ["0.4", "0.5"]),
)
def test_bounds_of_a_dataset_come_along(
    tmp_path: Path, decode: Any, names: str, version: str
) -> None:
    """Those of cells that are larger reach from the first edge of a window to its last."""
    ds = xr.decode_cf(rain().isel(lat=slice(7)), decode_coords=decode)
    pyramid = ds.pyramid.build(levels=3)["rain"]
    pyramid.to_ome_zarr(tmp_path, names=names, version=version)
    opened = xpyramid.open_pyramid(tmp_path, "rain")
    opened.to_ome_zarr(again := {}, names=names, version=version)
    for tree in (pyramid, opened, xpyramid.open_pyramid(again, "rain")):
        for k in (0, 1, 2):
            level = tree.to_datatree()[str(k)].to_dataset()
            wanted = [[a - 0.5, min(a + 2**k, 7) - 0.5] for a in range(0, 7, 2**k)]
            assert edges(level, "lat_bnds") == wanted
            xr.testing.assert_equal(level.time_bnds.variable.load(), ds.time_bnds.variable)
            for name in ("lat", "time"):
                where = tree[k][name].encoding if decode == "all" else tree[k][name].attrs
                assert where["bounds"] == f"{name}_bnds"
    for k in (0, 1, 2):  # and plain xarray finds them, and what they are
        plain = xr.open_zarr(tmp_path / f"rain/{k}", decode_coords="all")  # warns of nothing
        stored = {"lat": "y", "time": "t"} if names == "ome" else {"lat": "lat", "time": "time"}
        for name, own in stored.items():
            assert plain[own].encoding["bounds"] == f"{name}_bnds"
            assert plain[f"{name}_bnds"].dims == (own, "nv")
        np.testing.assert_array_equal(plain.time_bnds, ds.time_bnds)
    assert xpyramid.verify(tmp_path, deep=True) == []


@pytest.mark.parametrize(("method", "cell"), [("mean", [0.5, -3.5]), ("nearest", [0.5, -0.5])])
def test_bounds_keep_their_direction(method: str, cell: list[float]) -> None:
    ds = rain().assign_coords(lat=("lat", -np.arange(8.0), {"bounds": "lat_bnds"}))
    ds["lat_bnds"] = ("lat", "nv"), -rain().lat_bnds.values
    tree = ds.pyramid.build(levels=2, factor={"lat": 4}, method=method)["rain"].to_datatree()
    assert edges(tree["1"], "lat_bnds")[0] == cell
    ds["lat_bnds"] = ds.lat_bnds[:, ::-1]  # each from the lower to the upper, as some write them
    tree = ds.pyramid.build(levels=2, factor={"lat": 4}, method=method)["rain"].to_datatree()
    assert edges(tree["1"], "lat_bnds")[0] == cell[::-1]


def test_bounds_of_times_that_are_coarsened() -> None:
    ds = xr.decode_cf(rain())
    pyramid = ds.pyramid.build(levels=2, factor={"time": 2, "lat": 2})["rain"]
    pyramid.to_ome_zarr(store := {})
    opened = xpyramid.open_pyramid(store, "rain").to_datatree()["1"]
    days = np.array(["2000-01-01", "2000-01-03"], "M8[ns]")
    np.testing.assert_array_equal(opened.time_bnds, [days])


def test_bounds_that_cannot_be_told_go_with_a_word_and_no_trace() -> None:
    """Those of climatologies, and of cells in two dimensions."""
    ds = rain().drop_vars("lat_bnds")
    del ds.lat.attrs["bounds"]
    ds.time.attrs["climatology"] = ds.time.attrs.pop("bounds")
    ds["area"] = ("lat", "lon"), np.ones((8, 8)), {"bounds": "corners"}
    ds["corners"] = ("lat", "lon", "vertex"), np.ones((8, 8, 4))
    ds = xr.decode_cf(ds.set_coords("area"))
    with pytest.warns(UserWarning, match="'corners' of coordinate 'area'") as said:
        pyramid = ds.pyramid.build(levels=2, factor=2, dims=("time", "lat", "lon"))["rain"]
    assert "'time_bnds' of coordinate 'time'" in str(said[0].message)
    pyramid.to_ome_zarr(store := {})
    for tree in (pyramid, xpyramid.open_pyramid(store, "rain")):
        whole, coarse = (tree.to_datatree()[str(k)] for k in (0, 1))
        assert {"corners", "time_bnds"} <= {*whole.coords}
        assert not {"corners", "time_bnds"} & {*coarse.coords}
        for name in ("area", "time"):
            assert not {"bounds", "climatology"} & {*coarse[name].attrs, *coarse[name].encoding}


def test_bounds_have_no_place_beside_arrays() -> None:
    pyramid = xr.decode_cf(rain()).pyramid.build(levels=2)["rain"]
    with pytest.warns(UserWarning, match="bounds .*'lat_bnds'.* are not stored: layout='arrays'"):
        pyramid.to_ome_zarr(store := {}, layout="arrays")
    for level in xpyramid.open_pyramid(store, "rain"):
        assert not any("bounds" in {**c.attrs, **c.encoding} for c in level.coords.values())
    assert pyramid[0].lat.attrs["bounds"] == "lat_bnds"


def test_bounds_along_a_dimension_that_is_called_as_an_axis() -> None:
    ds = rain().rename(nv="x")
    ds["of_height"] = ("x", [0.0, 4.0])
    ds.height.attrs["bounds"] = "of_height"
    ds.pyramid.build(levels=2)["rain"].to_ome_zarr(store := {})
    tree = xpyramid.open_pyramid(store, "rain").to_datatree()["1"]
    assert tree.lat_bnds.dims == ("lat", "x_bounds")
    assert tree.of_height.values.tolist() == [0, 4]
