"""Passes that make several outputs, go over a part of the base, or find levels that are there."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from helpers import oracle, strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from xpyramid import engine
from xpyramid.engine import Observer
from xpyramid.geometry.passes import Limits, Shape, SourceChunks, passes
from xpyramid.geometry.tiles import Region, Tiling, make_tiling
from xpyramid.reducers import Reducer, make_reducer, reduce_levels

Array = np.ndarray[Any, np.dtype[Any]]
Lengths = tuple[int, ...]
Method = tuple[str, dict[str, Any]]

graph_module = importlib.import_module("xpyramid.engine.graph")

#: Methods with their options that fit a dtype, of which the oracle knows each cell exactly.
EXACT: dict[str, list[Method]] = {
    "u1": [
        ("mean", {}),
        ("mean", {"ignore": 0}),
        ("mode", {}),
        ("mode", {"ignore": 0}),
        ("min", {}),
        ("max", {}),
        ("sum", {}),
        ("nearest", {}),
    ],
    "i2": [("mean", {}), ("mode", {}), ("max", {}), ("sum", {}), ("nearest", {})],
    "i8": [("mean", {}), ("mode", {}), ("max", {}), ("sum", {}), ("nearest", {})],
    "f4": [("min", {}), ("max", {}), ("nearest", {})],
}

#: What is drawn often; code is compiled for each dtype.
FEW = ["f4", "i8", "u1"]

#: Those of which it knows them but for rounding; here they are compared with themselves.
FLOATS: list[Method] = [
    ("mean", {}),
    ("mean", {"min_valid": 0.5}),
    ("mean", {"skipna": False}),
    ("sum", {}),
    ("max", {}),
]


@dataclass
class Target:
    """An array in memory that notes the regions that are written."""

    values: Array
    objects: Lengths
    calls: list[Region] = field(default_factory=list)

    def __call__(self, region: Region, values: Array) -> None:
        self.values[region] = values
        self.calls.append(region)

    def hits(self) -> Array:
        """Return how often each cell was written."""
        hits = np.zeros(self.values.shape, int)
        for region in self.calls:
            hits[region] += 1
        return hits

    def writers(self) -> Array:
        """Return how many calls have written to each stored object."""
        shape = [-(-n // c) for n, c in zip(self.values.shape, self.objects, strict=True)]
        writers = np.zeros(shape, int)
        for region in self.calls:
            pairs = zip(region, self.objects, strict=True)
            writers[tuple(slice(p.start // c, -(-p.stop // c)) for p, c in pairs)] += 1
        return writers


class CountingSource(engine.Source):
    """A base in memory that counts how often each sample is read."""

    def __init__(self, base: Array) -> None:
        super().__init__(xr.Variable(range(base.ndim), base))
        self.hits = np.zeros(base.shape, int)

    def read(self, region: Region) -> Array:
        self.hits[region] += 1
        return super().read(region)


@dataclass(frozen=True)
class Geometry:
    """The shape of a base, of its levels and of their stored objects, and how work is divided."""

    shape: Lengths
    steps: tuple[Lengths, ...]
    objects: Lengths
    blocks: strategies.Chunks | None
    leaf_bytes: int
    tile_bytes: int
    wave: int
    trim: bool

    @property
    def totals(self) -> list[Lengths]:
        """The cumulative factors of each level."""
        totals = [(1,) * len(self.shape)]
        for step in self.steps:
            totals.append(tuple(a * b for a, b in zip(totals[-1], step, strict=True)))
        return totals

    @property
    def levels(self) -> list[Lengths]:
        """The shapes of the levels that are written."""
        trimmed = [oracle.shape(self.shape, total, "trim") for total in self.totals]
        if self.trim and all(map(math.prod, trimmed)):
            return trimmed
        return [oracle.shape(self.shape, total) for total in self.totals]

    @property
    def samples(self) -> int:
        """The number of samples of the largest window."""
        return math.prod(self.totals[-1])

    def tiling(self, itemsize: int, region: Region | None = None) -> Tiling:
        return make_tiling(
            self.shape, self.steps, [self.objects] * len(self.totals), itemsize,
            leaf_bytes=self.leaf_bytes, tile_bytes=self.tile_bytes, region=region,
        )  # fmt: skip

    def targets(self, base: Array, reducer: Reducer) -> list[Target]:
        dtypes = [base.dtype, *[reducer.dtype] * len(self.steps)]
        pairs = zip(self.levels, dtypes, strict=True)
        return [Target(np.full(shape, 99, dtype), self.objects) for shape, dtype in pairs]

    def run(
        self, base: Array, outputs: Sequence[engine.Output], region: Region | None = None
    ) -> tuple[list[engine.Statistics], Array | None]:
        """Run a pass on one thread; return its statistics, and how often samples were read."""
        tiling = self.tiling(base.itemsize, region)
        source = counting = CountingSource(base)
        if self.blocks is not None:
            blocks = da.from_array(base, chunks=self.blocks, name=False)
            source = engine.DaskSource(blocks, tiling.base_shape(tiling.tile))
        with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="synchronous"):
            patch.setattr(graph_module, "WAVE", self.wave)
            summaries = engine.run([engine.Job(engine.Work(tiling, tuple(outputs)), source)])
            seen = [summary.statistics for summary in summaries]
        return seen, counting.hits if self.blocks is None else None


@st.composite
def geometries(draw: st.DrawFn, max_dims: int = 3) -> Geometry:
    shape: list[int] = []
    for _ in range(draw(st.integers(1, max_dims))):
        longest = 1500 // math.prod(shape)
        shape.append(draw(st.integers(1, max(1, min(40, longest)))))
    step = st.tuples(*[st.integers(1, 3)] * len(shape))
    return Geometry(
        shape=tuple(shape),
        steps=tuple(draw(st.lists(step, min_size=1, max_size=3))),
        objects=draw(st.tuples(*[st.integers(1, 9)] * len(shape))),
        blocks=draw(st.none() | strategies.chunks(tuple(shape))),
        leaf_bytes=draw(st.sampled_from([1, 100, 1000, 10**6])),
        tile_bytes=draw(st.sampled_from([1, 1000, 10**5])),
        wave=draw(st.sampled_from([1, 3, 1000])),
        trim=draw(st.booleans()),
    )


@st.composite
def regions(draw: st.DrawFn, shape: Lengths) -> Region:
    """Draw a region, which may be empty."""
    ends = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    return tuple(slice(*pair) for pair in ends)


def outputs_of(
    geometry: Geometry, base: Array, methods: Sequence[Method]
) -> tuple[list[engine.Output], list[list[Target]]]:
    """Return an output for each method, and the arrays that it writes."""
    reducers = [make_reducer(m, base.dtype, geometry.samples, **options) for m, options in methods]
    targets = [geometry.targets(base, reducer) for reducer in reducers]
    shapes = tuple(geometry.levels)
    outputs = [
        engine.Output(reducer, shapes, tuple(own), Observer(None, options.get("ignore")))
        for reducer, own, (_, options) in zip(reducers, targets, methods, strict=True)
    ]
    return outputs, targets


def check_same(targets: Sequence[Target], others: Sequence[Target]) -> None:
    for ours, theirs in zip(targets, others, strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values, strict=True)


@given(geometry=geometries(), data=st.data())
@settings(max_examples=40)
def test_several_outputs_of_one_pass_are_right(geometry: Geometry, data: st.DataObject) -> None:
    check_several_outputs(geometry, data, FEW)


@pytest.mark.slow
@given(geometry=geometries(), data=st.data())
@settings(max_examples=60)
def test_several_outputs_of_any_dtype_are_right(geometry: Geometry, data: st.DataObject) -> None:
    check_several_outputs(geometry, data, sorted(EXACT))


def check_several_outputs(geometry: Geometry, data: st.DataObject, dtypes: Sequence[str]) -> None:
    """Compare the levels of several methods, and their statistics, with the oracle's."""
    dtype = data.draw(st.sampled_from(dtypes))
    methods = data.draw(st.lists(st.sampled_from(EXACT[dtype]), min_size=2, max_size=4))
    base = data.draw(strategies.labels(geometry.shape, np.dtype(dtype)) if dtype != "f4" else
                     strategies.noise(geometry.shape, np.dtype(dtype)))  # fmt: skip
    outputs, targets = outputs_of(geometry, base, methods)
    seen, read = geometry.run(base, outputs)
    assert read is None or (read == 1).all()
    for (method, options), own, statistics in zip(methods, targets, seen, strict=True):
        assert all((target.hits() == 1).all() for target in own)
        for level, total in zip(own, geometry.totals, strict=True):
            kept = tuple(map(slice, level.values.shape))
            expected = base if level is own[0] else oracle.reduce(base, total, method, **options)
            np.testing.assert_array_equal(level.values, expected[kept])
        everywhere = tuple(slice(0, n) for n in base.shape)
        expected_statistics = Observer(None, options.get("ignore"))(everywhere, base)
        assert _plain(statistics) == _plain(expected_statistics)


