"""The engine: tiles, waves and joins give what one reduction in memory gives, and write it once."""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from helpers import oracle, strategies
from helpers.quick import quick_if
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid
from xpyramid import engine
from xpyramid.geometry.tiles import make_tiling
from xpyramid.reducers import make_reducer, reduce_levels

Array = np.ndarray[Any, np.dtype[Any]]
Lengths = tuple[int, ...]

graph_module = importlib.import_module("xpyramid.engine.graph")

#: Method, dtype and options.
METHODS: list[tuple[str, str, dict[str, Any]]] = [
    ("mean", "u1", {}),
    ("mean", "u1", {"ignore": 0}),
    ("mean", "u8", {}),
    ("mean", "f4", {}),
    ("mean", "f4", {"min_valid": 0.5}),
    ("mean", "f4", {"skipna": False}),
    ("mean", "f8", {}),
    ("mean", "c8", {}),
    ("mode", "u2", {}),
    ("mode", "u4", {"ignore": 0}),
    ("max", "i2", {}),
    ("min", "f4", {"min_valid": 0.4}),
    ("nearest", "u1", {}),
    ("sum", "f4", {}),
    ("sum", "u1", {}),
]


@dataclass
class Target:
    """An array in memory that knows how often each of its cells is written."""

    shape: Lengths
    dtype: np.dtype[Any]
    objects: Lengths
    values: Array = field(init=False)
    hits: Array = field(init=False)

    def __post_init__(self) -> None:
        self.values = np.full(self.shape, 99, self.dtype)
        self.hits = np.zeros(self.shape, int)

    def __call__(self, region: tuple[slice, ...], values: Array) -> None:
        assert values.shape == tuple(part.stop - part.start for part in region)
        for part, length, n in zip(region, self.objects, self.shape, strict=True):
            assert part.start % length == 0
            assert part.stop % length == 0 or part.stop == n
        self.values[region] = values
        self.hits[region] += 1

    def check(self, expected: Array) -> None:
        """Check what is there, against values of which the last may be trimmed."""
        assert (self.hits == 1).all()
        kept = expected[tuple(slice(n) for n in self.shape)]
        np.testing.assert_array_equal(self.values, kept, strict=True)


@dataclass(frozen=True)
class Case:
    """An array, its reduction, and how the work on it is divided."""

    base: Array
    steps: tuple[Lengths, ...]
    objects: Lengths
    blocks: strategies.Chunks | None
    method: tuple[str, str, dict[str, Any]]
    leaf_bytes: int
    tile_bytes: int
    wave: int
    trim: bool


@st.composite
def cases(draw: st.DrawFn, methods: list[tuple[str, str, dict[str, Any]]] = METHODS) -> Case:
    shape: list[int] = []
    for _ in range(draw(st.integers(1, 4))):
        longest = 1500 // math.prod(shape)
        shape.append(draw(st.integers(1, max(1, min(23, longest)))))
    steps = st.lists(st.tuples(*[st.integers(1, 3)] * len(shape)), min_size=1, max_size=3)
    method = draw(st.sampled_from(methods))
    values = strategies.labels if method[0] == "mode" else strategies.noise
    base = draw(values(tuple(shape), np.dtype(method[1])))
    return Case(
        base=base,
        steps=tuple(draw(steps)),
        objects=draw(st.tuples(*[st.integers(1, 9)] * len(shape))),
        blocks=draw(st.none() | strategies.chunks(base.shape)),
        method=method,
        leaf_bytes=draw(st.sampled_from([1, 100, 1000, 10**6])),
        tile_bytes=draw(st.sampled_from([1, 1000, 10**5])),
        wave=draw(st.sampled_from([1, 3, 1000])),
        trim=draw(st.booleans()),
    )


def shapes_of(case: Case) -> list[Lengths]:
    """Return the shapes of all levels that are written."""
    totals = [(1,) * case.base.ndim]
    for step in case.steps:
        totals.append(tuple(a * b for a, b in zip(totals[-1], step, strict=True)))
    trimmed = [oracle.shape(case.base.shape, total, "trim") for total in totals]
    if case.trim and all(map(math.prod, trimmed)):
        return trimmed
    return [oracle.shape(case.base.shape, total) for total in totals]


def execute(case: Case, reducer: Any, steps: tuple[Lengths, ...], targets: list[Target]) -> None:
    """Run the engine on one thread, with waves as small as the case wants them."""
    tiling = make_tiling(
        case.base.shape, steps, [target.objects for target in targets], case.base.itemsize,
        leaf_bytes=case.leaf_bytes, tile_bytes=case.tile_bytes,
    )  # fmt: skip
    source = engine.Source(xr.Variable(range(case.base.ndim), case.base))
    if case.blocks is not None:
        blocks = da.from_array(case.base, chunks=case.blocks, name=False)
        source = engine.DaskSource(blocks, tiling.base_shape(tiling.tile))
    output = engine.Output(reducer, tuple(t.shape for t in targets), tuple(targets))
    work = engine.Work(tiling, (output,))
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="synchronous"):
        patch.setattr(graph_module, "WAVE", case.wave)
        engine.run([engine.Job(work, source)])


