"""Variables that hold the same samples are read together: each chunk of their base once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import oracle
from helpers.counting_store import CountingStore

import xpyramid
from xpyramid import engine
from xpyramid.errors import CostWarning, PlanError
from xpyramid.writer import jobs as jobs_module
from xpyramid.writer.journal import Journal
from xpyramid.writer.sinks import ZarrSink

CHUNK = 8
FACTORS = [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


def values() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(1, 1000, (2, 32, 24), "u2")


def opened(store: Any) -> xr.Dataset:
    """Return a Dataset of one array that xarray reads lazily, without dask."""
    array = xr.DataArray(values(), dims=("c", "y", "x"), name="a")
    encoding = {"a": {"chunks": (1, CHUNK, CHUNK)}}
    array.to_dataset().to_zarr(store, encoding=encoding, zarr_format=3, consolidated=False)
    return xr.open_zarr(store, chunks=None, consolidated=False)


def build(ds: xr.Dataset, **methods: str) -> xpyramid.Pyramids:
    """Return pyramids of three levels, in chunks that are those of the source."""
    method = {name: methods.get(name, "mean") for name in ds.data_vars}
    return ds.pyramid.build(factor=[2, 2], method=method, chunks=CHUNK, dims=("y", "x"))


def omero(path: Path, name: str) -> Any:
    return zarr.open_group(path / name, mode="r").attrs["ome"]["omero"]


def check(path: Path, name: str, method: str, base: np.ndarray[Any, Any], **options: Any) -> None:
    """Check the levels of an image, and that it is shown as one that is written alone."""
    for level, factors in zip(xpyramid.open_pyramid(path, name), FACTORS, strict=True):
        expected = base
        if max(factors) > 1:
            expected = oracle.reduce(base, factors, method, **options)
        np.testing.assert_array_equal(level.values, expected)
    alone = xr.DataArray(base, dims=("c", "y", "x"), name=name)
    other = path.with_name(f"{path.stem}-{name}-alone.zarr")
    alone.pyramid.build(
        factor=[2, 2], method=method, chunks=CHUNK, dims=("y", "x"), **options
    ).to_ome_zarr(other)
    assert omero(path, name) == omero(other, name)


def test_each_chunk_is_read_once_for_two_variables(tmp_path: Path) -> None:
    store = CountingStore()
    ds = opened(store)
    ds = ds.assign(b=ds.a, d=ds.a.assign_attrs(_FillValue=3))
    pyramids = build(ds, b="max", d="min")
    store.log.clear()
    pyramids.to_ome_zarr(tmp_path / "out.zarr")
    read = Counter(store.chunks("get"))
    assert len(read) == 2 * 4 * 3
    assert set(read.values()) == {1}
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "max", values())
    check(tmp_path / "out.zarr", "d", "min", values(), ignore=3)
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []


def test_each_chunk_is_read_once_where_blocks_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that do not fit the stored ones are read by dask, as regions would get too large."""
    monkeypatch.setattr("xpyramid.geometry.passes._joined", lambda *_: None)
    store = CountingStore()
    ds = opened(store)
    ds = ds.assign(b=ds.a)
    pyramids = build(ds, b="max")
    store.log.clear()
    pyramids.to_ome_zarr(tmp_path / "out.zarr")
    assert set(Counter(store.chunks("get")).values()) == {1}
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "max", values())


def test_blocks_of_a_dask_array_are_reduced_by_one_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = Counter[Any]()

    def compute(block: Any, block_info: Any = None) -> Any:
        computed[block_info[0]["chunk-location"]] += 1
        return block

    base = da.from_array(values(), chunks=(1, CHUNK, CHUNK)).map_blocks(compute, dtype="u2")
    computed.clear()
    array = xr.DataArray(base, dims=("c", "y", "x"))
    ran: list[int] = []
    run = engine.run
    monkeypatch.setattr(
        engine, "run", lambda jobs, *rest: ran.append(len(jobs)) or run(jobs, *rest)
    )
    build(xr.Dataset({"a": array, "b": array}), b="max").to_ome_zarr(tmp_path / "out.zarr")
    assert ran == [1]
    assert set(computed.values()) == {1}
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "max", values())


@pytest.mark.parametrize("lazily", ["xarray", "dask"])
def test_a_mean_beside_a_median_reads_each_chunk_once(lazily: str, tmp_path: Path) -> None:
    store = CountingStore()
    ds = opened(store)
    if lazily == "dask":
        ds = ds.chunk({"c": 1, "y": CHUNK, "x": CHUNK})
    pyramids = build(ds.assign(b=ds.a, d=ds.a), b="median", d=np.ptp)
    store.log.clear()
    pyramids.to_ome_zarr(tmp_path / "out.zarr")
    read = Counter(store.chunks("get"))
    assert len(read) == 2 * 4 * 3
    assert set(read.values()) == {1}
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "median", values())
    opened_again = xpyramid.open_pyramid(tmp_path / "out.zarr", "d")
    for stored, expected in zip(opened_again, pyramids["d"], strict=True):
        np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.isel(x=slice(None, None, -1)),
        lambda a: a.isel(c=[1, 0]),
        lambda a: a.isel(c=[0, 0]),
        lambda a: a.roll(x=1),
    ],
    ids=["flipped", "channels swapped", "one channel twice", "rolled"],
)
def test_what_lies_elsewhere_in_a_base_is_not_mixed_up(
    change: Callable[[xr.DataArray], xr.DataArray], tmp_path: Path
) -> None:
    ds = opened(tmp_path / "in.zarr")
    expected = change(xr.DataArray(values(), dims=("c", "y", "x"))).values
    pyramids = build(ds.assign(b=change(ds.a)), b="max")
    pyramids.to_ome_zarr(tmp_path / "out.zarr")
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "max", expected)


