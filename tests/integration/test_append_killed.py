"""Images that grow, by a process that is killed at many steps: as long as before, or finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from helpers.killed_process import killed_everywhere
from helpers.small_image import leftovers
from zarr.storage import FsspecStore

import xpyramid
from xpyramid import errors

pytestmark = [pytest.mark.once, pytest.mark.slow]

DATA = np.random.default_rng(0).integers(1, 1000, (5, 4, 2)).astype("u2")
FILM = xr.DataArray(DATA, {"t": 0.5 * np.arange(5)}, ("t", "y", "x"), "film")
STACK = FILM.rename(t="z").drop_vars("z")


def first(directory: Path, kind: str) -> None:
    """Write what is there before."""
    array, factor = (STACK[:3], 2) if kind == "z" else (FILM[:3], {"y": 2, "x": 2})
    chunks = 2 if kind != "t" else {"t": 1, "y": 2, "x": 2}
    array.pyramid.to_ome_zarr(
        directory / "out.zarr", levels=2, factor=factor, chunks=chunks, progress=False,
        version="0.4" if kind == "v2" else "0.5",
    )  # fmt: skip


def grow(directory: Path, array: xr.DataArray = FILM[3:], **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        array.pyramid.append(
            directory / "out.zarr", dim=str(array.dims[0]), progress=False, **options
        )


def grow_stack(directory: Path, **options: Any) -> None:
    grow(directory, STACK[3:], **options)


def grow_in_place(directory: Path, **options: Any) -> None:
    store = FsspecStore.from_url(
        f"file://{directory}/out.zarr", storage_options={"auto_mkdir": True}
    )
    with dask.config.set(scheduler="sync"):
        FILM[3:].pyramid.append(store, progress=False, **options)


def frame_by_frame(directory: Path, **_: Any) -> None:
    with (
        dask.config.set(scheduler="sync"),
        xpyramid.Appender(directory / "out.zarr", "film") as out,
    ):
        while len(out) < 5:
            out.append(FILM[len(out)])


@pytest.mark.parametrize(
    ("kind", "action", "resume"),
    [("t", "grow", False), ("chunks", "grow", True), ("v2", "grow", False),
     ("z", "grow_stack", True), ("t", "grow_in_place", True), ("chunks", "frame_by_frame", False)],
)  # fmt: skip
def test_killed_at_many_steps(kind: str, action: str, resume: bool, tmp_path: Path) -> None:
    whole = STACK if kind == "z" else FILM
    first(tmp_path / "before", kind)
    states, every = set(), 1 if kind == "chunks" and action == "grow" else 3
    again = globals()[action]
    for directory in killed_everywhere(
        f"{__name__}:{action}", tmp_path / "before", tmp_path / "s", every
    ):
        store = directory / "out.zarr"
        kinds = {problem.kind for problem in xpyramid.verify(store, deep=True)}
        is_unfinished = "unfinished" in kinds
        states.add((is_unfinished, frozenset(kinds)))
        assert is_unfinished or kinds == set(), kinds
        if not is_unfinished:
            opened = xpyramid.open_pyramid(store, "film")
            assert opened[0].sizes[whole.dims[0]] in (3, 4, 5)
            if opened[0].sizes[whole.dims[0]] == 5:  # it was just about to end
                continue
        try:
            again(directory, resume=resume)
        except errors.ResumeError:  # of a call that was decided already
            if resume:
                raise
        expected = whole.pyramid.build(
            levels=2, factor=2 if kind == "z" else {"y": 2, "x": 2}, dims=None
        )
        for level, wanted in zip(xpyramid.open_pyramid(store, "film"), expected, strict=True):
            np.testing.assert_array_equal(level, wanted)
        assert xpyramid.verify(store, deep=True) == []
        assert leftovers(directory) == []
    assert {is_unfinished for is_unfinished, _ in states} == {True, False}
