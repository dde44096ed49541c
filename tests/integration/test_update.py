"""Levels above regions of level 0 that have changed, made again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.stores import KINDS, empty_store
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main as cli


def image(shape: tuple[int, ...] = (40, 33), dtype: Any = "u2", seed: int = 0) -> xr.DataArray:
    data = np.random.default_rng(seed).integers(1, 100, shape).astype(dtype)
    coords = {"y": 10.0 - 0.5 * np.arange(shape[-2]), "x": 2.0 + np.arange(shape[-1])}
    return xr.DataArray(data, coords, tuple("tczyx"[-len(shape) :]), "field")


def write(store: Any, array: xr.DataArray, **options: Any) -> None:
    array.pyramid.to_ome_zarr(
        store, levels=4, omero=False, progress=False, **{"chunks": 8, **options}
    )


def files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def levels(directory: Path) -> dict[str, bytes]:
    """Return the files of levels 1, 2, ..."""
    return {key: raw for key, raw in files(directory / "field").items() if key[0] in "123"}


FORMS: dict[str, dict[str, Any]] = {
    "v3": {}, "v2": {"version": "0.4"}, "shards": {"shards": 16}, "arrays": {"layout": "arrays"},
    "median": {"method": "median"}, "mode": {"method": "mode"}, "trim": {"boundary": "trim"},
}  # fmt: skip


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_equal_to_a_build_of_the_whole(options: dict[str, Any], tmp_path: Path) -> None:
    array, build = image(), {k: v for k, v in options.items() if k in ("method", "boundary")}
    how = {k: v for k, v in options.items() if k not in build}
    write(tmp_path / "a.zarr", array, **build, **how)
    path = "field/0" if "layout" in options else "field/0/field"
    array[10:20, 3:5] = 5000
    zarr.open_array(tmp_path / "a.zarr", path=path)[10:20, 3:5] = 5000
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) != []
    xpyramid.update(tmp_path / "a.zarr", "field", {"y": slice(10, 20), "x": slice(3, 5)})
    write(tmp_path / "b.zarr", array, **build, **how)
    assert levels(tmp_path / "a.zarr") == levels(tmp_path / "b.zarr")
    for checks in ({}, {"checksums": True}, {"deep": True}):
        report = xpyramid.verify(tmp_path / "a.zarr", **checks)
        assert (report, report.notes) == ([], [])
    a, b = (xpyramid.open_pyramid(tmp_path / name, "field") for name in ("a.zarr", "b.zarr"))
    for level, wanted in zip(a, b, strict=True):
        xr.testing.assert_identical(level.compute(), wanted.compute())


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(["u1", "f4", "i8"]), chunk=st.integers(3, 9))
def test_any_region(data: st.DataObject, dtype: str, chunk: int) -> None:
    shape = tuple(data.draw(st.lists(st.integers(8, 22), min_size=2, max_size=3)))
    array, store = image(shape, dtype), MemoryStore()
    array.pyramid.to_ome_zarr(store, levels=3, chunks=chunk, omero=False)
    region = {}
    for dim, n in array.sizes.items():
        start = data.draw(st.integers(0, n - 1))
        region[str(dim)] = slice(start, data.draw(st.integers(start + 1, n)))
    array[region] = 0
    zarr.open_array(store, path="field/0/field")[tuple(region.values())] = 0
    xpyramid.update(store, "field", region)
    expected = array.pyramid.build(levels=3, chunks=chunk)
    for level, wanted in zip(xpyramid.open_pyramid(store, "field"), expected, strict=True):
        np.testing.assert_array_equal(level, wanted)
    report = xpyramid.verify(store, deep=True)
    assert (report, report.notes) == ([], [])


@pytest.mark.parametrize(
    ("region", "rows"),
    [
        ({"y": 3}, slice(3, 4)),
        ({"y": slice(-4, None)}, slice(36, 40)),
        ({"y": slice(8.6, 7.0)}, slice(3, 7)),  # coordinates that descend
        ({"y": 8.5}, slice(3, 4)),
        ({}, slice(0, 40)),
    ],
)
def test_regions_by_index_and_by_coordinate(
    region: dict[str, Any], rows: slice, tmp_path: Path
) -> None:
    array = image()
    write(tmp_path, array)
    array[rows] = 0
    zarr.open_array(tmp_path / "field/0/field")[rows] = 0
    xpyramid.update(tmp_path, "field", region)
    np.testing.assert_array_equal(
        xpyramid.open_pyramid(tmp_path, "field")[2], array.pyramid.build(levels=3, chunks=8)[2]
    )
    assert xpyramid.verify(tmp_path, deep=True) == []


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"q": 3}, "names 'q', which is no dimension; accepted: y, x"),
        ({"y": slice(0, 9, 2)}, "without a step"),
        ({"y": slice(5, 5)}, "selects nothing along 'y'"),
        ({"y": 99}, "indexes below 40"),
        ({"y": 8.4}, "coordinates from .* to "),
        ("all", "accepted: 'changed', or a mapping"),
    ],
)
def test_regions_that_are_refused(region: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path, image())
    before = files(tmp_path)
    with pytest.raises(errors.PlanError, match=message):
        xpyramid.update(tmp_path, "field", region)
    assert files(tmp_path) == before


@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_all_kinds(kind: str, tmp_path: Path) -> None:
    store, array = empty_store(kind, tmp_path), image()
    write(store, array)
    array[:9, :9] = 77
    zarr.open_array(store, path="field/0/field")[:9, :9] = 77
    xpyramid.update(store, "field", {"y": slice(9), "x": slice(9)})
    wanted = array.pyramid.build(levels=4, chunks=8)
    for level, expected in zip(xpyramid.open_pyramid(store, "field"), wanted, strict=True):
        np.testing.assert_array_equal(level, expected)
    assert xpyramid.verify(store, checksums=True, deep=True) == []


@pytest.mark.parametrize("kind", ["local", "memory", "fsspec", "obstore"])
def test_a_table_that_becomes_short_leaves_nothing(kind: str, tmp_path: Path) -> None:
    """Checksums of many objects are an object of their own; of few, they are in the attributes."""
    store = empty_store(kind, tmp_path)
    write(store, image((64, 64)), chunks=3)
    zarr.open_array(store, path="field/0/field", mode="r+")[:] = 0  # which is not stored
    xpyramid.update(store, "field", {})
    report = xpyramid.verify(store, deep=True)
    assert (report, report.notes) == ([], [])


def test_levels_that_were_added_are_updated(tmp_path: Path) -> None:
    array = image()
    array = array.drop_vars(["y", "x"])
    zarr.create_array(
        tmp_path, name="field/0", data=array.values, chunks=(8, 8), dimension_names=("y", "x")
    )
    xpyramid.add_levels(tmp_path, "field", levels=3)
    shutil.rmtree(tmp_path / "field/0/c/1")  # chunks of zeros, as another program stores them
    array[8:16] = 0
    assert xpyramid.verify(tmp_path) != []
    xpyramid.update(tmp_path, "field", {"y": slice(8, 16)})
    np.testing.assert_array_equal(
        xpyramid.open_pyramid(tmp_path, "field")[1], array.pyramid.build(levels=3)[1]
    )
    report = xpyramid.verify(tmp_path, deep=True)
    assert (report, report.notes) == ([], [])


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", ["local", "memory", "fsspec", "icechunk"])
@pytest.mark.parametrize("options", [{}, {"shards": 16}, {"compressor": None}], ids=str)
def test_what_has_changed_is_found(
    options: dict[str, Any], kind: str, deep: bool, tmp_path: Path
) -> None:
    store, array = empty_store(kind, tmp_path), image((40, 40))
    write(store, array, **options)
    before = files(tmp_path)
    xpyramid.update(store, "field", deep=deep)
    assert files(tmp_path) == before  # nothing has changed
    level = zarr.open_array(store, path="field/0/field", mode="r+")
    for part in ((slice(3, 5), slice(3, 5)), (slice(39, 40), slice(30, 40)), (0, 39)):
        array[part] = 7
        level[part] = 7
    xpyramid.update(store, "field", "changed", deep=deep)
    wanted = array.pyramid.build(levels=4, chunks=8)
    for level, expected in zip(xpyramid.open_pyramid(store, "field"), wanted, strict=True):
        np.testing.assert_array_equal(level, expected)
    assert xpyramid.verify(store, checksums=True, deep=True) == []


def test_what_has_changed_of_a_base_of_others_is_found_by_its_times(tmp_path: Path) -> None:
    array = image((40, 40)).drop_vars(["y", "x"])
    level = zarr.create_array(
        tmp_path, name="field/0", data=array.values, chunks=(8, 8), dimension_names=("y", "x")
    )
    xpyramid.add_levels(tmp_path, "field", levels=3)
    with pytest.raises(errors.PlanError, match="no checksums of level 0"):
        xpyramid.update(tmp_path, "field", deep=True)
    array[30:33, 5] = 1000
    level[30:33, 5] = 1000
    xpyramid.update(tmp_path, "field")
    np.testing.assert_array_equal(
        xpyramid.open_pyramid(tmp_path, "field")[2], array.pyramid.build(levels=3)[2]
    )
    assert xpyramid.verify(tmp_path, deep=True) == []


def test_what_another_update_has_recorded_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two updates begin at the same time, and one waits for the other."""
    array = image()
    write(tmp_path, array)
    level = zarr.open_array(tmp_path / "field/0/field", mode="r+")
    level[2, 2] = array[2, 2] = 900
    level[30, 30] = array[30, 30] = 900
    module = sys.modules["xpyramid.writer.stored_levels"]
    transaction_for = module.transaction_for

    def after_another(*arguments: Any) -> Any:
        monkeypatch.setattr(module, "transaction_for", transaction_for)
        xpyramid.update(tmp_path, "field", {"y": 30, "x": 30})
        return transaction_for(*arguments)

    monkeypatch.setattr(module, "transaction_for", after_another)
    xpyramid.update(tmp_path, "field", {"y": 2, "x": 2})
    report = xpyramid.verify(tmp_path, deep=True)
    assert (report, report.notes) == ([], [])


