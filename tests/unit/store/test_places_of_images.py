"""An image may be the root of its store, and a root that holds several images says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import spread

import xpyramid
from xpyramid import errors

VALUES = np.arange(40 * 50, dtype="u2").reshape(40, 50)
VERSIONS = ["0.4", "0.5", "0.6"]
STORES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path / "deep" / "out.zarr",
    "directory": lambda path: zarr.storage.LocalStore(path / "out.zarr"),
    "memory": lambda _: {},
}


def field(name: str | None = "field") -> xr.DataArray:
    return xr.DataArray(VALUES, dims=("y", "x"), name=name)


@pytest.mark.parametrize(
    ("version", "kind", "group"), spread(3, list(VERSIONS), [*STORES], ["", "/"])
)
def test_the_image_is_the_root(tmp_path: Path, kind: str, version: str, group: str) -> None:
    store = STORES[kind](tmp_path)
    field().pyramid.to_ome_zarr(store, group, levels=2, version=version)
    opened = xpyramid.open_pyramid(store)
    np.testing.assert_array_equal(opened[0], VALUES)
    assert opened.name == "field"
    assert xpyramid.verify(store, deep=True) == []
    with pytest.raises(errors.TargetExistsError, match="already holds a group"):
        field().pyramid.to_ome_zarr(store, group, levels=2, version=version)
    cells = (field() % 3).rename("cells")
    cells.pyramid.to_ome_zarr(store, labels_of=group, version=version)
    assert xpyramid.open_pyramid(store).labels == ("cells",)
    (field() + 1).pyramid.to_ome_zarr(store, group, levels=2, version=version, mode="w")
    np.testing.assert_array_equal(xpyramid.open_pyramid(store)[0], VALUES + 1)


def test_nothing_is_left_beside_the_root(tmp_path: Path) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "out.zarr", "", levels=2)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    assert not (tmp_path / "zarr.json").exists()


def test_a_root_that_was_broken_off_can_be_resumed(tmp_path: Path) -> None:
    def block(values: np.ndarray[Any, Any], block_info: Any = None) -> np.ndarray[Any, Any]:
        if fail and block_info and block_info[0]["chunk-location"] == (2, 1):
            raise RuntimeError("enough")
        return values

    store, fail = tmp_path / "out.zarr", True
    array = field().chunk(16)
    array = array.copy(data=array.data.map_blocks(block, dtype="u2"))
    with pytest.raises(errors.ReadError, match="enough"):
        array.pyramid.to_ome_zarr(store, "", levels=2, chunks=16)
    with pytest.raises(errors.NotAPyramidError, match="unfinished"):
        xpyramid.open_pyramid(store)
    fail = False
    array.pyramid.to_ome_zarr(store, "", levels=2, chunks=16, resume=True)
    np.testing.assert_array_equal(xpyramid.open_pyramid(store)[0], VALUES)


def test_a_root_needs_the_name_of_the_array() -> None:
    with pytest.raises(errors.InvalidNameError, match="the array has no name"):
        field(None).pyramid.to_ome_zarr({}, "", levels=2)


# Several images


def listed(store: Any) -> list[str] | None:
    root = zarr.open_group(store, mode="r")
    attrs = dict(root.attrs)
    ome: Any = attrs.get("ome", attrs)
    if "bioformats2raw.layout" not in ome:
        assert "OME" not in root
        return None
    assert ome["bioformats2raw.layout"] == 3
    inside: Any = dict(root["OME"].attrs)
    series: list[str] = inside.get("ome", inside)["series"]
    return series


@pytest.mark.parametrize(("version", "kind"), spread(3, list(VERSIONS), [*STORES]))
def test_a_root_lists_its_images(tmp_path: Path, kind: str, version: str) -> None:
    store = STORES[kind](tmp_path)
    options: Any = {"levels": 2, "version": version}
    field("a").pyramid.to_ome_zarr(store, **options)
    assert listed(store) is None  # one needs no list
    field("b").pyramid.to_ome_zarr(store, "lab/b", **options)
    assert listed(store) == ["a", "lab/b"]
    field("a").pyramid.to_ome_zarr(store, mode="w", **options)
    dataset = xr.Dataset({"c": field(), "d": field()})
    dataset.pyramid.to_ome_zarr(store, "run", **options)
    assert listed(store) == ["a", "lab/b", "run/c", "run/d"]
    (field() % 3).rename("cells").pyramid.to_ome_zarr(store, labels_of="a", version=version)
    assert listed(store) == ["a", "lab/b", "run/c", "run/d"]
    assert xpyramid.verify(store) == []


def test_variables_of_a_dataset_are_listed() -> None:
    xr.Dataset({"c": field(), "d": field()}).pyramid.to_ome_zarr(store := {}, levels=2)
    assert listed(store) == ["c", "d"]


def test_images_of_others_are_listed_too() -> None:
    store: dict[str, Any] = {}
    group = zarr.create_group(store, path="theirs")
    group.create_array("0", shape=(8, 8), dtype="u1", chunks=(8, 8), dimension_names=["y", "x"])
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    zarr.open_group(store).attrs["mine"] = 1
    field().pyramid.to_ome_zarr(store, levels=2)
    assert listed(store) == ["field", "theirs"]
    assert zarr.open_group(store).attrs["mine"] == 1


def test_the_root_of_a_dataset_or_an_image_lists_none() -> None:
    xr.Dataset({"base": field()}).to_zarr(store := {}, consolidated=False)
    for name in "ab":
        field(name).pyramid.to_ome_zarr(store, levels=2)
    assert listed(store) is None


def test_images_are_not_put_into_images() -> None:
    field().pyramid.to_ome_zarr(image := {}, "", levels=2)
    with pytest.raises(errors.TargetExistsError, match=r"cannot hold 'a'.*labels_of="):
        field("a").pyramid.to_ome_zarr(image, levels=2)
    field("a").pyramid.to_ome_zarr(store := {}, levels=2)
    with pytest.raises(errors.TargetExistsError, match="cannot hold 'a/b'"):
        field("b").pyramid.to_ome_zarr(store, "a/b", levels=2)
    for group in ("OME", "OME/a"):
        with pytest.raises(errors.InvalidNameError, match="where a store lists its images"):
            field().pyramid.to_ome_zarr(store, group, levels=2)


def test_a_root_that_is_consolidated_stays_so(tmp_path: Path) -> None:
    field("a").pyramid.to_ome_zarr(tmp_path, levels=2)
    with pytest.warns(UserWarning, match="[Cc]onsolidated"):
        zarr.consolidate_metadata(tmp_path)
    field("b").pyramid.to_ome_zarr(tmp_path, levels=2)
    assert listed(tmp_path) == ["a", "b"]
    assert "OME" in zarr.open_consolidated(tmp_path)
    assert xpyramid.verify(tmp_path) == []


def names_in_xml(store: Path) -> list[str]:
    """Return the images that napari's plugin finds in the OME-XML."""
    root = ElementTree.parse(store / "OME/METADATA.ome.xml").getroot()
    return [image.attrib["ID"].removeprefix("Image:") for image in root]


