"""Updates by a process that is killed at every step: named by verify, finished by the next."""

from __future__ import annotations

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
from xpyramid.geometry import sections

pytestmark = [pytest.mark.once, pytest.mark.slow]

OLD = np.arange(1, 33, dtype="u2").reshape(8, 4)
NEW = OLD.copy()
NEW[1:3, 2] = 900
REGION = {"y": slice(1, 3), "x": 2}


def pyramid(data: Any) -> xpyramid.Pyramid:
    array = xr.DataArray(data, dims=("y", "x"), name="field")
    return array.pyramid.build(levels=3, chunks=2, factor=2)


@contextmanager
def small_sections() -> Iterator[None]:
    """Count the values of small parts of level 0 apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "SAMPLES", 8)
        yield


def update(directory: Path, region: Any = REGION) -> None:
    with dask.config.set(scheduler="sync"), small_sections():
        xpyramid.update(directory / "out.zarr", "field", region, progress=False)


def update_in_place(directory: Path, region: Any = REGION) -> None:
    store = FsspecStore.from_url(
        f"file://{directory}/out.zarr", storage_options={"auto_mkdir": True}
    )
    with dask.config.set(scheduler="sync"), small_sections():
        xpyramid.update(store, "field", region, progress=False)


def objects_are_old_or_new(directory: Path) -> None:
    for k, (old, new) in enumerate(zip(pyramid(OLD), pyramid(NEW), strict=True)):
        stored = zarr.open_array(directory / f"out.zarr/field/{k}/field", mode="r")
        for rows in range(0, stored.shape[0], 2):
            for columns in range(0, stored.shape[1], 2):
                part = (slice(rows, rows + 2), slice(columns, columns + 2))
                got = stored[part]
                assert np.array_equal(got, old.values[part]) or np.array_equal(
                    got, new.values[part]
                )


@pytest.mark.parametrize(
    ("version", "action"), [("0.5", "update"), ("0.4", "update"), ("0.5", "update_in_place")]
)
def test_killed_at_every_step(version: Any, action: str, tmp_path: Path) -> None:
    with small_sections():
        pyramid(OLD).to_ome_zarr(tmp_path / "before/out.zarr", version=version, progress=False)
    assert (tmp_path / "before/out.zarr/field/0/field/values.xpyramid").is_file()
    array = zarr.open_array(tmp_path / "before/out.zarr/field/0/field", mode="r+")
    array[1:3, 2] = 900
    again, states = (update if action == "update" else update_in_place), set()
    for directory in killed_everywhere(f"{__name__}:{action}", tmp_path / "before", tmp_path / "s"):
        objects_are_old_or_new(directory)
        store = directory / "out.zarr"
        kinds = {problem.kind for problem in xpyramid.verify(store, deep=True)}
        states.add(frozenset(kinds))
        is_begun = "unfinished" in kinds
        if is_begun:
            with pytest.raises(errors.PyramidError, match="unfinished"):
                pyramid(OLD).to_ome_zarr(store, version=version)
            with pytest.raises(errors.PyramidError, match="unfinished"):
                xpyramid.add_levels(store, "field", levels=4)
        again(directory, {"y": 7} if is_begun else REGION)  # finishes what was begun, too
        for level, wanted in zip(xpyramid.open_pyramid(store, "field"), pyramid(NEW), strict=True):
            np.testing.assert_array_equal(level, wanted)
        shown = xpyramid.open_pyramid(store, "field").metadata["omero"]["channels"][0]["window"]
        assert shown == {"min": 1, "max": 900, "start": 1, "end": 900}
        assert leftovers(directory) == []
        report = xpyramid.verify(store, checksums=True, deep=True)
        assert (report, report.notes) == ([], [])
    assert any("unfinished" in kinds for kinds in states)
