"""Processes that fork after samples were reduced: workers of DataLoaders, pools, servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here"),
]

#: The parent compiles for one dtype, and children for others, with a cache that is empty.
SCRIPT = """
import multiprocessing, os, sys, warnings
import dask, numpy as np, xarray as xr, xpyramid
dask.config.set(scheduler="sync")  # the threads of dask's own pool stay in the parent
warnings.simplefilter("ignore", DeprecationWarning)  # of forks, where there are threads

def reduced(dtype):
    data = np.arange(64, dtype=dtype).reshape(8, 8)
    levels = xr.DataArray(data, dims=("y", "x")).pyramid.build(levels=2, chunks=8, method="max")
    return levels[1].compute().values.tolist()

def written(number):
    array = xr.DataArray(np.full((8, 8), number, "i2"), dims=("y", "x"), name="field")
    store = {}
    array.pyramid.to_ome_zarr(store, levels=2, chunks=8)
    return int(xpyramid.open_pyramid(store, "field")[1].max())

want = reduced("u2")
written(1)
if sys.argv[1] == "fork":
    child = os.fork()
    if child == 0:
        try:
            assert reduced("i4") == want
            assert written(7) == 7
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(reduced, ["i2", "i4", "u4"], 1) == [want] * 3
    assert pool.map(written, [3, 4], 1) == [3, 4]
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "pool"])
def test_children_compile_and_write(way: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "XPYRAMID_KERNELS": "compiled",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    run = subprocess.run(
        [sys.executable, script, way], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.glob("cache/**/*.nbc")), "nothing was compiled, or nothing kept"
