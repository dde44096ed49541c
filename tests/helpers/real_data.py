"""Real data that packages ship, so that nothing is downloaded."""

import functools
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import xarray as xr
from matplotlib import cbook

BRAIN = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


@functools.cache
def _brain_file() -> tuple[np.ndarray, np.ndarray]:
    """Return the stored samples (x, y, z) and the affine, without importing nilearn."""
    spec = find_spec("nilearn")
    assert spec is not None
    assert spec.origin is not None
    image = nibabel.load(Path(spec.origin).parent / BRAIN)
    return np.asarray(image.dataobj), image.affine


def mni_brain() -> xr.DataArray:
    """Return the MNI152 template brain: 189 x 233 x 197 voxels of 1 mm, uint8, dims (z, y, x)."""
    stored, affine = _brain_file()
    assert stored.dtype == "u1"
    coords = {
        dim: ("xyz"[i], affine[i, 3] + affine[i, i] * np.arange(n), {"units": "mm"})
        for i, (dim, n) in enumerate(zip("xyz", stored.shape, strict=True))
    }
    return xr.DataArray(
        np.ascontiguousarray(stored.T),
        {dim: coords[dim] for dim in "zyx"},
        dims=("z", "y", "x"),
        name="brain",
        attrs={"long_name": "MNI152 T1 template"},
    )


def terrain() -> xr.DataArray:
    """Return an elevation model of 344 x 403 int16 metres, dims (lat, lon), north at the top."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as dem:
        elevation = dem["elevation"]
        top, left = float(dem["ymin"]), float(dem["xmin"])  # the file calls its first row ymin
        dy, dx = float(dem["dy"]), float(dem["dx"])
    rows, columns = elevation.shape
    return xr.DataArray(
        elevation,
        {
            "lat": ("lat", top - dy * (np.arange(rows) + 0.5), {"units": "degrees_north"}),
            "lon": ("lon", left + dx * (np.arange(columns) + 0.5), {"units": "degrees_east"}),
        },
        dims=("lat", "lon"),
        name="elevation",
        attrs={"units": "m", "standard_name": "surface_altitude"},
    )
