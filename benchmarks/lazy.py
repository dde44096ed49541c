"""How long lazy levels take, beside peers: ``p[k]`` before anything is written. Prints Markdown.

    pip install xpyramid tensorstore
    python benchmarks/lazy.py [--size 384] [--repeats 5] [--chunks 100000] [--cpu]

A cube of uint16 in chunks of 64, as `to_ome_zarr` stores it (zstd level 1), on disk and in the page
cache, opened by `xarray.open_zarr` with dask and without. All take turns in one process, each round
in another order, with as many threads as they take by themselves; the figures are medians of the
rounds. `xarray.coarsen` returns float64, the others the same numbers, rounded. The last table is of
dask's graph of a base of very many chunks: none is read.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import tensorstore as ts
import xarray as xr

import xpyramid

CHUNK = 64
Region = tuple[slice, ...]


class View(NamedTuple):
    """What is asked of a level: a region, and the mean of all."""

    read: Callable[[Region], np.ndarray]
    mean: Callable[[], float]


#: From the number of a level to what is asked of it.
Levels = Callable[[int], View]


def make(path: Path, size: int) -> None:
    """Store a cube that compresses as images do."""
    base = xpyramid.example_field((size,) * 3, CHUNK, "uint16")
    base.pyramid.build(chunks=CHUNK, levels=1).to_ome_zarr(path, progress=False)


def base_of(path: Path, chunks: Any) -> xr.DataArray:
    options: dict[str, Any] = {"group": "field/0", "consolidated": False, "chunks": chunks}
    return xr.open_zarr(path, **options)["field"]


def by_xpyramid(path: Path) -> Levels:
    return of_pyramid(base_of(path, None))


def by_xpyramid_with_dask(path: Path) -> Levels:
    return of_pyramid(base_of(path, {}))


def by_opened(path: Path) -> Levels:
    return of_pyramid(xpyramid.open_pyramid(path, "field")[0])


def of_pyramid(base: xr.DataArray) -> Levels:
    pyramid = base.pyramid.build(levels=4, chunks=CHUNK)
    return lambda k: view_of(pyramid[k])


def view_of(level: xr.DataArray) -> View:
    return View(lambda region: level[region].to_numpy(), lambda: float(level.mean()))


def by_coarsen(path: Path) -> Levels:
    base = base_of(path, {})

    def level(k: int) -> View:
        factors: Any = dict.fromkeys(base.dims, 2**k)
        return view_of(base.coarsen(factors).mean())

    return level


def by_tensorstore(path: Path) -> Levels:
    kvstore = {"driver": "file", "path": f"{path}/field/0/field"}
    base = ts.open({"driver": "zarr3", "kvstore": kvstore}, open=True, read=True).result()

    def level(k: int) -> View:
        coarse: Any = ts.downsample(base, [2**k] * 3, "mean")
        return View(
            lambda region: coarse[region].read().result(),
            lambda: float(coarse.read().result().mean()),
        )

    return level


READERS = {
    "`chunks=None`": by_xpyramid,
    "`open_pyramid`": by_opened,
    "`chunks={}`": by_xpyramid_with_dask,
    "xarray.coarsen": by_coarsen,
    "tensorstore": by_tensorstore,
}


def measure(
    path: Path, size: int, repeats: int, boxes: int, clock: Callable[[], float]
) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each reader, by row."""
    seconds: dict[str, dict[str, list[float]]] = {}
    chance = random.Random(1)
    expected = {k: by_xpyramid(path)(k).read((slice(None),) * 3) for k in (1, 2, 3)}
    for repeat in range(repeats + 1):  # the first is for the page cache, imports and threads
        rows = draw(chance, size, boxes)
        names = list(READERS)
        chance.shuffle(names)
        for name in names:
            taken = one_round(READERS[name], path, rows, expected, clock)
            for row, several in taken.items() if repeat else ():
                seconds.setdefault(row, {}).setdefault(name, []).extend(several)
    return seconds


