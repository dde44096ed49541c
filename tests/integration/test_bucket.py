"""Stores without rename and lock: a process killed at every request that changes something."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.killed_process import killed_everywhere
from helpers.object_store import Bucket
from helpers.small_image import NEW, OLD, broken_off, pyramid, values

import xpyramid
from xpyramid import errors


def write(directory: Path, start: int = NEW, **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        pyramid(start).to_ome_zarr(Bucket.at(directory), **options)


def build(directory: Path) -> None:
    write(directory)


def replace(directory: Path) -> None:
    write(directory, mode="w")


def resume(directory: Path) -> None:
    write(directory, resume=True)


def delay(directory: Path) -> None:
    task = pyramid(NEW).to_ome_zarr(Bucket.at(directory), compute=False)
    for _ in range(2):
        task.compute(scheduler="sync")


def replace_delayed(directory: Path) -> None:
    pyramid(NEW).to_ome_zarr(Bucket.at(directory), mode="w", compute=False).compute(
        scheduler="sync"
    )


def whole(directory: Path) -> str:
    """Return which image is announced, all of whose levels are right: the new, the old, or none."""
    said = ""
    try:
        opened = xpyramid.open_pyramid(Bucket.at(directory), "field")
    except errors.NotAPyramidError as error:
        said = str(error)
    if said:
        assert not announced(directory)
        assert ("is unfinished: its build" in said) == (RECORD in keys(directory))
        return "none"
    read = [level.to_numpy() for level in opened]
    start = int(read[0][0, 0])
    for got, want in zip(read, values(start), strict=True):
        np.testing.assert_array_equal(got, want)
    return {NEW: "new", OLD: "old"}[start]


def announced(directory: Path) -> bool:
    """Whether any document of the bucket announces levels, those of labels left out."""
    objects = Bucket.at(directory).objects
    keys = [key for key in objects if key.endswith(("zarr.json", "attrs")) and "labels" not in key]
    documents = [objects[key].to_bytes() for key in keys]
    return any("multiscales" in str(json.loads(text)) for text in documents)


#: What is noted of an unfinished build.
RECORD = ".field.unfinished/build.json"


def keys(directory: Path) -> set[str]:
    return set(Bucket.at(directory).objects)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the keys of an image that was made without faults."""
    directory = tmp_path_factory.mktemp("usual")
    build(directory)
    return keys(directory)


@pytest.mark.once
@pytest.mark.slow
def test_killed_at_any_request_it_is_absent_or_whole(usual: set[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    seen = Counter[str]()
    action = f"{__name__}:build"
    for i, directory in enumerate(killed_everywhere(action, tmp_path / "empty", tmp_path / "n")):
        there = whole(directory)
        seen[there] += 1
        if there == "none" and i % 2:
            if RECORD in keys(directory):
                with pytest.raises(errors.TargetExistsError, match="an unfinished build of"):
                    write(directory)
            if i % 4 == 1:
                resume(directory)
            else:
                replace(directory)
            assert whole(directory) == "new"
            assert keys(directory) == usual
    assert seen["none"] > 15
    assert seen["new"] > 3


OTHERS = {
    f"field/{key}"
    for key in ("notes.txt", "labels/zarr.json", "labels/cells/zarr.json", "labels/cells/c/0")
}


@pytest.mark.once
@pytest.mark.slow
def test_killed_while_it_replaces_the_old_the_new_or_none_is_there(
    usual: set[str], tmp_path: Path
) -> None:
    before = tmp_path / "before"
    write(before, OLD)
    bucket = Bucket.at(before)
    zarr.create_array(bucket, name="field/labels/cells", data=np.arange(3))
    bucket.objects["field/notes.txt"] = bucket.objects["zarr.json"]
    order, seen = "", Counter[str]()
    for i, directory in enumerate(killed_everywhere(f"{__name__}:replace", before, tmp_path / "n")):
        there = whole(directory)
        seen[there] += 1
        order += {"old": "o", "none": "-", "new": "n"}[there]
        assert keys(directory) >= OTHERS
        if i % 2 == 0:
            write(directory, mode="w", resume=bool(i % 4))
            assert whole(directory) == "new"
            assert keys(directory) == usual | OTHERS
    assert re.fullmatch("o+-+n+", order)  # withdrawn first, and there is one again when it is whole
    assert seen["none"] > 15
    assert seen["new"] > 3


@pytest.mark.once
@pytest.mark.slow
def test_a_delayed_killed_at_any_request_is_absent_or_whole(
    usual: set[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    seen = Counter[str]()
    action = f"{__name__}:delay"
    for i, directory in enumerate(killed_everywhere(action, tmp_path / "empty", tmp_path / "n")):
        there = whole(directory)
        seen[there] += 1
        if there == "none" and i % 2:
            (resume if i % 4 == 1 else replace)(directory)
            assert whole(directory) == "new"
            assert keys(directory) == usual
    assert seen["none"] > 15
    assert seen["new"] >= 1


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("action", [replace, replace_delayed])
def test_killed_while_an_image_with_labels_is_replaced(action: Any, tmp_path: Path) -> None:
    """Whenever there is an image, its labels are seen."""
    before = tmp_path / "before"
    write(before, OLD)
    labels = xr.DataArray(np.ones((4, 2), "u2"), dims=("y", "x"), name="cells")
    image = labels.pyramid.build(levels=3, chunks=2, factor=2, method="mode")
    with dask.config.set(scheduler="sync"):
        image.to_ome_zarr(Bucket.at(before), labels_of="field")
    seen = Counter[str]()
    name = f"{__name__}:{action.__name__}"
    for i, directory in enumerate(killed_everywhere(name, before, tmp_path / "n", 2)):
        there = whole(directory)
        seen[there] += 1
        if there == "none" and i % 3 == 0:
            action(directory)
            there = whole(directory)
        if there != "none":
            assert xpyramid.open_pyramid(Bucket.at(directory), "field").labels == ("cells",)
            problems = xpyramid.verify(Bucket.at(directory), deep=True)
            assert {p.kind for p in problems} <= ({"unfinished"} if there == "old" else set())
    assert seen["none"] > 7
    assert seen["new"] >= 1


@pytest.mark.once
@pytest.mark.slow
def test_killed_while_it_is_resumed(usual: set[str], tmp_path: Path) -> None:
    half = tmp_path / "half"
    broken_off(lambda: write(half))
    done = {key for key in keys(half) if "/field/c/" in key}
    assert 2 <= len(done) < 4
    was = {key: stamp(half, key) for key in done}
    seen = Counter[str]()
    for i, directory in enumerate(killed_everywhere(f"{__name__}:resume", half, tmp_path / "n")):
        there = whole(directory)
        seen[there] += 1
        assert {key: stamp(directory, key) for key in done} == was
        if there == "none" and i % 2:
            resume(directory)
            assert whole(directory) == "new"
            assert keys(directory) == usual
    assert min(seen.values()) > 3


def stamp(directory: Path, key: str) -> int:
    """Return when an object was written; copies of it keep that."""
    return Bucket.at(directory).objects.file(key).stat().st_mtime_ns
