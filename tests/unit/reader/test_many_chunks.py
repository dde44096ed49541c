"""Images with more chunks than can be listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.reader import own_levels
from xpyramid.store import flat_layout


@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_chunks_are_joined(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = xr.DataArray(
        np.arange(4800, dtype="f4").reshape(80, 60), dims=("y", "x"), name="field",
        coords={"y": np.arange(80) * 0.5}, attrs={"_FillValue": 3.0, "note": "mine"},
    )  # fmt: skip
    array.pyramid.build(levels=2, chunks=4).to_ome_zarr(tmp_path / "s.zarr", layout=layout)
    usual = xpyramid.open_pyramid(tmp_path / "s.zarr", "field", chunks={})
    monkeypatch.setattr(own_levels, "MAX_OWN_BLOCKS", 10)
    monkeypatch.setattr(flat_layout, "_MAX_BLOCKS", 10)
    for level, expected in zip(
        xpyramid.open_pyramid(tmp_path / "s.zarr", "field", chunks={}), usual, strict=True
    ):
        assert np.prod(level.data.numblocks) <= 10 < np.prod(expected.data.numblocks)
        xr.testing.assert_identical(level.compute(), expected.compute())


def test_a_shape_that_somebody_has_changed(tmp_path: Path) -> None:
    array = xr.DataArray(np.ones((8, 8)), dims=("y", "x"), name="field", coords={"x": range(8)})
    array.pyramid.build(levels=1, chunks=4).to_ome_zarr(tmp_path / "s.zarr")
    place = tmp_path / "s.zarr/field/0/field/zarr.json"
    document = json.loads(place.read_text())
    place.write_text(json.dumps({**document, "shape": [8, 3 * 10**9]}))
    with pytest.raises(errors.NotAPyramidError):
        xpyramid.open_pyramid(tmp_path / "s.zarr", "field")
