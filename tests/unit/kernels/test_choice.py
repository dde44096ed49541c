"""When kernels are compiled, and when NumPy does their work."""

import importlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpyramid
from xpyramid.kernels import choice
from xpyramid.kernels.choice import Kernel


def run(code: str, cache: Path, **environment: str) -> str:
    """Run a program with an empty cache of compiled code."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_small_images_need_neither_numba_nor_distributed(tmp_path: Path) -> None:
    code = """
import numpy as np, xarray as xr, xpyramid
sys.modules["numba"] = None
data = np.arange(256 * 256, dtype="u2").reshape(256, 256)
pyramid = xr.DataArray(data, dims=("y", "x"), name="field").pyramid.build(levels=3)
pyramid.to_ome_zarr("out.zarr")
print(xpyramid.verify("out.zarr", deep=True), "distributed" in sys.modules, int(pyramid[1].max()))
"""
    os.makedirs(tmp_path / "work")
    out = run(f"import os\nos.chdir({str(tmp_path / 'work')!r})\n{code}", tmp_path)
    assert out == "[] False 65406\n"


def sums(kernel: Any, samples: int, dtype: str = "u1") -> Any:
    """Call the kernel of sums of two samples; return what it has filled."""
    out = np.zeros((1, 1, 1, samples // 2), "i8")
    src = np.ones((1, 1, 1, samples), dtype)
    kernel(src, 1, 1, 2, None, np.empty(samples, "i8"), out)
    return out


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packages that kernels of this test were looked for in; the thread has begun nothing."""
    found: list[str] = []
    find = Kernel._find

    def watched(kernel: Kernel, package: str) -> Any:
        found.append(package.rpartition(".")[2])
        return find(kernel, package)

    monkeypatch.setattr(Kernel, "_find", watched)
    monkeypatch.setattr(choice, "_begun", {})
    monkeypatch.setattr(choice, "_is_much", False)  # an earlier test may have had more to do
    return found


def test_what_is_expected_to_be_much_is_compiled_beside_from_the_first_call(
    ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Kernel] = []
    over = choice.Begun(threading.Event(), 0)
    monkeypatch.setattr(choice, "compile_beside", lambda kernel, *_: begun.append(kernel) or over)
    kernel = Kernel("sums", "window_sum")
    choice.expect(choice.MUCH)
    sums(kernel, 8)
    assert not begun
    choice.expect(choice.MUCH + 1)
    sums(kernel, 8)
    assert begun == [kernel]
    choice.expect(1)  # what has begun goes on
    sums(kernel, 8)
    assert len(begun) == 2
    assert ways == ["plain"] * 3


