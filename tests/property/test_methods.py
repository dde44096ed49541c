"""Every level is the reduction of level 0 by any method, lazily and eagerly alike."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import dask
import numba
import numpy as np
import pytest
import xarray as xr
from helpers import oracle
from helpers import strategies as our
from helpers.oracle import Array
from helpers.strategies import Recipe
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid
from xpyramid.errors import DtypeError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_kernels")]

Case = tuple[Array, Recipe]

NAMES = ["mean", "mode", "median", "min", "max", "sum", "nearest"]
ORDERED = ["min", "max", "median"]
HALVES = Recipe(("x",), ((2,), (2,)), "pad")
skipna = st.sampled_from([None, True, False])


@numba.njit
def spread(window: Array) -> Any:
    """How far apart the samples of a window are; a user's own reduction."""
    return window.max() - window.min()


def both(data: Array, recipe: Recipe, method: Any, **options: Any) -> list[Array]:
    """Return the levels above the base, which ``downsample`` makes exactly as the accessor does."""
    before = data.copy()
    # xarray makes times of its own of NumPy's, in native byte order and other units; not of dask's.
    blocks = tuple((n,) for n in data.shape) if data.dtype.kind in "mM" else None
    lazily = our.levels(data, recipe, blocks, method=method, **options)
    eagerly = xpyramid.downsample(data, recipe.steps, method, boundary=recipe.boundary, **options)
    assert len(lazily) == len(eagerly) == len(recipe.steps)
    for lazy, eager in zip(lazily, eagerly, strict=True):
        assert_same_bits(lazy, eager)
    assert before.tobytes() == data.tobytes()
    return eagerly


def assert_same_bits(a: Array, b: Array) -> None:
    assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def check(data: Array, recipe: Recipe, method: str, **options: Any) -> None:
    """Compare every level with the oracle."""
    known = {key: value for key, value in options.items() if value is not None}
    for total, got in zip(recipe.totals, both(data, recipe, method, **options), strict=True):
        where: dict[str, Any] = {"boundary": recipe.boundary, **known}
        if data.dtype.kind == "c" and method != "nearest":
            check_complex(got, data, total, method=method, **where)
        elif data.dtype.kind == "f" and method in ("mean", "sum"):
            assert got.dtype == data.dtype
            assert not oracle.float_errors(got, data, total, method=method, **where)
        else:
            want = oracle.reduce(data, total, method, **where)
            np.testing.assert_array_equal(got, want, strict=True)
            assert got.dtype.byteorder == want.dtype.byteorder


def check_complex(got: Array, data: Array, total: tuple[int, ...], **where: Any) -> None:
    """A complex number is two; if one of them is NaN, the number does not count."""
    assert got.dtype == data.dtype
    if where.get("skipna", True):
        data = np.where(np.isnan(data), data.dtype.type(complex(np.nan, np.nan)), data)
    for part in ("real", "imag"):
        assert not oracle.float_errors(getattr(got, part), getattr(data, part), total, **where)


def with_room(data: Array) -> Array:
    """Return floats of which no float64 sum overflows on its way."""
    if data.dtype.str[1:] not in ("f8", "c16"):
        return data
    numbers = data.copy().view(f"{data.dtype.str[0]}f8") / 4096
    return numbers.astype(f"{data.dtype.str[0]}f8").view(data.dtype)


# What each method is


@settings(max_examples=200)
@given(our.cases(our.integers | our.booleans, our.labels))
def test_mode_is_the_most_frequent_label_of_the_base_window(case: Case) -> None:
    check(*case, "mode")


@pytest.mark.parametrize("ignore", [None, 0, 1, 3, 7])
def test_every_way_in_which_eight_labels_can_be_equal(ignore: int | None) -> None:
    """All partitions, at any places in the window."""
    rng = np.random.default_rng(0)
    steps = np.array(list(itertools.product([0, 1], repeat=7)), "u1")
    ascending = np.pad(steps.cumsum(1, "u1"), ((0, 0), (1, 0)))
    labels = rng.permuted(np.tile(ascending, (20, 1)), axis=1).reshape(-1, 2, 2)
    (got,) = xpyramid.downsample(labels, 2, "mode", ignore=ignore)
    np.testing.assert_array_equal(got, oracle.reduce(labels, (2, 2, 2), "mode", ignore=ignore))


