"""How long the first use of each method takes in a new process. Prints Markdown.

    python benchmarks/first_use.py [--repeats 3]

Each method reduces one small array of one dtype, first with an empty cache of compiled code (cold),
then in another new process with the cache that the first one left (warm). The import of the
library and of numba is not counted. Times are medians of several such pairs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

CASES = [
    ("mean", "uint8"),
    ("mean", "float32"),
    ("mean, 3 levels", "uint16"),
    ("mode", "uint32"),
    ("mode, 3 levels", "uint32"),
    ("median", "uint8"),
    ("min", "uint16"),
    ("sum", "float32"),
    ("nearest", "uint8"),
]

PROGRAM = """
import sys, time
import numba
import numpy as np
from xpyramid import downsample
method, dtype, levels = sys.argv[1], sys.argv[2], int(sys.argv[3])
array = np.ones((32, 32, 32), dtype)
start = time.perf_counter()
downsample(array, 2, method, num_mips=levels)
print(time.perf_counter() - start)
"""


def first_use(case: str, dtype: str, cache: str) -> float:
    """Return the seconds of the first call in a new process."""
    method, _, levels = case.partition(", ")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, method, dtype, levels.partition(" ")[0] or "1"],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="How long the first use of a method takes.")
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print("| method | dtype | cold | warm |\n|---|---|---|---|")
    for case, dtype in CASES:
        pairs = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                pairs.append([first_use(case, dtype, cache) for _ in range(2)])
        cold, warm = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"| {case} | {dtype} | {cold:.2f} s | {warm:.3f} s |", flush=True)


if __name__ == "__main__":
    main()
