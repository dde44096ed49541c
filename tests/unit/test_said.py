"""What is said to users is noted where it is said, and what no test reaches is listed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import said

#: How many places no test reaches; the list may only shrink.
MOST = 53

TESTS = """
import numpy as np, pytest, xarray as xr
from xpyramid import errors
from xpyramid.warn import warn

ARRAY = xr.DataArray(np.ones((4, 4)), dims=("y", "x"), name="a")

def test_an_error():
    with pytest.raises(errors.PlanError):
        ARRAY.pyramid.build(levels=0)

def test_a_warning():
    with pytest.warns(errors.KindWarning):
        ARRAY.astype("i8").pyramid.build()
"""


def test_places_are_found() -> None:
    places = said.sites()
    assert len(places) == len(set(places.values())) > 400
    files = {site.file for site in places.values()}
    assert {"geometry/plan.py", "cli/parser.py", "options/text.py", "ngff/parser.py"} <= files


def test_the_list_is_of_places_that_there_are_with_a_reason() -> None:
    listed = said.never_said()
    assert set(listed) <= set(map(str, said.sites().values()))
    assert all(listed.values())
    assert len(listed) <= MOST


@pytest.mark.slow
def test_what_is_said_is_noted(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(
        (Path(__file__).parents[1] / "conftest.py").read_text(encoding="utf-8")
    )
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {Path(__file__).parents[1]}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--messages", "m.md"]
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stdout
    table = (tmp_path / "m.md").read_text(encoding="utf-8")
    rows = table.splitlines()[2:]
    assert len(rows) == 2
    assert "| PlanError | levels=0; accepted: " in table
    assert "`geometry/plan.py:make_plan:1`" in table
    assert "| KindWarning | " in table
    noted = said.load(iter([tmp_path / "m.main.json"]))
    wrong, _ = said.check(noted)
    assert not [one for one in wrong if "make_plan:1 " in one]  # what was said
    assert [one for one in wrong if one.startswith("geometry/plan.py:make_plan:2 is said by no")]


@pytest.mark.parametrize(("line", "word"), [("a.py:f:1  gone", "nowhere"), ("", "")])
def test_a_list_that_is_out_of_date_is_refused(
    line: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "never.txt"
    first = next(iter(said.sites().values()))
    path.write_text(f"# A comment\n{first}  a reason\n{line}\n")
    monkeypatch.setattr(said, "NEVER", path)
    wrong, reached = said.check([first])
    assert reached == [str(first)]
    assert bool(word) == any(word in one for one in wrong if word)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[file, line, "A", "b"] for file, line in said.sites()]
    (tmp_path / "m.gw0.json").write_text(json.dumps(rows[:200]))
    (tmp_path / "m.gw1.json").write_text(json.dumps(rows[200:]))
    code = said.main(str(tmp_path / "m.md"))
    printed = capsys.readouterr().out
    assert f"{len(rows)} messages" in printed
    assert code == 0
