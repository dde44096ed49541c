"""GDAL finds the place and the reference system of every level, through rasterio."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

rasterio = pytest.importorskip("rasterio", reason="pip install rasterio")
pytest.importorskip("rioxarray", reason="pip install rioxarray")

#: GDAL 3.10 opens Zarr v2 alone.
VERSIONS = [("0.4", (3, 10)), ("0.5", (3, 12)), ("0.6", (3, 12))]
GDAL = tuple(map(int, rasterio.__gdal_version__.split(".")[:2]))

#: Of each map: its dimensions, the first centres, the steps, and its reference system.
MAPS: dict[str, Any] = {
    "degrees": (("lat", "lon"), (50.0, 5.0), (-0.5, 0.5), 4326),
    "names in full": (("latitude", "longitude"), (50.0, 5.0), (-0.5, 0.5), 4326),
    "metres": (("y", "x"), (8995.0, 505.0), (-10.0, 10.0), 32631),
    "over time": (("time", "lat", "lon"), (50.0, 5.0), (-0.5, 0.5), 4326),
}


def written(path: Path, case: str, **options: Any) -> xr.DataArray:
    dims, starts, steps, epsg = MAPS[case]
    lines = [start + step * np.arange(n) for start, step, n in zip(starts, steps, (40, 61))]  # noqa: B905
    values = np.arange(40 * 61, dtype="f4").reshape((1,) * (len(dims) - 2) + (40, 61))
    coords = dict(zip(dims[-2:], lines, strict=True))
    array = xr.DataArray(values, coords, dims, "height")
    array = array.rio.set_spatial_dims(dims[-1], dims[-2]).rio.write_crs(epsg)
    array.spatial_ref.attrs.pop("GeoTransform", None)
    array.pyramid.to_ome_zarr(path, levels=3, **options)
    return array


@pytest.mark.parametrize("names", ["ome", "source"])
@pytest.mark.parametrize("case", MAPS)
@pytest.mark.parametrize(("version", "least"), VERSIONS)
def test_levels_are_located(
    tmp_path: Path, case: str, names: str, version: str, least: tuple[int, int]
) -> None:
    if least > GDAL:
        pytest.skip(f"GDAL {rasterio.__gdal_version__} does not read this format")
    _, (top, left), (down, across), epsg = MAPS[case]
    conventions = [] if version == "0.4" else ["geozarr"]
    array = written(tmp_path, case, names=names, version=version, conventions=conventions)
    for k, factor in enumerate((1, 2, 4)):
        with rasterio.open(f'ZARR:"{tmp_path}/height/{k}":/height') as level:
            assert level.crs.to_epsg() == epsg
            corner = (left - across / 2, top - down / 2)
            expected = (across * factor, 0, corner[0], 0, down * factor, corner[1])
            np.testing.assert_allclose(level.transform[:6], expected, rtol=1e-9)
            assert level.shape == (-(-40 // factor), -(-61 // factor))
            if k == 0:
                np.testing.assert_array_equal(level.read(1), array.values.reshape(40, 61))


@pytest.mark.parametrize("case", MAPS)
def test_plain_xarray_selects_in_a_map_by_its_own_names(tmp_path: Path, case: str) -> None:
    (*_, y, x), (top, left), (down, across), _ = MAPS[case]
    written(tmp_path, case, conventions=["geozarr"])
    level = xr.open_zarr(tmp_path / "height/1", decode_coords="all").height
    at = {y: top + down / 2, x: left + across / 2}  # the middle of the first four cells
    assert float(level.sel(at).squeeze()) == np.mean([0, 1, 61, 62])
