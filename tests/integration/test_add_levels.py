"""Levels beside a base that is in a store already."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from helpers import oracle
from helpers.added_levels import base, check, files, noise
from helpers.small_image import broken_off
from helpers.stores import KINDS, empty_store
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors

FORMS: dict[str, dict[str, Any]] = {
    "v3": {},
    "v3, keys as in v2": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "shards": {"shards": (16, 16)},
    "uncompressed": {"compressors": None},
    "v2": {"zarr_format": 2},
    "v2, Fortran": {"zarr_format": 2, "order": "F"},
    "v2 with dimensions": {"zarr_format": 2, "attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}},
    "one chunk": {"chunks": (40, 33)},
    "chunks of no common multiple": {"chunks": (7, 5)},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_level_0_stays_as_it_is(form: dict[str, Any], tmp_path: Path) -> None:
    data = base(tmp_path, **form)
    before = files(tmp_path / "field/0")
    xpyramid.add_levels(tmp_path, "field", levels=3)
    assert files(tmp_path / "field/0") == before
    check(tmp_path, data, 3)
    array = zarr.open_array(tmp_path / "field/1")
    first = zarr.open_array(tmp_path / "field/0")
    assert array.metadata.zarr_format == first.metadata.zarr_format
    assert array.compressors == first.compressors
    assert array.shards == first.shards


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(4, 12), min_size=2, max_size=4),
    dtype=st.sampled_from(["u1", "i2", ">u2", "f4", "<u8", "f8"]),
    chunk=st.integers(3, 13),
    zarr_format=st.sampled_from([2, 3]),
)
def test_any_shape_dtype_and_chunks(
    shape: list[int], dtype: str, chunk: int, zarr_format: int
) -> None:
    store, data = MemoryStore(), 1 + noise(tuple(shape), dtype)
    spatial = min(3, len(shape))
    base(store, data=data, chunks=(chunk,) * len(shape), zarr_format=zarr_format)
    # Zarr v2 has no names of dimensions.
    is_guessed = len(shape) == 4 and zarr_format == 2
    guess = pytest.warns(UserWarning, match="is taken to have the dimensions c, z, y, x")
    with guess if is_guessed else nullcontext():
        xpyramid.add_levels(store, levels=3, method="max", factor=2, kind="image")
    p = xpyramid.open_pyramid(store, "field")
    assert len(p) == 3
    for k, level in enumerate(p):
        factors = (1,) * (len(shape) - spatial) + (2**k,) * spatial
        expected = xr.DataArray(data).coarsen(
            {f"dim_{i}": f for i, f in enumerate(factors)}, boundary="pad"
        )
        np.testing.assert_array_equal(level, expected.max())
        assert level.shape == oracle.shape(data.shape, factors)
    assert xpyramid.verify(store, deep=True) == []


@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_all_kinds(kind: str, tmp_path: Path) -> None:
    store = empty_store(kind, tmp_path)
    data = base(store, attributes={"mine": 1})
    zarr.open_group(store, path="field").attrs["about"] = {"who": "I"}
    base(store, "other/0")
    xpyramid.add_levels(store, "field", levels=2)
    check(store, data, 2)
    xpyramid.add_levels(store, "field", levels=4)  # the image has two: two more
    check(store, data, 4)
    xpyramid.add_levels(store, "field", levels=2, method="max", mode="w")
    p = xpyramid.open_pyramid(store, "field")
    assert (len(p), p.method) == (2, "max")
    report = xpyramid.verify(store, deep=True)
    assert (report, report.notes) == ([], [])
    group = zarr.open_group(store, path="field", mode="r")
    assert group.attrs["about"] == {"who": "I"}
    assert sorted(group) == ["0", "1"]
    assert group["0"].attrs["mine"] == 1
    assert sorted(zarr.open_group(store, path="other", mode="r")) == ["0"]


@pytest.mark.parametrize("compute", [True, False])
@pytest.mark.parametrize("mode", ["w-", "w"])
def test_later(mode: str, compute: bool, tmp_path: Path) -> None:
    data = base(tmp_path)
    delayed = xpyramid.add_levels(tmp_path, "field", levels=3, compute=compute, mode=mode)
    if delayed is not None:
        with pytest.raises(errors.NotAPyramidError):
            xpyramid.open_pyramid(tmp_path, "field")
        delayed.compute()
        delayed.compute()  # again, and nothing changes
    check(tmp_path, data, 3)


def test_again_changes_nothing(tmp_path: Path) -> None:
    base(tmp_path)
    xpyramid.add_levels(tmp_path, "field", levels=3)
    before = files(tmp_path)
    xpyramid.add_levels(tmp_path, "field", levels=3)
    xpyramid.add_levels(tmp_path, "field", levels=2)
    assert files(tmp_path) == before


def test_levels_that_are_there_stay(tmp_path: Path) -> None:
    data = base(tmp_path)
    xpyramid.add_levels(tmp_path, "field", levels=2)
    before = files(tmp_path / "field/1")
    xpyramid.add_levels(tmp_path, "field", levels=4)
    assert files(tmp_path / "field/1") == before
    check(tmp_path, data, 4)
    for checks in ({}, {"checksums": True}):
        assert xpyramid.verify(tmp_path, **checks) == []


@pytest.mark.parametrize(
    "options", [{"method": "max"}, {"factor": 3}, {"boundary": "trim"}, {"skipna": False}]
)
def test_levels_made_in_another_way_are_replaced_on_request(
    options: dict[str, Any], tmp_path: Path
) -> None:
    base(tmp_path, data=noise(dtype="f4"))
    xpyramid.add_levels(tmp_path, "field", levels=3)
    before = files(tmp_path)
    with pytest.raises(
        errors.TargetExistsError, match="in another way; replace them with mode='w'"
    ):
        xpyramid.add_levels(tmp_path, "field", levels=4, **options)
    assert files(tmp_path) == before
    xpyramid.add_levels(tmp_path, "field", levels=2, mode="w", **options)
    assert len(xpyramid.open_pyramid(tmp_path, "field")) == 2
    assert not (tmp_path / "field/2").exists()
    assert xpyramid.verify(tmp_path, deep=True) == []
    assert files(tmp_path / "field/0") == {
        key.removeprefix("field/0/"): v for key, v in before.items() if key.startswith("field/0/")
    }


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_wrong_levels_of_others_are_mended(version: str, tmp_path: Path) -> None:
    """A pyramid whose levels were taken by stride, and that calls its levels s0, s1, ..."""
    data, zarr_format = noise(), 2 if version == "0.4" else 3
    transforms = [
        [
            {"type": "scale", "scale": [0.5 * 2**k] * 2},
            {"type": "translation", "translation": [3, 4]},
        ]
        for k in range(3)
    ]
    names = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    for k in range(3):
        base(tmp_path, f"field/s{k}", data=data[:: 2**k, :: 2**k], zarr_format=zarr_format)
    datasets = [{"path": f"s{k}", "coordinateTransformations": t} for k, t in enumerate(transforms)]
    image: dict[str, Any] = {"name": "x", "axes": names, "datasets": datasets}
    omero = {"channels": [{"label": "a", "color": "00FF00", "active": True}]}
    if version == "0.6":
        image = {
            "name": "x",
            "coordinateSystems": [{"name": "physical", "axes": names}],
            "datasets": [
                {
                    "path": f"s{k}",
                    "coordinateTransformations": [
                        {"type": "sequence", "input": {"path": f"s{k}"},
                         "output": {"name": "physical"}, "transformations": t}
                    ],
                }
                for k, t in enumerate(transforms)
            ],
        }  # fmt: skip
    announced: dict[str, Any] = {"multiscales": [image], "omero": omero}
    if version == "0.4":
        image["version"] = "0.4"
    else:
        announced = {"ome": {"version": version, **announced}, "mine": 1}
    zarr.open_group(tmp_path / "field", mode="a", zarr_format=zarr_format).attrs.update(announced)
    before = files(tmp_path / "field/s0")
    with pytest.raises(errors.TargetExistsError, match="in another way"):
        xpyramid.add_levels(tmp_path, "field", levels=3)
    xpyramid.add_levels(tmp_path, "field", levels=3, mode="w")
    assert files(tmp_path / "field/s0") == before
    check(tmp_path, data, 3)
    p = xpyramid.open_pyramid(tmp_path, "field")
    assert [float(p[1].y[0]), float(p[1].y[1])] == [3.25, 4.25]
    assert p[1].y.units == "micrometer"
    assert p.metadata["omero"]["channels"][0]["color"] == "00FF00"
    assert sorted(zarr.open_group(tmp_path / "field", mode="r")) == ["s0", "s1", "s2"]


def test_a_level_group_keeps_its_coordinates(tmp_path: Path) -> None:
    data = noise(dtype="f4")
    data[:3] = np.nan
    lat, lon = np.linspace(50, 49, 40), np.linspace(3, 3.32, 33)
    field = xr.DataArray(
        data, {"lat": lat, "lon": lon, "height": 2.0}, ("lat", "lon"), "t2m", {"units": "K"}
    )
    field.to_dataset().to_zarr(tmp_path / "field/0", zarr_format=3, consolidated=False)
    before = files(tmp_path / "field/0")
    xpyramid.add_levels(tmp_path, "field", levels=3)
    assert files(tmp_path / "field/0") == before
    p = xpyramid.open_pyramid(tmp_path, "field")
    expected = field.pyramid.build(levels=3)
    for level, wanted in zip(p, expected, strict=True):
        assert np.isnan(level.attrs.pop("_FillValue"))  # which xarray has stored
        xr.testing.assert_identical(level.compute(), wanted.compute())
    assert xpyramid.verify(tmp_path, deep=True) == []
    tree = xr.open_datatree(tmp_path / "field", engine="zarr")
    assert tree["1/t2m"].dims == ("lat", "lon")


def test_packed_samples_stay_packed(tmp_path: Path) -> None:
    data = noise(dtype="i2")
    data[0] = -1
    packed = xr.Dataset(
        {"t": (("y", "x"), data, {"scale_factor": 0.1, "add_offset": 2.0, "_FillValue": -1})}
    )
    packed.to_zarr(tmp_path / "0", zarr_format=2, consolidated=False)
    with pytest.warns(UserWarning, match="in the names of its chunks"):
        xpyramid.add_levels(tmp_path, levels=2)
    raw = zarr.open_array(tmp_path / "1/t", mode="r")
    np.testing.assert_array_equal(raw[:], oracle.mean(data, (2, 2), ignore=-1))
    with xr.open_zarr(tmp_path / "1") as level:
        assert level.t.dtype == np.float64
    assert {p.kind for p in xpyramid.verify(tmp_path, deep=True)} <= {"separator"}


def test_labels_of_an_image(tmp_path: Path) -> None:
    image = xr.DataArray(noise(), dims=("y", "x"), name="field")
    image.pyramid.to_ome_zarr(tmp_path, levels=3, chunks=8)
    cells = noise(dtype="u4") // 20
    base(tmp_path, "field/labels/cells/0", data=cells)
    xpyramid.add_levels(tmp_path, "field/labels/cells")
    assert xpyramid.open_pyramid(tmp_path, "field").labels == ("cells",)
    p = xpyramid.open_pyramid(tmp_path, "field/labels/cells")
    assert (len(p), p.method, p.kind) == (3, "mode", "labels")
    report = xpyramid.verify(tmp_path, deep=True)
    assert (report, report.notes) == ([], [])


def test_labels_of_an_image_that_gets_levels_stay_seen(tmp_path: Path) -> None:
    image = xr.DataArray(noise(), dims=("y", "x"), name="field")
    image.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8)
    cells = xr.DataArray(noise(dtype="u4"), dims=("y", "x"), name="cells")
    cells.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8, labels_of="field")
    xpyramid.add_levels(tmp_path, "field", levels=3)
    assert xpyramid.open_pyramid(tmp_path, "field").labels == ("cells",)
    labels = xpyramid.open_pyramid(tmp_path, "field/labels/cells")
    assert (len(labels), labels.method) == (3, "mode")
    tree = xr.open_datatree(tmp_path / "field", engine="zarr")
    assert "/labels/cells/2" in tree.groups
    report = xpyramid.verify(tmp_path, deep=True)
    assert (report, report.notes) == ([], [])


@pytest.mark.parametrize("option", [{"spacing": 0.7}, {"units": "nm"}, {"origin": 5.0}])
def test_levels_that_stay_say_where_they_are(option: dict[str, Any], tmp_path: Path) -> None:
    base(tmp_path)
    xpyramid.add_levels(tmp_path, "field", levels=2, spacing=0.5, units="um", origin=1.0)
    xpyramid.add_levels(tmp_path, "field", levels=3, spacing=0.5, units="um", origin=1.0)
    with pytest.raises(errors.TargetExistsError, match="options say"):
        xpyramid.add_levels(tmp_path, "field", levels=4, **option)
    xpyramid.add_levels(tmp_path, "field", levels=4)
    assert xpyramid.open_pyramid(tmp_path, "field")[3].y[0] == 1.0 + 0.5 * 3.5


@pytest.mark.parametrize("kind", ["local", "memory", "fsspec", "icechunk"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_levels_are_dropped(version: Any, kind: str, tmp_path: Path) -> None:
    if (version, kind) == ("0.4", "icechunk"):
        pytest.skip("which is Zarr v3")
    store = empty_store(kind, tmp_path)
    image = xr.DataArray(noise(), {"y": 0.5 * np.arange(40)}, ("y", "x"), "field")
    image.pyramid.to_ome_zarr(store, levels=4, chunks=8, version=version)
    cells = xr.DataArray(noise(dtype="u4"), dims=("y", "x"), name="cells")
    cells.pyramid.to_ome_zarr(store, labels_of="field", version=version)
    before = files(tmp_path / "field/0")
    for levels in (2, 2, 1):
        xpyramid.drop_levels(store, "field", levels)
        for path in ("field", "field/labels/cells"):
            p = xpyramid.open_pyramid(store, path)
            assert len(p) == levels
        assert sorted(zarr.open_group(store, path="field", mode="r")) == [
            *map(str, range(levels)), "labels"
        ]  # fmt: skip
        report = xpyramid.verify(store, deep=True)
        assert (report, report.notes) == ([], [])
    assert files(tmp_path / "field/0") == before
    xpyramid.add_levels(store, "field", levels=3, resume=True)
    xr.testing.assert_identical(
        xpyramid.open_pyramid(store, "field")[2].compute(),
        image.pyramid.build(levels=3, chunks=8)[2].compute(),
    )
    assert len(xpyramid.open_pyramid(store, "field/labels/cells")) == 3
    assert xpyramid.verify(store, deep=True) == []
    for refused in (0, True, 1.5, float("nan"), "1", None):
        with pytest.raises(errors.PlanError, match="1 or more"):
            xpyramid.drop_levels(store, "field", refused)  # type: ignore[arg-type]
    with pytest.raises(errors.NotAPyramidError, match=r"(?s)is nothing; .* holds \['field'\]"):
        xpyramid.drop_levels(store, "other")


def test_the_place_of_level_0(tmp_path: Path) -> None:
    data = base(tmp_path, "lab/scan/raw")
    xpyramid.add_levels(tmp_path, "lab/scan", level0="raw", levels=3)
    check(tmp_path, data, 3, "lab/scan")
    assert sorted(zarr.open_group(tmp_path / "lab/scan")) == ["1", "2", "raw"]


@pytest.mark.parametrize("group", ["", None])
def test_the_group_is_the_store_itself(group: str | None, tmp_path: Path) -> None:
    data = base(tmp_path / "a.zarr", "0")
    xpyramid.add_levels(tmp_path / "a.zarr", group, levels=3)
    check(tmp_path / "a.zarr", data, 3, None)


def test_the_only_group_is_taken(tmp_path: Path) -> None:
    data = base(tmp_path)
    xpyramid.add_levels(tmp_path, levels=2)
    check(tmp_path, data, 2)
    base(tmp_path, "other/0")
    with pytest.raises(errors.SourceError, match="several images; choose one with group='field'"):
        xpyramid.add_levels(tmp_path, levels=2)


def strange(kind: str, directory: Path) -> tuple[Any, dict[str, Any]]:  # noqa: PLR0911
    """Return a store to which no levels can be added, and the options to try it with."""
    if kind == "an array at the root":
        zarr.create_array(directory / "a.zarr", data=noise())
        return directory / "a.zarr", {}
    if kind == "a file":
        tifffile.imwrite(directory / "scan.tif", noise())
        return directory / "scan.tif", {}
    if kind == "several arrays":
        base(directory, "0/a")
        base(directory, "0/b")
        return directory, {}
    if kind == "a name that is taken":
        base(directory, "0")
        base(directory, "1")
        return directory, {"levels": 2}
    if kind == "colours at the end":
        base(directory, "0", data=noise((20, 20, 3), "u1"), chunks=(8, 8, 3),
             dimension_names=("y", "x", "c"))  # fmt: skip
        return directory, {}
    if kind == "one dimension":
        base(directory, "0", data=noise((40,)))
        return directory, {}
    if kind == "nothing":
        return directory, {}
    base(directory, "0", zarr_format=2)
    return directory, {"version": "0.5"}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("an array at the root", "is an array, and there is no room for other levels in it"),
        ("a file", r"is a file, .*copy it: xpyramid.open_source\('.*scan.tif'\)"),
        ("several arrays", r"0 holds \['a', 'b'\], of which one is to be level 0"),
        ("a name that is taken", r"holds \['1'\], which no image there announces"),
        ("colours at the end", r"not \('y', 'x', 'c'\)"),
        ("one dimension", "needs 2 or 3 space dimensions"),
        ("nothing", "has no array at '0', which is to be level 0"),
        ("the other format", r"version='0.5' for level 0, which is in Zarr v2.*accepted: '0.4'"),
    ],
)
def test_refused(kind: str, message: str, tmp_path: Path) -> None:
    store, options = strange(kind, tmp_path)
    before = files(tmp_path)
    with pytest.raises(errors.PyramidError, match=message):
        xpyramid.add_levels(store, **options)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("form", "message", "problem"),
    [
        ({"dimension_names": None}, "has no dimension_names, which OME-NGFF 0.5 demands", "names"),
        (
            {"zarr_format": 2, "chunk_key_encoding": None},
            "has '.' in the names of its",
            "separator",
        ),
    ],
)
def test_what_cannot_be_changed_is_said(
    form: dict[str, Any], message: str, problem: str, tmp_path: Path
) -> None:
    data = base(tmp_path, **form)
    with pytest.warns(UserWarning, match=message):
        xpyramid.add_levels(tmp_path, "field", levels=2)
    np.testing.assert_array_equal(
        xpyramid.open_pyramid(tmp_path, "field")[1], oracle.mean(data, (2, 2))
    )
    assert {p.kind for p in xpyramid.verify(tmp_path, deep=True)} == {problem}


def test_writing_an_image_over_a_base_names_the_call_that_adds_levels(tmp_path: Path) -> None:
    base(tmp_path)
    image = xr.DataArray(noise(), dims=("y", "x"), name="field")
    with pytest.raises(errors.TargetExistsError, match=r"add_levels\('.*', 'field'\)"):
        image.pyramid.to_ome_zarr(tmp_path)


def test_resumed_with_another_base(tmp_path: Path) -> None:
    """What was made of another base is not kept."""
    data = base(tmp_path, data=noise((64, 64)))
    with dask.config.set(scheduler="sync"):
        broken_off(lambda: xpyramid.add_levels(tmp_path, "field", levels=4))
        zarr.open_array(tmp_path / "field/0")[:] = data[::-1]
        with pytest.raises(errors.ResumeError, match="had another input"):
            xpyramid.add_levels(tmp_path, "field", levels=4, resume=True)
        zarr.open_array(tmp_path / "field/0")[:] = data
        xpyramid.add_levels(tmp_path, "field", levels=4, resume=True)
    check(tmp_path, data, 4)


def test_archives_are_refused(tmp_path: Path) -> None:
    base(tmp_path / "a.zarr", "0")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a.zarr")
    with pytest.raises(errors.PyramidError, match="archive"):
        xpyramid.add_levels(tmp_path / "a.zip")


@pytest.mark.parametrize("method", ["std", "count"])
def test_levels_that_could_not_be_made_again_are_not_dropped(method: str, tmp_path: Path) -> None:
    field = xpyramid.example_field((40, 30))
    field.pyramid.to_ome_zarr(tmp_path, method=method, levels=3)
    with pytest.raises(errors.PlanError, match="could not be made again; remove the whole image"):
        xpyramid.drop_levels(tmp_path, "field")
    assert len(xpyramid.open_pyramid(tmp_path, "field")) == 3
