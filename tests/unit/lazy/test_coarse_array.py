"""Levels that are made where they are indexed: what is read for them, and what they hold."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from helpers import oracle
from helpers.counting_store import CountingStore
from helpers.quick import spread
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid._compat import BackendArray, indexing, lazily_indexed
from xpyramid.lazy import coarse_array, reduction
from xpyramid.store.object_reader import ObjectReader

SHAPE, CHUNKS = (61, 40), (8, 4)
VALUES = np.random.default_rng(5).integers(0, 1000, SHAPE).astype("u2")

#: A box, a plane, a cell, what goes backwards, with gaps, by indexes in any order, and nothing.
KEYS: list[tuple[Any, ...]] = [
    (slice(None), slice(None)), (slice(3, 9), slice(4, 5)), (5, slice(None)), (-1, -2),
    (slice(None, None, -1), slice(7, 2, -1)), (slice(2, None, 5), slice(None, None, -7)),
    (slice(None), slice(None, None, 3)),
    ([7, 0, 7], slice(1, 3)), ([1, 6], [4, 0, 1]), ([], slice(None)), (slice(5, 5), 1),
]  # fmt: skip


@pytest.fixture
def store() -> CountingStore:
    store = CountingStore(MemoryStore())
    field = xr.DataArray(VALUES, dims=("y", "x"), name="field")
    field.encoding = {"chunks": CHUNKS, "compressors": None}
    field.to_dataset().to_zarr(store, zarr_format=3, consolidated=False)
    store.log.clear()
    return store


def build(store: CountingStore, chunks: Any = None, **options: Any) -> xpyramid.Pyramid:
    base = xr.open_zarr(store, chunks=chunks, consolidated=False)["field"]
    pyramid: xpyramid.Pyramid = base.pyramid.build(**{"levels": 4, **options})
    return pyramid


def chunks_under(key: tuple[Any, ...], shape: tuple[int, ...], f: int) -> set[str]:
    """Return the chunks of the base that hold a sample of a selected cell."""
    cells = np.zeros(shape, bool)
    cells[np.ix_(*(np.atleast_1d(np.arange(n)[k]) for k, n in zip(key, shape, strict=True)))] = True
    return {
        f"field/c/{s // CHUNKS[0]}/{t // CHUNKS[1]}"
        for i, j in np.argwhere(cells)
        for s in range(i * f, min((i + 1) * f, SHAPE[0]))
        for t in range(j * f, min((j + 1) * f, SHAPE[1]))
    }


@pytest.mark.parametrize(
    ("chunks", "parts"), [(None, 9), (None, 1), ({}, 9)], ids=["many parts", "one part", "dask"]
)
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_selection_reads_what_lies_under_it_and_no_more(
    key: tuple[Any, ...],
    chunks: Any,
    parts: int,
    store: CountingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coarse_array, "threads", lambda: 1)
    if parts > 1:
        monkeypatch.setattr(coarse_array, "LEAF_BYTES", 2**9)
        monkeypatch.setattr(coarse_array, "_PARTS_PER_THREAD", parts)
    pyramid = build(store, chunks)
    levels = [*pyramid]
    selected = [level[key] for level in levels]
    assert store.chunks("get") == []
    for level, part, f in zip(levels, selected, (1, 2, 4, 8), strict=True):
        expected = oracle.mean(VALUES, (f, f))[np.ix_(*map(np.arange, level.shape))]
        want = xr.DataArray(expected, dims=("y", "x"))[key]
        store.log.clear()
        np.testing.assert_array_equal(part.to_numpy(), want, strict=True)
        read = Counter(store.chunks("get"))
        under = chunks_under(key, level.shape, f)
        assert set(read) == under or (chunks == {} and not part.size)  # dask asks for a block
        assert set(read.values()) <= {1}


def test_several_levels_of_dask_read_the_base_once(store: CountingStore) -> None:
    levels = [*build(store, {})]
    computed = dask.compute(*levels)
    for got, f in zip(computed, (1, 2, 4, 8), strict=True):
        np.testing.assert_array_equal(got, oracle.mean(VALUES, (f, f)), strict=True)
    assert set(Counter(store.chunks("get")).values()) == {1}


def test_several_levels_of_local_files_read_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = xr.DataArray(VALUES, dims=("y", "x"), name="field")
    field.encoding = {"chunks": CHUNKS}
    field.to_dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
    base = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)["field"]
    opened, look = [], ObjectReader._open

    def spy(reader: ObjectReader, path: str, recorded: int | None) -> int | None:
        opened.append(path)
        return look(reader, path, recorded)

    monkeypatch.setattr(ObjectReader, "_open", spy)
    levels = [*base.pyramid.build(levels=4)]
    assert opened == []
    computed = dask.compute(*levels[1:])
    for got, f in zip(computed, (2, 4, 8), strict=True):
        np.testing.assert_array_equal(got, oracle.mean(VALUES, (f, f)), strict=True)
    assert len(opened) == len(set(opened)) == 80
    (mixed,) = dask.compute(levels[0] + levels[1].sum())
    np.testing.assert_array_equal(mixed, VALUES + computed[0].sum().to_numpy())
    assert len(opened) <= 160


def test_points_far_apart(store: CountingStore) -> None:
    level = build(store)[1]
    y, x = xr.DataArray([0, 30, 30, 1], dims="p"), xr.DataArray([19, 0, 1, 19], dims="p")
    part = level.isel(y=y, x=x)
    assert store.chunks("get") == []
    np.testing.assert_array_equal(part, oracle.mean(VALUES, (2, 2))[y.values, x.values])
    assert sorted(store.chunks("get")) == ["field/c/0/9", "field/c/7/0"]


def test_it_is_no_dask_array_and_nothing_is_kept(store: CountingStore) -> None:
    level = build(store)[2]
    assert level.chunks is None
    for _ in range(2):
        store.log.clear()
        assert level.values.shape == level.shape
        assert len(store.chunks("get")) == 8 * 10
    assert not level.variable._in_memory
    level.load()
    store.log.clear()
    np.testing.assert_array_equal(level, oracle.mean(VALUES, (4, 4)))
    assert store.chunks("get") == []


def test_what_xarray_does_with_it(store: CountingStore) -> None:
    level, expected = build(store)[1], oracle.mean(VALUES, (2, 2))
    for same in (
        level.copy(), copy.copy(level), copy.deepcopy(level), level.compute(), level.chunk(),
        level.chunk({"y": 7}), level.transpose("x", "y").transpose("y", "x"),
        level[::-1][::-1], level.to_dataset()["field"], asyncio.run(level.load_async()),
    ):  # fmt: skip
        np.testing.assert_array_equal(same, expected, strict=True)
    assert level.chunk({"y": 7}).chunks == ((7, 7, 7, 7, 3), (20,))
    assert float(level.mean()) == expected.mean()
    assert level.copy(data=expected).identical(level)
    with pytest.raises(IndexError, match="out of bounds"):
        level[31]


def test_it_can_be_sent_elsewhere(tmp_path: Path) -> None:
    xr.DataArray(VALUES, dims=("y", "x"), name="field").to_dataset().to_zarr(
        tmp_path / "a.zarr", consolidated=False
    )
    level = xr.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False)["field"]
    level = level.pyramid.build(levels=2)[1]
    for _ in range(2):  # as it is made, and after it has been read
        there = pickle.loads(pickle.dumps(level))
        assert there.chunks is None
        np.testing.assert_array_equal(there[3:], oracle.mean(VALUES, (2, 2))[3:])
        assert level[0, 0] == there[0, 0]


@pytest.mark.parametrize("chunks", [None, {}])
def test_it_is_not_written_over(chunks: Any, tmp_path: Path) -> None:
    field = xr.DataArray(VALUES, dims=("y", "x"), name="field")
    field.pyramid.to_ome_zarr(tmp_path / "a.zarr", levels=2)
    level = xpyramid.open_pyramid(tmp_path / "a.zarr", chunks=chunks)[0].pyramid.build(levels=2)[1]
    with pytest.raises(errors.SourceOverlapError, match=r"read from .*a\.zarr/field/0/field"):
        level.pyramid.to_ome_zarr(tmp_path / "a.zarr", levels=2, mode="w")


METHODS = ["mean", "mode", "median", "max", "nearest", "std", "count", np.ptp]


@pytest.mark.parametrize(("method", "boundary"), spread(2, METHODS, ["pad", "trim"]))
def test_it_is_what_is_stored(
    method: Any, boundary: str, store: CountingStore, tmp_path: Path
) -> None:
    options = {"boundary": boundary, "levels": 3, "factor": [2, 3]}
    if isinstance(method, str):
        options |= {"ignore": 7} if method in ("mean", "mode", "median") else {}
    lazily = build(store, method=method, **options)
    by_dask = build(store, {}, method=method, **options)
    levels = [*lazily]
    lazily.to_ome_zarr(tmp_path / "out.zarr", progress=False)
    for got, other, stored in zip(
        levels, by_dask, xpyramid.open_pyramid(tmp_path / "out.zarr"), strict=True
    ):
        assert got.chunks is None
        np.testing.assert_array_equal(got, stored, strict=True)
        np.testing.assert_array_equal(other, stored, strict=True)
        np.testing.assert_array_equal(got[5:0:-2, [3, 1]], stored[5:0:-2, [3, 1]], strict=True)


class Watched(BackendArray):
    """An array that says which regions are read, and may fail."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.regions: list[tuple[int, ...]] = []
        self.fails = False

    def __getitem__(self, key: Any) -> Any:
        level = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, level, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        if self.fails:
            raise OSError("the disk is on fire")
        self.regions.append(self.values[key].shape)
        return self.values[key]


