"""All or nothing, resume, replace: a process killed at every step of a small build."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from killing import killed_everywhere

import xpyramid
from xpyramid import engine, errors
from xpyramid.io.writing import journal

NEW, OLD = 1, 100


def pyramid(start: int = NEW) -> xpyramid.Pyramid:
    data = np.arange(start, start + 32, dtype="u2").reshape(4, 8)
    array = xr.DataArray(data, dims=("y", "x"), name="field", coords={"y": np.arange(4) * 0.5})
    return array.pyramid.build(levels=3, chunks=2, factor=2)


def write(directory: Path, **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        pyramid().to_ome_zarr(directory / "out.zarr", **options)


def build(directory: Path) -> None:
    write(directory)


def build_04(directory: Path) -> None:
    write(directory, version="0.4")


def replace(directory: Path) -> None:
    write(directory, mode="w")


def resume(directory: Path) -> None:
    write(directory, resume=True)


def is_whole(directory: Path, start: int = NEW) -> bool:
    opened = xpyramid.open_pyramid(directory / "out.zarr/field")
    return all(np.array_equal(got, want) for got, want in zip(opened, pyramid(start), strict=True))


def leftovers(directory: Path) -> list[str]:
    """Return files that no finished image has."""
    files = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
    return [name for name in files if "unfinished" in name or name.endswith((".partial", "lock"))]


def stamps(directory: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a chunk is written again, by its place in the image."""
    images = [directory / "out.zarr/.field.unfinished/image", directory / "out.zarr/field"]
    (image,) = [image for image in images if image.exists()]
    chunks = [path for path in image.glob("*/field/**/*") if path.name.isdecimal()]
    return {
        str(path.relative_to(image)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in chunks
        if path.is_file()
    }


def finished(directory: Path) -> set[str]:
    """Return the chunks of the tasks that the journal of an unfinished build calls done."""
    tasks = directory / "out.zarr/.field.unfinished/tasks"
    found = set()
    for path in tasks.rglob("*"):
        if path.is_file() and not path.name.endswith(".partial"):
            level, *_ = path.relative_to(tasks / "2").parts
            found.add(f"{level}/field/c/{path.name.replace('.', '/')}")
    return found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.mark.once
@pytest.mark.parametrize("action", ["build", "build_04"])
def test_killed_anywhere_it_is_absent_or_whole(action: str, empty: Path, tmp_path: Path) -> None:
    outcomes = []
    options = {"version": "0.4"} if action == "build_04" else {}
    every = 1 if action == "build" else 5
    for directory in killed_everywhere(f"{__name__}:{action}", empty, tmp_path / "n", every):
        try:
            whole = is_whole(directory)
            assert whole
        except errors.NotAPyramidError:
            whole = False
        outcomes.append(whole)
        if whole or len(outcomes) % 3:
            continue
        before, done = (
            (stamps(directory), finished(directory))
            if action == "build" and list(directory.glob("out.zarr/.field.unfinished/image"))
            else ({}, set())
        )
        assert done <= set(before)
        write(directory, resume=True, **options)
        assert is_whole(directory)
        assert leftovers(directory) == []
        after = stamps(directory)
        assert {name: before[name] for name in done} == {name: after[name] for name in done}
    assert outcomes.count(False) > 100 / every
    assert outcomes[-1]


@pytest.mark.once
def test_killed_while_it_is_gone_on_with(tmp_path: Path) -> None:
    broken_off(tmp_path / "half")
    assert finished(tmp_path / "half")
    for directory in killed_everywhere(f"{__name__}:resume", tmp_path / "half", tmp_path / "m", 5):
        if not (directory / "out.zarr/field").exists():
            resume(directory)
        assert is_whole(directory)


@pytest.mark.once
def test_killed_while_it_replaces_one_of_the_two_is_there(tmp_path: Path) -> None:
    before = tmp_path / "before"
    pyramid(OLD).to_ome_zarr(before / "out.zarr")
    (before / "out.zarr/field/notes.txt").write_text("mine")
    zarr.create_array(before / "out.zarr/field/labels/cells", data=np.arange(3))
    seen = set()
    for i, directory in enumerate(
        killed_everywhere(f"{__name__}:replace", before, tmp_path / "n", 4)
    ):
        new = is_whole(directory)
        assert new or is_whole(directory, OLD)
        seen.add(new)
        if i % 3:
            continue
        replace(directory)
        assert is_whole(directory)
        assert (directory / "out.zarr/field/notes.txt").read_text() == "mine"
        assert zarr.open_array(directory / "out.zarr/field/labels/cells")[:].tolist() == [0, 1, 2]
        assert leftovers(directory) == []
    assert seen == {False, True}


@pytest.mark.parametrize("mode", ["w", "w-"])
@pytest.mark.parametrize("resumed", [True, False])
def test_broken_off_right_after_it_came_to_its_place(
    mode: str, resumed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the hidden directory then is the old image, or nothing: not to be gone on with."""
    if mode == "w":
        pyramid(OLD).to_ome_zarr(tmp_path / "out.zarr")
    staging = sys.modules["xpyramid.io.store.staging"]
    swap = staging.Staging._swap

    def swap_and_fail(*where: Any) -> None:
        swap(*where)
        raise RuntimeError("enough")

    with monkeypatch.context() as patch:
        patch.setattr(staging.Staging, "_swap", swap_and_fail)
        with pytest.raises(RuntimeError, match="enough"):
            write(tmp_path, mode=mode)
    assert is_whole(tmp_path)
    if mode == "w":
        write(tmp_path, mode=mode, resume=resumed)
        assert leftovers(tmp_path) == []
    else:
        with pytest.raises(errors.TargetExistsError, match="already holds a group"):
            write(tmp_path, resume=resumed)
    assert is_whole(tmp_path)


def test_no_level_of_an_earlier_image_survives(tmp_path: Path) -> None:
    pyramid(OLD).to_ome_zarr(tmp_path / "out.zarr")
    data = pyramid()[0].isel(x=slice(4))
    data.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, mode="w", chunks=2)
    files = [p.relative_to(tmp_path).parts[2] for p in tmp_path.glob("out.zarr/field/*")]
    assert sorted(files) == ["0", "1", "zarr.json"]
    assert len(list(tmp_path.glob("out.zarr/field/0/field/c/*/*"))) == 4


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_replacing(where: str, tmp_path: Path) -> None:
    store: Any = zarr.storage.MemoryStore() if where == "memory" else tmp_path / "out.zarr"
    for start in (OLD, NEW):
        pyramid(start).to_ome_zarr(store, mode="w")
        opened = xpyramid.open_pyramid(store, "field")
        np.testing.assert_array_equal(opened[0], pyramid(start)[0])
    with pytest.raises(errors.TargetExistsError, match="replace the image with mode='w'"):
        pyramid().to_ome_zarr(store)


def test_what_is_no_image_is_not_replaced(tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    zarr.create_array(store / "field", data=np.arange(3))
    with pytest.raises(errors.TargetExistsError, match="an array, and mode='w' replaces images"):
        pyramid().to_ome_zarr(store, mode="w")
    shutil.rmtree(store / "field")
    zarr.create_array(store / "field/1", data=np.arange(3))
    zarr.open_group(store / "field", mode="a")
    with pytest.raises(errors.TargetExistsError, match=r"holds \['1'\], which no image"):
        pyramid().to_ome_zarr(store, mode="w")
    assert zarr.open_array(store / "field/1")[:].tolist() == [0, 1, 2]


def broken_off(directory: Path, **options: Any) -> None:
    """Leave an unfinished build of which some tasks are done."""
    saved = []
    save = journal.Journal.save

    def fail(self: journal.Journal, node: Any, state: Any) -> None:
        save(self, node, state)
        saved.append(node)
        if len(saved) == 6:
            raise RuntimeError("enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Journal, "save", fail)
        with pytest.raises(RuntimeError, match="enough"):
            write(directory, **options)


def test_an_unfinished_build_is_in_the_way(tmp_path: Path) -> None:
    broken_off(tmp_path)
    with pytest.raises(
        errors.TargetExistsError, match="resume=True to go on with it, or with mode"
    ):
        write(tmp_path)
    with pytest.raises(errors.NotAPyramidError, match="is unfinished: its build was broken off"):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field")
    write(tmp_path, mode="w")
    assert is_whole(tmp_path)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {"start": NEW + 1},
            {},
            r"the input .* was another: samples \[.*\] differ",
        ),
        ({}, {"shards": 4}, r"differs in stored objects \(.*\[2, 2\].* then, .*\[4, 4\]"),
        ({}, {"memory": "1 GB"}, r"differs in memory \(None then, 1000000000 now\)"),
    ],
)
def test_another_build_is_not_gone_on_with(
    change: dict[str, int], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    broken_off(tmp_path)
    with dask.config.set(scheduler="sync"), pytest.raises(errors.ResumeError, match=message):
        pyramid(**change).to_ome_zarr(tmp_path / "out.zarr", resume=True, **options)
    resume(tmp_path)
    assert is_whole(tmp_path)


@pytest.mark.parametrize("options", [{"resume": True}, {"mode": "w"}])
def test_in_memory_a_failed_build_can_be_repeated(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store: dict[str, Any] = {}

    def fail(*_: object) -> None:
        raise RuntimeError("enough")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["xpyramid.io.writing.write"].engine, "run", fail)
        with pytest.raises(RuntimeError, match="enough"):
            pyramid(OLD).to_ome_zarr(store)
    with pytest.raises(errors.TargetExistsError, match="there is an unfinished build"):
        pyramid().to_ome_zarr(store)
    pyramid(OLD if "resume" in options else NEW).to_ome_zarr(store, **options)
    want = pyramid(OLD if "resume" in options else NEW)[0]
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], want)
    assert not [key for key in store if "unfinished" in key]


def test_nothing_to_go_on_with_is_a_new_build(tmp_path: Path) -> None:
    resume(tmp_path)
    assert is_whole(tmp_path)


@pytest.mark.parametrize("method", ["mode", "median", "sum"])
def test_states_of_every_kind_are_kept(method: str, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 5, (72, 72)).astype("i8")
    array = xr.DataArray(data, dims=("y", "x"), name="field")
    wanted = array.pyramid.build(levels=4, chunks=2, factor=[2, 2, 3], method=method)
    save = journal.Journal.save
    kept = []

    def fail(self: journal.Journal, node: Any, handed: engine.Handed) -> None:
        save(self, node, handed)
        kept.append(handed)
        if len(kept) >= 4:
            raise RuntimeError("enough")

    with dask.config.set(num_workers=4):  # tiles of 4 x 4 samples: halves, but not sixths
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal.Journal, "save", fail)
            with pytest.raises(RuntimeError, match="enough"):
                wanted.to_ome_zarr(tmp_path / "out.zarr")
        wanted.to_ome_zarr(tmp_path / "out.zarr", resume=True)
    if method != "median":  # whose levels are made one by one
        assert all(handed.values and handed.state for handed in kept)
    for got, want in zip(xpyramid.open_pyramid(tmp_path / "out.zarr/field"), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def _hold(path: str, ready: Any, release: Any) -> None:
    from xpyramid.io.store.staging import Staging
    from xpyramid.io.store.target import Place

    with Staging(Place(zarr.storage.LocalStore(path), "field")).held():
        ready.set()
        release.wait(30)
        os._exit(1)  # dies with the lock


def test_one_builder_at_a_time_and_the_lock_of_the_dead_is_free(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path / "out.zarr"), ready, release))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(errors.TargetBusyError, match="is being made by another process"):
            write(tmp_path)
        release.set()
        other.join(30)
        write(tmp_path)
    finally:
        other.kill()
        other.join()
    assert is_whole(tmp_path)
    assert leftovers(tmp_path) == []


def test_durable_syncs_chunks_before_the_announcement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path, durable=True)
    image = str(tmp_path / "out.zarr/.field.unfinished/image")
    announced = synced.index(f"{image}/zarr.json")
    chunks = [i for i, path in enumerate(synced) if "/c/" in path]
    assert len(chunks) >= 8 + 2 + 1
    assert max(chunks) < announced < len(synced) - 1
    assert synced[-1] == str(tmp_path / "out.zarr")
