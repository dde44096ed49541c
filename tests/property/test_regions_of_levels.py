"""A region of a pyramid is the same region of each of its levels, and what it would be built to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid
from xpyramid import errors


@st.composite
def regions(draw: st.DrawFn) -> tuple[xr.DataArray, dict[str, int], int, dict[str, slice]]:
    """Draw an array, the factor of each step, the number of levels, and a region of it."""
    dims = ["z", "y", "x"][-draw(st.integers(1, 3)) :]
    shape = [draw(st.integers(2, 23)) for _ in dims]
    values = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 99, shape, "u1")
    steps = {dim: draw(st.sampled_from([1, 2, 3])) for dim in dims} | {"x": 2}
    coords = {
        dim: draw(st.sampled_from([0.5, -2.0])) * np.arange(n) + 3
        for dim, n in zip(dims, shape, strict=True)
        if draw(st.booleans())
    }
    array = xr.DataArray(values, coords, dims, "field")
    if draw(st.booleans()):
        array = array.chunk({dim: draw(st.integers(2, 9)) for dim in dims})
    starts = {dim: draw(st.integers(0, n - 1)) for dim, n in zip(dims, shape, strict=True)}
    region = {
        dim: slice(start, draw(st.integers(start + 1, array.sizes[dim])))
        for dim, start in starts.items()
    }
    # No window is longer than the array.
    most = min(int(math.log(array.sizes[d], f)) for d, f in steps.items() if f > 1)
    return array, steps, draw(st.integers(1, min(3, 1 + most))), region


@settings(max_examples=40)
@given(regions(), st.sampled_from(["mean", "max", "median", "mode"]))
def test_a_region_of_all_levels(
    case: tuple[xr.DataArray, dict[str, int], int, dict[str, slice]], method: str
) -> None:
    array, steps, levels, region = case
    p = array.pyramid.build(levels, factor=steps, method=method, kind="image", chunks=4)
    part = p.isel(region)
    whole: dict[str, slice] = {}
    for dim, taken in region.items():  # enlarged to windows of the coarsest level
        f = steps[dim] ** (levels - 1)
        stop = min(math.ceil(taken.stop / f) * f, array.sizes[dim])
        whole[dim] = slice(taken.start // f * f, stop)
    assert len(part) == levels
    for k, level in enumerate(part):
        own = {
            dim: slice(s.start // steps[dim] ** k, math.ceil(s.stop / steps[dim] ** k))
            for dim, s in whole.items()
        }
        expected = p[k].isel(own)
        xr.testing.assert_identical(level.compute(), expected.compute())
        assert part.plan.levels[k].shape == expected.shape
    options = {"factor": steps, "method": method, "kind": "image", "chunks": 4}
    try:
        anew = array.isel(whole).pyramid.build(levels, **options)
    except errors.PlanError:  # one sample, which would not be built so far
        return
    for level, other in zip(part, anew, strict=True):
        np.testing.assert_array_equal(level.values, other.values)
    for k in range(levels):  # without coordinates, a region stays at its place in the whole
        for dim, here, expected in zip(
            part.dims, part.plan.translation(k), anew.plan.translation(k), strict=True
        ):
            start = 0 if dim in array.coords else whole[dim].start
            if part.factors[k][dim] == anew.factors[k][dim]:  # a single sample has no windows
                assert math.isclose(here, expected + start)


@settings(max_examples=15)
@given(regions(), st.data())
def test_what_is_selected_is_written(
    case: tuple[xr.DataArray, dict[str, int], int, dict[str, slice]], data: Any
) -> None:
    array, steps, levels, region = case
    if array.ndim < 2:
        array = array.expand_dims(y=5)
    store = zarr.storage.MemoryStore()
    p = array.pyramid.build(levels, factor={"y": 2, **steps}, kind="image", chunks=4)
    if data.draw(st.booleans()):
        p.to_ome_zarr(store, "whole")
        p = xpyramid.open_pyramid(store, "whole")
    part = p.isel(region)
    part.to_ome_zarr(store, "part")
    assert xpyramid.verify(store, deep=True) == []
    for level, stored in zip(part, xpyramid.open_pyramid(store, "part"), strict=True):
        xr.testing.assert_equal(level.compute(), stored.compute())
