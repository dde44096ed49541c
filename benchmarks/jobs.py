"""Small jobs of each kind, whose instructions are counted.

    pip install 'xpyramid[benchmark]'
    pytest benchmarks/jobs.py --codspeed                # times
    python benchmarks/instructions.py --against v0.1.0  # instructions, beside another state

pytest-codspeed runs them, by itself or with its service. Each is done once before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid.kernels import choice

Benchmark = Callable[[Callable[[], object]], object]
RNG = np.random.default_rng(0)
CUBE = RNG.integers(0, 1000, (64, 64, 64)).astype("u2")
LABELS = (CUBE // 400).astype("u4")
WRITE: dict[str, Any] = {"levels": 3, "chunks": 32, "progress": False}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Have no job depend on when threads run, nor on what else was done before."""
    with dask.config.set(scheduler="sync"), choice.only("numpy"):
        yield


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / f"{i}.zarr" for i in count())


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A base that others wrote."""
    array = xr.DataArray(CUBE, dims=tuple("zyx"), name="field")
    encoding = {"field": {"chunks": (32,) * 3}}
    array.to_dataset().to_zarr(tmp_path / "in.zarr", encoding=encoding, consolidated=False)
    return tmp_path / "in.zarr"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    array = xr.DataArray(CUBE, dims=tuple("zyx"), name="field")
    array.pyramid.to_ome_zarr(tmp_path / "image.zarr", "", **WRITE)
    return tmp_path / "image.zarr"


def counted(benchmark: Benchmark, job: Callable[[], object]) -> None:
    job()
    benchmark(job)


def test_small_image(benchmark: Benchmark, targets: Iterator[Path]) -> None:
    array = xr.DataArray(CUBE[0], dims=("y", "x"), name="field")
    counted(benchmark, lambda: array.pyramid.to_ome_zarr(next(targets), **WRITE))


def test_from_zarr(benchmark: Benchmark, stored: Path, targets: Iterator[Path]) -> None:
    array = xr.open_zarr(stored, chunks=None, consolidated=False).field
    counted(benchmark, lambda: array.pyramid.to_ome_zarr(next(targets), **WRITE))


def test_from_dask(benchmark: Benchmark, stored: Path, targets: Iterator[Path]) -> None:
    array = xr.open_zarr(stored, chunks={}, consolidated=False).field + np.uint16(1)
    counted(benchmark, lambda: array.pyramid.to_ome_zarr(next(targets), **WRITE))


def test_labels(benchmark: Benchmark, targets: Iterator[Path]) -> None:
    array = xr.DataArray(LABELS, dims=tuple("zyx"), name="labels")
    counted(benchmark, lambda: array.pyramid.to_ome_zarr(next(targets), **WRITE))


def test_add_levels(benchmark: Benchmark, image: Path) -> None:
    options: dict[str, Any] = {"levels": 3, "mode": "w", "progress": False}
    counted(benchmark, lambda: xpyramid.add_levels(image, **options))


def test_update(benchmark: Benchmark, image: Path) -> None:
    region = {dim: slice(0, 40) for dim in "zyx"}
    counted(benchmark, lambda: xpyramid.update(image, region=region, progress=False))


def test_verify(benchmark: Benchmark, image: Path) -> None:
    counted(benchmark, lambda: xpyramid.verify(image))


def test_open(benchmark: Benchmark, image: Path) -> None:
    counted(benchmark, lambda: xpyramid.open_pyramid(image))


def test_read(benchmark: Benchmark, image: Path) -> None:
    pyramid = xpyramid.open_pyramid(image)
    counted(benchmark, lambda: pyramid[0].copy().load())


def test_read_boxes(benchmark: Benchmark, image: Path) -> None:
    level = xpyramid.open_pyramid(image)[0]
    boxes = [tuple(slice(i, i + 20) for i in start) for start in RNG.integers(0, 44, (8, 3))]
    counted(benchmark, lambda: [level[box].to_numpy() for box in boxes])


def test_lazy_box(benchmark: Benchmark, stored: Path) -> None:
    array = xr.open_zarr(stored, chunks=None, consolidated=False).field
    level = array.pyramid.build(levels=2)[1]
    boxes = [tuple(slice(i, i + 20) for i in (start,) * 3) for start in (0, 10)]
    counted(benchmark, lambda: [level[box].to_numpy() for box in boxes])


def test_plan(benchmark: Benchmark) -> None:
    array = xr.DataArray(da.zeros((10000,) * 3, chunks=500), dims=tuple("zyx"))
    counted(benchmark, lambda: repr(array.pyramid.build(kind="image")))


#: Two, for to compile them takes half of the time of all jobs.
KERNELS = {"mean u2": (CUBE, "mean"), "mode u4": (LABELS, "mode")}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(benchmark: Benchmark, name: str) -> None:
    samples, method = KERNELS[name]
    with choice.only("compiled"):
        counted(benchmark, lambda: xpyramid.downsample(samples, 2, method, num_mips=2))
