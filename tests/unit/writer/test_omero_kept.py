"""What a stored image says of its channels, or labels, is written again with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import xpyramid

Json = dict[str, Any]

GREEN = {
    "label": "tubulin",
    "color": "00FF00",
    "active": False,
    "coefficient": 1.5,
    "window": {"min": 0, "max": 65535, "start": 120, "end": 4000.5},
}
RED = {**GREEN, "label": "actin", "color": "FF0000"}

versions = pytest.mark.parametrize("version", ["0.4", "0.5"])


def foreign(path: Path, version: str, omero: Any, dims: str = "cyx") -> xpyramid.Pyramid:
    """Open an image of two levels as somebody else would write it."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    types = {"c": "channel", "y": "space", "x": "space"}
    image: Json = {"axes": [{"name": dim, "type": types[dim]} for dim in dims], "datasets": []}
    for k in (0, 1):
        data = np.arange(2 * 16 * 16 >> 2 * k, dtype="u2").reshape(2, 16 >> k, 16 >> k)
        group.create_array(str(k), data=data[0] if dims == "yx" else data)
        scale = [1] * (len(dims) - 2) + [2**k] * 2
        transforms = [{"type": "scale", "scale": scale}]
        image["datasets"].append({"path": str(k), "coordinateTransformations": transforms})
    ome = {"version": version, "multiscales": [image], "omero": omero}
    group.attrs.update(ome if version == "0.4" else {"ome": ome})
    return xpyramid.open_pyramid(path)


def written(p: xpyramid.Pyramid, path: Path, version: str, **options: Any) -> Json | None:
    """Return the metadata after writing it again."""
    p.to_ome_zarr(path, "again", version=version, **options)
    again = xpyramid.open_pyramid(path, "again")
    found: Json | None = again.metadata.get("omero")
    return found


@versions
def test_all_that_is_said_is_kept(tmp_path: Path, version: str) -> None:
    rdefs = {"model": "greyscale", "defaultZ": 3}
    omero = {"id": 1, "version": "0.4", "channels": [GREEN, RED], "rdefs": rdefs}
    p = foreign(tmp_path / "a.zarr", version, omero)
    for other in ("0.4", "0.5", "0.6"):
        found = written(p, tmp_path / other, other)
        given = {"family": "linear", "inverted": False}  # which was left out
        assert found == {"channels": [given | GREEN, given | RED], "rdefs": rdefs}
        assert list(xpyramid.open_pyramid(tmp_path / other, "again").levels[0].c) == [
            "tubulin",
            "actin",
        ]


@versions
def test_what_is_missing_comes_from_the_data(tmp_path: Path, version: str) -> None:
    bad = {"label": "", "color": "red", "window": {"start": 1, "end": float("1e300")}}
    huge = {"label": 7, "color": "#0000ff", "window": {**GREEN["window"], "max": 10**400}}
    found = written(
        foreign(tmp_path / "a.zarr", version, {"channels": [bad, huge]}), tmp_path / "b", version
    )
    assert found is not None
    first, second = found["channels"]
    assert (first["color"], first["window"]["max"]) == ("56B4E9", 255)
    assert (second["color"], second["window"]["max"]) == ("0000ff", 511)
    assert (first["label"], second["label"]) == ("0", "7")


@versions
@pytest.mark.parametrize("omero", [{"channels": [GREEN]}, {"channels": [GREEN, 5]}, "text"])
@pytest.mark.filterwarnings("ignore:the omero metadata")
def test_what_is_of_no_channels_is_left(tmp_path: Path, version: str, omero: Any) -> None:
    found = written(foreign(tmp_path / "a.zarr", version, omero), tmp_path / "b", version)
    assert found is not None
    assert [channel["color"] for channel in found["channels"]] == ["56B4E9", "E69F00"]


