"""An image that is replaced, or removed, while somebody reads or verifies it."""

from __future__ import annotations

import asyncio
import importlib
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import numpy as np
import obstore
import pytest
import xarray as xr
import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, MemoryStore, ObjectStore, WrapperStore

import xpyramid
from xpyramid import errors
from xpyramid.reader import own_levels
from xpyramid.store import confined, listing, object_reader, rename
from xpyramid.store.fast import WatchedArray, accelerate, available
from xpyramid.writer.source_guard import what_is_read

# `from` would give the functions of these names.
verifying = importlib.import_module("xpyramid.verifier.verify")
inspecting = importlib.import_module("xpyramid.verifier.inspect")

#: Chunks of samples have the same sizes in all images, so that sizes tell nothing of them.
PLAIN: dict[str, Any] = {"compressor": None}

#: After every fifth read by default; after each of them is tried on demand.
strides = pytest.mark.parametrize(
    "stride", [5, pytest.param(1, marks=[pytest.mark.once, pytest.mark.slow])]
)

FORMS: dict[str, dict[str, Any]] = {
    "v3": {}, "v2": {"version": "0.4"}, "shards": {"shards": 4}, "arrays": {"layout": "arrays"}
}  # fmt: skip

Read = tuple[np.ndarray, ...]


def image(start: int, extent: int = 4) -> xr.DataArray:
    data = np.arange(start, start + extent * 4, dtype="u2").reshape(extent, 4)
    coords = {"y": start + 0.5 * np.arange(extent), "x": start + 2.0 * np.arange(4)}
    return xr.DataArray(data, coords, ("y", "x"), "field")


