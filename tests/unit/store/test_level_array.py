"""Levels that are read where they are indexed: what is read, how, and what is promised of it."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import spread
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Zstd
from zarr.codecs import BytesCodec, GzipCodec, TransposeCodec
from zarr.storage import LocalStore, MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid._compat import indexing, lazy_data
from xpyramid.store import object_reader
from xpyramid.store.level_array import LevelArray, level_variable
from xpyramid.store.object_reader import ObjectReader

SHAPE, CHUNKS = (13, 10, 7), (4, 5, 3)
BIG = {"serializer": BytesCodec(endian="big")}
FORTRAN = {"filters": [TransposeCodec(order=(2, 1, 0))]}

#: What is stored how, and whether it is read past zarr-python.
FORMS: dict[str, tuple[dict[str, Any], bool]] = {
    "v3": ({}, True),
    "raw": ({"compressors": None}, True),
    "big-endian": ({**BIG}, True),
    "shards": ({"shards": (8, 10, 6)}, True),
    "v2": ({"zarr_format": 2}, True),
    "v2, big-endian": ({"zarr_format": 2, "dtype": ">u2"}, True),
    "v2, order F": ({"zarr_format": 2, "order": "F"}, True),
    "gzip": ({"compressors": GzipCodec()}, True),
    "transposed": ({**FORTRAN}, True),
    "transposed shards": ({**FORTRAN, "shards": (8, 10, 6)}, True),
    "transposed twice": ({"filters": 2 * FORTRAN["filters"]}, False),
}
VALUES = np.random.default_rng(1).integers(0, 5, SHAPE).astype("u2")
VALUES[:8, :, :6] = 7  # the fill value: some chunks are not stored


def stored(store: Any, **options: Any) -> zarr.Array[Any]:
    given_options = {"dtype": "u2", "fill_value": 7, **options}
    array = zarr.create_array(store, shape=SHAPE, chunks=CHUNKS, **given_options)
    array[...] = VALUES
    return array


def variable(array: zarr.Array[Any]) -> xr.Variable:
    return level_variable(array, ("z", "y", "x"), {})


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, xr.Variable]:
    directory = tmp_path_factory.mktemp("levels")
    found = {}
    for name, (options, is_fast) in FORMS.items():
        array = stored(directory / name, **options)
        found[name] = variable(zarr.open_array(array.store, mode="r"))
        assert (level_in(found[name]).reader is not None) == is_fast, name
    found["memory"] = variable(stored(MemoryStore()))
    return found


def level_in(data: xr.Variable | xr.DataArray) -> LevelArray:
    node: Any = lazy_data(data)
    while not isinstance(node, LevelArray):
        node = node.array
    return node


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of what is left to zarr-python."""
    seen = []
    read = ObjectReader._read_through_store

    def spy(reader: ObjectReader, selection: Any, piece: Any, out: Any) -> None:
        seen.append(piece.chunk)
        read(reader, selection, piece, out)

    monkeypatch.setattr(ObjectReader, "_read_through_store", spy)
    return seen


