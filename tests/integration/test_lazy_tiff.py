"""TIFF files are read plane by plane, strip by strip, tile by tile; never whole."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import tifffile

import xpyramid
from xpyramid.cli.main import main
from xpyramid.writer.source_guard import what_is_read


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_stack(planes: int, length: int, **options: Any) -> np.ndarray[Any, Any]:
    data = np.arange(planes, dtype="u2")[:, None, None] + np.arange(length, dtype="u2")[:, None]
    data = np.broadcast_to(data, (planes, length, length))
    options = {"compression": "zlib", "photometric": "minisblack", **options}
    with tifffile.TiffWriter("stack.tif", bigtiff=True) as file:
        file.write(iter(data), shape=data.shape, dtype="u2", metadata={"axes": "ZYX"}, **options)
    return data


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_kernels")  # which takes memory, too, before it is measured
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 planes of 0.8 MB: a part of them is in memory at a time, and none on disk."""
    data = save_stack(200, 640)
    monkeypatch.setattr(tifffile.tifffile, "create_output", None)  # where it would be unpacked
    assert main(["build", "stack.tif", "warm.zarr", "--levels", "2", "--memory", "30MB"]) == 0
    tracemalloc.start()
    try:
        with dask.config.set(num_workers=2):
            assert (
                main(["build", "stack.tif", "out.zarr", "--levels", "3", "--memory", "30MB"]) == 0
            )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data.nbytes > 100e6
    assert peak < 45e6
    pyramid = xpyramid.open_pyramid("out.zarr/stack")
    np.testing.assert_array_equal(pyramid[0][::50], data[::50])
    assert pyramid.plan.levels[0].chunks == (1, 640, 640)


def test_planes_are_read_when_asked_for() -> None:
    data = save_stack(4, 64)
    with tifffile.TiffFile("stack.tif") as file:
        offset, count = file.pages[3].dataoffsets[0], file.pages[3].databytecounts[0]
    with Path("stack.tif").open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * count)
    array = xpyramid.open_source("stack.tif")
    np.testing.assert_array_equal(array[:3], data[:3])
    with pytest.raises(Exception, match=r"incorrect header|decompress"):
        array[3].load()


@pytest.mark.parametrize(
    ("shape", "options", "read", "stored"),
    [
        # tiles are kept
        ((64, 80), {"tile": (16, 32)}, {"y": 16, "x": 32}, (16, 32)),
        # strips of a plane are read together, and stored as viewers like it
        ((64, 1200), {"rowsperstrip": 8}, {"y": 64, "x": 1200}, (64, 512)),
        # planes of a stack are kept: others could not be made without holding many of them,
        ((5, 600, 1000), {"rowsperstrip": 8}, {"z": 1, "y": 600, "x": 1000}, (1, 600, 1000)),
        # of small planes as many can be held
        ((70, 80, 80), {"rowsperstrip": 8}, {"z": 1, "y": 80, "x": 80}, (64, 64, 64)),
        # colours that are stored side by side are not
        ((64, 80, 3), {"tile": (16, 16), "photometric": "rgb"}, {"c": 3, "y": 16, "x": 16},
         (1, 64, 80)),
    ],
)  # fmt: skip
def test_chunks(
    shape: tuple[int, ...], options: dict[str, Any], read: dict[str, int], stored: tuple[int, ...]
) -> None:
    options = {"photometric": "minisblack", **options}
    tifffile.imwrite("a.tif", np.zeros(shape, "u1"), compression="zlib", **options)
    array = xpyramid.open_source("a.tif")
    assert array.encoding["preferred_chunks"] == read
    assert array.pyramid.build().plan.levels[0].chunks == stored


def test_large_strips_are_divided() -> None:
    """A plane of 64 MB is read in bands of at most 16, which begin where chunks do."""
    with tifffile.TiffWriter("a.tif") as file:
        file.write(np.zeros((8192, 8192), "u1"), compression="zlib", rowsperstrip=8)
    array = xpyramid.open_source("a.tif")
    assert array.encoding["preferred_chunks"] == {"y": 2048, "x": 8192}


@pytest.mark.slow
def test_another_process_can_read_it() -> None:
    data = save_stack(3, 32)
    there = pickle.loads(pickle.dumps(xpyramid.open_source("stack.tif")))
    np.testing.assert_array_equal(there, data)
    chunked = xpyramid.open_source("stack.tif").chunk({"z": 1})
    with dask.config.set(scheduler="processes"):
        np.testing.assert_array_equal(chunked[2], data[2])


def test_it_is_known_what_is_read() -> None:
    save_stack(3, 32)
    found = what_is_read([xpyramid.open_source("stack.tif").variable]).locations
    assert Path("stack.tif").resolve().parts in [spot.parts for spot in found]


def test_resume(capsys: pytest.CaptureFixture[str]) -> None:
    data = save_stack(3, 64)
    array = xpyramid.open_source("stack.tif")
    options: dict[str, Any] = {"levels": 2, "chunks": {"y": 32, "x": 32}}
    array.pyramid.to_ome_zarr("out.zarr", compute=False, **options)
    command = ["build", "stack.tif", "out.zarr", "--levels", "2", "--chunks", "y=32,x=32"]
    assert main([*command, "--resume"]) == 0, capsys.readouterr().err
    np.testing.assert_array_equal(xpyramid.open_pyramid("out.zarr/stack")[0], data)


def test_file_of_the_other_byte_order() -> None:
    data = np.arange(600, dtype=">u2").reshape(20, 30)
    for compression in (None, "zlib"):
        tifffile.imwrite("big.tif", data, byteorder=">", compression=compression)
        array = xpyramid.open_source("big.tif")
        np.testing.assert_array_equal(array, data)
        np.testing.assert_array_equal(array[::-1, 3], data[::-1, 3])
