"""Late and repeated tasks of a Delayed: they write for their own build, or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.counting_store import CountingStore
from helpers.small_image import leftovers
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import xpyramid
from xpyramid import errors
from xpyramid.options import WriteOptions, resolve_options
from xpyramid.store import in_place
from xpyramid.store.in_place import InPlaceTransaction
from xpyramid.store.path import resolve
from xpyramid.writer import session
from xpyramid.writer.sinks import ZarrSink

DATA = np.arange(256, dtype="u2").reshape(16, 16)

GONE = "is no longer there: another one has taken its place, or it was removed"


def obstore_at(path: Path) -> Any:
    return pytest.importorskip("obstore").store.LocalStore(path, mkdir=True)


def icechunk_session(_: Path) -> Any:
    icechunk = pytest.importorskip("icechunk")
    return icechunk.Repository.create(icechunk.in_memory_storage()).writable_session("main").store


STORES: dict[str, Callable[[Path], Any]] = {
    "disk": lambda path: path,
    "memory": lambda _: MemoryStore(),
    "fsspec": lambda path: f"memory:/{path}",
    "in place": lambda path: WrapperStore(LocalStore(path)),
    "obstore": obstore_at,
    "icechunk": icechunk_session,
}


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return STORES[request.param](tmp_path / "out.zarr")


def pyramid(start: int = 0) -> xpyramid.Pyramid:
    array = xr.DataArray(DATA + np.uint16(start), dims=("y", "x"), name="field")
    return array.pyramid.build(levels=3, chunks=4, factor=2)


def delayed(store: Any, start: int = 0, **options: Any) -> Any:
    return pyramid(start).to_ome_zarr(store, compute=False, **options)


def compute(task: Any) -> None:
    task.compute(scheduler="sync")


def first(store: Any) -> int:
    """Return the first sample of the image, all of which must be right."""
    assert not xpyramid.verify(store, deep=True)
    return int(xpyramid.open_pyramid(store, "field")[0][0, 0])


def test_computed_twice(store: Any) -> None:
    task = delayed(store)
    for _ in range(2):
        compute(task)
        assert first(store) == 0


def test_two_of_one_place(store: Any) -> None:
    early, late = delayed(store), delayed(store, 1000, mode="w")
    for _ in range(2):
        with pytest.raises(errors.ResumeError, match=GONE):
            compute(early)
        compute(late)
        assert first(store) == 1000


def test_one_that_another_has_overtaken(store: Any) -> None:
    early = delayed(store)
    compute(delayed(store, 1000, mode="w"))
    for _ in range(2):
        with pytest.raises(errors.ResumeError, match=GONE):
            compute(early)
        assert first(store) == 1000


@pytest.mark.parametrize("published_before", [True, False])
def test_a_direct_call_in_between(store: Any, published_before: bool) -> None:
    early = delayed(store)
    if published_before:
        compute(early)
    pyramid(1000).to_ome_zarr(store, mode="w")
    with pytest.raises(errors.ResumeError, match=GONE):
        compute(early)
    assert first(store) == 1000


def test_a_direct_call_that_finished_the_same_build(store: Any) -> None:
    task = delayed(store)
    pyramid().to_ome_zarr(store, resume=True)
    compute(task)
    assert first(store) == 0


def test_tasks_of_a_build_that_another_is_replacing(store: Any) -> None:
    """Each in turn, of one and of the other: no sample of the first gets into the second."""
    early = delayed(store)
    late = delayed(store, 1000, mode="w")
    graph = dict(early.__dask_graph__())
    tasks = [key for key in graph if isinstance(key, tuple)]
    assert len(tasks) > 4
    refused = 0
    for key in tasks:
        try:
            dask.get(graph, key)
        except errors.ResumeError:
            refused += 1
    assert refused == len(tasks)
    compute(late)
    assert first(store) == 1000


def test_what_is_computed_again_writes_nothing() -> None:
    store = CountingStore()
    task = delayed(store)
    compute(task)
    del store.log[:]
    compute(task)
    assert not [entry for entry in store.log if entry.what != "get"]
    asked = [entry for entry in store.log if entry.key.endswith("build.json")]
    tasks = [key for key in task.__dask_graph__() if isinstance(key, tuple)]
    assert len(asked) <= len(tasks) + 3


def test_a_direct_build_under_a_lock_asks_once() -> None:
    store = CountingStore()
    pyramid().to_ome_zarr(store)
    gets = [entry.key for entry in store.log if entry.what == "get"]
    first_chunk = next(
        i for i, entry in enumerate(store.log) if entry.what == "set" and "/c/" in entry.key
    )
    after = [entry.key for entry in store.log[first_chunk:] if entry.what == "get"]
    assert gets.count(".field.unfinished/build.json") < 8
    assert after.count(".field.unfinished/build.json") == 1


def test_what_was_removed_is_not_made_anew(tmp_path: Path) -> None:
    task = delayed(tmp_path / "out.zarr")
    shutil.rmtree(tmp_path / "out.zarr")
    for _ in range(2):
        with pytest.raises(errors.ResumeError, match=GONE):
            compute(task)
        assert not list(tmp_path.iterdir())


def at_first_write(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something happen between the question of a task and its first write."""
    write, happened = ZarrSink.__call__, []

    def acting(self: ZarrSink, *given: Any) -> None:
        if not happened:
            happened.append(True)
            act()
        write(self, *given)

    monkeypatch.setattr(ZarrSink, "__call__", acting)