def write(store: Any, start: int, extent: int = 4, chunks: int = 2, **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        built = image(start, extent).pyramid.build(levels=2, chunks=chunks)
        built.to_ome_zarr(store, mode="w", **{**PLAIN, **options})


def read(store: Any, path: str | None = "field") -> Read:
    """Return the samples and coordinates of all levels, as they are read one after the other."""
    opened = xpyramid.open_pyramid(store, path)
    return tuple(part for level in opened for part in arrays_of(level))


def arrays_of(level: xr.DataArray) -> Iterator[np.ndarray]:
    with dask.config.set(scheduler="sync"):
        yield level.to_numpy()
    yield from (level[dim].to_numpy() for dim in ("y", "x"))


def expected(start: int, extent: int = 4) -> Read:
    built = image(start, extent).pyramid.build(levels=2, chunks=2)
    return tuple(part for level in built for part in arrays_of(level))


def same(got: Read, wanted: Read) -> bool:
    return len(got) == len(wanted) and all(map(np.array_equal, got, wanted))


class Hook:
    """What happens once, after a read of a store, or of a file past it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[Store]) -> None:
        self.reads, self.after = 0, -1
        self.action: Callable[[], object] = lambda: None
        self._is_acting = False
        get = kind.get

        async def counted(store: Any, *args: Any, **options: Any) -> Any:
            got = await get(store, *args, **options)
            if self._is_time():
                await asyncio.to_thread(self._act)
            return got

        def at_once(function: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any) -> Any:
                got = function(*args)
                if self._is_time():
                    self._act()
                return got

            return counted

        monkeypatch.setattr(kind, "get", counted)
        if hasattr(kind, "read_at_once"):
            monkeypatch.setattr(kind, "read_at_once", at_once(kind.read_at_once))
        monkeypatch.setattr(own_levels, "list_at_once", at_once(own_levels.list_at_once))
        monkeypatch.setattr(object_reader, "_bytes", at_once(object_reader._bytes))

    def _is_time(self) -> bool:
        self.reads += not self._is_acting
        return not self._is_acting and self.reads == self.after

    def _act(self) -> None:
        self._is_acting = True
        self.action()
        self._is_acting = False

    def set(self, after: int, action: Callable[[], object]) -> None:
        self.reads, self.after, self.action = 0, after, action


def outcomes(
    hook: Hook,
    prepare: Callable[[], Any],
    replace: Callable[[], object],
    attempt: Callable[[Any], Any],
    old: Callable[[Any], bool],
    new: Callable[[Any], bool],
    stride: int = 1,
) -> set[str]:
    """Return what comes of an attempt if there is a replacement after one of its reads.

    That is tried after each of them, or after every second, third, ...
    """
    seen: set[str] = set()
    hook.set(-1, replace)
    store = prepare()
    hook.set(-1, replace)
    assert old(attempt(store))
    for k in range(1, hook.reads + 1, stride):
        hook.set(-1, replace)
        store = prepare()
        hook.set(k, replace)
        try:
            got = attempt(store)
        except errors.ReplacedError as error:
            assert "replaced while it was read; open it again" in str(error)  # noqa: PT017
            seen.add("refused")
        else:
            assert old(got) or new(got), f"a mixture, after {k} reads"
            seen.add("old" if old(got) else "new")
    return seen


def check(
    hook: Hook,
    store: Any,
    replace: Callable[[], object],
    stride: int = 1,
    writer: Any = None,
    group: str = "field",
    **options: Any,
) -> None:
    def prepare() -> Any:
        write(store if writer is None else writer, 100, group=group, **options)
        return store

    old, new = expected(100), expected(5000)
    seen = outcomes(
        hook, prepare, replace, lambda store: read(store, group or None),
        lambda got: same(got, old), lambda got: same(got, new), stride,
    )  # fmt: skip
    assert seen >= {"new", "refused"}


@strides
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_on_a_local_disk(
    stride: int, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Hook(monkeypatch, confined.ConfinedStore)
    check(hook, tmp_path, lambda: write(tmp_path, 5000, **options), stride, **options)


@pytest.mark.once
@pytest.mark.slow
@strides
@pytest.mark.parametrize("versions", [("0.4", "0.5"), ("0.5", "0.4")])
def test_by_one_of_another_format(
    stride: int, versions: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Hook(monkeypatch, confined.ConfinedStore)
    store = tmp_path / "out.zarr"

    def replace() -> None:
        write(store, 5000, group="", version=versions[1])

    check(hook, store, replace, stride, group="", version=versions[0])


@pytest.mark.once
@pytest.mark.slow
@strides
@pytest.mark.parametrize("way", ["renames", "copies"])
def test_where_directories_cannot_be_exchanged(
    stride: int, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "_exchange_at_once" if way == "renames" else "_exchange"
    monkeypatch.setattr(rename, name, lambda *_: False)
    if way == "copies":
        monkeypatch.setattr(rename, "_renamed", lambda *_: False)
    hook = Hook(monkeypatch, confined.ConfinedStore)
    check(hook, tmp_path, lambda: write(tmp_path, 5000), stride)


@pytest.mark.once
@pytest.mark.slow
@strides
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_in_place(
    stride: int, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zarr.storage import LocalStore

    hook = Hook(monkeypatch, confined.ConfinedStore)
    writer = WrapperStore(LocalStore(tmp_path))
    check(hook, tmp_path, lambda: write(writer, 5000, version=version), stride, version=version)


@pytest.mark.once
@pytest.mark.slow
def test_through_fsspec_on_a_local_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}"
    hook = Hook(monkeypatch, FsspecStore)
    store = FsspecStore.from_url(url)
    check(hook, store, lambda: write(tmp_path, 5000), 3, tmp_path)


@strides
def test_in_memory(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Hook(monkeypatch, MemoryStore)
    store = MemoryStore()
    check(hook, store, lambda: write(store, 5000), stride)


@strides
def test_an_object_store_tells_by_sizes(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new image has other sizes: its objects are refused, and so is what is not there."""
    hook = Hook(monkeypatch, ObjectStore)
    store = ObjectStore(obstore.store.MemoryStore())

    def prepare() -> Any:
        write(store, 100)
        return store

    def replace() -> None:
        write(store, 5000, chunks=3)

    old, new = expected(100), expected(5000)
    seen = outcomes(
        hook, prepare, replace, read, lambda got: same(got, old), lambda got: same(got, new), stride
    )
    assert seen >= {"new", "refused"}


def write_as_others_do(directory: Path) -> None:
    write(directory, 100)
    group = zarr.open_group(directory / "field", mode="a", use_consolidated=False)
    group.attrs.put({k: v for k, v in group.attrs.asdict().items() if k != "xpyramid"})


def withdraw(directory: Path) -> None:
    shutil.rmtree(directory / "field")


def test_chunks_that_vanished_are_never_fill_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of an image without a record of what is stored, as others write them."""
    hook = Hook(monkeypatch, confined.ConfinedStore)

    def prepare() -> Any:
        write_as_others_do(tmp_path)
        return tmp_path

    prepare()
    old, new = read(tmp_path), expected(5000)
    for replace in (lambda: write(tmp_path, 5000), lambda: withdraw(tmp_path)):
        hook.set(-1, replace)
        prepare()
        opened = xpyramid.open_pyramid(tmp_path, "field")
        replace()
        with pytest.raises(errors.ReplacedError, match="open it again"):
            opened[0].compute()
    seen = outcomes(
        hook, prepare, lambda: write(tmp_path, 5000), read,
        lambda got: same(got, old), lambda got: same(got, new), 3,
    )  # fmt: skip
    assert seen >= {"new", "refused"}


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_before_its_levels_are_computed(scheduler: str, tmp_path: Path) -> None:
    write(tmp_path, 100)
    opened = xpyramid.open_pyramid(tmp_path, "field", chunks={})
    write(tmp_path, 5000)
    with dask.config.set(scheduler=scheduler), pytest.raises(errors.ReplacedError, match="again"):
        dask.compute(*opened)


@pytest.mark.slow
def test_a_pickle_knows_which_image_it_is_of(tmp_path: Path) -> None:
    write(tmp_path, 100)
    pickled = pickle.dumps(xpyramid.open_pyramid(tmp_path, "field")[0])
    np.testing.assert_array_equal(pickle.loads(pickled), image(100))
    code = f"import pickle; print(pickle.loads({pickled!r}).to_numpy().tolist())"
    run = [sys.executable, "-c", code]
    values = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert values == f"{image(100).to_numpy().tolist()}\n"
    write(tmp_path, 5000)
    with pytest.raises(errors.ReplacedError, match="open it again"):
        pickle.loads(pickled).compute()
    failed = subprocess.run(run, check=False, capture_output=True, text=True)
    assert "ReplacedError" in failed.stderr


def test_images_opened_before_and_after_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Dask computes what has the same name once."""
    write(tmp_path, 100)
    before, twin = (xpyramid.open_pyramid(tmp_path, "field", chunks={})[0] for _ in range(2))
    write(tmp_path, 5000)
    after = xpyramid.open_pyramid(tmp_path, "field", chunks={})[0]
    assert before.data.name == twin.data.name != after.data.name


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize(
    "scheduler", ["sync", pytest.param("threads", marks=[pytest.mark.once, pytest.mark.slow])]
)
def test_a_build_from_an_image_that_is_replaced_fails(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Hook(monkeypatch, confined.ConfinedStore)
    write(tmp_path / "in.zarr", 100)
    hook.set(-1, lambda: None)

    def copied() -> Read:
        opened = xpyramid.open_pyramid(tmp_path / "in.zarr", "field")
        with dask.config.set(scheduler=scheduler):
            opened.to_ome_zarr(tmp_path / "out.zarr", mode="w", **PLAIN)
        hook.after = -1
        return read(tmp_path / "out.zarr")

    copied()
    reads, refused = hook.reads, 0
    for k in range(1, reads + 1, 5):
        hook.set(-1, lambda: None)
        shutil.rmtree(tmp_path / "out.zarr")
        write(tmp_path / "in.zarr", 100)
        hook.set(k, lambda: write(tmp_path / "in.zarr", 5000))
        try:
            got = copied()
        except (errors.ReadError, errors.StorageError) as error:
            assert "replaced while it was read" in str(error)  # noqa: PT017
            (tmp_path / "out.zarr").mkdir(exist_ok=True)
            refused += 1
        else:
            assert same(got, expected(100)) or same(got, expected(5000)), k
    assert refused


def test_a_build_from_an_image_of_others_that_is_replaced_fails(tmp_path: Path) -> None:
    """Which zarrs reads, where it is installed, past the store."""
    write_as_others_do(tmp_path / "in.zarr")
    opened = xpyramid.open_pyramid(tmp_path / "in.zarr", "field")
    opened.to_ome_zarr(tmp_path / "out.zarr", mode="w")
    assert same(read(tmp_path / "out.zarr"), read(tmp_path / "in.zarr"))
    array = zarr_array_in(opened[0])
    assert isinstance(accelerate(array), WatchedArray if available() else zarr.Array)
    write(tmp_path / "in.zarr", 5000)
    with pytest.raises((errors.ReadError, errors.StorageError), match="replaced while it was read"):
        opened.to_ome_zarr(tmp_path / "out.zarr", mode="w")


def zarr_array_in(level: xr.DataArray) -> Any:
    (array,) = what_is_read([level]).arrays
    return array


def test_labels_may_be_added_and_what_lies_in_an_image_stays_open(tmp_path: Path) -> None:
    write(tmp_path, 100)
    opened = xpyramid.open_pyramid(tmp_path, "field")
    cells = (xr.zeros_like(image(100)) + 3).rename("cells")
    for mode in ("w-", "w"):
        cells.pyramid.build(levels=2, kind="labels", chunks=2).to_ome_zarr(
            tmp_path, labels_of="field", mode=mode
        )
        np.testing.assert_array_equal(opened[0], image(100))
    labels = xpyramid.open_pyramid(tmp_path, "field/labels/cells")
    for start in (5000, 100):  # the same samples again
        with pytest.warns(UserWarning, match="do not fit") if start != 100 else nullcontext():
            write(tmp_path, start)
        np.testing.assert_array_equal(labels[0], cells)
    np.testing.assert_array_equal(opened[0], image(100))


def test_an_image_that_is_written_again_as_it_was_stays_open(tmp_path: Path) -> None:
    store = MemoryStore()
    for place in (tmp_path, store):
        write(place, 100)
        opened = xpyramid.open_pyramid(place, "field")
        write(place, 100)
        np.testing.assert_array_equal(opened[0], image(100))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files")
def test_images_that_are_open_hold_no_files(tmp_path: Path) -> None:
    write(tmp_path, 100)
    before = len(os.listdir("/proc/self/fd"))
    opened = [xpyramid.open_pyramid(tmp_path, "field") for _ in range(30)]
    for pyramid in opened:
        pyramid[0].compute()
    assert len(os.listdir("/proc/self/fd")) <= before + 5


def test_an_image_that_is_replaced_each_time_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 100)
    read_at_once, starts = confined.ConfinedStore.read_at_once, iter(range(200, 10**6))

    def replacing(store: Any, key: str, *most: int) -> bytes | None:
        got = read_at_once(store, key, *most)
        if key.endswith("0/field/zarr.json"):
            write(tmp_path, next(starts))
        return got

    monkeypatch.setattr(zarr.config, "get", zarr.config.get)
    monkeypatch.setattr(confined.ConfinedStore, "read_at_once", replacing)
    with pytest.raises(errors.ReplacedError, match="open it again"):
        read(tmp_path)


class Steps:
    """What happens once, after a step of `verify`."""

    PLACES: tuple[tuple[Any, str], ...] = (
        (listing, "_walk_sizes"), (listing, "read_documents"), (verifying, "list_contents"),
        (verifying, "peek"), (inspecting, "open_all"), (inspecting, "load_tables"),
        (inspecting, "check_sizes"),
    )  # fmt: skip

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.after = 0, -1
        self.action: Callable[[], object] = lambda: None
        self._is_acting = False
        for module, name in self.PLACES:
            monkeypatch.setattr(module, name, self._wrapped(getattr(module, name)))

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self._step()
            got = function(*args, **options)
            if isinstance(got, Iterator):
                got = iter(list(got))
            self._step()
            return got

        return counted

    def _step(self) -> None:
        if self._is_acting:
            return
        self.count += 1
        if self.count == self.after:
            self._is_acting = True
            self.action()
            self._is_acting = False

    def set(self, after: int, action: Callable[[], object]) -> None:
        self.count, self.after, self.action = 0, after, action


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("checks", [{}, {"checksums": True}, {"deep": True}], ids=str)
@pytest.mark.parametrize("inside", [False, True])
def test_verify_looks_again(
    checks: dict[str, bool], inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    place = tmp_path / "field" if inside else tmp_path
    write(tmp_path, 100)
    assert xpyramid.verify(place, **checks) == []
    for k in range(1, steps.count + 1, 2):
        steps.set(-1, lambda: None)
        write(tmp_path, 100)
        steps.set(k, lambda: write(tmp_path, 5000, extent=12))
        assert xpyramid.verify(place, **checks) == [], k


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.filterwarnings(  # all threads share the filters, so that writing may lose its own
    "ignore:Object at .* is not recognized:zarr.errors.ZarrUserWarning"
)
def test_verify_looks_again_at_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 100)
    steps = Steps(monkeypatch)

    def label(value: int) -> None:
        cells = (xr.zeros_like(image(100)) + value).rename("cells")
        cells.pyramid.build(levels=2, kind="labels", chunks=value).to_ome_zarr(
            tmp_path, labels_of="field", mode="w"
        )

    label(2)
    assert xpyramid.verify(tmp_path) == []
    for k in range(1, steps.count + 1, 4):
        steps.set(-1, lambda: None)
        label(2)
        steps.set(k, lambda: label(3))
        assert xpyramid.verify(tmp_path) == [], k


@pytest.mark.once
@pytest.mark.slow
def test_verify_of_an_image_in_memory_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for store in (MemoryStore(), ObjectStore(obstore.store.MemoryStore())):
        with monkeypatch.context() as patched:
            steps = Steps(patched)
            write(store, 100)
            steps.set(-1, lambda: None)
            assert xpyramid.verify(store) == []
            for k in range(1, steps.count + 1):
                steps.set(-1, lambda: None)
                write(store, 100)
                steps.set(k, lambda store=store: write(store, 5000, extent=12))
                assert xpyramid.verify(store) == [], k


def test_verify_says_that_an_image_keeps_being_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 100)
    starts, list_contents = iter(range(200, 10**6)), verifying.list_contents

    def replacing(place: Any) -> Any:
        listed = list_contents(place)
        write(tmp_path, next(starts))
        return listed

    monkeypatch.setattr(verifying, "list_contents", replacing)
    (problem,) = xpyramid.verify(tmp_path / "field", checksums=True)
    assert problem.kind == "replaced"
    assert "verify it again when nobody writes" in problem.message


