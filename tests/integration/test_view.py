"""``xpyramid view``: what it opens, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import zarr
from helpers.stored_images import field, segmentation

from xpyramid.cli.main import main
from xpyramid.viewing import View


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Have views end at once; return what their page says of images."""
    found: dict[str, Any] = {}

    def wait(view: View) -> None:
        found["images"] = json.loads(urlopen(view.url.replace("index.html", "images.json")).read())
        view.close()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(View, "wait", wait)
    monkeypatch.setattr("webbrowser.open", lambda url: found.update(browser=url))
    return found


def make(name: str) -> None:
    """Make one of the things that are shown."""
    if name == "scan.npy":
        np.save(name, np.arange(2 * 600 * 700, dtype="u2").reshape(2, 600, 700))
    elif name == "plain.zarr":
        zarr.create_array(name, data=np.ones((300, 400), "u1"), chunks=(128, 128))
    else:
        field("cyx").pyramid.to_ome_zarr("out.zarr", levels=2)
        segmentation().pyramid.to_ome_zarr("out.zarr", labels_of="field")


@pytest.mark.parametrize(
    ("arguments", "names", "levels"),
    [
        (["out.zarr"], ["field", "cells"], 2),
        (["out.zarr/field/labels/cells"], ["cells"], 2),
        (["out.zarr", "--group", "field"], ["field", "cells"], 2),
        (["scan.npy"], ["scan"], 2),
        (["plain.zarr"], ["plain"], 2),
        (["out.zarr/field/1/field"], ["field"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_shown(
    arguments: list[str], names: list[str], levels: int, seen: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make(arguments[0])
    assert main(["view", *arguments, "--viewer", "page"]) == 0
    assert [image["name"] for image in seen["images"]] == names
    assert len(seen["images"][0]["levels"]) >= levels
    url, said = capsys.readouterr().out.splitlines()
    assert (seen["browser"], said) == (url, "Ctrl-C ends the view")


def test_no_browser_is_opened_where_none_is_wanted(seen: dict[str, Any]) -> None:
    make("scan.npy")
    assert main(["view", "scan.npy", "--viewer", "page", "--no-browser"]) == 0
    assert "browser" not in seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.zarr"], "there is nothing at 'none.zarr'"),
        (["out.zarr", "--group", "other"], "other: there is nothing"),
        (["scan.npy", "--port", "65536"], "argument --port: 65536; accepted: 0 to 65535"),
        (["scan.npy", "--viewer", "vizarr"], "argument --viewer: invalid choice: 'vizarr'"),
        (["scan.npy", "--viewer", "napari"], "--viewer 'napari' needs napari: pip install"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, seen: dict[str, Any], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("xpyramid.viewing.viewers._is_installed", lambda _: False)
    make(arguments[0])
    assert main(["view", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not seen


@pytest.mark.slow
def test_it_ends_with_the_interrupt(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.ones((300, 400), "u1"))
    command = [sys.executable, "-m", "xpyramid", "view", "scan.npy", "--viewer", "page"]
    environment = {**os.environ, "BROWSER": "true", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert urlopen(url).read().startswith(b"<!doctype html>")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    with pytest.raises(URLError):
        urlopen(url)


def test_a_port_that_is_in_use(seen: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    make("scan.npy")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["view", "scan.npy", "--viewer", "page", "--port", port]) == 2
    assert f"--port {port} is in use; accepted: one that is free" in capsys.readouterr().err
    assert seen == {}


@pytest.mark.slow
def test_a_notebook_shows_the_page() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    code = [
        "import sys; sys.path[:0] = " + repr(sys.path),
        "import xpyramid",
        "view = xpyramid.example_field((64, 64)).pyramid.build(levels=2).view('page')",
        "view",
        "import urllib.request; urllib.request.urlopen(view.url).read()[:15]",
        "view.close()\nview",
    ]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, code)))
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    shown, page, closed = (notebook.cells[i].outputs[0]["data"] for i in (3, 4, 5))
    assert shown["text/html"].startswith("<iframe src='http://127.0.0.1:")
    assert "doctype" in page["text/plain"]
    assert "closed" in closed["text/html"]
