"""The rooms of the library: docs/design.md shows them as they are, and tests lie in theirs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/design.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
#: What runs the command line, and what holds the version's number.
NO_ROOMS = {"__main__", "_version"}


def test_the_page_draws_the_layers_that_are_held() -> None:
    (contract,) = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    held = [
        rooms
        for layer in contract["layers"]
        if (rooms := set(re.findall(r"\w+", layer)) - NO_ROOMS)
    ]
    drawing = PAGE.split("```text\n")[2].split("```")[0]
    drawn = [re.split(r"  +", line.strip())[0] for line in drawing.splitlines()]
    assert [set(layer.split(" | ")) for layer in drawn] == held


def test_files_that_the_page_names_are_there() -> None:
    named = {
        path for code in re.findall(r"`([^`\n]+)`", PAGE) for path in re.findall(r"\S+/\S*", code)
    }
    assert len(named) > 20
    folders = (ROOT, ROOT / "src/xpyramid")
    assert not [path for path in named if not any((up / path).exists() for up in folders)]


def test_constants_that_the_page_names_are_where_it_says() -> None:
    rows = re.findall(r"^\| (`[A-Z`, _]+`) \|.*\| `([^`]+)` \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 4
    for names, file in rows:
        source = (ROOT / "src/xpyramid" / file).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names):
            assert re.search(rf"^.*\b{name}\b.*= ", source, re.MULTILINE), (name, file)


def test_each_folder_of_unit_tests_is_a_room() -> None:
    folders = {path.parent for path in (ROOT / "tests/unit").rglob("test_*.py")}
    names = {path.name for path in folders} - {"unit"}
    rooms = {path.parent.name for path in (ROOT / "src/xpyramid").glob("*/__init__.py")}
    assert len(names) > 10
    assert names <= rooms


def test_what_tests_share_is_in_one_package() -> None:
    loose = {path.name for path in (ROOT / "tests").glob("*.py")}
    assert loose == {"conftest.py"}
