"""Levels added by a process that is killed at every step: the store is as before, or finished."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.killed_process import killed_everywhere
from helpers.small_image import leftovers
from zarr.storage import FsspecStore

import xpyramid
from xpyramid import errors

rename = sys.modules["xpyramid.store.rename"]
pytestmark = [pytest.mark.once, pytest.mark.slow]

DATA = np.arange(1, 33, dtype="u2").reshape(8, 4)


def add(directory: Path, **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        xpyramid.add_levels(directory / "out.zarr", "field", levels=3, progress=False, **options)


def add_max(directory: Path) -> None:
    add(directory, mode="w", method="max")


def add_again(directory: Path) -> None:
    add(directory, resume=True)


@contextmanager
def by_renames() -> Iterator[None]:
    """Run as where no two directories can change places in one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rename, "_exchange_at_once", lambda *_: False)
        yield


def add_max_by_renames(directory: Path) -> None:
    with by_renames():
        add_max(directory)


def add_in_place(directory: Path, **options: Any) -> None:
    store = FsspecStore.from_url(
        f"file://{directory}/out.zarr", storage_options={"auto_mkdir": True}
    )
    with dask.config.set(scheduler="sync"):
        xpyramid.add_levels(store, "field", levels=3, progress=False, **options)


def add_max_in_place(directory: Path) -> None:
    add_in_place(directory, mode="w", method="max")


def base(directory: Path, zarr_format: Any) -> dict[str, tuple[int, bytes]]:
    """Store level 0, with labels and an attribute beside it, and return what must stay."""
    keys: Any = {"name": "v2", "separator": "/"} if zarr_format == 2 else None
    names = None if zarr_format == 2 else ("y", "x")
    store = directory / "out.zarr"
    zarr.create_array(
        store, name="field/0", data=DATA, chunks=(2, 2), zarr_format=zarr_format,
        chunk_key_encoding=keys, dimension_names=names,
    )  # fmt: skip
    zarr.open_group(store / "field", mode="r+").attrs["mine"] = 1
    return files(directory)


def files(directory: Path) -> dict[str, tuple[int, bytes]]:
    place = directory / "out.zarr/field/0"
    paths = (path for path in place.rglob("*") if path.is_file())
    return {str(p.relative_to(place)): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


def method_there(directory: Path) -> str | None:
    """Return the method of the levels that readers find; None if they find no image."""
    try:
        p = xpyramid.open_pyramid(directory / "out.zarr", "field")
    except errors.NotAPyramidError:
        return None
    cells = {"mean": np.mean, "max": np.max}[p.method]
    for k, level in enumerate(p):
        windows = DATA.reshape(8 // 2**k, 2**k, 4 // 2**k, 2**k)
        np.testing.assert_array_equal(level, cells(windows, axis=(1, 3)).round().astype("u2"))
    return p.method


def unchanged(directory: Path, before: dict[str, tuple[int, bytes]]) -> bool:
    """Whether level 0 is there to the last byte; copies keep the times that files had."""
    return files(directory) == before


@pytest.mark.parametrize(
    ("action", "zarr_format", "every"), [("add", 2, 3), ("add", 3, 1), ("add_in_place", 3, 2)]
)
def test_levels_appear_at_once(action: str, zarr_format: int, every: int, tmp_path: Path) -> None:
    before = base(tmp_path / "before", zarr_format)
    ends = set()
    action = f"{__name__}:{action}"
    for directory in killed_everywhere(action, tmp_path / "before", tmp_path / "s", every):
        assert unchanged(directory, before)
        ends.add(method_there(directory))
        again = add_in_place if action.endswith("in_place") else add
        if ends == {None} or method_there(directory) is None:
            again(directory, resume=True)
        assert method_there(directory) == "mean"
        assert unchanged(directory, before)
        if int(directory.name) % 3 == 0:
            again(directory, mode="w", method="max")  # sweeps what was left
            assert leftovers(directory) == []
        report = xpyramid.verify(directory / "out.zarr", deep=True)
        assert report == []
        assert not [note for note in report.notes if "that nobody needs" not in note]
        assert zarr.open_group(directory / "out.zarr/field", mode="r").attrs["mine"] == 1
    assert ends == {None, "mean"}


@pytest.mark.parametrize(
    ("action", "zarr_format", "every"),
    [("add_max", 2, 3), ("add_max", 3, 1), ("add_max_by_renames", 3, 2)],
)
def test_levels_are_replaced_whole(
    action: str, zarr_format: int, every: int, tmp_path: Path
) -> None:
    before = base(tmp_path / "before", zarr_format)
    add(tmp_path / "before")
    ends = set()
    action = f"{__name__}:{action}"
    for directory in killed_everywhere(action, tmp_path / "before", tmp_path / "s", every):
        assert unchanged(directory, before)
        add(directory, mode="w", method="max", resume=True)  # finishes the last steps, or all
        ends.add(method_there(directory))
        assert unchanged(directory, before)
        assert leftovers(directory) == []
        report = xpyramid.verify(directory / "out.zarr", deep=True)
        assert (report, report.notes) == ([], [])
    assert ends == {"max"}


@pytest.mark.parametrize("zarr_format", [3])
def test_levels_that_are_replaced_in_place_can_be_resumed(zarr_format: int, tmp_path: Path) -> None:
    before = base(tmp_path / "before", zarr_format)
    add(tmp_path / "before")
    action = f"{__name__}:add_max_in_place"
    for directory in killed_everywhere(action, tmp_path / "before", tmp_path / "s", every=2):
        assert unchanged(directory, before)
        add_in_place(directory, mode="w", method="max", resume=True)
        assert method_there(directory) == "max"
        assert unchanged(directory, before)
        assert leftovers(directory) == []
        assert xpyramid.verify(directory / "out.zarr", deep=True) == []


def test_another_build_after_a_death_leaves_level_0(tmp_path: Path) -> None:
    """A build of a whole image finds what a death has left, and refuses or replaces it."""
    before = base(tmp_path / "before", 3)
    image = xr.DataArray(DATA[::-1], dims=("y", "x"), name="field")
    for store in ("add", "add_in_place"):
        action, scratch = f"{__name__}:{store}", tmp_path / store
        for directory in killed_everywhere(action, tmp_path / "before", scratch, every=4):
            announced = method_there(directory)
            try:
                image.pyramid.to_ome_zarr(directory / "out.zarr", mode="w", levels=2, chunks=2)
            except errors.TargetExistsError:
                assert announced is None
                assert unchanged(directory, before)
            else:
                assert xpyramid.verify(directory / "out.zarr", deep=True) == []
