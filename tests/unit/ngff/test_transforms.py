"""What 0.6 asks of transformations between coordinate systems, and of plates and scenes."""

from pathlib import Path
from typing import Any

import pytest
import zarr

import xpyramid
from xpyramid.ngff import check_document

Json = dict[str, Any]

ENDS = {"input": {"name": "physical"}, "output": {"name": "world"}}
SCALE = {"type": "scale", "scale": [2, 2]}


def parts(*axes: tuple[list[int], list[int]]) -> Json:
    """Return a transformation of some axes by one scale, and of others by another."""
    made = [
        {"transformation": {"type": "scale", "scale": [2]}, "inputAxes": i, "outputAxes": o}
        for i, o in axes
    ]
    return {"type": "byDimension", "transformations": made} | ENDS


def image(*transforms: Any, **level: Any) -> Json:
    """Return an image with transformations of its own; ``level`` changes that of its level."""
    system = {"axes": [{"name": name, "type": "space"} for name in "yx"]}
    one = {**SCALE, "input": {"path": "0"}, "output": {"name": "physical"}} | level
    multiscale = {
        "coordinateSystems": [{**system, "name": name} for name in ("physical", "world")],
        "datasets": [{"path": "0", "coordinateTransformations": [one]}],
        "coordinateTransformations": list(transforms),
    }
    return {"ome": {"version": "0.6", "multiscales": [multiscale]}}


def messages(document: Json) -> list[str]:
    return [problem.message for problem in check_document(document) if problem.severity == "error"]


@pytest.mark.parametrize(
    "transform",
    [
        SCALE,
        {"type": "identity"},
        {"type": "translation", "translation": [1, -2.5]},
        {"type": "affine", "affine": [[3, 0.4, 30], [0.3, 2, 20]]},
        {"type": "affine", "path": "matrix"},
        {"type": "rotation", "rotation": [[0, 1], [-1, 0]]},
        {"type": "rotation", "path": "matrix"},
        {"type": "mapAxis", "mapAxis": [1, 0]},
        {"type": "projectAxis", "createdOutputs": [0], "droppedInputs": [1]},
        {"type": "sequence", "transformations": [SCALE, {"type": "identity"}]},
        {"type": "bijection", "forward": SCALE, "inverse": SCALE},
        {
            "type": "byDimension",
            "transformations": [
                {"transformation": SCALE, "inputAxes": [1, 0], "outputAxes": [0, 1]}
            ],
        },
        {"type": "displacements", "path": "field"},
        {"type": "coordinates", "path": "field"},
    ],
    ids=lambda transform: transform["type"],
)
def test_what_is_right(transform: Json) -> None:
    assert messages(image(transform | ENDS)) == []


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ("scale", "expected names of coordinate systems"),
        (SCALE, "expected names of coordinate systems as input and output"),
        (SCALE | ENDS | {"input": "physical"}, "expected names of coordinate systems"),
        (ENDS, "no type; expected one of identity, scale,"),
        ({"type": "warp"} | ENDS, "type 'warp'; expected one of"),
        ({"type": "scale", "scale": [2, 0]} | ENDS, "scale without a list of positive numbers"),
        ({"type": "scale", "path": "numbers"} | ENDS, "scale without"),
        ({"type": "translation", "translation": ["1"]} | ENDS, "translation without"),
        ({"type": "translation", "translation": [10**400]} | ENDS, "translation without"),
        ({"type": "affine"} | ENDS, "affine without a matrix of numbers, or a path"),
        ({"type": "affine", "affine": [[1, 0], [1]]} | ENDS, "affine without"),
        ({"type": "rotation", "rotation": [[1, 0, 0], [0, 1, 0]]} | ENDS, "a square matrix"),
        ({"type": "rotation", "rotation": [0, 1]} | ENDS, "a square matrix"),
        ({"type": "mapAxis", "mapAxis": [0, 0]} | ENDS, "an order of the axes"),
        ({"type": "mapAxis", "mapAxis": [0, 2]} | ENDS, "an order of the axes"),
        ({"type": "mapAxis"} | ENDS, "an order of the axes"),
        ({"type": "projectAxis"} | ENDS, "one to three axes"),
        ({"type": "projectAxis", "createdOutputs": [5]} | ENDS, "one to three axes"),
        ({"type": "projectAxis", "createdOutputs": [0, 1, 2, 3]} | ENDS, "one to three axes"),
        ({"type": "sequence"} | ENDS, "sequence without a list"),
        (
            {"type": "sequence", "transformations": [SCALE, {"type": "affine"}]} | ENDS,
            "coordinateTransformations[0]: affine without",
        ),
        ({"type": "bijection", "forward": SCALE} | ENDS, "forward and inverse"),
        ({"type": "bijection", "forward": SCALE, "inverse": 5} | ENDS, "no type"),
        ({"type": "byDimension", "transformations": [SCALE]} | ENDS, "inputAxes and outputAxes"),
        (
            {
                "type": "byDimension",
                "transformations": [
                    {"transformation": SCALE, "inputAxes": ["y"], "outputAxes": ["y"]}
                ],
            }
            | ENDS,
            "inputAxes and outputAxes",
        ),
        ({"type": "displacements"} | ENDS, "displacements without a path"),
        (parts(([1], [2]), ([0], [2])), "outputAxes [2] in several parts"),
        (parts(([1], [2]), ([0], [2])), "outputAxes [2]; 'world' has 2 axes"),
        (parts(([1], [1]), ([1], [1])), "outputAxes [1] in several parts"),
        (parts(([1], [1]), ([0], [2])), "outputAxes [1, 2]; expected all from 0 on"),
        (parts(([1], [1]), ([0], [2])), "outputAxes [2]; 'world' has 2 axes"),
        (parts(([1], [0])), "axes [1] of 'world' are in no outputAxes"),
        (parts(([2], [0]), ([0], [1])), "inputAxes [2]; 'physical' has 2 axes"),
        (parts(([0, 1], [0, 1])), "scale [2] with inputAxes [0, 1] and outputAxes [0, 1]"),
        (
            {"type": "sequence", "transformations": [parts(([0], [1]), ([1], [1]))]} | ENDS,
            "outputAxes [1] in several parts",
        ),
    ],
)
def test_what_is_wrong(transform: Any, message: str) -> None:
    said = messages(image(transform))
    assert any(message in one for one in said), said


