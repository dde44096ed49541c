"""From the attributes of a group to a :class:`Multiscale`, for every version and for any writer.

Documents come from strangers. What is merely untidy is read: missing types, versions in the wrong
place, suffixes of versions, names that no specification knows. What would make a number wrong is
refused: lengths that differ, scales that are negative, transformations that are more than a scale
and a translation, two scales without a rule how to combine them. A scale of 0 is kept: it
is how some writers say that an axis with one sample has no spacing, and only who knows the shapes
can tell. Nothing here recurses, and nothing is taken for a number, a text or a list before it was
seen to be one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict, TypeGuard

from xpyramid.errors import NotAPyramidError
from xpyramid.geometry.axes import AXIS_TYPES
from xpyramid.ngff.json_types import holder_of_multiscales, is_map
from xpyramid.ngff.model import Axis, Dataset, Multiscale
from xpyramid.warn import warn

#: A hundred levels halve more samples than there are atoms.
MAX_LEVELS = 100

READABLE = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")

#: A version, and what writers put behind it: "0.5-dev-spatialdata", "0.4.1", "0.5+fork", "0.5rc1".
_VERSION = re.compile(
    r"(0\.[1-6])(?:[-.+_][0-9A-Za-z][0-9A-Za-z.+_-]*|(?:dev|rc|alpha|beta|a|b|pre|post)[.-]?\d*)?"
)

#: The drafts of 0.6 that the specification itself gave a name.
_DRAFT = re.compile(r"0\.6(?:[.-]?(?:dev|rc|a|b)[.-]?\d*)?")
_LONGEST_NAME = 200

#: What datasets can have, alone or in sequences.
_PLAIN = ("scale", "translation", "identity")

_Json = Mapping[str, object]
_Vector = tuple[float, ...]


class _Image(TypedDict):
    """An image of which no more has been checked than that there is a list of datasets."""

    datasets: list[object]


def version_of(attrs: Mapping[str, object]) -> str | None:
    """Return the version that a group's attributes speak, None if they announce no image."""
    ome = attrs.get("ome")
    recent = isinstance(ome, Mapping) and "multiscales" in ome
    image = _first_multiscale(attrs)
    if image is None:
        if not recent:  # any group may have something else of that name
            return None
        image = {"datasets": []}
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


def spec_version(version: str) -> str | None:
    """Return the version that a declared one is, or begins with; None for unknown ones.

    Examples
    --------
    >>> [spec_version(declared) for declared in ("0.6rc0", "0.5-dev-spatialdata", "0.55", "7")]
    ['0.6', '0.5', None, None]
    """
    match = _VERSION.fullmatch(version)
    return match[1] if match else None


def is_published(version: str) -> bool:
    """Whether a version is one of the specification's, or a draft that it gave a name.

    Examples
    --------
    >>> is_published("0.5"), is_published("0.6rc0"), is_published("0.5-dev-spatialdata")
    (True, True, False)
    """
    return version in READABLE or bool(_DRAFT.fullmatch(version))