@pytest.mark.parametrize("steps", [[2**16 + 1], [2**8, 2**9]])
def test_labels_of_large_windows_are_counted(steps: list[int]) -> None:
    labels = np.repeat(np.array([3, 5], "u1"), [2**15, 2**15 + 1])
    levels = xpyramid.downsample(labels, [(step,) for step in steps], "mode")
    assert levels[-1].tolist() == [5]


@pytest.mark.parametrize("method", [*ORDERED, "sum", "nearest"])
@settings(max_examples=60)
@given(case=our.cases(our.integers | our.booleans))
def test_integers(method: str, case: Case) -> None:
    check(*case, method)


@pytest.mark.parametrize("method", ORDERED)
@settings(max_examples=60)
@given(case=our.cases(our.floats), skipna=skipna)
def test_floats(method: str, case: Case, skipna: bool | None) -> None:
    check(*case, method, skipna=skipna)


@settings(max_examples=100)
@given(our.cases(our.floats), skipna)
def test_sums_of_floats(case: Case, skipna: bool | None) -> None:
    check(with_room(case[0]), case[1], "sum", skipna=skipna)


@pytest.mark.parametrize("method", ["mean", "sum"])
@settings(max_examples=50)
@given(case=our.cases(our.complexes), skipna=skipna)
def test_complex_numbers(method: str, case: Case, skipna: bool | None) -> None:
    check(with_room(case[0]), case[1], method, skipna=skipna)


@pytest.mark.parametrize("method", ["mean", "mode", *ORDERED])
@settings(max_examples=50)
@given(case=our.cases(our.datetimes | our.durations), skipna=skipna)
def test_times(method: str, case: Case, skipna: bool | None) -> None:
    check(*case, method, skipna=skipna)


@settings(max_examples=50)
@given(our.cases(our.durations), skipna)
def test_sums_of_durations(case: Case, skipna: bool | None) -> None:
    check(*case, "sum", skipna=skipna)


@settings(max_examples=80)
@given(our.cases(our.floats | our.complexes | our.datetimes | our.durations))
def test_nearest_is_the_first_sample_as_it_is(case: Case) -> None:
    for total, got in zip(case[1].totals, both(*case, "nearest"), strict=True):
        assert_same_bits(got, oracle.nearest(case[0], total, case[1].boundary))


@pytest.mark.parametrize("function", [np.ptp, np.median, spread], ids=["ptp", "median", "compiled"])
@settings(max_examples=60)
@given(case=our.cases(our.integers, our.noise) | our.cases(our.floats, our.noise))
def test_a_function_of_ones_own(function: Callable[..., Any], case: Case) -> None:
    data, recipe = case
    if function is spread and data.dtype.itemsize == 2:  # numba has no float16
        data = data.astype("f4")
    for total, got in zip(recipe.totals, both(data, recipe, function), strict=True):
        for cell in np.ndindex(got.shape):
            window = data[tuple(slice(i * f, i * f + f) for i, f in zip(cell, total, strict=True))]
            if function is spread and data.dtype.kind in "iu":  # numba's do not wrap
                want = int(window.max()) - int(window.min())
            else:
                want = np.ptp(window) if function is spread else function(window.ravel())
            np.testing.assert_allclose(float(got[cell]), float(want), rtol=1e-6)


def test_a_compiled_function_has_the_dtype_that_it_was_compiled_for() -> None:
    """Python numbers do not tell: 2**64 - 1 is none of int64, a float32 none of float64."""
    (level,) = xpyramid.downsample(np.array([2**64 - 1, 0], "u8"), 2, spread)
    assert level.tolist() == [2**64 - 1]
    assert xpyramid.downsample(np.ones(2, "f4"), 2, spread)[0].dtype == np.float32


