"""What a pyramid of somebody's dask graph costs beyond the graph itself. Prints Markdown.

    pip install 'xpyramid[tiff]' netCDF4
    python benchmarks/graphs.py [--size 384] [--repeats 5]

A cube of uint16 (float32 in netCDF), on disk and in the page cache, in the forms in which people
have one. Of each there are three times, CPU seconds of the process, medians of the rounds:

* *graph*: dask computes all blocks, and nobody keeps them;
* *writing*: the same samples, in memory, become a pyramid in a store;
* *both*: the graph becomes a pyramid in a store.

What is more than the sum of the first two is the cost of getting samples from dask to us, of graphs
and of blocks that do not fit. A graph that only reads Zarr is read as Zarr, and not computed.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import tifffile
import xarray as xr
from scratch import output_directory, scratch_directory

import xpyramid

CHUNK = 64
DIMS = ("z", "y", "x")
WRITE: dict[str, Any] = {"progress": False, "omero": False}


class Nowhere:
    """Takes what is stored in it, and forgets it."""

    def __setitem__(self, _: object, block: np.ndarray) -> None:
        pass


def zarr_store(path: Path, samples: np.ndarray) -> Callable[[], xr.DataArray]:
    cube(samples).chunk(CHUNK).to_dataset().to_zarr(
        path / "in.zarr", zarr_format=3, consolidated=False
    )
    return lambda: xr.open_zarr(path / "in.zarr", chunks={}, consolidated=False).field


def netcdf(path: Path, samples: np.ndarray) -> Callable[[], xr.DataArray]:
    floats = cube(samples.astype("f4"))
    encoding: dict[str, Any] = {"field": {"zlib": True, "complevel": 1, "chunksizes": (CHUNK,) * 3}}
    floats.to_netcdf(path / "in.nc", encoding=encoding)
    return lambda: xr.open_dataset(path / "in.nc", chunks={}).field


def overlapped(path: Path, samples: np.ndarray) -> Callable[[], xr.DataArray]:
    opened = zarr_store(path, samples)

    def smoothed(block: np.ndarray) -> np.ndarray:
        return (block + np.roll(block, 1, 0)) // 2

    return lambda: opened().copy(data=da.map_overlap(smoothed, opened().data, depth=1, dtype="u2"))


def pages(path: Path, samples: np.ndarray) -> Callable[[], xr.DataArray]:
    for i, page in enumerate(samples):
        tifffile.imwrite(path / f"{i:04}.tif", page)
    files = sorted(path.glob("*.tif"))

    def opened() -> xr.DataArray:
        read = dask.delayed(tifffile.imread)
        arrays = [da.from_delayed(read(file), samples.shape[1:], "u2") for file in files]
        return cube(da.stack(arrays))

    return opened


def awkward(path: Path, samples: np.ndarray) -> Callable[[], xr.DataArray]:
    opened = zarr_store(path, samples)
    return lambda: opened().chunk(z=50, y=70, x=90)


def arithmetic(path: Path, samples: np.ndarray) -> Callable[[], xr.DataArray]:
    opened = zarr_store(path, samples)
    return lambda: opened() // 2 + 1


def in_memory(_: Path, samples: np.ndarray) -> Callable[[], xr.DataArray]:
    return lambda: cube(samples).chunk(CHUNK)


SOURCES = {
    '`xr.open_zarr("in.zarr", chunks={})`': zarr_store,
    "the same, `// 2 + 1`": arithmetic,
    "the same, `.chunk(z=50, y=70, x=90)`": awkward,
    "the same, `da.map_overlap(f, ..., depth=1)`": overlapped,
    '`xr.open_dataset("in.nc", chunks={})`, zlib': netcdf,
    "`da.from_delayed` of TIFF pages": pages,
    "NumPy, `.chunk(64)`": in_memory,
}


def cube(data: Any) -> xr.DataArray:
    return xr.DataArray(data, dims=DIMS, name="field")


def of_graph(array: xr.DataArray, _: Path) -> None:
    da.store(array.data, Nowhere(), lock=False)  # type: ignore[arg-type]


def of_pyramid(array: xr.DataArray, out: Path) -> None:
    array.pyramid.build(chunks=CHUNK).to_ome_zarr(out, **WRITE)


def clocked(job: Callable[[xr.DataArray, Path], None], array: xr.DataArray, out: Path) -> float:
    with output_directory(out) as directory:
        start = time.process_time()
        job(array, directory / "out.zarr")
        return time.process_time() - start


def measure(source: Callable[[], xr.DataArray], out: Path, repeats: int) -> dict[str, float]:
    """Return the medians of the three times of a source."""
    loaded = source().compute()
    jobs: dict[str, Callable[[], float]] = {
        "graph": lambda: clocked(of_graph, source(), out),
        "writing": lambda: clocked(of_pyramid, loaded, out),
        "both": lambda: clocked(of_pyramid, source(), out),
    }
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(repeats + 1):  # the first is for the page cache, imports and threads
        for name in random.sample(list(jobs), len(jobs)):
            seconds = jobs[name]()
            if repeat:
                taken[name].append(seconds)
    return {name: statistics.median(several) for name, several in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    field = xpyramid.example_field((arguments.size,) * 3, CHUNK, "uint16").to_numpy()
    names = ("xpyramid", "xarray", "dask", "zarr", "numpy")
    print(f"Python {platform.python_version()};", ", ".join(f"{n} {version(n)}" for n in names))
    print(f"\n| {arguments.size}³ | graph | writing | both | both / (graph + writing) |")
    print("|---|---|---|---|---|")
    with scratch_directory(None) as scratch:
        for number, (name, make) in enumerate(SOURCES.items()):
            path = scratch / str(number)
            path.mkdir()
            found = measure(make(path, field), path, arguments.repeats)
            ratio = found["both"] / (found["graph"] + found["writing"])
            times = " | ".join(f"{found[key]:.2f} s" for key in ("graph", "writing", "both"))
            print(f"| {name} | {times} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
