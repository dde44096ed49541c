"""The four steps of the writer, each in a place of its own."""

from __future__ import annotations

import pickle
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors
from xpyramid.options import WriteOptions, resolve_options
from xpyramid.writer import session as steps

DATA = np.arange(256, dtype="u2").reshape(16, 16)


def sent(thing: Any) -> Any:
    """Return what arrives of something that is sent to another process."""
    return pickle.loads(pickle.dumps(thing))


def prepared(place: Path, data: Any = DATA, **options: Any) -> steps.Session:
    array = xr.DataArray(data, dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=3, chunks=4, factor=2)
    source = pyramid._source(None, None, None)
    return steps.prepare([source], place, resolve_options(WriteOptions, options))


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_preparing_touches_nothing(tmp_path: Path) -> None:
    prepared(tmp_path / "out.zarr")
    assert files(tmp_path) == []


def test_begin_here_run_there_publish_elsewhere(tmp_path: Path) -> None:
    session = steps.begin(sent(prepared(tmp_path / "out.zarr")))
    with pytest.raises(errors.NotAPyramidError, match="unfinished"):
        xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    with dask.config.set(scheduler="sync"):
        summaries = steps.run(sent(session))
    with pytest.raises(errors.NotAPyramidError, match="unfinished"):
        xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    steps.publish(sent(session), sent(summaries))
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    np.testing.assert_array_equal(opened[0], DATA)
    assert opened.metadata["omero"]["channels"][0]["window"]["max"] == 255
    assert not xpyramid.verify(tmp_path / "out.zarr", deep=True)


def test_parts_run_in_several_places_and_are_put_together(tmp_path: Path) -> None:
    session = steps.begin(prepared(tmp_path / "out.zarr"))
    (job,) = session.jobs
    tiling = job.work.tiling
    tiles = [(tiling.tile, index) for index in tiling.nodes(tiling.tile)]
    assert len(tiles) > 2
    with dask.config.set(scheduler="sync"):
        for part in (tiles[::2], tiles[1::2]):
            (seen,) = steps.run(sent(session), [part])
            assert (
                0 < seen.statistics[0].high - seen.statistics[0].low < 255
            )  # of a part of the base
    (array,) = [a for name, a in _levels(session) if name == "0"]
    np.testing.assert_array_equal(array[:], DATA)
    resumed = steps.begin(prepared(tmp_path / "out.zarr", resume=True))
    assert set(resumed.jobs[0].work.outputs[0].done) == set(tiles)
    with dask.config.set(scheduler="sync"):
        steps.publish(resumed, steps.run(resumed))
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    assert opened.metadata["omero"]["channels"][0]["window"]["max"] == 255
    assert not xpyramid.verify(tmp_path / "out.zarr", deep=True)


@pytest.mark.parametrize(("first", "then"), [(1, 4), (4, 1)])
def test_work_is_divided_as_when_the_build_began(first: int, then: int, tmp_path: Path) -> None:
    """With another number of workers, nothing that is done is done again, or taken unseen."""
    store, image = tmp_path / "out.zarr", tmp_path / "out.zarr/.field.unfinished/image"
    with dask.config.set(num_workers=first):
        session = steps.begin(prepared(store))
    tiling = session.jobs[0].work.tiling
    tiles = [(tiling.tile, index) for index in tiling.nodes(tiling.tile)]
    with dask.config.set(scheduler="sync"):
        steps.run(session, [tiles[::2]])
    chunks = {path: path.stat() for path in image.glob("*/field/c/*/*")}
    assert len(chunks) >= 8
    with dask.config.set(num_workers=then):
        new = prepared(store, resume=True)
        assert new.images[0].passes[0].tiling.tile != tiling.tile
        resumed = steps.begin(new)
        with pytest.raises(errors.ResumeError, match="had another input"):
            steps.begin(prepared(store, DATA + 1, resume=True))
    assert resumed.jobs[0].work.tiling == tiling
    assert set(resumed.jobs[0].work.outputs[0].done) == set(tiles[::2])
    with dask.config.set(scheduler="sync"):
        summaries = steps.run(resumed)
    for path, stat in chunks.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    steps.publish(resumed, summaries)
    opened = xpyramid.open_pyramid(store / "field")
    np.testing.assert_array_equal(opened[0], DATA)
    np.testing.assert_array_equal(opened[1], xpyramid.downsample(DATA, (2, 2))[0])
    assert not xpyramid.verify(store, deep=True)


def test_a_part_of_no_nodes_runs_nothing(tmp_path: Path) -> None:
    session = steps.begin(prepared(tmp_path / "out.zarr"))
    assert steps.run(session, [[]]) == [({}, {})]
    (array,) = [a for name, a in _levels(session) if name == "0"]
    assert array.nchunks_initialized == 0


def _levels(session: steps.Session) -> list[tuple[str, Any]]:
    """Return the arrays of the levels that a session is writing."""
    (image,) = session.images
    place = image.transaction.location
    return [
        (path.split("/")[0], zarr.open_array(place.store, path=(place / path).path, mode="r"))
        for path in image.paths
    ]


