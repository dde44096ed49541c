"""Levels beside what other writers have made, and beside what is smaller than a chunk."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import ngff_zarr
import numcodecs
import numpy as np
import obstore
import pytest
import xarray as xr
import zarr
from helpers import oracle
from helpers.added_levels import base, check, files, noise
from zarr.codecs import BytesCodec, TransposeCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors

AXES = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]


def datasets(count: int) -> list[dict[str, Any]]:
    return [
        {
            "path": f"{k}",
            "coordinateTransformations": [{"type": "scale", "scale": [0.5 * 2**k] * 2}],
        }
        for k in range(count)
    ]


def strided(place: Any, attributes: dict[str, Any], zarr_format: int = 3) -> np.ndarray[Any, Any]:
    """Store an image of which each level is each second sample of the one before."""
    data = noise()
    for k in range(3):
        base(place, f"field/{k}", data=data[:: 2**k, :: 2**k], zarr_format=zarr_format)
    group = zarr.open_group(place, path="field", mode="a", zarr_format=zarr_format)
    group.attrs.update(attributes)
    return data


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (8, 8)])
def test_a_base_of_one_level_is_announced(shape: tuple[int, int], zarr_format: int) -> None:
    store = MemoryStore()
    data = base(store, data=1 + noise(shape), chunks=(8, 8), zarr_format=zarr_format)
    xpyramid.add_levels(store, "field")
    check(store, data, 1)
    window = xpyramid.open_pyramid(store, "field").metadata["omero"]["channels"][0]["window"]
    assert window["max"] in ((data.max(), data.max() + 1) if data.size else (1,))
    before = dict(store._store_dict)
    xpyramid.add_levels(store, "field")
    assert store._store_dict == before
    xpyramid.add_levels(store, "field", spacing=0.5, omero=False)
    assert xpyramid.open_pyramid(store, "field")[0].y.size == shape[0]


@pytest.mark.parametrize("fill_value", [0, 7, None])
def test_the_fill_value_of_an_array_in_zarr_v2_is_a_sample(fill_value: int | None) -> None:
    """Only xarray takes it for missing data: what is added later does not leave it out either."""
    store = MemoryStore()
    data = base(store, data=noise() // 10, zarr_format=2, fill_value=fill_value)
    xpyramid.add_levels(store, "field", levels=2)
    assert "_FillValue" not in xpyramid.open_pyramid(store, "field")[0].attrs
    xpyramid.add_levels(store, "field", levels=3)
    check(store, data, 3)
    xpyramid.add_levels(store, "field", levels=4, mode="w")
    check(store, data, 4)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_ome_zarr(version: str, tmp_path: Path) -> None:
    """Which are called "/" where they are the root of a store."""
    writer, formats = map(importlib.import_module, ("ome_zarr.writer", "ome_zarr.format"))
    data, place = noise(), tmp_path / "a.zarr"
    form = formats.format_from_version(version)
    group = zarr.open_group(place, mode="w", zarr_format=form.zarr_format)
    writer.write_multiscale(
        [data, data[::2, ::2]], group, fmt=form, axes=AXES, storage_options={"chunks": (8, 8)},
        coordinate_transformations=[d["coordinateTransformations"] for d in datasets(2)],
    )  # fmt: skip
    before = files(place / "s0")
    xpyramid.add_levels(place, mode="w", levels=3)
    assert files(place / "s0") == before
    check(place, data, 3, None)
    announced = dict(zarr.open_group(place, mode="r").attrs)
    assert announced.get("ome", announced)["multiscales"][0]["name"] == "/"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_ngff_zarr(version: Any, tmp_path: Path) -> None:
    """Whose level groups hold arrays that name no dimensions in Zarr v2."""
    data, place = noise(), tmp_path / "n.zarr"
    image = ngff_zarr.to_ngff_image(data, ["y", "x"], {"y": 0.5, "x": 0.5}, {"y": 1.0, "x": 2.0})
    multiscales = ngff_zarr.to_multiscales(image, scale_factors=[2, 4], chunks=16)
    ngff_zarr.to_ngff_zarr(str(place), multiscales, version=version)
    before = files(place / "scale0")
    xpyramid.add_levels(place, mode="w", levels=3)
    assert files(place / "scale0") == before
    check(place, data, 3, None)
    xpyramid.add_levels(place, levels=4)
    check(place, data, 4, None)
    assert xpyramid.open_pyramid(place)[1].x[0] == 2.25


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_level_groups_without_dimensions(zarr_format: int) -> None:
    store, options = MemoryStore(), {"zarr_format": zarr_format}
    data = base(store, "field/0/raw", dimension_names=None, **options)
    base(store, "field/0/mask", dimension_names=None, data=noise((3,)), **options)
    for levels in (2, 3):
        if zarr_format == 3:
            with pytest.warns(UserWarning, match="no dimension_names"):
                xpyramid.add_levels(store, "field", levels=levels)
        else:
            xpyramid.add_levels(store, "field", levels=levels)
        p = xpyramid.open_pyramid(store, "field")
        assert [*p[0].coords] == []
        np.testing.assert_array_equal(p[levels - 1], oracle.mean(data, (2 ** (levels - 1),) * 2))


def test_what_others_say_of_an_image_stays(tmp_path: Path) -> None:
    """All but what describes its levels."""
    image = {
        "name": "Scan #1 / left",
        "axes": AXES,
        "datasets": datasets(3),
        "coordinateTransformations": [{"type": "translation", "translation": [3, 3]}],
        "type": "gaussian",
        "acquired": {"by": "me"},
    }
    omero = {"channels": [{"label": "q", "color": "00FF00", "active": True}], "rdefs": {"model": 1}}
    ome = {"version": "0.5", "multiscales": [image], "omero": omero, "ours": 2}
    data = strided(tmp_path, {"ome": ome, "mine": 1})
    xpyramid.add_levels(tmp_path, "field", mode="w", levels=3)
    check(tmp_path, data, 3)
    now = zarr.open_group(tmp_path / "field", mode="r").attrs
    (described,) = now["ome"]["multiscales"]
    assert (now["mine"], now["ome"]["ours"], now["ome"]["omero"]["rdefs"]) == (1, 2, {"model": 1})
    assert (described["name"], described["acquired"]) == ("Scan #1 / left", {"by": "me"})
    assert described["type"] == "mean"
    assert "coordinateTransformations" not in described
    assert xpyramid.open_pyramid(tmp_path, "field")[1].y[0] == 3.25


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_announcement_in_the_place_of_the_other_format_goes(zarr_format: int) -> None:
    store, image = MemoryStore(), {"axes": AXES, "datasets": datasets(3)}
    announced: dict[str, Any] = {"multiscales": [{**image, "version": "0.4"}]}
    if zarr_format == 2:
        announced = {"ome": {"version": "0.5", "multiscales": [image], "mine": 2}}
    data = strided(store, announced, zarr_format)
    xpyramid.add_levels(store, "field", mode="w", levels=4)
    check(store, data, 4)
    now = zarr.open_group(store, path="field", mode="r").attrs
    assert ("multiscales" in now) == (zarr_format == 2)
    assert now.get("ome", {}).get("mine") == (2 if zarr_format == 2 else None)


@pytest.mark.parametrize("levels", [3, 4])
def test_levels_that_are_announced_and_gone_are_said(levels: int, tmp_path: Path) -> None:
    data = base(tmp_path)
    xpyramid.add_levels(tmp_path, "field", levels=3)
    (tmp_path / "field/2").rename(tmp_path / "elsewhere")
    with pytest.raises(errors.TargetExistsError, match=r"announces the levels \['2'\], and they"):
        xpyramid.add_levels(tmp_path, "field", levels=levels)
    xpyramid.add_levels(tmp_path, "field", levels=levels, mode="w")
    check(tmp_path, data, levels)


def test_several_images_of_one_group_are_refused() -> None:
    store, image = MemoryStore(), {"axes": AXES, "datasets": datasets(3)}
    strided(store, {"ome": {"version": "0.5", "multiscales": [image, image]}})
    with pytest.raises(errors.NotAPyramidError, match=r"several images.*copy one: xpyramid"):
        xpyramid.add_levels(store, "field", mode="w")


def test_the_option_that_is_missing_is_named() -> None:
    with pytest.raises(errors.NotAPyramidError, match=r"say where it is with level0=\.\.\."):
        xpyramid.add_levels(MemoryStore())


def test_geozarr_lists_the_levels_that_are_added(tmp_path: Path) -> None:
    place = {"y": np.arange(40.0)[::-1], "x": np.arange(33.0)}
    field = xr.DataArray(noise(dtype="f4"), place, ("y", "x"), "field")
    field.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8, conventions=["geozarr"])
    xpyramid.add_levels(tmp_path, "field", levels=4)
    attributes = zarr.open_group(tmp_path / "field", mode="r").attrs
    assert [entry["asset"] for entry in attributes["multiscales"]["layout"]] == ["0", "1", "2", "3"]
    assert xpyramid.verify(tmp_path, deep=True) == []


@pytest.mark.filterwarnings("ignore:level 0 stays as it is")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_belongs_to_level_0_and_what_does_not(zarr_format: Any, tmp_path: Path) -> None:
    """Its bounds and its grid mapping do, and other variables of the Dataset do not."""
    lat, lon = np.arange(40.0), np.arange(33.0)
    dataset = xr.Dataset(
        {
            "t2m": (("lat", "lon"), noise(dtype="f4"), {"grid_mapping": "crs"}),
            "lat_bnds": (("lat", "nv"), np.stack([lat - 0.5, lat + 0.5], 1)),
            "crs": ((), 0, {"grid_mapping_name": "latitude_longitude"}),
            "mean_over_lon": (("lat",), lat),
        },
        {"lat": ("lat", lat, {"bounds": "lat_bnds"}), "lon": lon, "height": 2.0},
        {"Conventions": "CF-1.11"},
    )
    dataset.to_zarr(tmp_path / "field/0", zarr_format=zarr_format, consolidated=False)
    for levels in (2, 3):
        xpyramid.add_levels(tmp_path, "field", levels=levels, factor=2)
    for k in (1, 2):
        with xr.open_zarr(tmp_path / f"field/{k}", decode_coords="all") as level:
            assert sorted(map(str, level.coords)) == ["crs", "height", "lat", "lat_bnds", "lon"]
            assert (list(level.data_vars), level.attrs) == (["t2m"], dataset.attrs)
            np.testing.assert_array_equal(level.lat_bnds[1], [2**k - 0.5, 2 * 2**k - 0.5])


@pytest.mark.parametrize("kind", ["file", "link", "broken link"])
def test_what_has_the_name_of_a_level_stays(kind: str, tmp_path: Path) -> None:
    base(tmp_path / "a.zarr")
    place = tmp_path / "a.zarr/field/1"
    if kind == "file":
        place.write_text("mine")
    else:
        (tmp_path / "b").mkdir()
        (tmp_path / "b/mine.txt").write_text("mine")
        place.symlink_to(tmp_path / "b" if kind == "link" else "nowhere")
    before = files(tmp_path / "a.zarr")
    for mode in ("w-", "w"):
        with pytest.raises(errors.NotWritableError, match=r"is a (file|symbolic link)"):
            xpyramid.add_levels(tmp_path / "a.zarr", "field", mode=mode)
    assert files(tmp_path / "a.zarr") == before
    assert place.is_file() if kind == "file" else place.is_symlink()


def test_a_group_of_the_other_format_is_refused(tmp_path: Path) -> None:
    base(tmp_path, zarr_format=2)
    for name in (".zgroup", ".zattrs"):
        (tmp_path / "field" / name).unlink(missing_ok=True)
    zarr.create_group(tmp_path / "field", zarr_format=3)
    before = files(tmp_path)
    with pytest.raises(errors.SourceError, match=r"is a group in Zarr v3, and '0' in it is .* v2"):
        xpyramid.add_levels(tmp_path, "field")
    assert files(tmp_path) == before


def test_level_0_behind_a_link(tmp_path: Path) -> None:
    data = base(tmp_path, "raw")
    zarr.create_group(tmp_path / "field", zarr_format=3)
    (tmp_path / "field/0").symlink_to("../raw")
    before = files(tmp_path / "raw")
    with pytest.warns(UserWarning, match=r"field/0 is behind a symbolic link"):
        xpyramid.add_levels(tmp_path, "field", levels=2)
    assert files(tmp_path / "raw") == before
    for level, factor in zip(xpyramid.open_pyramid(tmp_path, "field"), (1, 2), strict=True):
        np.testing.assert_array_equal(level, oracle.mean(data, (factor, factor)))


def test_a_store_of_obstore_on_a_disk(tmp_path: Path) -> None:
    """Which says of what would lie below a file that it cannot be opened: the list of images is."""
    store = zarr.storage.ObjectStore(obstore.store.LocalStore(str(tmp_path)))
    for name in ("a", "b", "c"):
        base(store, f"{name}/0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(store)
    for name in ("a", "b", "c"):
        xpyramid.add_levels(store, name, levels=2)
    seen = zarr.open_consolidated(store, mode="r")
    assert [path for path, _ in seen.members(max_depth=2) if path.endswith("1")] == [
        "a/1", "b/1", "c/1",
    ]  # fmt: skip


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_groups_around_a_directory_see_its_levels(zarr_format: Any, tmp_path: Path) -> None:
    """Though the store that is named is a group in them: lists and copies of metadata are there."""
    place = tmp_path / "lab/field"
    data = base(tmp_path, "lab/field/0", zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        for path in ("lab", ""):
            zarr.consolidate_metadata(tmp_path, path=path)
    xpyramid.add_levels(place, levels=2)
    cells = noise(dtype="u4") // 20
    base(place, "labels/cells/0", data=cells, zarr_format=zarr_format)
    xpyramid.add_levels(place / "labels/cells")
    check(tmp_path, data, 2, "lab/field")
    assert xpyramid.open_pyramid(place).labels == ("cells",)
    assert xpyramid.open_pyramid(place / "labels/cells").method == "mode"
    for above in (tmp_path, tmp_path / "lab"):
        members = dict(zarr.open_consolidated(above, mode="r").members(max_depth=None))
        inside = "field" if above.name == "lab" else "lab/field"
        assert {f"{inside}/1", f"{inside}/labels/cells/1"} <= members.keys()


def test_a_list_of_images_is_no_image() -> None:
    """Its first image is called "0", as level 0 is."""
    store = MemoryStore()
    for name in "01":
        base(store, f"{name}/0")
    zarr.open_group(store, mode="a").attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    with pytest.raises(errors.SourceError, match="several images; choose one with group='0'"):
        xpyramid.add_levels(store)
    xpyramid.add_levels(store, "0", levels=2)
    with pytest.raises(errors.SourceError, match=r"0 is an image, and no level .* group='0'"):
        xpyramid.add_levels(store, "")
    assert xpyramid.verify(store, deep=True) == []


@pytest.mark.parametrize("group", ["../x", "a/..", "a//b", "."])
def test_a_group_that_cannot_be(group: str) -> None:
    with pytest.raises(errors.InvalidNameError, match="cannot be the name of a Zarr node"):
        xpyramid.add_levels(MemoryStore(), group)


@pytest.mark.parametrize(
    "option", [{"omero": True}, {"version": "0.6"}, {"conventions": ["geozarr"]}], ids=str
)
def test_what_is_left_out_where_all_levels_are_there_is_said(option: dict[str, Any]) -> None:
    store = MemoryStore()
    base(store)
    xpyramid.add_levels(store, "field", levels=2)
    with pytest.warns(UserWarning, match=rf"is, without {next(iter(option))}; .*mode='w'"):
        xpyramid.add_levels(store, "field", levels=2, **option)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in:UserWarning")
@pytest.mark.filterwarnings("ignore:.*read without zarrs:UserWarning")
@pytest.mark.parametrize(
    "form",
    [
        {"serializer": BytesCodec(endian="big")},
        {"filters": [TransposeCodec(order=(1, 0))], "shards": (16, 16)},
        {"zarr_format": 2, "filters": [numcodecs.Delta("u2")], "compressors": numcodecs.Zlib(1)},
    ],
    ids=["big-endian", "transposed", "differences"],
)
def test_levels_are_encoded_as_level_0_is(form: dict[str, Any]) -> None:
    store = MemoryStore()
    data = base(store, **form)
    xpyramid.add_levels(store, "field", levels=2)
    check(store, data, 2)
    first, second = (zarr.open_array(store, path=f"field/{k}", mode="r") for k in range(2))
    assert second.filters == first.filters
    assert second.compressors == first.compressors
    assert second.serializer == first.serializer


def test_what_loses_digits_is_not_used_again() -> None:
    """Samples of level 0 are what they are read as; those of others would be rounded twice."""
    store, data = MemoryStore(), noise(dtype="f8")
    rounded = numcodecs.FixedScaleOffset(offset=0, scale=1, dtype="f8", astype="u1")
    base(store, data=data, zarr_format=2, filters=[rounded])
    with pytest.warns(UserWarning, match="neuroglancer"):
        xpyramid.add_levels(store, "field", levels=3)
    check(store, data, 3)


@pytest.mark.filterwarnings("ignore:the coordinateTransformations of the image lead")
def test_other_coordinate_systems_stay() -> None:
    image = {
        "coordinateSystems": [{"name": name, "axes": AXES} for name in ("stage", "world")],
        "datasets": [
            {
                "path": f"{k}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [0.5 * 2**k] * 2, "input": {"path": f"{k}"},
                     "output": {"name": "stage"}}
                ],
            }
            for k in range(3)
        ],
        "coordinateTransformations": [
            {"type": "translation", "translation": [9, 9], "input": {"name": "stage"},
             "output": {"name": "world"}}
        ],
    }  # fmt: skip
    store = MemoryStore()
    data = strided(store, {"ome": {"version": "0.6", "multiscales": [image]}})
    for options in ({"levels": 3, "mode": "w"}, {"levels": 4}):
        xpyramid.add_levels(store, "field", **options)
    check(store, data, 4)
    (now,) = zarr.open_group(store, path="field", mode="r").attrs["ome"]["multiscales"]
    own, other = now["coordinateSystems"]
    (transform,) = now["coordinateTransformations"]
    assert other["name"] == "world"
    assert transform["translation"] == [9, 9]
    assert (transform["input"]["name"], transform["output"]["name"]) == (own["name"], "world")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_arrays_beside_an_image_are_no_problem(zarr_format: int, tmp_path: Path) -> None:
    base(tmp_path, zarr_format=zarr_format)
    base(tmp_path, "field/mask", zarr_format=zarr_format)
    base(tmp_path, "field/tables/areas", zarr_format=zarr_format)
    xpyramid.add_levels(tmp_path, "field", levels=2)
    assert xpyramid.verify(tmp_path, deep=True) == []
    xpyramid.add_levels(tmp_path, "field", levels=3)
    assert xpyramid.verify(tmp_path, deep=True) == []
    xpyramid.drop_levels(tmp_path, "field", levels=2)
    assert xpyramid.verify(tmp_path, deep=True) == []
    base(tmp_path, "field/later", zarr_format=zarr_format)
    (problem,) = [p for p in xpyramid.verify(tmp_path) if p.kind != "consolidated"]
    assert (problem.where, problem.kind, problem.severity) == ("field/later", "extra", "warning")


def test_a_missing_value_that_xarray_has_stored(tmp_path: Path) -> None:
    """In Zarr v3, xarray stores fill values of floats as text."""
    data = noise().astype("f4")
    data[:8, :8] = np.nan
    data[20, 30] = -9
    array = xr.DataArray(data, dims=("y", "x"), name="raw")
    array.to_dataset().to_zarr(
        tmp_path, encoding={"raw": {"_FillValue": -9.0, "chunks": (8, 8)}}, consolidated=False
    )
    xpyramid.add_levels(tmp_path, level0="raw", levels=2)
    p = xpyramid.open_pyramid(tmp_path)
    assert p[0].attrs["_FillValue"] == -9
    expected = array.assign_attrs(_FillValue=np.float32(-9)).pyramid.build(levels=2)[1]
    np.testing.assert_array_equal(p[1], expected)
    assert xpyramid.verify(tmp_path, deep=True) == []
