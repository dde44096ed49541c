"""The group attributes that announce an image, as each OME-NGFF version spells them.

0.4 (https://ngff.openmicroscopy.org/0.4/): "Metadata about an image can be found under the
"multiscales" key in the group-level metadata." It is stored as Zarr v2.

0.5 (https://ngff.openmicroscopy.org/0.5/): "OME-Zarr Metadata is stored in the various zarr.json
files ... under the namespaced key "ome"."

0.6 (https://ngff.openmicroscopy.org/0.6/): "A coordinate system is a JSON object with a `name`
field and a `axes` field."

The documents are written by hand, key by key. The models of ome-zarr-models, which take a tenth of
a second to import, judge them in the tests and in `verify`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from xpyramid.ngff.model import Axis, Dataset, Multiscale

#: The coordinate system that all levels of a 0.6 image are mapped to.
SYSTEM = "physical"


class AxisDocument(TypedDict):
    """An axis; its unit is one of the specification's list."""

    name: str
    type: str | None
    unit: NotRequired[str]


class Scale(TypedDict):
    """The spacing of the samples along each axis."""

    type: Literal["scale"]
    scale: list[float]


class Translation(TypedDict):
    """Where the first sample lies along each axis."""

    type: Literal["translation"]
    translation: list[float]


class PathReference(TypedDict):
    """An array that a transformation leads from."""

    path: str


class SystemReference(TypedDict):
    """A coordinate system that a transformation leads to."""

    name: str


class SequenceDocument(TypedDict):
    """Transformations that are applied one after the other; in 0.6."""

    type: Literal["sequence"]
    input: PathReference
    output: SystemReference
    transformations: list[Scale | Translation]


class DatasetDocument(TypedDict):
    """A level, and where it is."""

    path: str
    coordinateTransformations: Sequence[Scale | Translation | SequenceDocument]


class SystemDocument(TypedDict):
    """A coordinate system; in 0.6."""

    name: str
    axes: list[AxisDocument]


class MultiscaleDocument(TypedDict):
    """An image: with axes up to 0.5, and with coordinate systems since 0.6."""

    axes: NotRequired[list[AxisDocument]]
    coordinateSystems: NotRequired[list[SystemDocument]]
    datasets: list[DatasetDocument]
    metadata: object
    name: str | None
    type: str | None
    version: NotRequired[str]


def _axis(axis: Axis) -> AxisDocument:
    document: AxisDocument = {"name": axis.name, "type": axis.type}
    return {**document, "unit": axis.unit} if axis.unit else document


def _transformations(dataset: Dataset) -> list[Scale | Translation]:
    return [
        {"type": "scale", "scale": list(dataset.scale)},
        {"type": "translation", "translation": list(dataset.translation)},
    ]


def _finite(value: object) -> object:
    """Return a value for strict JSON, which has no NaN and no infinity: those are null."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_finite, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _multiscale(image: Multiscale) -> MultiscaleDocument:
    """Return an image as 0.4 and 0.5 have it, its keys in the order of ome-zarr-models."""
    return {
        "axes": list(map(_axis, image.axes)),
        "datasets": [
            {"path": dataset.path, "coordinateTransformations": _transformations(dataset)}
            for dataset in image.datasets
        ],
        "metadata": _finite(image.metadata),
        "name": image.name,
        "type": image.type,
    }


def _attributes_04(image: Multiscale) -> dict[str, object]:
    # The version is optional in the text, but neuroglancer refuses an image without it.
    return {"multiscales": [{**_multiscale(image), "version": "0.4"}]}


def _attributes_05(image: Multiscale) -> dict[str, object]:
    return {"ome": {"version": "0.5", "multiscales": [_multiscale(image)]}}


def _attributes_06(image: Multiscale) -> dict[str, object]:
    multiscale: MultiscaleDocument = {
        "coordinateSystems": [{"name": SYSTEM, "axes": list(map(_axis, image.axes))}],
        "datasets": [
            {"path": dataset.path, "coordinateTransformations": [_sequence(dataset)]}
            for dataset in image.datasets
        ],
        "name": image.name,
        "type": image.type,
        "metadata": _finite(image.metadata),
    }
    return {"ome": {"version": "0.6", "multiscales": [multiscale]}}


def _sequence(dataset: Dataset) -> SequenceDocument:
    """Return the one transformation of a level, from its array to the coordinate system."""
    return {
        "type": "sequence",
        "input": {"path": dataset.path},
        "output": {"name": SYSTEM},
        "transformations": _transformations(dataset),
    }


@dataclass(frozen=True)
class Version:
    """An OME-NGFF version that is written.

    Attributes
    ----------
    attributes : callable
        Returns the group attributes that announce an image.
    zarr_format : {2, 3}
        In which it is stored.
    """

    attributes: Callable[[Multiscale], dict[str, object]]
    zarr_format: Literal[2, 3]


VERSIONS: Mapping[str, Version] = {
    "0.4": Version(_attributes_04, 2),
    "0.5": Version(_attributes_05, 3),
    "0.6": Version(_attributes_06, 3),
}