def _plain(statistics: engine.Statistics) -> dict[int, Any]:
    return {
        channel: (one.low, one.high, one.keys.tolist(), one.counts.tolist())
        for channel, one in statistics.items()
    }


@pytest.mark.slow
@given(geometry=geometries(), data=st.data())
@settings(max_examples=15)
def test_outputs_do_not_depend_on_each_other(geometry: Geometry, data: st.DataObject) -> None:
    check_independence(geometry, data)


@pytest.mark.slow
@given(geometry=geometries(), data=st.data())
@settings(max_examples=40)
def test_many_outputs_do_not_depend_on_each_other(geometry: Geometry, data: st.DataObject) -> None:
    check_independence(geometry, data)


def check_independence(geometry: Geometry, data: st.DataObject) -> None:
    """Make outputs together and one by one, and compare."""
    methods = data.draw(st.lists(st.sampled_from(FLOATS), min_size=2, max_size=3))
    base = data.draw(strategies.noise(geometry.shape, np.dtype("f4")))
    together, targets = outputs_of(geometry, base, methods)
    geometry.run(base, together)
    alone, others = outputs_of(geometry, base, methods)
    for output in alone:
        geometry.run(base, [output])
    for ours, theirs in zip(targets, others, strict=True):
        check_same(ours, theirs)


