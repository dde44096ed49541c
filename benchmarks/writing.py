"""How long it takes to write a pyramid, beside peers. Prints Markdown.

    pip install xpyramid tensorstore ome_zarr_pyramid pyramid-sampler
    python benchmarks/writing.py [--size 512] [--repeats 5] [--only labels]

Input and output are on disk: a cube of uint16 (uint32 labels), zstd level 1. Every run is a process
of its own with 2 threads; those of a table run in turn, and the figures are medians. *wall* and
*CPU* are seconds of the job without imports; *peak* is the largest resident size, with imports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scratch import output_directory, scratch_directory

LEVELS = 5
Job = Callable[[Path, Path, str], object]
JOBS: dict[str, Job] = {}
MEAN_ONLY: set[str] = set()


def job(name: str, *, mean_only: bool = False) -> Callable[[Job], Job]:
    def add(function: Job) -> Job:
        JOBS[name] = function
        if mean_only:
            MEAN_ONLY.add(name)
        return function

    return add


def make_base(path: Path, size: int, chunk: int, kind: str) -> None:
    """Store a cube that compresses as images and segmentations do."""
    import dask.array as da
    import xarray as xr
    from zarr.codecs import ZstdCodec

    import xpyramid

    if kind == "mean":
        array = xpyramid.example_field((size,) * 3, chunk, "uint16").drop_attrs()
    else:
        array = xr.DataArray(
            da.map_blocks(boxes, dtype="uint32", chunks=((chunk,) * (size // chunk),) * 3),
            dims=("z", "y", "x"), name="field",
        )  # fmt: skip
    encoding = {"field": {"chunks": (chunk,) * 3, "compressors": ZstdCodec(level=1)}}
    array.to_dataset(name="field").to_zarr(path, encoding=encoding, consolidated=False)


def boxes(block_info: Any = None) -> Any:
    """Return labels of cells of 24 samples, not aligned with any window."""
    place = block_info[None]["array-location"]
    z, y, x = (np.arange(start + 5, stop + 5) // 24 for start, stop in place)
    mixed = z[:, None, None] * 7919 + y[:, None] * 104729 + x * 1299709
    return (mixed % 2**30).astype("uint32")


def xpyramid_from(source: Path, target: Path, method: str, chunks: Any, **options: Any) -> None:
    import xarray as xr

    import xpyramid  # noqa: F401  (registers .pyramid)

    array = xr.open_zarr(source, chunks=chunks, consolidated=False).field
    array.pyramid.build(levels=LEVELS, method=method).to_ome_zarr(target, **options)


@job("xpyramid")
def lazily(source: Path, target: Path, method: str) -> None:
    xpyramid_from(source, target, method, None)


@job("xpyramid, encoded anew")
def encoded(source: Path, target: Path, method: str) -> None:
    xpyramid_from(source, target, method, None, compressor="default")


@job("xpyramid, chunks by zarr-python")
def by_zarr(source: Path, target: Path, method: str) -> None:
    from xpyramid.store import fast
    from xpyramid.writer import sinks

    fast.by_object = sinks.by_object = lambda _: None
    fast.available = lambda: False
    xpyramid_from(source, target, method, None)


@job("xpyramid, shards of 256")
def sharded(source: Path, target: Path, method: str) -> None:
    xpyramid_from(source, target, method, None, shards=256)


@job("xpyramid, dask chunks as stored")
def from_dask(source: Path, target: Path, method: str) -> None:
    xpyramid_from(source, target, method, {})


@job("xpyramid, dask chunks 100 x 200 x all")
def from_awkward(source: Path, target: Path, method: str) -> None:
    xpyramid_from(source, target, method, {"z": 100, "y": 200, "x": -1})


def base_in_place(source: Path, target: Path) -> None:
    """Make a store whose ``field/0`` is the base."""
    import zarr

    zarr.open_group(target, mode="w").create_group("field")
    (target / "field/0").symlink_to(source / "field")


@job("xpyramid, levels beside the base")
def levels_only(source: Path, target: Path, method: str) -> None:
    import xpyramid

    base_in_place(source, target)
    xpyramid.add_levels(target, "field", levels=LEVELS, method=method)


@job("xpyramid, without checksums")
def without_checksums(source: Path, target: Path, method: str) -> None:
    from zarr.codecs import ZstdCodec

    xpyramid_from(source, target, method, None, compressor=ZstdCodec(level=1))


@job("pyramid_sampler, levels beside the base", mean_only=True)
def pyramid_sampler(source: Path, target: Path, method: str) -> None:  # noqa: ARG001
    import zarr
    from pyramid_sampler import Downsampler

    base = zarr.open_array(source / "field", mode="r")
    base_in_place(source, target)
    sampler = Downsampler(str(target), (2, 2, 2), base.shape, chunks=base.chunks)
    sampler.downsample(LEVELS, "field")


LIMITS = {"data_copy_concurrency": {"limit": 2}, "file_io_concurrency": {"limit": 2}}


def tensorstore_open(path: Path) -> Any:
    import tensorstore as ts

    store = {"driver": "file", "path": str(path)}
    return ts.open({"driver": "zarr3", "kvstore": store, "context": LIMITS}).result()


def tensorstore_like(base: Any, path: Path, shape: tuple[int, ...], chunk: int) -> Any:
    import tensorstore as ts

    zstd = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
    grid = {"name": "regular", "configuration": {"chunk_shape": [min(chunk, n) for n in shape]}}
    metadata = {
        "shape": shape,
        "data_type": base.dtype.name,
        "chunk_grid": grid,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, zstd],
    }
    store = {"driver": "file", "path": str(path)}
    spec = {"driver": "zarr3", "kvstore": store, "context": LIMITS, "metadata": metadata}
    return ts.open(spec, create=True).result()


@job("tensorstore, copy of the base")
def tensorstore_copy(source: Path, target: Path, method: str) -> None:  # noqa: ARG001
    base = tensorstore_open(source / "field")
    chunk = base.chunk_layout.read_chunk.shape[0]
    tensorstore_like(base, target / "0", base.shape, chunk).write(base).result()


@job("tensorstore, levels beside the base")
def tensorstore_levels(source: Path, target: Path, method: str) -> None:
    tensorstore_cascade(source, target, method, first=1)


@job("tensorstore, level from level")
def tensorstore_cascade(source: Path, target: Path, method: str, first: int = 0) -> None:
    import tensorstore as ts

    fine = tensorstore_open(source / "field")
    chunk = fine.chunk_layout.read_chunk.shape[0]
    for level in range(first, LEVELS):
        coarse = fine if level == 0 else ts.downsample(fine, [2, 2, 2], method)
        stored = tensorstore_like(fine, target / str(level), coarse.shape, chunk)
        stored.write(coarse).result()
        fine = stored


@job("ome_zarr_pyramid")
def ome_zarr_pyramid(source: Path, target: Path, method: str) -> None:
    import zarr
    from ome_zarr_pyramid import Pyramid, io

    base = zarr.open_array(source / "field", mode="r")
    image = Pyramid().from_array(base, axis_order="zyx")
    image = image.downscale(n_layers=LEVELS, downscale_method=method)
    io.write_pyramid(
        image, str(target), overwrite=True, compressor="zstd",
        compressor_params={"level": 1}, chunk_shape=base.chunks, max_threads=2,
    )  # fmt: skip


def run_one(name: str, source: Path, target: Path, method: str) -> None:
    """Run a job in this process and print what it took."""
    import dask
    import dask.array
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    if name.startswith("xpyramid"):
        import ome_zarr_models.v05.image  # noqa: F401
        from numba.core.registry import cpu_target

        cpu_target.target_context.refresh()  # numba imports half of itself at its first call

        # What `import xpyramid` puts off until it is called.
        import xpyramid.build
        import xpyramid.existing  # noqa: F401

        with suppress(ImportError):
            import pint  # noqa: F401  # xarray imports it, where it is installed
    elif "tensorstore" in name:
        import tensorstore  # noqa: F401
    elif "sampler" in name:
        import pyramid_sampler  # noqa: F401
    else:
        import ome_zarr_pyramid  # noqa: F401
    dask.config.set(num_workers=2)
    wall, cpu = time.perf_counter(), time.process_time()
    JOBS[name](source, target, method)
    figures = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    print(json.dumps(figures))


def measure(
    names: list[str], source: Path, method: str, repeats: int
) -> dict[str, dict[str, float]]:
    """Run jobs in turn, each time in a new process; the first round does not count."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for counted in (False, *[True] * repeats):
        for name in names:
            with output_directory(source.parent) as output:
                command = [sys.executable, __file__, "--run", name, str(source)]
                command += [str(output / "out"), method]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                    continue
                if counted:
                    found[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in found.items()
        if runs
    }


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    ours = rows["xpyramid"]
    print(f"\n### {title}\n\n| | wall | CPU | wall, of ours | CPU, of ours | peak |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        ratios = f"{row['wall'] / ours['wall']:.2f}x | {row['cpu'] / ours['cpu']:.2f}x"
        figures = f"{row['wall']:.2f} s | {row['cpu']:.2f} s | {ratios} | {row['peak']:.0f} MB"
        print(f"| {name} | {figures} |", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Writing a pyramid, beside peers.")
    parser.add_argument("--size", type=int, default=512, help="edge of the cube (512)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="tables whose title contains this")
    parser.add_argument("--jobs", default="", help="jobs whose name contains this, and ours")
    parser.add_argument("--scratch", help="directory for input and output")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        name, source, target, method = options.run
        run_one(name, Path(source), Path(target), method)
        return
    os.environ["OMP_NUM_THREADS"] = "2"
    peers = ("zarr", "dask", "tensorstore", "ome_zarr_pyramid", "pyramid_sampler")
    print(
        f"Python {platform.python_version()}, {', '.join(f'{p} {version(p)}' for p in peers)}; "
        f"cube of {options.size}, medians of {options.repeats}."
    )
    size = options.size
    with scratch_directory(options.scratch) as scratch:
        for kind, chunk in (("mean", 64), ("mean", 128), ("mode", 64)):
            word = "labels, mode, uint32" if kind == "mode" else "mean, uint16"
            title = f"{word}, chunks of {chunk}"
            if options.only not in title:
                continue
            base = scratch / f"{kind}-{chunk}.zarr"
            make_base(base, size, chunk, kind)
            names = [n for n in JOBS if options.jobs in n or n == "xpyramid"]
            names = [n for n in names if kind == "mean" or n not in MEAN_ONLY]
            print_table(title, measure(names, base, kind, options.repeats))


if __name__ == "__main__":
    main()
