"""``xpyramid warm``: what it compiles, later processes find."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xpyramid.cli.main import main

#: Builds of small and large blocks; prints how many kernels had to be compiled.
BUILD = """
import importlib, sys
import numpy as np, xarray as xr, xpyramid
from xpyramid import downsample
for method in sys.argv[1].split(","):
    for shape, chunks in (((40, 50, 60), 32), ((3000, 3001), 4096)):
        array = xr.DataArray(np.ones(shape, "u1"), dims=("z", "y", "x")[-len(shape):], name="field")
        for levels in (2, 4):
            pyramid = array.pyramid.build(levels=levels, method=method, kind="image", chunks=chunks)
            pyramid.to_ome_zarr({})
        downsample(array.values, 3, method, num_mips=2)
kernels = [
    kernel
    for room in ("extremes", "labels", "moments", "sums", "twos", "values")
    for kernel in vars(importlib.import_module(f"xpyramid.kernels.{room}")).values()
    if hasattr(kernel, "stats")
]
print(sum(sum(k.stats.cache_misses.values()) for k in kernels))
print(sum(sum(k.stats.cache_hits.values()) for k in kernels))
"""


@pytest.mark.slow
@pytest.mark.once
def test_what_is_compiled_beforehand_is_found(tmp_path: Path) -> None:
    methods = "mean,mode,max,std"
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "XPYRAMID_KERNELS": "compiled",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "xpyramid", "warm", "--dtype", "uint8", "--method", methods]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"kept in {tmp_path}" in done.stdout
    built = subprocess.run(
        [sys.executable, "-c", BUILD, methods],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    misses, hits = map(int, built.stdout.split())
    assert misses == 0
    assert hits > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtype", "unit8"], "'unit8'; accepted: names of NumPy's, as in uint8,float32"),
        (["--dtype", "U5"], "'U5'; accepted: numbers"),
        (["--method", "average"], "'average'; accepted: count, max, mean, "),
        (["--method", "average"], "did you mean 'mean'?"),
    ],
)
def test_what_there_is_not(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["warm", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_what_has_no_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm", "--dtype", "float32", "--method", "mode"]) == 0
    assert "mode of float32: there is no such reduction" in capsys.readouterr().out
