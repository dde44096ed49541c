"""What is taken from chunks, against NumPy's own indexing."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpyramid.lazy.selections import Outer, Points, Selection

Array = np.ndarray[Any, Any]


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """Return an array of numbers that differ, its chunks, and how many of them an object has."""
    ndim = draw(st.integers(1, 3))
    lengths = st.tuples(*[st.integers(1, 9)] * ndim)
    shape = draw(lengths)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return numbers, draw(st.tuples(*[st.integers(1, 5)] * ndim)), draw(lengths)


def along(length: int) -> st.SearchStrategy[Any]:
    indexes = st.lists(st.integers(-length, length - 1), max_size=6)
    return st.slices(length) | indexes.map(lambda listed: np.array(listed, np.int64))


def assembled(
    selection: Selection, array: Array, chunks: tuple[int, ...], grid: tuple[int, ...]
) -> Array:
    """Return what is selected, put together from chunks."""
    out = np.full(selection.shape, -1)
    seen = set()
    for index, pieces in selection.by_object(grid):
        for piece in pieces:
            assert index == tuple(c // n for c, n in zip(piece.chunk, grid, strict=True))
            assert piece.chunk not in seen
            seen.add(piece.chunk)
            starts = [c * n for c, n in zip(piece.chunk, chunks, strict=True)]
            padded = np.full(chunks, -2)
            part = array[tuple(slice(s, s + n) for s, n in zip(starts, chunks, strict=True))]
            padded[tuple(map(slice, part.shape))] = part
            if sum(piece.chunk) % 2:
                selection.put(piece, padded, out)
            else:  # one sample after the other
                selection.fill(piece, -3, out)
                assert (out == -3).any()
                selection.put(piece, padded, out)
    assert len(seen) == selection.count
    return out


@settings(max_examples=150)
@given(arrays(), st.data())
def test_outer(drawn: tuple[Array, Any, Any], data: st.DataObject) -> None:
    array, chunks, grid = drawn
    key = [data.draw(along(n)) for n in array.shape]
    lines = [
        np.arange(n)[part] if isinstance(part, slice) else part % n
        for part, n in zip(key, array.shape, strict=True)
    ]
    selection = Outer(key, array.shape, chunks)
    expected = array[np.ix_(*lines)]
    assert selection.shape == expected.shape
    np.testing.assert_array_equal(assembled(selection, array, chunks, grid), expected)
    touched = product(*({i // n for i in line.tolist()} for line, n in zip(lines, chunks)))  # noqa: B905
    assert selection.count == len([*touched])


@settings(max_examples=100)
@given(arrays(), st.data())
def test_points(drawn: tuple[Array, Any, Any], data: st.DataObject) -> None:
    array, chunks, grid = drawn
    count = data.draw(st.integers(1, 8))
    key = [
        np.array(data.draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count)))
        for n in array.shape
    ]
    if data.draw(st.booleans()):
        key[0] = key[0][:, None]
    selection = Points(key, array.shape, chunks)
    np.testing.assert_array_equal(
        assembled(selection, array, chunks, grid), array[tuple(key)]
    )  # fmt: skip


@pytest.mark.parametrize("index", [7, -8])
def test_beyond_the_array(index: int) -> None:
    for kind in (Outer, Points):
        with pytest.raises(IndexError, match=f"{index} is out of bounds .* 7 samples"):
            kind([np.array([index])], (7,), (3,))


def test_chunks_that_are_not_touched_are_not_listed() -> None:
    selection = Outer([slice(10**12, 10**12 + 2)], (10**15,), (1,))
    assert [index for index, _ in selection.by_object((1,))] == [(10**12,), (10**12 + 1,)]
    assert Outer([slice(0, 0)], (5,), (2,)).count == 0
