"""Sections of level 0, and regions that are joined: each sample is in one, once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xpyramid.geometry.sections import Sections, joined, make_sections, pieces

few = st.lists(st.integers(1, 7), min_size=1, max_size=3)


@st.composite
def shapes_and_lengths(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = tuple(draw(few))
    return shape, tuple(draw(st.integers(1, n)) for n in shape)


@given(shapes_and_lengths(), st.data())
def test_the_sections_that_a_region_touches(drawn: Any, data: st.DataObject) -> None:
    sections = Sections(*drawn)
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in sections.shape]
    region = tuple(slice(*pair) for pair in ends)
    counted = np.zeros(sections.shape, int)
    numbers = set()
    for number, part in sections.within(region):
        counted[part] += 1
        numbers.add(number)
        whole = sections.region(number)
        assert all(w.start <= p.start < p.stop <= w.stop for w, p in zip(whole, part, strict=True))
    expected = np.zeros(sections.shape, int)
    expected[region] = 1
    np.testing.assert_array_equal(counted, expected)
    assert sections.touched([region]) == numbers


@given(shapes_and_lengths(), st.integers(1, 9), st.data())
def test_how_large_sections_are(drawn: Any, most: int, data: st.DataObject) -> None:
    """Few of them, of whole objects, that grow where levels do; pieces of them hold no more."""
    shape, stored = drawn
    factors = tuple(data.draw(st.sampled_from([1, 2])) for _ in shape)
    sections = make_sections(shape, stored, factors, most)
    assert sections.lengths == shape  # such small ones are one
    size = data.draw(st.integers(1, 60))
    piece = pieces(shape, stored, factors, size)
    assert math.prod(piece) <= max(size, math.prod(stored))
    for length, n, end in zip(piece, stored, shape, strict=True):
        assert length % n == 0 or length == end


def test_sections_of_a_large_image() -> None:
    assert make_sections((512,) * 3, (64,) * 3, (16,) * 3).lengths == (128,) * 3
    assert make_sections((100, 512, 512), (1, 512, 512), (1, 8, 8)).lengths == (8, 512, 512)
    assert make_sections((4096,) * 3, (64,) * 3, (16,) * 3).total == 64


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), unique=True))
def test_regions_are_joined(cells: list[tuple[int, ...]]) -> None:
    regions = joined([tuple(slice(2 * i, 2 * i + 2) for i in cell) for cell in cells])
    counted = np.zeros((8, 8, 8), int)
    for region in regions:
        counted[region] += 1
    expected = np.zeros((4, 4, 4), int)
    for cell in cells:
        expected[cell] = 1
    np.testing.assert_array_equal(counted, np.kron(expected, np.ones((2, 2, 2), int)))


def test_a_box_is_one_region() -> None:
    cells = np.ndindex(3, 2, 4)
    (region,) = joined([tuple(slice(i, i + 1) for i in cell) for cell in cells])
    assert region == (slice(0, 3), slice(0, 2), slice(0, 4))
