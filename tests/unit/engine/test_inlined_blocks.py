"""Blocks that one tile alone needs are computed by its task, each once, wherever it runs."""

import importlib
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import TaskRef
from dask.callbacks import Callback

import xpyramid
from xpyramid.engine.tasks import NamedTask

graph_module = importlib.import_module("xpyramid.engine.graph")

VALUES = np.random.default_rng(0).integers(0, 99, (64, 48)).astype("u2")


@pytest.fixture
def ran() -> Iterator[Counter[str]]:
    """Count the tasks of each kind that dask runs."""
    found = Counter[str]()

    def note(key: Any, *_: object) -> None:
        name = str(key[0] if isinstance(key, tuple) else key)
        found["tiles and joins" if isinstance(key, tuple) and "pyramid-" in name else "others"] += 1

    with dask.config.set(scheduler="sync"), Callback(posttask=note):
        yield found


class Counted:
    """An array that notes what is read of it."""

    shape, dtype, ndim = VALUES.shape, VALUES.dtype, VALUES.ndim

    def __init__(self) -> None:
        self.read: list[str] = []

    def __getitem__(self, key: Any) -> Any:
        self.read.append(str(key))
        return VALUES[key]


def counted(chunks: Any) -> tuple[xr.DataArray, list[str]]:
    """Return an array of blocks that are noted whenever they are computed."""
    source = Counted()
    data = da.from_array(source, chunks=chunks)
    source.read.clear()
    return xr.DataArray(data, dims=("y", "x"), name="field"), source.read


def is_right(store: Any, name: str = "field") -> None:
    stored = xpyramid.open_pyramid(store, name)
    whole = xr.DataArray(VALUES, dims=("y", "x")).pyramid.build(factor=[2, 2])
    for a, b in zip(stored, whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
@pytest.mark.parametrize(
    ("chunks", "others"),
    [
        pytest.param(8, lambda n: n <= 4, id="as stored"),
        pytest.param(4, lambda n: n <= 4, id="smaller"),
        pytest.param(32, lambda n: 4 <= n <= 8, id="of several tiles"),
        pytest.param(12, lambda n: n >= 24, id="cut"),
    ],
)
def test_blocks_are_no_tasks(
    chunks: int, others: Callable[[int], bool], ran: Counter[str], tmp_path: Path
) -> None:
    array, computed = counted(chunks)
    pyramid = array.pyramid.build(factor=[2, 2], chunks=8)
    pyramid.to_ome_zarr(tmp_path, memory="3 kB")
    assert ran["tiles and joins"] == pyramid.plan.cost(memory="3 kB").tasks
    assert others(ran["others"])
    assert len(computed) == len(set(computed)) == array.data.npartitions
    is_right(tmp_path)


def test_what_variables_share_is_computed_once(tmp_path: Path) -> None:
    array, computed = counted(8)
    dataset = xr.Dataset({"a": array, "b": array, "c": array + 1})
    dataset.pyramid.build(factor=[2, 2], chunks=8).to_ome_zarr(tmp_path)
    assert len(computed) == len(set(computed)) == array.data.npartitions
    is_right(tmp_path, "a")
    is_right(tmp_path, "b")


def test_blocks_of_few_tiles_run_at_the_same_time(
    ran: Counter[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    array, computed = counted(8)
    monkeypatch.setattr(graph_module, "TILES_FOR_EACH", 1000)
    array.pyramid.to_ome_zarr(tmp_path, factor=[2, 2], chunks=8)
    assert ran["others"] >= len(computed) == array.data.npartitions
    is_right(tmp_path)


def test_without_waves(tmp_path: Path) -> None:
    array, computed = counted(8)
    array.pyramid.to_ome_zarr(tmp_path, factor=[2, 2], chunks=8, compute=False).compute()
    assert len(computed) == len(set(computed)) == array.data.npartitions
    is_right(tmp_path)


def test_a_nested_task_gets_what_it_needs_in_another_process() -> None:
    keys = [f"key {i}" for i in range(50)]
    task = NamedTask("all", lambda *parts: parts, *map(TaskRef, keys))
    function, packed, *needs = graph_module._nested(task, "job")
    packed = graph_module.Packed(pickle.loads(dask_dumps(packed.content)))
    assert function(packed, *[need.upper() for need in needs]) == tuple(k.upper() for k in keys)


def dask_dumps(thing: Any) -> bytes:
    import cloudpickle

    dumped: bytes = cloudpickle.dumps(thing)
    return dumped
