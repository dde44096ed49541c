"""What one of many small images costs, beside peers. Prints Markdown.

    pip install xpyramid tensorstore ome_zarr_pyramid
    python benchmarks/small.py [--images 20] [--repeats 5]

Photographs of 256 x 256 uint16 with two levels, in memory, are written to stores of their own, in
chunks of 128, compressed by zstd level 1. All ways run in turn in one process, after a few images
that do not count; figures are medians of CPU milliseconds an image, of all threads together.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

SIZE, CHUNK = 256, 128
Way = Callable[[np.ndarray, Path], object]
WAYS: dict[str, Way] = {}


def way(name: str) -> Callable[[Way], Way]:
    def add(function: Way) -> Way:
        WAYS[name] = function
        return function

    return add


@way("xpyramid")
def ours(image: np.ndarray, target: Path) -> None:
    import xarray as xr

    import xpyramid  # noqa: F401  (registers .pyramid)

    array = xr.DataArray(image, dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(target, levels=2, chunks=CHUNK, progress=False)


@way("xpyramid, without windows of display")
def without_windows(image: np.ndarray, target: Path) -> None:
    import xarray as xr

    array = xr.DataArray(image, dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(target, levels=2, chunks=CHUNK, progress=False, omero=False)


def half(image: np.ndarray) -> np.ndarray:
    windows = image.reshape(SIZE // 2, 2, SIZE // 2, 2)
    return np.rint(windows.mean(axis=(1, 3))).astype(image.dtype)


@way("tensorstore, two arrays alone")
def tensorstore_arrays(image: np.ndarray, target: Path) -> None:
    import tensorstore as ts

    zstd = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
    for k, level in enumerate((image, half(image))):
        metadata: dict[str, Any] = {
            "shape": level.shape,
            "data_type": str(level.dtype),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [CHUNK, CHUNK]}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, zstd],
        }
        store = {"driver": "file", "path": str(target / str(k))}
        spec = {"driver": "zarr3", "kvstore": store, "metadata": metadata}
        ts.open(spec, create=True).result().write(level).result()


@way("zarr-python, two arrays alone")
def zarr_arrays(image: np.ndarray, target: Path) -> None:
    import zarr
    from zarr.codecs import ZstdCodec

    group = zarr.open_group(target, mode="w")
    for k, level in enumerate((image, half(image))):
        group.create_array(
            str(k), data=level, chunks=(CHUNK, CHUNK), compressors=ZstdCodec(level=1)
        )


@way("ome-zarr-py")
def ome_zarr_py(image: np.ndarray, target: Path) -> None:
    import zarr
    from ome_zarr.writer import write_multiscale
    from zarr.codecs import ZstdCodec

    options = {"chunks": (CHUNK, CHUNK), "compressors": ZstdCodec(level=1)}
    group = zarr.open_group(target, mode="w")
    write_multiscale([image, half(image)], group, axes="yx", storage_options=options)


@way("ome_zarr_pyramid")
def ome_zarr_pyramid(image: np.ndarray, target: Path) -> None:
    from ome_zarr_pyramid import Pyramid, io

    pyramid = Pyramid().from_array(image, axis_order="yx").downscale(n_layers=2)
    io.write_pyramid(
        pyramid, str(target), overwrite=True, compressor="zstd",
        compressor_params={"level": 1}, chunk_shape=(CHUNK, CHUNK), max_threads=2,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="What one of many small images costs.")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 1000, (SIZE, SIZE)).astype("uint16")
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as directory:
        targets = (Path(directory) / f"{i}.zarr" for i in itertools.count())
        for repeat in range(arguments.repeats + 1):
            for name, write in WAYS.items():
                start = time.process_time()
                for _ in range(arguments.images):
                    write(image, next(targets))
                if repeat:
                    seconds[name].append((time.process_time() - start) / arguments.images)
    peers = ("zarr", "dask", "tensorstore", "ome-zarr", "ome_zarr_pyramid")
    print(f"Python {platform.python_version()}, {', '.join(f'{p} {version(p)}' for p in peers)}\n")
    medians = {name: 1e3 * statistics.median(own) for name, own in seconds.items()}
    print("| | CPU an image | of ours |\n|---|---|---|")
    for name, own in medians.items():
        print(f"| {name} | {own:.1f} ms | {own / medians['xpyramid']:.2f}x |")


if __name__ == "__main__":
    main()
