"""bioio itself, with a plugin for files that can be made here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from xpyramid.errors import SourceError
from xpyramid.sources import describe_source
from xpyramid.sources.bioio_formats import open_with_bioio

pytest.importorskip("bioio_ome_tiff")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(open_with_bioio.__globals__["PLUGINS"], ".tif", "bioio-ome-tiff")
    data = np.arange(2 * 2 * 3 * 32 * 40, dtype="u2").reshape(2, 2, 3, 32, 40)
    about: dict[str, Any] = {
        "axes": "TCZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2,
        "Channel": {"Name": ["DAPI", "GFP"]},
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "scan.ome.tif", data, ome=True, metadata=about)
    array = open_with_bioio(tmp_path / "scan.ome.tif", None)
    assert describe_source(array).startswith("TIF; spacing z 2, y 0.25, x 0.25 ")
    assert array.dims == ("t", "c", "z", "y", "x")
    assert array.c.values.tolist() == ["DAPI", "GFP"]
    np.testing.assert_array_equal(array, data)


def test_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(open_with_bioio.__globals__["PLUGINS"], ".tif", "bioio-ome-tiff")
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(np.zeros((3, 20, 30), "u1"), metadata={"axes": "CYX"})
        file.write(np.ones((24, 26), "u1"), metadata={"axes": "YX"})
    second = open_with_bioio(path, "Image:1")
    assert (second.dims, second.shape, int(second.min())) == (("y", "x"), (24, 26), 1)
    with pytest.warns(UserWarning, match="holds the scenes Image:0, Image:1"):
        assert open_with_bioio(path, None).shape == (3, 20, 30)
    with pytest.raises(SourceError, match="no scene 'Image:2'"):
        open_with_bioio(path, "Image:2")
