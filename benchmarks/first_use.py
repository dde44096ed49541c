"""What first uses cost in a new process. Prints Markdown.

    python benchmarks/first_use.py [--repeats 3] [--only 4096]

Each job runs in processes of its own, once with an empty cache of compiled code (cold), then with
the one that this has left (warm): as it is, and with every kernel compiled, however little there is
to do (``XPYRAMID_KERNELS=compiled``). Times are CPU seconds of the process until it has ended, less
those of one that imports xarray, zarr and dask.array; medians of several.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

IMPORTS = "import xarray as xr, zarr, dask.array, numpy as np\nimport sys, tempfile\n"

WRITE = """
import xpyramid
array = xr.DataArray({array}, dims={dims}, name="field")
with tempfile.TemporaryDirectory() as directory:
    array.pyramid.to_ome_zarr(directory, progress=False, {options})
"""
NOISE = "np.random.default_rng(0).integers(0, 200, {shape}, 'uint8')"
FLOATS = "np.random.default_rng(0).random((4096, 4096), 'float32')"
SMALL = "import xpyramid\nxpyramid.downsample(np.ones((32, 32, 32), {dtype!r}), 2, {method!r})\n"


def write(array: str, dims: str, options: str = "") -> str:
    return WRITE.format(array=array, dims=tuple(dims), options=options)


JOBS = {
    "`import xpyramid`": "import xpyramid\n",
    "256², uint8: 2 levels": write(NOISE.format(shape=(256, 256)), "yx", "levels=2"),
    "256², uint8: mode": write(
        NOISE.format(shape=(256, 256)) + " // 20", "yx", "levels=2, method='mode', kind='labels'"
    ),
    "`p[1]` of 1024²": (
        f"import xpyramid\narray = {NOISE.format(shape=(1024, 1024))}\n"
        "array = xr.DataArray(array, dims=('y', 'x'))\narray.pyramid.build(levels=3)[1].compute()\n"
    ),
    "32³, float32: `downsample`": SMALL.format(dtype="float32", method="mean"),
    "32³, uint32: `downsample`, mode": SMALL.format(dtype="uint32", method="mode"),
    "4096², float32": write(FLOATS, "yx"),
    "512³, uint8, chunks 64³": write(NOISE.format(shape=(512,) * 3), "zyx", "chunks=64"),
}


def seconds(job: str, cache: str, way: str) -> float:
    """Return the CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTS + job],
        env={**os.environ, "NUMBA_CACHE_DIR": cache, "XPYRAMID_KERNELS": way},
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="What first uses cost.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="jobs whose name contains this")
    options = parser.parse_args()
    repeats = options.repeats
    print("| job | cold | warm | compiled, cold | compiled, warm |\n|---|---|---|---|---|")
    bases: list[float] = []
    for name, job in JOBS.items():
        if options.only not in name:
            continue
        columns: list[list[float]] = [[], [], [], []]
        for _ in range(repeats):
            bases.append(seconds("", "", "auto"))
            for i, way in enumerate(("auto", "compiled")):
                with tempfile.TemporaryDirectory() as cache:
                    for j in range(2):
                        columns[2 * i + j].append(seconds(job, cache, way) - bases[-1])
        cells = " | ".join(f"{statistics.median(column):.2f} s" for column in columns)
        print(f"| {name} | {cells} |", flush=True)
    print(f"\nImports of xarray, zarr and dask.array: {statistics.median(bases):.2f} s")


if __name__ == "__main__":
    main()
