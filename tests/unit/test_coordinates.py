import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xpyramid import errors


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
