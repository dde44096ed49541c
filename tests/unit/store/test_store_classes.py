"""Whatever zarr takes as a store works, or is refused with its name before anything is done."""

from __future__ import annotations

import shutil
import warnings
from collections import OrderedDict, UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from helpers.quick import spread
from zarr.buffer import default_buffer_prototype
from zarr.storage import (
    FsspecStore,
    LocalStore,
    LoggingStore,
    MemoryStore,
    ObjectStore,
    StorePath,
    WrapperStore,
    ZipStore,
)

import xpyramid
from xpyramid import errors
from xpyramid._compat import sync
from xpyramid.store.retrying import retrying

VALUES = np.arange(40 * 50, dtype="u2").reshape(40, 50)


def field() -> xr.DataArray:
    return xr.DataArray(VALUES, dims=("y", "x"), name="field")


def obstore() -> Any:
    return pytest.importorskip("obstore").store


STORES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path / "out.zarr",
    "text": lambda path: str(path / "out.zarr"),
    "file URL": lambda path: (path / "out.zarr").as_uri(),
    "dict": lambda _: {},
    "ordered dict": lambda _: OrderedDict(),
    "user dict": lambda _: UserDict(),
    "group": lambda path: zarr.open_group(path / "out.zarr"),
    "path in a store": lambda _: StorePath(MemoryStore(), "lab"),
    "memory": lambda _: MemoryStore(),
    "directory": lambda path: LocalStore(path / "out.zarr"),
    "wrapper": lambda path: WrapperStore(LocalStore(path / "out.zarr")),
    "logging": lambda _: LoggingStore(MemoryStore(), log_level="CRITICAL"),
    "mapper of files": lambda path: fsspec.get_mapper(f"file://{path}/out.zarr"),
    "mapper of memory": lambda path: fsspec.get_mapper(f"memory://{path}"),
    "URL": lambda path: f"memory://{path}/url",
    "fsspec": lambda path: FsspecStore.from_url(f"memory://{path}/fsspec"),
    "asynchronous fsspec": lambda path: FsspecStore(
        AsyncFileSystemWrapper(fsspec.filesystem("memory"), asynchronous=True), path=f"{path}/async"
    ),
    "obstore on disk": lambda path: ObjectStore(obstore().LocalStore(path / "out", mkdir=True)),
    "obstore in memory": lambda _: ObjectStore(obstore().MemoryStore()),
    "bare obstore": lambda _: obstore().MemoryStore(),
}


@pytest.mark.parametrize(("layout", "kind"), spread(2, ["groups", "arrays"], list(STORES)))
def test_every_kind_of_store(tmp_path: Path, kind: str, layout: str) -> None:
    store = STORES[kind](tmp_path)
    field().pyramid.to_ome_zarr(store, levels=2, chunks=16, layout=layout)
    check(store, VALUES)
    (field() + 1).pyramid.to_ome_zarr(store, levels=2, chunks=16, layout=layout, mode="w")
    check(store, VALUES + 1)


def check(store: Any, values: np.ndarray[Any, Any]) -> None:
    opened = xpyramid.open_pyramid(store, "field")
    np.testing.assert_array_equal(opened[0], values)
    assert xpyramid.verify(store, "field", deep=True) == []
    assert list(xpyramid.open_pyramids(store)) == ["field"]


@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_icechunk(layout: str) -> None:
    icechunk = pytest.importorskip("icechunk")
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    for added in (0, 1):
        session = repository.writable_session("main")
        array = field() + added
        store = session.store if added else session  # either does
        array.pyramid.to_ome_zarr(store, levels=2, chunks=16, layout=layout, mode="w")
        session.commit("a pyramid")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(repository.readonly_session("main").store, VALUES + added)


@pytest.mark.parametrize(
    ("store", "name"),
    [(3, "3 is not a store"), (None, "None is not a store"), ("", "'' is not a store"),
     (object(), "an object of builtins.object is not a store"),
     (iter([]), "an object of builtins.list_iterator")],
)  # fmt: skip
def test_what_is_no_store(store: Any, name: str) -> None:
    with pytest.raises(errors.InvalidNameError, match=name):
        field().pyramid.to_ome_zarr(store, levels=2)
    with pytest.raises(errors.InvalidNameError, match=name):
        xpyramid.open_pyramid(store)


def test_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.NotWritableError, match="in an archive"):
        field().pyramid.to_ome_zarr(ZipStore(tmp_path / "a.zip", mode="w"), levels=2)


def test_archives_that_nobody_has_opened_yet(tmp_path: Path) -> None:
    array = xr.DataArray(np.ones((16, 16), "u2"), dims=("y", "x"), name="f")
    for name in ("a", "b"):
        array.pyramid.to_ome_zarr(tmp_path / "in.zarr", name, levels=2)
    path = shutil.make_archive(str(tmp_path / "in"), "zip", tmp_path / "in.zarr")
    before = Path(path).read_bytes()
    assert sorted(xpyramid.open_pyramids(zarr.storage.ZipStore(path, mode="r"))) == ["a", "b"]
    assert not xpyramid.verify(zarr.storage.ZipStore(path, mode="r"))
    assert len(xpyramid.open_pyramid(zarr.storage.ZipStore(path, mode="r"), "a")) == 2
    for where, mode in ((path, "w"), (path, "a"), ("no.zip", "r")):
        wrong = zarr.storage.ZipStore(where, mode=mode)  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidNameError, match="is not open"):
            xpyramid.open_pyramid(wrong, "a")
    assert Path(path).read_bytes() == before


def test_several_images_in_a_local_store_of_obstore(tmp_path: Path) -> None:
    array = xr.DataArray(np.ones((16, 16), "u2"), dims=("y", "x"), name="f")
    (tmp_path / "out.zarr").mkdir()
    store = pytest.importorskip("obstore").store.LocalStore(str(tmp_path / "out.zarr"))
    for name in ("a", "b"):
        array.pyramid.to_ome_zarr(store, name, levels=2)
    assert (tmp_path / "out.zarr/OME/METADATA.ome.xml").is_file()
    assert sorted(xpyramid.open_pyramids(store)) == ["a", "b"]
    assert not xpyramid.verify(store)


class RaisingStore(WrapperStore[MemoryStore]):
    """A store that raises where others say that there is nothing."""

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        found = await super().get(key, *args, **options)
        if found is None:
            raise FileNotFoundError(key)
        return found

    async def delete(self, key: str) -> None:
        if not await self.exists(key):
            raise FileNotFoundError(key)
        await super().delete(key)

    async def list_dir(self, prefix: str) -> Any:
        names = [name async for name in super().list_dir(prefix)]
        if not names:
            raise NotADirectoryError(prefix)
        for name in names:
            yield name


def test_a_store_that_raises_where_nothing_is() -> None:
    store = RaisingStore(MemoryStore())
    with pytest.raises(errors.NotAPyramidError, match="there is nothing"):
        xpyramid.open_pyramid(store, "field")
    for k, mode in enumerate(("w-", "w")):
        (field() + k).pyramid.to_ome_zarr(store, levels=2, chunks=16, mode=mode)
        check(store, VALUES + k)
    retrying_store = retrying(store)
    assert sync(retrying_store.get("none", default_buffer_prototype())) is None
    sync(retrying_store.delete("none"))
