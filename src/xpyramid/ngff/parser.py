"""From the attributes of a group to a :class:`Multiscale`, for every version and for any writer.

Documents come from strangers. What is merely untidy is read: missing types, versions in the wrong
place, transformations in any order, names that no specification knows. What would make a number
wrong is refused: lengths that differ, scales that are no positive numbers, transformations that are
more than a scale and a translation. Nothing here recurses, and nothing is taken for a number, a
text or a list before it was seen to be one.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from xpyramid.axes import AXIS_TYPES
from xpyramid.errors import NotAPyramidError
from xpyramid.ngff.model import Axis, Dataset, Multiscale

#: A hundred levels halve more samples than there are atoms.
MAX_LEVELS = 100

READABLE = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")
_DRAFT = re.compile(r"(0\.[1-6])(?:[.-]?(?:dev|rc|a|b)[.-]?\d*)?")
_LONGEST_NAME = 200

_Json = Mapping[str, Any]
_Vector = tuple[float, ...]


def version_of(attrs: Mapping[str, Any]) -> str | None:
    """Return the version that a group's attributes speak, None if they announce no image."""
    ome = attrs.get("ome")
    recent = isinstance(ome, Mapping) and "multiscales" in ome
    image = _announced(attrs)
    if image is None:
        if not recent:  # any group may have something else of that name
            return None
        image = {}
    # 0.5 and 0.6 say it beside multiscales, 0.1 to 0.4 within, and some writers mix that up.
    declared = ome.get("version") if isinstance(ome, Mapping) and recent else None
    declared = image.get("version") if declared is None else declared
    if declared is not None:
        return str(declared)[:_LONGEST_NAME] if isinstance(declared, str | float) else "?"
    if "coordinateSystems" in image:
        return "0.6"
    if recent:
        return "0.5"
    axes = image.get("axes")
    if axes is None:
        first = image["datasets"][0] if image["datasets"] else None
        return (
            "0.4" if isinstance(first, Mapping) and "coordinateTransformations" in first else "0.2"
        )
    return "0.3" if isinstance(axes, list) and axes and isinstance(axes[0], str) else "0.4"


def spoken(version: str) -> str | None:
    """Return the version that a declared one is, or is a draft of; None for unknown ones.

    Examples
    --------
    >>> spoken("0.6rc0"), spoken("0.5"), spoken("7")
    ('0.6', '0.5', None)
    """
    known = _DRAFT.fullmatch(version)
    return known[1] if known else None


def parse(attrs: Mapping[str, Any], which: int | str = 0) -> Multiscale:
    """Read a multiscale image that a group's attributes announce.

    Parameters
    ----------
    attrs : mapping
        Attributes of the group.
    which : int or str
        Position or name of the image, where one group announces several.

    Raises
    ------
    NotAPyramidError
        If there is none, or its version is not known, or its metadata make no image.
    """
    version = version_of(attrs)
    if version is None:
        raise NotAPyramidError("the group's attributes announce no multiscale image")
    known = spoken(version)
    if known is None:
        raise NotAPyramidError(f"OME-NGFF version {version!r}; accepted: {', '.join(READABLE)}")
    document = _document(attrs)
    try:
        if _announced(attrs) is None:
            raise _InvalidError("multiscales is no list of images with datasets")
        return _parse(document, _choose(document["multiscales"], which), known)
    except _InvalidError as error:
        raise NotAPyramidError(f"the OME-NGFF {version} metadata are not valid: {error}") from error


class _InvalidError(Exception):
    """What is wrong with a document."""


def _document(attrs: Mapping[str, Any]) -> _Json:
    """Return the mapping that holds ``multiscales``: all attributes up to 0.4, "ome" later."""
    ome = attrs.get("ome")
    return ome if isinstance(ome, Mapping) and "multiscales" in ome else attrs


def _announced(attrs: Mapping[str, Any]) -> _Json | None:
    """Return the first entry of ``multiscales`` that is an image."""
    images = _document(attrs).get("multiscales")
    first = images[0] if isinstance(images, list) and images else None
    found = isinstance(first, Mapping) and isinstance(first.get("datasets"), list)
    return first if found else None


