"""Tables of sizes and checksums: compact, and never taken for what they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from xpyramid.store.chunk_grid import ChunkGrid, position_in
from xpyramid.store.object_table import ObjectTable, as_text, digest_of, read_table


@st.composite
def tables(draw: st.DrawFn) -> ObjectTable:
    largest = draw(st.sampled_from([1, 255, 256, 2**16, 2**32, 2**63]))
    entries = draw(st.lists(st.integers(0, largest), max_size=40))
    sizes = np.array(entries, np.uint64)
    checksums = np.array([draw(st.integers(0, 2**32 - 1)) if n else 0 for n in entries], np.uint32)
    return ObjectTable(sizes, checksums, draw(st.sampled_from(["crc32c", "crc32"])))


@given(tables())
def test_what_is_written_is_read(table: ObjectTable) -> None:
    total = table.sizes.size
    data = table.to_bytes()
    for record, stored in (
        ({"table": as_text(data)}, None),
        ({"table": {"digest": digest_of(data)}}, data),
    ):
        back = read_table(record, total, stored)
        np.testing.assert_array_equal(back.sizes, table.sizes)
        np.testing.assert_array_equal(back.checksums, table.checksums)
        assert back.algorithm == table.algorithm
    for other in (total + 1, total - 1):
        if other >= 0:
            with pytest.raises(ValueError, match="table"):
                ObjectTable.from_bytes(data, other)


@given(tables(), st.data())
def test_a_table_that_is_cut_or_something_else_is_refused(
    table: ObjectTable, data: st.DataObject
) -> None:
    whole, total = table.to_bytes(), table.sizes.size
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for wrong in (cut, whole + b"0000", data.draw(st.binary())):
        with pytest.raises(ValueError, match="table"):
            ObjectTable.from_bytes(wrong, total)


@pytest.mark.parametrize("record", [{"table": "%"}, {"table": {"digest": "0"}}, {"table": 3}, {}])
def test_records_of_no_table(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"table|base64|Only|padding"):
        read_table(record, 1, b"XPC1")


def test_a_table_that_says_it_is_huge_takes_no_memory() -> None:
    data = ObjectTable.from_records(1, np.array([(0, 9, 9)], np.uint64)).to_bytes()
    with pytest.raises(ValueError, match="table"):
        ObjectTable.from_bytes(data, 2**60)


def test_six_bytes_for_each_object() -> None:
    total, rng = 10**5, np.random.default_rng(0)
    checksums = rng.integers(0, 2**32, total, np.uint32)
    uneven = rng.normal(300_000, 3000, total).astype(np.uint64)
    assert len(ObjectTable(uneven, checksums).to_bytes()) < 6 * total
    even = np.full(total, 2**19, np.uint64)
    assert len(ObjectTable(even, checksums).to_bytes()) < 4.01 * total


ENCODINGS: list[tuple[Any, Any]] = [
    (3, {"name": "default", "separator": "/"}),
    (3, {"name": "default", "separator": "."}),
    (3, {"name": "v2", "separator": "/"}),
    (3, {"name": "v2", "separator": "."}),
    (2, {"name": "v2", "separator": "/"}),
    (2, {"name": "v2", "separator": "."}),
]


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), max_size=4),
    st.sampled_from(ENCODINGS),
    st.data(),
)
def test_the_place_of_an_object_by_its_key(
    pairs: list[tuple[int, int]], encoding: tuple[Any, Any], data: st.DataObject
) -> None:
    zarr_format, key_encoding = encoding
    shape = tuple(n for n, _ in pairs)
    chunks = tuple(min(n, c) for n, c in pairs)
    array = zarr.create_array(
        {}, shape=shape, chunks=chunks, dtype="u1", zarr_format=zarr_format,
        chunk_key_encoding=key_encoding, fill_value=0,
    )  # fmt: skip
    grid = ChunkGrid.from_metadata(array.metadata.to_dict())  # type: ignore[arg-type]
    index = tuple(data.draw(st.integers(0, n - 1)) for n in grid.counts)
    key = array.metadata.encode_chunk_key(index)
    position = int(np.ravel_multi_index(index, grid.counts)) if index else 0
    assert grid.key(position) == key
    assert grid.position(key) == position_in(grid.counts, key) == position
    for other in ("zarr.json", "objects.xpyramid", f"{key}/0", f"0{key}", ""):
        assert (grid.position(other), position_in(grid.counts, other)) == (-1, None)
