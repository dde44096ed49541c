"""What a plan says beforehand is what runs, however the base is given."""

import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback
from helpers.quick import spread

import xpyramid
from xpyramid.errors import CostWarning
from xpyramid.geometry import passes, tiles

SHAPE = (50, 110)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tiles of some of these small arrays, as there are of large ones."""
    monkeypatch.setattr(passes, "LEAF_BYTES", 300)
    monkeypatch.setattr(passes, "TILE_BYTES", 16000)
    monkeypatch.setattr(tiles, "LEAF_BYTES", 300)


@pytest.fixture
def ran() -> Iterator[set[Any]]:
    """Collect the keys of the tasks that write, and of no others."""
    found: set[Any] = set()

    def note(key: Any, *_: object) -> None:
        if isinstance(key, tuple) and str(key[0]).startswith("pyramid-"):
            found.add(key)

    with dask.config.set(scheduler="sync"), Callback(posttask=note):
        yield found


def field(chunks: Any = None, dtype: str = "u2") -> xr.DataArray:
    values = np.random.default_rng(0).integers(1, 200, SHAPE).astype(dtype)
    array = xr.DataArray(values, dims=("y", "x"), name="field")
    return array if chunks is None else array.chunk(chunks)


def stored(path: Path, on_disk: tuple[int, int], chunks: Any) -> xr.DataArray:
    """Return the field as it is opened from a file."""
    field().to_dataset().to_zarr(path, encoding={"field": {"chunks": on_disk}}, consolidated=False)
    return xr.open_zarr(path, consolidated=False, chunks=chunks)["field"]


GIVEN: dict[str, Any] = {
    "numpy": lambda _: field(),
    "zarr": lambda path: stored(path, (8, 8), chunks=None),
    "zarr that does not fit": lambda path: stored(path, (9, 50), chunks=None),
    "zarr that does not fit at all": lambda path: stored(path, (49, 109), chunks=None),
    "dask": lambda _: field(8),
    "dask, larger": lambda _: field({"y": 16, "x": 64}),
    "dask, awkward": lambda _: field({"y": 13, "x": 31}),
    "dask, irregular": lambda _: field({"y": (1, 40, 9), "x": -1}),
    "dask over zarr": lambda path: stored(path, (8, 8), chunks={}),
    "dask, joined over zarr": lambda path: stored(path, (8, 8), chunks={"y": 24, "x": -1}),
}
OPTIONS: list[dict[str, Any]] = [{}, {"shards": 16}, {"memory": "8 kB"}]


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
@pytest.mark.once
@pytest.mark.parametrize(("options", "given"), spread(2, OPTIONS, list(GIVEN)))
def test_as_many_tasks_as_stated(
    given: str, options: Mapping[str, Any], ran: set[Any], tmp_path: Path
) -> None:
    pyramid = GIVEN[given](tmp_path / "in.zarr").pyramid.build(factor=[2, 2, 3], chunks=8)
    cost = pyramid.plan.cost(**options)
    assert not ran
    pyramid.to_ome_zarr(tmp_path / "out.zarr", **options)
    assert len(ran) == cost.tasks >= 10


@pytest.mark.parametrize(
    ("method", "passes_of", "given"),
    spread(
        3,
        ["median", np.ptp],
        [([2, 3], 1), ([2, 5], 2), ([2, 5, 2], 3), ([4, 2], 1)],
        ["numpy", "zarr", "dask, larger", "dask, awkward"],
    ),
)
def test_levels_whose_windows_are_too_large_take_a_pass_of_their_own(
    given: str, passes_of: tuple[list[int], int], method: Any, ran: set[Any], tmp_path: Path
) -> None:
    factor, times_read = passes_of
    base = GIVEN[given](tmp_path / "in.zarr")
    pyramid = base.pyramid.build(factor=factor, chunks=8, method=method)
    cost = pyramid.plan.cost()
    pyramid.to_ome_zarr(store := {})
    assert len(ran) == cost.tasks
    assert cost.bytes_read == times_read * field().nbytes
    assert cost.bytes_written == sum(level.nbytes for level in pyramid)
    opened = xpyramid.open_pyramid(store, "field")
    for k, level in enumerate(pyramid):
        np.testing.assert_array_equal(opened[k], level)


def test_what_was_opened_is_copied_level_by_level(ran: set[Any]) -> None:
    store: dict[str, Any] = {}
    field(16).pyramid.to_ome_zarr(store, factor=[2, 3], chunks=8)
    opened = xpyramid.open_pyramid(store, "field")
    cost = opened.plan.cost()
    ran.clear()
    opened.to_ome_zarr({})
    assert len(ran) == cost.tasks
    assert cost.bytes_read == cost.bytes_written == opened.nbytes


def test_the_variables_of_a_dataset_add_up(ran: set[Any]) -> None:
    dataset = xr.Dataset({"a": field(), "b": field(13, "f4"), "c": field({"y": 5}, "f8")})
    pyramids = dataset.pyramid.build(factor=[2, 3], chunks=8, method={"a": "median", "b": "max"})
    costs = [pyramid.plan.cost() for pyramid in pyramids.values()]
    pyramids.to_ome_zarr({})
    assert len(ran) == sum(cost.tasks for cost in costs)


def test_it_is_for_the_workers_that_dask_has_now() -> None:
    plan = field().pyramid.build(factor=[2, 2, 2], chunks=8).plan
    for number in (1, 3):
        with dask.config.set(num_workers=number):
            assert plan.cost() == plan.cost(workers=number)
    with dask.config.set(scheduler="sync"):
        assert plan.cost() == plan.cost(workers=1)


def test_blocks_that_wait_for_their_tiles_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROCESS_BYTES", "WORKER_BYTES", "TASK_BYTES", "RECORD_BYTES"):
        monkeypatch.setattr(passes, name, 0)

    def memory(chunks: Any) -> int:
        data = da.zeros((512, 4096), chunks=chunks, dtype="u1")
        array = xr.DataArray(data, dims=("y", "x"))
        plan = array.pyramid.build(factor=[2, 2], chunks=16).plan
        plan = replace(plan, kind="labels")  # so that nothing is counted on the way
        return plan.cost(workers=2).memory - handed_up

    # What four nodes of level 0 and four of level 1 hand up: the cells of the next level.
    handed_up = 4 * 8 * 8 + 4 * 8 * 8
    fitting, lines, rows = memory(16), memory((1, -1)), memory((16, -1))
    assert fitting == 2 * (3 * 16 * 16 + 16 * 8 * 8)  # in blocks, read, encoded; sums and counts
    assert fitting < rows == lines  # the lines of a row of tiles
    assert rows - fitting == 2 * (16 * 4096 - 16 * 16)
    assert memory((24, 24)) > fitting + 2 * 4096 * 24  # a front of those that are cut
    for a, b in itertools.pairwise([16, 512, 1024]):
        assert memory((16, a)) < memory((16, b))


def test_a_budget_that_blocks_exceed_is_warned_of() -> None:
    data = da.zeros((512, 4096), chunks=(512, 4096), dtype="u1")
    plan = xr.DataArray(data, dims=("y", "x")).pyramid.build(factor=[2, 2], chunks=16).plan
    with pytest.warns(
        CostWarning, match="too little for 1 worker: .* smaller .* dask block"
    ) as all_:
        cost = plan.cost(workers=1, memory="20 kB")
    assert cost.memory > data.nbytes
    assert f"they need about {cost.memory} bytes" in str(all_[0].message)


def test_what_is_held_beside_samples_counts() -> None:
    plan = field(8).pyramid.build(factor=[2, 2], chunks=8).plan
    one, two = plan.cost(workers=1), plan.cost(workers=2)
    fixed = passes.PROCESS_BYTES + passes.WORKER_BYTES
    assert one.memory > fixed + passes.TASK_BYTES * one.tasks  # and those of blocks
    assert two.memory > one.memory + passes.WORKER_BYTES


def test_a_budget_holds_for_all_that_is_counted() -> None:
    """What a tile takes is not all: what is handed up, tasks and codecs have to fit, too."""
    plan = xr.DataArray(np.zeros((4096, 4096), "u2"), dims=("y", "x")).pyramid.build(chunks=16).plan
    usual = plan.cost(workers=2)
    least = next(m for m in range(10**6, usual.memory, 10**5) if _does(plan, m))
    assert least < 0.7 * usual.memory
    for memory in (least, (least + usual.memory) // 2, usual.memory):
        assert plan.cost(workers=2, memory=memory).memory <= memory


def _does(plan: Any, memory: int) -> bool:
    """Whether a budget does, without a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plan.cost(workers=2, memory=memory)
    return not caught


