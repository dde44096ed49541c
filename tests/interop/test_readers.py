"""The community's readers, and plain xarray, see what was written: numbers, places, names."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pytest
import xarray as xr
import zarr
from helpers import real_data
from ome_zarr.io import parse_url
from ome_zarr.reader import Multiscales, Reader

import xpyramid

Version = Literal["0.4", "0.5"]
versions = pytest.mark.parametrize("version", ["0.4", "0.5"])


def brain() -> xr.DataArray:
    """Return a corner of the brain, in mm, with an origin that is not 0."""
    return real_data.mni_brain()[30:101, 50:133, 60:125].chunk(32)


def slice_of_brain() -> xr.DataArray:
    """Return one horizontal slice: the position of the slice is a scalar coordinate."""
    return real_data.mni_brain()[90]


def movie() -> xr.DataArray:
    """Return all five dimensions, with times and named channels."""
    field = xpyramid.example_field((3, 2, 9, 40, 50), dtype="u2", spacing=0.5)
    times = np.datetime64("2020-01-01", "ns") + np.timedelta64(10, "s") * np.arange(3)
    return field.assign_coords(t=times, c=["DAPI", "GFP"])


def channels() -> xr.DataArray:
    """Return channels of anisotropic planes, in float."""
    coords = {
        "c": [1, 2, 3],
        "y": ("y", 0.25 * np.arange(41), {"units": "um"}),
        "x": ("x", 1.5 * np.arange(60), {"units": "um"}),
    }
    values = np.random.default_rng(0).normal(size=(3, 41, 60)).astype("f4")
    return xr.DataArray(values, coords, ("c", "y", "x"), "cells")


def globe() -> xr.DataArray:
    """Return terrain: latitude descends, and its degrees are no unit of NGFF."""
    return real_data.terrain()


def plain() -> xr.DataArray:
    """Return an array without any coordinates."""
    return xr.DataArray(np.arange(63, dtype="i4").reshape(7, 9), dims=("row", "col"), name="plain")


#: What is written; the (name, type, unit) of each axis; spacing and origin of level 0.
Case = tuple[
    Callable[[], xr.DataArray], list[tuple[str, str, str | None]], list[float], list[float]
]
T, C = ("t", "time", "second"), ("c", "channel", None)
CASES: dict[str, Case] = {
    "zyx": (
        brain,
        [(name, "space", "millimeter") for name in "zyx"],
        [1, 1, 1],
        [-72 + 30, -134 + 50, -98 + 60],
    ),
    "yx": (slice_of_brain, [(name, "space", "millimeter") for name in "yx"], [1, 1], [-134, -98]),
    "tczyx": (
        movie,
        [T, C, *((name, "space", "micrometer") for name in "zyx")],
        [10, 1, 0.5, 0.5, 0.5],
        [0, 0, 0, 0, 0],
    ),
    "cyx": (
        channels,
        [C, *((name, "space", "micrometer") for name in "yx")],
        [1, 0.25, 1.5],
        [1, 0, 0],
    ),
    # NGFF knows positive scales only: y is minus the latitude, and both count in degrees.
    "lat-lon": (
        globe,
        [("y", "space", None), ("x", "space", None)],
        [1 / 1200, 1 / 1200],
        [-(36.73291667 - 1 / 2400), -84.41375 + 1 / 2400],
    ),
    "no coordinates": (plain, [("y", "space", None), ("x", "space", None)], [1, 1], [0, 0]),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def written(case: Case, path: Path, version: Version) -> xpyramid.Pyramid:
    """Write three levels."""
    pyramid: xpyramid.Pyramid = case[0]().pyramid.build(levels=3)
    pyramid.to_ome_zarr(path / "out.zarr", version=version)
    return pyramid


def check_transforms(case: Case, pyramid: xpyramid.Pyramid, found: list[Any]) -> None:
    """Compare the transformations of each level with plain arithmetic."""
    _, _, spacing, origin = case
    assert len(found) == len(pyramid)
    for factors, (first, second) in zip(pyramid.factors, found, strict=True):
        f = np.array(list(factors.values()))
        assert (first["type"], second["type"]) == ("scale", "translation")
        np.testing.assert_allclose(first["scale"], np.array(spacing) * f, rtol=1e-6)
        centre = np.array(origin) + np.array(spacing) * (f - 1) / 2
        np.testing.assert_allclose(second["translation"], centre, rtol=1e-6, atol=1e-9)


@versions
@cases
def test_ome_zarr_reads_it(tmp_path: Path, case: Case, version: Version) -> None:
    pyramid = written(case, tmp_path, version)
    location = parse_url(tmp_path / "out.zarr" / str(pyramid.name))
    assert location is not None
    assert location.fmt.version == version
    (node,) = Reader(location)()
    assert any(isinstance(spec, Multiscales) for spec in node.specs)
    assert [(a["name"], a["type"], a.get("unit")) for a in node.metadata["axes"]] == case[1]
    assert node.metadata["name"] == pyramid.name
    check_transforms(case, pyramid, node.metadata["coordinateTransformations"])
    for level, got in zip(pyramid, node.data, strict=True):
        assert got.dtype == level.dtype
        np.testing.assert_array_equal(got.compute(), level.values)


@versions
@cases
def test_ome_zarr_models_accept_it(tmp_path: Path, case: Case, version: Version) -> None:
    pyramid = written(case, tmp_path, version)
    group = zarr.open_group(tmp_path / "out.zarr" / str(pyramid.name), mode="r")
    models = {"0.4": ome_zarr_models.v04, "0.5": ome_zarr_models.v05}
    image = models[version].Image.from_zarr(group)
    assert type(ome_zarr_models.open_ome_zarr(group, version=version)) is type(image)
    attributes: Any = image.attributes if version == "0.4" else image.attributes.ome
    (multiscale,) = attributes.multiscales
    assert [(a.name, a.type, a.unit) for a in multiscale.axes] == case[1]
    assert multiscale.type == "mean"
    assert multiscale.coordinateTransformations is None
    transforms = [
        [t.model_dump() for t in d.coordinateTransformations] for d in multiscale.datasets
    ]
    check_transforms(case, pyramid, transforms)
    for level, dataset in zip(pyramid, multiscale.datasets, strict=True):
        array = group[dataset.path]
        assert isinstance(array, zarr.Array)
        assert array.shape == level.shape
        names = [axis[0] for axis in case[1]]
        if version == "0.4":
            assert array.attrs["_ARRAY_DIMENSIONS"] == names
            assert array.metadata.dimension_separator == "/"
        else:
            assert list(array.metadata.dimension_names) == names


def viewer_names(pyramid: xpyramid.Pyramid, case: Case) -> dict[str, str]:
    """Return the dimensions that have another name in the store."""
    return {d: axis[0] for d, axis in zip(pyramid.plan.dims, case[1], strict=True) if d != axis[0]}


def check_coordinates(case: Case, level: xr.DataArray, factors: dict[str, int]) -> None:
    """Compare coordinates that are numbers with plain arithmetic; y is minus the latitude."""
    _, _, spacing, origin = case
    for dim, step, start in zip(factors, spacing, origin, strict=True):
        if dim in level.coords and level[dim].dtype.kind in "if":
            f, sign = factors[dim], -1 if dim == "lat" else 1
            line = start + step * (f * np.arange(level[dim].size) + (f - 1) / 2)
            np.testing.assert_allclose(sign * level[dim], line, rtol=1e-6, atol=1e-9)


def check_level(got: xr.DataArray, want: xr.DataArray, names: dict[str, str]) -> None:
    """Compare a level that plain xarray reads, dimensions renamed and coordinates kept."""
    for dim, name in names.items():
        want = want.rename({dim: name})
    xr.testing.assert_identical(got.compute(), want.compute())
    assert got.dtype == want.dtype


@versions
@cases
def test_plain_xarray_opens_every_level(tmp_path: Path, case: Case, version: Version) -> None:
    pyramid = written(case, tmp_path, version)
    names = viewer_names(pyramid, case)
    image = tmp_path / "out.zarr" / str(pyramid.name)
    with xr.open_datatree(image, engine="zarr", chunks={}) as tree:
        assert list(tree.children) == ["0", "1", "2"]
        for k, level in enumerate(pyramid):
            check_level(tree[f"{k}/{pyramid.name}"], level, names)
            check_coordinates(case, tree[f"{k}/{pyramid.name}"], pyramid.factors[k])
    for k, level in enumerate(pyramid):
        with xr.open_zarr(image / str(k)) as dataset:
            assert list(dataset.data_vars) == [pyramid.name]
            check_level(dataset[str(pyramid.name)], level, names)


@versions
def test_plain_xarray_opens_a_level_from_the_root(tmp_path: Path, version: Version) -> None:
    """It says that the root is not consolidated: others may add to it, and not know that it is."""
    pyramid = written(CASES["zyx"], tmp_path, version)
    not_consolidated = partial(pytest.warns, RuntimeWarning, match="consolidated metadata")
    with not_consolidated(), xr.open_zarr(tmp_path / "out.zarr", group="brain/1") as dataset:
        check_level(dataset["brain"], pyramid[1], {})
    with not_consolidated():
        tree = xr.open_datatree(tmp_path / "out.zarr", engine="zarr", chunks={})
    check_level(tree["brain/2/brain"], pyramid[2], {})
    tree.close()


@versions
@cases
def test_open_pyramid_gives_back_what_was_written(
    tmp_path: Path, case: Case, version: Version
) -> None:
    pyramid = written(case, tmp_path, version)
    image = tmp_path / "out.zarr" / str(pyramid.name)
    for back in (
        xpyramid.open_pyramid(image),
        xpyramid.open_pyramid(tmp_path / "out.zarr", str(pyramid.name)),
    ):
        assert (back.factors, back.dims, back.method) == (
            pyramid.factors, pyramid.dims, pyramid.method)  # fmt: skip
        assert back.plan.axes == pyramid.plan.axes
        assert back.plan.steps == pyramid.plan.steps
        for got, want in zip(back, pyramid, strict=True):
            xr.testing.assert_identical(got.compute(), want.compute())
            assert got.dtype == want.dtype
            assert not got.variable._in_memory  # lazy
            for name, coordinate in want.coords.items():
                assert got.coords[name].dtype == coordinate.dtype


@versions
def test_metadata_are_strict_json(tmp_path: Path, version: Version) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    written(CASES["lat-lon"], tmp_path, version)
    files = [p for p in tmp_path.rglob("*") if p.name in ("zarr.json", ".zattrs", ".zmetadata")]
    assert files
    for file in files:
        json.loads(file.read_text(), parse_constant=refuse)


@versions
@pytest.mark.parametrize("source_format", [2, 3])
def test_the_format_of_the_source_does_not_matter(
    tmp_path: Path, source_format: Literal[2, 3], version: Version
) -> None:
    field = brain()
    field.to_dataset().to_zarr(
        tmp_path / "source.zarr", zarr_format=source_format, consolidated=False
    )
    source = xr.open_zarr(tmp_path / "source.zarr", consolidated=False)["brain"]
    source.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version)
    back = xpyramid.open_pyramid(tmp_path / "out.zarr", "brain")
    xr.testing.assert_identical(back[0].compute(), field.compute())


@versions
def test_coordinates_in_any_dask_chunks(tmp_path: Path, version: Version) -> None:
    """The field may have irregular chunks, and so may the coordinates that come with it."""
    chunks = ((1, 24, 16), (13, 37))
    angles = np.add.outer(np.arange(41.0), np.arange(50.0))
    field = xr.DataArray(
        da.from_array(angles.astype("u2"), chunks=chunks),
        {"angle": (("y", "x"), da.from_array(angles, chunks=chunks))},
        ("y", "x"),
        "swath",
    )
    pyramid = field.pyramid.build(levels=3)
    pyramid.to_ome_zarr(tmp_path, version=version)
    for got, want in zip(xpyramid.open_pyramid(tmp_path, "swath"), pyramid, strict=True):
        xr.testing.assert_identical(got.compute(), want.compute())


@versions
def test_a_pyramid_of_a_pyramid(tmp_path: Path, version: Version) -> None:
    """What was read back can be written again."""
    pyramid = written(CASES["lat-lon"], tmp_path, version)
    back = xpyramid.open_pyramid(tmp_path / "out.zarr", "elevation")
    back.to_ome_zarr(tmp_path / "again.zarr", version=version)
    again = xpyramid.open_pyramid(tmp_path / "again.zarr", "elevation")
    for got, want in zip(again, pyramid, strict=True):
        xr.testing.assert_identical(got.compute(), want.compute())