def test_the_ome_xml_names_the_images_too(tmp_path: Path) -> None:
    for group in ("a", "lab/b", "c"):
        array = field().astype("f4").expand_dims(t=2)
        array.pyramid.to_ome_zarr(tmp_path, group, levels=2)
    assert names_in_xml(tmp_path) == ["a", "lab/b", "c"]
    root = ElementTree.parse(tmp_path / "OME/METADATA.ome.xml").getroot()
    (pixels,) = root[1]
    assert pixels.attrib == {
        "ID": "Pixels:lab/b", "DimensionOrder": "XYZCT", "Type": "float",
        "SizeX": "50", "SizeY": "40", "SizeZ": "1", "SizeC": "1", "SizeT": "2",
    }  # fmt: skip
    assert xpyramid.verify(tmp_path, deep=True) == []


@pytest.mark.parametrize("document", [b"nonsense", b"<!DOCTYPE x><OME/>", b"<OME/>"])
def test_an_ome_xml_of_others(tmp_path: Path, document: bytes) -> None:
    field("a").pyramid.to_ome_zarr(tmp_path, levels=2)
    (tmp_path / "OME").mkdir()
    (tmp_path / "OME/METADATA.ome.xml").write_bytes(document)
    field("b").pyramid.to_ome_zarr(tmp_path, levels=2)
    assert (tmp_path / "OME/METADATA.ome.xml").read_bytes() == document
    assert listed(tmp_path) == ["a", "b"]


