"""Files that were torn while they were written: they are no objects, and do not stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
import numpy as np
import pytest
import zarr
from helpers.small_image import broken_off, pyramid
from zarr.storage import LocalStore, WrapperStore

import xpyramid
from xpyramid.writer.missing_chunks import missing


def tear(path: Path) -> Path:
    """Leave a file as zarr-python does when its process dies."""
    torn = path.with_suffix(f".{uuid4().hex}.partial")
    torn.write_bytes(path.read_bytes()[:7])
    path.unlink()
    return torn


def write(store: Any, **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        pyramid().to_ome_zarr(store, **options)


@pytest.mark.parametrize("options", [{"resume": True}, {"mode": "w"}])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("in_place", [False, True])
def test_torn_files_do_not_stay(
    in_place: bool, version: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """An image is made in its place on disks that somebody has wrapped."""
    store = WrapperStore(LocalStore(tmp_path)) if in_place else tmp_path
    broken_off(lambda: write(store, version=version))
    image = tmp_path / ("field" if in_place else ".field.unfinished/image")
    (tmp_path / "field").mkdir(exist_ok=True)
    mine = tmp_path / "mine.partial"
    mine.write_text("of somebody else")
    done = next((tmp_path / ".field.unfinished/tasks/2/0").iterdir())
    chunk = image / "0/field" / ("c" if version == "0.5" else "") / done.name.replace(".", "/")
    torn = [tear(chunk), tear(done)]
    torn.append(image / f"zarr.{uuid4().hex}.partial")
    torn[-1].touch()
    write(store, version=version, **options)
    assert not [path for path in torn if path.exists()]
    assert [*tmp_path.rglob("*.partial")] == [mine]
    opened = xpyramid.open_pyramid(tmp_path / "field")
    np.testing.assert_array_equal(opened[0], pyramid()[0])
    assert not xpyramid.verify(tmp_path / "field", deep=True)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_torn_files_are_no_objects(version: str, tmp_path: Path) -> None:
    write(tmp_path, version=version)
    chunk = next(p for p in (tmp_path / "field/1/field").rglob("0") if p.is_file())
    tear(chunk)
    kinds = {problem.kind for problem in xpyramid.verify(tmp_path / "field")}
    assert {"missing", "stray"} <= kinds
    array = zarr.open_array(tmp_path / "field/1/field", mode="r")
    assert missing(array) == (1, (0, 0), 1)