def test_where_there_is_much_a_kernel_that_only_has_to_be_loaded_is_waited_for(
    ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_is_much", True)
    monkeypatch.setattr(choice, "MOMENT", 60)
    assert (sums(Kernel("sums", "window_sum"), 8) == 2).all()
    assert ways == ["kernels"]


def test_where_there_is_much_a_kernel_that_takes_longer_is_not_waited_for(
    ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, compiled = threading.Event(), Kernel.compile

    def slowly(*args: Any) -> Any:
        may_end.wait(60)
        return compiled(*args)

    monkeypatch.setattr(Kernel, "compile", slowly)
    monkeypatch.setattr(choice, "_is_much", True)
    kernel = Kernel("sums", "window_sum")
    for _ in range(2):
        assert (sums(kernel, 8) == 2).all()
    assert ways == ["plain"] * 2
    may_end.set()
    until = time.monotonic() + 60
    while "kernels" not in ways or "xpyramid-compiler" in map(thread_name, threading.enumerate()):
        assert time.monotonic() < until
        assert (sums(kernel, 8) == 2).all()


def test_a_call_that_would_take_long_waits(
    ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "AT_ONCE", choice.CALL + 101 * choice.SAMPLE)
    kernel = Kernel("sums", "window_sum")
    assert (sums(kernel, 100) == 2).all()
    assert ways == ["plain"]
    assert (sums(kernel, 102) == 2).all()
    assert (sums(kernel, 8) == 2).all()  # it is there already
    assert ways == ["plain", "kernels"]
    sums(kernel, 8, "u2")  # for this dtype it is not
    assert ways == ["plain", "kernels", "plain"]


def test_much_work_in_small_pieces_is_compiled_beside(
    ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "BESIDE", 3.5 * choice.CALL)
    kernel = Kernel("sums", "window_sum")
    for _ in range(3):
        sums(kernel, 2)
    assert ways == ["plain"] * 3
    until = time.monotonic() + 60
    while "kernels" not in ways or "xpyramid-compiler" in map(thread_name, threading.enumerate()):
        assert time.monotonic() < until
        assert (sums(kernel, 2) == 2).all()
    assert ways.count("kernels") == 1
    known = len(ways)
    sums(kernel, 2)
    assert len(ways) == known  # compiled


def thread_name(thread: threading.Thread) -> str:
    return thread.name


@pytest.mark.usefixtures("ways")
def test_what_cannot_be_compiled_beside_goes_on_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(choice, "BESIDE", 0)
    monkeypatch.setattr(Kernel, "compile", broken)
    kernel = Kernel("sums", "window_sum")
    for _ in range(3):
        assert (sums(kernel, 4) == 2).all()
    monkeypatch.setattr(choice, "AT_ONCE", 0)
    with pytest.raises(RuntimeError, match="no compiler"):
        sums(kernel, 4)


COMPILES_BESIDE = """
import os, threading, time
import numpy as np
from xpyramid.kernels import choice
from xpyramid.reducers.windows import sum_windows
choice.BESIDE = 0
def sums(dtype):
    return sum_windows(np.ones(8, dtype), (8,), dtype).tolist()
def is_compiling():
    return "xpyramid-compiler" in [thread.name for thread in threading.enumerate()]
for dtype in ("u1", "u2", "f4", "f8"):
    sums(dtype)
assert is_compiling()
"""


@pytest.mark.slow
@pytest.mark.once
def test_a_process_may_end_while_kernels_are_compiled(tmp_path: Path) -> None:
    """What has begun is waited for, and nothing more begins."""
    assert run(COMPILES_BESIDE + "print(sums('i8'))", tmp_path) == "[8]\n"
    assert len(list(tmp_path.rglob("*.nbi"))) <= 1
    assert len(list(tmp_path.rglob("*.nbc"))) < 4


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_process_may_fork_while_kernels_are_compiled(tmp_path: Path) -> None:
    """The child can compile, too: nobody who is not there holds a lock of numba's."""
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks, where there are threads
time.sleep(0.2)
child = os.fork()
if child == 0:
    choice.way = "compiled"
    ok = sums("i4") == [8] and not is_compiling()
    os._exit(0 if ok else 1)
print(os.waitpid(child, 0)[1], sums("i4"))
"""
    assert run(COMPILES_BESIDE + code, tmp_path) == "0 [8]\n"


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize(("way", "loaded"), [("numpy", False), ("compiled", True)])
def test_one_way_can_be_asked_for(tmp_path: Path, way: str, loaded: bool) -> None:
    code = """
import numpy as np
from xpyramid import downsample
from xpyramid.kernels import choice
choice.BESIDE = choice.AT_ONCE = 0
downsample(np.ones(8, "u1"), 2, "min")
print("xpyramid.kernels.extremes" in sys.modules)
"""
    assert run(code, tmp_path, XPYRAMID_KERNELS=way) == f"{loaded}\n"


def test_what_is_read_counts_also_where_level_0_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(importlib.import_module("xpyramid.engine.run"), "expect", seen.append)
    base = xpyramid.example_field((24, 40), 16, "uint16").drop_vars(["y", "x"])
    base.to_dataset(name="0").to_zarr(tmp_path / "scan.zarr", consolidated=False)
    xpyramid.add_levels(tmp_path / "scan.zarr", levels=2)
    assert seen == [24 * 40 * 2]
