"""What more methods cost in one pass, against one method alone. Prints Markdown.

    python benchmarks/methods.py [--size 384] [--repeats 7]

Input and output are on disk: a cube of uint16, zstd level 1. All runs are in one process, with 2
threads, after one that compiles; those of all rows take turns. CPU is that of the process, user and
system; ratios are those of medians. *stored* is what is on disk, a file with several names once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import dask
import xarray as xr
from scratch import output_directory, scratch_directory

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


def write(array: xr.DataArray, scratch: Path, method: Any) -> tuple[float, float, int]:
    """Write the images of some methods; return wall and CPU seconds, and the bytes of the files."""
    with output_directory(scratch) as target:
        wall, cpu = time.perf_counter(), time.process_time()
        array.pyramid.to_ome_zarr(target / "out.zarr", method=method, levels=LEVELS)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return wall, cpu, stored(target)


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
    times: dict[str, list[tuple[float, float, int]]] = {row: [] for row in ROWS}
    with (
        scratch_directory(os.environ.get("TMPDIR")) as scratch,
        dask.config.set(scheduler="threads", num_workers=2),
    ):
        array = make_base(scratch / "base.zarr", arguments.size)
        for _ in range(arguments.repeats + 1):
            for row, method in ROWS.items():
                times[row].append(write(array, scratch, method))
    medians = {
        row: [statistics.median(column) for column in zip(*own[1:], strict=True)]
        for row, own in times.items()
    }
    print("| methods | wall | CPU | stored |\n|---|---|---|---|")
    for row, own in medians.items():
        wall, cpu, size = (a / b for a, b in zip(own, medians["mean"], strict=True))
        print(f"| {row} | {wall:.2f} | {cpu:.2f} | {size:.2f} |")
    print(f"\nthe mean alone: {medians['mean'][0]:.2f} s, {medians['mean'][1]:.2f} s of CPU")


if __name__ == "__main__":
    main()