def test_deep_nesting() -> None:
    transform: Json = {"type": "affine"}
    for _ in range(2000):
        transform = {"type": "sequence", "transformations": [transform]}
    (said,) = messages(image(transform | ENDS))
    assert said.endswith("affine without a matrix of numbers, or a path")


@pytest.mark.parametrize(
    "level", [{"input": "0"}, {"input": {"name": "0"}}, {"output": {"path": "physical"}}]
)
def test_references_of_levels(level: Json) -> None:
    said = messages(image(**level))
    assert said == ["expected input: {path: ...} and output: {name: ...} in the transformation"]
    draft = image(**level)
    draft["ome"]["version"] = "0.6.dev2"  # where names were text
    assert messages(draft) == []


def test_one_transformation_for_each_level() -> None:
    document = image()
    transforms = document["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    transforms.append(transforms[0])
    assert "2 scales, [2, 2] and [2, 2]; accepted: one" in messages(document)[0]
    transforms[1] = {**transforms[0], "scale": [1, 1]}
    assert messages(document) == ["2 coordinateTransformations; expected one"]


def test_scenes() -> None:
    scene = {"coordinateTransformations": [{"type": "bijection", "forward": SCALE} | ENDS]}
    document = {"ome": {"version": "0.6", "scene": scene}}
    assert any("forward and inverse" in one for one in messages(document))


@pytest.mark.parametrize("version", ["0.5", "0.6", "0.6rc0"])
@pytest.mark.parametrize("inner", [True, False])
def test_plates(version: str, inner: bool) -> None:
    """A draft's plate is checked as one of the version that it led to."""
    wells = [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]
    plate = {"columns": [{"name": "1"}], "rows": [{"name": "A"}], "wells": wells}
    document = {"ome": {"version": version, "plate": plate}}
    plate |= {"version": version} if inner else {}
    assert messages(document) == []
    wells[0]["rowIndex"] = "none"
    said = ["plate.wells[0].rowIndex 'none'; expected an integer of at least 0"]
    assert messages(document) == said


@pytest.mark.parametrize("part", ["colors", "properties"])
def test_empty_lists_of_labels(part: str) -> None:
    document = {"ome": {"version": "0.5", "image-label": {part: []}}}
    assert f"{part} of image-label is empty; leave it out" in messages(document)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"colors": [{"label-value": 1}]}, None),  # colours may be left out,
        ({"colors": [{"label-value": 1}], "properties": [{"label-value": 2}]}, None),  # and differ
        ({"colors": [{"label-value": 1.0, "rgba": [0, 255, 0, 0]}]}, None),
        ({"colors": [{"label-value": 1, "rgba": [0, 0, 0]}]}, "four integers from 0 to 255"),
        ({"colors": [{"label-value": 1, "rgba": [0, 0, 0, 256]}]}, "four integers from 0 to 255"),
        ({"colors": [{"label-value": 1, "rgba": [0, 0, 0, 0.5]}]}, "four integers from 0 to 255"),
        ({"colors": [{"label-value": "1"}]}, "colors[0].label-value '1'; expected an integer"),
        ({"colors": [{"label-value": 1}, {"label-value": 1}]}, "expected each label-value once"),
        ({"colors": [1]}, "image-label.colors [1]; expected a list of objects"),
        ({"colors": [{"label-value": 1}], "properties": [{}]}, "properties[0].label-value None"),
        ({"colors": [{"label-value": 1}], "source": {"image": 5}}, "image-label.source"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_label_images(version: str, label: Json, message: str | None) -> None:
    inside = {"image-label": label | ({"version": "0.4"} if version == "0.4" else {})}
    document = inside if version == "0.4" else {"ome": {"version": version, **inside}}
    found = [problem.message for problem in check_document(document)]
    assert found == [] if message is None else any(message in one for one in found), found


def test_plates_in_stores_are_looked_at(tmp_path: Path) -> None:
    plate = {"columns": [{"name": "1"}], "rows": [{"name": "A"}], "wells": [{"path": "A/1"}]}
    root = zarr.create_group(
        tmp_path / "a.zarr", attributes={"ome": {"version": "0.5", "plate": plate}}
    )
    root.create_group("A")
    xpyramid.example_field((20, 20)).pyramid.to_ome_zarr(tmp_path / "a.zarr", "A/1", levels=2)
    (problem, *_) = xpyramid.verify(tmp_path / "a.zarr")
    assert (problem.where, problem.severity) == ("", "error")
    assert problem.message.startswith("plate.wells[0].rowIndex is missing; expected an integer")
