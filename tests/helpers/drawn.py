"""Images that are told by their pictures: three patches, of which colours and places are known."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from PIL import Image

#: Where the patches are, as parts of the whole image from its upper left: (y, x).
PATCHES = {"red": (0.25, 0.2), "green": (0.25, 0.8), "blue": (0.75, 0.5)}
RGB = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}

SIZES = {"z": 16, "y": 240, "x": 320}
SPACING = 0.5  # micrometres
ORIGIN = {"z": 0.0, "y": 30.0, "x": -40.0}


def _within(colour: str, radius: float = 0.12) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where a patch is, as (y, x)."""
    y, x = (np.arange(SIZES[dim]) / SIZES[dim] for dim in "yx")
    of_y, of_x = PATCHES[colour]
    return (abs(y[:, None] - of_y) < radius) & (abs(x - of_x) < radius)


def _coords(dims: str) -> dict[str, Any]:
    return {
        dim: (dim, ORIGIN[dim] + SPACING * np.arange(SIZES[dim]), {"units": "um"}) for dim in dims
    }


def channels() -> xr.DataArray:
    """Return three channels, a patch in each."""
    samples = np.stack([1000 * _within(colour) for colour in PATCHES]).astype("u2")
    coords = {"c": ["DAPI", "GFP", "RFP"], **_coords("yx")}
    return xr.DataArray(samples, coords, ("c", "y", "x"), "scan")


def grey() -> xr.DataArray:
    """Return an image of a dark grey."""
    samples = np.full((SIZES["y"], SIZES["x"]), 60, "u1")
    return xr.DataArray(samples, _coords("yx"), ("y", "x"), "scan")


def cells() -> xr.DataArray:
    """Return labels of that image, each with a colour."""
    samples = sum(i * _within(colour) for i, colour in enumerate(PATCHES, 1))
    colours = [
        {"label-value": i, "rgba": [*RGB[colour], 255]} for i, colour in enumerate(PATCHES, 1)
    ]
    attrs = {"image-label": {"colors": colours}}
    return xr.DataArray(np.asarray(samples, "u4"), _coords("yx"), ("y", "x"), "cells", attrs)


def volume() -> xr.DataArray:
    """Return a volume with a patch in the slices of its middle."""
    samples = np.zeros(tuple(SIZES.values()), "u1")
    samples[4:12, _within("green")] = 200
    return xr.DataArray(samples, _coords("zyx"), ("z", "y", "x"), "scan")


def grid() -> xr.DataArray:
    """Return a map with land without values: 1 in a patch in the north-east, else 0."""
    samples = np.zeros((SIZES["y"], SIZES["x"]), "f4")
    samples[_within("green")] = 1
    samples[_within("red")] = np.nan
    latitude = 60 - 0.25 * np.arange(SIZES["y"])
    longitude = -40 + 0.25 * np.arange(SIZES["x"])
    coords = {
        "lat": ("lat", latitude, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", longitude, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    return xr.DataArray(samples, coords, ("lat", "lon"), "t2m", {"units": "K"})


#: As EPSG:4326 is written in a CF grid mapping.
_WGS_84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)

_COLOURS: dict[str, Any] = {
    "omero": {"colors": ["red", "lime", "blue"], "windows": [(0, 1000)] * 3}
}


def write_drawn(path: Path, kind: str, **options: Any) -> Path:
    """Write the image of a kind into a store, and return where it is."""
    options = {"chunks": 64, "levels": 3, **options}
    if kind == "labels":
        grey().pyramid.to_ome_zarr(path, **options, omero={"windows": [(0, 255)]})
        cells().pyramid.to_ome_zarr(path, labels_of="scan", **options)
    elif kind == "volume":
        sharded = {"shards": {"z": 16, "y": 128, "x": 128}, "chunks": {"z": 8, "y": 64, "x": 64}}
        volume().pyramid.to_ome_zarr(path, **{**options, **sharded}, omero={"windows": [(0, 200)]})
    elif kind == "map":
        image = grid()
        if options.pop("crs", None):
            image = image.assign_coords(spatial_ref=((), 0, {"crs_wkt": _WGS_84}))
        image.pyramid.to_ome_zarr(path, **options)
    else:
        channels().pyramid.to_ome_zarr(path, **options, **_COLOURS)
    return path / options.get("group", "t2m" if kind == "map" else "scan")


class Patch(NamedTuple):
    """Where there are pixels of a colour: their centre (y, x) and how many of all they are."""

    y: float
    x: float
    part: float


def patches(picture: bytes, colours: Mapping[str, tuple[int, int, int]]) -> dict[str, Patch]:
    """Return which of some colours there are in a picture (PNG), and where."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    found = {}
    for name, colour in colours.items():
        is_near = (abs(pixels - colour) < 60).all(-1)
        if is_near.any():
            y, x = (float(np.median(places)) for places in np.nonzero(is_near))
            found[name] = Patch(y, x, float(is_near.mean()))
    return found


def check_places(found: Mapping[str, Patch]) -> None:
    """Fail where patches are missing, are of other sizes, or lie elsewhere to each other."""
    assert set(found) == set(PATCHES), found
    red, green, blue = (found[colour] for colour in PATCHES)
    across, down = green.x - red.x, blue.y - red.y
    assert across > 20
    assert down > 15
    assert abs(green.y - red.y) < 0.05 * across
    assert abs((red.x + green.x) / 2 - blue.x) < 0.05 * across
    # As far as they are in the image, of which samples are squares.
    assert abs(across / down - (0.6 * SIZES["x"]) / (0.5 * SIZES["y"])) < 0.15
    sizes = [patch.part for patch in found.values()]
    assert max(sizes) < 1.5 * min(sizes)
