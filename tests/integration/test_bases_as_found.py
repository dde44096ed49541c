"""What users have and do: bases in places that do not suit, and bases that grew or lost chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.added_levels import base, files, noise

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main as cli


def dataset(n: int = 4, first: int = 0) -> xr.Dataset:
    coords = {"t": np.arange(first, first + n), "y": np.arange(20.0), "x": 0.5 * np.arange(30)}
    data = np.random.default_rng(0).integers(0, 100, (n, 20, 30)).astype("u2")
    return xr.Dataset({"sst": (("t", "y", "x"), data)}, coords)


def stored(path: Path, group: str | None = None) -> None:
    encoding = {"sst": {"chunks": (1, 8, 8)}}
    dataset().to_zarr(path, group=group, encoding=encoding, consolidated=False)


def test_a_dataset_stays_one_that_xarray_opens(tmp_path: Path) -> None:
    stored(tmp_path / "sst.zarr")
    before = files(tmp_path)
    with pytest.raises(errors.SourceError, match=r"\['t', 'x', 'y'\].*name 'new.zarr' with level0"):
        xpyramid.add_levels(tmp_path / "sst.zarr", level0="sst")
    assert files(tmp_path) == before
    (tmp_path / "new.zarr").mkdir()
    (tmp_path / "sst.zarr").rename(tmp_path / "new.zarr/0")
    xpyramid.add_levels(tmp_path / "new.zarr", level0="0/sst", levels=2)
    p = xpyramid.open_pyramid(tmp_path / "new.zarr")
    assert p.plan.axes[2].spacing == 0.5
    xr.testing.assert_equal(p[0].drop_attrs(), dataset().sst)
    xr.testing.assert_identical(
        xr.open_zarr(tmp_path / "new.zarr/0", consolidated=False).load(), dataset()
    )
    assert xpyramid.verify(tmp_path / "new.zarr", deep=True) == []


def test_what_may_be_level_0_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base(tmp_path, "raw")
    message = r"no array at '0', .*but the arrays \['raw'\]; say which it is with level0"
    with pytest.raises(errors.NotAPyramidError, match=message):
        xpyramid.add_levels(tmp_path)
    with pytest.raises(errors.NotAPyramidError, match=r"there is nothing at all; .*group="):
        xpyramid.add_levels(tmp_path, "film")
    assert cli(["build", str(tmp_path), "--in-place", "--group", "film"]) == 2
    assert "say where it is with --level0, or name another --group" in capsys.readouterr().err
    with pytest.raises(errors.SourceError, match=f"group .* {str(tmp_path)!r} with level0"):
        xpyramid.add_levels(tmp_path, "raw")
    base(tmp_path, "field/0")
    with pytest.raises(errors.SourceError, match=f"{str(tmp_path / 'field')!r}; or copy it"):
        xpyramid.add_levels(tmp_path, "field/0")
    zarr.create_array(tmp_path / "a.zarr", data=noise())
    (tmp_path / "zarr.json").unlink()  # the directory is no group
    with pytest.raises(errors.SourceError, match=r"move it .* 'new.zarr/0', and name 'new.zarr'"):
        xpyramid.add_levels(tmp_path / "a.zarr")
    (tmp_path / "new.zarr").mkdir()
    (tmp_path / "a.zarr").rename(tmp_path / "new.zarr/0")
    with pytest.warns(UserWarning, match="dimension_names"):
        xpyramid.add_levels(tmp_path / "new.zarr", levels=2)
    assert len(xpyramid.open_pyramid(tmp_path / "new.zarr")) == 2


@pytest.mark.parametrize("form", [{"dimension_names": None}, {"zarr_format": 2}], ids=str)
def test_dimensions_that_are_guessed_are_said(form: dict[str, Any], tmp_path: Path) -> None:
    base(tmp_path, data=noise((2, 3, 20, 20)), **form)
    with pytest.warns(UserWarning, match="taken to have the dimensions c, z, y, x"):
        xpyramid.add_levels(tmp_path, "field", levels=2)


def test_a_chunk_that_is_gone_from_a_base_of_others_is_named(tmp_path: Path) -> None:
    base(tmp_path, data=1 + noise())
    xpyramid.add_levels(tmp_path, "field", levels=3)
    (tmp_path / "field/0/c/1/2").unlink()
    with pytest.warns(errors.MissingChunkWarning, match=r"'c/1/2' of .*0; .* counts as 0"):
        xpyramid.update(tmp_path, "field")


@pytest.mark.parametrize("region", ["changed", {"t": slice(4, 6)}], ids=str)
def test_a_base_that_another_program_made_longer(region: Any, tmp_path: Path) -> None:
    stored(tmp_path, "sst/0")
    xpyramid.add_levels(tmp_path, "sst", levels=2)
    dataset(2, 4).to_zarr(tmp_path, group="sst/0", append_dim="t", consolidated=False)
    message = r"has 6 samples along 't', and level 1 has 4.*mode='w'"
    with pytest.raises(errors.NotAPyramidError, match=message):
        xpyramid.update(tmp_path, "sst", region)
    xpyramid.add_levels(tmp_path, "sst", levels=2, mode="w")
    assert xpyramid.open_pyramid(tmp_path, "sst")[1].shape == (6, 20, 15)
    assert xpyramid.verify(tmp_path, deep=True) == []


def test_a_film_goes_on_in_its_own_steps(tmp_path: Path) -> None:
    frame = noise()
    with xpyramid.Appender(tmp_path, spacing={"t": 0.1, "y": 1, "x": 1}) as out:
        for _ in range(3):
            out.append(frame)
    with pytest.raises(errors.PlanError, match=r"spacing=.* along 't', and .* a step of 0.1"):
        xpyramid.Appender(tmp_path, spacing={"t": 9, "y": 1, "x": 1})
    with xpyramid.Appender(tmp_path, spacing={"t": 0.1, "y": 1, "x": 1}) as out:
        out.append(frame)
        with pytest.raises(errors.DtypeError, match=r"convert it first: .astype\('uint16'\)"):
            out.append(frame.astype("f4"))
        out.append(frame, 50.0)
    with (
        xpyramid.Appender(tmp_path) as out,
        pytest.raises(errors.AxisError, match=r"ends at 50.0; .*append\(frame, ...\)"),
    ):
        out.append(frame)
    np.testing.assert_allclose(xpyramid.open_pyramid(tmp_path)[0].t, [0, 0.1, 0.2, 0.3, 50])


@pytest.mark.parametrize("form", [{}, {"zarr_format": 2}, {"shards": (16, 16)}], ids=str)
def test_levels_beside_a_base_of_others_are_repaired(form: dict[str, Any], tmp_path: Path) -> None:
    base(tmp_path, data=1 + noise(), **form)
    xpyramid.add_levels(tmp_path, "field", levels=3)
    whole = files(tmp_path)
    below = "field/{}/0/0" if "zarr_format" in form else "field/{}/c/0/0"
    (tmp_path / below.format(1)).unlink()
    torn = tmp_path / below.format(2)
    torn.write_bytes(torn.read_bytes()[:-3])
    report = xpyramid.repair(tmp_path)
    assert report == []
    assert report.notes == ["field: 2 stored objects of levels above 0 were made again"]
    assert {key: raw for key, (_, raw) in files(tmp_path).items()} == {
        key: raw for key, (_, raw) in whole.items()
    }
    zarr.open_array(tmp_path / "field/0", mode="r+")[34:] = 7  # not below what is repaired
    (tmp_path / below.format(1)).unlink()
    assert xpyramid.repair(tmp_path) == []
    zarr.open_array(tmp_path / "field/0", mode="r+")[2, 2] = 7
    (tmp_path / below.format(1)).unlink()
    report = xpyramid.repair(tmp_path)
    assert [problem.kind for problem in report] == ["missing"]
    assert "nothing was made again: nothing is recorded of level 0" in report.notes[0]
