"""Whatever arrays, dimensions and coordinates are called, an image comes back, or is refused."""

import string
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import xpyramid
from xpyramid import errors

FEW = ["t", "c", "z", "y", "x", "lat", "lon", "time", "level", "band", "field", "y_", "x_", "y__"]
ODD = [
    "my field",
    "é",
    "e\u0301",
    "温度",
    "a b  c",
    "\u2003",
    "0",
    "1",
    "labels",
    ".zattrs",
    "A",
    "a",
]
texts = st.text(st.sampled_from(string.ascii_letters + "_ .-é/\n"), min_size=1, max_size=4)
names = st.sampled_from(FEW) | st.sampled_from(ODD) | texts


@st.composite
def arrays(draw: st.DrawFn) -> xr.DataArray:
    """Draw an array of 2 to 4 dimensions, with coordinates of them, along them, and of none."""
    dims = draw(st.lists(names, min_size=2, max_size=4, unique=True))
    shape = (2,) * (len(dims) - 2) + (4, 4)
    indexed = draw(st.lists(st.sampled_from(dims), unique=True))
    coords: dict[str, Any] = {dim: np.arange(shape[dims.index(dim)]) * 1.5 for dim in indexed}
    for name in draw(st.lists(names, max_size=3, unique=True)):
        along = draw(st.sampled_from([(), (dims[0],), (dims[-1],), tuple(dims[-2:])]))
        if name not in dims:
            sizes = [shape[dims.index(dim)] for dim in along]
            coords[name] = (along, np.arange(float(np.prod(sizes))).reshape(sizes))
    values = np.arange(np.prod(shape), dtype="u2").reshape(shape)
    return xr.DataArray(values, coords, dims, draw(names))


VERSIONS = st.sampled_from(["0.4", "0.5", "0.6"])
FORMS = st.sampled_from(["ome", "source"])


@settings(max_examples=25)
@given(arrays(), VERSIONS, FORMS)
def test_names_come_back(array: xr.DataArray, version: str, form: str) -> None:
    check(array, version, form)


@pytest.mark.slow
@given(arrays(), VERSIONS, FORMS)
def test_many_names_come_back(array: xr.DataArray, version: str, form: str) -> None:
    check(array, version, form)


def check(array: xr.DataArray, version: str, form: str) -> None:
    """Write an image, and read it with our reader and with xarray's, unless it is refused."""
    store: dict[str, Any] = {}
    try:
        pyramid = array.pyramid.build(levels=2, dims=array.dims[-2:])
        pyramid.to_ome_zarr(store, version=version, names=form)
    except errors.PyramidError:
        assert store == {}
        assume(False)
    (name,) = {str(array.name)}
    opened = xpyramid.open_pyramid(store, name)
    for level, back in zip(pyramid, opened, strict=True):
        xr.testing.assert_identical(back.load(), level.load())
    assert xpyramid.verify(store, name) == []
    for k in (0, 1):
        where = zarr.storage.MemoryStore(store)
        plain = xr.open_zarr(where, group=f"{name}/{k}", consolidated=False)
        (variable,) = plain.data_vars.values()
        np.testing.assert_array_equal(variable, pyramid[k])
