"""What is read is never written over."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.storage import FsspecStore, LocalStore, LoggingStore, MemoryStore, ZipStore

import xpyramid
from xpyramid import errors
from xpyramid.store.path import NodePath, resolve
from xpyramid.writer import source_guard
from xpyramid.writer.source_guard import check_source, what_is_read

VALUES = np.arange(1, 65, dtype="u2").reshape(8, 8)


def spots(*read: Any) -> set[str]:
    """Return the last part of the name of what is read."""
    return {location.name.rpartition("/")[2] for location in what_is_read(read).locations}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a/field, a/other and their lazy coordinate a/height into a store."""
    dims = ("y", "x")
    xr.Dataset(
        {"field": (dims, VALUES), "other": (dims, VALUES)}, {"height": (dims, VALUES * 1.0)}
    ).to_zarr(tmp_path / "in.zarr", group="a", consolidated=False)
    return tmp_path / "in.zarr"


def opened(source: Path, **options: Any) -> xr.Dataset:
    return xr.open_zarr(source, group="a", consolidated=False, **options)


def wrapped(array: zarr.Array) -> Any:
    class Mine:
        shape, dtype, ndim = array.shape, array.dtype, 2

        def __init__(self) -> None:
            self.inner = {"one": [array]}

        def __getitem__(self, key: Any) -> Any:
            return self.inner["one"][0][key]

    return Mine()


OF_ARRAY: dict[str, Callable[[zarr.Array], Any]] = {
    "from_zarr": da.from_zarr,
    "from_zarr by path": lambda z: da.from_zarr(str(z.store_path).removeprefix("file://")),
    "from_array": lambda z: da.from_array(z, chunks=4),
    "inlined": lambda z: da.from_array(z, chunks=4, inline_array=True),
    "rechunked": lambda z: da.from_zarr(z).rechunk((3, 5)),
    "sliced": lambda z: da.from_zarr(z)[2:, ::-1],
    "arithmetic": lambda z: (da.ones((8, 8)) + da.from_zarr(z) * 2).T,
    "fused": lambda z: dask.optimize((da.from_zarr(z) + 1)[1:])[0],
    "delayed": lambda z: da.from_delayed(dask.delayed(np.asarray)(z), (8, 8), z.dtype),
    "in a delayed list": lambda z: da.from_delayed(dask.delayed(np.stack)([z]), (8, 8), z.dtype),
    "as an argument": lambda z: da.ones((8, 8)).map_blocks(lambda b, other: b + other[:], other=z),
    "in a closure": lambda z: da.ones((8, 8)).map_blocks(lambda b: b + z[:]),
    "in an object": lambda z: da.from_array(wrapped(z), chunks=4),
    "overlapping": lambda z: da.overlap.overlap(da.from_zarr(z), 1, "none"),
    "graph as a dict": lambda z: da.Array(
        dict((da.from_zarr(z) + 1).dask), (da.from_zarr(z) + 1).name, ((8,), (8,)), z.dtype
    ),
}


@pytest.mark.parametrize("make", OF_ARRAY.values(), ids=OF_ARRAY)
def test_arrays_in_graphs_are_found(source: Path, make: Callable[[zarr.Array], Any]) -> None:
    found = spots(make(zarr.open_array(source / "a/field", mode="r")))
    assert {name.rstrip(")>") for name in found} == {"field"}


@pytest.mark.parametrize("chunks", [None, {}, "auto"])
def test_what_xarray_opened_is_found(source: Path, chunks: Any) -> None:
    ds = opened(source, chunks=chunks)
    for array in (ds.field, ds.field[2:, ::-1], ds.field.transpose("x", "y")):
        assert spots(array.variable) == {"field"}
        assert spots(array) == {"field", "height"}
    assert spots(ds) == {"field", "other", "height"}


