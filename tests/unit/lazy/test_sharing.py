"""Dask graphs that hold more than the blocks that are asked of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xpyramid import errors
from xpyramid.lazy.sharing import first_shared_step

SHARING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "neighbours": (lambda a: a.map_overlap(np.negative, depth=1), "overlap"),
    "other chunks": (lambda a: a.rechunk(6), "rechunk-merge"),
    "smaller chunks": (lambda a: a.rechunk(2), "rechunk-merge"),
    "a number of all": (lambda a: a - a.mean(), "sub"),
    "a number of each row": (lambda a: (a - a.mean(axis=1)[:, None]) * 2, "sub"),
    "before other steps": (lambda a: -a.map_overlap(np.negative, depth=1)[3:], "overlap"),
}
PASSING: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda a: a,
    "each block by itself": lambda a: (a + 1).map_blocks(np.negative),
    "larger chunks": lambda a: a.rechunk(8),
    "a part": lambda a: a[5:17, ::2],
    "several arrays": lambda a: da.concatenate([a, da.stack([a, a])[0]]),
    "transposed": lambda a: a.T,
    "a number of another array": lambda a: a - da.ones(24, chunks=4).mean(),
    "rolled": lambda a: da.roll(a, 3, 0),
}


def base() -> Any:
    return da.zeros((24, 24), chunks=4)


@pytest.mark.parametrize("case", SHARING)
def test_steps_that_share_blocks(case: str) -> None:
    change, name = SHARING[case]
    array = change(base())
    assert first_shared_step(array.__dask_graph__()) == name
    plan = xr.DataArray(array, dims=("y", "x")).pyramid.build(levels=2).plan
    with pytest.warns(errors.CostWarning, match=f"'{name}' needs blocks several times"):
        plan.cost()


def test_a_limit_that_a_graph_may_exceed() -> None:
    array = xr.DataArray(base().rechunk(6), dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=2)
    with pytest.warns(errors.CostWarning, match="'rechunk-merge'"):
        pyramid.to_ome_zarr({}, memory="1 GB")
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.CostWarning)
        pyramid.to_ome_zarr({})


def test_layers_of_which_only_the_end_shares() -> None:
    many = da.zeros((512, 512), chunks=8).rechunk(4)  # first it lists what becomes of the parts
    assert first_shared_step(many.__dask_graph__()) == "rechunk-merge"


@pytest.mark.parametrize("case", PASSING)
def test_steps_that_do_not(case: str) -> None:
    array = PASSING[case](base())
    assert first_shared_step(array.__dask_graph__()) == ""
    plan = xr.DataArray(array, dims=("y", "x")).pyramid.build(levels=2).plan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan.cost()


def test_arrays_without_a_graph() -> None:
    array = xr.DataArray(np.zeros((8, 8)), dims=("y", "x"))
    assert array.pyramid.build(levels=2).plan.source_chunks[0].shared == ""
