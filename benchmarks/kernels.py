"""How fast the reductions are, beside a copy of the data and beside peers. Prints Markdown.

    pip install xpyramid tinybrain tensorstore pyramid-sampler
    python benchmarks/kernels.py [--size 256] [--repeats 9]

Everything runs on one thread and in memory, all contenders of a row in rounds; times are medians.
Peers get what suits them: tinybrain Fortran order with x first, tensorstore a limit of one thread.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from xpyramid import downsample
from xpyramid.kernels import choice

Array = np.ndarray[Any, np.dtype[Any]]
Contender = Callable[[], object]
Row = tuple[str, Array, tuple[int, ...], str, int]
PEERS = ("tinybrain", "tensorstore", "pyramid_sampler")


def image(dtype: str, shape: tuple[int, ...]) -> Array:
    """Return noise; how long a mean takes does not depend on the values."""
    return (np.random.default_rng(0).random(shape) * 255).astype(dtype)


def labels(dtype: str, shape: tuple[int, ...], size: int = 24) -> Array:
    """Return a segmentation of boxes of ``size`` samples, not aligned with the windows."""
    coarse = [n // size + 2 for n in shape]
    top = min(2**30, np.iinfo(dtype).max)
    blocks = np.random.default_rng(0).integers(1, top, coarse).astype(dtype)
    for axis in range(len(shape)):
        blocks = np.repeat(blocks, size, axis)
    return np.ascontiguousarray(blocks[tuple(slice(5, 5 + n) for n in shape)])


def noise(dtype: str, shape: tuple[int, ...]) -> Array:
    """Return labels without any structure, the worst case of a mode."""
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def tinybrain(array: Array, factor: tuple[int, ...], method: str, mips: int) -> Contender | None:
    import tinybrain as peer

    if method == "mode" and max(factor) > 2:  # takes every third sample, which is no mode
        return None
    fortran = np.asfortranarray(array.transpose())
    kinds = {
        "mean": peer.downsample_with_averaging,
        "mode": peer.downsample_segmentation,
        "max": peer.downsample_with_max_pooling,
    }
    return lambda: kinds[method](fortran, factor[::-1], num_mips=mips)


def tensorstore(array: Array, factor: tuple[int, ...], method: str, mips: int) -> Contender:
    import tensorstore as ts

    base = ts.array(array, context=ts.Context({"data_copy_concurrency": {"limit": 1}}))

    def run() -> None:
        for k in range(1, mips + 1):
            ts.downsample(base, [f**k for f in factor], method).read().result()

    return run


def pyramid_sampler(
    array: Array, factor: tuple[int, ...], method: str, mips: int
) -> Contender | None:
    from pyramid_sampler.sampler import _coarsen

    if method != "mean" or any(n % f**mips for n, f in zip(array.shape, factor, strict=True)):
        return None

    def run() -> None:
        fine = array
        for _ in range(mips):
            shape = tuple(n // f for n, f in zip(fine.shape, factor, strict=True))
            fine = _coarsen(shape, 1, 0, factor, fine).astype(array.dtype)

    return run


def contenders(row: Row) -> dict[str, Contender]:
    """Return what runs on a row, by name."""
    _, array, factor, method, mips = row
    target = np.empty_like(array)
    found: dict[str, Contender] = {
        "copy": lambda: np.copyto(target, array),
        "xpyramid": lambda: downsample(array, factor, method, num_mips=mips),
    }
    for name in PEERS:
        try:
            run = globals()[name](array, factor, method, mips)
        except ImportError:  # the heading says what is not installed
            continue
        if run is not None:
            found[name] = run
    return found


def medians(runs: dict[str, Contender], repeats: int) -> dict[str, float]:
    """Return the median seconds of each, after a first run that does not count.

    All run once in a round, each in another order: what runs after another finds its caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names, shuffle = list(runs), np.random.default_rng(0).permutation
    for counted in (False, *[True] * repeats):
        for name in shuffle(names):
            start = time.perf_counter()
            runs[name]()
            if counted:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def rows(n: int) -> list[Row]:
    cube, odd, thirds = (n, n, n), (n - 3, n - 1, n - 5), (n // 3 * 3,) * 3
    table: list[Row] = []
    for dtype in ("uint8", "uint16", "float32"):
        table += [
            (f"mean 2x2x2 {dtype}", image(dtype, cube), (2, 2, 2), "mean", 1),
            (f"mean 1x2x2 {dtype}", image(dtype, cube), (1, 2, 2), "mean", 1),
            (f"mean 2x2x2 {dtype}, 4 levels", image(dtype, cube), (2, 2, 2), "mean", 4),
        ]
    table += [
        ("mean 3x3x3 uint8", image("uint8", thirds), (3, 3, 3), "mean", 1),
        ("mean 2x2x2 uint8, odd shape", image("uint8", odd), (2, 2, 2), "mean", 1),
        ("mean 2x2x2 uint64", image("uint64", cube), (2, 2, 2), "mean", 1),
    ]
    for dtype in ("uint8", "uint32", "uint64"):
        table.append((f"mode 2x2x2 {dtype}", labels(dtype, cube), (2, 2, 2), "mode", 1))
    for dtype in ("uint8", "float32"):
        table.append((f"max 2x2x2 {dtype}", image(dtype, cube), (2, 2, 2), "max", 1))
    return [
        *table,
        ("mode 2x2x2 uint32, noise", noise("uint32", cube), (2, 2, 2), "mode", 1),
        ("mode 2x2x2 uint32, 4 levels", labels("uint32", cube), (2, 2, 2), "mode", 4),
        ("mode 3x3x3 uint32", labels("uint32", thirds), (3, 3, 3), "mode", 1),
        ("mode 2x2x2 uint32, odd shape", labels("uint32", odd), (2, 2, 2), "mode", 1),
    ]


def versions() -> str:
    found = []
    for name in ("numpy", "numba", *PEERS):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"Python {platform.python_version()}, {', '.join(found)}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Reductions beside a copy and beside peers.")
    parser.add_argument("--size", type=int, default=256, help="edge of the cube (256)")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args(arguments)
    print(f"{versions()}; cube of {options.size}, medians of {options.repeats}, one thread.\n")
    print("| | GB/s | of a copy's time | tinybrain | tensorstore | pyramid_sampler |")
    print("|---|---|---|---|---|---|")
    for row in rows(options.size):
        if options.only in row[0]:
            with choice.only("compiled"):
                times = medians(contenders(row), options.repeats)
            ours = times["xpyramid"]
            slower = [f"{times[peer] / ours:.2f}x" if peer in times else "" for peer in PEERS]
            print(
                f"| {row[0]} | {row[1].nbytes / ours / 1e9:.1f} | {ours / times['copy']:.2f}x | "
                f"{' | '.join(slower)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
