"""What verify names as missing or damaged is made again from level 0, and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid.cli.main import main as cli

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


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_same_bytes_are_there_again(
    damage: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    write(tmp_path, **options)
    before = files(tmp_path)
    for level in (1, 2):
        damage(objects(tmp_path, level))
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


def test_wrong_values_without_a_record_are_found_deep(tmp_path: Path) -> None:
    import zarr

    write(tmp_path)
    group = zarr.open_group(tmp_path / "field", mode="r+")
    del group.attrs["xpyramid"]
    before = files(tmp_path)
    level: Any = group["1/field"]
    level[:8, :8] = 0
    assert {p.kind for p in xpyramid.repair(tmp_path)} <= {"record", "consolidated"}
    assert files(tmp_path) != before
    left = xpyramid.repair(tmp_path, deep=True)
    assert "values" not in {problem.kind for problem in left}
    np.testing.assert_array_equal(level[:], xpyramid.open_pyramid(tmp_path, "field")[1])


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    objects(tmp_path, 2)[0].unlink()
    assert cli(["verify", str(tmp_path)]) == 1
    capsys.readouterr()
    assert cli(["verify", str(tmp_path), "--repair"]) == 0
    assert capsys.readouterr().out == "nothing wrong with 1 image\n"
