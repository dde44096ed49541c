"""NumPy in, NumPy out: any factor, shape and rank, and none of the failures of others."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr
from helpers import oracle
from helpers import strategies as our
from helpers.oracle import Array
from helpers.strategies import Recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from xpyramid import downsample, open_pyramid
from xpyramid.errors import DtypeError, PlanError
from xpyramid.reducers import Part, State, Window, make_reducer

pytestmark = [
    pytest.mark.once,  # the numbers are NumPy's and numba's, not Python's
    pytest.mark.usefixtures("compiled_kernels"),
]

METHODS = ["mean", "mode", "median", "min", "max", "sum", "nearest"]


def check_case(case: tuple[Array, Recipe], method: str) -> None:
    """Compare every level with the oracle, and see that it is an array of its own."""
    data, recipe = case
    before = data.copy()
    levels = downsample(data, recipe.steps, method, boundary=recipe.boundary)
    for total, got in zip(recipe.totals, levels, strict=True):
        want = oracle.reduce(data, total, method, recipe.boundary)
        np.testing.assert_array_equal(got, want, strict=True)
        assert not np.shares_memory(got, data)
        assert got.flags.writeable
    assert before.tobytes() == data.tobytes()


@pytest.mark.slow
@settings(max_examples=40)
@given(our.cases(our.few_integers, max_dims=6), st.sampled_from(METHODS))
def test_any_shape_and_rank(case: tuple[Array, Recipe], method: str) -> None:
    check_case(case, method)


@pytest.mark.slow
@settings(max_examples=200)
@given(our.cases(our.integers, max_dims=6), st.sampled_from(METHODS))
def test_any_shape_rank_and_integer(case: tuple[Array, Recipe], method: str) -> None:
    check_case(case, method)


def check_number_of_levels(case: tuple[Array, Recipe], method: str) -> None:
    """Make some levels, all of them and the last alone, and compare."""
    data, recipe = case
    if method == "mode" and data.dtype.kind == "f":
        data = np.nan_to_num(data).astype("i8")
    every = downsample(data, recipe.steps, method, boundary=recipe.boundary)
    for k, want in enumerate(every, start=1):
        some = downsample(data, recipe.steps[:k], method, boundary=recipe.boundary)
        assert [level.tobytes() for level in some] == [level.tobytes() for level in every[:k]]
        assert some[-1].dtype == want.dtype
    if recipe.boundary == "pad":  # cumulative factors are all that matters, but for float sums
        (direct,) = downsample(data, recipe.totals[-1], method)
        if data.dtype.kind == "f" and method in ("mean", "sum"):
            np.testing.assert_allclose(direct, every[-1], rtol=1e-2, atol=1e-2)
        else:
            np.testing.assert_array_equal(direct, every[-1])


@pytest.mark.slow
@settings(max_examples=50)
@given(our.cases(our.few_dtypes, our.noise, max_dims=6), st.sampled_from(METHODS))
def test_levels_do_not_depend_on_how_many_are_made(case: tuple[Array, Recipe], method: str) -> None:
    """One step has a shorter way in the code."""
    check_number_of_levels(case, method)


@pytest.mark.slow
@settings(max_examples=150)
@given(our.cases(our.dtypes, our.noise, max_dims=6), st.sampled_from(METHODS))
def test_levels_of_every_dtype_do_not_depend_on_how_many_are_made(
    case: tuple[Array, Recipe], method: str
) -> None:
    check_number_of_levels(case, method)


def check_slabs(case: tuple[Array, Recipe], method: str, slab: int) -> None:
    """Reduce at once and a slab at a time, and compare."""
    data, recipe = case
    if method == "mode" and data.dtype.kind == "f":
        data = np.nan_to_num(data).astype("i8")
    whole = downsample(data, recipe.steps, method, boundary=recipe.boundary)
    with patch("xpyramid.reducers._SLAB", slab):
        cut = downsample(data, recipe.steps, method, boundary=recipe.boundary)
    for want, got in zip(whole, cut, strict=True):
        assert (got.dtype, got.shape, got.tobytes()) == (want.dtype, want.shape, want.tobytes())


SLABS = st.integers(1, 200)


@pytest.mark.slow
@settings(max_examples=50)
@given(our.cases(our.few_dtypes, our.noise, max_dims=4), st.sampled_from(METHODS), SLABS)
def test_slabs(case: tuple[Array, Recipe], method: str, slab: int) -> None:
    """Large arrays are reduced a slab at a time."""
    check_slabs(case, method, slab)


@pytest.mark.slow
@settings(max_examples=150)
@given(our.cases(our.dtypes, our.noise, max_dims=4), st.sampled_from(METHODS), SLABS)
def test_slabs_of_every_dtype(case: tuple[Array, Recipe], method: str, slab: int) -> None:
    check_slabs(case, method, slab)


LARGEST = np.finfo("f8").max
Steps = tuple[int, ...]
SMALL_AND_LARGE = [
    np.array([1, 2, 3, 2**64 - 1, 2**64 - 1, 0, 7, 9], "u8"),
    np.array([2**53 + 1, 2**53 + 1, 1, 2, 2**62, 2**62 + 1, 3, 3], "u8"),
    np.array([-1, -2, -(2**63), -(2**63), 2**63 - 1, 1, 0, -3], "i8"),
    np.array([1, 2, LARGEST, LARGEST, 5e-324, 0, -LARGEST, -LARGEST]),
    np.array([np.nan, 2, LARGEST, LARGEST, 5e-324, np.nan, -LARGEST, -LARGEST]),
    np.array([LARGEST, LARGEST, -LARGEST, -LARGEST, 1e-300, 2e-300, np.inf, 1]),
    np.array([LARGEST, LARGEST, -LARGEST, -LARGEST, 9.9e-301, 5.1e-301, 7.3e-301, 7e-301]),
    np.array([LARGEST * 0.6, 0, LARGEST * 0.6, 0, 0, 5e-324, 1, LARGEST * 0.9]),
]


@pytest.mark.parametrize("data", SMALL_AND_LARGE)
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("slab", [16, 32, 64])
def test_slabs_that_carry_more_than_others(data: Array, order: int, slab: int) -> None:
    """Where samples are small, a state does not say what it needs to say of large ones."""
    data = data[::order]
    with patch("xpyramid.reducers._SLAB", slab):
        levels = downsample(data, 2, num_mips=3)
    whole = downsample(data, 2, num_mips=3)
    for factor, got, want in zip((2, 4, 8), levels, whole, strict=True):
        assert got.tobytes() == want.tobytes()
        exact = oracle.reduce(data, (factor,), "mean")
        if data.dtype.kind in "iu":
            np.testing.assert_array_equal(got, exact)
        elif not (data < 0).any():  # where nothing cancels out
            np.testing.assert_allclose(got, exact, rtol=1e-15)


@pytest.mark.parametrize("data", SMALL_AND_LARGE)
@pytest.mark.parametrize("skipna", [True, False])
@pytest.mark.parametrize("steps", [(2, 2, 2), (2, 4)])
def test_parts_that_carry_more_than_others(data: Array, skipna: bool, steps: Steps) -> None:
    reducer = make_reducer("mean", data.dtype, 8, skipna=skipna)
    want = downsample(data, [(step,) for step in steps], skipna=skipna)[-1]

    def climb(samples: Array, level: int) -> State:
        state = reducer.chunk(samples, steps[:1])
        for step in steps[1:level]:
            state = reducer.combine(state, (step,))
        return state

    for level, cuts in ((1, [2]), (1, [4]), (1, [6]), (1, [2, 4, 6]), (len(steps) - 1, [4])):
        size, parts = math.prod(steps[:level]), []
        for a, b in pairwise([0, *cuts, 8]):
            where = (slice(a // size, b // size),)
            parts.append(Part(where, climb(data[a:b], level), Window((b - a,), (size,))))
        state = reducer.assemble(parts, (8 // size,))
        for step in steps[level:]:
            state = reducer.combine(state, (step,))
        assert reducer.finalise(state, Window((8,), (8,))).tobytes() == want.tobytes()


@pytest.mark.parametrize("data", SMALL_AND_LARGE)
@pytest.mark.parametrize("chunks", [(2, 2, 2, 2), (4, 4), (2, 6), (6, 2), (1, 3, 4)])
def test_chunks_that_carry_more_than_others(
    data: Array, chunks: tuple[int, ...], tmp_path: Path
) -> None:
    array = xr.DataArray(data, dims="x", name="a").expand_dims(y=1).chunk(x=chunks)
    pyramid = array.pyramid.build(levels=3, factor={"x": 2}, chunks={"y": 1, "x": 2})
    pyramid.to_ome_zarr(tmp_path / "a.zarr")
    stored = open_pyramid(tmp_path / "a.zarr/a")
    for k, want in enumerate(downsample(data, 2, num_mips=2), start=1):
        assert pyramid[k].values.tobytes() == want.tobytes()
        assert stored[k].values.tobytes() == want.tobytes()


def test_the_list_starts_at_the_first_coarse_level() -> None:
    data = np.arange(8 * 12 * 5).reshape(8, 12, 5)
    shapes = [level.shape for level in downsample(data, 2, num_mips=3)]
    assert shapes == [(4, 6, 3), (2, 3, 2), (1, 2, 1)]
    shapes = [level.shape for level in downsample(data, (2, 3, 1), num_mips=2)]
    assert shapes == [(4, 4, 5), (2, 2, 5)]
    shapes = [level.shape for level in downsample(data, [(1, 2, 1), (4, 3, 5)])]
    assert shapes == [(8, 6, 5), (2, 2, 1)]
    by_array = downsample(data, np.array([2, 3, 1]), num_mips=2)
    assert [level.shape for level in by_array] == [(4, 4, 5), (2, 2, 5)]


def test_boundaries() -> None:
    data = np.array([0, 1, 2, 3, 4, 5, 9])
    padded = downsample(data, 2, "max", num_mips=2, boundary="pad")
    assert [level.tolist() for level in padded] == [[1, 3, 5, 9], [3, 9]]
    trimmed = downsample(data, 2, "max", num_mips=2, boundary="trim")
    assert [level.tolist() for level in trimmed] == [[1, 3, 5], [3]]
    with pytest.raises(PlanError, match="length 7"):
        downsample(data, 2, boundary="exact")
    assert downsample(data[:6], 2, "max", boundary="exact")[0].tolist() == [1, 3, 5]
    with pytest.raises(PlanError, match="length 3"):
        downsample(data[:6], 2, num_mips=2, boundary="exact")
    with pytest.raises(PlanError, match="factor 8"):
        downsample(data, 8, boundary="trim")


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"factor": 0}, "factor=0"),
        ({"factor": -2}, "factor=-2"),
        ({"factor": 2.0}, "factor=2.0"),
        ({"factor": True}, "factor=True"),
        ({"factor": "2"}, "'2'"),
        ({"factor": None}, "factor=None"),
        ({"factor": (2,)}, r"factor=\(2,\)"),
        ({"factor": (2, 2, 2)}, r"factor=\(2, 2, 2\)"),
        ({"factor": (2, 0)}, "factor=0"),
        ({"factor": (2, 1.5)}, "factor=1.5"),
        ({"factor": []}, r"factor=\[\]"),
        ({"factor": [(2, 2), (2,)]}, r"factor=\(2,\)"),
        ({"factor": [(2, 2), 2]}, "factor=2"),
        ({"factor": [(2, 2), (2, 2)], "num_mips": 3}, "num_mips=3"),
        ({"num_mips": 0}, "num_mips=0"),
        ({"num_mips": 1.0}, "num_mips=1.0"),
        ({"num_mips": True}, "num_mips=True"),
        ({"boundary": "reflect"}, "'reflect'"),
        ({"method": "average"}, "'average'"),
        ({"method": np.sort}, "sort"),
        ({"method": np.max, "ignore": 0}, "max"),
        ({"method": np.max, "skipna": True}, "max"),
        ({"method": "nearest", "ignore": 0}, "nearest"),
        ({"method": "nearest", "skipna": True}, "nearest"),
        ({"min_valid": 0.5}, "min_valid=0.5"),
        ({"min_valid": 1.5, "ignore": 0}, "min_valid=1.5"),
        ({"min_valid": -1, "ignore": 0}, "min_valid=-1"),
        ({"min_valid": np.nan, "ignore": 0}, "min_valid=nan"),
    ],
)
def test_refusals_name_the_value(options: dict[str, Any], value: str) -> None:
    with pytest.raises(PlanError, match=value):
        downsample(np.ones((4, 6), "i4"), **{"factor": 2, **options})


def test_the_nearest_sample_counts_whatever_it_is() -> None:
    for dtype in ("f4", "c8", "m8[s]"):
        with pytest.raises(PlanError, match=r"min_valid=0\.5 with method='nearest'"):
            downsample(np.ones(4, dtype), 2, "nearest", min_valid=0.5)


def test_ignored_values_are_values_of_the_dtype() -> None:
    for dtype, ignore in [("u1", -1), ("u1", 256), ("i2", 1.5), ("?", 2), ("i4", np.nan)]:
        for method in ["mean", "mode", "median", "min", "max", "sum"]:
            with pytest.raises(DtypeError, match="ignore="):
                downsample(np.ones(4, dtype), 2, method, ignore=ignore)
    with pytest.raises(DtypeError, match="ignore="):
        downsample(np.ones(4, "c8"), 2, ignore=1)
    with pytest.raises(DtypeError, match="ignore="):
        downsample(np.ones(4, "m8[s]"), 2, ignore=1)
    with pytest.raises(DtypeError, match="datetime64"):
        downsample(np.zeros(4, "M8[s]"), 2, "sum")
    with pytest.raises(DtypeError, match="astype"):
        downsample(np.ones(4), 2, "mode")


def test_numbers_of_numpy_are_numbers() -> None:
    data = np.arange(8)
    levels = downsample(data, np.int64(2), "max", num_mips=np.int64(2))  # type: ignore[arg-type]
    assert [level.tolist() for level in levels] == [[1, 3, 5, 7], [3, 7]]


def test_a_single_number_has_no_axis() -> None:
    with pytest.raises(PlanError, match="dimension"):
        downsample(np.array(1), 2)


@pytest.mark.parametrize("method", METHODS)
def test_empty_and_single(method: str) -> None:
    for shape, coarse in [((0,), (0,)), ((0, 5), (0, 3)), ((5, 0, 3), (3, 0, 2)), ((1,), (1,))]:
        for level in downsample(np.ones(shape, "u2"), 2, method, num_mips=1):
            assert level.shape == coarse
    assert downsample(np.array([[7]], "u1"), 3, method, num_mips=3)[-1].tolist() == [[7]]
    largest = downsample(np.array([1, 2, 3], "u1"), 2**40, "max")
    assert largest[0].tolist() == [3]


# What goes wrong elsewhere


@pytest.mark.parametrize("method", ["mean", "mode", "median", "min", "max", "nearest"])
@pytest.mark.parametrize("shape", [(3, 3, 3, 1), (5, 7, 3, 2), (17, 1, 9), (13,)])
def test_constants_of_odd_size_stay_constant(method: str, shape: tuple[int, ...]) -> None:
    for ignore in (None, 0) if method != "nearest" else (None,):
        for level in downsample(np.full(shape, 100, "u1"), 2, method, num_mips=4, ignore=ignore):
            assert (level == 100).all()


@pytest.mark.parametrize("dtype", ["u8", "u4", "i8"])
def test_the_mean_of_largest_integers(dtype: str) -> None:
    top = np.iinfo(dtype).max
    for level in downsample(np.full((4, 4, 4), top, dtype), 2, num_mips=2):
        assert (level == top).all()


def test_the_mean_of_large_float32() -> None:
    top = np.finfo("f4").max
    assert downsample(np.array([top, top]), 2)[0].tolist() == [top]
    block = np.full((512, 512), 0.1, "f4")
    assert downsample(block, 512)[0].tolist() == [[np.float32(0.1)]]


@pytest.mark.parametrize("method", ["mean", "median", "min", "max", "sum"])
def test_nan_stays_where_it_is(method: str) -> None:
    data = np.ones((8, 8))
    data[0, 0] = np.nan
    first, second, third = downsample(data, 2, method, num_mips=3)
    assert np.isfinite(first).all()
    assert np.isfinite(third).all()
    first, second, third = downsample(data, 2, method, num_mips=3, skipna=False)
    assert np.argwhere(np.isnan(first)).tolist() == [[0, 0]]
    assert np.argwhere(np.isnan(second)).tolist() == [[0, 0]]
    lost = downsample(np.full(4, np.nan), 2, method, num_mips=2)
    assert all(np.isnan(level).all() for level in lost)


@pytest.mark.slow
def test_labels_are_voted_for_at_any_factor() -> None:
    labels = np.full((9, 9), 300, "u4")
    labels[::3, ::3] = 7
    assert set(np.unique(downsample(labels, 3, "mode")[0])) == {300}
    ties = np.array([[2, 1], [1, 2]], "u8")
    assert downsample(ties, 2, "mode")[0].tolist() == [[1]]
    assert downsample(np.stack([ties, ties[::-1]]), 2, "mode")[0].tolist() == [[[1]]]
    assert downsample(np.array([255, 255, 0], "u1"), 3, "mode")[0].tolist() == [255]


def test_channels_are_not_mixed() -> None:
    labels = np.zeros((4, 4, 4, 2), "u1")
    labels[..., 1] = 9
    for order in "CF":
        for level in downsample(np.array(labels, order=order), (2, 2, 2, 1), "mode", num_mips=2):
            assert (level == [0, 9]).all()


def test_thin_labels_stay_alive() -> None:
    labels = np.zeros((8, 8), "u2")
    labels[3] = 5
    levels = downsample(labels, 2, "mode", num_mips=3, ignore=0)
    assert [(level == 5).any() for level in levels] == [True] * 3
    assert set(np.unique(levels[0])) == {0, 5}


def test_brightness_does_not_drift() -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (64, 64, 64), dtype="u1")
    exact = data.mean()
    levels = downsample(data, 2, num_mips=6)
    assert levels[-1].tolist() == [[[round(exact)]]]
    for level, noise in zip(levels, [0.01, 0.025, 0.08], strict=False):
        assert abs(level.mean() - exact) < noise
    halves = np.tile(np.array([1, 2], "u1"), 2**11)
    assert downsample(halves, 2, num_mips=12)[-1].tolist() == [2]  # 1.5, rounded once
    ladder = np.array([0, 0, 0, 1, 0, 1, 1, 1, 0, 0], "u1")  # 0.4: rounding up each time makes 1
    assert downsample(ladder, 2, num_mips=4)[-1].tolist() == [0]


@pytest.mark.slow
def test_byte_order_is_read_and_kept() -> None:
    for method in METHODS:
        (level,) = downsample(np.array([256, 512, 256], ">i8"), 3, method)
        assert level[0] in (256, 341, 512, 1024)
        assert level.dtype == (np.int64 if method == "sum" else ">i8")
    for method in ["mean", "median", "min", "max", "sum", "nearest"]:
        for dtype in (">f2", ">f4", ">f8"):
            (level,) = downsample(np.array([2, 2, 2], dtype), 2, method)
            assert level.dtype == np.dtype(dtype)
            assert level[0] in (2, 4)