def test_windows_are_no_larger_than_the_array() -> None:
    """Whole windows must fit into memory: those that there are."""
    for method in ("median", np.max, "mean"):
        (eagerly,) = xpyramid.downsample(np.array([[5, 7]]), 2**25, method)
        assert eagerly[0, 0] in (5, 6, 7)
        lazily = xr.DataArray(np.array([[5, 7]]), dims=("y", "x")).pyramid.build(
            factor=2**25, levels=2, method=method
        )
        assert lazily[1].shape == (1, 1)


def test_a_function_is_called_with_windows_and_an_axis() -> None:
    calls = []

    def last(windows: Array, axis: int) -> Array:
        calls.append((windows.shape[1:], axis))
        return np.take(windows, -1, axis)

    (level,) = xpyramid.downsample(np.arange(24).reshape(4, 6), (2, 3), last)
    assert level.tolist() == [[8, 11], [20, 23]]
    assert calls[-1] == ((6,), -1)
    pyramid = xr.DataArray(np.arange(4), dims="x").pyramid.build(factor=2, levels=2, method=last)
    assert pyramid.plan.method == "last"
    assert pyramid[1].values.tolist() == [1, 3]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_function_gets_the_samples_in_the_order_of_the_axes(order: Any) -> None:
    calls = []

    def first(windows: Array, axis: int) -> Array:
        calls.append(windows.tolist())
        return windows.take(0, axis)

    xpyramid.downsample(np.arange(8).reshape(2, 2, 2).copy(order), 2, first)
    assert calls[-1] == [list(range(8))]


# What does not count


@pytest.mark.parametrize("method", ["mean", "mode", *ORDERED, "sum"])
@settings(max_examples=60)
@given(data=st.data())
def test_what_is_ignored_does_not_count_at_any_level(method: str, data: st.DataObject) -> None:
    kinds = our.integers | our.booleans if method == "mode" else our.dtypes
    array, recipe = data.draw(our.cases(kinds))
    array = with_room(array) if method == "sum" and array.dtype.kind == "f" else array
    ignore = array.flat[data.draw(st.integers(0, array.size - 1))].item() if array.size else 1
    keep = {"skipna": data.draw(skipna)} if array.dtype.kind == "f" else {}
    check(array, recipe, method, ignore=0.0 if np.isnan(ignore) else ignore, **keep)


@pytest.mark.parametrize("method", ["mean", "mode", *ORDERED, "sum"])
@settings(max_examples=40)
@given(data=st.data())
def test_cells_with_too_few_samples_that_count(method: str, data: st.DataObject) -> None:
    """They are what does not count; all others are as without ``min_valid``."""
    times = our.durations if method == "sum" else our.datetimes | our.durations
    kinds = {"mode": our.integers | times}.get(method, our.integers | our.floats | times)
    array, recipe = data.draw(our.cases(kinds))
    least = data.draw(st.sampled_from([0, 0.01, 0.07, 0.1, 0.3, 1 / 3, 0.5, 0.7, 0.9, 1]))
    options: dict[str, Any] = {}
    if array.dtype.kind in "iu" or (array.dtype.kind == "f" and data.draw(st.booleans())):
        ignore = array.flat[0].item() if array.size else 0
        options["ignore"] = 0 if np.isnan(ignore) else ignore
    every = both(array, recipe, method, **options)
    some = both(array, recipe, method, min_valid=least, **options)
    for total, want, got in zip(recipe.totals, every, some, strict=True):
        few = oracle.valid(array, total, recipe.boundary, **options) < least
        empty = options.get("ignore", np.nan if array.dtype.kind == "f" else oracle.NAT)
        want[few] = want.dtype.type(empty, "s") if array.dtype.kind in "mM" else empty
        np.testing.assert_array_equal(got, want, strict=True)


