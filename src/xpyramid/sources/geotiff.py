"""GeoTIFF files, through rioxarray: coordinates, reference system, names of bands, missing data."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from xpyramid.errors import SourceError


def open_geotiff(path: Path, *, is_photograph: bool) -> xr.DataArray:
    """Open a GeoTIFF, whose bands are ``band``, lazily.

    Parameters
    ----------
    path : Path
    is_photograph : bool
        Whether its first bands are red, green and blue.

    Raises
    ------
    SourceError
        For files that hold several data sets.
    """
    import rioxarray  # noqa: PLC0415  # optional

    array = rioxarray.open_rasterio(path, cache=False)
    if not isinstance(array, xr.DataArray):
        raise SourceError(f"{str(path)!r} holds several data sets", accepted="one")
    if array.rio.crs is not None:
        array = array.rio.write_coordinate_system()  # units and axes of the coordinates
    attrs = dict(array.attrs)
    # Packed numbers stay as they are, with the attributes by which xarray unpacks them.
    for name, nothing in (("scale_factor", 1), ("add_offset", 0)):
        if attrs.get(name) == nothing:
            del attrs[name]
    if attrs.get("_FillValue") != attrs.get("_FillValue"):  # NaN, which is missing anyway
        del attrs["_FillValue"]
    names = attrs.get("long_name")
    if isinstance(names, tuple | list):
        del attrs["long_name"]
    array.attrs = attrs
    array.encoding["format"] = "GeoTIFF"
    if array.sizes["band"] == 1:
        return array.squeeze("band", drop=True)
    if isinstance(names, tuple | list) and len({*filter(None, names)}) == array.sizes["band"]:
        return array.assign_coords(band=list(names))
    if is_photograph and array.sizes["band"] in (3, 4):
        return array.assign_coords(band=["red", "green", "blue", "alpha"][: array.sizes["band"]])
    return array
