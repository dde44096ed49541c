"""The notebooks run, and what is stored of them can be shown."""

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from helpers.quick import quick_if
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
PICTURES = {"quickstart.ipynb": 4, "living.ipynb": 4}
ABSOLUTE_PATH = re.compile(r"(?<![\w.])~?/\w[\w.-]*/\w|\b[A-Za-z]:\\")


def outputs(book: Any) -> list[Any]:
    return [out for cell in book.cells for out in cell.get("outputs", [])]


def pictures(book: Any) -> int:
    return sum("image/png" in out.get("data", {}) for out in outputs(book))


def texts(book: Any) -> list[str]:
    """Everything that the cells say, as one text per output."""
    return [
        out["text"] if out["output_type"] == "stream" else out["data"]["text/plain"]
        for out in outputs(book)
    ]


@pytest.fixture(scope="module", params=quick_if(lambda _: False, PICTURES))
def notebook(request: pytest.FixtureRequest) -> Path:
    return FOLDER / str(request.param)


@pytest.fixture(scope="module")
def stored(notebook: Path) -> Any:
    return nbformat.read(notebook, as_version=4)


def test_each_is_named_here() -> None:
    assert {path.name for path in FOLDER.glob("*.ipynb")} == {*PICTURES}


def test_it_runs_without_a_warning_and_says_what_is_stored(
    notebook: Path, stored: Any, tmp_path: Path
) -> None:
    shutil.copy(notebook, tmp_path)
    book = nbformat.read(tmp_path / notebook.name, as_version=4)
    client = NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    errors = [out["text"] for out in outputs(book) if out.get("name") == "stderr"]
    assert not errors  # a warning in the kernel is printed there
    assert pictures(book) == PICTURES[notebook.name]
    tables = [[t for t in texts(b) if t.startswith("<xpyramid.")] for b in (book, stored)]
    assert tables[0] == tables[1] != []
    assert {path.name for path in tmp_path.iterdir()} == {notebook.name}  # it cleans up


def test_it_is_stored_with_its_pictures(notebook: Path, stored: Any) -> None:
    assert pictures(stored) == PICTURES[notebook.name]
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == [*range(1, len(counts) + 1)]
    assert not [out for out in outputs(stored) if out.get("name") == "stderr"]


def test_it_says_nothing_of_the_machine_it_ran_on(notebook: Path, stored: Any) -> None:
    assert notebook.stat().st_size < 1_000_000
    for output in outputs(stored):
        data = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
        assert not ABSOLUTE_PATH.search("\n".join([output.get("text", ""), *data.values()]))
    assert stored.metadata["kernelspec"]["name"] == "python3"
    assert "version" not in stored.metadata["language_info"]
    assert not any(cell.metadata for cell in stored.cells)
