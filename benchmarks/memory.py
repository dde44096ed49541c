"""What builds hold in memory, beside what their plans say.

Run as ``python benchmarks/memory.py [NAME ...]``. Each build has a process of its own. What counts
is the largest resident set while it is written, less that before, after a small build of the same
kind has loaded the code.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import psutil
import xarray as xr

import xpyramid

WORKERS = 2
ZYX = ("z", "y", "x")

#: From the name of a build to what makes it: of an edge, the array or Dataset, and its options.
Build = tuple[Any, dict[str, Any], dict[str, Any]]


def noise(shape: Any, chunks: Any, dtype: str, high: int = 60000) -> da.Array:
    """Return noise that takes no more memory than its blocks."""

    def make(block: Any, block_info: Any = None) -> Any:
        rng = np.random.default_rng(abs(hash(tuple(block_info[None]["chunk-location"]))))
        kind = np.dtype(dtype)
        if kind.kind == "f":
            return rng.random(block.shape, "f4" if kind.itemsize == 4 else "f8")
        return rng.integers(0, min(high, np.iinfo(kind).max), block.shape, kind)

    empty = da.zeros(shape, chunks=chunks, dtype=dtype)
    return empty.map_blocks(make, dtype=dtype, meta=np.empty((0,) * len(shape), dtype))


def field(data: Any, dims: Any = ZYX, name: str = "field") -> xr.DataArray:
    return xr.DataArray(data, dims=dims, name=name)


def dask_cube(n: int, dtype: str = "u2", chunks: Any = 64, **build: Any) -> Build:
    return field(noise((n,) * 3, chunks, dtype)), build, {}


def lazy_cube(
    n: int, dtype: str = "u2", on_disk: int = 64, opened: Any = None, **build: Any
) -> Build:
    path = Path(tempfile.mkdtemp(dir=SCRATCH[0])) / "in.zarr"
    source = field(noise((n,) * 3, on_disk, dtype))
    source.to_dataset().to_zarr(path, consolidated=False)
    ds = xr.open_zarr(path, consolidated=False, chunks=opened)
    return ds["field"], build, {}


def labels(n: int, *, smooth: bool, **build: Any) -> Build:
    def make(block: Any) -> Any:
        at = np.indices(block.shape, np.int32)
        return sum((a // 16) * 7**i for i, a in enumerate(at)).astype("u4")

    data = da.zeros((n,) * 3, chunks=64, dtype="u4").map_blocks(make, dtype="u4")
    if not smooth:
        data = noise((n,) * 3, 64, "u4", 2**31)
    return field(data, name="labels"), {"method": "mode", **build}, {}


def overlapping(n: int) -> Build:
    data = noise((n,) * 3, 64, "f8").map_overlap(
        lambda block: block * 2, depth=2, boundary="nearest"
    )
    return field(data), {"chunks": 64}, {}


def channels(n: int, chunks: Any) -> Build:
    shape = (2, 16, n // 8, n // 2, n // 2)
    return (
        field(noise(shape, chunks, "u2"), ("t", "c", "z", "y", "x")),
        {"chunks": {"y": 128, "x": 128, "z": 16}},
        {},
    )


def image(n: int, chunks: Any, dtype: str = "u2", **build: Any) -> Build:
    return field(noise((n, n), chunks, dtype), ("y", "x")), build, {}


def with_nan(n: int, dtype: str, **build: Any) -> Build:
    data = noise((n,) * 3, 64, dtype)
    return field(da.where(data > 0.1, data, np.nan).astype(dtype)), build, {}


def two_variables(n: int) -> Build:
    base = noise((n,) * 3, 64, "u2")
    ds = xr.Dataset({"a": field(base), "b": field(base)})
    return ds, {"method": {"a": "mean", "b": "max"}}, {}


def image_and_labels(n: int) -> Build:
    ds = xr.Dataset(
        {"image": field(noise((n,) * 3, 64, "u2")), "labels": labels(n, smooth=True)[0]}
    )
    return ds, {}, {}


def written(make: Callable[[int], Build], **write: Any) -> Callable[[int], Build]:
    """Return a build with options of writing."""

    def make_both(n: int) -> Build:
        array, build, own = make(n)
        return array, build, {**own, **write}

    return make_both


#: Name, edge, and what makes it.
BUILDS: dict[str, tuple[int, Callable[[int], Build]]] = {
    "mean, dask": (512, dask_cube),
    "mean, lazy": (512, lazy_cube),
    "mean, lazy, chunks of 96": (480, partial(lazy_cube, on_disk=96, chunks=64)),
    "mean, lazy, chunks of 200": (400, partial(lazy_cube, on_disk=200, chunks=64)),
    "mean, dask over zarr": (512, partial(lazy_cube, opened={})),
    "mean, dask, joined over zarr": (
        512,
        partial(lazy_cube, opened={"z": 128, "y": 128, "x": 128}, chunks=64),
    ),
    "mean, float64": (320, partial(dask_cube, dtype="f8")),
    "mean, float32 with NaN": (384, partial(with_nan, dtype="f4")),
    "mean, min_valid": (384, partial(with_nan, dtype="f4", min_valid=0.5)),
    "mean, shards": (512, written(dask_cube, shards=128)),
    "mean, shards, lazy": (512, written(lazy_cube, shards=128)),
    "mean, memory=": (512, written(dask_cube, memory="24 MB")),
    "mean, factor 3": (432, partial(dask_cube, factor=3)),
    "mean, thin chunks": (512, partial(dask_cube, chunks=(1, 512, 512))),
    "mean, awkward chunks": (480, partial(dask_cube, chunks=(50, 70, 90))),
    "mean, 2-D": (16384, partial(image, chunks=1024)),
    "mean, 2-D, rows": (16384, partial(image, chunks=(64, -1))),
    "mean, 16 channels, 5-D": (512, partial(channels, chunks=(1, 1, 16, 128, 128))),
    "mean, all channels in a block": (512, partial(channels, chunks=(1, 16, 16, 128, 128))),
    "mean, map_overlap, float64": (320, overlapping),
    "max": (480, partial(dask_cube, method="max")),
    "nearest": (512, partial(dask_cube, method="nearest")),
    "mode, labels": (400, partial(labels, smooth=True)),
    "mode, noise": (400, partial(labels, smooth=False)),
    "median, dask": (480, partial(dask_cube, method="median")),
    "median, lazy": (480, partial(lazy_cube, method="median")),
    "own function": (400, partial(dask_cube, method=np.ptp)),
    "mean beside max": (480, two_variables),
    "image and labels": (400, image_and_labels),
}
SMALL = 128
SCRATCH = [tempfile.gettempdir()]


def write(name: str, n: int, place: Path) -> tuple[int, int]:
    """Write a build; return what its plan says that it takes, and what its base takes."""
    array, build, options = BUILDS[name][1](n)
    pyramid = array.pyramid.build(**build)
    limits = {key: options[key] for key in ("shards", "memory") if key in options}
    several = pyramid.values() if isinstance(array, xr.Dataset) else [pyramid]
    planned = max(one.plan.cost(workers=WORKERS, **limits).memory for one in several)
    if isinstance(array, xr.Dataset):
        planned = sum(one.plan.cost(workers=WORKERS, **limits).memory for one in several)
    pyramid.to_ome_zarr(place, mode="w", progress=False, **options)
    return planned, array.nbytes


def measure(name: str, scratch: str) -> dict[str, float]:
    """Return what a build holds, in bytes."""
    SCRATCH[0] = scratch
    place, process, peak, done = (
        Path(scratch) / "out.zarr",
        psutil.Process(),
        [0],
        threading.Event(),
    )
    n = BUILDS[name][0]
    with warnings.catch_warnings(), dask.config.set(num_workers=WORKERS):
        warnings.simplefilter("ignore")
        write(name, n if n < SMALL else SMALL * (n // 512 if n > 1000 else 1), place)
        array = BUILDS[name][1]
        if "lazy" in name or "over zarr" in name:  # the source is made before
            made = array(n)
            BUILDS[name] = n, lambda _: made
        before = process.memory_info().rss

        def watch() -> None:
            while not done.is_set():
                peak[0] = max(peak[0], process.memory_info().rss)
                time.sleep(0.002)

        watcher = threading.Thread(target=watch)
        watcher.start()
        planned, base = write(name, n, place)
        done.set()
        watcher.join()
    return {"planned": planned, "held": peak[0] - before, "base": base}


def main() -> None:
    """Print a table."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3])))
        return
    names = sys.argv[1:] or list(BUILDS)
    print(
        f"xpyramid {xpyramid.__version__}, dask {dask.__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}, {WORKERS} workers; MB\n"
    )
    print("| build | base | plan | held | held / plan |\n|---|---|---|---|---|")
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, __file__, "--one", name, scratch]
            out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.returncode:
            print(f"| {name} | failed: {out.stderr.strip().splitlines()[-1][:200]} |", flush=True)
            continue
        found = json.loads(out.stdout.splitlines()[-1])
        base, plan, held = (found[key] / 1e6 for key in ("base", "planned", "held"))
        print(f"| {name} | {base:.0f} | {plan:.1f} | {held:.1f} | {held / plan:.2f} |", flush=True)


if __name__ == "__main__":
    main()
