"""Standard deviations and counts are those of the samples of level 0, beside an exact oracle."""

from typing import Any

import numpy as np
import pytest
from helpers import oracle
from helpers import strategies as our
from helpers.oracle import Array
from helpers.quick import quick_if
from helpers.strategies import Recipe
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid

pytestmark = pytest.mark.usefixtures("compiled_kernels")

Case = tuple[Array, Recipe]
skipna = st.sampled_from([None, True, False])


def check(case: Case, method: str, **options: Any) -> None:
    """Compare all levels with the oracle, and lazy ones with those of ``downsample``."""
    data, recipe = case
    known = {key: value for key, value in options.items() if value is not None}
    levels = xpyramid.downsample(data, recipe.steps, method, boundary=recipe.boundary, **options)
    lazily = our.levels(data, recipe, None, method=method, **options)
    for total, level, lazy in zip(recipe.totals, levels, lazily, strict=True):
        assert (lazy.dtype, lazy.tobytes()) == (level.dtype, level.tobytes())
        where: dict[str, Any] = {"boundary": recipe.boundary, **known}
        if method == "std":
            assert level.dtype == (np.float64 if data.dtype.itemsize == 8 else np.float32)
            assert not oracle.std_errors(level, data, total, **where)
        else:
            np.testing.assert_array_equal(level, oracle.count(data, total, **where))


def moderate(data: Array) -> Array:
    """Return floats whose squares float64 can hold, and are not lost in it."""
    if data.dtype.str[1:] != "f8":
        return data
    return (data * 2.0**-540).astype(data.dtype) if (abs(data) > 2.0**500).any() else data


@pytest.mark.slow
@settings(max_examples=25)
@given(our.cases(our.few_integers | our.booleans))
def test_std_of_integers(case: Case) -> None:
    check(case, "std")


@pytest.mark.slow
@settings(max_examples=25)
@given(our.cases(our.floats), skipna)
def test_std_of_floats(case: Case, skipna: bool | None) -> None:
    check((moderate(case[0]), case[1]), "std", skipna=skipna)


@pytest.mark.slow
@settings(max_examples=20)
@given(our.cases(our.few_dtypes, our.noise))
def test_std_of_noise(case: Case) -> None:
    check(case, "std")


@settings(max_examples=25)
@given(our.cases(our.few_dtypes), skipna)
def test_count(case: Case, skipna: bool | None) -> None:
    check(case, "count", skipna=skipna)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["std", "count"])
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_ignored_does_not_count(method: str, data: st.DataObject) -> None:
    array, recipe = data.draw(our.cases(our.few_dtypes))
    array = moderate(array)
    ignore = array.flat[data.draw(st.integers(0, array.size - 1))].item() if array.size else 1
    check((array, recipe), method, ignore=0.0 if np.isnan(ignore) else ignore)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["std", "count"])
@settings(max_examples=80)
@given(case=our.cases(our.dtypes), skipna=skipna)
def test_all_dtypes(method: str, case: Case, skipna: bool | None) -> None:
    check((moderate(case[0]), case[1]), method, skipna=skipna)


@settings(max_examples=15)
@given(our.cases(our.complexes | our.datetimes | our.durations))
def test_counts_of_what_is_no_number(case: Case) -> None:
    data, recipe = case
    missing = np.isnat(data) if data.dtype.kind in "mM" else np.isnan(data)
    numbers = np.where(missing, np.nan, 1.0)
    kind = {"boundary": recipe.boundary}
    levels = xpyramid.downsample(data, recipe.steps, "count", boundary=recipe.boundary)
    for total, level in zip(recipe.totals, levels, strict=True):
        np.testing.assert_array_equal(level, oracle.count(numbers, total, **kind))


@pytest.mark.slow
@settings(max_examples=20)
@given(our.cases(our.floats, our.noise), st.data())
def test_std_is_the_same_bits_in_all_chunks(case: Case, data: st.DataObject) -> None:
    array, recipe = case
    blocks = data.draw(our.chunks(array.shape))
    whole = our.levels(array, recipe, None, method="std")
    cut = our.levels(array, recipe, blocks, method="std")
    assert [level.tobytes() for level in cut] == [level.tobytes() for level in whole]


@pytest.mark.parametrize(
    "dtype", quick_if(lambda dtype: dtype in ("u8", "f8"), ["i8", "u8", "f8", "i4", "u2"])
)
def test_neighbours_far_from_zero(dtype: str) -> None:
    """Their squares differ by less than float64 can say of them."""
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 2**53
    base = np.array([top - 3, top, top - 1, top - 1] * 512, dtype).reshape(64, 32)
    for level in xpyramid.downsample(base, (1, 4), "std", num_mips=2):
        np.testing.assert_allclose(level, np.sqrt(19) / 4, rtol=1e-7)
    odd = np.array([top - 1, top, top] * 9, dtype)
    for level in xpyramid.downsample(odd, 3, "std", num_mips=3):
        np.testing.assert_allclose(level, np.sqrt(2) / 3, rtol=1e-7)


def test_min_valid_is_about_std_and_not_about_count() -> None:
    array = np.array([1, np.nan, 3, 4])
    (level,) = xpyramid.downsample(array, 2, "std", min_valid=0.6)
    np.testing.assert_array_equal(level, [np.nan, 0.5])
    assert xpyramid.downsample(array, 2, "count", min_valid=0.6)[0].tolist() == [1, 2]
    integers = np.array([-1, 1, 3, 4], "i2")
    (level,) = xpyramid.downsample(integers, 2, "std", ignore=-1, min_valid=0.6)
    np.testing.assert_array_equal(level, np.array([np.nan, 0.5], "f4"))
