"""What is written comes back: to open_pyramid, to plain xarray, and to a second store."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


def climate(dtype: str = "f4") -> xr.DataArray:
    """Return a small array with coordinates of many kinds."""
    times = pd.date_range("2000-01-31T12", periods=3, freq="6h", unit="ns")
    array = xr.DataArray(
        np.arange(3 * 2 * 6 * 8).reshape(3, 2, 6, 8).astype(dtype),
        dims=("time", "band", "lat", "lon"),
        coords={
            "time": times,
            "band": ["red", "infrared"],
            "lat": ("lat", np.linspace(50, 47.5, 6), {"units": "degrees_north"}),
            "lon": ("lon", 5 + 0.5 * np.arange(8), {"units": "degrees_east"}),
            "seconds": ("time", [0.0, 21600, 43200], {"units": "seconds"}),
            "run": "control",
            "issued": np.datetime64("1999-12-31T23:59:59", "ns"),
            "area": (("lat", "lon"), np.ones((6, 8), "f4"), {"units": "km2"}),
        },
        name="field",
        attrs={"long_name": "counts"},
    )
    array.time.encoding = {"units": "hours since 1999-01-01", "calendar": "standard"}
    return array


@VERSIONS
def test_plain_xarray_sees_the_coordinates_of_every_level(tmp_path: Path, version: str) -> None:
    p = climate().pyramid.build(levels=2)
    p.to_ome_zarr(tmp_path / "out.zarr", version=version)
    numbers = {"decode_timedelta": False}  # the default of newer releases: seconds are numbers
    tree = xr.open_datatree(tmp_path / "out.zarr/field", engine="zarr", chunks={}, **numbers)
    assert set(tree.children) == {"0", "1"}
    for k, level in enumerate(p):
        alone = xr.open_zarr(tmp_path / f"out.zarr/field/{k}", **numbers)
        inside = xr.open_zarr(tmp_path / "out.zarr/field", group=str(k), **numbers)
        for dataset in (tree[str(k)].to_dataset(), alone, inside):
            named = dataset.rename(t="time", c="band", y="lat", x="lon").field
            xr.testing.assert_identical(named.compute(), level.compute())
    # the root lists no metadata of what lies in it, which xarray can be told
    with_group = xr.open_zarr(tmp_path / "out.zarr", group="field/1", consolidated=False, **numbers)
    xr.testing.assert_identical(with_group.compute(), alone.compute())


@VERSIONS
def test_times_are_counted_as_they_were(tmp_path: Path, version: str) -> None:
    climate().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version)
    raw = xr.open_zarr(tmp_path / "out.zarr/field/1", decode_cf=False)
    assert raw.t.attrs == {"units": "hours since 1999-01-01", "calendar": "standard"}
    assert raw.t.values.tolist() == [9492, 9498, 9504]
    again = xpyramid.open_pyramid(tmp_path / "out.zarr/field")[1]
    assert again.time.encoding["units"] == "hours since 1999-01-01"


def test_times_that_their_units_cannot_count_are_told_of() -> None:
    array = climate()
    array["time"] = pd.date_range("1700-01-01", periods=3, freq="6h", unit="s")
    array.time.encoding = {"units": "hours since 1999-12-31"}  # further than nanoseconds reach
    said = "'time' cannot be counted exactly in 'hours since 1999-12-31'; they are stored in other"
    with pytest.warns(UserWarning, match=said):
        array.pyramid.to_ome_zarr(store := {}, levels=2)
    xr.testing.assert_identical(xpyramid.open_pyramid(store, "field")[0].compute(), array)


CALENDARS = ["standard", "gregorian", "proleptic_gregorian", "noleap", "360_day"]
COUNTS = st.lists(st.integers(0, 30_000), min_size=4, max_size=4, unique=True).map(sorted)


@settings(max_examples=25)
@given(
    COUNTS,
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(["seconds", "minutes", "hours", "days"]),
    st.sampled_from(CALENDARS),
    st.sampled_from(["i2", "i4", "i8", "f4", "f8"]),
    st.sampled_from(["groups", "arrays"]),
)
def test_times_keep_units_and_calendar(
    counts: list[int], parts: int, unit: str, calendar: str, dtype: str, layout: Any
) -> None:
    """Whatever numbers they were in their file, which need not be able to hold their means."""
    numbers = np.array(counts).astype(dtype) / (1 if dtype[0] == "i" else parts)
    attrs = {"units": f"{unit} since 1900-01-01", "calendar": calendar}
    coded = xr.Dataset(coords={"time": ("time", numbers.astype(dtype), attrs)})
    times = xr.decode_cf(coded).time
    array = xr.DataArray(np.zeros((4, 1, 8), "u1"), {"time": times}, ("time", "y", "x"), "field")
    p = array.pyramid.build(2, factor={"time": 2, "x": 2})
    p.to_ome_zarr(store := {}, layout=layout)
    for ours, theirs in zip(p, xpyramid.open_pyramid(store, "field"), strict=True):
        if layout == "arrays" and "time" not in theirs.coords:  # those that are uneven
            continue
        np.testing.assert_array_equal(theirs.time, ours.time)
        assert {k: theirs.time.encoding[k] for k in attrs} == attrs
    if layout == "groups":
        stored = [zarr.open_array(store, path=f"field/{k}/t") for k in (0, 1)]
        assert [dict(times.attrs) for times in stored] == [attrs, attrs]
        assert stored[0].dtype == dtype


@pytest.mark.parametrize("hours", [[1, 2, 3, 4], [0.5, 1, 1.5, 2]])
def test_durations_keep_their_unit(hours: list[float]) -> None:
    coded = xr.Dataset(coords={"lead": ("lead", hours, {"units": "hours"})})
    lead = xr.decode_cf(coded, decode_timedelta=True).lead
    array = xr.DataArray(np.zeros((4, 1, 8), "u1"), {"lead": lead}, ("lead", "y", "x"), "field")
    p = array.pyramid.build(2, factor={"lead": 2, "x": 2})
    p.to_ome_zarr(store := {})
    for ours, theirs in zip(p, xpyramid.open_pyramid(store, "field"), strict=True):
        np.testing.assert_array_equal(theirs.lead, ours.lead)
        assert theirs.lead.encoding["units"] == "hours"


def test_missing_times_that_are_not_coarsened_come_back() -> None:
    numbers = np.array([0.5, np.nan, 1.5, 2])
    coded = xr.Dataset(coords={"at": ("x", numbers, {"units": "hours since 1900-01-01"})})
    at = xr.decode_cf(coded).at
    array = xr.DataArray(np.zeros((8, 4), "u1"), {"at": at}, ("y", "x"), "field")
    array.pyramid.to_ome_zarr(store := {}, levels=2, dims="y")
    opened = xpyramid.open_pyramid(store, "field")[1]
    np.testing.assert_array_equal(opened["at"], array["at"])
    assert opened["at"].encoding["units"] == "hours since 1900-01-01"


@VERSIONS
@pytest.mark.parametrize("dtype", [">u2", ">f8", ">c8", "<u2", "u1", "bool"])
def test_byte_order(tmp_path: Path, version: str, dtype: str) -> None:
    array = climate().astype(bool) if dtype == "bool" else climate(dtype)
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version, method="nearest")
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    for level in opened:
        assert level.dtype == np.dtype(dtype)
        assert level.chunks is None
    for level in xpyramid.open_pyramid(tmp_path / "out.zarr/field", chunks={}):
        assert tuple(level.encoding["preferred_chunks"].values()) == level.data.chunksize
        assert level.dtype == level.compute().dtype == np.dtype(dtype)
    xr.testing.assert_identical(opened[0].compute(), array)
    assert opened.plan.dtype == np.dtype(dtype)


@VERSIONS
def test_coordinates_that_were_not_decoded_stay_so(tmp_path: Path, version: str) -> None:
    stored = {"days": {"units": "days since 2000-01-01"}, "packed": {"scale_factor": 0.5}}
    array = climate()
    for name, attrs in stored.items():
        array.coords[name] = ("time", np.array([3, 4, 5], "i4"), attrs)
    array = array.drop_vars("time")
    array.coords["time"] = ("time", [0, 6, 12], {"units": "hours since launch"})
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version)
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")[0]
    xr.testing.assert_identical(opened.compute(), array)
    assert opened.days.dtype == "i4"
    assert opened.encoding.get("preferred_chunks") is not None


class Micrometer:
    """A unit as pint has them: an object that prints itself."""

    dimensionality = "[length]"

    def __str__(self) -> str:
        return "micrometer"


def test_units_that_are_objects_are_stored_as_text() -> None:
    unit = Micrometer()
    array = climate().assign_coords(lon=("lon", 0.5 * np.arange(8), {"units": unit}))
    array.assign_attrs(units=unit).pyramid.to_ome_zarr(store := {}, levels=2)
    opened = xpyramid.open_pyramid(store, "field")
    assert opened[0].units == opened[1].lon.units == opened.plan.axes[3].unit == "micrometer"


def images_of_others(where: Path, translation: bool) -> None:
    """Write an image whose levels are not where ours would be."""
    group = zarr.open_group(where, mode="w")
    datasets = []
    for k, n in enumerate((9, 4)):
        array = group.create_array(str(k), shape=(n, 8 // 2**k), dtype="u1")
        array[:] = k + 1
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [9 / n, 2.0**k]}]
        if translation:
            transforms.append({"type": "translation", "translation": [7.0, 0.125 * k]})
        datasets.append({"path": str(k), "coordinateTransformations": transforms})
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "yx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"name": "theirs", "axes": axes, "datasets": datasets}],
    }


@pytest.mark.parametrize("translation", [True, False])
def test_copies_of_what_others_wrote_lie_where_theirs_do(tmp_path: Path, translation: bool) -> None:
    images_of_others(tmp_path / "a.zarr", translation)
    theirs = xpyramid.open_pyramid(tmp_path / "a.zarr")
    theirs.to_ome_zarr(tmp_path / "b.zarr")
    ours = xpyramid.open_pyramid(tmp_path / "b.zarr/theirs")
    for one, two in zip(theirs, ours, strict=True):
        xr.testing.assert_equal(one.compute(), two.compute())
        assert one.y.attrs == two.y.attrs == {"units": "nanometer"}
    wanted = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    found = json.loads((tmp_path / "b.zarr/theirs/zarr.json").read_text())
    for one, two in zip(
        *(
            document["attributes"]["ome"]["multiscales"][0]["datasets"]
            for document in (wanted, found)
        ),
        strict=True,
    ):
        scale, *moved = one["coordinateTransformations"]
        assert two["coordinateTransformations"][0] == scale
        position = moved[0]["translation"] if moved else [0, 0]
        assert two["coordinateTransformations"][1]["translation"] == position
    xpyramid.open_pyramid(tmp_path / "b.zarr/theirs").to_ome_zarr(tmp_path / "c.zarr")
    again = json.loads((tmp_path / "c.zarr/theirs/zarr.json").read_text())
    assert again["attributes"] == found["attributes"]


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.parametrize("layout", ["groups", "arrays"])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "u1"])
def test_value_of_missing_data(tmp_path: Path, version: str, layout: Any, dtype: str) -> None:
    """In Zarr v3 xarray opens no array of floats whose ``_FillValue`` is a number in JSON."""
    value = 7 if dtype == "u1" else -9999.5
    field = xr.DataArray(np.ones((4, 6), dtype), dims=("y", "x"), name="field")
    field.attrs["_FillValue"] = value
    field.pyramid.to_ome_zarr(tmp_path, levels=2, method="nearest", version=version, layout=layout)
    opened = xpyramid.open_pyramid(tmp_path / "field")
    assert [level.attrs["_FillValue"] for level in opened] == [value, value]
    if layout == "groups" and version != "0.4":
        with xr.open_dataset(tmp_path / "field/1", engine="zarr") as plain:
            assert plain.field.encoding["_FillValue"] == value


def test_the_steps_of_a_stored_image_are_those_it_was_built_with(tmp_path: Path) -> None:
    array = xr.DataArray(np.zeros((24, 24), "u1"), dims=("y", "x"), name="field")
    built = array.pyramid.build(factor=[2, 3, {"y": 2, "x": 1}])
    built.to_ome_zarr(tmp_path / "out.zarr")
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    assert opened.plan.steps == built.plan.steps == ((2, 2), (3, 3), (2, 1))
