"""Chunks and shards that we read and write ourselves, against zarr-python."""

import os
import pickle
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import JSON, Blosc, Delta, Pickle, Zstd
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.storage import LocalStore, MemoryStore

from xpyramid.store.local_chunks import ObjectArray, by_object

SHAPE, CHUNKS, SHARDS = (21, 13), (4, 3), (8, 12)
DTYPES = [
    "bool", "u1", "<i2", ">u2", "<u4", ">i8", "<f2", ">f4", "<f8", "<c8", "<M8[s]", "<m8[ms]",
]  # fmt: skip
COMPRESSORS: list[tuple[int, Any]] = [
    (2, None), (2, Zstd(1)), (2, Zstd(1, True)), (2, Blosc("lz4", 3, Blosc.SHUFFLE)),
    (3, None), (3, ZstdCodec(level=1)), (3, ZstdCodec(level=1, checksum=True)),
    (3, BloscCodec(cname="zstd", shuffle="bitshuffle")),
]  # fmt: skip


def create(path: Path, dtype: str = "u2", zarr_format: int = 3, **options: Any) -> zarr.Array[Any]:
    given = {"fill_value": np.zeros((), dtype)[()], **options}
    if np.dtype(dtype).byteorder == ">" and zarr_format == 3:
        given["serializer"] = BytesCodec(endian="big")
    return zarr.create_array(
        path, shape=SHAPE, chunks=CHUNKS, dtype=np.dtype(dtype).newbyteorder("="), overwrite=True,
        zarr_format=2 if zarr_format == 2 else 3, **given,
    )  # fmt: skip


def objects(array: zarr.Array[Any]) -> ObjectArray:
    found = by_object(array)
    assert found is not None
    return found


def samples(dtype: str) -> np.ndarray[Any, Any]:
    """Return noise with a corner of zeros, so that some chunks are empty."""
    kind = np.dtype(dtype).newbyteorder("=")
    noise = np.random.default_rng(0).integers(0, 100, SHAPE)
    noise[:9, :7] = 0
    return noise.astype(kind)


def files(path: Path) -> dict[str, bytes]:
    documents = ("zarr.json", ".zarray", ".zattrs")
    every = (p for p in path.rglob("*") if p.is_file() and p.name not in documents)
    return {str(p.relative_to(path)): p.read_bytes() for p in every}


def write(array: Any, values: np.ndarray[Any, Any], lengths: tuple[int, ...]) -> None:
    for i in range(0, SHAPE[0], lengths[0]):
        for j in range(0, SHAPE[1], lengths[1]):
            region = (
                slice(i, min(i + lengths[0], SHAPE[0])),
                slice(j, min(j + lengths[1], SHAPE[1])),
            )
            array[region] = values[region]


