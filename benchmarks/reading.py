"""How long it takes to read a pyramid, beside peers. Prints Markdown.

    pip install xpyramid tensorstore
    python benchmarks/reading.py [--size 384] [--repeats 5] [--boxes 60] [--only sharded]

A cube of uint16 in chunks of 64, as `to_ome_zarr` stores it (zstd level 1), once with a file for
each chunk and once in shards of 256, on disk and in the page cache. All readers take turns in one
process, each round in another order, with as many threads as they take by themselves; the figures
are medians of the rounds, those of random boxes over the boxes of all rounds.
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
from typing import Any

import numpy as np
import tensorstore as ts
import xarray as xr
import zarr

import xpyramid

CHUNK, SHARD, BOX = 64, 256, 200
#: What a reader makes of a store: something that reads a region of level 0.
Opened = Callable[[tuple[slice, ...]], np.ndarray]


def make(path: Path, size: int, shards: int | None) -> None:
    """Store a pyramid of a cube that compresses as images do."""
    base = xpyramid.example_field((size,) * 3, CHUNK, "uint16")
    base.pyramid.build(chunks=CHUNK, levels=4).to_ome_zarr(path, shards=shards, progress=False)


def by_xpyramid(path: Path) -> list[Opened]:
    return [reading(level) for level in xpyramid.open_pyramid(path, "field")]


def by_xpyramid_with_dask(path: Path) -> list[Opened]:
    return [reading(level) for level in xpyramid.open_pyramid(path, "field", chunks={})]


def reading(level: xr.DataArray) -> Opened:
    return lambda region: level[region].to_numpy()


def by_xarray(path: Path) -> list[Opened]:
    options: Any = {"chunks": None, "cache": False, "consolidated": False}
    tree = xr.open_datatree(path, group="field", engine="zarr", **options)
    return [reading(tree[f"{level}/field"]) for level in range(len(tree.children))]


def by_zarr(path: Path) -> list[Opened]:
    group = zarr.open_group(path, path="field", mode="r")
    return [group[name].__getitem__ for name in paths(group)]


def paths(group: zarr.Group) -> list[str]:
    attributes: Any = group.attrs.asdict()
    return [dataset["path"] for dataset in attributes["ome"]["multiscales"][0]["datasets"]]


def by_tensorstore(path: Path) -> list[Opened]:
    names = paths(zarr.open_group(path, path="field", mode="r"))
    spec = {"driver": "zarr3", "kvstore": {"driver": "file"}}
    specs = [spec | {"kvstore": spec["kvstore"] | {"path": f"{path}/field/{n}"}} for n in names]
    futures = [ts.open(spec, open=True, read=True) for spec in specs]
    return [reading_of_tensorstore(future.result()) for future in futures]


def reading_of_tensorstore(array: Any) -> Opened:
    return lambda region: array[region].read().result()


READERS = {
    "xpyramid": by_xpyramid,
    "xpyramid, chunks={}": by_xpyramid_with_dask,
    "xarray, chunks=None": by_xarray,
    "zarr-python": by_zarr,
    "tensorstore": by_tensorstore,
}


def measure(path: Path, size: int, repeats: int, boxes: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each reader, by row."""
    seconds: dict[str, dict[str, list[float]]] = {}
    expected = zarr.open_array(path / "field/0/field", mode="r")[...]
    chance = random.Random(1)
    for repeat in range(repeats + 1):  # the first is for the page cache, imports and threads
        corners = [[chance.randrange(size - CHUNK) for _ in range(3)] for _ in range(boxes)]
        at, deep = chance.randrange(size - BOX), chance.randrange(size)
        regions = {
            "whole level": [(slice(0, size),) * 3],
            f"box of {BOX}": [(slice(at, at + BOX),) * 3],
            "plane": [(slice(deep, deep + 1), slice(0, size), slice(0, size))],
            "random boxes of 64": [tuple(slice(c, c + CHUNK) for c in cs) for cs in corners],
        }
        names = list(READERS)
        chance.shuffle(names)
        for name in names:
            rows = one_round(READERS[name], path, regions, expected)
            for row, taken in rows.items() if repeat else ():
                seconds.setdefault(row, {}).setdefault(name, []).extend(taken)
    return seconds


def one_round(
    reader: Any, path: Path, regions: dict[str, Any], expected: np.ndarray
) -> dict[str, list[float]]:
    start = time.perf_counter()
    level = reader(path)[0]
    rows = {"open all levels": [time.perf_counter() - start]}
    for row, several in regions.items():
        for region in several:
            start = time.perf_counter()
            read = level(region)
            rows.setdefault(row, []).append(time.perf_counter() - start)
            assert np.array_equal(read, expected[region]), (row, reader.__name__)
            del read
    return rows


def table(seconds: dict[str, dict[str, list[float]]]) -> None:
    peers = [name for name in READERS if name != "xpyramid"]
    print("| | xpyramid |", " | ".join(peers), "|")
    print("|---" * (len(peers) + 2) + "|")
    for row, taken in seconds.items():
        figures = {"": statistics.median}
        if "random" in row:
            figures = {", p50": statistics.median, ", p99": lambda t: float(np.quantile(t, 0.99))}
        for what, figure in figures.items():
            ours = figure(taken["xpyramid"])
            ratios = [f"{figure(taken[peer]) / ours:.2f}x" for peer in peers]
            print(f"| {row}{what} | {1000 * ours:.2f} ms |", " | ".join(ratios), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--boxes", type=int, default=60)
    parser.add_argument("--only", choices=["chunks", "sharded"])
    options = parser.parse_args()
    for kind, shards in {"chunks": None, "sharded": SHARD}.items():
        if options.only in (None, kind):
            with tempfile.TemporaryDirectory() as directory:
                make(Path(directory), options.size, shards)
                print(f"\n{kind}\n")
                table(measure(Path(directory), options.size, options.repeats, options.boxes))
    packages = ", ".join(f"{name} {version(name)}" for name in ("zarr", "xarray", "tensorstore"))
    print(f"\nPython {platform.python_version()}, {packages}")


if __name__ == "__main__":
    main()