def test_min_valid_counts_exactly() -> None:
    """0.07 * 100 is more than 7 in floating point."""
    for few in range(1, 100):
        array = np.where(np.arange(100) < few, 1.0, np.nan)
        assert xpyramid.downsample(array, 100, min_valid=few / 100)[0][0] == 1
        assert np.isnan(xpyramid.downsample(array, 100, min_valid=(few + 1) / 100)[0][0])
    pair = np.array([1, complex(np.nan, 0)], "c8")
    (level,) = xpyramid.downsample(pair, 2, min_valid=0.6)
    assert np.isnan(level.real).all()
    assert np.isnan(level.imag).all()


@pytest.mark.parametrize("method", ["mean", *ORDERED, "sum"])
@pytest.mark.parametrize("dtype", ["f2", ">f4", "f8"])
@pytest.mark.parametrize("ignore", [-9999.9, np.float64(-9999.9)], ids=["python", "numpy"])
def test_what_is_ignored_is_a_number_of_the_dtype(method: str, dtype: str, ignore: float) -> None:
    array = np.array([-9999.9, 4, -9999.9, -9999.9], dtype)
    (level,) = xpyramid.downsample(array, 2, method, ignore=ignore)
    np.testing.assert_array_equal(level, array[[1, 3]])
    (level,) = xpyramid.downsample(array, 2, method, ignore=ignore, min_valid=0.6)
    np.testing.assert_array_equal(level, array[[0, 3]])


def test_neither_nan_nor_what_is_ignored_counts_as_valid() -> None:
    array = np.array([-1, np.nan, 4, 4], "f4")
    for method in ("mean", *ORDERED):
        for least, want in [(0.5, 4), (0.6, -1)]:
            (level,) = xpyramid.downsample(array, 4, method, ignore=-1, min_valid=least)
            np.testing.assert_array_equal(level, [want])


def filled(value: Any, data: Array, name: str = "_FillValue", **options: Any) -> Array:
    array = xr.DataArray(data, dims="x", attrs={name: value})
    level: Array = array.pyramid.build(levels=2, factor=2, **options)[1].values
    return level


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_missing_data_of_the_attributes_are_ignored(name: str) -> None:
    data = np.array([-99, 4, -99, -99, 1, 1], "i2")
    assert filled(np.int16(-99), data, name).tolist() == [4, -99, 1]
    assert filled(-99.0, data, name).tolist() == [4, -99, 1]
    assert filled(-99, data, name, ignore=4).tolist() == [-99, -99, 1]
    assert filled(-99, data, name, method="mode").tolist() == [4, -99, 1]
    assert filled(-99, data, name, method="min").tolist() == [4, -99, 1]
    for method in ("mean", *ORDERED, "sum"):  # as the attribute says
        floats = data.astype("f4")
        wanted = [4, -99, 2 if method == "sum" else 1]
        assert filled(-99.0, floats, name, method=method).tolist() == wanted
        np.testing.assert_array_equal(
            filled(np.nan, np.where(floats == -99, np.nan, floats), name, method=method),
            np.where(np.array(wanted) == -99, np.nan, wanted),
        )


def test_missing_data_of_the_attributes_are_left_alone_where_they_cannot_be() -> None:
    data = np.array([-99, 4, 2, 2], "i2")
    assert filled(-99, data, method="nearest").tolist() == [-99, 2]
    assert filled(-99, data, method=np.max).tolist() == [4, 2]
    small = np.array([255, 1, 1, 1], "u1")
    none: list[Any] = [-1, 256, 255.5, -9999.0, 1e20, np.nan, np.inf, "none"]
    for value in none:
        assert filled(value, small).tolist() == [128, 1]
    assert filled(255, small).tolist() == [1, 1]
    assert filled(255, np.array([1, 0], bool)).tolist() == [False]
    for value in (1e20, -1e300):  # beyond float16, so not among the data
        assert filled(value, np.array([1, np.inf], "f2")).tolist() == [np.inf]


def test_missing_data_are_the_nearest_number_of_the_dtype() -> None:
    """1e20 is no float32; what a float32 array holds is its nearest neighbour."""
    assert filled(1e20, np.array([1e20, 3], "f4")).tolist() == [3]
    assert filled(np.float32(1e20), np.array([1e20, 3], "f4")).tolist() == [3]
    assert filled(-9999.9, np.array([-9999.9, 3], "f2")).tolist() == [3]


