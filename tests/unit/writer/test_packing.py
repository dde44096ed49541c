"""Numbers that are packed in their file: unpacked with a word, or packed again."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xpyramid
from xpyramid import errors

PACKING = {"dtype": "i2", "scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -99}


def weather(**packing: Any) -> xr.DataArray:
    """Return numbers as xarray unpacks them."""
    rng = np.random.default_rng(3)
    packed = rng.integers(-50, 50, (13, 17)).astype("i2")
    packed[:4, :4] = -99
    packed[rng.random(packed.shape) < 0.2] = -99
    coords = {"lat": np.arange(13.0), "lon": np.arange(17.0)}
    stored = xr.DataArray(packed, coords, ("lat", "lon"), "t2m", {"units": "K"})
    attrs = {key: v for key, v in {**PACKING, **packing}.items() if key != "dtype"}
    return xr.decode_cf(stored.assign_attrs(attrs).to_dataset()).t2m


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("chunks", [None, {}, {"lat": 5}])
def test_packed_again(tmp_path: Path, version: str, chunks: Any) -> None:
    source = weather()
    source.to_dataset().to_netcdf(tmp_path / "source.nc", encoding={"t2m": PACKING})
    array = xr.open_dataset(tmp_path / "source.nc", chunks=chunks).t2m
    pyramid = array.pyramid.build(levels=3)
    pyramid.to_ome_zarr(tmp_path / "out.zarr", dtype="source", version=version)
    raw = xr.open_dataset(tmp_path / "source.nc", mask_and_scale=False).t2m
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/t2m")
    assert opened.plan.dtype == "i2"
    np.testing.assert_array_equal(opened[0], raw, strict=True)
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []
    for k, level in enumerate(pyramid):
        unpacked = xr.open_zarr(tmp_path / f"out.zarr/t2m/{k}").t2m
        np.testing.assert_array_equal(np.isnan(unpacked), np.isnan(level))
        np.testing.assert_allclose(unpacked, level, atol=0.25 + 1e-5)
        assert unpacked.attrs == {"units": "K"}
        for key in ("scale_factor", "add_offset", "_FillValue"):
            assert unpacked.encoding[key] == PACKING[key]


def test_unpacked_with_a_word() -> None:
    message = r"'t2m' is packed in its file \(int16, scale_factor=0.5, add_offset=10.0\).*pass dty"
    with pytest.warns(UserWarning, match=message) as warned:
        weather().pyramid.to_ome_zarr(store := {}, levels=2)
    assert warned[0].filename == __file__
    assert xpyramid.open_pyramid(store, "t2m")[1].dtype.kind == "f"


@pytest.mark.slow
@given(
    st.sampled_from(["i1", "u1", "i2", "u2", "i4"]),
    st.sampled_from([0.5, 0.1, 1e-3, 7.0, -0.01]),
    st.sampled_from([0.0, 10.0, -273.15]),
    st.sampled_from(["f4", "f8"]),
    st.data(),
)
def test_level_0_is_that_of_the_file(
    dtype: str, scale: float, offset: float, kind: str, data: st.DataObject
) -> None:
    """As far as the floats can tell the integers apart, which xarray sees to."""
    info = np.iinfo(dtype)
    kind = "f8" if dtype == "i4" or offset else kind
    few = data.draw(st.lists(st.integers(info.min, info.max), min_size=1, max_size=9))
    packed = np.resize(np.array(few, dtype), (4, 6))
    numbers = xr.DataArray(packed.astype(kind) * scale + offset, dims=("y", "x"), name="a")
    fill = data.draw(st.sampled_from([None, few[0]]))
    numbers = numbers.where(packed != fill).astype(kind)
    numbers.encoding = {"dtype": dtype, "scale_factor": scale, "add_offset": offset}
    numbers.encoding |= {} if fill is None else {"_FillValue": fill}
    numbers.pyramid.to_ome_zarr(store := {}, levels=2, dtype="source")
    back = xpyramid.open_pyramid(store, "a")
    np.testing.assert_array_equal(back[0], packed, strict=True)
    assert xpyramid.verify(store, deep=True) == []


def test_what_is_not_packed_stays_as_it_is() -> None:
    array = xr.DataArray(np.ones((8, 8), "f4"), dims=("y", "x"), name="a")
    xr.Dataset({"a": array, "b": weather().rename(lat="y", lon="x")[:8, :8]}).drop_vars(
        ["y", "x"]
    ).pyramid.to_ome_zarr(store := {}, levels=2, dtype="source")
    assert xpyramid.open_pyramid(store, "a")[1].dtype == "f4"
    assert xpyramid.open_pyramid(store, "b")[1].dtype == "i2"


def test_a_missing_sample_where_none_may_be() -> None:
    weather().pyramid.to_ome_zarr(store := {}, levels=2, dtype="source", skipna=False)
    lazy = weather().pyramid.build(levels=2, skipna=False)[1]
    back = xpyramid.open_pyramid(store, "t2m")[1]
    np.testing.assert_array_equal(back == -99, np.isnan(lazy))


@pytest.mark.parametrize(
    ("packing", "options", "message"),
    [
        ({}, {"method": "sum"}, "method='sum'; accepted: mean"),
        ({}, {"method": np.max}, "method='max'; accepted: mean"),
        ({"scale_factor": -0.5}, {"method": "min"}, "reverses the order; accepted: mean, mode"),
        ({}, {"ignore": 3.0}, "ignore=3.0; accepted: the '_FillValue'"),
    ],
)
def test_what_is_refused(packing: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.PyramidError, match=message):
        weather(**packing).pyramid.to_ome_zarr(store := {}, levels=2, dtype="source", **options)
    assert store == {}


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(errors.PlanError, match=r"dtype='f4'; accepted: 'source'.*astype\('f4'\)"):
        weather().pyramid.to_ome_zarr({}, levels=2, dtype="f4")


@pytest.mark.parametrize("beyond", [1e6, -1e6])
def test_numbers_that_the_integers_do_not_reach(beyond: float) -> None:
    array = weather().copy(data=da.full((13, 17), beyond, chunks=5))
    array.encoding = weather().encoding
    with pytest.raises(errors.DtypeError, match=r"int16 .*and the numbers reach"):
        array.pyramid.to_ome_zarr({}, levels=2, dtype="source")


def test_missing_numbers_without_a_fill_value() -> None:
    array = weather()
    del array.encoding["_FillValue"]
    with pytest.raises(errors.DtypeError, match="hold NaN, for which the encoding has no"):
        array.pyramid.to_ome_zarr({}, levels=2, dtype="source")


def test_numbers_that_would_be_missing() -> None:
    array = xr.DataArray([[1.0, 7.0], [2.0, 3.0]], dims=("y", "x"), name="field")
    array.encoding = {"dtype": "int16", "scale_factor": 1.0, "_FillValue": 7}
    with pytest.raises(xpyramid.errors.PyramidError, match="packs some numbers to 7"):
        array.pyramid.to_ome_zarr({}, dtype="source")


@pytest.mark.parametrize(("dtype", "number"), [("int64", 2.0**63), ("uint64", 2.0**64)])
def test_numbers_just_beyond_64_bits(dtype: str, number: float) -> None:
    array = xr.DataArray([[number] * 2] * 2, dims=("y", "x"), name="field")
    array.encoding = {"dtype": dtype, "scale_factor": 1.0}
    with pytest.raises(xpyramid.errors.PyramidError, match="and the numbers reach"):
        array.pyramid.to_ome_zarr({}, dtype="source")


def test_several_missing_values_are_packed_to_the_first() -> None:
    array = xr.DataArray([[1.0, np.nan], [4.0, 8.0]], dims=("y", "x"), name="field")
    array.encoding = {"dtype": "int16", "missing_value": [-999, 8]}
    array.pyramid.to_ome_zarr(store := {}, levels=1, dtype="source")
    stored = xr.open_zarr(store, group="field/0", consolidated=False).field
    np.testing.assert_array_equal(stored, array)  # 8 is a number like others
    assert stored.encoding["_FillValue"] == -999


@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "bogus"},
        {"dtype": "int16", "scale_factor": "x"},
        {"dtype": "int16", "_FillValue": "x"},
        {"dtype": "int16", "_Unsigned": "true"},
    ],
)
def test_encodings_that_are_none(encoding: dict[str, Any]) -> None:
    array = xr.DataArray(np.ones((2, 2)), dims=("y", "x"), name="field")
    array.encoding = encoding
    with pytest.raises(xpyramid.errors.PlanError, match=r"dtype='source' with .*accepted"):
        array.pyramid.to_ome_zarr({}, dtype="source")


@pytest.mark.filterwarnings("ignore:'field' is packed")
def test_integers_beyond_float64() -> None:
    array = xr.DataArray(np.full((2, 2), 2.0**53), dims=("y", "x"), name="field")
    array.encoding = {"dtype": "int64", "_FillValue": -1}
    with pytest.raises(xpyramid.errors.PyramidError, match="float64 does not tell"):
        array.pyramid.to_ome_zarr({}, dtype="source")
