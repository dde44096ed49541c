"""Names that differ in case only, on disks for which they are one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xpyramid import errors
from xpyramid.writer import target_checks

VALUES = np.arange(16, dtype="u2").reshape(4, 4)


def fields(*names: str, **coords: Any) -> xr.Dataset:
    return xr.Dataset(dict.fromkeys(names, (("y", "x"), VALUES)), coords)


def write(dataset: xr.Dataset, out: Path, **options: Any) -> None:
    dataset.pyramid.to_ome_zarr(out / "out.zarr", levels=2, chunks=2, **options)


@pytest.fixture
def _caseless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the disk look like one that ignores case, as far as is asked."""
    there = os.path.lexists

    def in_any_case(path: Any) -> bool:
        path = Path(path)
        if there(path) or not path.parent.is_dir():
            return there(path)
        return path.name.casefold() in {name.casefold() for name in os.listdir(path.parent)}

    monkeypatch.setattr(target_checks, "lexists", in_any_case)
    monkeypatch.setattr(target_checks, "ignores_case", lambda _: True)


@pytest.mark.usefixtures("_caseless")
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (fields("Field", "field"), "'field' and 'Field' are one name"),
        (fields("strasse", "straße"), "are one name"),
        (fields("\u00e9", "e\u0301"), "are one name"),
        (fields("field", T=1, t=2), r"'field/0/[tT]' and 'field/0/[tT]' are one name"),
        (fields("field", FIELD=1), "are one name"),
    ],
)
def test_names_that_are_one(dataset: xr.Dataset, message: str, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidNameError, match=message):
        write(dataset, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_caseless")
@pytest.mark.parametrize("options", [{"mode": "w"}, {"mode": "w-"}, {"resume": True}])
def test_another_spelling_is_there(options: dict[str, Any], tmp_path: Path) -> None:
    write(fields("Field", "other"), tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.TargetExistsError, match="in another spelling"):
        write(fields("field"), tmp_path, **options)
    assert sorted(tmp_path.rglob("*")) == before
    write(fields("Field"), tmp_path, mode="w")


def test_disks_that_heed_case(tmp_path: Path) -> None:
    if target_checks.ignores_case(tmp_path):
        pytest.skip("this disk ignores case")
    write(fields("Field", "field", T=1, t=2), tmp_path)
    assert {path.name for path in (tmp_path / "out.zarr").iterdir()} >= {"Field", "field"}


def test_how_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "Data").mkdir()
    (tmp_path / "dATA").symlink_to(tmp_path / "Data")
    assert target_checks.ignores_case(tmp_path / "Data")
    assert target_checks.ignores_case(tmp_path / "Data/1/2")
    assert not target_checks.ignores_case(tmp_path / "other")