@pytest.mark.parametrize(("zarr_format", "compressor"), COMPRESSORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_objects_as_zarr_python(
    dtype: str, zarr_format: int, compressor: Any, tmp_path: Path
) -> None:
    options = {"dtype": dtype, "zarr_format": zarr_format, "compressors": compressor}
    theirs, ours = create(tmp_path / "theirs", **options), create(tmp_path / "ours", **options)
    theirs[:] = samples(dtype)
    objects(ours)[0:21, 0:13] = samples(dtype)
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")
    assert 0 < len(files(tmp_path / "ours")) < 30
    got = objects(theirs)[2:19, 1:13]
    assert got.dtype == theirs.dtype
    np.testing.assert_array_equal(got, theirs[2:19, 1:13])


@pytest.mark.parametrize("compressor", [None, ZstdCodec(level=1, checksum=True), BloscCodec()])
@pytest.mark.parametrize("dtype", [">u2", "<f8"])
def test_shards(dtype: str, compressor: Any, tmp_path: Path) -> None:
    options = {"dtype": dtype, "shards": SHARDS, "compressors": compressor}
    theirs, ours = create(tmp_path / "theirs", **options), create(tmp_path / "ours", **options)
    theirs[:] = samples(dtype)
    write(objects(ours), samples(dtype), SHARDS)
    np.testing.assert_array_equal(ours[:], samples(dtype))
    np.testing.assert_array_equal(objects(ours)[0:21, 0:13], samples(dtype))
    np.testing.assert_array_equal(objects(theirs)[3:20, 5:11], samples(dtype)[3:20, 5:11])
    sizes = [{k: len(v) for k, v in files(tmp_path / n).items()} for n in ("ours", "theirs")]
    assert sizes[0] == sizes[1]  # the order of chunks within a shard is free


@pytest.mark.parametrize("shards", [None, SHARDS])
@pytest.mark.parametrize("fill", [0.0, -0.0, np.nan, 5.0])
def test_what_is_empty(fill: float, shards: Any, tmp_path: Path) -> None:
    """NaN is NaN, but zeros have signs."""
    stored = create(tmp_path, "<f4", fill_value=fill, shards=shards, compressors=None)
    array = objects(stored)
    np.testing.assert_array_equal(array[0:21, 0:13], stored[:])
    for value in (0.0, -0.0, np.nan, 5.0, 7.0):
        full = np.full(SHAPE, value, "f4")
        write(array, np.ones(SHAPE, "f4"), shards or CHUNKS)
        write(array, full, shards or CHUNKS)
        empty = np.array_equal(full.view("u4"), np.full(SHAPE, fill, "f4").view("u4"))
        assert (not files(tmp_path)) == empty
        np.testing.assert_array_equal(stored[:].view("u4"), full.view("u4"))
        np.testing.assert_array_equal(array[0:21, 0:13].view("u4"), full.view("u4"))


def test_empty_chunks_are_stored_where_asked_for(tmp_path: Path) -> None:
    array = objects(create(tmp_path, config={"write_empty_chunks": True}))
    array[0:21, 0:13] = np.zeros(SHAPE, "u2")
    assert len(files(tmp_path)) == 30
    undefined = objects(create(tmp_path, zarr_format=2, fill_value=None))
    undefined[0:21, 0:13] = np.zeros(SHAPE, "u2")
    assert len(files(tmp_path)) == 30


ends = st.tuples(st.integers(-25, 25), st.integers(-25, 25)).map(lambda ends: slice(*ends))
keys = st.one_of(
    st.tuples(ends, ends),
    st.tuples(st.integers(-13, 12), ends),
    st.tuples(ends, st.just(slice(None, None, 2))),
    st.just(...),
    st.just(slice(2, 5)),
)


@pytest.fixture(scope="module", params=[None, SHARDS])
def pair(request: Any, tmp_path_factory: Any) -> tuple[zarr.Array[Any], ObjectArray]:
    array = create(tmp_path_factory.mktemp("pair"), shards=request.param)
    array[:] = samples("u2")
    return array, objects(array)


@given(key=keys)
@settings(max_examples=100, deadline=None)
def test_any_selection(pair: tuple[zarr.Array[Any], ObjectArray], key: Any) -> None:
    array, ours = pair
    np.testing.assert_array_equal(ours[key], array[key])


def test_parts_of_objects_are_left_to_zarr(tmp_path: Path) -> None:
    array = objects(create(tmp_path))
    values = samples("u2")
    for region in (np.s_[0:6, 0:13], np.s_[6:21, 0:13]):
        array[region] = values[region]
    np.testing.assert_array_equal(array[...], values)


@pytest.mark.parametrize("how", ["setitem", "write"])
@pytest.mark.parametrize(
    "region",
    [np.s_[0:3, 0:13], np.s_[0:8, 0:2], np.s_[4:6, 0:13], np.s_[1:4, 0:13], np.s_[20:21, 0:5]],
)
@pytest.mark.parametrize("shards", [None, SHARDS])
def test_what_is_next_to_a_region_stays(
    region: tuple[slice, slice], how: str, shards: Any, tmp_path: Path
) -> None:
    """Where a region begins or ends inside an object, the rest of that object is kept."""
    array = objects(create(tmp_path, shards=shards))
    expected = np.full(SHAPE, 9, "u2")
    array[0:21, 0:13] = expected
    expected[region] = 5
    values = expected[region]
    if how == "write":
        for place, size, _ in array.write(region, values):
            assert array._path(place).stat().st_size == size
    else:
        array[region] = values
    np.testing.assert_array_equal(zarr.open_array(tmp_path)[...], expected)


@pytest.mark.parametrize("region", [np.s_[0:4, 0:3], np.s_[4:12, 3:13], np.s_[20:21, 12:13]])
def test_whole_objects_are_not_left_to_zarr(
    region: tuple[slice, slice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = objects(create(tmp_path))
    values = samples("u2") + 1
    with monkeypatch.context() as patch:
        patch.delattr(zarr.Array, "__setitem__")
        array[region] = values[region[0], region[1]]
        array.write(region, values[region[0], region[1]])
    np.testing.assert_array_equal(zarr.open_array(tmp_path)[region], values[region])


def refused(zarr_format: Literal[2, 3], **options: Any) -> dict[str, Any]:
    return {"zarr_format": zarr_format, **options}


@pytest.mark.parametrize(
    "options",
    [
        refused(2, compressors=JSON()),
        refused(2, filters=[Delta("u2"), Pickle()]),
        refused(3, filters=(TransposeCodec(order=(1, 0)), TransposeCodec(order=(1, 0)))),
    ],
)
def test_what_takes_more_is_left_to_zarr(options: dict[str, Any], tmp_path: Path) -> None:
    assert by_object(create(tmp_path, **options)) is None


def test_shards_of_another_make_are_left_to_zarr(tmp_path: Path) -> None:
    inner = [BytesCodec(), ZstdCodec()]
    big = [BytesCodec(endian="big"), Crc32cCodec()]
    for options in (
        {"index_location": "start"}, {"index_codecs": [BytesCodec()]}, {"index_codecs": big},
    ):  # fmt: skip
        sharding = ShardingCodec(chunk_shape=CHUNKS, codecs=inner, **options)  # type: ignore[arg-type]
        array = zarr.create(
            store=tmp_path,
            shape=SHAPE,
            chunks=SHARDS,
            dtype="u2",
            codecs=[sharding],
            overwrite=True,
        )
        assert by_object(array) is None


@pytest.mark.parametrize("inner", [None, (1, 1)])
def test_chunks_of_several_shapes_are_left_to_zarr(inner: Any, tmp_path: Path) -> None:
    edges: Any = [[10, 11], [4, 4, 5]]
    layout = {"chunks": edges} if inner is None else {"chunks": inner, "shards": edges}
    if zarr.config.get("array.rectilinear_chunks", None) is None:
        pytest.skip("not in this release of zarr")
    with zarr.config.set({"array.rectilinear_chunks": True}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not in the specification yet
        array = zarr.create_array(tmp_path, shape=SHAPE, dtype="u2", **layout)
    assert by_object(array) is None


def test_other_stores_are_left_to_zarr(tmp_path: Path) -> None:
    class Mine(LocalStore):
        """Does something of its own."""

    for store in (MemoryStore(), Mine(tmp_path)):
        array = zarr.create_array(store, shape=SHAPE, chunks=CHUNKS, dtype="u2")
        assert by_object(array) is None


def test_damage(tmp_path: Path) -> None:
    array = create(tmp_path, shards=SHARDS)
    array[:] = samples("u2")
    shard = tmp_path / "c/2/1"
    intact = shard.read_bytes()
    shard.write_bytes(intact[:-7] + bytes([intact[-7] ^ 1]) + intact[-6:])
    with pytest.raises(ValueError, match="checksum do not match"):
        objects(array)[0:21, 0:13]
    shard.write_bytes(intact[:5])
    with pytest.raises((ValueError, OSError)):
        objects(array)[0:21, 0:13]
    whole = create(tmp_path, compressors=ZstdCodec())
    whole[:] = samples("u2")
    short = Zstd().encode(np.ones(5, "u2"))  # would leave the rest of the chunk as it is in memory
    (tmp_path / "c/3/3").write_bytes(short)
    with pytest.raises(ValueError, match="reshape"):
        objects(whole)[0:21, 0:13]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = objects(create(tmp_path))

    def fail(*_: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        array[0:4, 0:3] = np.ones((4, 3), "u2")
    assert not files(tmp_path)


def test_travels(tmp_path: Path) -> None:
    array = objects(create(tmp_path))
    array[0:21, 0:13] = samples("u2")
    twin = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(twin[0:21, 0:13], samples("u2"))
    assert twin.chunks == CHUNKS
