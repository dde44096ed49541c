"""Labels take the geometry of the image that they are of, or must fit it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors

SHAPE = (8, 32, 32)


def image(store: Any, mode: Any = "w-", **options: Any) -> None:
    array = xr.DataArray(np.arange(8 * 32 * 32).reshape(SHAPE).astype("u2"), dims=("z", "y", "x"))
    build = {"levels": 3, "spacing": (1, 0.25, 0.25), "origin": (5, 1, 2), "units": "um"}
    array.rename("img").pyramid.build(**{**build, **options}).to_ome_zarr(store, mode=mode)


def cells(shape: tuple[int, ...] = SHAPE, dims: tuple[str, ...] = ("z", "y", "x")) -> xr.DataArray:
    values = np.where(np.indices(shape)[-1] % 4 < 2, 10, 20).astype("u4")
    return xr.DataArray(values, dims=dims, name="cells")


def opened(store: Any) -> tuple[xpyramid.Pyramid, xpyramid.Pyramid]:
    return xpyramid.open_pyramid(store, "img"), xpyramid.open_pyramid(store, "img/labels/cells")


def check_fits(store: Any) -> None:
    ours, theirs = opened(store)
    assert [level.factors for level in ours.plan.levels] == [
        level.factors for level in theirs.plan.levels
    ]
    for k in range(len(ours)):
        assert ours.plan.scale(k) == theirs.plan.scale(k)
        assert ours.plan.translation(k) == theirs.plan.translation(k)
        for dim in ours[k].coords:
            xr.testing.assert_identical(ours[k][dim], theirs[k][dim])
        assert set(np.unique(theirs[k])) <= {10, 20}
    assert [axis.unit for axis in theirs.plan.axes] == ["micrometer"] * 3
    assert xpyramid.verify(store) == []


def test_labels_without_geometry_take_that_of_the_image() -> None:
    image(store := {})
    cells().pyramid.to_ome_zarr(store, labels_of="img")
    check_fits(store)


def test_also_where_they_were_built_before() -> None:
    image(store := {})
    p = cells().pyramid.build(3, factor=[(1, 2, 2), (1, 2, 2)], method="mode")
    p.to_ome_zarr(store, labels_of="img")
    check_fits(store)


def test_also_in_a_dataset() -> None:
    image(store := {})
    xr.Dataset({"cells": cells()}).pyramid.to_ome_zarr(store, labels_of="img")
    check_fits(store)


def test_a_unit_alone_is_taken_too() -> None:
    image(store := {})
    cells().pyramid.to_ome_zarr(store, labels_of="img", spacing=(1, 0.25, 0.25), origin=(5, 1, 2))
    check_fits(store)


def test_uneven_coordinates_of_the_image_are_those_of_labels() -> None:
    array = xr.DataArray(np.zeros((6, 8), "u2"), dims=("y", "x"), name="img")
    array = array.assign_coords(y=[0, 1, 2, 4, 8, 16.0], x=np.arange(8)[::-1] * 2.0)
    array.pyramid.to_ome_zarr(store := {}, levels=2, irregular="approximate")
    labels = cells((6, 8), ("y", "x"))
    labels.pyramid.to_ome_zarr(store, labels_of="img", irregular="approximate")
    ours, theirs = opened(store)
    for k in range(2):
        xr.testing.assert_identical(ours[k].y, theirs[k].y)
        xr.testing.assert_identical(ours[k].x, theirs[k].x)


def test_dimensions_may_have_other_names() -> None:
    image(store := {})
    cells(dims=("depth", "row", "col")).pyramid.to_ome_zarr(store, labels_of="img")
    _, theirs = opened(store)
    assert theirs[1].dims == ("depth", "row", "col")
    assert theirs.plan.scale(1) == (1, 0.5, 0.5)


def test_time_and_channels_may_be_left_out() -> None:
    array = xr.DataArray(np.zeros((2, 3, 16, 16), "u2"), dims=("t", "c", "y", "x"), name="img")
    array.pyramid.to_ome_zarr(store := {}, levels=2, spacing={"y": 0.5, "x": 0.5})
    cells((16, 16), ("y", "x")).pyramid.to_ome_zarr(store, labels_of="img")
    assert opened(store)[1].plan.scale(1) == (1, 1)


def test_labels_of_larger_samples_with_the_same_extent() -> None:
    image(store := {})
    coarse = cells((8, 16, 16)).pyramid.build(
        3, spacing=(1, 0.5, 0.5), origin=(5, 1.125, 2.125), factor=(1, 2, 2), method="mode"
    )
    coarse.to_ome_zarr(store, labels_of="img")
    assert opened(store)[1].plan.scale(0) == (1, 0.5, 0.5)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (cells((8, 32, 30)), {}, "along 'x', the labels have 30 samples.* has 32"),
        (cells((32, 32), ("y", "x")), {}, r"dimensions \('y', 'x'\), and the image 'img' has"),
        (cells(), {"factor": 2}, r"factors \[1, 2, 4\].* \[1, 1, 1\]; accepted: .*'z': 1, 'y': 2"),
        (
            cells(),
            {"spacing": (1, 0.5, 0.5), "origin": (5, 1, 2)},
            "along 'y', the labels have 32 samples of 0.5",
        ),
        (cells(), {"origin": (6, 1, 2), "spacing": (1, 0.25, 0.25)}, "along 'z'.*from 6"),
        (
            cells((8, 16, 16)),
            {"spacing": (1, 0.5, 0.5), "origin": (5, 0, 2)},
            "along 'y'.*16 samples of 0.5 from 0",
        ),
        (cells(), {"method": "mean", "kind": "image"}, "method='mean' of labels.*method='mode'"),
    ],
)
def test_what_contradicts_the_image(array: xr.DataArray, options: Any, message: str) -> None:
    image(store := {})
    before = {key: value.to_bytes() for key, value in store.items()}
    options = {"levels": 3} | options
    with pytest.raises(errors.PlanError, match=message):
        array.pyramid.to_ome_zarr(store, labels_of="img", **options)
    assert {key: value.to_bytes() for key, value in store.items()} == before


@pytest.mark.parametrize("method", ["mean", "median"])
def test_averaged_labels_are_refused_by_the_writer(method: str) -> None:
    image(store := {})
    p = cells().pyramid.build(3, factor=[(1, 2, 2)] * 2, method=method)
    with pytest.raises(errors.PlanError, match=f"method='{method}' of labels"):
        p.to_ome_zarr(store, labels_of="img")
    p.to_ome_zarr(averaged := {})
    with pytest.raises(errors.PlanError, match=f"method='{method}' of labels"):
        xpyramid.open_pyramid(averaged, "cells").to_ome_zarr(store, labels_of="img")


@pytest.mark.parametrize("method", ["mode", "nearest", "min", "max", np.min])
def test_other_methods_make_labels(method: Any) -> None:
    image(store := {})
    cells().pyramid.to_ome_zarr(store, labels_of="img", method=method)
    assert set(np.unique(opened(store)[1][2])) <= {10, 20}


@pytest.mark.parametrize("boundary", ["pad", "trim"])
def test_levels_of_labels_are_as_long_as_those_of_their_image(boundary: Any) -> None:
    array = xr.DataArray(np.zeros((33, 33), "u1"), dims=("y", "x"), name="img")
    array = array.assign_coords(y=np.arange(33) * 0.5)
    array.pyramid.to_ome_zarr(store := {}, levels=3, boundary=boundary)
    cells((33, 33), ("y", "x")).pyramid.to_ome_zarr(store, labels_of="img")
    ours, theirs = opened(store)
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    assert theirs.plan.boundary == boundary
    other = "trim" if boundary == "pad" else "pad"
    p = cells((33, 33), ("y", "x")).pyramid.build(3, boundary=other, method="mode")
    with pytest.raises(errors.PlanError, match=f"accepted: the same; .*boundary='{boundary}'"):
        p.to_ome_zarr(store, "more", labels_of="img")


@pytest.mark.parametrize(
    ("dim", "theirs", "ours", "message"),
    [
        ("t", pd.date_range("2020", periods=4), pd.date_range("2021", periods=4), "begin at 2021"),
        ("z", [0, 1, 5, 9.0], [100, 200, 300, 400.0], "begin at 100"),
        ("z", [0, 1, 2, 3.0], [0, 1, 5, 9.0], "begin at 0"),
        ("c", list("abcd"), list("efgh"), None),
    ],
)
def test_coordinates_that_are_no_lines(dim: str, theirs: Any, ours: Any, message: Any) -> None:
    values = np.zeros((4, 16, 16), "u1")
    image = xr.DataArray(values, {dim: theirs}, (dim, "y", "x"), "img")
    image.pyramid.to_ome_zarr(store := {}, levels=2, dims=["y", "x"], irregular="approximate")
    labels = xr.DataArray(values, {dim: ours}, (dim, "y", "x"), "cells")
    if message is None:  # channels of labels have names of their own
        labels.pyramid.to_ome_zarr(store, labels_of="img")
        assert opened(store)[1][1].c.values.tolist() == ours
        return
    with pytest.raises(errors.PlanError, match=f"along '{dim}', the labels {message}.*drop_vars"):
        labels.pyramid.to_ome_zarr(store, labels_of="img")


def test_channels_in_another_order() -> None:
    values = np.zeros((2, 16, 16), "u1")
    image = xr.DataArray(values, {"c": ["DAPI", "GFP"]}, ("c", "y", "x"), "img")
    image.pyramid.to_ome_zarr(store := {}, levels=2)
    labels = image.rename("cells").sel(c=["GFP", "DAPI"])
    with pytest.raises(errors.PlanError, match=r"\['GFP', 'DAPI'\], and the image .*\.sel"):
        labels.pyramid.to_ome_zarr(store, labels_of="img")
    labels.sel(c=["DAPI", "GFP"]).pyramid.to_ome_zarr(store, labels_of="img")


def test_labels_that_do_not_fit_what_replaces_their_image() -> None:
    image(store := {})
    cells().pyramid.to_ome_zarr(store, labels_of="img")
    with pytest.warns(UserWarning, match="the labels cells of .* do not fit the image"):
        image(store, mode="w", spacing=(1, 0.5, 0.5))
    with pytest.warns(UserWarning, match="the labels cells of .* do not fit the image"):
        image(store, mode="w", levels=2)
    image(store, mode="w")
    check_fits(store)


def test_lengths_are_no_angles() -> None:
    def grid(name: str, unit: str) -> xr.DataArray:
        along = xr.DataArray(np.arange(16.0), dims="y", attrs={"units": unit})
        return xr.DataArray(np.zeros((16, 16), "u1"), {"y": along}, ("y", "x"), name)

    grid("img", "degrees_north").pyramid.to_ome_zarr(store := {}, levels=2)
    with pytest.raises(errors.PlanError, match=r"the labels are in 'm', and the image .*north"):
        grid("cells", "m").pyramid.to_ome_zarr(store, labels_of="img")


def test_labels_stay_seen_when_their_image_is_replaced(tmp_path: Any) -> None:
    for store in ({}, tmp_path):
        image(store)
        cells().pyramid.to_ome_zarr(store, labels_of="img")
        image_again = xpyramid.open_pyramid(store, "img")[0].load()
        image_again.pyramid.to_ome_zarr(store, "img", levels=3, factor=(1, 2, 2), mode="w")
        assert xpyramid.open_pyramid(store, "img").labels == ("cells",)
        check_fits(store)
