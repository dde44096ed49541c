"""Images on a local disk are opened without zarr's event loop, and are read as by zarr."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid.errors import NotAPyramidError, ReplacedError
from xpyramid.reader import own_levels
from xpyramid.store import identity


def foreign(path: Path, fill: int, zarr_format: Any = 3, **attrs: object) -> None:
    """Store an image as others do: its samples and where it begins say which one it is."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    datasets: list[Any] = []
    for k in (0, 1):
        group.create_array(str(k), data=np.full((8 >> k, 8 >> k), fill, "u1"))
        scale = {"type": "scale", "scale": [2.0**k] * 2}
        place = {"type": "translation", "translation": [100.0 * fill] * 2}
        datasets.append({"path": str(k), "coordinateTransformations": [scale, place]})
    axes = [{"name": name, "type": "space"} for name in "yx"]
    version = "0.5" if zarr_format == 3 else "0.4"
    multiscales = [{"axes": axes, "datasets": datasets, "version": version}]
    own = {"version": version, "multiscales": multiscales}
    group.attrs.update({"ome": own} if zarr_format == 3 else {"multiscales": multiscales})
    group.attrs.update(attrs)


def test_arrays_of_another_format_are_none_of_the_image(tmp_path: Path) -> None:
    foreign(tmp_path / "im.zarr", 1, zarr_format=2)
    zarr.create_array(tmp_path / "im.zarr/1", data=np.full((4, 4), 9, "u1"), zarr_format=3)
    assert np.unique(xpyramid.open_pyramid(tmp_path / "im.zarr")[1]).tolist() == [1]


@pytest.mark.parametrize("name", ["x", "half"])
def test_a_coordinate_whose_document_is_wrong_is_not_left_out(name: str, tmp_path: Path) -> None:
    along = np.arange(8.0)
    array = xr.DataArray(
        np.zeros((8, 8), "f4"), {"y": along, "x": along, "half": ("y", along)}, ("y", "x"), "field"
    )
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, chunks=4)
    document = tmp_path / f"out.zarr/field/0/{name}/zarr.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {"node_type": "group"}))
    with pytest.raises(NotAPyramidError, match=r"out\.zarr"):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field")


@pytest.mark.parametrize("wrong", [{"attributes": 5}, {"new": {"must_understand": True}}])
def test_a_level_group_that_zarr_refuses_is_refused(
    wrong: dict[str, object], tmp_path: Path
) -> None:
    xpyramid.example_field((16, 16), 8).pyramid.to_ome_zarr(tmp_path / "out.zarr", "a", levels=2)
    document = next((tmp_path / "out.zarr/a/1").glob("zarr.json"))
    document.write_text(json.dumps(json.loads(document.read_text()) | wrong))
    with pytest.raises(NotAPyramidError, match=r"out\.zarr"):
        xpyramid.open_pyramid(tmp_path / "out.zarr", "a")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_image_of_others_that_is_replaced_just_after_its_document_was_read(
    zarr_format: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fill in (1, 2):
        foreign(tmp_path / f"{fill}.zarr", fill, zarr_format)
    begin, times = identity.Watch.begin, iter(range(2))

    def replaced(*args: Any) -> Any:
        if next(times, None) == 0:
            (tmp_path / "1.zarr").rename(tmp_path / "old.zarr")
            (tmp_path / "2.zarr").rename(tmp_path / "1.zarr")
        return begin(*args)

    monkeypatch.setattr(identity.Watch, "begin", replaced)
    level = xpyramid.open_pyramid(tmp_path / "1.zarr")[0]
    assert (level.y[0].item(), np.unique(level).tolist()) == (200, [2])


def test_numbers_that_json_does_not_have_are_no_replacement(tmp_path: Path) -> None:
    foreign(tmp_path / "im.zarr", 7, nodata=float("nan"))
    level = xpyramid.open_pyramid(tmp_path / "im.zarr")[0]
    (tmp_path / "level").write_bytes(pickle.dumps(level))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).max().item())"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "level"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("7\n", "")


def test_all_levels_have_one_length_where_growth_ends_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def film(start: int, stop: int) -> xr.DataArray:
        coords = {"time": np.arange(start, stop) * 1.0, "y": np.arange(8.0), "x": np.arange(8.0)}
        samples = np.zeros((stop - start, 8, 8), "i4")
        return xr.DataArray(samples, coords, ("time", "y", "x"), "film")

    store = tmp_path / "out.zarr"
    film(0, 4).pyramid.to_ome_zarr(store, levels=2, chunks=4)
    document = store / "film/zarr.json"
    old = document.read_text()
    film(4, 6).pyramid.append(store, "film")
    new = document.read_text()
    document.write_text(old)  # as in the middle: the group's document comes last
    answers = iter([True])

    def is_growing(_: object) -> bool:
        document.write_text(new)
        return next(answers, False)

    monkeypatch.setattr(own_levels, "is_growing", is_growing)
    pyramid = xpyramid.open_pyramid(store, "film")
    assert {level.sizes["time"] for level in pyramid} == {6}


def test_an_image_made_anew_that_began_with_the_same_samples_is_another(tmp_path: Path) -> None:
    def film(start: int, stop: int) -> xr.DataArray:
        samples = np.arange(start, stop)[:, None, None] + np.zeros((1, 8, 8))
        coords = {"time": np.arange(start, stop) * 1.0}
        return xr.DataArray(samples, coords, ("time", "y", "x"), "film")

    store = tmp_path / "out.zarr"
    film(1, 3).pyramid.to_ome_zarr(store, levels=2, chunks=4)
    first = xpyramid.open_pyramid(store, "film")[0]
    film(3, 5).pyramid.append(store, "film")
    longer = xpyramid.open_pyramid(store, "film")[0]
    film(5, 7).pyramid.append(store, "film")
    assert first.values[:, 0, 0].tolist() == [1, 2]  # what only got longer is the same
    assert longer.values[:, 0, 0].tolist() == [1, 2, 3, 4]
    film(1, 3).pyramid.to_ome_zarr(store, levels=2, chunks=4, mode="w")
    with pytest.raises(ReplacedError, match="open it again"):
        longer.compute()
    (film(3, 5) * 10).assign_coords(time=[3.0, 4.0]).rename("film").pyramid.append(store, "film")
    with pytest.raises(ReplacedError, match="open it again"):
        longer.compute()
