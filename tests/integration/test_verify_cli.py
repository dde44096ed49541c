"""``xpyramid verify``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import xpyramid
from xpyramid.cli.main import main


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    field = xpyramid.example_field((20, 30), chunks=16, dtype="uint8")
    field.pyramid.build(levels=2).to_ome_zarr("out.zarr")
    return tmp_path / "out.zarr"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["verify", *arguments])
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, printed.out


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, printed = run(capsys, *arguments, "--json")
    assert code == 0
    assert printed.count("\n") == 1
    found: dict[str, Any] = json.loads(printed)
    assert found["valid"] == all(p["severity"] == "warning" for p in found["problems"])
    return found


@pytest.mark.parametrize(
    "arguments",
    [["out.zarr"], ["out.zarr", "--checksums"], ["out.zarr", "--group", "field", "--deep"]],
)
def test_nothing_wrong(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(capsys, *arguments) == (0, "nothing wrong with 1 image\n")
    assert answer(capsys, *arguments) == {"valid": True, "problems": [], "notes": []}


def test_label_images_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    labels = xpyramid.example_field((20, 30), dtype="uint8") % 3
    for name, said in {"cells": "1 label image", "nuclei": "2 label images"}.items():
        labels.rename(name).pyramid.to_ome_zarr("out.zarr", labels_of="field")
        assert run(capsys, "out.zarr") == (0, f"nothing wrong with 1 image and {said}\n")
    labels.rename("other").pyramid.to_ome_zarr("out.zarr", levels=2)
    assert run(capsys, "out.zarr")[1] == "nothing wrong with 2 images and 2 label images\n"
    inside = run(capsys, "out.zarr/field/labels/cells")
    assert inside == (0, "nothing wrong with 1 image\n")


def test_problems(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    (out / "field/0/field/c/1/1").unlink()
    said = (
        "error: field/0/field/c/1/1: the chunk is missing; it was there when the image was "
        "complete [missing]\n"
    )
    assert run(capsys, "out.zarr") == (1, said)
    found = answer(capsys, "out.zarr")
    assert found["problems"][0]["where"] == "field/0/field/c/1/1"
    assert found["message"] in said


def test_checksums(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    chunk = out / "field/0/field/c/1/1"
    chunk.write_bytes(bytes(chunk.stat().st_size))
    assert run(capsys, "out.zarr")[0] == 0
    code, printed = run(capsys, "out.zarr", "--checksums")
    assert code == 1
    assert printed.startswith("error: field/0/field/c/1/1: the chunk has the checksum ")
    assert len(answer(capsys, "out.zarr", "--checksums")["problems"]) == 1


def test_warnings_are_problems_but_valid(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    (out / "field/0/field/c/7").write_bytes(b"")
    code, printed = run(capsys, "out.zarr")
    assert code == 1
    assert printed.startswith("warning: field/0/field/c/7: is not a chunk")
    assert answer(capsys, "out.zarr")["valid"]


@pytest.mark.parametrize("standard_input", [True, False])
@pytest.mark.parametrize(
    ("change", "valid"),
    [
        (lambda d: d, True),
        (lambda d: d["attributes"], True),
        (lambda d: d["attributes"] | {"_conformance": {"valid": True}}, True),
        (lambda d: d["attributes"]["ome"]["multiscales"][0].pop("axes") and d, False),
        (lambda d: d["attributes"]["ome"]["multiscales"][0]["datasets"].clear() or d, False),
        (lambda d: d["attributes"].clear() or d, False),
        (lambda _: "text", False),
    ],
)
def test_documents(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    out: Path,
    change: Any,
    valid: bool,
    standard_input: bool,
) -> None:
    document = json.dumps(change(json.loads((out / "field/zarr.json").read_text()))).encode()
    path = "document.json"
    Path(path).write_bytes(document)
    if standard_input:
        path = "-"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(document)))
    assert answer(capsys, path)["valid"] is valid


def test_a_document_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "out.zarr/field/zarr.json") == (0, "nothing wrong with the document\n")
    Path("half.json").write_bytes(b'{"ome": ')
    code, printed = run(capsys, "half.json")
    assert code == 1
    assert printed.startswith("error: .: not JSON: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.zarr"], "there is nothing at 'nowhere.zarr'"),
        (["out.zarr", "--group", "a/b"], "there is no Zarr group"),
        (["out.zarr/zarr.json", "--deep"], "--deep, --group and --repair are for stores"),
        (
            ["out.zarr/zarr.json", "--checksums"],
            "--checksums, --deep, --group and --repair are for stores",
        ),
        ([], "arguments are required: PATH"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    for options in ([], ["--json"]):
        assert main(["verify", *arguments, *options]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert message in printed.err
        assert printed.err.count("\n") == 1
