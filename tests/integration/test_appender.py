"""Frames, one after the other: the image is whole after each."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from helpers.counting_store import CountingStore
from helpers.quick import quick_if
from helpers.stores import KINDS, empty_store
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.growth import session
from xpyramid.store import documents

FRAMES = np.random.default_rng(0).integers(1, 60000, (6, 40, 30)).astype("u2")


@pytest.mark.parametrize("kind", quick_if(lambda kind: kind in ("local", "icechunk"), KINDS))
def test_whole_after_each_frame(kind: str, tmp_path: Path) -> None:
    store = empty_store(kind, tmp_path)
    with xpyramid.Appender(store, "film", levels=3, chunks=(1, 16, 16)) as out:
        for i, frame in enumerate(FRAMES, 1):
            out.append(frame)
            assert len(out) == i
            opened = xpyramid.open_pyramid(store, "film")
            assert [level.sizes["t"] for level in opened] == [i, i, i]
            np.testing.assert_array_equal(opened[0], FRAMES[:i])
            assert xpyramid.verify(store, deep=True) == []
    assert xpyramid.verify(store, deep=True) == []
    whole = xr.DataArray(FRAMES, dims=("t", "y", "x"), name="film")
    at_once = MemoryStore()
    whole.pyramid.to_ome_zarr(at_once, levels=3, chunks=(1, 16, 16))
    pairs = zip(
        xpyramid.open_pyramid(store, "film"), xpyramid.open_pyramid(at_once, "film"), strict=True
    )
    for level, wanted in pairs:
        xr.testing.assert_identical(level.load(), wanted.load())


def test_channels_places_and_times(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "frame_dims": "cyx", "spacing": {"t": 0.5, "y": 0.2, "x": 0.2},
        "units": {"t": "s", "y": "um", "x": "um"}, "levels": 2, "omero": {"labels": ["a", "b"]},
    }  # fmt: skip
    with xpyramid.Appender(tmp_path / "a.zarr", **options) as out:
        out.append(np.stack([FRAMES[0], FRAMES[1]]))
        out.append(np.stack([FRAMES[2:4], FRAMES[3:5]]))  # two at once
        out.append(np.stack([FRAMES[0], FRAMES[1]]))
    opened = xpyramid.open_pyramid(tmp_path / "a.zarr")
    assert opened[1].dims == ("t", "c", "y", "x")
    assert opened[1].t.values.tolist() == [0, 0.5, 1, 1.5]
    assert opened.metadata["omero"]["channels"][1]["label"] == "b"
    with xpyramid.Appender(tmp_path / "a.zarr", spacing={"t": 0.5}) as out:  # goes on
        out.append(np.stack([FRAMES[0], FRAMES[1]]))
    assert xpyramid.open_pyramid(tmp_path / "a.zarr")[1].t.values.tolist() == [0, 0.5, 1, 1.5, 2]
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []


def test_times_that_are_said(tmp_path: Path) -> None:
    start = np.datetime64("2026-01-01T00:00:00", "ns")
    with xpyramid.Appender(tmp_path / "a.zarr", "film", levels=2) as out:
        for i, seconds in enumerate([0, 5, 9, 30]):
            out.append(FRAMES[i], start + np.timedelta64(seconds, "s"))
    t = xpyramid.open_pyramid(tmp_path / "a.zarr", "film")[1].t
    assert ((t - t[0]) / np.timedelta64(1, "s")).values.tolist() == [0, 5, 9, 30]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "python", "mixed"])
def test_times_of_any_resolution(unit: str, tmp_path: Path) -> None:
    seconds = [0, 5, 9.5, 30] if unit not in ("s",) else [0, 5, 9, 30]
    begin = datetime(2026, 1, 1, 10)
    times = [begin + timedelta(seconds=second) for second in seconds]
    units = ["s", "us", "ms", "ns"] if unit == "mixed" else [unit] * 4
    with xpyramid.Appender(tmp_path / "a.zarr", levels=2) as out:
        for frame, time, one in zip(FRAMES, times, units, strict=False):
            out.append(frame, time if one == "python" else np.datetime64(time, one))
    t = xpyramid.open_pyramid(tmp_path / "a.zarr")[1].t
    assert t.values.tolist() == np.array(times, "datetime64[ns]").tolist()


def test_frames_of_xarray(tmp_path: Path) -> None:
    film = xr.DataArray(
        FRAMES, {"t": [0, 1, 2, 3, 4, 5], "y": 0.5 * np.arange(40)}, ("t", "y", "x"), "film"
    )
    with xpyramid.Appender(tmp_path / "a.zarr", "film", levels=2) as out:
        for frame in film:
            out.append(frame.chunk({"y": 20}))
    xr.testing.assert_identical(xpyramid.open_pyramid(tmp_path / "a.zarr", "film")[0].load(), film)


def test_slices_of_a_stack(tmp_path: Path) -> None:
    with pytest.raises(errors.PlanError, match="a list with an entry for each step"):
        xpyramid.Appender(tmp_path / "a.zarr", dim="z", levels=2, factor=2).append(FRAMES[0])
    step = [{"z": 2, "y": 2, "x": 2}]
    with xpyramid.Appender(
        tmp_path / "a.zarr", dim="z", levels=2, factor=step, chunks={"y": 8, "x": 8}
    ) as out:
        for frame in FRAMES:
            out.append(frame)
            assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []
    opened = xpyramid.open_pyramid(tmp_path / "a.zarr")
    expected = xr.DataArray(FRAMES, dims=("z", "y", "x")).pyramid.build(levels=2, factor=2)
    np.testing.assert_array_equal(opened[1], expected[1])


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    with pytest.raises(errors.PlanError, match="frame_dims"):
        xpyramid.Appender(store, frame_dims="tyx")
    with pytest.raises(errors.OptionError, match="shards"):
        xpyramid.Appender(store, shard=4)  # type: ignore[call-arg]
    with xpyramid.Appender(store, levels=2) as out:
        with pytest.raises(errors.AxisError, match="frame_dims"):
            out.append(FRAMES)
        assert len(out) == 0
        out.append(FRAMES[0])
        for frame, kind in (
            (FRAMES[0][:7], errors.AxisError), (FRAMES[0].astype("f4"), errors.DtypeError),
            (FRAMES[0][0], errors.AxisError),
        ):  # fmt: skip
            with pytest.raises(kind):
                out.append(frame)
        out.append(FRAMES[1])
    with pytest.raises(ValueError, match="closed"):
        out.append(FRAMES[2])
    np.testing.assert_array_equal(xpyramid.open_pyramid(store)[0], FRAMES[:2])
    assert xpyramid.verify(store, deep=True) == []


def test_a_loop_that_breaks_off_leaves_what_it_had(tmp_path: Path) -> None:
    def record() -> None:
        with xpyramid.Appender(tmp_path / "a.zarr", levels=2) as out:
            for frame in FRAMES[:3]:
                out.append(frame)
            raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError):
        record()
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "a.zarr")[0], FRAMES[:3])
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []


def test_a_frame_costs_the_same_however_many_there_are() -> None:
    store = CountingStore(MemoryStore())
    costs = []
    with xpyramid.Appender(store, "film", levels=2, chunks=(1, 16, 16)) as out:
        for i in range(24):
            store.log.clear()
            out.append(FRAMES[i % 6])
            costs.append([sum(one.what == what for one in store.log) for what in ("get", "set")])
    assert all(cost == costs[4] for cost in costs[3:]), costs


class _Looks:
    """Counts how often a directory below `root` is listed, or a file there opened.

    Whatever else a process does meanwhile, such as compiling kernels, does not count.
    """

    root, count = "", 0

    @classmethod
    def hook(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if cls.root and event in ("os.scandir", "os.listdir", "open"):
            cls.count += str(arguments[0]).startswith(cls.root)


sys.addaudithook(_Looks.hook)


def test_on_a_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Looks, "root", str(tmp_path))
    costs = []
    with (
        dask.config.set(scheduler="sync"),  # threads that meet may look once more
        xpyramid.Appender(tmp_path / "a.zarr", levels=2, chunks=(1, 16, 16)) as out,
    ):
        for i in range(24):
            before = _Looks.count
            out.append(FRAMES[i % 6])
            costs.append(_Looks.count - before)
    assert costs[4] > 0
    assert all(cost == costs[4] for cost in costs[3:]), costs


def test_who_opens_the_image_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, put, seen = tmp_path / "a.zarr", session.put, set[int]()

    def looking(place: Any, changed: Any) -> None:
        for key, document in changed.items():
            put(place, {key: document})
            lengths = {level.sizes["t"] for level in xpyramid.open_pyramid(store)}
            assert len(lengths) == 1
            seen.update(lengths)

    with xpyramid.Appender(store, levels=2, spacing={"t": 0.5}) as out:
        out.append(FRAMES[0])
        for module in (session, documents):
            monkeypatch.setattr(module, "put", looking)
        for frame in FRAMES[1:4]:
            out.append(frame)
    assert seen == {1, 2, 3, 4}


@pytest.mark.parametrize(
    "options", [{"chunks": (4, 16, 16)}, {"chunks": 16, "shards": {"t": 4, "y": 32, "x": 32}}]
)
def test_chunks_that_are_shorter_than_asked_are_named(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with xpyramid.Appender(tmp_path / "a.zarr", levels=2, **options) as out:
        with pytest.warns(UserWarning, match="have the length 1 along 't', not 4"):
            out.append(FRAMES[0])
        out.append(FRAMES[1])
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []


def test_coordinates_that_are_not_stored_are_named(tmp_path: Path) -> None:
    with xpyramid.Appender(tmp_path / "a.zarr", levels=2) as out:
        out.append(FRAMES[0])
        frames = xr.DataArray(FRAMES[1:3], {"gain": ("t", [1.0, 2.0])}, ("t", "y", "x"))
        with pytest.warns(UserWarning, match="'gain' of the new samples is not stored"):
            out.append(frames)
