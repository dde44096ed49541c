"""An image of few objects, and what is to be said of it after something went wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors
from xpyramid.writer import journal

NEW, OLD = 1, 100


@functools.cache
def pyramid(start: int = NEW) -> xpyramid.Pyramid:
    """Return three levels, of 2 + 1 + 1 chunks."""
    data = np.arange(start, start + 8, dtype="u2").reshape(4, 2)
    array = xr.DataArray(data, dims=("y", "x"), name="field")
    return array.pyramid.build(levels=3, chunks=2, factor=2)


@functools.cache
def values(start: int) -> list[np.ndarray]:
    return [level.to_numpy() for level in pyramid(start)]


def write(directory: Path, **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        pyramid().to_ome_zarr(directory / "out.zarr", **options)


def whole(directory: Path) -> int | None:
    """Return which image is there, by its first sample; None if what is there is not whole."""
    read = [level.to_numpy() for level in xpyramid.open_pyramid(directory / "out.zarr/field")]
    start = int(read[0][0, 0])
    right = all(np.array_equal(got, want) for got, want in zip(read, values(start), strict=True))
    return start if right else None


def is_whole(directory: Path, start: int = NEW) -> bool:
    """Whether the image has the values that it should have, in all levels."""
    return whole(directory) == start


def is_there(directory: Path) -> bool:
    """Whether the image is there, whole, rather than not at all."""
    try:
        right = is_whole(directory)
    except errors.NotAPyramidError:
        return False
    assert right, "what is announced is not whole"
    return True


def leftovers(directory: Path) -> list[str]:
    """Return files that no finished image has."""
    files = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
    return [name for name in files if "unfinished" in name or name.endswith((".partial", "lock"))]


def image_of(directory: Path) -> Path | None:
    """Return where the image is, be it finished or not."""
    images = [directory / "out.zarr/.field.unfinished/image", directory / "out.zarr/field"]
    found = [image for image in images if image.exists()]
    return found[0] if found else None


def chunks(directory: Path) -> dict[str, Path]:
    """Return the files of chunks of samples, by their place in the image."""
    image = image_of(directory)
    if image is None:
        return {}
    paths = [path for path in image.glob("*/field/**/*") if path.name.replace(".", "").isdecimal()]
    return {str(path.relative_to(image)): path for path in paths if path.is_file()}


def stamps(directory: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a chunk is written again, by its place in the image."""
    found = {name: path.stat() for name, path in chunks(directory).items()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def finished(directory: Path, zarr_format: int = 3) -> set[str]:
    """Return the chunks of the tasks that the journal of an unfinished build calls done."""
    tasks = directory / "out.zarr/.field.unfinished/tasks"
    lead = "c/" if zarr_format == 3 else ""
    found = set()
    for path in tasks.rglob("*"):
        if path.is_file() and not path.name.endswith(".partial"):
            level, *_ = path.relative_to(tasks / "2").parts
            found.add(f"{level}/field/{lead}{path.name.replace('.', '/')}")
    return found


def add_others(directory: Path) -> None:
    """Put into the image what is not its own."""
    (directory / "out.zarr/field/notes.txt").write_text("mine")
    zarr.create_array(directory / "out.zarr/field/labels/cells", data=np.arange(3))


def others_are_there(directory: Path) -> bool:
    place = directory / "out.zarr/field"
    labels = zarr.open_array(place / "labels/cells", mode="r")[:]
    return labels.tolist() == [0, 1, 2] and (place / "notes.txt").read_text() == "mine"


def broken_off(build: Callable[[], None]) -> None:
    """Leave an unfinished build of which two tasks are done."""
    saved = []
    save = journal.Journal.save

    def fail(self: journal.Journal, node: Any, state: Any) -> None:
        save(self, node, state)
        saved.append(node)
        if len(saved) == 2:
            raise RuntimeError("enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Journal, "save", fail)
        with pytest.raises(RuntimeError, match="enough"):
            build()