def test_the_ome_xml_knows_of_images_that_are_replaced(tmp_path: Path) -> None:
    for name in "ab":
        field(name).pyramid.to_ome_zarr(tmp_path, levels=2)
    field("a")[:10].astype("f4").pyramid.to_ome_zarr(tmp_path, levels=2, mode="w")
    assert names_in_xml(tmp_path) == ["a", "b"]
    root = ElementTree.parse(tmp_path / "OME/METADATA.ome.xml").getroot()
    (pixels,) = root[0]
    assert (pixels.get("Type"), pixels.get("SizeY")) == ("float", "10")
    assert xpyramid.verify(tmp_path) == []


@pytest.mark.parametrize("kind", STORES)
def test_a_root_that_holds_images_makes_no_way_for_one(tmp_path: Path, kind: str) -> None:
    store = STORES[kind](tmp_path)
    field("a").pyramid.to_ome_zarr(store, levels=2)
    with pytest.raises(errors.TargetExistsError, match=r"holds \['a'\], which an image in its"):
        field("b").pyramid.to_ome_zarr(store, "", levels=2, mode="w")
    assert list(xpyramid.open_pyramids(store)) == ["a"]


# Opening a root, or a part of an image


def test_a_root_with_one_image_opens_it(tmp_path: Path) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "out.zarr", "lab/field", levels=2)
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr")
    assert opened.name == "field"
    xr.testing.assert_identical(opened[1], xpyramid.open_pyramid(tmp_path / "out.zarr/lab")[1])


def test_a_root_with_several_images_names_them(tmp_path: Path) -> None:
    for group in ("a", "lab/b"):
        field().pyramid.to_ome_zarr(tmp_path, group, levels=2)
    with pytest.raises(errors.NotAPyramidError, match=r"images \['a', 'lab/b'\]; pass group='a'"):
        xpyramid.open_pyramid(tmp_path)
    opened = xpyramid.open_pyramids(tmp_path)
    assert list(opened) == ["a", "lab/b"]
    assert list(xpyramid.open_pyramids(tmp_path, "lab")) == ["b"]
    opened.to_ome_zarr(copy := {})
    xr.testing.assert_identical(xpyramid.open_pyramids(copy)["lab/b"][1], opened["lab/b"][1])


def test_all_images_of_a_store_that_is_one(tmp_path: Path) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "out.zarr", "", levels=2)
    assert list(xpyramid.open_pyramids(tmp_path / "out.zarr")) == ["field"]


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    for name in "ab":
        field(name).pyramid.to_ome_zarr(tmp_path, levels=2)
    (tmp_path / "a/0/a/zarr.json").write_text("{}")
    with pytest.warns(UserWarning, match="an image is left out: .*a/0/a") as seen:
        assert list(xpyramid.open_pyramids(tmp_path)) == ["b"]
    assert seen[0].filename == __file__
    (tmp_path / "b/0/b/zarr.json").unlink()
    with pytest.raises(errors.NotAPyramidError, match="a/0/a"):
        xpyramid.open_pyramids(tmp_path)


def test_a_store_without_images(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "out.zarr").create_array("a", shape=3, dtype="u1")
    for opens in (xpyramid.open_pyramid, xpyramid.open_pyramids):
        with pytest.raises(errors.NotAPyramidError, match="no multiscales metadata"):
            opens(tmp_path / "out.zarr")


@pytest.mark.parametrize("part", ["field/0", "field/0/field", "field/1"])
@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_a_part_of_an_image_says_where_the_image_is(tmp_path: Path, part: str, layout: str) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, layout=layout)
    if layout == "arrays" and part.count("/") == 2:
        part = "field/0"
    message = f"the image it is a part of is {tmp_path / 'out.zarr/field'}$"
    with pytest.raises(errors.NotAPyramidError, match=message):
        xpyramid.open_pyramid(tmp_path / "out.zarr" / part)
    with pytest.raises(errors.NotAPyramidError, match=message):
        xpyramid.open_pyramid(tmp_path / "out.zarr", part)


def test_a_part_of_an_image_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    monkeypatch.chdir(tmp_path)
    for part in ("out.zarr/field/1", "out.zarr/field/0/field"):
        with pytest.raises(errors.NotAPyramidError, match=r"a part of is .*out\.zarr/field$"):
            xpyramid.open_pyramid(part)


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    field().pyramid.to_ome_zarr("~/out.zarr", levels=2)
    field("root").pyramid.to_ome_zarr("~/root.zarr", "", levels=2)
    assert (tmp_path / "out.zarr/field/0").is_dir()
    assert xpyramid.open_pyramid("~/out.zarr/field").name == "field"
    assert xpyramid.open_pyramid("~/root.zarr").name == "root"
    assert xpyramid.verify("~/out.zarr") == []
