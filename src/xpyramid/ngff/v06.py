"""OME-NGFF 0.6, on Zarr v3.

https://ngff.openmicroscopy.org/0.6/:

"A coordinate system is a JSON object with a `name` field and a `axes` field."

The form is written here by hand: the releases of ome-zarr-models for Python 3.11 do not know 0.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from xpyramid.ngff import model

#: The coordinate system that all levels are mapped to.
SYSTEM = "physical"


def attributes(image: model.Multiscale) -> dict[str, Any]:
    """Return the group attributes that announce an image."""
    axes = [
        {"name": a.name, "type": a.type, **({"unit": a.unit} if a.unit else {})} for a in image.axes
    ]
    multiscale = {
        "coordinateSystems": [{"name": SYSTEM, "axes": axes}],
        "datasets": [
            {"path": d.path, "coordinateTransformations": [_transformation(d)]}
            for d in image.datasets
        ],
        "name": image.name,
        "type": image.type,
        "metadata": dict(image.metadata),
    }
    return {"ome": {"version": "0.6", "multiscales": [multiscale]}}


def _transformation(dataset: model.Dataset) -> dict[str, Any]:
    """Return the one transformation of a level, from its array to the coordinate system."""
    return {
        "type": "sequence",
        "input": {"path": dataset.path},
        "output": {"name": SYSTEM},
        "transformations": [
            {"type": "scale", "scale": list(dataset.scale)},
            {"type": "translation", "translation": list(dataset.translation)},
        ],
    }


def parse(attrs: Mapping[str, Any]) -> Any:
    """Return the first multiscale of a group's attributes, in the form of the older versions."""
    multiscale = attrs["ome"]["multiscales"][0]
    datasets = [
        SimpleNamespace(path=d["path"], coordinateTransformations=_steps(d))
        for d in multiscale["datasets"]
    ]
    target = multiscale["datasets"][0]["coordinateTransformations"][0]["output"]["name"]
    systems = {system["name"]: system for system in multiscale["coordinateSystems"]}
    return SimpleNamespace(
        axes=[
            SimpleNamespace(name=a["name"], type=a.get("type"), unit=a.get("unit"))
            for a in systems[target]["axes"]
        ],
        datasets=datasets,
        name=multiscale.get("name"),
        type=multiscale.get("type"),
        metadata=multiscale.get("metadata"),
    )


def _steps(dataset: Mapping[str, Any]) -> list[SimpleNamespace]:
    """Return what a dataset's transformation is made of."""
    (transformation,) = dataset["coordinateTransformations"]
    steps = transformation.get("transformations", [transformation])
    return [SimpleNamespace(**step) for step in steps]
