"""Levels that come later than they were begun, and what others do meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.added_levels import base, check, files, noise
from zarr.storage import FsspecStore, LocalStore

import xpyramid
from xpyramid import errors

IMAGE = xr.DataArray(noise()[::-1], dims=("y", "x"), name="field")


@pytest.fixture(params=["local", "fsspec", "icechunk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "fsspec":
        options = {"auto_mkdir": True}
        return FsspecStore.from_url(f"file://{tmp_path}", storage_options=options)
    if request.param == "icechunk":
        icechunk = pytest.importorskip("icechunk")
        repository = icechunk.Repository.create(icechunk.in_memory_storage())
        return repository.writable_session("main").store
    return LocalStore(tmp_path)


def begin(store: Any, **options: Any) -> Any:
    return xpyramid.add_levels(store, "field", levels=3, compute=False, **options)


def test_a_whole_image_does_not_take_the_place_of_a_base(store: Any) -> None:
    """Though a build is unfinished there, which it may replace."""
    data = base(store)
    delayed = begin(store)
    for options in ({"mode": "w"}, {"mode": "w", "resume": True}, {"resume": True}):
        with pytest.raises(errors.TargetExistsError, match=r"holds .*'0'"):
            IMAGE.pyramid.to_ome_zarr(store, chunks=8, levels=2, **options)
    np.testing.assert_array_equal(zarr.open_array(store, path="field/0", mode="r"), data)
    delayed.compute()
    check(store, data, 3)


def test_a_whole_image_replaces_one_that_was_to_get_levels(store: Any) -> None:
    base(store)
    xpyramid.add_levels(store, "field", levels=2)
    delayed = begin(store)
    IMAGE.pyramid.to_ome_zarr(store, chunks=8, levels=2, mode="w")
    with pytest.raises(errors.ResumeError, match=r"call add_levels\(\) again"):
        delayed.compute()
    check(store, IMAGE.values, 2)


def test_level_0_of_an_unfinished_build_is_no_base(store: Any) -> None:
    delayed = IMAGE.pyramid.to_ome_zarr(store, chunks=8, levels=2, compute=False)
    refusals = (errors.TargetExistsError, errors.NotAPyramidError)
    for options in ({}, {"mode": "w"}, {"resume": True}):
        with pytest.raises(refusals, match=r"unfinished|no array"):
            xpyramid.add_levels(store, "field", levels=2, **options)
    delayed.compute()
    check(store, IMAGE.values, 2)


@pytest.mark.parametrize("levels", [1, 2])
def test_level_0_that_is_gone_when_levels_come(levels: int, tmp_path: Path) -> None:
    for kind in ("local", "fsspec"):
        place = tmp_path / kind
        store: Any = LocalStore(place)
        if kind == "fsspec":
            options = {"auto_mkdir": True}
            store = FsspecStore.from_url(f"file://{place}", storage_options=options)
        data = base(store)
        if levels > 1:
            xpyramid.add_levels(store, "field", levels=levels)
        delayed = begin(store)
        shutil.rmtree(place / "field")
        with pytest.raises(errors.ResumeError, match="are not there any more"):
            delayed.compute()
        base(store)
        before = files(place / "field")
        with pytest.raises(errors.TargetExistsError, match="unfinished build"):
            xpyramid.add_levels(store, "field", levels=2)
        assert files(place / "field") == before
        xpyramid.add_levels(store, "field", levels=2, mode="w")
        check(store, data, 2)


def test_labels_of_an_image_that_gets_levels_later(tmp_path: Path) -> None:
    IMAGE.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8)
    cells = xr.DataArray(noise(dtype="u4"), dims=("y", "x"), name="cells")
    cells.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8, labels_of="field")
    with pytest.warns(UserWarning, match=r"labels \['cells'\] will have fewer .* call .*'field'\)"):
        begin(tmp_path).compute()
    xpyramid.add_levels(tmp_path, "field", levels=3)
    assert len(xpyramid.open_pyramid(tmp_path, "field/labels/cells")) == 3
    assert xpyramid.verify(tmp_path, deep=True) == []


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_on_another_disk(
    zarr_format: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mounted there takes no renames from beside it."""
    data = base(tmp_path, zarr_format=zarr_format)
    before = files(tmp_path / "field/0")

    def refused(rename: Any) -> Any:
        def renamed(old: Path, new: Path) -> Path:
            if ".unfinished" in str(old) and "/field/" in str(new):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            return rename(old, new)

        return renamed

    monkeypatch.setattr(sys.modules["xpyramid.store.rename"], "_exchange", lambda *_: False)
    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, refused(getattr(Path, name)))
    xpyramid.add_levels(tmp_path, "field", levels=2)
    check(tmp_path, data, 2)
    xpyramid.add_levels(tmp_path, "field", levels=3, mode="w")
    check(tmp_path, data, 3)
    assert files(tmp_path / "field/0") == before
    assert not list(tmp_path.glob(".*unfinished"))


def test_attributes_that_are_set_meanwhile_stay(store: Any) -> None:
    data = base(store)
    group = zarr.open_group(store, path="field", mode="a")
    group.attrs["mine"] = 1
    delayed = begin(store)
    group = zarr.open_group(store, path="field", mode="a")
    group.attrs.update({"mine": 2, "late": True})
    delayed.compute()
    check(store, data, 3)
    now = zarr.open_group(store, path="field", mode="r").attrs
    assert (now["mine"], now["late"]) == (2, True)


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_base_of_another_shape(is_ours: bool, store: Any) -> None:
    """Its levels do not fit it, and neither does what is recorded of it."""
    if is_ours:
        IMAGE.pyramid.to_ome_zarr(store, chunks=8, levels=3, layout="arrays")
    else:
        base(store)
        xpyramid.add_levels(store, "field", levels=3)
    array = zarr.open_array(store, path="field/0")
    array.resize((50, 33))
    array[40:] = 7
    for levels in (2, 3, 4):
        with pytest.raises(errors.TargetExistsError, match="made in another way"):
            xpyramid.add_levels(store, "field", levels=levels)
    xpyramid.add_levels(store, "field", levels=3, mode="w")
    check(store, array[:], 3)


