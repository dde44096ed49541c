"""What one door refuses or says, the others do, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore, StorePath

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main

DATA = np.arange(240, dtype="u2").reshape(12, 20)


def array(name: str = "f") -> xr.DataArray:
    return xr.DataArray(DATA, dims=("y", "x"), name=name)


@pytest.mark.parametrize("mode", ["w-", "w"])
@pytest.mark.parametrize("group", ["f", ""])
def test_stores_that_are_read_only_are_left_alone(group: str, mode: str, tmp_path: Path) -> None:
    array().pyramid.to_ome_zarr(tmp_path / "out.zarr", group, levels=2)
    before = sorted(tmp_path.rglob("*"))
    store = LocalStore(tmp_path / "out.zarr", read_only=True)
    with pytest.raises((errors.NotWritableError, errors.TargetExistsError)):
        array().pyramid.to_ome_zarr(store, group, levels=3, mode=mode)
    with pytest.raises(errors.NotWritableError):
        array().pyramid.to_ome_zarr(store, group or "", levels=3, mode="w")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("how", ["group", "path", "zarr group"])
def test_groups_that_hold_images_are_not_hidden(how: str, tmp_path: Path) -> None:
    for name in ("deep/one", "deep/two/three"):
        array().pyramid.to_ome_zarr(tmp_path / "out.zarr", name, levels=2)
    store: Any = tmp_path / "out.zarr"
    group: str | None = "deep"
    if how == "path":
        store, group = StorePath(LocalStore(tmp_path / "out.zarr"), "deep"), ""
    elif how == "zarr group":
        store, group = zarr.open_group(tmp_path / "out.zarr/deep"), ""
    with pytest.raises(errors.TargetExistsError, match="would hide"):
        array().pyramid.to_ome_zarr(store, group, levels=2, mode="w")
    found = xpyramid.open_pyramids(tmp_path / "out.zarr")
    assert sorted(found) == ["deep/one", "deep/two/three"]


@pytest.mark.parametrize(
    "override", [{"spacing": {"lat": 5.0}}, {"origin": {"lat": 100.0}}, {"units": {"lat": "um"}}]
)
def test_bounds_of_coordinates_that_are_overridden(override: dict[str, Any]) -> None:
    lat = np.arange(8.0)
    coords = {"lat": ("lat", lat, {"bounds": "lat_bnds"}), "lon": np.arange(8.0)}
    ds = xr.Dataset({"f": (("lat", "lon"), np.ones((8, 8)))}, coords)
    ds["lat_bnds"] = (("lat", "nv"), np.stack([lat - 0.5, lat + 0.5], 1))
    kept = ds.pyramid.build(levels=2, factor=2)["f"]
    assert "lat_bnds" in kept.levels.coordinates[1]
    with pytest.warns(UserWarning, match=r"bounds \['lat_bnds'\] are left out"):
        moved = ds.pyramid.build(levels=2, factor=2, **override)["f"]
    for k in range(2):
        assert "lat_bnds" not in moved.levels.coordinates[k]
        assert "bounds" not in moved[k].lat.attrs
    assert ds.lat.attrs == {"bounds": "lat_bnds"}  # what was given is as it was


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("wrong", [5, "x", ["x"], {"x"}, True, np.ones(2)])
def test_axis_types_that_are_no_mapping(wrong: Any, several: bool) -> None:
    given: Any = array().to_dataset() if several else array()
    with pytest.raises(errors.PlanError, match=r"axis_types=.*accepted: a mapping"):
        given.pyramid.build(axis_types=wrong)


@pytest.mark.parametrize("several", [False, True])
def test_dims_that_are_looked_at_once(several: bool) -> None:
    given: Any = array().to_dataset() if several else array()
    built = given.pyramid.build(levels=2, dims=iter(["y"]))
    pyramid = built["f"] if several else built
    assert pyramid[1].shape == (6, 20)


@pytest.mark.parametrize("group", [5, Path("gg"), ["a"]])
def test_groups_are_text(group: Any) -> None:
    for given in (array(), array().to_dataset()):
        with pytest.raises((errors.PlanError, errors.InvalidNameError), match="accepted: text"):
            given.pyramid.to_ome_zarr({}, group, levels=2)


@pytest.mark.parametrize("group", ["/", "h/", "/h", None])
def test_groups_of_several_images_may_have_slashes(group: str | None) -> None:
    array().to_dataset().pyramid.to_ome_zarr(store := {}, group, levels=2)
    path = f"{(group or '').strip('/')}/f".strip("/")
    assert len(xpyramid.open_pyramid(store, path)) == 2


@pytest.mark.parametrize("omero", [True, {"colors": ["red"]}, {"foo": 1}])
def test_labels_have_no_channels(omero: Any) -> None:
    array().pyramid.to_ome_zarr(store := {}, levels=2)
    labels = array("cells").pyramid.build(levels=2, method="mode")
    with pytest.raises(errors.PlanError, match=r"omero=.* for labels; accepted: None, False"):
        labels.to_ome_zarr(store, labels_of="f", omero=omero)
    labels.to_ome_zarr(store, labels_of="f", omero=False)


def test_a_level_that_is_gone(tmp_path: Path) -> None:
    import shutil

    array().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    shutil.rmtree(tmp_path / "out.zarr/f/1")
    with pytest.raises(errors.NotAPyramidError, match="f: "):
        xpyramid.open_pyramid(tmp_path / "out.zarr/f")


def test_times_whose_encoding_names_no_dtype() -> None:
    times = xr.date_range("2000-01-01", periods=3)
    data = xr.DataArray(np.ones((3, 8, 8)), {"time": times}, ("time", "y", "x"), "f")
    data.time.encoding = {"dtype": "nonsense", "units": "days since 2000-01-01"}
    data.pyramid.to_ome_zarr(store := {}, levels=2)
    np.testing.assert_array_equal(xpyramid.open_pyramid(store)[0].time, times)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--spacing q=2", "--spacing q=2.0: no dimension ['q']"),
        ("--spacing y=0", "--spacing 0.0 along 'y'"),
        ("--units t=s", "--units t=s: no dimension ['t']"),
        ("--axis-types q=channel", "--axis-types q=channel: no dimension ['q']"),
    ],
)
def test_the_command_line_in_its_own_words(
    arguments: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", DATA)
    assert main(["build", "a.npy", "out.zarr", *arguments.split()]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["build a.npy out.zarr --mode w", "verify a --overwrite"])
def test_options_that_there_are_not_are_not_suggested(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    said = capsys.readouterr().err
    assert "did you mean" not in said
    assert "--replace" not in said
