"""Levels of what xarray has opened lazily: any selection of them is what NumPy would take."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from helpers import oracle
from helpers import strategies as our
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid  # noqa: F401  registers .pyramid
from xpyramid._compat import BackendArray, indexing, lazily_indexed

Array = our.Array


class InFile(BackendArray):
    """An array that is read where it is indexed."""

    def __init__(self, values: Array) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key: Any) -> Any:
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, self.values.__getitem__)


def opened(draw: st.DrawFn, values: Array, dims: tuple[str, ...]) -> xr.DataArray:
    """Return an array as xarray opens it, with chunks of any length, or none that are known."""
    lengths = {dim: draw(st.integers(1, max(1, n))) for dim, n in zip(dims, values.shape)}  # noqa: B905
    encoding = {"preferred_chunks": lengths} if draw(st.booleans()) else {}
    variable = xr.Variable(dims, lazily_indexed(InFile(values)), encoding=encoding)
    return xr.Dataset({"field": variable})["field"]


def selections(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    def along(n: int) -> st.SearchStrategy[Any]:
        # xarray takes what begins before the array and goes backwards for something.
        ends = st.none() | st.integers(-n, n + 1)
        slices = st.builds(slice, ends, ends, st.sampled_from([None, None, 1, 2, 3, -1, -2]))
        index = st.integers(-n, n - 1)
        return slices | index | st.lists(index, min_size=1, max_size=5) if n else st.just(slice(0))

    return st.tuples(*map(along, shape))


def check(
    data: st.DataObject, case: tuple[Array, our.Recipe], expected: Any, **options: Any
) -> None:
    """Compare selections of all levels with those of the expected arrays."""
    values, recipe = case
    base = opened(data.draw, values, recipe.dims)
    pyramid = base.pyramid.build(**recipe.options, **options)
    with dask.config.set(num_workers=data.draw(st.sampled_from([1, 3]))):
        for level, want in zip(pyramid.levels[1:], expected, strict=True):
            assert level.chunks is None
            assert (level.shape, level.dtype) == (want.shape, want.dtype)
            array = xr.DataArray(want, dims=level.dims)
            for key in data.draw(st.lists(selections(level.shape), min_size=1, max_size=3)):
                got, wanted = level[key].to_numpy(), array[key].to_numpy()
                assert got.shape == wanted.shape
                assert got.tobytes() == wanted.tobytes()
            assert level.to_numpy().tobytes() == want.tobytes()


@settings(max_examples=25)
@given(our.cases(our.few_integers), st.data())
def test_means_of_integers(case: tuple[Array, our.Recipe], data: st.DataObject) -> None:
    values, recipe = case
    expected = [oracle.mean(values, total, recipe.boundary) for total in recipe.totals]
    check(data, case, expected)


def as_in_memory(case: tuple[Array, our.Recipe], **options: Any) -> list[Array]:
    return our.levels(*case, **options)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mean", "mode", "median", "min", "nearest", np.ptp])
@settings(max_examples=60)
@given(our.cases(our.few_dtypes), st.data())
def test_the_same_bits_as_of_samples_in_memory(
    method: Any, case: tuple[Array, our.Recipe], data: st.DataObject
) -> None:
    if method is np.ptp and case[0].dtype.kind == "b":
        method = np.any
    if (0 in case[0].shape and callable(method)) or (
        method == "mode" and case[0].dtype.kind == "f"
    ):
        return
    options: dict[str, Any] = {"method": method}
    values = case[0]
    if method in ("mean", "mode", "median", "min") and values.dtype.kind != "b" and values.size:
        value = values.flat[0].item()
        if not np.isnan(value) and data.draw(st.booleans()):
            options |= {"ignore": value, "min_valid": data.draw(st.sampled_from([None, 0.6]))}
    with np.errstate(all="ignore"):
        check(data, case, as_in_memory(case, **options), **options)


@pytest.mark.slow
@settings(max_examples=400)
@given(our.cases(), st.data())
def test_means_of_all(case: tuple[Array, our.Recipe], data: st.DataObject) -> None:
    check(data, case, as_in_memory(case))
