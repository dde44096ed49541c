"""All or nothing: a process killed at every step of a small build, and what can be done then."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from helpers.killed_process import killed_everywhere
from helpers.small_image import (
    NEW,
    OLD,
    add_others,
    broken_off,
    chunks,
    finished,
    is_there,
    is_whole,
    leftovers,
    others_are_there,
    pyramid,
    stamps,
    whole,
    write,
)

import xpyramid
from xpyramid import errors

rename = sys.modules["xpyramid.store.rename"]
pytestmark = [pytest.mark.once, pytest.mark.slow]


def copy_tree(before: Path, directory: Path) -> None:
    """Copy unfinished builds so that they can be resumed: each knows its directory."""
    shutil.copytree(before, directory)
    for path in directory.rglob("build.json"):
        record = json.loads(path.read_text())
        record["inode"] = path.with_name("image").stat().st_ino
        path.write_text(json.dumps(record))


def build(directory: Path) -> None:
    write(directory)


def build_04(directory: Path) -> None:
    write(directory, version="0.4")


def replace(directory: Path, resume: bool = False) -> None:
    write(directory, mode="w", resume=resume)


def replace_by_renames(directory: Path, resume: bool = True) -> None:
    """Replace as where no two directories can change places in one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rename, "_exchange_at_once", lambda *_: False)
        replace(directory, resume)


