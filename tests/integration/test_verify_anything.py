"""``verify`` and ``open_pyramids`` of stores in any state: archives, damaged, begun."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main
from xpyramid.reader.find import find_images


def write(store: Any, **options: Any) -> xr.DataArray:
    array = xr.DataArray(np.arange(256, dtype="u2").reshape(16, 16), dims=("y", "x"), name="field")
    array.pyramid.build(levels=2, chunks=8).to_ome_zarr(store, **options)
    return array


@pytest.mark.parametrize("suffix", [".zip", ".ozx"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives(
    compression: int, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "s.zarr")
    archive = tmp_path / f"s{suffix}"
    with zipfile.ZipFile(archive, "w", compression) as file:
        for path in sorted((tmp_path / "s.zarr").rglob("*")):
            file.write(path, path.relative_to(tmp_path / "s.zarr"))
    for options in ({}, {"checksums": True}, {"deep": True}):
        assert xpyramid.verify(archive, **options) == []
        assert xpyramid.verify(archive, "field", **options) == []
    assert main(["verify", str(archive), "--deep"]) == 0
    assert capsys.readouterr().out == "nothing wrong with 1 image\n"


def test_an_archive_of_a_damaged_store(tmp_path: Path) -> None:
    write(tmp_path / "s.zarr")
    chunk = tmp_path / "s.zarr/field/0/field/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as file:
        for path in (tmp_path / "s.zarr").rglob("*"):
            file.write(path, path.relative_to(tmp_path / "s.zarr"))
    (problem,) = xpyramid.verify(tmp_path / "s.zip")
    assert problem.where == "field/0/field/c/0/0"


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "3", '"x"', "{", "{}x", '{"node_type": 3}', '{"zarr_format": "x\x1b[2J"}',
     '{"zarr_format": 3, "node_type": "group", "attributes": []}',
     '{"zarr_format": 3, "node_type": "group", "consolidated_metadata": 3}',
     '{"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"kind": "x"}}'],
)  # fmt: skip
def test_damaged_roots(text: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "zarr.json").write_text(text)
    calls: list[Callable[[Any], Any]] = [
        xpyramid.open_pyramids, find_images, xpyramid.verify, xpyramid.open_pyramid
    ]  # fmt: skip
    messages = []
    for call in calls:
        try:
            messages.append(str(call(tmp_path)))
        except errors.PyramidError as error:
            messages.append(str(error))
    assert "\x1b" not in "".join(messages)


@pytest.mark.parametrize("store", [Path, lambda _: MemoryStore()], ids=["disk", "memory"])
def test_labels_that_are_to_come(store: Callable[[Path], Any], tmp_path: Path) -> None:
    place = store(tmp_path / "s.zarr")
    array = write(place)
    labels = array.rename("cells").pyramid.build(levels=2, chunks=8, method="mode")
    task = labels.to_ome_zarr(place, labels_of="field", compute=False)
    problems = xpyramid.verify(place, deep=True)
    assert [(p.kind, p.where) for p in problems] == [("unfinished", "field/labels/cells")]
    task.compute(scheduler="sync")
    assert xpyramid.verify(place, deep=True) == []
