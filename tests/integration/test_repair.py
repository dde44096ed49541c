"""What verify names as missing or damaged is made again from level 0, and from nothing else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import quick_if, spread

import xpyramid
from xpyramid.cli.main import main as cli
from xpyramid.store.path import NodePath
from xpyramid.writer.template import consolidate

FORMS: dict[str, dict[str, Any]] = {
    "v3": {}, "v2": {"version": "0.4"}, "shards": {"shards": 16}, "arrays": {"layout": "arrays"}
}  # fmt: skip


def write(store: Path, chunks: int = 8, **options: Any) -> None:
    data = np.random.default_rng(0).integers(1, 1000, (64, 64), "u2")
    image = xr.DataArray(data, dims=("y", "x"), name="field")
    image.pyramid.to_ome_zarr(store, levels=4, chunks=chunks, progress=False, **options)


def files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def objects(directory: Path, level: int) -> list[Path]:
    """Return the files of the objects of a level."""
    paths = sorted((directory / "field" / str(level)).rglob("*"))
    return [path for path in paths if path.is_file() and path.name.isdecimal()]


def swap(one: Path, other: Path) -> None:
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


DAMAGES: dict[str, Any] = {
    "missing": lambda paths: paths[0].unlink(),
    "cut": lambda paths: paths[0].write_bytes(paths[0].read_bytes()[:-3]),
    "empty": lambda paths: paths[0].write_bytes(b""),
    "a bit": lambda paths: flip(paths[0]),
    "swapped": lambda paths: swap(paths[0], paths[-1]),
    "all": lambda paths: [path.unlink() for path in paths],
    "all cut": lambda paths: [path.write_bytes(path.read_bytes()[:-3]) for path in paths],
}


@pytest.mark.parametrize(("form", "damage"), spread(3, [*FORMS], [*DAMAGES]))
def test_the_same_bytes_are_there_again(damage: str, form: str, tmp_path: Path) -> None:
    write(tmp_path, **FORMS[form])
    before = files(tmp_path)
    for level in (1, 2):
        DAMAGES[damage](objects(tmp_path, level))
    assert files(tmp_path) != before
    assert xpyramid.repair(tmp_path) == []
    assert files(tmp_path) == before


@pytest.mark.parametrize("damage", ["cut", "all", "all cut", "a bit"])
def test_objects_that_end_within_windows(damage: str, tmp_path: Path) -> None:
    write(tmp_path, chunks=7)
    before = files(tmp_path)
    for level in (1, 2, 3):
        DAMAGES[damage](objects(tmp_path, level))
    assert xpyramid.repair(tmp_path) == []
    assert files(tmp_path) == before


def test_nothing_is_wrong(tmp_path: Path) -> None:
    write(tmp_path)
    before = files(tmp_path)
    assert xpyramid.repair(tmp_path, "field") == []
    assert files(tmp_path) == before


def test_a_damaged_level_0_is_named_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    write(tmp_path)
    objects(tmp_path, 0)[3].unlink()
    objects(tmp_path, 1)[0].unlink()
    before = files(tmp_path)
    assert {p.where.split("/")[1] for p in xpyramid.repair(tmp_path)} == {"0", "1"}
    assert files(tmp_path) == before


def seal(store: Path) -> dict[str, Any]:
    """Return the record of the image."""
    sealed: dict[str, Any] = zarr.open_group(store / "field", mode="r").attrs["xpyramid"]  # type: ignore[assignment]
    return sealed["sealed"]  # type: ignore[no-any-return]


def without_record(store: Path) -> None:
    group = zarr.open_group(store / "field", mode="r+", use_consolidated=False)
    del group.attrs["xpyramid"]
    consolidate(NodePath(group.store, group.path))


@pytest.mark.parametrize("form", quick_if(lambda form: form in ("v3", "v2"), FORMS))
def test_without_a_record_nothing_says_which_level_is_right(form: str, tmp_path: Path) -> None:
    write(tmp_path, chunks=16, **FORMS[form])
    without_record(tmp_path)
    level: Any = zarr.open_group(tmp_path / "field", mode="r+")[
        xpyramid.open_pyramid(tmp_path, "field").metadata["multiscales"][0]["datasets"][0]["path"]
    ]
    level[:8, :8] = 7  # a wrong base, which can be decoded
    before = files(tmp_path)
    for record in (False, True):
        left = xpyramid.repair(tmp_path, deep=True, record=record)
        assert "values" in {problem.kind for problem in left}
        assert files(tmp_path) == before
        assert "nothing is recorded of level 0" in left.notes[0]
    assert "the record was not made anew, as more is wrong" in left.notes[1]


def test_damage_of_level_0_that_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report lists so many problems of a kind; that of level 0 may be none of them."""
    write(tmp_path)
    objects(tmp_path, 1)[0].write_bytes(b"cut")
    flip(objects(tmp_path, 0)[3])
    monkeypatch.setattr("xpyramid.verifier.inspect.MOST", 1)
    listed = [p.where for p in xpyramid.verify(tmp_path, checksums=True)]
    assert not [where for where in listed if where.startswith("field/0")]
    before = files(tmp_path)
    left = xpyramid.repair(tmp_path)
    assert files(tmp_path) == before
    assert "level 0 is damaged, or was changed" in left.notes[0]


