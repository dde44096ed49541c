"""Windows, names and colours of channels: exact extremes, percentiles, in the writing pass."""

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import spread

import xpyramid
from xpyramid import errors
from xpyramid.engine.statistics import Observer, merge

DTYPES = ["?", "u1", "i1", "u2", ">u2", "i2", "u4", "i4", "i8", "u8", "f2", "f4", ">f4", "f8"]


def values(dtype: str, size: int = 6000) -> np.ndarray[Any, Any]:
    """Return values of all signs and sizes that a dtype has, NaN and infinity among them."""
    kind, rng = np.dtype(dtype), np.random.default_rng(1)
    if kind.kind == "b":
        return rng.random(size) < 0.3
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return rng.integers(info.min // 3, info.max // 2, size, kind.newbyteorder("=")).astype(kind)
    found = (rng.normal(size=size) * 10.0 ** rng.integers(-2, 3, size)).astype(kind)
    found[:30:3], found[1:30:3], found[2:30:3] = np.nan, np.inf, -np.inf
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fraction", [0, 0.001, 0.3, 0.5, 0.999, 1])
def test_quantiles(dtype: str, fraction: float) -> None:
    """Exact where a dtype has at most 16 bits, else within one part in 100."""
    samples = values(dtype)
    seen = Observer(None)((slice(0, samples.size),), samples)[0]
    real = samples if samples.dtype.kind in "iu" else samples.astype("f8")
    real = real[np.isfinite(real)]
    assert (seen.low, seen.high) == (real.min(), real.max())
    assert seen.counts.sum() == real.size
    got = seen.quantile(fraction, samples.dtype)
    want = np.sort(real)[int(fraction * (real.size - 1))]
    if samples.dtype.kind in "biu" and samples.dtype.itemsize <= 2:
        assert got == want
    else:
        assert float(got) == pytest.approx(float(want), rel=0.01)


def test_values_out_of_the_range_of_float32() -> None:
    samples = np.array([-1e300, -1e-300, 0, 1e-300, 1e300])
    seen = Observer(None)((slice(0, 5),), samples)[0]
    assert (seen.low, seen.high, int(seen.counts.sum())) == (-1e300, 1e300, 5)
    assert seen.quantile(0, samples.dtype) == pytest.approx(-3.4e38, rel=0.01)


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_pieces_in_any_order_give_the_same(dtype: str) -> None:
    samples = values(dtype).reshape(3, 2000)
    whole = Observer(0)((slice(4, 7), slice(0, 2000)), samples)
    assert sorted(whole) == [4, 5, 6]
    parts = [
        Observer(0)((slice(4 + c, 5 + c), slice(i, i + 500)), samples[c : c + 1, i : i + 500])
        for c in (2, 0, 1)
        for i in (1500, 0, 1000, 500)
    ]
    merged = merge(parts)
    for channel, one in whole.items():
        other = merged[channel]
        assert (one.low, one.high) == (other.low, other.high)
        np.testing.assert_array_equal(one.keys, other.keys)
        np.testing.assert_array_equal(one.counts, other.counts)


def field(dtype: str = "u2") -> xr.DataArray:
    """Return two channels; a few samples of each are far brighter than the others."""
    rng = np.random.default_rng(0)
    bright = np.stack([rng.integers(100, 200, (120, 100)), rng.integers(1000, 4000, (120, 100))])
    bright[:, 0, :5] = 60000
    return xr.DataArray(bright.astype(dtype), {"c": ["DAPI", "GFP"]}, ("c", "y", "x"), name="field")


def channels(store: Path, group: str = "field", version: str = "0.5") -> list[dict[str, Any]]:
    attrs = dict(zarr.open_group(store, path=group, mode="r").attrs)
    found: list[dict[str, Any]] = (attrs if version == "0.4" else attrs["ome"])["omero"]["channels"]
    return found


def check(found: list[dict[str, Any]]) -> None:
    base = field().values.reshape(2, -1)
    for channel, plane in zip(found, base, strict=True):
        ranked = np.sort(plane)
        assert channel["window"] == {
            "min": ranked[0],
            "max": ranked[-1],
            "start": ranked[int(0.001 * (plane.size - 1))],
            "end": ranked[int(0.999 * (plane.size - 1))],
        }
    assert [channel["label"] for channel in found] == ["DAPI", "GFP"]


@pytest.mark.parametrize(
    ("scheduler", "blocks", "compute"),
    [
        ("threads", None, True),
        ("threads", 30, True),
        ("synchronous", 30, False),
        ("threads", None, False),
        pytest.param("processes", 30, True, marks=pytest.mark.slow),
    ],
)
def test_windows_on_every_scheduler(
    tmp_path: Path, scheduler: str, blocks: int | None, compute: bool
) -> None:
    array = field() if blocks is None else field().chunk(blocks)
    pyramid = array.pyramid.build(levels=3, chunks=16)
    with dask.config.set(scheduler=scheduler):
        delayed = pyramid.to_ome_zarr(tmp_path, compute=compute)
        if delayed is not None:
            delayed.compute()
    check(channels(tmp_path))


@pytest.mark.parametrize(
    ("method", "version"),
    spread(2, ["median", "nearest", "min", np.nanmax], ["0.4", "0.5", "0.6"]),
)
def test_windows_with_every_kind_of_method(tmp_path: Path, method: Any, version: str) -> None:
    field().pyramid.to_ome_zarr(tmp_path, method=method, levels=3, chunks=16, version=version)
    check(channels(tmp_path, version=version))
    back = xpyramid.open_pyramid(tmp_path, "field")  # levels that are there are copied
    back.to_ome_zarr(tmp_path, "copy", version=version)
    check(channels(tmp_path, "copy", version))


@pytest.mark.parametrize("method", ["std", "mean", "median"])
def test_channels_have_the_windows_that_each_has_alone(tmp_path: Path, method: str) -> None:
    """Also of spreads, which are looked at where they are computed, and not in the base."""
    field().pyramid.to_ome_zarr(tmp_path, "all", method=method, levels=2, chunks=16)
    found = [one["window"] for one in channels(tmp_path, "all")]
    for i, window in enumerate(found):
        alone = field().isel(c=i, drop=True)
        alone.pyramid.to_ome_zarr(tmp_path, f"c{i}", method=method, levels=2, chunks=16)
        assert [one["window"] for one in channels(tmp_path, f"c{i}")] == [window]
    assert len({str(window) for window in found}) == len(found)


def test_the_base_is_read_once(tmp_path: Path) -> None:
    read: list[int] = []

    def block(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        read.append(array.size)
        return array

    base = field()
    data = da.from_array(base.values, chunks=(1, 30, 30)).map_blocks(block, meta=base.values)
    base.copy(data=data).pyramid.build(levels=3, chunks=16).to_ome_zarr(tmp_path)
    assert sum(read) == base.size
    check(channels(tmp_path))


def test_a_dataset_has_windows_of_its_own_variables(tmp_path: Path) -> None:
    dataset = xr.Dataset({"a": field(), "plain": field()[0].drop_vars("c"), "b": field() // 2})
    dataset.pyramid.to_ome_zarr(tmp_path, levels=2, dims=("y", "x"))
    check(channels(tmp_path, "a"))
    assert channels(tmp_path, "b")[1]["window"]["max"] == 30000
    assert channels(tmp_path, "plain")[0]["window"]["max"] == 60000


@pytest.mark.parametrize(
    ("plane", "window"),
    [
        (np.full((9, 9), 7, "u1"), {"min": 7, "max": 8, "start": 7, "end": 8}),
        (np.full((9, 9), 255, "u1"), {"min": 254, "max": 255, "start": 254, "end": 255}),
        (np.full((9, 9), np.nan, "f4"), {"min": 0, "max": 1, "start": 0, "end": 1}),
        (np.eye(2000, 3, dtype="u2"), {"min": 0, "max": 1, "start": 0, "end": 1}),
    ],
    ids=["constant", "constant at the end", "nan", "one bright pixel"],
)  # fmt: skip
def test_windows_have_a_width(
    tmp_path: Path, plane: np.ndarray[Any, Any], window: dict[str, float]
) -> None:
    array = xr.DataArray(plane, dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(tmp_path, levels=2, omero=True)
    (channel,) = channels(tmp_path)
    assert channel["window"] == window
    assert (channel["color"], channel["label"]) == ("FFFFFF", "field")


def test_when_omero_is_written(tmp_path: Path) -> None:
    """By default for images, but not for labels."""
    for name, array, omero, wanted in [
        ("a", field(), None, True),
        ("b", field(), False, False),
        ("c", field()[0].drop_vars("c"), None, True),
        ("d", field().assign_attrs(flag_values=[1]), None, False),
    ]:
        array.pyramid.to_ome_zarr(tmp_path, name, levels=2, omero=omero)
        assert ("omero" in zarr.open_group(tmp_path, path=name, mode="r").attrs["ome"]) is wanted


def test_what_is_given(tmp_path: Path) -> None:
    given = {"colors": ["#ff0000", "00FF00"], "labels": ["a", "b"], "windows": [(0, 50), (5, 1e5)]}
    field().pyramid.to_ome_zarr(tmp_path, levels=2, omero=given)
    first, second = channels(tmp_path)
    assert [(c["color"], c["label"]) for c in (first, second)] == [("ff0000", "a"), ("00FF00", "b")]
    assert first["window"] == {"min": 0, "max": 60000, "start": 0, "end": 50}
    assert second["window"] == {"min": 5, "max": 1e5, "start": 5, "end": 1e5}


@pytest.mark.parametrize(
    ("omero", "message"),
    [
        ("yes", "omero='yes'; accepted"),
        ({"colours": []}, r"omero= has \['colours'\]; accepted: labels, colors, windows"),
        ({"colors": ["FF0000"]}, "for 2 channels; accepted: one for each"),
        ({"labels": "ab"}, "for 2 channels; accepted: one for each"),
        ({"colors": ["infrared", "blue"]}, "'infrared'; accepted: six digits"),
        ({"colors": {"RFP": "red"}}, r"names \['RFP'\]; accepted: the channels \['DAPI', 'GFP'\]"),
        ({"windows": [(0, 1), (2, 2)]}, r"windows \(2, 2\); accepted: \(start, end\)"),
        ({"contrast_limits": (5, 1)}, r"contrast_limits \(5, 1\); accepted: \(start, end\)"),
        ({"percentiles": (1, 101)}, r"percentiles \(1, 101\); accepted: from 0 to 100"),
        ({"windows": (0, 1), "contrast_limits": (0, 1)}, "which are the same; give one"),
    ],
)
def test_what_is_refused(tmp_path: Path, omero: Any, message: str) -> None:
    with pytest.raises(errors.PlanError, match=message):
        field().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, omero=omero)
    assert not list(tmp_path.iterdir())


def test_by_the_labels_of_channels(tmp_path: Path) -> None:
    omero = {
        "colors": {"GFP": "lime"},
        "contrast_limits": {"DAPI": (1, 9)},
        "percentiles": (50, 90),
    }
    field().pyramid.to_ome_zarr(tmp_path, levels=2, omero=omero)
    first, second = channels(tmp_path)
    assert (first["color"], second["color"]) == ("56B4E9", "00FF00")
    assert (first["window"]["start"], first["window"]["end"]) == (1, 9)
    ranked = np.sort(field().values[1].ravel())
    ends = [ranked[int(part * (ranked.size - 1))] for part in (0.5, 0.9)]
    assert [second["window"]["start"], second["window"]["end"]] == ends


def test_one_window_for_all(tmp_path: Path) -> None:
    field().pyramid.to_ome_zarr(tmp_path, levels=2, omero={"contrast_limits": (3, 700)})
    assert [(c["window"]["start"], c["window"]["end"]) for c in channels(tmp_path)] == [
        (3, 700)
    ] * 2


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_photograph_is_shown_with_one_window(tmp_path: Path, dtype: str) -> None:
    values = np.stack([np.full((20, 30), 10 * (i + 1)) for i in range(4)])
    values[:, 0] = [[1], [2], [3], [4]]
    names = ["red", "green", "blue", "alpha"]
    array = xr.DataArray(values.astype(dtype), {"c": names}, ("c", "y", "x"), name="field")
    array.pyramid.to_ome_zarr(tmp_path, levels=2)
    found = channels(tmp_path)
    assert [one["color"] for one in found[:3]] == ["FF0000", "00FF00", "0000FF"]
    assert [one["active"] for one in found] == [True, True, True, False]
    (window,) = {(one["window"]["start"], one["window"]["end"]) for one in found}
    assert window == pytest.approx((0, 255) if dtype == "u1" else (1, 40), rel=0.01)


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (field().assign_attrs(_FillValue=60000), {}),
        (field(), {"ignore": 60000}),
        (field("f4").assign_attrs(_FillValue=60000.0), {}),
    ],
)
def test_missing_values_are_not_in_the_window(
    tmp_path: Path, array: xr.DataArray, options: Any
) -> None:
    array.pyramid.to_ome_zarr(tmp_path, levels=2, **options)
    for channel, plane in zip(channels(tmp_path), field().values, strict=True):
        there = plane[plane != 60000]
        assert channel["window"]["max"] == there.max()
        assert channel["window"]["end"] <= there.max()


def test_the_smallest_floats_are_0(tmp_path: Path) -> None:
    array = xr.DataArray(np.eye(60, dtype="f4"), dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(tmp_path, levels=2)
    assert channels(tmp_path)[0]["window"]["start"] == 0


@pytest.mark.parametrize("name", ["ensemble", "number", "foo"])
def test_of_several_of_one_thing_the_first_is_shown(tmp_path: Path, name: str) -> None:
    array = xr.DataArray(np.zeros((3, 8, 8), "f4"), {name: [1, 2, 3]}, (name, "y", "x"), "field")
    array.pyramid.to_ome_zarr(tmp_path, levels=2)
    shown = [(channel["active"], channel["color"]) for channel in channels(tmp_path)]
    assert shown == [(True, "FFFFFF"), (False, "FFFFFF"), (False, "FFFFFF")]


def test_green_is_that_of_napari(tmp_path: Path) -> None:
    field().pyramid.to_ome_zarr(tmp_path, levels=2, omero={"colors": ["Green", "orange"]})
    assert [channel["color"] for channel in channels(tmp_path)] == ["00FF00", "FFA500"]


def test_values_that_have_no_order(tmp_path: Path) -> None:
    array = field("c8")
    with pytest.raises(errors.DtypeError, match="accepted: real numbers"):
        array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, omero=True)


@pytest.mark.parametrize("number", [2, 8, 9, 40])
def test_colors_differ(tmp_path: Path, number: int) -> None:
    array = xr.DataArray(np.zeros((number, 8, 8), "u1"), dims=("c", "y", "x"), name="field")
    array.pyramid.to_ome_zarr(tmp_path, levels=2)
    found = channels(tmp_path)
    assert len({channel["color"] for channel in found}) == number
    assert [channel["active"] for channel in found] == [i < 6 for i in range(number)]