def test_how_levels_were_made_is_said(store: Any) -> None:
    base(store)
    xpyramid.add_levels(store, "field", levels=2, method="max", ignore=0)
    with pytest.raises(errors.TargetExistsError, match=r"\['1'\] \(ignore=0\), which"):
        xpyramid.add_levels(store, "field", levels=3)
    xpyramid.add_levels(store, "field", levels=3, method="max", ignore=0)
    assert len(xpyramid.open_pyramid(store, "field")) == 3


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_labels_that_are_there_before_their_image(zarr_format: int, tmp_path: Path) -> None:
    """They are listed when the image is one, and made as labels are; others are not listed."""
    cells = np.arange(40 * 33).reshape(40, 33) // 50
    base(tmp_path, zarr_format=zarr_format)
    base(tmp_path, "field/labels/cells/0", data=cells.astype("u2"), zarr_format=zarr_format)
    base(tmp_path, "field/labels/raw/0", zarr_format=zarr_format)
    zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    xpyramid.add_levels(tmp_path, "field/labels/cells", levels=3)
    xpyramid.add_levels(tmp_path, "field/labels/raw", levels=3, kind="image")
    xpyramid.add_levels(tmp_path, "field", levels=3)
    assert xpyramid.open_pyramid(tmp_path, "field").labels == ("cells",)
    opened = xpyramid.open_pyramid(tmp_path, "field/labels/cells")
    assert (opened.method, opened.kind) == ("mode", "labels")
    found = {(problem.kind, problem.where) for problem in xpyramid.verify(tmp_path)}
    assert {where for kind, where in found if kind == "labels"} == {"field/labels/raw"}
    for path in ("", "field"):
        copies = zarr.open_group(tmp_path / path, mode="r", use_consolidated=True)
        listed: Any = copies[f"{'' if path else 'field/'}labels"].attrs
        assert listed.get("ome", listed)["labels"] == ["cells"]


@pytest.mark.filterwarnings("ignore:level 0 stays as it is")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_was_edited_before_a_level_was_added_is_found_later(
    zarr_format: Any, tmp_path: Path
) -> None:
    samples = np.random.default_rng(0).integers(0, 9, (64, 64), "uint16")
    base = zarr.create_array(
        tmp_path / "a.zarr", name="f/0", data=samples, chunks=(16, 16), zarr_format=zarr_format
    )
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=2)
    time.sleep(0.02)  # longer than the tick of a file system's clock
    base[40:, 40:] = 600
    time.sleep(0.02)
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=3)
    xpyramid.update(tmp_path / "a.zarr", "f")
    problems = xpyramid.verify(tmp_path / "a.zarr", deep=True)
    assert not [problem for problem in problems if problem.kind == "values"]


def test_what_was_edited_is_brought_up_to_date_before_more_is_appended(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 9, (6, 32, 32), "uint16")
    base = zarr.create_array(
        tmp_path / "a.zarr", name="f/0", data=samples, chunks=(2, 16, 16),
        dimension_names=("t", "y", "x"),
    )  # fmt: skip
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=2)
    more = xr.DataArray(np.ones((2, 32, 32), "u2"), dims=("t", "y", "x"))
    more.pyramid.append(tmp_path / "a.zarr", "f")
    time.sleep(0.02)
    base[1, 20:, 20:] = 600
    with pytest.raises(errors.SourceError, match="was changed after its levels were made; bring"):
        more.pyramid.append(tmp_path / "a.zarr", "f")
    xpyramid.update(tmp_path / "a.zarr", "f")
    more.pyramid.append(tmp_path / "a.zarr", "f")
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []


def test_levels_are_made_as_those_that_were_there(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 9, (32, 32), "uint16")
    zarr.create_array(
        tmp_path / "a.zarr", name="f/0", data=samples, chunks=(16, 16), dimension_names=("y", "x")
    )
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=2, method="max")
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=3)
    assert xpyramid.open_pyramid(tmp_path / "a.zarr", "f").method == "max"
    xpyramid.drop_levels(tmp_path / "a.zarr", "f", levels=1)
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=2)
    assert xpyramid.open_pyramid(tmp_path / "a.zarr", "f").method == "max"
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=2, mode="w")
    assert xpyramid.open_pyramid(tmp_path / "a.zarr", "f").method == "mean"


@pytest.mark.parametrize("method", ["max", ["max"], {}, 3])
def test_what_others_say_of_a_method_is_not_ours(method: object, tmp_path: Path) -> None:
    zarr.create_array(
        tmp_path / "a.zarr", name="f/0", data=noise(), chunks=(16, 16), dimension_names=("y", "x")
    )
    scale = {"type": "scale", "scale": [1.0, 1.0]}
    multiscale = {
        "axes": [{"name": name, "type": "space"} for name in "yx"],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        "metadata": {"method": method},
    }
    ome = {"version": "0.5", "multiscales": [multiscale]}
    zarr.open_group(tmp_path / "a.zarr/f").attrs["ome"] = ome
    xpyramid.add_levels(tmp_path / "a.zarr", "f", levels=2)
    assert xpyramid.open_pyramid(tmp_path / "a.zarr", "f").method == "mean"
