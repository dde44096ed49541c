"""Frames per second: an image that is whole after each frame, beside acquire-zarr's stream.

    python benchmarks/appending.py --frames 60 --repeats 5

Frames of 2048 x 2048 samples, ``uint16``, chunks of 512 x 512, Zstandard at level 1, four levels by
means of 2 x 2. acquire-zarr announces its levels when the stream ends, and makes each from the
rounded level before it. Each run is a process of its own; runs alternate. With ``--long N``, it is
also measured how long a frame takes when there are N of them already (of 256 x 256 samples).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE = 2048


def frames(side: int) -> list[np.ndarray]:
    """Return a few frames of a smooth field with noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    field = 1000 + 500 * np.sin(9 * y) * np.cos(7 * x)
    return [(field + random.normal(0, 30, field.shape)).astype("uint16") for _ in range(4)]


def ours(path: Path, count: int) -> tuple[float, float]:
    """Return wall and CPU seconds of an Appender."""
    import xpyramid

    images = frames(SIDE)
    with xpyramid.Appender(path, chunks={"t": 1, "y": 512, "x": 512}, levels=4) as out:
        for image in images[:3]:
            out.append(image)
        began = time.perf_counter(), time.process_time()
        for i in range(count):
            out.append(images[i % 4])
        return time.perf_counter() - began[0], time.process_time() - began[1]


def acquire(path: Path, count: int) -> tuple[float, float]:
    """Return wall and CPU seconds of acquire-zarr's stream, its end included."""
    import acquire_zarr as aqz

    images = frames(SIDE)
    space = {"kind": aqz.DimensionType.SPACE, "array_size_px": SIDE, "chunk_size_px": 512}
    codec = aqz.CompressionSettings(
        compressor=aqz.Compressor.BLOSC1, codec=aqz.CompressionCodec.BLOSC_ZSTD, level=1, shuffle=0
    )
    array = aqz.ArraySettings(
        dimensions=[
            aqz.Dimension(
                name="t", kind=aqz.DimensionType.TIME, array_size_px=0, chunk_size_px=1,
                shard_size_chunks=1,
            ),
            aqz.Dimension(name="y", shard_size_chunks=1, **space),
            aqz.Dimension(name="x", shard_size_chunks=1, **space),
        ],
        data_type=np.uint16, downsampling_method=aqz.DownsamplingMethod.MEAN, compression=codec,
    )  # fmt: skip
    stream = aqz.ZarrStream(aqz.StreamSettings(store_path=str(path), arrays=[array]))
    for image in images[:3]:
        stream.append(image)
    began = time.perf_counter(), time.process_time()
    for i in range(count):
        stream.append(images[i % 4])
    stream.close()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def long(path: Path, count: int) -> list[float]:
    """Return milliseconds of CPU for a frame, near the start and near the end of many."""
    import xpyramid

    image = frames(256)[0]
    costs: list[float] = []
    with xpyramid.Appender(path, chunks={"t": 1, "y": 128, "x": 128}, levels=2) as out:
        for _ in range(count):
            began = time.process_time()
            out.append(image)
            costs.append(time.process_time() - began)
    tenth = max(1, count // 10)
    ends = costs[tenth : 2 * tenth], costs[-tenth:]
    return [1e3 * statistics.median(part) for part in ends]


def run(what: str, count: int) -> list[float]:
    """Run something in a process of its own, with a directory that is removed afterwards."""
    directory = Path(tempfile.mkdtemp(dir="."))
    command = [sys.executable, __file__, "--run", what, "--frames", str(count), "--path"]
    try:
        output = subprocess.run(
            [*command, str(directory / "out.zarr")], check=True, capture_output=True, text=True
        ).stdout
    finally:
        shutil.rmtree(directory)
    result: list[float] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--long", type=int, default=0)
    parser.add_argument("--run", choices=["ours", "acquire", "long"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(globals()[arguments.run](arguments.path, arguments.frames)))
        return
    times: dict[str, list[list[float]]] = {"ours": [], "acquire": []}
    for _ in range(arguments.repeats):
        for what, seconds in times.items():
            seconds.append(run(what, arguments.frames))
    print("| | frames/s | CPU, ms a frame |\n|---|---|---|")
    for what, seconds in times.items():
        wall, cpu = (statistics.median(s) / arguments.frames for s in zip(*seconds, strict=True))
        name = {"ours": "`xpyramid.Appender`", "acquire": "acquire-zarr"}[what]
        print(f"| {name} | {1 / wall:.1f} | {1e3 * cpu:.0f} |")
    if arguments.long:
        first, last = run("long", arguments.long)
        print(
            f"\n256 x 256 frames, {arguments.long} of them: {first:.1f} ms of CPU a frame in the "
            f"second tenth, {last:.1f} in the last ({last / first:.2f}x)"
        )


if __name__ == "__main__":
    main()
