"""What it takes to begin a very large pyramid, and to go through it. Prints Markdown.

    python benchmarks/scale.py [--edge 100]

The base has ``edge ** 3`` chunks (a million) that nobody has written, so that reading costs next to
nothing. *First write* is when the first chunk is stored, after the call; *memory* is what the
process has grown by until then, from after the imports. *Overhead* is the time of a whole run that
stores nothing, for each chunk of the base.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHUNK = 16


class EnoughError(Exception):
    """The first chunk is written."""


def resident() -> float:
    """Return the resident size of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_base(path: str, edge: int, backing: str) -> Any:
    import xarray as xr
    import zarr

    zarr.create_group(path)
    zarr.create_array(
        path + "/field", shape=(edge * CHUNK,) * 3, chunks=(CHUNK,) * 3, dtype="u1",
        dimension_names=("z", "y", "x"),
    )  # fmt: skip
    chunks: Any = {} if backing == "dask" else None
    return xr.open_zarr(path, chunks=chunks, consolidated=False).field


def begin(path: str, edge: int, backing: str) -> dict[str, float]:
    """Return how long it takes until the first chunk is stored, and how much memory."""
    import numpy as np
    import ome_zarr_models.v05.image  # noqa: F401

    import xpyramid
    from xpyramid.kernels import choice
    from xpyramid.writer.sinks import ZarrSink

    with choice.only("compiled"):
        xpyramid.downsample(np.zeros((8, 8, 8), "u1"), 2)  # loads the kernels
    base = open_base(path + "/in", edge, backing)
    call = ZarrSink.__call__

    def stop(self: ZarrSink, region: Any, values: Any) -> None:
        call(self, region, values + 1)
        raise EnoughError

    ZarrSink.__call__ = stop  # type: ignore[method-assign]
    before, start = resident(), time.perf_counter()
    try:
        base.pyramid.to_ome_zarr(path + "/out", progress=False)
    except Exception as error:
        if not isinstance(error.__cause__ or error, EnoughError):
            raise
    return {"seconds": time.perf_counter() - start, "MB": resident() - before}


def go_through(path: str, edge: int, backing: str) -> dict[str, float]:
    """Return the microseconds for each chunk of a run that stores nothing."""
    import xpyramid  # noqa: F401
    from xpyramid.writer.sinks import ZarrSink

    base = open_base(path + "/in", edge, backing)
    ZarrSink.__call__ = lambda *_: None  # type: ignore[assignment,method-assign]
    before, start = resident(), time.perf_counter()
    base.pyramid.to_ome_zarr(path + "/out", progress=False)
    seconds = time.perf_counter() - start
    return {"us": seconds / edge**3 * 1e6, "MB": resident() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description="A pyramid of a million chunks.")
    parser.add_argument("--edge", type=int, default=100, help="chunks along a dimension (100)")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        with tempfile.TemporaryDirectory() as scratch:
            job = begin if options.run[0] == "begin" else go_through
            print(json.dumps(job(scratch, options.edge, options.run[1])))
        return

    def measure(*run: str) -> dict[str, float]:
        command = [sys.executable, __file__, "--edge", str(options.edge), "--run", *run]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    print("| base | first write | memory until then | overhead | memory of the whole run |")
    print("|---|---|---|---|---|")
    for backing in ("zarr", "dask"):
        first, whole = measure("begin", backing), measure("whole", backing)
        print(
            f"| {backing} | {first['seconds']:.1f} s | {first['MB']:.0f} MB "
            f"| {whole['us']:.0f} us per chunk | {whole['MB']:.0f} MB |"
        )


if __name__ == "__main__":
    main()
