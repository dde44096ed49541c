"""Errors on the command line speak of its options."""

from __future__ import annotations

import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from xpyramid import errors
from xpyramid.cli.main import main
from xpyramid.cli.terminal import in_cli_words
from xpyramid.messages import Message, Part, code, joined, option
from xpyramid.options import BuildOptions, LevelOptions, WriteOptions, options_of


@pytest.mark.parametrize(
    ("parts", "python", "shell"),
    [
        (["replace it with ", option("mode", "w"), ", or ", option("resume", True)],
         "replace it with mode='w', or resume=True", "replace it with --replace, or --resume"),
        (["choose another ", option("group"), " or store"],
         "choose another group= or store", "choose another --group or store"),
        (["pass ", option("group", "a/b")], "pass group='a/b'", "pass --group a/b"),
        ([option("chunks", {"z": 1, "y": 0}), ": too small"],
         "chunks={'z': 1, 'y': 0}: too small", "--chunks z=1,y=0: too small"),
        ([option("factor", [2, 3]), " along 'y'"],
         "factor=[2, 3] along 'y'", "--factor 2,3 along 'y'"),
        ([option("dims", ("q",)), ": no such"], "dims=('q',): no such", "--dims q: no such"),
        ([option("dims", ..., call="open_source")], "open_source(dims=...)", "--source-dims"),
        ([option("min_valid", 1.5), "; accepted"], "min_valid=1.5; accepted",
         "--min-valid 1.5; accepted"),
        ([option("skipna", False), " and ", option("omero", True)],
         "skipna=False and omero=True", "--no-skipna and --omero yes"),
        (["pass ", option("spacing", {"y": ...}, call="build"), " or"],
         "pass build(spacing={'y': ...}) or", "pass --spacing y=... or"),
        (["as many: ", option("levels", 3, call=".pyramid.build")],
         "as many: .pyramid.build(levels=3)", "as many: --levels 3"),
        ([option("irregular", "approximate", call="to_ome_zarr")],
         "to_ome_zarr(irregular='approximate')", "--irregular approximate"),
        (["drop it with ", code(".drop_vars('y')"), ", or"],
         "drop it with .drop_vars('y'), or", "drop it with .drop_vars('y') in Python, or"),
        (["leave out ", option("strict", True)], "leave out strict=True", "leave out --strict"),
        ([option("origin", np.float64(2))], "origin=2.0", "--origin 2.0"),
        # What only looks like an option.
        (["there is nothing at levels=3/out.zarr"], "there is nothing at levels=3/out.zarr",
         "there is nothing at levels=3/out.zarr"),
        (["cannot read 'a.factor=2.npy'"], "cannot read 'a.factor=2.npy'",
         "cannot read 'a.factor=2.npy'"),
    ],
)  # fmt: skip
def test_each_door_has_its_words(parts: list[Part], python: str, shell: str) -> None:
    message = Message(*parts)
    assert (message, in_cli_words(message)) == (python, shell)
    again = pickle.loads(pickle.dumps(message))
    assert (again, in_cli_words(again)) == (python, shell)
    error = errors.TargetExistsError("there", fix=message)
    error = pickle.loads(pickle.dumps(error))
    assert (str(error), error.fix) == (f"there; {python}", python)
    assert in_cli_words(error.message) == f"there; {shell}"


def test_messages_are_put_together() -> None:
    message = "a " + Message("b ", option("group")) + " c"
    assert in_cli_words(message) == "a b --group c"
    assert in_cli_words(joined(", ", [message, "d"])) == "a b --group c, d"


def test_errors_have_fields() -> None:
    error = errors.PlanError(option="levels", value=0, accepted="1 or more", fix="leave it out")
    assert str(error) == "levels=0; accepted: 1 or more; leave it out"
    assert (error.option, error.value) == ("levels", 0)
    assert (error.accepted, error.fix) == ("1 or more", "leave it out")
    array = xr.DataArray(np.ones((4, 4)), dims=("y", "x"), name="a")
    for call in (array.pyramid.build, array.to_dataset().pyramid.build):
        with pytest.raises(errors.PlanError) as caught:
            call(boundary="round")
        assert (caught.value.option, caught.value.value) == ("boundary", "round")
        assert caught.value.accepted == "'pad', 'trim', 'exact'"
    with pytest.raises(errors.PlanError) as caught:
        array.pyramid.to_ome_zarr({}, version="0.7")
    assert (caught.value.option, caught.value.value) == ("version", "0.7")


@pytest.mark.parametrize("name", options_of(LevelOptions, BuildOptions, WriteOptions))
def test_every_option_is_known(name: str) -> None:
    message = Message("choose another ", option(name), " or none")
    assert in_cli_words(message) == f"choose another --{name.replace('_', '-')} or none"


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("scan.npy", np.ones((20, 24), "u1"))


@pytest.mark.parametrize("target", ["out.zarr", "./lab/../out.zarr", "{}/out.zarr"])
def test_what_is_in_the_way(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = target.format(Path.cwd())
    assert main(["build", "scan.npy", "out.zarr"]) == 0
    Path("lab").mkdir()
    capsys.readouterr()
    assert main(["build", "scan.npy", there]) == 2
    assert capsys.readouterr().err == (
        f"xpyramid: {Path(there)}/scan already holds a group; choose another --group or store, "
        "replace the image with --replace, or remove it first\n"
    )


def test_warnings_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    raw = zarr.create_array("raw.zarr", shape=(16, 16), chunks=(8, 8), dtype="u1", fill_value=7)
    raw[:8] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, kind, *where: print(
            warnings.formatwarning(message, kind, *where[:2]), end="", file=sys.stderr
        )  # as it is outside of pytest
        assert main(["build", "raw.zarr", "out.zarr"]) == 0
    assert capsys.readouterr().err == (
        "xpyramid: warning: 2 of the 4 chunks of raw.zarr are missing, the first at "
        "(1, 0); missing chunks read as the fill value 7; --strict makes this an error\n"
    )
