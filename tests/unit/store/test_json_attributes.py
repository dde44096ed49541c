"""Attributes that JSON has no number for, fill values, and whose attribute a message is about."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xpyramid
from xpyramid import errors
from xpyramid.store.json_attributes import json_attributes, nonfinite, restore

VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
LAYOUTS = pytest.mark.parametrize("layout", ["groups", "arrays"])


def field(dtype: str = "f4", **attrs: Any) -> xr.DataArray:
    values = np.arange(64).reshape(8, 8).astype(dtype)
    coords = {"lat": 50 - np.arange(8.0), "lon": np.arange(8.0)}
    return xr.DataArray(values, coords, ("lat", "lon"), "field", attrs)


def no_constant(token: str) -> None:
    raise AssertionError(token)


def check_strict(path: Path) -> None:
    """Check that all JSON below a path is strict."""
    for name in ("zarr.json", ".zattrs", ".zarray", ".zmetadata"):
        for document in path.rglob(name):
            json.loads(document.read_text(), parse_constant=no_constant)


@VERSIONS
@LAYOUTS
def test_files_that_were_opened_without_masks(tmp_path: Path, version: str, layout: str) -> None:
    """There xarray gives each coordinate of floats a fill value of NaN."""
    field().to_dataset().to_netcdf(tmp_path / "source.nc")
    array = xr.open_dataset(tmp_path / "source.nc", mask_and_scale=False).field
    assert math.isnan(array.lat.attrs["_FillValue"])
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version, layout=layout)
    check_strict(tmp_path / "out.zarr")
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    xr.testing.assert_identical(opened[0].load(), array.load())
    assert math.isnan(opened[1].lat.attrs["_FillValue"])
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []


@VERSIONS
@LAYOUTS
def test_numbers_that_json_does_not_have(tmp_path: Path, version: str, layout: str) -> None:
    attrs = {
        "range": [0, np.inf], "worst": np.float32("-inf"), "missing_value": np.nan, "text": "NaN",
        "deep": {"list": [1, {"a": (np.nan, "Infinity")}], "array": np.array([np.nan, 1])},
    }  # fmt: skip
    array = field(**attrs)
    array.lat.attrs = {"valid_max": np.inf, "units": "m"}
    array.pyramid.to_ome_zarr(tmp_path, levels=2, version=version, layout=layout)
    check_strict(tmp_path)
    for level in xpyramid.open_pyramid(tmp_path / "field"):
        assert level.attrs["range"] == [0, math.inf]
        assert level.attrs["worst"] == -math.inf
        assert level.attrs["text"] == "NaN"
        assert math.isnan(level.attrs["missing_value"])
        nested = level.attrs["deep"]["list"][1]["a"]
        assert math.isnan(nested[0])
        assert nested[1] == "Infinity"
        assert math.isnan(level.attrs["deep"]["array"][0])
        assert level.lat.attrs == {"valid_max": math.inf, "units": "m"}
    assert xpyramid.verify(tmp_path, deep=True) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3)
    | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=3), values, max_size=4))
def test_attributes_come_back(attrs: dict[str, Any]) -> None:
    try:
        written = json_attributes(attrs)
    except errors.AttributeValueError:
        return
    text = json.dumps([written, nonfinite(attrs)], allow_nan=False)
    assert repr(restore(*json.loads(text))) == repr(attrs)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("f4", -9999.0), ("f8", 1e20), ("f4", 7), ("f4", np.nan), ("f2", np.float32(3)), (">f4", 2.5),
     ("i2", -1), ("u1", 255), ("i4", np.int16(3)), ("i2", -1.0)],
)  # fmt: skip
@pytest.mark.parametrize("version", ["0.4", "0.5"])
@LAYOUTS
def test_fill_values_of_the_array(
    tmp_path: Path, dtype: str, fill: Any, version: str, layout: str
) -> None:
    """Plain xarray reads them in a form of its own: a float's as it stands is an error to it."""
    array = field(dtype, _FillValue=fill)
    array.pyramid.to_ome_zarr(tmp_path, levels=2, version=version, layout=layout)
    check_strict(tmp_path)
    for level in xpyramid.open_pyramid(tmp_path / "field"):
        np.testing.assert_equal(np.asarray(level.attrs["_FillValue"]).item(), fill)
    if layout == "groups":
        plain = xr.open_zarr(tmp_path / "field/0").field
        np.testing.assert_equal(plain.encoding["_FillValue"], np.asarray(fill).item())
        np.testing.assert_array_equal(plain, array.where(array != fill))


@pytest.mark.parametrize("fill", [np.nan, "none", 5.5])
def test_fill_values_that_the_array_cannot_have(fill: Any) -> None:
    with pytest.raises(errors.AttributeValueError, match=r"'_FillValue' of the array.*dtype int16"):
        field("i2", _FillValue=fill).pyramid.to_ome_zarr(store := {}, levels=2)
    assert store == {}


@pytest.mark.parametrize("key", ["scale_factor", "add_offset"])
@pytest.mark.parametrize("where", ["array", "coordinate"])
def test_numbers_that_readers_compute_with_are_finite(key: str, where: str) -> None:
    array = field()
    (array.lat if where == "coordinate" else array).attrs[key] = np.inf
    whose = "coordinate 'lat'" if where == "coordinate" else "the array"
    with pytest.raises(errors.AttributeValueError, match=f"'{key}' of {whose} is inf"):
        array.pyramid.to_ome_zarr(store := {}, levels=2)
    assert store == {}


def test_messages_say_whose_attribute_it_is() -> None:
    array = field()
    array.lat.attrs["by"] = {"who": b"x"}
    message = r"'by.who' of coordinate 'lat' is b'x'.*del array.coords\['lat'\].attrs\['by'\]"
    with pytest.raises(errors.AttributeValueError, match=message):
        array.pyramid.to_ome_zarr({}, levels=2)
    with pytest.raises(errors.AttributeValueError, match=message):
        array.pyramid.to_ome_zarr({}, levels=2, layout="arrays")
    message = r"'by' of the array is b'x'.*del array.attrs\['by'\]"
    with pytest.raises(errors.AttributeValueError, match=message):
        field(by=b"x").pyramid.to_ome_zarr({}, levels=2)
    message = r"'by' of the Dataset is b'x'.*del dataset.attrs\['by'\]"
    with pytest.raises(errors.AttributeValueError, match=message):
        field().to_dataset().assign_attrs(by=b"x").pyramid.to_ome_zarr({}, levels=2)
    label = {"colors": [{"label-value": np.nan, "rgba": [0, 0, 0, 0]}]}
    field("u1").pyramid.to_ome_zarr(store := {}, levels=2)
    labels = field("u1", **{"image-label": label}).rename("cells")
    with pytest.raises(errors.PyramidError):
        labels.pyramid.to_ome_zarr(store, levels=2, labels_of="field")
