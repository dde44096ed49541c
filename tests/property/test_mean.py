"""Every level is the mean of level 0, whatever the array and however it is computed."""

import math
import sys
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest
from helpers import oracle
from helpers import strategies as our
from helpers.oracle import Array
from helpers.strategies import Recipe
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid  # noqa: F401  registers .pyramid

pytestmark = pytest.mark.usefixtures("compiled_kernels")


def levels(
    data: Array,
    recipe: Recipe,
    blocks: our.Chunks | None = None,
    scheduler: str = "synchronous",
    **options: Any,
) -> list[Array]:
    """Compute the levels above the base."""
    pyramid = our.field(data, recipe, blocks).pyramid.build(
        method="mean", **recipe.options, **options
    )
    with dask.config.set(scheduler=scheduler):
        coarse = dask.compute(*(level.data for level in pyramid.levels[1:]))
    for lazy, computed in zip(pyramid.levels[1:], coarse, strict=True):
        assert lazy.dtype == computed.dtype == data.dtype  # byte order included
        assert lazy.shape == computed.shape
    return list(coarse)


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays are the same, signs of zeros and payloads of NaNs included."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def check(data: Array, recipe: Recipe, **options: Any) -> None:
    """Compare every level with the oracle."""
    before = data.copy()
    for total, got in zip(recipe.totals, levels(data, recipe, **options), strict=True):
        want = oracle.mean(data, total, recipe.boundary, **options)
        assert got.shape == want.shape
        if data.dtype.kind == "f":
            assert not oracle.float_errors(got, data, total, boundary=recipe.boundary, **options)
        else:
            np.testing.assert_array_equal(got, want, strict=True)
    assert same_bits(before, data)


@pytest.mark.once
@settings(max_examples=150)
@given(our.cases(our.few_integers))
def test_integers_are_exact(case: tuple[Array, Recipe]) -> None:
    check(*case)


@pytest.mark.once
@pytest.mark.slow
@settings(max_examples=1000)
@given(our.cases(our.integers))
def test_integers_of_every_width_are_exact(case: tuple[Array, Recipe]) -> None:
    check(*case)


def check_floats(case: tuple[Array, Recipe], skipna: bool | None) -> None:
    check(*case, **({} if skipna is None else {"skipna": skipna}))


@pytest.mark.slow
@pytest.mark.once
@settings(max_examples=150)
@given(our.cases(our.floats), st.sampled_from([None, True, False]))
def test_floats_are_as_good_as_float64_sums(
    case: tuple[Array, Recipe], skipna: bool | None
) -> None:
    check_floats(case, skipna)


@pytest.mark.once
@pytest.mark.slow
@settings(max_examples=1000)
@given(our.cases(our.floats), st.sampled_from([None, True, False]))
def test_many_floats_are_as_good_as_float64_sums(
    case: tuple[Array, Recipe], skipna: bool | None
) -> None:
    check_floats(case, skipna)


@settings(max_examples=100)
@given(our.cases(our.booleans))
def test_bool_is_a_majority_vote(case: tuple[Array, Recipe]) -> None:
    check(*case)


@settings(max_examples=150)
@given(our.cases(our.floats, special=False))
def test_finite_values_have_a_finite_mean(case: tuple[Array, Recipe]) -> None:
    assert all(np.isfinite(level).all() for level in levels(*case))


def check_ignored(data: st.DataObject, dtypes: st.SearchStrategy[np.dtype[Any]]) -> None:
    """Ignore one of the samples."""
    array, recipe = data.draw(our.cases(dtypes))
    at = data.draw(st.integers(0, array.size - 1)) if array.size else None
    ignore = array.flat[at].item() if at is not None else 1
    if math.isnan(ignore):
        ignore = 0.0
    check(array, recipe, ignore=ignore)


@pytest.mark.slow
@settings(max_examples=80)
@given(st.data())
def test_what_is_ignored_does_not_count_at_any_level(data: st.DataObject) -> None:
    check_ignored(data, our.few_dtypes)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
def test_what_is_ignored_does_not_count_in_any_dtype(data: st.DataObject) -> None:
    check_ignored(data, our.dtypes)


