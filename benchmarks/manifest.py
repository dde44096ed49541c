"""What sizes and checksums of all stored objects cost. Prints Markdown.

    python benchmarks/manifest.py [--objects 1000000] [--edge 50] [--directory /dev/shm]

A table of a million objects is made and loaded, with sizes that spread as those of real chunks do,
and with all of one size. An image of ``edge ** 3`` chunks of a few bytes each, in one level, is
built, so that what is done for each object shows.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import xpyramid
from xpyramid.store.object_table import ObjectTable


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def table(total: int, spread: float, seconds: dict[str, float]) -> bytes:
    """Make the table of an image, and load it again."""
    rng = np.random.default_rng(0)
    records = np.empty((total, 3), np.uint64)
    records[:, 0] = rng.permutation(total)  # as tasks end
    records[:, 1] = rng.normal(300_000, spread, total)
    records[:, 2] = rng.integers(0, 2**32, total)
    with clock(seconds, "make the table"):
        data = ObjectTable.from_records(total, records).to_bytes()
    with clock(seconds, "load the table"):
        ObjectTable.from_bytes(data, total)
    return data


def image(edge: int, directory: Path, seconds: dict[str, float]) -> Any:
    """Build an image of many objects, verify it, and read a part of it."""
    data = np.random.default_rng(0).integers(1, 255, (2 * edge,) * 3, "u1")
    array = xr.DataArray(data, dims=("z", "y", "x"), name="field")
    with clock(seconds, "image: build"):
        pyramid = array.pyramid.build(levels=1, chunks=2)
        pyramid.to_ome_zarr(directory / "out.zarr", compressor=None)
    with clock(seconds, "image: open"):
        opened = xpyramid.open_pyramid(directory / "out.zarr/field")
    with clock(seconds, "image: read a chunk, the first time"):
        opened[0][:2, :2, :2].compute()
    with clock(seconds, "image: read a chunk, again"):
        opened[0][:2, :2, :2].compute()
    with clock(seconds, "image: verify()"):
        assert not xpyramid.verify(directory / "out.zarr")
    with clock(seconds, "image: verify(checksums=True)"):
        assert not xpyramid.verify(directory / "out.zarr", checksums=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10**6)
    parser.add_argument("--edge", type=int, default=50)
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    total, seconds = arguments.objects, dict[str, float]()
    print(f"| of {total} objects, or {arguments.edge**3} where an image is named | |\n|---|---|")
    for name, spread in (("uneven", 3000.0), ("all of one size", 0.0)):
        data = table(total, spread, seconds)
        print(f"| table, sizes {name} | {len(data) / 1e6:.2f} MB |")
    directory = Path(tempfile.mkdtemp(dir=arguments.directory))
    try:
        image(arguments.edge, directory, seconds)
    finally:
        shutil.rmtree(directory)
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} s |")


if __name__ == "__main__":
    main()
