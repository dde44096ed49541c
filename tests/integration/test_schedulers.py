"""Whoever runs the tasks, and whatever the base is made of: the same levels, each block once."""

import importlib
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.delayed import Delayed

import xpyramid
from xpyramid import errors

distributed = pytest.importorskip("distributed")
run_module = importlib.import_module("xpyramid.engine.run")  # beside it there is a function run
graph_module = importlib.import_module("xpyramid.engine.graph")

Array = np.ndarray[Any, np.dtype[Any]]

#: What dask is told that blocks are like, so that it need not try.
META = np.empty((0, 0), "u1")

SCHEDULERS = ["threads", "sync", "processes", "cluster"]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Return a client of two workers, each a process, that nobody is given by default."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def on(scheduler: str, request: pytest.FixtureRequest) -> AbstractContextManager[Any]:
    """Make dask use a scheduler."""
    if scheduler == "cluster":
        context: AbstractContextManager[Any] = request.getfixturevalue("client").as_current()
        return context
    return dask.config.set(scheduler=scheduler)


def field(shape: tuple[int, int] = (150, 130), dtype: str = "f4") -> xr.DataArray:
    values = np.random.default_rng(0).normal(100, 20, shape).astype(dtype)
    if dtype[0] == "f":
        values[10:40, 20:30] = np.nan
    return xr.DataArray(values, {"x": 0.5 * np.arange(shape[1])}, ("y", "x"), name="field")