def test_what_is_removed_while_a_task_runs_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = delayed(tmp_path / "out.zarr")
    at_first_write(monkeypatch, lambda: shutil.rmtree(tmp_path / "out.zarr"))
    with pytest.raises(errors.ResumeError, match=GONE):
        compute(task)
    assert not list(tmp_path.iterdir())


def test_what_is_published_while_a_task_runs_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = delayed(tmp_path / "out.zarr")
    at_first_write(monkeypatch, lambda: compute(task))
    compute(task)
    assert first(tmp_path / "out.zarr") == 0
    assert [path.name for path in (tmp_path / "out.zarr").iterdir() if "un" in path.name] == []


def test_a_write_that_fails_says_so_while_the_build_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise errors.StorageError("enough")

    task = delayed(tmp_path / "out.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(ZarrSink, "__call__", fail)
        with pytest.raises(errors.StorageError, match="enough"):
            compute(task)
    compute(task)
    assert first(tmp_path / "out.zarr") == 0


def test_the_same_samples_make_the_same_bytes(tmp_path: Path) -> None:
    stored = []
    for workers in (1, 1, 3):
        path = tmp_path / f"{len(stored)}.zarr"
        with dask.config.set(num_workers=workers):
            pyramid().to_ome_zarr(path)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        stored.append({str(file.relative_to(path)): file.read_bytes() for file in files})
    assert stored[0] == stored[1] == stored[2]


def test_the_published_image_keeps_the_late_build_it_is_of(store: Any) -> None:
    builds = []
    for mode in ("w-", "w"):
        pyramid().to_ome_zarr(store, mode=mode, compute=False).compute(scheduler="sync")
        group = (resolve(store, read_only=True) / "field").node()
        assert isinstance(group, zarr.Group)
        builds.append(group.attrs["xpyramid"]["build"])
    assert builds[0] != builds[1]
    assert all(builds)


def test_tasks_elsewhere_that_outlive_the_process_with_the_lock(tmp_path: Path) -> None:
    source = pyramid()._source(None, None, None)
    options = resolve_options(WriteOptions, {})
    with dask.config.set(scheduler="processes", num_workers=1):
        left = session.begin(session.prepare([source], tmp_path / "out.zarr", options))
    pyramid(1000).to_ome_zarr(tmp_path / "out.zarr", mode="w")
    with dask.config.set(scheduler="sync"), pytest.raises(errors.ResumeError, match=GONE):
        session.run(left)
    assert first(tmp_path / "out.zarr") == 1000
    assert leftovers(tmp_path) == []


# Two processes, and a store that has no lock for both


def bucket(path: Path) -> Any:
    return WrapperStore(LocalStore(path))


def test_two_processes_that_begin_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes when the first has seen that nothing is there."""
    store, claim = bucket(tmp_path / "out.zarr"), InPlaceTransaction._claim

    def overtaken(self: InPlaceTransaction, record: Any) -> None:
        monkeypatch.setattr(InPlaceTransaction, "_claim", claim)
        with monkeypatch.context() as patch:
            patch.setattr(in_place, "_in_the_making", set())  # that of another process
            pyramid(1000).to_ome_zarr(store, compute=False)
        claim(self, record)

    monkeypatch.setattr(InPlaceTransaction, "_claim", overtaken)
    with pytest.raises(errors.TargetBusyError, match="has just been begun by another process"):
        pyramid().to_ome_zarr(store)
    with pytest.raises(errors.TargetExistsError, match="there is an unfinished build"):
        pyramid().to_ome_zarr(store)
    pyramid(1000).to_ome_zarr(store, resume=True)
    assert first(store) == 1000


def test_a_process_whose_image_another_has_replaced_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket(tmp_path / "out.zarr")

    def replace() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(in_place, "_in_the_making", set())  # that of another process
            pyramid(1000).to_ome_zarr(store, mode="w")

    at_first_write(monkeypatch, replace)
    with dask.config.set(scheduler="sync"), pytest.raises(errors.ResumeError, match=GONE):
        pyramid().to_ome_zarr(store)


# A cluster whose workers die


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disk", "in place", "obstore"])
def test_the_worker_with_the_result_dies(kind: str, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    store = STORES[kind](tmp_path / "out.zarr")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        future = client.compute(delayed(store))
        for _ in range(2):
            distributed.wait(future, 60)
            assert first(store) == 0
            (holders,) = client.who_has([future]).values()
            pids = client.run(os.getpid)
            os.kill(pids[holders[0]], signal.SIGKILL)
            deadline = time.monotonic() + 60
            while holders[0] in client.scheduler_info()["workers"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert future.result(60) is None
    assert first(store) == 0
    assert leftovers(tmp_path) == []


@pytest.mark.slow
def test_the_question_can_be_sent_to_another_process(tmp_path: Path) -> None:
    task = delayed(tmp_path / "out.zarr")
    task.compute(scheduler="processes", num_workers=1)
    pyramid(1).to_ome_zarr(tmp_path / "out.zarr", mode="w")
    with pytest.raises(errors.ResumeError, match=GONE):
        task.compute(scheduler="processes", num_workers=1)
    assert first(tmp_path / "out.zarr") == 1