@pytest.mark.parametrize("chunks", [None, {}])
def test_netcdf_files_are_found(tmp_path: Path, chunks: Any) -> None:
    file = tmp_path / "in.nc"
    xr.Dataset({"field": (("y", "x"), VALUES.astype("i4"))}).to_netcdf(file, engine="scipy")
    other = tmp_path / "other.nc"
    xr.Dataset({"field": (("y", "x"), VALUES.astype("i4"))}).to_netcdf(other, engine="scipy")
    with (
        xr.open_dataset(file, engine="scipy", chunks=chunks) as ds,
        xr.open_dataset(other, engine="scipy") as beside,
    ):
        beside.field.load()
        assert spots(ds.field) == {"in.nc"}


def test_memory_maps_and_names_of_files_are_found(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", VALUES)
    mapped = np.load(tmp_path / "in.npy", mmap_mode="r")
    assert spots(mapped[2:].view()) == spots(xr.DataArray(mapped)) == {"in.npy"}
    read = dask.delayed(np.load)(str(tmp_path / "in.npy"))
    assert spots(da.from_delayed(read, (8, 8), "u2")) == {"in.npy"}


@pytest.mark.parametrize("chunks", [None, {}])
def test_what_is_in_memory_is_not_read(source: Path, chunks: Any) -> None:
    ds = opened(source, chunks=chunks)
    assert not what_is_read([ds.load()]).locations
    assert not what_is_read([opened(source, chunks={}).persist() * 2]).locations
    assert not what_is_read([xr.DataArray(VALUES), "no such file", ".", "/", 3, None]).locations


def test_a_large_graph_is_looked_at_quickly(source: Path) -> None:
    z = zarr.open_array(source / "a/field", mode="r")
    array = da.from_array(z, chunks=1)
    big = da.concatenate([array] * 20).rechunk((1, 8)) + 1
    assert spots(big) == {"field"}
    assert (
        not [  # blockwise layers stay as they are: their tasks have not been made
            layer for layer in big.dask.layers.values() if getattr(layer, "_cached_dict", None)
        ]
    )


RELATIONS = {
    "the same": ("a/field", True),
    "above": ("a", True),
    "below": ("a/field/deeper", True),
    "sibling": ("a/new", False),
    "of a similar name": ("a/fiel", False),
    "elsewhere": ("b", False),
}


@pytest.mark.parametrize(("group", "bad"), RELATIONS.values(), ids=RELATIONS)
def test_relations(source: Path, group: str, bad: bool) -> None:
    read = what_is_read([opened(source, chunks={}).field.variable]).locations
    target = resolve(source, read_only=False) / group
    if bad:
        with pytest.raises(errors.SourceOverlapError, match=r"field.*choose another"):
            check_source(read, [target])
    else:
        check_source(read, [target])


def spell(source: Path) -> dict[str, Any]:
    (source.parent / "link").symlink_to(source.parent)
    (source.parent / "store").symlink_to(source)
    local = fsspec.filesystem("file")
    return {
        "path": source,
        "relative": os.path.relpath(source),
        "slashes": f"{source}//",
        "dots": f"{source}/../in.zarr",
        "url": f"file://{source}",
        "link above": source.parent / "link/in.zarr",
        "link": source.parent / "store",
        "store": LocalStore(source),
        "wrapped": LoggingStore(LocalStore(source)),
        "fsspec": FsspecStore(AsyncFileSystemWrapper(local, asynchronous=True), path=str(source)),
        "group": zarr.open_group(source, mode="r+"),
    }


SPELLINGS = (
    "path", "relative", "slashes", "dots", "url", "link above", "link", "store", "wrapped",
    "fsspec", "group",
)  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(source: Path, spelling: str) -> None:
    store = spell(source)[spelling]
    place = resolve(store, read_only=False)
    plain = resolve(source, read_only=False)
    field = (place / "a/field").node()
    read = what_is_read([da.from_array(zarr.open_array(source / "a/field", mode="r"))]).locations
    with pytest.raises(errors.SourceOverlapError):
        check_source(read, [place / "a"])
    if isinstance(field, zarr.Array):
        with pytest.raises(errors.SourceOverlapError):
            check_source(what_is_read([da.from_array(field)]).locations, [plain / "a"])
    check_source(read, [place / "b"])


def test_disks_that_ignore_case(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = what_is_read([zarr.open_array(source / "a/field", mode="r")]).locations
    target = NodePath(LocalStore(source.parent / "IN.ZARR"), "A")
    check_source(read, [target])
    stat = os.stat
    lower = str(source.parent)
    monkeypatch.setattr(
        source_guard.os, "stat", lambda p: stat(lower + str(p).removeprefix(lower).lower())
    )
    source_guard._identity.cache_clear()
    with pytest.raises(errors.SourceOverlapError):
        check_source(read, [target])


def test_memory_and_other_stores(tmp_path: Path) -> None:
    one, two = MemoryStore(), MemoryStore()
    zarr.create_array(one, name="field", shape=8, dtype="u1")
    zarr.create_array(two, name="field", shape=8, dtype="u1")
    read = what_is_read([da.from_array(zarr.open_array(one, path="field"))]).locations
    check_source(read, [NodePath(two, "field")])
    for store in (one, MemoryStore(one._store_dict), LoggingStore(one), one.with_read_only(True)):
        with pytest.raises(errors.SourceOverlapError):
            check_source(read, [NodePath(store, "field")])
        with pytest.raises(errors.SourceOverlapError):
            check_source(read, [NodePath(store, "field/below")])
        check_source(read, [NodePath(store, "fiel")])

    with ZipStore(tmp_path / "in.zip", mode="w") as packed:
        zarr.create_array(packed, name="field", shape=8, dtype="u1")
        read = what_is_read([zarr.open_array(packed, path="field")]).locations
        with pytest.raises(errors.SourceOverlapError):
            check_source(read, [NodePath(ZipStore(tmp_path / "in.zip", mode="w"), "new")])
    with pytest.raises(errors.SourceOverlapError):
        check_source(read, [NodePath(LocalStore(tmp_path), "in.zip")])

    url = "memory://guard/in.zarr"
    zarr.create_array(FsspecStore.from_url(url), name="field", shape=8, dtype="u1")
    read = what_is_read([zarr.open_array(FsspecStore.from_url(url + "/"), path="field")]).locations
    with pytest.raises(errors.SourceOverlapError):
        check_source(read, [resolve("memory://guard", read_only=False) / "in.zarr"])
    check_source(read, [resolve(url, read_only=False) / "other"])


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("group", ["a", "a/field", "a/field/below", "a/height"])
def test_writing_is_refused(source: Path, group: str, chunks: Any) -> None:
    array = opened(source, chunks=chunks).field
    before = contents(source)
    with pytest.raises(errors.SourceOverlapError, match=r"cannot write to .*read from"):
        array.pyramid.to_ome_zarr(source, group, levels=2)
    assert contents(source) == before


def test_each_variable_of_a_dataset_is_guarded_against_all(tmp_path: Path) -> None:
    store = tmp_path / "in.zarr"
    zarr.create_array(store, name="out/one", data=VALUES)
    lazy = da.from_zarr(zarr.open_array(store, path="out/one", mode="r"))
    ds = xr.Dataset({"one": (("y", "x"), VALUES), "two": (("y", "x"), lazy)})
    before = contents(store)
    with pytest.raises(errors.SourceOverlapError, match="out/one"):
        ds.pyramid.to_ome_zarr(store, "out", levels=2)
    assert contents(store) == before


def test_a_pyramid_may_be_written_beside_its_source(source: Path) -> None:
    array = opened(source, chunks={}).field
    array.pyramid.to_ome_zarr(source, "a/pyramid", levels=2, version="0.5")
    np.testing.assert_array_equal(xpyramid.open_pyramid(source, "a/pyramid")[0], VALUES)
    np.testing.assert_array_equal(opened(source).field, VALUES)
