"""What more methods cost in one pass, against one method alone. Prints Markdown.

    python benchmarks/methods.py [--size 512] [--repeats 5]

Input and output are on disk: a cube of uint16, zstd level 1. Every run is a process of its own with
2 threads; the runs of all rows take turns. CPU is seconds of the process without imports, and the
ratios are those of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LEVELS = 5
ROWS: dict[str, Any] = {
    "mean": "mean",
    "mean, max": ["mean", "max"],
    "max": "max",
    "mean, min, max": ["mean", "min", "max"],
    "statistics": "statistics",
}


def make_base(path: Path, size: int) -> None:
    """Store a cube that compresses as images do."""
    import xpyramid

    array = xpyramid.example_field((size,) * 3, 64, "uint16").drop_attrs()
    array.to_dataset(name="field").to_zarr(path, consolidated=False)


def run(row: str, base: Path, target: Path) -> None:
    """Write one row's images; print wall and CPU seconds."""
    import dask
    import xarray as xr

    import xpyramid  # noqa: F401  (registers .pyramid)

    array = xr.open_zarr(base, chunks=None, consolidated=False).field
    with dask.config.set(scheduler="threads", num_workers=2):
        small = array[:128, :128, :128].load()
        small.pyramid.to_ome_zarr(target, "warm", method=ROWS[row], levels=LEVELS)  # compiles
        shutil.rmtree(target)
        wall, cpu = time.perf_counter(), time.process_time()
        array.pyramid.to_ome_zarr(target, method=ROWS[row], levels=LEVELS)
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))


def measure(size: int, repeats: int, directory: Path) -> dict[str, list[tuple[float, float]]]:
    """Return the times of each row, whose runs take turns."""
    base, target = directory / "base.zarr", directory / "out.zarr"
    make_base(base, size)
    times: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
    for _ in range(repeats):
        for row in ROWS:
            command = [sys.executable, __file__, "--row", row, str(base), str(target)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            wall, cpu = json.loads(done.stdout.splitlines()[-1])
            times[row].append((wall, cpu))
            shutil.rmtree(target)
    return times


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--row", nargs=3, metavar=("ROW", "BASE", "TARGET"))
    arguments = parser.parse_args()
    if arguments.row:
        row, base, target = arguments.row
        run(row, Path(base), Path(target))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
        times = measure(arguments.size, arguments.repeats, Path(directory))
    medians = {
        row: [statistics.median(column) for column in zip(*own, strict=True)]
        for row, own in times.items()
    }
    alone = medians["mean"][1]
    print("| methods | wall, s | CPU, s | CPU against the mean alone |\n|---|---|---|---|")
    for row, (wall, cpu) in medians.items():
        print(f"| {row} | {wall:.2f} | {cpu:.2f} | {cpu / alone:.2f} |")


if __name__ == "__main__":
    main()
