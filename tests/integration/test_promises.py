"""All or nothing, resume, replace."""

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
from helpers.quick import quick_if
from helpers.small_image import NEW, OLD, broken_off, is_whole, leftovers, pyramid, write

import xpyramid
from xpyramid import engine, errors
from xpyramid.cli.main import main
from xpyramid.store.path import NodePath
from xpyramid.store.rename import RenameTransaction
from xpyramid.writer import journal
from xpyramid.writer.template import consolidate


def resume(directory: Path) -> None:
    write(directory, resume=True)


@pytest.mark.parametrize("mode", ["w", "w-"])
@pytest.mark.parametrize("resumed", [True, False])
def test_broken_off_right_after_it_came_to_its_place(
    mode: str, resumed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the hidden directory then is the old image, or nothing: not to be resumed."""
    if mode == "w":
        pyramid(OLD).to_ome_zarr(tmp_path / "out.zarr")
    swap = RenameTransaction._swap

    def swap_and_fail(*where: Any) -> None:
        swap(*where)
        raise RuntimeError("enough")

    with monkeypatch.context() as patch:
        patch.setattr(RenameTransaction, "_swap", swap_and_fail)
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
    data = pyramid()[0].pyramid
    data.to_ome_zarr(tmp_path / "out.zarr", levels=2, mode="w", chunks=2)
    files = [p.relative_to(tmp_path).parts[2] for p in tmp_path.glob("out.zarr/field/*")]
    assert sorted(files) == ["0", "1", "zarr.json"]
    assert len(list(tmp_path.glob("out.zarr/field/0/field/c/*/*"))) == 2


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


def test_an_unfinished_build_is_in_the_way(tmp_path: Path) -> None:
    broken_off(lambda: write(tmp_path))
    with pytest.raises(errors.TargetExistsError, match="resume=True to finish it, or with mode"):
        write(tmp_path)
    with pytest.raises(errors.NotAPyramidError, match="is unfinished: its build was interrupted"):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field")
    write(tmp_path, mode="w")
    assert is_whole(tmp_path)
    assert leftovers(tmp_path) == []


def other(**change: Any) -> xpyramid.Pyramid:
    """Return another pyramid than the usual one."""
    array = pyramid(change.pop("start", NEW))[0].astype(change.pop("dtype", "u2"))
    array = array.assign_coords(change.pop("coords", {})).assign_attrs(change.pop("attrs", {}))
    array = array.isel(y=slice(change.pop("height", 4)))
    return array.pyramid.build(**{"levels": 3, "chunks": 2, "factor": 2, **change})


ABOUT_METADATA = "differs in metadata, attributes and coordinates"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"start": NEW + 1}, {}, r"had another input: samples \[.*\] differ"),
        ({"height": 3}, {}, r"differs in shape \(\[4, 2\] then, \[3, 2\] now\)"),
        ({"dtype": "i4"}, {}, r"differs in dtype \(<u2 then, <i4 now\)"),
        ({"method": "max"}, {}, r"differs in method \(mean then, max now\)"),
        ({"chunks": 1}, {}, r"differs in chunks \(.*\[2, 2\].* then, .*\[1, 1\]"),
        ({"levels": 2}, {}, r"differs in factors"),
        ({"attrs": {"stain": "DAPI"}}, {}, ABOUT_METADATA),
        ({"coords": {"x": [1.0, 2.0]}}, {}, ABOUT_METADATA),
        ({}, {"version": "0.6"}, ABOUT_METADATA),
        ({}, {"shards": {"y": 4}}, r"differs in stored objects \(.*\[2, 2\].* then, .*\[4, 2\]"),
        ({}, {"memory": "1 GB"}, r"differs in memory \(None then, 1000000000 now\)"),
    ],
)
def test_another_build_is_not_resumed(
    change: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    broken_off(lambda: write(tmp_path))
    with dask.config.set(scheduler="sync"), pytest.raises(errors.ResumeError, match=message):
        other(**change).to_ome_zarr(tmp_path / "out.zarr", resume=True, **options)
    resume(tmp_path)
    assert is_whole(tmp_path)


def test_another_library_does_not_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(lambda: write(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["xpyramid.writer.resume"], "__version__", "99")
        with pytest.raises(errors.ResumeError, match=r"differs in library \(.* then, 99 now\)"):
            resume(tmp_path)
        patch.setattr(sys.modules["xpyramid.writer.resume"], "FORMAT", 99)
        with pytest.raises(errors.ResumeError, match="was started by another version of xpyramid"):
            resume(tmp_path)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_a_copy_is_not_resumed(version: str, tmp_path: Path) -> None:
    """A moved one is."""
    broken_off(lambda: write(tmp_path / "a", version=version))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(errors.NotAPyramidError, match="is unfinished"):
        xpyramid.open_pyramid(tmp_path / "b/out.zarr/field")
    with pytest.raises(errors.TargetExistsError, match="there is an unfinished build"):
        write(tmp_path / "b", version=version)
    with pytest.raises(errors.ResumeError, match="is a copy of one that was made elsewhere"):
        write(tmp_path / "b", version=version, resume=True)
    write(tmp_path / "b", version=version, mode="w")
    (tmp_path / "a").rename(tmp_path / "c")
    write(tmp_path / "c", version=version, resume=True)
    for directory in (tmp_path / "b", tmp_path / "c"):
        assert is_whole(directory)
        assert leftovers(directory) == []


def test_a_delayed_build_leaves_nothing_over(tmp_path: Path) -> None:
    pyramid().to_ome_zarr(tmp_path / "out.zarr", compute=False).compute()
    assert is_whole(tmp_path)
    assert {path.name for path in (tmp_path / "out.zarr").iterdir()} == {"field", "zarr.json"}


@pytest.mark.parametrize("options", [{"resume": True}, {"mode": "w"}])
def test_in_memory_a_failed_build_can_be_repeated(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store: dict[str, Any] = {}

    def fail(*_: object) -> None:
        raise RuntimeError("enough")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["xpyramid.writer.session"].engine, "run", fail)
        with pytest.raises(RuntimeError, match="enough"):
            pyramid(OLD).to_ome_zarr(store)
    with pytest.raises(errors.TargetExistsError, match="there is an unfinished build"):
        pyramid().to_ome_zarr(store)
    pyramid(OLD if "resume" in options else NEW).to_ome_zarr(store, **options)
    want = pyramid(OLD if "resume" in options else NEW)[0]
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], want)
    assert not [key for key in store if "unfinished" in key]


def test_nothing_to_resume_is_a_new_build(tmp_path: Path) -> None:
    resume(tmp_path)
    assert is_whole(tmp_path)


@pytest.mark.parametrize("method", quick_if("mode".__eq__, ["mode", "median", "sum"]))
def test_states_of_every_kind_are_kept(method: str, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 5, (72, 72)).astype("i8")
    array = xr.DataArray(data, dims=("y", "x"), name="field")
    wanted = array.pyramid.build(levels=4, chunks=2, factor=[2, 2, 3], method=method)
    save = journal.Journal.save
    kept = []

    def fail(self: journal.Journal, node: Any, intermediate: engine.Intermediate) -> None:
        save(self, node, intermediate)
        kept.append(intermediate)
        if len(kept) >= 4:
            raise RuntimeError("enough")

    with dask.config.set(num_workers=4):  # tiles of 4 x 4 samples: halves, but not sixths
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal.Journal, "save", fail)
            with pytest.raises(RuntimeError, match="enough"):
                wanted.to_ome_zarr(tmp_path / "out.zarr")
        wanted.to_ome_zarr(tmp_path / "out.zarr", resume=True)
    if method != "median":  # whose levels are made one by one
        assert all(intermediate.values and intermediate.state for intermediate in kept)
    for got, want in zip(xpyramid.open_pyramid(tmp_path / "out.zarr/field"), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def _hold(path: str, ready: Any, release: Any) -> None:
    from xpyramid.store.path import NodePath

    with RenameTransaction(NodePath(zarr.storage.LocalStore(path), "field")).lock():
        ready.set()
        release.wait(30)
        os._exit(1)  # dies with the lock


@pytest.mark.slow
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
    assert len(chunks) >= 2 + 1 + 1
    assert max(chunks) < announced < len(synced) - 3
    above = [tmp_path / "out.zarr/zarr.json", tmp_path / "out.zarr", tmp_path]
    assert synced[-3:] == [str(path) for path in above]


def test_durable_syncs_what_lists_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    consolidate(NodePath(zarr.storage.LocalStore(tmp_path / "out.zarr"), ""))
    synced: dict[str, bytes] = {}
    fsync = os.fsync

    def note(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        synced[str(path)] = path.read_bytes() if path.is_file() else b""
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    labels = xr.DataArray(np.ones((4, 2), "u2"), dims=("y", "x"), name="cells")
    image = labels.pyramid.build(levels=3, chunks=2, factor=2, method="mode")
    with dask.config.set(scheduler="sync"):
        image.to_ome_zarr(tmp_path / "out.zarr", labels_of="field", durable=True)
    for listing in ("out.zarr/field/labels/zarr.json", "out.zarr/zarr.json"):
        document = (tmp_path / listing).read_bytes()
        assert b"cells" in document
        assert synced[str(tmp_path / listing)] == document


@pytest.mark.parametrize(
    "path", [["out.zarr"], ["out.zarr/field"], ["out.zarr", "--group", "field"]]
)
def test_info_says_unfinished(
    path: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken_off(lambda: write(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["info", *path]) == 2
    said = capsys.readouterr().err
    assert "unfinished" in said
    assert "call again with --resume to finish it, or with --replace to start over" in said
    assert said.count("\n") == 1
    with pytest.raises(errors.NotAPyramidError, match=r"unfinished.*resume=True"):
        xpyramid.open_pyramid(path[0], path[-1] if len(path) > 1 else None)
