"""Builds in place, on local files that another package opens, killed at awkward moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import pytest
from helpers.small_image import NEW, OLD, broken_off, is_whole, leftovers, pyramid
from zarr.storage import FsspecStore

import xpyramid
from xpyramid.store import in_place


def write(directory: Path, start: int = NEW, **options: Any) -> None:
    store = FsspecStore.from_url(
        f"file://{directory}/out.zarr", storage_options={"auto_mkdir": True}
    )
    with dask.config.set(scheduler="sync"):
        pyramid(start).to_ome_zarr(store, **options)


def test_files_that_were_being_written(tmp_path: Path) -> None:
    broken_off(lambda: write(tmp_path))
    (chunk,) = (tmp_path / "out.zarr/field/0/field/c/0").iterdir()
    chunk.with_name(f"0.{'0' * 32}.partial").write_bytes(b"half")
    write(tmp_path, resume=True)
    assert leftovers(tmp_path) == []
    assert is_whole(tmp_path)
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []


@pytest.mark.parametrize("start", [NEW, OLD])
def test_killed_while_an_unfinished_build_is_removed(
    start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half removed is made anew, by whoever resumes."""
    broken_off(lambda: write(tmp_path))
    removed: list[Any] = []

    def remove_one(place: Any) -> None:
        if removed:
            raise RuntimeError("killed")
        removed.append(place)
        remove(place)

    remove = in_place.remove
    with monkeypatch.context() as patch:
        patch.setattr(in_place, "OWN_DOCUMENTS", ())
        patch.setattr(in_place, "remove", remove_one)
        with pytest.raises(RuntimeError, match="killed"):
            write(tmp_path, OLD, mode="w")
    assert not (tmp_path / "out.zarr/field/0/zarr.json").exists()
    write(tmp_path, start, resume=True)
    assert is_whole(tmp_path, start)
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []
