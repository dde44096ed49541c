"""Files that people have become pyramids, with all that the files say of themselves."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import xarray as xr
from PIL import Image
from rasterio.transform import from_origin

import xpyramid
from xpyramid.cli.main import main
from xpyramid.errors import SourceError
from xpyramid.sources import bioio_formats, datasets, describe_source, readers, tiff

# What rasterio does with the newest affine.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

RNG = np.random.default_rng(11)

OME = {
    "axes": "TCZYX",
    "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 2,
    "TimeIncrement": 1.5, "TimeIncrementUnit": "s",
    "Channel": {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Build a pyramid of a source by the command line; return what it says was found."""

    def call(source: str, *options: str, levels: int = 2) -> str:
        code = main(["build", source, "out.zarr", "--levels", str(levels), *options])
        printed = capsys.readouterr()
        assert (code, printed.err) == (0, "")
        return printed.out.splitlines()[0]

    return call


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Run:
    """Fail to build a pyramid; return the one line that says why."""

    def call(*arguments: str) -> str:
        assert main(["build", *arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not Path("out.zarr").exists()
        return said

    return call


def noise(*shape: int, dtype: str = "u2") -> np.ndarray[Any, Any]:
    return RNG.integers(0, 250, shape).astype(dtype)


def omero(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = xpyramid.open_pyramid(path).metadata["omero"]["channels"]
    return found


def check_as_xarray_sees_it(path: str, level: xr.DataArray) -> None:
    """Compare level 0 with what xarray opens without us."""
    name = str(level.name)
    opened = xr.open_dataset(f"{path}/0", engine="zarr", decode_cf=False)[name]
    np.testing.assert_array_equal(opened.values, level.values)
    for dim in level.dims:
        if dim in level.coords and level.coords[dim].dtype.kind == "f":
            np.testing.assert_array_equal(opened.coords[dim].values, level.coords[dim].values)
            assert opened.coords[dim].attrs == level.coords[dim].attrs


# OME-TIFF


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_ome_tiff(run: Run, options: dict[str, Any]) -> None:
    data = noise(2, 2, 3, 32, 40)
    tifffile.imwrite("scan.ome.tif", data, ome=True, metadata=OME, **options)
    assert run("scan.ome.tif") == (
        "scan.ome.tif: OME-TIFF; spacing t 1.5 second, z 2 micrometer, y 250 nanometer, "
        "x 0.25 micrometer; channels DAPI, GFP with colours"
    )
    pyramid = xpyramid.open_pyramid("out.zarr/scan")
    base = pyramid[0]
    assert base.dims == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(base, data)
    assert base.c.values.tolist() == ["DAPI", "GFP"]
    assert base.attrs == {}
    for dim, step, unit in [
        ("t", 1.5, "second"), ("z", 2, "micrometer"),
        ("y", 250, "nanometer"), ("x", 0.25, "micrometer"),
    ]:  # fmt: skip
        np.testing.assert_array_equal(base[dim], step * np.arange(base.sizes[dim]))
        assert base[dim].attrs == {"units": unit}
    assert [axis.unit for axis in pyramid.plan.axes][2:] == [
        "micrometer", "nanometer", "micrometer",
    ]  # fmt: skip
    assert [(one["label"], one["color"]) for one in omero("out.zarr/scan")] == [
        ("DAPI", "0000FF"), ("GFP", "00FF00"),
    ]  # fmt: skip
    check_as_xarray_sees_it("out.zarr/scan", base)
    assert pyramid[1].y[0] == 125  # the centre of two samples


def test_ome_tiff_of_one_channel_keeps_its_name_and_colour(run: Run) -> None:
    about = {"axes": "YX", "PhysicalSizeX": 1, "Channel": {"Name": ["DAPI"], "Color": [-1]}}
    tifffile.imwrite("one.ome.tif", noise(20, 30), ome=True, metadata=about)
    assert run("one.ome.tif") == (
        "one.ome.tif: OME-TIFF; spacing x 1 micrometer; channels DAPI with colours; "
        "no spacing found along y; give it with --spacing"
    )
    assert [(one["label"], one["color"]) for one in omero("out.zarr/one")] == [("DAPI", "FFFFFF")]


def save_series() -> list[np.ndarray[Any, Any]]:
    data = [noise(2, 20, 30), noise(24, 26)]
    with tifffile.TiffWriter("two.ome.tif", ome=True) as file:
        file.write(data[0], metadata={"axes": "CYX", "Name": "cells", "PhysicalSizeX": 3})
        file.write(data[1], metadata={"axes": "YX", "Name": "overview", "PhysicalSizeX": 7})
    return data


@pytest.mark.parametrize(("variable", "index"), [("cells", 0), ("0", 0), ("overview", 1), ("1", 1)])
def test_series_are_chosen_by_name_or_number(run: Run, variable: str, index: int) -> None:
    data = save_series()
    assert f"spacing x {[3, 7][index]} micrometer" in run("two.ome.tif", "--variable", variable)
    np.testing.assert_array_equal(xpyramid.open_pyramid("out.zarr/two")[0], data[index])


def test_other_series_are_not_forgotten(fail: Run) -> None:
    data = save_series()
    with pytest.warns(UserWarning, match=r"holds the series 0 \(cells\), 1 \(overview\)"):
        first = xpyramid.open_source("two.ome.tif")
    np.testing.assert_array_equal(first, data[0])
    assert "no series '2'; it has 0 (cells), 1 (overview)" in fail(
        "two.ome.tif", "out.zarr", "--variable", "2"
    )


def test_a_pyramid_in_a_tiff_is_its_level_0(run: Run) -> None:
    data = noise(64, 80)
    with tifffile.TiffWriter("pyramid.ome.tif", ome=True) as file:
        file.write(data, subifds=1, tile=(16, 16), metadata={"axes": "YX"})
        file.write(data[::2, ::2], subfiletype=1, tile=(16, 16))
    run("pyramid.ome.tif")
    np.testing.assert_array_equal(xpyramid.open_pyramid("out.zarr/pyramid")[0], data)


def test_xml_with_a_document_type_is_refused(fail: Run) -> None:
    xml = '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "b">]><OME>&a;</OME>'
    tifffile.imwrite("bomb.ome.tif", noise(8, 8), description=xml, metadata=None)
    assert "document type" in fail("bomb.ome.tif", "out.zarr")


def test_planes_in_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("whole.ome.tif", noise(4, 20, 30), ome=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile("whole.ome.tif") as file:
        xml = str(file.ome_metadata)
    other = '<UUID FileName="b.ome.tif">urn:uuid:00000000-0000-0000-0000-000000000001</UUID>'
    here = '<TiffData IFD="0" PlaneCount="4"/>'
    assert here in xml
    there = f'<TiffData FirstZ="4" IFD="0" PlaneCount="4">{other}</TiffData>'
    xml = xml.replace('SizeZ="4"', 'SizeZ="8"').replace(here, here + there)
    data, options = noise(4, 20, 30), {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite("a.ome.tif", data, description=xml.encode(), **options)
    with pytest.warns(UserWarning, match=r"failed to read 'b\.ome\.tif'.*zeroed"):
        array = xpyramid.open_source("a.ome.tif")
    np.testing.assert_array_equal(array[:4], data)
    assert not array[4:].any()
    assert capsys.readouterr().err == ""


# ImageJ


@pytest.mark.parametrize("unit", ["\\u00B5m", "micron", "um"])
def test_imagej(run: Run, unit: str) -> None:
    data = noise(2, 3, 2, 32, 40)
    ramp = np.arange(256, dtype="u1")
    about = {
        "axes": "TZCYX", "mode": "composite", "unit": unit, "spacing": 2.0, "finterval": 0.5,
        "Labels": ["DAPI", "GFP"] * 6, "Ranges": (0.0, 100.0, 5.0, 200.0), "zorigin": 1,
        "LUTs": [np.stack([0 * ramp, 0 * ramp, ramp]), np.stack([ramp, 0 * ramp, ramp])],
    }  # fmt: skip
    resolution = (1 / 0.25, 1 / 0.5)
    tifffile.imwrite("stack.tif", data, imagej=True, resolution=resolution, metadata=about)
    assert run("stack.tif") == (
        "stack.tif: ImageJ TIFF; spacing t 0.5 second, z 2, y 0.5, x 0.25 micrometer; origin z -2; "
        "channels DAPI, GFP with colours and windows"
    )
    base = xpyramid.open_pyramid("out.zarr/stack")[0]
    assert base.dims == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(base, data.transpose(0, 2, 1, 3, 4))
    assert base.c.values.tolist() == ["DAPI", "GFP"]
    assert base.z.values.tolist() == [-2, 0, 2]
    assert base.z.units == base.y.units == "micrometer"
    first, second = omero("out.zarr/stack")
    assert (first["color"], second["color"]) == ("0000FF", "FF00FF")
    assert second["window"] == {"min": 5, "start": 5, "end": 200, "max": 200}
    check_as_xarray_sees_it("out.zarr/stack", base)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, "ImageJ TIFF; no spacing found"),
        ({"unit": "pixel", "spacing": 1.0}, "ImageJ TIFF; no spacing found"),
        ({"spacing": 3.0}, "ImageJ TIFF; spacing z 3 (no unit); no spacing found along y, x"),
        ({"unit": "nm"}, "ImageJ TIFF; spacing y 1, x 1 nanometer; no spacing found along z"),
        ({"min": 5.0, "max": 90.0}, "ImageJ TIFF; 1 channel with windows; no spacing found"),
    ],
)
def test_imagej_that_says_little(about: dict[str, Any], said: str) -> None:
    tifffile.imwrite("stack.tif", noise(3, 20, 30), imagej=True, metadata={"axes": "ZYX", **about})
    assert describe_source(xpyramid.open_source("stack.tif")) == said


def test_labels_of_planes_are_no_names_of_channels() -> None:
    labels = [f"plane {i}" for i in range(6)]
    about = {"axes": "ZCYX", "Labels": labels}
    tifffile.imwrite("stack.tif", noise(3, 2, 20, 30), imagej=True, metadata=about)
    assert "c" not in xpyramid.open_source("stack.tif").coords


# Plain TIFF


def test_resolution_for_printing_is_no_spacing(run: Run) -> None:
    tifffile.imwrite("photo.tif", noise(20, 30, dtype="u1"), resolution=(72, 72), resolutionunit=2)
    wanted = "photo.tif: TIFF; no spacing found"
    assert run("photo.tif") == f"{wanted}; give it with --spacing"
    assert run("photo.tif", "--spacing", "0.5", "--group", "again") == "photo.tif: TIFF"
    assert xpyramid.open_pyramid("out.zarr/again").plan.scale(0) == (0.5, 0.5)


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_of_a_tiff_have_names(run: Run, alpha: bool) -> None:
    data = noise(20, 30, 4 if alpha else 3, dtype="u1")
    options = {"extrasamples": ["unassalpha"]} if alpha else {}
    tifffile.imwrite("photo.tif", data, photometric="rgb", compression="zlib", **options)
    assert "channels red, green, blue" in run("photo.tif")
    base = xpyramid.open_pyramid("out.zarr/photo")[0]
    assert base.c.values.tolist() == ["red", "green", "blue", "alpha"][: len(base)]
    np.testing.assert_array_equal(base, data.transpose(2, 0, 1))


def test_photograph(run: Run) -> None:
    Image.fromarray(noise(20, 30, 3, dtype="u1")).save("photo.png")
    assert run("photo.png") == (
        "photo.png: PNG; channels red, green, blue; no spacing found; give it with --spacing"
    )
    assert xpyramid.open_pyramid("out.zarr/photo")[0].c.values.tolist() == ["red", "green", "blue"]


@pytest.mark.skipif(importlib.util.find_spec("imagecodecs") is not None, reason="can decode it")
def test_compression_that_needs_a_package(fail: Run) -> None:
    Image.fromarray(noise(20, 30, dtype="u1")).save("lzw.tif", compression="tiff_lzw")
    said = fail("lzw.tif", "out.zarr")
    assert "compressed with LZW, which needs imagecodecs; pip install 'xpyramid[tiff]'" in said


# GeoTIFF


def save_geotiff(
    bands: int, descriptions: tuple[str, ...] | None = ("blue", "green", "nir"), **options: Any
) -> np.ndarray[Any, Any]:
    data = noise(bands, 40, 50, dtype="f4" if bands == 1 else "u1")
    profile = {"driver": "GTiff", "width": 50, "height": 40, "count": bands, "crs": "EPSG:32633"}
    where = from_origin(500000, 4800000, 10, 10)
    with rasterio.open(
        "dem.tif", "w", dtype=data.dtype, transform=where, nodata=7, **profile, **options
    ) as file:
        file.write(data)
        if bands > 1 and descriptions:
            file.descriptions = descriptions
    return data


def test_geotiff_of_one_band(run: Run) -> None:
    data = save_geotiff(1)
    assert run("dem.tif") == (
        "dem.tif: GeoTIFF; spacing y -10, x 10 meter; origin y 4799995, x 500005; "
        "reference system WGS 84 / UTM zone 33N; missing value 7.0"
    )
    base = xpyramid.open_pyramid("out.zarr/dem")[0]
    assert base.dims == ("y", "x")
    np.testing.assert_array_equal(base, data[0])
    assert base.y.values[:2].tolist() == [4799995, 4799985]
    assert base.x.attrs["units"] == "metre"
    assert base.attrs["_FillValue"] == 7
    assert "UTM zone 33N" in base.spatial_ref.attrs["crs_wkt"]
    assert "scale_factor" not in base.attrs
    level = xpyramid.open_pyramid("out.zarr/dem")[1].values
    windows = np.where(data[0] == 7, np.nan, data[0]).reshape(20, 2, 25, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wanted = np.nanmean(windows, axis=(1, 3))
    np.testing.assert_allclose(level, np.where(np.isnan(wanted), 7, wanted))


def test_geotiff_of_several_bands(run: Run) -> None:
    data = save_geotiff(3, tiled=True, blockxsize=16, blockysize=16)
    said = run("dem.tif", "--conventions", "geozarr")
    assert "channels blue, green, nir; reference system" in said
    pyramid = xpyramid.open_pyramid("out.zarr/dem")
    assert pyramid[0].band.values.tolist() == ["blue", "green", "nir"]
    assert pyramid.plan.levels[0].chunks == (1, 16, 16)
    np.testing.assert_array_equal(pyramid[0], data)
    assert [one["label"] for one in omero("out.zarr/dem")] == ["blue", "green", "nir"]


def test_bands_of_an_orthophoto_are_colours() -> None:
    save_geotiff(3, photometric="rgb", descriptions=None)
    assert xpyramid.open_source("dem.tif").band.values.tolist() == ["red", "green", "blue"]


def test_geotiff_is_read_when_asked_for() -> None:
    save_geotiff(1)
    array = xpyramid.open_source("dem.tif")
    assert not array._in_memory
    array.pyramid.build(levels=2)
    assert not array._in_memory


def test_geotiff_without_rioxarray(monkeypatch: pytest.MonkeyPatch) -> None:
    data = save_geotiff(1)
    monkeypatch.setattr(tiff, "is_installed", lambda _: False)
    with pytest.warns(UserWarning, match=r"left out; pip install 'xpyramid\[geotiff\]'"):
        array = xpyramid.open_source("dem.tif")
    np.testing.assert_array_equal(array, data[0])


# netCDF, HDF5, GRIB


def climate() -> xr.Dataset:
    """Return hourly temperatures as reanalyses have them: from the north to the south."""
    coords = {
        "time": np.arange("2020-01-01T00", "2020-01-01T04", dtype="M8[h]").astype("M8[ns]"),
        "latitude": ("latitude", np.arange(50, 40, -0.25), {"units": "degrees_north"}),
        "longitude": ("longitude", np.arange(0, 12, 0.25), {"units": "degrees_east"}),
    }
    kelvin = 280 + np.round(10 * RNG.random((4, 40, 48)), 2)
    kelvin[0, 0, 0] = np.nan
    dims = ("time", "latitude", "longitude")
    attrs = {"units": "K", "long_name": "2 metre temperature"}
    return xr.Dataset({"t2m": (dims, kelvin, attrs)}, coords)


PACKED = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 285.0, "_FillValue": -32767}


@pytest.mark.filterwarnings("ignore::xpyramid.errors.ViewerWarning")
@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_netcdf(run: Run, engine: Any) -> None:
    if engine == "h5netcdf":
        pytest.importorskip("h5py")
    dataset = climate()
    dataset.to_netcdf("era5.nc", engine=engine, encoding={"t2m": PACKED})
    with pytest.warns(UserWarning, match="'t2m' is packed in its file .*dtype='source'"):
        said = run("era5.nc")
    assert said == (
        "era5.nc: netCDF; spacing time 3600 second, latitude -0.25 degrees_north, "
        "longitude 0.25 degrees_east; origin latitude 50"
    )
    base = xpyramid.open_pyramid("out.zarr/t2m")[0]
    with xr.open_dataset("era5.nc", engine=engine) as opened:
        xr.testing.assert_identical(base.compute(), opened.t2m.compute())
    assert np.isnan(base[0, 0, 0])
    np.testing.assert_allclose(base, dataset.t2m, atol=0.005 + 1e-9)
    with xr.open_dataset("out.zarr/t2m/0", engine="zarr") as plain:
        np.testing.assert_array_equal(plain.t2m, base)
        assert plain.y.values[0] == 50
    run("era5.nc", "--dtype", "source", "--group", "packed/t2m")
    with xr.open_dataset("out.zarr/packed/t2m/0", engine="zarr") as plain:
        assert plain.t2m.encoding["dtype"] == "int16"
        np.testing.assert_array_equal(plain.t2m, base)


def test_old_netcdf_needs_no_further_package(run: Run) -> None:
    climate().to_netcdf("old.nc", engine="scipy", format="NETCDF3_CLASSIC")
    assert run("old.nc").startswith("old.nc: netCDF; spacing time")


def test_variables_of_a_netcdf(run: Run, fail: Run) -> None:
    dataset = climate()
    dataset = dataset.assign(u10=dataset.t2m - 280, crs=((), 0, {"grid_mapping_name": "latlong"}))
    dataset.to_netcdf("both.nc")
    said = fail("both.nc", "out.zarr")
    assert (
        "choose one: crs (), t2m (time, latitude, longitude), u10 (time, latitude, longitud" in said
    )
    assert "no variable 'v10'; it has crs ()" in fail("both.nc", "out.zarr", "--variable", "v10")
    run("both.nc", "--variable", "u10")
    np.testing.assert_array_equal(xpyramid.open_pyramid("out.zarr/u10")[0], dataset.u10)


def test_groups_of_a_netcdf(run: Run, fail: Run) -> None:
    dataset = climate()
    dataset.to_netcdf("deep.nc", group="model/surface")
    dataset.isel(time=0).to_netcdf("deep.nc", group="obs", mode="a")
    assert "model/surface/t2m (time, latitude, longitude), obs/t2m" in fail("deep.nc", "out.zarr")
    run("deep.nc", "--variable", "obs/t2m")
    assert xpyramid.open_pyramid("out.zarr/t2m")[0].dims == ("latitude", "longitude")


def test_variable_with_a_reference_system(run: Run) -> None:
    dataset = climate().assign_coords(crs=((), 0, {"grid_mapping_name": "latitude_longitude"}))
    dataset.t2m.attrs["grid_mapping"] = "crs"
    dataset.reset_coords("crs").to_netcdf("map.nc")
    assert "reference system latitude_longitude" in run("map.nc")
    assert "crs" in xpyramid.open_pyramid("out.zarr/t2m")[0].coords


def save_hdf5(path: str, **data: np.ndarray[Any, Any]) -> None:
    """Write data sets whose dimensions have no names."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file[name.replace("__", "/")] = values


@pytest.mark.parametrize("without", ["netCDF4", "h5py"])
def test_bare_hdf5(run: Run, monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    monkeypatch.setattr(datasets, "is_installed", lambda package: package != without)
    data = noise(4, 30, 30)
    save_hdf5("volume.h5", em__raw=data)
    with pytest.warns(UserWarning, match=r"'raw' \(4, 30, 30\); they are taken for z, y, x"):
        array = xpyramid.open_source("volume.h5")
    assert array.dims == ("z", "y", "x")
    np.testing.assert_array_equal(array, data)
    assert run("volume.h5", "--source-dims", "t,y,x") == (
        "volume.h5: HDF5; no spacing found; give it with --spacing"
    )
    stored = xpyramid.open_pyramid("out.zarr/raw")
    assert (stored[0].dims, stored[1].shape) == (("t", "y", "x"), (4, 15, 15))
    save_hdf5("many.h5", a__raw=data, b__raw=data[0])
    with pytest.raises(SourceError, match=r"choose one: a/raw \(4, 30, 30\), b/raw \(30, 30\)"):
        xpyramid.open_source("many.h5")


@pytest.mark.parametrize(
    ("start", "package", "extra"),
    [
        (b"\x89HDF\r\n\x1a\n", "h5netcdf", "netcdf"),
        (b"CDF\x01", "netcdf4", "netcdf"),
        (b"GRIB\0\0\0\2", "cfgrib", "grib"),
    ],
)
def test_missing_engines(
    fail: Run, monkeypatch: pytest.MonkeyPatch, start: bytes, package: str, extra: str
) -> None:
    monkeypatch.setattr(datasets, "is_installed", lambda _: False)
    Path("unnamed.dat").write_bytes(start)  # known by how it begins
    said = fail("unnamed.dat", "out.zarr")
    assert f"which needs {package}; pip install 'xpyramid[{extra}]'" in said


def test_damaged_netcdf(fail: Run) -> None:
    Path("cut.nc").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert "cannot read 'cut.nc'" in fail("cut.nc", "out.zarr")
    Path("text.nc").write_text("no numbers")
    assert "cannot read 'text.nc'" in fail("text.nc", "out.zarr")


def test_every_extra_that_messages_name_exists() -> None:
    root = Path(xpyramid.__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    code = "".join(path.read_text() for path in (root / "src/xpyramid/sources").glob("*.py"))
    named = {*re.findall(r"xpyramid\[(\w+)\]", code), "netcdf", "grib"}
    assert {"tiff", "geotiff", "netcdf", "grib"} <= named <= set(extras)


# Formats of microscopes


class _FakeImage:
    """Stands for bioio's BioImage, of which no plugin's files can be made here."""

    scenes = ("Image:0", "Image:1")
    channel_names = ("DAPI", "GFP")
    time_interval = None

    class physical_pixel_sizes:  # noqa: N801
        Z, Y, X = 2.0, 0.5, None

    def __init__(self, path: Path) -> None:
        assert path.name == "cells.czi"
        self._scene = "Image:0"

    def set_scene(self, scene: str) -> None:
        self._scene = scene

    @property
    def xarray_dask_data(self) -> xr.DataArray:
        data = np.full((1, 2, 3, 20, 30), self.scenes.index(self._scene), "u2")
        array = xr.DataArray(data, dims=tuple("TCZYX"), attrs={"unprocessed": object()})
        return array.assign_coords(C=["DAPI", "GFP"]).chunk()


@pytest.fixture
def fake_bioio(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    module = types.SimpleNamespace(BioImage=_FakeImage)
    monkeypatch.setitem(__import__("sys").modules, "bioio", module)
    monkeypatch.setattr(bioio_formats, "is_installed", lambda _: True)
    Path("cells.czi").touch()


@pytest.mark.usefixtures("fake_bioio")
def test_bioio(run: Run, fail: Run) -> None:
    assert "no scene 'other'; it has Image:0, Image:1" in fail(
        "cells.czi", "out.zarr", "--variable", "other"
    )
    assert run("cells.czi", "--variable", "Image:1") == (
        "cells.czi: CZI; spacing z 2, y 0.5 (no unit); channels DAPI, GFP; "
        "no spacing found along x; give it with --spacing"
    )
    base = xpyramid.open_pyramid("out.zarr/cells")[0]
    assert (base.dims, base.shape) == (("c", "z", "y", "x"), (2, 3, 20, 30))
    assert (base == 1).all()
    with pytest.warns(UserWarning, match="holds the scenes Image:0, Image:1"):
        assert (xpyramid.open_source("cells.czi") == 0).all()


@pytest.mark.parametrize(
    ("suffix", "plugin"), [(".czi", "bioio-czi"), (".nd2", "bioio-nd2"), (".LIF", "bioio-lif")]
)
def test_missing_bioio(
    fail: Run, monkeypatch: pytest.MonkeyPatch, suffix: str, plugin: str
) -> None:
    monkeypatch.setattr(bioio_formats, "is_installed", lambda _: False)
    Path(f"cells{suffix}").write_bytes(b"?")
    said = fail(f"cells{suffix}", "out.zarr")
    assert f"needs bioio and {plugin}; pip install bioio {plugin}\n" in said


# The rest


def test_what_nothing_reads(fail: Run) -> None:
    Path("brain.nii").write_bytes(b"\0" * 400)
    assert "not in a known format; accepted: OME-Zarr, Zarr, TIFF" in fail("brain.nii", "out.zarr")


def test_public_function_takes_paths_and_names() -> None:
    np.save("scan.npy", noise(20, 30))
    array = xpyramid.open_source(Path("scan.npy"), name="lung", dims=("z", "x"))
    assert (array.name, array.dims) == ("lung", ("z", "x"))
    assert array.encoding["source"] == "scan.npy"
    assert array.encoding["format"] == "NumPy"
    with pytest.raises(ValueError, match="path=5"):
        xpyramid.open_source(5)  # type: ignore[arg-type]


def test_packages_are_looked_for_and_not_imported() -> None:
    assert readers.is_installed("numpy")
    assert not readers.is_installed("no_such_package")


@pytest.mark.parametrize(
    ("photometric", "message"),
    [("palette", "holds indices of a palette"), ("miniswhite", "has 0 for white")],
)
def test_samples_that_are_no_brightness(photometric: str, message: str) -> None:
    values = np.arange(32 * 32, dtype="u1").reshape(32, 32)
    colours = {"colormap": np.zeros((3, 256), "u2")} if photometric == "palette" else {}
    tifffile.imwrite("a.tif", values, photometric=photometric, **colours)
    with pytest.warns(UserWarning, match=message):
        xpyramid.open_source("a.tif")


def test_missing_data_of_gdal_without_a_georeference(tmp_path: Path) -> None:
    data = np.full((4, 4), 10, "i2")
    data[0] = -9999
    tifffile.imwrite(tmp_path / "a.tif", data, extratags=[(42113, 2, 6, "-9999", True)])
    opened = xpyramid.open_source(tmp_path / "a.tif")
    assert opened.attrs["_FillValue"] == np.int16(-9999)
    assert opened.pyramid.build(levels=2)[1].values.tolist() == [[10, 10], [10, 10]]
    tifffile.imwrite(tmp_path / "b.tif", data.astype("f4"), extratags=[(42113, 2, 4, "nan", True)])
    assert "_FillValue" not in xpyramid.open_source(tmp_path / "b.tif").attrs


def test_orientations_of_a_tiff_are_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6), "u1"), extratags=[(274, 3, 1, 6, True)])
    with pytest.warns(UserWarning, match=r"rotated or mirrored \(Orientation 6\)"):
        assert xpyramid.open_source(tmp_path / "a.tif").shape == (4, 6)
