"""Chunks are the bytes that zarr-python would make of them, for all codecs that are known here."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from xarray.core import indexing
from zarr import codecs
from zarr.storage import LocalStore

from xpyramid.store.codec import codec_of
from xpyramid.store.level_array import LevelArray
from xpyramid.store.local_chunks import by_object

SHAPE, CHUNKS = (7, 10, 9), (4, 5, 6)


def v3(name: str, **options: Any) -> Any:
    """Return a codec of numcodecs for Zarr v3, of which zarr warns that it is in no standard."""
    from zarr.codecs import numcodecs as own

    with warnings.catch_warnings(action="ignore"):
        return getattr(own, name)(**options)


#: For Zarr v3, by name: dtype, filters, byte order, compressors.
V3: dict[str, tuple[str, Any, str, Any]] = {
    "nothing": ("u2", [], "little", []),
    "big": ("u2", [], "big", [codecs.ZstdCodec(level=1)]),
    "gzip": ("f4", [], "little", [codecs.GzipCodec(level=1)]),
    "blosc": ("i4", [], "little", [codecs.BloscCodec(cname="lz4", shuffle="shuffle")]),
    "crc32c": ("u1", [], "little", [codecs.Crc32cCodec()]),
    "zstd-crc32c": ("f8", [], "little", [codecs.ZstdCodec(level=1), codecs.Crc32cCodec()]),
    "transpose": ("u2", [codecs.TransposeCodec(order=(2, 0, 1))], "big", [codecs.GzipCodec()]),
    "delta": ("i4", lambda: [v3("Delta", dtype="<i4", astype="<i2")], "little", []),
    "scale": (
        "f8",
        lambda: [v3("FixedScaleOffset", offset=-5, scale=10, astype="<i4", dtype="<f8")],
        "little",
        [codecs.ZstdCodec(level=1)],
    ),
    "quantize": ("f4", lambda: [v3("Quantize", digits=2, dtype="<f4")], "little", []),
    "astype": ("f8", lambda: [v3("AsType", encode_dtype="<f4", decode_dtype="<f8")], "little", []),
    "bitround": ("f4", lambda: [v3("BitRound", keepbits=8)], "little", [codecs.GzipCodec()]),
    **{
        name: ("u2", [], "little", (lambda name=name: [v3(name)]))
        for name in ("LZ4", "Zlib", "BZ2", "LZMA", "Zstd", "Adler32", "CRC32", "JenkinsLookup3")
    },
    "shuffle-zlib": (
        "u4",
        [],
        "little",
        lambda: [v3("Shuffle", elementsize=4), v3("Zlib", level=1)],
    ),
}

#: For Zarr v2, by name: dtype, filters, order, compressor.
V2: dict[str, tuple[str, Any, Any, Any]] = {
    "nothing": (">u2", None, "C", None),
    "fortran": ("<f4", None, "F", numcodecs.Zlib(1)),
    "fortran-delta": ("<i4", [numcodecs.Delta("<i4", "<i2")], "F", numcodecs.GZip(1)),
    "shuffle": ("<u4", [numcodecs.Shuffle(4)], "C", numcodecs.LZ4()),
    "scale": ("<f8", [numcodecs.FixedScaleOffset(-5, 10, "<f8", "<i2")], "C", numcodecs.Zstd(1)),
    "quantize": (">f4", [numcodecs.Quantize(2, ">f4")], "F", numcodecs.Blosc()),
    "astype": ("<f8", [numcodecs.AsType("<f4", "<f8")], "C", numcodecs.BZ2()),
    "packbits": ("?", [numcodecs.PackBits()], "F", numcodecs.Zlib()),
    "bitround": ("<f4", [numcodecs.BitRound(8)], "C", numcodecs.LZMA()),
    "crc32": ("<i2", [numcodecs.CRC32()], "C", None),
}


def values_of(dtype: str) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 100, SHAPE)
    return (values if np.dtype(dtype).kind != "b" else values > 50).astype(dtype)


def make_v3(name: str, store: LocalStore, path: str, shards: Any = None) -> Any:
    dtype, filters, endian, compressors = V3[name]
    with warnings.catch_warnings(action="ignore"):
        return zarr.create_array(
            store, name=path, shape=SHAPE, chunks=CHUNKS, dtype=dtype, shards=shards,
            filters=filters() if callable(filters) else filters, fill_value=3,
            serializer=codecs.BytesCodec(endian=endian),  # type: ignore[arg-type]
            compressors=compressors() if callable(compressors) else compressors,
        )  # fmt: skip


def make_v2(name: str, store: LocalStore, path: str) -> Any:
    dtype, filters, order, compressor = V2[name]
    return zarr.create_array(
        store, name=path, shape=SHAPE, chunks=CHUNKS, dtype=dtype, filters=filters,
        compressors=compressor, order=order, zarr_format=2, fill_value=1,
    )  # fmt: skip


def objects(root: Path, path: str) -> dict[str, bytes]:
    here = root / path
    return {
        str(file.relative_to(here)): file.read_bytes()
        for file in sorted(here.rglob("*"))
        if file.is_file() and not file.name.startswith((".z", "zarr.json"))
    }


def check(make: Any, root: Path, dtype: str) -> None:
    """Write by zarr-python and by ourselves; read each by the other."""
    store, values = LocalStore(root), values_of(dtype)
    with warnings.catch_warnings(action="ignore"):
        theirs, ours = make(store, "theirs"), make(store, "ours")
        theirs[:] = values
        assert codec_of(ours) is not None
        fast = by_object(ours)
        assert fast is not None
        fast[tuple(slice(0, n) for n in SHAPE)] = values
        expected = theirs[:]
        np.testing.assert_array_equal(ours[:], expected)
        # In shards, zarr-python has another order of chunks; it notes the time in gzip.
        if ours.shards is None and "gzip" not in str(ours.metadata).lower():
            assert objects(root, "ours") == objects(root, "theirs")
        opened = zarr.open_array(store, path="theirs", mode="r")
        level = LevelArray(opened)
        assert level.reader is not None
        part = (slice(1, 7), slice(None, None, -1), slice(2, 9, 3))
        read = level[indexing.OuterIndexer(part)]
        np.testing.assert_array_equal(read, expected[1:7, ::-1, 2:9:3])


@pytest.mark.parametrize("name", V3)
def test_zarr_v3(name: str, tmp_path: Path) -> None:
    check(lambda *where: make_v3(name, *where), tmp_path, V3[name][0])


@pytest.mark.parametrize("name", ["gzip", "zstd-crc32c", "transpose", "scale", "LZ4"])
def test_shards(name: str, tmp_path: Path) -> None:
    shards = tuple(2 * n for n in CHUNKS)
    check(lambda *where: make_v3(name, *where, shards=shards), tmp_path, V3[name][0])


@pytest.mark.parametrize("name", V2)
def test_zarr_v2(name: str, tmp_path: Path) -> None:
    check(lambda *where: make_v2(name, *where), tmp_path, V2[name][0])


@pytest.mark.parametrize("name", ["crc32c", "zstd-crc32c", "gzip", "Adler32"])
def test_a_changed_byte_is_noticed(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        array = make_v3(name, LocalStore(tmp_path), "a")
        array[:] = values_of(V3[name][0])
        file = next(file for file in (tmp_path / "a/c").rglob("*") if file.is_file())
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        codec = codec_of(array)
        assert codec is not None
        with pytest.raises(Exception, match=r"."):
            codec.decode(bytes(data), CHUNKS)


@pytest.mark.parametrize(
    "options",
    [
        {"filters": [numcodecs.Categorize(["a"], "<U1")], "dtype": "<U1"},
        {"filters": [numcodecs.Pickle()], "dtype": "<i2"},
        {"compressors": numcodecs.JSON(), "dtype": "<i2"},
    ],
)
def test_others_are_left_to_zarr(options: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        array = zarr.create_array(LocalStore(tmp_path), shape=4, zarr_format=2, **options)
    assert codec_of(array) is None
