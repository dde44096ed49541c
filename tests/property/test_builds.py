"""Builds of one place, begun, computed and overtaken in any order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import xpyramid
from xpyramid import errors

DATA = np.arange(64, dtype="u2").reshape(8, 8)

#: A direct call, a Delayed that is made, and one of those made that is computed.
STEPS = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 3)),
    st.tuples(st.just("delay"), st.integers(0, 3)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("compute"), st.integers(0, 9)),
)


def write(store: Any, start: int, **options: Any) -> Any:
    array = xr.DataArray(DATA + np.uint16(start), dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=2, chunks=4, factor=2)
    with dask.config.set(scheduler="sync"):
        return pyramid.to_ome_zarr(store, **options)


def run(kind: str, steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "out.zarr")
        stores = {"disk": path, "memory": MemoryStore(), "in place": WrapperStore(LocalStore(path))}
        _run(stores[kind], kind, steps)


every_kind = pytest.mark.parametrize("kind", ["disk", "memory", "in place"])
sequences = st.lists(STEPS, min_size=2, max_size=7)


@every_kind
@settings(max_examples=4)
@example(steps=[("delay", 1), ("compute", 0), ("delay", 2), ("compute", 0), ("compute", 1)])
@example(steps=[("delay", 1), ("delay", 2), ("compute", 0), ("compute", 1), ("call", 3)])
@example(steps=[("delay", 1), ("resume", 0), ("compute", 0), ("call", 2), ("compute", 0)])
@given(steps=sequences)
def test_any_order_of_builds(kind: str, steps: list[tuple[str, int]]) -> None:
    run(kind, steps)


@pytest.mark.slow
@every_kind
@settings(max_examples=12)
@given(steps=sequences)
def test_any_order_of_many_builds(kind: str, steps: list[tuple[str, int]]) -> None:
    run(kind, steps)


def _run(store: Any, kind: str, steps: list[tuple[str, int]]) -> None:
    """Do the steps, and compare what is there with what should be."""
    tasks: list[tuple[int, Any]] = []
    begun: int | None = None  # which of the tasks is of the unfinished build
    published: int | None = None  # which of them is of the image
    start: int | None = None  # the first sample of the image
    for what, number in steps:
        if what == "call":
            write(store, number, mode="w")
            begun, published, start = None, None, number
        elif what == "delay":
            tasks.append((number, write(store, number, mode="w", compute=False)))
            begun = len(tasks) - 1
            if kind != "disk":
                published, start = None, None  # withdrawn until the next one is there
        elif what == "resume" and begun is not None:
            write(store, tasks[begun][0], mode="w", resume=True)
            begun, published, start = None, begun, tasks[begun][0]
        elif what == "compute" and tasks:
            which = number % len(tasks)
            task = tasks[which][1]
            if which == begun:
                task.compute(scheduler="sync")
                begun, published, start = None, which, tasks[which][0]
            elif which == published:
                task.compute(scheduler="sync")
            else:
                with pytest.raises(errors.ResumeError, match="is no longer there"):
                    task.compute(scheduler="sync")
        _check(store, start, is_unfinished=begun is not None)


def _check(store: Any, start: int | None, *, is_unfinished: bool) -> None:
    if start is None:
        with pytest.raises(errors.NotAPyramidError):
            xpyramid.open_pyramid(store, "field")
        return
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], DATA + start)
    kinds = {problem.kind for problem in xpyramid.verify(store, deep=True)}
    assert kinds == ({"unfinished"} if is_unfinished else set())