def _choose(images: Sequence[Any], which: int | str) -> _Json:
    names = [image.get("name") if isinstance(image, Mapping) else None for image in images]
    position = names.index(which) if which in names else which
    count = isinstance(position, int) and 0 <= position < len(images)
    chosen = images[position] if count and isinstance(position, int) else None
    if not isinstance(chosen, Mapping) or not isinstance(chosen.get("datasets"), list):
        listed = [_shown(name) for name in names[:10]]
        raise NotAPyramidError(
            f"multiscale={which!r}; the group announces {len(images)}, named {listed}; accepted: "
            "one of the names, or a position from 0"
        )
    return chosen


def _parse(document: _Json, image: _Json, version: str) -> Multiscale:
    datasets = image["datasets"]
    if not 1 <= len(datasets) <= MAX_LEVELS:
        raise _InvalidError(f"{len(datasets)} datasets; accepted: 1 to {MAX_LEVELS}")
    axes = _axes(image, version)
    # In 0.6 these lead from the image's own coordinate system to others.
    group = () if version == "0.6" else image.get("coordinateTransformations") or ()
    above = _compose(group, len(axes), "the image") if group else None
    found = tuple(_dataset(dataset, len(axes), above, version) for dataset in datasets)
    paths = [dataset.path for dataset in found]
    if twice := {path for path in paths if paths.count(path) > 1}:
        raise _InvalidError(f"dataset paths {sorted(map(_shown, twice))} are there twice")
    metadata = image.get("metadata")
    return Multiscale(
        axes=axes,
        datasets=found,
        name=_text(image.get("name")),
        type=_text(image.get("type")),
        metadata=metadata if isinstance(metadata, Mapping) else {},
        version=version,
        channels=_channels(document.get("omero")),
        document=document,
    )


def _axes(image: _Json, version: str) -> tuple[Axis, ...]:
    """Read axes: fixed in 0.1 and 0.2, names in 0.3, mappings later, in a system in 0.6."""
    given = image.get("axes")
    if version == "0.6" and "coordinateSystems" in image:
        given = _system(image).get("axes")
    elif given is None and version in ("0.1", "0.2"):
        given = list("tczyx")  # "the order of the axes is t, c, z, y, x"
    if not isinstance(given, list) or not given:
        raise _InvalidError("there are no axes")
    axes = tuple(_axis(axis) for axis in given)
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise _InvalidError(f"axes of the same name: {[_shown(name) for name in names[:10]]}")
    return axes


def _axis(axis: object) -> Axis:
    if isinstance(axis, str):
        axis = {"name": axis}
    name = axis.get("name") if isinstance(axis, Mapping) else None
    if not isinstance(axis, Mapping) or not isinstance(name, str) or not name:
        raise _InvalidError(f"{_shown(axis)} is no axis")
    if len(name) > _LONGEST_NAME or not name.isprintable() or "/" in name:
        raise _InvalidError(f"{_shown(name)} is no name of an axis")
    kind = _text(axis.get("type")) or AXIS_TYPES.get(name)
    return Axis(name, kind, _text(axis.get("unit")))


def _system(image: _Json) -> _Json:
    """Return the coordinate system that the datasets lead to; the first if they do not say."""
    listed = image["coordinateSystems"]
    systems = [s for s in listed if isinstance(s, Mapping)] if isinstance(listed, list) else []
    if not systems:
        raise _InvalidError("there are no coordinate systems")
    outputs = set()
    for dataset in image["datasets"]:
        transforms = dataset.get("coordinateTransformations") if isinstance(dataset, Mapping) else 0
        for transform in transforms if isinstance(transforms, list) else ():
            output = transform.get("output") if isinstance(transform, Mapping) else None
            name = output.get("name") if isinstance(output, Mapping) else output  # text in drafts
            outputs |= {name} if isinstance(name, str) else set()
    if len(outputs) > 1:
        names = [_shown(name) for name in sorted(outputs)[:10]]
        raise _InvalidError(f"the datasets lead to different coordinate systems: {names}")
    named = [system for system in systems if _text(system.get("name")) in outputs]
    if outputs and not named:
        raise _InvalidError(f"there is no coordinate system {_shown(outputs.pop())}")
    return (named or systems)[0]