def test_variables_that_are_written_later(tmp_path: Path) -> None:
    ds = opened(tmp_path / "in.zarr")
    later = build(ds.assign(b=ds.a), b="max").to_ome_zarr(tmp_path / "out.zarr", compute=False)
    dask.compute(later)
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "max", values())


class EnoughError(Exception):
    pass


def broken_off(pyramids: xpyramid.Pyramids, path: Path, after: int) -> list[str]:
    """Break a build off when so many documents are in journals; return where these are."""
    save = Journal.save
    saved: list[str] = []

    def fail(self: Journal, *arguments: Any) -> None:
        save(self, *arguments)
        saved.append(str(self.place))
        if len(saved) == after:
            raise EnoughError

    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="sync"):
        patch.setattr(Journal, "save", fail)
        with pytest.raises(EnoughError):
            pyramids.to_ome_zarr(path)
    return saved


def gone_on_with(pyramids: xpyramid.Pyramids, path: Path) -> Counter[str]:
    """Go on with a build; return how many samples of level 0 are written of each image."""
    written = Counter[str]()

    def counting(write: Callable[..., Any]) -> Callable[..., Any]:
        def count(self: ZarrSink, region: Sequence[slice], part: Any) -> Any:
            if self.name.endswith("level 0"):
                size = math.prod(r.stop - r.start for r in region)
                written[self.name.split("/")[-3]] += size
            return write(self, tuple(region), part)

        return count

    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="sync"):
        for way in ("__call__", "store"):
            patch.setattr(ZarrSink, way, counting(getattr(ZarrSink, way)))
        pyramids.to_ome_zarr(path, resume=True)
    return written


@pytest.mark.parametrize("after", [1, 2, 3, 8, 11])
def test_a_build_of_both_is_resumed(after: int, tmp_path: Path) -> None:
    """Also where the journal of one image says of a task what that of the other does not."""
    ds = opened(tmp_path / "in.zarr")
    pyramids = build(ds.assign(b=ds.a), b="max")
    saved = broken_off(pyramids, tmp_path / "out.zarr", after)
    assert len(set(saved)) == min(after, 2)  # each has one of its own
    done = Counter(place.split("/")[-3] for place in saved)
    written = gone_on_with(pyramids, tmp_path / "out.zarr")
    size = values().size
    for name in "ab":
        finished = done[next((key for key in done if name in key), name)] > 0
        assert (written[name] < size) is finished
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "max", values())


def test_an_image_that_was_begun_alone_is_resumed_beside_another(tmp_path: Path) -> None:
    ds = opened(tmp_path / "in.zarr")
    both = ds.assign(b=ds.a)
    broken_off(build(both[["a"]]), tmp_path / "out.zarr", after=5)
    written = gone_on_with(build(both, b="max"), tmp_path / "out.zarr")
    assert 0 < written["a"] < written["b"] == values().size
    check(tmp_path / "out.zarr", "a", "mean", values())
    check(tmp_path / "out.zarr", "b", "max", values())


@pytest.mark.filterwarnings("ignore:memory=.*together:xpyramid.errors.CostWarning")
def test_jobs_stay_apart_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[tuple[int, Any]] = []
    share = jobs_module.shared_jobs

    def shared(images: Any, limits: Any) -> Any:
        jobs, positions = share(images, limits)
        merged.append((len(jobs), positions))
        for job in jobs:
            tiling = job.work.tiling
            assert tiling.outputs == len(job.work.outputs)
            needed = limits.workers * tiling.memory(2)
            assert limits.memory is None or needed <= limits.memory
        return jobs, positions

    monkeypatch.setattr("xpyramid.writer.session.shared_jobs", shared)
    ds = opened(tmp_path / "in.zarr")
    ds = ds.assign(b=ds.a, d=ds.a)
    least = next(b for b in range(7 * 10**6, 10**7, 2000) if _fits(ds, b))
    for memory in (None, least):
        build(ds).to_ome_zarr(tmp_path / f"{memory}.zarr", memory=memory)
        for name in ("a", "b", "d"):
            check(tmp_path / f"{memory}.zarr", name, "mean", values())
    assert [found for found in merged if len(found[1]) == 3] == [
        (1, [(0,), (1,), (2,)]),
        (3, [(0,), (1,), (2,)]),
    ]


def _fits(ds: xr.Dataset, memory: int) -> bool:
    try:
        build(ds)["a"].plan.cost(memory=memory)
    except (PlanError, CostWarning):
        return False
    return True
