"""Our answers to the conformance cases of the specification, and why some are not theirs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xpyramid.ngff import check_document

ROOT = Path(__file__).parents[2] / "conformance"

#: Schemas cannot compare one part of a document with another.
_LENGTHS = "its scale has two numbers, for three axes"
_TRANSPOSED = (
    "the paths of its wells are the names of a column and a row, and MUST be those of a row and a "
    "column"
)

#: Cases that are valid, say their authors, and are not.
INVALID = {
    "0.4/image/valid/mismatch_axes_units.json": _LENGTHS,
    "head/spec/valid/image/mismatch_axes_units.json": _LENGTHS,
    "0.4/plate/plate/minimal_no_acquisitions": _TRANSPOSED,
    "0.4/plate/plate/minimal_acquisitions": _TRANSPOSED,
    "0.4/plate/plate/non_alphanumeric_row": _TRANSPOSED,
    "0.4/strict_plate/plate/strict_no_acquisitions": _TRANSPOSED,
    "0.4/strict_plate/plate/strict_acquisitions": _TRANSPOSED,
    "head/spec/valid/plate/minimal_no_acquisitions.json": _TRANSPOSED,
    "head/spec/valid/plate/minimal_acquisitions.json": _TRANSPOSED,
    "head/spec/valid/plate/non_alphanumeric_row.json": _TRANSPOSED,
    "head/strict/valid/plate/strict_acquisitions.json": _TRANSPOSED,
    "head/strict/valid/plate/strict_no_acquisitions.json": _TRANSPOSED,
}


def cases() -> Iterator[tuple[str, Any, bool]]:
    """Yield the name, the document and the given answer of each case."""
    for path in sorted(ROOT.glob("0.*/*_suite.json")):
        suite = f"{path.parent.name}/{path.name.removesuffix('_suite.json')}"
        for case in json.loads(path.read_text())["tests"]:
            yield f"{suite}/{case['formerly']}", case["data"], case["valid"]
    for path in sorted(ROOT.glob("head/*/*/*/*.json")):
        name = str(path.relative_to(ROOT))
        yield name, json.loads(path.read_text()), "/valid/" in name


CASES = list(cases())


@pytest.mark.parametrize(("name", "document", "valid"), CASES, ids=[case[0] for case in CASES])
def test_case(name: str, document: Any, valid: bool) -> None:
    found = check_document(document)
    wrong = [p for p in found if p.severity == "error"]
    if "strict" in name:
        wrong += [p for p in found if p.kind == "recommended"]
    assert (wrong == []) == (valid and name not in INVALID), wrong


def test_all_cases_are_here() -> None:
    assert len(CASES) == 321
    assert set(INVALID) <= {name for name, _, valid in CASES if valid}