@given(geometry=geometries(max_dims=2), data=st.data())
@settings(max_examples=20)
def test_whole_windows_of_several_outputs(geometry: Geometry, data: st.DataObject) -> None:
    """Methods that need all samples of a window at once, each level by a pass of its own."""
    geometry = Geometry(**{**vars(geometry), "steps": (geometry.totals[-1],)})
    base = data.draw(strategies.noise(geometry.shape, np.dtype("u2")))
    outputs, targets = [], []
    for method in ("median", "max", "mean"):
        reducer = make_reducer(method, base.dtype, geometry.samples)
        own = geometry.targets(base, reducer)
        outputs.append(engine.Output(reducer, tuple(geometry.levels), tuple(own)))
        targets.append((reducer, own))
    geometry.run(base, outputs)
    for reducer, (_, level) in targets:
        kept = tuple(map(slice, level.values.shape))
        expected = reduce_levels(base, geometry.steps, reducer)[0]
        np.testing.assert_array_equal(level.values, expected[kept], strict=True)


@given(geometry=geometries(), data=st.data())
@settings(max_examples=40)
def test_a_pass_over_a_region_gives_what_a_full_one_does(
    geometry: Geometry, data: st.DataObject
) -> None:
    check_region(geometry, data, FEW)


@pytest.mark.slow
@given(geometry=geometries(), data=st.data())
@settings(max_examples=100)
def test_a_pass_over_a_region_of_any_dtype(geometry: Geometry, data: st.DataObject) -> None:
    check_region(geometry, data, sorted(EXACT))


def check_region(geometry: Geometry, data: st.DataObject, dtypes: Sequence[str]) -> None:
    """Change a region, do it again, and compare with what is made anew."""
    dtype = data.draw(st.sampled_from(dtypes))
    methods = data.draw(
        st.lists(st.sampled_from(EXACT[dtype] + FLOATS * (dtype == "f4")), min_size=1, max_size=2)
    )
    draw_base = strategies.noise(geometry.shape, np.dtype(dtype))
    before, after = data.draw(draw_base), np.array(data.draw(draw_base))
    region = data.draw(regions(geometry.shape))
    changed = np.array(before)
    changed[region] = after[region]
    outputs, targets = outputs_of(geometry, before, methods)
    geometry.run(before, outputs)
    for own in targets:
        for target in own:
            target.calls.clear()
    seen, read = geometry.run(changed, outputs, region)
    rebuilt, expected = outputs_of(geometry, changed, methods)
    geometry.run(changed, rebuilt)
    aligned = geometry.tiling(changed.itemsize).align(region)
    tiling = geometry.tiling(changed.itemsize, region)
    touched = np.zeros(geometry.shape, int)
    touched[aligned] = 1
    assert read is None or (read == touched).all()
    for statistics, output in zip(seen, outputs, strict=True):
        assert output.observe is not None
        whole = output.observe(aligned, changed[aligned])
        assert _plain(statistics) == _plain(whole)
    for own, full in zip(targets, expected, strict=True):
        check_same(own, full)
        for level, target in enumerate(own):
            inside = np.zeros(target.values.shape, int)
            inside[tiling.coarse_region(aligned, level)] = 1
            assert (target.hits() == inside).all()  # nothing else, and each cell once
            assert (target.writers() <= 1).all()  # an object by one task, also where it is cut


