"""How many instructions jobs take, in two states of the source. Prints Markdown.

    pip install 'xpyramid[benchmark]'    # and valgrind, by the system's package manager
    python benchmarks/instructions.py --against v0.1.0 [--limit 1.1] [--only read]

The jobs of ``jobs.py`` run in valgrind, which counts what they take of the processor: unlike times,
that is the same on busy machines. Both states run with the same packages, so that only ours counts.
Ends with 1 where a job takes more than ``limit`` times as many as before.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
VALGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--log-file=/dev/null"]
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--codspeed"]
PYTEST.append("--codspeed-mode=simulation")
#: What a part of callgrind's output is of, and its sum.
JOB = re.compile(r"^desc: Trigger: Client Request: .*jobs\.py::test_(.*)$", re.MULTILINE)
TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def unpack(revision: str, into: Path) -> Path:
    """Return where the sources of a revision are."""
    command = ["git", "archive", "--format=tar", revision, "src"]
    archive = subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(into, filter="data")
    shutil.copy(HERE.parent / "src/xpyramid/_version.py", into / "src/xpyramid")  # not in git
    return into / "src"


def count(source: Path, only: str) -> dict[str, int]:
    """Return the instructions of each job."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {
            "CODSPEED_ENV": "local", "PYTHONHASHSEED": "0", "PYTHONPATH": str(source),
            "NUMBA_CACHE_DIR": f"{scratch}/numba", "TMPDIR": scratch,
        }  # fmt: skip
        command = [*VALGRIND, f"--callgrind-out-file={scratch}/out.%p", sys.executable, *PYTEST]
        command += ["-k", only, str(HERE / "jobs.py")]
        done = subprocess.run(
            command, env=os.environ | environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(done.stdout[-3000:] + done.stderr[-1000:])
        parts = [part.read_text() for part in Path(scratch).glob("out.*")]
    found = [(JOB.search(part), TOTAL.search(part)) for part in parts]
    counts = {job[1]: int(total[1]) for job, total in found if job and total}
    if not counts:
        raise SystemExit(f"nothing was counted of {source}:\n{done.stdout[-3000:]}")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions of jobs, in two states.")
    parser.add_argument("--against", required=True, help="a revision, as git calls it")
    parser.add_argument("--limit", type=float, default=1.1)
    parser.add_argument("--only", default="", help="jobs whose name contains this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:
        sources = unpack(options.against, Path(scratch)), HERE.parent / "src"
        before, now = pool.map(lambda source: count(source, options.only), sources)
    print(f"| instructions, millions | {options.against} | now | |\n|---|---|---|---|")
    for job in sorted(now):
        ratio = now[job] / before[job]
        mark = "**" if ratio > options.limit else ""
        millions = f"{before[job] / 1e6:.1f} | {now[job] / 1e6:.1f}"
        print(f"| {mark}{job}{mark} | {millions} | {ratio:.2f}x |")
    sys.exit(any(now[job] > options.limit * before[job] for job in now))


if __name__ == "__main__":
    main()
