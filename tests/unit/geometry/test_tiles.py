"""How the work is divided, without any data."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from xpyramid.errors import PlanError
from xpyramid.geometry import passes
from xpyramid.geometry.axes import AXIS_TYPES, AxisSpec
from xpyramid.geometry.chunks import clip_shards, parse_shards
from xpyramid.geometry.plan import Plan, budget, make_plan
from xpyramid.geometry.tiles import WAVE, Tiling, make_tiling

YX = ("y", "x")


def tiling(length: int = 8, **options: Any) -> Tiling:
    """Return how 100 x 70 samples of a byte in square objects are halved three times."""
    return make_tiling((100, 70), [(2, 2)] * 3, [(length, length)] * 4, 1, **options)


def plan(shape: tuple[int, ...], chunks: int, **options: Any) -> Plan:
    dims = "zyx"[-len(shape) :]
    axes = tuple(AxisSpec(dim, dim, AXIS_TYPES[dim], None, 1.0) for dim in dims)
    return make_plan(axes, shape, np.dtype("u2"), (chunks,) * len(shape), **options)


def test_the_nodes_of_a_level_cover_it_once() -> None:
    tree = tiling(leaf_bytes=300, tile_bytes=1500)
    for level in range(tree.top + 1):
        nodes = list(tree.nodes(level))
        assert len(nodes) == len(set(nodes)) == tree.count(level)
        cells = [
            cell
            for node in nodes
            for cell in product(*(range(r.start, r.stop) for r in tree.region(level, node)))
        ]
        assert sorted(cells) == list(product(*map(range, tree.level_shape(level))))


@pytest.mark.parametrize("length", [8, 24, 64])
def test_children_lie_under_their_node(length: int) -> None:
    tree = tiling(length)
    for level in range(1, tree.top + 1):
        for node in tree.nodes(level):
            children = [tree.base_region(level - 1, child) for child in tree.children(level, node)]
            samples = sum(math.prod(r.stop - r.start for r in child) for child in children)
            whole = tree.base_region(level, node)
            assert samples == math.prod(r.stop - r.start for r in whole)
            for child in children:
                for inner, outer in zip(child, whole, strict=True):
                    assert outer.start <= inner.start < inner.stop <= outer.stop


def test_leaves_and_tiles_are_as_large_as_allowed() -> None:
    assert (tiling().leaf, tiling().tile) == (3, 3)
    assert (tiling(workers=2).leaf, tiling(workers=2).tile) == (2, 2)  # level 3 has too few nodes
    tree = tiling(leaf_bytes=8 * 8, tile_bytes=16 * 16)
    assert (tree.leaf, tree.tile) == (0, 1)
    tree = tiling(leaf_bytes=1, tile_bytes=1)  # never smaller than a stored object
    assert (tree.leaf, tree.tile) == (0, 0)
    assert (tree.spans[0], tree.base_shape(1)) == ((8, 8), (16, 16))


def test_there_are_tiles_for_every_worker() -> None:
    for workers in (2, 4, 8):
        tree = tiling(workers=workers)
        assert tree.tile == 0 or tree.count(tree.tile) >= 4 * workers


def test_values_that_a_node_can_tell() -> None:
    """Those of whole windows, and of windows cut off at the end."""
    tree = make_tiling((100, 70), [(2, 2), (2, 2), (3, 3)], [(8, 8)] * 4, 1)
    assert [tree.base_shape(k) for k in range(4)] == [(8, 8), (16, 16), (96, 72), (96, 72)]
    assert [tree.last_complete_level(k) for k in range(4)] == [2, 2, 3, 3]
    for level in range(3):
        for index in tree.nodes(level):
            base = tree.base_region(level, index)
            for k in range(level, tree.last_complete_level(level) + 1):
                assert all(
                    part.start % f == 0 for part, f in zip(base, tree.factors(k), strict=True)
                )


def test_factors_and_objects_that_do_not_fit_each_other() -> None:
    tree = make_tiling((100,), [(3,), (2,)], [(5,), (4,), (7,)], 1)
    for level, objects in enumerate((5, 4, 7)):
        span, n = tree.spans[level][0], tree.level_shape(level)[0]
        assert span % objects == 0 or span == n
        if level < tree.top and span < n:
            assert span % tree.steps[level][0] == 0


def test_regions_are_rounded_outward() -> None:
    tree = tiling()  # of 100 x 70, in windows of 8
    assert tree.align((slice(9, 16), slice(65, None))) == (slice(8, 16), slice(64, 70))
    assert tree.align((slice(-1, None), slice(3, 3))) == (slice(96, 100), slice(0, 0))
    assert tree.limited_to((slice(None), slice(None))).count(0) == tree.count(0)
    assert tree.limited_to((slice(0, 1), slice(0, 1))).count(0) == 1


@pytest.mark.parametrize(
    "region", [(slice(0, 8),), (slice(0, 8),) * 3, (slice(8, 0, -1), slice(0, 8))]
)
def test_no_regions(region: tuple[slice, ...]) -> None:
    with pytest.raises(PlanError, match=r"accepted: a slice without a step for each of the 2 dim"):
        tiling().align(region)


def test_states_of_several_outputs_take_memory() -> None:
    one, three = tiling(), tiling(outputs=3)
    assert one.spans == three.spans
    assert one.memory(1) < three.memory(1) < 3 * one.memory(1)
    assert tiling(outputs=3, memory=one.memory(1)).tile < one.tile


def test_less_memory_makes_smaller_tiles() -> None:
    usual = tiling()
    less = tiling(memory=usual.memory(1) - 1)
    assert less.tile < usual.tile
    assert less.memory(1) < usual.memory(1)
    assert less.tasks() > usual.tasks()


def test_too_little_memory() -> None:
    need = tiling(leaf_bytes=1, tile_bytes=1).memory(1)
    assert tiling(memory=need).tile == 0
    with pytest.raises(PlanError, match=rf"shape \(8, 8\) needs about {need}; accepted: more mem"):
        tiling(memory=need - 1)
    with pytest.raises(PlanError, match="for 2 workers"):
        tiling(memory=2 * need - 1, workers=2)


@pytest.mark.parametrize("memory", ["abc", "12 parsecs", "", float("nan"), True, 0, [1]])
def test_no_amount_of_memory(memory: Any) -> None:
    with pytest.raises(PlanError, match="accepted: bytes, or text as '500 MB'"):
        budget(memory)


def test_amounts_of_memory() -> None:
    assert budget(None) is None
    assert budget("40 MB") == budget(40_000_000) == 40_000_000


def test_memory_does_not_depend_on_the_array() -> None:
    costs = [plan((n, 1000), 50, factor=[2, 2]).cost(workers=2) for n in (10_000, 100_000)]
    assert costs[1].tasks == 10 * costs[0].tasks
    objects = sum(math.prod(-(-n // 50) for n in (100_000 // f, 1000 // f)) for f in (1, 2, 4))
    graph_of_a_wave = passes.TASK_BYTES * min(WAVE, costs[1].tasks)
    grown = costs[1].memory - costs[0].memory
    assert 0 < grown < passes.RECORD_BYTES * objects + graph_of_a_wave


def test_bytes_are_exact() -> None:
    cost = plan((33, 17), 8, factor=[2, 3]).cost(workers=2)
    assert cost.bytes_read == 33 * 17 * 2
    assert cost.bytes_written == (33 * 17 + 17 * 9 + 6 * 3) * 2


def test_cost_of_a_budget_and_of_shards() -> None:
    p = replace(plan((4096, 4096), 64, factor=[2, 2, 2]), kind="labels")  # nothing is counted
    usual, small = p.cost(workers=2), p.cost(workers=2, memory="11 MB")
    assert small.memory <= 11_000_000 < usual.memory
    assert small.tasks > usual.tasks
    assert p.cost(workers=2, shards=1024).memory > usual.memory
    assert p.cost(workers=4).memory <= 2 * usual.memory


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        (16, (16, 16)),
        ({"x": 24}, (4, 24)),
        (-1, (52, 32)),
        ([8, -1], (8, 32)),
        ({"y": -1}, (52, 8)),
    ],
)
def test_shards(shards: Any, expected: tuple[int, ...]) -> None:
    assert parse_shards(shards, YX, (50, 30), (4, 8), [True, True]) == expected


def test_an_integer_is_for_space() -> None:
    dims, chunks = ("t", *YX), (1, 4, 4)
    assert parse_shards(8, dims, (5, 50, 30), chunks, [False, True, True]) == (1, 8, 8)


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (20, "20 along 'x' is not a multiple of the chunk length 8; accepted: 16 or 24"),
        ({"y": 3}, "3 along 'y' is not a multiple of the chunk length 4; accepted: 4"),
        ({"z": 8}, r"no dimension \['z'\]"),
        (0, "accepted: a length of at least 1"),
        (-2, "accepted: a length of at least 1"),
        ([8], "accepted: a length of at least 1"),
        ("8", "accepted: a length of at least 1"),
        (8.0, "accepted: a length of at least 1"),
    ],
)
def test_no_shards(shards: Any, message: str) -> None:
    with pytest.raises(PlanError, match=f"shards=.*{message}"):
        parse_shards(shards, YX, (50, 30), (4, 8), [True, True])


@pytest.mark.parametrize(
    ("shards", "chunks", "n", "expected"),
    [
        (16, 4, 50, 16),
        (16, 4, 13, 16),
        (16, 4, 11, 12),
        (16, 3, 3, 3),
        (16, 1, 1, 1),
        (16, 4, 0, 4),
    ],
)
def test_shards_of_small_levels(shards: int, chunks: int, n: int, expected: int) -> None:
    assert clip_shards((shards,), (chunks,), (n,)) == (expected,)