# Which method


def test_labels_are_voted_for() -> None:
    labels = np.array([7, 7, 9, 7], "u1")
    for attrs in (
        {"flag_values": [7, 9], "flag_meanings": "soma axon"},
        {"flag_meanings": "soma axon"},
        {"image-label": {"version": "0.5"}},
    ):
        pyramid = xr.DataArray(labels, dims="x", attrs=attrs).pyramid.build(levels=3, factor=2)
        assert pyramid.plan.method == "mode"
        assert [level.values.tolist() for level in pyramid][1:] == [[7, 7], [7]]
    mask = xr.DataArray(np.array([True, False, True, True]), dims="x")
    assert mask.pyramid.build(levels=2, factor=2).plan.method == "mode"
    assert mask.pyramid.build(levels=2, factor=2)[1].values.tolist() == [False, True]
    plain = xr.DataArray(labels, dims="x").pyramid.build(levels=2, factor=2)
    assert plain.plan.method == "mean"
    assert plain[1].values.tolist() == [7, 8]


@pytest.mark.parametrize("method", ["mode", *ORDERED])
def test_complex_numbers_have_no_order(method: str) -> None:
    with pytest.raises(DtypeError, match="complex64"):
        xpyramid.downsample(np.ones(4, "c8"), 2, method)


@pytest.mark.parametrize("method", [*NAMES, np.max], ids=[*NAMES, "function"])
@pytest.mark.parametrize("dtype", ["S3", "U3", "O", "V4", "g", "G", [("a", "i4")]], ids=str)
def test_what_is_no_number(method: Any, dtype: Any) -> None:
    data = np.zeros(4, dtype)
    with pytest.raises(DtypeError, match="accepted"):
        xpyramid.downsample(data, 2, method)
    with pytest.raises(DtypeError, match="accepted"):
        xr.DataArray(data, dims="x").pyramid.build(levels=2, factor=2, method=method)


# However it is computed


@pytest.mark.once
@settings(max_examples=150)
@given(st.data())
def test_the_way_to_compute_does_not_matter(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([*NAMES, np.max]))
    kinds = our.integers | our.booleans
    if method != "mode":
        kinds = kinds | our.floats | our.floats
    if method in ("mean", "sum", "nearest"):
        kinds = kinds | our.complexes
    kinds = kinds | our.durations
    array, recipe = data.draw(our.cases(kinds, data.draw(st.sampled_from([our.noise, our.values]))))
    array = with_room(array) if array.dtype.kind in "fc" else array
    layout = data.draw(st.sampled_from(sorted(our.LAYOUTS)))
    blocks = data.draw(our.chunks(array.shape))
    scheduler = data.draw(st.sampled_from(["synchronous", "threads"]))
    moved = our.LAYOUTS[layout](array)
    for want, got in zip(
        both(array, recipe, method),
        our.levels(moved, recipe, blocks, scheduler, method=method),
        strict=True,
    ):
        assert_same_bits(want, got)
    for want, got in zip(
        xpyramid.downsample(array, recipe.steps, method, boundary=recipe.boundary),
        xpyramid.downsample(moved, recipe.steps, method, boundary=recipe.boundary),
        strict=True,
    ):
        assert_same_bits(want, got)
    assert moved.tobytes() == array.tobytes()


@pytest.mark.parametrize("method", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
@pytest.mark.parametrize("factor", [(2, 2, 2), (1, 2, 2), (3, 2, 4)])
def test_a_nan_changes_no_bit_of_other_cells(
    method: str, dtype: str, factor: tuple[int, int, int]
) -> None:
    """Sums with and without something to skip are the same additions in the same order."""
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-6, 6, (12, 12, 12))
    clean = (rng.normal(size=scales.shape) * scales).astype(dtype)
    clean[:6, :6, :6] = -0.0
    dirty = clean.copy()
    dirty[-1, -1, -1] = np.nan
    for want, got in zip(
        xpyramid.downsample(clean, factor, method, num_mips=2),
        xpyramid.downsample(dirty, factor, method, num_mips=2),
        strict=True,
    ):
        assert np.isfinite(got).all()
        assert_same_bits(want.ravel()[:-1], got.ravel()[:-1])
    for levels in (1, 2):
        a, b = (xpyramid.downsample(x, factor, method, num_mips=levels)[0] for x in (clean, dirty))
        assert_same_bits(a.ravel()[:-1], b.ravel()[:-1])


