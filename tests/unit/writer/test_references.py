"""What a variable names of others: grid mappings, coordinates, bounds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

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
