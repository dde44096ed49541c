"""What an installation takes on disk, and how long imports take. Prints Markdown.

    python benchmarks/footprint.py [--repeats 9] [--wheel PATH_OR_REQUIREMENT]

makes a virtual environment, installs the package into it (default: from this folder), and measures.
Times are CPU seconds of new processes, medians; bytecode is there, as after any first run.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import venv
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parents[1]
CALLS = {
    "`import zarr`": ["-c", "import zarr"],
    "`import xarray, zarr`": ["-c", "import xarray, zarr"],
    "`import xarray, zarr, xpyramid`": ["-c", "import xarray, zarr, xpyramid"],
    "`import xarray, zarr, dask.array`": ["-c", "import xarray, zarr, dask.array"],
    "`xpyramid --version`": ["-m", "xpyramid", "--version"],
    "`xpyramid info image.zarr`": ["-m", "xpyramid", "info", "image.zarr"],
}


def cpu_seconds(command: list[str], folder: Path, repeats: int) -> float:
    """Return the CPU seconds of a command, the median of several runs."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    taken = []
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        )  # fmt: skip
    return statistics.median(taken[1:])


def sizes(python: Path) -> dict[str, int]:
    """Return the bytes of each installed package, as the records of their files list them."""
    code = """
import importlib.metadata as m, os
for d in m.distributions():
    files = [d.locate_file(f) for f in d.files or ()]
    print(d.name, sum(os.path.getsize(f) for f in files if os.path.isfile(f)))
"""
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, int] = defaultdict(int)
    for line in done.stdout.splitlines():
        name, size = line.rsplit(maxsplit=1)
        found[name] += int(size)
    return found


def brought_by(python: Path, root: str) -> set[str]:
    """Return the names of a package and of all that it needs."""
    code = f"""
import importlib.metadata as m
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
seen, left = set(), [Requirement({root!r})]
while left:
    one = left.pop()
    for extra in ("", *one.extras):
        here = canonicalize_name(one.name), extra
        if here not in seen:
            seen.add(here)
            needs = map(Requirement, m.distribution(one.name).requires or ())
            left += [n for n in needs if not n.marker or n.marker.evaluate(dict(extra=extra))]
print(*{{name for name, _ in seen}})
"""
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return {*done.stdout.split()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Sizes of packages, and times of imports.")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--wheel", default=str(HERE), help="what pip installs (this folder)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "-q", options.wheel], check=True)
        subprocess.run([python, "-m", "compileall", "-q", folder / "venv/lib"], check=False)
        print_sizes(python)
        print_times(python, folder, options.repeats)


def print_sizes(python: Path) -> None:
    found = {n: size for n, size in sizes(python).items() if n not in ("pip", "setuptools")}
    names = {n.lower().replace("_", "-").replace(".", "-"): n for n in found}
    needs = (
        "numpy",
        "xarray",
        "zarr",
        "dask[array]",
        "numba",
        "tifffile",
        "filelock",
        "tqdm",
        "xxhash",
    )
    others = set().union(*(brought_by(python, one) for one in needs), {"xpyramid"})
    only = [names[n] for n in brought_by(python, "ome-zarr") - others if n in names]
    total, extra = sum(found.values()), sum(found[n] for n in only)
    print(
        f"{len(found)} packages, {total / 1e6:.0f} MB; {len(only)} of them, {extra / 1e6:.0f} MB,"
    )
    print("come with `ome-zarr` alone.\n\n| package | MB | only for `ome-zarr` |\n|---|---|---|")
    for n, size in sorted(found.items(), key=lambda item: -item[1])[:16]:
        print(f"| {n} | {size / 1e6:.1f} | {'yes' if n in only else ''} |")


def print_times(python: Path, folder: Path, repeats: int) -> None:
    make = "import xpyramid; xpyramid.example_field((100, 200, 200)).pyramid.to_ome_zarr("
    subprocess.run(
        [python, "-c", make + "'image.zarr', '')"], cwd=folder, check=True, capture_output=True
    )
    print("\n| | CPU |\n|---|---|")
    for name, call in CALLS.items():
        print(
            f"| {name} | {cpu_seconds([str(python), *call], folder, repeats):.2f} s |", flush=True
        )


if __name__ == "__main__":
    main()
