"""What OME-NGFF 0.6 asks of transformations that lead from one coordinate system to another.

https://ngff.openmicroscopy.org/0.6/: scales and translations of levels are the parser's business;
here is what an image says beyond them, and how datasets and systems refer to each other. Readers
may leave all of it out, so nothing that is wrong here keeps an image from being opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypedDict, TypeGuard

from xpyramid.ngff.json_types import is_map, is_number
from xpyramid.ngff.problems import Problem
from xpyramid.ngff.versions import MultiscaleDocument, SystemDocument

_Json = Mapping[str, object]

#: Axes that an image can have.
_MOST_AXES = 5


class _Part(TypedDict):
    """What ``byDimension`` does to some of the axes."""

    transformation: object
    inputAxes: list[int]
    outputAxes: list[int]


class _ByDimension(TypedDict):
    """A transformation of one part for each of some axes."""

    transformations: list[_Part]


#: The ends of a transformation, and where its parts list their axes.
_ENDS: tuple[tuple[str, Literal["inputAxes", "outputAxes"]], ...] = (
    ("input", "inputAxes"),
    ("output", "outputAxes"),
)


def check_transforms(image: MultiscaleDocument) -> Iterator[Problem]:
    """Yield what is wrong with the references of datasets, and with transformations of the image.

    Parameters
    ----------
    image : mapping
        An entry of ``multiscales`` in 0.6.
    """
    for dataset in image["datasets"]:
        transforms = dataset["coordinateTransformations"]
        if len(transforms) != 1:
            message = f"{len(transforms)} coordinateTransformations; expected one"
            yield Problem("transformation", dataset["path"], message)
        elif not (_refers(transforms[0], "input", "path") and _refers(transforms[0], "output")):
            message = "expected input: {path: ...} and output: {name: ...} in the transformation"
            yield Problem("transformation", dataset["path"], message)
    yield from check_listed(image.get("coordinateTransformations", []), image)


def check_listed(transforms: object, holder: _Json) -> Iterator[Problem]:
    """Yield what is wrong with the transformations of an image or a scene.

    Parameters
    ----------
    transforms : list
    holder : mapping
        The image or scene, whose ``coordinateSystems`` they lead from and to.
    """
    if not isinstance(transforms, list):
        yield Problem("transformation", "", "coordinateTransformations; expected a list")
        return
    for i, transform in enumerate(transforms):
        where = f"coordinateTransformations[{i}]"
        if not (_refers(transform, "input") and _refers(transform, "output")):
            message = f"{where}: expected names of coordinate systems as input and output"
            yield Problem("transformation", "", message)
        for message in [*_check(transform), *_check_axes(transform, _axis_counts(holder))]:
            yield Problem("transformation", "", f"{where}: {message}")


def _axis_counts(holder: _Json) -> dict[str, int]:
    """Return how many axes each coordinate system has, so far as it is said."""
    systems = holder.get("coordinateSystems")
    return {
        system["name"]: len(system["axes"])
        for system in (systems if isinstance(systems, list) else [])
        if _is_system(system)
    }


def _is_system(system: object) -> TypeGuard[SystemDocument]:
    return (
        is_map(system)
        and isinstance(system.get("name"), str)
        and isinstance(system.get("axes"), list)
    )


def _check_axes(transform: object, counts: Mapping[str, int]) -> Iterator[str]:
    """Yield axes of the parts of ``byDimension`` that the coordinate systems do not have."""
    if not (is_map(transform) and transform.get("type") == "byDimension"):
        return
    if not _is_by_dimension(transform):
        return
    for end, key in _ENDS:
        name = _referred(transform, end)
        if name is None or name not in counts:
            continue
        axes = {axis for part in transform["transformations"] for axis in part[key]}
        if out_of_range := sorted(axes - set(range(counts[name]))):
            yield f"byDimension: {key} {out_of_range}; {name[:80]!r} has {counts[name]} axes"
        elif end == "output" and (absent := sorted(set(range(counts[name])) - axes)):
            yield f"byDimension: axes {absent} of {name[:80]!r} are in no outputAxes"


def _check_parts(transform: _ByDimension) -> Iterator[str]:
    """Yield what is wrong with the axes of the parts of ``byDimension``, taken together."""
    outputs = [axis for part in transform["transformations"] for axis in part["outputAxes"]]
    if twice := sorted({axis for axis in outputs if outputs.count(axis) > 1}):
        yield f"byDimension: outputAxes {twice} in several parts; expected each axis in one"
    elif sorted(outputs) != list(range(len(outputs))):
        yield f"byDimension: outputAxes {sorted(outputs)}; expected all from 0 on, each in one part"
    for part in transform["transformations"]:
        inner = part["transformation"]
        kind = inner.get("type") if is_map(inner) else None
        numbers = inner.get(kind) if is_map(inner) and kind in ("scale", "translation") else None
        lengths = {len(part["inputAxes"]), len(part["outputAxes"])}
        if isinstance(numbers, list) and lengths != {len(numbers)}:
            yield (
                f"byDimension: {kind} {numbers[:5]} with inputAxes {part['inputAxes']} and "
                f"outputAxes {part['outputAxes']}; expected as many of each"
            )


def _refers(transform: object, end: str, key: str = "name") -> bool:
    """Whether one end of a transformation is an object with a name, or a path."""
    return _referred(transform, end, key) is not None


def _referred(transform: object, end: str, key: str = "name") -> str | None:
    """Return the name, or the path, of what one end of a transformation refers to."""
    reference = transform.get(end) if is_map(transform) else None
    referred = reference.get(key) if is_map(reference) else None
    return referred if isinstance(referred, str) else None


def _check(transform: object) -> Iterator[str]:
    """Yield what is wrong with a transformation and with those that it is made of."""
    todo: list[object] = [transform]
    while todo:  # a stack, for strangers nest deeply
        node = todo.pop()
        kind = node.get("type") if is_map(node) else None
        if not is_map(node) or not isinstance(kind, str) or kind not in _KINDS:
            problem = f"type {kind[:80]!r}" if isinstance(kind, str) else "no type"
            yield f"{problem}; expected one of {', '.join(_KINDS)}"
            continue
        expected, fits = _KINDS[kind]
        if not fits(node):
            yield f"{kind} without {expected}"
            continue
        parts = node.get("transformations")
        if kind == "byDimension" and _is_by_dimension(node):
            yield from _check_parts(node)
            todo += [part["transformation"] for part in node["transformations"]]
        elif kind == "sequence" and isinstance(parts, list):
            todo += parts
        elif kind == "bijection":
            todo += [node["forward"], node["inverse"]]


def _numbers(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and all(is_number(v) and not isinstance(v, bool) for v in value)


def _indices(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and all(type(v) is int and 0 <= v < _MOST_AXES for v in value)
        and len(set(value)) == len(value)
    )


def _matrix(transform: _Json, key: str) -> list[int] | None:
    """Return the lengths of a matrix's rows, None where there is none."""
    rows = transform.get(key)
    return (
        [len(row) for row in rows] if isinstance(rows, list) and all(map(_numbers, rows)) else None
    )


