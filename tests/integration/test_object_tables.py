"""Tables of sizes and checksums that are objects of their own, beside their arrays."""

from __future__ import annotations

import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import icechunk
import numpy as np
import obstore
import pytest
import xarray as xr
import zarr
from helpers.counting_store import CountingStore
from helpers.small_image import broken_off, pyramid
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore, WrapperStore, ZipStore

import xpyramid
from xpyramid import errors
from xpyramid.store import object_table, presence
from xpyramid.writer import coordinates
from xpyramid.writer.sinks import ZarrSink

FORMS: dict[str, dict[str, Any]] = {
    "v2": {"version": "0.4"}, "v3": {}, "shards": {"shards": 8}, "arrays": {"layout": "arrays"}
}  # fmt: skip


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all tables were too long for attributes."""
    monkeypatch.setattr(object_table, "INLINE", 0)


def image() -> xr.DataArray:
    data = np.random.default_rng(0).integers(1, 2**16, (16, 16), "u2")
    coords = {"y": 0.5 * np.arange(16), "x": 2.0 + np.arange(16)}
    return xr.DataArray(data, coords, ("y", "x"), "field")


def write(store: Any, **options: Any) -> None:
    image().pyramid.build(levels=2, chunks=4).to_ome_zarr(store, **options)


def tables(root: Path) -> list[Path]:
    return sorted(root.rglob("objects.xpyramid"))


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_nobody_takes_them_for_nodes_or_chunks(options: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, **options)
    found = tables(tmp_path)
    assert len(found) == (2 if "layout" in options else 6)
    group = zarr.open_group(tmp_path / "field", mode="r", use_consolidated=False)
    paths = [path for path, _ in group.members(max_depth=None)]  # a warning would be an error
    assert not [path for path in paths if "xpyramid" in path]
    level: Any = group["0" if "layout" in options else "0/field"]
    assert level.nchunks_initialized == level.nchunks
    if "layout" not in options:
        tree = xr.open_datatree(tmp_path / "field", engine="zarr")
        assert set(tree.children) == {"0", "1"}
        np.testing.assert_array_equal(tree["0/field"], image())
    for checks in ({}, {"checksums": True}, {"deep": True}):
        assert xpyramid.verify(tmp_path, **checks) == []
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "field")[0], image())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(tmp_path)
    assert xpyramid.verify(tmp_path, checksums=True) == []


@pytest.mark.parametrize("damage", ["missing", "cut", "another", "empty"])
def test_a_table_that_is_damaged(damage: str, tmp_path: Path) -> None:
    write(tmp_path)
    table = tmp_path / "field/0/field/objects.xpyramid"
    raw = table.read_bytes()
    if damage == "missing":
        table.unlink()
    elif damage == "another":
        table.write_bytes((tmp_path / "field/1/field/objects.xpyramid").read_bytes())
    else:
        table.write_bytes(raw[:-1] if damage == "cut" else b"")
    (found,) = xpyramid.verify(tmp_path, deep=True)
    kind = "missing" if damage == "missing" else "record"
    assert (found.kind, found.where) == (kind, "field/0/field/objects.xpyramid")
    object_table_cache().clear()
    opened = xpyramid.open_pyramid(tmp_path / "field")
    with pytest.warns(UserWarning, match="is read without comparing sizes"):
        np.testing.assert_array_equal(opened[0], image())


def object_table_cache() -> dict[str, Any]:
    from xpyramid.store import checked

    return checked._loaded


def test_a_table_is_got_when_its_level_is_read_and_once(tmp_path: Path) -> None:
    write(tmp_path)
    object_table_cache().clear()
    store = CountingStore(LocalStore(tmp_path, read_only=True))
    opened = xpyramid.open_pyramid(store, "field")

    def got() -> list[int]:
        keys = [entry.key for entry in store.log if entry.what == "get"]
        return [keys.count(f"field/{level}/field/objects.xpyramid") for level in (0, 1)]

    assert got() == [0, 0]
    opened[0].compute()
    xpyramid.open_pyramid(store, "field")[0].compute()
    assert got() == [1, 0]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_build_that_is_resumed_knows_what_was_written_before(
    in_place: bool, tmp_path: Path
) -> None:
    store = WrapperStore(LocalStore(tmp_path)) if in_place else tmp_path
    with dask.config.set(scheduler="sync"):
        broken_off(lambda: pyramid().to_ome_zarr(store))
        pyramid().to_ome_zarr(store, resume=True)
    assert xpyramid.verify(tmp_path, checksums=True) == []
    record = zarr.open_group(tmp_path / "field", mode="r").attrs["xpyramid"]
    assert isinstance(record, dict)
    assert all(entry["table"] for entry in record["sealed"]["objects"].values())
    assert [*tmp_path.rglob("*.partial")] == []


def test_an_image_that_replaces_another_has_its_own_tables(tmp_path: Path) -> None:
    for store in (tmp_path, WrapperStore(LocalStore(tmp_path))):
        write(store, mode="w")
        before = [path.read_bytes() for path in tables(tmp_path)]
        other = image() + 1
        other.pyramid.build(levels=1, chunks=8).to_ome_zarr(store, mode="w")
        assert len(tables(tmp_path)) == 3
        assert tables(tmp_path)[0].read_bytes() not in before
        assert xpyramid.verify(tmp_path, deep=True) == []


@pytest.mark.slow
def test_written_later_and_in_other_processes(tmp_path: Path) -> None:
    """And read in others."""
    built = image().pyramid.build(levels=2, chunks=4)
    built.to_ome_zarr(tmp_path / "later.zarr", compute=False).compute()
    opened = xpyramid.open_pyramid(tmp_path / "later.zarr/field")
    (tmp_path / "later.zarr/field/1/field/c/1/1").unlink()
    with dask.config.set(scheduler="processes", num_workers=1):
        built.to_ome_zarr(tmp_path / "processes.zarr")
        with pytest.raises(errors.ReadError, match="1/field/c/1/1 is missing"):
            opened[1].compute()
    (tmp_path / "later.zarr/field/1/field/c/1/1").write_bytes(
        (tmp_path / "processes.zarr/field/1/field/c/1/1").read_bytes()
    )
    for name in ("later.zarr", "processes.zarr"):
        assert xpyramid.verify(tmp_path / name, checksums=True) == []
        chunk = tmp_path / name / "field/0/field/c/1/1"
        chunk.write_bytes(bytes(chunk.stat().st_size))
        assert len(xpyramid.verify(tmp_path / name, checksums=True)) == 1


def test_images_that_are_written_together(tmp_path: Path) -> None:
    """Whose base is read once, and whose objects are written by the same tasks."""
    ds = xr.Dataset({"a": image(), "b": image(), "c": image() + 1})
    pyramids = ds.pyramid.build(levels=3, chunks=4, method={"a": "mean", "b": "median", "c": "max"})
    pyramids.to_ome_zarr(tmp_path)
    report = xpyramid.verify(tmp_path, checksums=True)
    assert (report, report.images) == ([], 3)
    for name in "abc":
        for level in (0, 1, 2):
            assert (tmp_path / f"{name}/{level}/{name}/objects.xpyramid").is_file()
            chunk = tmp_path / f"{name}/{level}/{name}/c/0/0"
            chunk.write_bytes(bytes(chunk.stat().st_size))
    assert len(xpyramid.verify(tmp_path, checksums=True)) == 9


@pytest.mark.parametrize("kind", ["fsspec", "local by fsspec"])
def test_what_writes_can_be_sent_to_other_processes(kind: str, tmp_path: Path) -> None:
    array = zarr.create_array(stores(kind, tmp_path), name="a", shape=(8,), chunks=(4,), dtype="u1")
    sink = pickle.loads(pickle.dumps(ZarrSink(array, "a", "0/a")))
    (records,) = sink((slice(4, 8),), np.arange(1, 5, dtype="u1")).values()
    ((position, size, _),) = records.tolist()
    assert position == 1
    assert size > 4
    assert sink((slice(4, 8),), np.zeros(4, "u1")) == {}


def test_coordinates_that_are_written_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinates, "_SMALL", 0)
    lazy = da.random.default_rng(0).random(16, chunks=4)
    array = image().assign_coords(depth=("y", lazy))
    array.pyramid.build(levels=2, chunks=4).to_ome_zarr(tmp_path)
    assert xpyramid.verify(tmp_path, checksums=True) == []
    chunk = tmp_path / "field/0/depth/c/2"
    assert chunk.is_file()
    chunk.write_bytes(chunk.read_bytes()[::-1])
    (found,) = xpyramid.verify(tmp_path, checksums=True)
    assert (found.kind, found.where) == ("changed", "field/0/depth/c/2")


@pytest.mark.parametrize("compressor", [zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec(level=3)])
def test_codecs_of_all_kinds(compressor: Any, tmp_path: Path) -> None:
    """Those that zarr-python encodes, too."""
    write(tmp_path, compressor=compressor)
    assert xpyramid.verify(tmp_path, checksums=True) == []
    chunk = tmp_path / "field/1/field/c/1/1"
    chunk.write_bytes(chunk.read_bytes() + b"0")
    assert [p.where for p in xpyramid.verify(tmp_path)] == ["field/1/field/c/1/1"]


def stores(kind: str, root: Path) -> Any:
    """Return a store of each kind."""
    if kind == "memory":
        return MemoryStore()
    if kind == "fsspec":
        return FsspecStore.from_url(f"memory://{root.name}")
    if kind == "local by fsspec":
        return FsspecStore.from_url(f"file://{root}/fs", storage_options={"auto_mkdir": True})
    if kind == "obstore":
        return ObjectStore(obstore.store.MemoryStore())
    if kind == "wrapped":
        return WrapperStore(MemoryStore())
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    return repository.writable_session("main").store


async def cut(store: Any, key: str) -> None:
    prototype = zarr.buffer.default_buffer_prototype()
    raw = (await store.get(key, prototype)).to_bytes()
    await store.set(key, prototype.buffer.from_bytes(raw[:-1]))


@pytest.mark.parametrize(
    "kind", ["memory", "fsspec", "local by fsspec", "obstore", "wrapped", "icechunk"]
)
@pytest.mark.parametrize("shards", [None, 8])
def test_stores_of_all_kinds(kind: str, shards: int | None, tmp_path: Path) -> None:
    store = stores(kind, tmp_path)
    write(store, shards=shards)
    report = xpyramid.verify(store, checksums=True)
    assert (report, report.notes) == ([], [])
    report = xpyramid.verify(store)
    assert report == []
    tells_no_sizes = kind in ("wrapped", "icechunk")
    assert [note.split(":")[1][:24] for note in report.notes] == (
        [" sizes were not compared"] if tells_no_sizes else []
    )
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], image())
    zarr.core.sync.sync(cut(store, "field/0/field/c/1/1"))
    assert [p.where for p in xpyramid.verify(store, checksums=True)] == ["field/0/field/c/1/1"]
    assert len(xpyramid.verify(store)) == (0 if tells_no_sizes else 1)
    with pytest.raises(errors.ReadError, match="when the image was complete"):
        xpyramid.open_pyramid(store, "field")[0].compute()


@pytest.mark.parametrize("shards", [None, 8])
def test_archives(shards: int | None, tmp_path: Path) -> None:
    write(tmp_path / "out.zarr", shards=shards)
    archive = shutil.make_archive(str(tmp_path / "whole"), "zip", tmp_path / "out.zarr")
    with ZipStore(archive, mode="r") as store:
        assert xpyramid.verify(store, deep=True) == []
    np.testing.assert_array_equal(xpyramid.open_pyramid(archive, "field")[0], image())
    chunk = tmp_path / "out.zarr/field/0/field/c/1/1"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    archive = shutil.make_archive(str(tmp_path / "cut"), "zip", tmp_path / "out.zarr")
    with ZipStore(archive, mode="r") as store:
        assert len(xpyramid.verify(store)) == 1
    with pytest.raises(errors.ReadError, match="when the image was complete"):
        xpyramid.open_pyramid(archive, "field")[0].compute()


def test_a_store_of_nodes_alone_has_no_room_for_long_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "LONGEST", 50)
    store = stores("icechunk", tmp_path)
    write(store)
    report = xpyramid.verify(store, deep=True)
    assert report == []
    assert [note for note in report.notes if "of 16 chunks were not recorded" in note]
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], image())


def test_an_object_that_is_gone_before_the_end_is_not_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xpyramid.writer import session

    run = session.run

    def lose(*args: Any) -> Any:
        summaries = run(*args)
        next((tmp_path / ".field.unfinished").rglob("0/field/c/1/1")).unlink()
        return summaries

    monkeypatch.setattr(session, "run", lose)
    with pytest.raises(errors.StorageError, match=r"0/field/c/1/1 was written and is not there"):
        write(tmp_path)
    with pytest.raises(errors.NotAPyramidError, match="unfinished"):
        xpyramid.open_pyramid(tmp_path / "field")