def draw(chance: random.Random, size: int, boxes: int) -> dict[str, tuple[int, list[Region]]]:
    """Return level and regions of each row."""
    half, deep = size // 2, chance.randrange(size // 2)
    steps = range(0, half - CHUNK + 1, CHUNK // 2)
    aligned = [[chance.choice(steps) for _ in range(3)] for _ in range(boxes)]
    anywhere = [[chance.randrange(half - CHUNK) for _ in range(3)] for _ in range(boxes)]
    boxes_of = {
        name: [tuple(slice(c, c + CHUNK) for c in corner) for corner in corners]
        for name, corners in {"aligned": aligned, "random": anywhere}.items()
    }
    return {
        "64³ of `p[1]`, on chunk edges": (1, boxes_of["aligned"]),
        "64³ of `p[1]`, anywhere": (1, boxes_of["random"]),
        "plane of `p[1]`": (1, [(slice(deep, deep + 1), slice(0, half), slice(0, half))]),
        "all of `p[1]`": (1, [(slice(0, half),) * 3]),
        "all of `p[2]`": (2, [(slice(0, half // 2),) * 3]),
        "all of `p[3]`": (3, [(slice(0, half // 4),) * 3]),
    }


def one_round(
    reader: Callable[[Path], Levels],
    path: Path,
    rows: dict[str, tuple[int, list[Region]]],
    expected: dict[int, np.ndarray],
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    levels = reader(path)
    for row, (k, regions) in rows.items():
        for region in regions:
            start = clock()
            read = levels(k).read(region)
            taken.setdefault(row, []).append(clock() - start)
            assert np.array_equal(np.rint(read), expected[k][region]), (row, reader.__name__)
            del read
    start = clock()
    levels(1).mean()
    taken["`p[1].mean()`"] = [clock() - start]
    return taken


def table(seconds: dict[str, dict[str, list[float]]]) -> None:
    print("| |", " | ".join(READERS), "|")
    print("|---" * (len(READERS) + 1) + "|")
    for row, taken in seconds.items():
        figures = (f"{1000 * statistics.median(taken[name]):.1f} ms" for name in READERS)
        print(f"| {row} |", " | ".join(figures), "|")


def graphs(chunks: int) -> None:
    """Print how long dask takes for the graph of a level over very many chunks."""
    length = round(chunks ** (1 / 3))
    shape, lengths = (length * CHUNK,) * 3, (CHUNK,) * 3
    print(f"\n| {length**3} chunks | made | optimised | tasks |\n|---|---|---|---|")
    for name in ("the base", "`p[1]`", "`p[5]`", "xarray.coarsen by 2"):
        source = da.from_array(Nothing(shape), lengths, name=f"base-{name}", fancy=False)
        base = xr.DataArray(source, dims=("z", "y", "x"), name="field")
        start = time.process_time()
        if name.startswith("xarray"):
            level = base.coarsen(z=2, y=2, x=2).mean()
        else:
            k = int(name[3]) if name.startswith("`p") else 0
            level = base.pyramid.build(levels=6, chunks=CHUNK)[k]
        made = time.process_time()
        (optimised,) = dask.optimize(level.data)
        done = time.process_time()
        tasks = len(dict(optimised.dask))
        print(f"| {name} | {made - start:.2f} s | {done - made:.2f} s | {tasks} |")


class Nothing:
    """An array that is never read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.ndim = shape, np.dtype("uint16"), len(shape)

    def __getitem__(self, key: object) -> np.ndarray:
        raise AssertionError(key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--boxes", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="CPU time of all threads")
    parser.add_argument("--chunks", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory), options.size)
        clock = time.process_time if options.cpu else time.perf_counter
        table(measure(Path(directory), options.size, options.repeats, options.boxes, clock))
    if options.chunks:
        graphs(options.chunks)
    packages = ", ".join(f"{name} {version(name)}" for name in ("dask", "xarray", "tensorstore"))
    print(f"\nPython {platform.python_version()}, {packages}")


if __name__ == "__main__":
    main()
