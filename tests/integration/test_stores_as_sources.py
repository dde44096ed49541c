"""OME-Zarr images, their levels, and groups and arrays of Zarr, as what a pyramid is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid.cli.main import main
from xpyramid.errors import NotAPyramidError, SourceError
from xpyramid.sources import describe_source

DATA = np.random.default_rng(5).integers(0, 999, (2, 16, 24)).astype("u2")
CHANNELS = [
    {"label": "DAPI", "color": "0000FF", "window": {"min": 0, "start": 5, "end": 50, "max": 999}},
    {"label": "GFP", "color": "00FF00", "window": {"min": 0, "start": 1, "end": 90, "max": 999}},
]

versions = pytest.mark.parametrize("version", ["0.4", "0.5"])


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def foreign(path: str, version: str, **more: Any) -> None:
    """Write an image of two levels as somebody else would."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
    axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    datasets = []
    for k in (0, 1):
        step = 2**k
        group.create_array(f"s{k}", data=DATA[:, ::step, ::step], chunks=(1, 8, 8))
        transforms = [
            {"type": "scale", "scale": [1, 0.5 * step, 0.25 * step]},
            {"type": "translation", "translation": [0, 10 + 0.25 * (step - 1), 0]},
        ]
        datasets.append({"path": f"s{k}", "coordinateTransformations": transforms})
    image = {"version": version, "name": "brain", "axes": axes, "datasets": datasets}
    ome: dict[str, Any] = {"multiscales": [image], "omero": {"channels": CHANNELS}, **more}
    group.attrs.update(ome if version == "0.4" else {"ome": {"version": version, **ome}})