def parse(attrs: Mapping[str, object], which: int | str = 0) -> Multiscale:
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
        If there is none, its version is not known, or its metadata are invalid.
    """
    version = version_of(attrs)
    if version is None:
        raise NotAPyramidError("the group's attributes announce no multiscale image")
    published = spec_version(version)
    if published is None:
        raise NotAPyramidError(f"OME-NGFF version {version!r}; accepted: {', '.join(READABLE)}")
    if not is_published(version):
        _warn(f"OME-NGFF version {version!r} was never published; it is read as {published}")
    document = holder_of_multiscales(attrs)
    try:
        images = document.get("multiscales")
        if _first_multiscale(attrs) is None or not isinstance(images, list):
            raise _InvalidError("multiscales is not a list of images with datasets")
        return _parse(document, _choose(images, which), published)
    except _InvalidError as error:
        raise NotAPyramidError(f"the OME-NGFF {version} metadata are not valid: {error}") from error


class _InvalidError(Exception):
    """What is wrong with a document."""


def _first_multiscale(attrs: Mapping[str, object]) -> _Image | None:
    """Return the first entry of ``multiscales`` that is an image."""
    images = holder_of_multiscales(attrs).get("multiscales")
    first = images[0] if isinstance(images, list) and images else None
    return first if _is_image(first) else None


def _is_image(value: object) -> TypeGuard[_Image]:
    return isinstance(value, Mapping) and isinstance(value.get("datasets"), list)


def _choose(images: Sequence[object], which: int | str) -> _Image:
    names = [image.get("name") if isinstance(image, Mapping) else None for image in images]
    position = names.index(which) if which in names else which
    count = isinstance(position, int) and 0 <= position < len(images)
    chosen = images[position] if count and isinstance(position, int) else None
    if not _is_image(chosen):
        reprs = [_short_repr(name) for name in names[:10]]
        raise NotAPyramidError(
            f"multiscale={which!r}; the group announces {len(images)}, named {reprs}; accepted: "
            "one of the names, or a position from 0"
        )
    return chosen


def _parse(document: _Json, image: _Image, version: str) -> Multiscale:
    datasets = image["datasets"]
    if not 1 <= len(datasets) <= MAX_LEVELS:
        raise _InvalidError(f"{len(datasets)} datasets; accepted: 1 to {MAX_LEVELS}")
    axes = _axes(image, version)
    above = None if version == "0.6" else _above(image, len(axes))
    placed = _are_placed(datasets, version)
    parsed_datasets = tuple(
        _dataset(dataset, len(axes), above, placed=placed) for dataset in datasets
    )
    paths = [dataset.path for dataset in parsed_datasets]
    if twice := {path for path in paths if paths.count(path) > 1}:
        raise _InvalidError(
            f"the dataset paths {', '.join(sorted(map(_short_repr, twice)))} occur twice"
        )
    metadata = image.get("metadata")
    return Multiscale(
        axes=axes,
        datasets=parsed_datasets,
        name=_text(image.get("name")),
        type=_text(image.get("type")),
        metadata=metadata if isinstance(metadata, Mapping) else {},
        version=version,
        channels=_channels(document.get("omero")),
        document={**document, "multiscales": [image]},
    )


def _axes(image: _Image, version: str) -> tuple[Axis, ...]:
    """Read axes: fixed in 0.1 and 0.2, names in 0.3, mappings later, in a system in 0.6."""
    entries = image.get("axes")
    if version == "0.6" and "coordinateSystems" in image:
        entries = _system(image).get("axes")
    elif entries is None and version in ("0.1", "0.2"):
        entries = list("tczyx")  # "the order of the axes is t, c, z, y, x"
    if not isinstance(entries, list) or not entries:
        raise _InvalidError("there are no axes")
    axes = tuple(_axis(axis) for axis in entries)
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise _InvalidError(f"axes of the same name: {', '.join(map(_short_repr, names[:10]))}")
    return axes


def _axis(axis: object) -> Axis:
    if isinstance(axis, str):
        axis = {"name": axis}
    name = axis.get("name") if isinstance(axis, Mapping) else None
    if not isinstance(axis, Mapping) or not isinstance(name, str) or not name:
        raise _InvalidError(f"{_short_repr(axis)} is not an axis")
    if len(name) > _LONGEST_NAME or not name.isprintable() or "/" in name:
        raise _InvalidError(f"{_short_repr(name)} is not the name of an axis")
    kind = _text(axis.get("type")) or AXIS_TYPES.get(name)
    return Axis(name, kind, _text(axis.get("unit")))


def _system(image: _Image) -> _Json:
    """Return the coordinate system that the datasets lead to; the first if they do not say."""
    entries = image.get("coordinateSystems")
    systems = [s for s in entries if isinstance(s, Mapping)] if isinstance(entries, list) else []
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
        names = [_short_repr(name) for name in sorted(outputs)[:10]]
        raise _InvalidError(f"the datasets lead to different coordinate systems: {names}")
    named = [system for system in systems if _text(system.get("name")) in outputs]
    if outputs and not named:
        raise _InvalidError(f"there is no coordinate system {_short_repr(outputs.pop())}")
    return (named or systems)[0]


def _above(image: _Image, ndim: int) -> tuple[_Vector, _Vector] | None:
    """Return scale and translation of the image as a whole, None where there are none.

    What has an output leads from the image's own coordinate system to another, as in 0.6: there may
    be several, and none of them is applied.
    """
    group = image.get("coordinateTransformations") or ()
    if not isinstance(group, list) or not any(is_map(t) and "output" in t for t in group):
        return _compose(group, ndim, "the image") if group else None
    if any(not is_map(t) or t.get("type") != "identity" for t in group):
        _warn(
            "the coordinateTransformations of the image lead to other coordinate systems; they are "
            "not applied"
        )
    return None


def _are_placed(datasets: Sequence[object], version: str) -> bool:
    """Whether the datasets say where they are, which 0.1 to 0.3 have no words for."""
    if version not in ("0.1", "0.2", "0.3"):
        return True
    placed = [is_map(d) and d.get("coordinateTransformations") is not None for d in datasets]
    if any(placed) and not all(placed):
        _warn(
            f"only {sum(placed)} of {len(placed)} datasets have coordinateTransformations, which "
            f"OME-NGFF {version} does not know; they are left out"
        )
    return all(placed)


def _dataset(
    dataset: object, ndim: int, above: tuple[_Vector, _Vector] | None, *, placed: bool
) -> Dataset:
    if not isinstance(dataset, Mapping) or not isinstance(dataset.get("path"), str):
        raise _InvalidError(f"{_short_repr(dataset)} is not a dataset with a path")
    path = dataset["path"]
    if not placed:
        return Dataset(path, (), ())
    where = f"dataset {_short_repr(path)}"
    underflows = False
    scale, shift = _compose(dataset.get("coordinateTransformations"), ndim, where)
    if above is not None:
        pairs = list(zip(above[0], scale, strict=True))
        underflows = any(g and s and g * s == 0 for g, s in pairs)  # too small for a number
        scale = tuple(g * s for g, s in pairs)
        shift = tuple((g or 1.0) * t + u for g, t, u in zip(above[0], shift, above[1], strict=True))
    if underflows or not all(math.isfinite(v) for v in scale + shift):
        raise _InvalidError(f"{where}: scale {scale} and translation {shift} together")
    return Dataset(path, scale, shift)


def _compose(transforms: object, ndim: int, where: str) -> tuple[_Vector, _Vector]:
    """Return scale and translation of transformations that are applied one after the other.

    A scale of 0 stands for one that is not known, and does not count.
    """
    if not isinstance(transforms, list) or not transforms:
        raise _InvalidError(f"{where} has no coordinateTransformations")
    _check_list(transforms, where)
    scale, shift, sized = (1.0,) * ndim, (0.0,) * ndim, where == "the image"
    unknown = [False] * ndim
    for kind, transform in _flat(transforms, where):
        sized |= kind in ("scale", "identity")
        if kind == "scale":
            factor = _vector(transform, kind, ndim, where)
            if not all(v >= 0 for v in factor):
                raise _InvalidError(f"{where}: scale {list(factor)}; accepted: positive numbers")
            unknown = [u or f == 0 for u, f in zip(unknown, factor, strict=True)]
            scale = tuple((f or 1.0) * s for f, s in zip(factor, scale, strict=True))
            shift = tuple((f or 1.0) * t for f, t in zip(factor, shift, strict=True))
        elif kind == "translation":
            moved = _vector(transform, kind, ndim, where)
            shift = tuple(t + m for t, m in zip(shift, moved, strict=True))
    if not sized:
        raise _InvalidError(f"{where} has no scale")
    if not all(scale):
        raise _InvalidError(f"{where}: the scales together are {scale}")
    return tuple(0.0 if u else s for u, s in zip(unknown, scale, strict=True)), shift


def _flat(transforms: Sequence[object], where: str) -> Iterator[tuple[str, _Json]]:
    """Yield the kind of each transformation and itself, those in sequences one by one."""
    todo = list(reversed(transforms))
    while todo:
        transform = todo.pop()
        kind = transform.get("type") if isinstance(transform, Mapping) else None
        inner = transform.get("transformations") if isinstance(transform, Mapping) else None
        if kind == "sequence" and isinstance(inner, list):
            todo.extend(reversed(inner))
        elif is_map(transform) and isinstance(kind, str) and kind in _PLAIN:
            yield kind, transform
        else:
            raise _InvalidError(
                f"{where}: transformation {_short_repr(kind)}; accepted: scale, translation, "
                "identity, sequence"
            )


def _check_list(transforms: Sequence[object], where: str) -> None:
    """Refuse, or warn of, what the specification forbids since no two readers agree on it.

    A list has one scale, and one translation after it. Of two, some readers take the product, some
    the first and some the last. What is in a sequence is applied in its order, says 0.6.
    """
    kinds = [t.get("type") if is_map(t) else None for t in transforms]
    for kind, neutral in (("scale", 1), ("translation", 0)):
        values = [t.get(kind) for t in transforms if is_map(t) and t.get("type") == kind]
        values += [k for k in kinds if k == "sequence"]
        effective = [v for v in values if not isinstance(v, list) or any(x != neutral for x in v)]
        if len(effective) > 1:
            raise _InvalidError(
                f"{where}: {len(values)} {kind}s, {_short_repr(effective[0])} and "
                f"{_short_repr(effective[1])}; accepted: one, as it is unclear how two combine"
            )
        if len(values) > 1:
            _warn(f"{where} has {len(values)} {kind}s; those that change nothing are left out")
        first = kinds.index(kind) if kind in kinds else len(kinds)
        if kind == "translation" and effective and "scale" in kinds[first:]:
            _warn(
                f"{where} has a translation before its scale: it is scaled too, as the order of "
                "the list says, and some readers do not do that"
            )


def _vector(transform: _Json, kind: str, ndim: int, where: str) -> _Vector:
    """Return the numbers of a transformation, one for each axis."""
    values = transform.get(kind)
    if values is None and "path" in transform:
        raise _InvalidError(f"{where}: a {kind} that is stored in an array is not supported")
    if not isinstance(values, list) or len(values) != ndim:
        raise _InvalidError(
            f"{where}: {kind} {_short_repr(values)}; accepted: a list of {ndim}, one for each axis"
        )
    try:
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            raise ValueError(values)
        numbers = tuple(float(v) for v in values)
        if not all(map(math.isfinite, numbers)):
            raise ValueError(values)
    except (ValueError, OverflowError):
        raise _InvalidError(f"{where}: {kind} {_short_repr(values)} is not all numbers") from None
    return numbers


def _channels(omero: object) -> tuple[str, ...]:
    """Return the labels of the channels, () where there are none."""
    if omero is None:
        return ()
    channels = omero.get("channels", []) if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or not all(isinstance(c, Mapping) for c in channels):
        _warn("the omero metadata are not a list of channels; ignored")
        return ()
    labels = [channel.get("label") for channel in channels]
    named = [str(x)[:_LONGEST_NAME] if isinstance(x, str | int | float) else "" for x in labels]
    if not any(named):
        return ()
    return tuple(label or str(i) for i, label in enumerate(named))


def _warn(message: str) -> None:
    warn(message)


def _text(value: object) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else None


def _short_repr(value: object) -> str:
    """Return a value as it can be put into a message: short, on one line, whatever its depth."""
    if isinstance(value, list):  # deep ones have no repr
        inner = ", ".join(_short_repr(v) if not isinstance(v, list) else "[...]" for v in value[:6])
        return f"[{inner}{', ...' if len(value) > 6 else ''}]"
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(_short_repr, list(value)[:6])) or 'nothing'}"
    if isinstance(value, int) and abs(value) > 10**20:  # Python refuses to print very long ones
        return "a huge integer"
    shown = repr(value[:80] if isinstance(value, str) else value)
    return f"{shown[:80]}..." if isinstance(value, str) and len(value) > 80 else shown[:80]