@contextmanager
def without_renames(of_all: bool) -> Iterator[None]:
    """Run as on an overlay: of directories, those of a lower layer, or all, cannot be renamed."""
    do_rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.is_dir() and (of_all or path.name == "field"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return do_rename(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rename, "_exchange_at_once", lambda *_: False)
        patch.setattr(Path, "rename", refuse)
        yield


def replace_on_overlay(directory: Path, resume: bool = True) -> None:
    with without_renames(of_all=False):
        replace(directory, resume)


def replace_by_copies(directory: Path, resume: bool = True) -> None:
    with without_renames(of_all=True):
        replace(directory, resume)


def build_by_copies(directory: Path) -> None:
    with without_renames(of_all=True):
        write(directory, resume=True)


def resume(directory: Path) -> None:
    write(directory, resume=True)


def delay(directory: Path) -> None:
    pyramid().to_ome_zarr(directory / "out.zarr", compute=False).compute(scheduler="sync")


def replace_delayed(directory: Path, resume: bool = False) -> None:
    task = pyramid().to_ome_zarr(directory / "out.zarr", mode="w", compute=False, resume=resume)
    for _ in range(2):
        task.compute(scheduler="sync")


def killed(
    action: Callable[..., None], before: Path, scratch: Path, every: int = 1
) -> Iterator[Path]:
    return killed_everywhere(f"{__name__}:{action.__name__}", before, scratch, every)


@pytest.mark.parametrize("action", [build, build_04])
def test_killed_anywhere_it_is_absent_or_whole(action: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options, zarr_format = ({"version": "0.4"}, 2) if action is build_04 else ({}, 3)
    outcomes = []
    for directory in killed(action, tmp_path / "empty", tmp_path / "n"):
        outcomes.append(is_there(directory))
        if outcomes[-1]:
            assert not xpyramid.verify(directory / "out.zarr")
        if outcomes[-1] or len(outcomes) % 3:
            continue
        before, done = stamps(directory), finished(directory, zarr_format)
        assert done <= set(before)
        for chunk, path in chunks(directory).items():
            if chunk not in done:  # as a disk that lost its power would have them
                path.write_bytes(path.read_bytes()[:5])
        write(directory, resume=True, **options)
        assert is_whole(directory)
        assert leftovers(directory) == []
        after = stamps(directory)
        assert {chunk: before[chunk] for chunk in done} == {chunk: after[chunk] for chunk in done}
    assert outcomes.count(False) > 40
    assert outcomes[-1]


def test_killed_while_it_is_resumed(tmp_path: Path) -> None:
    broken_off(lambda: write(tmp_path / "half"))
    assert finished(tmp_path / "half")
    outcomes = []
    for directory in killed(resume, tmp_path / "half", tmp_path / "n"):
        outcomes.append(is_there(directory))
        if not outcomes[-1] and len(outcomes) % 2:
            resume(directory)
            assert is_whole(directory)
    assert outcomes.count(False) > 10


def test_a_delayed_killed_anywhere_is_absent_or_whole(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcomes = []
    for directory in killed(delay, tmp_path / "empty", tmp_path / "n"):
        outcomes.append(is_there(directory))
        if not outcomes[-1] and len(outcomes) % 3 == 0:
            write(directory, **({"mode": "w"} if len(outcomes) % 2 else {"resume": True}))
            assert is_whole(directory)
            assert leftovers(directory) == []
    assert outcomes.count(False) > 40
    assert outcomes[-1]


def replaced(action: Callable[..., None], before: Path, scratch: Path) -> Counter[str]:
    """Count what is there when an image is replaced and that is broken off, at each step."""
    seen, last = Counter[str](), "old"
    for i, directory in enumerate(killed(action, before, scratch)):
        try:
            there = {NEW: "new", OLD: "old"}[whole(directory)]
            assert others_are_there(directory)
        except errors.NotAPyramidError:
            there = "none"
        seen[there] += 1
        if i % 5 == 0 or there != last:
            action(directory, resume=bool(i % 2) and there != "none")
            assert is_whole(directory)
            assert others_are_there(directory)
            assert leftovers(directory) == []
        last = there
    return seen


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return where an image is that can be replaced, with what is not its own."""
    pyramid(OLD).to_ome_zarr(tmp_path / "before/out.zarr")
    add_others(tmp_path / "before")
    return tmp_path / "before"


def test_killed_while_it_replaces_one_of_the_two_is_there(old: Path, tmp_path: Path) -> None:
    seen = replaced(replace, old, tmp_path / "n")
    assert seen.keys() == {"new", "old"}
    assert seen["old"] > 50


LABELS = np.array([[1, 1], [1, 1], [2, 2], [2, 2]], "u2")


def label(directory: Path, name: str, **options: Any) -> None:
    labels = xr.DataArray(LABELS, dims=("y", "x"), name=name)
    pyramid = labels.pyramid.build(levels=3, chunks=2, factor=2, method="mode")
    with dask.config.set(scheduler="sync"):
        pyramid.to_ome_zarr(directory / "out.zarr", labels_of="field", **options)


@pytest.mark.parametrize("action", [replace, replace_delayed])
def test_killed_while_an_image_with_labels_is_replaced(
    action: Callable[..., None], tmp_path: Path
) -> None:
    """Finished labels are seen at each step, and those that were interrupted can be resumed.

    Every third step is tried.
    """
    pyramid(OLD).to_ome_zarr(tmp_path / "before/out.zarr")
    label(tmp_path / "before", "cells")
    broken_off(lambda: label(tmp_path / "before", "more"))
    seen = Counter[int | None]()
    for i, directory in enumerate(killed(action, tmp_path / "before", tmp_path / "n", 3)):
        start = whole(directory)
        seen[start] += 1
        assert start in (OLD, NEW)
        assert xpyramid.open_pyramid(directory / "out.zarr/field").labels == ("cells",)
        cells = xpyramid.open_pyramid(directory / "out.zarr/field/labels/cells")[0]
        np.testing.assert_array_equal(cells, LABELS)
        problems = xpyramid.verify(directory / "out.zarr")
        assert {problem.kind for problem in problems} <= {"unfinished"}
        if i % 4 == 0:
            action(directory, resume=bool(i % 8) and start == OLD)
        if i % 2 == 0:
            label(directory, "more", resume=True)
            more = xpyramid.open_pyramid(directory / "out.zarr/field/labels/more")[0]
            np.testing.assert_array_equal(more, LABELS)
        if i % 4 == 0:
            assert is_whole(directory)
            assert leftovers(directory) == []
            assert not xpyramid.verify(directory / "out.zarr", deep=True)
    assert seen.keys() == {OLD, NEW}
    assert min(seen.values()) > 6


def test_killed_while_it_replaces_with_renames_nothing_is_lost(old: Path, tmp_path: Path) -> None:
    """The last steps of it, the others being the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rename, "_link_others", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(old, mode="w")
    seen = replaced(replace_by_renames, old, tmp_path / "n")
    assert seen["none"] == 1
    assert min(seen["new"], seen["old"]) > 5


@pytest.mark.parametrize("action", [replace_on_overlay, replace_by_copies])
def test_killed_while_it_replaces_on_an_overlay_one_can_be_recovered(
    action: Callable[..., None], old: Path, tmp_path: Path
) -> None:
    """The last steps of it: what was complete is brought to its place by whoever comes next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rename, "_link_others", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(old, mode="w")
    seen = Counter[str]()
    for i, directory in enumerate(killed(action, old, tmp_path / "n")):
        try:
            there = {NEW: "new", OLD: "old"}[whole(directory)]
        except errors.NotAPyramidError as error:
            there = "none" if "is unfinished" in str(error) else "lost"
        seen[there] += 1
        if i % 2:
            recover(directory)
            assert whole(directory) in ((OLD, NEW) if there == "old" else (NEW,))
        else:
            action(directory, resume=bool(i % 4))
            assert is_whole(directory)
            assert leftovers(directory) == []
        assert others_are_there(directory)
    assert seen.keys() == {"new", "old", "none"}
    assert min(seen.values()) > 5


def recover(directory: Path) -> None:
    """Begin a build of the image that fails at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rename.RenameTransaction, "begin", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(directory, mode="w")


def test_killed_while_it_is_copied_to_its_place(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rename.RenameTransaction, "_swap", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(tmp_path / "half")
    outcomes = []
    for directory in killed(build_by_copies, tmp_path / "half", tmp_path / "n"):
        outcomes.append(is_there(directory))
        if not outcomes[-1]:
            with pytest.raises(errors.NotAPyramidError, match="is unfinished"):
                xpyramid.open_pyramid(directory / "out.zarr/field")
            write(directory, resume=True)
        elif xpyramid.verify(directory / "out.zarr"):  # it is whole, but not noted as done
            write(directory, resume=True)
        assert is_whole(directory)
        assert not xpyramid.verify(directory / "out.zarr")
    assert outcomes.count(False) > 5
    assert outcomes.count(True) > 3
