"""What more methods cost in one pass, against one method alone. Prints Markdown.

    python benchmarks/methods.py [--size 384] [--repeats 7]

Input and output are on disk: a cube of uint16, zstd level 1. All runs are in one process, with 2
threads, after one that compiles; those of all rows take turns. CPU is that of the process, user and
system; ratios are those of medians. *stored* is what is on disk, a file with several names once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import dask
import xarray as xr

import xpyramid

LEVELS = 5
ROWS: dict[str, Any] = {
    "mean": "mean",
    "mean, max": ["mean", "max"],
    "mean, min, max": ["mean", "min", "max"],
    "statistics": "statistics",
}


def make_base(path: Path, size: int) -> xr.DataArray:
    """Store a cube that compresses as images do, and open it."""
    array = xpyramid.example_field((size,) * 3, 64, "uint16").drop_attrs()
    array.to_dataset(name="field").to_zarr(path, consolidated=False)
    return xr.open_zarr(path, chunks=None, consolidated=False).field


def write(array: xr.DataArray, target: Path, method: Any) -> tuple[float, float]:
    """Write the images of some methods; return wall and CPU seconds."""
    shutil.rmtree(target, ignore_errors=True)
    wall, cpu = time.perf_counter(), time.process_time()
    array.pyramid.to_ome_zarr(target, method=method, levels=LEVELS)
    return time.perf_counter() - wall, time.process_time() - cpu


def stored(path: Path) -> int:
    """Return the bytes of all files in a directory, each once."""
    files = (file.stat() for file in path.rglob("*") if file.is_file())
    return sum({file.st_ino: file.st_size for file in files}.values())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
    sizes = {}
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory,
        dask.config.set(scheduler="threads", num_workers=2),
    ):
        target = Path(directory, "out.zarr")
        array = make_base(Path(directory, "base.zarr"), arguments.size)
        for row, method in ROWS.items():
            write(array, target, method)
            sizes[row] = stored(target)
        for _ in range(arguments.repeats):
            for row, method in ROWS.items():
                times[row].append(write(array, target, method))
    medians = {
        row: [statistics.median(column) for column in zip(*own, strict=True)]
        for row, own in times.items()
    }
    print("| methods | wall | CPU | stored |\n|---|---|---|---|")
    for row, own in medians.items():
        wall, cpu = (a / b for a, b in zip(own, medians["mean"], strict=True))
        print(f"| {row} | {wall:.2f} | {cpu:.2f} | {sizes[row] / sizes['mean']:.2f} |")
    print(f"\nthe mean alone: {medians['mean'][0]:.2f} s, {medians['mean'][1]:.2f} s of CPU")


if __name__ == "__main__":
    main()
