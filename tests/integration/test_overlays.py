"""Images on an overlay of two disks, as containers have them: what is below cannot be renamed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="no overlays")]

#: The exit code of a script that could not mount anything.
SKIP = 77

SCRIPT = f"""
import os, subprocess, sys
from pathlib import Path
import numpy as np, xarray as xr, xpyramid

disk = Path(sys.argv[1])

def mount(*arguments):
    if subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode:
        sys.exit({SKIP})

def write(value, name, **options):
    array = xr.DataArray(np.full((8, 8), value, "u2"), dims=("y", "x"), name=name)
    array.pyramid.to_ome_zarr(out, levels=2, chunks=4, **options)

def check(value, name):
    assert (xpyramid.open_pyramid(out, name)[1] == value).all()

mount("-t", "tmpfs", "tmpfs", disk)
for name in ("lower", "upper", "work", "merged"):
    (disk / name).mkdir()
out = disk / "lower/out.zarr"
write(1, "field")
(out / "field/notes.txt").write_text("mine")
layers = f"lowerdir={{disk}}/lower,upperdir={{disk}}/upper,workdir={{disk}}/work,userxattr"
mount("-t", "overlay", "overlay", "-o", layers, disk / "merged")
out = disk / "merged/out.zarr"
check(1, "field")
try:
    os.rename(out / "field", out / "other")
except OSError:
    pass
else:
    sys.exit({SKIP})  # this kernel can, or redirects
write(2, "field", mode="w")
check(2, "field")
write(3, "new")
write(4, "new", mode="w")
check(4, "new")
assert (out / "field/notes.txt").read_text() == "mine"
assert not xpyramid.verify(out, deep=True)
assert not list(out.glob(".*"))
"""


@pytest.mark.slow
def test_an_image_of_a_lower_layer_is_replaced(tmp_path: Path) -> None:
    command = ["unshare", "-rm", sys.executable, "-c", SCRIPT, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if run.returncode == SKIP or run.stderr.startswith("unshare:"):
        pytest.skip("nobody but an administrator can mount an overlay here")
    assert run.returncode == 0, run.stderr
