"""Stores that are no directories, each operation of which fails once, or for good."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from itertools import count, cycle, product
from pathlib import Path
from subprocess import DEVNULL, Popen
from types import SimpleNamespace
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from fsspec import AbstractFileSystem
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.memory import MemoryFileSystem
from helpers import small_image
from helpers.faulty_store import LASTING, NOT_ALLOWED, PASSING, Faults, FaultyStore
from helpers.http_server import serve
from helpers.small_image import broken_off
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.runtime import cluster, retry
from xpyramid.store.documents import remove
from xpyramid.store.listing import list_keys
from xpyramid.store.path import NodePath, local_path, resolve
from xpyramid.store.rename import RenameTransaction
from xpyramid.store.retrying import RetryingStore, bare
from xpyramid.store.transaction import transaction_for

pytestmark = pytest.mark.once

DATA = np.arange(16, dtype="u2").reshape(4, 4)
#: Faults that stay, and those that pass but come again and again.
FOR_GOOD = LASTING | NOT_ALLOWED | {"again and again": PASSING["aiohttp 503"]}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSE", 0)


def build(store: Any, **options: Any) -> None:
    array = xr.DataArray(DATA, {"y": np.arange(4.0)}, ("y", "x"), "field")
    with dask.config.set(scheduler="sync"):
        array.pyramid.to_ome_zarr(store, levels=2, chunks=4, **options)


def read(store: Any) -> None:
    with dask.config.set(scheduler="sync"):
        levels = xpyramid.open_pyramid(store, "field")
        np.testing.assert_array_equal(levels[0], DATA)
        np.testing.assert_array_equal(levels[1], [[2, 4], [10, 12]])


def replace(store: Any) -> None:
    build(store, mode="w")


def built(faults: Faults) -> FaultyStore:
    """Return a store that holds an image, before the first fault."""
    memory = MemoryStore()
    build(FaultyStore(Faults(PASSING["reset"]), memory))
    return FaultyStore(faults, memory)


def empty(faults: Faults) -> FaultyStore:
    return FaultyStore(faults)


def broken(faults: Faults) -> FaultyStore:
    """Return a store that holds an unfinished image, before the first fault."""
    memory = MemoryStore()
    store = FaultyStore(Faults(PASSING["reset"]), memory)
    with dask.config.set(scheduler="sync"):
        broken_off(lambda: small_image.pyramid().to_ome_zarr(store))
    return FaultyStore(faults, memory)


def resume(store: Any) -> None:
    with dask.config.set(scheduler="sync"):
        small_image.pyramid().to_ome_zarr(store, resume=True)


def read_small(store: Any) -> None:
    with dask.config.set(scheduler="sync"):
        levels = xpyramid.open_pyramid(store, "field")
        for level, wanted in zip(levels, small_image.values(small_image.NEW), strict=True):
            np.testing.assert_array_equal(level, wanted)


def verify(store: Any) -> None:
    with dask.config.set(scheduler="sync"):
        assert not xpyramid.verify(store, deep=True)


#: What is done, with what before, and how it is seen that it was done well.
ACTIONS = {
    "build": (empty, build, read),
    "replace": (built, replace, read),
    "resume": (broken, resume, read_small),
    "read": (built, read, read),
    "verify": (built, verify, read),
}
#: Only some of the steps of what takes many that are those of others, too.
EVERY = {"build": 1, "read": 1, "replace": 3, "resume": 3, "verify": 3}


@pytest.mark.parametrize(
    ("what", "every"),
    [
        *product(ACTIONS, [7]),
        *(pytest.param(*item, marks=pytest.mark.slow) for item in EVERY.items()),
    ],
)
def test_a_fault_that_passes_is_tried_again_wherever_it_comes(what: str, every: int) -> None:
    begin, act, check = ACTIONS[what]
    kinds = cycle(PASSING.values())
    for step in count(1, every):
        faults = Faults(next(kinds), step)
        store = begin(faults)
        act(store)
        check(FaultyStore(Faults(PASSING["reset"]), store._store))
        if not faults.came:
            break
    assert step > 20


def is_whole(store: Any, check: Callable[[Any], None]) -> bool:
    try:
        check(store)
    except errors.NotAPyramidError:
        return False
    return True


def check_named(error: errors.PyramidError, of: str) -> None:
    said = str(error)
    assert isinstance(error, errors.StorageError | errors.ReadError), repr(error)
    assert error.__cause__ is not None
    assert "memory://" in said, said
    assert "damaged" not in said
    assert "there is nothing" not in said
    assert of not in NOT_ALLOWED or "not allowed to" in said, said


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("what", ACTIONS)
def test_a_fault_that_stays_is_named_wherever_it_comes(what: str) -> None:
    begin, act, check = ACTIONS[what]
    kinds = cycle(FOR_GOOD.items())
    for step in count(1, EVERY[what]):
        name, make = next(kinds)
        faults = Faults(make, step, 10**9)
        store = begin(faults)
        if not faults_in(act, store, name):
            break
        assert faults.came
        healed = FaultyStore(Faults(PASSING["reset"]), store._store)
        if what not in ("build", "resume"):
            act(healed)
        elif not is_whole(healed, check):  # else only what was to be removed at last is left
            build(healed, resume=True) if what == "build" else resume(healed)
        check(healed)
    assert step > 20


def faults_in(act: Callable[[Any], None], store: FaultyStore, name: str) -> bool:
    try:
        act(store)
    except errors.PyramidError as error:
        check_named(error, name)
        return True
    return False


@pytest.mark.parametrize("name", [*PASSING, *FOR_GOOD])
def test_each_error_is_what_it_is(name: str) -> None:
    error = {**PASSING, **FOR_GOOD}[name]()
    assert retry.is_transient(error) == (name in PASSING or name == "again and again")
    assert retry.is_not_allowed(error) == (name in NOT_ALLOWED)
    assert not retry.is_absence(error)


def test_a_bucket_that_is_not_there_is_not_an_absent_object() -> None:
    def answer(code: str) -> Exception:
        error = RuntimeError(f"an error occurred ({code})")
        response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 404}}
        error.response = response  # type: ignore[attr-defined]  # as botocore has it
        return error

    assert retry.is_absence(answer("NoSuchKey"))
    assert not retry.is_absence(answer("NoSuchBucket"))
    assert not retry.is_transient(answer("NoSuchBucket"))


def test_an_archive_on_a_disk_that_fails_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = xr.DataArray(np.arange(64.0).reshape(8, 8), dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(tmp_path / "s.zarr", levels=2)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in (tmp_path / "s.zarr").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "s.zarr"))
    opened, read, failed = xpyramid.open_pyramid(tmp_path / "s.zip"), zipfile.ZipExtFile.read, []

    def fail_once(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        if not failed:
            failed.append(True)
            raise OSError(errno.EIO, "a disk that fails for a moment")
        return read(self, n)

    monkeypatch.setattr(retry, "PAUSE", 0)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail_once)
    np.testing.assert_array_equal(opened[0], array)
    assert failed


def over_http(url: str) -> Any:
    pytest.importorskip("aiohttp")
    return url


def over_obstore(url: str) -> Any:
    stores = pytest.importorskip("obstore.store")
    retries = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
    return stores.HTTPStore(url, client_options={"allow_http": True}, retry_config=retries)


def over_requests(url: str) -> Any:
    """A filesystem that is not asynchronous, which zarr calls in threads."""
    pytest.importorskip("requests")
    return FsspecStore(AsyncFileSystemWrapper(Requests(), asynchronous=True), path=url)


class Requests(AbstractFileSystem):  # type: ignore[misc]
    """A server, asked with requests."""

    protocol = "requests"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_: Any) -> bytes:
        requests = pytest.importorskip("requests")
        answer = requests.get(path, timeout=5)
        if answer.status_code == 404:
            raise FileNotFoundError(path)
        answer.raise_for_status()
        return bytes(answer.content[start:end])

    def info(self, path: str, **_: Any) -> Any:
        return {"name": path, "size": len(self.cat_file(path)), "type": "file"}

    def ls(self, path: str, **_: Any) -> Any:
        raise FileNotFoundError(path)


CLIENTS = [over_http, over_obstore, over_requests]


def served_image(directory: Path) -> Path:
    build(directory / "out.zarr", layout="arrays")
    return directory


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trouble", [408, 429, 500, 503, "cut", "hung up"])
def test_a_server_that_fails_once_for_each_file(
    client: Callable[[str], Any], trouble: Any, tmp_path: Path
) -> None:
    asked: set[str] = set()

    def once(path: str) -> Any:
        is_new = path not in asked
        asked.add(path)
        return trouble if is_new else None

    with serve(served_image(tmp_path), once) as server:
        read(client(f"{server.url}/out.zarr"))
    assert any(path.endswith("c/0/0") for path in asked)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trouble", [403, 500, "cut", "hung up"])
@pytest.mark.parametrize("of", ["out.zarr", "field/zarr.json", "c/0/0"])
def test_a_server_that_fails_for_good(
    client: Callable[[str], Any], trouble: Any, of: str, tmp_path: Path
) -> None:
    with (
        serve(served_image(tmp_path), lambda path: trouble if of in path else None) as server,
        pytest.raises(errors.ReadError, match=r"/0/0|out\.zarr") as caught,
    ):
        read(client(f"{server.url}/out.zarr"))
    assert ("not allowed to read" in str(caught.value)) == (trouble == 403)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_is_nothing(client: Callable[[str], Any], tmp_path: Path) -> None:
    with (
        serve(tmp_path) as server,
        pytest.raises(errors.NotAPyramidError, match="there is nothing"),
    ):
        read(client(f"{server.url}/out.zarr"))


class Halves(MemoryFileSystem):  # type: ignore[misc]
    """A filesystem of which some directories cannot be listed."""

    protocol = "halves"
    find = AbstractFileSystem.find
    store, pseudo_dirs = {}, [""]
    faults: dict[str, OSError] = {}  # noqa: RUF012

    def ls(self, path: str, *rest: Any, **options: Any) -> Any:
        for end, error in self.faults.items():
            if path.rstrip("/").endswith(end):
                raise error
        return super().ls(path, *rest, **options)


@pytest.mark.parametrize("where", ["field", "field/0", "/out.zarr"])
def test_what_cannot_be_listed_is_not_taken_for_nothing(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = Halves(skip_instance_cache=True)
    monkeypatch.setattr(Halves, "store", {})
    store = FsspecStore(AsyncFileSystemWrapper(fs, asynchronous=True), path="/out.zarr")
    build(store)
    place = resolve(store, read_only=False)
    before = sorted(list_keys(place))
    assert "field/0/field/zarr.json" in before
    monkeypatch.setattr(Halves, "faults", {where: OSError(errno.EIO, "no")})
    for act in (list_keys, NodePath.is_empty, remove):
        with pytest.raises(errors.PyramidError, match=r"cannot read .*no"):
            act(place)
    monkeypatch.setattr(Halves, "faults", {})
    assert sorted(list_keys(place)) == before
    remove(place / "field/0")
    assert not list_keys(place / "field/0")


def test_the_store_that_is_seen_is_a_zarr_store() -> None:
    store = built(Faults(ConnectionResetError))
    place = resolve(store, read_only=False)
    again = pickle.loads(pickle.dumps(resolve(store, read_only=True).store))
    assert isinstance(place.store, RetryingStore)
    assert isinstance(again, RetryingStore)
    assert bare(place.store) is store
    assert str(place.store) == str(store)
    assert resolve(zarr.open_group(place.store), read_only=True).store == place.store
    array = zarr.open_array(place.store, path="field/0/field", mode="r")
    np.testing.assert_array_equal(array[:], DATA)
    assert sync(place.store.getsize("field/zarr.json")) > 0
    assert sync(place.store.exists("field/zarr.json"))
    assert not sync(place.store.exists("field/other"))


def test_directories_and_dicts_are_not_wrapped(tmp_path: Path) -> None:
    for store in (tmp_path, {}, LocalStore(tmp_path), MemoryStore()):
        assert not isinstance(resolve(store, read_only=False).store, RetryingStore)


#: Roots and keys that were asked for.
_asked: set[tuple[str, str]] = set()


class OwnDirectory(LocalStore):
    """A directory as somebody has made it their own; getting a key fails the first time."""

    again = False

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        if self.again or (str(self.root), key) not in _asked:
            _asked.add((str(self.root), key))
            raise ConnectionResetError(key)
        return await super().get(key, *args, **options)

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    @property
    def _supports_sync_io(self) -> bool:
        return False


class BrokenDirectory(OwnDirectory):
    again = True


@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_a_directory_of_a_class_of_its_own_is_asked_again(layout: str, tmp_path: Path) -> None:
    build(tmp_path, layout=layout)
    store = OwnDirectory(tmp_path)
    opened = xpyramid.open_pyramid(store, "field")
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(opened[0], DATA)
    assert any("/c/" in key for root, key in _asked if root == str(tmp_path))
    assert not xpyramid.verify(OwnDirectory(tmp_path), "field", deep=True)


def test_a_directory_of_a_class_of_its_own_that_stays_broken(tmp_path: Path) -> None:
    build(tmp_path)
    with pytest.raises(errors.ReadError, match=f"cannot read {tmp_path}/.*ConnectionResetError"):
        xpyramid.open_pyramid(BrokenDirectory(tmp_path), "field")


@pytest.mark.parametrize("group", ["field", "lab/field", ""])
def test_a_directory_of_a_class_of_its_own_is_a_directory(group: str, tmp_path: Path) -> None:
    """Images come to their place with a rename, and are replaced and locked as elsewhere."""
    store = OwnDirectory(tmp_path / "out.zarr")
    place = resolve(store, read_only=False)
    assert isinstance(place.store, RetryingStore)
    assert local_path(place / "field") == tmp_path / "out.zarr/field"
    assert type(transaction_for((place / group).as_image())) is RenameTransaction
    build(store, group=group)
    build(OwnDirectory(tmp_path / "out.zarr"), group=group, mode="w")
    assert [*list_keys(NodePath(resolve(store, read_only=True).store, group))] == [
        *list_keys(NodePath(LocalStore(tmp_path / "out.zarr"), group))
    ]
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".unfinished")]
    other = OwnDirectory(tmp_path / "out.zarr")
    opened = xpyramid.open_pyramid(pickle.loads(pickle.dumps(other)), group)
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(opened[0], DATA)
    assert not xpyramid.verify(other, group, checksums=True)


@pytest.mark.parametrize(("code", "said"), [(errno.EIO, "cannot read"), (errno.EACCES, "allowed")])
def test_a_directory_that_cannot_be_read(
    code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    look = Path.lstat

    def refuse(path: Path) -> Any:
        if path.name == "zarr.json":
            raise OSError(code, os.strerror(code))
        return look(path)

    monkeypatch.setattr(Path, "lstat", refuse)
    with pytest.raises(errors.ReadError, match=f"{said}.*zarr.json") as caught:
        read(tmp_path)
    assert isinstance(caught.value.__cause__, OSError)


class LostError(Exception):
    """What distributed says of its tasks when the scheduler has gone."""

    reason = "scheduler-connection-lost"


def test_a_scheduler_that_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def get(*_: Any, **__: Any) -> Any:
        raise LostError("connection lost")

    monkeypatch.setattr(cluster, "client", lambda: SimpleNamespace(ncores=dict, status="closed"))
    array = xr.DataArray(DATA, dims=("y", "x"), name="field")
    with (
        dask.config.set(scheduler=get, num_workers=1),
        pytest.raises(errors.StorageError, match=r"scheduler was lost.*resume") as caught,
    ):
        array.pyramid.to_ome_zarr(tmp_path, levels=2)
    assert isinstance(caught.value.__cause__, LostError)
    assert "resume=True" in caught.value.__notes__[0]


@pytest.mark.once
@pytest.mark.slow
def test_a_scheduler_that_is_killed(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)]
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        Popen([*command, *options], stderr=DEVNULL) as scheduler,
        Popen([*worker, "--no-nanny", "--no-dashboard"], stderr=DEVNULL) as works,
        distributed.Client(scheduler_file=str(file), timeout=30) as client,
    ):
        client.wait_for_workers(1)

        def die(block: np.ndarray) -> np.ndarray:
            os.kill(scheduler_id, signal.SIGKILL)
            time.sleep(1)
            return block

        scheduler_id = scheduler.pid
        data = da.zeros((8, 8), "u2", chunks=4).map_blocks(die, dtype="u2", meta=np.empty((0, 0)))
        array = xr.DataArray(data, dims=("y", "x"), name="field")
        with pytest.raises(errors.StorageError, match=r"scheduler was lost.*resume"):
            array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, chunks=4)
        works.kill()