def test_readers_that_are_not_ours_see_both(tmp_path: Path) -> None:
    """As docs/promises.md says."""
    write(tmp_path, 100)
    level = xr.open_zarr(tmp_path / "field/0", consolidated=False, chunks={})["field"]
    first = level[:2].to_numpy()
    write(tmp_path, 5000)
    np.testing.assert_array_equal(first, image(100)[:2])
    np.testing.assert_array_equal(level[2:], image(5000)[2:])
    np.testing.assert_array_equal(level.x, image(100).x)
    write(tmp_path, 5000, chunks=4)  # which has other chunks: the old ones are read as fill values
    assert not level[2:].to_numpy().any()


def test_damage_is_still_said(tmp_path: Path) -> None:
    write(tmp_path, 100)
    (tmp_path / "field/0/field/c/1/1").unlink()
    (problem,) = xpyramid.verify(tmp_path)
    assert problem.kind == "missing"
    with pytest.raises(errors.ReadError, match="is missing, or empty") as caught:
        read(tmp_path)
    assert not isinstance(caught.value, errors.ReplacedError)


WRITER = """
import sys
import dask
import xpyramid
sys.path.insert(0, sys.argv[2])
from test_replaced_while_read import write
for i in range(30):
    write(sys.argv[1], 100 + 40 * (i + 1))
"""


