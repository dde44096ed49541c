"""What the command line shows: help on a screen, hints, colours, plans, and how much it says."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.zsh_session import open_zsh

import xpyramid
from xpyramid.cli.main import COMMANDS, main
from xpyramid.reader import codec_words, stored_form


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("scan.npy", np.arange(40 * 48, dtype="u2").reshape(40, 48))


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert main(arguments) == code
    printed = capsys.readouterr()
    return printed.out, printed.err


def files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_screen(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out, _ = run(capsys, *filter(None, [command]), "--help")
    lines = out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_all_options_are_listed_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    short, _ = run(capsys, "build", "--help")
    everything, _ = run(capsys, "build", "--help-all")
    assert "--durable" not in short
    assert "--help-all" in short
    assert all(option in everything for option in ("--durable", "--levels", "--quiet", "--plan"))


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["biuld"], "invalid choice: 'biuld'; accepted: build, info, "),
        (["biuld"], "did you mean build?"),
        (["build", "scan.npy", "out.zarr", "--boundary", "pda"], "did you mean pad?"),
        (["build", "scan.npy", "out.zarr", "--level", "2"], "did you mean --levels"),
        (["build", "scan.npy", "out.zarr", "--method", "maen"], "mean"),
        (["verify", "out.zarr", "--depe"], "did you mean --deep"),
        (["completion", "bsh"], "did you mean bash?"),
        (["nonsense"], "accepted: build, info, "),
    ],
)
def test_typing_errors(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, *arguments, code=2)
    assert (out, err.count("\n")) == ("", 1)
    assert hint in err


@pytest.mark.parametrize("options", [["--in-place", "--group", "a"], ["out.zarr"]])
def test_a_plan_writes_nothing(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    zarr.create_array(
        "in.zarr", name="a/0", data=np.ones((40, 48), "u2"), chunks=(16, 16),
        dimension_names=("y", "x"),
    )  # fmt: skip
    source = ["in.zarr/a/0"] if options == ["out.zarr"] else ["in.zarr"]
    before = files()
    out, err = run(capsys, "build", *source, *options, "--chunks", "16", "--plan")
    assert files() == before
    plan, objects, closing = out.splitlines()[-3:]
    bytes_written = "5.04 kB" if options == ["out.zarr"] else "1.2 kB"
    assert plan.startswith(f"plan: 3.84 kB to read, {bytes_written} to write before compression, ")
    assert objects.endswith("9, 4, 1 chunks, zstd level 0" if options == ["out.zarr"] else
                            "4, 1 chunks, zstd level 0")  # fmt: skip
    assert closing == "nothing was written; leave out --plan to write it"
    assert err == ""
    run(capsys, "build", *source, *options, "--chunks", "16")
    pyramid = xpyramid.open_pyramid("out.zarr" if options == ["out.zarr"] else "in.zarr/a")
    assert len(pyramid) == 3


def test_a_plan_refuses_what_a_build_would(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "build", "scan.npy", "out.zarr")
    before = files()
    for arguments in (
        ["build", "scan.npy", "out.zarr", "--plan"],
        ["build", "scan.npy", "new.zarr", "--version", "0.4", "--shards", "64", "--plan"],
        ["build", "scan.npy", "new.zarr", "--append-dim", "t", "--plan"],
    ):
        out, err = run(capsys, *arguments, code=2)
        assert err.count("\n") == 1
        assert files() == before
    out, err = run(capsys, "build", "scan.npy", "out.zarr", "--replace", "--plan")
    assert (out.splitlines()[-1][:19], err) == ("nothing was written", "")
    assert files() == before


def test_the_closing_line_says_how_it_is_compressed(capsys: pytest.CaptureFixture[str]) -> None:
    codec = zarr.codecs.BloscCodec(cname="lz4", clevel=3)
    zarr.create_array("raw.zarr", data=np.ones((40, 48), "u2"), compressors=codec)
    out, _ = run(capsys, "build", "raw.zarr", "out.zarr", "--levels", "2")
    closing = out.splitlines()[-1]
    assert closing.startswith("written to out.zarr/raw: 2 levels of mean, 4.8 kB (")
    assert "with blosc lz4 level 3" in closing
    assert closing.endswith(" s")
    form = stored_form("out.zarr/raw")
    stored = sum(path.stat().st_size for path in Path("out.zarr").glob("raw/?/raw/c/*/*"))
    assert (form.codec[:17], form.stored_bytes) == ("blosc lz4 level 3", stored)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "zstd level 0"),
        ({"compressors": None}, ""),
        ({"compressors": zarr.codecs.GzipCodec(level=2)}, "gzip level 2"),
        ({"compressors": None, "zarr_format": 2}, ""),
        ({"shards": (4, 4), "chunks": (2, 2)}, "zstd level 0"),
    ],
)
def test_words_for_codecs(options: dict[str, Any], words: str) -> None:
    array = zarr.create_array({}, shape=(4, 4), dtype="u2", **options)
    assert codec_words(array) == words


def test_how_much_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "build", "scan.npy", "out.zarr", "--levels", "2", "-q") == ("", "")
    assert run(capsys, "update", "out.zarr/scan", "--quiet") == ("", "")
    assert run(capsys, "verify", "out.zarr", "-q") == ("", "")
    out, err = run(capsys, "verify", "nowhere.zarr", "-q", code=2)
    assert (out, err.count("\n")) == ("", 1)
    out, err = run(capsys, "info", "nowhere.zarr", "-v", code=2)
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("xpyramid: ")
    out, _ = run(capsys, "build", "scan.npy", "out.zarr", "--replace", "-v")
    assert "to write before compression" in out


def test_update_takes_memory_and_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "build", "scan.npy", "out.zarr", "--levels", "2")
    seen: dict[str, Any] = {}

    def update_image(*_: Any, **options: Any) -> tuple[Any, int]:
        seen.update(options)
        return xpyramid.store.path.resolve("out.zarr", read_only=True) / "scan", 0

    monkeypatch.setattr("xpyramid.cli.update.update_image", update_image)
    run(capsys, "update", "out.zarr/scan", "--memory", "200MB", "--no-progress")
    assert (seen["memory"], seen["progress"]) == ("200MB", False)


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_only_on_a_terminal(
    environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for stream, wanted in ((Terminal(), colored), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(["info", "nowhere.zarr"]) == 2
        assert stream.getvalue().startswith("\x1b[31mxpyramid:\x1b[0m " if wanted else "xpyramid: ")


NASTY = "a\x1b[31m\u202eb"


@pytest.mark.filterwarnings("ignore")
def test_names_of_strangers_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    data = np.ones((2, 16, 16), "u1")
    array = xr.DataArray(data, dims=("c", "y", "x"), coords={"c": [NASTY, "b"]}, name="field")
    array.pyramid.to_ome_zarr("out.zarr", levels=2, omero=True)
    group = zarr.open_group("out.zarr/field", mode="r+", use_consolidated=False)
    ome: Any = group.attrs["ome"]
    ome["multiscales"][0]["name"] = NASTY
    ome["omero"]["channels"][0]["label"] = NASTY
    group.attrs["ome"] = ome
    for arguments in (["info", "out.zarr"], ["info", "out.zarr", "--json"], ["verify", "out.zarr"]):
        main(arguments)
        printed = capsys.readouterr()
        assert not {"\x1b", "\u202e"} & {*printed.out, *printed.err}
    document = json.loads(run(capsys, "info", "out.zarr", "--json")[0])
    assert document[0]["channels"][0] == NASTY


def test_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    array = xr.DataArray(
        np.ones((2, 40, 48), "u2"), dims=("c", "y", "x"), name="field",
        coords={"c": ["red", "far red"], "y": ("y", 0.5 * np.arange(40), {"units": "um"})},
    )  # fmt: skip
    array.pyramid.to_ome_zarr(
        "out.zarr", levels=2, method="max", shards=32, chunks={"c": 1, "y": 16, "x": 16}
    )
    (found,) = json.loads(run(capsys, "info", "out.zarr", "--json")[0])
    chosen = {
        "path": "field", "name": "field", "dtype": "uint16", "method": "max", "version": "0.5",
        "zarr_format": 3, "codec": "zstd level 1", "channels": ["red", "far red"], "labels": [],
    }  # fmt: skip
    assert found | chosen == found
    assert [axis["type"] for axis in found["axes"]] == ["channel", "space", "space"]
    assert [axis["unit"] for axis in found["axes"]] == [None, "micrometer", None]
    level = found["levels"][1]
    assert (level["shape"], level["shards"], level["chunks"]) == (
        [2, 20, 24],
        [1, 32, 32],
        [1, 16, 16],
    )
    stored = [p for p in Path("out.zarr/field/1/field/c").rglob("*") if p.is_file()]
    assert level["objects"] == level["stored_objects"] == len(stored)
    assert level["stored_bytes"] == sum(path.stat().st_size for path in stored)
    assert (level["factors"], level["scale"]) == ([1, 2, 2], [1.0, 1.0, 2.0])
    assert run(capsys, "info", "nowhere.zarr", "--json", code=2)[0] == "[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    out, err = run(capsys, "completion", shell)
    assert err == ""
    for word in ("build", "verify", "--chunks", "nearest" if shell == "none" else "--repair"):
        assert word.removeprefix("--") in out


def test_bash_completes(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    Path("complete.bash").write_text(run(capsys, "completion", "bash")[0])
    ask = """
