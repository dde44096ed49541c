"""Compiled kernels on disk, when several processes come for them at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from xpyramid.kernels._jit import _one_at_a_time

pytestmark = pytest.mark.slow

#: Adds up ones of a dtype. With a delay, it gives others time to come between the two files that
#: numba writes for each dtype, and waits until all have come.
PROGRAM = """
import json, os, sys, time
import numpy as np
from numba.core.caching import IndexDataCacheFile
from xpyramid import kernels
from xpyramid.reducers.windows import sum_windows

dtypes, delay, here = sys.argv[1].split(","), float(sys.argv[2]), sys.argv[3]
save_index = IndexDataCacheFile._save_index

def slowly(self, overloads):
    time.sleep(delay)
    save_index(self, overloads)

IndexDataCacheFile._save_index = slowly
open(f"{here}/{os.getpid()}.here", "w").close()
until = time.monotonic() + 60
while delay and len([name for name in os.listdir(here) if name.endswith(".here")]) < 2:
    assert time.monotonic() < until, "the other has not come"
    time.sleep(0.01)
sums = [sum_windows(np.ones(8, dtype), (8,), dtype).tolist() for dtype in dtypes]
print(json.dumps([sums, sum(kernels.sums.window_sum.stats.cache_hits.values())]))
"""


def start(cache: Path, dtypes: str, delay: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, dtypes, str(delay), str(cache)]
    environment = {
        **os.environ, "NUMBA_CACHE_DIR": str(cache), "XPYRAMID_KERNELS": "compiled"
    }  # fmt: skip
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result(process: "subprocess.Popen[str]") -> Any:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out)


@pytest.mark.once
def test_processes_that_compile_at_once_do_not_mix_up_dtypes(tmp_path: Path) -> None:
    """int64 and float64 have one size, so that code for the other would run, and be wrong."""
    both = [start(tmp_path, dtype, delay=2) for dtype in ("int64", "float64")]
    assert [result(process) for process in both] == [[[[8]], 0], [[[8.0]], 0]]
    assert result(start(tmp_path, "int64,float64", delay=0)) == [[[8], [8.0]], 2]


@pytest.mark.once
@pytest.mark.parametrize("kind", ["*.nbi", "*.lock"])
def test_a_cache_that_cannot_be_used_is_no_obstacle(tmp_path: Path, kind: str) -> None:
    assert result(start(tmp_path, "int64", delay=0)) == [[[8]], 0]
    assert result(start(tmp_path, "int64", delay=0)) == [[[8]], 1]
    paths = list(tmp_path.rglob(kind))
    assert paths
    for path in paths:
        path.unlink()
        path.mkdir()  # neither to be read nor to be replaced, whoever one is
    assert result(start(tmp_path, "int64", delay=0)) == [[[8]], 0]


@pytest.mark.once
def test_code_that_no_process_finds_again_is_not_kept(tmp_path: Path) -> None:
    program = """
import numba, numpy, xpyramid

first = numba.njit(lambda window: window[0])
print(xpyramid.downsample(numpy.arange(4.0), 2, first)[0].tolist())
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[0.0, 2.0]\n"
    assert list(tmp_path.rglob("*.nbc")) == []


class Cache:
    """What numba keeps compiled code with; its work fails with an error, if there is one."""

    def __init__(self, cache_path: Path, error: Exception | None = None) -> None:
        self.cache_path, self.error, self.calls = str(cache_path), error, 0

    def load_overload(self) -> str:
        self.calls += 1
        if self.error:
            raise self.error
        return "code"

    save_overload = load_overload


@pytest.mark.parametrize("error", [PermissionError(), NotImplementedError(), Timeout("lock")])
def test_without_a_lock_the_cache_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def acquire(_: object) -> None:
        raise error

    cache = Cache(tmp_path)
    _one_at_a_time(cache)
    assert (cache.load_overload(), cache.save_overload(), cache.calls) == ("code", "code", 2)
    monkeypatch.setattr(FileLock, "acquire", acquire)
    assert (cache.load_overload(), cache.save_overload(), cache.calls) == (None, None, 2)


def test_of_numbas_own_errors_those_of_files_are_swallowed(tmp_path: Path) -> None:
    full, broken = Cache(tmp_path, OSError("full")), Cache(tmp_path, NotImplementedError("numba"))
    _one_at_a_time(full)
    _one_at_a_time(broken)
    for _ in range(2):  # the lock is free again each time
        assert full.load_overload() is None
        with pytest.raises(NotImplementedError, match="numba"):
            broken.save_overload()
    with FileLock(tmp_path / "kernels.lock", timeout=0):
        pass
