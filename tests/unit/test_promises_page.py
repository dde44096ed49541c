"""Each promise in the docs names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text()
ROWS = [row for row in PAGE.splitlines() if row.startswith("| ") and "held by" not in row]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def named(row: str) -> list[tuple[str, str | None]]:
    """Return the files of tests that a row names, each with a function or None."""
    *_, held_by, _ = row.split("|")
    return [
        (file, name or None)
        for file, name in re.findall(r"`((?:\w+/)*\w+(?:\.py)?)(?:::(\w+))?`", held_by)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_the_tests_of_a_promise_are_there(row: str) -> None:
    assert named(row)
    for file, name in named(row):
        path = ROOT / "tests" / file.removeprefix("tests/")
        assert path.exists(), file
        assert name is None or name in functions(path)


def test_the_page_has_promises() -> None:
    assert len(ROWS) > 25
