"""Names in the store, of arrays, dimensions and coordinates: they come back, and others read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import spread

import xpyramid
from xpyramid import errors

NAMES = pytest.mark.parametrize("names", ["ome", "source"])
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
LAYOUTS = pytest.mark.parametrize("layout", ["groups", "arrays"])


def climate(name: str = "temp") -> xr.DataArray:
    """Return an array whose dimensions have other names for viewers."""
    return xr.DataArray(
        np.arange(2 * 3 * 8 * 8, dtype="f4").reshape(2, 3, 8, 8),
        dims=("time", "level", "latitude", "longitude"),
        coords={
            "time": np.array(["2000-01-01", "2000-01-02"], "M8[ns]"),
            "level": [1000.0, 900.0, 800.0],
            "latitude": ("latitude", 50 - np.arange(8.0), {"units": "degrees_north"}),
            "longitude": ("longitude", 5 + np.arange(8.0), {"units": "degrees_east"}),
        },
        name=name,
    )


def axes(path: Path) -> list[str]:
    ome = dict(zarr.open_group(path, mode="r").attrs)["ome"]
    (image,) = ome["multiscales"]  # type: ignore[index, call-overload]
    return [axis["name"] for axis in image["axes"]]


@pytest.mark.parametrize(
    ("version", "names", "name"),
    spread(
        2,
        ["0.4", "0.5", "0.6"],
        ["ome", "source"],
        ["t", "z", "y", "x", "time", "latitude", "0", "temp"],
    ),
)
def test_an_array_may_be_called_as_an_axis(
    tmp_path: Path, name: str, names: str, version: str
) -> None:
    array = climate(name)
    array.pyramid.to_ome_zarr(tmp_path, levels=2, names=names, version=version)
    opened = xpyramid.open_pyramid(tmp_path / name)
    xr.testing.assert_identical(opened[0].load(), array)
    assert xpyramid.verify(tmp_path, deep=True) == []
    for k in (0, 1):
        plain = xr.open_zarr(tmp_path / name / str(k))
        (variable,) = plain.data_vars.values()
        np.testing.assert_array_equal(variable, opened[k])
    tree = xr.open_datatree(tmp_path / name, engine="zarr")
    assert len(tree["1"].data_vars) == 1


@VERSIONS
def test_plain_xarray_selects_by_coordinates(tmp_path: Path, version: str) -> None:
    array = climate()
    for names in ("ome", "source"):
        array.pyramid.to_ome_zarr(tmp_path, names, levels=2, names=names, version=version)
    by_axis = xr.open_zarr(tmp_path / "ome/1").temp.sel(y=49.5, x=slice(6, 11), t="2000-01-02")
    by_name = xr.open_zarr(tmp_path / "source/1").temp.sel(
        latitude=49.5, longitude=slice(6, 11), time="2000-01-02"
    )
    wanted = array.pyramid.build(levels=2)[1].sel(latitude=49.5, longitude=slice(6, 11))
    np.testing.assert_array_equal(by_axis, wanted.sel(time="2000-01-02"))
    np.testing.assert_array_equal(by_name, wanted.sel(time="2000-01-02"))
    assert by_axis.y.attrs == by_name.latitude.attrs == {"units": "degrees_north"}


@NAMES
@LAYOUTS
def test_axes_are_called_as_the_dimensions_of_arrays(
    tmp_path: Path, names: str, layout: str
) -> None:
    array = climate()
    array.pyramid.to_ome_zarr(tmp_path, levels=2, names=names, layout=layout)
    expected = list(array.dims) if names == "source" else ["t", "z", "y", "x"]
    assert axes(tmp_path / "temp") == expected
    path = "1/temp" if layout == "groups" else "1"
    stored = zarr.open_array(tmp_path / "temp" / path, mode="r")
    assert list(stored.metadata.dimension_names) == expected  # type: ignore[union-attr]
    assert xpyramid.verify(tmp_path) == []
    opened = xpyramid.open_pyramid(tmp_path / "temp")
    xr.testing.assert_identical(opened[0].load(), array)
    assert [axis.name for axis in opened.plan.axes] == ["t", "z", "y", "x"]
    assert tuple(opened[0].encoding.get("preferred_chunks", array.sizes)) == array.dims
    opened.to_ome_zarr(tmp_path, "again", names=names, layout=layout)
    assert axes(tmp_path / "again") == expected


def test_maps_keep_their_names() -> None:
    store: dict[str, Any] = {}
    array = climate()[0, 0].drop_vars(["time", "level"])
    array.pyramid.to_ome_zarr(store, "geo", levels=2, conventions=["geozarr"])
    array.pyramid.to_ome_zarr(store, "ome", levels=2, conventions=["geozarr"], names="ome")
    found = [zarr.open_group(store, path=path, mode="r").attrs for path in ("geo", "ome")]
    assert found[0]["spatial:dimensions"] == ["latitude", "longitude"]
    assert found[1]["spatial:dimensions"] == ["y", "x"]


def test_other_names_are_refused() -> None:
    with pytest.raises(errors.PlanError, match=r"names='mine'; accepted: 'ome' .*, 'source'"):
        climate().pyramid.to_ome_zarr({}, levels=2, names="mine")
    with pytest.raises(errors.PlanError, match="names=3; accepted: 'ome'"):
        climate().pyramid.to_ome_zarr({}, levels=2, names=3)


@NAMES
def test_types_that_names_do_not_say(tmp_path: Path, names: str) -> None:
    array = climate().rename(time="stain").drop_vars("stain")
    array.pyramid.to_ome_zarr(tmp_path, levels=2, names=names, axis_types={"stain": "channel"})
    opened = xpyramid.open_pyramid(tmp_path / "temp")
    xr.testing.assert_identical(opened[0].load(), array)
    stain, *_ = opened.plan.axes
    assert (stain.name, stain.type) == ("c", "channel")


def test_stores_of_older_versions(tmp_path: Path) -> None:
    """There, the coordinate of a renamed dimension lies along it under its own name."""
    array = climate()
    array.pyramid.to_ome_zarr(tmp_path, levels=2)
    names = {"t": "time", "z": "level", "y": "latitude", "x": "longitude"}
    for k in (0, 1):
        level = tmp_path / "temp" / str(k)
        for new, old in names.items():
            (level / new).rename(level / old)
        zarr.open_group(level, use_consolidated=False).attrs["coordinates"] = " ".join(
            names.values()
        )
    xr.testing.assert_identical(xpyramid.open_pyramid(tmp_path / "temp")[0].load(), array)
