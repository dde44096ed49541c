"""GRIB files, through cfgrib; in processes of their own: eccodes and rasterio crash together."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpyramid

if importlib.util.find_spec("cfgrib") is None:
    pytest.skip("pip install 'xpyramid[grib]'", allow_module_level=True)

#: Three hours of temperatures on a grid of 2 degrees, from the north to the south.
SAVE = """
import eccodes, numpy
about = {
    "shortName": "2t", "dataDate": 20200101, "Ni": 31, "Nj": 16, "bitsPerValue": 24,
    "latitudeOfFirstGridPointInDegrees": 60, "longitudeOfFirstGridPointInDegrees": 0,
    "latitudeOfLastGridPointInDegrees": 30, "longitudeOfLastGridPointInDegrees": 60,
    "iDirectionIncrementInDegrees": 2, "jDirectionIncrementInDegrees": 2,
}
values = numpy.load("values.npy")
with open("era5.grib", "wb") as file:
    for hour in range(3):
        message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
        for key, value in {**about, "dataTime": 100 * hour}.items():
            eccodes.codes_set(message, key, value)
        eccodes.codes_set_values(message, values[hour].ravel())
        eccodes.codes_write(message, file)
"""


def test_grib(tmp_path: Path) -> None:
    values = 270 + np.arange(3 * 16 * 31).reshape(3, 16, 31) / 8
    np.save(tmp_path / "values.npy", values)
    subprocess.run([sys.executable, "-c", SAVE], cwd=tmp_path, check=True)
    command = ["-m", "xpyramid", "build", "era5.grib", "out.zarr", "--levels", "2"]
    built = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert built.stdout.splitlines()[0] == (
        "era5.grib: GRIB; spacing time 3600 second, latitude -2 degrees_north, "
        "longitude 2 degrees_east; origin latitude 60"
    )
    base = xpyramid.open_pyramid(tmp_path / "out.zarr/t2m")[0]
    np.testing.assert_allclose(base, values, atol=1e-3)
    assert base.latitude.values[:2].tolist() == [60, 58]
    assert base.time.values[1] == np.datetime64("2020-01-01T01")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"values.npy", "era5.grib", "out.zarr"}  # and no index
