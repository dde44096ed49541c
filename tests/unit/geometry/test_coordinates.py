import datetime
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.geometry.coordinates import in_nanoseconds


def field(**coords: object) -> xr.DataArray:
    return xr.DataArray(np.zeros((7, 8), "f4"), dims=("y", "x"), coords=coords, name="field")


def level_1(array: xr.DataArray, **options: object) -> xr.DataArray:
    return array.pyramid.build(factor=[2], **options)[1]


def test_regular_coordinates_stay_on_their_line_at_a_partial_window() -> None:
    got = level_1(field(y=np.arange(7) * 0.5 + 10))
    np.testing.assert_array_equal(got.y, [10.25, 11.25, 12.25, 13.25])


def test_descending_coordinates_keep_the_order_of_the_data() -> None:
    got = level_1(field(y=np.linspace(3, -3, 7)))
    np.testing.assert_array_equal(got.y, [2.5, 0.5, -1.5, -3.5])


def test_irregular_coordinates_are_averaged_as_xarray_does() -> None:
    y = np.array([0.0, 1, 3, 7, 15, 31, 63])
    got = level_1(field(y=y))
    with_xarray = field(y=y).coarsen(y=2, boundary="pad").mean()
    np.testing.assert_array_equal(got.y, with_xarray.y)
    np.testing.assert_array_equal(level_1(field(y=y), boundary="trim").y, with_xarray.y[:3])


def test_datetimes_on_a_coarsened_dimension() -> None:
    days = pd.date_range("2020-01-01", periods=7, freq="D")
    got = level_1(field(y=days), dims=("y", "x"))
    assert list(got.y.values[:2]) == [
        np.datetime64("2020-01-01T12"),
        np.datetime64("2020-01-03T12"),
    ]
    months = pd.date_range("2020-01-01", periods=7, freq="MS")
    got = level_1(field(y=months), dims=("y", "x"))
    assert got.y.values[0] == np.datetime64("2020-01-16T12")  # 1 January and 1 February
    assert got.y.values[3] == months[-1]


def test_dtype_and_attributes_are_kept() -> None:
    y = xr.DataArray(np.arange(7, dtype="f4"), dims="y", attrs={"units": "um"})
    got = level_1(field(y=y))
    assert (got.y.dtype, got.y.attrs) == (np.dtype("f4"), {"units": "um"})


def test_other_coordinates() -> None:
    array = field(
        run=3,
        lon=(("y", "x"), np.arange(56.0).reshape(7, 8)),
        number=("x", np.arange(8)),
    )
    got = level_1(array)
    assert got.run.item() == 3
    np.testing.assert_array_equal(got.number, [0.5, 2.5, 4.5, 6.5])
    np.testing.assert_array_equal(got.lon[0], array.lon[:2].values.reshape(2, 4, 2).mean((0, 2)))
    np.testing.assert_array_equal(got.lon[3], array.lon[6].values.reshape(4, 2).mean(1))
    assert got.lon.chunks is not None  # lazy


def test_what_has_no_mean_is_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="'label' of dtype <U1 .* coarser levels are without it"):
        got = level_1(field(label=("x", list("abcdefgh"))))
    assert "label" not in got.coords


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (list("abcdefgh"), "'x' has dtype <U1"),
        ([0, 1, 2, 3, np.nan, 5, 6, 7], "'x' is nan at position 4"),
        ([0, 1, 2, 3, 4, 5, 6, np.inf], "'x' is inf at position 7"),
        (np.array(["2020"] * 7 + ["NaT"], "M8[ns]"), "'x' is NaT at position 7"),
        ([True] * 8, "'x' has dtype bool"),
    ],
)
def test_coordinates_that_cannot_be_coarsened(values: object, message: str) -> None:
    with pytest.raises(errors.AxisError, match=message):
        field(x=values).pyramid.build(levels=2, dims=("y", "x"))


def test_they_do_not_matter_on_other_dimensions() -> None:
    assert level_1(field(x=list("abcdefgh")), dims="y").shape == (4, 8)


