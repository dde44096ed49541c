"""Levels that suit, regions of levels, and functions of them."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors


def raise_if_computed(*_: Any, **__: Any) -> None:
    raise AssertionError("something was computed")


@pytest.fixture
def p() -> xpyramid.Pyramid:
    """A stack of thick sections: 4 levels of 0.5, 1, 2 and 4 micrometres in the plane."""
    field = xpyramid.example_field((20, 160, 120), 32).assign_coords(
        y=0.5 * np.arange(160), x=0.5 * np.arange(120)
    )
    for dim in "yx":
        field[dim].attrs["units"] = "um"
    built: xpyramid.Pyramid = field.pyramid.build(levels=4, factor={"z": 1, "y": 2, "x": 2})
    return built


def test_what_a_pyramid_says_of_itself(p: xpyramid.Pyramid) -> None:
    assert (p.dims, p.coarsened) == (("z", "y", "x"), ("y", "x"))
    assert (p.shape, dict(p.sizes)) == ((20, 160, 120), {"z": 20, "y": 160, "x": 120})
    assert p.dtype == "uint16"
    assert p.chunks == (20, 32, 32)
    assert p.units["x"] == "micrometer"
    assert set(p.coords) >= {"y", "x"}
    assert p.attrs == p[0].attrs
    assert p["2"].identical(p[2])


@pytest.mark.parametrize(
    ("resolution", "level"),
    [
        (0.5, 0), (0.6, 0), ("1 um", 1), ("1e-6 m", 1), ("3.9 micrometers", 2), ("1 mm", 3),
        ({"x": "2 µm"}, 2), ("2000nm", 2),
    ],
)  # fmt: skip
def test_the_coarsest_level_that_is_fine_enough(
    p: xpyramid.Pyramid, resolution: Any, level: int
) -> None:
    assert p.at(resolution=resolution).identical(p[level])


def test_degrees() -> None:
    grid = xr.DataArray(
        np.zeros((40, 80)), {"lat": np.arange(40) * 0.5, "lon": np.arange(80) * 0.5}, ("lat", "lon")
    )
    grid.lat.attrs["units"], grid.lon.attrs["units"] = "degrees_north", "degrees_east"
    p = grid.pyramid.build(levels=3)
    assert p.at(resolution="1 degree").shape == (20, 40)
    assert p.units == {"lat": "degrees_north", "lon": "degrees_east"}


@pytest.mark.parametrize("resolution", ["fast", "", 0, -1, True, "1 s", "10 cubits", {"x": "one"}])
def test_what_is_no_resolution(p: xpyramid.Pyramid, resolution: Any) -> None:
    with pytest.raises(errors.PlanError, match="resolution"):
        p.at(resolution=resolution)


def test_levels_by_size(p: xpyramid.Pyramid) -> None:
    assert p.at(max_bytes=p[1].nbytes).identical(p[1])
    assert p.at(max_bytes="1 GB").identical(p[0])
    assert p.at(max_pixels=20 * 40 * 30).identical(p[2])  # of a channel, all of space
    with pytest.raises(errors.SelectionError, match=r"max_bytes=1; accepted: at least .*12000"):
        p.at(max_bytes=1)
    with pytest.raises(
        errors.SelectionError, match=r"at least that of level 0, (x|y|z) 0\.5 micrometer"
    ):
        p.at(resolution="1 nm")
    with pytest.raises(errors.PlanError, match="one of resolution, max_bytes, max_pixels; 0 are"):
        p.at()
    with pytest.raises(errors.PlanError, match="max_pixels=True; accepted: a number"):
        p.at(max_pixels=True)


def test_a_region_with_few_pixels(p: xpyramid.Pyramid) -> None:
    region = p.sel(x=slice(10, 20), y=slice(3, 31), z=4, max_pixels=300)
    assert region.dims == ("y", "x")
    assert region.identical(p[2].isel(z=4).isel(x=slice(5, 11), y=slice(1, 16)))


def test_nothing_is_computed(p: xpyramid.Pyramid) -> None:
    with dask.config.set(scheduler=raise_if_computed):
        part = p.sel(x=slice(10, 20)).isel(z=3).map(lambda level: level / 2)
        repr(part)
        assert part[1].chunks is not None
    assert part.dims == ("y", "x")


def test_channels_of_a_stored_image() -> None:
    store = zarr.storage.MemoryStore()
    image = xr.DataArray(
        np.arange(3 * 64 * 64, dtype="u2").reshape(3, 64, 64), {"c": ["a", "b", "d"]},
        ("c", "y", "x"), "film",
    )  # fmt: skip
    image.pyramid.to_ome_zarr(store, levels=2)
    p = xpyramid.open_pyramid(store)
    some, one = p.isel(c=slice(1, 3)), p.sel(c="b")
    assert [c["label"] for c in some.metadata["omero"]["channels"]] == ["b", "d"]
    assert [c["label"] for c in one.metadata["omero"]["channels"]] == ["b"]
    assert one.dims == ("y", "x")
    for name, part in {"some": some, "one": one}.items():
        part.to_ome_zarr(store, name)
        np.testing.assert_array_equal(xpyramid.open_pyramid(store, name)[1], part[1])
    assert xpyramid.verify(store, deep=True) == []


def test_one_place_along_a_dimension_that_is_coarsened(p: xpyramid.Pyramid) -> None:
    line = p.sel(y=20.2, method="nearest")
    for k, level in enumerate(line):
        assert level.identical(p[k].isel(y=40 // 2**k))
    store = zarr.storage.MemoryStore()
    line.to_ome_zarr(store)
    report = xpyramid.verify(store, deep=True)
    assert report == []  # its levels are not the means of its level 0, and nothing says so
    assert "not computed again" in report.notes[0]
    assert xpyramid.open_pyramid(store).method == "mean, of windows along y, x"


def test_levels_that_are_made_of_something_else() -> None:
    base = xpyramid.example_field((64, 64), 16).astype("f4")
    count = base.pyramid.build(levels=3, method=["mean", "count"])["count"]
    part = count.isel(x=slice(16, 40))
    store = zarr.storage.MemoryStore()
    part.to_ome_zarr(store, "count")
    np.testing.assert_array_equal(xpyramid.open_pyramid(store)[2], count[2][:, 4:10])


def test_functions_of_levels(p: xpyramid.Pyramid) -> None:
    m = p.map(np.sqrt)
    assert m.dtype == m[2].dtype == np.sqrt(p[2]).dtype
    np.testing.assert_array_equal(m[2], np.sqrt(p[2]))
    store = zarr.storage.MemoryStore()
    m.to_ome_zarr(store, "root")
    assert xpyramid.verify(store, deep=True) == []
    assert xpyramid.open_pyramid(store).method == "mean, then sqrt"
    clipped = xpyramid.open_pyramid(store).map(xr.DataArray.clip, max=3)  # read lazily
    assert float(clipped[3].max()) <= 3
    with pytest.raises(errors.PlanError, match=r"returns .* for level 0; accepted: a DataArray"):
        p.map(lambda level: level.max("x"))


@pytest.mark.parametrize(
    ("indexers", "message"),
    [
        ({"q": 1}, "no dimension 'q'; accepted: z, y, x"),
        ({"x": slice(0, 5, 2)}, "a slice without a step"),
        ({"x": [1, 2]}, "a single one"),
        ({"x": 1000.0}, "coordinates from 0.0 to 59.5"),
        ({"x": slice(500, 600)}, "selects nothing"),
        ({"z": 50}, "indexes below 20|coordinates from"),
    ],
)
def test_what_is_not_there(p: xpyramid.Pyramid, indexers: Any, message: str) -> None:
    with pytest.raises(errors.SelectionError, match=message):
        p.sel(indexers)


def test_a_dataset_of_one_level() -> None:
    base = xpyramid.example_field((64, 48)).to_dataset(name="a").assign_attrs(title="Lab")
    level = base.assign(b=2 * base.a).pyramid.build(levels=3).level(2)
    assert (set(level), dict(level.sizes)) == ({"a", "b"}, {"y": 16, "x": 12})
    assert level.attrs["title"] == "Lab"