def test_processes() -> None:
    """Reducers travel, a user's own too."""
    data = np.arange(64, dtype="u2").reshape(8, 8) ** 2
    recipe = Recipe(("y", "x"), ((2, 2), (2, 2)), "pad")
    methods = [*NAMES, lambda windows, axis: windows.take(-1, axis), spread]
    fields = [our.field(data, recipe, ((4, 4), (4, 4))) for _ in methods]
    tops = [
        f.pyramid.build(**recipe.options, method=m)[2].data
        for f, m in zip(fields, methods, strict=True)
    ]
    with dask.config.set(scheduler="processes", num_workers=2):
        got = dask.compute(*tops)
    for method, level in zip(methods, got, strict=True):
        assert_same_bits(xpyramid.downsample(data, 2, method, num_mips=2)[1], level)


# By hand


@pytest.mark.parametrize(
    ("method", "first", "second"),
    [
        ("mode", [1, 5, 2, 3], [1, 2]),  # 1, 1, 5, 9: not the lower of the modes 1 and 5
        ("median", [1, 5, 2, 3], [1, 3]),
        ("min", [1, 5, 2, 3], [1, 2]),
        ("max", [1, 9, 8, 3], [9, 8]),
        ("sum", [2, 14, 10, 3], [16, 13]),
        ("nearest", [1, 9, 8, 3], [1, 8]),
        ("mean", [1, 7, 5, 3], [4, 4]),
    ],
)
def test_a_row_of_seven(method: str, first: list[int], second: list[int]) -> None:
    levels = both(np.array([1, 1, 9, 5, 8, 2, 3], "i2"), HALVES, method)
    assert [level.tolist() for level in levels] == [first, second]


def test_a_mode_is_no_mode_of_modes() -> None:
    data = np.array([3, 3, 2, 1, 2, 1, 2, 3], "u4")
    levels = both(data, Recipe(("x",), ((2,), (2,), (2,)), "pad"), "mode")
    assert [level.tolist() for level in levels] == [[3, 1, 1, 2], [3, 2], [2]]


def test_the_oracle() -> None:
    data = np.array([3, 1, 2, 2, 3, 9], "u1")
    assert oracle.reduce(data, (4,), "mode").tolist() == [2, 3]
    assert oracle.reduce(data, (4,), "median").tolist() == [2, 3]
    assert oracle.reduce(data, (4,), "sum").tolist() == [8, 12]
    assert oracle.reduce(data, (4,), "max", "trim", ignore=3).tolist() == [2]
    assert oracle.reduce(data, (3,), "nearest").tolist() == [3, 2]
    assert oracle.reduce(np.array([2**63 - 1, 1]), (2,), "sum").tolist() == [-(2**63)]
    times = np.array(["2020", "NaT", "NaT", "NaT"], ">M8[s]")
    assert oracle.reduce(times, (2,), "max").astype(str).tolist()[1] == "NaT"
    assert np.isnat(oracle.reduce(times, (2,), "max", skipna=False)).all()
    assert oracle.valid(times, (2,)).tolist() == [0.5, 0]
    thirds = np.array([1, 1, 1], "f4") / np.float32(3)
    assert oracle.float_errors(np.ones(1, "f4"), thirds, (3,), method="sum") == []
    assert oracle.float_errors(np.full(1, 1.000001, "f4"), thirds, (3,), method="sum")
    large = np.full(2, 65504, "f2")
    assert oracle.float_errors(np.array([math.inf], "f2"), large, (2,), method="sum") == []
    assert oracle.float_errors(large[:1], large, (2,), method="sum")
    assert oracle.float_errors(np.array([math.inf], "f2"), large, (2,))
