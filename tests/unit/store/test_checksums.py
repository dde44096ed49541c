"""Checksums see every byte of an object, also where it ends with a checksum of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from xpyramid.store import checksums
from xpyramid.store.checksums import algorithm_for, checksum, checksum_of_file

ALGORITHMS: Any = st.sampled_from(["crc32c", "crc32"])


def with_crc32c(data: bytes) -> bytes:
    return data + google_crc32c.value(data).to_bytes(4, "little")


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=4), ALGORITHMS)
def test_it_does_not_depend_on_how_bytes_are_cut(data: bytes, cuts: Any, algorithm: Any) -> None:
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    parts = [data[a:b] for a, b in zip(edges, [*edges[1:], len(data)], strict=True)]
    assert checksum(parts, algorithm) == checksum([data], algorithm)


@given(st.binary(min_size=1, max_size=40), st.data(), ALGORITHMS)
def test_one_bit_changes_it(data: bytes, where: st.DataObject, algorithm: Any) -> None:
    bit = where.draw(st.integers(0, 8 * len(data) - 1))
    changed = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(data))
    assert checksum([changed], algorithm) != checksum([data], algorithm)


@given(st.binary(max_size=8), st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_what_ends_with_its_own_crc32c_is_seen(start: bytes, one: bytes, other: bytes) -> None:
    """As a shard does, with that of its index: a plain CRC-32C would be the same for all."""
    first, second = start + with_crc32c(one), start + with_crc32c(other)
    assert google_crc32c.value(first) == google_crc32c.value(second)
    assert (checksum([first], "crc32c") == checksum([second], "crc32c")) == (one == other)


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8), st.binary(max_size=8))
def test_chunks_with_a_crc32c_inside_a_shard_are_seen(one: bytes, other: bytes, end: bytes) -> None:
    first, second = with_crc32c(one) + end, with_crc32c(other) + end
    assert (checksum([first], "crc32") == checksum([second], "crc32")) == (one == other)


@pytest.mark.parametrize("block", [1, 3, 2**22])
@pytest.mark.parametrize("algorithm", ["crc32c", "crc32"])
@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 20])
def test_of_a_file(
    length: int, algorithm: Any, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "_BLOCK", block)
    data, path = bytes(range(7, 7 + length)), tmp_path / "chunk"
    assert checksum_of_file(path, algorithm) is None
    path.write_bytes(data)
    assert checksum_of_file(path, algorithm) == (length, checksum([data], algorithm))


def test_which_one_an_array_has() -> None:
    crc32c = [zarr.codecs.Crc32cCodec()]
    arrays: list[tuple[str, dict[str, Any]]] = [
        ("crc32c", {}),
        ("crc32c", {"shards": (4,)}),
        ("crc32", {"compressors": crc32c}),
        ("crc32", {"compressors": [zarr.codecs.ZstdCodec(), *crc32c], "shards": (4,)}),
        ("crc32c", {"zarr_format": 2}),
        ("crc32", {"zarr_format": 2, "compressors": numcodecs.CRC32C()}),
    ]
    for algorithm, options in arrays:
        array = zarr.create_array({}, shape=(8,), chunks=(2,), dtype="u1", **options)
        assert algorithm_for(array.metadata.to_dict()) == algorithm