def test_abandoning_leaves_nothing(tmp_path: Path) -> None:
    session = steps.begin(prepared(tmp_path / "out.zarr"))
    (image,) = session.images
    with image.transaction.lock():
        image.transaction.abandon()
    assert not [name for name in files(tmp_path) if "field" in name]
    steps.write(
        [xpyramid.example_field((8, 8)).pyramid.build(levels=2)._source("field", None, None)],
        tmp_path / "out.zarr",
        {},
    )
    assert len(xpyramid.open_pyramid(tmp_path / "out.zarr/field")) == 2


def delayed(place: Path, start: int = 0, **options: Any) -> Any:
    array = xr.DataArray(DATA + np.uint16(start), dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=3, chunks=4, factor=2)
    return pyramid.to_ome_zarr(place, compute=False, **options)


def first(place: Path) -> int:
    """Return the first sample of the image, all of which must be right."""
    assert not xpyramid.verify(place, deep=True)
    return int(xpyramid.open_pyramid(place / "field")[0][0, 0])


def test_a_delayed_that_is_computed_twice_changes_nothing(tmp_path: Path) -> None:
    task = delayed(tmp_path / "out.zarr")
    for _ in range(2):
        task.compute(scheduler="sync")
        assert first(tmp_path / "out.zarr") == 0
    assert not [name for name in files(tmp_path) if "unfinished" in name]


def test_a_delayed_of_a_build_that_a_call_began_may_be_computed_twice(tmp_path: Path) -> None:
    """What is noted of the build says from then on that somebody may come back for it."""
    store = tmp_path / "out.zarr"
    session = steps.begin(prepared(store))
    steps.run(session, [[]])
    array = xr.DataArray(DATA, dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=3, chunks=4, factor=2)
    for _ in range(2):  # the second finds that it is noted already
        task = pyramid.to_ome_zarr(store, resume=True, compute=False)
    for _ in range(2):
        task.compute(scheduler="sync")
        assert first(store) == 0


def test_a_delayed_that_another_call_has_finished_changes_nothing(tmp_path: Path) -> None:
    task = delayed(tmp_path / "out.zarr")
    array = xr.DataArray(DATA, dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=3, chunks=4, factor=2)
    pyramid.to_ome_zarr(tmp_path / "out.zarr", resume=True)
    task.compute(scheduler="sync")
    assert first(tmp_path / "out.zarr") == 0


@pytest.mark.parametrize("later", ["published", "begun", "removed"])
def test_a_delayed_of_a_build_that_is_gone_is_refused(later: str, tmp_path: Path) -> None:
    task = delayed(tmp_path / "out.zarr")
    if later == "removed":
        shutil.rmtree(tmp_path / "out.zarr")
    other = None if later == "removed" else delayed(tmp_path / "out.zarr", 1000, mode="w")
    if later == "published":
        other.compute(scheduler="sync")
    with pytest.raises(errors.ResumeError, match="is no longer there"):
        task.compute(scheduler="sync")
    if later == "begun":
        other.compute(scheduler="sync")
    if other is not None:
        assert first(tmp_path / "out.zarr") == 1000


def test_a_delayed_in_memory_is_computed_once() -> None:
    task = delayed(store := zarr.storage.MemoryStore())  # type: ignore[arg-type]
    for _ in range(2):
        task.compute(scheduler="sync")
    np.testing.assert_array_equal(xpyramid.open_pyramid(store)[0], DATA)


def test_threads_that_make_one_image_in_memory() -> None:
    store, begun, go_on = zarr.storage.MemoryStore(), Event(), Event()

    def wait(block: np.ndarray) -> np.ndarray:
        begun.set()
        go_on.wait(30)
        return block

    slow = da.from_array(DATA, chunks=16).map_blocks(wait, dtype="u2", meta=DATA[:0, :0])
    array = xr.DataArray(slow, dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=2)
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(pyramid.to_ome_zarr, store)
        assert begun.wait(30)
        with pytest.raises(errors.TargetBusyError, match="by another thread"):
            array.copy(data=DATA).pyramid.to_ome_zarr(store, mode="w", levels=2)
        go_on.set()
        making.result()
    np.testing.assert_array_equal(xpyramid.open_pyramid(store)[0], DATA)


def test_threads_that_list_their_images_in_memory() -> None:
    store = zarr.storage.MemoryStore()
    for name in ("a", "b"):  # so that there is a list
        xr.DataArray(DATA, dims=("y", "x"), name=name).pyramid.to_ome_zarr(store, levels=2)

    def make(name: str) -> None:
        xr.DataArray(DATA, dims=("y", "x"), name=name).pyramid.to_ome_zarr(store, levels=2)

    names = [f"g{i}" for i in range(6)]
    # All threads share what is set here.
    with (
        warnings.catch_warnings(),
        dask.config.set(scheduler="sync"),
        ThreadPoolExecutor(6) as pool,
    ):
        warnings.simplefilter("ignore")
        list(pool.map(make, names))
    series = zarr.open_group(store, mode="r")["OME"].attrs["ome"]["series"]
    assert sorted(series) == ["a", "b", *names]
