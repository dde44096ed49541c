"""A block of a dask array that cannot be read: which one it is, on every scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors
from xpyramid.engine.source import graph_of
from xpyramid.runtime import retry

DATA = np.arange(24 * 24, dtype="u2").reshape(24, 24)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Return an array of 4 x 4 chunks, of which one is rubbish: rows 8:12, columns 16:20."""
    zarr.create_array(
        tmp_path / "in.zarr", name="field", data=DATA, chunks=(4, 4), dimension_names=("y", "x")
    )
    (tmp_path / "in.zarr/field/c/2/4").write_bytes(b"rubbish")
    return tmp_path / "in.zarr"


def lazy(source: Path, chunks: Any) -> xr.DataArray:
    opened = xr.open_zarr(source, chunks=chunks, consolidated=False)
    return opened.field + 0  # what only reads is read without dask


def write(array: xr.DataArray, out: Path, **options: Any) -> Any:
    return array.pyramid.to_ome_zarr(out / "out.zarr", levels=2, chunks=4, factor=2, **options)


@pytest.mark.parametrize(
    ("chunks", "where"),
    [
        ({}, r"block \(2, 4\): y=8:12, x=16:20"),
        ({"y": 12}, r"block \(0, 4\): y=0:12, x=16:20"),  # blocks are split, and read whole
        ({"y": 3, "x": 2}, r"block \([23], [89]\): y=(6:9|9:12), x=(16:18|18:20)"),  # and joined
    ],
)
@pytest.mark.filterwarnings("ignore:The specified chunks separate the stored chunks")
def test_the_block_is_named(chunks: Any, where: str, damaged: Path, tmp_path: Path) -> None:
    match = rf"level 0 of 'field', {where}: \w+"
    with dask.config.set(scheduler="sync"), pytest.raises(errors.ReadError, match=match) as caught:
        write(lazy(damaged, chunks), tmp_path)
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__, errors.PyramidError)
    assert "resume=True" in str(caught.value.__notes__)


def test_the_first_block_that_a_failed_task_is_for_is_named(damaged: Path, tmp_path: Path) -> None:
    read = da.from_zarr(damaged / "field") + 0
    moved = da.roll(read, 4, axis=1)  # the block comes from elsewhere
    array = xr.DataArray(moved, dims=("y", "x"), name="field")
    with pytest.raises(errors.ReadError, match=r"level 0 of 'field', block \(2, 5\): y=8:12"):
        write(array, tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("scheduler", ["processes", "cluster"])
def test_on_every_scheduler(
    scheduler: str, damaged: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    around: Any = nullcontext()
    if scheduler == "cluster":
        around = request.getfixturevalue("cluster").as_current()
    configured = {"scheduler": scheduler, "num_workers": 1} if scheduler == "processes" else {}
    match = r"level 0 of 'field', block \(2, 4\): y=8:12, x=16:20: \w+"
    with around, dask.config.set(configured), pytest.raises(errors.ReadError, match=match):
        write(lazy(damaged, {}), tmp_path)


def test_a_delayed_build_names_its_task(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.ReadError, match=r"the dask task \('.*', 2, 4\) failed: \w+"):
        write(lazy(damaged, {}), tmp_path, compute=False).compute()


def test_a_level_with_data_of_its_own_is_named(tmp_path: Path) -> None:
    """Levels that are stored elsewhere are copied."""
    whole = xr.DataArray(DATA, dims=("y", "x"), name="field")
    write(whole, tmp_path / "first")
    chunk = tmp_path / "first/out.zarr/field/1/field/c/1/2"
    opened = xpyramid.open_pyramid(tmp_path / "first/out.zarr/field")
    chunk.write_bytes(bytes(chunk.stat().st_size))
    with pytest.raises(errors.ReadError, match=r"level 1 of 'field', .*\(1, 2\): y=4:8, x=8:12"):
        opened.to_ome_zarr(tmp_path / "second.zarr")
    chunk.write_bytes(b"rubbish")
    with pytest.raises(errors.ReadError, match="field/1/field/c/1/2 has 7 bytes, and had"):
        opened.to_ome_zarr(tmp_path / "third.zarr")


def test_a_fault_that_passes_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)

    def fail_twice(block: np.ndarray) -> np.ndarray:
        calls.append(block)
        if len(calls) < 3:
            raise ConnectionResetError("gone")
        return block

    data = da.from_array(DATA, chunks=24).map_blocks(fail_twice, meta=np.empty((0, 0), "u2"))
    write(xr.DataArray(data, dims=("y", "x"), name="field"), tmp_path)
    stored = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    np.testing.assert_array_equal(stored[0], DATA)
    assert len(calls) == 3


def test_what_goes_on_is_compared_with_blocks_that_cannot_be_read(
    damaged: Path, tmp_path: Path
) -> None:
    array = lazy(damaged, {})
    with dask.config.set(scheduler="sync"), pytest.raises(errors.ReadError):
        write(array, tmp_path)
    for chunk in (damaged / "field/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"rubbish")
    # What is compared is the first block of the first tile, of two by two, that is done.
    done = min(path.name for path in tmp_path.glob("**/tasks/1/1/*"))
    y, x = (2 * int(n) for n in done.split("."))
    block = rf"block \({y}, {x}\): y={4 * y}:{4 * y + 4}, x={4 * x}:{4 * x + 4}"
    with pytest.raises(errors.ReadError, match=f"level 0 of 'field', {block}"):
        write(array, tmp_path, resume=True)


def test_kinds_of_tasks_that_dask_treats_apart_stay() -> None:
    """Clusters tell their own rechunking by the type of its tasks."""
    from dask._task_spec import Alias, Task

    from xpyramid.engine.tasks import NamedTask, named

    class Barrier(Task):
        pass

    graph = {"a": Task("a", int), "b": Barrier("b", int), "c": Alias("c", "a")}
    kinds = {key: type(node) for key, node in named(graph).items()}
    assert kinds == {"a": NamedTask, "b": Barrier, "c": Alias}
    assert graph_of([], []) == {}
