"""What an update costs, beside a build of the whole. Prints Markdown.

    python benchmarks/updating.py [--size 512] [--repeats 7] [--directory DIR] [--bucket]

A cube of uint16 in chunks of 64, compressed by zstd level 1, with five levels. All jobs run in
turn, several times over, in one process, so that only their ratios count; figures are medians of
CPU seconds, of all threads together. Before each update, level 0 is written to by zarr-python,
which is not counted. With ``--bucket``, images are in objects in memory, as obstore's buckets keep
them: without directories or locks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from scratch import empty

import xpyramid

LEVELS = 5


class Bench:
    """A base on disk, and an image of it in a store.

    Parameters
    ----------
    directory : Path
    size : int
    bucket : bool
    """

    def __init__(self, directory: Path, size: int, *, bucket: bool) -> None:
        self.directory, self.size, self.bucket = directory, size, bucket
        field = xpyramid.example_field((size,) * 3, 64, "uint16").drop_attrs()
        field.to_dataset(name="field").to_zarr(
            directory / "base.zarr", encoding={"field": {"chunks": (64,) * 3}}, consolidated=False
        )
        self.rng, self.edge = np.random.default_rng(0), round(size * 0.01 ** (1 / 3))
        self.store: Any = None
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def new_store(self) -> Any:
        if self.bucket:
            import obstore

            return zarr.storage.ObjectStore(obstore.store.MemoryStore())
        if self.store is not None:
            empty(self.store)
        return Path(tempfile.mkdtemp(dir=self.directory)) / "out.zarr"

    def time(self, name: str, job: Callable[[], object]) -> None:
        start = time.process_time()
        job()
        self.seconds[name].append(time.process_time() - start)

    def build(self, **options: Any) -> None:
        array = xr.open_zarr(self.directory / "base.zarr", chunks=None, consolidated=False).field
        array.pyramid.build(levels=LEVELS).to_ome_zarr(self.store, progress=False, **options)

    def change(self, edge: int) -> dict[str, slice]:
        """Write to a cube of level 0, off the edges of chunks, as other programs do."""
        start = self.size // 3
        region = {dim: slice(start, start + edge) for dim in "zyx"}
        array = zarr.open_array(self.store, path="field/0/field", mode="r+")
        array[tuple(region.values())] = self.rng.integers(0, 20000, (edge,) * 3, dtype="uint16")
        return region

    def update(self, edge: int, region: Any = None, **options: Any) -> Callable[[], object]:
        changed = self.change(edge)
        region = changed if region is None else region
        return lambda: xpyramid.update(self.store, "field", region, progress=False, **options)

    def once(self) -> None:
        """Do each job once."""
        self.store = self.new_store()
        self.time("`to_ome_zarr`, all of it", self.build)
        anew = {"levels": LEVELS, "mode": "w", "progress": False}
        self.time(
            "`add_levels(mode='w')`", lambda: xpyramid.add_levels(self.store, "field", **anew)
        )
        self.time("`update`, 1 sample", self.update(1))
        self.time(f"`update`, {self.edge}³ samples, 1 %", self.update(self.edge))
        self.time("the same, `'changed'`", self.update(self.edge, "changed"))
        self.time("the same, `'changed', deep=True`", self.update(self.edge, "changed", deep=True))
        self.store = self.new_store()
        self.time("`to_ome_zarr`, without windows", lambda: self.build(omero=False))
        self.time("`update` of 1 % without windows", self.update(self.edge))

    def table(self) -> None:
        """Print medians, and what they are of a build."""
        medians = {name: statistics.median(own) for name, own in self.seconds.items()}
        whole = next(iter(medians.values()))
        print("| | CPU | of a build |\n|---|---|---|")
        for name, seconds in medians.items():
            print(f"| {name} | {seconds:.3f} s | {100 * seconds / whole:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--bucket", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        bench = Bench(Path(directory), arguments.size, bucket=arguments.bucket)
        bench.once()  # compiles
        bench.seconds.clear()
        for _ in range(arguments.repeats):
            bench.once()
        bench.table()


if __name__ == "__main__":
    main()