@pytest.fixture
def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the objects that are opened."""
    seen = []
    look = ObjectReader._open

    def spy(reader: ObjectReader, path: str, recorded: int | None) -> int | None:
        if "/field/0/field/" in path:  # and not a coordinate
            seen.append(path.partition("/c/")[2])
        return look(reader, path, recorded)

    monkeypatch.setattr(ObjectReader, "_open", spy)
    return seen


KEYS: list[tuple[Any, ...]] = [
    (slice(None),) * 3, (slice(None, None, -1), 3, slice(1, 6, 2)), (-1, -1, -1),
    ([3, 0, 3], slice(9, 2, -3), -2), ([], slice(None), [6]), (slice(5, 5, -1), 0, 0),
    (np.arange(13) % 2 == 0, [9, 1], slice(2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("name", [*FORMS, "memory"])
def test_every_form_is_indexed_as_numpy_does(
    name: str, levels: dict[str, xr.Variable], slowly: list[Any]
) -> None:
    level, expected = levels[name], xr.Variable(("z", "y", "x"), VALUES)
    for key in KEYS:
        got = level[key]
        assert got.shape == expected[key].shape
        np.testing.assert_array_equal(got.to_numpy(), expected[key].to_numpy())
        assert got.to_numpy().dtype == level.dtype
    points = {dim: xr.Variable("p", [0, 6, 5, 0]) for dim in ("z", "y", "x")}
    np.testing.assert_array_equal(level.isel(points), expected.isel(points))
    flipped = level.transpose("x", "z", "y")
    np.testing.assert_array_equal(flipped[::2], VALUES.transpose(2, 0, 1)[::2])
    assert slowly == []


@settings(max_examples=60)
@given(st.data())
def test_several_selections_in_a_row(levels: dict[str, xr.Variable], data: st.DataObject) -> None:
    level = levels[data.draw(st.sampled_from(["v3", "shards", "v2, big-endian", "gzip"]))]
    expected = xr.Variable(("z", "y", "x"), VALUES)
    for _ in range(data.draw(st.integers(1, 3))):
        key = {}
        for dim, n in expected.sizes.items():
            indexes = st.lists(st.integers(-n, n - 1), min_size=1, max_size=4)
            # xarray takes what begins before the array and goes backwards for something.
            ends = st.none() | st.integers(-n, n + 1)
            slices = st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2]))
            key[dim] = data.draw(slices | indexes if n else slices)
        if data.draw(st.booleans()) and 0 not in expected.shape and expected.ndim > 1:
            first, second = [*expected.dims][:2]
            count = st.integers(0, min(expected.sizes[first], expected.sizes[second]) - 1)
            several = data.draw(st.lists(count, min_size=1, max_size=3))
            name = f"p{expected.ndim}"
            key |= {first: xr.Variable(name, several), second: xr.Variable(name, several[::-1])}
        level, expected = level.isel(key), expected.isel(key)
        assert level.dims == expected.dims
    np.testing.assert_array_equal(level, expected)


@pytest.mark.parametrize("shape", [(), (0, 3), (5,)])
def test_few_or_no_dimensions_and_samples(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path, shape=shape, dtype="f4", fill_value=2)
    level = level_variable(zarr.open_array(tmp_path, mode="r"), [*"abc"][: len(shape)], {})
    np.testing.assert_array_equal(level, np.full(shape, 2, "f4"))
    array[...] = 3
    np.testing.assert_array_equal(level, np.full(shape, 3, "f4"))


def pyramid(directory: Path, chunks: int = 16, **options: Any) -> xr.DataArray:
    numbers = np.arange(64 * 48, dtype="u2").reshape(64, 48)
    field = xr.DataArray(numbers, {"y": np.arange(64.0)}, ("y", "x"), "field")
    built = field.pyramid.build(levels=2, chunks=chunks)
    built.to_ome_zarr(directory / "out.zarr", progress=False, **options)
    return field


@pytest.mark.parametrize("shards", [None, 32])
def test_only_what_is_selected_is_read(
    shards: int | None, tmp_path: Path, opened_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    field = pyramid(tmp_path, shards=shards)
    decoded = []
    decode = object_reader.Codec.decode

    def spy(codec: Any, data: bytes, shape: Any) -> Any:
        decoded.append(shape)
        return decode(codec, data, shape)

    opened = xpyramid.open_pyramid(tmp_path / "out.zarr", "field")
    monkeypatch.setattr(object_reader.Codec, "decode", spy)
    level = opened[0]
    part = level.isel(y=slice(20, 40), x=5)
    rebuilt = level.pyramid.build(levels=3)
    tree = opened.to_datatree()
    assert opened_files == decoded == []
    np.testing.assert_array_equal(part, field[20:40, 5])
    assert sorted(opened_files) == (["0/0", "1/0"] if shards else ["1/0", "2/0"])
    assert len(decoded) == 2
    np.testing.assert_array_equal(part, field[20:40, 5])  # nothing was kept
    assert len(decoded) == 4
    assert not level.variable._in_memory
    assert len(rebuilt) == 3
    np.testing.assert_array_equal(tree["1/field"][0, 0], opened[1][0, 0])


def test_what_is_built_from_it_is_read_region_by_region(tmp_path: Path, slowly: list[Any]) -> None:
    field = pyramid(tmp_path)
    level = xpyramid.open_pyramid(tmp_path / "out.zarr", "field")[0]
    regions: list[tuple[int, ...]] = []
    read = ObjectReader.read

    def spy(reader: ObjectReader, selection: Any, *args: Any, **options: Any) -> Any:
        assert options["alone"]  # dask's threads are enough
        regions.append(selection.shape)
        return read(reader, selection, *args, **options)

    with pytest.MonkeyPatch.context() as patch, dask.config.set(num_workers=4):
        patch.setattr(ObjectReader, "read", spy)
        level.rename("twice").pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=3, progress=False)
    assert len(regions) > 1
    assert sum(map(np.prod, regions)) >= field.size > np.prod(max(regions, key=np.prod))
    again = xpyramid.open_pyramid(tmp_path / "out.zarr", "twice")
    for got, expected in zip(again, field.pyramid.build(levels=3), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert slowly == []


@pytest.mark.parametrize("chunks", [None, {}])
def test_it_is_not_written_over(chunks: Any, tmp_path: Path) -> None:
    pyramid(tmp_path)
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr", "field", chunks=chunks)
    for level in (
        opened[0],
        opened[0][::2, 1:],
        opened[0] * 2 if chunks is not None else opened[0],
    ):
        with pytest.raises(errors.SourceOverlapError, match=r"read from .*out\.zarr/field/0/field"):
            level.rename("field").pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, mode="w")


def test_as_dask_arrays(tmp_path: Path) -> None:
    field = pyramid(tmp_path).assign_coords(lat=(("y", "x"), np.ones((64, 48))))
    field.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, mode="w", chunks=16)
    for chunks, expected in (
        ({}, (16, 16)), (20, (20, 20)), ({"x": -1}, (16, 48)), ({"y": 40}, (40, 16)),
        ("auto", (64, 48)), ({"x": "auto"}, (16, 48)), ({"x": None}, (16, 16)),
    ):  # fmt: skip
        opened = xpyramid.open_pyramid(tmp_path / "out.zarr", "field", chunks=chunks)
        level = opened[0]
        assert isinstance(level.data, da.Array)
        assert level.data.chunksize == expected
        assert level["lat"].chunks is not None
        assert "lat" not in level.xindexes
        read = opened.plan.source_chunks[0]  # whatever the blocks are
        assert (read.blocks, read.on_disk) == (None, (16, 16))
        xr.testing.assert_identical(level.compute(), field)
    several = xpyramid.open_pyramids(tmp_path / "out.zarr", chunks=8)
    assert several["field"][1].data.chunksize == (8, 8)


@pytest.mark.parametrize(
    "chunks", ["all", 0, -2, 1.5, True, {"z": 4}, {"y": (1, 2)}, {5: 1}, [16, 16]]
)
def test_what_no_chunks_can_be(chunks: Any, tmp_path: Path) -> None:
    pyramid(tmp_path)
    with pytest.raises(errors.PlanError, match=r"chunks=.*; accepted: "):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field", chunks=chunks)


def test_an_array_is_changed_in_memory_alone(tmp_path: Path) -> None:
    field = pyramid(tmp_path)
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr", "field")
    twin = opened[0].copy(deep=True)
    assert not twin.variable._in_memory
    twin[0, 0] = 9
    assert twin[0, 0] == 9
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "out.zarr", "field")[0], field)
    np.testing.assert_array_equal(opened[0], field)


def test_travels_and_waits(tmp_path: Path) -> None:
    field = pyramid(tmp_path)
    level = xpyramid.open_pyramid(tmp_path / "out.zarr", "field")[0]
    for twin in (pickle.loads(pickle.dumps(level)), copy.deepcopy(level), copy.copy(level)):
        np.testing.assert_array_equal(twin, field)
        assert level_in(twin).reader is not None
    key = indexing.BasicIndexer((slice(2, 5), 3))
    read = asyncio.run(level_in(level).async_getitem(key))
    np.testing.assert_array_equal(read, field[2:5, 3])


# What is not as expected is looked at by the store, which has the last word.


def chunk_of(directory: Path, chunk: str = "1/2") -> Path:
    return directory / "out.zarr/field/0/field/c" / chunk


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def other(file: Path) -> None:
    """Put something else there that can be decoded, where the object is a chunk."""
    file.write_bytes(Zstd(1).encode(np.zeros((16, 16), "u2")))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def outside(file: Path) -> None:
    secret = file.parents[6] / "secret"
    file.rename(secret)
    file.symlink_to(secret)


def outside_folder(file: Path) -> None:
    secret = file.parents[6] / "secret"
    file.parent.rename(secret)
    file.parent.symlink_to(secret)


REFUSED: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "missing": (Path.unlink, errors.ReadError, "is missing"),
    "empty": (empty, errors.ReadError, "is missing, or empty"),
    "shorter": (cut, errors.ReadError, r"has \d+ bytes, and had"),
    "longer": (lengthen, errors.ReadError, r"has \d+ bytes, and had"),
    "other": (other, errors.ReadError, r"has \d+ bytes, and had"),
    "pipe": (pipe, errors.PyramidError, "is not a file|is missing"),
    "directory": (directory, errors.ReadError, r"is missing|has \d+ bytes"),
    "link": (outside, errors.NotAPyramidError, "leads out of"),
    "linked folder": (outside_folder, errors.NotAPyramidError, "leads out of"),
}


@pytest.mark.parametrize(
    ("shards", "kind", "chunks"), spread(2, [None, 32], [*REFUSED], [None, {}])
)
def test_what_is_not_as_recorded_is_refused(
    kind: str, shards: int | None, chunks: Any, tmp_path: Path, slowly: list[Any]
) -> None:
    spoil, error, told = REFUSED[kind]
    field = pyramid(tmp_path, shards=shards)
    level = xpyramid.open_pyramid(tmp_path / "out.zarr", "field", chunks=chunks)[0]
    spoil(chunk_of(tmp_path, "1/0"))
    with pytest.raises(error, match=told):
        level.compute()
    assert slowly
    np.testing.assert_array_equal(level[:16], field[:16])


@pytest.mark.parametrize("where", ["file", "folder", "root"])
def test_links_inside_a_store_are_followed(where: str, tmp_path: Path) -> None:
    field = pyramid(tmp_path)
    chunk = chunk_of(tmp_path)
    moved = {"file": chunk, "folder": chunk.parent, "root": tmp_path / "out.zarr"}[where]
    target = tmp_path / ("other" if where == "root" else "out.zarr/field/other")
    moved.rename(target)
    moved.symlink_to(target)
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "out.zarr", "field")[0], field)


@pytest.mark.parametrize("at", [-8, 0])
def test_a_shard_that_is_damaged(at: int, tmp_path: Path, slowly: list[Any]) -> None:
    """Its index, at the end, or a chunk, at the beginning."""
    pyramid(tmp_path, shards=32)
    shard = chunk_of(tmp_path, "1/0")
    data = bytearray(shard.read_bytes())
    data[at] ^= 1
    shard.write_bytes(data)
    level = xpyramid.open_pyramid(tmp_path / "out.zarr", "field")[0]
    with pytest.raises(errors.ReadError, match=r"chunk c/.*: it cannot be decoded"):
        level.compute()
    assert slowly


def test_an_index_that_takes_one_chunk_for_another(tmp_path: Path, slowly: list[Any]) -> None:
    pyramid(tmp_path, shards=32)
    shard = chunk_of(tmp_path, "1/0")
    data = shard.read_bytes()
    index = data[-4 - 16 * 4 : -4]
    shard.write_bytes(data[: -4 - 16 * 4] + index[16:32] + index[:16] + index[32:] + data[-4:])
    with pytest.raises(errors.ReadError, match=r"chunk c/.*: it cannot be decoded"):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field")[0].compute()
    assert slowly


def test_an_index_that_points_anywhere(tmp_path: Path, slowly: list[Any]) -> None:
    stored(tmp_path, shards=(8, 10, 6))
    shard = tmp_path / "c/1/0/0"
    data = shard.read_bytes()
    index = np.frombuffer(data[-4 - 16 * 8 : -4], "<u8").copy()
    index[1::2] = np.where(index[1::2] < 2**63, 2**62, index[1::2])
    tail = index.tobytes()
    checksum = object_reader.google_crc32c.value(tail).to_bytes(4, "little")
    shard.write_bytes(data[: -len(tail) - 4] + tail + checksum)
    with pytest.raises(Exception):  # noqa: B017, PT011  # zarr's own, without a message
        variable(zarr.open_array(tmp_path, mode="r")).to_numpy()
    assert slowly


def test_a_chunk_of_the_wrong_size_inside(tmp_path: Path) -> None:
    """What a frame declares is not what the array does."""
    array = stored(tmp_path)
    for wrong in (5, 2000):
        chunk = object_reader.Codec(np.dtype("u2"), codec_of(array).compressor)
        (tmp_path / "c/0/0/0").write_bytes(chunk.encode(np.zeros(wrong, "u2")))
        with pytest.raises(ValueError, match="shape"):
            variable(array).to_numpy()


def codec_of(array: zarr.Array[Any]) -> Any:
    reader = level_in(variable(array)).reader
    assert reader is not None
    return reader._codec


def test_chunks_that_are_not_stored_are_fill_values(tmp_path: Path, slowly: list[Any]) -> None:
    """They are no reason to ask zarr-python."""
    array = stored(tmp_path / "a")
    (tmp_path / "a/c/3/0/0").unlink()
    expected = VALUES.copy()
    expected[12:, :5, :3] = 7
    np.testing.assert_array_equal(variable(array), expected)
    shutil.rmtree(tmp_path / "a/c/3")
    expected[12:] = 7
    np.testing.assert_array_equal(variable(array), expected)
    assert slowly == []


def test_stores_of_classes_of_their_own_are_left_to_zarr(tmp_path: Path) -> None:
    class Own(LocalStore):
        pass

    stored(tmp_path)
    level = variable(zarr.open_array(Own(tmp_path), mode="r"))
    assert level_in(level).reader is None
    np.testing.assert_array_equal(level, VALUES)


def test_chunks_that_are_too_large_are_left_to_zarr(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path, shape=(2**40,), chunks=(2**33,), dtype="u1")
    level = level_variable(array, ["x"], {})
    assert level_in(level).reader is None
    huge = zarr.create_array(tmp_path / "b", shape=(2**60,), chunks=(1,), dtype="u1")
    with pytest.raises(MemoryError):
        level_variable(huge, ["x"], {}).to_numpy()


def test_many_threads_read_the_same(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 9, (8, 256, 256)).astype("f8")
    array = zarr.create_array(tmp_path, shape=numbers.shape, chunks=(2, 64, 64), dtype="f8")
    array[...] = numbers
    level = level_variable(array, [*"zyx"], {})
    with dask.config.set(num_workers=8), ThreadPoolExecutor(8) as pool:
        for read in pool.map(lambda _: level.to_numpy(), range(24)):
            np.testing.assert_array_equal(read, numbers)
