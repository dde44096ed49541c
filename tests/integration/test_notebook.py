"""The notebooks can be run by anybody, and keep nothing of a run; building the site runs them."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ABSOLUTE_PATH = re.compile(r"(?<![\w.])~?/\w[\w.-]*/\w|\b[A-Za-z]:\\")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def book(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def test_each_is_in_the_list() -> None:
    listed = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert [path.stem for path in NOTEBOOKS if f"({path.name})" not in listed] == []
    assert [path.stem for path in NOTEBOOKS if f"\n{path.stem}\n" not in listed] == []


def test_nothing_of_a_run_is_stored(book: Any) -> None:
    nbformat.validate(book)
    for cell in book.cells:
        assert not cell.metadata
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_it_needs_no_file_of_this_machine_and_leaves_none(book: Any) -> None:
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    assert not ABSOLUTE_PATH.search(code)
    assert "https://" not in code
    assert "tempfile.TemporaryDirectory()" in code
    assert code.rstrip().endswith("folder.cleanup()")


def test_it_has_pictures_and_says_where_to_read_on(book: Any) -> None:
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    assert len(re.findall(r"subplots\(|plot\.levels\(|hv\.Layout\(", code)) >= 3
    assert book.cells[-1].cell_type == "markdown"
    assert book.cells[-1].source.startswith("Read on: ")
