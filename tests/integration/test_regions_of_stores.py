"""A pass over a region of the base changes what lies above it in a store, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

from xpyramid import engine
from xpyramid.geometry.tiles import Region, make_tiling
from xpyramid.reducers import make_reducer
from xpyramid.writer.sinks import ZarrSink

STEPS = [(2, 2)] * 3


def run(
    base: np.ndarray[Any, Any],
    arrays: list[zarr.Array[Any]],
    region: Region | None = None,
    *,
    level_0: bool = True,
) -> None:
    objects = [array.shards or array.chunks for array in arrays]
    tiling = make_tiling(base.shape, STEPS, objects, 2, region=region, tile_bytes=4000)
    sinks: list[engine.Sink | None] = [ZarrSink(array, array.path) for array in arrays]
    if not level_0:
        sinks[0] = None
    reducer = make_reducer("mean", base.dtype, 64)
    shapes = tuple(array.shape for array in arrays)
    work = engine.Work(tiling, (engine.Output(reducer, shapes, tuple(sinks)),))
    with dask.config.set(scheduler="threads", num_workers=8):
        engine.run([engine.Job(work, engine.Source(xr.Variable(("y", "x"), base)))])


@pytest.mark.parametrize("shards", [None, (20, 30)])
@pytest.mark.parametrize("where", [((17, 41), (100, 155)), ((0, 8), (0, 160)), ((60, 203), (3, 4))])
def test_a_store_is_as_if_it_were_built_anew(
    where: tuple[tuple[int, int], ...], shards: tuple[int, int] | None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    region = tuple(slice(*pair) for pair in where)
    before = rng.integers(0, 1000, (203, 160), "u2")
    after = before.copy()
    after[region] = rng.integers(0, 1000, after[region].shape)
    stores = [tmp_path / name for name in ("updated.zarr", "rebuilt.zarr")]
    levels = [
        [
            zarr.create_array(
                store, name=str(k), dtype="u2", chunks=(10, 15), shards=shards,
                shape=tuple(-(-n // 2**k) for n in before.shape),
            )
            for k in range(4)
        ]
        for store in stores
    ]  # fmt: skip
    updated, rebuilt = levels
    run(before, updated)
    updated[0][:] = after
    kept = sorted(path.stat().st_mtime_ns for path in stores[0].glob("0/c/**/*"))
    run(after, updated, region, level_0=False)
    run(after, rebuilt)
    assert sorted(path.stat().st_mtime_ns for path in stores[0].glob("0/c/**/*")) == kept
    for ours, theirs in zip(updated, rebuilt, strict=True):
        np.testing.assert_array_equal(ours[:], theirs[:])
