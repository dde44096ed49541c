"""Calls that meet odd input: masked, damaged, elsewhere, without a screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr
from zarr.codecs import GzipCodec

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main


def film(steps: int = 5) -> xr.DataArray:
    samples = np.random.default_rng(0).integers(0, 600, (steps, 64, 64), "u2")
    return xr.DataArray(samples, dims=("t", "y", "x"), name="film")


def store_film(path: Path, **options: Any) -> None:
    film().pyramid.to_ome_zarr(path, levels=3, chunks={"t": 1, "y": 16, "x": 16}, **options)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_gzip_is_repaired_byte_for_byte(version: Any, tmp_path: Path) -> None:
    codec = GzipCodec() if version == "0.5" else numcodecs.GZip()
    store_film(tmp_path / "out.zarr", compressor=codec, version=version)
    chunk = next(p for p in (tmp_path / "out.zarr/film/1/film").rglob("*0") if p.is_file())
    before = chunk.read_bytes()
    assert before[4:8] == bytes(4)  # no time
    chunk.unlink()
    assert xpyramid.repair(tmp_path / "out.zarr") == []
    assert chunk.read_bytes() == before


def test_masked_frames_are_missing(tmp_path: Path) -> None:
    frame = np.ma.masked_array(np.full((10, 10), 7, "f4"), mask=np.eye(10))
    with xpyramid.Appender(tmp_path / "out.zarr", "film", dim="t") as out:
        out.append(frame)
        out.append(frame)
    stored = xpyramid.open_pyramid(tmp_path / "out.zarr", "film")[0].values
    np.testing.assert_array_equal(np.isnan(stored), [np.eye(10, dtype=bool)] * 2)


def test_the_ome_xml_grows_with_its_images(tmp_path: Path) -> None:
    for first in (0, 2, 4):
        film(6)[first : first + 2].pyramid.to_ome_zarr(
            tmp_path, append_dim="t", method=["mean", "max"], levels=2
        )
    document = (tmp_path / "OME/METADATA.ome.xml").read_text()
    assert re.findall(r'SizeT="(\d+)"', document) == ["6", "6"]


CALLS: dict[str, Callable[[Path], object]] = {
    "append": lambda path: film(1).pyramid.append(path, "film"),
    "append_dim": lambda path: film(1).pyramid.to_ome_zarr(path, append_dim="t", levels=3),
    "update": lambda path: xpyramid.update(path, "film", region={}),
    "drop": lambda path: xpyramid.drop_levels(path, "film", levels=1),
}


DAMAGE = [
    ("zarr.json", "{"), ("zarr.json", "[]"),  # a store needs no group at its root
    *[(f"film/{key}", content) for key in ("zarr.json", "0/film/zarr.json")
      for content in ("{", "[]", None)],
]  # fmt: skip


@pytest.mark.parametrize(("key", "content"), DAMAGE)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_damaged_metadata_are_named_before_anything_is_touched(
    call: Callable[[Path], object], key: str, content: str | None, tmp_path: Path
) -> None:
    store_film(tmp_path / "out.zarr")
    document = tmp_path / "out.zarr" / key
    good = document.read_text()
    document.unlink() if content is None else document.write_text(content)
    with pytest.raises(errors.PyramidError):
        call(tmp_path / "out.zarr")
    document.write_text(good)
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr", "film")
    assert (len(opened), opened[0].sizes["t"]) == (3, 5)
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []


@pytest.mark.parametrize("group", ["..", "film/../film", "film\0", "a" * 300])
def test_paths_that_lead_elsewhere(group: str, tmp_path: Path) -> None:
    store_film(tmp_path / "out.zarr")
    for call in (xpyramid.open_pyramid, xpyramid.open_pyramids, xpyramid.verify, xpyramid.update):
        with pytest.raises(errors.NotAPyramidError, match="accepted: names separated by slashes"):
            call(tmp_path / "out.zarr", group)


def test_appending_in_the_shell_makes_levels_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store_film(Path("out.zarr"))
    np.save("more.npy", film(2).values)
    arguments = ["build", "more.npy", "out.zarr", "--group", "film", "--source-dims", "t,y,x"]
    assert main([*arguments, "--append-dim", "t"]) == 0
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing.startswith("appended to out.zarr/film: 2 more, 7 in all, along 't', ")
    assert len(xpyramid.open_pyramid("out.zarr", "film")) == 3
    assert main([*arguments, "--append-dim", "t", "--replace"]) == 2
    assert "--replace" in capsys.readouterr().err
    new = ["build", "more.npy", "new.zarr", "--group", "film", "--source-dims", "t,y,x"]
    assert main([*new, "--append-dim", "t"]) == 0
    assert xpyramid.open_pyramid("new.zarr", "film").sizes["t"] == 2
    capsys.readouterr()
    assert main(["build", "out.zarr", "--in-place", "--append-dim", "t"]) == 2
    assert "--append-dim: not allowed with argument --in-place" in capsys.readouterr().err


def test_colours_travel_with_a_level(tmp_path: Path) -> None:
    channels = [
        {"label": label, "color": color, "window": {"min": 0, "start": 1, "end": 9, "max": 600}}
        for label, color in (("Cy5", "FF0000"), ("FITC", "00FF00"), ("DAPI", "0000FF"))
    ]
    array = film(3).rename(t="c").assign_coords(c=["Cy5", "FITC", "DAPI"])
    array.attrs["omero"] = {"channels": channels}
    array.pyramid.to_ome_zarr(tmp_path / "c.zarr", levels=2)
    level = xr.open_dataset(tmp_path / "c.zarr/film", engine="ome-zarr", level=1).film
    tree = xr.open_datatree(tmp_path / "c.zarr/film", engine="ome-zarr")
    assert "omero" not in level.attrs
    built = [part.pyramid.build(levels=1) for part in (level, level[::-1])]
    for pyramid in (*built, tree.pyramid):
        shown = pyramid.layer_kwargs()
        names = dict(zip(shown["name"], shown["colormap"], strict=True))
        assert {name[-4:].strip(): color for name, color in names.items()} == {
            "Cy5": "#FF0000", "FITC": "#00FF00", "DAPI": "#0000FF"
        }  # fmt: skip
        assert shown["contrast_limits"] == [(1, 9)] * 3


def test_napari_needs_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpyramid.viewing.viewers._is_installed", lambda _: True)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(errors.PlanError, match="no screen"):
        film().pyramid.build(levels=2).view("napari")
