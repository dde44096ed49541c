"""Labels are told from images, and never averaged."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors
from xpyramid.build import build
from xpyramid.reader import image_of_labels

IDS = np.array([[10, 10, 20, 20], [10, 20, 20, 30]] * 4, "uint64")


def ids(name: str | None = None, dtype: str = "uint64", **attrs: Any) -> xr.DataArray:
    return xr.DataArray(IDS.astype(dtype), dims=("y", "x"), name=name, attrs=attrs)


@pytest.mark.parametrize(
    "name",
    ["segmentation", "seg", "labels", "mask", "annotation", "cell_ids", "nucleiMask", "Labels_v2",
     "instance-segmentation", "ROI", "label 3",
     "label_image", "seg_img", "labels_raw", "cellIDs", "segments", "land_cover"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "u8", ">i8"])
def test_names_of_labels(name: str, dtype: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = ids(name, dtype).pyramid.build(levels=2)
    assert (p.kind, p.method) == ("labels", "mode")
    assert set(np.unique(p[1])) <= set(np.unique(IDS).astype(dtype))
    assert f"labels, as said by its name, {name!r}" in repr(p)


@pytest.mark.parametrize("name", ["raw", "slabels", "idle", "mask_intensity", "seg_probability"])
def test_names_of_images(name: str) -> None:
    assert ids(name, "u2").pyramid.build(levels=2, method="mean").kind == "image"


@pytest.mark.parametrize("name", ["mask_intensity", "seg_probability"])
def test_names_that_say_both_are_asked_for(name: str) -> None:
    with pytest.warns(errors.KindWarning, match=name):
        assert ids(name, "u2").pyramid.build(levels=2).kind == "image"


@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_labels_that_were_opened_stay_labels(layout: Any) -> None:
    ids("nuclei", "u2").pyramid.to_ome_zarr(store := {}, levels=2, kind="labels", layout=layout)
    opened = xpyramid.open_pyramid(store, "nuclei")
    p = opened[0].pyramid.build(levels=2)
    assert (p.kind, p.method) == ("labels", "mode")


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", ">u8"])
def test_wide_integers_of_which_nothing_is_known(dtype: str) -> None:
    with pytest.warns(errors.KindWarning, match=r"method='mode'; if not, method='mean'") as seen:
        p = ids("field", dtype).pyramid.build(levels=2)
    assert (p.kind, p.method, seen[0].filename) == ("image", "mean", __file__)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("attrs", "options", "kind"),
    [
        ({}, {"method": "mean"}, "image"),
        ({}, {"kind": "image"}, "image"),
        ({}, {"kind": "labels"}, "labels"),
        ({}, {"method": "mode"}, "labels"),
        ({}, {"method": "mode", "kind": "image"}, "image"),
        ({"units": "m"}, {}, "image"),
        ({"flag_values": [10, 20]}, {}, "labels"),
        ({"image-label": {}}, {}, "labels"),
        ({"flag_values": [10, 20]}, {"method": "min"}, "labels"),
    ],
)
def test_what_says_the_kind(attrs: Any, options: Any, kind: str) -> None:
    assert ids("field", **attrs).pyramid.build(levels=2, **options).kind == kind


@pytest.mark.filterwarnings("error")
def test_booleans_and_small_integers() -> None:
    assert (ids("field", "u2") > 15).pyramid.build(levels=2).kind == "labels"
    assert ids("field", "u2").pyramid.build(levels=2).kind == "image"


def test_floats_with_the_name_of_labels() -> None:
    with pytest.warns(errors.KindWarning, match=r"astype\('uint32'\)"):
        ids("segmentation", "f4").pyramid.build(levels=2)


@pytest.mark.parametrize("method", ["mean", "median", "sum"])
def test_labels_are_not_averaged(method: str) -> None:
    with pytest.raises(errors.PlanError, match=f"method='{method}' of labels.*method='mode'"):
        ids().pyramid.build(levels=2, method=method, kind="labels")


def test_unknown_kinds() -> None:
    with pytest.raises(errors.PlanError, match="kind='label'; accepted: 'labels', 'image'"):
        ids().pyramid.build(levels=2, kind="label")  # type: ignore[arg-type]


def test_a_kind_for_each_variable() -> None:
    dataset = xr.Dataset({"a": ids("a"), "b": ids("b")})
    pyramids = dataset.pyramid.build(levels=2, kind={"a": "labels", "b": "image"})
    assert [p.method for p in pyramids.values()] == ["mode", "mean"]
    with pytest.raises(errors.PlanError, match=r"kind= names \['c'\]; accepted: a, b"):
        dataset.pyramid.build(levels=2, kind={"c": "labels"})


def test_a_dataset_is_told_what_a_dataset_takes() -> None:
    dataset = xr.Dataset({"regions_": ids("regions_", "i4"), "raw": ids("raw", "u2")})
    with pytest.warns(errors.KindWarning) as seen:
        dataset.pyramid.build(levels=2)
    assert "pass kind={'regions_': 'labels'}; if not, kind={'regions_': 'image'}" in str(seen[0])
    made = dataset.pyramid.build(levels=2, kind={"regions_": "labels"})
    assert [p.method for p in made.values()] == ["mode", "mean"]
    dataset = xr.Dataset({"segmentation": ids("segmentation", "f4")})
    with pytest.warns(errors.KindWarning, match=r"if not, pass kind={'segmentation': 'image'}"):
        dataset.pyramid.build(levels=2)
    dataset = xr.Dataset({"a": ids("a"), "b": ids("b")})
    with pytest.raises(errors.PlanError) as error:
        dataset.pyramid.build(levels=2, kind={"a": "labels"}, method={"a": "median"})
    assert str(error.value).startswith("method={'a': 'median'} of labels")
    assert str(error.value).endswith("pass method={'a': 'mode'}, or kind={'a': 'image'}")


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.parametrize("options", [{}, {"method": "mode"}, {"kind": "labels"}])
def test_viewers_are_told_of_labels_alone(version: str, options: Any) -> None:
    array = ids("cells" if options else "cell_labels", "u4")
    array.pyramid.to_ome_zarr(store := {}, "image", version=version, levels=2, **options)
    attrs = dict(zarr.open_group(store, path="image", mode="r").attrs)
    assert attrs.get("ome", attrs)["image-label"] == {"version": version}
    again = xpyramid.open_pyramid(store, "image")
    assert (again.kind, xpyramid.verify(store, deep=True)) == ("labels", [])
    again.to_ome_zarr(copy := {}, "image", version=version)
    assert xpyramid.open_pyramid(copy, "image").kind == "labels"


def test_images_are_no_labels_for_viewers() -> None:
    ids("cells").pyramid.to_ome_zarr(store := {}, levels=2, method="mode", kind="image")
    assert "image-label" not in zarr.open_group(store, path="cells", mode="r").attrs["ome"]
    assert xpyramid.open_pyramid(store, "cells").kind == "image"


def test_labels_of_is_what_says_that_samples_are_labels(tmp_path: Path) -> None:
    xpyramid.example_field((8, 4)).pyramid.to_ome_zarr(store := tmp_path / "lab.zarr", levels=2)
    geometry = image_of_labels(store, "field")
    assert build(ids("a"), image=geometry).plan.kind_reason == "labels_of='field'"
    assert build(ids("a"), image=geometry, kind="labels").plan.kind_reason == "kind='labels'"
    with pytest.raises(errors.PlanError, match=r"pass method='mode'$"):
        build(ids("a"), image=geometry, method="mean")


@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_labels_stay_labels_where_they_are_stored(layout: str) -> None:
    array = xr.DataArray(np.arange(16, dtype="u1").reshape(4, 4), dims=("y", "x"), name="img")
    array.pyramid.build(levels=2, kind="labels", method="nearest").to_ome_zarr(
        store := {}, layout=layout
    )
    opened = xpyramid.open_pyramid(store, "img")
    assert opened.kind == "labels"
    opened.to_ome_zarr(again := {}, layout=layout)
    assert "omero" not in xpyramid.open_pyramid(again, "img").metadata
    for level in (opened[0], opened[0].where(opened[0] != 3, 0), opened[0].astype("u2")):
        assert level.pyramid.build(levels=2).plan.method == "mode"
