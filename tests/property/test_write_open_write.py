"""Write, open, write again: the same arrays, and the same store byte for byte."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from helpers import strategies as our
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid

NAMES = {
    "t": ("t", "time", "frame"),
    "c": ("c", "channel", "band"),
    "z": ("z", "depth", "height"),
    "y": ("y", "lat", "northing"),
    "x": ("x", "lon", "easting"),
}
UNITS = st.sampled_from([{}, {"units": "um"}, {"unit": "mm"}, {"units": "degree"}])
ENCODED = st.sampled_from(
    [
        {"units": "days since 2000-01-01"},
        {"units": "seconds"},
        {"units": "steps since launch"},
        {"scale_factor": 0.5, "add_offset": 1},
        {"_FillValue": 3, "long_name": "three is missing"},
    ]
)


@st.composite
def along(draw: st.DrawFn, axis: str, n: int) -> Any:
    """Draw a coordinate along a dimension: (values, attributes), or None."""
    kind = draw(st.sampled_from(["none", "line", "line", "own"]))
    if kind == "none":
        return None
    if kind == "own" and axis == "t":
        if draw(st.booleans()):
            return np.arange(n), draw(ENCODED)
        return draw(
            st.sampled_from(
                [
                    pd.date_range("2020-01-31", periods=n, freq="36h"),
                    pd.date_range("1800-01-01", periods=n, freq="MS", unit="s"),
                    pd.timedelta_range("1s", periods=n, freq="250ms"),
                ]
            )
        ), {}
    if kind == "own" and axis == "c":
        return [f"stain {i}" for i in range(n)], {"long_name": "stain"}
    dtype = draw(st.sampled_from(["f8", "f4", "i8", "u2"]))
    step = draw(st.sampled_from([1, 2, 3] if dtype == "u2" else [1, -2, 3, 0.1, 4 / 3]))
    start = draw(st.sampled_from([0, 7, 1e6] if dtype == "f8" else [0, 7]))
    line = start + (int(step) or 1 if dtype[0] in "iu" else step) * np.arange(n)
    return line.astype(dtype), draw(UNITS)


@st.composite
def arrays(draw: st.DrawFn) -> xr.DataArray:
    """Draw an array that OME-NGFF has a place for, with coordinates of every kind."""
    space = draw(st.sampled_from([("y", "x"), ("z", "y", "x")]))
    axes = (*draw(st.sampled_from([(), ("t",), ("c",), ("t", "c")])), *space)
    dims = [draw(st.sampled_from(NAMES[axis])) for axis in axes]
    shape = tuple(draw(st.integers(1, 6)) for _ in axes)
    dtype = draw(our.dtypes | our.complexes)
    sizes = dict(zip(dims, shape, strict=True))
    coords: dict[str, Any] = {}
    for axis, dim in zip(axes, dims, strict=True):
        if (found := draw(along(axis, sizes[dim]))) is not None:
            coords[dim] = (dim, *found)
    last = dims[-2:]
    grid = np.arange(sizes[last[0]] * sizes[last[1]], dtype="f8")
    more: dict[str, Any] = {
        "gain": 2.5,
        "operator": "A. B.",
        "started": np.datetime64("2024-02-29T12:00:01", "ns"),
        "sharpness": (dims[0], np.arange(shape[0]), draw(UNITS | ENCODED)),
        "position": (last, grid.reshape(sizes[last[0]], sizes[last[1]]), {"units": "degree"}),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(more)), unique=True, max_size=3))
    attrs = draw(
        UNITS
        | (ENCODED if dtype.kind in "iu" else UNITS)
        | st.just({"made": [1, "two", None], "by": {"x": True}})
    )
    array = xr.DataArray(
        draw(our.values(shape, dtype)), coords | {name: more[name] for name in chosen}, dims,
        "field", attrs,
    )  # fmt: skip
    if "time" in array.coords and array.time.dtype.kind == "M":
        array.time.encoding = {"units": "hours since 1999-12-31", "calendar": "proleptic_gregorian"}
    return array


def files(where: Path) -> dict[str, bytes]:
    """Return what is in each file of a store."""
    # xarray spells the date that times are counted from now with its time, now without, so that
    # the digests of such documents differ too.
    changing = rb" since [^\"]*|(?<=: \")[0-9a-f]{16}(?=\")"
    return {
        str(file.relative_to(where)): re.sub(changing, b"", file.read_bytes())
        for file in where.rglob("*")
        if file.is_file()
    }


def assert_same_store(left: Path, right: Path) -> None:
    first, second = files(left), files(right)
    for name in first | second:
        assert first.get(name) == second.get(name), name


def assert_same(left: xr.DataArray, right: xr.DataArray) -> None:
    xr.testing.assert_identical(left.compute(), right.compute())
    assert left.dtype == right.dtype


@settings(max_examples=10)
@given(arrays(), st.sampled_from(["0.4", "0.5"]), st.sampled_from(["mean", "nearest"]))
def test_write_open_write(array: xr.DataArray, version: str, method: str) -> None:
    built = {"factor": [dict.fromkeys(array.dims[-2:], 2)], "method": method}
    with tempfile.TemporaryDirectory() as tmp:
        one, two, three = (Path(tmp) / name for name in ("1.zarr", "2.zarr", "3.zarr"))
        pyramid = array.pyramid.build(**built)
        pyramid.to_ome_zarr(one, version=version)

        opened = xpyramid.open_pyramid(one / "field")
        for level, back in zip(pyramid, opened, strict=True):
            assert_same(level, back)
            for name, coordinate in level.coords.items():
                if coordinate.dtype.kind in "biuf":
                    assert back.coords[name].dtype == coordinate.dtype

        opened.to_ome_zarr(two, version=version)
        assert_same_store(two, one)
        opened[0].pyramid.build(**built).to_ome_zarr(three, version=version)
        assert_same_store(three, one)
