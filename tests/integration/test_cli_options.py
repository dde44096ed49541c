"""Options of ``xpyramid build`` do what the parameters of their names do."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid.cli.main import main
from xpyramid.cli.main import make_parser as parser
from xpyramid.options import BuildOptions, LevelOptions, WriteOptions, options_of


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("scan.npy", np.arange(2 * 20 * 24, dtype="u2").reshape(2, 20, 24))


def run(*arguments: str) -> None:
    assert main(["build", *arguments, "--levels", "2", "--chunks", "8"]) == 0


def ome(path: str) -> dict[str, Any]:
    found: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)["ome"]  # type: ignore[assignment]
    return found


def test_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option of building and writing is one of the command line; ``mode`` is --replace."""
    with pytest.raises(SystemExit):
        parser().parse_args(["build", "--help-all"])
    shown = set(re.findall(r"--([a-z0-9-]+)", capsys.readouterr().out))
    declared = options_of(LevelOptions, BuildOptions, WriteOptions)
    ours = {"mode", "compute", "compressor"}  # --replace; nothing to wait for; an object of zarr
    assert {name for name in declared if name.replace("_", "-") not in shown} == ours
    # What is not said is left to the calls, which know their defaults.
    arguments = vars(parser().parse_args(["build", "SRC", "DST"]))
    assert not declared.keys() & arguments.keys()


def test_calls_have_all_options() -> None:
    """What an editor shows of the accessor is what there is."""
    own = {"self", "store", "group"}
    building, writing = set(options_of(LevelOptions, BuildOptions)), set(options_of(WriteOptions))
    array = xr.DataArray(np.ones((4, 4)), dims=("y", "x"), name="a")
    calls = {
        array.pyramid.build: building,
        array.to_dataset().pyramid.build: building,
        array.pyramid.to_ome_zarr: building | writing,
        array.to_dataset().pyramid.to_ome_zarr: building | writing,
        array.pyramid.build(levels=1).to_ome_zarr: writing | {"chunks"},
        array.to_dataset().pyramid.build(levels=1).to_ome_zarr: writing | {"chunks"},
    }
    for call, names in calls.items():
        assert set(inspect.signature(call).parameters) - own == names
        for name in names:
            assert re.search(rf"^ *{name} : \S", call.__doc__, re.MULTILINE), (call, name)


def test_omero(capsys: pytest.CaptureFixture[str]) -> None:
    dims = ("--source-dims", "c,y,x")
    run("scan.npy", "out.zarr", *dims, "--omero", '{"colors": ["FF0000", "00FF00"]}')
    assert [one["color"] for one in ome("out.zarr/scan")["omero"]["channels"]] == [
        "FF0000",
        "00FF00",
    ]
    run("scan.npy", "out.zarr", *dims, "--omero", "no", "--group", "none")
    assert "omero" not in ome("out.zarr/none")
    run("scan.npy", "out.zarr", "--omero", "yes", "--group", "grey")
    assert ome("out.zarr/grey")["omero"]["channels"][0]["window"]["max"] == 959
    for wrong in ("maybe", "[1]"):
        assert main(["build", "scan.npy", "new.zarr", "--omero", wrong]) == 2
        assert "accepted: yes, no, or JSON" in capsys.readouterr().err
    assert not Path("new.zarr").exists()


