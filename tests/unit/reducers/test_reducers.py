import math
import pickle
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from helpers.quick import quick_if

import xpyramid
from xpyramid.errors import PlanError
from xpyramid.kernels.arrays import Array
from xpyramid.reducers import (
    METHODS,
    Reducer,
    make_reducer,
    method_name,
    reduce_block,
    reduce_levels,
    reduce_levels_with_state,
)
from xpyramid.reducers.record import State, Window

pytestmark = pytest.mark.usefixtures("compiled_kernels")

Steps = list[tuple[int, ...]]


def states(block: Array, steps: Steps, reducer: Reducer) -> State:
    """Return the state of the last level, by way of those of all others."""
    state = reducer.chunk(block, steps[0])
    for step in steps[1:]:
        state = reducer.combine(state, step)
    return state


def through_states(block: Array, steps: Steps, reducer: Reducer) -> Array:
    """Reduce by chunk, combine and finalise, never directly."""
    total = tuple(math.prod(fs) for fs in zip(*steps, strict=True))
    return reducer.finalise(states(block, steps, reducer), Window(block.shape, total))


def example(dtype: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(1)
    kind = np.dtype(dtype).kind
    if kind == "f":
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, shape)).astype(dtype)
    if kind == "b":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    native = np.dtype(dtype).newbyteorder("=")
    return rng.integers(info.min, info.max, shape, native, endpoint=True).astype(dtype)


#: The others are slow: code is compiled for each.
FEW_DTYPES = {"?", "u1", ">u2", "i8", "f2", "f4", ">f8"}


@pytest.mark.once
@pytest.mark.parametrize(
    ("method", "dtype"),
    quick_if(
        lambda _, dtype: dtype in FEW_DTYPES,
        [
            *product(["mean", "mode"], ["?", "u1", "i1", ">u2", "i4", "u4", "u8", "i8"]),
            *product(["mean"], ["f2", "f4", ">f8"]),
        ],
    ),
)
@pytest.mark.parametrize(
    ("shape", "step"),
    [
        ((9, 8, 7), (2, 2, 2)),
        ((9, 8, 7), (1, 2, 2)),
        ((9, 8, 7), (2, 1, 1)),
        ((9, 8, 7), (3, 2, 5)),
        ((2, 3, 5, 4), (1, 2, 2, 2)),
        ((3, 3, 5, 4), (2, 2, 2, 2)),
        ((5, 5), (2, 2)),
        ((1, 1), (2, 2)),
        ((17,), (2,)),
        ((0, 4), (2, 2)),
    ],
)
def test_the_short_way_gives_the_same_bits(
    method: str, dtype: str, shape: tuple[int, ...], step: tuple[int, ...]
) -> None:
    block = example(dtype, shape)
    few = block % 3 if block.dtype.kind in "iu" else block  # labels that occur more than once
    for values in [block, few, np.full_like(block, -0.0) if "f" in dtype else block]:
        for samples in (math.prod(step), 2**20):
            for ignore in (None, values.flat[0].item() if values.size else 0):
                reducer = make_reducer(method, values.dtype, samples, ignore=ignore)
                want = through_states(values, [step], reducer)
                (got,) = reduce_levels(values, [step], reducer)
                assert (got.tobytes(), got.shape) == (want.tobytes(), want.shape)
                assert got.dtype == want.dtype == values.dtype
                assert reduce_block(values, [step], reducer).tobytes() == want.tobytes()


@pytest.mark.parametrize("ignore", [None, 1])
def test_mode_of_every_small_window(ignore: int | None) -> None:
    """All windows of three to five samples with up to four labels."""
    for size in (3, 4, 5):
        windows = np.array(list(product(range(4), repeat=size)), np.uint32)
        votes = (windows[:, :, None] == np.arange(4)).sum(axis=1)
        if ignore is not None:
            votes[:, ignore] = 0
        want = np.where(votes.any(axis=1), votes.argmax(axis=1), ignore)  # argmax: the lowest
        for array, factor in ((windows, (1, size)), (windows.T, (size, 1))):
            (got,) = xpyramid.downsample(array, factor, "mode", ignore=ignore)
            assert got.ravel().tolist() == want.tolist()


