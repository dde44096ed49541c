"""How long it takes to open stores, beside xarray's own engine. Prints Markdown.

    pip install xpyramid
    python benchmarks/opening.py [--images 200] [--repeats 9]

Three stores on disk, in the page cache: an image with ten levels, many images of two levels in one
store, and the same store with metadata that zarr has consolidated at its root. Nothing but
coordinates is read. All ways run in turn in one process, and the figures are medians of CPU.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

import xpyramid

WAYS: dict[str, Callable[[Path], object]] = {
    '`open_datatree(engine="ome-zarr")`': lambda path: xr.open_datatree(path, engine="ome-zarr"),
    '`open_datatree(engine="zarr")`': lambda path: xr.open_datatree(path, engine="zarr"),
    "`open_pyramids`": xpyramid.open_pyramids,
}


def photograph(side: int) -> xr.DataArray:
    along = np.arange(side, dtype="f8")
    samples = np.arange(side * side, dtype="u2").reshape(side, side)
    return xr.DataArray(samples, {"y": along, "x": along}, ("y", "x"), "photograph")


def make_deep(path: Path) -> None:
    """Store an image with ten levels."""
    photograph(1024).pyramid.build(levels=10).to_ome_zarr(path, progress=False)


def make_many(path: Path, images: int) -> None:
    """Store many images of two levels."""
    pyramid = photograph(64).pyramid.build(levels=2)
    for i in range(images):
        pyramid.to_ome_zarr(path, group=f"image-{i:04}", progress=False)


def measure(path: Path, repeats: int) -> dict[str, float]:
    """Return the median of the CPU seconds of each way; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for repeat in range(repeats + 1):
        for name in random.sample(list(WAYS), len(WAYS)):
            begun = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                WAYS[name](path)
            if repeat:
                seconds[name].append(time.process_time() - begun)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Opening stores, beside xarray's own engine.")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("zarr", "xarray"))
    print(f"Python {platform.python_version()}, {packages}; medians of {options.repeats}.\n")
    print("| |", " | ".join(WAYS), "|")
    print("|---" * (len(WAYS) + 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        deep, many = Path(folder, "deep.zarr"), Path(folder, "many.zarr")
        make_deep(deep)
        make_many(many, options.images)
        for title, path in (
            ("an image of ten levels", deep),
            (f"{options.images} images of two levels", many),
            ("the same, consolidated", many),
        ):
            if title.endswith("consolidated"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    zarr.consolidate_metadata(many)
            figures = measure(path, options.repeats)
            reference = figures['`open_datatree(engine="zarr")`']
            cells = [f"{t * 1e3:.0f} ms ({t / reference:.2f}x)" for t in figures.values()]
            print(f"| {title} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
