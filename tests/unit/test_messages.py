"""What messages show of values and places."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.counting_store import CountingStore
from zarr.storage import FsspecStore, LocalStore

import xpyramid
from xpyramid import errors
from xpyramid.store.path import NodePath

ARRAY = xr.DataArray(np.ones((8, 8), "u1"), dims=("y", "x"), name="field")
ZERO, HALF = np.int64(0), np.float32(0.5)

BAD_NUMBERS: dict[str, Callable[[], Any]] = {
    "levels=0;": lambda: ARRAY.pyramid.build(levels=ZERO),
    "factor=0 along": lambda: ARRAY.pyramid.build(factor={"y": ZERO}),
    "factor=0.5;": lambda: ARRAY.pyramid.build(factor=HALF),
    "factor={'q': 0}:": lambda: ARRAY.pyramid.build(factor={"q": ZERO}),
    "chunks={'y': 0};": lambda: ARRAY.pyramid.build(chunks={"y": ZERO}),
    "spacing=0 along": lambda: ARRAY.pyramid.build(spacing={"y": ZERO}),
    "origin={'q': 0.5}:": lambda: ARRAY.pyramid.build(origin={"q": HALF}),
    "shards=3:": lambda: ARRAY.pyramid.to_ome_zarr({}, shards=np.int64(3)),
    "memory=0.5;": lambda: ARRAY.pyramid.to_ome_zarr({}, memory=HALF),
    "windows (0.5, 0);": lambda: ARRAY.pyramid.to_ome_zarr({}, omero={"windows": [(HALF, ZERO)]}),
    "ignore=-5 is not a value": lambda: ARRAY.pyramid.build(ignore=np.int16(-5)),
    "min_valid=1.5;": lambda: ARRAY.pyramid.build(ignore=0, min_valid=np.float32(1.5)),
    "num_mips=0;": lambda: xpyramid.downsample(ARRAY.values, 2, num_mips=ZERO),
    "factor=0 along 'axis 1'": lambda: xpyramid.downsample(ARRAY.values, (np.int64(2), ZERO)),
}


@pytest.mark.parametrize("message", BAD_NUMBERS)
def test_numbers_of_numpy_are_shown_as_plain_ones(message: str) -> None:
    with pytest.raises(errors.PyramidError) as caught:
        BAD_NUMBERS[message]()
    assert message in str(caught.value)


def test_the_fill_value_of_missing_chunks() -> None:
    raw = zarr.create_array({}, shape=(8, 8), chunks=(4, 4), dtype="u1", fill_value=7)
    array = xr.DataArray(da.from_zarr(raw), dims=("y", "x"), name="field")
    with pytest.warns(errors.MissingChunkWarning, match=r"read as the fill value 7; strict"):
        array.pyramid.to_ome_zarr({})


@pytest.mark.parametrize("path", ["out.zarr", "./a/../out.zarr", "../out.zarr", "/lab/out.zarr"])
def test_a_directory_is_shown_as_a_path(path: str) -> None:
    wanted = f"{Path(path)}/lab/brain"
    assert str(NodePath(LocalStore(path), "lab/brain")) == wanted
    assert str(NodePath(CountingStore(LocalStore(path)), "lab/brain")) == wanted


def test_a_bucket_is_shown_as_a_url() -> None:
    store = FsspecStore.from_url("memory:///lab/out.zarr")
    assert str(NodePath(store, "brain")) == "memory:///lab/out.zarr/brain"


WRONG_KINDS = [3, 2.5, b"x", [], {"y": 1}, np.array([1, 2]), object()]
BUILDING = {"method": [0, 1, 3, 4, 5], "skipna": range(7), "ignore": range(2, 7)}
BUILDING |= {"min_valid": range(2, 7), "dims": [0, 1, 6]}
WRITING = {"version": range(7), "mode": range(7), "layout": range(7), "labels_of": range(7)}
WRITING |= {"durable": range(7), "progress": range(7), "resume": range(7), "conventions": [0, 1, 6]}


@pytest.mark.parametrize(("option", "kinds"), {**BUILDING, **WRITING}.items())
def test_parameters_of_the_wrong_kind(option: str, kinds: Iterable[int]) -> None:
    for value in (WRONG_KINDS[i] for i in kinds):
        with pytest.raises(errors.PlanError, match=f"{option}=.*; accepted: "):
            ARRAY.pyramid.to_ome_zarr({}, **{option: value})


@pytest.mark.parametrize("value", WRONG_KINDS)
def test_groups_of_the_wrong_kind(value: Any) -> None:
    for read in (xpyramid.open_pyramid, xpyramid.verify):
        with pytest.raises(errors.PlanError, match=r"group=.*; accepted: text"):
            read({}, value)


def test_a_version_that_is_a_number() -> None:
    with pytest.raises(errors.PlanError, match=r"version=0\.5; accepted: '0\.5', '0\.4', '0\.6'"):
        ARRAY.pyramid.to_ome_zarr({}, version=0.5)
