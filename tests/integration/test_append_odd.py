"""Odd things that happen while images grow: stores that fail, coordinates of all kinds."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from helpers.quick import quick_if
from helpers.stores import empty_store
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import xpyramid
from xpyramid import errors
from xpyramid.growth import session
from xpyramid.writer.sinks import ZarrSink

FRAMES = np.random.default_rng(0).integers(1, 60000, (5, 12, 10)).astype("u2")
OPTIONS: dict[str, Any] = {
    "levels": 2, "factor": {"y": 2, "x": 2}, "chunks": {"t": 1, "y": 8, "x": 8}, "progress": False,
}  # fmt: skip


class Interrupted(BaseException):
    """What a user does who presses a key."""


class FailingStore(WrapperStore[Any]):
    """A store that fails once, after so many objects."""

    left: int | None = None

    async def set(self, key: str, value: Buffer, *args: Any) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Interrupted
        await self._store.set(key, value, *args)


def film(**coords: Any) -> xr.DataArray:
    places = {"t": 0.5 * np.arange(5), "y": np.arange(12.0), "x": np.arange(10.0), **coords}
    return xr.DataArray(FRAMES, places, ("t", "y", "x"), "film")


def check_same(store: Any, array: xr.DataArray, **options: Any) -> None:
    at_once = MemoryStore()
    array.pyramid.to_ome_zarr(at_once, **{**OPTIONS, **options})
    pairs = zip(
        xpyramid.open_pyramid(store, "film"), xpyramid.open_pyramid(at_once, "film"), strict=True
    )
    for level, wanted in pairs:
        xr.testing.assert_identical(level.load(), wanted.load())
    assert xpyramid.verify(store, deep=True) == []


def appended_with_a_failure(place: Any, after: int, dim: str, *, again: bool) -> bool:
    """Append frames of which one fails; return whether it did."""
    step = {"z": 2, "y": 2, "x": 2}
    options: dict[str, Any] = (
        {"dim": "z", "factor": [step], "chunks": 2}
        if dim == "z"
        else {"chunks": (2, 8, 8), "levels": 2}
    )
    spacing = {dim: 0.5, "y": 1.0, "x": 1.0}
    store, fails = FailingStore(place), False
    with xpyramid.Appender(store, "film", spacing=spacing, frame_dims=("y", "x"), **options) as out:
        out.append(FRAMES[:2])  # so that chunks hold two of them
        out.append(FRAMES[2])
        store.left = after
        try:
            out.append(FRAMES[3])
        except Interrupted:
            fails = True
        store.left = None
        assert len(out) == 3 if fails else 4
        if fails and again:
            out.append(FRAMES[3])
    whole = film()[: 3 + (again or not fails)].rename(t=dim)
    factor = step if dim == "z" else {"y": 2, "x": 2}
    check_same(place, whole, factor=factor, chunks=options["chunks"])
    return fails


@pytest.mark.parametrize(
    ("dim", "again", "after"),
    quick_if(
        lambda *case: case[0] == "t" or case[-1] == 42,
        [("t", True, 13), ("t", True, 15), ("t", False, 7), ("t", False, 13), ("t", False, 15),
         ("z", False, 10), ("z", False, 42), ("z", True, 12)],
    ),
)  # fmt: skip
def test_a_frame_that_fails_leaves_no_trace(
    dim: str, again: bool, after: int, tmp_path: Path
) -> None:
    with dask.config.set(scheduler="sync"):
        assert appended_with_a_failure(LocalStore(tmp_path / "a.zarr"), after, dim, again=again)


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("dim", ["t", "z"])
def test_a_frame_that_fails_at_many_places(dim: str, again: bool, tmp_path: Path) -> None:
    after, every = 0, 2 if dim == "t" else 5
    with dask.config.set(scheduler="sync"):
        while appended_with_a_failure(
            LocalStore(tmp_path / f"{after}.zarr"), after, dim, again=again
        ):
            after += every
    assert after > 15


START = np.datetime64("2020-01-01", "ns")
ALONG: dict[str, Any] = {
    "name": np.array(["a", "b", "cc", "ddd", "eeee"]), "ok": [True, False, True, True, False],
    "when": START + np.array([3, 0, 1, 5, 2]).astype("m8[h]"), "gain": [0.0, np.nan, 1, 2, 0.5],
}  # fmt: skip


def test_other_coordinates_frame_by_frame(tmp_path: Path) -> None:
    array = film().assign_coords({name: ("t", values) for name, values in ALONG.items()})
    array = array.assign_coords(drift=(("x", "t"), np.random.default_rng(2).random((10, 5))))
    array[:2].pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    with xpyramid.Appender(tmp_path / "a.zarr", "film") as out:
        for i in range(2, 5):
            out.append(array[i : i + 1])
    check_same(tmp_path / "a.zarr", array)


def test_times_that_cannot_be_counted_in_the_units_there_are(tmp_path: Path) -> None:
    array = film(t=START + np.array([0, 86400, 172800, 259201, 345600]).astype("m8[s]"))
    array[:2].pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    with pytest.raises(errors.AxisError, match="days since 2020"):
        array[2:].pyramid.append(tmp_path / "a.zarr")


def test_numbers_are_packed_as_those_before_them(tmp_path: Path) -> None:
    array = (film() * np.float32(0.5)).rename("film")
    array.encoding = {"dtype": "u2", "scale_factor": 0.5, "add_offset": 0.0, "_FillValue": 0}
    array[:3].pyramid.to_ome_zarr(tmp_path / "a.zarr", dtype="source", **OPTIONS)
    with pytest.raises(errors.PlanError, match="holds packed integers, with scale_factor"):
        array[3:].astype("u2").pyramid.append(tmp_path / "a.zarr")
    array[3:].pyramid.append(tmp_path / "a.zarr")
    check_same(tmp_path / "a.zarr", array, dtype="source")


def test_samples_of_another_byte_order(tmp_path: Path) -> None:
    for part in (film()[:3], film()[3:]):
        big = part.astype(">u2").rename("film")
        big.pyramid.to_ome_zarr(tmp_path / "a.zarr", append_dim="t", **OPTIONS)
    check_same(tmp_path / "a.zarr", film())


def test_a_store_that_cannot_be_written_to(tmp_path: Path) -> None:
    film()[:3].pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    store = LocalStore(tmp_path / "a.zarr", read_only=True)
    with pytest.raises(errors.NotWritableError):
        film()[3:].pyramid.append(store)
    with pytest.raises(errors.NotWritableError):
        xpyramid.Appender(store, "film")


def test_a_call_that_breaks_off_in_a_session(tmp_path: Path, monkeypatch: Any) -> None:
    store = empty_store("icechunk", tmp_path)
    film()[:3].pyramid.to_ome_zarr(store, **OPTIONS)
    with monkeypatch.context() as patched:
        patched.setattr(session, "finish_levels", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            film()[3:].pyramid.append(store)
    for level in xpyramid.open_pyramid(store, "film"):  # arrays are as long as they were
        assert level.sizes["t"] == 3
    film()[3:].pyramid.append(store)
    check_same(store, film())


def test_slices_share_the_chunks_of_their_coordinates(tmp_path: Path) -> None:
    step = {"z": 2, "y": 2, "x": 2}
    with xpyramid.Appender(tmp_path / "a.zarr", dim="z", factor=[step], spacing=1.0) as out:
        for frame in FRAMES:
            out.append(frame)
    assert [path.name for path in (tmp_path / "a.zarr" / "0" / "z" / "c").iterdir()] == ["0"]
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []


def test_a_first_frame_that_fails_may_come_again(tmp_path: Path, monkeypatch: Any) -> None:
    with xpyramid.Appender(tmp_path / "a.zarr", "film", levels=2) as out:
        with monkeypatch.context() as patched:
            patched.setattr(ZarrSink, "__call__", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                out.append(FRAMES[0])
        out.append(FRAMES[0])
        out.append(FRAMES[1])
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "a.zarr", "film")[0], FRAMES[:2])
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []


TOLD: dict[str, list[Any]] = {
    "numbers": [0, 1.5, 2.25],
    "seconds": [np.datetime64("2020-01-01T00:00:00"), np.datetime64("2020-01-01T00:00:00.125")],
    "datetime": [datetime(2020, 1, 1), datetime(2020, 1, 2, 3, 4, 5, 6)],
    "durations": [timedelta(0), timedelta(seconds=3)],
}  # fmt: skip


@pytest.mark.parametrize("kind", TOLD)
def test_times_that_are_finer_than_the_first(kind: str, tmp_path: Path) -> None:
    with xpyramid.Appender(tmp_path / "a.zarr", levels=1) as out:
        for frame, told in zip(FRAMES, TOLD[kind], strict=False):
            out.append(frame, told)
        with pytest.raises(errors.AxisError, match="one for each sample"):
            out.append(FRAMES[0], TOLD[kind])
    stored = xpyramid.open_pyramid(tmp_path / "a.zarr")[0].t.values
    np.testing.assert_array_equal(stored, np.array(TOLD[kind]).astype(stored.dtype))


@pytest.mark.parametrize("times", [[1.0, np.nan, 3.0], ["c", "d", "d"]])
def test_coordinates_that_do_not_go_on(times: Any, tmp_path: Path) -> None:
    first = ["a", "b"] if times[0] == "c" else [-1.0, 0.0]
    film()[:2].assign_coords(t=first).pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    with pytest.raises(errors.AxisError):
        film()[2:].assign_coords(t=times).pyramid.append(tmp_path / "a.zarr")


def test_only_the_process_that_made_it_appends(tmp_path: Path, monkeypatch: Any) -> None:
    with xpyramid.Appender(tmp_path / "a.zarr", levels=1) as out:
        out.append(FRAMES[0])
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: -1)  # as after a fork
            with pytest.raises(errors.TargetBusyError, match="forked"):
                out.append(FRAMES[1])
        out.append(FRAMES[1])
    assert xpyramid.open_pyramid(tmp_path / "a.zarr")[0].sizes["t"] == 2
