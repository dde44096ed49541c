"""What is refused before any work leaves nothing behind."""

import importlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.memory import MemoryFileSystem
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ZipStore

from xpyramid import errors
from xpyramid.writer.missing_chunks import missing

VALUES = np.arange(1, 65, dtype="u2").reshape(8, 8)


def field(**coords: Any) -> xr.DataArray:
    return xr.DataArray(VALUES, dims=("y", "x"), coords=coords, name="field")


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


def refused(
    at: Path, error: type[Exception], message: str, array: Any = None, store: Any = None, **kw: Any
) -> None:
    before = tree(at)
    array = field() if array is None else array
    with pytest.raises(error, match=message):
        array.pyramid.to_ome_zarr(at / "out.zarr" if store is None else store, levels=2, **kw)
    assert tree(at) == before


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "\x7f", "...", "é" * 150, "a/./b"])
def test_names(tmp_path: Path, name: str) -> None:
    refused(tmp_path, errors.InvalidNameError, "accepted: 1 to 200 bytes", group=name)


@pytest.mark.parametrize(
    "name", ["a/b", "..", "\ud800", "a" * 300, "zarr.json", "", "a\0", "__x", 3]
)
def test_names_of_coordinates(tmp_path: Path, name: Any) -> None:
    array = field().assign_coords({name: 1})
    refused(tmp_path, errors.AxisError, "coordinate", array)


@pytest.mark.parametrize("name", ["", "\ud800", "a\0b"])
def test_names_of_dimensions(tmp_path: Path, name: str) -> None:
    refused(tmp_path, errors.AxisError, "has no proper name", field().rename(x=name))


def test_labels_of_an_image_is_no_place_for_an_image(tmp_path: Path) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    refused(tmp_path, errors.InvalidNameError, "is for groups of label", group="field/labels")
    field().pyramid.to_ome_zarr(tmp_path / "out.zarr", "labels", levels=2)


LOOP: list[Any] = []
LOOP.append(LOOP)
BAD = {
    "set": {1}, "bytes": b"x", "complex": 1j,
    "time": np.datetime64("2020-01-01", "ns"), "times": np.array(["2020"], "M8[ns]"),
    "object": object(), "long double": np.longdouble(1), "large": 2**70, "loop": LOOP,
    "bytes array": np.array([b"x"]), "half a character": "\ud800", "key": {1: 2},
    "half a key": {"\udfff": 1}, "nested": [{"a": [b"x"]}],
}  # fmt: skip


@pytest.mark.parametrize("where", ["array", "coordinate", "dataset"])
@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_attributes(tmp_path: Path, value: Any, where: str) -> None:
    array: Any = field(x=np.arange(8.0))
    if where == "dataset":
        array = array.to_dataset()
    (array.x if where == "coordinate" else array).attrs["a"] = value
    refused(tmp_path, errors.AttributeValueError, "attribute 'a", array)


def test_attributes_need_names(tmp_path: Path) -> None:
    refused(tmp_path, errors.AttributeValueError, "not text", field().assign_attrs({3: 1}))


@pytest.mark.parametrize("name", ["ome", "multiscales", "plate", "labels"])
def test_a_dataset_must_not_announce_images(tmp_path: Path, name: str) -> None:
    ds = field().to_dataset().assign_attrs({name: {}})
    refused(tmp_path, errors.AttributeValueError, f"{name}.*have a meaning", ds)