@given(geometry=geometries(), data=st.data())
@settings(max_examples=60)
def test_the_nodes_above_a_region(geometry: Geometry, data: st.DataObject) -> None:
    region = data.draw(regions(geometry.shape))
    tiling = geometry.tiling(1, region)
    aligned = tiling.align(region)
    assert tiling.align(aligned) == aligned
    assert tiling.within == aligned
    for part, wide, f, n in zip(region, aligned, geometry.totals[-1], geometry.shape, strict=True):
        if part.start < part.stop:
            assert wide.start <= part.start
            assert part.stop <= wide.stop
            assert part.start - wide.start < f
            assert wide.stop - part.stop < f
            assert wide.stop % f == 0 or wide.stop == n
        else:
            assert wide.start == wide.stop
        assert wide.start % f == 0
    everything = geometry.tiling(1)
    for level in range(tiling.top + 1):
        nodes = list(tiling.nodes(level))
        assert len(nodes) == len(set(nodes)) == tiling.count(level)
        covered = np.zeros(everything.level_shape(level), int)
        for index in nodes:
            covered[tiling.region(level, index)] += 1
            if level:
                below = [
                    tiling.base_region(level - 1, child) for child in tiling.children(level, index)
                ]
                sizes = [math.prod(p.stop - p.start for p in part) for part in below]
                whole = tiling.base_region(level, index)
                assert sum(sizes) == math.prod(p.stop - p.start for p in whole)
        inside = np.zeros(everything.level_shape(level), int)
        inside[tiling.coarse_region(aligned, level)] = 1
        assert (covered == inside).all()


@given(geometry=geometries(), data=st.data())
@settings(max_examples=40)
def test_progress_comes_to_its_end(geometry: Geometry, data: st.DataObject) -> None:
    region = data.draw(st.none() | regions(geometry.shape))
    base = np.zeros(geometry.shape, "u1")
    outputs, _ = outputs_of(geometry, base, [("max", {}), ("sum", {})])
    tiling = geometry.tiling(1, region)
    work = engine.Work(tiling, tuple(outputs))
    levels = range(tiling.tile, tiling.top + 1)
    nodes = [(level, index) for level in levels for index in tiling.nodes(level)]
    assert work.nbytes == sum(map(work.written, nodes))


@given(geometry=geometries(max_dims=2), data=st.data())
@settings(max_examples=40)
def test_levels_that_are_there_are_not_written(geometry: Geometry, data: st.DataObject) -> None:
    base = data.draw(strategies.labels(geometry.shape, np.dtype("u1")))
    present = data.draw(st.sets(st.integers(0, len(geometry.steps))) | st.just({0}))
    (output,), (targets,) = outputs_of(geometry, base, [("mean", {})])
    sinks = tuple(None if k in present else target for k, target in enumerate(targets))
    geometry.run(base, [engine.Output(output.reducer, output.shapes, sinks)])
    for k, (target, total) in enumerate(zip(targets, geometry.totals, strict=True)):
        if k in present:
            assert target.calls == []
            continue
        kept = tuple(map(slice, target.values.shape))
        expected = base if k == 0 else oracle.mean(base, total)
        np.testing.assert_array_equal(target.values, expected[kept], strict=True)
        assert (target.hits() == 1).all()


@given(geometry=geometries(max_dims=2), data=st.data())
@settings(max_examples=40)
@pytest.mark.parametrize("method", ["mean", "median"])
def test_passes_make_what_is_not_there(
    method: str, geometry: Geometry, data: st.DataObject
) -> None:
    """Whatever is there already, and over a region as well as over all."""
    base = data.draw(strategies.labels(geometry.shape, np.dtype("u2")))
    present = data.draw(st.just({0}) | st.sets(st.integers(0, len(geometry.steps))))
    region = data.draw(st.none() | regions(geometry.shape))
    reducer = make_reducer(method, base.dtype, geometry.samples)
    targets = geometry.targets(base, reducer)
    found = list(
        passes(
            [Shape(shape, geometry.objects) for shape in geometry.levels], geometry.steps,
            [SourceChunks()], base.itemsize, Limits(1, None), holistic=reducer.holistic,
            present=present, region=region,
        )
    )  # fmt: skip
    for one in found:
        sinks = tuple(targets[k] if k in one.writes else None for k in one.levels)
        shapes = tuple(geometry.levels[k] for k in one.levels)
        work = engine.Work(one.tiling, (engine.Output(reducer, shapes, sinks),))
        with dask.config.set(scheduler="synchronous"):
            engine.run([engine.Job(work, CountingSource(base))])
    assert sorted(k for one in found for k in one.writes) == [
        k for k in range(len(targets)) if k not in present
    ]
    inside = tuple(slice(0, n) for n in base.shape) if region is None else region
    for k, (target, total) in enumerate(zip(targets, geometry.totals, strict=True)):
        if k in present:
            assert target.calls == []
            continue
        kept = tuple(map(slice, target.values.shape))
        expected = (base if k == 0 else oracle.reduce(base, total, method))[kept]
        pairs = zip(inside, total, strict=True)
        part = tuple(slice(p.start // f, -(-p.stop // f)) for p, f in pairs)
        if any(p.start == p.stop for p in inside):
            continue
        np.testing.assert_array_equal(target.values[part], expected[part], strict=True)
        assert target.hits().max(initial=0) <= 1
