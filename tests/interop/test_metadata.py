"""Every version, layout and kind of image passes every validator that knows it."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import tensorstore as ts
import xarray as xr
import zarr
from helpers.stored_images import CASES, KINDS, LAYOUTS, VERSIONS, Stored, field, store, validator
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

import xpyramid

#: Every version with every layout, each of them with every other kind; the rest is slow.
FEW_CASES = [
    (kind, version, layout)
    for kind, version, layout in CASES
    if (KINDS.index(kind) + VERSIONS.index(version) + LAYOUTS.index(layout)) % 2 == 0
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, marks=() if case in FEW_CASES else pytest.mark.slow) for case in CASES
    ],
    ids="-".join,
)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return store(tmp_path_factory.mktemp("image") / "out.zarr", *request.param)


def test_official_schemas(stored: Stored) -> None:
    names = ["image", "strict_image"]
    if "image-label" in stored.ome:
        names += ["label", "strict_label"]
    for name in names:
        errors = validator(stored.version, name).iter_errors(stored.attributes)
        assert [f"{name} {list(e.absolute_path)}: {e.message}" for e in errors] == []


def test_the_schemas_can_refuse(tmp_path: Path) -> None:
    image = store(tmp_path, "cyx", "0.6", "groups")
    image.ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["type"] = "shear"
    broken = json.loads(json.dumps(image.attributes))
    del broken["ome"]["multiscales"][0]["coordinateSystems"]
    assert list(validator("0.6", "image").iter_errors(broken))
    assert not list(validator("0.6", "image").iter_errors(image.attributes))


def test_ome_zarr_models(stored: Stored) -> None:
    if stored.version not in getattr(ome_zarr_models, "_ome_zarr_zarr_map", ("0.4", "0.5")):
        pytest.skip("this release does not know the version")
    group = zarr.open_group(stored.path, mode="r")
    found = ome_zarr_models.open_ome_zarr(group, version=stored.version)  # type: ignore[arg-type]
    wanted = "ImageLabel" if "image-label" in stored.ome else "Image"
    assert type(found).__name__ == wanted
    assert found.ome_zarr_version == stored.version


def test_yaozarrs(stored: Stored) -> None:
    yaozarrs = pytest.importorskip("yaozarrs")
    if stored.version == "0.6":
        pytest.skip("not known to it")
    yaozarrs.validate_zarr_store(str(stored.path))


def test_ngff_zarr(stored: Stored) -> None:
    ngff_zarr = pytest.importorskip("ngff_zarr")
    from ngff_zarr.structural_validation import validate_structural

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        found = ngff_zarr.from_ome_zarr(str(stored.path), validate=True)
        validate_structural(found.metadata)
    assert len(found.images) == len(stored.pyramid)
    for level, image in zip(stored.pyramid.plan.levels, found.images, strict=True):
        assert image.data.shape == level.shape
        scale = dict(zip(stored.pyramid.plan.dims, level.factors, strict=True))
        assert image.scale["x"] == 0.5 * scale["x"]
        assert image.translation["x"] == 10 + 0.5 * (scale["x"] - 1) / 2


def test_ome_zarr_io(stored: Stored) -> None:
    report = pytest.importorskip("ome_zarr_io.report")
    if stored.version != "0.5":
        pytest.skip("not known to it")
    check_ome_zarr_io(report.validate(str(stored.path), strict=True), stored)


def check_ome_zarr_io(report: Any, stored: Stored) -> None:
    """It wants a channel axis where there is ``omero``; the specification does not ask for one."""
    omero, axes = "omero" in stored.ome, stored.ome["multiscales"][0]["axes"]
    alone = omero and not any(axis["name"] == "c" for axis in axes)
    messages = [issue.message for issue in report.errors]
    assert messages == ["omero channels are present but there is no 'c' axis"] * alone, str(report)


def test_ome_zarr_reader(stored: Stored) -> None:
    location = parse_url(stored.path)
    if location is None or location.fmt.version != stored.version:
        pytest.skip("this release does not know the version")
    nodes = {node.metadata.get("name"): node for node in Reader(location)()}
    node = nodes[stored.pyramid.name]  # labels bring their image along
    for level, got in zip(stored.pyramid, node.data, strict=True):
        np.testing.assert_array_equal(got.compute(), level.values)
    if "c" in stored.pyramid.plan.dims and "channel_names" in node.metadata:
        assert node.metadata["channel_names"] == ["DAPI", "GFP", "RFP"]


def test_tensorstore(stored: Stored) -> None:
    driver = "zarr" if stored.version == "0.4" else "zarr3"
    for path, level in zip(stored.paths, stored.pyramid, strict=True):
        kvstore = {"driver": "file", "path": f"{stored.path / path}/"}
        array = ts.open({"driver": driver, "kvstore": kvstore}, read=True).result()
        np.testing.assert_array_equal(array.read().result(), level.values)
        if stored.version != "0.4":
            assert array.domain.labels == stored.pyramid.plan.dims


def test_plain_xarray(stored: Stored) -> None:
    """Levels that are groups are Datasets; levels that are arrays conflict with each other."""
    if stored.layout == "arrays":
        with pytest.raises(ValueError, match="conflicting sizes"):
            xr.open_datatree(stored.path, engine="zarr")
        return
    with xr.open_datatree(stored.path, engine="zarr", chunks={}) as tree:
        for k, level in enumerate(stored.pyramid):
            xr.testing.assert_equal(tree[f"{k}/{level.name}"].compute(), level.compute())


def test_round_trip(stored: Stored, tmp_path: Path) -> None:
    """Values, coordinates and attributes come back, and are written again to the same metadata."""
    back = xpyramid.open_pyramid(stored.path)
    assert back.plan.axes == stored.pyramid.plan.axes
    for got, want in zip(back, stored.pyramid, strict=True):
        xr.testing.assert_identical(got.compute(), want.compute())
        assert not got.variable._in_memory
    options: dict[str, Any] = {"version": stored.version, "layout": stored.layout}
    out, group = tmp_path / "again.zarr", "field"
    if "image-label" in stored.ome:
        field("yx").pyramid.to_ome_zarr(out, levels=3, chunks=16, **options)
        options["labels_of"], group = "field", "field/labels/cells"
    back.to_ome_zarr(out, **options)
    again = Stored(out / group, stored.version, stored.layout, back)
    apart = {"xpyramid"}  # the digests: coordinates may be spelled otherwise
    assert {k: v for k, v in again.ome.items() if k not in apart} == {
        k: v for k, v in stored.ome.items() if k not in apart
    }


def test_paths(stored: Stored) -> None:
    name = stored.pyramid.name
    wanted = {"groups": f"1/{name}", "arrays": "1"}
    assert stored.paths[1] == wanted[stored.layout]


def test_transforms_of_0_6(tmp_path: Path) -> None:
    image = store(tmp_path, "zyx", "0.6", "arrays")
    assert image.ome["version"] == "0.6"
    (multiscale,) = image.ome["multiscales"]
    (system,) = multiscale["coordinateSystems"]
    assert system["axes"] == [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"
    ]
    (transform,) = multiscale["datasets"][2]["coordinateTransformations"]
    assert transform == {
        "type": "sequence",
        "input": {"path": "2"},
        "output": {"name": system["name"]},
        "transformations": [
            {"type": "scale", "scale": [2.0] * 3},
            {"type": "translation", "translation": [10.75] * 3},
        ],
    }


#: What an array of the flat layout brings along, and what is lost of it.
FLAT: dict[str, Callable[[], xr.DataArray]] = {
    "none": lambda: field("yx").drop_vars(["y", "x"]),
    "descending": lambda: field("yx").isel(y=slice(None, None, -1)),
    "integers": lambda: field("cyx").assign_coords(c=[1, 2, 3], x=np.arange(33)),
    "latitude": lambda: (
        field("yx")
        .rename(y="lat")
        .assign_coords(lat=("lat", 50 - 0.25 * np.arange(20), {"units": "degrees_north"}))
    ),
    "times": lambda: field("tczyx"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("make", FLAT.values(), ids=FLAT)
def test_coordinates_of_arrays(
    tmp_path: Path, version: str, make: Callable[[], xr.DataArray]
) -> None:
    pyramid = make().pyramid.build(levels=2)
    pyramid.to_ome_zarr(tmp_path / "out.zarr", version=version, layout="arrays")
    for got, want in zip(xpyramid.open_pyramid(tmp_path / "out.zarr/field"), pyramid, strict=True):
        xr.testing.assert_identical(got.compute(), want.compute())
        for name in want.coords:
            assert got[name].dtype.kind == want[name].dtype.kind


def test_coordinates_that_arrays_cannot_keep(tmp_path: Path) -> None:
    base = field("yx").assign_coords(run="control", angle=("y", np.arange(20.0)))
    base.pyramid.to_ome_zarr(tmp_path / "out.zarr", layout="arrays", levels=2)
    assert set(xpyramid.open_pyramid(tmp_path / "out.zarr/field")[0].coords) == {"y", "x"}