@pytest.mark.parametrize("words", [[], ["--region", "y=10:20,x=3"], ["--deep"]], ids=str)
def test_on_the_command_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, image())
    zarr.open_array(tmp_path / "field/0/field")[10:20, 3] = 0
    assert cli(["update", str(tmp_path), "--group", "field", *words]) == 0
    objects = "4 stored objects of levels above 0 were made again"
    assert capsys.readouterr().out == f"{tmp_path}/field is up to date: {objects}\n"
    assert xpyramid.verify(tmp_path, deep=True) == []
    assert cli(["update", str(tmp_path / "field"), "--region", "y=600:800"]) == 2
    assert "--region 600:800 selects nothing along 'y'" in capsys.readouterr().err
    assert cli(["update", str(tmp_path / "field"), "--region", "y=a"]) == 2
    assert "accepted: as in y=10:20,x=2.5:4.0" in capsys.readouterr().err


def test_the_only_image_needs_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, image((8, 8)))
    assert cli(["update", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/field is up to date: nothing had changed\n"
    zarr.open_array(tmp_path / "field/0/field")[3, 3] = 0
    xpyramid.update(tmp_path)
    assert xpyramid.verify(tmp_path, deep=True) == []
    zarr.open_array(tmp_path / "field/0/field")[4, 4] = 0
    assert cli(["update", str(tmp_path), "-q"]) == 0
    assert capsys.readouterr().out == ""
    xpyramid.drop_levels(tmp_path, levels=1)
    assert len(xpyramid.open_pyramid(tmp_path)) == 1
    write(tmp_path, image((8, 8)).rename("other"))
    assert cli(["update", str(tmp_path)]) == 2
    assert "the images ['field', 'other']" in capsys.readouterr().err


def test_images_of_others_are_refused(tmp_path: Path) -> None:
    write(tmp_path, image())
    group = zarr.open_group(tmp_path / "field", mode="r+")
    ome: Any = group.attrs["ome"]
    ome["multiscales"][0]["metadata"] = {}
    group.attrs["ome"] = ome
    with pytest.raises(errors.NotAPyramidError, match="does not say how its levels were made"):
        xpyramid.update(tmp_path, "field", {"y": 3})


def test_what_is_gone_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", image())
    (tmp_path / "a.zarr/field/0/field/c/1/2").unlink()
    (tmp_path / "a.zarr/field/0/field/c/2/2").unlink()
    with pytest.warns(errors.MissingChunkWarning, match=r"'c/1/2' and 1 other of .* counts as 0"):
        xpyramid.update(tmp_path / "a.zarr", "field")
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []
