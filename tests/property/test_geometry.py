"""Shapes, positions and chunk boundaries are plain arithmetic."""

import math
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
import xarray as xr
from helpers import strategies as our
from helpers.strategies import Recipe
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid  # noqa: F401  registers .pyramid
from xpyramid.geometry.chunks import align, regular
from xpyramid.geometry.plan import Plan


@st.composite
def placed(draw: st.DrawFn) -> tuple[xr.DataArray, Recipe, list[tuple[float, float]]]:
    """Draw an array with coordinates, how to coarsen it, and (spacing, origin) of each dimension.

    Spacings and origins are dyadic, so that no arithmetic here is rounded.
    """
    shape = draw(our.shapes())
    recipe = draw(our.recipes(shape))
    # one sample says nothing about spacing: it is 1
    grids = [
        (
            draw(st.sampled_from([1.0, 0.25, -0.5, 3.0, 1024.0])) if n > 1 else 1.0,
            draw(st.sampled_from([0.0, -7.5, 0.125, 1e6])) if n else 0.0,
        )
        for n in shape
    ]
    coords = {
        dim: origin + spacing * np.arange(n)
        for dim, n, (spacing, origin) in zip(recipe.dims, shape, grids, strict=True)
    }
    return xr.DataArray(np.zeros(shape, "u1"), coords, recipe.dims, "field"), recipe, grids


@settings(max_examples=150)
@given(placed())
def test_each_level_lies_where_its_samples_are(
    case: tuple[xr.DataArray, Recipe, list[tuple[float, float]]],
) -> None:
    base, recipe, grids = case
    pyramid = base.pyramid.build(**recipe.options)
    assert len(pyramid) == len(recipe.steps) + 1
    totals = [(1,) * base.ndim, *recipe.totals]
    for k, (level, total) in enumerate(zip(pyramid, totals, strict=True)):
        assert pyramid.factors[k] == dict(zip(recipe.dims, total, strict=True))
        length = math.floor if recipe.boundary == "trim" else math.ceil
        assert level.shape == tuple(
            length(Fraction(n, f)) for n, f in zip(base.shape, total, strict=True)
        )
        assert level.shape == pyramid.plan.levels[k].shape
        for i, (f, (spacing, origin)) in enumerate(zip(total, grids, strict=True)):
            assert pyramid.plan.scale(k)[i] == spacing * f
            first_window = [origin + spacing * j for j in range(f)]
            assert pyramid.plan.translation(k)[i] == math.fsum(first_window) / f
            # on the straight line, also where the last window is cut off
            along = level.coords[recipe.dims[i]].values
            middle = origin + spacing * (f - 1) / 2
            assert along.tolist() == [middle + spacing * f * j for j in range(level.shape[i])]


@settings(max_examples=100)
@given(st.data())
def test_levels_and_plan_tell_the_same(data: st.DataObject) -> None:
    array, recipe = data.draw(our.cases())
    blocks = data.draw(st.none() | our.chunks(array.shape))
    pyramid = our.field(array, recipe, blocks).pyramid.build(**recipe.options)
    for level, planned in zip(pyramid, pyramid.plan.levels, strict=True):
        assert (level.shape, level.nbytes) == (planned.shape, planned.nbytes)


@settings(max_examples=100)
@given(st.data())
def test_the_blocks_of_levels_follow_those_of_the_base(data: st.DataObject) -> None:
    array, recipe = data.draw(our.cases())
    blocks = data.draw(our.chunks(array.shape))
    pyramid = our.field(array, recipe, blocks).pyramid.build(**recipe.options)
    for level, total in zip(pyramid.levels[1:], recipe.totals, strict=True):
        for sizes, base_sizes, f, n in zip(
            level.data.chunks, blocks, total, level.shape, strict=True
        ):
            edges, base_edges = {*accumulate(sizes)}, {*accumulate(base_sizes)}
            # One between two blocks of the base lies where the windows allow it, or next to that.
            assert all(any(abs(e * f - b) <= f / 2 for b in base_edges) for e in edges - {n})
            if 0 not in level.shape:
                assert {b // f for b in base_edges if b % f == 0 and 0 < b < n * f} <= edges


@settings(max_examples=60)
@given(st.data())
def test_where_nothing_is_cut_off_the_boundary_rule_does_not_matter(data: st.DataObject) -> None:
    recipe = data.draw(our.recipes(data.draw(our.shapes(max_dims=3))))
    shape = tuple(2 * f for f in recipe.totals[-1])
    plans = [_plan(shape, recipe, boundary) for boundary in ("pad", "trim", "exact")]
    for plan in plans:
        assert [level.shape for level in plan.levels[1:]] == [
            tuple(n // f for n, f in zip(shape, total, strict=True)) for total in recipe.totals
        ]
        assert plan.steps == recipe.steps


def _plan(shape: tuple[int, ...], recipe: Recipe, boundary: str) -> Plan:
    field = xr.DataArray(np.empty(shape, "u1"), dims=recipe.dims)
    options: dict[str, Any] = {**recipe.options, "boundary": boundary}
    plan: Plan = field.pyramid.build(**options).plan
    return plan


@settings(max_examples=200)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=9), st.integers(1, 30))
def test_aligned_boundaries_are_multiples_and_not_far_from_where_they_were(
    existing: list[int], unit: int
) -> None:
    aligned = align(existing, unit)
    assert sum(aligned) == sum(existing)
    assert all(c > 0 for c in aligned) or aligned == (0,)
    length, edges = sum(existing), [0, *accumulate(aligned)]
    assert all(edge % unit == 0 for edge in edges[:-1])
    old = [0, *accumulate(existing)]
    for edge in edges:
        assert min(abs(edge - other) for other in old) <= unit / 2
    for other in old:  # but those near the end may have nowhere to go
        assert min(abs(edge - other) for edge in edges) <= unit / 2 or length - other < unit
    assert align(aligned, unit) == aligned


@settings(max_examples=60)
@given(st.integers(0, 200), st.integers(1, 50))
def test_a_regular_grid_is_aligned(length: int, chunk: int) -> None:
    grid = regular(length, chunk)
    assert sum(grid) == length
    assert set(grid[:-1]) <= {chunk}
    assert 0 < grid[-1] <= chunk or grid == (0,)
    assert align(grid, chunk) == grid
