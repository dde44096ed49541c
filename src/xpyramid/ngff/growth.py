"""What the metadata of an image say of an axis, where that has become longer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from xpyramid.geometry.plan import Plan
from xpyramid.ngff.json_types import is_map
from xpyramid.ngff.labels import with_image
from xpyramid.ngff.model import Dataset, Multiscale, describe_image
from xpyramid.ngff.multiples import in_known_units
from xpyramid.ngff.parser import parse, spec_version, version_of
from xpyramid.ngff.versions import VERSIONS
from xpyramid.options.types import Irregular


def with_axis(
    attributes: Mapping[str, object],
    plan: Plan,
    axis: int,
    names: Mapping[str, str],
    irregular: Irregular,
    notes: Mapping[str, object],
) -> dict[str, object]:
    """Return the attributes of an image of ours with what is to be said of an axis now.

    Where its samples lie as before, they are as they were.

    Parameters
    ----------
    attributes : mapping
        Of the image's group.
    plan : Plan
        With the axis as it is now.
    axis : int
        Its position.
    names : mapping of str to str
        From each dimension to the name of its axis.
    irregular : {"error", "approximate"}
        As for `describe_image`.
    notes : mapping
        Entries of the image's own metadata to be replaced; None removes one.

    Raises
    ------
    AxisError
        For coordinates that OME-NGFF has no words for.
    """
    image, dim = parse(attributes), plan.dims[axis]
    paths = [dataset.path for dataset in image.datasets]
    described = describe_image(plan, paths, image.name or "", irregular, {}, names)
    multiples = noted if is_map(noted := image.metadata.get("multiples")) else {}
    if is_map(note := multiples.get(dim)) and (unit := image.axes[axis].unit) is not None:
        described = in_known_units(described, plan, {dim: (unit, Fraction(str(note["number"])))})
    notes = {**notes, **_noted(image, described, dim)}
    metadata = {**image.metadata, **notes}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    if _is_same(image, described, axis) and metadata == image.metadata:
        return dict(attributes)
    axes = [
        replace(axis_spec, unit=described.axes[i].unit) if i == axis else axis_spec
        for i, axis_spec in enumerate(image.axes)
    ]
    datasets = [
        _along(old, new, axis) for old, new in zip(image.datasets, described.datasets, strict=True)
    ]
    changed = replace(image, axes=tuple(axes), datasets=tuple(datasets), metadata=metadata)
    version = VERSIONS[spec_version(version_of(attributes) or "") or "0.5"]
    return with_image(attributes, version.attributes(changed))


def _noted(image: Multiscale, described: Multiscale, dim: str) -> dict[str, object]:
    """Return what is noted of a dimension in lists of them, and in mappings from them."""
    noted: dict[str, object] = {}
    for key in ("irregular", "reversed"):
        others, new = (_list(source.metadata.get(key)) for source in (image, described))
        dims = [d for d in _list(image.metadata.get("dims")) if _is_in(d, dim, others, new)]
        if dims != others:
            noted[key] = dims or None
    if is_map(multiples := described.metadata.get("multiples")):
        before = old if is_map(old := image.metadata.get("multiples")) else {}
        noted["multiples"] = {**before, **multiples}
    ranges = _list(image.metadata.get("ranges"))
    if dim in ranges and dim in _list(described.metadata.get("irregular")):
        noted["ranges"] = [d for d in ranges if d != dim] or None
    return noted


def _is_in(dim: object, changed: str, others: Sequence[object], new: Sequence[object]) -> bool:
    return dim in (new if dim == changed else others)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _is_same(image: Multiscale, described: Multiscale, axis: int) -> bool:
    """Whether the samples along an axis lie where they did, and are measured in the same unit."""
    pairs = [
        (old, new)
        for a, b in zip(image.datasets, described.datasets, strict=True)
        for old, new in ((a.scale, b.scale), (a.translation, b.translation))
    ]
    step = abs(described.datasets[0].scale[axis])
    return image.axes[axis].unit == described.axes[axis].unit and all(
        math.isclose(old[axis], new[axis], rel_tol=1e-9, abs_tol=1e-9 * step) for old, new in pairs
    )


def _along(old: Dataset, new: Dataset, axis: int) -> Dataset:
    """Return a dataset with the place that another has along an axis."""
    scale, translation = (
        tuple(b if i == axis else a for i, (a, b) in enumerate(zip(*pair, strict=True)))
        for pair in ((old.scale, new.scale), (old.translation, new.translation))
    )
    return replace(old, scale=scale, translation=translation)
