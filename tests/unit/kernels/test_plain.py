"""Kernels and their twins in NumPy fill arrays with the same bits."""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from helpers import strategies as our
from helpers.strategies import Array, Recipe
from hypothesis import given, settings
from hypothesis import strategies as st

from xpyramid import downsample
from xpyramid.engine.statistics import Observer
from xpyramid.errors import DtypeError, PlanError
from xpyramid.kernels import choice
from xpyramid.kernels.plain import labels
from xpyramid.reducers import make_reducer, mean

pytestmark = pytest.mark.once  # the numbers are NumPy's and numba's, not Python's

ROOMS = ("extremes", "labels", "moments", "sums", "twos", "values")
METHODS = ["mean", "mode", "min", "max", "sum", "std"]

#: NaN of other bits than `numpy.nan`, one of them with a sign.
NANS = np.array([0x7FF8_0000_0000_0007, 0xFFF8_0000_0000_0000], "u8").view("f8")

#: What kernels are given to work in.
BUFFERS = {
    "entries", "heads", "mixed", "offsets", "row", "rows", "seen", "squares", "stops", "votes"
}  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_every_kernel_has_a_twin_that_is_called_alike(room: str) -> None:
    compiled = importlib.import_module(f"xpyramid.kernels.{room}")
    plain = importlib.import_module(f"xpyramid.kernels.plain.{room}")
    kernels = {name: k for name, k in vars(compiled).items() if is_kernel(k)}
    assert kernels
    for name, kernel in kernels.items():
        want = list(inspect.signature(kernel.py_func).parameters)
        assert list(inspect.signature(getattr(plain, name)).parameters) == want


def is_kernel(thing: Any) -> bool:
    """Whether it is called from Python, and not only by kernels."""
    options = getattr(thing, "targetoptions", None)
    return options is not None and not options.get("inline") and not options.get("forceinline")


def one_nan(values: Array) -> bytes:
    """Return bits; in between, which of several NaN there is may differ."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return values.tobytes()


def check_call(kernel: Any, *args: Any) -> Any:
    """Call a kernel and its twin, and compare all that they have filled."""
    mine = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]
    twin = kernel._find("xpyramid.kernels.plain")
    with np.errstate(all="ignore"):
        want = twin(*mine)
    got = kernel._find("xpyramid.kernels")(*args)
    assert got == want
    if got is False:  # then what was filled is of no use
        return got
    names = list(inspect.signature(twin).parameters)
    exact = kernel._room not in ("sums", "moments")
    given_args, mine_args = dict(zip(names, args, strict=True)), dict(zip(names, mine, strict=True))
    for name in names:
        a, b = given_args[name], mine_args[name]
        is_total = kernel._name == "window_mean" and name == "total"
        if not isinstance(a, np.ndarray) or name in BUFFERS or is_total:
            continue
        if kernel._name in ("count_labels", "merge_labels") and name in ("labels", "counts"):
            ends = given_args["ends"]
            used = 0 if ends is None or not ends.size else int(ends.flat[-1])
            a, b = a[:used], b[:used]
        assert a.tobytes() == b.tobytes() if exact else one_nan(a) == one_nan(b), name
    return got


@contextmanager
def both_ways(*, small: int) -> Iterator[None]:
    """Have kernels and twins compared; ``small`` is how many bytes go through states."""
    with patch.object(choice.Kernel, "__call__", check_call), patch.object(mean, "_SMALL", small):
        yield


def reduce_in_all_ways(data: Array, recipe: Recipe, method: str, **options: Any) -> None:
    """Make levels, directly and from states that were put together."""
    try:
        downsample(data, recipe.steps, method, boundary=recipe.boundary, **options)
        reducer = make_reducer(method, data.dtype, int(np.prod(recipe.totals[-1])), **options)
        state = reducer.chunk(data, recipe.steps[0])
    except (DtypeError, PlanError):
        return
    for step in recipe.steps[1:]:
        state = reducer.combine(state, step)


options = st.fixed_dictionaries(
    {}, optional={"ignore": st.sampled_from([0, 1]), "skipna": st.booleans()}
)
few_options = st.sampled_from([{}, {}, {"ignore": 0}, {"skipna": False}])  # each is compiled anew
cases = our.cases(our.few_dtypes) | our.cases(our.few_dtypes, our.noise)


@pytest.mark.slow
@settings(max_examples=30)
@given(
    our.cases(our.few_integers, our.labels),
    st.sampled_from([{}, {"ignore": 0}]),
    st.sampled_from([1, 50, 2**14]),
)
def test_lists_of_labels(case: tuple[Array, Recipe], options: dict[str, Any], size: int) -> None:
    """Also where they are looked at piece by piece."""
    samples, recipe = case
    if options:
        samples = samples * np.random.default_rng(0).integers(0, 2, samples.shape, bool)
    with both_ways(small=0), patch.object(labels, "_AT_ONCE", size):
        reduce_in_all_ways(samples, recipe, "mode", **options)


@settings(max_examples=30)
@given(cases, st.sampled_from(METHODS), few_options, st.sampled_from([0, 2**23]))
def test_states_and_values(
    case: tuple[Array, Recipe], method: str, options: dict[str, Any], small: int
) -> None:
    with both_ways(small=small):
        reduce_in_all_ways(*case, method, **options)


@pytest.mark.parametrize(
    "shape", [(0,), (3, 0), (0, 3), (2, 3, 0), (2, 0, 3), (0, 2, 3), (0, 1, 2, 3)]
)
def test_nothing(shape: tuple[int, ...]) -> None:
    recipe = Recipe(our.DIMS[-len(shape) :], ((3,) * len(shape), (2,) * len(shape)), "pad")
    with both_ways(small=0), patch.object(labels, "_AT_ONCE", 1):
        for method in METHODS:
            reduce_in_all_ways(np.zeros(shape, "u1"), recipe, method)


@pytest.mark.slow
@settings(max_examples=500)
@given(
    our.cases() | our.cases(our.dtypes, our.noise) | our.cases(our.integers, our.labels),
    st.sampled_from(METHODS), options, st.sampled_from([0, 2**23]),
)  # fmt: skip
def test_states_and_values_of_any_dtype(
    case: tuple[Array, Recipe], method: str, options: dict[str, Any], small: int
) -> None:
    with both_ways(small=small):
        reduce_in_all_ways(*case, method, **options)


@pytest.mark.slow
@settings(max_examples=30)
@given(cases, st.sampled_from(METHODS), few_options, st.data())
def test_bits_of_levels(
    case: tuple[Array, Recipe], method: str, options: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever NaN there is, and whichever way is gone: what is stored is the same."""
    samples, recipe = case
    if samples.dtype.kind == "f":
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        kinds = np.array([*NANS, np.inf, -np.inf, -0.0]).astype(samples.dtype)
        special = rng.random(samples.shape) < data.draw(st.sampled_from([0.1, 0.5]))
        samples = np.where(special, kinds[rng.integers(5, size=samples.shape)], samples)
    levels = []
    for way in ("numpy", "compiled"):
        with choice.only(way):
            try:
                made = downsample(samples, recipe.steps, method, **options)
            except (DtypeError, PlanError):
                return
        levels.append([level.tobytes() for level in made])
    assert levels[0] == levels[1]


@settings(max_examples=30)
@given(our.cases(our.few_dtypes) | our.cases(our.few_dtypes, our.noise))
def test_statistics(case: tuple[Array, Recipe]) -> None:
    with both_ways(small=0):
        Observer(None)(tuple(map(slice, case[0].shape)), case[0])