@pytest.fixture
def watched() -> Watched:
    return Watched(np.arange(96 * 64, dtype="i4").reshape(96, 64))


def of(array: Watched, chunks: tuple[int, ...] | None = None) -> xr.DataArray:
    dims = ("y", "x")
    encoding = {} if chunks is None else {"preferred_chunks": dict(zip(dims, chunks, strict=True))}
    variable = xr.Variable(dims, lazily_indexed(array), encoding=encoding)
    return xr.Dataset({"field": variable})["field"]


@pytest.mark.parametrize("chunks", [None, (8, 8), (7, 64)])
@pytest.mark.parametrize("workers", [1, 3])
def test_parts_are_small(
    chunks: tuple[int, ...] | None, workers: int, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coarse_array, "LEAF_BYTES", 2**11)
    monkeypatch.setattr(reduction, "LEAF_BYTES", 2**11)
    monkeypatch.setattr(coarse_array, "_BYTES_PER_THREAD", 2**9)
    level = of(watched, chunks).pyramid.build(levels=3, chunks=16)[2]
    with dask.config.set(num_workers=workers):
        np.testing.assert_array_equal(level, oracle.mean(watched.values, (4, 4)))
    assert len(watched.regions) > 8
    assert max(map(np.prod, watched.regions)) * 4 <= 2**11
    assert sum(map(np.prod, watched.regions)) == watched.values.size


