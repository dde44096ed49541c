"""Our answers to the conformance cases of the specification, and why some are not theirs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xpyramid
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


#: The stores are of metadata alone: that nothing lies where they say something does is no answer.
_ABSENT = "missing"
_OLD_FORM = (
    "the transformations of its datasets name no coordinate systems, as 0.6 asks and as the same "
    "case does among the documents"
)
#: What is said of stores for these reasons, which are not what any of them is about.
_ELSEWHERE = (
    "expected input: {path: ...} and output: {name: ...}",
    "expected names of coordinate systems",
    "as its indices say",  # of transposed wells
)

#: Stores that are valid, say their authors, and are not.
INVALID_STORES = {
    **dict.fromkeys(
        [
            "spec/valid/image/custom_type_axes",
            "spec/valid/image/invalid_axis_units",
            "spec/valid/image/missing_name",
            "spec/valid/image/untyped_axes",
            "strict/valid/image/image",
            "strict/valid/image/image_metadata",
            "strict/valid/image/image_omero",
            "strict/valid/image/multiscales_example",
            "strict/valid/image/multiscales_transformations",
        ],
        _OLD_FORM,
    ),
    **dict.fromkeys(
        [
            "spec/valid/plate/minimal_acquisitions",
            "spec/valid/plate/minimal_no_acquisitions",
            "spec/valid/plate/non_alphanumeric_row",
            "strict/valid/plate/strict_acquisitions",
            "strict/valid/plate/strict_no_acquisitions",
        ],
        _TRANSPOSED,
    ),
    "spec/valid/image/mismatch_axes_units": _LENGTHS,
}

#: Stores that are invalid, and not only for what they are about: a line break within a text.
NO_JSON = ["spec/invalid/label/colors_rgba_length", "spec/invalid/plate/zero_field_count"]

STORES = sorted(
    str(path.parent.relative_to(ROOT / "stores"))
    for path in (ROOT / "stores").glob("*/*/*/*/zarr.json")
)


@pytest.mark.parametrize("name", STORES)
@pytest.mark.filterwarnings("ignore:.*0.6rc0")
def test_store(name: str) -> None:
    found = xpyramid.verify(ROOT / "stores" / name)
    wrong = [p for p in found if p.severity == "error" and p.kind != _ABSENT]
    if name.startswith("strict"):
        wrong += [p for p in found if p.kind == "recommended"]
    if "/valid/" in name:
        assert (wrong == []) == (name not in INVALID_STORES), wrong
    else:  # for a reason of its own
        assert [p for p in wrong if not any(text in p.message for text in _ELSEWHERE)], wrong
    assert any("not JSON" in p.message for p in wrong) == (name in NO_JSON)


def test_all_stores_are_here() -> None:
    assert len(STORES) == 85
    assert set(INVALID_STORES) <= {name for name in STORES if "/valid/" in name}