def check_ways(data: st.DataObject, array: Array, recipe: Recipe) -> None:
    """Compute the same in memory and in another way, and compare every bit."""
    layout = data.draw(st.sampled_from(sorted(our.LAYOUTS)))
    blocks = data.draw(st.none() | our.chunks(array.shape))
    scheduler = data.draw(st.sampled_from(["synchronous", "threads"]))
    options = {"ignore": 0} if data.draw(st.booleans()) else {}
    moved = our.LAYOUTS[layout](array)
    for want, got in zip(
        levels(array, recipe, **options),
        levels(moved, recipe, blocks, scheduler, **options),
        strict=True,
    ):
        assert same_bits(want, got)
    assert same_bits(moved, array)


@pytest.mark.slow
@settings(max_examples=80)
@given(st.data())
def test_the_way_to_compute_does_not_matter(data: st.DataObject) -> None:
    check_ways(data, *data.draw(our.cases(our.few_dtypes)))


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
def test_the_way_to_compute_does_not_matter_in_any_dtype(data: st.DataObject) -> None:
    check_ways(data, *data.draw(our.cases()))


@settings(max_examples=80)
@given(st.data(), st.integers(0, 2**32))
def test_floats_are_added_in_one_order(data: st.DataObject, seed: int) -> None:
    """With values like these, every other order gives other last bits somewhere."""
    shape = data.draw(our.shapes())
    array = np.random.default_rng(seed).normal(size=shape)
    check_ways(data, array, data.draw(our.recipes(shape)))


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("dtype", ["u2", "i8", "f4"])
def test_threads_share_nothing(dtype: str) -> None:
    """Many blocks of one shape at once, each large enough to take a while."""
    array = np.random.default_rng(0).integers(0, 2**15, (192, 192, 96)).astype(dtype)
    recipe = Recipe(("z", "y", "x"), ((2, 2, 2), (2, 2, 2)), "pad")
    alone = levels(array, recipe)
    for _ in range(6):
        with dask.config.set(num_workers=8):
            together = levels(array, recipe, ((48,) * 4, (48,) * 4, (48,) * 2), "threads")
        for want, got in zip(alone, together, strict=True):
            assert same_bits(want, got)


@pytest.mark.parametrize("dtype", ["u1", ">i2", "i8", "f2", ">f4", "f8"])
def test_partial_windows_weigh_what_is_there(dtype: str) -> None:
    """Half of [0, 90] would be 45: the last cell holds 3 samples of level 0, not 4."""
    array = np.array([0, 0, 0, 0, 0, 0, 90], dtype)
    recipe = Recipe(("x",), ((2,), (2,)), "pad")
    first, second = levels(array, recipe)
    assert first.tolist() == [0, 0, 0, 90]
    assert second.tolist() == [0, 30]
    assert levels(array, Recipe(("x",), ((2,), (2,)), "trim"))[1].tolist() == [0]


def test_missing_samples_weigh_nothing_at_the_next_level() -> None:
    recipe = Recipe(("x",), ((2,), (2,)), "pad")
    array = np.array([np.nan, 8, 2, 2, np.nan, np.nan, np.nan, np.nan])
    first, second = levels(array, recipe)
    np.testing.assert_array_equal(first, [8, 2, np.nan, np.nan])
    np.testing.assert_array_equal(second, [4, np.nan])
    first, second = levels(array, recipe, skipna=False)
    np.testing.assert_array_equal(first, [np.nan, 2, np.nan, np.nan])
    np.testing.assert_array_equal(second, [np.nan, np.nan])
    first, second = levels(np.array([0, 8, 2, 2, 0, 0, 0, 0], "u1"), recipe, ignore=0)
    assert first.tolist() == [8, 2, 0, 0]
    assert second.tolist() == [4, 0]


def test_nothing_left_is_what_was_ignored() -> None:
    recipe = Recipe(("x",), ((2,), (2,)), "pad")
    for dtype, value in [
        ("?", True), ("?", False), ("i2", -5), (">i2", -5), ("u8", 2**64 - 1), ("f2", 3),
        (">f4", -9999.9), ("f8", 1e300), ("f8", np.nan),
    ]:  # fmt: skip
        for level in levels(np.full(5, value, dtype), recipe, ignore=value):
            np.testing.assert_array_equal(level, np.full(level.shape, value, dtype), strict=True)
    for level in levels(np.array([3, np.nan, np.nan, 3.0]), recipe, ignore=3):
        assert (level == 3).all()