@pytest.mark.parametrize("method", ["mean", "mode", "max", "std", "nearest"])
def test_windows_larger_than_what_is_read_at_a_time(
    method: str, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coarse_array, "LEAF_BYTES", 2**10)
    monkeypatch.setattr(reduction, "LEAF_BYTES", 2**10)
    watched.values %= 7
    options: dict[str, Any] = {"levels": 4, "factor": [4, 2, 4], "method": method}
    if method != "nearest":
        options |= {"ignore": 3, "min_valid": 0.5}
    base = of(watched, (8, 5)).isel(y=slice(0, 90))
    level = base.pyramid.build(**options)[3]
    expected = base.copy(data=watched.values[:90]).pyramid.build(**options)[3]
    np.testing.assert_array_equal(level, expected.values, strict=True)
    np.testing.assert_array_equal(level[-1, ::-1], expected.values[-1, ::-1], strict=True)
    assert max(map(np.prod, watched.regions)) * 4 <= 2**10 < 32 * 32 * 4


def test_what_cannot_be_read_is_an_error(watched: Watched) -> None:
    level = of(watched, (8, 8)).pyramid.build(levels=2)[1]
    watched.fails = True
    with pytest.raises(OSError, match="the disk is on fire"):
        level.load()
    watched.fails = False
    np.testing.assert_array_equal(level.load(), oracle.mean(watched.values, (2, 2)))


def test_samples_that_were_read_already_are_taken_from_memory(watched: Watched) -> None:
    base = of(watched, (8, 8)).load()
    level = base.pyramid.build(levels=2)[1]
    assert isinstance(level.data, da.Array)  # as for all samples in memory
    watched.regions.clear()
    np.testing.assert_array_equal(level, oracle.mean(watched.values, (2, 2)))
    assert watched.regions == []


def test_a_pyramid_of_a_level(store: CountingStore, tmp_path: Path) -> None:
    level = build(store, chunks=None)[1]
    again = level.rename("again").pyramid.build(levels=2)
    assert store.chunks("get") == []
    assert again.plan.levels[0].chunks == (8, 4)  # those of the pyramid that it is of
    again.to_ome_zarr(tmp_path / "out.zarr", progress=False)
    first = oracle.mean(VALUES, (2, 2))
    for got, want in zip(
        xpyramid.open_pyramid(tmp_path / "out.zarr"),
        (first, oracle.mean(first, (2, 2))),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want, strict=True)
