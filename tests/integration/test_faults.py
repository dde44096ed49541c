"""Disks and workers that fail."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore, WrapperStore

import xpyramid
from xpyramid import errors
from xpyramid.runtime import retry
from xpyramid.store.local_chunks import EncodedObject

DATA = np.random.default_rng(0).integers(0, 2**16, (32, 32), "u2")


def pyramid(data: Any = DATA) -> xpyramid.Pyramid:
    array = xr.DataArray(data, dims=("y", "x"), name="field")
    return array.pyramid.build(levels=3, chunks=8, factor=2)


def check(out: Path) -> None:
    for got, want in zip(xpyramid.open_pyramid(out, "field"), pyramid(), strict=True):
        np.testing.assert_array_equal(got, want)


class Faults:
    """Errors of writes to a local disk, by the end of the key: which, and how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.planned: dict[str, tuple[int, int]] = {}
        self.seen: Counter[str] = Counter()
        self.pauses: list[float] = []
        put = EncodedObject.put

        def put_or_fail(one: EncodedObject, path: Path, inside: Path) -> None:
            for end, (code, times) in self.planned.items():
                if path.as_posix().endswith(end):
                    self.seen[end] += 1
                    if self.seen[end] <= times:
                        raise OSError(code, os.strerror(code))
            put(one, path, inside)

        monkeypatch.setattr(EncodedObject, "put", put_or_fail)
        monkeypatch.setattr(retry.time, "sleep", self.pauses.append)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


def test_a_fault_that_passes_is_tried_again(faults: Faults, tmp_path: Path) -> None:
    faults.planned = {"0/field/c/1/2": (errno.EIO, 2), "2/field/c/0/0": (errno.ETIMEDOUT, 1)}
    with dask.config.set(scheduler="sync"):
        pyramid().to_ome_zarr(tmp_path / "out.zarr")
    check(tmp_path / "out.zarr")
    assert faults.seen == {"0/field/c/1/2": 3, "2/field/c/0/0": 2}
    assert sorted(faults.pauses) == [0.1, 0.1, 0.2]


@pytest.mark.parametrize("lazy", [None, {}])
def test_a_read_that_fails_and_may_pass_is_tried_again(
    lazy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(
        tmp_path / "in.zarr", name="field", data=DATA, chunks=(8, 8), dimension_names=("y", "x")
    )
    failed, pauses = list[str](), list[float]()

    def failing(way: str, opened: Any) -> Any:
        def open_or_fail(path: Any, *rest: Any, **named: Any) -> Any:
            if str(path) == str(tmp_path / "in.zarr/field/c/1/2") and len(failed) < 4:
                failed.append(way)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return opened(path, *rest, **named)

        return open_or_fail

    array = xr.open_zarr(tmp_path / "in.zarr", chunks=lazy, consolidated=False).field
    monkeypatch.setattr(Path, "open", failing("zarr", Path.open))
    monkeypatch.setattr(os, "open", failing("ours", os.open))
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    with dask.config.set(scheduler="sync"):
        array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=3, chunks=8, factor=2)
    assert pauses == [0.1, 0.2]
    assert failed == ["ours", "zarr"] * 2  # what we cannot read, zarr-python has a look at
    check(tmp_path / "out.zarr")


@pytest.mark.parametrize(
    ("code", "tries"), [(errno.EIO, retry.TIMES), (errno.ENOSPC, 1), (errno.EACCES, 1)]
)
def test_a_fault_that_stays_is_named(code: int, tries: int, faults: Faults, tmp_path: Path) -> None:
    faults.planned = {"1/field/c/1/0": (code, 1000)}
    out = tmp_path / "out.zarr"
    match = (
        rf"array .*/out.zarr/field/1/field, level 1, chunk \(1, 0\): "
        rf"(OS|Permission)Error: .*{os.strerror(code)}"
    )
    with dask.config.set(scheduler="sync"):
        with pytest.raises(errors.StorageError, match=match) as caught:
            pyramid().to_ome_zarr(out)
        assert "resume=True" in str(caught.value.__notes__)
        assert faults.seen == {"1/field/c/1/0": tries}
        with pytest.raises(errors.NotAPyramidError, match="unfinished"):
            xpyramid.open_pyramid(out, "field")
        faults.planned = {}
        pyramid().to_ome_zarr(out, resume=True)
    check(out)


