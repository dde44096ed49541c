"""Labels inside the image that they are of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors


def image(path: Path, version: str = "0.5", levels: int = 3) -> None:
    array = xr.DataArray(np.ones((40, 30), "u2"), dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(path, levels=levels, version=version)


def cells(**attrs: Any) -> xr.DataArray:
    values = np.arange(1200, dtype="i4").reshape(40, 30) // 100
    return xr.DataArray(values, dims=("y", "x"), name="cells", attrs=attrs)


def ome(path: Path, group: str) -> dict[str, Any]:
    attrs = dict(zarr.open_group(path, path=group, mode="r").attrs)
    found: dict[str, Any] = attrs.get("ome", attrs)  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_labels_are_listed(tmp_path: Path, version: str) -> None:
    """They get the image's number of levels, and are found by who opens the image."""
    image(tmp_path, version)
    cells().pyramid.to_ome_zarr(tmp_path, labels_of="field", version=version, method="mode")
    cells().pyramid.to_ome_zarr(tmp_path, "deep/er", labels_of="field", version=version)
    assert ome(tmp_path, "field/labels")["labels"] == ["cells", "deep/er"]
    assert ome(tmp_path, "field/labels").get("version", "0.4") == version
    assert ome(tmp_path, "field/labels/cells")["image-label"] == {
        "version": version,
        "source": {"image": "../../"},
    }
    assert ome(tmp_path, "field/labels/deep/er")["image-label"]["source"]["image"] == "../../../"
    back = xpyramid.open_pyramid(tmp_path, "field/labels/cells")
    assert (len(back), back.method) == (3, "mode")
    assert xpyramid.open_pyramid(tmp_path, "field/labels/deep/er").method == "mode"  # by default
    np.testing.assert_array_equal(back[0], cells())
    assert len(xpyramid.open_pyramid(tmp_path, "field")) == 3
    with xr.open_datatree(tmp_path / "field", engine="zarr") as tree:  # consolidated again
        assert tree["labels/cells/2/cells"].shape == (10, 8)


def test_colours_and_names(tmp_path: Path) -> None:
    image(tmp_path)
    red = {"label-value": 2, "rgba": [255, 0, 0, 255]}
    flags = {"flag_values": np.array([0, 1]), "flag_meanings": "background cell"}
    array = cells(**flags, **{"image-label": {"colors": [red]}})
    array.pyramid.to_ome_zarr(tmp_path, labels_of="field")
    found = ome(tmp_path, "field/labels/cells")["image-label"]
    assert found["properties"] == [
        {"label-value": 0, "name": "background"},
        {"label-value": 1, "name": "cell"},
        {"label-value": 2},
    ]
    assert [color["label-value"] for color in found["colors"]] == [0, 1, 2]
    assert found["colors"][0]["rgba"] == [0, 0, 0, 0]
    assert found["colors"][1]["rgba"][3] == 255
    assert found["colors"][2] == red


@pytest.mark.parametrize(
    ("array", "options", "error", "message"),
    [
        (cells().astype("f4"), {}, errors.DtypeError, "labels of dtype float32; accepted: int"),
        (cells() > 3, {}, errors.DtypeError, "labels of dtype bool"),
        (cells(), {"levels": 2}, errors.PlanError, "2 levels of labels, and .*field has 3"),
        (cells(), {"version": "0.6"}, errors.PlanError, "which is 0.5; pass version='0.5'"),
        (cells(), {"labels_of": "other"}, errors.NotAPyramidError, "where no OME-Zarr image is"),
        (cells(), {"labels_of": "../x"}, errors.InvalidNameError, "'..'"),
        (
            cells(**{"image-label": {"colors": [{"rgba": [1, 2, 3, 4]}]}}),
            {},
            errors.AttributeValueError,
            r"attrs\['image-label'\]\['colors'\]",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_refused(
    tmp_path: Path, array: xr.DataArray, options: Any, error: type[Exception], message: str
) -> None:
    image(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    options = {"labels_of": "field", "levels": 3} | options
    levels = options.pop("levels")
    method = "mean" if array.dtype == "f4" else "mode"
    with pytest.raises(error, match=message):
        array.pyramid.build(levels=levels, method=method).to_ome_zarr(tmp_path, **options)
    assert sorted(tmp_path.rglob("*")) == before
