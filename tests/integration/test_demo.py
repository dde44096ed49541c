"""``xpyramid demo``: what it writes, draws and prints."""

from __future__ import annotations

import contextlib
import io
import socket
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from skimage import data

import xpyramid
from xpyramid.cli import demo as demo_command
from xpyramid.cli.main import main


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Run the demo once, without a network; return its directory and what it printed."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(tmp_path_factory.mktemp("demo"))
        patch.setattr(socket.socket, "connect", None)
        assert main(["demo"]) == 0
        return Path("xpyramid-demo").resolve(), out.getvalue()


def test_pyramid_is_that_of_the_photograph(demo):
    directory, _ = demo
    pyramid = xpyramid.open_pyramid(directory / "retina.zarr", "retina")
    photograph = np.moveaxis(data.retina(), -1, 0)
    assert [level.shape[1:] for level in pyramid] == [
        (1411, 1411), (706, 706), (353, 353), (177, 177), (89, 89)
    ]  # fmt: skip
    assert pyramid[4].c.values.tolist() == ["red", "green", "blue"]
    np.testing.assert_array_equal(pyramid[0], photograph)
    base = xr.DataArray(photograph, dims=("c", "y", "x"))
    means = base.coarsen(y=16, x=16, boundary="pad").mean()
    np.testing.assert_array_equal(pyramid[4], np.rint(means).astype("uint8"))


def test_prints_the_table_and_the_paths(demo):
    directory, printed = demo
    pyramid = xpyramid.open_pyramid(directory / "retina.zarr", "retina")
    assert printed == (
        f"{pyramid!r}\n\n"
        "pyramid: xpyramid-demo/retina.zarr/retina\n"
        "picture: xpyramid-demo/levels.png\n"
        "to look at it: xpyramid view xpyramid-demo/retina.zarr/retina\n"
    )


def test_picture_shows_the_levels(demo):
    directory, _ = demo
    pyramid = xpyramid.open_pyramid(directory / "retina.zarr", "retina")
    path = directory / "levels.png"
    assert path.stat().st_size < 900_000
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        drawn = np.asarray(picture)
    assert 1400 <= drawn.shape[1] <= 1700
    assert (drawn[0, 0] < 32).all()  # a dark background
    width = 675
    for k, level in enumerate(pyramid):
        pixels = np.moveaxis(level.values, 0, -1)
        patch = pixels[512 >> k : 784 >> k, 80 >> k : 352 >> k]
        assert contains(drawn, patch.repeat(1 << k, axis=0).repeat(1 << k, axis=1))
        # The shrunken level has the mark of the patch in it; what is right of that is untouched.
        height = round(width * pixels.shape[0] / 1411)
        small = Image.fromarray(pixels).resize((height, height), Image.Resampling.LANCZOS)
        assert contains(drawn, np.asarray(small)[:, -(height // 2) :])


def contains(picture, part):
    """Whether a part occurs somewhere in a picture, pixel for pixel."""
    h, w = part.shape[:2]
    rows = picture[: picture.shape[0] - h + 1, : picture.shape[1] - w + 1]
    middle = part[h // 2, w // 2]
    shifted = picture[h // 2 :, w // 2 :][: rows.shape[0], : rows.shape[1]]
    places = np.argwhere((shifted == middle).all(axis=-1))
    return any((picture[y : y + h, x : x + w] == part).all() for y, x in places)


def test_directory_is_the_first_free_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert demo_command.choose_directory(None) == Path("xpyramid-demo")
    Path("xpyramid-demo").mkdir()
    Path("xpyramid-demo-3").mkdir()
    assert demo_command.choose_directory(None) == Path("xpyramid-demo-2")
    Path("xpyramid-demo-2").write_text("a file is in the way as well")
    assert demo_command.choose_directory(None) == Path("xpyramid-demo-4")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "xpyramid-demo", "xpyramid-demo-2", "xpyramid-demo-3"
    ]  # fmt: skip


def test_out_may_be_a_directory_with_other_things(monkeypatch, tmp_path, capsys):
    """The picture is drawn by another test: what is stored needs no second drawing."""
    monkeypatch.setattr(demo_command, "draw", lambda _: Image.new("RGB", (2, 2)))
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert f"picture: {tmp_path / 'levels.png'}\n" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["levels.png", "notes.txt", "retina.zarr"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("taken", ["retina.zarr", "levels.png"])
def test_out_that_holds_a_demo_is_refused(tmp_path, capsys, taken):
    (tmp_path / taken).write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"xpyramid: {tmp_path / taken} already exists; choose another --out\n"
    assert [p.name for p in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "mine"