@pytest.mark.once
@pytest.mark.slow
def test_by_another_process_while_levels_are_read(tmp_path: Path) -> None:
    write(tmp_path, 100)
    images = [expected(100 + 40 * i) for i in range(31)]
    arguments = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)]
    whole, refused, deadline = 0, 0, time.monotonic() + 60
    with subprocess.Popen(arguments) as writer:
        while writer.poll() is None and time.monotonic() < deadline:
            try:
                got = read(tmp_path)
            except errors.ReplacedError:
                refused += 1
            else:
                assert any(same(got, wanted) for wanted in images)
                whole += 1
            assert {problem.kind for problem in xpyramid.verify(tmp_path)} <= {"unfinished"}
    assert writer.returncode == 0
    assert whole > 5
    assert same(read(tmp_path), images[-1])


class Anew(dict[str, Any]):
    """A mapping that makes what it holds anew, each time that it is asked."""

    def __getitem__(self, key: str) -> Any:
        buffer = super().__getitem__(key)
        return type(buffer).from_bytes(buffer.to_bytes())

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


def test_mappings_that_make_their_objects_anew() -> None:
    store = MemoryStore(Anew())
    array = xr.DataArray(np.arange(64.0).reshape(8, 8), dims=("y", "x"), name="field")
    array.pyramid.build(levels=2, chunks=4).to_ome_zarr(store)
    opened = xpyramid.open_pyramid(store, "field")
    np.testing.assert_array_equal(opened[0], array)
    assert xpyramid.verify(store, deep=True) == []