def test_records_of_another_store_are_not_kept(tmp_path: Path) -> None:
    ds = field().to_dataset().assign_attrs(xpyramid={"absent": [[0, 9]]}, title="kept")
    ds.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    attrs = dict(zarr.open_group(tmp_path / "out.zarr/field/1", mode="r").attrs)
    assert attrs["title"] == "kept"
    assert [0, 9] not in attrs.get("xpyramid", {}).get("absent", [])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_all_json_is_strict(tmp_path: Path, version: str) -> None:
    array = field(x=np.arange(8) / 3, run=np.nan, band=("y", list("abcdefgh")))
    array = array.astype("f4").where(array > 3)
    array = array.assign_attrs(n=np.float32(0.1), b=np.bool_(True), t=(1, [None]), s="é𝄞")
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version)

    def constant(token: str) -> None:
        raise AssertionError(token)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    names = {"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}
    files = [file for file in tmp_path.rglob("*") if file.name in names]
    assert len(files) > 8
    for file in files:
        text = file.read_bytes().decode("utf-8")
        json.loads(text, parse_constant=constant, object_pairs_hook=once)


def test_chunks_of_2_gib(tmp_path: Path) -> None:
    zeros = da.zeros((2**15, 2**16), dtype="u1", chunks=2**13)
    pyramid = xr.DataArray(zeros, dims=("y", "x"), name="field").pyramid.build(levels=1, chunks=-1)
    with pytest.raises(errors.PlanError, match=r"2,147,483,648 bytes each; accepted: less"):
        pyramid.to_ome_zarr(tmp_path / "out.zarr")
    assert not list(tmp_path.iterdir())


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_that_is_obviously_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "small.zarr", levels=2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 10**9, 10))
    big = xr.concat([field()] * 200, "y")
    refused(tmp_path, errors.NotWritableError, "compressed more than 1000-fold", big)
    big.pyramid.to_ome_zarr(LocalStore(tmp_path / "out.zarr"), levels=2)  # the user knows better


def test_a_read_only_store(tmp_path: Path) -> None:
    message = "read-only; open it with"
    for store in (LocalStore(tmp_path / "a", read_only=True), MemoryStore(read_only=True)):
        refused(tmp_path, errors.NotWritableError, message, store=store)
    zarr.create_group(tmp_path / "b")
    group = zarr.open_group(tmp_path / "b", mode="r")
    refused(tmp_path, errors.NotWritableError, message, store=group)
    with ZipStore(tmp_path / "c.zip", mode="w") as packed:
        zarr.create_group(packed)
    packed = ZipStore(tmp_path / "c.zip", mode="r")
    refused(tmp_path, errors.NotWritableError, "an archive, which can be read", store=packed)


def test_a_directory_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != closed and access(p, mode))
    refused(tmp_path, errors.NotWritableError, "no permission", store=closed / "deep/out.zarr")
    refused(tmp_path, errors.NotWritableError, "no permission", store=closed)


def test_files_and_links_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(tmp_path, errors.NotAPyramidError, "is a file", store=tmp_path / "file")
    refused(tmp_path, errors.NotWritableError, "is a file or", store=tmp_path / "file/out.zarr")
    zarr.create_group(tmp_path / "out.zarr")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.zarr/field").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out.zarr/lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "out.zarr/text").write_text("x")
    refused(tmp_path, errors.NotWritableError, "is a symbolic link to '.*elsewhere'")
    refused(tmp_path, errors.NotWritableError, "is a symbolic link", group="lost")
    refused(tmp_path, errors.NotWritableError, "is a file", group="text/field")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")  # a directory above may be a link
    field().pyramid.to_ome_zarr(tmp_path / "linked/out.zarr", levels=2)
    assert (tmp_path / "elsewhere/out.zarr/field/1/field").is_dir()


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_paths_that_cannot_be(tmp_path: Path, name: str) -> None:
    refused(tmp_path, errors.InvalidNameError, "cannot be a path", store=tmp_path / name)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_inside_an_array(tmp_path: Path, zarr_format: Any) -> None:
    zarr.create_array(tmp_path / "in.zarr", name="a/b", data=VALUES, zarr_format=zarr_format)
    (tmp_path / "in.zarr/a/b/deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in.zarr/a/b/deep")
    for store in ("in.zarr/a/b/c", "in.zarr/a/b/new.zarr/deep", "link/new.zarr"):
        error = errors.TargetExistsError
        refused(tmp_path, error, "is an array, and cannot hold", store=tmp_path / store)


