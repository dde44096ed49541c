"""Locks of directories, also where the system has none."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.store import locks
from xpyramid.store.local_files import one_at_a_time

fcntl = pytest.importorskip("fcntl")
ARRAY = xr.DataArray(np.ones((8, 8), "u1"), dims=("y", "x"), name="field")


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    code = getattr(errno, request.param)

    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)


def files(directory: Path) -> list[str]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(directory)) for path in found)


def hold(path: Path, **other: Any) -> None:
    """Write the file of a lock that somebody holds."""
    holder = locks._here() | {"pid": os.getpid(), "time": "noon", "token": "x"} | other
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(holder))


def dead() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


@pytest.mark.usefixtures("without_locks")
def test_images_are_made_without_locks(tmp_path: Path) -> None:
    for mode in ("w-", "w"):
        ARRAY.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, mode=mode)
        assert not [name for name in files(tmp_path) if "lock" in name or "unfinished" in name]
    assert not xpyramid.verify(tmp_path / "out.zarr")


@pytest.mark.usefixtures("without_locks")
def test_who_holds_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr/.field.unfinished/lock.soft.lock"
    hold(path, host="elsewhere", pid=7)
    said = rf"made by another process \(process 7 on elsewhere since noon\).*{path}.*remove it"
    with pytest.raises(errors.TargetBusyError, match=said):
        ARRAY.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    assert files(tmp_path) == [str(path.relative_to(tmp_path))]


def test_a_machine_with_locks_heeds_one_without(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr/.field.unfinished/lock.soft.lock"
    hold(path)
    with pytest.raises(errors.TargetBusyError, match="another process"):
        ARRAY.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    assert files(tmp_path) == [str(path.relative_to(tmp_path))]


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("how", ["dead", "untouched", "torn", "of another container"])
def test_what_the_dead_hold_is_taken_over(how: str, tmp_path: Path) -> None:
    path = tmp_path / "name.soft.lock"
    hold(path, **{"dead": {"pid": dead()}, "of another container": {"processes": "x"}}.get(how, {}))
    if how == "torn":
        path.write_text('{"ho')
    if how != "dead":
        with (
            pytest.raises(errors.TargetBusyError),
            locks.locked(tmp_path / "name.lock", 0, "busy"),
        ):
            pass
        os.utime(path, (0, path.stat().st_mtime - locks.STALE - 1))
    with locks.locked(tmp_path / "name.lock", 0, "busy"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert files(tmp_path) == []


@pytest.mark.usefixtures("without_locks")
def test_one_at_a_time_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(tmp_path / ".zarr.soft.lock")
    monkeypatch.setattr(locks.time, "sleep", lambda _: (tmp_path / ".zarr.soft.lock").unlink())
    with one_at_a_time(tmp_path):
        assert files(tmp_path) == [".zarr.soft.lock"]
    assert files(tmp_path) == []


@pytest.mark.usefixtures("without_locks")
def test_a_lock_is_touched_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.001)
    path = tmp_path / "name.soft.lock"
    with locks.locked(tmp_path / "name.lock", 0, "busy"):
        os.utime(path, (0, 0))
        for _ in range(1000):
            if path.stat().st_mtime > 0:
                break
            locks.time.sleep(0.01)
        assert path.stat().st_mtime > 0


@pytest.mark.usefixtures("without_locks")
def test_a_lock_that_was_taken_over_is_left_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "name.soft.lock"
    with locks.locked(tmp_path / "name.lock", 0, "busy"):
        hold(path)
    assert json.loads(path.read_text())["token"] == "x"


def test_what_is_of_a_quicker_one_is_given_back(tmp_path: Path) -> None:
    hold(tmp_path / "lock", token="new")
    locks._take_away(tmp_path / "lock", "what was read before")
    assert files(tmp_path) == ["lock"]
    locks._take_away(tmp_path / "none", "")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EPERM, errno.ENOSPC])
def test_nothing_stays_where_no_lock_can_be_made(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(errors.StorageError, match=os.strerror(code)):
        ARRAY.pyramid.to_ome_zarr(tmp_path / "lab/out.zarr", levels=2)
    assert list(tmp_path.iterdir()) == []


def test_no_lock_stays_beside_an_unfinished_image(tmp_path: Path) -> None:
    ARRAY.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, compute=False)
    with pytest.raises(errors.ResumeError):
        (ARRAY + 1).pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=3, chunks=2, resume=True)
    assert [name for name in files(tmp_path) if "unfinished" in name]
    assert not [name for name in files(tmp_path) if name.endswith("lock")]


def test_an_interrupt_while_it_is_given_back_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    interrupted = None
    with monkeypatch.context() as patch:
        try:
            with locks.locked(tmp_path / "lock", 0, "somebody writes"):
                patch.setattr(Path, "unlink", interrupt)
        except KeyboardInterrupt as error:
            interrupted = error  # as a debugger, it keeps all that the call knew
    assert interrupted is not None
    with locks.locked(tmp_path / "lock", 0, "somebody writes"):
        pass