def make_targets(case: Case, shapes: list[Lengths], dtypes: list[np.dtype[Any]]) -> list[Target]:
    def clipped(shape: Lengths) -> Lengths:
        return tuple(min(c, n) for c, n in zip(case.objects, shape, strict=True))

    return [Target(s, d, clipped(s)) for s, d in zip(shapes, dtypes, strict=True)]


def reducer_of(case: Case) -> Any:
    method, _, options = case.method
    samples = math.prod(math.prod(step) for step in case.steps)
    return make_reducer(method, case.base.dtype, samples, **options)


@given(case=cases())
@settings(max_examples=40)
def test_levels_are_right_and_each_object_is_written_once(case: Case) -> None:
    check_levels(case)


@pytest.mark.slow
@given(case=cases())
@settings(max_examples=100)
def test_many_levels_are_right_and_each_object_is_written_once(case: Case) -> None:
    check_levels(case)


def check_levels(case: Case) -> None:
    """Run the engine, and compare what is written with what is reduced in memory."""
    reducer = reducer_of(case)
    expected = [case.base, *reduce_levels(case.base, case.steps, reducer)]
    dtypes = [case.base.dtype, *[reducer.dtype] * len(case.steps)]
    targets = make_targets(case, shapes_of(case), dtypes)
    execute(case, reducer, case.steps, targets)
    for target, values in zip(targets, expected, strict=True):
        target.check(values)


@given(case=cases([("median", "u2", {}), ("median", "f4", {})]))
@settings(max_examples=30)
def test_whole_windows(case: Case) -> None:
    """A level that is made from level 0 in one step, as the median is."""
    steps = (tuple(math.prod(fs) for fs in zip(*case.steps, strict=True)),)
    reducer = reducer_of(case)
    expected = reduce_levels(case.base, steps, reducer)
    shapes = shapes_of(case)
    targets = make_targets(case, [shapes[0], shapes[-1]], [case.base.dtype, reducer.dtype])
    execute(case, reducer, steps, targets)
    for target, values in zip(targets, [case.base, *expected], strict=True):
        target.check(values)


def _chunked(array: Array, blocks: strategies.Chunks) -> Any:
    return da.from_array(array, chunks=blocks, name=False)


def _as_it_is(array: Array, blocks: strategies.Chunks) -> Array:  # noqa: ARG001
    return array


@given(data=st.data())
@settings(max_examples=15)
@pytest.mark.parametrize("wrap", [_as_it_is, _chunked], ids=["numpy", "dask"])
@pytest.mark.parametrize("boundary", quick_if("pad".__eq__, ["pad", "trim"]))
def test_what_is_stored_is_what_is_lazy(
    wrap: Callable[..., Any], boundary: str, data: st.DataObject
) -> None:
    shape = data.draw(st.tuples(*[st.integers(9, 23)] * 2))
    method, dtype, options = data.draw(
        st.sampled_from([m for m in METHODS if m[0] != "sum"] + [("median", "u2", {})])
    )
    base = data.draw(strategies.noise(shape, np.dtype(dtype)))
    array = xr.DataArray(
        wrap(base, data.draw(strategies.chunks(shape))), dims=("y", "x"), name="field"
    )
    factor = st.fixed_dictionaries({"y": st.integers(2, 3), "x": st.integers(1, 3)})
    steps = data.draw(st.lists(factor, min_size=1, max_size=2))
    chunks = data.draw(st.integers(3, 9))
    pyramid = array.pyramid.build(
        factor=steps, method=method, boundary=boundary, chunks=chunks, **options
    )
    store: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="synchronous"):
        patch.setattr(graph_module, "WAVE", data.draw(st.sampled_from([1, 3, 1000])))
        pyramid.to_ome_zarr(store)
        for lazy, stored in zip(pyramid, xpyramid.open_pyramid(store, "field"), strict=True):
            np.testing.assert_array_equal(stored.values, lazy.values, strict=True)


@pytest.mark.parametrize("wrap", [_as_it_is, _chunked], ids=["numpy", "dask"])
def test_nothing_to_write(wrap: Callable[..., Any]) -> None:
    empty = wrap(np.empty((0, 8), "u2"), ((0,), (8,)))
    array = xr.DataArray(empty, dims=("y", "x"), name="field")
    store: dict[str, Any] = {}
    array.pyramid.to_ome_zarr(store, factor=[2])
    assert [level.shape for level in xpyramid.open_pyramid(store, "field")] == [(0, 8), (0, 4)]