class Locked(MemoryFileSystem):  # type: ignore[misc]
    """A bucket for which there are no credentials."""

    protocol = "locked"

    def ls(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no credentials")

    info = cat_file = find = ls


def test_a_bucket_without_credentials(tmp_path: Path) -> None:
    fsspec.register_implementation("locked", Locked, clobber=True)
    store = FsspecStore(AsyncFileSystemWrapper(Locked(), asynchronous=True), path="/bucket")
    refused(tmp_path, errors.NotWritableError, "no credentials; check the address", store=store)


def holed(path: Path, lost: tuple[str, ...] = ("0/1",), **kw: Any) -> zarr.Array:
    array = zarr.create_array(
        path, name="field", data=VALUES, chunks=(2, 2), dimension_names=("y", "x"), **kw
    )
    for key in lost:
        (path / "field" / key).unlink()
    return array


@pytest.mark.parametrize("chunks", [None, {}])
def test_missing_chunks(tmp_path: Path, chunks: Any) -> None:
    holed(tmp_path / "in.zarr", ("c/0/1", "c/2/3"))
    ds = xr.open_zarr(tmp_path / "in.zarr", chunks=chunks, consolidated=False)
    message = r"2 of the 16 chunks of .* are missing, the first at \(0, 1\)"
    for made in (ds.field, ds):
        refused(tmp_path, errors.MissingChunkError, message, made, strict=True)
    with pytest.warns(errors.MissingChunkWarning, match=message) as told:
        ds.field.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    assert len(told) == 1


def test_a_whole_array_misses_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    whole = [
        holed(tmp_path / "a", ()),
        holed(tmp_path / "b", (), shards=(4, 4)),
        zarr.create_array(tmp_path / "c", data=VALUES, chunks=(2, 2), zarr_format=2),
        zarr.create_array(store, name="x/field", data=VALUES, chunks=(2, 2)),
        zarr.create_array(store, name="empty", shape=(0, 4), chunks=(2, 2), dtype="u1"),
        zarr.create_array(store, name="scalar", data=np.array(3)),
    ]
    assert [missing(array)[0] for array in whole] == [0] * 6
    del store._store_dict["x/field/c/1/1"]
    assert missing(whole[3]) == (1, (1, 1), 16)
    (tmp_path / "b/field/c/.DS_Store").write_text("not a chunk")
    (tmp_path / "b/field/c/1/0").unlink()
    assert missing(whole[1]) == (1, (1, 0), 4)
    (tmp_path / "c/3.3").unlink()
    assert missing(whole[2]) == (1, (3, 3), 16)


@pytest.mark.parametrize("inside", ["", "field", "field/0"])
def test_chunks_that_are_recorded_as_empty_are_not_missing(inside: str, tmp_path: Path) -> None:
    data = np.zeros((8, 8), "u2")
    data[:2] = 1
    field = xr.DataArray(data, dims=("y", "x"), name="field")
    field.pyramid.to_ome_zarr(tmp_path / "in.zarr", levels=2, chunks=2)
    path = "field/0/field".removeprefix(inside).strip("/")
    array = zarr.open_array(tmp_path / "in.zarr" / inside, path=path, mode="r")
    assert missing(array) == (0, None, 16)
    (tmp_path / "in.zarr/field/0/field/c/0/1").unlink()
    assert missing(array) == (1, (0, 1), 16)
    group = zarr.open_group(tmp_path / "in.zarr/field", mode="r+")
    for odd in (3, {"sealed": 3}, {"sealed": {"objects": {"0/field": {"objects": 1}}}}):
        group.attrs["xpyramid"] = odd
        assert missing(array)[0] == 13


def test_an_unreadable_chunk_is_named(tmp_path: Path) -> None:
    holed(tmp_path / "in.zarr", ())
    (tmp_path / "in.zarr/field/c/1/2").write_bytes(b"rubbish")
    array = xr.open_zarr(tmp_path / "in.zarr", chunks=None, consolidated=False).field
    with pytest.raises(errors.ReadError, match=r"'field', chunk \(1, 2\): y=2:4, x=4:6: .+"):
        array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)


def test_large_arrays_are_listed_when_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = importlib.import_module("xpyramid.writer.session")
    order = []
    run, check = write.engine.run, write.check_missing
    monkeypatch.setattr(write, "MANY", 15)
    monkeypatch.setattr(write.engine, "run", lambda *a: order.append("run") or run(*a))
    monkeypatch.setattr(
        write, "check_missing", lambda a, strict: order.append(len(a)) or check(a, strict=strict)
    )
    holed(tmp_path / "in.zarr", ("c/0/1",))
    array = xr.open_zarr(tmp_path / "in.zarr", chunks=None, consolidated=False).field
    with pytest.warns(errors.MissingChunkWarning, match="1 of the 16 chunks of .* is missing"):
        array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    assert order == [0, "run", 1]
    with pytest.raises(errors.MissingChunkError):
        array.pyramid.to_ome_zarr(tmp_path / "strict.zarr", levels=2, strict=True)