@pytest.mark.parametrize("dtype", ["f2", ">f2", "f4", "f8"])
def test_what_is_ignored_is_a_number_of_the_dtype(dtype: str) -> None:
    """-9999.9 is no float16 and no float32; its nearest neighbour there is what the data hold."""
    array = np.array([-9999.9, 4, 6, -9999.9], dtype)
    (level,) = levels(array, Recipe(("x",), ((2,),), "pad"), ignore=-9999.9)
    assert level.tolist() == [4, 6]


@pytest.mark.parametrize("dtype", ["u8", "i8", ">u8", ">i8", "u4", "i4"])
def test_the_ends_of_the_range(dtype: str) -> None:
    info = np.iinfo(dtype)
    array = np.array([info.max] * 7 + [info.max - 1] + [info.min] * 7 + [info.min + 1], dtype)
    recipe = Recipe(("x",), ((2,), (2,), (2,)), "pad")
    first, second, third = levels(array, recipe)
    # off by 1/2 (to even), 1/4 and 1/8
    assert first.tolist() == [info.max] * 3 + [info.max - 1] + [info.min] * 4
    assert second.tolist() == [info.max] * 2 + [info.min] * 2
    assert third.tolist() == [info.max, info.min]


def test_halves_go_to_the_even_neighbour() -> None:
    array = np.array([0, 1, 1, 2, 2, 3, -1, 0, -2, -1], "i1")
    assert levels(array, Recipe(("x",), ((2,),), "pad"))[0].tolist() == [0, 2, 2, 0, -2]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
def test_the_largest_and_the_smallest_floats(dtype: str) -> None:
    info = np.finfo(dtype)
    recipe = Recipe(("x",), ((3,), (2,)), "pad")
    for value in (info.max, info.min, info.smallest_subnormal, -info.smallest_subnormal):
        for level in levels(np.full(7, value, dtype), recipe):
            assert (level == value).all()
    assert levels(np.array([info.max, info.max, info.min] * 2, dtype), recipe)[1][0] == (
        info.max / info.dtype.type(3)
    )


def test_what_is_ignored_does_not_count_where_sums_overflow() -> None:
    top = np.finfo("f8").max
    array = np.array([0.75 * top, 0.75 * top, top] * 2)
    recipe = Recipe(("x",), ((3,), (2,)), "pad")
    for level in levels(array, recipe, ignore=top):
        assert (level == 0.75 * top).all()


@pytest.mark.parametrize("dtype", ["f2", ">f2"])
def test_float16_is_rounded_once(dtype: str) -> None:
    """2049 and a little, which is nearer to 2050; in float32 it would be 2049, a tie."""
    array = np.array([2047, 4100, 2**-24] * 2, dtype)
    for level in levels(array, Recipe(("x",), ((3,), (2,)), "pad")):
        assert (level == 2050).all()
    assert levels(array, Recipe(("x",), ((3,),), "pad"))[0].tolist() == [2050, 2050]


@pytest.mark.parametrize("n", [2**14, 2**15])
def test_a_majority_of_many(n: int) -> None:
    """Where twice the sum is wider than the sum."""
    for votes in (n // 2, n // 2 + 1, n):
        (level,) = levels(np.arange(n) < votes, Recipe(("x",), ((n,),), "pad"))
        assert level.tolist() == [votes > n // 2]


def test_the_oracle() -> None:
    assert oracle.mean(np.array([1, 2, 3, 4, 9], "u1"), (2,)).tolist() == [2, 4, 9]
    assert oracle.mean(np.array([1, 2, 3, 4, 9], "u1"), (2,), "trim").tolist() == [2, 4]
    assert oracle.mean(np.array([1, 0, 1, 1], bool), (2,)).tolist() == [False, True]
    top = 2**64 - 1
    assert oracle.mean(np.array([top, top - 1], "u8"), (2,)).tolist() == [top - 1]
    third = oracle.mean(np.array([0, 0, 1], "f4"), (3,))
    assert third.tolist() == [float(np.float32(1) / np.float32(3))]
    assert oracle.mean(np.array([5e-324] * 3), (3,)).tolist() == [5e-324]
    assert oracle.rounded(oracle.Fraction(1, 3), np.dtype("f8")) == 1 / 3
    assert oracle.float_errors(third, np.array([0, 0, 1], "f4"), (3,)) == []
    assert oracle.float_errors(np.nextafter(third, 1), np.array([0, 0, 1], "f4"), (3,))