@versions
def test_what_is_asked_for_counts_more(tmp_path: Path, version: str) -> None:
    p = foreign(tmp_path / "a.zarr", version, {"channels": [GREEN, RED]})
    assert written(p, tmp_path / "none", version, omero=False) is None
    for name, omero in {"data": True, "own": {"windows": [(0, 5), (6, 7)]}}.items():
        found = written(p, tmp_path / name, version, omero=omero)
        assert found is not None
        assert found["channels"][0]["color"] == "56B4E9"


@versions
def test_without_a_channel_axis(tmp_path: Path, version: str) -> None:
    p = foreign(tmp_path / "a.zarr", version, {"channels": [RED]}, dims="yx")
    found = written(p, tmp_path / "b", version)
    assert found is not None
    assert found["channels"][0]["window"] == RED["window"]


LABELS = [{"label-value": 1, "rgba": [1, 2, 3, 4]}, {"label-value": 5, "rgba": [9, 9, 9, 255]}]
PROPERTIES = [{"label-value": 1, "area (pixels)": 12}, {"label-value": 5, "class": "b"}]


@versions
@pytest.mark.parametrize("own", [False, True])
def test_labels(tmp_path: Path, version: str, own: bool) -> None:
    """What the caller says of labels counts more; what is of no labels is left out."""
    foreign(tmp_path / "a.zarr", version, None, dims="yx")
    group = zarr.open_group(tmp_path / "a.zarr", mode="a")
    label = {"colors": LABELS, "properties": PROPERTIES, "source": {"image": "../elsewhere"}}
    described = {**dict(group.attrs).get("ome", {}), "image-label": label}  # type: ignore[dict-item]
    group.attrs.update(described if version == "0.4" else {"ome": described})
    labels = xpyramid.open_pyramid(tmp_path / "a.zarr")
    if own:
        base = labels[0].load().assign_attrs({"image-label": {"colors": LABELS[1:]}})
        labels = base.pyramid.build(levels=2, method="mode")
    foreign(tmp_path / "b.zarr", version, None, dims="yx").to_ome_zarr(
        tmp_path / "c.zarr", "image", version=version
    )
    labels.to_ome_zarr(tmp_path / "c.zarr", "cells", labels_of="image", version=version)
    found = xpyramid.open_pyramid(tmp_path / "c.zarr/image/labels/cells").metadata["image-label"]
    wanted = {"colors": LABELS[1:]} if own else {"colors": LABELS, "properties": PROPERTIES}
    assert found == {"version": version, "source": {"image": "../../"}} | wanted
    label["properties"] = ["none"]  # type: ignore[assignment]
    group.attrs.update(described if version == "0.4" else {"ome": described})
    again = xpyramid.open_pyramid(tmp_path / "a.zarr")
    again.to_ome_zarr(tmp_path / "c.zarr", "again", labels_of="image", version=version)
    found = xpyramid.open_pyramid(tmp_path / "c.zarr/image/labels/again").metadata["image-label"]
    assert (found["colors"], "properties" in found) == (LABELS, False)


@versions
def test_labels_that_are_said_to_be_averaged(tmp_path: Path, version: str) -> None:
    """Somebody's labels are copied as they are; of what is read from them, no averages are made."""
    foreign(tmp_path / "a.zarr", version, None, dims="yx")
    group = zarr.open_group(tmp_path / "a.zarr", mode="a")
    described = {**dict(group.attrs).get("ome", {}), "image-label": {"colors": LABELS}}  # type: ignore[dict-item]
    described = described if version == "0.4" else {"ome": described}
    group.attrs.update(described)
    document = dict(group.attrs) if version == "0.4" else dict(group.attrs)["ome"]
    document["multiscales"][0]["type"] = "mean"  # type: ignore[call-overload, index]
    group.attrs.update(document if version == "0.4" else {"ome": document})
    labels = xpyramid.open_pyramid(tmp_path / "a.zarr")
    assert (labels.method, len(labels)) == ("mean", 2)
    labels.to_ome_zarr(tmp_path / "b.zarr", "copy", version=version)
    copy = xpyramid.open_pyramid(tmp_path / "b.zarr/copy")
    for ours, theirs in zip(copy, labels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
