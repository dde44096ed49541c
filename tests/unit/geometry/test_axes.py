from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.geometry.axes import describe_axes, straight_line


def names(dims: tuple[str, ...], **coords: object) -> list[tuple[str, str]]:
    array = xr.DataArray(np.zeros((3,) * len(dims)), dims=dims, coords=coords)
    return [(axis.name, axis.type) for axis in describe_axes(array)]


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (("t", "c", "z", "y", "x"), "tczyx"),
        (("time", "lat", "lon"), "tyx"),
        (("T", "latitude", "longitude"), "tyx"),
        (("band", "Y", "X"), "cyx"),
        (("dim_0", "dim_1"), "yx"),
        (("frame", "nav_lat", "nav_lon"), "tyx"),
        (("TIME", "northing", "easting"), "tyx"),
        (("wavelength", "plane", "row", "column"), "czyx"),
        (("bottom_top", "south_north", "west_east"), "zyx"),
        (("k", "j", "i"), "zyx"),
        (("valid_time", "lev", "rlat", "rlon"), "tzyx"),
        (("a", "b", "c"), "yxc"),  # an exact name comes before a guess by position
        (("row", "col"), "yx"),
        (("y", "lat"), "yx"),  # each axis once: what is left goes by position
    ],
)
def test_names(dims: tuple[str, ...], expected: str) -> None:
    assert "".join(name for name, _ in names(dims)) == expected


def test_cf_attributes_and_dtypes_decide_before_names() -> None:
    along = {"a": xr.DataArray([0, 1, 2], dims="a", attrs={"axis": "Y"})}
    assert names(("a", "b"), **along) == [("y", "space"), ("x", "space")]
    along = {"a": xr.DataArray([0, 1, 2], dims="a", attrs={"standard_name": "time"})}
    assert names(("a", "y", "x"), **along)[0] == ("t", "time")
    assert names(("a", "y", "x"), a=pd.date_range("2020", periods=3))[0] == ("t", "time")
    assert names(("a", "y", "x"), a=["r", "g", "b"])[0] == ("c", "channel")


@pytest.mark.parametrize(
    ("attrs", "name"),
    [
        ({"axis": "T"}, "t"),
        ({"axis": "Z"}, "z"),
        ({"standard_name": "longitude"}, "x"),
        ({"standard_name": "projection_y_coordinate"}, "y"),
        ({"standard_name": "radiation_wavelength"}, "c"),
        ({"standard_name": "air_pressure"}, "z"),
        ({"_CoordinateAxisType": "GeoX"}, "x"),
        ({"units": "degrees_north"}, "y"),
        ({"units": "degreeE"}, "x"),
        ({"units": "hours since 1900-01-01"}, "t"),
        ({"positive": "down"}, "z"),
        ({"axis": ["T"], "units": 3}, "y"),  # nothing anyone knows
    ],
)
def test_attributes(attrs: dict[str, object], name: str) -> None:
    along = xr.DataArray([0, 1, 2], dims="a", attrs=attrs)
    assert names(("a", "b"), a=along)[0][0] == name


@pytest.mark.parametrize("dtype", ["U", "O", np.dtypes.StringDType()])
def test_text_is_a_channel(dtype: object) -> None:
    assert names(("a", "y", "x"), a=np.array(["r", "g", "b"], dtype))[0] == ("c", "channel")


def test_numbers_of_days_since_a_date() -> None:
    time = xr.DataArray([10, 16, 22], dims="time", attrs={"units": "days since 2000-01-01"})
    array = xr.DataArray(np.zeros((3, 2, 2)), dims=("time", "y", "x"), coords={"time": time})
    axis = describe_axes(array)[0]
    assert (axis.unit, axis.spacing, axis.origin) == ("day", 6, 10)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_dates_of_a_calendar(calendar: str) -> None:
    cftime = pytest.importorskip("cftime")
    start = cftime.datetime(2001, 2, 27, calendar=calendar)
    days = np.array([start + timedelta(days=i) for i in range(4)])
    array = xr.DataArray(np.zeros((4, 2, 2)), {"q": days}, ("q", "y", "x"), "field")
    axis = describe_axes(array)[0]
    assert (axis.name, axis.unit, axis.spacing, axis.uneven) == ("t", "second", 86400, None)
    p = array.pyramid.build(factor=[{"q": 2}])
    assert list(p[1].q.values) == [days[0] + timedelta(hours=12), days[2] + timedelta(hours=12)]
    p.to_ome_zarr(store := {})
    xr.testing.assert_identical(xpyramid.open_pyramid(store, "field")[1].compute(), p[1].compute())


def test_a_fourth_unknown_dimension_is_no_axis() -> None:
    assert names(("w", "z", "y", "x"))[0] == ("w", "other")


@pytest.mark.parametrize(
    ("values", "spacing", "origin"),
    [
        (np.arange(5) * 0.1, 0.1, 0.0),
        (np.arange(1000) * 0.1 + 7, 0.1, 7.0),
        ((np.arange(720) * 0.25 - 90).astype("f4"), 0.25, -90.0),
        ((np.arange(3600) * 0.05 + 0.025).astype("f4"), 0.05, float(np.float32(0.025))),
        (np.linspace(90, -90, 181), -1.0, 90.0),
        (np.array([4, 8, 12], "u1"), 4.0, 4.0),
        (np.array([5.0]), 1.0, 5.0),
    ],
)
def test_regular_coordinates_give_the_shortest_spacing(
    values: np.ndarray, spacing: float, origin: float
) -> None:
    assert straight_line(values) == (spacing, origin, None)


def test_the_tolerance_is_a_thousandth_of_a_step() -> None:
    line = np.arange(10.0)
    assert straight_line(line + 0.0009 * (np.arange(10) == 5))[2] is None
    assert straight_line(line + 0.0011 * (np.arange(10) == 5))[2] is not None


def test_irregular_coordinates_say_their_steps() -> None:
    assert straight_line(np.array([0.0, 1.0, 3.0]))[2] == (1.0, 2.0)
    assert straight_line(np.array([2.0, 2.0, 2.0]))[2] == (0.0, 0.0)


def test_units_and_times() -> None:
    array = xr.DataArray(
        np.zeros((4, 3, 3)),
        dims=("time", "y", "x"),
        coords={
            "time": pd.date_range("2020", periods=4, freq="6h"),
            "x": xr.DataArray([0.0, 0.5, 1.0], dims="x", attrs={"units": "µm"}),
        },
    )
    t, y, x = describe_axes(array)
    assert (t.unit, t.spacing, t.origin) == ("second", 6 * 3600.0, 0.0)
    assert (x.unit, x.spacing) == ("micrometer", 0.5)
    assert (y.unit, y.spacing, y.origin) == (None, 1.0, 0.0)


def test_refusals() -> None:
    with pytest.raises(errors.AxisError, match="0-dimensional"):
        describe_axes(xr.DataArray(1.0))
    with pytest.warns(UserWarning, match="Duplicate dimension"):
        twice = xr.DataArray(np.zeros((2, 2)), dims=("x", "x"))
    with pytest.raises(errors.AxisError, match=r"duplicate dimensions in \('x', 'x'\)"):
        describe_axes(twice)
    with pytest.raises(errors.AxisError, match="must be strings"):
        describe_axes(xr.DataArray(np.zeros((2, 2)), dims=(0, 1)))
