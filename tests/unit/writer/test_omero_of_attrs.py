"""``attrs["omero"]`` of an array says how its channels are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid

BLUE = {"label": "DAPI", "color": "0000FF"}
GREEN = {
    "label": "GFP",
    "color": "00FF00",
    "window": {"min": 0, "start": 2, "end": 40, "max": 255},
}
CELLS = xr.DataArray(
    np.arange(2 * 8 * 8, dtype="u1").reshape(2, 8, 8),
    dims=("c", "y", "x"),
    coords={"c": ["DAPI", "GFP"]},
    name="cells",
    attrs={"omero": {"channels": [BLUE, GREEN], "rdefs": {"defaultZ": 3}}, "stain": "both"},
)


def written(array: xr.DataArray, path: Path, **options: Any) -> Any:
    """Write an image; return its ``omero`` metadata, after a look at the array's attributes."""
    array.pyramid.to_ome_zarr(path, levels=2, layout="arrays", **options)
    stored = zarr.open_group(path / "cells", mode="r")
    assert "omero" not in stored["0"].attrs
    assert stored["0"].attrs.get("stain") == "both"
    ome: Any = stored.attrs.get("ome", stored.attrs)
    return ome.get("omero")


def shown(omero: Any) -> list[tuple[str, str]]:
    return [(one["label"], one["color"]) for one in omero["channels"]]


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_it_is_written_once(tmp_path: Path, version: str) -> None:
    omero = written(CELLS, tmp_path, version=version)
    assert shown(omero) == [("DAPI", "0000FF"), ("GFP", "00FF00")]
    assert omero["channels"][1]["window"] == GREEN["window"]
    assert omero["channels"][0]["window"]["max"] == 63  # is not said: from the data
    assert omero["rdefs"] == {"defaultZ": 3}


def test_channels_are_told_by_their_names(tmp_path: Path) -> None:
    assert shown(written(CELLS[::-1], tmp_path / "a")) == [("GFP", "00FF00"), ("DAPI", "0000FF")]
    assert shown(written(CELLS[1:], tmp_path / "b")) == [("GFP", "00FF00")]
    assert shown(written(CELLS.sel(c="GFP"), tmp_path / "c")) == [("GFP", "00FF00")]


def test_channels_without_names_are_told_by_their_position(tmp_path: Path) -> None:
    omero = written(CELLS.drop_vars("c"), tmp_path)
    assert shown(omero) == [("DAPI", "0000FF"), ("GFP", "00FF00")]


def test_what_is_of_no_channels_is_said(tmp_path: Path) -> None:
    other = xr.concat([CELLS, CELLS[:1].assign_coords(c=["RFP"])], "c")
    with pytest.warns(UserWarning, match="has the channels DAPI, GFP, and the array DAPI, GFP, RF"):
        omero = written(other, tmp_path)
    assert [label for label, _ in shown(omero)] == ["DAPI", "GFP", "RFP"]


def test_what_is_asked_for_counts_more(tmp_path: Path) -> None:
    assert written(CELLS, tmp_path / "none", omero=False) is None
    colours = written(CELLS, tmp_path / "own", omero={"colors": ["FF0000", "FFFF00"]})
    assert shown(colours) == [("DAPI", "FF0000"), ("GFP", "FFFF00")]


def test_another_attribute_of_that_name_stays(tmp_path: Path) -> None:
    array = CELLS.assign_attrs(omero="a server of images")
    array.pyramid.to_ome_zarr(tmp_path, levels=2)
    assert xpyramid.open_pyramid(tmp_path / "cells")[0].attrs["omero"] == "a server of images"
