"""Writing pyramids of what people have, beside every peer that can. Prints Markdown.

    pip install 'xpyramid[fast]' tensorstore ome_zarr_pyramid ngff-zarr[dask-image] ome-zarr \
        topozarr terrazarr rioxarray nilearn
    python benchmarks/workloads.py [--repeats 5] [--only cells] [--peers tensorstore] [--threads 1]

Input and output are on disk (the page cache), as Zarr v3. Every run is a process of its own with 2
threads unless ``--threads`` says otherwise; those of a table run in turn, the first round does not
count, and the figures are medians. *wall* and *CPU* are seconds of the job without imports;
*process* is the CPU of the whole process, and *peak* its largest resident size. Peers write the
same chunks and codec, as many levels, and by the method that is nearest; what else differs is said
after the name. Bold are peers that were faster than we.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scratch import output_directory, scratch_directory

YX, ZYX, TYX = ("y", "x"), ("z", "y", "x"), ("time", "y", "x")
THREADS = int(os.environ.get("THREADS", "2"))


class Workload(NamedTuple):
    """What is written: how it is made, its dimensions and chunks, and how many levels there are.

    A variant of another one is not written by the slowest peers again.
    """

    title: str
    make: Callable[[], Mapping[str, Any]]
    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    levels: int
    method: str = "mean"
    codec: str = "zstd-1"
    shards: int = 0
    source_chunks: tuple[int, ...] = ()
    is_variant: bool = False

    @property
    def coarsened(self) -> tuple[str, ...]:
        return tuple(dim for dim in self.dims if dim in ("z", "y", "x"))

    @property
    def is_map(self) -> bool:
        return self.dims in (YX, TYX)


def _blocks(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Return smooth shapes, as of things in a volume."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(0, 12 + 3 * i, n, dtype="f4") for i, n in enumerate(shape)]
    phases = rng.uniform(0, 6, len(shape))
    field = np.zeros(shape, "f4")
    for i, (axis, phase) in enumerate(zip(axes, phases, strict=True)):
        along = np.sin(axis + phase).reshape([-1 if k == i else 1 for k in range(len(shape))])
        field += along
    field -= field.min()
    return (field * (200 / field.max())).astype(dtype)


def brain() -> dict[str, np.ndarray]:
    from nilearn.datasets import load_mni152_template

    data = np.asarray(load_mni152_template(resolution=1).dataobj)
    scaled = (data * (255 / data.max())).clip(0, 255).astype("u1")
    return {"brain": np.kron(scaled, np.ones((2, 2, 2), "u1"))}


def tissue() -> dict[str, np.ndarray]:
    shape = (512,) * 3
    noise = np.random.default_rng(1).normal(0, 12, shape).astype("f4")
    return {"tissue": (_blocks(shape, "f4") + 25 + noise).clip(0, 255).astype("u1")}


def cells() -> dict[str, np.ndarray]:
    z, y, x = (np.arange(5, 517) // 24 for _ in range(3))
    labels = z[:, None, None] * 7919 + y[:, None] * 104729 + x * 1299709
    return {"cells": (labels % 2**30).astype("u4")}


def photograph() -> dict[str, np.ndarray]:
    shape = (3, 16384, 16384)
    rng = np.random.default_rng(2)
    out = np.empty(shape, "u1")
    for c in range(3):
        grain = rng.integers(0, 8, shape[1:], "u1")
        np.add(_blocks(shape[1:], "u1", c), grain, out=out[c])
    return {"photograph": out}


def film() -> dict[str, np.ndarray]:
    shape = (4, 2, 16, 1024, 1024)
    counts = np.random.default_rng(3).poisson(20, shape).astype("u2")
    return {"film": counts + _blocks(shape, "u2") * 8}


def weather(names: tuple[str, ...] = ("t2m",), steps: int = 24) -> dict[str, np.ndarray]:
    shape = (steps, 1440, 2880)
    found = {}
    for i, name in enumerate(names):
        noise = np.random.default_rng(4 + i).normal(0, 0.3, shape).astype("f4")
        field = np.round(_blocks(shape, "f4", i) + 250 + noise, 2)
        field[:, 400:900, 300:1400] = np.nan  # land
        found[name] = field
    return found


def variables() -> dict[str, np.ndarray]:
    return weather(("t2m", "u10", "v10", "sst", "tp"), 6)


def settlements() -> dict[str, np.ndarray]:
    """Return heights of buildings, 0 in the two thirds of land without any.

    In the shape of terrazarr's benchmark, which has 32768² samples.
    """
    shape = (16384, 16384)
    heights = _blocks(shape, "f4") - 130
    noise = np.random.default_rng(5).integers(0, 40, shape, "u1")
    built = np.where(heights > 0, heights + noise, 0)
    return {"height": built.astype("f8")}


WORKLOADS = [
    Workload("brain, uint8", brain, ZYX, (64,) * 3, 4),
    Workload("tissue with noise, uint8", tissue, ZYX, (64,) * 3, 4),
    Workload("tissue, chunks of 128", tissue, ZYX, (128,) * 3, 3, is_variant=True),
    Workload("tissue, shards of 256", tissue, ZYX, (64,) * 3, 4, shards=256, is_variant=True),
    Workload("tissue, zstd level 3", tissue, ZYX, (64,) * 3, 4, codec="zstd-3", is_variant=True),
    Workload("tissue, Blosc", tissue, ZYX, (64,) * 3, 4, codec="blosc", is_variant=True),
    Workload("tissue, gzip", tissue, ZYX, (64,) * 3, 4, codec="gzip", is_variant=True),
    Workload("cells, uint32, mode", cells, ZYX, (64,) * 3, 4, method="mode"),
    Workload("photograph, 16384² RGB", photograph, ("c", "y", "x"), (1, 512, 512), 6),
    Workload("film, t c z y x, uint16", film, ("t", "c", "z", "y", "x"), (1, 1, 16, 512, 512), 4),
    Workload("map over time, float32 with NaN", weather, TYX, (1, 512, 512), 4),
    Workload("five variables, float32 with NaN", variables, TYX, (1, 512, 512), 4),
    Workload(
        "settlements, 16384² float64, shards of 4096", settlements, YX, (256, 256), 7, shards=4096,
        source_chunks=(2048, 2048),
    ),
]  # fmt: skip


def codec_of(work: Workload) -> Any:
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    if work.codec == "blosc":
        return BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")
    if work.codec == "gzip":
        return GzipCodec(level=1)
    return ZstdCodec(level=int(work.codec[-1]))


def make_base(work: Workload, path: Path) -> None:
    import xarray as xr

    arrays = work.make()
    dataset = xr.Dataset({name: (work.dims, data) for name, data in arrays.items()})
    if work.is_map:
        *_, n, m = next(iter(arrays.values())).shape
        dataset = dataset.assign_coords(
            y=90 - 180 * (np.arange(n) + 0.5) / n, x=-180 + 360 * (np.arange(m) + 0.5) / m
        )
    codec = codec_of(work)
    chunks = work.source_chunks or work.chunks
    encoding = {name: {"chunks": chunks, "compressors": codec} for name in arrays}
    dataset.to_zarr(path, encoding=encoding, consolidated=False, zarr_format=3)


Job = Callable[[Workload, Path, Path], object]
JOBS: dict[str, tuple[Job, Callable[[Workload], bool]]] = {}


def job(name: str, can: Callable[[Workload], bool] = lambda _: True) -> Callable[[Job], Job]:
    def add(function: Job) -> Job:
        JOBS[name] = function, can
        return function

    return add


def opened(source: Path, chunks: Any = None) -> Any:
    import xarray as xr

    return xr.open_zarr(source, chunks=chunks, consolidated=False, mask_and_scale=False)


def _by_xpyramid(work: Workload, source: Path, target: Path, chunks: Any) -> None:
    import xpyramid  # noqa: F401  (registers .pyramid)

    options: dict[str, Any] = {}
    if work.shards:
        dims = zip(work.dims, work.chunks, strict=True)
        options["shards"] = {dim: max(n, work.shards) for dim, n in dims}
    if work.source_chunks:
        options["chunks"] = dict(zip(work.dims, work.chunks, strict=True))
    build: dict[str, Any] = {"levels": work.levels, "method": work.method, "dims": work.coarsened}
    pyramids = opened(source, chunks).pyramid.build(**build)
    pyramids.to_ome_zarr(target, progress=False, **options)


@job("xpyramid")
def lazily(work: Workload, source: Path, target: Path) -> None:
    _by_xpyramid(work, source, target, None)


@job("xpyramid, dask chunks as stored")
def by_dask(work: Workload, source: Path, target: Path) -> None:
    _by_xpyramid(work, source, target, {})


LIMITS = {"data_copy_concurrency": {"limit": THREADS}, "file_io_concurrency": {"limit": THREADS}}


def tensorstore_open(path: Path) -> Any:
    import tensorstore as ts

    store = {"driver": "file", "path": str(path)}
    return ts.open({"driver": "zarr3", "kvstore": store, "context": LIMITS}).result()


def tensorstore_like(base: Any, path: Path, shape: tuple[int, ...]) -> Any:
    """Create an array with chunks, shards and codec of the base."""
    import tensorstore as ts

    metadata = base.spec().to_json()["metadata"]
    kept = {key: metadata[key] for key in ("codecs", "chunk_grid", "fill_value")}
    store = {"driver": "file", "path": str(path)}
    metadata = {"shape": shape, "data_type": base.dtype.name, **kept}
    spec = {"driver": "zarr3", "kvstore": store, "context": LIMITS, "metadata": metadata}
    return ts.open(spec, create=True).result()


@job("tensorstore, copy of level 0 alone", lambda work: not work.shards)
def tensorstore_copy(work: Workload, source: Path, target: Path) -> None:  # noqa: ARG001
    for path in sorted(path.parent for path in source.glob("*/zarr.json")):
        if (base := tensorstore_open(path)).rank > 1:
            tensorstore_like(base, target / path.name, base.shape).write(base).result()


@job("tensorstore, level from level, rounded; NaN spreads", lambda work: not work.shards)
def tensorstore_cascade(work: Workload, source: Path, target: Path) -> None:
    import tensorstore as ts

    factors = [2 if dim in work.coarsened else 1 for dim in work.dims]
    for path in sorted(path.parent for path in source.glob("*/zarr.json")):
        fine = tensorstore_open(path)
        for k in range(work.levels) if fine.rank > 1 else ():
            coarse = fine if k == 0 else ts.downsample(fine, factors, work.method)
            stored = tensorstore_like(fine, target / path.name / str(k), coarse.shape)
            stored.write(coarse).result()
            fine = stored


@job("ome_zarr_pyramid", lambda work: not work.is_map and work.codec[:4] != "gzip")
def ome_zarr_pyramid(work: Workload, source: Path, target: Path) -> None:
    import zarr
    from ome_zarr_pyramid import Pyramid, io

    (name,) = opened(source).data_vars
    base = zarr.open_array(source / name, mode="r")
    image = Pyramid().from_array(base, axis_order="".join(work.dims))
    image = image.downscale(n_layers=work.levels, downscale_method=work.method)
    codec: dict[str, Any] = {"compressor": "zstd", "compressor_params": {"level": 1}}
    if work.codec == "blosc":
        params = {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle"}
        codec = {"compressor": "blosc", "compressor_params": params}
    elif work.codec == "zstd-3":
        codec["compressor_params"] = {"level": 3}
    shards = {"shard_coefficients": work.shards // work.chunks[-1]} if work.shards else {}
    io.write_pyramid(
        image, str(target), overwrite=True, chunk_shape=base.chunks, max_threads=THREADS,
        **codec, **shards,
    )  # fmt: skip


def _factors(work: Workload) -> list[dict[str, int]]:
    return [dict.fromkeys(work.coarsened, 2**k) for k in range(1, work.levels)]


@job(
    "ngff-zarr, level from level, rounded; other codec",
    lambda work: not work.is_map and not work.is_variant,
)
def ngff_zarr(work: Workload, source: Path, target: Path) -> None:
    import ngff_zarr as nz

    ((name, array),) = opened(source, {}).items()
    image = nz.to_ngff_image(array.data, dims=work.dims, name=name)
    is_mean = work.method == "mean"
    method = nz.Methods.DASK_BIN_SHRINK if is_mean else nz.Methods.DASK_IMAGE_MODE
    chunks = dict(zip(work.dims, work.chunks, strict=True))
    scales = nz.to_multiscales(
        image, scale_factors=_factors(work), method=method, chunks=chunks, cache=False
    )
    shards: dict[str, Any] = {}
    if work.shards:
        shards = {"chunks_per_shard": work.shards // work.chunks[-1]}
    nz.to_ngff_zarr(str(target), scales, version="0.5", **shards)


@job(
    "ome-zarr-py, interpolated from level to level",
    lambda work: not work.is_map and not work.is_variant,
)
def ome_zarr_py(work: Workload, source: Path, target: Path) -> None:
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    ((_, array),) = opened(source, {}).items()
    options: dict[str, Any] = {"chunks": work.chunks, "compressors": codec_of(work)}
    if work.shards:
        options["shards"] = tuple(max(n, work.shards) for n in work.chunks)
    method = Methods.RESIZE if work.method == "mean" else Methods.NEAREST
    write_image(
        array.data, str(target), axes=list(work.dims), scale_factors=_factors(work),
        method=method, storage_options=options,
    )  # fmt: skip


@job("topozarr, shards", lambda work: work.is_map)
def topozarr(work: Workload, source: Path, target: Path) -> None:
    import topozarr as tz
    import xproj  # noqa: F401  (registers .proj)

    dataset = opened(source, {}).proj.assign_crs(spatial_ref="EPSG:4326")
    tz.create_pyramid(dataset, levels=work.levels).write(str(target), max_workers=THREADS)


@job("terrazarr, level from level in float32", lambda work: work.is_map)
def terrazarr(work: Workload, source: Path, target: Path) -> None:
    from terrazarr import to_geozarr

    dataset = opened(source, {}).rio.write_crs("EPSG:4326")
    side = work.chunks[-1]
    to_geozarr(
        dataset, str(target), chunk_size=side, shard_size=work.shards or side,
        sharding=work.shards > 0, method="mean",
        min_dimension=1 + min(dataset.sizes["y"], dataset.sizes["x"]) // 2 ** (work.levels - 1),
        compressor=codec_of(work),
    )  # fmt: skip


@job(
    "xarray.coarsen and to_zarr, level by level",
    lambda work: work.method == "mean" and not work.is_variant,
)
def coarsen(work: Workload, source: Path, target: Path) -> None:
    dataset, codec = opened(source, {}), codec_of(work)
    types = {name: array.dtype for name, array in dataset.items()}
    for k in range(work.levels):
        if k:
            factors = dict.fromkeys(work.coarsened, 2)
            dataset = dataset.coarsen(factors, boundary="pad").mean().astype(types)
            dataset = dataset.chunk(dict(zip(work.dims, work.chunks, strict=True)))
        form: dict[str, Any] = {"chunks": work.chunks, "compressors": codec}
        if work.shards:
            form["shards"] = tuple(max(n, work.shards) for n in work.chunks)
            lengths = dict(zip(work.dims, form["shards"], strict=True))
            dataset = dataset.chunk(lengths)
        cleared = dataset.drop_encoding()
        encoding = (
            {
                name: form | {"chunks": tuple(map(min, form["chunks"], cleared[name].shape))}
                for name in types
            }
            if not work.shards
            else dict.fromkeys(types, form)
        )
        cleared.to_zarr(target / str(k), encoding=encoding, consolidated=False, zarr_format=3)
        dataset = opened(target / str(k), {})


IMPORTS = {
    "xpyramid": "xpyramid", "tensorstore": "tensorstore", "ome_zarr_pyramid": "ome_zarr_pyramid",
    "ngff-zarr": "ngff_zarr", "ome-zarr-py": "ome_zarr.writer", "topozarr": "topozarr xproj",
    "terrazarr": "terrazarr rioxarray", "xarray.coarsen and to_zarr": "xarray",
}  # fmt: skip


def run_one(name: str, index: int, source: Path, target: Path) -> None:
    """Run a job in this process and print what it took."""
    import dask
    import dask.array
    import xarray  # noqa: F401
    import zarr

    for module in IMPORTS[name.split(",", maxsplit=1)[0]].split():
        import_module(module)
    if name.startswith("xpyramid"):
        from numba.core.registry import cpu_target

        import_module("ome_zarr_models.v05.image")
        import_module("xpyramid.build")  # which `import xpyramid` puts off
        cpu_target.target_context.refresh()  # numba imports half of itself at its first call
    dask.config.set(num_workers=THREADS, scheduler="threads")
    zarr.config.set({"threading.max_workers": THREADS})
    wall, cpu = time.perf_counter(), time.process_time()
    JOBS[name][0](WORKLOADS[index], source, target)
    figures = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "process": time.process_time(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    print(json.dumps(figures))


def measure(names: list[str], index: int, base: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Run jobs in turn, each time in a new process; the first round does not count."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for counted in (False, *[True] * repeats):
        for name in random.sample(names, len(names)):
            if not counted or name in found:
                figures = run(name, index, base)
                if figures is None:
                    found.pop(name, None)
                elif counted:
                    found[name].append(figures)
    return {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in found.items()
        if runs
    }


def run(name: str, index: int, base: Path) -> dict[str, float] | None:
    """Run a job in a new process; None, with a word on the error stream, where it fails."""
    with output_directory(base.parent) as output:
        command = [sys.executable, __file__, "--run", name, str(index), str(base)]
        command.append(str(output / "out"))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        print(f"{name}, {WORKLOADS[index].title}: {last}", file=sys.stderr)
        return None
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    ours = rows["xpyramid"]
    print(f"\n### {title}\n\n| | wall | CPU | wall, of ours | CPU, of ours | process | peak |")
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        wall, cpu = row["wall"] / ours["wall"], row["cpu"] / ours["cpu"]
        mark = "**" if min(wall, cpu) < 1 and not name.startswith("xpyramid") else ""
        figures = f"{row['wall']:.2f} s | {row['cpu']:.2f} s | {wall:.2f}x | {cpu:.2f}x"
        figures += f" | {row['process']:.2f} s"
        print(f"| {mark}{name}{mark} | {figures} | {row['peak']:.0f} MB |", flush=True)


def versions() -> str:
    names = ["zarr", "dask", "xarray", "numba", "tensorstore", "ome_zarr_pyramid", "ngff-zarr"]
    found = []
    for name in [*names, "ome-zarr", "topozarr", "terrazarr"]:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writing pyramids of what people have.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="workloads whose title contains this")
    parser.add_argument("--peers", default="", help="peers whose name contains this, and ours")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--scratch", help="directory for input and output")
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name, index, source, target = options.run
        run_one(name, int(index), Path(source), Path(target))
        return
    if options.make:
        make_base(WORKLOADS[int(options.make[0])], Path(options.make[1]))
        return
    threads = str(options.threads)
    os.environ |= {"THREADS": threads, "OMP_NUM_THREADS": threads}
    print(f"Python {platform.python_version()}, {versions()}; medians of {options.repeats},")
    print(f"{threads} threads.")
    with scratch_directory(options.scratch) as scratch:
        for index, work in enumerate(WORKLOADS):
            if options.only not in work.title:
                continue
            base = scratch / f"{index}.zarr"
            # made by a process of its own, so that this one, and its children, stay small
            subprocess.run([sys.executable, __file__, "--make", str(index), str(base)], check=True)
            names = [name for name, (_, can) in JOBS.items() if can(work)]
            names = [name for name in names if options.peers in name or name == "xpyramid"]
            found = measure(names, index, base, options.repeats)
            print_table(work.title, {name: found[name] for name in names if name in found})


if __name__ == "__main__":
    main()
