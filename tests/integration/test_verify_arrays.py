"""``verify`` of arrays and groups that are no images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

import xpyramid
from xpyramid.cli.main import main as cli

DATA = np.arange(1, 257, dtype="u2").reshape(16, 16)

FORMS: dict[str, dict[str, Any]] = {
    "v3": {"zarr_format": 3}, "v2": {"zarr_format": 2},
    "shards": {"zarr_format": 3, "shards": (16, 16)},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("path", ["", "a", "g/a"])
def test_nothing_is_wrong(path: str, form: dict[str, Any], tmp_path: Path) -> None:
    zarr.create_array(tmp_path, name=path, data=DATA, chunks=(4, 4), **form)
    for checks in ({}, {"checksums": True}, {"deep": True}):
        report = xpyramid.verify(tmp_path, **checks)
        assert report == []
        assert (report.images, report.arrays) == (0, 1)
        assert "there is no OME-Zarr image" in report.notes[-1]
    assert xpyramid.verify(tmp_path, path, deep=True) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def chunk(directory: Path) -> Path:
    return next(p for p in sorted(directory.rglob("*")) if p.is_file() and p.name[-1].isdigit())


def document(directory: Path) -> Path:
    return next(p for p in directory.rglob("*") if p.name in ("zarr.json", ".zarray"))


def contradict(directory: Path) -> None:
    text = document(directory).read_text()
    document(directory).write_text(text.replace('"uint16"', '"nothing"').replace("<u2", "<q9"))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str, bool]] = {
    "a torn chunk, or index": (lambda d: cut(chunk(d)), "unreadable", True),
    "what is no chunk": (lambda d: (d / "notes.txt").write_text("x"), "stray", False),
    "a document": (lambda d: cut(document(d)), "unreadable", False),
    "what no array has": (contradict, "unreadable", False),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("path", ["", "g/a"])
@pytest.mark.parametrize(("damage", "kind", "deep"), DAMAGES.values(), ids=DAMAGES)
def test_damage(
    damage: Callable[[Path], Any],
    kind: str,
    deep: bool,
    path: str,
    form: dict[str, Any],
    tmp_path: Path,
) -> None:
    zarr.create_array(tmp_path, name=path, data=DATA, chunks=(4, 4), **form)
    damage(tmp_path / path)
    problems = xpyramid.verify(tmp_path, deep=deep)
    assert kind in {problem.kind for problem in problems}
    assert all(problem.where.startswith(path) for problem in problems if problem.kind == kind)


def test_chunks_that_nothing_stands_for(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", data=DATA, chunks=(4, 4), zarr_format=2, fill_value=None)
    (tmp_path / "a/1.2").unlink()
    assert [p.where for p in xpyramid.verify(tmp_path / "a")] == ["1.2"]


def test_chunks_that_may_be_empty_are_noted(tmp_path: Path) -> None:
    zarr.create_array(tmp_path, name="a", data=DATA, chunks=(4, 4))
    (tmp_path / "a/c/1/2").unlink()
    report = xpyramid.verify(tmp_path)
    assert report == []
    assert report.notes[0].startswith("a: 1 of 16 chunks are not stored and read as 0")


def test_copies_that_are_stale(tmp_path: Path) -> None:
    dataset = xr.Dataset({"a": (("y", "x"), DATA)})
    dataset.to_zarr(tmp_path, zarr_format=2, consolidated=True)
    assert xpyramid.verify(tmp_path, deep=True) == []
    zarr.open_array(tmp_path / "a").attrs["new"] = 1
    assert {p.kind for p in xpyramid.verify(tmp_path)} == {"consolidated"}


def test_a_store_in_memory() -> None:
    store = MemoryStore()
    zarr.create_array(store, name="a", data=np.float64(3.0))
    assert xpyramid.verify(store, deep=True) == []


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zarr.create_array(tmp_path, name="a", data=DATA, chunks=(4, 4))
    assert cli(["verify", str(tmp_path), "--deep"]) == 0
    said = capsys.readouterr().out
    assert "note: there is no OME-Zarr image here or below" in said
    assert said.endswith("nothing wrong with 1 array\n")
    cut(chunk(tmp_path))
    assert cli(["verify", str(tmp_path), "--deep"]) == 1
    assert cli(["verify", str(tmp_path), "--json"]) == 0
    assert '"valid": true' in capsys.readouterr().out