def _dataset(
    dataset: object, ndim: int, above: tuple[_Vector, _Vector] | None, version: str
) -> Dataset:
    if not isinstance(dataset, Mapping) or not isinstance(dataset.get("path"), str):
        raise _InvalidError(f"{_shown(dataset)} is no dataset with a path")
    path = dataset["path"]
    transforms = dataset.get("coordinateTransformations")
    if transforms is None and version in ("0.1", "0.2", "0.3"):
        return Dataset(path, (), ())  # these versions do not know any
    where = f"dataset {_shown(path)}"
    scale, shift = _compose(transforms, ndim, where)
    if above is not None:
        scale = tuple(g * s for g, s in zip(above[0], scale, strict=True))
        shift = tuple(g * t + u for g, t, u in zip(above[0], shift, above[1], strict=True))
    if not all(math.isfinite(v) for v in scale + shift) or not all(scale):
        raise _InvalidError(f"{where}: scale {scale} and translation {shift} together")
    return Dataset(path, scale, shift)


def _compose(transforms: object, ndim: int, where: str) -> tuple[_Vector, _Vector]:
    """Return scale and translation of transformations that are applied one after the other."""
    if not isinstance(transforms, list) or not transforms:
        raise _InvalidError(f"{where} has no coordinateTransformations")
    scale, shift, sized = (1.0,) * ndim, (0.0,) * ndim, False
    todo = list(reversed(transforms))
    while todo:
        transform = todo.pop()
        kind = transform.get("type") if isinstance(transform, Mapping) else None
        if kind == "sequence" and isinstance(transform.get("transformations"), list):
            todo.extend(reversed(transform["transformations"]))
        elif kind == "identity":
            sized = True
        elif kind == "scale":
            factor = _vector(transform, kind, ndim, where)
            if not all(v > 0 for v in factor):
                raise _InvalidError(f"{where}: scale {list(factor)}; accepted: positive numbers")
            scale = tuple(f * s for f, s in zip(factor, scale, strict=True))
            shift = tuple(f * t for f, t in zip(factor, shift, strict=True))
            sized = True
        elif kind == "translation":
            moved = _vector(transform, kind, ndim, where)
            shift = tuple(t + m for t, m in zip(shift, moved, strict=True))
        else:
            raise _InvalidError(
                f"{where}: transformation {_shown(kind)}; accepted: scale, translation, identity, "
                "sequence"
            )
    if not sized and where != "the image":
        raise _InvalidError(f"{where} has no scale")
    return scale, shift


def _vector(transform: _Json, kind: str, ndim: int, where: str) -> _Vector:
    """Return the numbers of a transformation, one for each axis."""
    values = transform.get(kind)
    if values is None and "path" in transform:
        raise _InvalidError(f"{where}: a {kind} that is stored in an array is not supported")
    if not isinstance(values, list) or len(values) != ndim:
        raise _InvalidError(f"{where}: {kind} {_shown(values)} and {ndim} axes")
    try:
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            raise ValueError(values)
        numbers = tuple(float(v) for v in values)
        if not all(map(math.isfinite, numbers)):
            raise ValueError(values)
    except (ValueError, OverflowError):
        raise _InvalidError(f"{where}: {kind} {_shown(values)} is not all numbers") from None
    return numbers


def _channels(omero: object) -> tuple[str, ...]:
    """Return the labels of the channels, () where there are none."""
    if omero is None:
        return ()
    channels = omero.get("channels", []) if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or not all(isinstance(c, Mapping) for c in channels):
        warnings.warn(
            "the omero metadata are no list of channels; ignored", UserWarning, stacklevel=2
        )
        return ()
    labels = [channel.get("label") for channel in channels]
    named = [str(x)[:_LONGEST_NAME] if isinstance(x, str | int | float) else "" for x in labels]
    if not any(named):
        return ()
    return tuple(label or str(i) for i, label in enumerate(named))


def _text(value: object) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else None


def _shown(value: object) -> str:
    """Return a value as it can be put into a message: short, on one line, whatever its depth."""
    if isinstance(value, list):  # deep ones have no repr
        inner = ", ".join(_shown(v) if not isinstance(v, list) else "[...]" for v in value[:6])
        return f"[{inner}{', ...' if len(value) > 6 else ''}]"
    if isinstance(value, Mapping):
        return f"a mapping with {[_shown(key) for key in list(value)[:6]]}"
    if isinstance(value, int) and abs(value) > 10**20:  # Python refuses to print very long ones
        return "a huge integer"
    shown = repr(value[:80] if isinstance(value, str) else value)
    return f"{shown[:80]}..." if isinstance(value, str) and len(value) > 80 else shown[:80]