def test_short_memory_makes_waves_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of all tiles would take more than the budget."""
    for name in ("LEAF_BYTES", "TILE_BYTES"):
        monkeypatch.setattr(passes, name, 16)
    shape, objects = (16 * 2**14,), (16,)
    levels = [passes.Shape((shape[0] // 2**k,), objects) for k in range(14)]
    for memory, wave in ((None, tiles.WAVE), (14_000_000, tiles.WAVE // 16)):
        (only,) = passes.passes(
            levels, [(2,)] * 13, [passes.SourceChunks()], 1, passes.Limits(1, memory)
        )
        assert (only.tiling.tile, only.tiling.wave) == (0, wave)
        assert memory is None or only.memory(1, 1) <= memory


@pytest.mark.slow
def test_what_variables_hold_together_is_warned_of(tmp_path: Path) -> None:
    """Each by itself would fit."""
    dataset = xr.Dataset({name: field(8) + k for k, name in enumerate("abcdef")})
    pyramids = dataset.pyramid.build(factor=[2, 2], chunks=8, kind="image")
    memory = max(p.plan.cost(workers=1).memory for p in pyramids.values())
    with dask.config.set(scheduler="sync"):
        for pyramid in pyramids.values():
            pyramid.to_ome_zarr(tmp_path / "one by one", memory=memory)
        with pytest.warns(CostWarning, match="too little for 6 passes .* need about") as caught:
            pyramids.to_ome_zarr(tmp_path / "all", memory=memory)
        need = int(str(caught[0].message).split("need about ")[1].split()[0])
        assert memory < need < 6 * memory
        pyramids.to_ome_zarr(tmp_path / "enough", memory=need)
