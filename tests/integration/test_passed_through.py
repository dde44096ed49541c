"""Chunks of a Zarr source that are stored as they would be written stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numcodecs
import numpy as np
import pytest
import tensorstore as ts
import xarray as xr
import zarr
from helpers.killed_process import killed_everywhere
from helpers.quick import quick_if
from helpers.small_image import broken_off
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec, ZstdCodec

import xpyramid
from xpyramid import errors
from xpyramid.store import passed_chunks
from xpyramid.store.codec import Codec
from xpyramid.store.frames import with_checksum
from xpyramid.store.local_chunks import encoder_of

SHAPE, CHUNKS = (40, 28), (16, 8)  # the last row and the last column of chunks are partial
EMPTY = (1, 1)  # a chunk

pytestmark = pytest.mark.filterwarnings("ignore::xpyramid.errors.MissingChunkWarning")


def samples(dtype: str = "u2") -> np.ndarray:
    """Return samples of which one chunk is empty."""
    data = np.random.default_rng(1).integers(0, 2 if dtype == "?" else 50, SHAPE).astype(dtype)
    data[16:32, 8:16] = 0
    return data


def make_source(directory: Path, data: np.ndarray | None = None, **form: Any) -> np.ndarray:
    """Store an array, as zarr-python does, that has dimensions; return its samples."""
    data = samples() if data is None else data
    form = {"chunks": CHUNKS, "zarr_format": 3, **form}
    named: dict[str, Any] = (
        {"dimension_names": ["y", "x"]}
        if form["zarr_format"] == 3
        else {"attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}, "fill_value": None}
    )
    zarr.create_group(directory / "in.zarr", zarr_format=form["zarr_format"])
    array = zarr.create_array(
        directory / "in.zarr", name="field", shape=data.shape, dtype=data.dtype, **named | form
    )
    array[...] = data
    return data


def lazily(directory: Path) -> xr.DataArray:
    return xr.open_zarr(directory / "in.zarr", chunks=None, consolidated=False).field


def as_stored(directory: Path) -> xr.DataArray:
    return xr.open_zarr(directory / "in.zarr", chunks={}, consolidated=False).field


def with_dask(directory: Path) -> xr.DataArray:
    array = da.from_zarr(str(directory / "in.zarr/field"))
    return xr.DataArray(array, dims=("y", "x"), name="field")


def from_array(directory: Path) -> xr.DataArray:
    array = zarr.open_array(directory / "in.zarr/field", mode="r")
    return xr.DataArray(da.from_array(array, 7), dims=("y", "x"), name="field")


def by_path(directory: Path) -> xr.DataArray:
    return xpyramid.open_source(str(directory / "in.zarr/field"))


DOORS = [lazily, as_stored, with_dask, from_array, by_path]


def raw_chunks(array: zarr.Array[Any]) -> dict[tuple[int, ...], bytes]:
    """Return the bytes of the chunks of an array in a directory, those of shards among them."""
    place = Path(str(array.store).removeprefix("file://")) / array.path
    objects = array.shards or array.chunks
    grid = [n // c for n, c in zip(objects, array.chunks, strict=True)]
    found = {}
    for index in np.ndindex(*(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))):
        own = tuple(i // n for i, n in zip(index, grid, strict=True))
        path = place / array.metadata.encode_chunk_key(own)
        if not path.exists():
            continue
        data = path.read_bytes()
        if array.shards is not None:
            tail = np.frombuffer(data[-16 * np.prod(grid) - 4 : -4], "<u8").reshape(*grid, 2)
            start, size = map(int, tail[tuple(i % n for i, n in zip(index, grid, strict=True))])
            if start == 2**64 - 1:
                continue
            data = data[start : start + size]
        found[index] = data
    return found


class Counted:
    """How many chunks are encoded, decoded, and passed through."""

    def __init__(self) -> None:
        self.encoded = self.decoded = self.passed = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counts, encode, decode = Counted(), Codec.encode, Codec.decode
    passed = passed_chunks.PassingReader._passed

    def count_encoded(codec: Codec, chunk: np.ndarray) -> bytes:
        counts.encoded += 1
        return encode(codec, chunk)

    def count_decoded(codec: Codec, data: bytes, shape: Any) -> np.ndarray:
        counts.decoded += 1
        return decode(codec, data, shape)

    def count_passed(*args: Any) -> bytes | None:
        data = passed(*args)
        counts.passed += data is not None
        return data

    monkeypatch.setattr(Codec, "encode", count_encoded)
    monkeypatch.setattr(Codec, "decode", count_decoded)
    monkeypatch.setattr(passed_chunks.PassingReader, "_passed", count_passed)
    return counts


def build(array: xr.DataArray, directory: Path, name: str = "out.zarr", **options: Any) -> None:
    array.pyramid.build(levels=3, kind="image").to_ome_zarr(
        directory / name, "field", progress=False, **options
    )


def levels(path: Path) -> list[np.ndarray]:
    return [level.to_numpy() for level in xpyramid.open_pyramid(path, "field")]


def check_same_as_encoded(array: xr.DataArray, directory: Path, **options: Any) -> None:
    """Compare an image with that of the same samples in memory, and with its own record."""
    build(array.load(), directory, "encoded.zarr", **options)
    pairs = zip(levels(directory / "out.zarr"), levels(directory / "encoded.zarr"), strict=True)
    for got, expected in pairs:
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    assert not xpyramid.verify(directory / "out.zarr", deep=True)


def level_zero(directory: Path) -> zarr.Array[Any]:
    path = directory / "out.zarr/field/0"
    return zarr.open_array(path / "field" if (path / "field").exists() else path, mode="r")


Form = dict[str, Any]

ZSTD_2, BLOSC_2 = numcodecs.Zstd(2), numcodecs.Blosc("zstd", 4, numcodecs.Blosc.AUTOSHUFFLE)

#: How the source is stored, with which options it is written, and whether chunks get checksums.
FORMS: list[tuple[Form, Form, bool]] = [
    ({}, {}, True),
    ({"compressors": BloscCodec(cname="lz4", shuffle="bitshuffle")}, {}, False),
    ({"shards": (32, 16)}, {}, True),
    ({}, {"shards": (32, 32)}, True),
    ({"zarr_format": 2, "compressors": ZSTD_2}, {}, True),
    ({"zarr_format": 2, "compressors": numcodecs.Blosc()}, {"version": "0.4"}, False),
]
MORE: list[tuple[Form, Form, bool]] = [
    ({"compressors": ZstdCodec(level=3, checksum=True)}, {"layout": "arrays"}, True),
    ({"compressors": ZstdCodec(level=1)}, {"compressor": ZstdCodec(level=1)}, False),
    ({"compressors": None}, {"compressor": None}, False),
    ({"compressors": GzipCodec(level=3)}, {"compressor": GzipCodec(level=3)}, False),
    ({"shards": (32, 16)}, {"shards": (32, 16)}, True),
    ({"shards": (32, 16)}, {"shards": (16, 32)}, True),
    ({"zarr_format": 2, "compressors": ZSTD_2}, {"version": "0.4"}, True),
    ({"zarr_format": 2, "compressors": BLOSC_2}, {}, False),
    ({"compressors": BloscCodec()}, {"version": "0.4"}, False),
]


@pytest.mark.parametrize(
    ("form", "options", "sums"), quick_if(lambda *one: one in FORMS, FORMS + MORE)
)
def test_the_bytes_of_the_source(
    form: Form, options: Form, sums: bool, tmp_path: Path, counted: Counted
) -> None:
    data = make_source(tmp_path, **form)
    build(lazily(tmp_path), tmp_path, **options)
    here, there = level_zero(tmp_path), zarr.open_array(tmp_path / "in.zarr/field", mode="r")
    stored, known = raw_chunks(here), raw_chunks(there)
    empty = {EMPTY} if here.metadata.zarr_format == 3 else set()  # v2 has no fill value
    assert stored.keys() == {*np.ndindex(3, 4)} - empty
    for index, passed in stored.items():
        if index == EMPTY and index not in known:
            continue
        original = known[index]
        if sums:
            decoded = numcodecs.Zstd().decode(original)
            summed = with_checksum(original, np.frombuffer(decoded, "u1"))
            assert summed is not None
            assert passed == b"".join(summed)
        else:
            assert passed == original
    assert counted.decoded == len(known)  # once each
    np.testing.assert_array_equal(here[...], data)
    check_same_as_encoded(lazily(tmp_path), tmp_path, **options)


@pytest.mark.parametrize("door", DOORS)
def test_doors(door: Callable[[Path], xr.DataArray], tmp_path: Path, counted: Counted) -> None:
    make_source(tmp_path)
    array = door(tmp_path)
    build(array.rename("field"), tmp_path, chunks=dict(zip("yx", CHUNKS, strict=True)))
    assert (counted.passed, counted.decoded) == (11, 11)
    check_same_as_encoded(lazily(tmp_path), tmp_path, chunks=dict(zip("yx", CHUNKS, strict=True)))


@pytest.mark.parametrize("dtype", quick_if(lambda dtype: dtype == "f4", ["?", "i1", "f4", "u8"]))
def test_dtypes(dtype: str, tmp_path: Path, counted: Counted) -> None:
    make_source(tmp_path, samples(dtype))
    build(lazily(tmp_path), tmp_path)
    assert counted.passed == 11
    check_same_as_encoded(lazily(tmp_path), tmp_path)


def with_padding(directory: Path) -> None:
    """Store a chunk that holds more than the array has."""
    array = zarr.open_array(directory / "in.zarr/field")
    chunk = np.arange(np.prod(CHUNKS), dtype="u2")
    path = directory / "in.zarr/field/c/2/3"
    path.write_bytes(bytes(numcodecs.Zstd(1).encode(chunk)))
    assert array.metadata.encode_chunk_key((2, 3)) == "c/2/3"


def two_frames(directory: Path) -> None:
    """Store a chunk as two frames, one after the other."""
    path = directory / "in.zarr/field/c/0/0"
    data = bytes(numcodecs.Zstd().decode(path.read_bytes()))
    frames = [bytes(numcodecs.Zstd(1).encode(part)) for part in (data[:100], data[100:])]
    path.write_bytes(b"".join(frames))


def is_missing(directory: Path) -> None:
    (directory / "in.zarr/field/c/0/0").unlink()


@pytest.mark.parametrize("change", [with_padding, two_frames, is_missing])
def test_chunks_that_are_encoded(
    change: Callable[[Path], None], tmp_path: Path, counted: Counted
) -> None:
    make_source(tmp_path)
    change(tmp_path)
    build(lazily(tmp_path), tmp_path)
    assert counted.passed == 10
    if change is with_padding:
        chunk = numcodecs.Zstd().decode(raw_chunks(level_zero(tmp_path))[2, 3])
        outside = np.frombuffer(chunk, "u2").reshape(CHUNKS)[SHAPE[0] % CHUNKS[0] :]
        assert not outside.any()
    check_same_as_encoded(lazily(tmp_path), tmp_path)


#: What is encoded as ever: the form of the source, what is done to it, how it is written.
OTHERS: list[tuple[Form, Callable[[xr.DataArray], xr.DataArray], Form]] = [
    ({"compressors": ZstdCodec(level=1)}, lambda a: a, {"compressor": "default"}),
    ({}, lambda a: a, {"compressor": ZstdCodec(level=5)}),
    ({}, lambda a: a, {"chunks": {"y": 16, "x": 16}}),
    ({}, lambda a: a[1:], {}),
    ({}, lambda a: a[:39], {}),
    ({}, lambda a: a[::2], {}),
    ({}, lambda a: a[::-1], {}),
    ({}, lambda a: a.T.rename(x="y", y="x"), {"chunks": {"y": 8, "x": 16}}),
    ({}, lambda a: a.chunk(16) + 1, {}),
    ({"serializer": BytesCodec(endian="big")}, lambda a: a, {}),
    ({"filters": [TransposeCodec(order=(1, 0))]}, lambda a: a, {}),
    ({"compressors": GzipCodec()}, lambda a: a, {}),
    ({"zarr_format": 2, "order": "F"}, lambda a: a, {}),
    ({"zarr_format": 2, "filters": [numcodecs.Delta("u2")]}, lambda a: a, {}),
    ({"attributes": {"scale_factor": 0.5}}, lambda a: a, {}),
    ({"attributes": {"_FillValue": 3}}, lambda a: a, {}),
]


@pytest.mark.filterwarnings("ignore:.*read without zarrs", "ignore:.*packed in its file")
@pytest.mark.parametrize(("form", "change", "options"), OTHERS)
def test_what_is_encoded_as_ever(
    form: Form,
    change: Callable[[xr.DataArray], xr.DataArray],
    options: Form,
    tmp_path: Path,
    counted: Counted,
) -> None:
    make_source(tmp_path, **form)
    array = change(lazily(tmp_path))
    build(array, tmp_path, **options)
    assert counted.passed == 0
    check_same_as_encoded(change(lazily(tmp_path)), tmp_path, **options)


@pytest.mark.parametrize("region", [np.s_[16:, 8:], np.s_[:32, :16], np.s_[16:32, 8:]])
def test_regions_of_whole_chunks(region: Any, tmp_path: Path, counted: Counted) -> None:
    data = make_source(tmp_path)
    build(lazily(tmp_path)[region], tmp_path)
    pairs = zip(data[region].shape, CHUNKS, strict=True)
    assert counted.passed == np.prod([-(-n // c) for n, c in pairs]) - 1  # but for the empty one
    check_same_as_encoded(lazily(tmp_path)[region], tmp_path)


def test_empty_chunks_that_are_stored_are_not(tmp_path: Path) -> None:
    make_source(tmp_path, config={"write_empty_chunks": True})
    build(lazily(tmp_path), tmp_path)
    assert EMPTY in raw_chunks(zarr.open_array(tmp_path / "in.zarr/field", mode="r"))
    assert EMPTY not in raw_chunks(level_zero(tmp_path))
    check_same_as_encoded(lazily(tmp_path), tmp_path)


@pytest.mark.parametrize("shards", [None, (32, 16)])
def test_several_objects_of_a_region(shards: Any, counted: Counted) -> None:
    """Each gets its own chunks, whichever they are in the region."""
    form: Form = {"shape": (96, 64), "chunks": CHUNKS, "dtype": "u2", "overwrite": True}
    store, data = zarr.storage.MemoryStore(), np.arange(48 * 48, dtype="u2").reshape(48, 48)
    region = (slice(32, 80), slice(16, 64))
    plain = encoder_of(zarr.create_array(store, name="plain", **form))
    array = encoder_of(zarr.create_array(store, name="field", shards=shards, **form))
    assert plain is not None
    assert array is not None
    chunks = {
        tuple(np.subtract(one.place, (2, 2)).tolist()): one.parts
        for one in plain.encoded(region, data)
    }
    expected = [one.parts for one in array.encoded(region, data)]
    counted.encoded = 0
    assert [one.parts for one in array.encoded(region, data, chunks)] == expected
    assert counted.encoded == 0


@pytest.mark.parametrize("door", [lazily, as_stored])
def test_a_damaged_source(door: Callable[[Path], xr.DataArray], tmp_path: Path) -> None:
    make_source(tmp_path)
    path = tmp_path / "in.zarr/field/c/1/2"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(errors.ReadError, match=r"cannot read level 0 of 'field', chunk \(1, 2\)"):
        build(door(tmp_path), tmp_path)
    with pytest.raises(errors.NotAPyramidError):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field")


def test_what_readers_make_of_it(tmp_path: Path) -> None:
    data = make_source(tmp_path)
    build(lazily(tmp_path), tmp_path)
    path = tmp_path / "out.zarr/field/0/field"

    def by_tensorstore() -> np.ndarray:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
        return np.asarray(ts.open(spec).result().read().result())

    np.testing.assert_array_equal(by_tensorstore(), data)
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], data)
    chunk = path / "c/0/0"
    raw = bytearray(chunk.read_bytes())
    raw[-1] ^= 1  # of the checksum, which decoders of frames without one would not look at
    chunk.write_bytes(raw)
    with pytest.raises(ValueError, match=r"(?i)zstd|corrupt|decod"):
        by_tensorstore()
    with pytest.raises(RuntimeError, match=r"(?i)checksum"):
        zarr.open_array(path, mode="r")[...]
    found = xpyramid.verify(tmp_path / "out.zarr", checksums=True)
    assert len(found) == 1
    assert "0/field/c/0/0: the chunk has the checksum" in str(found[0])


def test_a_build_that_is_resumed(tmp_path: Path, counted: Counted) -> None:
    make_source(tmp_path)
    broken_off(lambda: build(lazily(tmp_path), tmp_path))
    first = counted.passed
    build(lazily(tmp_path), tmp_path, resume=True)
    assert 0 < first < 11 == counted.passed
    check_same_as_encoded(lazily(tmp_path), tmp_path)


def build_there(directory: Path) -> None:
    """Pass a source through, in a process that dies."""
    build(lazily(directory), directory)


@pytest.mark.slow
@pytest.mark.once
def test_killed_at_every_step(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    data = make_source(tmp_path / "before")
    action = f"{__name__}:build_there"
    count = 0
    for directory in killed_everywhere(action, tmp_path / "before", tmp_path / "killed", every=3):
        count += 1
        try:
            levels(directory / "out.zarr")
        except errors.NotAPyramidError:
            build(lazily(directory), directory, mode="w", resume=True)
        np.testing.assert_array_equal(levels(directory / "out.zarr")[0], data)
        assert not xpyramid.verify(directory / "out.zarr", deep=True)
    assert count > 10


def test_an_image_as_source(tmp_path: Path, counted: Counted) -> None:
    """Also one of ours, whose chunks have checksums: all of it stays the same."""
    make_source(tmp_path)
    build(lazily(tmp_path), tmp_path, "first.zarr")
    first = xpyramid.open_pyramid(tmp_path / "first.zarr", "field")
    counted.passed = 0
    build(first[0], tmp_path)
    assert counted.passed == 11
    one, two = (
        raw_chunks(zarr.open_array(tmp_path / name / "field/0/field", mode="r"))
        for name in ("first.zarr", "out.zarr")
    )
    assert one == two


def test_in_memory(tmp_path: Path, counted: Counted) -> None:
    """The target may be any store."""
    data = make_source(tmp_path)
    store = zarr.storage.MemoryStore()
    lazily(tmp_path).pyramid.build(levels=2, kind="image").to_ome_zarr(store, progress=False)
    assert counted.passed == 11
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], data)
    assert not xpyramid.verify(store, deep=True)


def test_codecs_that_are_not_followed(tmp_path: Path) -> None:
    codecs = [None, GzipCodec(), ZstdCodec(level=6), BloscCodec(clevel=9)]
    for name, codec in zip("abcd", codecs, strict=True):
        make_source(tmp_path / name, compressors=codec)
        build(lazily(tmp_path / name), tmp_path / name)
        stored = level_zero(tmp_path / name).compressors
        assert [one.to_dict()["name"] for one in stored] == ["zstd"]
        assert stored[0].to_dict()["configuration"] == {"level": 1, "checksum": True}