@versions
def test_image_of_others(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    foreign("scan.zarr", version)
    assert main(["build", "scan.zarr", "out.zarr", "--levels", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(
        "scan.zarr: OME-Zarr, level 0 of 2; spacing y 0.5, x 0.25 micrometer; origin y 10; "
        "channels DAPI, GFP with colours and windows\n"
    )
    assert printed.err == ""
    pyramid = xpyramid.open_pyramid("out.zarr/brain")
    base = pyramid[0]
    np.testing.assert_array_equal(base, DATA)
    np.testing.assert_array_equal(base.y, 10 + 0.5 * np.arange(16))
    assert base.x.units == "micrometer"
    assert base.c.values.tolist() == ["DAPI", "GFP"]
    for found, wanted in zip(pyramid.metadata["omero"]["channels"], CHANNELS, strict=True):
        assert {key: found[key] for key in wanted} == wanted
    assert "omero" not in base.attrs


@versions
@pytest.mark.parametrize("spelled", ["scan.zarr/s1", "./scan.zarr/s1/", "{here}/scan.zarr/s1"])
def test_level_of_an_image_of_others(version: str, spelled: str) -> None:
    foreign("scan.zarr", version)
    level = xpyramid.open_source(spelled.format(here=Path.cwd()))
    np.testing.assert_array_equal(level, DATA[:, ::2, ::2])
    np.testing.assert_array_equal(level.y, 10.25 + np.arange(8))
    np.testing.assert_array_equal(level.x, 0.5 * np.arange(12))
    assert level.attrs["omero"]["channels"] == CHANNELS
    assert (level.name, level.encoding["format"]) == ("brain", "OME-Zarr, level 1 of 2")


def test_level_by_url() -> None:
    field = xpyramid.example_field((64, 64), spacing=0.5)
    field.pyramid.to_ome_zarr("memory://lab/in.zarr", levels=2, layout="arrays", mode="w")
    for url in ("memory://lab/in.zarr/field/1", "memory://lab/in.zarr"):
        level = xpyramid.open_source(url)
        spacing = float(level.y[1] - level.y[0])
        assert spacing == (1 if url.endswith("1") else 0.5)


@pytest.mark.parametrize("layout", ["groups", "arrays"])
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_levels_of_ours(layout: Any, version: str) -> None:
    field = xpyramid.example_field((64, 64), spacing=0.5)
    field.pyramid.to_ome_zarr("in.zarr", levels=3, version=version, layout=layout)
    stored = xpyramid.open_pyramid("in.zarr/field")
    deep = "/field" if layout == "groups" else ""
    for path, level in {"": 0, "/field": 0, "/field/1": 1, f"/field/2{deep}": 2}.items():
        opened = xpyramid.open_source(f"in.zarr{path}")
        opened.attrs.pop("omero", None)  # which is metadata of the image in the store
        xr.testing.assert_identical(opened.compute(), stored[level].compute())


def test_archive() -> None:
    import shutil

    foreign("scan.zarr", "0.5")
    shutil.make_archive("scan", "zip", "scan.zarr")
    opened = xpyramid.open_source("scan.zip")
    np.testing.assert_array_equal(opened, DATA)
    assert opened.c.values.tolist() == ["DAPI", "GFP"]


def test_several_images(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("left", "right"):
        foreign(f"plate.zarr/{name}", "0.5")
    zarr.open_group("plate.zarr", mode="a")
    assert main(["build", "plate.zarr", "out.zarr"]) == 2
    said = capsys.readouterr().err
    images = "plate.zarr/left, plate.zarr/right"
    assert f"several images; give the path of one: {images}\n" in said
    with pytest.raises(SourceError, match=f"several images; give the path of one: {images}"):
        xpyramid.open_source("plate.zarr")
    assert main(["build", "plate.zarr/right", "out.zarr"]) == 0


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_group_that_lists_images_is_not_offered_as_one(version: str) -> None:
    array = xr.DataArray(DATA, dims=("c", "y", "x"))
    for name in ("left", "right"):
        array.rename(name).pyramid.to_ome_zarr("lab.zarr", levels=2, version=version)
    assert Path("lab.zarr/OME").is_dir()
    with pytest.raises(SourceError, match=r"; choose from lab.zarr/left, lab.zarr/right$"):
        xpyramid.open_source("lab.zarr", variable="left")
    with pytest.raises(NotAPyramidError, match=r"lab.zarr holds \['left', 'right'\]$"):
        xpyramid.open_pyramid("lab.zarr", "middle")
    zarr.create_array("other.zarr/OME", data=DATA)  # an array of that name holds something
    zarr.open_group("other.zarr", mode="a")
    with pytest.raises(NotAPyramidError, match=r"other.zarr holds \['OME'\]$"):
        xpyramid.open_pyramid("other.zarr", "middle")


def test_labels_stay_labels() -> None:
    foreign("cells.zarr", "0.5", **{"image-label": {"colors": [{"label-value": 1}]}})
    labels = xpyramid.open_source("cells.zarr")
    assert labels.pyramid.build(levels=2).method == "mode"


def test_image_with_broken_metadata_above_an_array() -> None:
    """The path is of an image, whose metadata make no sense; this is no time to guess."""
    foreign("scan.zarr", "0.5")
    group = zarr.open_group("scan.zarr", mode="a")
    ome: Any = group.attrs["ome"]
    ome["multiscales"][0]["axes"] = "yx"
    group.attrs["ome"] = ome
    with pytest.raises(xpyramid.errors.PyramidError, match="not valid"):
        xpyramid.open_source("scan.zarr/s1")


def test_variable_of_an_image() -> None:
    foreign("scan.zarr", "0.5")
    with pytest.raises(SourceError, match=r"by its path, as in scan\.zarr/s1"):
        xpyramid.open_source("scan.zarr", variable="s0")


def test_name_of_an_image_that_is_no_name() -> None:
    foreign("scan.zarr", "0.5")
    group = zarr.open_group("scan.zarr", mode="a")
    ome: Any = group.attrs["ome"]
    ome["multiscales"][0]["name"] = "/lab/brain"
    group.attrs["ome"] = ome
    assert xpyramid.open_source("scan.zarr").name == "scan"


def test_parents_that_cannot_be_read() -> None:
    """Whether an array is a level of an image is then not known, which is said."""
    group = zarr.open_group("scan.zarr", mode="w")
    group.create_array("raw", data=DATA)
    Path("scan.zarr/zarr.json").write_text("{")
    with pytest.warns(UserWarning, match=r"scan\.zarr' cannot be read, and may be an image"):
        opened = xpyramid.open_source("scan.zarr/raw")
    np.testing.assert_array_equal(opened, DATA)


# Dimensions that all have the same name


def alike(path: str) -> None:
    group = zarr.create_group(path)
    raw = group.create_array("raw", data=DATA, dimension_names=("dim", "dim", "dim"))
    raw.attrs["stain"] = "DAPI"


@pytest.mark.parametrize("source", ["em.zarr/raw", "em.zarr"])
def test_dimensions_that_are_all_the_same(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    alike("em.zarr")
    assert main(["build", source, "out.zarr"]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"xpyramid: '{source}' has the dimensions dim, dim, dim, some of the same name; give each "
        "its own with --source-dims, as in z,y,x\n"
    )
    assert main(["build", source, "out.zarr", "--source-dims", "c,y,x", "--levels", "2"]) == 0
    base = xpyramid.open_pyramid("out.zarr/raw")[0]
    assert (base.dims, base.attrs) == (("c", "y", "x"), {"stain": "DAPI"})
    np.testing.assert_array_equal(base, DATA)
    assert main(["build", source, "b.zarr", "--source-dims", "y,x"]) == 2
    assert "does not name each of its 3 dimensions once" in capsys.readouterr().err


def test_same_names_keep_what_is_known_of_them() -> None:
    """A matrix over one dimension: both have its coordinate."""
    with netCDF4.Dataset("matrix.nc", "w") as file:
        file.createDimension("x", 3)
        file.createVariable("x", "f8", ("x",))[:] = [0, 0.5, 1]
        file.createVariable("run", "i4", ())[:] = 7
        file.createVariable("matrix", "f4", ("x", "x"))[:] = np.eye(3)
    opened = xpyramid.open_source("matrix.nc", dims=("y", "x"))
    assert opened.y.values.tolist() == opened.x.values.tolist() == [0, 0.5, 1]
    assert describe_source(opened) == "netCDF; spacing y 0.5, x 0.5 (no unit)"
    np.testing.assert_array_equal(opened, np.eye(3))


def test_dimensions_of_a_group_can_be_named() -> None:
    data = xr.DataArray(DATA, dims=("band", "v", "u"), name="raw", coords={"u": np.arange(24) / 2})
    data.to_dataset().to_zarr("raw.zarr", consolidated=False)
    opened = xpyramid.open_source("raw.zarr", dims=("c", "y", "x"))
    assert opened.dims == ("c", "y", "x")
    assert opened.x.values[1] == 0.5