def test_labels_of(capsys: pytest.CaptureFixture[str]) -> None:
    run("scan.npy", "out.zarr")
    np.save("cells.npy", (np.arange(2 * 20 * 24) // 7 % 3).astype("u1").reshape(2, 20, 24))
    assert main(["build", "cells.npy", "out.zarr", "--labels-of", "scan"]) == 0
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing.startswith("written to out.zarr/scan/labels/cells: 2 levels of mode, labels, ")
    opened = xpyramid.open_pyramid("out.zarr/scan/labels/cells")
    assert (len(opened), opened.method) == (2, "mode")
    assert xpyramid.open_pyramid("out.zarr/scan").labels == ("cells",)
    assert main(["build", "cells.npy", "out.zarr", "--labels-of", "nowhere"]) == 2
    assert "no OME-Zarr image" in capsys.readouterr().err
    assert main(["build", "cells.npy", "new.zarr", "--labels-of", "scan"]) == 2
    assert "there is nothing at 'new.zarr'" in capsys.readouterr().err


def test_conventions() -> None:
    run("scan.npy", "out.zarr", "--conventions", "geozarr")
    assert "zarr_conventions" in zarr.open_group("out.zarr/scan", mode="r").attrs


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    def axes(group: str) -> list[str]:
        return [axis["name"] for axis in ome(f"out.zarr/{group}")["multiscales"][0]["axes"]]

    array = xr.DataArray(np.ones((8, 8), "u1"), dims=("lat", "lon"), name="map")
    array.to_dataset().to_zarr("map.zarr", consolidated=False)
    run("map.zarr", "out.zarr")
    run("map.zarr", "out.zarr", "--group", "own", "--names", "source")
    run("map.zarr", "out.zarr", "--group", "geo", "--conventions", "geozarr")
    run("map.zarr", "out.zarr", "--group", "both", "--conventions", "geozarr", "--names", "ome")
    found = [axes(group) for group in ("map", "own", "geo", "both")]
    assert found == [["y", "x"], ["lat", "lon"], ["lat", "lon"], ["y", "x"]]
    assert main(["build", "map.zarr", "new.zarr", "--names", "mine"]) == 2
    assert "invalid choice: 'mine'" in capsys.readouterr().err


def test_dtype() -> None:
    array = xr.DataArray(np.ones((8, 8), "f4"), dims=("y", "x"), name="map")
    packing = {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}
    array.to_dataset().to_zarr("map.zarr", consolidated=False, encoding={"map": packing})
    run("map.zarr", "out.zarr", "--dtype", "source")
    assert zarr.open_array("out.zarr/map/1/map", mode="r").dtype == "i2"
    assert (xr.open_zarr("out.zarr/map/1")["map"] == 1).all()


def test_irregular(capsys: pytest.CaptureFixture[str]) -> None:
    coords = {"y": [0.0, 1, 2, 4, 9, 10], "x": np.arange(6.0)}
    array = xr.DataArray(np.ones((6, 6), "u1"), coords, ("y", "x"), name="map")
    array.to_dataset().to_zarr("map.zarr", consolidated=False)
    assert main(["build", "map.zarr", "out.zarr", "--levels", "2", "--factor", "2"]) == 2
    assert "irregular" in capsys.readouterr().err
    run("map.zarr", "out.zarr", "--irregular", "approximate")
    assert ome("out.zarr/map")["multiscales"][0]["metadata"]["irregular"] == ["y"]


def test_strict(capsys: pytest.CaptureFixture[str]) -> None:
    raw = zarr.create_array("raw.zarr", shape=(16, 16), chunks=(8, 8), dtype="u1", fill_value=7)
    raw[:8] = 1
    assert main(["build", "raw.zarr", "out.zarr", "--strict"]) == 2
    assert "2 of the 4 chunks of raw.zarr are missing" in capsys.readouterr().err
    assert not Path("out.zarr").exists()


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        (["--durable"], "durable", True),
        (["--no-progress"], "progress", False),
        (["--progress"], "progress", True),
        ([], "progress", None),
    ],
)
def test_what_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, options: list[str], name: str, value: object
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        xpyramid.Pyramid, "to_ome_zarr", lambda _self, _store, **given: seen.update(given)
    )
    run("scan.npy", "out.zarr", *options)
    assert seen.get(name) is value


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--ignore", "0"], [4, 4]),
        (["--ignore", "4"], [0, 0]),
        (["--ignore", "0", "--min-valid", "0.75"], [0, 0]),
    ],
)
def test_what_does_not_count(options: list[str], values: list[int]) -> None:
    np.save("field.npy", np.tile(np.array([[4, 0], [0, 4]], "u1"), (1, 2)))
    run("field.npy", "out.zarr", *options)
    assert xpyramid.open_pyramid("out.zarr/field")[1].values.tolist() == [values]


def test_skipna() -> None:
    np.save("field.npy", np.array([[1, np.nan], [1, 1]]))
    run("field.npy", "out.zarr", "--no-skipna")
    assert np.isnan(xpyramid.open_pyramid("out.zarr/field")[1]).all()