def change_table(store: Path, change: Callable[[bytearray], None]) -> None:
    """Change the table of level 0."""
    group = zarr.open_group(store / "field", mode="r+", use_consolidated=False)
    own: Any = group.attrs["xpyramid"]
    names = {"0", "0/field"} & own["sealed"]["objects"].keys()
    entry = own["sealed"]["objects"][names.pop()]
    table = bytearray(base64.b64decode(entry["table"]))
    change(table)
    entry["table"] = base64.b64encode(table).decode()
    group.attrs["xpyramid"] = own
    consolidate(NodePath(group.store, group.path))


def cut_table(store: Path) -> None:
    change_table(store, lambda table: table.pop())  # type: ignore[arg-type,return-value]


def flip_table(store: Path) -> None:
    def flip_last(table: bytearray) -> None:
        table[-1] ^= 1

    change_table(store, flip_last)


def edit(store: Path) -> None:
    """Edit the metadata of the image by hand."""
    group = zarr.open_group(store / "field", mode="r+", use_consolidated=False)
    group.attrs["mine"] = 1
    consolidate(NodePath(group.store, group.path))


RECORDS = {"missing": without_record, "edited": edit, "damaged": cut_table}


@pytest.mark.parametrize(("form", "change"), spread(3, [*FORMS], [*RECORDS]))
def test_a_record_is_made_anew_only_when_asked(form: str, change: str, tmp_path: Path) -> None:
    write(tmp_path, chunks=16, **FORMS[form])
    sealed = seal(tmp_path)
    RECORDS[change](tmp_path)
    changed = files(tmp_path)
    assert xpyramid.repair(tmp_path, deep=True)
    assert files(tmp_path) == changed
    left = xpyramid.repair(tmp_path, record=True)
    assert (left, left.notes) == ([], ["field: the record was made anew"])
    assert xpyramid.verify(tmp_path, deep=True) == []
    assert seal(tmp_path)["objects"] == sealed["objects"]
    now = files(tmp_path)
    assert {k: v for k, v in now.items() if k.rpartition("/")[2].isdecimal()} == {
        k: v for k, v in changed.items() if k.rpartition("/")[2].isdecimal()
    }
    objects(tmp_path, 1)[0].unlink()  # and is used
    assert xpyramid.repair(tmp_path) == []
    assert files(tmp_path) == now


def test_a_table_that_accuses_level_0_is_not_made_anew(tmp_path: Path) -> None:
    """It cannot be told from a level 0 that was damaged."""
    write(tmp_path)
    flip_table(tmp_path)
    before = files(tmp_path)
    left = xpyramid.repair(tmp_path, record=True)
    assert files(tmp_path) == before
    assert {"changed"} <= {problem.kind for problem in left}
    assert "more is wrong" in left.notes[0]


def test_changed_samples_are_no_fault_of_the_record(tmp_path: Path) -> None:
    write(tmp_path)
    swap(objects(tmp_path, 0)[0], objects(tmp_path, 0)[-1])
    before = files(tmp_path)
    left = xpyramid.repair(tmp_path, record=True)
    assert {"changed", "values"} <= {problem.kind for problem in left}
    assert files(tmp_path) == before


def test_images_of_others_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path)
    group = zarr.open_group(tmp_path / "field", mode="r+", use_consolidated=False)
    ome: Any = group.attrs["ome"]
    del ome["multiscales"][0]["metadata"]
    group.attrs["ome"] = ome
    objects(tmp_path, 1)[0].unlink()
    before = files(tmp_path)
    left = xpyramid.repair(tmp_path)
    assert left
    assert "does not say how its levels were made" in left.notes[0]
    assert files(tmp_path) == before


def test_documents_of_levels_are_not_invented(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "field/1/field/zarr.json").write_bytes(b"{")
    before = files(tmp_path)
    left = xpyramid.repair(tmp_path, record=True)
    assert "nothing was made again" in left.notes[0]
    assert files(tmp_path) == before


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    objects(tmp_path, 2)[0].unlink()
    assert cli(["verify", str(tmp_path)]) == 1
    capsys.readouterr()
    assert cli(["verify", str(tmp_path), "--repair"]) == 0
    assert capsys.readouterr().out == (
        "note: field: 1 stored object of levels above 0 was made again\n"
        "nothing wrong with 1 image\n"
    )
    without_record(tmp_path)
    assert cli(["verify", str(tmp_path), "--record"]) == 2
    assert "not allowed without argument --repair" in capsys.readouterr().err
    assert cli(["verify", str(tmp_path), "--repair", "--record", "--quiet"]) == 0
    assert capsys.readouterr().out == "note: field: the record was made anew\n"
