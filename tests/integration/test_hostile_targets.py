"""Writing where strangers have left something: nothing elsewhere is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr
from helpers.small_image import broken_off, is_whole, leftovers, pyramid, write
from zarr.storage import LocalStore, WrapperStore

import xpyramid
from xpyramid import errors

#: On a disk, and where there is no rename.
STORES: dict[str, Callable[[Path], Any]] = {
    "disk": lambda path: path,
    "in place": lambda path: WrapperStore(LocalStore(path)),
}
ELSEWHERE = ["../precious/0", "..", "../../precious", "/precious", "", "./0", "labels/0", "\0"]


@pytest.fixture
def precious(tmp_path: Path) -> list[Path]:
    """Return files that nobody may touch; the first two are outside of the image."""
    files = ["precious/a", "out.zarr/precious/a", "out.zarr/field/labels/a"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("mine")
    return [tmp_path / name for name in files]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("path", ELSEWHERE)
def test_levels_that_lead_elsewhere_are_not_replaced(
    path: str, store: str, precious: list[Path], tmp_path: Path
) -> None:
    announced = {"multiscales": [{"axes": [], "datasets": [{"path": path}]}], "version": "0.5"}
    zarr.create_group(tmp_path / "out.zarr/field", attributes={"ome": announced})
    pyramid().to_ome_zarr(STORES[store](tmp_path / "out.zarr"), mode="w")
    assert is_whole(tmp_path)
    assert [file.read_text() for file in precious] == ["mine"] * 3


@pytest.mark.parametrize("name", ["../precious", "../../precious", "..", "", "/precious", 3])
def test_notes_that_lead_elsewhere_are_not_followed(
    name: Any, precious: list[Path], tmp_path: Path
) -> None:
    yard = tmp_path / "out.zarr/.field.unfinished"
    yard.mkdir()
    record = {"created": True, "inode": None, "children": [name, "0"], "format": 3, "workers": 2}
    (yard / "build.json").write_text(json.dumps({**record, "about": {}}))
    pyramid().to_ome_zarr(STORES["in place"](tmp_path / "out.zarr"), mode="w")
    assert is_whole(tmp_path)
    assert [file.read_text() for file in precious] == ["mine"] * 3


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"created": true}', "[" * 10**5, "NaN", "\x00"]
)
def test_notes_that_are_damaged_are_begun_anew(text: str, tmp_path: Path) -> None:
    broken_off(lambda: write(tmp_path))
    (tmp_path / "out.zarr/.field.unfinished/build.json").write_text(text)
    for path in ("out.zarr", "out.zarr/field"):
        with pytest.raises(errors.NotAPyramidError, match="unfinished"):
            xpyramid.open_pyramid(tmp_path / path)
    with pytest.raises(errors.TargetExistsError, match="there is an unfinished build"):
        write(tmp_path)
    with pytest.raises(errors.ResumeError, match="start over with mode='w'"):
        write(tmp_path, resume=True)
    write(tmp_path, mode="w")
    assert is_whole(tmp_path)
    assert leftovers(tmp_path) == []


def test_a_hidden_directory_that_is_a_link_is_not_written_through(
    precious: list[Path], tmp_path: Path
) -> None:
    (precious[0].parent / "image").mkdir()
    shutil.rmtree(tmp_path / "out.zarr/field")
    (tmp_path / "out.zarr/.field.unfinished").symlink_to(precious[0].parent)
    with pytest.raises(errors.NotWritableError, match=r"\.field\.unfinished' is a symbolic link"):
        write(tmp_path, mode="w")
    assert sorted(path.name for path in precious[0].parent.iterdir()) == ["a", "image"]


def first(yard: Path, pattern: str) -> Path:
    return min(path for path in yard.glob(pattern) if path.is_file())


def renamed(document: Path) -> None:
    """Make a document another one, which is as sound."""
    content = json.loads(document.read_bytes())
    content["attributes"]["units"] = "furlong"
    document.write_text(json.dumps(content))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "an empty note of a task": lambda yard: first(yard, "tasks/*/*/*").write_bytes(b""),
    "a cut one": lambda yard: os.truncate(first(yard, "tasks/*/*/*"), 150),
    "one that lacks its end": lambda yard: os.truncate(first(yard, "tasks/*/*/*"), 152),
    "one that is no array": lambda yard: first(yard, "tasks/*/*/*").write_bytes(b"x" * 300),
    "a level that is gone": lambda yard: shutil.rmtree(yard / "image/1"),
    "metadata that are gone": lambda yard: (yard / "image/0/field/zarr.json").unlink(),
    "metadata that are none": lambda yard: (yard / "image/2/zarr.json").write_text("{"),
    "metadata that say another thing": lambda yard: renamed(yard / "image/1/field/zarr.json"),
    "metadata of a level that say another thing": lambda yard: renamed(yard / "image/1/zarr.json"),
    "a chunk that is gone": lambda yard: first(yard, "image/0/field/c/*/*").unlink(),
    "a chunk that is empty": lambda yard: first(yard, "image/0/field/c/*/*").write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_build_is_not_resumed(damage: str, tmp_path: Path) -> None:
    broken_off(lambda: write(tmp_path))
    DAMAGE[damage](tmp_path / "out.zarr/.field.unfinished")
    with pytest.raises(errors.ResumeError, match="start over with mode='w'"):
        write(tmp_path, resume=True)
    write(tmp_path, mode="w")
    assert is_whole(tmp_path)
    assert leftovers(tmp_path) == []