KINDS = {
    "zone": (pd.date_range("2000", periods=3, tz="Europe/Paris"), "times with the zone Europe"),
    "categories": (pd.Categorical(["a", "b", "a"]), "dtype category"),
    "intervals": (pd.interval_range(0, 3), "dtype interval"),
    "periods": (pd.period_range("2000", periods=3, freq="M"), "dtype period"),
    "nullable": (pd.array([1, None, 3]), "dtype Int64"),
    "objects": (
        np.array([1, "a", None], object),
        "dtype object, with values of type NoneType, int",
    ),
}


def advised(message: str) -> str:
    """Return the call that a message says to make; without one, that which drops something."""
    call, brackets = "", 0
    word = "call " if "call " in message else "drop it with "
    for character in message.partition(word)[2]:
        brackets += {"(": 1, ")": -1}.get(character, 0)
        call += character
        if character == ")" and not brackets:
            break
    return call


@pytest.mark.parametrize("is_index", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_a_store_has_no_form_for(kind: str, is_index: bool) -> None:
    """The message names the one that is meant, and the call to make, which works."""
    values, said = KINDS[kind]
    name = "c" if is_index else "of_c"
    coords = {name: ("c", values), "station": ("c", [1, 2, 3])}
    array = xr.DataArray(np.zeros((3, 8, 8), "f4"), dims=("c", "y", "x"), name="a", coords=coords)
    pyramid = array.pyramid.build(levels=2)
    with pytest.raises(errors.AxisError, match=f"^coordinate '{name}' has {said}") as raised:
        pyramid.to_ome_zarr(store := {})
    assert store == {}
    assert "station" not in str(raised.value)
    call = advised(str(raised.value))
    eval(f"array{call}").pyramid.to_ome_zarr(store, levels=2)  # what the message says
    assert xpyramid.open_pyramid(store, "a")[1].shape == (3, 4, 4)


def test_several_columns_in_one_coordinate() -> None:
    columns = pd.MultiIndex.from_product([[1], [1, 2, 3]], names=["p", "q"])
    array = xr.DataArray(np.zeros((3, 8, 8), "f4"), dims=("c", "y", "x"), name="a")
    array = array.assign_coords(xr.Coordinates.from_pandas_multiindex(columns, "c"))
    with pytest.raises(errors.AxisError, match=r"^coordinate 'c' is a MultiIndex of \['p', 'q'\]"):
        array.pyramid.to_ome_zarr({}, levels=2)
    array.reset_index("c").pyramid.to_ome_zarr(store := {}, levels=2)
    assert xpyramid.open_pyramid(store, "a")[1].q.values.tolist() == [1, 2, 3]


WITHOUT_A_MEAN = {
    "zone": (pd.date_range("2000", periods=4, freq="D", tz="UTC"), "times with the zone UTC", "M"),
    "categories": (pd.Categorical(["a", "b", "a", "c"]), "dtype category", None),
    "intervals": (pd.interval_range(0, 4), "dtype interval", "f"),
    "periods": (pd.period_range("2000", periods=4, freq="D"), "dtype period", "M"),
    "nullable": (pd.array([1, 2, 3, 4]), "dtype Int64", "f"),
    "columns": (None, "a MultiIndex", "i"),
    "days": (
        np.array([datetime.date(2000, 1, day) for day in (1, 2, 3, 4)], object),
        "dtype object, with values of type date", "M",
    ),
    "fractions": (
        np.array([Fraction(i, 4) for i in range(4)], object), "dtype object, with values of type F",
        "f",
    ),
    "mixed": (np.array(["a", 1, 2, 3], object), "dtype object, with values of type int", None),
    "text": (list("abcd"), "dtype <U1", None),
}  # fmt: skip


@pytest.mark.parametrize("kind", WITHOUT_A_MEAN)
def test_kinds_that_have_no_mean(kind: str) -> None:
    """As on other dimensions, the message names the one that is meant, and a call that works."""
    values, said, becomes = WITHOUT_A_MEAN[kind]
    array = xr.DataArray(np.zeros((4, 4, 8), "f4"), dims=("w", "y", "x"), name="a")
    if kind == "columns":
        columns = pd.MultiIndex.from_product([[1, 2], [1, 2]], names=["p", "q"])
        array = array.assign_coords(xr.Coordinates.from_pandas_multiindex(columns, "w"))
    else:
        array = array.assign_coords(w=("w", values))
    array = array.assign_coords(x=np.arange(8.0))
    with pytest.raises(errors.AxisError, match=f"^(the )?coordinate (of )?'w' .*{said}") as raised:
        array.pyramid.build(levels=2, factor={"w": 2, "x": 2})
    message = str(raised.value)
    assert "accepted: " in message
    assert "'x'" not in message
    mended = eval(f"array{advised(message)}")  # what the message says
    p = mended.pyramid.build(levels=2, factor={"w": 2, "x": 2})
    if becomes is None:
        assert "w" not in p[1].coords
    else:
        assert p[1]["q" if kind == "columns" else "w"].dtype.kind in ("f", becomes)
    p.to_ome_zarr(store := {})
    assert xpyramid.open_pyramid(store, "a")[1].shape == (2, 4, 4)
    kept = array.pyramid.build(levels=2, dims="x")  # which it says, too
    assert kept[1].shape == (4, 4, 4)


def test_warnings_point_to_the_caller() -> None:
    array = field(label=("x", list("abcdefgh")))

    def every_way() -> None:
        array.pyramid.build(levels=3)
        array.pyramid.to_ome_zarr({}, levels=3)
        array.to_dataset().pyramid.build(levels=3)

    with pytest.warns(UserWarning, match="without it") as warned:
        every_way()
    assert [warning.filename for warning in warned] == [__file__] * 3


def degrees(values: object, **attrs: str) -> xr.DataArray:
    return xr.DataArray(values, dims=("y", "x"), attrs=attrs)


ANGLES = {
    "across 180": ([179, -179], 180, {"units": "degrees_east"}),
    "across 180, uneven": ([178, 179, -179, -175], -179.25, {"standard_name": "longitude"}),
    "across 0": ([359.0, 3.0], 1, {"units": "degree_E"}),
    "across 0, down": ([2.0, 356.0], 359, {"units": "degrees_east"}),
    "NaN": ([np.nan, 179, -179, -179], -179.6667, {"units": "degrees_east"}),
    "nothing": ([np.nan, np.nan], np.nan, {"units": "degrees_east"}),
    "plain": ([10.0, 11.0, 13.0, 14.0], 12, {"units": "degrees_east"}),
    "wind": ([350.0, 20.0], 5, {"standard_name": "wind_from_direction", "units": "degree"}),
    "radians": ([3.1, -3.1], np.pi, {"standard_name": "longitude", "units": "radians"}),
    "no angle": ([179, -179], 0, {"units": "m"}),
    "latitude": ([80.0, -80.0], 0, {"units": "degrees_north"}),
}


@pytest.mark.parametrize("case", ANGLES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_angles_that_begin_anew(case: str, dtype: str) -> None:
    values, mean, attrs = ANGLES[case]
    window = np.asarray(values, dtype)
    array = xr.DataArray(np.zeros((2, 2 * len(window)), "f4"), dims=("y", "x"), name="a")
    angle = degrees(np.tile(window, (2, 2)), **attrs)
    array = array.assign_coords(angle=angle, of_x=("x", angle.values[0], attrs))
    level = array.pyramid.build(factor=[{"x": len(window)}])[1]
    turn = 2 * np.pi if case == "radians" else 360
    for name in ("angle", "of_x"):
        away = (level[name].values - mean + turn / 2) % turn - turn / 2
        np.testing.assert_allclose(away, away * 0 if case != "nothing" else np.nan, atol=1e-4)
        assert level[name].dtype == dtype
        assert level[name].attrs == attrs
    assert level.angle.shape == (2, 2)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_missing_numbers_of_a_coordinate_do_not_count(dtype: str) -> None:
    numbers = np.array([[-99, 4, 2, 4, -99, -99, 1, 1]] * 7, dtype)
    array = field(
        lat=(("y", "x"), numbers, {"_FillValue": -99}),
        lon=(("y", "x"), numbers, {"_FillValue": -99}),
    )
    level = level_1(array)
    np.testing.assert_array_equal(level.lat[0], [4, 3, -99, 1])
    np.testing.assert_array_equal(level.lon[0], [4, 3, -99, 1])


def test_missing_numbers_of_the_encoding_of_a_coordinate() -> None:
    array = field(depth=(("y", "x"), np.array([[-99, 4, 2, 4, -99, -99, 1, 1]] * 7, "i2")))
    array.depth.encoding["_FillValue"] = -99
    level = level_1(array)
    np.testing.assert_array_equal(level.depth[0], [4, 3, -99, 1])
    assert level.depth.attrs == {"_FillValue": -99}


@pytest.mark.parametrize("name", ["lon", "longitude", "nav_lon"])
def test_longitudes_by_their_names(name: str) -> None:
    array = field(**{name: (("y", "x"), np.tile([179.0, -179.0], (7, 4)))})
    np.testing.assert_allclose(abs(level_1(array)[name]), 180)


def test_an_uneven_longitude_that_begins_anew() -> None:
    lon = xr.DataArray([176, 177, 178, 179, -180, -179, -177, -176], dims="lon")
    array = xr.DataArray(np.zeros((4, 8)), {"lon": lon}, ("lat", "lon"), "a")
    np.testing.assert_allclose(level_1(array).lon, [176.5, 178.5, -179.5, -176.5])
    three = array.pyramid.build(factor=[{"lon": 3}])[1].lon
    np.testing.assert_allclose(three, [177, -180, -176.5])


@pytest.mark.parametrize("unit", ["ns", "s"])
def test_times_in_two_dimensions(unit: str) -> None:
    start = np.datetime64("2000-01-01", unit)
    times = start + np.arange(56).reshape(7, 8) * np.timedelta64(2, "h")
    array = field(scanned=(("y", "x"), times), took=(("y", "x"), times - start))
    level = level_1(array)
    mean = (times[:2, :2] - start).astype("i8").mean().astype(f"m8[{unit}]")
    assert level.scanned.values[0, 0] == start + mean
    assert level.took.values[0, 0] == mean
    array.pyramid.to_ome_zarr(store := {}, levels=2)
    back = xpyramid.open_pyramid(store, "field")[1]
    xr.testing.assert_identical(back.load(), array.pyramid.build(levels=2)[1].load())


def ocean() -> xr.DataArray:
    """Return an array whose depths are uneven, and not coarsened."""
    coords = {
        "depth": ("depth", [0.5, 1.5, 2.6, 5.0, 1062.4], {"units": "m", "positive": "down"}),
        "lat": np.arange(8.0),
        "lon": np.arange(8.0),
    }
    return xr.DataArray(np.ones((5, 8, 8), "f4"), coords, ("depth", "lat", "lon"), "salt")


@pytest.mark.parametrize("layout", ["groups", "arrays"])
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_uneven_coordinates_that_all_levels_have_are_counted(layout: str, version: str) -> None:
    array = ocean()
    pyramid = array.pyramid.build(levels=2, dims=["lat", "lon"])
    with pytest.warns(
        UserWarning, match=r"'depth' is irregular: steps from 1 to 1057.4; .*scale 1"
    ):
        pyramid.to_ome_zarr(store := {}, layout=layout, version=version)
    opened = xpyramid.open_pyramid(store, "salt")
    for level, back in zip(pyramid, opened, strict=True):
        xr.testing.assert_identical(back.load(), level.load())
    assert xpyramid.verify(store, deep=True) == []
    datasets = opened.metadata["multiscales"][0]["datasets"]
    for k, dataset in enumerate(datasets):
        transforms = dataset["coordinateTransformations"]
        if version == "0.6":
            transforms = transforms[0]["transformations"]
        scale, shift = transforms
        assert scale["scale"] == [1, 2**k, 2**k]
        assert shift["translation"][0] == 0
    with pytest.warns(UserWarning, match="'depth' is irregular") as warned:
        opened.to_ome_zarr(again := {}, layout=layout, version=version)
    assert warned[0].filename == __file__
    assert xpyramid.verify(again, deep=True) == []


def test_what_is_coarsened_must_be_even() -> None:
    pyramid = ocean().pyramid.build(levels=2, factor=2)
    with pytest.raises(errors.AxisError, match=r"'depth' is irregular.*irregular='approximate'"):
        pyramid.to_ome_zarr({})
    pyramid = ocean().pyramid.build(levels=2, dims=["lat", "lon"])
    pyramid.to_ome_zarr(store := {}, irregular="approximate")  # the mean spacing, without a warning
    image = xpyramid.open_pyramid(store, "salt").metadata["multiscales"][0]
    scale = image["datasets"][0]["coordinateTransformations"][0]["scale"][0]
    assert scale == pytest.approx(1061.9 / 4)


@pytest.mark.skipif(np.dtype("g") == np.dtype("f8"), reason="long doubles are doubles here")
def test_what_xarray_cannot_store_is_named_alone() -> None:
    array = field(good=("y", np.arange(7)), wide=("y", np.arange(7, dtype="g")))
    with pytest.raises(errors.AxisError, match=r"^coordinate 'wide' of dtype float\d+ cannot be"):
        array.pyramid.to_ome_zarr(store := {}, levels=2, dims=["x"])
    assert store == {}


@pytest.mark.parametrize("layout", ["groups"])
def test_bytes_of_length_1_are_not_joined(layout: str) -> None:
    array = xr.DataArray(np.zeros((4, 8, 8), "u1"), dims=("c", "y", "x"), name="field")
    array = array.assign_coords(q=("c", np.array([b"a", b"b", b"c", b"d"])))
    array.pyramid.to_ome_zarr(store := {}, levels=2, layout=layout)
    assert xpyramid.open_pyramid(store, "field")[0].q.values.tolist() == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_a_dtype_rounds_off_is_not_uneven(dtype: str) -> None:
    lon = np.linspace(-179.99, 180, 36000).astype(dtype)
    array = xr.DataArray(np.zeros((2, 36000), "u1"), {"lon": lon}, ("lat", "lon"), "field")
    axis = array.pyramid.build(2).plan.axes[1]
    assert axis.uneven is None
    assert axis.spacing == pytest.approx(0.01, rel=1e-5)


def test_means_of_uneven_times_are_exact_to_the_nanosecond() -> None:
    days = np.array([0, 1, 2, 106750]).astype("M8[D]").astype("M8[ns]")
    array = xr.DataArray(np.zeros((4, 8)), {"time": days}, ("time", "x"))
    level = array.pyramid.build(2, factor={"time": 2})[1]
    assert level.time.values.tolist() == [43_200 * 10**9, 53376 * 86_400 * 10**9]


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        (np.array(["2026-05-04T10:00:00", "NaT"], "M8[s]"), "M8[ns]"),
        (np.array([5], "m8[D]"), "m8[ns]"),
        (np.array(["3000-01-01"], "M8[us]"), "M8[us]"),  # beyond the years of nanoseconds
        (np.array(["2026-05-04T10:00:00.123456789012"], "M8[ps]"), "M8[ps]"),
        (np.array([1.5]), "f8"),
    ],
)
def test_times_in_nanoseconds(times: np.ndarray, kind: str) -> None:
    exact = in_nanoseconds(times)
    assert exact.dtype == kind
    np.testing.assert_array_equal(exact.astype(times.dtype), times)
