"""Errors on the command line speak of its options."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

from xpyramid.cli.main import main
from xpyramid.cli.options import AXES, BUILDING, WRITING, spoken


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("replace it with mode='w', or resume=True", "replace it with --replace, or --resume"),
        ("choose another group= or store", "choose another --group or store"),
        ("pass group='a/b'", "pass --group a/b"),
        ("chunks={'z': 1, 'y': 0}: too small", "--chunks z=1,y=0: too small"),
        ("factor=[2, 3] along 'y'", "--factor 2,3 along 'y'"),
        ("dims=('q',): no such", "--dims q: no such"),
        ("min_valid=1.5; accepted", "--min-valid 1.5; accepted"),
        ("skipna=False and omero=True", "--no-skipna and --omero yes"),
        ("pass build(spacing={'y': ...}) or", "pass --spacing y=... or"),
        ("as many: .pyramid.build(levels=3)", "as many: --levels 3"),
        ("to_ome_zarr(irregular='approximate')", "--irregular approximate"),
        ("drop it with .drop_vars('y'), or", "drop it with .drop_vars('y') in Python, or"),
        ("pass strict=False", "leave out --strict"),
        # What only looks like a parameter.
        ("there is nothing at levels=3/out.zarr", None),
        ("there is nothing at '/data/group=a'", None),
        ("cannot read 'a.factor=2.npy'", None),
        ("chunk (1, 0): OSError: [Errno 28] No space left on device", None),
    ],
)
def test_parameters_become_options(message: str, wanted: str | None) -> None:
    assert spoken(message) == (wanted or message)


@pytest.mark.parametrize("name", [*BUILDING, *AXES, *WRITING])
def test_every_parameter_is_known(name: str) -> None:
    assert spoken(f"choose another {name}= or none") == (
        f"choose another --{name.replace('_', '-')} or none"
    )


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
        "xpyramid: warning: raw.zarr has 4 chunks and 2 of them are not there, the first at "
        "(1, 0); they read as the fill value 7; --strict makes this an error\n"
    )