def _is_affine(transform: _Json) -> bool:
    lengths = _matrix(transform, "affine")
    return isinstance(transform.get("path"), str) if lengths is None else len(set(lengths)) == 1


def _is_rotation(transform: _Json) -> bool:
    lengths = _matrix(transform, "rotation")
    if lengths is None:
        return isinstance(transform.get("path"), str)
    return len(lengths) > 1 and set(lengths) == {len(lengths)}


def _is_permutation(transform: _Json) -> bool:
    order = transform.get("mapAxis")
    return _indices(order) and sorted(order) == list(range(len(order))) and len(order) > 1


def _is_projection(transform: _Json) -> bool:
    index_lists = [
        transform[key] for key in ("createdOutputs", "droppedInputs") if key in transform
    ]
    return bool(index_lists) and all(
        _indices(v) and 1 <= len(v) <= _MOST_AXES - 2 for v in index_lists
    )


def _is_by_dimension(transform: _Json) -> TypeGuard[_ByDimension]:
    parts = transform.get("transformations")
    return isinstance(parts, list) and all(
        is_map(part)
        and "transformation" in part
        and _indices(part.get("inputAxes"))
        and _indices(part.get("outputAxes"))
        for part in parts
    )


def _is_scale(transform: _Json) -> bool:
    factors = transform.get("scale")
    return _numbers(factors) and all(factor > 0 for factor in factors)


def _is_at_path(transform: _Json) -> bool:
    return isinstance(transform.get("path"), str)


#: Of each type: what it needs, in words, and whether it has that.
_KINDS: Mapping[str, tuple[str, Callable[[_Json], bool]]] = {
    "identity": ("", lambda _: True),
    "scale": ("a list of positive numbers", _is_scale),
    "translation": ("a list of numbers", lambda transform: _numbers(transform.get("translation"))),
    "affine": ("a matrix of numbers, or a path", _is_affine),
    "rotation": ("a square matrix of numbers, or a path", _is_rotation),
    "mapAxis": ("an order of the axes", _is_permutation),
    "projectAxis": ("one to three axes in createdOutputs or droppedInputs", _is_projection),
    "sequence": ("a list", lambda transform: isinstance(transform.get("transformations"), list)),
    "bijection": (
        "forward and inverse",
        lambda transform: "forward" in transform and "inverse" in transform,
    ),
    "byDimension": ("parts with a transformation, inputAxes and outputAxes", _is_by_dimension),
    "displacements": ("a path", _is_at_path),
    "coordinates": ("a path", _is_at_path),
}