@pytest.mark.parametrize("dtype", quick_if({"u1", "u2"}.__contains__, ["u1", "i1", "u2", "i2"]))
def test_rows_of_any_length_have_the_same_bits(dtype: str) -> None:
    """What is read and written beyond a row, in whole vectors, leaves no trace."""
    for length in (1, 2, 3, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 130, 255, 256, 257):
        for rows in ((1, 1), (1, 2), (3, 1), (3, 4), (5, 3)):
            block = example(dtype, (2, *rows, length))
            for step in product((1, 2), repeat=3):
                for method, values in (("mean", block), ("mode", block % 3)):
                    reducer = make_reducer(method, block.dtype, math.prod(step))
                    (got,) = reduce_levels(values, [(1, *step)], reducer)
                    want = through_states(values, [(1, *step)], reducer)
                    assert got.tobytes() == want.tobytes()


@pytest.mark.once
@pytest.mark.parametrize(
    ("method", "dtype", "small"),  # a mean of what is small goes by states
    quick_if(
        lambda _, dtype, __: dtype not in ("?", "f4"),
        [
            *product(["mean"], ["?", "u1", ">u2", "i8", "f4", ">f8"], [-1, 2**23]),
            *product(["mode"], ["?", "u1", ">u2", "i8"], [2**23]),
        ],
    ),
)
@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((9, 8, 7), [(2, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((13, 17, 11), [(2, 2, 2), (3, 2, 5)]),
        ((9, 14, 15), [(1, 2, 2), (2, 2, 1), (2, 1, 3)]),
        ((2, 3, 9, 10), [(1, 1, 2, 2), (1, 2, 2, 2)]),
        ((4, 3, 9, 10), [(1, 2, 2, 2), (2, 2, 2, 2)]),
        ((3, 3, 5, 4), [(2, 2, 2, 2), (1, 2, 2, 2)]),
        ((11, 6), [(2, 2), (2, 3)]),
        ((37,), [(2,), (2,), (3,)]),
        ((0, 4), [(2, 2), (2, 2)]),
    ],
)
def test_several_levels_at_once_have_the_same_bits(
    method: str,
    dtype: str,
    shape: tuple[int, ...],
    steps: Steps,
    small: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xpyramid.reducers.mean._SMALL", small)
    block = example(dtype, shape)
    samples = math.prod(math.prod(step) for step in steps)
    reducer = make_reducer(method, block.dtype, samples)
    for values in [block, np.full_like(block, -0.0) if "f" in dtype else block // 2**4]:
        made = reduce_levels(values, steps, reducer)
        for k, got in enumerate(made, 1):
            want = through_states(values, steps[:k], reducer)
            assert (got.tobytes(), got.shape, got.dtype) == (want.tobytes(), want.shape, want.dtype)
            levels, state = reduce_levels_with_state(values, steps[:k], reducer, keep=True)
            assert [level.tobytes() for level in levels] == [level.tobytes() for level in made[:k]]
            for one, other in zip(state, states(values, steps[:k], reducer), strict=True):
                assert one.tobytes() == other.tobytes()
                assert one.dtype == other.dtype


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, np.finfo("f8").max / 16])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("small", [-1, 2**23])
def test_unusual_floats_through_several_levels(
    dtype: str, special: float, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of the largest are finite at level 1 and overflow at level 2, and further up."""
    monkeypatch.setattr("xpyramid.reducers.mean._SMALL", small)
    steps, limit = [(2, 2, 2)] * 3, float(np.finfo(dtype).max)
    block = np.full((9, 8, 8), min(special, limit / 16) if np.isfinite(special) else 1.0, dtype)
    if not np.isfinite(special):
        block[0, 0, 0] = special
    for skipna in (True, False):
        reducer = make_reducer("mean", block.dtype, 512, skipna=skipna)
        made = reduce_levels(block, steps, reducer)
        for k, got in enumerate(made, 1):
            assert got.tobytes() == through_states(block, steps[:k], reducer).tobytes()
            assert got[-1, -1, -1] == block[-1, -1, -1]


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_the_short_way_of_unusual_floats(special: float) -> None:
    for dtype in ("f2", "f4", "f8"):
        for skipna in (True, False):
            block = example(dtype, (6, 6, 6))
            block[0, 0, 0] = special
            block[2:4, 2:4, 2:4] = np.finfo(dtype).max
            reducer = make_reducer("mean", block.dtype, 8, skipna=skipna)
            want = through_states(block, [(2, 2, 2)], reducer)
            (got,) = reduce_levels(block, [(2, 2, 2)], reducer)
            assert got.tobytes() == want.tobytes()
            assert got[1, 1, 1] == np.finfo(dtype).max


@pytest.mark.once
@pytest.mark.parametrize(
    ("dtype", "sizes"),
    quick_if(
        lambda dtype, _: dtype in ("u1", "i8"),
        [
            ("u1", [127, 128, 129, 2**15, 2**15 + 1, 2**16, 2**18]),
            ("i1", [128, 129, 2**15 + 1]),
            ("u2", [128, 129, 512, 1000, 2**15, 2**15 + 1, 2**17]),
            ("i2", [128, 129, 2**15 + 1]),
            ("u4", [2**10, 2**20 - 1, 2**20, 2**20 + 1, 2**22]),
            ("i4", [2**20, 2**20 + 1]),
            ("u8", [2, 3, 2**14 + 1, 2**20]),
            ("i8", [2, 3, 2**14 + 1]),
        ],
    ),
)
def test_accumulators_are_wide_enough(dtype: str, sizes: list[int]) -> None:
    """At the bounds where wider ones are taken: 15, 23, 31 and 52 bits, and limbs."""
    info = np.iinfo(dtype)
    for n in sizes:
        for end in (info.max, info.min):
            block = np.full(n + 1, end, dtype)
            reducer = make_reducer("mean", block.dtype, n)
            assert reduce_block(block, [(n,)], reducer).tolist() == [end, end]
            for first in (2, 3, n // 2):
                if n % first == 0 and first > 1:
                    steps = [(first,), (n // first,)]
                    assert reduce_block(block, steps, reducer).tolist() == [end, end]
                    assert reduce_levels(block, steps, reducer)[1].tolist() == [end, end]
        for share in {max(1, n // 2 - 1), n // 2, n - n // 2, n // 2 + 1}:  # of the larger
            mixed = np.full(n, info.max - 1, dtype)
            mixed[:share] = info.max  # nearly a half, or just one, which goes to the even neighbour
            want = info.max - (2 * share < n or (2 * share == n and info.max % 2))
            got = reduce_block(mixed, [(n,)], make_reducer("mean", mixed.dtype, n))
            assert got.tolist() == [want]


def labels_and_counts(state: tuple[Array, ...]) -> tuple[int, int]:
    """Return how many numbers a state of mode holds, besides one for each cell."""
    cells = state[0].size
    sizes = [part.size for part in state]
    assert sizes == [cells, sizes[1], sizes[1]]
    return cells, sizes[1]


@pytest.mark.parametrize("shape", [(64,), (33, 31), (17, 16, 15), (4, 8, 8, 8)])
def test_the_memory_of_a_mode(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    step = (2,) * len(shape)
    samples = 8 ** len(shape)
    noise = rng.permutation(math.prod(shape)).reshape(shape).astype("u4")
    reducer = make_reducer("mode", noise.dtype, samples)
    state = reducer.chunk(noise, step)
    for _ in range(3):  # every label differs: one label and one count for each sample, no more
        cells, held = labels_and_counts(state)
        assert held == noise.size
        assert sum(part.nbytes for part in state) <= noise.size * (4 + 4) + cells * 8
        state = reducer.combine(state, step)
    uniform = np.full(shape, 3, "u4")
    state = reducer.chunk(uniform, step)
    for _ in range(3):  # one object: one label and one count for each cell
        cells, held = labels_and_counts(state)
        assert held == cells
        assert state[2].sum() == uniform.size
        state = reducer.combine(state, step)
    ignoring = make_reducer("mode", noise.dtype, samples, ignore=3)
    assert labels_and_counts(ignoring.chunk(uniform, step))[1] == 0


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 255, 256, 257, 258, 1000])
def test_lists_of_any_length_are_merged(size: int) -> None:
    half = -(-size // 2)
    for apart in (0, 1, half):  # all labels in both lists, all but one, none
        labels = np.concatenate([np.arange(half), np.arange(half) + apart])[:size]
        block = np.random.default_rng(0).permuted(labels.astype("i8") - 3)
        block = np.concatenate([np.sort(block[:half]), block[half:]])
        reducer = make_reducer("mode", block.dtype, 2 * half)
        ends, *found = reducer.combine(reducer.chunk(block, (half,)), (2,))
        want = np.unique(block, return_counts=True)
        assert ends.tolist() == [want[0].size]
        assert [part.tolist() for part in found] == [part.tolist() for part in want]


@pytest.mark.parametrize(("samples", "number"), [(2**31 - 1, "i4"), (2**31, "i8")])
def test_counts_of_labels_have_room_for_the_largest_window(samples: int, number: str) -> None:
    state = make_reducer("mode", np.dtype("u1"), samples).chunk(np.ones(4, "u1"), (2,))
    assert state[2].dtype == number
    state = make_reducer("mode", np.dtype("u1"), samples).combine(state, (2,))
    assert (state[2].dtype, state[2].tolist()) == (number, [4])


def test_memory_is_released() -> None:
    """What a state holds is not a view of something larger."""
    block = np.zeros((32, 32, 32), "u8")
    reducer = make_reducer("mode", block.dtype, 2**15)
    for part in reducer.chunk(block, (4, 4, 4)):
        assert part.base is None or part.base.nbytes <= 8 * part.size
    nearest = make_reducer("nearest", block.dtype, 8).chunk(block, (2, 2, 2))
    assert not np.shares_memory(nearest[0], block)


def test_states_do_not_change() -> None:
    """A state can be finalised, combined, and finalised again."""
    block = example("u1", (12, 12))
    for method in METHODS:
        ignore = None if method == "nearest" else 0
        reducer = make_reducer(method, block.dtype, 36, ignore=ignore)
        state = reducer.chunk(block, (2, 2))
        before = [part.copy() for part in state]
        first = reducer.finalise(state, Window(block.shape, (2, 2))).copy()
        reducer.combine(state, (3, 3))
        again = reducer.finalise(state, Window(block.shape, (2, 2)))
        assert first.tobytes() == again.tobytes()
        assert all((a == b).all() for a, b in zip(before, state, strict=True))


def test_reducers_travel() -> None:
    for method in [*METHODS, np.max]:
        reducer = make_reducer(method, np.dtype("u2"), 4)
        copy = pickle.loads(pickle.dumps(reducer))
        block = np.arange(16, dtype="u2").reshape(4, 4)
        assert reduce_block(block, [(2, 2)], copy).tolist() == (
            reduce_block(block, [(2, 2)], reducer).tolist()
        )
        assert copy.name == reducer.name == method_name(method)


def test_every_method() -> None:
    others = {"sum", "nearest", "std", "count"}
    assert set(METHODS) == {"mean", "mode", "median", "min", "max"} | others
    assert method_name(np.max) == "max"
    assert method_name(lambda windows, axis: windows.sum(axis)) == "<lambda>"


@pytest.mark.parametrize(
    ("dtype", "want"),
    [("?", "i8"), ("i1", "i8"), (">i4", "i8"), ("u1", "u8"), (">f2", ">f2"), ("f4", "f4")],
)
def test_the_dtype_of_a_sum(dtype: str, want: str) -> None:
    assert make_reducer("sum", np.dtype(dtype), 8).dtype == np.dtype(want)


def test_what_needs_whole_windows_has_a_limit() -> None:
    for method in ("median", np.max):
        with pytest.raises(PlanError, match=f"{2**40} bytes"):
            make_reducer(method, np.dtype("u1"), 2**40)
        make_reducer(method, np.dtype("u2"), 2**27)
        with pytest.raises(PlanError, match=f"{2**28 + 2} bytes"):
            make_reducer(method, np.dtype("u2"), 2**27 + 1)
    make_reducer("mean", np.dtype("u8"), 2**46)
    with pytest.raises(PlanError, match="samples"):
        make_reducer("mean", np.dtype("u8"), 2**46 + 1)


@pytest.mark.parametrize("function", [np.sort, np.cumsum, lambda _, axis: axis])
def test_functions_that_reduce_nothing(function: Any) -> None:
    with pytest.raises(PlanError, match="does not reduce windows"):
        make_reducer(function, np.dtype("u1"), 4)


def test_the_fraction_that_counts_of_a_function_of_ones_own() -> None:
    """What counts is the function's own affair."""
    for function in (np.argmax, np.max):
        with pytest.raises(PlanError, match="min_valid does not apply"):
            make_reducer(function, np.dtype("f8"), 4, min_valid=0.5)


def test_windows() -> None:
    window = Window((7, 4), (3, 2))
    assert window.cells == (3, 2)
    assert window.counts().tolist() == [[6, 6], [6, 6], [2, 2]]
    assert Window((0, 4), (3, 2)).counts().shape == (0, 2)
    covered = np.zeros(window.cells, int)
    for region, shape in window.regions():
        covered[region] += math.prod(shape)
    assert (covered == window.counts()).all()


def third(windows: Any, axis: int) -> Any:
    """Return the third lowest sample: there must be three."""
    return np.partition(windows, 2, axis=axis)[..., 2]


def test_a_function_of_ones_own_is_tried_on_a_whole_window() -> None:
    data = np.arange(16).reshape(4, 4)
    assert xpyramid.downsample(data, 2, third)[0].tolist() == [[4, 6], [12, 14]]
    with pytest.raises(PlanError, match=r"method 'third' fails for windows .* of 2 samples"):
        xpyramid.downsample(data, (1, 2), third)
    with pytest.raises(PlanError, match=r"shape \(1, 4\), it returned the shape \(1, 4\)"):
        xpyramid.downsample(data, 2, lambda windows, axis: windows)  # noqa: ARG005


def test_a_failure_in_a_partial_window_says_which_method() -> None:
    with pytest.raises(ValueError, match="kth") as caught:
        xpyramid.downsample(np.arange(5), 3, third)
    assert "in method 'third', given windows (cells, samples) of shape (1, 2)" in str(
        caught.value.__notes__
    )


def test_lists_of_labels_have_each_label_once() -> None:
    """However often they are merged: that is what bounds their memory."""
    labels = np.random.default_rng(0).integers(0, 3, (16, 16, 16), "u4")
    reducer = make_reducer("mode", labels.dtype, 16**3)
    state = reducer.chunk(labels, (2, 2, 2))
    for _ in range(3):
        state = reducer.combine(state, (2, 2, 2))
        ends, values, counts = state
        for first, last in pairwise([0, *ends.reshape(-1)]):
            assert np.all(np.diff(values[first:last].astype(int)) > 0)
        assert counts.sum() == labels.size
    assert len(values) == 3