def check(store: Any, pyramid: xpyramid.Pyramid) -> None:
    """Check that what is stored is what is lazy."""
    stored = xpyramid.open_pyramid(store, "field")
    assert len(stored) == len(pyramid) > 2
    for lazy, level in zip(pyramid, stored, strict=True):
        np.testing.assert_array_equal(level.values, lazy.values, strict=True)


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
@pytest.mark.parametrize(
    ("scheduler", "base"),
    [("sync", "dask"), ("processes", "dask")]  # processes take seconds to start
    + [(name, base) for name in ("threads", "cluster") for base in ("numpy", "dask", "zarr")],
)
def test_every_scheduler(
    scheduler: str, base: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    array = field()
    if base == "dask":
        array = array.chunk({"y": 37, "x": 50})
    if base == "zarr":
        chunks = {"field": {"chunks": (16, 32)}}
        array.to_dataset().to_zarr(tmp_path / "base.zarr", encoding=chunks, consolidated=False)
        array = xr.open_zarr(tmp_path / "base.zarr", chunks=None, consolidated=False)["field"]
    pyramid = array.pyramid.build(factor=[2, 3], chunks=32)
    with on(scheduler, request):
        pyramid.to_ome_zarr(tmp_path / "out.zarr", memory="200 kB")
    check(tmp_path / "out.zarr", pyramid)


LITTLE, MUCH = (150, 130), (1200, 1200)


@pytest.mark.parametrize(
    ("base", "shape", "target", "on_threads"),
    [
        ("numpy", LITTLE, "disk", False),
        ("numpy", MUCH, "disk", True),
        ("numpy", LITTLE, "far away", True),  # where each object is waited for
        ("dask", LITTLE, "disk", True),
    ],
)
def test_little_work_needs_no_threads(
    base: str,
    shape: tuple[int, int],
    target: str,
    on_threads: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = []
    get = run_module._on_threads
    monkeypatch.setattr(run_module, "_on_threads", lambda *args: used.append(1) or get(*args))
    array = field(shape)
    array = array.chunk(y=37, x=50) if base == "dask" else array
    store = tmp_path / "out.zarr" if target == "disk" else zarr.storage.MemoryStore()
    pyramid = array.pyramid.build(chunks=32)
    pyramid.to_ome_zarr(store)
    assert bool(used) == on_threads
    check(store, pyramid)


def test_a_pool_is_used_whatever_there_is_to_do(tmp_path: Path) -> None:
    class Pool(ThreadPoolExecutor):
        submitted = 0

        def submit(self, *args: Any, **options: Any) -> Any:
            self.submitted += 1
            return super().submit(*args, **options)

    with Pool(2) as pool, dask.config.set(pool=pool):
        field(LITTLE).pyramid.to_ome_zarr(tmp_path / "out.zarr", chunks=32)
    assert pool.submitted


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
@pytest.mark.parametrize("method", ["mode", "median"])
@pytest.mark.parametrize("scheduler", ["threads", "cluster"])
def test_states_travel(
    scheduler: str,
    method: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In waves of a few tasks, states go to the calling process and back."""
    monkeypatch.setattr(graph_module, "WAVE", 10)
    labels = field(dtype="u2") // 20
    pyramid = labels.rename("field").pyramid.build(factor=[2, 3], chunks=16, method=method)
    with on(scheduler, request):
        pyramid.to_ome_zarr(tmp_path / "out.zarr", memory="100 kB")
    check(tmp_path / "out.zarr", pyramid)


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
@pytest.mark.parametrize("shards", [None, 32])
def test_left_to_zarr(
    scheduler: str, shards: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpyramid.writer.sinks.by_object", lambda _: None)
    pyramid = field().pyramid.build(factor=[2, 3], chunks=16)
    with dask.config.set(scheduler=scheduler):
        pyramid.to_ome_zarr(tmp_path / "out.zarr", shards=shards)
    check(tmp_path / "out.zarr", pyramid)


@pytest.mark.parametrize("scheduler", ["threads", "cluster"])
def test_delayed(scheduler: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pyramid = field().chunk(40).pyramid.build(factor=[2, 3], chunks=32)
    with on(scheduler, request):
        delayed = pyramid.to_ome_zarr(tmp_path / "out.zarr", compute=False)
        assert isinstance(delayed, Delayed)
        assert not (tmp_path / "out.zarr/field").exists()
        assert delayed.compute() is None
    check(tmp_path / "out.zarr", pyramid)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets what a bar is told: the total, and then each advance."""
    told: list[int] = []

    @contextmanager
    def bar(total: int, enabled: bool | None, _: object) -> Iterator[Callable[[int], None] | None]:
        told.append(total)
        yield told.append if enabled else None

    monkeypatch.setattr(run_module, "bar", bar)
    return told


@pytest.mark.parametrize(
    "scheduler",
    [
        "threads",
        "sync",
        pytest.param("processes", marks=pytest.mark.slow),
        "cluster",
    ],
)
def test_progress_adds_up(
    scheduler: str, steps: list[int], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pyramid = field().chunk(40).pyramid.build(factor=[2, 3], chunks=4)
    with on(scheduler, request):
        pyramid.to_ome_zarr(tmp_path / "out.zarr", progress=True)
    total, *advances = steps
    assert total == sum(advances) == pyramid.nbytes
    assert len(advances) > 10
    assert min(advances) > 0


@contextmanager
def counted(data: Array, chunks: Any) -> Iterator[tuple[da.Array, Counter[tuple[int, ...]]]]:
    """Return a dask array, and how often each of its blocks was computed."""
    seen: Counter[tuple[int, ...]] = Counter()

    def count(block: Array, block_info: Any = None) -> Array:
        seen[tuple(block_info[0]["chunk-location"])] += 1
        return block

    source = da.from_array(data, chunks=chunks, name=False)
    array = source.map_blocks(count, dtype=data.dtype, meta=np.empty((0, 0), data.dtype))
    yield array, seen
    full = {at for at in np.ndindex(array.numblocks) if array.blocks[at].size}
    assert full <= set(seen)


CHUNKS: dict[str, Any] = {
    "nested": 4,
    "as stored": 8,
    "larger": 32,
    "all": -1,
    "rows": (1, -1),
    "awkward": 7,
    "irregular": ((5, 9, 50), (1, 63)),
    "with empty ones": ((0, 33, 0, 31), (64, 0)),
}


@pytest.mark.parametrize("method", ["mean", "mode"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_each_block_is_computed_once(chunks: Any, method: str) -> None:
    data = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    with counted(data, chunks) as (array, seen), dask.config.set(scheduler="sync"):
        named = xr.DataArray(array, dims=("y", "x"), name="field")
        pyramid = named.pyramid.build(factor=[2, 2], chunks=8, method=method)
        assert not seen  # building computes nothing
        pyramid.to_ome_zarr({})
        assert {*seen.values()} == {1}


@pytest.mark.parametrize("chunks", [8, 16, (1, -1), (-1, 3), 7, 5, (64, 32)])
def test_each_block_is_computed_once_in_waves(chunks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "WAVE", 16)
    data = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    with counted(data, chunks) as (array, seen), dask.config.set(scheduler="sync"):
        xr.DataArray(array, dims=("y", "x"), name="field").pyramid.to_ome_zarr(
            {}, factor=[2, 2], chunks=8
        )
        assert {*seen.values()} == {1}


@pytest.mark.parametrize("chunks", [8, 7, -1])
def test_variables_share_what_they_are_made_of(chunks: int) -> None:
    data = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    with counted(data, chunks) as (array, seen), dask.config.set(scheduler="sync"):
        dataset = xr.Dataset(
            {"a": (("y", "x"), array), "b": (("y", "x"), 2 * array.astype("f8") + 1)}
        )
        store: dict[str, Any] = {}
        dataset.pyramid.to_ome_zarr(store, factor=[2, 2], chunks=8)
        assert {*seen.values()} == {1}
    twice = xpyramid.open_pyramid(store, "b")[0]
    np.testing.assert_array_equal(twice, 2.0 * data + 1)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that is told the size of each graph as it is made."""
    sizes: list[int] = []
    make = run_module.make_graph

    def spy(*args: Any) -> Any:
        graph = make(*args)
        sizes.append(len(graph))
        return graph

    monkeypatch.setattr(run_module, "make_graph", spy)
    return sizes


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
@pytest.mark.filterwarnings("ignore::xpyramid.errors.MissingChunkWarning")
@pytest.mark.parametrize("lazy", ["dask", "indexed"])
def test_graphs_stay_small(
    lazy: str, graphs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_module, "WAVE", 50)
    shape = (240, 240)
    group = zarr.create_group(tmp_path / "base.zarr")
    group.create_array("field", shape=shape, chunks=(8, 8), dtype="u1", dimension_names=["y", "x"])
    chunks = {} if lazy == "dask" else None
    base = xr.open_zarr(tmp_path / "base.zarr", chunks=chunks, consolidated=False)["field"]
    pyramid = base.pyramid.build(factor=[2] * 4)
    with dask.config.set(scheduler="sync"):
        pyramid.to_ome_zarr({}, memory="1 kB")  # a tile for each of 900 chunks
    assert len(graphs) > 10
    assert sum(graphs) > 900
    # For each tile: itself, a block, the source and the store it is read from; and some joins.
    assert max(graphs) < 4 * 50
    assert not pyramid.levels._made.keys() - {0}  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
def test_the_first_wave_starts_before_the_last_is_planned(
    graphs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that fails in its first block does so before the others are looked at."""
    monkeypatch.setattr(graph_module, "WAVE", 100)

    class StopError(Exception):
        pass

    def stop(_: Array) -> Array:
        raise StopError

    data = da.zeros((1024, 1024), chunks=8, dtype="u1").map_blocks(stop, dtype="u1", meta=META)
    pyramid = xr.DataArray(data, dims=("y", "x"), name="field").pyramid.build(factor=[2, 2])
    with dask.config.set(scheduler="sync"), pytest.raises(errors.ReadError, match="StopError"):
        pyramid.to_ome_zarr({}, memory="1 kB")
    assert len(graphs) == 1
    assert graphs[0] < 4 * 100


SLOW = """
    import os, time
    import dask.array as da, numpy as np, xarray as xr
    import xpyramid

    def slow(block):
        os.write(1, b"working\\n")  # one call: threads do not mix
        time.sleep(0.2)
        return block

    base = da.zeros((800, 800), chunks=8, dtype="u1").map_blocks(
        slow, dtype="u1", meta=np.empty((0, 0), "u1")
    )
    array = xr.DataArray(base, dims=("y", "x"), name="field")
    if __name__ == "__main__":
        array.pyramid.to_ome_zarr(OUT, factor=[2, 2])
"""


def test_an_interrupt_ends_the_work_and_leaves_no_image(tmp_path: Path) -> None:
    out = str(tmp_path / "out.zarr")
    code = textwrap.dedent(SLOW).replace("OUT", repr(out))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        begun, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode not in (0, None)
    assert begun.count("working") < 12  # a tile has more blocks
    assert "KeyboardInterrupt" in said
    assert not Path(out, "field").exists()
    with pytest.raises(errors.NotAPyramidError, match="is unfinished: its build was interrupted"):
        xpyramid.open_pyramid(out, "field")


def test_a_failing_task_is_heard(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    def fail(_: Array) -> Array:
        raise RuntimeError("no data today")

    base = da.zeros((64, 64), chunks=8, dtype="u1").map_blocks(fail, dtype="u1", meta=META)
    pyramid = xr.DataArray(base, dims=("y", "x"), name="field").pyramid.build(factor=[2, 2])
    with on("cluster", request), pytest.raises(errors.ReadError, match="no data today"):
        pyramid.to_ome_zarr(tmp_path / "out.zarr")
    with pytest.raises(errors.NotAPyramidError, match="is unfinished: its build was interrupted"):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field")


SCRIPT = """
import sys, dask, numpy as np, xarray as xr, xpyramid

def build():
    array = xr.DataArray(np.zeros((64, 64), "u2"), dims=("y", "x"), name="field").chunk(32)
    with dask.config.set(scheduler="processes", num_workers=1):
        array.pyramid.to_ome_zarr(sys.argv[1], levels=2)

"""


@pytest.mark.parametrize(
    "guard", ["", pytest.param('if __name__ == "__main__":\n    ', marks=pytest.mark.slow)]
)
def test_scripts_that_processes_would_run_again(tmp_path: Path, guard: str) -> None:
    script, store = tmp_path / "script.py", tmp_path / "out.zarr"
    script.write_text(f"{SCRIPT}{guard}build()\n")
    command = [sys.executable, script, store]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if guard:
        assert (done.returncode, done.stderr) == (0, "")
        assert len(xpyramid.open_pyramid(store / "field")) == 2
    else:
        assert "PlanError: scheduler='processes': each worker process runs" in done.stderr
        assert "below if __name__ == '__main__':" in done.stderr
        assert "resume" not in done.stderr
        assert not store.exists()