def ends_well(*command: str | Path, **options: Any) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, **options).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """Return a disk of 600 kB; None where the test has run anew as one who may mount disks."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if ends_well("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk):
        yield disk
        ends_well("umount", "-l", disk)
    elif "IN_NAMESPACE" not in os.environ and ends_well("unshare", "-rm", "true"):
        again = [sys.executable, "-m", "pytest", "-n", "0", request.node.nodeid]
        environment = {**os.environ, "IN_NAMESPACE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        assert ends_well("unshare", "-rm", *again, env=environment, cwd=request.config.rootpath)
        yield None
    else:
        pytest.skip("nobody but an administrator can mount a disk here")


@pytest.mark.parametrize(
    ("scheduler", "what"),
    [
        # The error is that of the chunk, and not of something smaller that is written after it.
        ("sync", r"array .*, level \d, chunks? .*"),
        # Another task may be about to note that it is done, and be the first to fail.
        ("threads", r".*"),
    ],
)
def test_a_full_disk(small_disk: Path | None, scheduler: str, what: str) -> None:
    if small_disk is None:
        return
    ballast = small_disk / "ballast"
    noise = np.random.default_rng(0).integers(0, 2**16, (256, 256), "u2")  # 128 kB and a third
    array = xr.DataArray(noise, dims=("y", "x"), name="field")
    image = array.pyramid.build(levels=2, chunks=64)
    ballast.write_bytes(bytes(420_000))  # there is no room for what windows are made from, either
    match = rf"cannot write {what}: OSError: .*No space left on device"
    with dask.config.set(scheduler=scheduler):
        with pytest.raises(errors.StorageError, match=match):
            image.to_ome_zarr(small_disk / "out.zarr", omero=False)
        ballast.unlink()
        image.to_ome_zarr(small_disk / "out.zarr", omero=False, resume=True)
    np.testing.assert_array_equal(xpyramid.open_pyramid(small_disk / "out.zarr/field")[0], noise)


def die_once(block: np.ndarray, flag: str, times: int) -> np.ndarray:
    """Kill this process, the first few times."""
    for i in range(times):
        try:
            os.close(os.open(f"{flag}-{i}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        os._exit(1)
    return block


BLOCK = r"workers keep dying .* level 0 of 'field', block \(1, 0\): y=16:32, x=0:16; "


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize(("times", "what"), [(1, None), (1000, BLOCK)])
def test_workers_that_die(times: int, what: str | None, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    blocks = da.from_array(DATA, chunks=16)
    flag, meta = str(tmp_path / "flag"), np.empty((0, 0), "u2")
    one = blocks.blocks[1, 0].map_blocks(die_once, flag=flag, times=times, meta=meta)
    data = da.block([[blocks.blocks[0, 0], blocks.blocks[0, 1]], [one, blocks.blocks[1, 1]]])
    out = tmp_path / "out.zarr"
    with (
        # With so few, dask may blame what else the dead worker had in hand.
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster),
    ):
        if times == 1:
            pyramid(data).to_ome_zarr(out)
            check(out)
        else:
            with pytest.raises(errors.StorageError, match=what):
                pyramid(data).to_ome_zarr(out)


@pytest.mark.parametrize("in_place", [False, True])
def test_tasks_that_run_twice_change_nothing(in_place: bool, tmp_path: Path) -> None:
    """As where a worker is taken for lost, and its tasks are given to others."""
    out: Any = tmp_path / "out.zarr"
    runs: Counter[Any] = Counter()

    def count(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        runs[block_info[0]["chunk-location"]] += 1
        return block

    def get(graph: Any, keys: Any, **_: Any) -> Any:
        dask.get(graph, keys)
        return dask.get(graph, keys)

    meta = np.empty((0, 0), "u2")
    data = da.from_array(DATA, chunks=8).map_blocks(count, dtype="u2", meta=meta)
    with dask.config.set(scheduler=get):
        pyramid(data).to_ome_zarr(WrapperStore(LocalStore(out)) if in_place else out)
    check(out)
    assert set(runs.values()) == {2}
    assert not xpyramid.verify(out, deep=True)