source complete.bash
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _shtab_xpyramid
echo "${{COMPREPLY[@]}}"
"""
    for words, wanted in (
        ("xpyramid ver", "verify"),
        ("xpyramid build --bou", "--boundary"),
        ('xpyramid build --boundary ""', "pad trim exact"),
    ):
        done = subprocess.run(
            ["bash", "-c", ask.format(words=words)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == wanted.split()


#: What is typed, and what a tab makes of it.
COMPLETED = [
    ("xpyramid ver", "xpyramid verify "),
    ("xpyramid build --bou", "xpyramid build --boundary "),
    ("xpyramid build --boundary tr", "xpyramid build --boundary trim "),
    ("xpyramid build sam", "xpyramid build sample.tif "),
    ("xpyramid view --viewer nap", "xpyramid view --viewer napari "),
    ("xpyramid update --reg", "xpyramid update --region "),
    ("xpyramid update --region ", "xpyramid update --region "),
    ("xpyramid completion zs", "xpyramid completion zsh "),
]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="apt-get install zsh")
def test_zsh_completes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    (tmp_path / "_xpyramid").write_text(run(capsys, "completion", "zsh")[0])
    (tmp_path / "sample.tif").touch()
    with open_zsh(tmp_path) as zsh:
        for words, wanted in COMPLETED:
            assert zsh.completed(words) == wanted
        assert b"_arguments" not in zsh.shown  # what zsh says of a script that it cannot follow


@pytest.mark.skipif(shutil.which("fish") is None, reason="apt-get install fish")
def test_fish_completes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    (tmp_path / "xpyramid.fish").write_text(run(capsys, "completion", "fish")[0])
    (tmp_path / "sample.tif").touch()
    for words, wanted in COMPLETED:
        if words.endswith(" "):
            continue
        asked = f"source xpyramid.fish; complete -C '{words}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", asked],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
        assert (found, done.stderr) == ([wanted.split()[-1]], "")
